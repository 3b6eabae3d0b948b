"""What each status means."""

from __future__ import annotations

import pickle

import pytest
from hypothesis import given, strategies as st

from airflow_provider_enos.protocol.models import FlowStatus, Outcome


@pytest.mark.parametrize(
    ("number", "name", "outcome"),
    [
        (-1, "FAIL", Outcome.FAILED),
        (0, "INIT", Outcome.RUNNING),
        (1, "SUCCESS", Outcome.SUCCEEDED),
        (2, "RUNNING", Outcome.RUNNING),
        (3, "SUSPEND", Outcome.RUNNING),
        (4, "INTERNAL_ERROR", Outcome.FAILED),
        (5, "WAIT", Outcome.RUNNING),
        (6, "READY", Outcome.RUNNING),
        (7, "TIMEOUT", Outcome.FAILED),
        (8, "CANCEL", Outcome.CANCELLED),
        (9, "RERUN", Outcome.RUNNING),
        (10, "SKIP", Outcome.SKIPPED),
    ],
)
def test_documented_status(number: int, name: str, outcome: Outcome) -> None:
    """By number, digits or name it is the same."""
    status = FlowStatus(number)
    assert status is FlowStatus(str(number)) is FlowStatus(f" {number}\n")
    assert status is FlowStatus(name) is FlowStatus(f" {name}\x00")
    assert (str(status), status.outcome, status.known) == (name, outcome, True)
    assert status.ended is (outcome is not Outcome.RUNNING)


def test_no_other_status_is_documented() -> None:
    assert len(FlowStatus) == 12


@pytest.mark.parametrize("value", ["NONE", 42, "42", -2, "", "success", "1.0", "²", 10**30])
def test_unknown_status_is_running(value: object) -> None:
    """An unknown status never ends a wait."""
    status = FlowStatus(value)
    assert (status.known, status.outcome, status.ended) == (False, Outcome.RUNNING, False)
    assert status == FlowStatus(value)
    assert hash(status) == hash(FlowStatus(value))
    assert status not in list(FlowStatus)
    assert str(status) == str(value)


def test_unknown_statuses_are_told_apart() -> None:
    assert FlowStatus(42) == FlowStatus("42")
    assert FlowStatus(42) != FlowStatus(43)
    assert FlowStatus("NONE") != FlowStatus("OTHER")
    assert FlowStatus("NONE") != "NONE"
    assert {FlowStatus("NONE"): 1}[FlowStatus("NONE")] == 1


@given(st.text() | st.integers() | st.floats())
def test_any_status_remembers_by_its_name(value: object) -> None:
    status = FlowStatus(value)
    assert FlowStatus(status.name) == status
    assert len(str(status)) <= 40


@pytest.mark.parametrize("value", ["x" * 5_000_000, 10**90, ["y"] * 100_000, {"a": {"b": "z" * 5_000_000}}, 0.1])
def test_of_an_unknown_status_forty_characters_are_kept(value: object) -> None:
    """An instance stays in memory as long as a task waits for it."""
    status = FlowStatus(value)
    assert len(status.name) <= 40
    assert status.value == status.name
    assert len(pickle.dumps((status.name, status.value))) < 200


def test_unknown_statuses_are_kept_nowhere() -> None:
    before = (len(FlowStatus.__members__), len(FlowStatus._value2member_map_), len(vars(FlowStatus)))
    for number in range(1_000, 2_000):
        FlowStatus(number)
        FlowStatus(f"status {number}")
    assert (len(FlowStatus.__members__), len(FlowStatus._value2member_map_), len(vars(FlowStatus))) == before
