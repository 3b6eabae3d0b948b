"""What EnOS refuses, and the error that says so."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from enos_documents import EXPORT as DOCUMENTED
from hook_fixtures import INSTANCE, TRIGGER_TIME

from airflow_provider_enos import errors
from airflow_provider_enos.hooks.enos import EnosHook
from airflow_provider_enos.simulator import EnosSimulator

# Without what it depends on, which the simulator does not have.
EXPORT = {**DOCUMENTED, "flowLinks": [], "taskLinks": [], "linkRelations": [], "owners": ""}


REFUSED: dict[str, tuple[Callable[[EnosHook], object], type[errors.EnosError], str]] = {
    "no such flow": (lambda hook: hook.get_flow(1), errors.EnosNotFoundError, "62102"),
    "no such flow to trigger": (lambda hook: hook.trigger_flow(1, 10**12), errors.EnosRequestError, "62102"),
    "no such node": (lambda hook: hook.trigger_flow_from_task(3377, 1, 10**12), errors.EnosRequestError, "62102"),
    "no node at all": (lambda hook: hook.trigger_flow(4006, 10**12), errors.EnosRequestError, "62104"),
    "a locked flow": (lambda hook: hook.trigger_flow(4007, 10**12), errors.EnosAccessError, "neither of them may be"),
    "another user's flow": (lambda hook: hook.trigger_flow(4008, 10**12), errors.EnosAccessError, "must own the flow"),
    "no such instance": (lambda hook: hook.get_flow_instance("3377-1"), errors.EnosNotFoundError, "62102"),
    "no such instance to cancel": (lambda hook: hook.cancel_flow_instance("1-1"), errors.EnosRequestError, "62102"),
    "no such flow to delete": (lambda hook: hook.delete_flow(1), errors.EnosRequestError, "62102"),
    "no such flow to enable": (lambda hook: hook.enable_flow(1), errors.EnosRequestError, "62102"),
    "no such flow to disable": (lambda hook: hook.disable_flow(1), errors.EnosRequestError, "62102"),
    "no such flow to export": (lambda hook: hook.export_flow(1), errors.EnosRequestError, "there is no such flow"),
    "no such flow to load": (lambda hook: hook.load_flow_for_edit(1), errors.EnosNotFoundError, "62102"),
    "no such flow to save": (
        lambda hook: hook.save_flow(replace(hook.get_flow(3377), flow_id=1)),
        errors.EnosRequestError,
        "change what Load Flow For Edit gives",
    ),
    "a flow that others rely on": (lambda hook: hook.delete_flow(3377), errors.EnosRequestError, "62104 .*take it out"),
    "to delete another user's flow": (lambda hook: hook.delete_flow(4008), errors.EnosAccessError, "must own the flow"),
    "to enable a locked flow": (lambda hook: hook.enable_flow(4007), errors.EnosAccessError, "neither of them may be"),
    "to save another user's flow": (
        lambda hook: hook.save_flow(hook.load_flow_for_edit(4008)),
        errors.EnosAccessError,
        "must own the flow",
    ),
    "a directory in none": (
        lambda hook: hook.create_directory("none", "new"),
        errors.EnosRequestError,
        "62102 .*parent_id must be the key of a directory",
    ),
    "a directory of the same name": (
        lambda hook: hook.create_directory(hook.list_workflow_directories()[0].key, "meter data"),
        errors.EnosRequestError,
        "no other in it may have this dir_name",
    ),
    "to import into no directory": (
        lambda hook: hook.import_flow("copy", "none", EXPORT),
        errors.EnosRequestError,
        "62102 .*dir_id must be the key of a directory",
    ),
    "to import under a name that is taken": (
        lambda hook: hook.import_flow("slow", hook.list_workflow_directories()[0].key, EXPORT),
        errors.EnosRequestError,
        "62102 .*flow_name a new name",
    ),
    "no such task": (lambda hook: hook.get_task_instance("1-1"), errors.EnosNotFoundError, "62102"),
}


@pytest.mark.parametrize(("ask", "expected", "said"), REFUSED.values(), ids=REFUSED)
def test_what_enos_refuses(hook: EnosHook, ask: Callable[[EnosHook], object], expected: Any, said: str) -> None:
    with pytest.raises(expected, match=said):
        ask(hook)


def test_a_user_that_is_locked(hook: EnosHook, sim: EnosSimulator) -> None:
    flow = hook.load_flow_for_edit(3377)
    sim.user_locked = True
    assert hook.get_flow(3377).user_locked
    with pytest.raises(errors.EnosAccessError, match=r"62105 .*have it unlocked") as caught:
        hook.save_flow(flow)
    assert caught.value.final


@pytest.mark.parametrize("code", [62109, 62102])
def test_a_log_that_is_not_there_yet(hook: EnosHook, sim: EnosSimulator, code: int) -> None:
    """Whichever of its codes EnOS has for it, it is not asked again."""
    sim.log_missing_code = code
    sim.progress = "manual"
    sim.trigger(3377, 108580, TRIGGER_TIME)
    waiting = hook.get_flow_instance(INSTANCE).nodes[-1]
    with pytest.raises(errors.EnosNotFoundError, match=f"Get Task Instance Log: {code}"):
        hook.get_task_instance_log(waiting.task_instance_id)
    assert sim.count("taskInstances/getLog") == 1


def test_a_taken_minute(hook: EnosHook, sim: EnosSimulator) -> None:
    hook.trigger_flow_from_task(3377, 108580, TRIGGER_TIME)
    with pytest.raises(errors.EnosRequestError, match="62102"):
        hook.trigger_flow_from_task(3377, 108580, TRIGGER_TIME)
    assert len(sim.instances) == 1
