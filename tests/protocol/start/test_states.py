"""The tables of a start: what an error of a request means, and what follows from which outcome."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
from starts import (
    CONFLICT,
    GONE,
    LOST,
    NOW_MS,
    NOWHERE,
    THE_FLOW,
    UNSENT,
    ZONE,
    graph,
    instance,
    name,
    never_sent,
    refusal,
    retry,
    stored,
)

from airflow_provider_enos.errors import (
    EnosAccessError,
    EnosApiError,
    EnosAuthError,
    EnosError,
    EnosNotFoundError,
    EnosRateLimitError,
    EnosReplyError,
    EnosRequestError,
    EnosServerError,
    EnosTransportError,
    EnosTriggerError,
)
from airflow_provider_enos.protocol.models import Flow
from airflow_provider_enos.protocol.start import starting
from airflow_provider_enos.protocol.start.starting import STEPS
from airflow_provider_enos.protocol.start.states import TRANSITIONS, Next, State, StepOutcome, outcome_of

OUTCOMES = [
    (CONFLICT, StepOutcome.TAKEN, StepOutcome.TAKEN),
    (UNSENT, StepOutcome.BUSY, StepOutcome.BUSY),
    (refusal(EnosRateLimitError, 429), StepOutcome.BUSY, StepOutcome.BUSY),
    (never_sent(refusal(EnosServerError, 503)), StepOutcome.BUSY, StepOutcome.BUSY),
    (never_sent(EnosReplyError("garbage")), StepOutcome.BUSY, StepOutcome.BUSY),
    (refusal(EnosAuthError, 401), StepOutcome.REFUSED, StepOutcome.NO_ANSWER),
    (refusal(EnosAccessError, 62103), StepOutcome.REFUSED, StepOutcome.NO_ANSWER),
    (refusal(EnosRequestError, 62104), StepOutcome.REFUSED, StepOutcome.NO_ANSWER),
    (refusal(EnosNotFoundError, 404), StepOutcome.REFUSED, StepOutcome.NO_ANSWER),
    (refusal(EnosApiError, 99999), StepOutcome.REFUSED, StepOutcome.NO_ANSWER),
    (never_sent(refusal(EnosAuthError, 1003)), StepOutcome.REFUSED, StepOutcome.NO_ANSWER),
    (never_sent(refusal(EnosRequestError, 62102)), StepOutcome.REFUSED, StepOutcome.NO_ANSWER),
    (EnosTransportError("not trusted", sent=False, tls=True), StepOutcome.REFUSED, StepOutcome.NO_ANSWER),
    (never_sent(EnosTriggerError("killed")), StepOutcome.REFUSED, StepOutcome.NO_ANSWER),
    (LOST, StepOutcome.NO_ANSWER, StepOutcome.NO_ANSWER),
    (EnosTransportError("broken", sent=True, tls=True), StepOutcome.NO_ANSWER, StepOutcome.NO_ANSWER),
    (EnosReplyError("garbage"), StepOutcome.NO_ANSWER, StepOutcome.NO_ANSWER),
    (refusal(EnosServerError, 503), StepOutcome.NO_ANSWER, StepOutcome.NO_ANSWER),
    (refusal(EnosServerError, 1001), StepOutcome.NO_ANSWER, StepOutcome.NO_ANSWER),
]


@pytest.mark.parametrize(
    ("error", "plain", "sent_again"), OUTCOMES, ids=lambda value: getattr(value, "name", repr(value))
)
def test_outcome_of_a_request(error: EnosError, plain: StepOutcome, sent_again: StepOutcome) -> None:
    """A request that was sent again after a refusal may have been carried out, unless it surely was never sent."""
    assert outcome_of(error) is plain
    error.repeated = True
    try:
        assert outcome_of(error) is sent_again
    finally:
        del error.repeated


# One scenario for each row of the table: what EnOS answers, and the attempt.

Scenario = tuple[list[Any], dict[str, Any]]
OLD = instance(0, "SUCCESS", timestamp="2020-08-01 00:00:00")
"""An instance from before the first request of the task."""
FROM_FAILURE = {"retry_from": "failure"}
SCENARIOS: dict[tuple[State, StepOutcome], Scenario] = {
    (State.CANCEL_PREDECESSOR, StepOutcome.NONE_RUNS): ([name(0)], {}),
    (State.LOOK_BACK, StepOutcome.NO_EARLIER_TRY): ([name(0)], {}),
    (State.LOOK_BACK, StepOutcome.FREE): ([*NOWHERE, name(0)], retry()),
    (State.LOOK_BACK, StepOutcome.OURS): ([instance(0)], retry()),
    (State.LOOK_BACK, StepOutcome.ENDED_BADLY): ([instance(0, "FAIL"), ZONE, instance(1)], retry()),
    (State.LOOK_BACK, StepOutcome.PASSED_OVER): ([OLD, ZONE, *NOWHERE, name(1)], retry(not_before=NOW_MS)),
    (State.LOOK_BACK, StepOutcome.OTHERS): ([OLD, ZONE], {**retry(not_before=NOW_MS), "on_conflict": "attach"}),
    (State.SEND, StepOutcome.NAMED): ([name(0)], {}),
    (State.SEND, StepOutcome.TAKEN): ([CONFLICT, THE_FLOW, instance(0), ZONE, name(1)], {}),
    (State.SEND, StepOutcome.NO_ANSWER): ([LOST, instance(0)], {}),
    (State.SEND, StepOutcome.BUSY): ([UNSENT, name(0)], {"tolerance": 60.0}),
    (State.SEND, StepOutcome.REFUSED): ([refusal(EnosAccessError, 62103)], {}),
    (State.FIND, StepOutcome.OURS): ([LOST, instance(0)], {}),
    (State.FIND, StepOutcome.OTHERS): ([LOST, OLD, ZONE, name(1)], {}),
    (State.FIND, StepOutcome.NOT_SEEN): ([LOST, *NOWHERE * 5], {}),
    (State.SETTLE, StepOutcome.OURS): ([*NOWHERE, CONFLICT, THE_FLOW, instance(0)], stored()),
    (State.SETTLE, StepOutcome.ENDED_BADLY): (
        [*NOWHERE, CONFLICT, THE_FLOW, instance(0, "FAIL"), ZONE, name(1)],
        stored(),
    ),
    (State.SETTLE, StepOutcome.FREE): ([CONFLICT, THE_FLOW, *NOWHERE, name(0)], {}),
    (State.SETTLE, StepOutcome.LEFT_ALONE): ([CONFLICT, THE_FLOW, instance(0), ZONE, name(1)], {}),
    (State.SETTLE, StepOutcome.ATTACHED): ([CONFLICT, THE_FLOW, instance(0)], {"on_conflict": "attach"}),
    (State.SETTLE, StepOutcome.CONFLICT): ([CONFLICT, THE_FLOW, instance(0)], {"on_conflict": "fail"}),
    (State.SETTLE, StepOutcome.NODE_GONE): (
        [*NOWHERE, CONFLICT, Flow.parse({"flowId": 3377, "graph": {"tasks": [{"taskId": 108580}]}}), name(0)],
        {**stored(node=108581), **FROM_FAILURE},
    ),
    (State.SETTLE, StepOutcome.NO_TARGET): ([CONFLICT, GONE], {}),
    (State.RECOVER, StepOutcome.FROM_START): ([instance(0, "FAIL"), ZONE, name(1)], stored()),
    (State.RECOVER, StepOutcome.FROM_NODE): (
        [instance(0, "FAIL"), graph(), THE_FLOW, ZONE, name(1)],
        {**stored(), **FROM_FAILURE},
    ),
    (State.RECOVER, StepOutcome.RUNS_AGAIN): (
        [instance(0, "FAIL"), graph(status="RERUN"), instance(0, "RERUN")],
        {**stored(), **FROM_FAILURE},
    ),
}


class Watched(Mapping[Any, Next]):
    """The table of transitions, which notes each row that is looked up."""

    def __init__(self) -> None:
        self.rows: list[tuple[State, StepOutcome]] = []

    def __getitem__(self, row: Any) -> Next:
        self.rows.append(row)
        return TRANSITIONS[row]

    def __iter__(self) -> Iterator[Any]:
        return iter(TRANSITIONS)

    def __len__(self) -> int:
        return len(TRANSITIONS)


@pytest.mark.parametrize("row", TRANSITIONS, ids=lambda row: f"{row[0].name}-{row[1].name}")
def test_each_row_is_reached_and_leads_where_it_says(
    row: tuple[State, StepOutcome], run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    watched = Watched()
    monkeypatch.setattr(starting, "TRANSITIONS", watched)
    answers, attempt = SCENARIOS[row]
    played = run(answers, **attempt)
    assert row in watched.rows
    after = watched.rows[watched.rows.index(row) + 1 :]
    expected = TRANSITIONS[row].state
    if after:
        assert after[0][0] is expected
    elif played.error is None:
        assert expected is State.STARTED
    else:
        assert expected is State.FAILED


def test_each_state_but_the_ends_has_a_step_and_outcomes() -> None:
    assert set(STEPS) == {state for state, _ in TRANSITIONS} == set(State) - {State.STARTED, State.FAILED}
    assert {outcome for _, outcome in TRANSITIONS} == set(StepOutcome)


def test_each_state_is_reached_from_the_first_one() -> None:
    reached = {State.CANCEL_PREDECESSOR}
    for _ in State:
        reached |= {then.state for (state, _), then in TRANSITIONS.items() if state in reached}
    assert reached == set(State)
