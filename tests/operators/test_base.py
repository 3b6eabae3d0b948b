"""The arguments of operators: their defaults, and which values are refused."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import jinja2
import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_enos import errors
from airflow_provider_enos.operators.enos import (
    DEFAULT_TRIGGER_TIME,
    EnosTriggerFlowFromTaskOperator,
    EnosTriggerFlowOperator,
)
from airflow_provider_enos.simulator import EnosSimulator

MakeTask = Callable[..., Any]


@pytest.mark.parametrize(
    ("context", "expected"),
    [
        ({"data_interval_end": datetime(2024, 3, 3, tzinfo=UTC)}, "2024-03-03 00:00:00+00:00"),
        ({"data_interval_end": None, "run_after": datetime(2024, 3, 4, tzinfo=UTC)}, "2024-03-04 00:00:00+00:00"),
        ({"run_after": datetime(2024, 3, 4, tzinfo=UTC)}, "2024-03-04 00:00:00+00:00"),
    ],
    ids=["data interval", "no data interval", "no such name, as in a manual run of Airflow 3"],
)
@pytest.mark.parametrize("undefined", [jinja2.Undefined, jinja2.StrictUndefined])
def test_the_default_trigger_time(context: dict[str, Any], expected: str, undefined: type[jinja2.Undefined]) -> None:
    """The end of the data interval, else the time from which the run was allowed to start."""
    context = dict(context)
    run_after = context.pop("run_after", None)
    template = jinja2.Environment(undefined=undefined, autoescape=False).from_string(DEFAULT_TRIGGER_TIME)
    assert template.render(**context, dag_run={"run_after": run_after}) == expected


REFUSED_AT_ONCE = [
    ({"poll_interval": 0}, "poll_interval: 0"),
    ({"poll_interval": -1}, "poll_interval: -1"),
    ({"poll_interval": "30"}, "poll_interval: '30'"),
    ({"poll_interval": True}, "poll_interval: True"),
    ({"poll_interval": float("nan")}, "poll_interval: nan"),
    ({"timeout": timedelta(0)}, "timeout: datetime.timedelta"),
    ({"timeout": None}, "timeout: None"),
    ({"timeout": timedelta.max}, "timeout: datetime.timedelta"),
    ({"timeout": float("inf")}, "timeout: inf"),
    ({"poll_error_tolerance": -1}, "poll_error_tolerance: -1"),
    ({"on_conflict": "retry"}, "on_conflict: 'retry'"),
    ({"on_conflict": None}, "on_conflict: None"),
    ({"retry_from": "node"}, "retry_from: 'node'"),
    ({"retry_from": None}, "retry_from: None"),
    ({"task_logs": "some"}, "task_logs: 'some'"),
]


@pytest.mark.parametrize(("arguments", "message"), REFUSED_AT_ONCE, ids=lambda value: str(value)[:40])
def test_arguments_that_are_refused_when_the_dag_is_parsed(arguments: dict[str, Any], message: str) -> None:
    """With the field, the value, and what would do."""
    with pytest.raises(ValueError, match=f"^task task: {message}.*; expected ") as caught:
        EnosTriggerFlowFromTaskOperator(task_id="task", flow_id=1, from_task_id=1, **arguments)
    assert isinstance(caught.value, errors.EnosConfigError)


REFUSED_IDS = ["", "abc", "3377.0", 3377.0, 0, -3377, "-1", True, None, "None", [3377], 2**63, "1e3", "٣٣", "{{ x }}"]


REFUSED_TIMES = [
    (1594016819, "too small for epoch milliseconds: are these seconds"),
    ("1594016819", "too small for epoch milliseconds: are these seconds"),
    (1594016819.108, "a float is no trigger time"),
    (True, "a bool is no trigger time"),
    (None, "a NoneType is no trigger time"),
    ("", "it is empty"),
    ("  ", "it is empty"),
    ("None", "it is empty"),
    (datetime(2024, 3, 3), "it has no UTC offset"),
    ("2024-03-03T00:00:00", "it has no UTC offset"),
    ("2024-03-03", "it has no UTC offset"),
    ("yesterday", "it cannot be read"),
    ("2024-13-03T00:00:00Z", "it cannot be read"),
    ("2201-01-01T00:00:00Z", "outside the years 1970 to 2200"),
    ("1969-12-31T23:59:59Z", "outside the years 1970 to 2200"),
    (-1594016819108, "outside the years 1970 to 2200"),
    (1594016819108000, "outside the years 1970 to 2200"),
    ([1594016819108], "a list is no trigger time"),
]


REFUSED_AT_EXECUTION = [
    *(({"flow_id": value}, "flow_id: ") for value in REFUSED_IDS),
    *(({"from_task_id": value}, "from_task_id: ") for value in REFUSED_IDS),
    *(({"trigger_time": value}, f"trigger_time: .*{why}") for value, why in REFUSED_TIMES),
]


@pytest.mark.parametrize(("arguments", "message"), REFUSED_AT_EXECUTION, ids=lambda value: str(value)[:50])
def test_arguments_that_are_refused_before_anything_is_sent(
    task: MakeTask, sim: EnosSimulator, arguments: dict[str, Any], message: str
) -> None:
    """These are templates: what they render to is known when the task runs. Trying again would not help."""
    one = task()
    one.rendered = arguments
    with pytest.raises(AirflowFailException, match=f"^{message}.*; expected ") as caught:
        one.run()
    assert isinstance(caught.value.__cause__, errors.EnosConfigError)
    (value,) = arguments.values()
    assert repr(value)[:60].strip("' ") in str(caught.value)
    assert sim.requests == []


@pytest.mark.parametrize("name", ["org_id", "user_id"])
def test_a_tenant_of_a_template_that_found_nothing_is_refused(task: MakeTask, sim: EnosSimulator, name: str) -> None:
    """The id of the connection would be another tenant than the author meant."""
    with pytest.raises(AirflowFailException, match=f"^{name}: 'None'; expected "):
        task(**{name: "None"}).run()
    assert sim.requests == []


def test_a_flow_that_does_not_exist_fails_for_good(task: MakeTask) -> None:
    with pytest.raises(AirflowFailException, match="flow_id: EnOS has no flow 999"):
        task(flow_id=999).run()


def test_a_node_that_does_not_exist_fails_for_good_and_names_those_that_do(task: MakeTask) -> None:
    nodes = r"108579 \(ingest\), 108580 \(clean\), 108581 \(aggregate\), 108582 \(publish\)"
    with pytest.raises(AirflowFailException, match=f"from_task_id: flow 3377 has no task node 1; it has {nodes}"):
        task(from_task_id=1).run()


def test_wrong_credentials_fail_for_good(task: MakeTask, sim: EnosSimulator) -> None:
    one = task()
    sim.secret_key = "another"
    with pytest.raises(AirflowFailException, match="1003"):
        one.run()
    assert sim.count("token/get") == 1


def test_default_args_reach_all_arguments(sim: EnosSimulator) -> None:
    defaults = {"poll_interval": 5, "flow_id": 3377, "from_task_id": 108580, "parameters": {"a": "b"}, "org_id": "o1"}
    one = EnosTriggerFlowFromTaskOperator(task_id="one", default_args=defaults)
    whole = EnosTriggerFlowOperator(task_id="whole", default_args=defaults)
    assert (one.poll_interval, one.flow_id, one.from_task_id, one.org_id) == (5, 3377, 108580, "o1")
    assert (whole.poll_interval, whole.flow_id, whole.parameters) == (5, 3377, {"a": "b"})
