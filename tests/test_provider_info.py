from __future__ import annotations

import importlib
import importlib.metadata
import json
import subprocess
import sys
from pathlib import Path

import airflow
import jsonschema
import pytest

from airflow_provider_enos.hooks.enos import EnosHook
from airflow_provider_enos.provider_info import get_provider_info

INFO = get_provider_info()


def schema(name: str) -> object:
    return json.loads((Path(airflow.__file__).parent / name).read_text())


def test_it_is_valid_for_the_airflow_that_is_installed() -> None:
    jsonschema.validate(INFO, schema("provider_info.schema.json"))


def test_the_form_is_valid_for_the_airflow_that_is_installed() -> None:
    behaviour = INFO["connection-types"][0]["ui-field-behaviour"]
    jsonschema.validate(EnosHook.get_ui_field_behaviour(), schema("customized_form_field_behaviours.schema.json"))
    assert EnosHook.get_ui_field_behaviour()["relabeling"] == behaviour["relabeling"]


def test_airflow_finds_it_through_the_entry_point() -> None:
    (entry_point,) = importlib.metadata.distribution("airflow-provider-enos").entry_points.select(
        group="apache_airflow_provider"
    )
    assert entry_point.load() is get_provider_info


COMMANDS = """
import os, sys
from airflow.__main__ import main

for command in ("list", "hooks"):
    if not os.fork():
        sys.argv = ["airflow", "providers", command, "--output", "json"]
        main()
        sys.stdout.flush()
        os._exit(0)
    os.wait()
"""


def test_airflow_lists_the_provider_and_its_connection_type() -> None:
    """`airflow providers list` and `airflow providers hooks`."""
    printed = subprocess.run([sys.executable, "-c", COMMANDS], capture_output=True, text=True, check=True)
    # Some versions of Airflow print lines of their log before and between them.
    listed, hooks = (json.JSONDecoder().raw_decode(f"[{{{rows}")[0] for rows in printed.stdout.split("[{")[1:])
    package = {"package_name": "airflow-provider-enos", "version": importlib.metadata.version("airflow-provider-enos")}
    hook = {"connection_type": "enos", "class": "airflow_provider_enos.hooks.enos.EnosHook", "hook_name": "EnOS"}
    assert [row for row in listed if package.items() <= row.items()]
    assert [row for row in hooks if hook.items() <= row.items()]
    assert "airflow_provider_enos" not in printed.stderr, "a warning names this package"


@pytest.mark.parametrize("kind", ["hooks", "operators", "sensors", "triggers"])
def test_the_modules_it_names_exist(kind: str) -> None:
    for entry in INFO[kind]:
        for module in entry["python-modules"]:
            importlib.import_module(module)


def test_the_hook_is_the_one_that_is_named() -> None:
    (connection_type,) = INFO["connection-types"]
    module, _, name = connection_type["hook-class-name"].rpartition(".")
    assert getattr(importlib.import_module(module), name) is EnosHook
    assert connection_type["connection-type"] == EnosHook.conn_type
    assert connection_type["hook-name"] == EnosHook.hook_name
