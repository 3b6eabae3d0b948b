"""How instances progress."""

from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_provider_enos.simulator import EnosSimulator

INSTANCE = "3377-20200706062600"


def shown(data: dict[str, Any]) -> tuple[str, list[str]]:
    return data["statusDesc"], [task["status"] for task in json.loads(data["graph"])["tasks"]]


def test_node_by_node(sim: EnosSimulator, client: Any) -> None:
    sim.progress = ("polls", 4)
    client.trigger()
    assert [shown(client.get()) for _ in range(6)] == [
        ("READY", ["INIT", "INIT", "INIT", "INIT"]),
        ("RUNNING", ["INIT", "RUNNING", "INIT", "INIT"]),
        ("RUNNING", ["INIT", "SUCCESS", "RUNNING", "INIT"]),
        ("RUNNING", ["INIT", "SUCCESS", "SUCCESS", "RUNNING"]),
        ("SUCCESS", ["INIT", "SUCCESS", "SUCCESS", "SUCCESS"]),
        ("SUCCESS", ["INIT", "SUCCESS", "SUCCESS", "SUCCESS"]),
    ]
    assert sim.instances[0].polls == 6


def test_at_once(sim: EnosSimulator, client: Any) -> None:
    sim.progress = "at_once"
    client.trigger()
    assert client.get()["status"] == 1


def test_by_time(sim: EnosSimulator, client: Any) -> None:
    sim.progress = ("seconds", 60)
    client.trigger()
    client.trigger(triggerTime=1594016880000)
    assert client.get()["statusDesc"] == "RUNNING"
    sim.clock_skew = 121
    first, second = sim.instances
    assert [first.status, second.status] == ["SUCCESS", "SUCCESS"]
    assert second.started_at == first.ended_at


def test_by_hand(sim: EnosSimulator, client: Any) -> None:
    sim.progress = "manual"
    client.trigger()
    for _ in range(5):
        assert client.get()["statusDesc"] == "RUNNING"
    sim.set_node_status(INSTANCE, 108581, "FAIL")
    data = client.get()
    assert (data["status"], data["endTime"]) == (-1, None)
    sim.finish(INSTANCE, "FAIL", failed_task=108581)
    data = client.get()
    assert shown(data) == ("FAIL", ["INIT", "SUCCESS", "FAIL", "INIT"])
    assert data["endTime"]
    with pytest.raises(ValueError, match="ends as one of"):
        sim.finish(INSTANCE, "RUNNING")
    with pytest.raises(KeyError):
        sim.set_node_status(INSTANCE, 1, "FAIL")


def test_one_at_a_time_in_order_of_arrival(sim: EnosSimulator, client: Any) -> None:
    sim.progress = "manual"
    for minute in (3, 1, 2):
        sim.trigger(3377, None, minute * 60_000)
    assert [instance.status for instance in sim.instances] == ["RUNNING", "WAIT", "WAIT"]
    sim.finish(sim.instances[0].id, "SUCCESS")
    assert [instance.status for instance in sim.instances] == ["SUCCESS", "RUNNING", "WAIT"]
    sim.one_at_a_time = False
    assert [instance.status for instance in sim.instances] == ["SUCCESS", "RUNNING", "RUNNING"]


def test_polling_one_that_waits_moves_the_one_before_it(sim: EnosSimulator, client: Any) -> None:
    sim.trigger(3377, None, 0)
    made = sim.trigger(3377, None, 60_000).id
    seen = [client.get(made)["statusDesc"] for _ in range(8)]
    assert seen[0] == "WAIT"
    assert seen[-1] == "SUCCESS"
    assert "RUNNING" in seen


def test_a_list_is_a_poll(sim: EnosSimulator, client: Any) -> None:
    sim.trigger(3377, None, 0)
    seen = [client.search().json["data"]["flowInsts"][0]["statusDesc"] for _ in range(3)]
    assert seen == ["READY", "RUNNING", "SUCCESS"]


def test_future_trigger_time(sim: EnosSimulator, client: Any) -> None:
    sim.progress = "at_once"
    made = sim.trigger(3377, None, sim.now_ms() + 60_000).id
    later = sim.trigger(3377, None, 0).id
    assert client.get(made)["statusDesc"] == "INIT"
    assert client.get(later)["statusDesc"] == "SUCCESS"
    sim.clock_skew = 61
    assert sim.instances[0].status == "SUCCESS"


@pytest.mark.parametrize(
    ("flow", "status"),
    [(3377, 1), (4001, -1), (4002, 8), (4003, 10), (4004, 7), (4005, 4)],
)
def test_ends_of_the_built_in_flows(sim: EnosSimulator, client: Any, flow: Any, status: Any) -> None:
    made = sim.trigger(flow).id
    statuses = [client.get(made)["status"] for _ in range(5)]
    assert statuses[-1] == status
    assert 2 in statuses


def test_failure_shows_before_the_rest_has_ended(sim: EnosSimulator, client: Any) -> None:
    made = sim.trigger(4001).id
    data = [client.get(made) for _ in range(5)]
    assert shown(data[3]) == ("FAIL", ["SUCCESS", "FAIL", "INIT", "SUCCESS", "RUNNING"])
    assert data[3]["endTime"] is None
    assert shown(data[4]) == ("FAIL", ["SUCCESS", "FAIL", "INIT", "SUCCESS", "SUCCESS"])
    assert data[4]["endTime"]


def test_scheduled_instances(sim: EnosSimulator, client: Any) -> None:
    sim.add_flow(9, tasks=[1], cycle="mi")
    assert sim.trigger(9, None, 1594016819108, type=1).id == "9-202007060626"
    assert sim.trigger(3377, None, 1594016819108, type=1).id == "3377-2020070606"
    assert client.search(type=1).json["data"]["count"] == 2


def test_somebody_else_took_the_minute(sim: EnosSimulator, client: Any) -> None:
    sim.trigger(3377, 108580, 1594016819108)
    assert client.trigger().json["code"] == 62102
    with pytest.raises(ValueError, match="that minute"):
        sim.trigger(3377, 108580, 1594016819108)


@pytest.mark.parametrize(
    "description",
    [
        {"tasks": [1, 2], "relations": [(1, 2), (2, 1)]},
        {"tasks": [1], "relations": [(1, 2)]},
        {"tasks": [1], "failing_task": 2},
        {"tasks": [1], "ends_as": "DONE"},
        {"tasks": [1], "progress": "fast"},
        {"colour": "red"},
    ],
)
def test_flows_that_make_no_sense(description: Any) -> None:
    with pytest.raises(ValueError, match=r"."):
        EnosSimulator().add_flow(7, **description)


@pytest.mark.parametrize("one_at_a_time", [True, False])
def test_a_cancel_may_take_its_time(one_at_a_time: bool) -> None:
    """Until then the instance runs on, and may even end first; one that waits its turn is cancelled all the same."""
    sim = EnosSimulator(cancel_takes=60, progress="manual", one_at_a_time=one_at_a_time)
    running, late, waiting = (sim.trigger(3377, 108580, 60_000 * minute).id for minute in range(1, 4))
    for one in (running, late, waiting):
        sim._state.instances.cancel(one)
    assert {instance.cancelled for instance in sim.instances} == {True}
    assert all(instance.status in ("RUNNING", "WAIT") for instance in sim.instances)
    sim.finish(late, "SUCCESS")
    sim.clock_skew = 61
    assert [instance.status for instance in sim.instances] == ["CANCEL", "SUCCESS", "CANCEL"]
