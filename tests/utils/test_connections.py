"""The connection as it is now, for waits."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from virtual_time import run as run_virtually

from airflow_provider_enos.errors import EnosConfigError, EnosTransportError
from airflow_provider_enos.utils import connections
from airflow_provider_enos.utils.connections import current_settings, unreadable
from airflow_provider_enos.version_compat import AirflowNotFoundException


@pytest.fixture
def readings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The connections that were read; each reading takes a while."""
    made: list[str] = []

    async def slow(conn_id: str, **more: Any) -> object:
        made.append(conn_id)
        await asyncio.sleep(0.5)
        return object()

    monkeypatch.setattr(connections, "async_settings", slow)
    return made


def settings(conn_id: str = "enos_default", org_id: str | None = None) -> Any:
    return current_settings(conn_id, org_id=org_id, user_id=None)


def test_a_thousand_that_ask_at_once_share_one_reading(readings: list[str]) -> None:
    async def work() -> None:
        found = await asyncio.gather(*(settings() for _ in range(1000)))
        assert len(set(found)) == 1
        await settings()
        assert len(readings) == 1
        await asyncio.gather(settings(org_id="o2"), settings())
        assert len(readings) == 2
        await asyncio.sleep(3)
        await asyncio.gather(*(settings() for _ in range(1000)))
        assert len(readings) == 3

    run_virtually(work())


def test_one_that_is_cancelled_leaves_the_reading_to_the_others(readings: list[str]) -> None:
    async def work() -> None:
        first, second = (asyncio.create_task(settings()) for _ in range(2))
        await asyncio.sleep(0.1)
        first.cancel()
        assert await second
        assert first.cancelled()
        assert len(readings) == 1

    run_virtually(work())


def test_what_cannot_be_read_is_an_error_of_ours_for_all_who_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    read, readings = connections.async_settings, []

    async def counted(conn_id: str, **more: Any) -> Any:
        readings.append(conn_id)
        return await read(conn_id, **more)

    monkeypatch.setattr(connections, "async_settings", counted)

    async def work() -> None:
        found = await asyncio.gather(*(settings("no_such") for _ in range(3)), return_exceptions=True)
        assert {type(one) for one in found} == {EnosTransportError}
        assert str(found[0]).startswith("Airflow cannot read the connection 'no_such': ")
        assert not found[0].sent
        monkeypatch.setenv("AIRFLOW_CONN_BROKEN", "enos://key:secret-of-ours@")
        found = await asyncio.gather(*(settings("broken") for _ in range(2)), return_exceptions=True)
        assert {type(one) for one in found} == {EnosConfigError}
        assert found[0] is not found[1]
        assert "secret-of-ours" not in str(found[0])
        assert readings == ["no_such", "broken"]

    asyncio.run(work())


@pytest.mark.parametrize("error", [AirflowNotFoundException("The conn_id `x` isn't defined"), OSError(), KeyError("x")])
def test_what_airflow_raises_may_pass(error: Exception) -> None:
    found = unreadable("x", error)
    assert not found.final
    assert str(found).removeprefix("Airflow cannot read the connection 'x': ") in (str(error), type(error).__name__)
