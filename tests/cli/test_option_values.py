from __future__ import annotations

from argparse import ArgumentTypeError
from collections.abc import Callable
from typing import Any

import pytest

from airflow_provider_enos.cli import option_values as values
from airflow_provider_enos.protocol.models import FlowStatus


@pytest.mark.parametrize(
    ("read", "text", "value"),
    [
        (values.number, " 3377 ", 3377),
        (values.instance, "3377-20200706062600", "3377-20200706062600"),
        (values.label, "meter_readings_daily", "meter_readings_daily"),
        (values.time, "now", "now"),
        (values.time, "2024-03-03T00:00:00+00:00", "2024-03-03T00:00:00+00:00"),
        (values.seconds, "1.5", 1.5),
        (values.parameter, "day=a=b", ("day", "a=b")),
        (values.status, "FAIL", FlowStatus.FAIL),
    ],
)
def test_a_value_is_read(read: Callable[[str], Any], text: str, value: object) -> None:
    assert read(text) == value


@pytest.mark.parametrize(
    ("read", "text"),
    [
        (values.number, "abc"),
        (values.instance, "no id"),
        (values.label, ""),
        (values.time, "tomorrow"),
        (values.seconds, "soon"),
        (values.parameter, "day"),
        (values.status, "DONE"),
    ],
)
def test_the_error_says_the_value_and_what_would_do(read: Callable[[str], Any], text: str) -> None:
    with pytest.raises(ArgumentTypeError, match="expected") as refused:
        read(text)
    assert repr(text) in str(refused.value)
