"""Errors of this package as Airflow's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from airflow_provider_enos.errors import EnosError
from airflow_provider_enos.protocol.follow.poll_tolerance import is_refusal
from airflow_provider_enos.version_compat import AirflowFailException


@contextmanager
def airflow_errors(known: Callable[[], bool] = lambda: False) -> Iterator[None]:
    """Turn errors that trying again cannot help into ``AirflowFailException``: the task fails without a retry.

    ``known``: whether there is, or may be, an instance of this task. Then a refusal stays as it is, so that the task is
    retried: the connection may be right by then, and the retry takes the instance over.
    """
    try:
        yield
    except EnosError as error:
        if error.final and not (is_refusal(error) and known()):
            raise AirflowFailException(str(error)) from error
        raise
