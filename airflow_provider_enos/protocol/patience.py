"""Which errors a wait goes on with, and for how long: for all who ask EnOS again and again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_enos.errors import EnosError, EnosRequestError

if TYPE_CHECKING:
    from airflow_provider_enos.protocol.waiting import Log


class Patience:
    """For how long EnOS could not be asked. Says so in the log when that begins and when it is over.

    :param subject: what is asked for.
    :param tolerance: seconds for which that may fail one time after the other.
    :param known: whether EnOS is known to have it, so that a refusal may pass.
    """

    # A triggerer has thousands of them.
    __slots__ = ("_log", "_subject", "_tolerance", "failing_since", "known")

    def __init__(self, subject: str, *, tolerance: float, log: Log, known: bool = False) -> None:
        self._subject = subject
        self._tolerance = tolerance
        self._log = log
        self.known = known
        self.failing_since: float | None = None

    def remember(self, failing_since: object) -> None:
        """Takes up since when it has failed for another one of the same; anything but a time is passed over."""
        if isinstance(failing_since, (int, float)):
            self.failing_since = failing_since

    def answered(self, now: float) -> None:
        """EnOS has answered."""
        if self.failing_since is not None:
            self._log.info("EnOS answers again for %s, after %.0f s", self._subject, now - self.failing_since)
            self.failing_since = None

    def missed(self, error: EnosError, now: float) -> float | None:
        """This came instead: raises it if trying again cannot help.

        Gives for how many seconds EnOS could not be asked, once they are more than is tolerated.
        """
        if error.final or (isinstance(error, EnosRequestError) and not self.known):
            raise error
        if self.failing_since is None:
            self.failing_since = now
            said = "Cannot ask EnOS for %s, will go on trying for %.0f s: %s"
            self._log.warning(said, self._subject, self._tolerance, error)
        lasted = now - self.failing_since
        return lasted if lasted >= self._tolerance else None
