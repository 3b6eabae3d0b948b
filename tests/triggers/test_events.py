from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from importlib.util import find_spec
from typing import Any

import pytest
from airflow.triggers import base
from worker import Log

from airflow_provider_enos.client.polling import flow_watcher as watcher_module, poller as poller_module
from airflow_provider_enos.errors import EnosConfigError
from airflow_provider_enos.protocol import trigger_time
from airflow_provider_enos.protocol.follow.flow_events import ENDS
from airflow_provider_enos.simulator import EnosSimulator
from airflow_provider_enos.triggers import events as module
from airflow_provider_enos.triggers.enos import EnosFlowEventTrigger

HOUR = 3_600_000
FLOW, OTHER = 8101, 8102

MakeTrigger = Callable[..., EnosFlowEventTrigger]
Ended = Callable[..., str]
shared_streams = pytest.mark.skipif(
    find_spec("airflow.triggers.shared_stream") is None, reason="Airflow shares streams from 3.3 on"
)


@dataclass
class AssetStore:
    """Airflow's asset state store for one asset, in memory."""

    values: dict[str, Any] = field(default_factory=dict)
    broken: bool = False

    async def aget(self, key: str, default: Any = None) -> Any:
        await asyncio.sleep(0)
        if self.broken:
            raise RuntimeError("no store today")
        return json.loads(self.values[key]) if key in self.values else default

    async def aset(self, key: str, value: Any) -> None:
        await asyncio.sleep(0)
        if self.broken:
            raise RuntimeError("no store today")
        self.values[key] = json.dumps(value)

    @property
    def ends(self) -> set[str]:
        return {id for value in self.values.values() for id in json.loads(value)["ends"]}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_APART", 0.0)


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    yield
    assert watcher_module._streams == {}
    assert poller_module._pollers == {}


@pytest.fixture
def ended(connection: EnosSimulator) -> Ended:
    """Makes an instance of a flow that EnOS's schedule has started, so many hours ago, and that has ended."""
    connection.progress = "manual"
    connection.one_at_a_time = False
    for flow_id in (FLOW, OTHER):
        connection.add_flow(flow_id, name=f"flow_{flow_id}", tasks={flow_id * 10: "extract"})

    def make(status: str = "SUCCESS", *, hours: int = 1, flow_id: int = FLOW) -> str:
        id = connection.trigger(flow_id, trigger_time=connection.now_ms() - hours * HOUR, type=1).id
        connection.finish(id, status)
        return id

    return make


@pytest.fixture
def trigger(ended: Ended) -> MakeTrigger:
    def make(flow_id: int = FLOW, *, store: Any = None, **arguments: Any) -> EnosFlowEventTrigger:
        one = EnosFlowEventTrigger(flow_id, **{"poll_interval": 0.02, **arguments})
        one.asset_state_store = store
        one._log = Log()
        return one

    return make


def ids(payloads: list[dict[str, Any]]) -> list[str]:
    return sorted(one["flow_instance_id"] for one in payloads)


class Watching:
    """A trigger that runs in the background."""

    def __init__(self, sim: EnosSimulator, one: EnosFlowEventTrigger) -> None:
        self._sim = sim
        self._one = one
        self.told: list[dict[str, Any]] = []
        self.task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        async with aclosing(self._one.run()) as fired:
            async for event in fired:
                self.told.append(event.payload)

    async def looks(self, number: int = 2) -> None:
        """Waits for so many looks to begin and end."""
        until = self._sim.count("flowInstances/search") + 6 * (number + 1)
        await self.until(lambda: self._sim.count("flowInstances/search") >= until)

    async def until(self, condition: Callable[[], Any]) -> None:
        end = time.monotonic() + 60
        while not condition():
            assert time.monotonic() < end, f"told {self.told}, logged {self._one.log.lines}"
            if self.task.done():
                self.task.result()
            await asyncio.sleep(0.01)


@asynccontextmanager
async def watching(sim: EnosSimulator, one: EnosFlowEventTrigger) -> AsyncIterator[Watching]:
    """The trigger, once it has had a first look."""
    watch = Watching(sim, one)
    try:
        await watch.until(lambda: any("are there already" in line for line in one.log.lines) or one.asset_state_store)
        yield watch
    finally:
        watch.task.cancel()
        await asyncio.gather(watch.task, return_exceptions=True)


def run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(work, 120))


# -- What it is


def test_what_is_stored_of_it() -> None:
    """Plain values, nothing secret; and the same trigger can be made of it again, after JSON."""
    first = EnosFlowEventTrigger(
        " 3377 ",
        "other",
        statuses=["success", "FAIL"],
        poll_interval=timedelta(minutes=2),
        lookback=timedelta(days=2),
        poll_error_tolerance=0,
        org_id="o",
        user_id="u",
    )
    path, arguments = first.serialize()
    assert path == "airflow_provider_enos.triggers.enos.EnosFlowEventTrigger"
    assert arguments == {
        "flow_id": 3377,
        "enos_conn_id": "other",
        "statuses": ["FAIL", "SUCCESS"],
        "poll_interval": 120.0,
        "lookback": 172800.0,
        "poll_error_tolerance": 0.0,
        "org_id": "o",
        "user_id": "u",
    }
    assert EnosFlowEventTrigger(**json.loads(json.dumps(arguments))).serialize() == first.serialize()
    assert EnosFlowEventTrigger(3377).serialize()[1]["statuses"] == list(ENDS)


@pytest.mark.skipif(not hasattr(base, "BaseEventTrigger"), reason="Airflow 2 has no asset watchers")
def test_airflow_takes_what_is_written_alike_for_one_trigger() -> None:
    """However it is written, and after it was stored: otherwise it would be stopped and started at each parse."""
    from airflow.models.trigger import Trigger

    try:
        from airflow.serialization.encoders import encode_trigger
    except ImportError:  # Airflow 3.0
        from airflow.serialization.serialized_objects import _encode_trigger as encode_trigger

    same = [
        EnosFlowEventTrigger(3377, statuses=["SUCCESS", "FAIL"], poll_interval=60),
        EnosFlowEventTrigger("3377", statuses={"FAIL", "SUCCESS"}, poll_interval=timedelta(minutes=1)),
    ]
    encoded = [encode_trigger(one) for one in same]
    stored = Trigger.from_object(same[0])
    hashes = {base.BaseEventTrigger.hash(one["classpath"], one["kwargs"]) for one in encoded}
    hashes.add(base.BaseEventTrigger.hash(stored.classpath, stored.kwargs))
    again = Trigger(encoded[0]["classpath"], encoded[0]["kwargs"])
    hashes.add(base.BaseEventTrigger.hash(again.classpath, again.kwargs))
    assert len(hashes) == 1
    assert EnosFlowEventTrigger(**stored.kwargs).serialize() == same[0].serialize()
    other = encode_trigger(EnosFlowEventTrigger(3377))
    assert base.BaseEventTrigger.hash(other["classpath"], other["kwargs"]) not in hashes


@pytest.mark.skipif(not hasattr(base, "BaseEventTrigger"), reason="Airflow 2 has no asset watchers")
def test_an_asset_watcher_takes_it() -> None:
    from airflow.sdk import AssetWatcher

    assert AssetWatcher(name="flow", trigger=EnosFlowEventTrigger(3377)).trigger.flow_id == 3377


@pytest.mark.parametrize(
    "arguments",
    [
        {"flow_id": "x"},
        {"statuses": ["RUNNING"]},
        {"poll_interval": 0},
        {"lookback": -1},
        {"poll_error_tolerance": "x"},
        {"flow_id": True},
        {"flow_id": "{{ params.flow }}"},
        {"enos_conn_id": ""},
        {"enos_conn_id": None},
        {"org_id": 1},
        {"user_id": ["u"]},
    ],
    ids=str,
)
def test_what_cannot_work_is_refused_when_the_dag_is_parsed(arguments: dict[str, Any]) -> None:
    (field,) = arguments
    with pytest.raises(EnosConfigError, match=f"^{field}: "):
        EnosFlowEventTrigger(**{"flow_id": 3377, **arguments})


def test_who_shares_a_stream() -> None:
    key = EnosFlowEventTrigger(1).shared_stream_key()
    assert EnosFlowEventTrigger(2, statuses="FAIL", poll_error_tolerance=1).shared_stream_key() == key
    for arguments in ({"enos_conn_id": "b"}, {"org_id": "o"}, {"user_id": "u"}, {"poll_interval": 1}, {"lookback": 9}):
        assert EnosFlowEventTrigger(1, **arguments).shared_stream_key() != key


# -- What it tells, with a stream of its own


@pytest.mark.parametrize(
    "switches",
    [
        {"first_page": 0},
        {"first_page": 1},
        {"first_page": 0, "ids_as": "str", "listed_type": 1, "count_means": "page"},
        {"first_page": 1, "ids_as": "str", "listed_type": 2, "graph_as": "object", "data_as": "list"},
        {"first_page": 0, "id_style": "other", "graph_keys": "snake"},
        {"first_page": 1, "id_style": "other", "ids_as": "str", "request_id": True},
    ],
    ids=str,
)
def test_an_end_is_an_event(
    trigger: MakeTrigger, ended: Ended, sim: EnosSimulator, switches: dict[str, object]
) -> None:
    """Whichever way the open questions of the documentation turn out."""
    sim.switch(switches)
    ended(hours=3)
    running = sim.trigger(FLOW, trigger_time=sim.now_ms() - 100 * HOUR)

    async def main() -> None:
        async with watching(sim, trigger()) as watch:
            ended(hours=2, flow_id=OTHER)
            id = ended("FAIL", hours=1)
            await watch.until(lambda: watch.told)
            await watch.looks()
            (payload,) = watch.told
            assert (payload["flow_instance_id"], payload["flow_id"]) == (id, FLOW)
            assert (payload["flow_name"], payload["status"]) == ("flow_8101", "FAIL")
            assert all(isinstance(payload[name], str) for name in ("trigger_time", "start_time", "end_time"))
            assert payload["business_date"] is not None
            # The schedule names an hourly instance after its hour alone.
            assert payload["trigger_time_utc"] is None
            assert json.loads(json.dumps(payload)) == payload
            assert running.status != "SUCCESS"

    run(main())


@pytest.mark.parametrize("time_zone", ["GMT+8", "GMT-11"])
def test_the_utc_time_of_an_event_triggers_another_flow_for_the_same_minute(
    trigger: MakeTrigger, ended: Ended, sim: EnosSimulator, time_zone: str
) -> None:
    sim.time_zone = time_zone

    async def main() -> None:
        async with watching(sim, trigger()) as watch:
            instance = sim.trigger(FLOW, trigger_time=sim.now_ms() - HOUR)
            sim.finish(instance.id, "SUCCESS")
            await watch.until(lambda: watch.told)
            minute = trigger_time.parse(watch.told[0]["trigger_time_utc"], now=0)
            assert minute == instance.trigger_time // 60_000 * 60_000

    run(main())


def test_each_lists_its_own_flow_alone(trigger: MakeTrigger, ended: Ended, sim: EnosSimulator) -> None:
    """Else a gateway would be asked the more by each, the more of them there are, where Airflow shares no streams."""

    def lists(flow_id: int) -> int:
        return sum(f'"expression":"{flow_id}"'.encode() in record.body for record in sim.requests)

    async def main() -> None:
        async with watching(sim, trigger(FLOW, poll_interval=60)):
            of_one = lists(FLOW)
            async with watching(sim, trigger(OTHER, poll_interval=60)):
                await asyncio.sleep(0.3)
                assert (lists(FLOW), lists(OTHER)) == (of_one, of_one)

    run(main())


def test_only_the_ends_that_are_asked_for(trigger: MakeTrigger, ended: Ended, sim: EnosSimulator) -> None:
    async def main() -> None:
        async with watching(sim, trigger(statuses=["FAIL", "CANCEL"])) as watch:
            wanted = []
            # Backwards: at a full hour two of them would be of one hour.
            for hours, status in zip(range(len(ENDS), 0, -1), ENDS, strict=True):
                id = ended(status, hours=hours)
                wanted += [id] if status in ("FAIL", "CANCEL") else []
            await watch.until(lambda: len(watch.told) >= 2)
            await watch.looks()
            assert ids(watch.told) == sorted(wanted)

    run(main())


def test_of_several_the_last_is_told_alone(
    trigger: MakeTrigger, ended: Ended, sim: EnosSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Airflow starts no run for an event that comes close after another, until the next one."""
    monkeypatch.setattr(module, "_APART", 1.5)

    async def main() -> None:
        async with watching(sim, trigger(poll_interval=0.3)) as watch:
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


DAYS_BACK = (70, 71, 72, 73, 74)


def test_of_several_with_trigger_times_days_back_the_last_does_not_wait_for_the_slow_round(
    trigger: MakeTrigger, ended: Ended, sim: EnosSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_APART", 0.2)
    monkeypatch.setattr(watcher_module, "_WHOLE", 8.0)

    async def main() -> None:
        async with watching(sim, trigger(poll_interval=1)) as watch:
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
    trigger: MakeTrigger, ended: Ended, sim: EnosSimulator, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    monkeypatch.setattr(module, "_APART", 0.2)
    monkeypatch.setattr(watcher_module, "_WHOLE", 4.0)

    async def main() -> None:
        async with watching(sim, trigger(poll_interval=1)) as watch:
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
    trigger: MakeTrigger, ended: Ended, sim: EnosSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_APART", 0.2)

    async def main() -> None:
        async with watching(sim, trigger(poll_interval=0.5)) as watch:
            ids_of = [ended("FAIL", hours=hours) for hours in (3, 2)]
            await watch.until(lambda: watch.told)
            (last,) = set(ids_of) - set(ids(watch.told))
            sim.finish(last, "SUCCESS")
            await watch.until(lambda: len(watch.told) == 3)
            assert [one["status"] for one in watch.told if one["flow_instance_id"] == last] == ["FAIL", "SUCCESS"]

    run(main())


def test_what_is_held_back_when_the_triggerer_stops_is_told_by_the_next_one(
    trigger: MakeTrigger, ended: Ended, sim: EnosSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each once, whichever ends are asked for."""
    monkeypatch.setattr(module, "_APART", 0.2)
    monkeypatch.setattr(watcher_module, "_WHOLE", 1.0)
    store = AssetStore()
    arguments: dict[str, Any] = {"store": store, "statuses": ["SUCCESS", "CANCEL"], "poll_interval": 0.5}

    async def main() -> None:
        async with watching(sim, trigger(**arguments)) as watch:
            await watch.until(lambda: store.values)
            several = [ended(hours=hours) for hours in DAYS_BACK]
            ended("FAIL", hours=69)
            await watch.until(lambda: sorted(several)[0] in store.ends)
            assert len(watch.told) == 4
            told = list(watch.told)
        async with watching(sim, trigger(**arguments)) as watch:
            await watch.until(lambda: set(several) <= store.ends)
            await watch.looks()
            assert ids(told + watch.told) == sorted(several)

    run(main())


def test_a_store_that_fails_when_ends_are_seen_makes_them_late_by_that_alone(
    trigger: MakeTrigger, ended: Ended, sim: EnosSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was triggered for a time days back is listed by the slow round only."""
    monkeypatch.setattr(watcher_module, "_WHOLE", 2.0)
    store = AssetStore()

    async def main() -> None:
        one = trigger(store=store, poll_interval=0.2)
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
    trigger: MakeTrigger, ended: Ended, sim: EnosSimulator
) -> None:
    store = AssetStore()

    async def main() -> None:
        async with watching(sim, trigger(store=store)) as watch:
            await watch.until(lambda: store.values)
        meanwhile = [ended(hours=hours) for hours in DAYS_BACK]
        store.broken = True
        async with watching(sim, trigger(store=store)) as watch:
            await watch.looks()
            assert watch.told == []
            store.broken = False
            await watch.until(lambda: len(watch.told) == len(meanwhile))
            assert ids(watch.told) == sorted(meanwhile)

    run(main())


def test_ends_that_come_one_by_one_are_all_told_in_time(
    trigger: MakeTrigger, ended: Ended, sim: EnosSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_APART", 0.4)

    async def main() -> None:
        async with watching(sim, trigger(poll_interval=0.5)) as watch:
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


def test_blips_end_nothing_and_lose_nothing(
    trigger: MakeTrigger, ended: Ended, sim: EnosSimulator, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        async with watching(sim, trigger()) as watch:
            sim.fault("http_502", on="flowInstances/search", times=4)
            sim.fault("not_json", on="flowInstances/search", times=1)
            id = ended()
            await watch.until(lambda: watch.told)
            await watch.looks()
            assert ids(watch.told) == [id]

    with caplog.at_level("INFO", logger=module.__name__):
        run(main())
    lines = [record.getMessage() for record in caplog.records if record.name == module.__name__]
    assert any(line.startswith("Cannot ask EnOS for flows of enos_default") for line in lines)
    assert "EnOS answers again" in lines[-1]
    assert len(lines) <= 4
    assert sim.secret_key not in caplog.text


def test_keys_that_are_changed_while_it_runs_are_read_again(
    trigger: MakeTrigger, ended: Ended, sim: EnosSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        async with watching(sim, trigger()) as watch:
            sim.secret_key = "another"
            sim.expire_tokens()
            id = ended()
            await asyncio.sleep(0.3)
            assert watch.told == []
            monkeypatch.setenv("AIRFLOW_CONN_ENOS_DEFAULT", sim.connection_uri)
            await watch.until(lambda: watch.told)
            assert ids(watch.told) == [id]

    run(main())


def test_a_connection_that_is_not_there_yet_is_waited_for(
    trigger: MakeTrigger, ended: Ended, sim: EnosSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Airflow would start a trigger that fails again at once, for ever."""
    monkeypatch.delenv("AIRFLOW_CONN_ENOS_DEFAULT")

    async def main() -> None:
        watch = Watching(sim, trigger())
        await asyncio.sleep(0.2)
        assert not watch.task.done()
        monkeypatch.setenv("AIRFLOW_CONN_ENOS_DEFAULT", sim.connection_uri)
        await watch.looks()
        ended()
        await watch.until(lambda: watch.told)
        watch.task.cancel()
        await asyncio.gather(watch.task, return_exceptions=True)

    run(main())


def test_an_instance_that_cannot_be_read_is_told_without_a_business_date(
    trigger: MakeTrigger, ended: Ended, sim: EnosSimulator
) -> None:
    async def main() -> None:
        async with watching(sim, trigger()) as watch:
            sim.fault("http_404", on="flowInstances/get", times=None)
            id = ended()
            await watch.until(lambda: watch.told)
            assert ids(watch.told) == [id]
            assert watch.told[0]["business_date"] is None

    run(main())


def test_what_ended_while_nobody_watched_is_told_after_a_restart(
    trigger: MakeTrigger, ended: Ended, sim: EnosSimulator
) -> None:
    store = AssetStore()
    old = ended(hours=9)

    async def main() -> None:
        async with watching(sim, trigger(store=store)) as watch:
            await watch.until(lambda: old in store.ends)
            first = ended(hours=8)
            await watch.until(lambda: first in store.ends)
            assert ids(watch.told) == [first]
        meanwhile = [ended(hours=hours) for hours in (7, 100)]
        async with watching(sim, trigger(store=store)) as watch:
            await watch.until(lambda: set(meanwhile) <= store.ends)
            await watch.looks()
            assert ids(watch.told) == sorted(meanwhile)

    run(main())


def test_without_a_store_a_restart_begins_anew(trigger: MakeTrigger, ended: Ended, sim: EnosSimulator) -> None:
    """Before Airflow 3.3."""

    async def main() -> None:
        async with watching(sim, trigger()) as watch:
            await watch.looks()
        ended(hours=2)
        async with watching(sim, trigger()) as watch:
            id = ended(hours=1)
            await watch.until(lambda: watch.told)
            await watch.looks()
            assert ids(watch.told) == [id]

    run(main())


def test_a_store_that_fails_has_nothing_told_that_may_have_been_told(
    trigger: MakeTrigger, ended: Ended, sim: EnosSimulator
) -> None:
    store = AssetStore()

    async def main() -> None:
        async with watching(sim, trigger(store=store)) as watch:
            await watch.until(lambda: store.values)
        store.broken = True
        id = ended()
        one = trigger(store=store)
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


def test_what_another_triggerer_has_told_is_not_told(trigger: MakeTrigger, ended: Ended, sim: EnosSimulator) -> None:
    """As when one is taken for dead, and goes on."""
    store = AssetStore()

    async def main() -> None:
        async with watching(sim, trigger(store=store)) as watch:
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


# -- As Airflow 3.3 drives it


@dataclass
class Airflow:
    """As much of Airflow's triggerer as drives watchers, with its own manager of shared streams."""

    manager: Any
    told: dict[int, list[dict[str, Any]]] = field(default_factory=dict)
    unconfirmed: list[int] = field(default_factory=list)
    tasks: list[asyncio.Task[None]] = field(default_factory=list)
    stores_events: bool = True

    def start(self, trigger_id: int, one: EnosFlowEventTrigger) -> None:
        self.tasks.append(asyncio.create_task(self._run(trigger_id, one)))

    async def _run(self, trigger_id: int, one: EnosFlowEventTrigger) -> None:
        key = one.shared_stream_key()
        stream = self.manager.subscribe(trigger_id=trigger_id, trigger=one, key=key)
        try:
            async for event in one.filter_shared_stream(stream):
                self.told.setdefault(trigger_id, []).append(event.payload)
                seq = self.manager.bind_pending_event(trigger_id=trigger_id, key=key)
                self.unconfirmed.append(seq)
                if self.stores_events:
                    self.store()
        finally:
            await self.manager.unsubscribe(trigger_id, key)

    def store(self) -> None:
        """The events so far are in Airflow's database."""
        self.manager.confirm_persisted(self.unconfirmed)
        self.unconfirmed.clear()

    async def until(self, condition: Callable[[], Any]) -> None:
        end = time.monotonic() + 60
        while not condition():
            assert time.monotonic() < end, f"told {self.told}"
            for task in self.tasks:
                if task.done():
                    task.result()
            await asyncio.sleep(0.01)

    async def stop(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        await self.manager.stop_all()


def in_airflow(work: Callable[[Airflow], Coroutine[Any, Any, None]], **options: Any) -> None:
    from airflow.triggers.shared_stream import SharedStreamManager

    async def main() -> None:
        airflow = Airflow(SharedStreamManager(**options))
        try:
            await work(airflow)
        finally:
            await airflow.stop()

    run(main())


@shared_streams
def test_an_end_is_noted_as_told_only_when_airflow_has_stored_the_event(
    trigger: MakeTrigger, ended: Ended, sim: EnosSimulator
) -> None:
    store = AssetStore()

    async def main(airflow: Airflow) -> None:
        airflow.stores_events = False
        airflow.start(1, trigger(store=store))
        await airflow.until(lambda: store.values)
        id = ended()
        await airflow.until(lambda: airflow.told)
        looks = sim.count("flowInstances/search")
        await airflow.until(lambda: sim.count("flowInstances/search") > looks + 12)
        assert id not in store.ends
        airflow.store()
        await airflow.until(lambda: id in store.ends)
        assert ids(airflow.told[1]) == [id]

    in_airflow(main)


@shared_streams
def test_an_event_that_airflow_did_not_store_is_told_again(
    trigger: MakeTrigger, ended: Ended, sim: EnosSimulator
) -> None:
    """Its triggerer was killed before, or its database was away."""
    store = AssetStore()

    async def lost(airflow: Airflow) -> None:
        airflow.stores_events = False
        airflow.start(1, trigger(store=store))
        await airflow.until(lambda: store.values)
        ended()
        await airflow.until(lambda: airflow.told)

    async def later(airflow: Airflow) -> None:
        airflow.start(1, trigger(store=store))
        await airflow.until(lambda: store.ends)
        assert ids(airflow.told[1]) == sorted(store.ends)

    in_airflow(lost)
    assert store.ends == set()
    in_airflow(later)


@shared_streams
def test_flows_of_one_gateway_share_one_stream(trigger: MakeTrigger, ended: Ended, sim: EnosSimulator) -> None:
    """Also one that comes later; each hears of its own, with its own statuses, and keeps its own."""
    stores = [AssetStore(), AssetStore(), AssetStore()]

    async def main(airflow: Airflow) -> None:
        airflow.start(1, trigger(FLOW, store=stores[0], poll_interval=0.2))
        airflow.start(2, trigger(OTHER, store=stores[1], statuses=["FAIL"], poll_interval=0.2))
        await airflow.until(lambda: stores[0].values and stores[1].values)
        assert len(airflow.manager._groups) == 1
        one, other = ended(hours=5), ended("FAIL", hours=5, flow_id=OTHER)
        ended("SUCCESS", hours=4, flow_id=OTHER)
        await airflow.until(lambda: one in stores[0].ends and other in stores[1].ends)
        airflow.start(3, trigger(FLOW, store=stores[2], statuses=["CANCEL"], poll_interval=0.2))
        await airflow.until(lambda: one in stores[2].ends)
        third = ended("CANCEL", hours=3)
        await airflow.until(lambda: all(third in store.ends for store in (stores[0], stores[2])))
        told = {number: ids(payloads) for number, payloads in airflow.told.items()}
        assert told == {1: sorted([one, third]), 2: [other], 3: [third]}
        assert sim.count("token/get") == 1

    in_airflow(main)


@shared_streams
def test_two_watchers_of_one_flow_on_one_asset_do_not_hide_ends_from_each_other(
    trigger: MakeTrigger, ended: Ended, sim: EnosSimulator
) -> None:
    store = AssetStore()

    async def main(airflow: Airflow) -> None:
        for number, status in enumerate(["SUCCESS", "FAIL"]):
            airflow.start(number, trigger(store=store, statuses=[status]))
        await airflow.until(lambda: len(store.values) == 2)
        good, bad = ended("SUCCESS", hours=5), ended("FAIL", hours=4)
        await airflow.until(lambda: len(airflow.told) == 2)
        await airflow.until(
            lambda: all({good, bad} <= json.loads(value)["ends"].keys() for value in store.values.values())
        )
        assert {number: ids(told) for number, told in airflow.told.items()} == {0: [good], 1: [bad]}

    in_airflow(main)


@shared_streams
def test_a_trigger_whose_events_are_not_stored_holds_up_no_other(
    trigger: MakeTrigger, ended: Ended, sim: EnosSimulator
) -> None:
    """Airflow gives it up after a while; it is the only one to tell again."""
    stores = {1: AssetStore(), 2: AssetStore()}

    async def main(airflow: Airflow) -> None:
        airflow.stores_events = False
        for number, flow_id in ((1, FLOW), (2, OTHER)):
            airflow.start(number, trigger(flow_id, store=stores[number]))
        await airflow.until(lambda: stores[1].values and stores[2].values)
        ended(hours=2)
        await airflow.until(lambda: 1 in airflow.told)
        until = time.monotonic() + 30
        while not airflow.tasks[0].done():
            assert time.monotonic() < until
            await asyncio.sleep(0.05)
        with pytest.raises(Exception, match="within"):
            airflow.tasks.pop(0).result()
        airflow.stores_events = True
        other = ended(hours=1, flow_id=OTHER)
        await airflow.until(lambda: other in stores[2].ends)
        assert stores[1].ends == set()
        assert ids(airflow.told[2]) == [other]

    in_airflow(main, ack_timeout=5)
