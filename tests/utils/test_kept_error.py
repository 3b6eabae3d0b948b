"""The error with which a task ends is kept in XCom, for the tab."""

from __future__ import annotations

import json
import logging
from types import SimpleNamespace

import pytest
from worker import TaskInstance

from airflow_provider_enos import errors
from airflow_provider_enos.utils.airflow_errors import airflow_errors
from airflow_provider_enos.utils.kept_error import ERROR_KEY, LENGTH, keeper
from airflow_provider_enos.version_compat import (
    AirflowException,
    AirflowFailException,
    AirflowNotFoundException,
    AirflowSensorTimeout,
    AirflowSkipException,
)

TASK = SimpleNamespace(do_xcom_push=True)
REFUSED = errors.EnosConfigError("org_id", "is missing", accepted="the id of an organization")


def kept(error: BaseException, *, do_xcom_push: bool = True) -> object:
    ti = TaskInstance()
    keeper(SimpleNamespace(do_xcom_push=do_xcom_push), ti)(error)
    return ti.xcom.get(ERROR_KEY)


def caused(error: BaseException, cause: BaseException) -> BaseException:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    "error",
    [
        REFUSED,
        errors.EnosTriggerTargetError("flow_id: EnOS has no flow 9"),
        errors.EnosPollLostError("out of reach", flow_instance_id="3377-1"),
        errors.EnosFlowTimeoutError("it did not end", flow_instance_id="3377-1", status="RUNNING"),
        AirflowNotFoundException("The conn_id `enos_default` isn't defined"),
        caused(AirflowFailException("as Airflow has it"), REFUSED),
        caused(AirflowSensorTimeout("too late"), errors.EnosTriggerError("x")),
        caused(AirflowSkipException("skipped instead"), REFUSED),
    ],
    ids=lambda error: type(error).__name__,
)
def test_errors_whose_text_is_known_are_kept(error: BaseException) -> None:
    assert kept(error) == {"error": str(error)}
    assert kept(error, do_xcom_push=False) is None


@pytest.mark.parametrize(
    "error",
    [
        # The instance says why.
        errors.EnosFlowFailedError("m", flow_instance_id="3377-1", status="FAIL"),
        errors.EnosFlowCancelledError("m", flow_instance_id="3377-1", status="CANCEL"),
        # What these say is not known: it may be a secret.
        RuntimeError("vault says: s.hunter2 is not a token"),
        AirflowException("s.hunter2"),
        AirflowSkipException("s.hunter2"),
        KeyboardInterrupt(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_no_other_error_is_kept(error: BaseException) -> None:
    assert kept(error) is None


def test_what_is_kept_is_cleaned_and_bounded() -> None:
    found = kept(errors.EnosTriggerError("a\x1b[31m\u202e\n" + "x" * 100_000))
    assert isinstance(found, dict)
    assert found["error"].isprintable()
    assert len(found["error"]) <= LENGTH
    assert json.dumps(found)


def test_a_store_that_fails_does_not_hide_the_error(caplog: pytest.LogCaptureFixture) -> None:
    def fail(key: str) -> None:
        raise RuntimeError("no XComs today")

    keep = keeper(TASK, TaskInstance(on_push=fail))
    with caplog.at_level(logging.WARNING), pytest.raises(AirflowFailException), airflow_errors(keep):
        raise REFUSED
    assert "Cannot store the error in XCom: no XComs today" in caplog.text


def test_a_task_that_ends_well_keeps_nothing() -> None:
    ti = TaskInstance()
    with airflow_errors(keeper(TASK, ti)):
        pass
    assert ti.xcom == {}
