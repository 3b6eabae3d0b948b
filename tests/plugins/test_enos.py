"""What Airflow loads of the plugin, where it loads it, and what that costs."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from importlib.metadata import entry_points
from typing import Any

import pytest
from airflows import AIRFLOW

from airflow_provider_enos.plugins.enos import URL_PREFIX, VIEW, EnosPlugin


def test_airflow_finds_it_by_its_entry_point() -> None:
    (found,) = (entry for entry in entry_points(group="airflow.plugins") if entry.name == "enos")
    assert found.load() is EnosPlugin


@pytest.mark.skipif(AIRFLOW < (3, 1), reason="Airflow before 3.1 has no tabs")
def test_it_adds_a_tab_to_task_instances() -> None:
    assert EnosPlugin.external_views == [VIEW]
    (app,) = EnosPlugin.fastapi_apps
    assert (app["url_prefix"], VIEW["destination"]) == (URL_PREFIX, "task_instance")
    assert VIEW["href"].startswith(f"{URL_PREFIX[1:]}/view?")


@pytest.mark.skipif(AIRFLOW >= (3, 1), reason="Airflow 3.1 and later have tabs")
def test_it_adds_nothing_where_there_are_no_tabs() -> None:
    assert not getattr(EnosPlugin, "external_views", None)
    assert not getattr(EnosPlugin, "fastapi_apps", None)


def test_loading_it_imports_nothing_but_itself() -> None:
    """Schedulers, workers and DAG processors load it, too."""
    code = (
        "import sys, json, airflow.plugins_manager\n"
        "before = set(sys.modules)\n"
        "import airflow_provider_enos.plugins.enos\n"
        "print(json.dumps(sorted(set(sys.modules) - before)))"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert set(json.loads(printed.splitlines()[-1])) <= {
        "airflow_provider_enos",
        "airflow_provider_enos.plugins",
        "airflow_provider_enos.plugins.enos",
    }


@pytest.mark.skipif(AIRFLOW < (3, 1), reason="Airflow before 3.1 has no tabs")
def test_the_app_is_built_at_its_first_request_and_once(monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow_provider_enos.plugins.view import app

    built: list[str] = []

    def build() -> Any:
        built.append("once")

        async def answer(scope: Any, receive: Any, send: Any) -> None:
            built.append(scope["path"])

        return answer

    monkeypatch.setattr(app, "build", build)
    lazy = type(EnosPlugin.fastapi_apps[0]["app"])()
    assert built == []
    for path in ("/view", "/static/view.css"):
        asyncio.run(lazy({"path": path}, None, None))
    assert built == ["once", "/view", "/static/view.css"]
