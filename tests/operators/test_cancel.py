"""Cancel an instance: how the task ends, and which arguments are refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, AirflowSkipException
from tries import finish

from airflow_provider_enos import errors
from airflow_provider_enos.operators.enos import (
    EnosCancelFlowInstanceOperator,
    EnosDisableFlowOperator,
    EnosEnableFlowOperator,
)
from airflow_provider_enos.simulator import EnosSimulator

FLOW = 5001

MakeTask = Callable[..., Any]


def test_a_running_instance_is_cancelled(cancel: MakeTask, sim: EnosSimulator, deferrable: bool) -> None:
    task = cancel(deferrable=deferrable)
    assert finish(task) == sim.instances[0].id
    assert sim.instances[0].status == "CANCEL"


def test_it_is_waited_until_it_really_is(cancel: MakeTask, sim: EnosSimulator, deferrable: bool) -> None:
    """EnOS accepts a cancel before it has carried it out."""
    sim.cancel_takes = 0.3
    finish(cancel(deferrable=deferrable))
    assert sim.instances[0].status == "CANCEL"
    assert sim.count("flowInstances/cancel") == 1


def test_without_waiting_it_is_enough_that_enos_accepts_it(cancel: MakeTask, sim: EnosSimulator) -> None:
    sim.cancel_takes = 60
    cancel(wait_for_completion=False).run()
    assert sim.instances[0].status == "RUNNING"
    assert sim.count("flowInstances/cancel") == 1


@pytest.mark.parametrize("status", ["SUCCESS", "FAIL", "SKIP", "TIMEOUT", "INTERNAL_ERROR"])
def test_one_that_has_ended_by_itself(cancel: MakeTask, sim: EnosSimulator, status: str) -> None:
    sim.add_flow(FLOW, tasks={1: "extract"}, progress="manual")
    ended = sim.trigger(FLOW).id
    sim.finish(ended, status)
    with pytest.raises(
        AirflowFailException, match=f"{ended} was not cancelled: it had ended by itself, with status {status}"
    ):
        cancel(ended).run()
    with pytest.raises(AirflowSkipException, match="was not cancelled"):
        cancel(ended, on_ended="skip").run()
    assert cancel(ended, on_ended="succeed").run() == ended
    assert sim.count("flowInstances/cancel") == 0


def test_one_that_ends_by_itself_before_the_cancel_takes_hold(
    cancel: MakeTask, sim: EnosSimulator, deferrable: bool
) -> None:
    sim.cancel_takes = 60
    task = cancel(deferrable=deferrable, progress=("polls", 3))
    with pytest.raises(AirflowFailException, match="ended by itself, with status SUCCESS"):
        finish(task)
    assert sim.count("flowInstances/cancel") == 1


def test_what_still_runs_after_a_failure_is_stopped(cancel: MakeTask, sim: EnosSimulator, deferrable: bool) -> None:
    """EnOS shows FAIL as soon as one node has failed, while others run on."""
    sim.add_flow(FLOW, tasks={1: "fails", 2: "runs_on"}, relations=[], progress="manual")
    failed = sim.trigger(FLOW).id
    sim.set_node_status(failed, 1, "FAIL")
    assert finish(cancel(failed, deferrable=deferrable)) == failed
    assert {node.name: node.status for node in sim.instances[0].nodes} == {"fails": "FAIL", "runs_on": "CANCEL"}


def test_a_retry_finds_it_cancelled(cancel: MakeTask, sim: EnosSimulator) -> None:
    task = cancel()
    task.run()
    assert task.retry() == sim.instances[0].id
    assert sim.count("flowInstances/cancel") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"on_ended": "ignore"}, r"on_ended: 'ignore'; expected one of \"fail\", \"skip\", \"succeed\""),
        ({"poll_interval": 0}, "poll_interval: 0; expected"),
        ({"timeout": "1h"}, "timeout: '1h'; expected"),
    ],
)
def test_arguments_that_cannot_work(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(errors.EnosConfigError, match=message):
        EnosCancelFlowInstanceOperator(task_id="task", flow_instance_id="1-20200706062600", **arguments)


def test_a_rendered_id_that_cannot_work(cancel: MakeTask, sim: EnosSimulator) -> None:
    with pytest.raises(AirflowFailException, match="flow_instance_id: 'None'; expected an instance id"):
        cancel("None").run()
    assert sim.requests == []


@pytest.mark.parametrize(
    ("operator_class", "fields"),
    [
        (EnosCancelFlowInstanceOperator, {"flow_instance_id", "enos_conn_id", "org_id", "user_id"}),
        (EnosEnableFlowOperator, {"flow_id", "flow_name", "enos_conn_id", "org_id", "user_id"}),
        (EnosDisableFlowOperator, {"flow_id", "flow_name", "enos_conn_id", "org_id", "user_id"}),
    ],
)
def test_templates(operator_class: type[Any], fields: set[str]) -> None:
    assert set(operator_class.template_fields) == fields
