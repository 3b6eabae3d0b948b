"""Tests of the DAG ``meter_readings``: they need no EnOS account, and no network."""

from __future__ import annotations

import pytest
from meter_readings import dag

from airflow_provider_enos.simulator import EnosSimulator

NODES = {108580: "clean", 108581: "aggregate"}


# [START first]
def test_it_ends_well(enos_simulator: EnosSimulator) -> None:
    run = dag.test()

    assert run.state == "success"
    (instance,) = enos_simulator.instances_of(3377)
    assert instance.from_task_id == 108580


# [END first]


# [START failure]
def test_it_fails_when_the_flow_fails(enos_simulator: EnosSimulator, monkeypatch: pytest.MonkeyPatch) -> None:
    # `dag.test()` waits for a retry as long as Airflow would.
    monkeypatch.setattr(dag.get_task("clean_meter_readings"), "retries", 0)
    enos_simulator.add_flow(
        3377,
        name="meter_readings_daily",
        tasks=NODES,
        ends_as="FAIL",
        failing_task=108581,
        logs={108581: "No readings of meter 17"},
    )

    assert dag.test().state == "failed"


# [END failure]


# [START fault]
def test_a_lost_reply_starts_no_second_instance(enos_simulator: EnosSimulator) -> None:
    enos_simulator.fault("lost_reply", on="flows/triggerFromTask")

    assert dag.test().state == "success"
    assert len(enos_simulator.instances_of(3377)) == 1


# [END fault]


# [START wait]
@pytest.mark.parametrize("deferrable", [False, True])
def test_it_waits_for_the_end(enos_simulator: EnosSimulator, monkeypatch: pytest.MonkeyPatch, deferrable: bool) -> None:
    enos_simulator.progress = ("polls", 5)
    monkeypatch.setattr(dag.get_task("clean_meter_readings"), "deferrable", deferrable)

    assert dag.test().state == "success"
    assert enos_simulator.count("flowInstances/get") > 5


# [END wait]
