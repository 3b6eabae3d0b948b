"""Following one instance to its end, and reporting how it ended."""

from __future__ import annotations

import json
from enum import Enum
from typing import Any

import pytest
from hypothesis import given, strategies as st

from airflow_provider_enos.errors import (
    EnosAuthError,
    EnosConfigError,
    EnosError,
    EnosFlowCancelledError,
    EnosFlowFailedError,
    EnosFlowTimeoutError,
    EnosNotFoundError,
    EnosPollLostError,
    EnosReplyError,
    EnosRequestError,
    EnosServerError,
    EnosTransportError,
)
from airflow_provider_enos.protocol.follow.instance_wait import InstanceWatch, conclude
from airflow_provider_enos.protocol.follow.log_tail import LogStream
from airflow_provider_enos.protocol.models import FlowInstance, FlowStatus, Outcome

ID = "3377-20200706062600"
LINK = "https://console.example/3377-20200706062600"
LOST = EnosTransportError("read timed out", sent=True)
GONE = EnosNotFoundError(0, "it is not there", operation="Get Flow Instance", http_status=200)
WRONG_KEY = EnosAuthError(401, "no", operation="Get Flow Instance", http_status=401)
NO_LOG = EnosNotFoundError(62109, "No log found.", operation="Get Task Instance Log", http_status=200)
NO_RUN = EnosNotFoundError(62102, "Instance not found", operation="Get Task Instance", http_status=200)
BUSY = EnosServerError(62109, "Internal error.", operation="Get Flow Instance", http_status=200)


def refused(code: int) -> EnosRequestError:
    return EnosRequestError(code, "no", operation="Get Flow Instance", http_status=200)


UNKNOWN = [
    GONE,
    EnosNotFoundError(62102, "no such instance", operation="Get Flow Instance", http_status=200),
    refused(404),
    refused(413),
    refused(62104),
]
"""Answers that the instance is not there, or that it was asked for wrongly."""


def instance(status: object, **nodes: str | None) -> FlowInstance:
    tasks = [{"taskName": name, "taskInstId": f"{name}-1", "status": status} for name, status in nodes.items()]
    return FlowInstance.parse(
        {"instanceId": ID, "flowId": 3377, "flowName": "daily", "status": status, "graph": {"tasks": tasks}}
    )


@pytest.fixture
def watch(log: Any) -> InstanceWatch:
    return InstanceWatch(ID, tolerance=600, log=log, link=LINK)


# What is logged


def test_first_line_names_flow_and_link(watch: InstanceWatch, log: Any) -> None:
    watch.saw(instance("WAIT"), 0)
    assert log.lines == [f"info: Flow instance {ID} of flow 3377 'daily': WAIT, see {LINK}"]


def test_without_a_link(log: Any) -> None:
    InstanceWatch(ID, tolerance=600, log=log).saw(instance("WAIT"), 0)
    assert log.lines == [f"info: Flow instance {ID} of flow 3377 'daily': WAIT"]


def test_only_changes_are_logged(watch: InstanceWatch, log: Any) -> None:
    watch.saw(instance("RUNNING", a="RUNNING", b="INIT", c=None), 0)
    del log.lines[:]
    for _ in range(5):
        watch.saw(instance("RUNNING", a="RUNNING", b="INIT", c=None), 0)
    assert log.lines == []
    watch.saw(instance("SUCCESS", a="SUCCESS", b="RUNNING"), 0)
    assert log.lines == [
        f"info: Flow instance {ID}: RUNNING -> SUCCESS",
        "info: Node a (a-1): RUNNING -> SUCCESS",
        "info: Node b (b-1): INIT -> RUNNING",
    ]


def test_unknown_status_is_warned_of_once(watch: InstanceWatch, log: Any) -> None:
    for status in (42, "42", 42):
        watch.saw(instance(status), 0)
    assert [line for line in log.lines if line.startswith("warning")] == [
        f"warning: Flow instance {ID}: EnOS does not document the status 42; it counts as running"
    ]


def test_names_from_elsewhere_are_cleaned(watch: InstanceWatch, log: Any) -> None:
    tasks = [{"taskName": "a\nforged", "taskInstId": "1", "status": "FAIL"}]
    data = {"instanceId": ID, "status": 2, "flowName": "x\nforged", "graph": {"tasks": tasks}}
    watch.saw(FlowInstance.parse(data), 0)
    assert not any("\n" in line for line in log.lines)


def test_statuses_are_logged_as_text() -> None:
    """Airflow 2 logs the value of an enum, which of a status is a number."""
    given: list[object] = []

    class Recorder:
        def info(self, message: str, /, *args: object) -> None:
            given.extend(args)

        warning = error = info

    watch = InstanceWatch(ID, tolerance=600, log=Recorder())
    watch.saw(instance("RUNNING", a="RUNNING"), 0)
    watch.saw(instance(42, a="FAIL"), 0)
    assert [arg for arg in given if isinstance(arg, Enum)] == []
    assert {"RUNNING", "42", "RUNNING -> FAIL"} <= set(given)


def test_what_a_trigger_has_logged_is_not_logged_again(log: Any) -> None:
    """The resumed task logs in the same log. A failure is a warning there, and everything else is none."""
    in_triggerer, resumed = (InstanceWatch(ID, tolerance=60, log=log) for _ in range(2))
    assert in_triggerer.told == {}
    in_triggerer.saw(instance("RUNNING", a="SUCCESS", b="RUNNING"), 0)
    del log.lines[:]
    resumed.was_told(json.loads(json.dumps(in_triggerer.told)))
    resumed.saw(instance("FAIL", a="SUCCESS", b="FAIL"), 1)
    assert log.lines == [
        f"warning: Flow instance {ID}: RUNNING -> FAIL",
        "warning: Node b (b-1): RUNNING -> FAIL",
    ]


def test_what_a_node_was_is_not_said_before_it_is_known(log: Any) -> None:
    """A list has shown the instance alone, or another triggerer has logged what its nodes did before."""
    watch = InstanceWatch(ID, tolerance=60, log=log)
    watch.saw(instance("RUNNING"), 0)
    del log.lines[:]
    watch.saw(instance("RUNNING", a="SUCCESS", b="RUNNING", c="INIT"), 1)
    assert log.lines == ["info: Node a (a-1): SUCCESS", "info: Node b (b-1): RUNNING"]
    del log.lines[:]
    watch.saw(instance("RUNNING", a="SUCCESS", b="SUCCESS", c="RUNNING"), 2)
    assert log.lines == ["info: Node b (b-1): RUNNING -> SUCCESS", "info: Node c (c-1): INIT -> RUNNING"]


def test_of_many_nodes_a_trigger_tells_the_status_of_the_instance_alone(log: Any) -> None:
    in_triggerer, resumed = (InstanceWatch(ID, tolerance=60, log=log) for _ in range(2))
    many = [f"n{number}" for number in range(101)]
    in_triggerer.saw(instance("RUNNING", **dict.fromkeys(many, "RUNNING")), 0)
    assert len(json.dumps(in_triggerer.told)) < 100
    del log.lines[:]
    resumed.was_told(in_triggerer.told)
    resumed.saw(instance("SUCCESS", **dict.fromkeys(many, "SUCCESS")), 1)
    assert log.lines == [f"info: Flow instance {ID}: RUNNING -> SUCCESS"]


@pytest.mark.parametrize("told", [None, {}, [], "x", {"status": 1, "nodes": 2}, {"nodes": {"a": None}}])
def test_what_no_trigger_tells_is_ignored(log: Any, told: object) -> None:
    resumed = InstanceWatch(ID, tolerance=60, log=log)
    resumed.was_told(told)
    resumed.saw(instance("SUCCESS", a="SUCCESS"), 1)
    assert log.lines[0].endswith(": SUCCESS")


def test_nodes_without_a_task_instance_are_distinguished(watch: InstanceWatch, log: Any) -> None:
    """By their node ids, else by their names; each change is one line, and a poll that brings none is none."""

    def seen(first: str, second: str, third: str) -> FlowInstance:
        tasks = [
            {"taskName": "same", "nodeId": "t_1", "status": first},
            {"taskName": "same", "nodeId": "t_2", "status": second},
            {"taskName": "other", "status": third},
        ]
        return FlowInstance.parse({"instanceId": ID, "status": "RUNNING", "graph": {"tasks": tasks}})

    for _ in range(3):
        watch.saw(seen("SUCCESS", "FAIL", "RUNNING"), 0)
    assert log.lines[1:] == [
        "info: Node same (): SUCCESS",
        "warning: Node same (): FAIL",
        "info: Node other (): RUNNING",
    ]
    del log.lines[:]
    for _ in range(3):
        watch.saw(seen("SUCCESS", "RERUN", "RUNNING"), 0)
    assert log.lines == ["info: Node same (): FAIL -> RERUN"]
    assert watch.memory["nodes"] == {"t_1": "SUCCESS", "t_2": "RERUN", "other": "RUNNING"}


# Polls that fail


def test_failing_polls_are_tolerated_for_a_while(watch: InstanceWatch, log: Any) -> None:
    for now in (100, 400, 699):
        watch.missed(LOST, now)
    assert log.lines == [f"warning: Cannot ask EnOS for {ID}, will go on trying for 600 s: read timed out"]
    with pytest.raises(EnosPollLostError, match=rf"{ID}: EnOS could not be asked for 600 s.*read timed out") as raised:
        watch.missed(LOST, 700)
    assert raised.value.flow_instance_id == ID
    assert not raised.value.final
    assert raised.value.__cause__ is LOST


def test_recovery_is_logged_and_starts_the_tolerance_anew(watch: InstanceWatch, log: Any) -> None:
    watch.missed(LOST, 100)
    watch.saw(instance("RUNNING"), 250)
    assert f"info: EnOS answers again for {ID}, after 150 s" in log.lines
    watch.missed(LOST, 900)
    watch.missed(LOST, 1400)


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("error", [WRONG_KEY, EnosConfigError("x", "y", accepted="z")])
def test_a_refusal_is_tolerated(log: Any, error: EnosError, known: bool) -> None:
    """The connection is read again, and may be right by then."""
    watch = InstanceWatch(ID, tolerance=600, log=log, known=known)
    watch.missed(error, 0)
    with pytest.raises(EnosPollLostError, match=f"could not be asked for 600 s; it was left running.*{error}"):
        watch.missed(error, 600)


@pytest.mark.parametrize("error", UNKNOWN)
def test_unknown_instance_ends_it_at_once(watch: InstanceWatch, log: Any, error: EnosError) -> None:
    """Where nobody knows that EnOS ever had it."""
    watch.missed(LOST, 0)
    with pytest.raises(type(error)) as raised:
        watch.missed(error, 5)
    assert raised.value is error
    assert len(log.lines) == 1


def known_from_the_start(watch: InstanceWatch) -> InstanceWatch:
    return InstanceWatch(ID, tolerance=600, log=watch.log, known=True)


def known_by_a_look(watch: InstanceWatch) -> InstanceWatch:
    watch.saw(instance("RUNNING"), 0)
    return watch


def known_by_memory(watch: InstanceWatch) -> InstanceWatch:
    watch.saw(instance("RUNNING"), 0)
    other = InstanceWatch(ID, tolerance=600, log=watch.log)
    other.remember(json.loads(json.dumps(watch.memory)))
    return other


KNOWN = [known_from_the_start, known_by_a_look, known_by_memory]


@pytest.mark.parametrize("make_known", KNOWN)
@pytest.mark.parametrize("error", UNKNOWN)
def test_not_found_is_tolerated_for_a_known_instance(
    watch: InstanceWatch, log: Any, error: EnosError, make_known: Any
) -> None:
    """A gateway in trouble may not find an existing instance; this is tolerated as long as other errors."""
    watch = make_known(watch)
    del log.lines[:]
    watch.missed(error, 100)
    watch.missed(error, 699)
    assert log.lines == [f"warning: Cannot ask EnOS for {ID}, will go on trying for 600 s: {error}"]
    with pytest.raises(EnosPollLostError) as raised:
        watch.missed(error, 700)
    assert raised.value.__cause__ is error


def test_memory_without_a_look_does_not_make_it_known(watch: InstanceWatch, log: Any) -> None:
    watch.missed(LOST, 0)
    other = InstanceWatch(ID, tolerance=600, log=log)
    other.remember(json.loads(json.dumps(watch.memory)))
    with pytest.raises(EnosNotFoundError):
        other.missed(GONE, 5)


def test_no_tolerance(log: Any) -> None:
    with pytest.raises(EnosPollLostError):
        InstanceWatch(ID, tolerance=0, log=log).missed(LOST, 5)


# Memory


def test_wait_goes_on_in_another_process(watch: InstanceWatch, log: Any) -> None:
    """What was logged is not logged again, and the time that polls have failed counts on."""
    seen = instance(42, a="RUNNING", b="NONE", c=None)
    watch.saw(seen, 0)
    watch.missed(LOST, 100)
    memory = json.loads(json.dumps(watch.memory))
    del log.lines[:]
    other = InstanceWatch(ID, tolerance=600, log=log, link=LINK)
    other.remember(memory)
    assert other.memory == memory
    other.missed(LOST, 699)
    with pytest.raises(EnosPollLostError):
        other.missed(LOST, 700)
    other.saw(seen, 710)
    assert log.lines == [f"info: EnOS answers again for {ID}, after 610 s"]


@pytest.mark.parametrize(
    "memory",
    [
        *(None, 5, "x", [], {}),
        {"flow_instance_id": "other", "status": "SUCCESS", "nodes": {"a": "FAIL"}, "failing_since": 1},
        {"flow_instance_id": ID},
        {"flow_instance_id": ID, "status": 5, "nodes": ["a"], "failing_since": "x"},
    ],
)
def test_the_memory_of_another_instance_is_ignored(watch: InstanceWatch, memory: object) -> None:
    fresh = watch.memory
    watch.remember(memory)
    assert watch.memory == fresh == {"flow_instance_id": ID, "status": None, "nodes": {}, "failing_since": None}


@given(st.dictionaries(st.sampled_from(["status", "nodes", "failing_since"]), st.none() | st.text() | st.integers()))
def test_any_memory(new_log: Any, memory: dict[str, Any]) -> None:
    watch = InstanceWatch(ID, tolerance=600, log=new_log())
    watch.remember({"flow_instance_id": ID, **memory})
    watch.saw(instance("RUNNING"), 0)


# Waiting


def test_look(watch: InstanceWatch, play: Any, clock: Any) -> None:
    assert play(watch.look(clock=clock), [instance("RUNNING")]).value.status is FlowStatus.RUNNING
    assert play(watch.look(clock=clock), [LOST]).value is None
    assert play(watch.look(clock=clock), [WRONG_KEY]).value is None
    assert play(watch.sight(clock=clock), [instance("RUNNING")]).value.status is FlowStatus.RUNNING
    assert isinstance(play(watch.sight(clock=clock), [WRONG_KEY]).error, EnosAuthError)


def test_reading_logs_ends_with_the_deadline(log: Any, play: Any, clock: Any) -> None:
    """So does each poll: the instance was read, and its logs take too long."""
    watch = InstanceWatch(ID, tolerance=600, log=log, stream=LogStream(log))
    running = instance("RUNNING", **dict.fromkeys("abcdef", "RUNNING"))

    def answer(call: Any) -> Any:
        clock.now += 10
        return running if call.operation == "Get Flow Instance" else "a line\n"

    played = play(watch.wait(poll_interval=30, deadline=clock.now + 25, clock=clock), answer, clock)
    assert isinstance(played.error, EnosFlowTimeoutError)
    assert played.error.status == "RUNNING"
    assert played.operations == ["Get Flow Instance", *["Get Task Instance Log"] * 2]


@pytest.mark.parametrize("status", list(FlowStatus))
def test_waits_for_an_end(watch: InstanceWatch, play: Any, clock: Any, status: FlowStatus) -> None:
    script = [instance(status)] if status.ended else [instance(status), instance("SUCCESS")]
    played = play(watch.wait(poll_interval=30, deadline=clock.now + 1000, clock=clock), script, clock)
    assert played.value is script[-1]
    assert played.pauses == [30] * (len(script) - 1)
    assert all(dict(call.query)["flowInstId"] == ID for call in played.sent)


def test_waits_through_faults(watch: InstanceWatch, play: Any, clock: Any) -> None:
    faults = [LOST, EnosReplyError("garbage"), BUSY]
    played = play(
        watch.wait(poll_interval=30, deadline=clock.now + 1000, clock=clock), [*faults, instance("SKIP")], clock
    )
    assert played.value.status is FlowStatus.SKIP


def test_waits_through_not_being_found_once_it_was_seen(watch: InstanceWatch, play: Any, clock: Any) -> None:
    answers = [instance("RUNNING"), *UNKNOWN, instance("SUCCESS")]
    played = play(watch.wait(poll_interval=30, deadline=clock.now + 1000, clock=clock), answers, clock)
    assert played.value.status is FlowStatus.SUCCESS


@pytest.mark.parametrize("error", UNKNOWN)
def test_first_look_that_does_not_find_it(play: Any, log: Any, clock: Any, error: EnosError) -> None:
    """It is tolerated for an instance that was just started, and final for an id that a user gave."""
    ours, others = (InstanceWatch(ID, tolerance=600, log=log, known=known) for known in (True, False))
    wait_for = {"poll_interval": 30, "deadline": clock.now + 1000, "clock": clock}
    assert play(ours.wait(**wait_for), [error, instance("SUCCESS")], clock).value.status is FlowStatus.SUCCESS
    played = play(others.wait(**wait_for), [error], clock)
    assert type(played.error) is type(error)
    assert played.pauses == []


def test_faults_for_too_long(watch: InstanceWatch, play: Any, clock: Any) -> None:
    played = play(watch.wait(poll_interval=30, deadline=clock.now + 10_000, clock=clock), lambda call: LOST, clock)
    assert isinstance(played.error, EnosPollLostError)
    assert sum(played.pauses) == 600


def test_no_pause_goes_beyond_the_deadline(watch: InstanceWatch, play: Any, clock: Any) -> None:
    deadline = clock.now + 100
    steps = watch.wait(poll_interval=30, deadline=deadline, clock=clock)
    played = play(steps, lambda call: instance("RUNNING"), clock)
    assert isinstance(played.error, EnosFlowTimeoutError)
    assert (played.error.flow_instance_id, played.error.status) == (ID, "RUNNING")
    assert played.pauses == [30, 30, 30, 10]
    assert clock.now == deadline


def test_end_at_the_deadline_counts(watch: InstanceWatch, play: Any, clock: Any) -> None:
    """The last poll is at the deadline itself, or even after it."""
    for deadline, script in (
        (clock.now + 30, [instance("RUNNING"), instance("SUCCESS")]),
        (clock.now - 5, [instance("SUCCESS")]),
    ):
        assert play(watch.wait(poll_interval=30, deadline=deadline, clock=clock), script, clock).error is None


def test_deadline_without_an_answer(watch: InstanceWatch, play: Any, clock: Any) -> None:
    played = play(watch.wait(poll_interval=30, deadline=clock.now, clock=clock), [LOST])
    assert played.error.status == "unknown"


# What the end means


def finish(play: Any, log: Any, ended: FlowInstance, *logs: object, task_logs: Any = "failed", link: Any = LINK) -> Any:
    """The end of it, where EnOS cannot tell the times of nodes; what shows them is tested in ``test_report``."""
    texts = iter(logs)

    def answer(call: Any) -> object:
        return NO_RUN if call.operation == "Get Task Instance" else next(texts)

    return play(conclude(ended, task_logs=task_logs, link=link, log=log), answer)


def log_requests(played: Any) -> list[str]:
    return [dict(call.query)["taskInstId"] for call in played.sent if call.operation == "Get Task Instance Log"]


def test_success(play: Any, log: Any) -> None:
    assert finish(play, log, instance("SUCCESS", a="SUCCESS")).value is Outcome.SUCCEEDED
    assert log.lines == []


def test_skipped(play: Any, log: Any) -> None:
    assert finish(play, log, instance("SKIP", a="SKIP")).value is Outcome.SKIPPED


@pytest.mark.parametrize("status", ["FAIL", "INTERNAL_ERROR", "TIMEOUT"])
def test_failed(play: Any, log: Any, status: str) -> None:
    """The message names the failed nodes with the end of their logs, those still running, and the link."""
    ended = instance(status, a="SUCCESS", b="FAIL", c="RUNNING", d="INIT")
    error = finish(play, log, ended, "one\ntwo\nthe reason\n\n").error
    assert type(error) is EnosFlowFailedError
    assert str(error) == (
        f"node b failed: the reason; flow 3377 'daily': instance {ID} ended with status {status}; "
        f"still running: c (c-1); {LINK}"
    )
    assert (error.flow_instance_id, error.status, error.failed_tasks) == (ID, status, ("b (b-1)",))
    assert log.lines[0] == f"info: ::group::Nodes of flow instance {ID}: {status}"
    assert log.lines[-7:] == [
        "info: ::endgroup::",
        "info: Failed first: b (b-1)",
        "info: From which node a rerun would start is not known yet: node c (c-1) is still running",
        "info: End of the log of node b (b-1):",
        "info: one",
        "info: two",
        "info: the reason",
    ]


def test_cancelled(play: Any, log: Any) -> None:
    error = finish(play, log, instance("CANCEL", a="CANCEL"), link=None).error
    assert type(error) is EnosFlowCancelledError
    assert str(error) == f"flow 3377 'daily': instance {ID} ended with status CANCEL"
    assert error.failed_tasks == ()


def test_more_than_three_failed(play: Any, log: Any) -> None:
    nodes = dict.fromkeys("abcde", "FAIL")
    error = finish(play, log, instance("FAIL", **nodes), *["x"] * 5).error
    assert "node c failed: x; and 2 more failed nodes; " in str(error)
    assert "d-1" not in str(error)
    assert len(error.failed_tasks) == 5


@pytest.mark.parametrize(
    ("task_logs", "status", "asked"),
    [
        ("none", "FAIL", []),
        ("failed", "FAIL", ["b-1"]),
        ("all", "FAIL", ["a-1", "b-1"]),
        ("none", "SUCCESS", []),
        ("all", "SUCCESS", ["a-1", "b-1"]),
    ],
)
def test_whose_logs_are_copied(play: Any, log: Any, task_logs: str, status: str, asked: list[str]) -> None:
    """Not the log of a node that never began: it has none, and EnOS calls that an error."""
    ended = instance(status, a="SUCCESS", b=status, c="INIT")
    played = finish(play, log, ended, *["x"] * len(asked), task_logs=task_logs)
    assert log_requests(played) == asked


def test_log_that_cannot_be_read_does_not_hide_the_failure(play: Any, log: Any) -> None:
    for failure in (NO_LOG, LOST, GONE):
        error = finish(play, log, instance("FAIL", b="FAIL"), failure).error
        assert type(error) is EnosFlowFailedError
        assert "node b failed: (no log: " in str(error)


@pytest.mark.parametrize("text", ["", " \n\n", "\x1c\x85"])
def test_empty_log(play: Any, log: Any, text: str) -> None:
    error = finish(play, log, instance("FAIL", b="FAIL"), text).error
    assert "node b failed: (the log is empty)" in str(error)


def test_node_that_never_ran_has_no_log(play: Any, log: Any) -> None:
    tasks = [{"taskName": "b", "taskInstId": "", "status": "FAIL"}]
    ended = FlowInstance.parse({"instanceId": ID, "status": "FAIL", "graph": {"tasks": tasks}})
    assert finish(play, log, ended).error.failed_tasks == ("b ()",)


def test_long_log_is_cut(play: Any, log: Any) -> None:
    text = "\n".join(f"line {number} \x1b[31m" for number in range(1000)) + "\n" + "x" * 5000
    error = finish(play, log, instance("FAIL", b="FAIL"), text).error
    assert len(str(error)) < 600
    shown = log.lines[log.lines.index("info: End of the log of node b (b-1):") :]
    assert len(shown) == 41
    assert shown[1].startswith("info: … line 961")
    assert not any("\x1b" in line for line in log.lines)


@given(st.text(max_size=50))
def test_any_log(play: Any, new_log: Any, text: str) -> None:
    error = finish(play, new_log(), instance("FAIL", b="FAIL"), text).error
    assert type(error) is EnosFlowFailedError
    assert "\n" not in str(error)


def test_thousands_of_nodes_that_change_at_once(log: Any) -> None:
    """Each line of a log takes time, and the triggerer serves other tasks too."""

    def seen(status: str) -> FlowInstance:
        tasks = [{"taskInstId": f"{n}-1", "taskName": "node", "status": status} for n in range(9_000)]
        return FlowInstance.parse({"instanceId": ID, "status": 2, "graph": {"tasks": tasks}})

    watch = InstanceWatch(ID, tolerance=60, log=log)
    for status in ("RUNNING", "RUNNING", "SUCCESS"):
        watch.saw(seen(status), 0.0)
    told = [line for line in log.lines if "Node " in line]
    assert len(told) == 400
    assert log.lines.count("info: And 8800 more nodes have another status than before") == 2


@pytest.mark.parametrize(("nodes", "handed_on"), [(500, True), (501, False), (9_000, False)])
def test_the_memory_for_another_process_is_bounded(log: Any, new_log: Any, nodes: int, handed_on: bool) -> None:
    """It is stored in Airflow's database. With too many nodes the next look logs no node, and the ones after it do."""

    def seen(*running: int) -> FlowInstance:
        tasks = [
            {"taskInstId": f"{n}-4f3a5b6c7d8e4f3a5b6c7d8e", "status": "RUNNING" if n in running else "SUCCESS"}
            for n in range(nodes)
        ]
        return FlowInstance.parse({"instanceId": ID, "status": 2, "graph": {"tasks": tasks}})

    first, second = InstanceWatch(ID, tolerance=60, log=log), InstanceWatch(ID, tolerance=60, log=new_log())
    first.saw(seen(), 0.0)
    memory = json.dumps(first.memory)
    assert len(memory) < 64_000
    second.remember(json.loads(memory))
    second.saw(seen(7), 1.0)
    assert len(second.log.lines) == (1 if handed_on else 0)
    second.saw(seen(7, 8), 2.0)
    assert second.log.lines[-1] == "info: Node  (8-4f3a5b6c7d8e4f3a5b6c7d8e): SUCCESS -> RUNNING"
    assert len(second.log.lines) == (2 if handed_on else 1)
