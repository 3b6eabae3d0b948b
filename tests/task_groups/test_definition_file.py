"""Where a definition comes from when a DAG file is parsed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from groups import DEFINITION

from airflow_provider_enos.errors import EnosConfigError
from airflow_provider_enos.task_groups.definition_file import read_definition

DAG_FILE = """
from airflow_provider_enos.task_groups.enos import EnosFlowTaskGroup
from airflow.providers.common.compat.sdk import DAG

def make(path):
    with DAG("dag", schedule=None):
        return EnosFlowTaskGroup("nodes", definition=path)
"""


@pytest.fixture
def dags(tmp_path: Path) -> Path:
    folder = tmp_path / "dags"
    (folder / "flows").mkdir(parents=True)
    (folder / "flows" / "six.json").write_text(DEFINITION.text())
    return folder


def test_a_dict() -> None:
    assert read_definition(DEFINITION.to_json()) == (DEFINITION, None)


def test_an_absolute_path(dags: Path) -> None:
    file = dags / "flows" / "six.json"
    assert read_definition(file) == (DEFINITION, str(file))
    assert read_definition(str(file)) == (DEFINITION, str(file))


@pytest.mark.parametrize("path", ["flows/six.json", Path("flows/six.json"), "./flows/../flows/six.json"])
def test_a_path_is_relative_to_the_file_that_makes_the_group(
    dags: Path, path: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(compile(DAG_FILE, str(dags / "dag.py"), "exec"), names)
    assert names["make"](path).start.definition == DEFINITION


def test_a_file_that_is_not_there(dags: Path) -> None:
    missing = dags / "none.json"
    with pytest.raises(
        EnosConfigError, match=f"definition: {missing}: No such file or directory; expected a file that"
    ):
        read_definition(missing)


def test_a_folder(dags: Path) -> None:
    with pytest.raises(EnosConfigError, match=r"definition: .*Is a directory"):
        read_definition(dags)


def test_a_large_file(dags: Path) -> None:
    file = dags / "large.json"
    with file.open("wb") as large:
        os.truncate(large.fileno(), 17 * 2**20)
    with pytest.raises(EnosConfigError, match="has more than 16 MiB"):
        read_definition(file)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": 1}', "\xff"])
def test_what_is_no_definition_names_the_file(dags: Path, text: str) -> None:
    file = dags / "wrong.json"
    file.write_bytes(text.encode("latin-1"))
    with pytest.raises(EnosConfigError, match=r"wrong\.json"):
        read_definition(file)


@pytest.mark.parametrize("given", [None, 5, ["flow.json"], b"flow.json"])
def test_what_can_be_no_definition(given: Any) -> None:
    with pytest.raises(EnosConfigError, match=r"definition: .*or a dict"):
        read_definition(given)
