"""One wait for something in EnOS, the same in a worker, in a sensor and in the triggerer.

``InstanceWatch`` waits for one flow instance, ``WindowWatch`` for the instances of a flow in a window of trigger times.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from math import inf
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from airflow_provider_enos.errors import EnosError, EnosFlowTimeoutError, EnosPollLostError
from airflow_provider_enos.protocol.follow.deadline import within
from airflow_provider_enos.protocol.follow.poll_tolerance import PollTolerance, is_refusal
from airflow_provider_enos.protocol.wire.messages import Procedure, Sleep

if TYPE_CHECKING:
    from airflow_provider_enos.protocol.follow.log_tail import LogStream
    from airflow_provider_enos.protocol.log import Log

BEFORE_DEFERRAL = 10.0
"""Seconds that a poll may take before the triggerer takes over."""

Seen = TypeVar("Seen")
"""What a poll returns: a ``FlowInstance`` or a ``Verdict``."""


class Watch(ABC, Generic[Seen]):
    """Poll an instance or a window until the wait for it is over.

    It logs changes, never a poll that shows nothing new. It tolerates errors for a while. In all methods ``clock``
    returns epoch seconds, and so is ``deadline``.

    :param subject: what is polled, for the log.
    :param tolerance: for how many seconds polls may fail one after the other.
    :param known: whether EnOS is known to have it. If so, "not found" is tolerated too.
    :param stream: shows the logs of the nodes as they grow; None where they are not to be shown.
    :param gives_up: whether the wait ends after ``tolerance``. If not, it goes on to its deadline.
    :param strict: whether a refusal before the first answer ends the wait: for a person at a terminal.
    """

    # A triggerer has thousands of them.
    __slots__ = ("log", "stream", "tolerance")

    def __init__(
        self,
        subject: str,
        *,
        tolerance: float,
        log: Log,
        known: bool = False,
        stream: LogStream | None = None,
        gives_up: bool = True,
        strict: bool = False,
    ) -> None:
        self.tolerance = PollTolerance(
            subject, tolerance=tolerance, log=log, known=known, gives_up=gives_up, strict=strict
        )
        self.log = log
        self.stream = stream

    @abstractmethod
    def sight(self, *, clock: Callable[[], float]) -> Procedure[Seen]:
        """Poll once and return what there is. Raise every error, without regard to the tolerance."""

    @abstractmethod
    def is_over(self, seen: Seen) -> bool:
        """Return whether there is nothing left to wait for."""

    @abstractmethod
    def lost(self, said: str, error: EnosError) -> EnosPollLostError:
        """Return the error of a wait that ends because EnOS could not be asked: "EnOS ``said``"."""

    @abstractmethod
    def out_of_time(self) -> EnosFlowTimeoutError:
        """Return the error of a wait whose deadline is over."""

    @property
    @abstractmethod
    def memory(self) -> dict[str, Any]:
        """Return what it knows, as JSON: for a wait that goes on in another process."""

    @abstractmethod
    def remember(self, memory: object) -> None:
        """Take over the ``memory`` of another watch of the same thing; ignore anything else."""

    @property
    @abstractmethod
    def told(self) -> dict[str, Any]:
        """Return what it has logged, as JSON: for the trigger or the resumed task, which log in the same log.

        Empty if it has logged nothing.
        """

    @abstractmethod
    def was_told(self, told: object) -> None:
        """Log nothing again that another watch of the same thing has ``told``; ignore anything else."""

    @property
    def known(self) -> bool:
        """Return whether EnOS is known to have what is polled."""
        return self.tolerance.known

    def missed(self, error: EnosError, now: float) -> None:
        """Note that a poll met this error. Raise it, or ``EnosPollLostError``, if the wait cannot go on."""
        lasted = self.tolerance.missed(error, now)
        if lasted is not None:
            raise self.lost(f"could not be asked for {lasted:.0f} s", error) from error

    def look(
        self, *, clock: Callable[[], float], deadline: float = inf, raises_refusals: bool = False
    ) -> Procedure[Seen | None]:
        """Poll once: return what there is, or None where the poll met an error that is tolerated.

        Raise ``EnosFlowTimeoutError`` if the poll itself lasts beyond the ``deadline``.

        :param raises_refusals: whether to raise a refusal and not to tolerate it: for a caller that reads the
            connection again and then calls ``missed`` itself.
        """
        return within(deadline, self._look(clock, raises_refusals), clock=clock, late=self.out_of_time)

    def _look(self, clock: Callable[[], float], raises_refusals: bool) -> Procedure[Seen | None]:
        try:
            return (yield from self.sight(clock=clock))
        except EnosError as error:
            if raises_refusals and is_refusal(error):
                raise
            self.missed(error, clock())
            return None

    def look_before_deferral(self, *, clock: Callable[[], float], deadline: float = inf) -> Procedure[Seen | None]:
        """Poll once, for 10 seconds at most. Return None if no reply comes in time: the triggerer will poll, too."""
        try:
            return (yield from self.look(clock=clock, deadline=min(deadline, clock() + BEFORE_DEFERRAL)))
        except EnosFlowTimeoutError:
            return None

    def wait(
        self,
        *,
        poll_interval: float,
        deadline: float,
        clock: Callable[[], float],
        until: Callable[[Seen], bool] | None = None,
    ) -> Procedure[Seen]:
        """Poll every ``poll_interval`` seconds until it is over, and return what the last poll has shown.

        :param until: in place of ``is_over``.
        :raises EnosFlowTimeoutError: at the ``deadline``.
        """
        is_over = until or self.is_over
        while True:
            seen = yield from self.look(clock=clock, deadline=deadline)
            if seen is not None and is_over(seen):
                return seen
            left = deadline - clock()
            if left <= 0:
                raise self.out_of_time()
            yield Sleep(min(poll_interval, left))

    def recheck(
        self, error: EnosError, *, clock: Callable[[], float], until: Callable[[Seen], bool] | None = None
    ) -> Procedure[Seen]:
        """Poll once more before a task ends with ``error``, the error with which its trigger has ended the wait.

        The connection may work again by now, and what was waited for may be over. Then return what the poll has shown.

        :param until: in place of ``is_over``.
        :raises EnosPollLostError: in place of a refusal, since the task may be retried.
        :raises EnosError: ``error``, if it is no refusal.
        """
        is_over = until or self.is_over
        steps = within(
            clock(), self.sight(clock=clock), clock=clock, late=lambda: self.lost("did not answer in time", error)
        )
        try:
            seen = yield from steps
        except EnosError as failure:
            self.log.warning("Looked once more before the wait ends, without success: %s", failure)
        else:
            if is_over(seen):
                return seen
        raise self.lost("refused to be asked", error) if is_refusal(error) else error
