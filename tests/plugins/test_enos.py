"""What Airflow loads of the plugin, where it loads it, and what that costs."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any

import pytest
from airflows import AIRFLOW

from airflow_provider_enos.plugins.enos import RUN_VIEW, URL_PREFIX, VIEW, EnosPlugin


def test_airflow_finds_it_by_its_entry_point() -> None:
    (found,) = (entry for entry in entry_points(group="airflow.plugins") if entry.name == "enos")
    assert found.load() is EnosPlugin


@pytest.mark.skipif(AIRFLOW < (3, 1), reason="Airflow before 3.1 has no tabs")
def test_it_adds_a_tab_to_task_instances() -> None:
    assert EnosPlugin.external_views == [VIEW, RUN_VIEW]
    (app,) = EnosPlugin.fastapi_apps
    assert (app["url_prefix"], VIEW["destination"]) == (URL_PREFIX, "task_instance")
    assert VIEW["href"].startswith(f"{URL_PREFIX[1:]}/view?")


@pytest.mark.skipif(AIRFLOW < (3, 1), reason="Airflow before 3.1 has no tabs")
def test_it_adds_a_tab_to_dag_runs() -> None:
    """With a route of its own: Airflow loads no two views with one."""
    assert (RUN_VIEW["destination"], RUN_VIEW["href"].partition("?")[0]) == ("dag_run", f"{URL_PREFIX[1:]}/run")
    assert VIEW["url_route"] != RUN_VIEW["url_route"]


@pytest.mark.skipif(AIRFLOW < (3, 1), reason="Airflow before 3.1 has no tabs")
def test_airflow_is_told_which_tasks_have_the_tab() -> None:
    """The page decides by the template fields of the task, in 3.4. Before, it is handed on and ignored."""
    from airflow.api_fastapi.core_api.datamodels.plugins import ExternalViewResponse

    expected = {"task.template_fields": ["enos_conn_id"]}
    assert ExternalViewResponse(**VIEW).model_dump()["applies_to"] == expected
    modules = [import_module(f"airflow_provider_enos.{name}.enos") for name in ("operators", "sensors")]
    public = [getattr(module, name) for module in modules for name in module.__all__]
    tasks = [one for one in public if hasattr(one, "template_fields")]
    assert len(tasks) >= 7
    assert all("enos_conn_id" in task.template_fields for task in tasks)


@pytest.mark.skipif(AIRFLOW < (3, 4), reason="Airflow before 3.4 shows a tab of all tasks")
def test_airflow_can_evaluate_which_tasks_have_the_tab(caplog: pytest.LogCaptureFixture) -> None:
    """Otherwise it would withhold the tab, or show it everywhere."""
    from airflow import plugins_manager

    view: Any = dict(VIEW)
    assert plugins_manager._validate_applies_to("enos", view, "an external view")
    assert view == VIEW
    assert not caplog.records


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
