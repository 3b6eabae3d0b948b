from __future__ import annotations

import re
import traceback

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


def printed(error: BaseException) -> str:
    return "".join(traceback.format_exception(error))


def fail(error: BaseException, cause: BaseException | None = None) -> None:
    """Raise it as the package does: some frames deep, and from another error."""
    try:
        if cause is not None:
            raise cause
    except BaseException as caught:
        raise error from caught
    raise error


def task(error: BaseException, cause: BaseException | None = None) -> None:
    with airflow_errors():
        fail(error, cause)


@pytest.mark.parametrize("cls", [errors.EnosFlowFailedError, errors.EnosTriggerTargetError])
@pytest.mark.parametrize("cause", [None, errors.EnosNotFoundError], ids=str)
def test_one_short_traceback(cls: type[errors.EnosError], cause: type[errors.EnosError] | None) -> None:
    """What remains are the frames above the block, which Airflow adds, and the cause without frames."""
    with pytest.raises(Exception, match="what went wrong") as caught:
        task(made(cls), cause and made(cause))
    text = printed(caught.value)
    assert text.count("Traceback") == 1
    assert "in fail" not in text
    assert text.endswith("what went wrong\n")


def test_the_error_behind_one_of_airflow_has_no_frames_either() -> None:
    late = made(errors.EnosFlowTimeoutError)
    with pytest.raises(AirflowException) as caught:
        task(AirflowException("x"), late)
    assert caught.value.__cause__ is late
    assert printed(caught.value).count("Traceback") == 1


def test_errors_of_others_keep_their_frames() -> None:
    with pytest.raises(ValueError, match="x") as caught:
        task(ValueError("x"), KeyError("y"))
    assert printed(caught.value).count("in fail") == 2
    with pytest.raises(errors.EnosError) as behind:
        task(made(errors.EnosReplyError), KeyError("y"))
    assert printed(behind.value).count("in fail") == 1


def test_a_circle_of_causes_ends() -> None:
    one, other = made(errors.EnosPollLostError), made(errors.EnosReplyError)
    one.__cause__, other.__cause__ = other, one
    with pytest.raises(errors.EnosPollLostError), airflow_errors():
        raise one


def test_without_an_error_nothing_happens() -> None:
    with airflow_errors():
        done = True
    assert done
