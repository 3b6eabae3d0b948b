"""A pytest fixture: an EnOS gateway for tests of your own DAGs.

In the ``conftest.py`` of your tests::

    pytest_plugins = ["airflow_provider_enos.testing.pytest_plugin"]

or, in one that is not at the top of them::

    from airflow_provider_enos.testing.pytest_plugin import enos_simulator
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from airflow_provider_enos.client import timing
from airflow_provider_enos.client.gateways import fresh_gateways
from airflow_provider_enos.simulator import EnosSimulator

__all__ = ["enos_simulator"]

_short = timing.at_most(0.01)


@pytest.fixture
def enos_simulator(monkeypatch: pytest.MonkeyPatch) -> Iterator[EnosSimulator]:
    """Run an EnOS gateway for this test, and let the connection ``enos_default`` lead to it.

    A flow instance has ended when it is first polled, so no test has to wait. If you let instances run for a while
    (``enos_simulator.progress = ("polls", 3)``), this package polls every hundredth of a second, whatever the intervals
    in the DAG are. This holds in the process of the test, where ``dag.test()`` runs tasks and triggers.
    """
    with EnosSimulator(progress="at_once") as simulator:
        monkeypatch.setenv("AIRFLOW_CONN_ENOS_DEFAULT", simulator.connection_json)
        # One process defers the task and resumes it, so no time is needed until a worker's process has ended.
        with timing.override(pause=_short, poll_pause=_short, handover=0.0), fresh_gateways():
            yield simulator
