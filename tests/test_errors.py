"""The exception tree."""

from __future__ import annotations

import copy
import inspect
import json
import pickle

import pytest

from airflow_provider_enos import errors
from airflow_provider_enos.errors import EnosApiError, EnosConfigError, EnosError, EnosSetupError, EnosTransportError

API = {"operation": "Get Flow", "http_status": 200, "request_id": "r-1", "hint": "look here"}
CLASSES = [cls for _, cls in inspect.getmembers(errors, inspect.isclass) if issubclass(cls, EnosError)]
FINAL = {
    "EnosConfigError",
    "EnosAuthError",
    "EnosAccessError",
    "EnosTriggerTargetError",
    "EnosCancelError",
}


def make(cls: type[EnosError]) -> EnosError:
    if issubclass(cls, EnosConfigError):
        return cls("flow_id", "'x'", accepted="a whole number")
    if issubclass(cls, EnosSetupError):
        return cls("HTTPS_PROXY: no", setting="HTTPS_PROXY")
    if issubclass(cls, EnosTransportError):
        return cls("connection refused", sent=False)
    if issubclass(cls, errors.EnosReplyError):
        return cls("no EnOS reply", http_status=200)
    if issubclass(cls, EnosApiError):
        return cls(62102, "Invalid request body.", **API)
    if issubclass(cls, (errors.EnosTriggerUncertainError, errors.EnosPollLostError)):
        return cls("lost", flow_instance_id="3377-20200706062600")
    if issubclass(cls, errors.EnosFlowError):
        return cls("ended", flow_instance_id="3377-20200706062600", status="FAIL", failed_tasks=("a",))
    if issubclass(cls, errors.EnosCancelError):
        return cls("too late", flow_instance_id="3377-20200706062600", status="SUCCESS")
    return cls("said so")


@pytest.mark.parametrize("cls", CLASSES)
def test_survives_pickle_and_copy(cls: type[EnosError]) -> None:
    """Airflow sends exceptions between processes."""
    error = make(cls)
    error.sent = False
    for again in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert (type(again), str(again), again.__dict__) == (cls, str(error), error.__dict__)


@pytest.mark.parametrize("cls", CLASSES)
def test_survives_an_event(cls: type[EnosError]) -> None:
    """A trigger sends its error to the task as JSON."""
    error = make(cls)
    error.sent = False
    again = errors.from_json(json.loads(json.dumps(errors.to_json(error))))
    assert (type(again), str(again), again.__dict__) == (cls, str(error), error.__dict__)


@pytest.mark.parametrize("data", [None, 5, {}, {"class": "Any", "message": "x"}, {"class": "EnosError", "message": 5}])
def test_event_that_holds_no_error(data: object) -> None:
    with pytest.raises(errors.EnosEventError):
        errors.from_json(data)


@pytest.mark.parametrize("cls", CLASSES)
def test_final(cls: type[EnosError]) -> None:
    """A retry cannot help with exactly these errors."""
    assert cls.final == (cls.__name__ in FINAL)


@pytest.mark.parametrize("cls", CLASSES)
def test_drawn_in_the_tree(cls: type[EnosError]) -> None:
    """The module docstring draws every class under its parent, and says "final" where it is."""
    lines = (errors.__doc__ or "").split('"final"')[0].splitlines()
    index = next(i for i, line in enumerate(lines) if cls.__name__ in line.replace("(", " ").split())
    depth = lines[index].index(cls.__name__)
    assert lines[index].endswith("final") == cls.final
    if cls is not EnosError:
        parent = next(line for line in reversed(lines[:index]) if 0 <= line.find("Enos") < depth)
        assert cls.__mro__[1].__name__ in parent


def test_config_error_is_a_value_error() -> None:
    error = EnosConfigError("flow_id", "'x'", accepted="a whole number")
    assert isinstance(error, ValueError)
    assert (str(error), error.field) == ("flow_id: 'x'; expected a whole number", "flow_id")


def test_api_error_says_all() -> None:
    error = EnosApiError(62103, "No privilege.", **API)
    assert str(error) == "Get Flow: 62103 No privilege. (look here) [request r-1]"
    assert (error.code, error.api_message, error.operation) == (62103, "No privilege.", "Get Flow")
    assert (error.http_status, error.request_id) == (200, "r-1")


def test_api_error_without_text() -> None:
    assert str(EnosApiError(502, "", operation="Get Flow", http_status=502)) == "Get Flow: 502"


def test_counts_as_sent_unless_told_otherwise() -> None:
    assert EnosError("x").sent
    assert not EnosTransportError("x", sent=False).sent
    assert errors.EnosRateLimitError(429, "", operation="", http_status=429).retry_after is None
