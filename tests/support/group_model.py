"""A model of EnOS whose instances have nodes that run one after the other, for the tests of task groups."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from math import inf
from typing import Any

from hypothesis import strategies as st
from start_model import BUSY, FLOW, UNSEEN, Gateway, Instance, conflict

from airflow_provider_enos.protocol.models import Flow, FlowInstance
from airflow_provider_enos.protocol.trigger_time import minute_of, predicted_flow_instance_id
from airflow_provider_enos.protocol.wire.messages import Call

MOMENT = 1.0
"""Seconds between the end of a node and the start of those after it: nothing of a branch runs meanwhile."""

DONE = ("SUCCESS", "SKIP")


@dataclass(frozen=True)
class Graph:
    """The nodes of a flow, each with those that follow it, and that come after it here."""

    after: Mapping[int, tuple[int, ...]]

    @cached_property
    def before(self) -> dict[int, tuple[int, ...]]:
        return {node: tuple(one for one, after in self.after.items() if node in after) for node in self.after}

    def downstream(self, node: int) -> frozenset[int]:
        """Return the node and all that run after it."""
        return frozenset({node}).union(*(self.downstream(following) for following in self.after[node]))

    def scope(self, node: int | None) -> frozenset[int]:
        """Return the nodes that run if it is started from this node; None for the whole flow."""
        return frozenset(self.after) if node is None else self.downstream(node)

    @property
    def relations(self) -> list[dict[str, str]]:
        pairs = ((node, following) for node, after in self.after.items() for following in after)
        return [{"source": f"t_{node}", "target": f"t_{following}"} for node, following in pairs]

    def document(self) -> dict[str, Any]:
        """Return the flow as EnOS shows it."""
        tasks = [{"taskId": node, "nodeId": f"t_{node}", "taskName": f"n{node}"} for node in self.after]
        graph = {"tasks": tasks, "relations": self.relations}
        return {"flowId": FLOW, "flowName": "model", "graph": graph}


SIX = Graph({1: (2, 3), 2: (4,), 3: (5,), 4: (6,), 5: (6,), 6: ()})
"""``a``; ``b`` and ``c`` after ``a``; ``d`` after ``b``; ``e`` after ``c``; ``f`` after ``d`` and ``e``."""


@st.composite
def graphs(draw: Any) -> Graph:
    """Draw a flow of two to six nodes."""
    size = draw(st.integers(2, 6))
    after: dict[int, list[int]] = {node: [] for node in range(1, size + 1)}
    for node in range(2, size + 1):
        for one in draw(st.sets(st.integers(1, node - 1), max_size=2)):
            after[one].append(node)
    return Graph({node: tuple(following) for node, following in after.items()})


@dataclass
class NodesInstance(Instance):
    """An instance with a status for each of its nodes.

    ``after``: the instance that the task wanted to start another one after. ``rerun``: whether a user has run it again.
    """

    graph: Graph = SIX
    from_node: int | None = None
    states: dict[int, str] = field(default_factory=dict)
    ended: dict[int, float] = field(default_factory=dict)
    after: str | None = None
    rerun: bool = False

    def __post_init__(self) -> None:
        self.relations = self.graph.relations
        self.scope = self.graph.scope(self.from_node)
        self.states = dict.fromkeys(self.graph.after, "INIT")
        self.busy_until = inf

    def advance(self, now: float) -> None:
        """Start what can start, and end the instance if nothing is left to run."""
        for node in self.scope if self.status in ("RUNNING", "RERUN", "FAIL") else ():
            before = [one for one in self.graph.before[node] if one in self.scope]
            is_ready = all(self.states[one] in DONE and self.ended[one] + MOMENT <= now for one in before)
            if self.states[node] == "INIT" and is_ready:
                self.states[node] = "RUNNING"
        if self.status == "CANCEL" and now >= self.busy_until:
            for node in self.running:
                self._end(node, "CANCEL", now)
        if all(self.states[node] in DONE for node in self.scope):
            self.status = "SUCCESS"

    @property
    def running(self) -> list[int]:
        return [node for node in sorted(self.scope) if self.states[node] == "RUNNING"]

    def is_live(self, now: float) -> bool:
        """Return whether something of it runs or will run without anybody's doing."""
        self.advance(now)
        if self.running:
            return True
        if self.status == "CANCEL":
            return False
        # Between two nodes of a branch nothing runs for a moment.
        return any(self.states[node] == "INIT" and not self._is_blocked(node) for node in self.scope)

    def _is_blocked(self, node: int) -> bool:
        before = [one for one in self.graph.before[node] if one in self.scope]
        return any(self.states[one] in ("FAIL", "CANCEL") or self._is_blocked(one) for one in before)

    def node_ends(self, node: int, status: str, now: float) -> None:
        self._end(node, status, now)
        if status == "FAIL" and self.status != "CANCEL":
            self.status = "FAIL"
        self.advance(now)

    def _end(self, node: int, status: str, now: float) -> None:
        self.states[node], self.ended[node] = status, now

    def cancel(self, now: float) -> None:
        """Cancel it: no node starts any more, and what runs ends a little later."""
        self.advance(now)
        if self.is_live(now):
            self.status, self.busy_until = "CANCEL", now + BUSY

    def run_again(self, now: float) -> None:
        """Run the nodes again that did not succeed, as a user can in EnOS."""
        for node in self.scope:
            if self.states[node] not in DONE:
                self.states[node] = "INIT"
        self.status, self.rerun, self.busy_until = "RERUN", True, inf
        self.advance(now)

    def statuses(self, now: float) -> dict[int, str]:
        self.advance(now)
        return self.states

    def fields(self, hours: int | None, now: float) -> dict[str, Any]:
        is_live = self.is_live(now)
        fields = super().fields(hours, now)
        fields.pop("endTime", None)
        if hours is not None and not is_live:
            fields["endTime"] = fields["timestamp"]
        return fields


@dataclass
class NodesGateway(Gateway):
    """The part of EnOS that a task group sees."""

    instances: list[NodesInstance] = field(default_factory=list)  # type: ignore[assignment]
    graph: Graph = SIX

    def start(self, time: int, round: int | None, node: int | None = None, after: str | None = None) -> str:
        """Start an instance and return its id, or raise a conflict."""
        minute = minute_of(time)
        if self.at(minute) or self.clock.now - self.triggered < self.clock_minute:
            raise conflict()
        self.triggered = self.clock.now
        id = predicted_flow_instance_id(FLOW, time) if self.documented_ids else f"{FLOW}-x{len(self.instances)}"
        made = NodesInstance(id, minute, round, self.clock.now, graph=self.graph, from_node=node, after=after)
        made.advance(self.clock.now)
        self.instances.append(made)
        return id

    def called(self, id: str) -> NodesInstance | None:
        return next((one for one in self.instances if one.id == id), None)

    def shown(self, id: str) -> FlowInstance:
        """Return an instance as Get Flow Instance shows it."""
        found = self.called(id)
        assert found is not None
        return FlowInstance.parse(found.fields(self.times_in, self.clock.now))

    def live(self, round: int) -> list[NodesInstance]:
        """Return what still runs of a round, beside what users have run again in EnOS."""
        return [one for one in self.instances if one.round == round and not one.rerun and one.is_live(self.clock.now)]

    def newest(self, node: int, instances: Iterable[NodesInstance]) -> NodesInstance | None:
        """Return the newest of these, which come in order, that runs the node."""
        return next((one for one in reversed([*instances]) if node in one.scope), None)

    def answer(self, call: Call[Any]) -> Any:
        if call.operation.startswith("Get Task Instance"):
            raise UNSEEN["error"]()
        return super().answer(call)

    def _flow(self) -> Flow:
        return Flow.parse(self.graph.document())

    def _cancel(self, id: str) -> None:
        found = self.called(id)
        if found is not None:
            found.cancel(self.clock.now)


@dataclass
class XComs:
    """Airflow's XComs of one DAG run, by task and key. ``on_get`` and ``on_set`` are called before."""

    on_get: Callable[[str, str], None]
    on_set: Callable[[str, str, Any], None]
    of: dict[str, dict[str, str]] = field(default_factory=dict)

    def get_one(self, *, key: str, task_id: str, **_: Any) -> Any:
        self.on_get(task_id, key)
        return self.read(task_id, key)

    def read(self, task_id: str, key: str) -> Any:
        value = self.of.get(task_id, {}).get(key)
        return None if value is None else json.loads(value)

    def set(self, *, key: str, value: Any, task_id: str, **_: Any) -> None:
        self.on_set(task_id, key, value)
        self.of.setdefault(task_id, {})[key] = json.dumps(value)
