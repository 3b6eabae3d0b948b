"""Whatever a file or a flow holds: a definition, or an error that names it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import enos_documents as documents
from fuzzing import JSON, TEXTS, assert_fit_for_a_log, changed, hold
from hypothesis import strategies as st

from airflow_provider_enos.errors import EnosConfigError, EnosReplyError
from airflow_provider_enos.protocol.flow_definition import FlowDefinition
from airflow_provider_enos.protocol.flow_differences import differences
from airflow_provider_enos.protocol.models import Flow

WRITTEN = {
    "format": 1,
    "flow_id": 3377,
    "name": "daily",
    "nodes": [{"task_id": 1, "name": "a"}, {"task_id": 2, "name": "b"}],
    "relations": [[1, 2]],
    "schedule": {"active": True, "cycle": "D", "cron": "0 0 0 * * ? *", "start_date": ""},
    "parameters": {"day": None, "region": "emea"},
}
SENT = {**documents.WHOLE_FLOW, "graph": {**documents.FLOW_GRAPH, "flows": [], "relations": []}}


def unless_refused(made: Callable[[], Any], source: str) -> Any:
    """What it makes; None where it is refused, in words that name the source and are fit for a log."""
    try:
        return made()
    except EnosConfigError as error:
        said = str(error)
    assert said.startswith(source)
    assert_fit_for_a_log(said, 1_000)
    return None


def read(data: Any) -> FlowDefinition | None:
    found: FlowDefinition | None = unless_refused(lambda: FlowDefinition.from_json(data, "a file"), "a file: ")
    return found


def test_whatever_a_file_is() -> None:
    def check(data: Any) -> None:
        found = read(data)
        if found is not None:
            assert FlowDefinition.from_text(found.text(), "its text") == found
            assert differences(found, found) == ()

    hold(check, data=changed([WRITTEN]) | JSON)


def test_whatever_text_a_file_has() -> None:
    whole = json.dumps(WRITTEN)

    def check(text: str | bytes, cut: int) -> None:
        for one in (text, whole[:cut]):
            unless_refused(lambda one=one: FlowDefinition.from_text(one, "a file"), "a file: ")

    hold(check, text=TEXTS | st.binary(max_size=40), cut=st.integers(0, len(whole)))


def test_whatever_a_flow_is() -> None:
    def check(data: Any) -> None:
        try:
            flow = Flow.parse(data)
        except EnosReplyError:
            return
        found = unless_refused(lambda: FlowDefinition.of(flow, parameter_values=True), "flow ")
        if found is not None:
            assert FlowDefinition.from_text(found.text(), "its text") == found

    hold(check, data=changed([SENT, documents.FLOW, documents.WHOLE_FLOW]))


def test_whatever_differs() -> None:
    def check(one: Any, other: Any, by_name: bool) -> None:
        there, now = read(one), read(other)
        if there is None or now is None:
            return
        found = unless_refused(lambda: differences(there, now, by_name=by_name), "flow ")
        assert by_name or found is not None
        for difference in found or ():
            assert_fit_for_a_log(str(difference))
            assert json.loads(json.dumps(difference.to_json()))["text"] == str(difference)

    hold(check, one=changed([WRITTEN]), other=changed([WRITTEN]), by_name=st.booleans())
