"""A pytest fixture: an EnOS gateway for tests of your own DAGs.

In the ``conftest.py`` of your tests::

    pytest_plugins = ["airflow_provider_enos.testing.pytest_plugin"]

or, in one that is not at the top of them::

    from airflow_provider_enos.testing.pytest_plugin import enos_simulator
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from airflow_provider_enos.simulator import EnosSimulator

__all__ = ["enos_simulator"]

_LONGEST_PAUSE = 0.01


@pytest.fixture
def enos_simulator(monkeypatch: pytest.MonkeyPatch) -> Iterator[EnosSimulator]:
    """An EnOS gateway of this test's own, to which the connection ``enos_default`` leads.

    It has ended a flow instance when it is first asked for it, so nothing has to be waited for. Where a test has
    instances run for a while (``enos_simulator.progress = ("polls", 3)``), this package looks again after a hundredth
    of a second, whatever the intervals in the DAG are. This holds in the process of the test: ``dag.test()`` runs tasks
    and triggers there.
    """
    with EnosSimulator(progress="at_once") as simulator:
        monkeypatch.setenv("AIRFLOW_CONN_ENOS_DEFAULT", simulator.connection_json)
        _wait_for_nothing(monkeypatch)
        yield simulator


def _wait_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    # Not at the top: Airflow reads its settings, which tests may want to make, when it is imported.
    from airflow_provider_enos.client import sync
    from airflow_provider_enos.client.polling import poller
    from airflow_provider_enos.triggers import base

    monkeypatch.setattr(sync, "default_sleep", lambda seconds: time.sleep(min(seconds, _LONGEST_PAUSE)))
    monkeypatch.setattr(poller, "spread", lambda interval: min(interval, _LONGEST_PAUSE))
    # No supervisor is there to learn that the process which deferred the task has ended.
    monkeypatch.setattr(base, "_SETTLED", 0.0)
    # A free port may be one that an earlier simulator had; its token must not come along.
    monkeypatch.setattr(sync, "_gateways", {})
