"""The log of a node's run as it grows. EnOS gives it whole each time, so what is new is found by comparing."""

from __future__ import annotations

from time import time

from airflow_provider_enos.cli.running import Failure
from airflow_provider_enos.cli.terminal import Terminal
from airflow_provider_enos.errors import EnosError, EnosNotFoundError, EnosPollLostError, EnosRequestError
from airflow_provider_enos.hooks.enos import EnosHook
from airflow_provider_enos.protocol.follow.cancelling import has_stopped
from airflow_provider_enos.protocol.follow.log_place import Place, advance
from airflow_provider_enos.protocol.follow.poll_tolerance import PollTolerance
from airflow_provider_enos.protocol.models import FlowStatus, TaskInstance
from airflow_provider_enos.protocol.text import clean_lines
from airflow_provider_enos.protocol.wire import calls
from airflow_provider_enos.protocol.wire.messages import Procedure, Sleep

LOG_LENGTH = 2**22
"""Characters of a log to ask for; left to itself, EnOS gives a quarter of them."""
TOLERANCE = 600.0
"""Seconds for which EnOS may be out of reach while a log or an instance is followed."""


def follow_log(hook: EnosHook, task_instance_id: str, terminal: Terminal, *, lines: int | None, pause: float) -> str:
    """Prints the log until the run has ended; gives it whole. ``lines``: of what is there at first, only the last."""
    return hook.client.run(_Follower(task_instance_id, terminal, lines, pause).follow())


def check_may_run(run: TaskInstance) -> Procedure[None]:
    """Raises ``Failure`` for a run that has not begun and never will: its instance has stopped without it."""
    if run.status is not FlowStatus.INIT or not run.flow_instance_id:
        return
    try:
        instance = yield calls.get_flow_instance(run.flow_instance_id)
    except EnosNotFoundError:
        return
    if has_stopped(instance):
        raise Failure(
            f"{run.task_instance_id} has no log, since it has not run: its flow instance {run.flow_instance_id} has "
            f"ended without it ({instance.status})"
        )


class _Follower:
    def __init__(self, task_instance_id: str, terminal: Terminal, lines: int | None, pause: float) -> None:
        self._id = task_instance_id
        self._terminal = terminal
        self._lines = lines
        self._pause = pause
        self._text = ""
        self._place = Place()
        subject = f"task instance {task_instance_id}"
        self._tolerance = PollTolerance(subject, tolerance=TOLERANCE, log=terminal, strict=True)
        self._unknown: EnosRequestError | None = None

    def follow(self) -> Procedure[str]:
        while True:
            try:
                # In this order: what is written before the end is then in the log.
                ended = yield from self._ended()
                yield from self._read()
                self._tolerance.answered(time())
            except EnosError as error:
                self._missed(error)
                ended = False
            self._print(whole=ended)
            if ended:
                return self._text
            yield Sleep(self._pause)

    def _ended(self) -> Procedure[bool]:
        if self._unknown is not None:
            return False
        try:
            run = yield calls.get_task_instance(self._id)
        except EnosRequestError as error:
            if self._tolerance.known:
                raise
            # EnOS before 2.3 cannot be asked for a run; whether there is one its log tells.
            self._unknown = error
            return False
        self._tolerance.known = True
        self._terminal.progress(f"{self._id}: {run.status}")
        yield from check_may_run(run)
        return bool(run.status.ended)

    def _read(self) -> Procedure[None]:
        try:
            text = yield calls.get_task_instance_log(self._id, LOG_LENGTH)
        except EnosNotFoundError:
            if self._unknown is not None and not self._tolerance.known:
                raise self._unknown from None
            return
        if self._unknown is not None and not self._tolerance.known:
            self._tolerance.known = True
            said = "EnOS does not tell when this run ends (%s): following until interrupted"
            self._terminal.warning(said, self._unknown)
        self._text = text

    def _missed(self, error: EnosError) -> None:
        if self._tolerance.missed(error, time()) is not None:
            raise EnosPollLostError(
                f"task instance {self._id}: EnOS could not be asked for {TOLERANCE:.0f} s. Last error: {error}",
                flow_instance_id=self._id,
            ) from error

    def _print(self, *, whole: bool) -> None:
        """Prints what is new, up to the last whole line unless there comes no more."""
        was_shown = self._place.offset > 0
        lines, self._place, _ = advance(self._place, self._text, final=whole)
        if not lines:
            return
        fresh = clean_lines("\n".join(lines))
        if self._lines is not None and not was_shown:
            fresh = fresh[-self._lines :]
        if not self._terminal.as_json:
            self._terminal.lines(fresh)
