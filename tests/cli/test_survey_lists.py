"""Questions about lists that have no switch."""

from __future__ import annotations

from typing import Any

from surveys import fill

from airflow_provider_enos.simulator import EnosSimulator


def test_the_answers_without_a_switch(enos: Any, connection: EnosSimulator) -> None:
    fill(connection)
    said = {row["question"]: row["answer"] for row in enos("survey", "-o", "json").json["questions"]}
    assert said["does a list keep to the requested statuses?"] == "yes"
    assert said["field that instances are sorted by"] == "create_time and createTime"
    assert said["size of a page"] == "200 entries are accepted"
