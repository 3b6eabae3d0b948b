"""Who may see what, by Airflow's own rules, on a real API server below a path."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from airflows import AIRFLOW
from view_scene import HOSTILE_NAME, WHY_LOAD_FAILED, half_way

if TYPE_CHECKING:
    from pages import Site

if AIRFLOW < (3, 1):
    pytest.skip("Airflow before 3.1 has no tabs", allow_module_level=True)

PATHS = ["view", "api/instance", "api/log", "api/why", "run", "api/run"]


@pytest.mark.parametrize("path", PATHS)
def test_without_signing_in_nothing_is_shown(airflow_site: Site, path: str) -> None:
    answer = airflow_site.ask(path, airflow_site.run("runs"), None, node="1-2")
    assert answer.status_code == 401
    assert "not signed in" in answer.text


@pytest.mark.parametrize("path", PATHS)
def test_who_may_not_read_the_task_instance_is_refused(airflow_site: Site, path: str) -> None:
    answer = airflow_site.ask(path, airflow_site.run("runs"), "stranger", node="1-2")
    assert answer.status_code == 403
    assert "may not see" in answer.text


@pytest.mark.parametrize("path", PATHS)
def test_a_token_that_is_none_is_refused(airflow_site: Site, path: str) -> None:
    airflow_site.stack.tokens["forged"] = airflow_site.stack.tokens["admin"][:-3] + "abc"
    assert airflow_site.ask(path, airflow_site.run("runs"), "forged", node="1-2").status_code in (401, 403)


def test_a_session_cookie_is_enough_as_an_iframe_has_it(airflow_site: Site) -> None:
    import requests

    run = airflow_site.run("runs")
    answer = requests.get(
        f"{airflow_site.stack.url}/enos/view",
        {"dag_id": run.dag_id},
        cookies={"_token": airflow_site.stack.tokens["viewer"]},
        timeout=30,
    )
    assert answer.status_code == 200
    assert "<main>" in answer.text


@pytest.mark.parametrize("path", [*PATHS, "static/view.js", "static/run.js", "static/view.css"])
def test_every_reply_forbids_scripts_of_others_and_frames_elsewhere(airflow_site: Site, path: str) -> None:
    answer = airflow_site.ask(path, airflow_site.run("fails"), node="1-2")
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self'" in policy
    assert "frame-ancestors 'self'" in policy
    assert "unsafe" not in policy
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize("path", ["view", "run"])
def test_the_page_has_no_script_or_style_in_it_and_no_path_that_starts_at_the_root(
    airflow_site: Site, path: str
) -> None:
    page = airflow_site.ask(path, airflow_site.run("fails")).text
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\bon[a-z]+=|style=", page)
    assert not re.search(r'(src|href)="/', page)


def test_who_may_read_sees_the_instance(airflow_site: Site) -> None:
    instance = half_way(airflow_site, "runs", 8101)
    answer = airflow_site.ask("api/instance", airflow_site.run("runs"))
    assert answer.status_code == 200
    seen = answer.json()
    assert (seen["kind"], seen["id"], seen["flow_name"]) == ("instance", instance, "meter_readings_daily")
    assert seen["airflow"] == {"state": "deferred", "try_number": 1}
    assert len(seen["edges"]) == 5


def test_no_secret_reaches_the_browser(airflow_site: Site) -> None:
    sim = airflow_site.sim
    for path, dag_id in [("api/instance", "fails"), ("api/instance", "not_of_enos"), ("api/run", "fails")]:
        text = airflow_site.ask(path, airflow_site.run(dag_id), "admin").text
        for secret in (sim.access_key, sim.secret_key, sim.url, *airflow_site.stack.tokens.values()):
            assert secret not in text


def test_the_log_of_a_node(airflow_site: Site) -> None:
    run = airflow_site.run("fails")
    run.wait_for("failed", seconds=120)
    seen = airflow_site.ask("api/instance", run).json()
    assert (seen["status"], seen["refresh"]) == ("FAIL", None)
    (failed,) = [node for node in seen["nodes"] if node["look"] == "failed"]
    answer = airflow_site.ask("api/log", run, node=failed["id"])
    assert WHY_LOAD_FAILED in answer.json()["log"]


def why(site: Site, dag_id: str) -> dict[str, str]:
    answer = site.ask("api/why", site.run(dag_id))
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def test_why_an_instance_failed(airflow_site: Site) -> None:
    airflow_site.run("fails").wait_for("failed", seconds=120)
    (instance,) = airflow_site.sim.instances_of(8102)
    assert why(airflow_site, "fails") == {
        "of": "instance",
        "reason": f"node clean failed: {WHY_LOAD_FAILED}",
        "node": f"81021-{instance.id.partition('-')[2]}",
    }


def test_why_a_task_failed_that_never_started_an_instance(airflow_site: Site) -> None:
    """While it failed, too: a task that waits for its retry has ended its last try with an error."""
    run = airflow_site.run("never_starts")
    run.wait_for("failed", seconds=120)
    found = why(airflow_site, "never_starts")
    assert (found["of"], found["reason"].partition(" (")[0]) == ("task", "flow_id: EnOS has no flow 8199")
    seen = airflow_site.ask("api/instance", run).json()
    assert (seen["kind"], seen["title"]) == ("note", "No flow instance")


@pytest.mark.parametrize("dag_id", ["no_template", "runs", "not_of_enos"])
def test_why_is_not_known_of_every_task(airflow_site: Site, dag_id: str) -> None:
    """Of an error that is in the task's log only; of a task that goes on; of one that has succeeded."""
    airflow_site.run(dag_id).wait_for({"no_template": "failed", "runs": "deferred"}.get(dag_id, "success"), seconds=120)
    assert why(airflow_site, dag_id) == {"of": "task", "reason": ""}


def test_which_clock_the_times_are_of(airflow_site: Site) -> None:
    airflow_site.run("fails").wait_for("failed", seconds=120)
    clock = airflow_site.ask("api/instance", airflow_site.run("fails")).json()["clock"]
    assert clock["zone"] == "GMT+8"
    assert clock["at"]


def test_while_the_task_has_not_ended_it_is_looked_at_again(airflow_site: Site) -> None:
    """For a retry may start another instance."""
    run = airflow_site.run("retries")
    run.wait_for("up_for_retry", seconds=120)
    seen = airflow_site.ask("api/instance", run).json()
    assert (seen["status"], seen["refresh"]) == ("FAIL", 10)


@pytest.mark.parametrize("node", ["", "x", "other"])
def test_logs_of_other_instances_are_not_given(airflow_site: Site, node: str) -> None:
    """Also not those that the connection could read: only nodes of the instance that is on record."""
    if node == "other":
        node = f"81040-{airflow_site.watched.partition('-')[2]}"
    run = airflow_site.run("runs")
    run.wait_for("deferred", seconds=120)
    answer = airflow_site.ask("api/log", run, "admin", node=node)
    assert answer.status_code == 404
    logs = [record.query for record in airflow_site.sim.requests if record.operation == "taskInstances/getLog"]
    assert not any(node in query.values() for query in logs)


def test_hostile_names_come_as_data(airflow_site: Site) -> None:
    run = airflow_site.run("hostile")
    run.wait_for("deferred", seconds=120)
    answer = airflow_site.ask("api/instance", run)
    assert answer.headers["Content-Type"] == "application/json"
    seen = answer.json()
    assert seen["flow_name"] == HOSTILE_NAME
    assert all(node["name"].isprintable() and len(node["name"]) <= 200 for node in seen["nodes"])


@pytest.mark.parametrize("parameters", [{"run_id": "nowhere"}, {"task_id": "nothing"}, {"map_index": "7"}])
def test_a_task_instance_that_airflow_does_not_have(airflow_site: Site, parameters: dict[str, str]) -> None:
    assert airflow_site.ask("api/instance", airflow_site.run("runs"), **parameters).status_code == 404


def test_a_dag_that_airflow_does_not_have(airflow_site: Site) -> None:
    assert airflow_site.ask("api/instance", airflow_site.run("runs"), dag_id="~").status_code in (403, 404)
    assert airflow_site.ask("api/instance", airflow_site.run("runs"), dag_id="x" * 2000).status_code == 422


def test_an_earlier_try_shows_its_own_instance_and_its_logs(airflow_site: Site) -> None:
    run = airflow_site.run("tried")
    run.wait_for("failed", seconds=180)
    first, second = (instance.id for instance in airflow_site.sim.instances_of(8110))
    newest = airflow_site.ask("api/instance", run).json()
    assert (newest["id"], newest["shown_try"]) == (second, 2)
    assert [(one["number"], one["state"]) for one in newest["tries"]] == [(1, "failed"), (2, "failed")]
    earlier = airflow_site.ask("api/instance", run, try_number="1").json()
    assert earlier["shown_try"] == 1
    if AIRFLOW < (3, 3):
        assert "does not have on record which flow instance try 1 had" in earlier["message"]
        return
    assert [one["flow_instance_id"] for one in newest["tries"]] == [first, second]
    assert earlier["id"] == first
    node = earlier["nodes"][0]["id"]
    assert airflow_site.ask("api/log", run, node=node, try_number="1").status_code == 200
    assert airflow_site.ask("api/log", run, node=node).status_code == 404


@pytest.mark.parametrize(("number", "status"), [("2", 200), ("3", 404), ("0", 422), ("x", 422)])
def test_a_try_that_airflow_does_not_have(airflow_site: Site, number: str, status: int) -> None:
    run = airflow_site.run("tried")
    run.wait_for("failed", seconds=180)
    assert airflow_site.ask("api/instance", run, try_number=number).status_code == status


def test_who_may_read_sees_the_tasks_of_a_run(airflow_site: Site) -> None:
    instance = half_way(airflow_site, "runs", 8101)
    seen = airflow_site.ask("api/run", airflow_site.run("runs")).json()
    (row,) = seen["rows"]
    assert (row["task_id"], row["map_index"], row["state"]) == ("task", -1, "deferred")
    assert (row["brief"]["id"], row["brief"]["nodes"], row["brief"]["ended"]) == (instance, 5, 1)
    assert (seen["total"], seen["states"]) == (1, {"deferred": 1})
    assert seen["refresh"]


def test_a_run_without_tasks_of_enos(airflow_site: Site) -> None:
    run = airflow_site.run("not_of_enos")
    run.wait_for("success", seconds=120)
    assert airflow_site.ask("api/run", run).json()["rows"] == []


def test_a_run_that_airflow_does_not_have(airflow_site: Site) -> None:
    assert airflow_site.ask("api/run", airflow_site.run("runs"), run_id="nowhere").status_code == 404
    assert airflow_site.ask("api/run", airflow_site.run("runs"), dag_id="~").status_code in (403, 404)


@pytest.mark.parametrize("method", ["post", "put", "patch", "delete"])
def test_it_changes_nothing(airflow_site: Site, method: str) -> None:
    import requests

    headers = {"Authorization": f"Bearer {airflow_site.stack.tokens['admin']}"}
    address = f"{airflow_site.stack.url}/enos/api/instance?dag_id=runs"
    assert requests.request(method, address, headers=headers, timeout=30).status_code == 405
