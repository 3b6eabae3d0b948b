"""Turn errors of this package into Airflow's, and keep their tracebacks short."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType

from airflow_provider_enos.errors import EnosError
from airflow_provider_enos.version_compat import AirflowFailException


class airflow_errors:
    """Raise ``AirflowFailException`` for errors that a retry cannot mend, so that the task fails without one.

    Airflow prints the traceback of an error at the end of the task's log. The message of an error of this package says
    what is wrong. So such an error, and an error of Airflow that is raised from one, leave the block without the frames
    of this package, and Airflow prints one traceback and not a chain of them.

    :param keep: is given each error with which the block is left.
    :param known: whether the task has, or may have, an instance. Then a refusal stays as it is, so that the task is
        retried: the connection may be right by then, and the retry takes over the instance.
    """

    # No generator: ``contextlib`` would restore the frames that are dropped here.

    def __init__(
        self, keep: Callable[[BaseException], None] = lambda error: None, *, known: Callable[[], bool] = lambda: False
    ) -> None:
        self._keep = keep
        self._known = known

    def __enter__(self) -> None:
        """Begin the block."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is None:
            return
        self._keep(error)
        _shorten(error)
        if not isinstance(error, EnosError) or not error.final:
            return
        from airflow_provider_enos.protocol.follow.poll_tolerance import is_refusal

        if not (is_refusal(error) and self._known()):
            raise AirflowFailException(str(error)) from error


def _shorten(error: BaseException) -> None:
    """Drop the frames of an error of this package, of its causes, and of an error of Airflow that is raised from it.

    What stands behind them keeps its frames, since only they tell what it is.
    """
    chain = [error]
    while (cause := chain[-1].__cause__) is not None and cause not in chain:
        chain.append(cause)
    for one, its_cause in zip(chain, [*chain[1:], None], strict=True):
        if not isinstance(one, EnosError) and not isinstance(its_cause, EnosError):
            break
        one.__traceback__ = None
        # Its message says what it has made of the error that it has met.
        one.__suppress_context__ |= isinstance(one.__context__, EnosError)
