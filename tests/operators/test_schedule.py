"""Switch the schedule of a flow off and on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_enos import errors
from airflow_provider_enos.operators.enos import (
    EnosDisableFlowOperator,
    EnosEnableFlowOperator,
)
from airflow_provider_enos.simulator import EnosSimulator

FLOW = 5001

MakeTask = Callable[..., Any]


@pytest.fixture
def schedule(task: MakeTask) -> MakeTask:
    def make(operator_class: type[Any], flow_id: Any) -> Any:
        made = task()
        made.operator_class, made.arguments = operator_class, {"flow_id": flow_id, "retries": 0}
        return made

    return make


@pytest.mark.parametrize("flow_id", [4010, " 4010 "])
def test_a_schedule_is_switched_off_and_on(schedule: MakeTask, sim: EnosSimulator, flow_id: Any) -> None:
    from airflow_provider_enos.hooks.enos import EnosHook

    for operator_class, active in [
        (EnosDisableFlowOperator, False),
        (EnosDisableFlowOperator, False),
        (EnosEnableFlowOperator, True),
        (EnosEnableFlowOperator, True),
    ]:
        assert schedule(operator_class, flow_id).run() is None
        assert bool(EnosHook().get_flow(4010).active) is active


@pytest.mark.parametrize("operator_class", [EnosDisableFlowOperator, EnosEnableFlowOperator])
@pytest.mark.parametrize(
    ("flow_id", "error", "message"),
    [
        (4008, AirflowFailException, "62103"),
        (4007, AirflowFailException, "62103"),
        (9999, errors.EnosRequestError, "62102"),
        ("None", AirflowFailException, "flow_id: 'None'; expected a whole number"),
    ],
    ids=["of another user", "locked", "unknown", "not rendered"],
)
def test_a_schedule_that_cannot_be_switched(
    schedule: MakeTask, operator_class: type[Any], flow_id: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        schedule(operator_class, flow_id).run()
