"""Virtual time for what the poller is made of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from fake_tenant import FakeTenant

from airflow_provider_enos.client.aio import AsyncClient


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch) -> Callable[..., FakeTenant]:
    """Makes tenants in memory; closing a session takes no network."""

    async def close(client: AsyncClient) -> None:
        """Nothing was opened."""

    monkeypatch.setattr(AsyncClient, "close", close)

    def make(**options: Any) -> FakeTenant:
        return FakeTenant(monkeypatch, **options)

    return make
