"""Turn errors of this package into Airflow's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from airflow_provider_enos.errors import EnosError
from airflow_provider_enos.version_compat import AirflowFailException


@contextmanager
def airflow_errors(known: Callable[[], bool] = lambda: False) -> Iterator[None]:
    """Raise ``AirflowFailException`` for errors that a retry cannot mend, so that the task fails without one.

    :param known: whether the task has, or may have, an instance. Then a refusal stays as it is, so that the task is
        retried: the connection may be right by then, and the retry takes over the instance.
    """
    try:
        yield
    except EnosError as error:
        from airflow_provider_enos.protocol.follow.poll_tolerance import is_refusal

        if error.final and not (is_refusal(error) and known()):
            raise AirflowFailException(str(error)) from error
        raise
