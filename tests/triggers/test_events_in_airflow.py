"""What Airflow does with the triggers: it shares their streams, and stores their events."""

from __future__ import annotations

import asyncio
import json
import time
from datetime import timedelta
from importlib.util import find_spec
from typing import Any

import pytest
from airflow.triggers import base
from airflows import AIRFLOW
from event_triggers import (
    FLOW,
    OTHER,
    Airflow,
    AssetStore,
    Ended,
    MakeEventTrigger,
    ids,
    in_airflow,
)

from airflow_provider_enos.errors import EnosConfigError
from airflow_provider_enos.simulator import EnosSimulator
from airflow_provider_enos.triggers.enos import EnosFlowEventTrigger

shared_streams = pytest.mark.skipif(
    find_spec("airflow.triggers.shared_stream") is None, reason="Airflow shares streams from 3.3 on"
)


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
    for another in (
        EnosFlowEventTrigger(3377),
        EnosFlowEventTrigger(flow_name="a"),
        EnosFlowEventTrigger(flow_name="b"),
    ):
        other = encode_trigger(another)
        assert base.BaseEventTrigger.hash(other["classpath"], other["kwargs"]) not in hashes
        hashes.add(base.BaseEventTrigger.hash(other["classpath"], other["kwargs"]))


@pytest.mark.skipif(not hasattr(base, "BaseEventTrigger"), reason="Airflow 2 has no asset watchers")
def test_an_asset_watcher_takes_it() -> None:
    from airflow.sdk import AssetWatcher

    assert AssetWatcher(name="flow", trigger=EnosFlowEventTrigger(3377)).trigger.flow_id == 3377


@pytest.mark.skipif(AIRFLOW < (3, 4), reason="Airflow before 3.4 gives event triggers no queue")
def test_only_triggerers_of_its_queue_run_it() -> None:
    """The queue is stored beside the arguments, and the trigger that runs is made without it."""
    from airflow.models.trigger import Trigger
    from airflow.serialization.encoders import encode_trigger

    one = EnosFlowEventTrigger(3377, queue="near_enos")
    stored = Trigger.from_object(one)
    assert (stored.queue, encode_trigger(one)["queue"]) == ("near_enos", "near_enos")
    assert "queue" not in stored.kwargs
    assert EnosFlowEventTrigger(**stored.kwargs).serialize() == one.serialize()
    assert Trigger.from_object(EnosFlowEventTrigger(3377)).queue is None


@pytest.mark.skipif(AIRFLOW >= (3, 4), reason="Airflow 3.4 and later give event triggers a queue")
def test_a_queue_that_airflow_would_ignore_is_refused() -> None:
    with pytest.raises(
        EnosConfigError, match=r"queue: 'near_enos', but this Airflow .* expected None before Airflow 3\.4"
    ):
        EnosFlowEventTrigger(3377, queue="near_enos")
    EnosFlowEventTrigger(3377, queue=None)


@pytest.mark.parametrize("queue", ["", " ", 7, ["a"]])
def test_what_is_no_queue_is_refused(queue: Any) -> None:
    with pytest.raises(EnosConfigError, match=r"queue: .*; expected the name of a trigger queue, or None"):
        EnosFlowEventTrigger(3377, queue=queue)


def test_who_shares_a_stream() -> None:
    key = EnosFlowEventTrigger(1).shared_stream_key()
    assert EnosFlowEventTrigger(2, statuses="FAIL", poll_error_tolerance=1).shared_stream_key() == key
    for arguments in ({"enos_conn_id": "b"}, {"org_id": "o"}, {"user_id": "u"}, {"poll_interval": 1}, {"lookback": 9}):
        assert EnosFlowEventTrigger(1, **arguments).shared_stream_key() != key


@shared_streams
def test_an_end_is_noted_as_told_only_when_airflow_has_stored_the_event(
    event_trigger: MakeEventTrigger, ended: Ended, sim: EnosSimulator
) -> None:
    store = AssetStore()

    async def main(airflow: Airflow) -> None:
        airflow.stores_events = False
        airflow.start(1, event_trigger(store=store))
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
    event_trigger: MakeEventTrigger, ended: Ended, sim: EnosSimulator
) -> None:
    """Its triggerer was killed before, or its database was away."""
    store = AssetStore()

    async def lost(airflow: Airflow) -> None:
        airflow.stores_events = False
        airflow.start(1, event_trigger(store=store))
        await airflow.until(lambda: store.values)
        ended()
        await airflow.until(lambda: airflow.told)

    async def later(airflow: Airflow) -> None:
        airflow.start(1, event_trigger(store=store))
        await airflow.until(lambda: store.ends)
        assert ids(airflow.told[1]) == sorted(store.ends)

    in_airflow(lost)
    assert store.ends == set()
    in_airflow(later)


@shared_streams
def test_flows_of_one_gateway_share_one_stream(
    event_trigger: MakeEventTrigger, ended: Ended, sim: EnosSimulator
) -> None:
    """Also one that comes later; each hears of its own, with its own statuses, and keeps its own."""
    stores = [AssetStore(), AssetStore(), AssetStore()]

    async def main(airflow: Airflow) -> None:
        airflow.start(1, event_trigger(FLOW, store=stores[0], poll_interval=0.2))
        airflow.start(2, event_trigger(OTHER, store=stores[1], statuses=["FAIL"], poll_interval=0.2))
        await airflow.until(lambda: stores[0].values and stores[1].values)
        assert len(airflow.manager._groups) == 1
        one, other = ended(hours=5), ended("FAIL", hours=5, flow_id=OTHER)
        ended("SUCCESS", hours=4, flow_id=OTHER)
        await airflow.until(lambda: one in stores[0].ends and other in stores[1].ends)
        airflow.start(3, event_trigger(FLOW, store=stores[2], statuses=["CANCEL"], poll_interval=0.2))
        await airflow.until(lambda: one in stores[2].ends)
        third = ended("CANCEL", hours=3)
        await airflow.until(lambda: all(third in store.ends for store in (stores[0], stores[2])))
        told = {number: ids(payloads) for number, payloads in airflow.told.items()}
        assert told == {1: sorted([one, third]), 2: [other], 3: [third]}
        assert sim.count("token/get") == 1

    in_airflow(main)


@shared_streams
def test_two_watchers_of_one_flow_on_one_asset_do_not_hide_ends_from_each_other(
    event_trigger: MakeEventTrigger, ended: Ended, sim: EnosSimulator
) -> None:
    store = AssetStore()

    async def main(airflow: Airflow) -> None:
        for number, status in enumerate(["SUCCESS", "FAIL"]):
            airflow.start(number, event_trigger(store=store, statuses=[status]))
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
    event_trigger: MakeEventTrigger, ended: Ended, sim: EnosSimulator
) -> None:
    """Airflow gives it up after a while; it is the only one to tell again."""
    stores = {1: AssetStore(), 2: AssetStore()}

    async def main(airflow: Airflow) -> None:
        airflow.stores_events = False
        for number, flow_id in ((1, FLOW), (2, OTHER)):
            airflow.start(number, event_trigger(flow_id, store=stores[number]))
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
