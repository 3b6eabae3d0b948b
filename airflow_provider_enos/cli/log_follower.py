"""The log of a node's run as it grows. EnOS gives it whole each time, so comparing shows what is new."""

from __future__ import annotations

from time import time

from airflow_provider_enos.cli.runner import Failure
from airflow_provider_enos.cli.terminal import Terminal
from airflow_provider_enos.errors import EnosError, EnosNotFoundError, EnosPollLostError, EnosRequestError
from airflow_provider_enos.protocol.follow.cancelling import has_stopped
from airflow_provider_enos.protocol.follow.log_place import Place, advance
from airflow_provider_enos.protocol.follow.poll_tolerance import PollTolerance
from airflow_provider_enos.protocol.models import FlowStatus, TaskInstance
from airflow_provider_enos.protocol.text import clean_lines
from airflow_provider_enos.protocol.wire import calls
from airflow_provider_enos.protocol.wire.messages import Procedure, Sleep

LOG_LENGTH = 2**22
"""Characters of a log to ask for: four times as many as EnOS gives by default."""
TOLERANCE = 600.0
"""Seconds for which EnOS may be out of reach while the command line follows a log or an instance."""


def check_may_run(run: TaskInstance) -> Procedure[None]:
    """Raise ``Failure`` for a run that has not begun and never will, since its instance has stopped without it."""
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


class LogFollower:
    """Print the log of a run until the run has ended.

    :param lines: how many of the lines that are there at first to print, the last ones; None: all.
    :param pause: seconds between two polls.
    """

    def __init__(self, task_instance_id: str, terminal: Terminal, lines: int | None, pause: float) -> None:
        self._id = task_instance_id
        self._terminal = terminal
        self._lines = lines
        self._pause = pause
        self._text = ""
        self._printed = Place()
        subject = f"task instance {task_instance_id}"
        self._tolerance = PollTolerance(subject, tolerance=TOLERANCE, log=terminal, strict=True)
        self._no_status: EnosRequestError | None = None
        """Why EnOS does not tell the run's status: releases before 2.3 lack this call. None: it does."""

    def steps(self) -> Procedure[str]:
        """Follow the log; return it whole.

        Raise ``EnosPollLostError`` where EnOS cannot be asked for longer than is tolerated.
        """
        while True:
            try:
                # In this order: what is written before the end is then in the log.
                ended = yield from self._has_ended()
                yield from self._read()
                self._tolerance.answered(time())
            except EnosError as error:
                self._missed(error)
                ended = False
            self._print(whole=ended)
            if ended:
                return self._text
            yield Sleep(self._pause)

    def _has_ended(self) -> Procedure[bool]:
        if self._no_status is not None:
            return False
        try:
            run = yield calls.get_task_instance(self._id)
        except EnosRequestError as error:
            if self._tolerance.known:
                raise
            # Reading the log tells whether there is such a run.
            self._no_status = error
            return False
        self._tolerance.known = True
        self._terminal.progress(f"{self._id}: {run.status}")
        yield from check_may_run(run)
        return bool(run.status.ended)

    def _read(self) -> Procedure[None]:
        try:
            text = yield calls.get_task_instance_log(self._id, LOG_LENGTH)
        except EnosNotFoundError:
            if self._no_status is not None and not self._tolerance.known:
                raise self._no_status from None
            return
        if self._no_status is not None and not self._tolerance.known:
            self._tolerance.known = True
            said = "EnOS does not tell when this run ends (%s): following it until you interrupt"
            self._terminal.warning(said, self._no_status)
        self._text = text

    def _missed(self, error: EnosError) -> None:
        if self._tolerance.missed(error, time()) is not None:
            raise EnosPollLostError(
                f"task instance {self._id}: EnOS could not be asked for {TOLERANCE:.0f} s. Last error: {error}",
                flow_instance_id=self._id,
            ) from error

    def _print(self, *, whole: bool) -> None:
        """Print what is new, up to the last whole line unless the log has ended."""
        was_shown = self._printed.offset > 0
        lines, self._printed, _ = advance(self._printed, self._text, final=whole)
        if not lines:
            return
        fresh = clean_lines("\n".join(lines))
        if self._lines is not None and not was_shown:
            fresh = fresh[-self._lines :]
        if not self._terminal.as_json:
            self._terminal.lines(fresh)
