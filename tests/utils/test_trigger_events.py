from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_provider_enos.errors import EnosEventError, EnosPollLostError
from airflow_provider_enos.protocol.follow.window_wait import Window
from airflow_provider_enos.utils.trigger_events import InstanceEvent, WindowEvent

INSTANCE = "3377-20200706062600"


def through_json(payload: Any) -> Any:
    return json.loads(json.dumps(payload))


def test_an_instance_event_arrives_as_it_was_sent() -> None:
    told = {"status": "RUNNING", "nodes": {"108580": "SUCCESS"}}
    for event in (InstanceEvent(INSTANCE), InstanceEvent(INSTANCE, logs={"108580": [3, "line"]}, told=told)):
        assert InstanceEvent.of(through_json(event.to_json())) == event


def test_an_error_arrives_with_its_class_and_attributes() -> None:
    sent = InstanceEvent(INSTANCE, EnosPollLostError("lost", flow_instance_id=INSTANCE))
    error = InstanceEvent.of(through_json(sent.to_json())).error
    assert isinstance(error, EnosPollLostError)
    assert (str(error), error.flow_instance_id) == ("lost", INSTANCE)


def test_a_window_event_arrives_as_it_was_sent() -> None:
    event = WindowEvent(Window(1_594_016_760_000, 1_594_016_820_000))
    assert WindowEvent.of(through_json(event.to_json())) == event
    early = WindowEvent.of(through_json(WindowEvent(None, EnosPollLostError("x", flow_instance_id="")).to_json()))
    assert early.window is None
    assert isinstance(early.error, EnosPollLostError)


@pytest.mark.parametrize(
    "payload",
    [
        None,
        "ended",
        {},
        {"window": None, "status": "ended", "error": None},
        {"window": [2, 1], "status": "ended", "error": None},
        {"window": ["a", "b"], "status": "ended", "error": None},
        {"window": [1, 2], "status": "started", "error": None},
        {"window": [1, 2], "status": "error", "error": None},
        {"window": [1, 2], "status": "ended", "error": {"class": "EnosError", "message": "x"}},
    ],
    ids=str,
)
def test_a_window_event_of_somebody_else_is_refused(payload: Any) -> None:
    with pytest.raises(EnosEventError):
        WindowEvent.of(payload)
