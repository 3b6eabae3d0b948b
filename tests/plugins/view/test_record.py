"""Which flow instance a task instance is about: what Airflow has on record, and nothing that a browser says."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from airflows import AIRFLOW
from on_record import RENDERED, XCOM, of_dag
from pages import CONSOLE
from view_scene import half_way

if TYPE_CHECKING:
    from pages import Site

if AIRFLOW < (3, 1):
    pytest.skip("Airflow before 3.1 has no tabs", allow_module_level=True)


def shown(site: Site, dag_id: str, **more: str) -> dict[str, Any]:
    answer = site.ask("api/instance", site.run(dag_id), **more)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def change(site: Site, statement: str, *values: object) -> None:
    with closing(sqlite3.connect(site.stack.database, timeout=30)) as database, database:
        database.execute(statement, values)


def test_of_an_operator_it_is_the_instance_that_it_started(airflow_site: Site) -> None:
    instance = half_way(airflow_site, "runs", 8101)
    assert shown(airflow_site, "runs")["id"] == instance


def test_of_a_sensor_it_is_the_one_that_it_waits_for(airflow_site: Site) -> None:
    airflow_site.run("senses").wait_for("deferred", seconds=120)
    assert shown(airflow_site, "senses")["id"] == airflow_site.watched


def test_each_mapped_task_instance_has_its_own(airflow_site: Site) -> None:
    from stack import until

    path = f"dags/mapped/dagRuns/{airflow_site.run('mapped').run_id}/taskInstances/task/listMapped"

    def states() -> list[str]:
        return [one["state"] for one in airflow_site.stack.call("GET", path)["task_instances"]]

    # The other one fails once EnOS has said that it does not know its instance.
    until(lambda: len(states()) == 2 and set(states()) <= {"deferred", "failed"}, 120, "mapped tasks", states)
    assert shown(airflow_site, "mapped", map_index="0")["id"] == airflow_site.watched
    other = shown(airflow_site, "mapped", map_index="1")
    assert (other["kind"], other["message"]) == ("problem", "EnOS has nothing by this id, or not yet.")


def test_what_the_browser_says_of_instances_does_not_count(airflow_site: Site) -> None:
    instance = half_way(airflow_site, "runs", 8101)
    asked = {"flow_instance_id": airflow_site.watched, "enos_conn_id": "another", "id": airflow_site.watched}
    assert shown(airflow_site, "runs", **asked)["id"] == instance


def test_of_a_window_that_failed_it_is_the_one_that_failed(airflow_site: Site) -> None:
    airflow_site.run("window").wait_for("failed", seconds=120)
    (instance,) = airflow_site.sim.instances_of(8109)
    assert shown(airflow_site, "window")["id"] == instance.id


@pytest.mark.parametrize(("multi_team", "team"), [("False", None), ("True", "meters")])
def test_a_team_counts_where_airflow_has_teams(
    monkeypatch: pytest.MonkeyPatch, multi_team: str, team: str | None
) -> None:
    """Where they are switched off, Airflow refuses to look for the connection of one."""
    from airflow_provider_enos.plugins.view import record

    monkeypatch.setenv("AIRFLOW__CORE__MULTI_TEAM", multi_team)
    monkeypatch.setattr(record.DagModel, "get_team_name", lambda dag_id, session: "meters")
    assert record.team_of("readings", None) == team  # type: ignore[arg-type]


def test_a_task_that_is_not_in_its_dag_any_more(airflow_site: Site) -> None:
    change(
        airflow_site, "UPDATE task_instance SET task_id = 'gone' WHERE dag_id = ?", airflow_site.run("forgotten").dag_id
    )
    answer = shown(airflow_site, "forgotten", task_id="gone")
    assert answer["message"].startswith("Airflow does not know this task any more")
    assert answer["refresh"] is None


def test_a_dag_is_read_once_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    """It can be large, and is asked for at each poll of each tab of a task that has not begun."""
    from airflow_provider_enos.plugins.view import record

    read: list[str] = []
    now = [1000.0]
    session: Any = None
    monkeypatch.setattr(record, "_dags", {})
    monkeypatch.setattr(record, "_MOST_DAGS", 2)
    monkeypatch.setattr(record.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(record.SerializedDagModel, "get_dag", lambda dag_id, session: read.append(dag_id))
    for dag_id, step in [("a", 0), ("a", 59), ("a", 2), ("b", 0), ("a", 0), ("c", 0)]:
        now[0] += step
        assert record.in_dag(dag_id, session) == {}
    assert read == ["a", "a", "b", "c"]
    assert len(record._dags) <= 2


def test_another_task_is_not_of_enos(airflow_site: Site) -> None:
    answer = shown(airflow_site, "not_of_enos")
    assert (answer["kind"], answer["refresh"]) == ("note", None)
    assert "not an EnOS task" in answer["message"]


def test_a_task_that_has_not_begun(airflow_site: Site) -> None:
    answer = shown(airflow_site, "waits")
    assert "is on record" in answer["message"]
    assert answer["refresh"]


def test_without_rendered_arguments_those_of_the_dag_count(airflow_site: Site) -> None:
    """Airflow drops the rendered ones of a task after 30 runs."""
    airflow_site.run("fails").wait_for("failed", seconds=120)
    before = shown(airflow_site, "fails")["id"]
    change(airflow_site, f"DELETE FROM {RENDERED} WHERE {of_dag('fails')}")
    assert shown(airflow_site, "fails")["id"] == before


@contextmanager
def xcoms_of_hostile(site: Site, **values: object) -> Iterator[None]:
    """Other XComs than those that the task of this DAG has pushed, for a while; and nothing in the task state store."""
    site.run("hostile").wait_for("deferred", seconds=120)
    if AIRFLOW >= (3, 3):
        change(site, "DELETE FROM task_state_store WHERE dag_id = 'hostile'")
    statement = f"UPDATE {XCOM} SET value = ? WHERE {of_dag('hostile')} AND key = ?"
    with closing(sqlite3.connect(site.stack.database, timeout=30)) as database:
        before = database.execute(f"SELECT value, key FROM {XCOM} WHERE {of_dag('hostile')}").fetchall()
    assert {key for _, key in before} >= set(values)
    try:
        for key, value in values.items():
            change(site, statement, json.dumps(value), key)
        yield
    finally:
        for value, key in before:
            change(site, statement, value, key)


@pytest.mark.parametrize("value", ["no id", {"id": "8104-1"}, "../x-1", None, [], [1], ["8104-1", None], "8104 -1"])
def test_an_xcom_that_is_no_id_is_none(airflow_site: Site, value: object) -> None:
    with xcoms_of_hostile(airflow_site, flow_instance_id=value, return_value=value):
        assert shown(airflow_site, "hostile")["kind"] == "note"


def test_of_the_instances_of_a_window_it_is_the_last_one(airflow_site: Site) -> None:
    airflow_site.run("hostile").wait_for("deferred", seconds=120)
    (own,) = airflow_site.sim.instances_of(8103)
    with xcoms_of_hostile(airflow_site, flow_instance_id=None, return_value=["8103-1", own.id]):
        assert shown(airflow_site, "hostile")["id"] == own.id


@pytest.mark.parametrize("key", ["flow_instance_id", "return_value"])
def test_an_xcom_cannot_have_another_flow_shown(airflow_site: Site, key: str) -> None:
    """Nor its logs, though the connection could read them."""
    other = airflow_site.watched
    values = {"flow_instance_id": None, "return_value": None, key: other}
    with xcoms_of_hostile(airflow_site, **values):
        answer = shown(airflow_site, "hostile")
        assert (answer["kind"], other in answer["message"]) == ("problem", True)
        assert answer["message"].startswith("This task is about flow 8103")
        node = f"81040-{other.partition('-')[2]}"
        log = airflow_site.ask("api/log", airflow_site.run("hostile"), "admin", node=node).json()
        assert list(log) == ["problem"]
    logs = [record.query for record in airflow_site.sim.requests if record.operation == "taskInstances/getLog"]
    assert not any(node in query.values() for query in logs)


def test_an_xcom_cannot_have_another_instance_shown_than_a_sensor_waits_for(airflow_site: Site) -> None:
    run = airflow_site.run("senses")
    run.wait_for("deferred", seconds=120)
    (other,) = airflow_site.sim.instances_of(8109)
    airflow_site.stack.call("POST", f"{run._path}/xcomEntries", {"key": "flow_instance_id", "value": other.id})
    try:
        assert shown(airflow_site, "senses")["id"] == airflow_site.watched
    finally:
        change(airflow_site, f"DELETE FROM {XCOM} WHERE {of_dag('senses')} AND key = 'flow_instance_id'")


@pytest.mark.skipif(AIRFLOW < (3, 3), reason="Airflow has task states from 3.3 on")
def test_an_xcom_cannot_have_another_instance_shown_than_an_operator_started(airflow_site: Site) -> None:
    instance = half_way(airflow_site, "runs", 8101)
    other = "8101-20200707000000"
    value = f"UPDATE {XCOM} SET value = ? WHERE {of_dag('runs')} AND key = 'flow_instance_id'"
    change(airflow_site, value, json.dumps(other))
    try:
        assert shown(airflow_site, "runs")["id"] == instance
    finally:
        change(airflow_site, value, json.dumps(instance))


def test_the_link_of_the_api_server_is_not_taken_from_xcom(airflow_site: Site) -> None:
    """Of a task that has waited for a window: whatever somebody has put there."""
    run = airflow_site.run("window")
    run.wait_for("failed", seconds=120)
    (instance,) = airflow_site.sim.instances_of(8109)
    statement = f"UPDATE {XCOM} SET value = ? WHERE {of_dag('window')} AND key = '_link_EnosFlowInstanceLink'"
    for evil in ("javascript:alert(1)", "https://evil.example/"):
        change(airflow_site, statement, json.dumps(evil))
        links = airflow_site.stack.call("GET", f"{run._path}/links")["extra_links"]
        assert links == {"EnOS flow instance": CONSOLE.format(flow_id=8109, flow_instance_id=instance.id)}


def test_the_connection_may_be_a_template_that_is_not_known_any_more(airflow_site: Site) -> None:
    run = airflow_site.run("senses")
    run.wait_for("deferred", seconds=120)
    change(airflow_site, f"DELETE FROM {RENDERED} WHERE {of_dag('senses')}")
    # The id was a template of which nothing is left.
    assert "is on record" in shown(airflow_site, "senses")["message"]
