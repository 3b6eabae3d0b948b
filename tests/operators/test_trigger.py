"""Start a flow, follow the instance, and end as it ends."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, AirflowSkipException
from tries import INSTANCE, TRIGGER_TIME, lose_it, started

from airflow_provider_enos import errors
from airflow_provider_enos.links.enos import LINK_KEY
from airflow_provider_enos.simulator import EnosSimulator

FLOW = 5001

MakeTask = Callable[..., Any]


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


def test_a_failed_instance_fails_the_task_and_says_where_and_why(task: MakeTask) -> None:
    with pytest.raises(errors.EnosFlowFailedError) as caught:
        task(flow_id=4001, from_task_id=40011).run()
    error = caught.value
    assert error.flow_instance_id == "4001-20200706062600"
    assert error.status == "FAIL"
    assert error.failed_tasks == ("load (40012-20200706062600)",)
    assert "flow 4001 'fails_at_load': instance 4001-20200706062600 ended with status FAIL" in str(error)
    assert str(error).startswith("node load failed: ColumnMissing: dw.meter_readings has no column")
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
    """The log of a node that never began, such as the node after the failed one, is not even asked for."""
    one = task(flow_id=4001, from_task_id=40011, task_logs=task_logs)
    with pytest.raises(errors.EnosFlowFailedError):
        one.run()
    shown = [line.split()[-2] for line in one.log.lines if re.match("(::group::.*|End of the log) of node", line)]
    assert sorted(shown) == sorted(nodes)
    if task_logs != "all":
        assert sim.count("taskInstances/getLog") == len(nodes)
    assert ("ColumnMissing: dw.meter_readings has no column 'reactive_power'" in one.log.lines) is ("load" in nodes)


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
