"""Scenes of a task group on the models of EnOS and of Airflow, to be played step by step, without an adversary."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from group_adversary import GroupAdversary
from group_model import SIX
from start_model import LOST, MORNING

Scene = Callable[..., GroupAdversary]


@pytest.fixture
def scene() -> Iterator[Scene]:
    """Set up a group of six nodes of which some have failed. In the end all of it has to succeed."""
    made: list[GroupAdversary] = []

    def make(fails: set[int] | None, **changes: Any) -> GroupAdversary:
        machine = GroupAdversary()
        made.append(machine)
        given: dict[str, Any] = {
            "graph": SIX,
            "retries": 0,
            "trigger_time": MORNING,
            "in_triggerer": False,
            "deferrable": True,
            "has_parameters": False,
            "taken": 0,
            "documented_ids": True,
            "clock_minute": 0.0,
            "unseen": "error",
            "times_in": 8,
        }
        machine.begin(fails=fails, **{**given, **changes})
        return machine

    yield make
    for one in made:
        one.teardown()


def ids(group: GroupAdversary) -> list[str]:
    return [one.id for one in group.gateway.instances]


def without_reply() -> Any:
    """The reply to a request is lost."""
    raise LOST["no reply"]()
