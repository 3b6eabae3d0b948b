"""The model-based test of task groups finds mistakes: groups with one mistake each, and each of them is found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from group_adversary import GroupAdversary
from hypothesis import Phase, settings
from hypothesis.stateful import run_state_machine_as_test
from start_adversary import NORMAL

from airflow_provider_enos.operators import node_execution
from airflow_provider_enos.operators.node_execution import NodeExecution
from airflow_provider_enos.protocol.models import FlowStatus
from airflow_provider_enos.protocol.start import group_restart
from airflow_provider_enos.protocol.start.group_restart import Siblings
from airflow_provider_enos.protocol.wire import calls
from airflow_provider_enos.triggers import node as node_trigger
from airflow_provider_enos.utils.group_record import GroupRecord, IntentState

Patch = pytest.MonkeyPatch


def record_no_intent(patch: Patch) -> None:
    patch.setattr(IntentState, "save", lambda *_: True)


def forget_the_success(patch: Patch) -> None:
    patch.setattr(GroupRecord, "note_success", lambda *_, **__: None)


def look_for_no_siblings(patch: Patch) -> None:
    def nobody(*_: Any) -> Any:
        yield from ()
        return False

    patch.setattr(Siblings, "have_started", nobody)


def take_any_instance_for_a_siblings(patch: Patch) -> None:
    def anybody(*_: Any) -> Any:
        yield from ()
        return True

    patch.setattr(Siblings, "have_started", anybody)


def restart_beside_what_runs(patch: Patch) -> None:
    def at_once(failed: Any, backoff: Any) -> Any:
        graph = yield calls.get_flow_instance_graph(failed.flow_instance_id)
        still = (one.status is not None and one.status.working for one in graph.instance.nodes)
        nodes = tuple(
            replace(one, status=FlowStatus.FAIL) if works else one
            for one, works in zip(graph.instance.nodes, still, strict=True)
        )
        return replace(graph, instance=replace(graph.instance, nodes=nodes))

    patch.setattr(group_restart, "at_rest", at_once)
    patch.setattr(NodeExecution, "_is_at_rest", lambda *_: True)


def stay_with_the_first_instance(patch: Patch) -> None:
    for module in (node_execution, node_trigger):
        patch.setattr(module, "newest_with", lambda node, instances: next(iter(instances)))


BROKEN: dict[str, Callable[[Patch], None]] = {
    "records no request": record_no_intent,
    "forgets the success of a node": forget_the_success,
    "looks for no siblings": look_for_no_siblings,
    "takes any instance for a sibling's": take_any_instance_for_a_siblings,
    "restarts beside what runs": restart_beside_what_runs,
    "stays with the first instance": stay_with_the_first_instance,
}


def finds_a_violation(steps: int) -> bool:
    enough = settings(NORMAL, phases=[Phase.generate], stateful_step_count=steps, max_examples=NORMAL.max_examples * 10)
    try:
        run_state_machine_as_test(GroupAdversary, settings=enough)
    except (AssertionError, pytest.fail.Exception):
        return True
    return False


@pytest.mark.parametrize("name", BROKEN)
def test_broken_group_is_found_out(name: str, monkeypatch: Patch) -> None:
    BROKEN[name](monkeypatch)
    # Short runs do more at the beginning, where all nodes wait at once; long ones come to what is rare.
    assert any(finds_a_violation(steps) for steps in (20, 12, 30))
