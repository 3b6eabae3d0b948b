"""The model-based tests find mistakes: protocols with one mistake each, and each of them is found."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import replace
from functools import partial
from types import MappingProxyType
from typing import Any

import pytest
import start_adversary
from hypothesis import Phase, settings
from hypothesis.stateful import run_state_machine_as_test
from start_adversary import NORMAL, Adversary, WithoutStore, WithStore
from start_model import FLOW

from airflow_provider_enos.errors import EnosError, EnosTransportError, EnosTriggerConflictError
from airflow_provider_enos.protocol.models import FlowInstance, FlowStatus
from airflow_provider_enos.protocol.start import attempts, killed, restarts, starting
from airflow_provider_enos.protocol.start.attempts import Attempt
from airflow_provider_enos.protocol.start.ledger import Ledger
from airflow_provider_enos.protocol.start.pauses import ClockMinutes
from airflow_provider_enos.protocol.start.recovery import Restart
from airflow_provider_enos.protocol.start.restarts import Restarts
from airflow_provider_enos.protocol.start.starting import STEPS, Starter
from airflow_provider_enos.protocol.start.states import (
    TRANSITIONS,
    Minute,
    Next,
    Started,
    State,
    StepOutcome,
    StepResult,
)
from airflow_provider_enos.protocol.trigger_time import MINUTE, minute_of, predicted_flow_instance_id
from airflow_provider_enos.protocol.wire import calls
from airflow_provider_enos.protocol.wire.messages import Sleep

Patch = pytest.MonkeyPatch
Broken = Callable[[Patch], None]


def step(state: State, replacement: Callable[[Starter, Minute], Generator[Any, Any, StepResult]]) -> Broken:
    """A protocol with another step in this state."""
    return lambda patch: patch.setattr(starting, "STEPS", {**STEPS, state: replacement})


def row(state: State, outcome: StepOutcome, then: Next) -> Broken:
    """A protocol whose table has another row."""
    table = MappingProxyType({**TRANSITIONS, (state, outcome): then})
    return lambda patch: patch.setattr(starting, "TRANSITIONS", table)


def result(judge: Callable[[Minute], StepResult]) -> Callable[[Starter, Minute], Generator[Any, Any, StepResult]]:
    """A step that asks for nothing."""

    def replacement(starter: Starter, minute: Minute) -> Generator[Any, Any, StepResult]:
        yield Sleep(0)
        return judge(minute)

    return replacement


def give_up(minute: Minute) -> StepResult:
    raise EnosTransportError("no connection", sent=False)


def make_up_an_id(minute: Minute) -> StepResult:
    return StepResult(StepOutcome.OURS, minute, Started(predicted_flow_instance_id(FLOW, minute.time)))


def take_over_anything(starter: Starter, minute: Minute) -> Any:
    """Whatever has the minute of a fresh attempt."""
    found = yield calls.get_flow_instance(predicted_flow_instance_id(FLOW, minute.time))
    starter.ledger.note_instance(minute.index, minute.time, found.flow_instance_id)
    return StepResult(StepOutcome.OURS, minute, Started(found.flow_instance_id))


def take_over_a_bad_end(starter: Starter, minute: Minute) -> Any:
    """And so never start another."""
    try:
        time = minute.time or (yield from starter.minutes.time(minute.index))
        found = yield calls.get_flow_instance(predicted_flow_instance_id(FLOW, time))
    except EnosError:
        return (yield from starter.look_back(minute))
    if minute.tries_before < 1:
        return (yield from starter.look_back(minute))
    return StepResult(StepOutcome.OURS, minute, Started(found.flow_instance_id))


def leave_the_predecessor_running(starter: Starter, minute: Minute) -> Any:
    starter.cancels_predecessor = False
    return (yield from starter.cancel_predecessor(minute))


def by_id_only(flow_id: int, time: int, flow_instance_id: str | None = None) -> Any:
    try:
        found = yield calls.get_flow_instance(flow_instance_id or predicted_flow_instance_id(flow_id, time))
    except EnosError:
        return ()
    return (found,)


def in_one_list(flow_id: int, time: int, flow_instance_id: str | None = None) -> Any:
    """A look into the list of the manual instances only, with pages from 0."""
    found = yield from by_id_only(flow_id, time, flow_instance_id)
    if found:
        return found
    minute = minute_of(time)
    page = yield calls.list_flow_instances(
        type=0, from_trigger_time=minute, to_trigger_time=minute + MINUTE, page_no=0, page_size=50
    )
    return page.instances


def always_ours(*_: Any) -> Any:
    yield from ()
    return True


def wait_for_nothing(*_: Any, **__: Any) -> Any:
    yield Sleep(0)
    raise EnosTriggerConflictError("no")


def cancel_nothing(*_: Any, **__: Any) -> Any:
    yield from ()


def wait_for_no_node(failed: FlowInstance, backoff: Any) -> Any:
    """And restart a flow of which nodes are still running."""
    graph = yield calls.get_flow_instance_graph(failed.flow_instance_id)
    nodes = tuple(
        replace(one, status=FlowStatus.SUCCESS) if one.status.working else one for one in graph.instance.nodes
    )
    return replace(graph, instance=replace(graph.instance, nodes=nodes))


def restart_from_the_last_node(*_: Any, **__: Any) -> Restart:
    return Restart(108582, "", 1, 1, 0, 0, 0, 0, 0)


def forget_the_node(patch: Patch) -> None:
    """Record a restart as a request for the node that the task is to start from."""
    note = Ledger.note_request
    patch.setattr(Ledger, "note_request", lambda ledger, *minute, **_: note(ledger, *minute[:2], ledger.first_task_id))


def settle(**changes: bool) -> Broken:
    """A protocol that misjudges who may have the minute."""
    return step(State.SETTLE, lambda starter, minute: starter.settle(replace(minute, **changes)))


def guess(patch: Patch) -> None:
    """Take a record that cannot be read for one that does not exist."""
    judge = attempts.attempt_of
    patch.setattr(attempts, "attempt_of", lambda *data, **more: judge(*data, **{**more, "is_readable": True}))


BROKEN_WITH_A_STORE: dict[str, Broken] = {
    "sends again blindly": row(State.SEND, StepOutcome.NO_ANSWER, Next(State.SEND)),
    "takes the next minute after a lost reply": row(
        State.SEND, StepOutcome.NO_ANSWER, Next(State.SEND, next_minute=True)
    ),
    "takes over anything": step(State.SETTLE, take_over_anything),
    "gives up and says that nothing was sent": step(State.FIND, result(give_up)),
    "makes up an id": step(State.FIND, result(make_up_an_id)),
    "looks by id only": lambda patch: patch.setattr(starting, "instances_of_minute", by_id_only),
    "looks in one list": lambda patch: patch.setattr(starting, "instances_of_minute", in_one_list),
    "never records a refusal": lambda patch: patch.setattr(Ledger, "note_refused", lambda *_: None),
    "records too late": lambda patch: patch.setattr(Ledger, "note_request", lambda *_: None),
    "starts another in the minute of a bad end": step(
        State.LOOK_BACK, result(partial(StepResult, StepOutcome.NO_EARLIER_TRY))
    ),
    "takes over a bad end": step(State.LOOK_BACK, take_over_a_bad_end),
    "waits for nothing": lambda patch: patch.setattr(ClockMinutes, "wait", wait_for_nothing),
    "adopts old instances": lambda patch: patch.setattr(starting, "can_be_ours", always_ours),
    "believes every refusal": settle(is_open=False),
    "takes every conflict for its own": settle(is_open=True),
    "guesses what it cannot read": guess,
    "leaves the predecessor running": step(State.CANCEL_PREDECESSOR, leave_the_predecessor_running),
    "looks for nothing when killed": lambda patch: patch.setattr(start_adversary, "cancel_unanswered", cancel_nothing),
    "cancels anything when killed": lambda patch: patch.setattr(killed, "can_be_ours", always_ours),
    "restarts beside the failed instance": lambda patch: patch.setattr(restarts, "at_rest", wait_for_no_node),
    "restarts too far down": lambda patch: patch.setattr(restarts, "restart_of", restart_from_the_last_node),
    "restarts after a clear": lambda patch: patch.setattr(Restarts, "_hindrance", None),
    "forgets the node of a restart": forget_the_node,
}
NEEDS_A_STORE = (
    "takes over anything",
    "never records a refusal",
    "records too late",
    "adopts old instances",
    "takes every conflict for its own",
    "guesses what it cannot read",
    "leaves the predecessor running",
    "cancels anything when killed",
    "restarts beside the failed instance",
    "restarts too far down",
    "restarts after a clear",
    "forgets the node of a restart",
)
BROKEN = [
    *((WithStore, name) for name in BROKEN_WITH_A_STORE),
    *((WithoutStore, name) for name in BROKEN_WITH_A_STORE if name not in NEEDS_A_STORE),
]


RARE = 5
"""Times the examples of an ordinary run, for mistakes that show only after a clear and a conflict."""


def finds_a_violation(machine: type[Adversary], times: int = 1) -> bool:
    """Search within ``times`` the examples of an ordinary run, and do not shrink what is found."""
    enough = settings(NORMAL, phases=[Phase.generate], max_examples=NORMAL.max_examples * times)
    try:
        run_state_machine_as_test(machine, settings=enough)
    except (AssertionError, pytest.fail.Exception):
        return True
    return False


@pytest.mark.parametrize(("machine", "name"), BROKEN, ids=lambda value: getattr(value, "__name__", value))
def test_broken_protocol_is_found_out(machine: type[Adversary], name: str, monkeypatch: Patch) -> None:
    BROKEN_WITH_A_STORE[name](monkeypatch)
    assert finds_a_violation(machine, RARE)


NO_FIRST_INDEX = {"first_index": 0}
NEITHER = {"first_index": 0, "intent": None}
ALWAYS_FRESH = {"fresh": True, "has_record": False, "intent": None}
NEVER_FRESH = {"fresh": False, "has_record": False}


@pytest.mark.parametrize(
    ("machine", "changes"),
    [
        (WithStore, NO_FIRST_INDEX),
        (WithStore, NEITHER),
        (WithStore, ALWAYS_FRESH),
        (WithoutStore, NO_FIRST_INDEX),
        (WithoutStore, ALWAYS_FRESH),
    ],
    ids=str,
)
def test_attempt_that_is_misjudged_is_found_out(
    machine: type[Adversary], changes: dict[str, Any], monkeypatch: Patch
) -> None:
    judge = attempts.attempt_of
    monkeypatch.setattr(attempts, "attempt_of", lambda *data, **more: replace(judge(*data, **more), **changes))
    assert finds_a_violation(machine, RARE)


def test_round_that_forgets_where_the_one_before_it_was_is_found_out(monkeypatch: Patch) -> None:
    """Conflicts may have led the round before to more minutes than it had tries."""
    judge = attempts.attempt_of

    def forgetful(stored: Any, **more: Any) -> Attempt:
        return judge(stored and {**stored, "index": 0}, **more)

    monkeypatch.setattr(attempts, "attempt_of", forgetful)
    assert finds_a_violation(WithStore, RARE)
