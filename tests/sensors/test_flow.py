"""The arguments of EnosFlowSensor, and its window.

How it ends, however it waits: tests/test_window_parity.py.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import DAG
from airflow.triggers.base import BaseTrigger

from airflow_provider_enos import errors
from airflow_provider_enos.sensors.enos import EnosFlowSensor

FLOW, NODE = 7001, 70011
END = 1594080000000
START = END - 86_400_000


ARGUMENTS: list[dict[str, Any]] = [
    {"allowed_statuses": "DONE"},
    {"failed_statuses": "SUCCESS"},
    {"skipped_statuses": ["FAIL"]},
    {"instances": "some"},
    {"expected_instances": 0},
    {"types": 3},
    {"window_shift": "1 day"},
    {"window_shift": True},
    {"poll_error_tolerance": -1},
    {"task_logs": "some"},
]


@pytest.mark.parametrize("arguments", ARGUMENTS, ids=str)
def test_arguments_that_are_refused_when_the_dag_is_parsed(arguments: dict[str, Any]) -> None:
    (name,) = arguments
    with pytest.raises(errors.EnosConfigError, match=f"^task wait: {name}: .*; expected "):
        EnosFlowSensor(task_id="wait", flow_id=FLOW, **arguments)


TEMPLATES: list[tuple[dict[str, Any], str]] = [
    (
        {
            "data_interval_start": datetime(2024, 3, 2, tzinfo=UTC),
            "data_interval_end": datetime(2024, 3, 3, tzinfo=UTC),
        },
        "from 2024-03-02T00:01+00:00 to 2024-03-03T00:00+00:00",
    ),
    (
        {
            "data_interval_start": datetime(2024, 3, 3, tzinfo=UTC),
            "data_interval_end": datetime(2024, 3, 3, tzinfo=UTC),
        },
        "at 2024-03-03T00:00+00:00",
    ),
]


def rendered(context: dict[str, Any], *, native: bool, **arguments: Any) -> EnosFlowSensor:
    with DAG("dag", schedule=None, render_template_as_native_obj=native):
        sensor = EnosFlowSensor(task_id="wait", flow_id="{{ params.flow }}", **arguments)
    sensor.render_template_fields({**context, "params": {"flow": FLOW}})
    return sensor


@pytest.mark.parametrize("native", [False, True])
@pytest.mark.parametrize(("context", "window"), TEMPLATES)
def test_the_default_window_is_the_data_interval(context: dict[str, Any], window: str, native: bool) -> None:
    wanted = rendered(context, native=native).window_arguments.wanted()
    assert (wanted.flow_id, str(wanted.window)) == (FLOW, window)


@pytest.mark.parametrize("native", [False, True])
@pytest.mark.parametrize("context", [{}, {"data_interval_start": None, "data_interval_end": None}])
def test_a_run_without_a_data_interval_is_refused(context: dict[str, Any], native: bool) -> None:
    with pytest.raises(
        errors.EnosConfigError, match=r"^window_start: it is empty.*without a data interval; expected a time"
    ):
        rendered(context, native=native).window_arguments.wanted()


@pytest.mark.skipif(not hasattr(BaseTrigger, "on_kill"), reason="tasks start in the triggerer from Airflow 3.3 on")
def test_what_a_task_hands_to_the_triggerer_in_which_it_starts() -> None:
    with DAG("dag", schedule=None):
        sensor = EnosFlowSensor(
            task_id="wait", flow_id=FLOW, window_end=datetime(2024, 3, 3, tzinfo=UTC), window_shift=60,
            start_from_trigger=True, timeout=50,
        )  # fmt: skip
    arguments = sensor.start_trigger_args.trigger_kwargs
    assert arguments["flow_id"] == str(FLOW)
    assert arguments["window_start"] == "{{ data_interval_start | default(none) }}"
    assert arguments["window_end"] == "2024-03-03T00:00:00+00:00"
    assert (arguments["window_shift"], arguments["deadline"], arguments["timeout"]) == (60.0, None, 50)
    assert arguments["ends_task"] is True
    assert set(sensor.template_fields) >= {"flow_id", "window_start", "window_end"}, "by these names it renders them"
