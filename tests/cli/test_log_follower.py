"""The log of a run as it grows: what is printed at each poll, whichever part of the log EnOS gives."""

from __future__ import annotations

import io
from typing import Any

import pytest

from airflow_provider_enos.cli import log_follower
from airflow_provider_enos.cli.log_follower import LogFollower
from airflow_provider_enos.cli.terminal import Terminal
from airflow_provider_enos.errors import (
    EnosAuthError,
    EnosError,
    EnosNotFoundError,
    EnosPollLostError,
    EnosRequestError,
    EnosTransportError,
)
from airflow_provider_enos.protocol.models import TaskInstance
from airflow_provider_enos.protocol.wire.messages import Sleep

GONE = EnosTransportError("no reply", sent=True)
ABSENT = EnosNotFoundError(62109, "No log found", operation="Get Task Instance Log", http_status=200)
UNKNOWN = EnosRequestError(404, "no such address", operation="Get Task Instance", http_status=404)
KEY = EnosAuthError(1002, "unknown key", operation="Get Access Token", http_status=200)


def run(status: str) -> TaskInstance:
    return TaskInstance.parse({"instanceId": "1-1", "status": status})


class Follow:
    """Answers the follower's calls, in order, with ``looks``."""

    def __init__(self, looks: list[Any], *, lines: int | None = None) -> None:
        out, notes = io.StringIO(), io.StringIO()
        steps = LogFollower("1-1", Terminal(out, notes, as_json=False), lines, 5.0).steps()
        self.text: str | None = None
        """The whole log, once the run has ended."""
        try:
            step = next(steps)
            for answer in looks:
                while isinstance(step, Sleep):
                    step = steps.send(None)
                step = steps.throw(answer) if isinstance(answer, EnosError) else steps.send(answer)
        except StopIteration as done:
            self.text = done.value
        self.printed, self.notes = out.getvalue(), notes.getvalue()


def test_what_is_new_is_printed_in_whole_lines() -> None:
    looks = [run("RUNNING"), "one\ntw", run("RUNNING"), "one\ntwo\n", run("RUNNING"), "one\ntwo\n"]
    follow = Follow([*looks, run("SUCCESS"), "one\ntwo\nthree"])
    assert follow.printed == "one\ntwo\nthree\n"
    assert (follow.text, follow.notes) == ("one\ntwo\nthree", "")


def test_a_log_of_which_enos_keeps_the_end() -> None:
    lines = [f"line {number} {'x' * 60}\n" for number in range(40)]
    windows = ["".join(lines[:20]), "".join(lines[5:30]), "".join(lines[12:])]
    looks = [answer for window in windows for answer in (run("RUNNING"), window)]
    assert Follow([*looks, run("FAIL"), windows[-1]]).printed == "".join(lines)


def test_a_log_that_begins_anew() -> None:
    """As after a retry in EnOS."""
    looks = [run("RUNNING"), "first try\n", run("RERUN"), "second\n", run("SUCCESS"), "second\nend\n"]
    assert Follow(looks).printed == "first try\nsecond\nend\n"


def test_only_the_last_lines_of_what_is_there() -> None:
    looks = [run("RUNNING"), "1\n2\n3\n", run("SUCCESS"), "1\n2\n3\n4\n5\n"]
    assert Follow(looks, lines=1).printed == "3\n4\n5\n"


def test_a_log_that_is_not_there_yet_and_one_that_never_comes() -> None:
    assert Follow([run("INIT"), ABSENT, run("RUNNING"), "1\n", run("SUCCESS"), "1\n"]).printed == "1\n"
    never = Follow([run("INIT"), ABSENT, run("CANCEL"), ABSENT])
    assert (never.text, never.printed) == ("", "")


def test_errors_are_waited_through() -> None:
    looks = [run("RUNNING"), "1\n", GONE, GONE, run("RUNNING"), GONE, run("SUCCESS"), "1\n2\n"]
    follow = Follow(looks)
    assert follow.printed == "1\n2\n"
    assert follow.notes.count("Cannot ask EnOS") == 1


def test_errors_are_not_waited_through_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(0, 10_000, 250))
    monkeypatch.setattr(log_follower, "time", lambda: next(clock))
    with pytest.raises(EnosPollLostError, match="no reply"):
        Follow([run("RUNNING"), "1\n", GONE, GONE, GONE, GONE])
    with pytest.raises(EnosAuthError):
        Follow([KEY])


def test_an_enos_that_cannot_be_asked_for_runs() -> None:
    """The log is followed without an end. A run without a log counts as missing."""
    follow = Follow([UNKNOWN, "1\n", "1\n2\n"])
    assert (follow.printed, follow.text) == ("1\n2\n", None)
    assert follow.notes.count("does not tell when this run ends") == 1
    with pytest.raises(EnosRequestError, match="no such address"):
        Follow([UNKNOWN, ABSENT])
