"""Which ends are events, and what an event says."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from typing import Any

import pytest
from event_triggers import (
    FLOW,
    HOUR,
    OTHER,
    Ended,
    MakeEventTrigger,
    Watching,
    ids,
    run,
    watching,
)

from airflow_provider_enos.errors import EnosConfigError
from airflow_provider_enos.protocol import trigger_time
from airflow_provider_enos.protocol.follow.flow_events import ENDS
from airflow_provider_enos.simulator import EnosSimulator
from airflow_provider_enos.triggers import events as module
from airflow_provider_enos.triggers.enos import EnosFlowEventTrigger


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
        "flow_name": None,
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
    event_trigger: MakeEventTrigger, ended: Ended, sim: EnosSimulator, switches: dict[str, object]
) -> None:
    """Whichever way the open questions of the documentation turn out."""
    sim.switch(switches)
    ended(hours=3)
    running = sim.trigger(FLOW, trigger_time=sim.now_ms() - 100 * HOUR)

    async def main() -> None:
        async with watching(sim, event_trigger()) as watch:
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
    event_trigger: MakeEventTrigger, ended: Ended, sim: EnosSimulator, time_zone: str
) -> None:
    sim.time_zone = time_zone

    async def main() -> None:
        async with watching(sim, event_trigger()) as watch:
            instance = sim.trigger(FLOW, trigger_time=sim.now_ms() - HOUR)
            sim.finish(instance.id, "SUCCESS")
            await watch.until(lambda: watch.told)
            minute = trigger_time.parse(watch.told[0]["trigger_time_utc"], now=0)
            assert minute == instance.trigger_time // 60_000 * 60_000

    run(main())


def test_each_lists_its_own_flow_alone(event_trigger: MakeEventTrigger, ended: Ended, sim: EnosSimulator) -> None:
    """Else, if Airflow shares no streams, each trigger would list the flows of all others too."""

    def lists(flow_id: int) -> int:
        return sum(f'"expression":"{flow_id}"'.encode() in record.body for record in sim.requests)

    async def main() -> None:
        async with watching(sim, event_trigger(FLOW, poll_interval=60)):
            of_one = lists(FLOW)
            async with watching(sim, event_trigger(OTHER, poll_interval=60)):
                await asyncio.sleep(0.3)
                assert (lists(FLOW), lists(OTHER)) == (of_one, of_one)

    run(main())


def test_only_the_ends_that_are_asked_for(event_trigger: MakeEventTrigger, ended: Ended, sim: EnosSimulator) -> None:
    async def main() -> None:
        async with watching(sim, event_trigger(statuses=["FAIL", "CANCEL"])) as watch:
            wanted = []
            # Backwards: at a full hour two of them would be of one hour.
            for hours, status in zip(range(len(ENDS), 0, -1), ENDS, strict=True):
                id = ended(status, hours=hours)
                wanted += [id] if status in ("FAIL", "CANCEL") else []
            await watch.until(lambda: len(watch.told) >= 2)
            await watch.looks()
            assert ids(watch.told) == sorted(wanted)

    run(main())


def test_blips_end_nothing_and_lose_nothing(
    event_trigger: MakeEventTrigger, ended: Ended, sim: EnosSimulator, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        async with watching(sim, event_trigger()) as watch:
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
    event_trigger: MakeEventTrigger, ended: Ended, sim: EnosSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        async with watching(sim, event_trigger()) as watch:
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
    event_trigger: MakeEventTrigger, ended: Ended, sim: EnosSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Airflow would start a trigger that fails again at once, for ever."""
    monkeypatch.delenv("AIRFLOW_CONN_ENOS_DEFAULT")

    async def main() -> None:
        watch = Watching(sim, event_trigger())
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
    event_trigger: MakeEventTrigger, ended: Ended, sim: EnosSimulator
) -> None:
    async def main() -> None:
        async with watching(sim, event_trigger()) as watch:
            sim.fault("http_404", on="flowInstances/get", times=None)
            id = ended()
            await watch.until(lambda: watch.told)
            assert ids(watch.told) == [id]
            assert watch.told[0]["business_date"] is None

    run(main())
