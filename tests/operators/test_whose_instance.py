"""Exactly one instance of its own: beside old instances, behind an intermediary, over broken records and kills."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException
from resending_proxy import ResendingProxy, resending_proxy
from worker import StateStore

from airflow_provider_enos import errors
from airflow_provider_enos.client.gateways import fresh_gateways
from airflow_provider_enos.simulator import EnosSimulator

INSTANCE = "3377-20200706062600"
NEXT_INSTANCE = "3377-20200706062700"
TRIGGER_TIME = 1594016819108
WEEK = 7 * 86_400.0

MakeTask = Callable[..., Any]


def trigger_ago(sim: EnosSimulator, seconds: float, status: str = "SUCCESS") -> None:
    """Have somebody else start the flow for the minute, this long ago."""
    skew, sim.clock_skew = sim.clock_skew, sim.clock_skew - seconds
    sim.trigger(3377, 108580, TRIGGER_TIME)
    sim.finish(INSTANCE, status)
    sim.clock_skew = skew


# ---- a reply that was lost ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("run_times_in", ["time_zone", "utc"])
@pytest.mark.parametrize("time_zone", ["GMT+8", "GMT-11", "GMT+0"])
@pytest.mark.parametrize("ago", [180.0, WEEK])
def test_an_old_instance_is_not_taken_for_the_one_that_was_asked_for(
    task: MakeTask, sim: EnosSimulator, store: Any, run_times_in: str, time_zone: str, ago: float
) -> None:
    """A DAG run that was deleted and made again: the task must not succeed though nothing ran."""
    sim.run_times_in, sim.time_zone = run_times_in, time_zone
    trigger_ago(sim, ago)
    sim.fault("lost_reply", on="flows/triggerFromTask")
    assert task(store).run() == NEXT_INSTANCE
    assert [one.id for one in sim.instances] == [INSTANCE, NEXT_INSTANCE]


@pytest.mark.parametrize("run_times_in", ["time_zone", "utc"])
@pytest.mark.parametrize("time_zone", ["GMT+8", "GMT-11"])
@pytest.mark.parametrize("skew", [0.0, 3600.0, -3600.0])
def test_the_instance_that_was_asked_for_is_found_in_any_zone_and_with_any_clock(
    task: MakeTask, sim: EnosSimulator, store: Any, run_times_in: str, time_zone: str, skew: float
) -> None:
    """The gateway's clock is known before the request is put on record: it came with the token."""
    sim.run_times_in, sim.time_zone, sim.clock_skew = run_times_in, time_zone, skew
    sim.fault("lost_reply", on="flows/triggerFromTask")
    assert task(store, on_conflict="fail").run() == INSTANCE


def test_a_retry_knows_when_its_predecessor_asked_though_the_clock_of_that_was_wrong(
    task: MakeTask, sim: EnosSimulator, state_store: Any
) -> None:
    sim.clock_skew = -7200.0
    one = task(state_store, on_conflict="fail")
    sim.fault("lost_reply", on="flows/triggerFromTask")
    sim.fault("internal_error", on="flowInstances/search", times=None)
    sim.fault("http_404", on="flowInstances/get", times=None)
    with pytest.raises(errors.EnosTriggerUncertainError):
        one.run()
    sim.clear_faults()
    with fresh_gateways():
        assert one.retry() == INSTANCE


def test_an_old_instance_after_a_lost_reply_is_a_conflict(task: MakeTask, sim: EnosSimulator) -> None:
    trigger_ago(sim, WEEK)
    sim.fault("lost_reply", on="flows/triggerFromTask", times=2)
    with pytest.raises(errors.EnosTriggerConflictError, match=INSTANCE):
        task(on_conflict="fail").run()
    assert task(on_conflict="attach").run() == INSTANCE


# ---- an intermediary that sends a request twice ---------------------------------------------------------------------


@pytest.fixture
def proxy(sim: EnosSimulator, connection: EnosSimulator, monkeypatch: pytest.MonkeyPatch) -> Iterator[ResendingProxy]:
    with resending_proxy(sim.port) as proxy:
        uri = sim.connection_uri.replace(f":{sim.port}", f":{proxy.port}")
        monkeypatch.setenv("AIRFLOW_CONN_ENOS_DEFAULT", uri)
        yield proxy


@pytest.mark.parametrize("on_conflict", ["next_minute", "fail", "attach"])
def test_a_trigger_that_is_delivered_twice_starts_one_instance(
    proxy: ResendingProxy, task: MakeTask, sim: EnosSimulator, store: Any, on_conflict: str
) -> None:
    """It is carried out, its reply is lost, and the copy is refused, since its signature was seen before."""
    sim.fault("lost_reply", on="flows/triggerFromTask")
    one = task(store, on_conflict=on_conflict)
    assert one.run() == INSTANCE
    assert proxy.resent == 1
    assert [instance.id for instance in sim.instances] == [INSTANCE]
    assert any("may have carried out another" in line for line in one.log.lines)


def test_a_trigger_that_is_delivered_twice_beside_an_old_instance(
    proxy: ResendingProxy, task: MakeTask, sim: EnosSimulator
) -> None:
    trigger_ago(sim, WEEK)
    sim.fault("lost_reply", on="flows/triggerFromTask")
    assert task().run() == NEXT_INSTANCE


def test_tasks_that_race_for_a_minute_with_a_token_that_is_dead_get_one_each(
    task: MakeTask, sim: EnosSimulator
) -> None:
    """All are refused first because of the token, so a later conflict is with another task's instance."""
    sim.progress = "at_once"
    assert task(wait_for_completion=False, trigger_time=TRIGGER_TIME - 3_600_000).run()
    sim.expire_tokens()
    tasks = [task(StateStore(), wait_for_completion=False) for _ in range(6)]
    with ThreadPoolExecutor(len(tasks)) as pool:
        ids = list(pool.map(lambda one: one.run(), tasks))
    assert len(set(ids)) == len(tasks)


def test_a_token_that_is_refused_before_anything_is_carried_out_costs_no_second_minute(
    task: MakeTask, sim: EnosSimulator
) -> None:
    sim.fault("http_401", on="flows/triggerFromTask")
    assert task(on_conflict="fail").run() == INSTANCE


# ---- a record of another place --------------------------------------------------------------------------------------


@pytest.mark.parametrize("tenant", ["another gateway", "another organisation"])
def test_an_equal_id_at_another_place_is_not_adopted(
    task: MakeTask, sim: EnosSimulator, state_store: Any, monkeypatch: pytest.MonkeyPatch, tenant: str
) -> None:
    """The connection was changed between two tries."""
    sim.progress = "manual"
    one = task(state_store, wait_for_completion=False)
    assert one.run() == INSTANCE
    with EnosSimulator() as other:
        if tenant == "another gateway":
            other.trigger(3377, 108580, TRIGGER_TIME)
            monkeypatch.setenv("AIRFLOW_CONN_ENOS_DEFAULT", other.connection_uri)
        else:
            state_store.values["enos_trigger"]["origin"] = f"http://127.0.0.1:{sim.port} o-other"
        assert one.retry() == NEXT_INSTANCE
        assert any("An earlier try of this task asked for flow 3377 at " in line for line in one.log.lines)


# ---- cleared, and nobody has cancelled ------------------------------------------------------------------------------


@pytest.mark.parametrize(("cancel_on_kill", "status"), [(True, "CANCEL"), (False, "RUNNING")])
def test_what_ran_before_a_clear_is_cancelled_by_the_next_attempt(
    task: MakeTask, sim: EnosSimulator, state_store: Any, cancel_on_kill: bool, status: str
) -> None:
    """The task was deferred, and no triggerer had it when it was cleared."""
    sim.progress, sim.one_at_a_time = "manual", False
    one = task(state_store, cancel_on_kill=cancel_on_kill, timeout=0.2, cancel_on_timeout=False)
    with pytest.raises(errors.EnosFlowTimeoutError):
        one.run()
    with pytest.raises(errors.EnosFlowTimeoutError):
        one.clear()
    assert [(instance.id, instance.status) for instance in sim.instances] == [
        (INSTANCE, status),
        (NEXT_INSTANCE, "RUNNING"),
    ]


def test_what_ran_before_a_clear_that_discarded_the_record_is_left_alone(
    task: MakeTask, sim: EnosSimulator, state_store: Any
) -> None:
    """Nothing says any more that it is the task's own: it may be somebody else's."""
    sim.progress, sim.one_at_a_time = "manual", False
    one = task(state_store, timeout=0.2, cancel_on_timeout=False)
    with pytest.raises(errors.EnosFlowTimeoutError):
        one.run()
    state_store.values.clear()
    with pytest.raises(errors.EnosFlowTimeoutError):
        one.clear()
    assert [(instance.id, instance.status) for instance in sim.instances] == [
        (INSTANCE, "RUNNING"),
        (NEXT_INSTANCE, "RUNNING"),
    ]


def test_what_a_task_that_does_not_wait_has_started_is_left_alone_by_a_clear(
    task: MakeTask, sim: EnosSimulator, state_store: Any
) -> None:
    """It succeeded, and nobody was to follow the instance."""
    sim.progress, sim.one_at_a_time = "manual", False
    one = task(state_store, wait_for_completion=False)
    assert (one.run(), one.clear()) == (INSTANCE, NEXT_INSTANCE)
    assert [instance.status for instance in sim.instances] == ["RUNNING", "RUNNING"]


# ---- XCom that cannot be stored -------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["_link_EnosFlowInstanceLink", "flow_instance_id", "return_value"])
def test_an_xcom_that_cannot_be_stored_leaves_no_instance_behind(task: MakeTask, sim: EnosSimulator, key: str) -> None:
    """The task is the only one to follow it: it goes on, and says what is missing."""
    one = task(retries=0)

    def fail(pushed: str) -> None:
        if pushed == key:
            raise RuntimeError("the backend of XComs is gone")

    one.ti.on_push = fail
    assert one.run() == INSTANCE
    assert sim.instances[0].status == "SUCCESS"
    assert any("Cannot store the id" in line and "the backend of XComs is gone" in line for line in one.log.lines)


# ---- a gateway that is busy or away at the start --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "on", "times"),
    [
        ("http_429", "flows/triggerFromTask", 9),
        ("http_503", "token/get", 9),
        ("http_429", "token/get", 9),
        ("html_200", "token/get", 9),
    ],
)
def test_what_was_surely_not_carried_out_is_waited_through(
    task: MakeTask, sim: EnosSimulator, store: Any, kind: str, on: str, times: int
) -> None:
    sim.fault(kind, on=on, times=times)
    one = task(store)
    assert one.run() == INSTANCE
    assert len(sim.instances) == 1
    assert any("EnOS is out of reach" in line for line in one.log.lines)


def test_the_gateway_says_how_long_to_wait_at_the_start(
    task: MakeTask, sim: EnosSimulator, pauses: list[float]
) -> None:
    sim.fault("http_429", on="flows/triggerFromTask", retry_after=45)
    assert task().run() == INSTANCE
    assert sum(pauses) == pytest.approx(45, abs=1)


def test_a_gateway_that_nobody_listens_at_is_waited_for(
    task: MakeTask, sim: EnosSimulator, override_timing: Callable[..., None]
) -> None:
    one = task()
    sim.stop()
    starts = iter([sim.start])

    def meanwhile(seconds: float) -> float:
        if seconds >= 1:
            for start in starts:
                start()
        return seconds / 1000

    override_timing(pause=meanwhile)
    assert one.run() == INSTANCE


def test_credentials_that_are_wrong_are_not_waited_for(task: MakeTask, sim: EnosSimulator) -> None:
    sim.secret_key = "another"
    with pytest.raises(AirflowFailException, match="1003"):
        task().run()
