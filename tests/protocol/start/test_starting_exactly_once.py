"""Requests and replies get lost or late, and tries follow tries: one instance lives in the end."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st
from starts import (
    CONFLICT,
    FLOW,
    GONE,
    LIST,
    LOOK,
    LOST,
    TARGET,
    THE_FLOW,
    TIME,
    TRIGGER,
    UNSENT,
    ZONE,
    ZONE_CALL,
    Kept,
    page,
    refusal,
    started_id,
)

from airflow_provider_enos.errors import (
    EnosServerError,
    EnosTransportError,
    EnosTriggerUncertainError,
)
from airflow_provider_enos.protocol.models import FlowInstance, FlowInstancePage
from airflow_provider_enos.protocol.start.attempts import Attempt, Intent
from airflow_provider_enos.protocol.trigger_time import predicted_flow_instance_id
from airflow_provider_enos.protocol.wire.messages import Call


@dataclass
class World:
    """A gateway that keeps one instance a minute, and what goes wrong on the way to it."""

    faults: Iterator[str]
    blind: Iterator[bool]
    arrivals: Iterator[bool]
    first_page: int
    instances: dict[str, str] = field(default_factory=dict)
    under_way: list[str] = field(default_factory=list)

    def arrive(self) -> None:
        for late in self.under_way:
            self.instances.setdefault(late, "RUNNING")
        self.under_way.clear()

    def __call__(self, call: Call[Any]) -> Any:
        if next(self.arrivals, False):
            self.arrive()
        if call.operation == TRIGGER:
            return self.trigger(json.loads(call.body or b"")["triggerTime"])
        if next(self.blind, False):
            return LOST
        return {LOOK: self.look, LIST: self.list, FLOW: lambda call: THE_FLOW, ZONE_CALL: lambda call: ZONE}[
            call.operation
        ](call)

    def trigger(self, time: int) -> Any:
        wanted = predicted_flow_instance_id(3377, time)
        fault = next(self.faults, "none")
        if fault == "unsent":
            return UNSENT
        if fault == "request lost":
            return LOST
        if fault == "request late":
            self.under_way.append(wanted)
            return LOST
        taken = wanted in self.instances
        self.instances.setdefault(wanted, "RUNNING")
        if fault == "reply lost":
            return refusal(EnosServerError, 504)
        return CONFLICT if taken else wanted

    def look(self, call: Call[Any]) -> Any:
        wanted = dict(call.query)["flowInstId"]
        if wanted not in self.instances:
            return GONE
        return FlowInstance.parse({"instanceId": wanted, "flowId": 3377, "status": self.instances[wanted]})

    def list(self, call: Call[Any]) -> FlowInstancePage:
        body = json.loads(call.body or b"")
        start = datetime.fromtimestamp(body["fromTriggerTime"] / 1000, UTC)
        wanted = f"3377-{start:%Y%m%d%H%M}00"
        if body["type"] != 0 or body["pagination"]["pageNo"] != self.first_page or wanted not in self.instances:
            return page()
        return page(FlowInstance.parse({"instanceId": wanted, "flowId": 3377, "status": self.instances[wanted]}))


@settings(max_examples=150)
@given(
    faults=st.lists(st.sampled_from(["none", "unsent", "request lost", "request late", "reply lost"]), max_size=8),
    blind=st.lists(st.booleans(), max_size=30),
    arrivals=st.lists(st.booleans(), max_size=30),
    bad_ends=st.lists(st.sampled_from([None, "FAIL", "CANCEL"]), max_size=4),
    on_conflict=st.sampled_from(["next_minute", "attach", "fail"]),
    has_record=st.booleans(),
    first_index=st.sampled_from([0, 1]),
    first_page=st.sampled_from([0, 1]),
)
def test_exactly_once(
    play: Any,
    new_clock: Any,
    new_log: Any,
    faults: list[str],
    blind: list[bool],
    arrivals: list[bool],
    bad_ends: list[str | None],
    on_conflict: Any,
    has_record: bool,
    first_index: int,
    first_page: int,
) -> None:
    """Requests and replies get lost or late, instances end badly, the task is retried: one lives at the end."""
    clock = new_clock()
    world = World(iter(faults), iter(blind), iter(arrivals), first_page)
    records: list[Intent] = []
    ends = iter(bad_ends)
    for attempt in range(60):
        where = Attempt(
            trigger_time=TIME,
            first_index=first_index,
            fresh=attempt == 0,
            has_record=has_record,
            intent=records[-1] if has_record and records else None,
        )
        steps = started_id(
            TARGET,
            where,
            Kept(records),
            new_log(),
            on_conflict=on_conflict,
            tolerance=0.0,
            deadline=clock.now + 3600,
            clock=clock,
            gateway_clock=clock,
        )
        played = play(steps, world, clock)
        if played.error is not None:
            assert isinstance(played.error, (EnosTransportError, EnosTriggerUncertainError))
            continue
        assert played.value in world.instances
        bad_end = next(ends, None)
        if bad_end is None:
            break
        world.instances[played.value] = bad_end
    else:
        pytest.fail("it never succeeded")
    world.arrive()
    assert [name for name, status in world.instances.items() if status == "RUNNING"] == [played.value]
