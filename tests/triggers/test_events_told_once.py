"""Ends are told once, and late rather than twice: several at once, stores that fail, triggerers that stop."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import pytest
from event_triggers import (
    FLOW,
    HOUR,
    AssetStore,
    Ended,
    MakeEventTrigger,
    ids,
    run,
    watching,
)

from airflow_provider_enos.client.polling import flow_watcher as watcher_module
from airflow_provider_enos.simulator import EnosSimulator
from airflow_provider_enos.triggers import events as module

DAYS_BACK = (70, 71, 72, 73, 74)


def test_of_several_the_last_is_told_alone(
    event_trigger: MakeEventTrigger, ended: Ended, sim: EnosSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Airflow starts no run for an event that comes close after another, until the next one."""
    monkeypatch.setattr(module, "_APART", 1.5)

    async def main() -> None:
        async with watching(sim, event_trigger(poll_interval=0.3)) as watch:
            several = [ended(hours=hours) for hours in (4, 3, 2, 1)]
            await watch.until(lambda: watch.told)
            begun = time.monotonic()
            await asyncio.sleep(0.05)
            told = ids(watch.told)
            await watch.until(lambda: len(watch.told) == 4)
            assert time.monotonic() - begun > 0.5
            assert len(told) < 4
            await watch.looks()
            assert ids(watch.told) == sorted(several)

    run(main())


def test_of_several_with_trigger_times_days_back_the_last_does_not_wait_for_the_slow_round(
    event_trigger: MakeEventTrigger, ended: Ended, sim: EnosSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_APART", 0.2)
    monkeypatch.setattr(watcher_module, "_WHOLE", 8.0)

    async def main() -> None:
        async with watching(sim, event_trigger(poll_interval=1)) as watch:
            several = [ended(hours=hours) for hours in DAYS_BACK]
            await watch.until(lambda: watch.told)
            begun = time.monotonic()
            await asyncio.sleep(0.1)
            assert ids(watch.told) == sorted(several)[:-1]
            await watch.until(lambda: len(watch.told) == len(several))
            assert time.monotonic() - begun < 2
            await watch.looks()
            assert ids(watch.told) == sorted(several)

    run(main())


@pytest.mark.parametrize("fault", ["http_502", "slow_before"])
def test_what_is_held_back_is_told_though_enos_does_not_answer_any_more(
    event_trigger: MakeEventTrigger, ended: Ended, sim: EnosSimulator, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    monkeypatch.setattr(module, "_APART", 0.2)
    monkeypatch.setattr(watcher_module, "_WHOLE", 4.0)

    async def main() -> None:
        async with watching(sim, event_trigger(poll_interval=1)) as watch:
            several = [ended(hours=hours) for hours in DAYS_BACK]
            await watch.until(lambda: watch.told)
            begun = time.monotonic()
            sim.fault(fault, times=None, **({"seconds": 60} if fault == "slow_before" else {}))
            await watch.until(lambda: len(watch.told) == len(several))
            assert time.monotonic() - begun < 2
            assert all(one["business_date"] for one in watch.told)
            sim.clear_faults()

    run(main())


def test_what_is_held_back_and_runs_again_is_told_twice(
    event_trigger: MakeEventTrigger, ended: Ended, sim: EnosSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_APART", 0.2)

    async def main() -> None:
        async with watching(sim, event_trigger(poll_interval=0.5)) as watch:
            ids_of = [ended("FAIL", hours=hours) for hours in (3, 2)]
            await watch.until(lambda: watch.told)
            (last,) = set(ids_of) - set(ids(watch.told))
            sim.finish(last, "SUCCESS")
            await watch.until(lambda: len(watch.told) == 3)
            assert [one["status"] for one in watch.told if one["flow_instance_id"] == last] == ["FAIL", "SUCCESS"]

    run(main())


def test_what_is_held_back_when_the_triggerer_stops_is_told_by_the_next_one(
    event_trigger: MakeEventTrigger, ended: Ended, sim: EnosSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each once, whichever ends are asked for."""
    monkeypatch.setattr(module, "_APART", 0.2)
    monkeypatch.setattr(watcher_module, "_WHOLE", 1.0)
    store = AssetStore()
    arguments: dict[str, Any] = {"store": store, "statuses": ["SUCCESS", "CANCEL"], "poll_interval": 0.5}

    async def main() -> None:
        async with watching(sim, event_trigger(**arguments)) as watch:
            await watch.until(lambda: store.values)
            several = [ended(hours=hours) for hours in DAYS_BACK]
            ended("FAIL", hours=69)
            await watch.until(lambda: sorted(several)[0] in store.ends)
            assert len(watch.told) == 4
            told = list(watch.told)
        async with watching(sim, event_trigger(**arguments)) as watch:
            await watch.until(lambda: set(several) <= store.ends)
            await watch.looks()
            assert ids(told + watch.told) == sorted(several)

    run(main())


def test_a_store_that_fails_when_ends_are_seen_makes_them_late_by_that_alone(
    event_trigger: MakeEventTrigger, ended: Ended, sim: EnosSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was triggered for a time days back is listed by the slow round only."""
    monkeypatch.setattr(watcher_module, "_WHOLE", 2.0)
    store = AssetStore()

    async def main() -> None:
        one = event_trigger(store=store, poll_interval=0.2)
        async with watching(sim, one) as watch:
            await watch.until(lambda: store.values)
            # Of the slow round, only the one comes that is due already.
            monkeypatch.setattr(watcher_module, "_WHOLE", 600.0)
            store.broken = True
            several = [ended(hours=hours) for hours in DAYS_BACK]
            await watch.until(
                lambda: one.log.lines[-1:] == ["Airflow's asset state store fails, trying again: no store today"]
            )
            await watch.looks(1)
            store.broken = False
            begun = time.monotonic()
            await watch.until(lambda: len(watch.told) == len(several))
            assert time.monotonic() - begun < 2
            await watch.looks()
            assert ids(watch.told) == sorted(several)

    run(main())


def test_a_store_that_fails_at_the_first_look_makes_what_ended_meanwhile_late_by_that_alone(
    event_trigger: MakeEventTrigger, ended: Ended, sim: EnosSimulator
) -> None:
    store = AssetStore()

    async def main() -> None:
        async with watching(sim, event_trigger(store=store)) as watch:
            await watch.until(lambda: store.values)
        meanwhile = [ended(hours=hours) for hours in DAYS_BACK]
        store.broken = True
        async with watching(sim, event_trigger(store=store)) as watch:
            await watch.looks()
            assert watch.told == []
            store.broken = False
            await watch.until(lambda: len(watch.told) == len(meanwhile))
            assert ids(watch.told) == sorted(meanwhile)

    run(main())


def test_ends_that_come_one_by_one_are_all_told_in_time(
    event_trigger: MakeEventTrigger, ended: Ended, sim: EnosSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_APART", 0.4)

    async def main() -> None:
        async with watching(sim, event_trigger(poll_interval=0.5)) as watch:
            at: dict[str, float] = {}
            for hours in range(1, 13):
                at[ended("SUCCESS" if hours % 3 else "FAIL", hours=hours)] = time.monotonic()
                await asyncio.sleep(0.13)
                for id in ids(watch.told):
                    at.pop(id, None)
                assert all(time.monotonic() - since < 1.8 for since in at.values())
            await watch.until(lambda: len(watch.told) == 12)
            await watch.looks()
            assert len(watch.told) == 12

    run(main())


def test_what_ended_while_nobody_watched_is_told_after_a_restart(
    event_trigger: MakeEventTrigger, ended: Ended, sim: EnosSimulator
) -> None:
    store = AssetStore()
    old = ended(hours=9)

    async def main() -> None:
        async with watching(sim, event_trigger(store=store)) as watch:
            await watch.until(lambda: old in store.ends)
            first = ended(hours=8)
            await watch.until(lambda: first in store.ends)
            assert ids(watch.told) == [first]
        meanwhile = [ended(hours=hours) for hours in (7, 100)]
        async with watching(sim, event_trigger(store=store)) as watch:
            await watch.until(lambda: set(meanwhile) <= store.ends)
            await watch.looks()
            assert ids(watch.told) == sorted(meanwhile)

    run(main())


def test_without_a_store_a_restart_begins_anew(
    event_trigger: MakeEventTrigger, ended: Ended, sim: EnosSimulator
) -> None:
    """Before Airflow 3.3."""

    async def main() -> None:
        async with watching(sim, event_trigger()) as watch:
            await watch.looks()
        ended(hours=2)
        async with watching(sim, event_trigger()) as watch:
            id = ended(hours=1)
            await watch.until(lambda: watch.told)
            await watch.looks()
            assert ids(watch.told) == [id]

    run(main())


def test_a_store_that_fails_has_nothing_told_that_may_have_been_told(
    event_trigger: MakeEventTrigger, ended: Ended, sim: EnosSimulator
) -> None:
    store = AssetStore()

    async def main() -> None:
        async with watching(sim, event_trigger(store=store)) as watch:
            await watch.until(lambda: store.values)
        store.broken = True
        id = ended()
        one = event_trigger(store=store)
        async with watching(sim, one) as watch:
            await watch.looks()
            assert watch.told == []
            store.broken = False
            await watch.until(lambda: id in store.ends)
            await watch.looks()
            assert ids(watch.told) == [id]
        assert one.log.lines[0] == "Airflow's asset state store fails, trying again: no store today"
        assert one.log.lines[1] == "Airflow's asset state store works again"

    run(main())


def test_what_another_triggerer_has_told_is_not_told(
    event_trigger: MakeEventTrigger, ended: Ended, sim: EnosSimulator
) -> None:
    """As when one is taken for dead, and goes on."""
    store = AssetStore()

    async def main() -> None:
        async with watching(sim, event_trigger(store=store)) as watch:
            await watch.until(lambda: store.values)
            ((key, value),) = store.values.items()
            memory = json.loads(value)
            id = sim.trigger(FLOW, trigger_time=sim.now_ms() - HOUR, type=1).id
            memory["ends"][id] = ["SUCCESS", None]
            store.values[key] = json.dumps(memory)
            sim.finish(id, "SUCCESS")
            await watch.looks()
            assert watch.told == []

    run(main())
