"""In which zone EnOS's times are, and which moments they are; and that the zone is asked for once an hour."""

from __future__ import annotations

import asyncio
import json
from datetime import datetime
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import Connection
from hypothesis import given, strategies as st

from airflow_provider_enos.client import settings
from airflow_provider_enos.client.aio import AsyncClient
from airflow_provider_enos.plugins.view import clock as module
from airflow_provider_enos.plugins.view.clock import FRESH, FRESH_PROBLEM, Zones, clock_of
from airflow_provider_enos.protocol.wire.exchange import Retry
from airflow_provider_enos.simulator import EnosSimulator

ID = "3377-20200706062600"
"""Triggered at 06:26 UTC, which is 14:26 at GMT+8."""


def drawn(
    trigger: str = "2020-07-06 14:26:59", start: str = "2020-07-06 14:27:10", end: str = "", id: str = ID
) -> dict[str, Any]:
    facts = [("Trigger time", trigger), ("Start", start), ("Business date", "2020-07-05")]
    return {"id": id, "facts": facts, "nodes": [{"start": start, "end": end}, {"name": "has not begun"}]}


def moment(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp() * 1000)


NOW = moment("2020-07-06T06:40:00+00:00") / 1000


def test_times_are_in_the_zone_of_the_gateway() -> None:
    assert clock_of(drawn(end="2020-07-06 14:30:00.5"), "GMT+8", NOW) == {
        "zone": "GMT+8",
        "at": {
            "2020-07-06 14:26:59": moment("2020-07-06T06:26:59+00:00"),
            "2020-07-06 14:27:10": moment("2020-07-06T06:27:10+00:00"),
            "2020-07-06 14:30:00.5": moment("2020-07-06T06:30:00.500+00:00"),
        },
    }


@pytest.mark.parametrize(
    ("zone", "start"),
    [("GMT+8", "2020-07-06 06:27:10"), ("GMT-5", "2020-07-06 06:27:10")],
    ids=["before the trigger time", "in the future"],
)
def test_times_that_are_impossible_in_that_zone_are_in_utc(zone: str, start: str) -> None:
    found = clock_of(drawn("2020-07-06 06:26:59", start), zone, NOW)
    assert found["zone"] == "UTC"
    assert found["at"][start] == moment("2020-07-06T06:27:10+00:00")


def test_a_trigger_time_may_be_in_another_zone_than_the_others() -> None:
    """As in one of the samples of the documentation."""
    found = clock_of(drawn("2020-07-06 14:26:59", "2020-07-06 06:27:10"), "GMT+8", NOW)
    assert (found["zone"], list(found["at"])) == ("UTC", ["2020-07-06 06:27:10"])


@pytest.mark.parametrize(
    ("zone", "start"),
    [
        ("", "2020-07-06 14:27:10"),
        ("Mars/Olympus", "2020-07-06 14:27:10"),
        ("GMT+8", "2020-07-06 02:27:10"),
        ("GMT+8", "2031-07-06 02:27:10"),
    ],
)
def test_where_it_is_not_known_nothing_is_said(zone: str, start: str) -> None:
    assert clock_of(drawn(start=start), zone, NOW) == {"zone": "", "at": {}}


def test_an_id_without_a_minute_does_not_matter() -> None:
    assert clock_of(drawn(id="3377-2020070606"), "GMT+8", NOW)["zone"] == "GMT+8"


@given(st.text(max_size=30) | st.datetimes().map(str), st.sampled_from(["GMT+8", "GMT-12", "Asia/Shanghai", "UTC"]))
def test_any_text_and_any_moment_has_a_clock(text: str, zone: str) -> None:
    found = clock_of(drawn(text, text, text), zone, NOW)
    assert set(found) == {"zone", "at"}
    assert json.dumps(found)


# Which zone it is


def asked(sim: EnosSimulator, *steps: float, at_once: int = 1) -> tuple[list[str], int]:
    """Ask after each pause, several viewers at once. Return the names, and how often EnOS was asked."""
    now = [1000.0]
    extra = {"org_id": sim.org_id, "user_id": sim.user_id}
    found = settings.read(
        Connection(
            conn_id="c",
            conn_type="enos",
            host=sim.url,
            login=sim.access_key,
            password=sim.secret_key,
            extra=json.dumps(extra),
        )
    )

    async def play() -> list[str]:
        zones, names = Zones(lambda: now[0]), []
        async with AsyncClient(found, retry=Retry(attempts=1)) as client:
            for step in steps:
                now[0] += step
                names += await asyncio.gather(*(zones.name_of(client) for _ in range(at_once)))
                sim.clear_faults()
        return names

    return asyncio.run(play()), sim.count("time/getTimeZone")


def test_it_is_asked_for_once_an_hour(sim: EnosSimulator) -> None:
    assert asked(sim, 0, FRESH - 1, 2, at_once=5) == (["GMT+8"] * 15, 2)


def test_a_gateway_that_hangs_there_holds_up_nobody_for_long(
    sim: EnosSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LONGEST_LOOK", 0.2)
    sim.hold(on="time/getTimeZone", at="received", times=None)
    assert asked(sim, 0, FRESH_PROBLEM - 1, at_once=3)[0] == [""] * 6
    sim.clear_holds()


@pytest.mark.parametrize("fault", ["http_503", "dropped", "not_json"])
def test_a_gateway_that_does_not_say_it_is_asked_again_later(sim: EnosSimulator, fault: str) -> None:
    sim.fault(fault, on="time/getTimeZone", times=None)
    names, _ = asked(sim, 0, FRESH_PROBLEM - 1, 2)
    assert names == ["", "", "GMT+8"]
