"""Logs of nodes that are shown while an instance is waited for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from fake_tenant import FakeTenant, api_error
from virtual_time import run as run_virtually
from worker import Log

from airflow_provider_enos.client.polling.log_reader import LogReader
from airflow_provider_enos.client.polling.wait import Wait
from airflow_provider_enos.errors import EnosRateLimitError
from airflow_provider_enos.protocol.follow.instance_wait import InstanceWatch
from airflow_provider_enos.protocol.follow.log_tail import LogStream
from airflow_provider_enos.protocol.models import FlowInstance

INSTANCE = FlowInstance.parse({"instanceId": "3377-20200706062600", "status": "RUNNING"})


def wait_with_logs(stream: LogStream | None) -> Wait:
    return Wait(
        watch=InstanceWatch(INSTANCE.flow_instance_id, tolerance=5.0, log=Log(), stream=stream),
        poll_interval=10.0,
        deadline=1e9,
        reads_end=False,
        result=asyncio.get_running_loop().create_future(),
        minute=0,
        begun=0.0,
        seen=0.0,
    )


def shown(work: Callable[[Any], Any], *, takes: float = 0.0, stream: bool = True, times: int = 2) -> tuple[int, float]:
    """Return how often logs were read, and how long it took to show the logs of a wait."""

    async def main() -> tuple[int, float]:
        reads = 0

        async def run(procedure: Any) -> Any:
            nonlocal reads
            procedure.close()
            reads += 1
            await asyncio.sleep(takes)
            return work(reads)

        reader, loop = LogReader(run), asyncio.get_running_loop()
        begun = loop.time()
        for _ in range(times):
            await reader.show(wait_with_logs(LogStream(Log()) if stream else None), INSTANCE)
        return reads, loop.time() - begun

    return run_virtually(main())


def test_logs_are_read_for_waits_that_show_them(fresh: Callable[..., FakeTenant]) -> None:
    assert shown(lambda reads: None) == (2, 0.0)
    assert shown(lambda reads: None, stream=False) == (0, 0.0)


def test_reading_logs_takes_half_a_minute_at_most() -> None:
    assert shown(lambda reads: None, takes=1000.0, times=1) == (1, 30.0)


def test_after_an_error_no_logs_are_read_for_a_while() -> None:
    assert shown(lambda reads: api_error(EnosRateLimitError, 429))[0] == 1


def test_an_error_of_this_package_ends_the_wait() -> None:
    async def main() -> None:
        async def run(procedure: Any) -> Any:
            procedure.close()
            raise ZeroDivisionError("a fault of ours")

        wait = wait_with_logs(LogStream(Log()))
        await LogReader(run).show(wait, INSTANCE)
        with pytest.raises(ZeroDivisionError):
            await wait.result

    run_virtually(main())
