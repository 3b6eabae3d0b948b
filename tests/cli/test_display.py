"""How flows and instances are shown."""

from __future__ import annotations

import re

import pytest
from command_line import INSTANCE, PROGRAM, TASK_INSTANCE, Run, triggered

from airflow_provider_enos.simulator import EnosSimulator


def test_flow_shows_its_nodes_with_their_ids(enos: Run) -> None:
    ran = enos("flow", 3377)
    assert ran.code == 0
    assert ran.out.startswith("flow      3377 meter_readings_daily\n")
    assert ran.rows[:2] == [["108579", "ingest", ""], ["108580", "clean", "108579 (ingest)"]]
    assert [node["task_id"] for node in enos("flow", 3377, "-o", "json").json["nodes"]] == [
        108579,
        108580,
        108581,
        108582,
    ]


def test_instance_shows_its_nodes(enos: Run, sim: EnosSimulator) -> None:
    sim.progress = "at_once"
    triggered(sim, 3377, 108580)
    ran = enos("instance", INSTANCE)
    assert ran.code == 0
    node = ran.rows[1]
    assert node[:4] == ["108580", "clean", TASK_INSTANCE, "SUCCESS"]
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", time) for time in node[4:])
    shown = enos("instance", INSTANCE, "-o", "json").json
    assert shown["status"] == "SUCCESS"
    assert (shown["nodes"][1]["task_id"], shown["nodes"][1]["start_time"]) == (108580, node[4])


def test_instance_where_enos_cannot_tell_the_times(enos: Run, sim: EnosSimulator) -> None:
    """Get Task Instance came later than the rest."""
    sim.progress = "at_once"
    triggered(sim, 3377, 108580)
    sim.fault("http_404", on="taskInstances/get", times=None)
    ran = enos("instance", INSTANCE)
    assert ran.code == 0
    assert ran.rows[1][3:] == ["SUCCESS", "", ""]
    assert "EnOS does not tell when the nodes began and ended" in ran.err
    assert sim.count("taskInstances/get") == 1


@pytest.mark.parametrize("owner", [";smart_user;", "smart_user", "smart_user;other_user"])
def test_owners_are_shown_without_semicolons(enos: Run, sim: EnosSimulator, owner: str) -> None:
    sim.add_flow(5001, name="owned", tasks={1: "a"}, owner=owner)
    triggered(sim, 5001, 1)
    for ran in (enos("flow", 5001), enos("instance", "5001-20200706062600")):
        (line,) = (line for line in ran.out.splitlines() if line.startswith("owner"))
        assert re.fullmatch(r"owner +smart_user(, other_user)?", line)


def test_a_flow_without_nodes_says_so(enos: Run) -> None:
    ran = enos("flow", 4006)
    assert (ran.code, ran.err) == (0, "The flow has no task nodes.\n")


RERUN = "1 of 5 nodes failed, 1 never ran; 3 that succeeded are kept"


def test_a_failed_instance_shows_why_and_what_to_type_next(enos: Run, sim: EnosSimulator) -> None:
    instance = triggered(sim, 4001, 40011)
    sim.finish(instance, "FAIL", failed_task=40012)
    ran = enos("instance", instance)
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.splitlines()[-5:] == [
        "",
        "failed  node load (40012-20200706062600): ColumnMissing: dw.meter_readings has no column 'reactive_power'",
        f"rerun   A rerun would start from node load (40012): {RERUN}",
        f"next    {PROGRAM} log 40012-20200706062600",
        f"or      {PROGRAM} rerun 4001-20200706062600",
    ]
    assert sim.count("flows/get") == 0
    shown = enos("instance", instance, "-o", "json").json
    assert shown["failed_task_instance_id"] == "40012-20200706062600"
    assert shown["rerun_from_task_id"] == 40012
    assert "edges" not in shown
    assert shown["reason"] == "ColumnMissing: dw.meter_readings has no column 'reactive_power'"


@pytest.mark.parametrize(
    ("fault", "reason"), [("http_404", "(no log: Get Task Instance Log: 404"), (None, "(the log is empty)")]
)
def test_a_failed_instance_whose_log_says_nothing(
    enos: Run, sim: EnosSimulator, fault: str | None, reason: str
) -> None:
    sim.add_flow(5001, name="silent", tasks={1: "a"}, logs={1: ""})
    instance = triggered(sim, 5001, 1)
    sim.finish(instance, "FAIL")
    if fault:
        sim.fault(fault, on="taskInstances/getLog", times=None)
    ran = enos("instance", instance)
    assert ran.code == 0
    assert f"failed  node a (1-20200706062600): {reason}" in ran.out


def test_a_cancelled_instance_says_how_to_run_the_rest(enos: Run, sim: EnosSimulator) -> None:
    instance = triggered(sim, 3377, 108580)
    sim.finish(instance, "CANCEL", failed_task=108581)
    assert enos("instance", instance).out.splitlines()[-2:] == [
        "rerun  A rerun would start from node aggregate (108581): 1 of 3 nodes was cancelled, 1 never ran; 1 that "
        "succeeded is kept",
        f"or     {PROGRAM} rerun {INSTANCE}",
    ]


def test_no_rerun_is_named_where_there_is_no_node_to_start_from(enos: Run, sim: EnosSimulator) -> None:
    sim.add_flow(5001, name="two roots", tasks={1: "a", 2: "b", 3: "c"}, relations=[(1, 3), (2, 3)])
    instance = triggered(sim, 5001, 3)
    for node in (1, 2):
        sim.set_node_status(instance, node, "FAIL")
    sim.finish(instance, "FAIL", failed_task=1)
    ran = enos("instance", instance)
    assert "A rerun has no node to start from: no single node leads to all of its unfinished nodes" in ran.out
    assert f"{PROGRAM} rerun" not in ran.out
    assert enos("instance", instance, "-o", "json").json["rerun_from_task_id"] is None


@pytest.mark.parametrize("status", ["SUCCESS", "CANCEL", "SKIP"])
def test_an_instance_that_has_not_failed_shows_no_reason(enos: Run, sim: EnosSimulator, status: str) -> None:
    instance = triggered(sim, 3377, 108580)
    sim.finish(instance, status)
    ran = enos("instance", instance)
    assert "failed  node" not in ran.out
    assert sim.count("taskInstances/getLog") == 0
    shown = enos("instance", instance, "-o", "json").json
    assert (shown["failed_task_instance_id"], shown["reason"]) == (None, None)
