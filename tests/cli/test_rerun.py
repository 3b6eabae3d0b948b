"""Running a failed instance again from a node: which node, what is said of it, and why not."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from command_line import INSTANCE, MINUTE, PROGRAM, TIME, WAIT, Run, error_line, triggered

from airflow_provider_enos.client import timing
from airflow_provider_enos.simulator import EnosSimulator

FAILED = f"4001-{MINUTE}"
NEXT = "4001-20200706062700"
SAID = "node load (40012): 1 of 5 nodes failed, 1 never ran; 3 that succeeded are kept"


def failed(sim: EnosSimulator, flow_id: int = 4001, task_id: int = 40011, failing: int = 40012) -> str:
    instance = triggered(sim, flow_id, task_id)
    sim.finish(instance, "FAIL", failed_task=failing)
    return instance


def mended(sim: EnosSimulator) -> None:
    """The flow 4001 without the mistake in its node."""
    sim.add_flow(
        4001,
        name="fails_at_load",
        tasks={40011: "extract", 40012: "load", 40013: "report", 40014: "archive", 40015: "tidy_up"},
        relations=[(40011, 40012), (40012, 40013), (40011, 40014), (40014, 40015)],
    )


def started(sim: EnosSimulator) -> list[tuple[str, int | None]]:
    return [(instance.id, instance.from_task_id) for instance in sim.instances]


# ---- starting -------------------------------------------------------------------------------------------------------


def test_rerun_starts_from_the_node_that_failed_in_the_next_minute(enos: Run, sim: EnosSimulator) -> None:
    ran = enos("rerun", failed(sim))
    assert (ran.code, ran.out) == (0, f"{NEXT}\n")
    assert f"Restarting flow 4001 from {SAID}\n" in ran.err
    assert started(sim) == [(FAILED, 40011), (NEXT, 40012)]
    assert sim.count("flows/triggerFromTask") == 1


@pytest.mark.parametrize("output", ["table", "json"])
def test_rerun_exits_as_the_new_instance_ends(enos: Run, sim: EnosSimulator, output: str) -> None:
    instance = failed(sim)
    ran = enos("rerun", instance, *WAIT, "-o", output)
    assert ran.code == 1
    assert f"instance {NEXT} ended with status FAIL" in error_line(ran)
    assert f"To run again what did not finish: {PROGRAM} rerun {NEXT}\n" in ran.err
    mended(sim)
    again = enos("rerun", NEXT, *WAIT, "-o", output)
    assert again.code == 0
    assert started(sim)[1:] == [(NEXT, 40012), ("4001-20200706062800", 40012)]
    if output == "json":
        assert (again.json["flow_instance_id"], again.json["status"]) == ("4001-20200706062800", "SUCCESS")
        assert enos("rerun", instance, "-o", "json").json == {"flow_instance_id": "4001-20200706062900"}


def test_rerun_takes_the_next_free_minute(enos: Run, sim: EnosSimulator) -> None:
    instance = failed(sim)
    sim.trigger(4001, None, 1594016819108 + 60_000)
    ran = enos("rerun", instance)
    assert ran.out == "4001-20200706062800\n"
    assert f"The minute of {NEXT} is taken" in ran.err


@pytest.mark.parametrize(("on_conflict", "code"), [("attach", 0), ("fail", 1)])
def test_a_second_rerun_can_be_kept_from_starting_another_one(
    enos: Run, sim: EnosSimulator, on_conflict: str, code: int
) -> None:
    instance = failed(sim)
    enos("rerun", instance)
    ran = enos("rerun", instance, "--on-conflict", on_conflict)
    assert (ran.code, len(sim.instances)) == (code, 2)
    assert ran.out == ("" if code else f"{NEXT}\n")


def test_rerun_stays_in_the_day_of_the_gateway(enos: Run, sim: EnosSimulator) -> None:
    """Simulated EnOS is in GMT+8: its day ends at 16:00 UTC."""
    last_minute = 1594051199000
    instance = sim.trigger(4001, 40011, last_minute).id
    sim.finish(instance, "FAIL", failed_task=40012)
    assert (instance, enos("rerun", instance).out) == ("4001-20200706155900", "4001-20200706155800\n")


def test_rerun_looks_a_lost_reply_up(enos: Run, sim: EnosSimulator) -> None:
    instance = failed(sim)
    sim.fault("lost_reply", on="flows/triggerFromTask")
    ran = enos("rerun", instance)
    assert (ran.code, ran.out) == (0, f"{NEXT}\n")
    assert started(sim)[1:] == [(NEXT, 40012)]
    assert sim.count("flows/triggerFromTask") == 1


def test_rerun_says_what_may_have_been_started(enos: Run, sim: EnosSimulator) -> None:
    instance = failed(sim)
    sim.fault("dropped", on="flows/triggerFromTask")
    ran = enos("rerun", instance)
    assert "no instance can be seen" in error_line(ran)
    assert f"Before you start it again, look: {PROGRAM} instance {NEXT}\n" in ran.err


def test_a_cancelled_instance_is_run_again(enos: Run, sim: EnosSimulator) -> None:
    instance = triggered(sim, 3377, 108580)
    sim.finish(instance, "CANCEL", failed_task=108581)
    assert enos("rerun", instance, *WAIT).code == 0
    assert started(sim)[1:] == [("3377-20200706062700", 108581)]


# ---- waiting for what still runs ------------------------------------------------------------------------------------


def still_running(sim: EnosSimulator) -> str:
    """The node load has failed, and archive runs until the next look but one."""
    instance = triggered(sim, 4001, 40011)
    sim.set_node_status(instance, 40011, "SUCCESS")
    sim.set_node_status(instance, 40012, "FAIL")
    sim.set_node_status(instance, 40014, "RUNNING")
    return instance


def test_rerun_waits_until_nothing_of_the_instance_runs(
    enos: Run, sim: EnosSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    sim.switch({"progress": "manual"})
    mended(sim)
    instance = still_running(sim)
    pauses = []

    def pause(seconds: float) -> float:
        pauses.append(len(sim.instances))
        sim.set_node_status(instance, 40014, "SUCCESS")
        sim.set_node_status(instance, 40015, "SUCCESS")
        sim.finish(instance, "FAIL", failed_task=40012)
        return 0.0

    with timing.override(pause=pause):
        ran = enos("rerun", instance, "--poll-interval", 3)
    assert (ran.code, pauses) == (0, [1])
    assert f"Node archive (40014-{MINUTE}) of {FAILED} is still running: waiting until nothing of it runs\n" in ran.err
    assert f"Restarting flow 4001 from {SAID}\n" in ran.err
    assert started(sim)[1:] == [(NEXT, 40012)]


def test_an_interrupt_of_that_wait_has_started_nothing(enos: Run, sim: EnosSimulator) -> None:
    sim.switch({"progress": "manual"})
    mended(sim)
    instance = still_running(sim)

    def interrupted(seconds: float) -> float:
        raise KeyboardInterrupt

    with timing.override(pause=interrupted):
        ran = enos("rerun", instance)
    assert (ran.code, ran.err.splitlines()[-1]) == (130, "Interrupted. Nothing was started.")
    assert len(sim.instances) == 1


def test_that_wait_has_an_end(enos: Run, sim: EnosSimulator) -> None:
    sim.switch({"progress": "manual"})
    mended(sim)
    ran = enos("rerun", still_running(sim), "--timeout", 0.05, "--poll-interval", 0.01)
    assert "had not ended in the time given to it" in error_line(ran)
    assert ran.err.splitlines()[-2] == "Nothing was started."
    assert len(sim.instances) == 1


# ---- reasons against it ---------------------------------------------------------------------------------------------


def two_roots(sim: EnosSimulator) -> str:
    sim.add_flow(5001, name="two roots", tasks={1: "a", 2: "b", 3: "c"}, relations=[(1, 3), (2, 3)])
    instance = triggered(sim, 5001, 3)
    sim.set_node_status(instance, 1, "FAIL")
    sim.set_node_status(instance, 2, "FAIL")
    sim.finish(instance, "FAIL", failed_task=1)
    return instance


def changed_since(sim: EnosSimulator) -> str:
    instance = failed(sim)
    sim.add_flow(4001, name="fails_at_load", tasks={40011: "extract", 40019: "load"})
    return instance


def on_another_flow(sim: EnosSimulator) -> str:
    return failed(sim, 4011, 40111, 40112)


def running(sim: EnosSimulator) -> str:
    return triggered(sim, 4009, 40091)


def succeeded(sim: EnosSimulator) -> str:
    instance = triggered(sim, 3377, 108580)
    sim.finish(instance, "SUCCESS")
    return instance


REASONS = {
    two_roots: (
        "cannot be run again from a node: no single node leads to all of its unfinished nodes. To run the whole flow "
        f"again: {PROGRAM} trigger 5001 --trigger-time 2020-07-06T06:26:00+00:00"
    ),
    changed_since: "cannot be run again from a node: the nodes of flow 4001 have changed since",
    on_another_flow: "cannot be run again from a node: it depends on other flows",
    running: (
        f"has not ended, its status is RUNNING. To wait for its end: {PROGRAM} instance --wait 4009-{MINUTE}. "
        f"To stop it: {PROGRAM} cancel --wait 4009-{MINUTE}"
    ),
    succeeded: "did not fail, its status is SUCCESS: there is nothing to run again",
}


@pytest.mark.parametrize("dry_run", [(), ("--dry-run",)], ids=["start", "dry-run"])
@pytest.mark.parametrize("make", REASONS, ids=lambda make: make.__name__)
def test_reason_against_a_rerun(
    enos: Run, sim: EnosSimulator, make: Callable[[EnosSimulator], str], dry_run: tuple[str, ...]
) -> None:
    ran = enos("rerun", make(sim), *dry_run)
    assert (ran.code, ran.out) == (1, "")
    assert REASONS[make] in error_line(ran)
    assert len(sim.instances) == 1


def test_a_run_with_parameters_is_started_as_a_whole(enos: Run, sim: EnosSimulator) -> None:
    """Trigger Flow From Task takes no parameters."""
    enos("trigger", 3377, "--trigger-time", TIME, "--parameter", "day=1 2")
    sim.finish(INSTANCE, "FAIL", failed_task=108580)
    said = error_line(enos("rerun", INSTANCE))
    assert said.endswith(
        "cannot be run again from a node: its parameters are not those of the flow. To run the whole flow again: "
        f"{PROGRAM} trigger 3377 --trigger-time 2020-07-06T06:26:00+00:00 --parameter 'day=1 2'"
    )


def test_an_instance_that_is_not_there(enos: Run, sim: EnosSimulator) -> None:
    said = error_line(enos("rerun", f"3377-{MINUTE}"))
    assert f"Flow instance 3377-{MINUTE} does not exist, or this user may not see it" in said
    assert f"To find an id: {PROGRAM} instances 3377" in said


def test_a_flow_that_is_not_there_any_more(enos: Run, sim: EnosSimulator) -> None:
    instance = failed(sim)
    sim.fault("data_null", on="flows/get", times=None)
    assert "Flow 4001 does not exist" in error_line(enos("rerun", instance))
    assert len(sim.instances) == 1


def test_the_trigger_time_of_an_instance_of_the_schedule_has_to_be_given(enos: Run, sim: EnosSimulator) -> None:
    """Its id has the hour only, and in which zone is not documented."""
    made = sim.run_schedule(4010, 1594016819108)
    assert made is not None
    sim.finish(made.id, "FAIL", failed_task=40102)
    ran = enos("rerun", made.id)
    assert ran.code == 2
    assert f"--trigger-time is needed, since the id {made.id} names no minute" in ran.err
    ran = enos("rerun", made.id, "--trigger-time", "2020-07-06T06:26:00+00:00")
    assert (ran.code, ran.out) == (0, "4010-20200706062700\n")
    assert started(sim)[1:] == [("4010-20200706062700", 40102)]


# ---- dry run --------------------------------------------------------------------------------------------------------


def test_dry_run_says_what_would_happen_and_starts_nothing(enos: Run, sim: EnosSimulator) -> None:
    ran = enos("rerun", failed(sim), "--dry-run")
    assert ran.code == 0
    assert ran.out.splitlines()[:6] == [
        f"flow instance  {FAILED} (FAIL)",
        "flow           4001 fails_at_load",
        "starts from    node load (40012)",
        "because        1 of 5 nodes failed, 1 never ran; 3 that succeeded are kept",
        "trigger time   the next free minute of the day of 2020-07-06T06:26+00:00",
        "",
    ]
    assert ran.rows == [
        ["40011", "extract", "SUCCESS", "kept"],
        ["40012", "load", "FAIL", "runs again"],
        ["40013", "report", "INIT", "runs again"],
        ["40014", "archive", "SUCCESS", "kept"],
        ["40015", "tidy_up", "SUCCESS", "kept"],
    ]
    assert ran.err == f"Nothing was started. To start it: {PROGRAM} rerun {FAILED}\n"
    assert started(sim) == [(FAILED, 40011)]
    assert not any(re.match("flows/(trigger|update)", str(record.operation)) for record in sim.requests)


def test_dry_run_for_programs(enos: Run, sim: EnosSimulator) -> None:
    shown = enos("rerun", failed(sim), "--dry-run", "-o", "json").json
    again, kept = shown.pop("runs_again"), shown.pop("kept")
    assert shown == {
        "flow_instance_id": FAILED,
        "flow_id": 4001,
        "from_task_id": 40012,
        "from_task_name": "load",
        "reason": "1 of 5 nodes failed, 1 never ran; 3 that succeeded are kept",
    }
    assert [node["task_id"] for node in again] == [40012, 40013]
    assert [node["task_name"] for node in kept] == ["extract", "archive", "tidy_up"]
    assert again[0]["status"] == "FAIL"


def test_dry_run_does_not_wait(enos: Run, sim: EnosSimulator) -> None:
    sim.switch({"progress": "manual"})
    mended(sim)
    said = error_line(enos("rerun", still_running(sim), "--dry-run"))
    assert f"Node archive (40014-{MINUTE}) of {FAILED} is still running" in said
    assert f"{PROGRAM} cancel --wait {FAILED}" in said


def test_what_to_type_next_keeps_the_connection_and_the_trigger_time(
    enos: Run, sim: EnosSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_ENOS_EMEA", sim.connection_json)
    time = "2020-07-06T08:00:00+00:00"
    ran = enos("rerun", failed(sim), "--dry-run", "--conn-id", "enos_emea", "--trigger-time", time)
    assert ran.err.endswith(f"rerun --trigger-time {time} {FAILED} --conn-id enos_emea\n")


def test_the_page_shows_what_a_dry_run_prints(enos: Run, sim: EnosSimulator) -> None:
    page = (Path(__file__).parents[2] / "docs" / "recovery.md").read_text()
    ran = enos("rerun", failed(sim), "--dry-run")
    assert ran.out + ran.err.replace(PROGRAM, "airflow enos") in page
