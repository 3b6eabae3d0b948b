"""The report of an instance that failed or was cancelled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, strategies as st

from airflow_provider_enos.errors import (
    EnosAuthError,
    EnosFlowCancelledError,
    EnosFlowFailedError,
    EnosNotFoundError,
    EnosTransportError,
)
from airflow_provider_enos.protocol.follow import failure_report as module
from airflow_provider_enos.protocol.follow.failure_report import (
    FailureReport,
    NodeRow,
    examine,
    failed_first,
    last_meaningful_line,
    node_table,
    table_lines,
)
from airflow_provider_enos.protocol.models import FlowInstance, TaskInstance
from airflow_provider_enos.protocol.text import excerpt

ID = "3377-20200706062600"
LINK = "https://console.example/3377-20200706062600"
HOSTILE = "a\x1b[31m\n::endgroup::\u202e::group::b"


def instance(
    status: object = "FAIL", *, flow_name: str = "daily", edges: Sequence[str] = (), **nodes: str | None
) -> FlowInstance:
    """``edges``: such as "extract load"."""
    tasks = [
        {"taskName": name, "taskId": number, "nodeId": name, "taskInstId": f"{name}-1", "status": status}
        for number, (name, status) in enumerate(nodes.items())
    ]
    relations = [dict(zip(("source", "target"), edge.split(), strict=True)) for edge in edges]
    graph = {"tasks": tasks, "relations": relations}
    return FlowInstance.parse(
        {"instanceId": ID, "flowId": 3377, "flowName": flow_name, "status": status, "graph": graph}
    )


def run(name: str, status: str, end: str | None = None, start: str | None = "2020-07-06 14:26:59") -> TaskInstance:
    return TaskInstance.parse({"instanceId": f"{name}-1", "status": status, "startTime": start, "endTime": end})


def missing(operation: str) -> EnosNotFoundError:
    return EnosNotFoundError(62102, "Instance not found", operation=operation, http_status=200)


def examined(play: Any, ended: FlowInstance, answers: dict[str, Any], **arguments: Any) -> tuple[FailureReport, Any]:
    """``answers``: a run by the name of its node, a log by ``log NAME``; where there is none, EnOS has not got it."""

    def answer(call: Any) -> Any:
        name = dict(call.query)["taskInstId"].removesuffix("-1")
        key = name if call.operation == "Get Task Instance" else f"log {name}"
        return answers.get(key, missing(call.operation))

    played = play(examine(ended, link=LINK, **arguments), answer)
    return played.value, played


# The table


def test_the_report(play: Any) -> None:
    ended = instance(edges=("extract load", "load publish"), extract="SUCCESS", load="FAIL", publish="INIT")
    answers = {
        "extract": run("extract", "SUCCESS", "2020-07-06 14:27:01"),
        "load": run("load", "FAIL", "2020-07-06 14:27:05"),
        "log load": "one\nERROR: the reason\nexit code 1\n",
    }
    report, played = examined(play, ended, answers)
    assert list(report.lines()) == [
        f"::group::Nodes of flow instance {ID}: FAIL",
        "node     task instance  status   start (EnOS)         end (EnOS)",
        "extract  extract-1      SUCCESS  2020-07-06 14:26:59  2020-07-06 14:27:01",
        "load     load-1         FAIL     2020-07-06 14:26:59  2020-07-06 14:27:05",
        "publish  publish-1      INIT     -                    -",
        "::endgroup::",
        "Failed first: load (load-1), at 2020-07-06 14:27:05 EnOS",
        "A rerun would start from node load (1): 1 of 3 nodes failed, 1 never ran; 1 that succeeded is kept",
        "End of the log of node load (load-1):",
        "one",
        "ERROR: the reason",
        "exit code 1",
    ]
    assert report.reason == "node load failed: ERROR: the reason"
    assert report.message == (
        f"{report.reason}; flow 3377 'daily': instance {ID} ended with status FAIL; "
        f"a rerun would start from node load (1); {LINK}"
    )
    error = report.error()
    assert error.reason == report.reason
    assert type(error) is EnosFlowFailedError
    assert error.failed_tasks == ("load (load-1)",)
    assert played.operations == ["Get Task Instance", "Get Task Instance", "Get Task Instance Log"]


def test_a_cancelled_instance_has_a_report_too(play: Any) -> None:
    ended = instance("CANCEL", extract="SUCCESS", load="CANCEL")
    report, _ = examined(play, ended, {"load": run("load", "CANCEL", "2020-07-06 14:27:05")})
    lines = list(report.lines())
    assert "load     load-1         CANCEL   2020-07-06 14:26:59  2020-07-06 14:27:05" in lines
    assert not any(line.startswith("Failed first") for line in lines)
    assert type(report.error()) is EnosFlowCancelledError
    assert report.reason == f"flow instance {ID} ended with status CANCEL"


@pytest.mark.parametrize("failure", [missing("x"), EnosTransportError("read timed out", sent=True)])
def test_a_node_whose_times_cannot_be_read_is_shown_without(play: Any, failure: Exception) -> None:
    ended = instance(extract="SUCCESS", load="FAIL")
    report, _ = examined(play, ended, {"extract": failure, "load": run("load", "FAIL"), "log load": "x"})
    lines = list(report.lines())
    assert "extract  extract-1      SUCCESS  -                    -" in lines
    assert "load     load-1         FAIL     2020-07-06 14:26:59  -" in lines
    assert any(line.startswith("(no times of extract (extract-1): ") for line in lines)
    assert "node load failed: x; " in report.message


@pytest.mark.parametrize("failure", [missing("x"), EnosAuthError(401, "no", operation="x", http_status=401)])
def test_a_gateway_without_times_is_asked_three_times_only(play: Any, failure: Exception) -> None:
    """Get Task Instance came with a later release than flows did."""
    names = [f"n{number}" for number in range(30)]
    ended = instance(**dict.fromkeys(names, "FAIL"))
    report, played = examined(play, ended, dict.fromkeys(names, failure), logs=False)
    assert len(played.operations) == 3
    assert "(no times of the nodes after it: EnOS is not asked any more)" in list(report.lines())


def test_a_log_service_that_is_down_is_asked_three_times_only(play: Any) -> None:
    names = [f"n{number}" for number in range(10)]
    lost = EnosTransportError("read timed out", sent=True)
    report, played = examined(play, instance(**dict.fromkeys(names, "FAIL")), {f"log {name}": lost for name in names})
    assert played.operations.count("Get Task Instance Log") == 3
    assert report.logs["n0-1"] == "(no log: read timed out)"
    assert report.logs["n9-1"] == "(no log: EnOS is not asked any more)"


def test_of_a_large_graph_only_nodes_that_failed_or_run_are_read(play: Any) -> None:
    nodes = {f"n{number}": "SUCCESS" for number in range(500)} | {"bad": "FAIL", "on": "RUNNING", "off": "INIT"}
    report, played = examined(play, instance(**nodes), {"bad": run("bad", "FAIL", "2020-07-06 14:27:05")})
    assert played.operations.count("Get Task Instance") == 2
    lines = list(report.lines())
    assert len(lines) < 20
    assert "and 501 more: 500 SUCCESS, 1 INIT" in lines
    assert "(times of 2 of the 502 nodes that have begun: of those that failed or run)" in lines
    assert any(line.startswith("bad ") for line in lines)


@pytest.mark.parametrize(("left_out", "said"), [(7, "(7 more nodes were not read)"), (None, "(nodes were not read)")])
def test_nodes_that_were_not_read(play: Any, left_out: int | None, said: str) -> None:
    report, _ = examined(play, replace(instance(load="FAIL"), nodes_left_out=left_out), {})
    assert said in report.lines()


def test_many_failed_nodes(play: Any) -> None:
    names = [f"n{number}" for number in range(300)]
    report, played = examined(
        play, instance(**dict.fromkeys(names, "FAIL")), {name: run(name, "FAIL") for name in names}
    )
    assert played.operations.count("Get Task Instance") == 40
    assert played.operations.count("Get Task Instance Log") == 20
    lines = list(report.lines())
    assert "and 200 more: 200 FAIL" in lines
    assert "(logs of 20 of the 300 nodes that failed)" in lines
    assert "; and 297 more failed nodes; " in report.message


def test_logs_that_are_known_or_not_wanted_are_not_read(play: Any) -> None:
    ended = instance(load="FAIL")
    report, played = examined(play, ended, {}, known_logs={"load-1": "the reason"})
    assert played.operations == ["Get Task Instance"]
    assert "failed: the reason; " in report.message
    assert not any("the reason" in line for line in report.lines(logs=False))
    report, played = examined(play, ended, {}, logs=False)
    assert played.operations == ["Get Task Instance"]
    assert "node load failed; flow 3377" in report.message
    assert report.message.endswith(f"; a rerun would start from node load (0); {LINK}")


def test_hostile_names_and_logs_break_nothing(play: Any) -> None:
    data = {
        "instanceId": f"{ID}{HOSTILE}",
        "status": "FAIL",
        "flowName": HOSTILE,
        "graph": {"tasks": [{"taskName": HOSTILE, "taskInstId": f"x{HOSTILE}", "status": "FAIL"}]},
    }
    end = TaskInstance.parse({"instanceId": "x", "status": "FAIL", "startTime": HOSTILE, "endTime": HOSTILE})
    answers = [end, f"{HOSTILE}\n::group::mine\n::endgroup::\n"]
    report = play(examine(FlowInstance.parse(data)), answers).value
    lines = list(report.lines())
    assert [line for line in lines if "::group::" in line or "::endgroup::" in line] == [
        line for line in lines if line.startswith("::group::") or line == "::endgroup::"
    ]
    assert [line[:9] for line in lines if line.startswith("::")] == ["::group::", "::endgrou"]
    for line in (*lines, report.message):
        assert line.count("::group::") == line.startswith("::group::")
        assert not set("\x1b\n\u202e") & set(line)


def test_columns_are_aligned_where_letters_are_wide() -> None:
    rows = [NodeRow("1", "读取", "1-1", "SUCCESS", "", ""), NodeRow("2", "load", "2-1", "FAIL", "", "")]
    assert table_lines(rows)[1:] == [
        "读取  1-1            SUCCESS  -             -",
        "load  2-1            FAIL     -             -",
    ]
    assert table_lines([]) == ["node  task instance  status  start (EnOS)  end (EnOS)"]


def test_the_rows_of_the_table() -> None:
    ended = instance(extract="SUCCESS", load=None)
    assert node_table(ended, {"extract-1": run("extract", "SUCCESS", "2020-07-06 14:27:01")}) == [
        NodeRow("0", "extract", "extract-1", "SUCCESS", "2020-07-06 14:26:59", "2020-07-06 14:27:01"),
        NodeRow("1", "load", "load-1", "", "", ""),
    ]


# From where a rerun would start


def rerun_of(play: Any, ended: FlowInstance) -> tuple[str, str]:
    """The line of the log, and what the message says."""
    report, played = examined(play, ended, {}, logs=False)
    assert "Get Flow" not in played.operations
    (line,) = (line for line in report.lines() if "rerun" in line)
    (said,) = [part for part in report.message.split("; ") if "rerun" in part] or [""]
    return line, said


def test_the_node_of_a_rerun_is_known_before_other_branches_have_ended(play: Any) -> None:
    """EnOS shows FAIL while another branch runs on."""
    ended = instance(edges=("a b", "a c", "c d"), a="SUCCESS", b="FAIL", c="RUNNING", d="INIT")
    assert rerun_of(play, ended) == (
        "A rerun would start from node b (1), if what still runs succeeds: 1 of 4 nodes failed; 3 that succeeded are "
        "kept",
        "",
    )


@pytest.mark.parametrize(
    ("ended", "line"),
    [
        (
            instance(edges=("a c", "b c"), a="FAIL", b="FAIL", c="INIT"),
            "A rerun has no node to start from: no single node leads to all of its unfinished nodes",
        ),
        (
            instance(a="SUCCESS", b="FAIL"),
            "From which node a rerun would start is not known yet: its graph has no relations",
        ),
        (
            instance(a="FAIL", b="RUNNING"),
            "From which node a rerun would start is not known yet: node b (b-1) is still running",
        ),
        (
            replace(instance(a="FAIL"), nodes_left_out=None),
            "A rerun has no node to start from: its graph cannot be read completely",
        ),
    ],
)
def test_why_no_node_can_be_named(play: Any, ended: FlowInstance, line: str) -> None:
    assert rerun_of(play, ended) == (line, "")


# Which failed first


@pytest.mark.parametrize(
    ("ends", "first"),
    [
        ({"a": "2020-07-06 14:27:05", "b": "2020-07-06 14:27:04"}, ["b"]),
        ({"a": "2020-07-06 23:59:59", "b": "2020-07-07 00:00:00"}, ["a"]),
        ({"a": "2020-07-06 14:27:05.0", "b": "2020-07-06 14:27:05"}, ["a", "b"]),
        ({"a": "2020-07-06 14:27:05", "b": None}, []),
        ({"a": "2020-07-06 14:27:05", "b": "Tue Feb 02 17:35:00 CST 2021"}, []),
        ({"a": "2020-07-06 14:27:05", "b": "2020-13-06 14:27:05"}, []),
        ({"a": "2020-07-06 14:27:05"}, []),
        ({"a": None, "b": None}, []),
    ],
)
def test_which_failed_first(ends: dict[str, str | None], first: list[str]) -> None:
    runs = {f"{name}-1": run(name, "FAIL", end) for name, end in ends.items()}
    ended = instance(ok="SUCCESS", a="FAIL", b="TIMEOUT", on="RUNNING")
    assert [node.task_name for node in failed_first(ended, runs)] == first
    assert [node.task_name for node in failed_first(instance(a="FAIL", b="RUNNING"), runs)] == ["a"]
    assert failed_first(instance(ok="SUCCESS"), runs) == ()


def test_the_line_that_names_the_node_that_failed_first(play: Any) -> None:
    def said(*ends: str | None) -> str:
        names = [f"n{number}" for number in range(len(ends))]
        runs = {name: run(name, "FAIL", end) for name, end in zip(names, ends, strict=True)}
        report, _ = examined(play, instance(**dict.fromkeys(names, "FAIL")), runs)
        return next(line for line in report.lines() if line.startswith("Failed first"))

    early, late = "2020-07-06 14:27:04", "2020-07-06 14:27:05"
    assert said(late, early) == "Failed first: n1 (n1-1), at 2020-07-06 14:27:04 EnOS"
    assert said(None, early) == "Failed first: unknown, since EnOS does not tell when each of them ended"
    assert said(early, early) == "Failed first: n0 (n0-1), n1 (n1-1) in the same second, at 2020-07-06 14:27:04 EnOS"
    assert said(*[early] * 5).startswith("Failed first: n0 (n0-1), n1 (n1-1), n2 (n2-1) and 2 more in the same second")
    assert said(None) == "Failed first: n0 (n0-1)"


def test_the_message_begins_with_what_failed_first(play: Any) -> None:
    ended = instance(a="FAIL", b="FAIL", c="RUNNING")
    runs = {"a": run("a", "FAIL", "2020-07-06 14:27:05"), "b": run("b", "FAIL", "2020-07-06 14:27:04")}
    logs = {"log a": "a" * 500, "log b": "b" * 500}
    report, _ = examined(play, ended, {**runs, **logs})
    assert report.message == (
        f"node b failed: {'b' * 299}…; node a failed: {'a' * 99}…; "
        f"flow 3377 'daily': instance {ID} ended with status FAIL; still running: c (c-1); {LINK}"
    )
    assert report.reason == f"node b failed: {'b' * 299}…"
    lines = list(report.lines())
    folded = lines.index("::group::End of the log of node a (a-1)")
    assert lines[folded + 2 :] == ["::endgroup::", "End of the log of node b (b-1):", "b" * 500]


@given(st.text(), st.text(), st.integers(0, 30), st.integers(0, 30))
def test_the_message_is_one_line_and_bounded(name: str, log: str, failed: int, working: int) -> None:
    nodes = {f"{name * 20}{number}": "FAIL" for number in range(failed)}
    nodes |= {f"{name * 20}{number}": "RUNNING" for number in range(failed, failed + working)}
    ended = instance(flow_name=name * 50, **nodes)
    report = FailureReport(ended, {}, {node.task_instance_id: log * 50 for node in ended.nodes}, (), LINK)
    assert len(report.message) <= 1600 + 2 + len(LINK)
    assert report.message == " ".join(report.message.splitlines())
    assert report.message.endswith(LINK)
    assert ("still running: " in report.message) is (working > 0)


# The line that says why

HEAD = """=====
run  num:\t1
instance:\t1-1
cmdline:\tpython error.py
current time:\tThu Aug 08 03:22:38 UTC 2019
=====
"""
PYTHON = """Traceback (most recent call last):
  File "load.py", line 12, in <module>
    load()
    ^^^^^^
ColumnMissing: dw.meter_readings has no column 'reactive_power'
"""
JAVA = """Exception in thread "main" java.lang.RuntimeException: it failed
\tat com.example.ErrorHandler.main(ErrorHandler.java:5)
Caused by: java.io.IOException: disk is full
\tat com.example.Exception.write(Exception.java:12)
\t... 12 more
"""


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", ""),
        (" \n\t\n", ""),
        ("=====\n-----\n", ""),
        ("one\ntwo\n\n=====\n", "two"),
        ("one\nERROR: it broke\ncleaning up\nexit code 1\n", "ERROR: it broke"),
        ("one\ntwo\nProcess finished with exit code 1", "two"),
        ("one\nCommand exited with return code 137\nEnd of log", "one"),
        ("ERROR: task failed with exit status 2", "ERROR: task failed with exit status 2"),
        ("the reason\nERROR: task failed with exit status 2", "the reason"),
        ("x\nsubprocess.CalledProcessError: Command 'a' returned non-zero exit status 1.\nexit 1",
         "subprocess.CalledProcessError: Command 'a' returned non-zero exit status 1."),
        ("FATAL: first\nFATAL: second\nbye", "FATAL: second"),
        ("0 errors, 0 failures\nno error found\nall is well", "all is well"),
        ("读取失败\n清理", "读取失败"),
        (PYTHON, "ColumnMissing: dw.meter_readings has no column 'reactive_power'"),
        (PYTHON + "cleaning up\nexit code 1\n", "ColumnMissing: dw.meter_readings has no column 'reactive_power'"),
        (PYTHON + "\nDuring handling of the above exception, another exception occurred:\n\n" + PYTHON.replace(
            "ColumnMissing", "LoadFailed"), "LoadFailed: dw.meter_readings has no column 'reactive_power'"),
        (JAVA, "Caused by: java.io.IOException: disk is full"),
        (HEAD + "the output\n", "the output"),
        (HEAD, ""),
        (HEAD + PYTHON, "ColumnMissing: dw.meter_readings has no column 'reactive_power'"),
        ("a\x1b[31mred\x1b[0m\x00", "ared"),
        ("::endgroup::", ": :endgroup::"),
        ("ERROR: long ago\n" + "x\n" * 300, "x"),
    ],
)  # fmt: skip
def test_last_meaningful_line(text: str, line: str) -> None:
    assert last_meaningful_line(text) == line
    assert last_meaningful_line(text.replace("\n", "\r\n")) == line


@given(st.text(), st.integers(1, 300))
def test_any_line_is_clean_and_short(text: str, length: int) -> None:
    line = last_meaningful_line(text, length)
    assert len(line) <= length
    assert line == excerpt(line, length)


def test_no_time_is_lost_on_a_large_log() -> None:
    text = "ERROR exit status \n" * 50_000 + ("exit " * 200_000)
    assert last_meaningful_line(text[-module.LOG_LENGTH :]) != ""


@pytest.mark.parametrize(("zone_name", "clock"), [("GMT+8", "EnOS, GMT+8"), ("GMT+9", "EnOS"), ("", "EnOS")])
def test_times_have_their_zone_where_it_is_known(play: Any, zone_name: str, clock: str) -> None:
    """It is 14:28 at GMT+8. At GMT+9 the node would have begun before the trigger time, and in UTC in the future."""
    ended = instance(load="FAIL", publish="FAIL")
    answers = {name: run(name, "FAIL", f"2020-07-06 14:27:0{at}") for at, name in enumerate(("load", "publish"))}
    report, _ = examined(play, ended, answers, zone_name=zone_name, now=1594016880.0)
    lines = list(report.lines())
    assert f"start ({clock})" in lines[1]
    assert f"Failed first: load (load-1), at 2020-07-06 14:27:00 {clock}" in lines
