"""What each command does, on a simulated gateway."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from command_line import INSTANCE, PROGRAM, TIME, WAIT, Run, error_line, triggered

from airflow_provider_enos.simulator import EnosSimulator

EVIL = "\x1b[31m[bold]red[/nope] \u202e\x9b2J\r\nsecond"


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


def test_check_counts_the_flows_that_the_command_flows_lists(enos: Run) -> None:
    rights = {row[0]: row[2] for row in enos("check").rows}["rights"]
    mine = enos("flows", "--mine", "-o", "json").json
    editable = sum(flow["editable"] for flow in mine)
    assert rights.startswith(f"may edit {editable} of the {len(mine)} flows that it owns or may view")


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


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("flow", 999), rf"Flow 999 does not exist, .* To find an id: {PROGRAM} flows\. EnOS said: Get Flow: 62102 "),
        (
            ("instance", "999-1"),
            rf"Flow instance 999-1 does not .*: {PROGRAM} instances 999\. ",
        ),
        (
            ("cancel", "999-1"),
            rf"Flow instance 999-1 does not .*: {PROGRAM} instances 999\. ",
        ),
        (
            ("log", "999-1"),
            rf"Task instance 999-1 does not .*: {PROGRAM} instance FLOW_INSTANCE_ID\. ",
        ),
        (("log", "999-1", "--follow"), r"Task instance 999-1 does not "),
        (("trigger", 999), rf"flow_id: EnOS has no flow 999 .* To find an id: {PROGRAM} flows$"),
    ],
    ids=lambda value: " ".join(map(str, value)) if isinstance(value, tuple) else "",
)
@pytest.mark.parametrize("output", ["table", "json"])
def test_an_id_that_does_not_exist_is_named_with_the_command_that_lists_ids(
    enos: Run, arguments: tuple[object, ...], said: str, output: str
) -> None:
    ran = enos(*arguments, "--output", output)
    line = error_line(ran)
    assert re.match(rf"{PROGRAM} {arguments[0]}: {said}", line), line
    assert ran.out == ""


@pytest.mark.parametrize("arguments", [("flows",), ("instance", INSTANCE), ("trigger", "3377")], ids=" ".join)
def test_where_the_connection_is_wrong_the_error_leads_to_check(run: Run, arguments: tuple[object, ...]) -> None:
    assert error_line(run(*arguments)).endswith(f". To test the connection: {PROGRAM} check")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ("flows", "no such"),
            r"Organisation \S+ has no flow whose id or name is like 'no such'\. To list all: .* flows$",
        ),
        (
            ("flows", "no such", "--mine"),
            r"User \S+ has no flow whose id or name is like 'no such'\. To list all: .* flows --mine$",
        ),
        (
            ("instances", 3377, "--from", TIME, "--to", "2020-07-07T00:00:00Z", "--status", "FAIL"),
            r"There is no instance of flow 3377 with status FAIL with a trigger time "
            r"from 2020-07-06T06:26\+00:00 up to 2020-07-07T00:00\+00:00: see --from and --to\.$",
        ),
        (("instances",), r"There is no instance with a trigger time from "),
    ],
)
def test_an_empty_list_says_so(enos: Run, arguments: tuple[object, ...], said: str) -> None:
    ran = enos(*arguments)
    assert (ran.code, ran.out) == (0, "")
    assert re.match(said, ran.err.removesuffix("\n")), ran.err
    ran = enos(*arguments, "--output", "json")
    assert (ran.code, ran.json, ran.err) == (0, [], "")


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
    follow = f"{PROGRAM} log --follow 108582-20200706062600"
    assert error_line(ran).endswith(f"has no log yet, it is INIT. To wait for one: {follow}")
    assert ran.out == ""


@pytest.mark.parametrize("follow", [(), ("--follow",)], ids=["once", "followed"])
def test_log_of_what_will_never_run(enos: Run, sim: EnosSimulator, follow: tuple[str, ...]) -> None:
    """A node upstream of the node from which the flow was started stays INIT for ever."""
    sim.finish(triggered(sim, 3377, 108580), "SUCCESS")
    ran = enos("log", "108579-20200706062600", *follow)
    assert "it has not run: its flow instance 3377-20200706062600 has ended without it (SUCCESS)" in error_line(ran)
    assert ran.out == ""


# ---- misuse ---------------------------------------------------------------------------------------------------------


MISUSES: dict[str, tuple[object, ...]] = {
    "no command": (),
    "no such command": ("explode",),
    "FLOW_ID": ("flow", "x"),
    "FLOW_INSTANCE_ID": ("instance", "a b"),
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


def test_json_is_all_that_is_on_stdout(enos: Run, sim: EnosSimulator) -> None:
    """With notes, warnings and progress on the other stream."""
    sim.fault("lost_reply", on="flows/trigger")
    ran = enos("trigger", 4001, "--trigger-time", TIME, *WAIT, "-o", "json")
    assert ran.code == 1
    assert json.loads(ran.out)["status"] == "FAIL"
    assert ran.out.startswith("{")
    assert "ColumnMissing" in ran.err


# ---- by name ---------------------------------------------------------------------------------------------------------


def test_a_flow_and_a_node_by_name(enos: Run, sim: EnosSimulator) -> None:
    sim.add_flow(7001, name="读数 daily", tasks={70011: "extract", 70012: "clean & load"}, progress="at_once")
    sim.add_flow(7002, name="读数 daily 2", tasks={70021: "extract"})
    assert enos("flow", "--flow-name", "读数 daily", "-o", "json").json["flow_id"] == 7001
    time = ["--trigger-time", "2020-07-06T06:26:59+00:00"]
    ran = enos("trigger", "--flow-name", "读数 daily", "--from-task-name", "clean & load", *time, "--wait")
    assert (ran.code, ran.out) == (0, "7001-20200706062600\n")
    assert "The flow named '读数 daily' is flow 7001" in ran.err
    assert [one.from_task_id for one in sim.instances] == [70012]
    listed = enos("instances", "--flow-name", "读数 daily", "--from", "2020-07-06T00:00:00+00:00")
    assert [row[0] for row in listed.rows] == ["7001-20200706062600"]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("flow",), 2, "give either FLOW_ID or --flow-name"),
        (("trigger",), 2, "give either FLOW_ID or --flow-name"),
        (("flow", 3377, "--flow-name", "x"), 2, "give either FLOW_ID or --flow-name"),
        (("instances", 3377, "--flow-name", "x"), 2, "give either FLOW_ID or --flow-name"),
        (("flow", "--flow-name", "meter"), 1, "no flow named 'meter'.*near are 3377 .*To find an id: .* flows"),
        (("trigger", "--flow-name", "meter"), 1, "no flow named 'meter'.*To find an id: .* flows"),
        (("trigger", 3377, "--from-task-name", "x"), 1, "no task node named 'x'; it has 108579 .'ingest'., 108580"),
        (("trigger", 3377, "-t", 1, "--from-task-name", "x"), 2, "--from-task and --from-task-name do not go together"),
        (("trigger", 3377, "-p", "a=b", "--from-task-name", "x"), 2, "--parameter does not go with --from-task"),
        (("trigger", "--flow-name", " "), 2, "--flow-name: ' '; expected a name on one line"),
    ],
)
def test_names_that_cannot_work(enos: Run, sim: EnosSimulator, arguments: Any, code: int, said: str) -> None:
    ran = enos(*arguments)
    assert (ran.code, ran.out) == (code, "")
    assert re.search(said, ran.err)
    assert sim.instances == []
