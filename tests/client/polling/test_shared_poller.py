"""One poller for all users with the same settings on an event loop."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from polled import trigger, wait_in

from airflow_provider_enos.client.polling import shared_poller
from airflow_provider_enos.client.polling.shared_poller import SharedPoller
from airflow_provider_enos.client.settings import Settings
from airflow_provider_enos.simulator import EnosSimulator


def test_one_poller_for_all_with_the_same_settings(sim: EnosSimulator, found: Settings) -> None:
    """It is closed after its last user; changed credentials make another one."""

    async def main() -> None:
        async with SharedPoller(found) as first, SharedPoller(replace(found)) as second:
            assert first is second
            async with SharedPoller(replace(found, secret_key="rotated")) as third:
                assert third is not first
            assert len(shared_poller._pollers) == 1
        assert shared_poller._pollers == {}
        async with SharedPoller(found) as fourth:
            assert fourth is not first

    asyncio.run(main())


def test_the_last_one_to_leave_ends_it(sim: EnosSimulator, found: Settings) -> None:
    ids = trigger(sim, 1)

    async def main() -> None:
        async with SharedPoller(found) as poller:
            wait = asyncio.create_task(wait_in(poller, ids[0]))
            await asyncio.sleep(0.2)
            wait.cancel()
            await asyncio.gather(wait, return_exceptions=True)
        await asyncio.sleep(0)
        assert [task for task in asyncio.all_tasks() if task is not asyncio.current_task()] == []

    asyncio.run(main())
