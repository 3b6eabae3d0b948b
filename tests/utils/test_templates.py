"""What is known only when a task runs, and what of it a triggerer can find out."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import DAG, TaskDeferred, task, task_group
from airflow.triggers.base import BaseTrigger
from worker import Log, TaskInstance

from airflow_provider_enos.operators.enos import EnosTriggerFlowFromTaskOperator
from airflow_provider_enos.sensors.enos import EnosFlowInstanceSensor, EnosFlowSensor
from airflow_provider_enos.simulator import EnosSimulator
from airflow_provider_enos.utils.templates import (
    can_be_rendered_by_trigger,
    for_trigger,
    is_literal,
    is_mapped,
    is_rendered_later,
    known_part,
    marks_of,
)
from airflow_provider_enos.version_compat import literal

INSTANCE = "3377-20200706062600"


@task
def given() -> Any:
    return None


@pytest.fixture
def output() -> Any:
    with DAG("dag", schedule=None):
        return given()


def test_what_is_rendered_later(output: Any) -> None:
    later = ["{{ x }}", "{% if x %}", "a{# b #}", output, output["key"], output.map(str), output.zip(output), lambda: 1]
    now = ["", "x", "{x}", 3377, None, ["{{ x }}"], {"a": "{{ x }}"}, literal("{{ x }}"), Path("{{ x }}"), int]
    assert all(map(is_rendered_later, later))
    assert not any(map(is_rendered_later, now))


def test_delimiters_of_a_dag_are_known_beside_the_usual_ones() -> None:
    own = {"variable_start_string": "[[", "line_statement_prefix": None, "trim_blocks": True}
    marks = marks_of(SimpleNamespace(jinja_environment_kwargs=own))
    assert [is_rendered_later(text, marks) for text in ("[[ x", "{{ x", "{% x", "x")] == [True, True, True, False]
    assert marks_of(None) == marks_of(SimpleNamespace()) == ("{{", "{%", "{#")


def test_the_known_part(output: Any) -> None:
    assert is_literal(literal("{{ x }}"))
    assert known_part(literal("{{ x }}")) == "{{ x }}"
    assert known_part(3377) == 3377
    given = {"a": "b", "c": "{{ x }}", "d": output, "e": literal("{{ f }}"), "g": {"h": "{{ x }}"}}
    assert known_part(given) == {"a": "b", "c": "", "d": "", "e": "{{ f }}", "g": {"h": "{{ x }}"}}


def test_what_a_trigger_is_given(output: Any) -> None:
    assert for_trigger("{{ x }}") == "{{ x }}"
    assert (for_trigger(3377), for_trigger(literal("3377")), for_trigger(None)) == ("3377", "3377", None)
    assert for_trigger(datetime(2024, 3, 3, tzinfo=UTC)) == "2024-03-03T00:00:00+00:00"
    assert for_trigger(output) == "{{ ti.xcom_pull(task_ids='given', key='return_value', map_indexes=-1) }}"
    assert for_trigger(output["a"]) == "{{ ti.xcom_pull(task_ids='given', key='a', map_indexes=-1) }}"


def starts_in_triggerer(sensor: Any) -> bool:
    assert bool(sensor.start_trigger_args) is bool(sensor.start_from_trigger)
    return bool(sensor.start_from_trigger)


def sensor(name: str, flow_instance_id: Any, **more: Any) -> EnosFlowInstanceSensor:
    return EnosFlowInstanceSensor(task_id=name, flow_instance_id=flow_instance_id, start_from_trigger=True, **more)


can_start = pytest.mark.skipif(not hasattr(BaseTrigger, "on_kill"), reason="tasks start in the triggerer from 3.3 on")


@can_start
def test_what_a_triggerer_can_find_out_is_left_to_it(output: Any) -> None:
    values = [INSTANCE, "{{ params.x }}", output, output["key"], literal(INSTANCE)]
    with output.operator.dag:
        for number, value in enumerate(values):
            assert can_be_rendered_by_trigger(value)
            assert starts_in_triggerer(sensor(f"wait-{number}", value))
        assert starts_in_triggerer(sensor("of-connection", INSTANCE, enos_conn_id=output, org_id="{{ params.o }}"))
    arguments = output.operator.dag.task_dict["of-connection"].start_trigger_args.trigger_kwargs
    assert arguments["enos_conn_id"] == "{{ ti.xcom_pull(task_ids='given', key='return_value', map_indexes=-1) }}"
    assert (arguments["org_id"], arguments["user_id"]) == ("{{ params.o }}", None)


def test_what_only_a_worker_can_find_out_is_left_to_it(output: Any) -> None:
    """Else the trigger would wait for the text of an object."""
    with output.operator.dag as dag:
        values = [output.map(str), output.zip(output), output.concat(output), dag.param("x", 1), lambda **_: INSTANCE]
        for number, value in enumerate(values):
            assert not can_be_rendered_by_trigger(value)
            made = sensor(f"wait-{number}", value)
            assert not starts_in_triggerer(made)
            assert made.deferrable
            assert not starts_in_triggerer(sensor(f"of-connection-{number}", INSTANCE, enos_conn_id=value))
            assert not starts_in_triggerer(
                EnosFlowSensor(task_id=f"of-window-{number}", flow_id=1, window_end=value, start_from_trigger=True)
            )


def test_tasks_of_a_mapped_group_start_in_a_worker() -> None:
    """Whatever they wait for: a sibling's output, the group's own argument, a template; and in groups inside it."""
    made: list[Any] = []

    def start() -> Any:
        return EnosTriggerFlowFromTaskOperator(task_id="start", flow_id=1, from_task_id=1).output

    @task_group
    def inner(instance: Any) -> None:
        made.append(sensor("inside", instance))

    @task_group
    def each(instance: Any) -> None:
        sibling = start()
        made.extend(
            [
                sensor("sibling", sibling),
                sensor("argument", instance),
                sensor("template", "{{ ti.xcom_pull(task_ids='each.start', map_indexes=ti.map_index) }}"),
                EnosFlowSensor(task_id="window", flow_id=1, start_from_trigger=True),
            ]
        )
        inner(sibling)

    @task_group
    def outer() -> None:
        each.expand(instance=["a", "b"])

    with DAG("dag", schedule=None):
        outer()
        outside = start()
        # Of all instances at once, which is no id: the worker says so.
        made.append(sensor("after", made[0].output))
        assert hasattr(BaseTrigger, "on_kill") is starts_in_triggerer(sensor("plain", outside))
    assert [one.task_id for one in made[:5]] == [
        *("outer.each.sibling", "outer.each.argument", "outer.each.template", "outer.each.window"),
        "outer.each.inner.inside",
    ]
    assert all(map(is_mapped, made[:5]))
    assert not is_mapped(made[5])
    assert not any(map(starts_in_triggerer, made))
    assert all(one.deferrable for one in made)


def test_the_output_of_a_mapped_task_is_left_to_a_worker() -> None:
    with DAG("dag", schedule=None):
        starts = EnosTriggerFlowFromTaskOperator.partial(task_id="start", from_task_id=1).expand(flow_id=[1, 2])
        assert not starts_in_triggerer(sensor("wait", starts.output))


def test_a_worker_says_why_it_defers_what_was_to_start_in_the_triggerer(connection: EnosSimulator) -> None:
    log = Log()
    logged = type("Logged", (EnosFlowInstanceSensor,), {"log": log})
    connection.trigger(3377, 108580, 1594016819108)
    made: Callable[..., Any] = logged(task_id="wait", flow_instance_id=lambda **_: INSTANCE, start_from_trigger=True)
    made.flow_instance_id = INSTANCE  # type: ignore[attr-defined]
    with pytest.raises(TaskDeferred):
        made.execute({"ti": TaskInstance()})  # type: ignore[attr-defined]
    assert "with an argument that only a worker can render): deferring from a worker" in "\n".join(log.lines)
