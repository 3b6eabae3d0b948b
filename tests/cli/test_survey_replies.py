"""Questions about replies: those that a particular state of the gateway answers, and replies that make no sense."""

from __future__ import annotations

from typing import Any

import pytest
from surveys import answers, fill

from airflow_provider_enos.simulator import EnosSimulator


def test_a_trigger_while_the_schedule_is_off(enos: Any, connection: EnosSimulator) -> None:
    connection.add_flow(3389, name="off", tasks={33891: "load"}, type=1, active=False)
    connection.progress = "at_once"  # type: ignore[assignment]
    told = answers(enos("survey", "-o", "json", "--trigger", 3389).json)
    assert told["paused_trigger"] == "accepted"
    connection.paused_trigger = "refused"
    ran = enos("survey", "--trigger", 3389)
    assert ran.code == 1
    assert "EnOS names no instance of flow 3389: Trigger Flow: " in ran.err


def test_two_runs_of_a_flow_at_a_time(enos: Any, connection: EnosSimulator) -> None:
    connection.one_at_a_time = False
    now = connection.now_ms()
    connection.trigger(4009, trigger_time=now)
    connection.trigger(4009, trigger_time=now - 60_000)
    assert answers(enos("survey", "-o", "json").json)["one_at_a_time"] is False


@pytest.mark.parametrize(
    "kind",
    [
        "html_200",
        "json_list",
        "data_null",
        "data_text",
        "data_list_of_two",
        "graph_not_json",
        "internal_error",
        "http_502",
    ],
)
def test_replies_that_make_no_sense_are_unknown(kind: str, enos: Any, connection: EnosSimulator) -> None:
    fill(connection)
    for operation in ("flowInstances/get", "flows/get", "flows/export", "directories/listWorkFlowDirs"):
        connection.fault(kind, on=operation, times=None)
    ran = enos("survey", "-o", "json")
    assert ran.code == 0, ran.err
    told = answers(ran.json)
    assert not told.keys() & {"graph_keys", "task_types_as" if kind != "graph_not_json" else "graph_as"}
