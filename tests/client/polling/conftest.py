"""Tenants on virtual time, and settings that lead to a simulator."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from fake_tenant import FakeTenant
from polled import settings_for

from airflow_provider_enos.client.aio import AsyncClient
from airflow_provider_enos.client.polling import flow_watcher, shared_poller
from airflow_provider_enos.client.settings import Settings
from airflow_provider_enos.simulator import EnosSimulator


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch) -> Callable[..., FakeTenant]:
    """Makes tenants in memory; closing a session takes no network."""

    async def close(client: AsyncClient) -> None:
        """Nothing was opened."""

    monkeypatch.setattr(AsyncClient, "close", close)

    def make(**options: Any) -> FakeTenant:
        return FakeTenant(monkeypatch, **options)

    return make


@pytest.fixture
def found(sim: EnosSimulator) -> Settings:
    """The settings of a connection to the simulator."""
    return settings_for(sim)


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    """Each shared poller and each stream is gone when its last user has left."""
    yield
    assert shared_poller._pollers == {}
    assert flow_watcher._streams == {}
