"""Whatever a DAG author writes, or a template renders: a value that is accepted, or an error that names the field."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, timedelta, timezone
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from fuzzing import JSON, TEXTS, assert_fit_for_a_log, hold
from hypothesis import strategies as st

from airflow_provider_enos.errors import EnosConfigError
from airflow_provider_enos.protocol import arguments, trigger_time
from airflow_provider_enos.protocol.follow.window import Window

END = 7_289_654_400_000
ZONES = st.sampled_from([None, UTC, timezone(timedelta(hours=14)), ZoneInfo("Asia/Shanghai"), ZoneInfo("Europe/Paris")])
TIMES = (
    st.datetimes(timezones=ZONES)
    | st.datetimes(timezones=ZONES).map(str)
    | st.datetimes(timezones=ZONES).map(lambda moment: moment.isoformat())
    | st.integers(-1, 2 * END)
    | st.integers(-1, 2 * END).map(str)
    | st.from_regex(r"\A[0-9]{1,5}-?[0-9W]{1,3}-?[0-9]{0,3}[T ]?[0-9:.,]{0,12}([+-][0-9:]{1,8}|Z)?\s?\Z")
    | st.sampled_from([10**5_000, Decimal("1594016819108"), b"now", "now", "9999-12-31T23:59:59-23:59", "0001-01-01Z"])
    | TEXTS
    | JSON
)


def refused(read: Callable[[], Any], field: str) -> Any:
    """What it gives; None where it is refused, in words that are fit for a log."""
    try:
        return read()
    except EnosConfigError as error:
        said = str(error)
    assert re.match(rf"{field}\b", said)
    assert_fit_for_a_log(said, 1_000)
    return None


def test_whatever_a_trigger_time_is() -> None:
    def check(value: Any) -> None:
        found = refused(lambda: trigger_time.parse(value, now=1594016819108), "trigger_time")
        if found is not None:
            assert type(found) is int
            assert 0 <= found < END
            assert re.fullmatch(r"1-[0-9]{12}00", trigger_time.predicted_flow_instance_id(1, found))
            assert trigger_time.minute_of_id(trigger_time.predicted_flow_instance_id(1, found)) == (
                trigger_time.minute_of(found)
            )
            assert trigger_time.moment(trigger_time.to_iso(found), "x") == trigger_time.minute_of(found)

    hold(check, value=TIMES)


def test_whatever_a_window_is() -> None:
    def check(start: Any, end: Any, shift: float) -> None:
        window = refused(lambda: Window.between(start, end, shift=shift), "window_(start|end|shift)")
        assert window is None or 0 <= window.first < window.end

    hold(check, start=TIMES, end=TIMES, shift=st.floats(-3e9, 3e9), examples=50)


@pytest.mark.parametrize(
    "read",
    [
        lambda value: arguments.number(value, "field"),
        lambda value: arguments.instance(value, "field"),
        lambda value: arguments.seconds(value, "field"),
        lambda value: arguments.shift(value, "field"),
        lambda value: arguments.statuses(value, "field"),
        lambda value: arguments.parameters(value, "field"),
        lambda value: arguments.flag(value, "field"),
        lambda value: arguments.connection_id(value, "field"),
        lambda value: arguments.tenant(value, "field"),
        lambda value: arguments.text(value, "field"),
        lambda value: arguments.name(value, "field"),
        lambda value: arguments.prose(value, "field"),
    ],
    ids=[
        "number",
        "instance",
        "seconds",
        "shift",
        "statuses",
        "parameters",
        "flag",
        "connection_id",
        "tenant",
        "text",
        "name",
        "prose",
    ],
)
def test_whatever_an_argument_is(read: Callable[[Any], Any]) -> None:
    def check(value: Any) -> None:
        found = refused(lambda: read(value), "field")
        # It can be sent.
        str(found).encode("utf-8")

    hold(check, value=JSON | TIMES, examples=20)
