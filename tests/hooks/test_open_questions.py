"""Whatever the answer is to a question that the documentation leaves open, the hook works."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hook_fixtures import INSTANCE, MINUTE, TRIGGER_TIME, MakeHook

from airflow_provider_enos import errors
from airflow_provider_enos.protocol.models import FlowStatus
from airflow_provider_enos.simulator import EnosSimulator
from airflow_provider_enos.simulator.config import SWITCHES

SIDES: dict[str, tuple[Any, ...]] = {
    "progress": ("polls:2", "at_once", "seconds:0"),
    "first_page": (0, 1),
    "minute_rule": ("trigger_minute", "clock"),
    "clock_minute": (60.0, 0.0),
    "graph_keys": ("camel", "snake"),
    "graph_as": ("text", "object"),
    "ids_as": ("int", "str"),
    "data_as": ("object", "list"),
    "listed_type": (0, 1, 2),
    "refused_token": ("envelope", "http"),
    "envelope_http_status": (200, 400),
    "refresh_changes_token": (True, False),
    "refresh_revokes_old": (True, False),
    "unknown_instance": ("error", "null", "empty_list"),
    "count_means": ("total", "page"),
    "request_id": (True, False),
    "log_missing_code": (62109, 62102),
    "log_keeps": ("head", "tail"),
    "log_grows": (True, False),
    "replayed_call": ("refused", "accepted"),
    "one_at_a_time": (True, False),
    "time_zone": ("GMT+8", "GMT-11"),
    "run_times_in": ("time_zone", "utc"),
    "cancel_takes": (0.0, 60.0),
    "clock_skew": (0.0, 3600.0, -3600.0),
    "search_first_page": (1, 0),
    "search_sorters": ("either", "snake", "camel"),
    "directory_type_as": ("int", "str"),
    "edit_copy": ("temporary", "same"),
    "task_types_as": ("str", "int"),
    "import_needs_desc": (False, True),
    "paused_trigger": ("accepted", "refused"),
    "omitted_parameters": ("kept", "dropped"),
    "from_task_follows": ("all", "rerun"),
}
NOT_FOR_THE_HOOK = {"id_style"}
"""A hook gives the id that EnOS gives; who predicts ids is the operator."""


def test_every_switch_has_its_sides_here() -> None:
    assert SIDES.keys() | NOT_FOR_THE_HOOK == SWITCHES.keys()


@pytest.mark.parametrize(
    ("name", "side"),
    [pytest.param(name, side, id=f"{name}={side}") for name, sides in SIDES.items() for side in sides],
)
def test_the_same_on_either_side_of_every_switch(hook_for: MakeHook, name: str, side: Any) -> None:
    with EnosSimulator(**{name: side}) as sim:
        hook = hook_for(sim)
        assert hook.trigger_flow_from_task(3377, 108580, TRIGGER_TIME) == INSTANCE
        for _ in range(5):
            instance = hook.get_flow_instance(INSTANCE)
        assert (instance.flow_instance_id, instance.flow_id) == (INSTANCE, 3377)
        assert instance.status is FlowStatus.SUCCESS
        assert {node.task_id for node in instance.nodes} >= {108580, 108581, 108582}
        assert [node.task_id for node in hook.get_flow(3377).nodes] == [108579, 108580, 108581, 108582]
        node = next(node for node in instance.nodes if node.task_id == 108580)
        assert hook.get_task_instance(node.task_instance_id).task_id == 108580
        assert hook.get_task_instance_log(node.task_instance_id)
        found = hook.list_flow_instances(TRIGGER_TIME - MINUTE, TRIGGER_TIME + MINUTE)
        assert [one.flow_instance_id for one in found] == [INSTANCE]
        for ask in (hook.get_flow_instance, hook.get_task_instance):
            with pytest.raises(errors.EnosRequestError):
                ask("3377-19990101000000")
        with pytest.raises(errors.EnosRequestError):
            hook.trigger_flow_from_task(3377, 108580, TRIGGER_TIME)
        sim.expire_tokens()
        hook.cancel_flow_instance(INSTANCE)
        assert len(sim.instances) == 1
        assert hook.test_connection()[0]


@pytest.mark.parametrize(
    ("name", "side"),
    [pytest.param(name, side, id=f"{name}={side}") for name, sides in SIDES.items() for side in sides],
)
def test_flows_the_same_on_either_side_of_every_switch(hook_for: MakeHook, name: str, side: Any) -> None:
    with EnosSimulator(**{name: side}) as sim:
        hook = hook_for(sim)
        flow = hook.get_flow(4011)
        assert [node.task_id for node in flow.nodes] == [40111, 40112]
        assert [other.flow_id for other in flow.flows] == [3377]
        assert len(flow.relations) == 2
        assert 4011 in [one.flow_id for one in hook.get_my_flow()]
        assert [one.flow_id for one in hook.search_flows("401")] == [4010, 4011]
        (root,) = hook.list_workflow_directories()
        assert {3377, 4010, 4011} <= {one.flow_id for one in root.walk()}
        assert root.type == 1
        new = hook.create_directory(root.key, "new")
        export = hook.export_flow(4011)
        copy = hook.import_flow("copy", new, export)
        assert replace(hook.export_flow(copy), name=export.name) == export
        loaded = hook.load_flow_for_edit(copy)
        assert hook.save_flow(replace(loaded, description="changed", parameters=(("a", "b"),))) == copy
        hook.disable_flow(copy)
        saved = hook.get_flow(copy)
        assert (saved.description, saved.parameters, saved.active) == ("changed", (("a", "b"),), False)
        assert [node.task_name for node in saved.nodes] == [node.task_name for node in flow.nodes]
        assert len(saved.relations) == 2
        hook.enable_flow(copy)
        assert hook.get_flow(copy).active
        hook.delete_flow(copy)
        with pytest.raises(errors.EnosNotFoundError):
            hook.get_flow(copy)


@pytest.mark.parametrize("changes", [True, False])
@pytest.mark.parametrize("revokes", [True, False])
def test_a_token_is_refreshed_whatever_becomes_of_the_old_one(hook_for: MakeHook, changes: bool, revokes: bool) -> None:
    """Two hooks of one process always use each other's renewed token."""
    with EnosSimulator(refresh_changes_token=changes, refresh_revokes_old=revokes) as sim:
        one, other = hook_for(sim), hook_for(sim)
        one.get_flow(3377)
        # As late as makes it due, without the wait.
        one.client.gateway._token = _due(one.client.gateway._token)
        other.get_flow(3377)
        one.get_flow(3377)
        assert sim.count("token/refresh") == 1
        assert {request.code for request in sim.requests} == {0}


def _due(token: Any) -> Any:
    import dataclasses

    return dataclasses.replace(token, renew_at=0)
