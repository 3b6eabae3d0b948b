"""The API calls that the hook's methods make of their arguments, which are checked here, before anything is sent.

Each function is named after the method of ``EnosHook`` that calls it, and raises ``EnosConfigError``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from time import time
from typing import Any

from airflow_provider_enos.errors import EnosConfigError, EnosReplyError
from airflow_provider_enos.protocol import arguments, trigger_time as times
from airflow_provider_enos.protocol.models import (
    Directory,
    Flow,
    FlowExport,
    FlowInstance,
    FlowStatus,
    FlowSummary,
    MyFlow,
    TaskInstance,
)
from airflow_provider_enos.protocol.text import excerpt, shown
from airflow_provider_enos.protocol.wire import calls
from airflow_provider_enos.protocol.wire.messages import Call
from airflow_provider_enos.protocol.wire.names import flow_pages
from airflow_provider_enos.protocol.wire.paging import PAGE_SIZE, Pager

_LARGEST_PAGE = 1000


def trigger_flow_from_task(flow_id: int | str, from_task_id: int | str, trigger_time: Any) -> Call[str]:
    """Return the call of Trigger Flow From Task."""
    return calls.trigger_flow_from_task(
        arguments.number(flow_id, "flow_id"),
        arguments.number(from_task_id, "from_task_id"),
        _milliseconds(trigger_time, "trigger_time"),
    )


def trigger_flow(flow_id: int | str, trigger_time: Any) -> Call[str]:
    """Return the call of Trigger Flow."""
    return calls.trigger_flow(arguments.number(flow_id, "flow_id"), _milliseconds(trigger_time, "trigger_time"))


def update_and_trigger_flow(flow_id: int | str, trigger_time: Any, parameters: Mapping[str, str]) -> Call[str]:
    """Return the call of Update And Trigger Flow."""
    return calls.update_and_trigger_flow(
        arguments.number(flow_id, "flow_id"),
        _milliseconds(trigger_time, "trigger_time"),
        arguments.parameters(parameters),
    )


def get_flow(flow_id: int | str) -> Call[Flow]:
    """Return the call of Get Flow."""
    return calls.get_flow(arguments.number(flow_id, "flow_id"))


def get_my_flow(expression: str) -> Call[tuple[MyFlow, ...]]:
    """Return the call of Get My Flow."""
    return calls.get_my_flow(arguments.text(expression, "expression"))


def search_flows(expression: str, page_size: int) -> Pager[FlowSummary]:
    """Return the pages of Search Flow."""
    arguments.text(expression, "expression")
    _check_page_size(page_size, PAGE_SIZE)
    return flow_pages(expression, page_size)


def export_flow(flow_id: int | str) -> Call[FlowExport]:
    """Return the call of Export Flow."""
    return calls.export_flow(arguments.number(flow_id, "flow_id"))


def import_flow(
    flow_name: str, dir_id: str, flow_json: FlowExport | Mapping[str, Any], flow_id: int | str | None, desc: str
) -> Call[int]:
    """Return the call of Import Flow."""
    name, directory = arguments.name(flow_name, "flow_name"), arguments.name(dir_id, "dir_id")
    wanted = None if flow_id is None else arguments.number(flow_id, "flow_id")
    description = arguments.prose(desc, "desc")
    export = _flow_export(flow_json)
    with _must_be_json("flow_json", "what export_flow gives"):
        return calls.import_flow(name, directory, export, flow_id=wanted, desc=description)


def load_flow_for_edit(flow_id: int | str) -> Call[Flow]:
    """Return the call of Load Flow For Edit."""
    return calls.load_flow_for_edit(arguments.number(flow_id, "flow_id"))


def save_flow(flow: Flow) -> Call[int]:
    """Return the call of Save Flow."""
    _check_flow(flow)
    with _must_be_json("flow", "a Flow as load_flow_for_edit gives, with values of the same types"):
        return calls.save_flow(flow)


def delete_flow(flow_id: int | str) -> Call[None]:
    """Return the call of Delete Flow."""
    return calls.delete_flow(arguments.number(flow_id, "flow_id"))


def enable_flow(flow_id: int | str) -> Call[None]:
    """Return the call of Enable Flow."""
    return calls.enable_flow(arguments.number(flow_id, "flow_id"))


def disable_flow(flow_id: int | str) -> Call[None]:
    """Return the call of Disable Flow."""
    return calls.disable_flow(arguments.number(flow_id, "flow_id"))


def list_workflow_directories() -> Call[tuple[Directory, ...]]:
    """Return the call of List Workflow Directories."""
    return calls.list_workflow_directories()


def create_directory(parent_id: str, dir_name: str) -> Call[str]:
    """Return the call of Create Directory."""
    return calls.create_directory(arguments.name(parent_id, "parent_id"), arguments.name(dir_name, "dir_name"))


def get_flow_instance(flow_instance_id: str) -> Call[FlowInstance]:
    """Return the call of Get Flow Instance."""
    return calls.get_flow_instance(arguments.instance(flow_instance_id, "flow_instance_id"))


def list_flow_instances(
    from_trigger_time: Any,
    to_trigger_time: Any,
    *,
    type: int | None,
    status: str | FlowStatus | Iterable[str | FlowStatus],
    owner: str,
    expression: str,
    page_size: int,
) -> list[Pager[FlowInstance]]:
    """Return the pages of List Flow Instances, for each type of flow that is wanted."""
    first = _milliseconds(from_trigger_time, "from_trigger_time")
    end = _milliseconds(to_trigger_time, "to_trigger_time")
    if isinstance(type, bool) or type not in (None, *calls.ALL_FLOW_TYPES):
        raise EnosConfigError("type", shown(type), accepted="0 (manual), 1 (periodic), 2 (temporary) or None")
    wanted = arguments.statuses(status, "status")
    _check_page_size(page_size, _LARGEST_PAGE)
    arguments.text(owner, "owner")
    arguments.text(expression, "expression")

    def of_type(one: int) -> Pager[FlowInstance]:
        return Pager(
            lambda page_no: calls.list_flow_instances(
                type=one,
                from_trigger_time=first,
                to_trigger_time=end,
                page_no=page_no,
                page_size=page_size,
                status=wanted,
                owner=owner,
                expression=expression,
            ),
            page_size,
        )

    return [of_type(one) for one in (calls.ALL_FLOW_TYPES if type is None else (type,))]


def cancel_flow_instance(flow_instance_id: str) -> Call[None]:
    """Return the call of Cancel Flow Instance."""
    return calls.cancel_flow_instance(arguments.instance(flow_instance_id, "flow_instance_id"))


def get_task_instance(task_instance_id: str) -> Call[TaskInstance]:
    """Return the call of Get Task Instance."""
    return calls.get_task_instance(arguments.instance(task_instance_id, "task_instance_id"))


def get_task_instance_log(task_instance_id: str, max_length: int | None) -> Call[str]:
    """Return the call of Get Task Instance Log."""
    length = None if max_length is None else arguments.number(max_length, "max_length")
    return calls.get_task_instance_log(arguments.instance(task_instance_id, "task_instance_id"), length)


def get_current_time() -> Call[int]:
    """Return the call of Get Current Time."""
    return calls.get_current_time()


def get_time_zone() -> Call[str]:
    """Return the call of Get Timezone."""
    return calls.get_time_zone()


def _milliseconds(value: Any, field: str) -> int:
    return times.parse(value, now=int(time() * 1000), field=field)


def _check_page_size(page_size: object, most: int) -> None:
    if isinstance(page_size, bool) or not isinstance(page_size, int) or not 1 <= page_size <= most:
        raise EnosConfigError("page_size", shown(page_size), accepted=f"1 to {most}")


def _flow_export(value: object) -> FlowExport:
    if isinstance(value, FlowExport):
        return value
    accepted = "what export_flow gives, or its document"
    if not isinstance(value, Mapping):
        raise EnosConfigError("flow_json", shown(value), accepted=accepted)
    try:
        return FlowExport.parse(value)
    except EnosReplyError as error:
        raise EnosConfigError("flow_json", str(error), accepted=accepted) from None


def _check_flow(flow: object) -> None:
    if not isinstance(flow, Flow):
        raise EnosConfigError("flow", shown(flow), accepted="a Flow as load_flow_for_edit gives")
    for name in ("type", "alert_mode"):
        if getattr(flow, name) is None:
            raise EnosConfigError(f"flow.{name}", "None", accepted="a number, without which EnOS saves no flow")


@contextmanager
def _must_be_json(field: str, accepted: str) -> Iterator[None]:
    """Refuse values that a caller has put into a model and that no JSON can hold."""
    try:
        yield
    except (TypeError, ValueError, AttributeError, RecursionError) as error:
        raise EnosConfigError(field, excerpt(str(error), 120), accepted=accepted) from None
