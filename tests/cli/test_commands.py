"""What each command does, on a simulated gateway."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest

from airflow_provider_enos.simulator import EnosSimulator

Run = Callable[..., Any]

TIME = "2020-07-06T06:26:59.108+00:00"
INSTANCE = "3377-20200706062600"
TASK_INSTANCE = "108580-20200706062600"
EVIL = "\x1b[31m[bold]red[/nope] \u202e\x9b2J\r\nsecond"
WAIT = ("--wait", "--poll-interval", "0.01")


def triggered(sim: EnosSimulator, flow_id: int, task_id: int) -> str:
    return sim.trigger(flow_id, task_id, 1594016819108).id


def error_line(ran: Any) -> str:
    """The one line that says what was wrong."""
    assert ran.code == 1
    # A node's own log may have one, after the time.
    assert "\nTraceback" not in f"\n{ran.err}"
    (line,) = (line for line in ran.err.splitlines() if line.startswith("python -m airflow_provider_enos"))
    return str(line)


# ---- check ----------------------------------------------------------------------------------------------------------


def test_check_shows_each_step(enos: Run, sim: EnosSimulator) -> None:
    ran = enos("check")
    assert ran.code == 0
    assert [row[:2] for row in ran.rows] == [
        ["connection", "ok"],
        ["address", "ok"],
        ["TLS", "ok"],
        ["clock", "ok"],
        ["token", "ok"],
        ["user", "ok"],
        ["rights", "ok"],
    ]
    assert sim.instances == []
    assert (ran.err, sim.secret_key in ran.out) == ("", False)


def test_check_stops_at_the_step_that_fails(enos: Run, sim: EnosSimulator) -> None:
    ran = enos("check", "--user-id", "u1", "--output", "json")
    assert ran.code == 1
    assert not ran.json["works"]
    assert [(step["name"], step["state"]) for step in ran.json["steps"]][-2:] == [("token", "ok"), ("user", "failed")]
    assert "62101" in ran.json["steps"][-1]["said"]


def test_check_of_a_connection_that_is_not_there(run: Run) -> None:
    ran = run("check", "--conn-id", "enos_nowhere")
    assert ran.code == 1
    assert ran.rows[0][:2] == ["connection", "failed"]
    assert "or set AIRFLOW_CONN_ENOS_NOWHERE" in ran.rows[0][2]


def test_check_of_a_connection_that_airflow_cannot_read(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_ENOS_CUT", '{"conn_type": "enos", "password": "very secret",')
    ran = run("check", "--conn-id", "enos_cut")
    assert ran.code == 1
    assert "AIRFLOW_CONN_ENOS_CUT is set, but Airflow cannot read it" in ran.rows[0][2]
    assert "very secret" not in ran.out + ran.err


# ---- flows, flow ----------------------------------------------------------------------------------------------------


def test_flows(enos: Run, sim: EnosSimulator) -> None:
    for number in range(120):
        sim.add_flow(6000 + number, name=f"one_of_many_{number}", tasks={1: "a"})
    ran = enos("flows", "one_of_many")
    assert (ran.code, len(ran.rows)) == (0, 120)
    assert enos("flows", "meter_readings_daily").rows == [["3377", "meter_readings_daily"]]
    assert enos("flows", "meter_readings_daily", "-o", "json").json == [
        {"flow_id": 3377, "flow_name": "meter_readings_daily"}
    ]
    assert enos("flows", "no such flow", "-o", "json").json == []
    assert {"4008", "3377"} <= {row[0] for row in enos("flows").rows}


def test_my_flows(enos: Run) -> None:
    (mine,) = enos("flows", "3377", "--mine", "-o", "json").json
    assert mine == {"flow_id": 3377, "flow_name": "meter_readings_daily", "editable": True, "cycle": "D"}
    assert enos("flows", "3377", "--mine").rows == [["3377", "meter_readings_daily", "True", "D"]]


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


@pytest.mark.parametrize(
    "arguments",
    [("flow", 999), ("instance", "999-20200706062600"), ("log", "999-20200706062600"), ("trigger", 999)],
    ids=lambda arguments: arguments[0],
)
@pytest.mark.parametrize("output", ["table", "json"])
def test_what_is_not_there_is_one_line(enos: Run, arguments: tuple[object, ...], output: str) -> None:
    ran = enos(*arguments, "--output", output)
    assert error_line(ran).startswith(f"python -m airflow_provider_enos {arguments[0]}: ")
    assert ran.out == ""


def test_names_from_enos_cannot_write_on_the_terminal(enos: Run, sim: EnosSimulator) -> None:
    """Neither by control characters, nor as markup of the table."""
    sim.add_flow(5001, name=EVIL, tasks={50011: EVIL}, logs={50011: EVIL}, progress="at_once", parameters={EVIL: EVIL})
    instance = enos("trigger", 5001, "--trigger-time", TIME, *WAIT)
    assert instance.out == "5001-20200706062600\n"
    everything = instance.err
    commands: list[tuple[object, ...]] = [
        ("flow", 5001),
        ("flows", "5001"),
        ("flows", "5001", "--mine"),
        ("instances", "--from", TIME),
        ("instance", "5001-20200706062600"),
    ]
    for command in commands:
        ran = enos(*command)
        assert ran.code == 0
        assert "[bold]red[/nope] second" in ran.out
        everything += ran.out + ran.err
        assert isinstance(enos(*command, "-o", "json").json, (dict, list))
        everything += enos(*command, "-o", "json").out
    log = enos("log", "50011-20200706062600")
    assert "second" in log.out.splitlines()
    everything += log.out
    assert set(re.findall(r"[^\x20-\x7e]", everything)) == {"\n"}


# ---- instances ------------------------------------------------------------------------------------------------------


def test_instances_of_a_flow(enos: Run, sim: EnosSimulator) -> None:
    sim.add_flow(13377, name="another", tasks={1: "a"})
    for flow_id, task_id, status in ((3377, 108580, "SUCCESS"), (4001, 40011, "FAIL"), (13377, 1, "SUCCESS")):
        sim.finish(triggered(sim, flow_id, task_id), status)
    window = ("--from", TIME, "--to", "2020-07-07T00:00:00Z")
    assert len(enos("instances", *window).rows) == 3
    ran = enos("instances", 3377, *window, "--output", "json")
    assert [one["flow_instance_id"] for one in ran.json] == [INSTANCE]
    assert (ran.json[0]["status"], ran.json[0]["outcome"]) == ("SUCCESS", "succeeded")
    found = enos("instances", *window, "--status", "fail", "--status", "CANCEL")
    assert [row[0] for row in found.rows] == ["4001-20200706062600"]
    assert enos("instances", "-o", "json").json == []


def test_instances_of_a_window_that_is_none(enos: Run, sim: EnosSimulator) -> None:
    ran = enos("instances", "--from", "now", "--to", TIME)
    assert (ran.code, ran.out) == (2, "")
    assert sim.requests == []


# ---- instance -------------------------------------------------------------------------------------------------------


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
    assert "times cannot be told" in ran.err
    assert sim.count("taskInstances/get") == 1


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


def test_a_wait_that_is_over_too_early_says_what_runs_on(enos: Run, sim: EnosSimulator) -> None:
    triggered(sim, 4009, 40091)
    ran = enos("instance", "4009-20200706062600", *WAIT, "--timeout", 0.05)
    assert "had not ended in the time given to it" in error_line(ran)
    assert "4009-20200706062600 runs on: python -m airflow_provider_enos instance --wait" in ran.err
    assert sim.instances[0].status != "CANCEL"


def test_what_to_type_next_asks_the_same_gateway_and_tenant(
    enos: Run, sim: EnosSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_ENOS_EMEA", sim.connection_json)
    triggered(sim, 4009, 40091)
    tenant = ("--conn-id", "enos_emea", "--org-id", sim.org_id, "--user-id", sim.user_id)
    ran = enos("instance", "4009-20200706062600", *WAIT, *tenant, "--timeout", 0.05)
    assert f"cancel 4009-20200706062600 {' '.join(tenant)} ends it." in ran.err


# ---- log ------------------------------------------------------------------------------------------------------------


def test_log(enos: Run, sim: EnosSimulator) -> None:
    sim.finish(triggered(sim, 4001, 40011), "FAIL", failed_task=40012)
    ran = enos("log", "40012-20200706062600")
    assert ran.code == 0
    assert ran.out.endswith("\nColumnMissing: dw.meter_readings has no column 'reactive_power'\n")
    assert enos("log", "40012-20200706062600", "-n", 2).out == (
        "    raise ColumnMissing(column)\nColumnMissing: dw.meter_readings has no column 'reactive_power'\n"
    )
    shown = enos("log", "40012-20200706062600", "-n", 1, "-o", "json").json
    assert shown == {
        "task_instance_id": "40012-20200706062600",
        "log": "ColumnMissing: dw.meter_readings has no column 'reactive_power'",
    }
    assert enos("log", "40012-20200706062600", "--follow").out == ran.out
    assert enos("log", "40012-20200706062600", "--follow", "-o", "json").json["log"] == ran.out.rstrip("\n")


def test_log_of_what_has_not_begun(enos: Run, sim: EnosSimulator) -> None:
    sim.progress = "manual"
    triggered(sim, 3377, 108580)
    ran = enos("log", "108582-20200706062600")
    assert "has no log yet, it is INIT; --follow waits for one" in error_line(ran)
    assert ran.out == ""


@pytest.mark.parametrize("follow", [(), ("--follow",)], ids=["once", "followed"])
def test_log_of_what_will_never_run(enos: Run, sim: EnosSimulator, follow: tuple[str, ...]) -> None:
    """A node upstream of the one that the flow was started from stays INIT for ever."""
    sim.finish(triggered(sim, 3377, 108580), "SUCCESS")
    ran = enos("log", "108579-20200706062600", *follow)
    assert "it has not run: its flow instance 3377-20200706062600 has ended without it (SUCCESS)" in error_line(ran)
    assert ran.out == ""


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
    assert f"look: python -m airflow_provider_enos instance {INSTANCE}" in ran.err
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


MISUSES: dict[str, tuple[object, ...]] = {
    "no command": (),
    "no such command": ("explode",),
    "flow_id": ("flow", "x"),
    "flow_instance_id": ("instance", "a b"),
    "--trigger-time": ("trigger", 3377, "--trigger-time", "2024-03-03"),
    "--from-task": ("trigger", 3377, "--from-task", "0"),
    "--parameter": ("trigger", 3377, "--parameter", "day"),
    "--parameter does not go": ("trigger", 3377, "--parameter", "a=b", "--from-task", "1"),
    "--poll-interval": ("trigger", 3377, "--wait", "--poll-interval", "0"),
    "--timeout": ("trigger", 3377, "--wait", "--timeout", "nan"),
    "--status": ("instances", "--status", "GOOD"),
    "--lines": ("log", "1-1", "--lines", "-1"),
    "--output": ("check", "--output", "xml"),
}


@pytest.mark.parametrize(("said", "arguments"), MISUSES.items(), ids=MISUSES)
def test_what_cannot_work_is_refused_before_anything_is_sent(
    enos: Run, sim: EnosSimulator, said: str, arguments: tuple[object, ...]
) -> None:
    ran = enos(*arguments)
    assert (ran.code, ran.out, sim.requests) == (2, "", [])
    if not said.startswith("no"):
        assert said in ran.err.splitlines()[-1]


# ---- cancel ---------------------------------------------------------------------------------------------------------


def test_cancel(enos: Run, sim: EnosSimulator) -> None:
    instance = triggered(sim, 4009, 40091)
    ran = enos("cancel", instance)
    assert (ran.code, ran.out) == (0, "")
    assert ran.err == f"Asked EnOS to cancel {instance}.\n"
    assert sim.instances[0].status == "CANCEL"
    assert enos("cancel", instance, "-o", "json").json == {"flow_instance_id": instance}


@pytest.mark.parametrize("cancel_takes", [0.0, 0.2])
def test_cancel_and_wait(run: Run, short_pauses: None, monkeypatch: pytest.MonkeyPatch, cancel_takes: float) -> None:
    with EnosSimulator(cancel_takes=cancel_takes) as sim:
        monkeypatch.setenv("AIRFLOW_CONN_ENOS_DEFAULT", sim.connection_uri)
        instance = triggered(sim, 4009, 40091)
        ran = run("cancel", instance, "--wait", "--poll-interval", "20")
        assert (ran.code, ran.out) == (0, f"{instance} CANCEL\n")
        assert run("cancel", instance, "--wait", "-o", "json").json["status"] == "CANCEL"


def test_cancel_of_one_that_has_ended_by_itself(enos: Run, sim: EnosSimulator) -> None:
    instance = triggered(sim, 4009, 40091)
    sim.finish(instance, "SUCCESS")
    ran = enos("cancel", instance, "--wait")
    assert (ran.code, ran.out) == (1, f"{instance} SUCCESS\n")
    assert "was not cancelled: it had ended by itself, with status SUCCESS" in ran.err
    assert sim.count("flowInstances/cancel") == 0


# ---- interrupted ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (
            "trigger",
            r"^Interrupted\. Flow instance 4009-20200706062600 runs on: .* instance --wait .* cancel 4009",
        ),
        ("instance", r"^Interrupted\. Flow instance 4009-20200706062600 runs on: "),
        ("cancel", r"^Interrupted\. EnOS was asked to cancel 4009-20200706062600\.$"),
        ("log", r"^Interrupted\. Task instance 40092-20200706062600 runs on\.$"),
    ],
)
def test_an_interrupt_says_what_runs_on(
    enos: Run, sim: EnosSimulator, override_timing: Callable[..., None], command: str, said: str
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

    override_timing(pause=interrupted)
    ran = enos(command, *arguments[command])
    assert ran.code == 130
    assert re.search(said, ran.err.splitlines()[-1])
    assert sim.instances[0].status != "CANCEL"


def test_an_interrupt_before_the_reply_says_what_may_have_been_started(
    enos: Run, sim: EnosSimulator, override_timing: Callable[..., None]
) -> None:
    def interrupted(seconds: float) -> float:
        raise KeyboardInterrupt

    override_timing(pause=interrupted)
    sim.fault("dropped", on="flows/trigger")
    sim.fault("http_503", on="flowInstances/get", times=None)
    ran = enos("trigger", 3377, "--trigger-time", TIME)
    assert ran.code == 130
    assert ran.err.splitlines()[-1].startswith("Interrupted. The flow may have been started. Before you start it again")
    assert INSTANCE in ran.err.splitlines()[-1]


def test_json_is_all_that_is_on_stdout(enos: Run, sim: EnosSimulator) -> None:
    """With notes, warnings and progress on the other stream."""
    sim.fault("lost_reply", on="flows/trigger")
    ran = enos("trigger", 4001, "--trigger-time", TIME, *WAIT, "-o", "json")
    assert ran.code == 1
    assert json.loads(ran.out)["status"] == "FAIL"
    assert ran.out.startswith("{")
    assert "ColumnMissing" in ran.err
