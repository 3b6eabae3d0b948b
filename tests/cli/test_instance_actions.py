"""Starting, following and cancelling instances: what the commands print, and how they end."""

from __future__ import annotations

import re

import pytest
from command_line import INSTANCE, PROGRAM, TIME, WAIT, Run, error_line, triggered

from airflow_provider_enos.client import timing
from airflow_provider_enos.simulator import EnosSimulator

# ---- waiting --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["instance", "trigger"])
@pytest.mark.parametrize(
    ("flow_id", "task_id", "code", "status"),
    [(3377, 108580, 0, "SUCCESS"), (4001, 40011, 1, "FAIL"), (4002, 40021, 1, "CANCEL"), (4003, 40031, 99, "SKIP")],
)
@pytest.mark.parametrize("output", ["table", "json"])
def test_waiting_exits_as_the_instance_ends(
    enos: Run, sim: EnosSimulator, command: str, flow_id: int, task_id: int, code: int, status: str, output: str
) -> None:
    if command == "instance":
        ran = enos("instance", triggered(sim, flow_id, task_id), *WAIT, "-o", output)
    else:
        ran = enos("trigger", flow_id, "--from-task", task_id, "--trigger-time", TIME, *WAIT, "-o", output)
    assert ran.code == code
    assert status in ran.err
    if output == "json":
        assert (ran.json["flow_instance_id"], ran.json["status"]) == (f"{flow_id}-20200706062600", status)
    if code == 1:
        assert f"ended with status {status}" in error_line(ran)
    assert (f"The whole log: {PROGRAM} log {flow_id}2-20200706062600\n" in ran.err) == (status == "FAIL")


def test_a_wait_that_is_over_too_early_says_what_runs_on(enos: Run, sim: EnosSimulator) -> None:
    triggered(sim, 4009, 40091)
    ran = enos("instance", "4009-20200706062600", *WAIT, "--timeout", 0.05)
    assert "had not ended in the time given to it" in error_line(ran)
    assert f"4009-20200706062600 runs on. To follow it again: {PROGRAM} instance --wait 4009-" in ran.err
    assert sim.instances[0].status != "CANCEL"


def test_what_to_type_next_asks_the_same_gateway_and_tenant(
    enos: Run, sim: EnosSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_ENOS_EMEA", sim.connection_json)
    triggered(sim, 4009, 40091)
    tenant = ("--conn-id", "enos_emea", "--org-id", sim.org_id, "--user-id", sim.user_id)
    ran = enos("instance", "4009-20200706062600", *WAIT, *tenant, "--timeout", 0.05)
    assert f"To end it: {PROGRAM} cancel 4009-20200706062600 {' '.join(tenant)}\n" in ran.err


# ---- trigger --------------------------------------------------------------------------------------------------------


def test_trigger_prints_the_id(enos: Run, sim: EnosSimulator) -> None:
    ran = enos("trigger", 3377, "--from-task", 108580, "--trigger-time", TIME)
    assert (ran.code, ran.out) == (0, f"{INSTANCE}\n")
    assert sim.count("flows/triggerFromTask") == 1
    another = enos("trigger", 3377, "--trigger-time", TIME, "-o", "json")
    assert another.json == {"flow_instance_id": "3377-20200706062700"}
    assert "The minute of 3377-20200706062600 is taken" in another.err


def test_trigger_with_parameters(enos: Run, sim: EnosSimulator) -> None:
    ran = enos("trigger", 3377, "-p", "day=2024-03-02", "-p", "where=a=b")
    assert ran.code == 0
    assert sim.count("flows/updateAndTrigger") == 1
    shown = enos("instance", ran.out.strip(), "-o", "json").json
    assert {"key": "where", "value": "a=b"} in shown["parameters"]


def test_trigger_looks_a_lost_reply_up(enos: Run, sim: EnosSimulator) -> None:
    sim.fault("lost_reply", on="flows/triggerFromTask")
    ran = enos("trigger", 3377, "--from-task", 108580, "--trigger-time", TIME)
    assert (ran.code, ran.out) == (0, f"{INSTANCE}\n")
    assert sim.count("flows/triggerFromTask") == 1
    assert len(sim.instances) == 1
    assert "The trigger was not answered" in ran.err


def test_trigger_says_what_may_have_been_started(enos: Run, sim: EnosSimulator) -> None:
    sim.fault("dropped", on="flows/trigger")
    ran = enos("trigger", 3377, "--trigger-time", TIME)
    assert "no instance can be seen" in error_line(ran)
    assert f"look: {PROGRAM} instance {INSTANCE}" in ran.err
    assert ran.out == ""
    assert sim.count("flows/trigger") == 1


@pytest.mark.parametrize(
    ("on_conflict", "code", "said"), [("attach", 0, "somebody else started"), ("fail", 1, "has an instance for this")]
)
def test_trigger_in_a_minute_that_is_taken(
    enos: Run, sim: EnosSimulator, on_conflict: str, code: int, said: str
) -> None:
    triggered(sim, 3377, 108580)
    ran = enos("trigger", 3377, "--trigger-time", TIME, "--on-conflict", on_conflict)
    assert (ran.code, len(sim.instances)) == (code, 1)
    assert said in ran.err


def test_trigger_of_a_node_that_is_not_there_lists_those_that_are(enos: Run) -> None:
    assert "108580 (clean)" in error_line(enos("trigger", 3377, "--from-task", 5))


# ---- cancel ---------------------------------------------------------------------------------------------------------


def test_cancel(enos: Run, sim: EnosSimulator) -> None:
    instance = triggered(sim, 4009, 40091)
    ran = enos("cancel", instance)
    assert (ran.code, ran.out) == (0, "")
    assert ran.err == f"Asked EnOS to cancel {instance}.\n"
    assert sim.instances[0].status == "CANCEL"


@pytest.mark.parametrize("cancel_takes", [0.0, 0.2])
def test_cancel_and_wait(run: Run, short_pauses: None, monkeypatch: pytest.MonkeyPatch, cancel_takes: float) -> None:
    with EnosSimulator(cancel_takes=cancel_takes) as sim:
        monkeypatch.setenv("AIRFLOW_CONN_ENOS_DEFAULT", sim.connection_uri)
        instance = triggered(sim, 4009, 40091)
        ran = run("cancel", instance, "--wait", "--poll-interval", "20")
        assert (ran.code, ran.out) == (0, f"{instance} CANCEL\n")
        assert run("cancel", instance, "--wait", "-o", "json").json["status"] == "CANCEL"


@pytest.mark.parametrize("wait", [(), ("--wait",)], ids=["once", "waiting"])
def test_cancel_of_one_that_has_ended_by_itself(enos: Run, sim: EnosSimulator, wait: tuple[str, ...]) -> None:
    instance = triggered(sim, 4009, 40091)
    sim.finish(instance, "SUCCESS")
    ran = enos("cancel", instance, *wait)
    assert (ran.code, ran.out) == (1, f"{instance} SUCCESS\n" if wait else "")
    assert "was not cancelled: it had ended by itself, with status SUCCESS" in error_line(ran)
    assert sim.count("flowInstances/cancel") == 0


def test_cancel_of_one_that_was_cancelled_before(enos: Run, sim: EnosSimulator) -> None:
    instance = triggered(sim, 4009, 40091)
    sim.finish(instance, "CANCEL")
    ran = enos("cancel", instance)
    assert (ran.code, ran.err) == (0, f"{instance} was cancelled before: it has status CANCEL.\n")
    assert enos("cancel", instance, "-o", "json").json == {"flow_instance_id": instance}
    assert sim.count("flowInstances/cancel") == 0


def test_cancel_of_one_that_cannot_be_looked_at(enos: Run, sim: EnosSimulator) -> None:
    """A cancel is sent if it is not known whether the instance has ended."""
    instance = triggered(sim, 4009, 40091)
    sim.fault("http_503", on="flowInstances/get", times=None)
    ran = enos("cancel", instance)
    assert (ran.code, sim.instances[0].status) == (0, "CANCEL")
    assert f"Cannot tell whether {instance} has ended" in ran.err


# ---- interrupt ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (
            "trigger",
            r"^Interrupted\. Flow instance 4009-20200706062600 runs on\. .* instance --wait .* cancel 4009",
        ),
        ("instance", r"^Interrupted\. Flow instance 4009-20200706062600 runs on\. "),
        ("cancel", r"^Interrupted\. EnOS was asked to cancel 4009-20200706062600\.$"),
        ("log", r"^Interrupted\. Task instance 40092-20200706062600 runs on\.$"),
    ],
)
def test_an_interrupt_says_what_runs_on(
    enos: Run, sim: EnosSimulator, monkeypatch: pytest.MonkeyPatch, command: str, said: str
) -> None:
    if command != "trigger":
        triggered(sim, 4009, 40091)
    arguments: dict[str, tuple[object, ...]] = {
        "trigger": (4009, "--trigger-time", TIME, *WAIT),
        "instance": ("4009-20200706062600", *WAIT),
        "cancel": ("4009-20200706062600", *WAIT),
        "log": ("40092-20200706062600", "--follow"),
    }
    sim.switch({"cancel_takes": 60.0})

    def interrupted(seconds: float) -> float:
        raise KeyboardInterrupt

    with timing.override(pause=interrupted):
        ran = enos(command, *arguments[command])
    assert ran.code == 130
    assert re.search(said, ran.err.splitlines()[-1])
    assert sim.instances[0].status != "CANCEL"


def test_an_interrupt_before_the_reply_says_what_may_have_been_started(
    enos: Run, sim: EnosSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(seconds: float) -> float:
        raise KeyboardInterrupt

    sim.fault("dropped", on="flows/trigger")
    sim.fault("http_503", on="flowInstances/get", times=None)
    with timing.override(pause=interrupted):
        ran = enos("trigger", 3377, "--trigger-time", TIME)
    assert ran.code == 130
    assert ran.err.splitlines()[-1].startswith("Interrupted. The flow may have been started. Before you start it again")
    assert INSTANCE in ran.err.splitlines()[-1]
