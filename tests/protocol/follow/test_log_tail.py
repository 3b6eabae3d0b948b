"""Logs of nodes, shown as they grow."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, strategies as st

from airflow_provider_enos.errors import EnosError, EnosNotFoundError, EnosTransportError
from airflow_provider_enos.protocol.follow import log_place, log_tail
from airflow_provider_enos.protocol.follow.log_tail import LogStream
from airflow_provider_enos.protocol.models import FlowInstance

ID = "3377-20200706062600"
LOST = EnosTransportError("read timed out", sent=True)
NO_LOG = EnosNotFoundError(62109, "No log found.", operation="Get Task Instance Log", http_status=200)


def instance(status: object = "RUNNING", **nodes: str | None) -> FlowInstance:
    tasks = [{"taskName": name, "taskInstId": f"{name}-1", "status": status} for name, status in nodes.items()]
    return FlowInstance.parse({"instanceId": ID, "status": status, "graph": {"tasks": tasks}})


@dataclass
class Service:
    """EnOS's logs: each given whole, as far as it goes, with one end of it cut off where it is too long."""

    play: Any
    log: Any
    keeps: str = "head"
    limit: int = log_tail.LOG_LENGTH
    logs: dict[str, str | EnosError] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.stream = LogStream(self.log)

    def answer(self, call: Any) -> Any:
        name = dict(call.query)["taskInstId"].removesuffix("-1")
        self.asked.append(name)
        text = self.logs.get(name, NO_LOG)
        if isinstance(text, EnosError):
            return text
        return text[: self.limit] if self.keeps == "head" else text[max(len(text) - self.limit, 0) :]

    def look(self, **nodes: str | None) -> list[str]:
        """What one look shows."""
        return self._shown(self.stream.follow(instance(**nodes)))

    def finish(self, status: str = "SUCCESS", **nodes: str | None) -> list[str]:
        """What the end shows."""
        return self._shown(self.stream.finish(instance(status, **nodes)))

    def _shown(self, steps: Any) -> list[str]:
        del self.log.lines[:]
        self.played = self.play(steps, self.answer)
        assert self.played.error is None
        return [line.removeprefix("info: ") for line in self.log.lines]


@pytest.fixture
def service(play: Any, log: Any) -> Service:
    return Service(play, log)


def content(lines: list[str]) -> list[str]:
    return [line for line in lines if not line.startswith(("::", "("))]


def test_what_is_new_is_shown_at_each_look(service: Service) -> None:
    service.logs["a"] = "one\ntwo\nthr"
    assert service.look(a="RUNNING") == ["::group::Log of node a (a-1)", "one", "two", "::endgroup::"]
    assert service.look(a="RUNNING") == []
    service.logs["a"] = "one\ntwo\nthree\nfour"
    assert service.look(a="RUNNING") == ["::group::Log of node a (a-1), continued", "three", "::endgroup::"]
    assert service.look(a="SUCCESS") == ["::group::Log of node a (a-1), continued", "four", "::endgroup::"]
    assert service.finish(a="SUCCESS") == []


def test_which_nodes_are_asked_for(service: Service) -> None:
    """Those that run or have ended, the latter twice: their last lines may come late."""
    nodes = {"a": "RUNNING", "b": "RERUN", "c": "INIT", "d": "WAIT", "e": "SKIP", "f": None, "g": "SUCCESS"}
    nodes |= {"h": "FAIL", "i": "NONE"}
    service.logs = dict.fromkeys("abgh", "x\n")
    service.look(**nodes)
    assert service.asked == ["a", "b", "g", "h"]
    service.look(**nodes)
    service.logs["g"] = "x\nlate\n"
    service.look(**nodes)
    del service.asked[:]
    service.look(**nodes)
    assert service.asked == ["a", "b"]
    service.look(**{**nodes, "g": "RERUN"})
    assert "g" in service.asked


def test_a_log_that_has_not_begun_is_no_fault(service: Service) -> None:
    assert service.look(a="RUNNING") == []
    assert service.played.value is None
    service.logs["a"] = "one\n"
    assert content(service.look(a="RUNNING")) == ["one"]


def test_a_log_that_cannot_be_read_is_said_once_and_ends_nothing(service: Service) -> None:
    service.logs = {"a": LOST, "b": "x\n"}
    said = "warning: Cannot read the log of node a (a-1) for now: read timed out"
    assert service.look(a="RUNNING", b="RUNNING") == [said]
    assert isinstance(service.played.value, EnosTransportError)
    service.logs["b"] = LOST
    assert service.look(a="RUNNING", b="RUNNING") == []
    service.logs["a"] = service.logs["b"] = "one\n"
    assert len(content(service.look(a="RUNNING", b="RUNNING"))) == 2
    service.logs["a"] = LOST
    assert service.look(a="RUNNING") == [said]


def test_many_nodes_take_turns(service: Service) -> None:
    nodes = {f"n{number}": "RUNNING" for number in range(25)}
    for _ in range(3):
        service.look(**nodes)
    assert len(service.asked) == 30
    assert set(service.asked) == set(nodes)


def test_much_at_once_is_cut_to_its_end(service: Service) -> None:
    service.logs["a"] = "".join(f"line {number}\n" for number in range(1000))
    shown = service.look(a="RUNNING")
    assert shown[1:3] == ["(800 lines are not shown)", "line 800"]
    assert shown[-2] == "line 999"
    service.logs["a"] += "x" * 50_000 + "\n" + "y" * 19_000 + "\n"
    shown = service.look(a="RUNNING")
    assert shown[1:-1] == ["x" * 2000 + "…", "y" * 2000 + "…"]
    service.logs["a"] += "".join(f"{number}{'z' * 1500}\n" for number in range(100))
    shown = service.look(a="RUNNING")
    assert shown[1] == "(87 lines are not shown)"
    assert sum(map(len, shown[2:-1])) <= 20_000


def test_a_log_without_an_end_is_shown_up_to_a_bound(service: Service) -> None:
    service.logs["a"] = ""
    shown: list[str] = []
    for number in range(55):
        service.logs["a"] += "".join(f"{number} {line} {'x' * 90}\n" for line in range(190))
        shown += service.look(a="RUNNING")
    assert sum(map(len, shown)) < 530_000
    assert len([line for line in shown if line.startswith("(more than 500,000 characters")]) == 1
    asked = len(service.asked)
    assert service.look(a="RUNNING") == []
    assert len(service.asked) == asked
    last = service.finish(a="SUCCESS")
    assert last[1].endswith("lines are not shown)")
    assert last[-2] == f"54 189 {'x' * 90}"


@pytest.mark.parametrize("keeps", ["head", "tail"])
def test_a_log_that_enos_does_not_give_whole(play: Any, log: Any, keeps: str) -> None:
    """It goes on where it was, says once that something may be missing, and repeats nothing."""
    service = Service(play, log, keeps)
    lines = [f"{number:06} {'x' * 90}" for number in range(12_000)]
    shown: list[str] = []
    for end in range(10_600, 12_000, 100):
        service.logs["a"] = "\n".join(lines[:end]) + "\n"
        shown += service.look(a="RUNNING")
    shown += service.finish(a="SUCCESS")
    assert len([line for line in shown if line.startswith("(1,048,576 characters of a log are read")]) == 1
    numbers = [int(line[:6]) for line in content(shown)]
    assert numbers == sorted(set(numbers)), "a line is shown twice"
    if keeps == "tail":
        assert numbers == list(range(10_400, 11_900))
    else:
        assert numbers[0] == 10_400
        assert numbers[-1] == log_tail.LOG_LENGTH // 98


def test_a_log_that_grew_by_more_than_enos_gives(play: Any, log: Any) -> None:
    """More has come since the last look than EnOS gives: what is there is shown, with a mark."""
    service = Service(play, log, "tail", limit=1000)
    service.logs["a"] = "".join(f"first {number}\n" for number in range(10))
    service.look(a="RUNNING")
    service.logs["a"] += "".join(f"then {number}\n" for number in range(1000))
    shown = service.look(a="RUNNING")
    assert shown[1] == "(the log begins anew here, or a part of it is missing)"
    assert shown[-2] == "then 999"
    assert service.look(a="RUNNING") == []


def test_a_log_that_begins_anew(service: Service) -> None:
    """For example, EnOS runs a node again."""
    service.logs["a"] = "run 1\none\ntwo\n"
    service.look(a="RUNNING")
    service.logs["a"] = "run 2\n"
    assert service.look(a="RUNNING")[1:-1] == ["(the log begins anew here, or a part of it is missing)", "run 2"]
    service.logs["a"] = "run 2\none\n"
    assert content(service.look(a="RUNNING")) == ["one"]


@pytest.mark.parametrize("keeps", ["head", "tail"])
@given(parts=st.lists(st.text(st.sampled_from("ab\n"), max_size=8), max_size=12), limit=st.integers(40, 400))
def test_lines_come_in_order_and_once(play: Any, new_log: Any, keeps: str, parts: list[str], limit: int) -> None:
    service = Service(play, new_log(), keeps, limit)
    text, lines = "", list[str]()
    with pytest.MonkeyPatch.context() as patch:
        # As small as the logs are here.
        patch.setattr(log_place, "_REACH", 8)
        for number, part in enumerate(parts):
            # No two lines are the same.
            text += "".join(f"{number}.{line}{letter}" for line, letter in enumerate(part))
            service.logs["a"] = text
            lines += service.look(a="RUNNING")
        lines += service.finish(a="SUCCESS")
    shown = content(lines)
    if len(text) <= limit:
        assert shown == text.splitlines()
    elif keeps == "head":
        assert shown == text[:limit].splitlines()
    else:
        # After a gap what a place is known by may come again, if a part of it has been cut off.
        gaps = sum(line.startswith("(the log begins anew") for line in lines)
        assert len(shown) - len(set(shown)) <= 2 * gaps
        assert not shown or text.splitlines()[-1].endswith(shown[-1])


def test_a_wait_that_goes_on_in_another_process(play: Any, log: Any) -> None:
    """With numbers only: what is in the logs does not go into Airflow's database."""
    first, second = Service(play, log), Service(play, log)
    first.logs["a"] = "one\ntwo\n"
    first.look(a="RUNNING")
    memory = json.loads(json.dumps(first.stream.memory))
    assert all(type(number) is int for numbers in memory.values() for number in numbers)
    second.stream.remember(memory)
    second.logs["a"] = "one\ntwo\nthree\n"
    assert second.look(a="RUNNING") == ["::group::Log of node a (a-1), continued", "three", "::endgroup::"]


def test_memory_is_bounded(service: Service) -> None:
    nodes = {f"n{number}": "RUNNING" for number in range(300)}
    service.logs = dict.fromkeys(nodes, "x\n")
    for _ in range(30):
        service.look(**nodes)
    assert len(service.stream.memory) == 200
    assert len(json.dumps(service.stream.memory)) < 12_000


@pytest.mark.parametrize(
    "memory",
    [
        None,
        5,
        [],
        {"a-1": None},
        {"a-1": [1, 2]},
        {"a-1": ["x"] * 6},
        {"a-1": [True] * 6},
        {"a-1": [10**30, 5, 0, 0, 0, 0]},
    ],
)
def test_any_memory(service: Service, memory: object) -> None:
    service.stream.remember(memory)
    service.logs["a"] = "one\n"
    assert content(service.look(a="RUNNING")) == ["one"]


# The end


def test_the_end_shows_the_rest(service: Service) -> None:
    service.logs = {"a": "one\n", "b": "x\nthe reason", "c": "so far\nand no furth"}
    service.look(a="SUCCESS", b="RUNNING", c="RUNNING")
    shown = service.finish("FAIL", a="SUCCESS", b="FAIL", c="RUNNING", d="INIT", e="SUCCESS")
    assert content(shown) == ["and no furth"], "the report shows what the failed node said last"
    assert [line for line in shown if line.startswith("(")] == ["(no log: Get Task Instance Log: 62109 No log found.)"]
    assert service.played.value == {"b-1": "x\nthe reason"}


@pytest.mark.parametrize(("lines", "is_left"), [(40, True), (41, False)])
def test_what_the_report_does_not_show_of_a_failed_node_is_shown(service: Service, lines: int, is_left: bool) -> None:
    service.logs["a"] = "\n".join(f"line {number}" for number in range(lines))
    assert content(service.finish("FAIL", a="FAIL")) == ([] if is_left else service.logs["a"].splitlines())


def test_no_report_shows_a_node_that_failed_in_an_instance_that_succeeded(service: Service) -> None:
    service.logs["a"] = "why"
    assert content(service.finish("SUCCESS", a="FAIL")) == ["why"]


def test_the_end_where_logs_cannot_be_read(service: Service) -> None:
    names = [f"n{number}" for number in range(9)]
    service.logs = dict.fromkeys(names, LOST)
    shown = service.finish("FAIL", **{**dict.fromkeys(names, "FAIL"), "n1": "SUCCESS"})
    assert len(service.asked) == 3
    assert shown[:2] == ["::group::Log of node n1 (n1-1)", "(no log: read timed out)"]
    assert shown[-1] == "warning: The logs of the other nodes are not asked for any more"
    assert service.played.value["n0-1"] == "(no log: read timed out)"


@pytest.mark.parametrize("text", ["", " \n"])
def test_the_end_of_an_empty_log(service: Service, text: str) -> None:
    service.logs["a"] = text
    assert service.finish(a="SUCCESS") == ["::group::Log of node a (a-1)", "(the log is empty)", "::endgroup::"]


def test_hostile_logs_and_names(service: Service) -> None:
    # By the id as it is once it has been cleaned.
    service.logs[": :endgroup::x"] = "::endgroup::\nforged ::group::\n\x1b[31mred\u202e\n"
    shown = service.look(**{"::endgroup::x": "RUNNING"})
    assert shown[1:] == [": :endgroup::", "forged : :group::", "red", "::endgroup::"]
    assert shown[0].count("::group::") == 1
    assert "::endgroup::" not in shown[0]


@pytest.mark.parametrize("text", ["\n" * log_tail.LOG_LENGTH, "x" * log_tail.LOG_LENGTH, "a\n" * 500_000])
def test_no_time_is_lost_on_a_large_log(service: Service, text: str) -> None:
    for number in range(3):
        service.logs["a"] = f"{number}{text}"
        service.look(a="RUNNING")
