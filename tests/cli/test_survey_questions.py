"""The table of questions."""

from __future__ import annotations

from airflow_provider_enos.cli.survey_questions import NOT_ASKED, QUESTIONS
from airflow_provider_enos.simulator.config import SWITCHES


def test_every_switch_is_asked_for_or_has_a_reason_why_not() -> None:
    asked = [question.switch for question in QUESTIONS if question.switch]
    assert len(asked) == len(set(asked))
    assert {*asked, *NOT_ASKED} == SWITCHES.keys()
    assert not NOT_ASKED.keys() & set(asked)


def test_every_value_of_a_switch_has_its_words() -> None:
    for question in QUESTIONS:
        if question.switch and SWITCHES[question.switch].choices:
            assert question.says.keys() <= set(SWITCHES[question.switch].choices)
