"""Fixtures of the tests that run the tasks of a group."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import XCom
from groups import Group, XComs, add_flow

from airflow_provider_enos.simulator import EnosSimulator
from airflow_provider_enos.utils import group_record
from airflow_provider_enos.version_compat import triggers_are_told_of_kills

WAYS = ("worker", "deferred", *(["triggerer"] if triggers_are_told_of_kills() else []))


@pytest.fixture
def xcoms(monkeypatch: pytest.MonkeyPatch) -> XComs:
    """Airflow's XComs, in memory."""
    made = XComs()
    monkeypatch.setattr(XCom, "set", made.set)
    monkeypatch.setattr(XCom, "get_one", made.get_one)
    monkeypatch.setattr(group_record, "state_of", lambda _: "success")
    return made


@pytest.fixture
def group(connection: EnosSimulator, short_pauses: None, xcoms: XComs) -> Callable[..., Group]:
    """A group whose flow is in EnOS."""
    add_flow(connection)

    def make(way: str = WAYS[-1], *, map_index: int = -1, **arguments: Any) -> Group:
        return Group(xcoms, way, arguments, map_index)

    return make


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> str:
    """How the task of a node waits."""
    return str(request.param)
