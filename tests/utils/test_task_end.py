from __future__ import annotations

from typing import Any

import pytest
from worker import Log

from airflow_provider_enos import errors
from airflow_provider_enos.hooks.enos import EnosHook
from airflow_provider_enos.simulator import EnosSimulator
from airflow_provider_enos.utils.task_end import end_as, link_of, stream_of
from airflow_provider_enos.version_compat import AirflowSkipException

INSTANCE = "3377-20200706062600"


@pytest.mark.parametrize(
    ("status", "raised"),
    [
        ("SUCCESS", None),
        ("SKIP", AirflowSkipException),
        ("FAIL", errors.EnosFlowFailedError),
        ("TIMEOUT", errors.EnosFlowFailedError),
        ("INTERNAL_ERROR", errors.EnosFlowFailedError),
        ("CANCEL", errors.EnosFlowCancelledError),
    ],
)
def test_a_task_ends_as_its_instance(hook: EnosHook, sim: EnosSimulator, status: str, raised: Any) -> None:
    sim.progress = "manual"
    sim.trigger(3377, 108580, 1594016819108)
    sim.finish(INSTANCE, status)
    instance = hook.get_flow_instance(INSTANCE)
    if raised is None:
        end_as(instance, hook, task_logs="failed", log=Log())
        return
    with pytest.raises(raised, match=INSTANCE):
        end_as(instance, hook, task_logs="failed", log=Log())


@pytest.mark.parametrize(("task_logs", "streams"), [("all", True), ("failed", False), ("none", False)])
def test_logs_are_streamed_only_where_all_are_wanted(task_logs: Any, streams: bool) -> None:
    assert (stream_of(task_logs, Log()) is not None) is streams


def test_a_link_is_not_worth_failing_for(connection: EnosSimulator, monkeypatch: pytest.MonkeyPatch) -> None:
    console = "&console_url=https%3A%2F%2Fconsole%2F%7Bflow_id%7D"
    monkeypatch.setenv("AIRFLOW_CONN_ENOS_DEFAULT", connection.connection_uri + console)
    assert link_of(EnosHook(), "3377-1") == "https://console/3377"
    assert link_of(EnosHook("no_such"), "3377-1") is None


@pytest.mark.parametrize("asked", [True, False])
def test_the_log_names_the_zone_where_it_is_known_already(hook: EnosHook, sim: EnosSimulator, asked: bool) -> None:
    """It is not asked for, which would cost a request."""
    instance_id = sim.trigger(3377, 108580).id
    sim.finish(instance_id, "FAIL")
    if asked:
        hook.get_time_zone()
    log = Log()
    with pytest.raises(errors.EnosFlowFailedError):
        end_as(hook.get_flow_instance(instance_id), hook, task_logs="failed", log=log)
    assert any(f"start ({'EnOS, GMT+8' if asked else 'EnOS'})" in line for line in log.lines), log.lines
    assert sim.count("time/getTimeZone") == int(asked)
