from __future__ import annotations

import asyncio
import os
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import count
from typing import Any

import jinja2
import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, AirflowSkipException, TaskDeferred
from worker import StateStore

from airflow_provider_enos import errors
from airflow_provider_enos.client import sync
from airflow_provider_enos.links.enos import LINK_KEY
from airflow_provider_enos.operators.enos import (
    DEFAULT_TRIGGER_TIME,
    EnosTriggerFlowFromTaskOperator,
    EnosTriggerFlowOperator,
)
from airflow_provider_enos.simulator import EnosSimulator
from airflow_provider_enos.simulator.wire import Record, json_reply
from airflow_provider_enos.utils import trigger_record
from airflow_provider_enos.utils.trigger_events import InstanceEvent

INSTANCE = "3377-20200706062600"
NEXT_INSTANCE = "3377-20200706062700"
TRIGGER_TIME = 1594016819108
FLOW = 5001

MakeTask = Callable[..., Any]


# ---- the ordinary case ----------------------------------------------------------------------------------------------


def test_the_sample_of_the_documentation(task: MakeTask, sim: EnosSimulator) -> None:
    """Flow 3377 from node 108580 at 1594016819108 gives, and returns, the documented instance."""
    assert task().run() == INSTANCE
    (instance,) = sim.instances
    assert (instance.id, instance.from_task_id, instance.trigger_time) == (INSTANCE, 108580, TRIGGER_TIME)
    assert instance.status == "SUCCESS"


def test_an_ordinary_run_needs_no_extra_request(task: MakeTask, sim: EnosSimulator) -> None:
    task().run()
    operations = [request.operation for request in sim.requests if request.operation != "token/get"]
    assert operations == ["flows/triggerFromTask", "flowInstances/get", "flowInstances/get", "flowInstances/get"]


def test_the_id_is_in_xcom_before_the_wait_begins(task: MakeTask, sim: EnosSimulator) -> None:
    looks: dict[str, int] = {}
    one = task()
    one.ti.on_push = lambda key: looks.setdefault(key, sim.count("flowInstances/get"))
    one.run()
    assert looks == {LINK_KEY: 0, "flow_instance_id": 0, "return_value": 0}
    assert one.ti.xcom == {LINK_KEY: "", "flow_instance_id": INSTANCE, "return_value": INSTANCE}


def test_without_waiting_the_task_ends_once_the_flow_is_started(task: MakeTask, sim: EnosSimulator) -> None:
    assert task(wait_for_completion=False).run() == INSTANCE
    assert sim.count("flowInstances/get") == 0


def test_rendered_templates_are_text_and_do_as_well(task: MakeTask) -> None:
    assert (
        task(flow_id="3377", from_task_id=" 108580 ", trigger_time="2020-07-06 06:26:59.108000+00:00").run() == INSTANCE
    )


def test_org_and_user_of_the_operator_override_those_of_the_connection(task: MakeTask, sim: EnosSimulator) -> None:
    with pytest.raises(AirflowFailException, match=r"62101 .*org_id and user_id do not belong together"):
        task(org_id="o-of-others").run()
    assert sim.requests[-1].query["orgId"] == "o-of-others"
    assert task(org_id=sim.org_id, user_id=sim.user_id).run() == INSTANCE


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


# ---- how an instance ends -------------------------------------------------------------------------------------------


def test_a_failed_instance_fails_the_task_and_says_where_and_why(task: MakeTask) -> None:
    with pytest.raises(errors.EnosFlowFailedError) as caught:
        task(flow_id=4001, from_task_id=40011).run()
    error = caught.value
    assert error.flow_instance_id == "4001-20200706062600"
    assert error.status == "FAIL"
    assert error.failed_tasks == ("load (40012-20200706062600)",)
    assert "flow 4001 'fails_at_load': instance 4001-20200706062600 ended with status FAIL" in str(error)
    assert "node load (40012-20200706062600) FAIL: ColumnMissing: dw.meter_readings has no column" in str(error)
    assert "still running: tidy_up" in str(error)


@pytest.mark.parametrize(
    ("flow_id", "node", "error", "status"),
    [
        (4002, 40021, errors.EnosFlowCancelledError, "CANCEL"),
        (4004, 40041, errors.EnosFlowFailedError, "TIMEOUT"),
        (4005, 40051, errors.EnosFlowFailedError, "INTERNAL_ERROR"),
    ],
)
def test_other_bad_ends(task: MakeTask, flow_id: int, node: int, error: type[Exception], status: str) -> None:
    with pytest.raises(error, match=rf"instance {flow_id}-20200706062600 ended with status {status}"):
        task(flow_id=flow_id, from_task_id=node).run()


def test_a_skipped_instance_skips_the_task(task: MakeTask) -> None:
    with pytest.raises(AirflowSkipException, match="4003-20200706062600 was skipped in EnOS"):
        task(flow_id=4003, from_task_id=40031).run()


def test_the_link_is_in_the_message(task: MakeTask, sim: EnosSimulator, monkeypatch: pytest.MonkeyPatch) -> None:
    uri = sim.connection_uri + "&console_url=https%3A%2F%2Fconsole%2Fi%3Fid%3D%7Bflow_instance_id%7D"
    monkeypatch.setenv("AIRFLOW_CONN_ENOS_DEFAULT", uri)
    with pytest.raises(errors.EnosFlowCancelledError, match=r"https://console/i\?id=4002-20200706062600"):
        task(flow_id=4002, from_task_id=40021).run()


@pytest.mark.parametrize(("cancel", "cancels"), [(True, 1), (False, 0)])
def test_what_does_not_end_in_time(task: MakeTask, sim: EnosSimulator, cancel: bool, cancels: int) -> None:
    sim.progress = "manual"
    with pytest.raises(errors.EnosFlowTimeoutError, match=f"{INSTANCE} had not ended in the time given") as caught:
        task(timeout=0.1, cancel_on_timeout=cancel).run()
    assert sim.count("flowInstances/cancel") == cancels
    assert ("it was asked to be cancelled" in str(caught.value)) is cancel
    assert (sim.instances[0].status == "CANCEL") is cancel


def test_a_task_that_pushes_no_xcom_pushes_none(task: MakeTask) -> None:
    one = task(do_xcom_push=False)
    assert one.run() == INSTANCE
    assert one.ti.xcom == {LINK_KEY: ""}, "nothing but the link, which Airflow itself stores there"


# ---- what is logged -------------------------------------------------------------------------------------------------


def test_each_change_is_one_line_and_a_poll_is_none(task: MakeTask, sim: EnosSimulator) -> None:
    sim.progress = ("polls", 40)
    one = task()
    one.run()
    assert sim.count("flowInstances/get") > 40
    node = "({}-20200706062600)"
    assert [line for line in one.log.lines if "cannot be called outside" not in line] == [
        f"Started flow instance {INSTANCE}",
        f"Flow instance {INSTANCE} of flow 3377 'meter_readings_daily': READY",
        f"Flow instance {INSTANCE}: READY -> RUNNING",
        f"Node clean {node.format(108580)}: INIT -> RUNNING",
        f"Node clean {node.format(108580)}: RUNNING -> SUCCESS",
        f"Node aggregate {node.format(108581)}: INIT -> RUNNING",
        f"Node aggregate {node.format(108581)}: RUNNING -> SUCCESS",
        f"Node publish {node.format(108582)}: INIT -> RUNNING",
        f"Flow instance {INSTANCE}: RUNNING -> SUCCESS",
        f"Node publish {node.format(108582)}: RUNNING -> SUCCESS",
    ]


@pytest.mark.parametrize(
    ("task_logs", "nodes"),
    [("failed", ["load"]), ("all", ["extract", "load", "archive", "tidy_up"]), ("none", [])],
)
def test_whose_logs_are_copied(task: MakeTask, sim: EnosSimulator, task_logs: str, nodes: list[str]) -> None:
    """That of a node which never began, as the one after the failed one, is not even asked for."""
    one = task(flow_id=4001, from_task_id=40011, task_logs=task_logs)
    with pytest.raises(errors.EnosFlowFailedError):
        one.run()
    shown = [line.split()[-2] for line in one.log.lines if re.match("::group::.* of node", line)]
    assert sorted(shown) == sorted(nodes)
    if task_logs != "all":
        assert sim.count("taskInstances/getLog") == len(nodes)
    assert ("ColumnMissing: dw.meter_readings has no column 'reactive_power'" in one.log.lines) is ("load" in nodes)


# ---- arguments that cannot work -------------------------------------------------------------------------------------

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
    """The connection's own would be another tenant than the one that was meant."""
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


# ---- when EnOS is out of reach --------------------------------------------------------------------------------------


def test_poll_errors_are_waited_through(task: MakeTask, sim: EnosSimulator) -> None:
    sim.fault("http_503", on="flowInstances/get", times=5)
    one = task()
    assert one.run() == INSTANCE
    assert sum("Cannot ask EnOS" in line for line in one.log.lines) == 1
    assert sum("EnOS answers again" in line for line in one.log.lines) == 1


@pytest.mark.parametrize(
    "fault", ["http_404", "http_413", "data_null", "data_empty_list", "unknown to EnOS", "html_200", "graph_not_json"]
)
def test_an_instance_that_seems_to_be_gone_is_waited_for(task: MakeTask, sim: EnosSimulator, fault: str) -> None:
    """It was started, so that it is there: also where the very first look does not find it."""
    one = task()
    if fault == "unknown to EnOS":
        refuse(sim, "flowInstances/get", 62102, times=5)
    else:
        sim.fault(fault, on="flowInstances/get", times=5)
    assert one.run() == INSTANCE
    assert sum("Cannot ask EnOS" in line for line in one.log.lines) == 1
    assert sum("EnOS answers again" in line for line in one.log.lines) == 1


def test_an_instance_that_stays_gone_is_lost(task: MakeTask, sim: EnosSimulator) -> None:
    sim.fault("data_null", on="flowInstances/get", times=None)
    with pytest.raises(errors.EnosPollLostError, match=f"{INSTANCE}: EnOS could not be asked for .*it is not there"):
        task(poll_error_tolerance=0.05).run()


def test_poll_errors_are_waited_through_for_no_longer_than_is_tolerated(task: MakeTask, sim: EnosSimulator) -> None:
    sim.fault("http_503", on="flowInstances/get", times=None)
    with pytest.raises(errors.EnosPollLostError, match=f"{INSTANCE}: EnOS could not be asked for .*left running"):
        task(poll_error_tolerance=0).run()
    assert sim.count("flowInstances/cancel") == 0


# ---- retry and clear ------------------------------------------------------------------------------------------------


def test_a_try_that_the_next_one_has_overtaken_starts_nothing(
    task: MakeTask, sim: EnosSimulator, state_store: StateStore
) -> None:
    """Its request is under way while Airflow gives it up and runs the next try, whose instance is the one."""
    slow, *others = task(state_store), task(state_store)

    def overtake(event: str, record: Record) -> None:
        if event == "received" and record.operation == "flows/triggerFromTask" and others:
            assert others.pop().retry() == INSTANCE

    sim.on_event(overtake)
    with pytest.raises(errors.EnosTriggerConflictError, match="another try of this task has begun since"):
        slow.run()
    assert [instance.id for instance in sim.instances] == [INSTANCE]


def test_a_retry_takes_over_what_the_try_before_it_started(task: MakeTask, sim: EnosSimulator, store: Any) -> None:
    one = task(store, poll_error_tolerance=0)
    sim.fault("internal_error", on="flowInstances/get", times=4)
    with pytest.raises(errors.EnosPollLostError):
        one.run()
    assert one.retry() == INSTANCE
    assert one.ti.xcom["return_value"] == INSTANCE
    assert sim.count("flows/triggerFromTask") == 1


def test_a_retry_after_a_bad_end_starts_another_for_the_next_minute(
    task: MakeTask, sim: EnosSimulator, store: Any
) -> None:
    sim.progress = "manual"
    one = task(store)
    finishing = threading.Thread(target=lambda: finish_when_running(sim, "FAIL"))
    finishing.start()
    with pytest.raises(errors.EnosFlowFailedError):
        one.run()
    finishing.join()
    sim.progress = "at_once"
    assert one.retry() == NEXT_INSTANCE
    assert [instance.status for instance in sim.instances] == ["FAIL", "SUCCESS"]


def test_a_clear_starts_another_and_its_retries_take_that_one_over(
    task: MakeTask, sim: EnosSimulator, store: Any
) -> None:
    one = task(store)
    assert one.run() == INSTANCE
    assert one.clear() == NEXT_INSTANCE
    assert one.retry() == NEXT_INSTANCE
    assert len(sim.instances) == 2


def lose_it(task: Any, sim: EnosSimulator) -> None:
    """One try that starts or takes over its instance and then loses sight of it."""
    sim.fault("internal_error", on="flowInstances/get", times=4)
    with pytest.raises(errors.EnosPollLostError):
        task.run()


def completed(task: Any, run: Callable[[], str]) -> str:
    """What ``run`` gives; where the task is deferred, what it gives when it is resumed, as often as it takes."""
    while True:
        try:
            return run()
        except TaskDeferred as deferral:
            event = asyncio.run(anext(deferral.trigger.run()))
            run = partial(task.resume, deferral.method_name, event.payload, deferral.kwargs or {})


def started(sim: EnosSimulator) -> list[str]:
    return [instance.id for instance in sim.instances]


@pytest.mark.parametrize(("code", "http"), [(99500, 200), (62100, 503)])
def test_a_code_that_is_not_known_with_a_fault_of_the_gateway_leaves_it_open(
    task: MakeTask, sim: EnosSimulator, state_store: Any, code: int, http: int
) -> None:
    """The flow was started, and an error of the service or of what stands before it was the answer."""
    answer = sim._answer

    def failing(request: Any, *more: Any) -> Any:
        reply = answer(request, *more)
        if request.operation != "flows/triggerFromTask":
            return reply
        return json_reply({"code": code, "msg": "said so", "data": None}, code=code, status=http)

    sim._answer = failing  # type: ignore[method-assign]
    assert task(state_store).run() == INSTANCE
    assert started(sim) == [INSTANCE]


def test_a_clear_is_one_although_retries_were_lowered_by_the_tries_before_it(
    task: MakeTask, sim: EnosSimulator, state_store: Any
) -> None:
    """Airflow counts up to the same number as before; only the run says how often it was cleared."""
    one = task(state_store, retries=3)
    assert one.run() == INSTANCE
    one.arguments["retries"] = 2
    assert one.clear() == NEXT_INSTANCE
    assert one.ti.max_tries == 3


@pytest.mark.parametrize("tries", [1, 2, 3, 4, 5])
def test_a_lowered_number_of_retries_is_no_clear(
    task: MakeTask, sim: EnosSimulator, state_store: Any, tries: int
) -> None:
    """The DAG is edited between two tries: ``max_tries`` stays what it was, and the record says so."""
    one = task(state_store, retries=5, poll_error_tolerance=0)
    lose_it(one, sim)
    one.ti.try_number = tries
    one.arguments["retries"] = 2
    assert one.retry() == INSTANCE
    assert started(sim) == [INSTANCE]
    assert sim.count("flows/triggerFromTask") == 1
    assert [(seen["max_tries"], seen["first_index"]) for seen in state_store.history] == [(5, 0)] * 3


def test_a_lowered_number_of_retries_is_no_clear_without_a_store_either(task: MakeTask, sim: EnosSimulator) -> None:
    """Three tries cannot have been cleared away when there was one."""
    one = task(None, retries=5, poll_error_tolerance=0)
    lose_it(one, sim)
    one.arguments["retries"] = 2
    assert one.ti.max_tries == 5
    assert one.retry() == INSTANCE
    assert sim.count("flows/triggerFromTask") == 1


def test_a_raised_number_of_retries_does_not_lead_back_before_the_clear(
    task: MakeTask, sim: EnosSimulator, state_store: Any
) -> None:
    one = task(state_store, retries=2, poll_error_tolerance=0)
    assert one.run() == INSTANCE
    assert one.clear() == NEXT_INSTANCE
    assert one.ti.max_tries == 3
    one.arguments["retries"] = 5
    assert one.retry() == NEXT_INSTANCE
    assert started(sim) == [INSTANCE, NEXT_INSTANCE]
    assert (state_store.history[-1]["max_tries"], state_store.history[-1]["first_index"]) == (3, 1)
    # A bad end: the next minute of this round, and not one of an earlier round.
    sim.finish(NEXT_INSTANCE, "FAIL")
    assert one.retry() == "3377-20200706062800"
    assert (state_store.history[-1]["max_tries"], state_store.history[-1]["first_index"]) == (3, 1)


def test_a_raised_number_of_retries_starts_nothing_twice(task: MakeTask, sim: EnosSimulator, store: Any) -> None:
    one = task(store, retries=2, poll_error_tolerance=0)
    lose_it(one, sim)
    one.arguments["retries"] = 5
    assert one.retry() == INSTANCE
    assert sim.count("flows/triggerFromTask") == 1


@pytest.mark.parametrize("retries", [0, 1, 3, 5])
def test_a_clear_after_an_edit_begins_a_new_round(
    task: MakeTask, sim: EnosSimulator, state_store: Any, retries: int
) -> None:
    """The record of the one before it is not taken for its own."""
    one = task(state_store, retries=3)
    assert one.run() == INSTANCE
    one.arguments["retries"] = retries
    assert one.clear() == NEXT_INSTANCE
    assert one.retry() == NEXT_INSTANCE
    assert started(sim) == [INSTANCE, NEXT_INSTANCE]
    assert state_store.values["enos_trigger"]["max_tries"] == 1 + retries
    assert state_store.values["enos_trigger"]["first_index"] == 1


def test_the_same_try_executed_twice_takes_over_its_own(task: MakeTask, sim: EnosSimulator, state_store: Any) -> None:
    """A worker that was lost, and the scheduler did not count the try."""
    one = task(state_store, on_conflict="fail")
    assert one.run() == INSTANCE
    assert one.ti.try_number == 1
    assert one.run() == INSTANCE
    assert sim.count("flows/triggerFromTask") == 1


def test_the_same_try_executed_twice_with_a_request_lost_between(
    task: MakeTask, sim: EnosSimulator, state_store: Any
) -> None:
    """The first got as far as its record, and its request arrives before the second's."""
    one = task(state_store, on_conflict="fail")
    sim.fault("http_403", on="flows/triggerFromTask")
    with pytest.raises(AirflowFailException, match="403"):
        one.run()
    state_store.set("enos_trigger", state_store.history[0])
    sim.trigger(3377, 108580, TRIGGER_TIME)
    assert one.run() == INSTANCE
    assert started(sim) == [INSTANCE]


def test_a_try_after_one_that_was_refused_takes_over_nothing(
    task: MakeTask, sim: EnosSimulator, state_store: Any
) -> None:
    """What has the minute by then is another task's."""
    one = task(state_store, poll_error_tolerance=0.05)
    sim.fault("http_429", on="flows/triggerFromTask", times=None)
    with pytest.raises(errors.EnosRateLimitError):
        one.run()
    sim.clear_faults()
    assert task(state_store.__class__()).run() == INSTANCE
    assert one.retry() == NEXT_INSTANCE


def test_a_clear_starts_another_though_a_conflict_had_led_further(
    task: MakeTask, sim: EnosSimulator, state_store: Any
) -> None:
    """The task had the second minute: its next round begins with the third, whatever is lost."""
    sim.trigger(3377, 108580, TRIGGER_TIME)
    one = task(state_store)
    assert one.run() == NEXT_INSTANCE
    sim.fault("lost_reply", on="flows/triggerFromTask")
    assert one.clear() == "3377-20200706062800"


def test_a_try_counted_from_0_is_a_fresh_one(task: MakeTask, sim: EnosSimulator, store: Any) -> None:
    """As `airflow tasks test` of Airflow 2 counts: somebody else's instance is not taken for its own."""
    sim.trigger(3377, 108580, TRIGGER_TIME)
    one = task(store)
    one.ti.try_number = 0
    assert one.run() == NEXT_INSTANCE
    operations = [request.operation for request in sim.requests if request.operation != "token/get"]
    assert operations[0] == "flows/triggerFromTask"


@pytest.mark.parametrize("code", [99403, -7])
def test_a_refusal_that_is_not_documented_is_raised_as_it_is(task: MakeTask, sim: EnosSimulator, code: int) -> None:
    """Nothing was started, so nothing is looked for."""
    one = task()
    refuse(sim, "flows/triggerFromTask", code)
    with pytest.raises(errors.EnosApiError, match=f"Trigger Flow From Task: {code} said so") as caught:
        one.run()
    assert type(caught.value) is errors.EnosApiError
    assert sim.instances == []
    assert sim.count("flows/triggerFromTask") == 1
    assert sim.count("flowInstances/get") == sim.count("flowInstances/search") == 0


def test_an_internal_error_at_the_trigger_is_looked_into(task: MakeTask, sim: EnosSimulator) -> None:
    sim.fault("internal_error", on="flows/triggerFromTask", processed=True)
    assert task().run() == INSTANCE
    assert started(sim) == [INSTANCE]


@pytest.mark.parametrize("fault", ["http_404", "http_413", "http_500", "internal_error", "graph_not_json", "html_200"])
def test_a_flow_that_cannot_be_looked_at_is_not_said_to_be_missing(
    task: MakeTask, sim: EnosSimulator, fault: str
) -> None:
    """The minute is taken; that the flow could not be asked for besides does not make the task fail for good."""
    sim.trigger(3377, 108580, TRIGGER_TIME)
    sim.fault(fault, on="flows/get", times=None)
    one = task()
    assert one.run() == NEXT_INSTANCE
    assert sum(line.startswith("Cannot check flow 3377, taking it that it exists: ") for line in one.log.lines) == 1


@pytest.mark.parametrize("fault", ["data_null", "data_empty_list"])
def test_an_empty_answer_for_the_flow_says_that_it_is_missing(task: MakeTask, sim: EnosSimulator, fault: str) -> None:
    sim.trigger(3377, 108580, TRIGGER_TIME)
    sim.fault(fault, on="flows/get")
    with pytest.raises(AirflowFailException, match="flow_id: EnOS has no flow 3377 "):
        task().run()


def test_a_lost_reply_is_looked_up_and_not_sent_again(task: MakeTask, sim: EnosSimulator, store: Any) -> None:
    sim.fault("lost_reply", on="flows/triggerFromTask")
    assert task(store).run() == INSTANCE
    assert sim.count("flows/triggerFromTask") == 1


def test_the_intent_is_recorded_before_the_request_and_the_id_after_it(
    task: MakeTask, sim: EnosSimulator, state_store: Any
) -> None:
    recorded_at_request: list[Any] = []
    sim.on_event(
        lambda event, record: (
            recorded_at_request.extend(state_store.history)
            if (event, record.operation) == ("received", "flows/triggerFromTask")
            else None
        )
    )
    task(state_store).run()
    first_sent = state_store.history[0]["first_sent"]
    assert abs(first_sent - time.time() * 1000) < 60_000
    intent = {
        "max_tries": 2,
        "first_index": 0,
        "trigger_time": TRIGGER_TIME,
        "sent_time": TRIGGER_TIME,
        "flow_instance_id": None,
        "index": 0,
        "refused": False,
        "try_number": 1,
        "clears": 0,
        "flow_id": 3377,
        "first_sent": first_sent,
        "origin": f"http://127.0.0.1:{sim.port} {sim.org_id}",
        "named": False,
    }
    assert recorded_at_request == [intent]
    assert state_store.history == [intent, {**intent, "flow_instance_id": INSTANCE, "named": True}]


def test_now_is_the_same_moment_at_every_try(task: MakeTask, sim: EnosSimulator, state_store: Any) -> None:
    one = task(state_store, trigger_time="now", poll_error_tolerance=0)
    sim.fault("internal_error", on="flowInstances/get", times=4)
    with pytest.raises(errors.EnosPollLostError):
        one.run()
    state_store.values["enos_trigger"]["trigger_time"] -= 3_600_000
    state_store.values["enos_trigger"]["sent_time"] -= 3_600_000
    one.retry()
    assert sim.count("flows/triggerFromTask") == 1


class Gone:
    """The state store of a try that Airflow has given up: nothing is found there, and nothing kept."""

    def __init__(self, store: Any) -> None:
        self.get = store.get

    def set(self, key: str, value: Any) -> None:
        raise RuntimeError("404: no such task instance")


def test_a_failing_state_store_is_a_warning(task: MakeTask, broken_store: Any) -> None:
    one = task(broken_store)
    assert one.run() == INSTANCE
    assert sum("task state store fails" in line for line in one.log.lines) == 1


@pytest.mark.parametrize("trigger_time", [TRIGGER_TIME, "now"])
@pytest.mark.parametrize("again", ["retry", "clear"])
def test_a_record_that_cannot_be_read_is_not_guessed(
    task: MakeTask, sim: EnosSimulator, state_store: Any, again: str, trigger_time: Any
) -> None:
    """Nothing is sent, nothing is written over it, and the try after that knows everything again."""
    sim.trigger(3377, 108580, TRIGGER_TIME)
    sim.finish(INSTANCE, "SUCCESS")
    one = task(state_store, trigger_time=trigger_time)
    own = one.run()
    assert own != INSTANCE
    before, instances = dict(state_store.values), len(sim.instances)
    state_store.broken = True
    with pytest.raises(errors.EnosTriggerError, match=r"nothing is started: .* cannot be read") as caught:
        getattr(one, again)()
    assert not caught.value.sent
    assert not caught.value.final
    assert (state_store.values, len(sim.instances)) == (before, instances)
    state_store.broken = False
    assert (one.retry() == own) is (again == "retry")


def test_nothing_is_started_that_could_not_be_put_on_record(
    task: MakeTask, sim: EnosSimulator, state_store: Any
) -> None:
    """So it is, too, for a worker that Airflow has given up and that goes on: the store knows its try no more."""
    one = task(state_store)
    one.store = Gone(state_store)
    with pytest.raises(errors.EnosTriggerError, match="nothing is started: what would be asked for") as caught:
        one.run()
    assert not caught.value.sent
    assert sim.count("flows/triggerFromTask") == 0
    one.store = state_store
    assert one.retry() == INSTANCE


@pytest.mark.parametrize("cleared", [True, False])
def test_a_worker_that_was_frozen_before_its_request_asks_whether_it_is_still_wanted(
    task: MakeTask, sim: EnosSimulator, state_store: Any, monkeypatch: pytest.MonkeyPatch, cleared: bool
) -> None:
    """It has written down what it will ask for; what Airflow has done meanwhile only the record tells."""
    one = task(state_store)
    keep = state_store.set

    def freeze(key: str, value: Any) -> None:
        keep(key, value)
        if value["flow_instance_id"] is None:
            looks = count()
            monkeypatch.setattr(trigger_record, "time", lambda: time.time() + 60 * (next(looks) > 0))
            if cleared:
                state_store.values[key] = {**value, "max_tries": 3}

    monkeypatch.setattr(state_store, "set", freeze)
    if cleared:
        with pytest.raises(errors.EnosTriggerError, match="another try of this task has begun"):
            one.run()
    else:
        assert one.run() == INSTANCE
    assert len(sim.instances) == int(not cleared)


def test_a_worker_that_can_read_its_record_no_more_takes_no_other_minute(
    task: MakeTask, sim: EnosSimulator, state_store: Any
) -> None:
    """It was frozen between its record and its request for longer than its credentials for Airflow last."""
    sim.trigger(3377, 108580, TRIGGER_TIME)
    sim.on_event(lambda event, record: setattr(state_store, "broken", "triggerFromTask" in record.operation))
    with pytest.raises(errors.EnosTriggerError, match="another try"):
        task(state_store).run()
    assert started(sim) == [INSTANCE]


@pytest.mark.parametrize(
    ("on_conflict", "expected"), [("next_minute", NEXT_INSTANCE), ("attach", INSTANCE), ("fail", None)]
)
def test_when_somebody_else_has_the_minute(
    task: MakeTask, sim: EnosSimulator, on_conflict: str, expected: str | None
) -> None:
    sim.trigger(3377, 108580, TRIGGER_TIME)
    if expected:
        assert task(on_conflict=on_conflict).run() == expected
    else:
        with pytest.raises(errors.EnosTriggerConflictError, match=f"has an instance for this minute.*{INSTANCE}"):
            task(on_conflict=on_conflict).run()


# ---- kill -----------------------------------------------------------------------------------------------------------


@contextmanager
def killable(task: Any) -> Iterator[list[float]]:
    """The handler for SIGTERM that Airflow sets; gives how long each kill took."""
    took: list[float] = []

    def on_term(*_: object) -> None:
        begun = time.monotonic()
        task.operator.on_kill()
        took.append(time.monotonic() - begun)

    before = signal.signal(signal.SIGTERM, on_term)
    try:
        yield took
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def killed_at(sim: EnosSimulator, task: Any, moment: Callable[[str, Any], bool]) -> Iterator[list[float]]:
    """SIGTERM when the simulator comes to a moment: of those after a reply, only where the task goes on and on."""
    killed, one_by_one = threading.Event(), threading.Lock()

    def on_event(event: str, record: Any) -> None:
        if killed.is_set():
            return
        with one_by_one:
            if not killed.is_set() and moment(event, record):
                killed.set()
                os.kill(os.getpid(), signal.SIGTERM)

    sim.on_event(on_event)
    with killable(task) as took:
        try:
            yield took
        finally:
            with one_by_one:  # whoever comes later would end the process of the tests
                killed.set()


def at(event: str, operation: str) -> Callable[[str, Any], bool]:
    return lambda seen, record: (seen, record.operation) == (event, operation)


def test_a_kill_while_waiting_cancels_the_instance(task: MakeTask, sim: EnosSimulator) -> None:
    sim.progress = "manual"
    one = task()
    with killed_at(sim, one, at("replied", "flowInstances/get")) as took, pytest.raises(errors.EnosFlowCancelledError):
        one.run()
    assert sim.instances[0].status == "CANCEL"
    assert took[0] < 3


def test_a_kill_while_a_poll_is_under_way_cancels_the_instance(task: MakeTask, sim: EnosSimulator) -> None:
    """The signal interrupts the main thread inside a request: nothing that it holds is needed for the cancel."""
    sim.progress = "manual"
    sim.fault("slow", on="flowInstances/get", seconds=0.5)
    one = task()
    with killed_at(sim, one, at("received", "flowInstances/get")) as took, pytest.raises(errors.EnosFlowCancelledError):
        one.run()
    assert sim.instances[0].status == "CANCEL"
    assert took[0] < 3


def test_a_kill_while_the_token_is_renewed_cancels_the_instance(task: MakeTask, sim: EnosSimulator) -> None:
    sim.progress = "manual"
    one = task()
    looks = 0

    def in_renewal(event: str, record: Any) -> bool:
        nonlocal looks
        looks += (event, record.operation) == ("replied", "flowInstances/get")
        if looks == 1 and event == "replied":
            sim.expire_tokens()
            sim.fault("slow", on="token/get", seconds=0.5)
        return looks >= 1 and (event, record.operation) == ("received", "token/get")

    with killed_at(sim, one, in_renewal) as took, pytest.raises(errors.EnosFlowCancelledError):
        one.run()
    assert sim.instances[0].status == "CANCEL"
    assert took[0] < 3


def test_a_kill_before_the_reply_cancels_once_the_id_is_known(task: MakeTask, sim: EnosSimulator) -> None:
    sim.fault("slow", on="flows/triggerFromTask", seconds=0.3)
    one = task()
    with (
        killed_at(sim, one, at("accepted", "flows/triggerFromTask")),
        pytest.raises(errors.EnosFlowCancelledError, match="killed while it was started"),
    ):
        one.run()
    assert sim.instances[0].status == "CANCEL"


def test_a_kill_with_a_gateway_that_hangs_is_over_in_time(task: MakeTask, sim: EnosSimulator) -> None:
    """Airflow kills the process after 5 seconds: one request, and no repetition."""
    sim.progress = "manual"
    sim.fault("slow_before", on="flowInstances/cancel", seconds=8, times=1)
    one = task(timeout=0.5, cancel_on_timeout=False)
    with killed_at(sim, one, at("received", "flowInstances/get")) as took, pytest.raises(errors.EnosFlowTimeoutError):
        one.run()
    assert took[0] < 4
    assert sim.count("flowInstances/cancel") == 1


def test_a_killed_task_does_not_sleep_on(task: MakeTask, sim: EnosSimulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """Airflow would wait for 5 seconds, and then kill it the hard way."""
    monkeypatch.setattr(sync, "default_sleep", time.sleep)
    sim.cancel_takes = 60
    sim.progress = "manual"
    one = task(poll_interval=30)
    begun = time.monotonic()
    with (
        killed_at(sim, one, at("replied", "flowInstances/get")),
        pytest.raises(errors.EnosFlowCancelledError, match="the task was killed while it waited"),
    ):
        one.run()
    assert time.monotonic() - begun < 15
    assert sim.instances[0].cancelled


@pytest.mark.parametrize("deferrable", [False, True])
def test_what_an_earlier_try_had_cancelled_is_not_the_end_of_this_one(
    task: MakeTask, sim: EnosSimulator, store: Any, deferrable: bool
) -> None:
    """As when a user clears a running task: what the next try finds runs, and EnOS carries the cancel out only then."""
    sim.add_flow(FLOW, tasks=[1], progress="manual")
    sim.cancel_takes = 60
    one = task(store, flow_id=FLOW, from_task_id=1, timeout=0.2, deferrable=deferrable)
    with pytest.raises(errors.EnosFlowTimeoutError, match="it was asked to be cancelled"):
        completed(one, one.run)
    assert (sim.instances[0].status, sim.instances[0].cancelled) == ("RUNNING", True)
    sim.add_flow(FLOW, tasks=[1], progress="at_once")

    def carry_out(event: str, record: Any) -> None:
        if (event, record.operation) == ("replied", "flowInstances/get") and sim.instances[0].status == "RUNNING":
            sim.finish(sim.instances[0].id, "CANCEL")

    sim.on_event(carry_out)
    one.arguments["timeout"] = 60
    assert completed(one, one.retry) == f"{FLOW}-20200706062700"
    assert [instance.status for instance in sim.instances] == ["CANCEL", "SUCCESS"]
    assert f"{FLOW}-20200706062600 has been cancelled since it was taken over" in one.log.lines
    assert one.ti.xcom["return_value"] == f"{FLOW}-20200706062700"


@pytest.mark.parametrize("deferrable", [False, True])
def test_an_instance_of_its_own_that_is_cancelled_is_the_end(
    task: MakeTask, sim: EnosSimulator, store: Any, deferrable: bool
) -> None:
    sim.fault("internal_error", on="flows/triggerFromTask")
    one = task(store, flow_id=4002, from_task_id=40021, deferrable=deferrable)
    with pytest.raises(errors.EnosError):
        one.run()
    with pytest.raises(errors.EnosFlowCancelledError, match="4002-20200706062600 ended with status CANCEL"):
        completed(one, one.retry)
    assert started(sim) == ["4002-20200706062600"]


@pytest.mark.parametrize("fault", ["unknown_status", "http_502"])
def test_an_instance_that_turns_out_not_to_have_ended_is_waited_for(
    task: MakeTask, sim: EnosSimulator, fault: str
) -> None:
    """The trigger has seen its end; meanwhile it was run again in EnOS, or one of EnOS's servers lags behind."""
    one = task()
    one.run()
    sim.fault(fault, on="flowInstances/get", times=3)
    event = {"flow_instance_id": INSTANCE, "status": "ended", "error": None}
    assert one.resume("execute_complete", event, {}) == INSTANCE


def test_an_instance_that_ended_in_time_is_not_late_since_its_worker_is(task: MakeTask, sim: EnosSimulator) -> None:
    """The pool was full until after the deadline, and then EnOS does not answer at once."""
    one = task()
    one.run()
    sim.fault("http_502", on="flowInstances/get", times=6)
    event = {"flow_instance_id": INSTANCE, "status": "ended", "error": None}
    assert one.resume("execute_complete", event, {"deadline": time.time() - 60}) == INSTANCE
    assert sim.count("flowInstances/cancel") == 0


def test_a_kill_at_the_start_of_a_resumed_task_cancels_the_instance(
    task: MakeTask, sim: EnosSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The id is not read from the event yet, or what a first request needs is just being imported."""
    sim.progress = "manual"
    one = task(cancel_on_timeout=False)
    opened = sync.SyncClient.open

    def killed(client: Any) -> None:
        one.operator.on_kill()
        opened(client)

    sim.trigger(3377, 108580, TRIGGER_TIME)
    monkeypatch.setattr(sync.SyncClient, "open", killed)
    late = errors.EnosFlowTimeoutError("it is late", flow_instance_id=INSTANCE, status="RUNNING")
    event = {"flow_instance_id": INSTANCE, "status": "error", "error": errors.to_json(late)}
    with pytest.raises(errors.EnosFlowCancelledError):
        one.resume("execute_complete", event, {"deadline": time.time()})
    assert sim.instances[0].cancelled


LATE = errors.EnosFlowTimeoutError("it is late", flow_instance_id=INSTANCE, status="RUNNING")
LOST = errors.EnosPollLostError("lost", flow_instance_id=INSTANCE)
REFUSED = errors.EnosAuthError(401, "no", operation="Get Flow Instance", http_status=401)


@pytest.mark.parametrize("error", [LATE, LOST, REFUSED], ids=lambda error: type(error).__name__)
def test_a_resumed_task_looks_before_it_believes_an_error(
    task: MakeTask, sim: EnosSimulator, error: errors.EnosError
) -> None:
    """What has ended meanwhile has ended; else the error stands, in a form that is retried."""
    sim.progress = "manual"
    sim.trigger(3377, 108580, TRIGGER_TIME)
    event = InstanceEvent(INSTANCE, error).to_json()
    kwargs = {"deadline": time.time() + 60}
    with pytest.raises(errors.EnosFlowTimeoutError if error is LATE else errors.EnosPollLostError):
        task(cancel_on_timeout=False).resume("execute_complete", event, kwargs)
    assert sim.count("flowInstances/get") == 1
    sim.finish(INSTANCE, "SUCCESS")
    assert task().resume("execute_complete", event, kwargs) == INSTANCE
    assert sim.count("flowInstances/cancel") == 0


def test_a_resumed_task_waits_for_its_connection(
    task: MakeTask, sim: EnosSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Deleted, and made again a little later. A last cancel has the keys of the new one."""
    sim.progress = "at_once"
    sim.trigger(3377, 108580, TRIGGER_TIME)
    uri = os.environ["AIRFLOW_CONN_ENOS_DEFAULT"]
    monkeypatch.delenv("AIRFLOW_CONN_ENOS_DEFAULT")
    one = task(poll_interval=0.1)
    threading.Timer(0.5, os.environ.__setitem__, ("AIRFLOW_CONN_ENOS_DEFAULT", uri)).start()
    assert one.resume("execute_complete", InstanceEvent(INSTANCE).to_json(), {}) == INSTANCE
    assert any("Airflow cannot read the connection" in line for line in one.log.lines)
    one.operator.on_kill()
    assert sim.count("flowInstances/cancel") == 1


def test_a_kill_after_a_rotation_cancels_with_the_new_key(
    task: MakeTask, sim: EnosSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    sim.progress = "manual"
    one = task(poll_interval=0.05)
    looks: list[Any] = []

    def see(event: str, record: Any) -> None:
        if event != "replied" or record.operation != "flowInstances/get":
            return
        looks.append(record)
        if len(looks) == 1:
            sim.secret_key = "rotated"
            sim.expire_tokens()
            os.environ["AIRFLOW_CONN_ENOS_DEFAULT"] = sim.connection_uri
        elif record.code == 0 and not one.operator._killed:
            one.operator.on_kill()

    sim.on_event(see)
    with pytest.raises(errors.EnosFlowCancelledError):
        one.run()
    assert sim.instances[0].cancelled


def test_a_refusal_in_a_retry_leaves_it_its_further_tries(task: MakeTask, sim: EnosSimulator, store: Any) -> None:
    """The instance of the first try runs on."""
    sim.progress = "manual"
    one = task(store, poll_error_tolerance=0)
    lose_it(one, sim)
    sim.clear_faults()
    sim.fault("http_401", times=None)
    with pytest.raises(errors.EnosAuthError):
        one.retry()
    sim.clear_faults()
    sim.finish(INSTANCE, "SUCCESS")
    assert one.retry() == INSTANCE
    assert started(sim) == [INSTANCE]


def test_a_retry_that_takes_over_what_has_ended_is_not_deferred(
    task: MakeTask, sim: EnosSimulator, state_store: Any
) -> None:
    sim.progress = "manual"
    one = task(state_store, deferrable=True)
    with pytest.raises(TaskDeferred):
        one.run()
    with pytest.raises(TaskDeferred):
        one.retry()
    sim.finish(INSTANCE, "SUCCESS")
    assert one.retry() == INSTANCE
    assert started(sim) == [INSTANCE]


def test_a_started_instance_is_not_looked_at_before_the_task_is_deferred(task: MakeTask, sim: EnosSimulator) -> None:
    with pytest.raises(TaskDeferred):
        task(deferrable=True).run()
    assert sim.count("flowInstances/get") == 0


def test_a_killed_task_sends_nothing_also_where_it_would_not_cancel(task: MakeTask, sim: EnosSimulator) -> None:
    one = task(cancel_on_kill=False)
    sim.fault("slow", on="token/get", seconds=0.3)
    with (
        killed_at(sim, one, at("received", "token/get")),
        pytest.raises(errors.EnosTriggerError, match="nothing is started: the task was killed"),
    ):
        one.run()
    assert sim.instances == []


def test_without_a_store_a_retry_takes_over_nothing_that_no_try_before_it_can_have_started(
    task: MakeTask, sim: EnosSimulator
) -> None:
    """The first retry looks at the minute of the first try alone: the next minute may be another run's."""
    one = task(flow_id=4001, from_task_id=40011)
    with pytest.raises(errors.EnosFlowFailedError):
        one.run()
    sim.trigger(4001, 40011, TRIGGER_TIME + 60_000)
    sim.finish("4001-20200706062700", "SUCCESS")
    with pytest.raises(errors.EnosFlowFailedError):
        one.retry()
    assert started(sim) == ["4001-20200706062600", "4001-20200706062700", "4001-20200706062800"]


def test_a_kill_leaves_the_instance_alone_if_told_so(task: MakeTask, sim: EnosSimulator) -> None:
    one = task(cancel_on_kill=False)
    with killed_at(sim, one, at("received", "flowInstances/get")) as took:
        assert one.run() == INSTANCE
    assert took
    assert sim.count("flowInstances/cancel") == 0


def test_a_kill_before_anything_was_started_is_nothing() -> None:
    EnosTriggerFlowFromTaskOperator(task_id="task", flow_id=1, from_task_id=1).on_kill()


@pytest.mark.parametrize("kind", ["slow", "slow_before"])
def test_a_kill_before_anything_was_sent_sends_nothing(
    task: MakeTask, sim: EnosSimulator, store: Any, kind: str
) -> None:
    """The signal comes while the token is fetched: the trigger, which would be next, is not sent any more."""
    sim.fault(kind, on="token/get", seconds=0.3)
    one = task(store)
    with (
        killed_at(sim, one, at("received", "token/get")) as took,
        pytest.raises(errors.EnosTriggerError, match=r"^nothing is started: the task was killed$") as caught,
    ):
        one.run()
    assert type(caught.value) is errors.EnosTriggerError
    assert took[0] < 1
    assert sim.count("flows/triggerFromTask") == sim.count("flowInstances/cancel") == 0
    assert sim.instances == []
    assert one.retry() == INSTANCE


@pytest.mark.parametrize("operation", ["flowInstances/get", "flowInstances/search"])
def test_a_kill_while_a_retry_looks_sends_nothing(task: MakeTask, sim: EnosSimulator, operation: str) -> None:
    one = task(None)
    one.ti.try_number = 1
    sim.fault("slow", on=operation, seconds=0.3)
    killed_at_retry = killed_at(sim, one, at("received", operation))
    with (
        killed_at_retry as took,
        pytest.raises(errors.EnosTriggerError, match="nothing is started: the task was killed"),
    ):
        one.retry()
    assert took[0] < 1
    assert sim.instances == []


def test_a_kill_between_two_requests_of_a_trigger_sends_no_second(
    task: MakeTask, sim: EnosSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The gateway was too busy for the first; the kill comes in the pause before the second."""
    sim.fault("http_429", on="flows/triggerFromTask", times=None)
    kills = iter([signal.SIGTERM])
    monkeypatch.setattr(sync, "default_sleep", lambda _: [signal.raise_signal(kill) for kill in kills])
    one = task()
    with (
        killable(one) as took,
        pytest.raises(errors.EnosTriggerError, match="nothing is started: the task was killed"),
    ):
        one.run()
    assert len(took) == 1
    assert sim.count("flows/triggerFromTask") == 1


def test_a_kill_whose_trigger_is_not_answered_still_finds_and_cancels(task: MakeTask, sim: EnosSimulator) -> None:
    """What was sent before the kill is looked for: only nothing more is started."""
    sim.progress = "manual"
    sim.fault("lost_reply", on="flows/triggerFromTask")
    one = task()
    with (
        killed_at(sim, one, at("accepted", "flows/triggerFromTask")),
        pytest.raises(errors.EnosFlowCancelledError, match="killed while it was started"),
    ):
        one.run()
    assert [instance.status for instance in sim.instances] == ["CANCEL"]


def refuse(sim: EnosSimulator, operation: str, code: int, times: int = 1) -> None:
    """Has the simulator answer the next requests to an operation with any code at all, and do nothing."""
    answer, left = sim._answer, [None] * times

    def refusing(request: Any, *more: Any) -> Any:
        if request.operation != operation or not left:
            return answer(request, *more)
        left.pop()
        return json_reply({"code": code, "msg": "said so", "data": None}, code=code)

    sim._answer = refusing  # type: ignore[method-assign]


def finish_when_running(sim: EnosSimulator, status: str) -> None:
    while not sim.instances:
        time.sleep(0.01)
    sim.finish(sim.instances[0].id, status)


# ---- the whole flow -------------------------------------------------------------------------------------------------


def test_a_whole_flow_is_started_and_followed(whole_flow: MakeTask, sim: EnosSimulator) -> None:
    assert whole_flow().run() == INSTANCE
    (instance,) = sim.instances
    assert (instance.from_task_id, instance.status) == (None, "SUCCESS")
    assert sim.count("flows/trigger") == 1


def test_a_whole_flow_runs_once_with_other_parameters(whole_flow: MakeTask, sim: EnosSimulator) -> None:
    sim.add_flow(5001, name="flow", tasks=[1], parameters={"day": "stored", "site": "stored"})
    whole_flow(flow_id=5001, parameters={"day": "2024-03-02"}).run()
    whole_flow(flow_id=5001, parameters={}, trigger_time=TRIGGER_TIME + 60_000).run()
    first, second = sim.instances
    assert first.parameters == {"day": "2024-03-02", "site": "stored"}
    assert second.parameters == {"day": "stored", "site": "stored"}
    assert (sim.count("flows/updateAndTrigger"), sim.count("flows/trigger")) == (1, 1)


@pytest.mark.parametrize(
    "parameters", ["day=1", ["day"], "", {"day": 0.5}, {"": "x"}, {1: "x"}, {"day": None}], ids=str
)
def test_parameters_that_are_no_text_are_refused_before_anything_is_sent(
    whole_flow: MakeTask, sim: EnosSimulator, parameters: Any
) -> None:
    one = whole_flow()
    one.rendered = {"parameters": parameters}
    with pytest.raises(AirflowFailException, match=r"^parameters.*expected a (mapping|text)"):
        one.run()
    assert sim.requests == []


@pytest.mark.parametrize("parameters", [None, {"day": "2024-03-02"}])
@pytest.mark.parametrize("operation", ["flows/trigger", "flows/updateAndTrigger"])
def test_a_whole_flow_whose_reply_is_lost_is_looked_up(
    whole_flow: MakeTask, sim: EnosSimulator, store: Any, parameters: dict[str, str] | None, operation: str
) -> None:
    sim.fault("lost_reply", on=operation)
    assert whole_flow(store, parameters=parameters).run() == INSTANCE
    assert started(sim) == [INSTANCE]


def test_a_retry_of_a_whole_flow_takes_over_and_a_clear_starts_again(
    whole_flow: MakeTask, sim: EnosSimulator, store: Any
) -> None:
    one = whole_flow(store, poll_error_tolerance=0)
    lose_it(one, sim)
    assert one.retry() == INSTANCE
    # Two tries came before it.
    assert one.clear() == "3377-20200706062800"
    assert started(sim) == [INSTANCE, "3377-20200706062800"]


def test_a_flow_without_nodes_is_said_to_have_none(whole_flow: MakeTask, sim: EnosSimulator) -> None:
    sim.add_flow(5001, name="empty", tasks=[])
    with pytest.raises(errors.EnosError, match=r"62104 .*no task"):
        whole_flow(flow_id=5001).run()


def test_default_args_reach_all_arguments(sim: EnosSimulator) -> None:
    defaults = {"poll_interval": 5, "flow_id": 3377, "from_task_id": 108580, "parameters": {"a": "b"}}
    one = EnosTriggerFlowFromTaskOperator(task_id="one", default_args=defaults)
    whole = EnosTriggerFlowOperator(task_id="whole", default_args=defaults)
    assert (one.poll_interval, one.flow_id, one.from_task_id) == (5, 3377, 108580)
    assert (whole.poll_interval, whole.flow_id, whole.parameters) == (5, 3377, {"a": "b"})
