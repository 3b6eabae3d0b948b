"""Where the link of a task leads, as Airflow's API server serves it, whatever somebody has put into XCom."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from airflow.providers.common.compat.sdk import DAG
from airflows import AIRFLOW
from on_record import TI_KEY, OnRecord

from airflow_provider_enos.links.enos import LINK_KEY, EnosFlowInstanceLink
from airflow_provider_enos.operators.enos import (
    EnosCancelFlowInstanceOperator,
    EnosTriggerFlowFromTaskOperator,
    EnosTriggerFlowOperator,
)
from airflow_provider_enos.plugins.enos import ConsoleLink, EnosPlugin
from airflow_provider_enos.plugins.view import console, record, stored
from airflow_provider_enos.sensors.enos import EnosFlowInstanceSensor, EnosFlowSensor

NAME = "EnOS flow instance"
CONSOLE = "https://console.example/flows/{flow_id}?id={flow_instance_id}"
INSTANCE, OTHER, FOREIGN = "3377-20200706062600", "3377-20200706070000", "5001-20200706062600"
EVIL = ["javascript:alert(1)", "https://evil.example/", "//evil.example", f"https://evil.example/?id={INSTANCE}", "", 7]


def address(flow_instance_id: str) -> str:
    return CONSOLE.format(flow_id=flow_instance_id.partition("-")[0], flow_instance_id=flow_instance_id)


@pytest.fixture
def console_url(monkeypatch: pytest.MonkeyPatch) -> Any:
    def use(template: str | None) -> None:
        more = "" if template is None else f"&console_url={quote(template, safe='')}"
        uri = f"enos://key:secret@gateway.example:443/https?org_id=o&user_id=u{more}"
        monkeypatch.setenv("AIRFLOW_CONN_ENOS_DEFAULT", uri)

    use(CONSOLE)
    return use


@pytest.fixture
def on_record(migrated_home: Path, console_url: Any, monkeypatch: pytest.MonkeyPatch) -> OnRecord:
    monkeypatch.setattr(record, "_dags", {})
    return OnRecord.made_from(migrated_home)


def served() -> str:
    """What the API server gives for the link of the plugin."""
    return ConsoleLink().get_link(None, ti_key=TI_KEY)


# -- Whose link Airflow serves


def deserialized(*operators: Any) -> dict[str, Any]:
    """Tasks as Airflow's API server has them."""
    from airflow.serialization import serialized_objects

    with DAG("readings", schedule=None) as dag:
        for number, make in enumerate(operators):
            make(f"task_{number}")
    serialize = getattr(serialized_objects, "DagSerialization", None) or serialized_objects.SerializedDAG
    stored = json.loads(json.dumps(serialize.to_dict(dag)))
    return dict(serialize.from_dict(stored).task_dict)


OURS: list[Any] = [
    lambda name: EnosTriggerFlowFromTaskOperator(task_id=name, flow_id=3377, from_task_id=1),
    lambda name: EnosTriggerFlowOperator(task_id=name, flow_id=3377),
    lambda name: EnosCancelFlowInstanceOperator(task_id=name, flow_instance_id=INSTANCE),
    lambda name: EnosFlowInstanceSensor(task_id=name, flow_instance_id=INSTANCE),
    lambda name: EnosFlowSensor(task_id=name, flow_id=3377),
    lambda name: EnosTriggerFlowOperator.partial(task_id=name).expand(flow_id=[3377, 5001]),
    lambda name: EnosFlowInstanceSensor.partial(task_id=name).expand(flow_instance_id=[INSTANCE]),
]


class OfOurs(EnosTriggerFlowOperator):
    """A subclass of the operator, as users write them."""


def test_airflow_takes_the_link_of_the_plugin(monkeypatch: pytest.MonkeyPatch) -> None:
    """Mapped or not, in place of the link whose address it would read from XCom."""
    monkeypatch.setattr(console, "address_of", lambda ti_key: f"built for {ti_key}")
    for task in deserialized(*OURS).values():
        assert list(task.extra_links) == [NAME]
        link = task.operator_extra_link_dict[NAME]
        assert type(link).__name__ == "ConsoleLink"
        assert link.get_link(task, ti_key="k") == "built for k"


def test_a_class_that_is_made_of_ours_has_the_link_from_xcom_on_airflow_3(monkeypatch: pytest.MonkeyPatch) -> None:
    """Airflow goes by the name of the class; in Airflow 2 our own code runs for it, too."""
    monkeypatch.setattr(console, "address_of", lambda ti_key: f"built for {ti_key}")
    (task,) = deserialized(lambda name: OfOurs(task_id=name, flow_id=3377)).values()
    link = task.operator_extra_link_dict[NAME]
    if AIRFLOW >= (3, 0):
        assert (type(link).__name__, link.xcom_key) == ("XComOperatorLink", LINK_KEY)
    else:
        assert link.get_link(task, ti_key="k") == "built for k"


def test_the_two_links_are_one() -> None:
    (link,) = EnosPlugin.operator_extra_links
    declared = EnosFlowInstanceLink()
    assert (link.name, link.xcom_key) == (declared.name, declared.xcom_key)
    assert {one.__name__ for one in link.operators} == {
        "EnosCancelFlowInstanceOperator",
        "EnosFlowInstanceSensor",
        "EnosFlowSensor",
        "EnosTriggerFlowFromTaskOperator",
        "EnosTriggerFlowOperator",
    }
    assert stored.LINK_KEY == LINK_KEY


# -- What it serves


def test_it_is_built_from_the_connection(on_record: OnRecord, console_url: Any) -> None:
    on_record.rendered(flow_id=3377)
    on_record.xcom("flow_instance_id", INSTANCE)
    assert served() == address(INSTANCE)
    assert EnosFlowInstanceLink().get_link(None, ti_key=TI_KEY) == address(INSTANCE)  # type: ignore[arg-type]
    console_url(None)
    assert served() == ""


@pytest.mark.parametrize("evil", EVIL, ids=str)
def test_what_stands_in_xcom_as_the_address_is_not_served(on_record: OnRecord, evil: object) -> None:
    on_record.rendered(flow_id="3377")
    on_record.xcom(LINK_KEY, evil)
    assert served() == ""
    on_record.xcom("flow_instance_id", INSTANCE)
    assert served() == address(INSTANCE)


@pytest.mark.parametrize(
    "id", [FOREIGN, "33770-20200706062600", "3377", "337-7", "javascript:alert(1)-1", "3377-\n", ""]
)
@pytest.mark.parametrize("key", ["flow_instance_id", "return_value"])
def test_an_instance_of_another_flow_has_no_link(on_record: OnRecord, key: str, id: str) -> None:
    on_record.rendered(flow_id="3377")
    on_record.xcom(key, id)
    assert served() == ""


def test_what_is_rendered_counts_more_than_an_xcom(on_record: OnRecord) -> None:
    """A sensor waits for the instance that its argument names."""
    on_record.rendered(flow_instance_id=INSTANCE)
    on_record.xcom("flow_instance_id", FOREIGN)
    on_record.xcom("return_value", FOREIGN)
    on_record.xcom(LINK_KEY, address(FOREIGN))
    assert served() == address(INSTANCE)


@pytest.mark.parametrize("rendered", [{"flow_id": 3377}, {}], ids=str)
@pytest.mark.skipif(AIRFLOW < (3, 3), reason="Airflow has task states from 3.3 on")
def test_what_the_operator_has_noted_counts_more_than_an_xcom(on_record: OnRecord, rendered: dict[str, Any]) -> None:
    on_record.rendered(**rendered)
    on_record.noted(flow_instance_id=INSTANCE, flow_id=3377)
    for key in ("flow_instance_id", "return_value"):
        on_record.xcom(key, OTHER)
    assert served() == address(INSTANCE)
    # Before the request there is no instance, but the flow is known.
    on_record.noted(flow_instance_id=None, flow_id=3377)
    assert served() == address(OTHER)
    on_record.xcom("flow_instance_id", FOREIGN)
    assert served() == ""


@pytest.mark.skipif(AIRFLOW < (3, 3), reason="Airflow has task states from 3.3 on")
@pytest.mark.parametrize("noted", ["{", "[]", '"x"', "null", '{"max_tries": "0"}'])
def test_what_is_noted_and_cannot_be_read_is_nothing(on_record: OnRecord, noted: str) -> None:
    on_record.rendered()
    on_record.xcom("flow_instance_id", OTHER)
    on_record.noted(flow_instance_id=INSTANCE, flow_id=3377, max_tries=7)
    assert served() == address(OTHER), "it is from before a clear"
    from on_record import WHERE

    on_record.delete("task_state_store")
    on_record.insert("task_state_store", dag_run_id=1, **WHERE, key="enos_trigger", value=noted)
    assert served() == address(OTHER)


def test_a_task_that_pushes_no_xcom_has_its_link(on_record: OnRecord, console_url: Any) -> None:
    """As it stands in XCom, if it is what would be built for an instance of its flow."""
    on_record.rendered(flow_id=3377)
    on_record.xcom(LINK_KEY, address(INSTANCE))
    assert served() == address(INSTANCE)
    for evil in (address(FOREIGN), address(INSTANCE).replace("console.example", "evil.example"), address("3377-")):
        on_record.xcom(LINK_KEY, evil)
        assert served() == ""
    console_url("http://7-up.example/{flow_id}")
    on_record.xcom(LINK_KEY, "http://7-up.example/3377")
    assert served() == "http://7-up.example/3377"
    on_record.xcom(LINK_KEY, "http://7-up.example/5001")
    assert served() == ""


def test_where_nothing_says_which_flow_it_is_the_link_still_leads_to_the_console(on_record: OnRecord) -> None:
    """As for a sensor that no worker runs: a user who may write XComs chooses the instance, and no more."""
    on_record.rendered(flow_instance_id="{{ ti.xcom_pull('start') }}")
    on_record.xcom(LINK_KEY, address(FOREIGN))
    assert served() == address(FOREIGN)
    for evil in EVIL:
        on_record.xcom(LINK_KEY, evil)
        assert served() == ""


def test_where_there_is_nothing_there_is_no_link(
    on_record: OnRecord, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert served() == "", "nothing is rendered, and the DAG is not stored"
    on_record.rendered(flow_id=3377, enos_conn_id="not_there")
    on_record.xcom("flow_instance_id", INSTANCE)
    assert served() == ""
    assert "No link to the EnOS console" in caplog.text
    on_record.rendered(flow_id=3377)
    assert served() == address(INSTANCE)
    on_record.delete("task_instance")
    assert served() == ""
