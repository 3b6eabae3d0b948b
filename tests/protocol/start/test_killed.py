"""A killed task has seconds to cancel the instance of an unanswered request."""

from __future__ import annotations

from typing import Any

import pytest
from starts import GONE, LOOK, NOW_MS, NOWHERE, TIME, UNSENT, ZONE, instance, name, page, written

from airflow_provider_enos.errors import EnosTransportError
from airflow_provider_enos.protocol.start.killed import cancel_unanswered

CANCEL = "Cancel Flow Instance"
OLD = instance(timestamp="2020-09-01 00:00:00.0")


@pytest.fixture
def kill(play: Any, clock: Any) -> Any:
    def kill(answers: Any, **intent: Any) -> Any:
        until = clock.now + 4
        steps = cancel_unanswered(written(0, 0, TIME, TIME, **intent), until=until, clock=clock, gateway_clock=clock)
        return play(steps, answers, clock)

    return kill


def test_instance_of_the_request_is_cancelled(kill: Any) -> None:
    played = kill([instance(), None])
    assert (played.value, played.operations) == (name(0), [LOOK, CANCEL])


def test_instance_of_another_name_is_cancelled(kill: Any) -> None:
    assert kill([GONE, page(), page(instance(instanceId="3377-odd")), None]).value == "3377-odd"


def test_request_that_is_still_under_way_is_waited_for(kill: Any) -> None:
    played = kill([*NOWHERE, *NOWHERE, instance(), None])
    assert (played.value, played.pauses) == (name(0), [1, 1])


@pytest.mark.parametrize("answers", [[instance(0, "SUCCESS")] * 4, [OLD, ZONE] * 4, NOWHERE * 4])
def test_nothing_else_is_cancelled(kill: Any, answers: Any) -> None:
    """No instance, one that has ended, or one that was there before."""
    played = kill(answers)
    assert (played.value, sum(played.pauses)) == (None, 3)
    assert CANCEL not in played.operations


def test_gateway_that_fails_is_asked_again(kill: Any) -> None:
    assert kill([UNSENT, instance(), UNSENT, instance(), None]).value == name(0)
    assert isinstance(kill([UNSENT] * 4).error, EnosTransportError)


def test_record_without_a_time_rules_nothing_out(kill: Any) -> None:
    assert kill([OLD, None], first_sent=0).value == name(0)
    assert NOW_MS > 0
