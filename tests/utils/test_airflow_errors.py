from __future__ import annotations

import re

import pytest

from airflow_provider_enos import errors
from airflow_provider_enos.protocol.follow.poll_tolerance import is_refusal
from airflow_provider_enos.utils.airflow_errors import airflow_errors
from airflow_provider_enos.version_compat import AirflowException, AirflowFailException


def subclasses(cls: type[errors.EnosError]) -> list[type[errors.EnosError]]:
    return [cls, *(one for direct in cls.__subclasses__() for one in subclasses(direct))]


ALL = subclasses(errors.EnosError)
NOT_OURS = (ValueError("x"), AirflowException("x"), KeyboardInterrupt(), SystemExit(1))


def made(cls: type[errors.EnosError]) -> errors.EnosError:
    """One of them, whatever its attributes are: the boundary asks only whether it is final."""
    error = cls.__new__(cls)
    error.args = ("what went wrong",)
    return error


def test_which_errors_are_final() -> None:
    """The list of those marked so in the tree of ``errors``: all others may be worth another try."""
    marked = re.findall(r"(Enos\w+)(?: \(\w+\))? .* final$", errors.__doc__ or "", re.MULTILINE)
    assert {cls.__name__ for cls in ALL if cls.final and cls.__module__ == errors.__name__} == set(marked)
    assert {
        "EnosConfigError",
        "EnosAuthError",
        "EnosAccessError",
        "EnosTriggerTargetError",
    } <= set(marked)


@pytest.mark.parametrize("cls", [cls for cls in ALL if cls.final])
def test_what_trying_again_cannot_help_fails_the_task_for_good(cls: type[errors.EnosError]) -> None:
    error = made(cls)
    with pytest.raises(AirflowFailException) as caught, airflow_errors():
        raise error
    assert caught.value.__cause__ is error
    assert str(caught.value) == "what went wrong"


@pytest.mark.parametrize(
    "error", [*(made(cls) for cls in ALL if not cls.final), *NOT_OURS], ids=lambda error: type(error).__name__
)
def test_all_else_passes_as_it_is(error: BaseException) -> None:
    with pytest.raises(type(error)) as caught, airflow_errors():
        raise error
    assert caught.value is error


@pytest.mark.parametrize("cls", [cls for cls in ALL if cls.final])
def test_a_refusal_is_retried_once_there_is_an_instance(cls: type[errors.EnosError]) -> None:
    error = made(cls)
    with pytest.raises(cls if is_refusal(error) else AirflowFailException), airflow_errors(known=lambda: True):
        raise error


def test_without_an_error_nothing_happens() -> None:
    with airflow_errors():
        done = True
    assert done
