"""Surveys of simulators: what is set there, and what a survey says."""

from __future__ import annotations

from typing import Any

from airflow_provider_enos.simulator import EnosSimulator


def fill(sim: EnosSimulator) -> None:
    """Start instances as others do: some that end, and one that runs for a minute."""
    for flow_id, task_id in ((3377, 108580), (4001, None), (3388, None), (4009, None)):
        sim.trigger(flow_id, task_id)
    for instance in sim.instances:
        if instance.flow_id in (3377, 4001):
            sim.finish(instance.id, "FAIL" if instance.flow_id == 4001 else "SUCCESS")


def answers(rows: Any) -> dict[str, Any]:
    """Return the answers that are known, by switch."""
    return {row["switch"]: row["value"] for row in rows["questions"] if row["switch"] and row["value"] is not None}


def check(told: dict[str, Any], set_as: dict[str, Any]) -> None:
    """Compare answers, which are used up, with the switches."""
    # A whole number of seconds, and this machine may be slow.
    assert abs(told.pop("clock_skew") - set_as["clock_skew"]) <= 2
    assert told == {name: set_as[name] for name in told}
