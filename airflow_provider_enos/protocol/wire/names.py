"""Find flows and task nodes by their names. Ids differ between environments, names need not.

Search Flow matches loosely, so the names that it returns are compared here: exactly one has to be the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar
from unicodedata import normalize

from airflow_provider_enos.errors import EnosNotFoundError, EnosTriggerTargetError
from airflow_provider_enos.protocol import arguments
from airflow_provider_enos.protocol.log import Log
from airflow_provider_enos.protocol.text import clean
from airflow_provider_enos.protocol.wire import calls
from airflow_provider_enos.protocol.wire.messages import Call, Procedure
from airflow_provider_enos.protocol.wire.paging import PAGE_SIZE, Pager, all_of

if TYPE_CHECKING:
    from airflow_provider_enos.protocol.models import Flow, FlowNode, FlowPage, FlowSummary

    Named = TypeVar("Named", FlowSummary, FlowNode)

_MOST_PAGES = 40
"""Pages of all flows that are read where a search shows no flow of the name: 2,000 flows."""
_MOST_NEAR = 5
_MOST_NODES = 20


@dataclass(frozen=True, slots=True)
class Choice:
    """A flow or a task node, by its id or by its name: exactly one of the two is not None."""

    id: int | None = None
    name: str | None = None

    @classmethod
    def of(cls, id: object, name: object, what: str) -> Choice:
        """Return the choice that two rendered arguments make.

        :param what: the beginning of their names: ``"flow"`` for ``flow_id`` and ``flow_name``.
        :raises EnosConfigError: one of them cannot work, or not exactly one is given.
        """
        arguments.one_of_two({f"{what}_id": id, f"{what}_name": name})
        if type(name) is int:
            # What native rendering makes of a name in digits.
            name = str(name)
        return cls(arguments.number_or_none(id, f"{what}_id"), arguments.label_or_none(name, f"{what}_name"))

    def __str__(self) -> str:
        return str(self.id) if self.name is None else quoted(self.name)


def flow_pages(expression: str, page_size: int = PAGE_SIZE) -> Pager[FlowSummary]:
    """Return the pages of Search Flow, whichever names of sort fields the release of EnOS takes."""

    def sorted_by(field: str) -> Callable[[int], Call[FlowPage]]:
        return lambda page_no: calls.search_flows(
            page_no=page_no, page_size=page_size, expression=expression, sort_by=field
        )

    first, other = calls.SORT_FIELDS
    return Pager(sorted_by(first), page_size, or_else=sorted_by(other))


def flow_id_of(flow: Choice, log: Log) -> Procedure[int]:
    """Return the id of the flow: look up its name among the flows of the organisation, and log what is found.

    :raises EnosTriggerTargetError: no flow has this name, or several have. The message lists what is near.
    """
    if flow.name is None:
        if flow.id is None:
            raise AssertionError("neither id nor name")
        return flow.id
    like = yield from all_of(flow_pages(flow.name))
    found = _same(flow.name, like, _name_of_flow)
    if not found:
        # A search may read signs or letters of a name in its own way. The list of all shows what is near, too.
        every = yield from all_of(flow_pages(""), _MOST_PAGES)
        found = _same(flow.name, every, _name_of_flow)
        like = list({one.flow_id: one for one in (*like, *_near(flow.name, every))}.values())
    if len(found) != 1:
        raise _no_flow(flow.name, found, like)
    log.info("The flow named %s is flow %d", quoted(flow.name), found[0].flow_id)
    return found[0].flow_id


def node_id_of(flow_id: int, node: Choice, log: Log) -> Procedure[int]:
    """Return the id of a task node of the flow: look up its name in the flow's graph, and log what is found.

    :raises EnosTriggerTargetError: there is no such flow, or not exactly one of its nodes has this name.
    """
    if node.name is None:
        if node.id is None:
            raise AssertionError("neither id nor name")
        return node.id
    try:
        flow: Flow = yield calls.get_flow(flow_id)
    except EnosNotFoundError as error:
        raise EnosTriggerTargetError(f"flow_id: EnOS has no flow {flow_id} ({error})") from error
    found = _same(node.name, flow.nodes, _name_of_node)
    if len(found) != 1:
        raise _no_node(flow_id, node.name, found, flow.nodes)
    log.info("The task node named %s of flow %d is %d", quoted(node.name), flow_id, found[0].task_id)
    return found[0].task_id


def quoted(name: str) -> str:
    """Return the name for a message, with all its blanks, and with escapes for what cannot be seen."""
    return clean(repr(name[:200]))


def is_named(name: str, found: str) -> bool:
    """Return whether ``found`` is exactly this name. Two encodings of the same letters in Unicode count as the same."""
    return name == found or normalize("NFC", name) == normalize("NFC", found)


def _same(name: str, among: Iterable[Named], name_of: Callable[[Named], str]) -> list[Named]:
    return [one for one in among if is_named(name, name_of(one))]


def _name_of_flow(flow: FlowSummary) -> str:
    return flow.flow_name


def _name_of_node(node: FlowNode) -> str:
    return node.task_name


def _near(name: str, flows: Sequence[FlowSummary]) -> list[FlowSummary]:
    """Return the flows whose names are most like this one."""
    from difflib import get_close_matches

    by_name = {one.flow_name[:200].casefold(): one for one in flows}
    return [by_name[one] for one in get_close_matches(name[:200].casefold(), by_name, _MOST_NEAR)]


def _no_flow(name: str, found: Sequence[FlowSummary], like: Sequence[FlowSummary]) -> EnosTriggerTargetError:
    if found:
        ids = ", ".join(str(one.flow_id) for one in found[:_MOST_NODES])
        return EnosTriggerTargetError(
            f"flow_name: EnOS has {len(found)} flows named {quoted(name)}: {ids}; expected a name that one flow "
            "has, or flow_id"
        )
    near = f"near are {_listed([(one.flow_id, one.flow_name) for one in like], _MOST_NEAR)}" if like else "none is near"
    return EnosTriggerTargetError(
        f"flow_name: EnOS has no flow named {quoted(name)}, or this user may not see it; {near}; expected the "
        "exact name of one flow"
    )


def _no_node(flow_id: int, name: str, found: Sequence[FlowNode], nodes: Sequence[FlowNode]) -> EnosTriggerTargetError:
    several = f"{len(found)} task nodes" if found else "no task node"
    has = _listed([(one.task_id, one.task_name) for one in found or nodes], _MOST_NODES) if nodes else "no nodes at all"
    return EnosTriggerTargetError(
        f"from_task_name: flow {flow_id} has {several} named {quoted(name)}; it has {has}; expected the exact "
        "name of one node, or from_task_id"
    )


def _listed(items: Sequence[tuple[int, str]], most: int) -> str:
    said = [f"{id} ({quoted(name)})" for id, name in items[:most]]
    return ", ".join([*said, *([f"and {len(items) - most} more"] if len(items) > most else [])])
