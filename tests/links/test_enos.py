from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, TaskDeferred, XCom
from worker import StateStore, TaskInstance, execute

from airflow_provider_enos.errors import EnosEventError
from airflow_provider_enos.hooks.enos import EnosHook
from airflow_provider_enos.links.enos import LINK_KEY, EnosFlowInstanceLink, push_link
from airflow_provider_enos.operators.enos import (
    EnosCancelFlowInstanceOperator,
    EnosTriggerFlowFromTaskOperator,
    EnosTriggerFlowOperator,
)
from airflow_provider_enos.provider_info import get_provider_info
from airflow_provider_enos.sensors.enos import EnosFlowInstanceSensor, EnosFlowSensor
from airflow_provider_enos.simulator import EnosSimulator

TIME = 1594016819108
INSTANCE = "3377-20200706062600"
URL = f"https://console.example/flows/3377?id={INSTANCE}"

UseConsole = Callable[[str], None]


@pytest.fixture
def console_url(sim: EnosSimulator, monkeypatch: pytest.MonkeyPatch) -> UseConsole:
    """Has the connection name an address of the console."""

    def use(address: str) -> None:
        uri = f"{sim.connection_uri}&console_url={quote(address, safe='')}"
        monkeypatch.setenv("AIRFLOW_CONN_ENOS_DEFAULT", uri)

    use("https://console.example/flows/{flow_id}?id={flow_instance_id}")
    return use


def run(operator: Any, ti: TaskInstance) -> None:
    """In a worker, until it defers or ends."""
    with suppress(TaskDeferred):
        execute(operator, {"ti": ti, "task_state_store": StateStore()})


OPERATORS: list[Any] = [
    lambda **more: EnosTriggerFlowFromTaskOperator(
        task_id="t", flow_id=3377, from_task_id=108580, trigger_time=TIME, poll_interval=0.01, **more
    ),
    lambda **more: EnosTriggerFlowOperator(task_id="t", flow_id=3377, trigger_time=TIME, poll_interval=0.01, **more),
]


def sensor(**more: Any) -> EnosFlowInstanceSensor:
    return EnosFlowInstanceSensor(task_id="t", flow_instance_id=INSTANCE, poke_interval=0.01, **more)


def test_where_it_is_kept() -> None:
    """Airflow 3 reads this XCom itself; all operators declare the link, and the provider names it to Airflow 2."""
    link = EnosFlowInstanceLink()
    assert (link.name, link.xcom_key) == ("EnOS flow instance", "_link_EnosFlowInstanceLink")
    for operator in (
        EnosTriggerFlowFromTaskOperator,
        EnosTriggerFlowOperator,
        EnosCancelFlowInstanceOperator,
        EnosFlowInstanceSensor,
        EnosFlowSensor,
    ):
        assert [type(one) for one in operator.operator_extra_links] == [EnosFlowInstanceLink]
    path = f"{EnosFlowInstanceLink.__module__}.{EnosFlowInstanceLink.__name__}"
    assert path in get_provider_info()["extra-links"]


@pytest.mark.parametrize(
    ("stored", "link"),
    [
        (URL, URL),
        ("http://console.example/x", "http://console.example/x"),
        (None, ""),
        ("", ""),
        ("javascript:alert(1)", ""),
        (" https://console.example", ""),
        ("HTTPS:evil", ""),
        ({"a": 1}, ""),
    ],
)
def test_a_worker_stores_what_is_stored_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch, stored: object, link: str
) -> None:
    """Airflow 3 asks it when the task ends. Where the link is served, see plugins/view/test_console.py."""
    asked: list[Any] = []
    monkeypatch.setattr(XCom, "get_value", lambda **what: asked.append(what) or stored)
    key: Any = SimpleNamespace(dag_id="d", task_id="t", run_id="r", map_index=-1, try_number=1, xcom_push=None)
    operator: Any = None
    assert EnosFlowInstanceLink().get_link(operator, ti_key=key) == link
    assert asked == [{"key": LINK_KEY, "ti_key": key}]


def test_a_task_that_has_stored_none_does_not_look_for_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Airflow would log an error: "XCom not found". A resumed task looks, since a process before it has stored one."""
    asked: list[Any] = []
    monkeypatch.setattr(XCom, "get_value", lambda **what: asked.append(what) or URL)
    key: Any = SimpleNamespace(dag_id="d", task_id="none", run_id="r", map_index=-1, try_number=1, xcom_push=None)
    operator = OPERATORS[0]()
    assert EnosFlowInstanceLink().get_link(operator, ti_key=key) == ""
    assert asked == []
    with pytest.raises(EnosEventError):
        operator.execute_complete({"ti": TaskInstance()}, event=None)
    assert EnosFlowInstanceLink().get_link(operator, ti_key=key) == URL
    assert len(asked) == 1


def test_what_this_process_has_stored_is_not_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(XCom, "get_value", lambda **what: pytest.fail("read"))
    names = {"dag_id": "d", "task_id": "stored", "run_id": "r", "map_index": -1}
    stored: dict[str, str] = {}
    ti: Any = SimpleNamespace(**names, try_number=1, xcom_push=lambda key, value: stored.update({key: value}))
    push_link(ti, URL)
    assert stored == {LINK_KEY: URL}
    assert EnosFlowInstanceLink().get_link(OPERATORS[0](), ti_key=ti) == URL
    ti.try_number = 2
    assert EnosFlowInstanceLink().get_link(OPERATORS[0](), ti_key=ti) == ""


@pytest.mark.parametrize("deferrable", [False, True])
@pytest.mark.parametrize("make", OPERATORS)
def test_an_operator_stores_it_before_it_waits(
    console_url: UseConsole, sim: EnosSimulator, make: Any, deferrable: bool
) -> None:
    looks: dict[str, int] = {}
    ti = TaskInstance(on_push=lambda key: looks.setdefault(key, sim.count("flowInstances/get")))
    run(make(deferrable=deferrable), ti)
    assert ti.xcom[LINK_KEY] == URL
    assert looks[LINK_KEY] == 0


def test_an_operator_that_does_not_wait_or_return_anything_has_it_too(console_url: UseConsole) -> None:
    ti = TaskInstance()
    run(OPERATORS[0](wait_for_completion=False, do_xcom_push=False), ti)
    assert ti.xcom == {LINK_KEY: URL}


def test_after_a_clear_it_leads_to_the_new_instance(console_url: UseConsole) -> None:
    ti = TaskInstance()
    run(OPERATORS[0](), ti)
    ti.try_number, ti.max_tries = 2, 1
    run(OPERATORS[0](), ti)
    assert ti.xcom[LINK_KEY] == URL.replace("062600", "062700")


@pytest.mark.parametrize("arguments", [{"deferrable": False}, {"deferrable": True}], ids=str)
def test_a_sensor_stores_it_before_it_waits(
    console_url: UseConsole, sim: EnosSimulator, arguments: dict[str, Any]
) -> None:
    sim.trigger(3377, None, TIME)
    looks: list[int] = []
    ti = TaskInstance(on_push=lambda key: looks.append(sim.count("flowInstances/get")))
    run(sensor(**arguments), ti)
    assert ti.xcom == {LINK_KEY: URL}
    assert looks == [0], "stored once"


def test_a_rescheduled_sensor_stores_it(console_url: UseConsole, sim: EnosSimulator) -> None:
    sim.trigger(3377, None, TIME)
    ti = TaskInstance()
    context: Any = {"ti": ti, "task_state_store": StateStore()}
    assert not sensor(mode="reschedule").poke(context)
    assert ti.xcom == {LINK_KEY: URL}


def test_a_sensor_of_a_schedule_leads_to_the_instance_that_it_found(
    console_url: UseConsole, sim: EnosSimulator
) -> None:
    sim.add_flow(7001, tasks={70011: "a"}, progress="at_once", type=1)
    sim.trigger(7001, None, TIME)
    ti = TaskInstance()
    run(
        EnosFlowSensor(
            task_id="t", flow_id=7001, window_start=TIME - 60_000, window_end=TIME, types=0, scheduled_only=False,
            poke_interval=0.01, deferrable=False,
        ),
        ti,
    )  # fmt: skip
    assert ti.xcom[LINK_KEY] == "https://console.example/flows/7001?id=7001-20200706062600"


def test_a_cancel_has_the_link_too(console_url: UseConsole, sim: EnosSimulator) -> None:
    sim.progress = "manual"
    sim.trigger(3377, None, TIME)
    ti = TaskInstance()
    run(EnosCancelFlowInstanceOperator(task_id="t", flow_instance_id=INSTANCE, poll_interval=0.01), ti)
    assert ti.xcom[LINK_KEY] == URL


def test_without_a_console_there_is_none(connection: EnosSimulator) -> None:
    for make in (*OPERATORS, sensor):
        for deferrable in (False, True):
            ti = TaskInstance()
            run(make(deferrable=deferrable), ti)
            assert not ti.xcom[LINK_KEY]
            connection.clear_faults()
            for instance in connection.instances:
                connection.finish(instance.id, "SUCCESS")


@pytest.mark.parametrize(
    "address", ["javascript:alert({flow_id})", "data:text/html,{flow_id}", "//c.example/{flow_id}"]
)
def test_an_address_that_is_no_web_page_is_refused_before_anything_is_sent(
    console_url: UseConsole, sim: EnosSimulator, address: str
) -> None:
    console_url(address)
    with pytest.raises(AirflowFailException, match="console_url"):
        run(OPERATORS[0](), TaskInstance())
    assert sim.requests == []


@pytest.mark.parametrize("value", ["3377-1&x=1", "3377-1/../..", "3377-1#x", 'x"><script>', "javascript:alert(1)//"])
def test_hostile_ids_do_not_get_into_an_address(console_url: UseConsole, value: str) -> None:
    ti = TaskInstance()
    with pytest.raises(AirflowFailException, match="flow_instance_id"):
        execute(EnosFlowInstanceSensor(task_id="t", flow_instance_id=value, deferrable=False), {"ti": ti})
    assert ti.xcom == {}


@pytest.mark.parametrize(
    "value", ["a&b=c d/e?f#g", "javascript:alert(1)", "../../x", "\n", "\"<>'", "{flow_id}", "%2e"]
)
def test_what_is_put_into_an_address_stays_what_it_is(console_url: UseConsole, value: str) -> None:
    """Also an id that EnOS has made up, and whether the address has it in its path or in its query."""
    settings = EnosHook().settings
    for template in ("https://c.example/x/{flow_instance_id}/y", "https://c.example/x/y?z={flow_instance_id}&k=v"):
        link = replace(settings, console_url=template).link(f"3377-{value}")
        assert link is not None
        parts = urlsplit(link)
        assert (parts.scheme, parts.netloc, parts.fragment) == ("https", "c.example", "")
        found = unquote(parts.path.split("/")[2]) if "y?z" not in template else parse_qs(parts.query)["z"][0]
        assert found == f"3377-{value}"
        assert parts.path.count("/") == (3 if "y?z" not in template else 2)
