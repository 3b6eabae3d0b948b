"""Which errors are tolerated while something is polled, and for how long."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_enos.errors import (
    EnosAccessError,
    EnosAuthError,
    EnosConfigError,
    EnosError,
    EnosRequestError,
    EnosTransportError,
)

if TYPE_CHECKING:
    from airflow_provider_enos.protocol.log import Log


def is_refusal(error: EnosError) -> bool:
    """Return whether ``error`` refuses what the connection says, so that the connection has to be read again.

    Keys are rotated, tenants corrected, certificates and proxies replaced while tasks wait. So a wait tolerates a
    refusal like any other error, and asks again with the connection as it is then.
    """
    if isinstance(error, EnosTransportError):
        return error.tls
    return isinstance(error, (EnosAuthError, EnosAccessError, EnosConfigError))


class PollTolerance:
    """Measure for how long EnOS could not be asked. Log when that begins, when it exceeds the tolerance, and when it is
    over.

    :param subject: what is asked for.
    :param tolerance: for how many seconds polls may fail one after the other.
    :param known: whether EnOS is known to have it. If so, "not found" is tolerated too.
    :param gives_up: whether the wait ends after ``tolerance``. If not, it goes on, and the log has an error then.
    :param strict: whether a refusal before the first answer ends the wait: for a person at a terminal.
    """

    # A triggerer has thousands of them.
    __slots__ = (
        "_gives_up",
        "_log",
        "_said_late",
        "_said_refusal",
        "_strict",
        "_subject",
        "_tolerance",
        "failing_since",
        "known",
    )

    def __init__(
        self,
        subject: str,
        *,
        tolerance: float,
        log: Log,
        known: bool = False,
        gives_up: bool = True,
        strict: bool = False,
    ) -> None:
        self._subject = subject
        self._tolerance = tolerance
        self._log = log
        self._gives_up = gives_up
        self._strict = strict
        self._said_refusal = self._said_late = False
        self.known = known
        self.failing_since: float | None = None

    def remember(self, failing_since: object) -> None:
        """Take over the time since when polls have failed in another process; ignore anything but a time."""
        if isinstance(failing_since, (int, float)):
            self.failing_since = failing_since
            # The other process has logged why.
            self._said_refusal = True

    def answered(self, now: float) -> None:
        """Note that EnOS has answered."""
        if self.failing_since is not None:
            self._log.info("EnOS answers again for %s, after %.0f s", self._subject, now - self.failing_since)
            self.failing_since = None
        self._said_refusal = self._said_late = False

    def missed(self, error: EnosError, now: float) -> float | None:
        """Note that a poll met this error. Raise it if this wait does not tolerate it at all.

        Return for how many seconds EnOS could not be asked, once that is longer than is tolerated; None before.
        """
        if self._is_final(error):
            raise error
        lasted = 0.0 if self.failing_since is None else now - self.failing_since
        if self._gives_up and lasted >= self._tolerance:
            self.failing_since = now if self.failing_since is None else self.failing_since
            return lasted
        self.note(error, now)
        return None

    def note(self, error: EnosError, now: float) -> None:
        """Note an error, and never raise it. Log the first one, the first refusal, and once that it has lasted."""
        begins = self.failing_since is None
        if self.failing_since is None:
            self.failing_since = now
        lasted = now - self.failing_since
        if begins and self._gives_up:
            said = "Cannot ask EnOS for %s, will go on trying for %.0f s: %s"
            self._log.warning(said, self._subject, self._tolerance, error)
        elif begins:
            self._log.warning("Cannot ask EnOS for %s, will go on trying: %s", self._subject, error)
        elif is_refusal(error) and not self._said_refusal:
            # Somebody has to act on it.
            self._log.warning("Still cannot ask EnOS for %s, now for another reason: %s", self._subject, error)
        elif lasted >= self._tolerance and not self._said_late:
            self._said_late = True
            said = "EnOS could not be asked for %s for %.0f s; still trying. Last error: %s"
            self._log.error(said, self._subject, lasted, error)
        self._said_refusal = self._said_refusal or is_refusal(error)

    def _is_final(self, error: EnosError) -> bool:
        if is_refusal(error):
            return self._strict and not self.known
        if isinstance(error, EnosRequestError):
            return self._gives_up and not self.known
        return error.final
