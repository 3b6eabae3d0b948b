"""The ways in which a task can wait, each part of it in an operator of its own, as in another process."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowSkipException, TaskDeferred, XCom
from airflow.triggers.base import BaseTaskEndEvent
from worker import StateStore, TaskInstance

from airflow_provider_enos.version_compat import AirflowTaskTimeout

try:
    from airflow.sdk.exceptions import AirflowRescheduleException
except ImportError:  # Airflow before 3.2
    from airflow.exceptions import AirflowRescheduleException  # type: ignore[no-redef, unused-ignore]


@dataclass(frozen=True)
class End:
    """How a task has ended."""

    error: type[BaseException] | None
    message: str
    xcom: Any


def waited(operator: Any) -> End:
    """Return the end of a task, deferred or not. Each part runs in an operator of its own, as in another process."""
    ti = TaskInstance()
    context: Any = {"ti": ti, "task_state_store": StateStore()}
    try:
        try:
            result = operator().execute(context)
        except TaskDeferred as deferral:
            if deferral.timeout is not None:
                raise  # Airflow would end the task without asking us
            event = asyncio.run(anext(deferral.trigger.run()))
            resumed = getattr(operator(), deferral.method_name)
            kwargs = json.loads(json.dumps(deferral.kwargs or {}))
            result = resumed(context, json.loads(json.dumps(event.payload)), **kwargs)
    except (Exception, AirflowTaskTimeout) as error:
        return End(type(error), str(error), ti.xcom.get("return_value"))
    return End(None, "", result)


def executed(make: Callable[[], Any]) -> End:
    """Do the same as ``waited``, with Airflow's own loop around each poll, in every mode."""
    if make().mode != "reschedule":
        return waited(make)
    context: Any = {"ti": TaskInstance(), "task_state_store": StateStore()}
    context["ti"].get_first_reschedule_date = lambda _: None
    while True:
        try:
            return End(None, "", make().execute(context))
        except AirflowRescheduleException:
            continue
        except Exception as error:
            return End(type(error), str(error), None)


def rescheduled(operator: Any) -> End:
    """Run a sensor in reschedule mode, each poll in an operator of its own."""
    context: Any = {"ti": TaskInstance(), "task_state_store": StateStore()}
    try:
        while not (found := operator().poke(context)):
            pass
    except Exception as error:
        return End(type(error), str(error), None)
    return End(None, "", found.xcom_value)


def started_from_trigger(operator: Any, said_if_skipped: str) -> End:
    """Run a sensor that starts in the triggerer, and ends there or is resumed. Before Airflow 3.3 it defers.

    A sensor that is skipped in the triggerer says nothing. ``said_if_skipped`` is what it would say in a worker.
    """
    task = operator()
    if not task.start_from_trigger:
        return waited(operator)
    arguments = json.loads(json.dumps(task.start_trigger_args.trigger_kwargs))
    module, _, name = task.start_trigger_args.trigger_cls.rpartition(".")
    trigger = getattr(import_module(module), name)(**arguments)
    # As the triggerer renders templates.
    for field, value in getattr(task, "rendered", {}).items():
        setattr(trigger, field, value)
    pushed: dict[str, Any] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(XCom, "set", lambda key, value, **_: pushed.update({key: value}))
        trigger.task_instance = SimpleNamespace(dag_id="d", task_id="task", run_id="r", map_index=-1, start_date=None)
        event = asyncio.run(anext(trigger.run()))
    if isinstance(event, BaseTaskEndEvent):
        skipped = str(event.task_instance_state) == "skipped"
        return End(
            AirflowSkipException if skipped else None, said_if_skipped if skipped else "", pushed.get("return_value")
        )
    try:
        context: Any = {"ti": TaskInstance()}
        assert not task.start_trigger_args.next_kwargs
        result = getattr(operator(), task.start_trigger_args.next_method)(context, event.payload)
    except (Exception, AirflowTaskTimeout) as error:
        return End(type(error), str(error), None)
    return End(None, "", result)
