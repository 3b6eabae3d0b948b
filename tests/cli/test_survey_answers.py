"""Answers of a survey: known, or unknown with the reason."""

from __future__ import annotations

from airflow_provider_enos.cli.survey_answers import Answer, agreed, form, unknown


def test_what_all_places_agree_on() -> None:
    assert agreed(["text", None, "text"], "nothing") == Answer("text")
    assert agreed([False, False], "nothing") == Answer(False)
    assert agreed([None], "there is nothing") == unknown("there is nothing")
    assert agreed(["text", "object"], "nothing") == Answer(
        None, "unknown: it differs from place to place (text, object)"
    )


def test_true_is_no_number() -> None:
    forms = {"int": "numbers", "str": "text"}
    assert [form(value, forms) for value in (3377, "3377", True, None)] == ["numbers", "text", None, None]
