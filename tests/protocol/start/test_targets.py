"""What to start, by ids or by names that are looked up once a round."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_enos.protocol.models import Flow, FlowPage
from airflow_provider_enos.protocol.start.attempts import Intent, Names, Target
from airflow_provider_enos.protocol.start.targets import TargetChoice
from airflow_provider_enos.protocol.wire.names import Choice

HERE = "https://gateway o1"
BY_NAME = TargetChoice(Choice(name="readings"), Choice(name="clean"))
FOUND = Target(3377, 108580, names=Names("readings", "clean", 108580))
PAGE = FlowPage.parse([{"flowId": 3377, "flowName": "readings"}])
FLOW = Flow.parse({"flowId": 3377, "graph": '{"tasks": [{"taskId": 108580, "taskName": "clean"}]}'})
RECORD = Intent(2, 0, 5, 5, flow_id=3377, origin=HERE, flow_name="readings", node_name="clean", node_id=108580)


@pytest.fixture
def target(play: Any, log: Any) -> Any:
    """Plays the look-up; returns what it came to."""
    return lambda choice, intent, answers: play(choice.target(log, intent, HERE), answers)


def test_ids_are_taken_as_they_are(target: Any) -> None:
    played = target(TargetChoice(Choice(3377), Choice(108580)), None, [])
    assert (played.value, played.operations) == (Target(3377, 108580), [])
    whole = target(TargetChoice(Choice(3377), parameters={"a": "b"}), None, [])
    assert whole.value == Target(3377, None, {"a": "b"})


def test_names_are_looked_up(target: Any) -> None:
    played = target(BY_NAME, None, [PAGE, FLOW])
    assert played.value == FOUND
    assert played.operations[-1] == "Get Flow"


def test_the_next_try_does_not_look_again(target: Any, log: Any) -> None:
    played = target(BY_NAME, RECORD, [])
    assert (played.value, played.operations) == (FOUND, [])
    assert "flow 3377, as an earlier try has found" in log.lines[0]


@pytest.mark.parametrize(
    ("changes", "answers"),
    [
        ({"origin": "https://gateway o2"}, [PAGE, FLOW]),
        ({"flow_id": 0}, [PAGE, FLOW]),
        ({"flow_name": "other"}, [PAGE]),
        ({"flow_name": ""}, [PAGE]),
    ],
)
def test_a_record_of_something_else_is_no_answer(target: Any, changes: dict[str, Any], answers: list[Any]) -> None:
    """A node that was found in the same flow is still known."""
    record = Intent.from_json({**RECORD.to_json(), **changes})
    assert target(BY_NAME, record, answers).value == FOUND


def test_another_node_is_looked_up_in_the_flow_that_is_known(target: Any) -> None:
    played = target(BY_NAME, Intent.from_json({**RECORD.to_json(), "node_name": "load"}), [FLOW])
    assert (played.value, played.operations) == (FOUND, ["Get Flow"])
