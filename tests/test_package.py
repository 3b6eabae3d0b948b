"""What is installed and what is in the wheel."""

from __future__ import annotations

import importlib.metadata
import os
import re
import sys
from pathlib import Path

import pytest

import airflow_provider_enos

PROJECT = Path(__file__).resolve().parent.parent
METADATA = importlib.metadata.metadata("airflow-provider-enos")


@pytest.mark.skipif("ENOS_TESTS_EXPECT_WHEEL" not in os.environ, reason="only .ci/run tests the built wheel")
def test_it_is_the_wheel_that_is_tested() -> None:
    assert Path(airflow_provider_enos.__file__).is_relative_to(sys.prefix)
    files = {str(file) for file in importlib.metadata.files("airflow-provider-enos") or ()}
    assert "airflow_provider_enos/py.typed" in files
    assert {f"airflow_provider_enos/plugins/view/static/view.{kind}" for kind in ("html", "css", "js")} <= files
    assert any(file.endswith("licenses/LICENSE") for file in files)
    assert not [file for file in files if file.startswith(("tests", "benchmarks", "docs", "example_dags", "scripts"))]


def test_the_files_of_the_view_are_part_of_the_package() -> None:
    static = Path(airflow_provider_enos.__file__).parent / "plugins" / "view" / "static"
    assert {file.name for file in static.iterdir()} == {"view.html", "view.css", "view.js"}


def test_the_version_is_written_in_one_place() -> None:
    assert METADATA["Version"] == airflow_provider_enos.__version__


def test_installing_it_brings_what_the_design_names_and_nothing_else() -> None:
    requirements = importlib.metadata.requires("airflow-provider-enos") or []
    names = {re.split(r"[^A-Za-z0-9-]", text)[0] for text in requirements if "extra ==" not in text}
    assert names == {"apache-airflow", "apache-airflow-providers-common-compat", "aiohttp", "requests"}


def test_the_metadata_says_what_it_is() -> None:
    classifiers = METADATA.get_all("Classifier") or []
    assert "Framework :: Apache Airflow :: Provider" in classifiers
    assert "Typing :: Typed" in classifiers
    assert METADATA["License-Expression"] == "Apache-2.0"
    assert METADATA["Requires-Python"] == ">=3.11"


def test_the_changelog_has_the_version_or_an_unreleased_part() -> None:
    headings = re.findall(r"^## \[(.+?)\]", (PROJECT / "CHANGELOG.md").read_text(), re.M)
    assert headings
    assert headings[0] in ("Unreleased", airflow_provider_enos.__version__)
