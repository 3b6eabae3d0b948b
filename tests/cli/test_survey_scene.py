"""What a survey starts, and what it does where it finds nothing."""

from __future__ import annotations

from typing import Any

from surveys import answers, check

from airflow_provider_enos.simulator import EnosSimulator


def test_a_lost_reply_is_not_sent_again(enos: Any, connection: EnosSimulator) -> None:
    connection.fault("lost_reply", on="flows/trigger")
    ran = enos("survey", "--trigger", 3377)
    assert ran.code == 1
    assert "Flow 3377 may have been started. To look: " in ran.err
    assert connection.count("flows/trigger") == len(connection.instances) == 1


def test_what_cannot_be_told_is_unknown(enos: Any, connection: EnosSimulator) -> None:
    for flow in connection.flows:
        if flow.flow_id != 4006:
            connection._state.catalog.remove_flow(flow.flow_id)
    ran = enos("survey", "-o", "json")
    told = answers(ran.json)
    check(told, connection.switch_values)
    assert not told.keys() & {"graph_as", "graph_keys", "ids_as", "data_as", "log_keeps", "count_means"}
    unknown = [row for row in ran.json["questions"] if not row["known"]]
    assert len(unknown) > 10
    assert all(row["answer"].startswith("unknown: ") for row in unknown)
