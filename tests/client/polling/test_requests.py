"""The requests of all waits for one gateway."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from fake_tenant import SETTINGS, FakeTenant, api_error
from virtual_time import run as run_virtually

from airflow_provider_enos.client.polling.requests import Requests
from airflow_provider_enos.errors import EnosRateLimitError, EnosServerError
from airflow_provider_enos.protocol.models import FlowInstance
from airflow_provider_enos.protocol.wire import calls
from airflow_provider_enos.protocol.wire.messages import Procedure


def looking(*ids: str) -> Procedure[list[FlowInstance]]:
    found = []
    for id in ids:
        found.append((yield calls.get_flow_instance(id)))
    return found


@pytest.mark.parametrize("kind", ["instance", "window"])
def test_a_quota_stops_all(fresh: Callable[..., FakeTenant], kind: str) -> None:
    async def main() -> None:
        tenant, requests = fresh(), Requests(SETTINGS)
        run = tenant.start()
        tenant.errors["get"] = api_error(EnosRateLimitError, 429)
        for _ in range(3):
            with pytest.raises(EnosRateLimitError):
                await requests.call(kind, calls.get_flow_instance(run.id))
        assert tenant.asked["get"] == 1
        tenant.errors.clear()
        await asyncio.sleep(2)
        assert (await requests.call(kind, calls.get_flow_instance(run.id))).flow_instance_id == run.id

    run_virtually(main())


@pytest.mark.parametrize("kind", ["ends", "running", "log"])
def test_a_quota_of_lists_or_logs_stops_no_other_request(fresh: Callable[..., FakeTenant], kind: str) -> None:
    async def main() -> None:
        tenant, requests = fresh(), Requests(SETTINGS)
        run = tenant.start()
        for error in (api_error(EnosRateLimitError, 429), api_error(EnosServerError, 503)):
            tenant.errors["get"] = error
            for _ in range(10):
                with pytest.raises(type(error)):
                    await requests.runner(kind)(looking(run.id))
        tenant.errors.clear()
        assert await requests.call("instance", calls.get_flow_instance(run.id))

    run_virtually(main())


def test_a_page_0_that_is_not_there_says_nothing(fresh: Callable[..., FakeTenant]) -> None:
    async def main() -> None:
        tenant, requests = fresh(), Requests(SETTINGS)
        tenant.errors["get"] = api_error(EnosServerError, 62109)
        for _ in range(20):
            with pytest.raises(EnosServerError):
                await requests.call("window", calls.get_flow_instance("1-2"))
        assert requests.breaker.error is None

    run_virtually(main())


def test_a_few_at_a_time(fresh: Callable[..., FakeTenant]) -> None:
    async def main() -> float:
        tenant, requests = fresh(), Requests(SETTINGS)
        run = tenant.start()
        begun = tenant.now()
        await asyncio.gather(*(requests.run("window", looking(run.id)) for _ in range(60)))
        return tenant.now() - begun

    assert run_virtually(main()) == pytest.approx(0.5)
