"""What all tests share: an Airflow home of their own, a simulator, and a connection to it."""

from __future__ import annotations

import atexit
import fcntl
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pages import Site

# Before anything imports Airflow, which reads it once.
_home = tempfile.TemporaryDirectory(prefix="enos-tests-")
# Not in a hook: a process of xdist may end without one.
atexit.register(_home.cleanup)
os.environ["AIRFLOW_HOME"] = _home.name
os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"
os.environ["AIRFLOW__CORE__UNIT_TEST_MODE"] = "False"
# Airflow 2 warns of what it does by default.
os.environ["AIRFLOW__METRICS__TIMER_UNIT_CONSISTENCY"] = "True"
os.environ["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"] = f"sqlite:///{_home.name}/airflow.db"

from airflows import AIRFLOW  # noqa: E402
from worker import StateStore  # noqa: E402

from airflow_provider_enos.client import timing  # noqa: E402
from airflow_provider_enos.client.gateways import fresh_gateways  # noqa: E402
from airflow_provider_enos.simulator import EnosSimulator  # noqa: E402

_WHOLE_AIRFLOWS = {
    "tests/stack/": ("stack", "tasks"),
    "tests/plugins/view/test_app.py": ("stack", "pages"),
    "tests/plugins/view/test_record.py": ("stack", "pages"),
    "tests/browser/": ("browser", "pages"),
}
"""The tests that start an Airflow of many processes: their marker, and the group of those that share one."""

_SHARED_FIXTURES = {
    "tests/fuzzing/test_hostile_replies.py": "a parameter",
    "tests/test_package.py": "a file",
    "tests/test_serialization.py": "a file",
    "tests/test_structure.py": "a file",
}
"""Files with a fixture that takes many seconds, and what has one of its own: the file, or a parameter of its tests."""

_DATABASE = "migrated_home"
"""A fixture whose tests run Airflow on a database of their own, so they are marked ``stack``, too."""


def _whole_airflow(nodeid: str) -> tuple[str, str] | None:
    return next((kind for path, kind in _WHOLE_AIRFLOWS.items() if nodeid.startswith(path)), None)


def pytest_configure(config: pytest.Config) -> None:
    """Declare the markers: ``make test`` runs the tests that have neither."""
    config.addinivalue_line("markers", "stack: runs a whole Airflow (make test-stack)")
    config.addinivalue_line("markers", "browser: runs a whole Airflow and looks at its pages (make test-browser)")


def pytest_itemcollected(item: pytest.Item) -> None:
    """Mark the tests that start a whole Airflow, before ``-m`` selects."""
    if whole := _whole_airflow(item.nodeid):
        item.add_marker(whole[0])
    elif _DATABASE in getattr(item, "fixturenames", ()):
        item.add_marker("stack")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run whole Airflows first, since they take the longest."""
    items.sort(key=lambda item: _whole_airflow(item.nodeid) is None)


def _group(nodeid: str) -> str:
    """Return the group of a test. The tests of a group run one after the other, in one process."""
    if whole := _whole_airflow(nodeid):
        return whole[1]
    file, _, name = nodeid.partition("::")
    if file not in _SHARED_FIXTURES:
        return nodeid
    return file if _SHARED_FIXTURES[file] == "a file" else f"{file}[{name.partition('[')[2]}"


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: Any, log: Any) -> Any:
    """Run the tests in parallel, by groups."""
    # Not by xdist's own groups, which pytest 9.2 leads past.
    from xdist.scheduler import LoadScopeScheduling

    class ByGroups(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return _group(nodeid)

    return ByGroups(config, log)


@pytest.fixture(autouse=True)
def no_shared_gateways() -> Iterator[None]:
    """Forget tokens: a free port may be one that an earlier simulator had, and its token must not be used."""
    with fresh_gateways():
        yield


@pytest.fixture(autouse=True)
def no_handover() -> Iterator[None]:
    """Wait for no worker: none has deferred the tasks whose triggers run here."""
    with timing.override(handover=0.0):
        yield


@pytest.fixture
def override_timing() -> Iterator[Callable[..., None]]:
    """Return ``timing.override``, which holds until the test ends."""
    with ExitStack() as overrides:
        yield lambda **changes: overrides.enter_context(timing.override(**changes))


@pytest.fixture
def pauses(override_timing: Callable[..., None]) -> list[float]:
    """Return the seconds that clients would have slept. They do not sleep."""
    slept: list[float] = []

    def note(seconds: float) -> float:
        slept.append(seconds)
        return 0.0

    override_timing(pause=note)
    return slept


@pytest.fixture(autouse=True)
def never_rescheduled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Airflow 2 reads in its database when a sensor was first rescheduled. These tests have no database."""
    if AIRFLOW < (3, 0):
        monkeypatch.setattr("airflow.sensors.base._orig_start_date", lambda **_: None)


@pytest.fixture
def sim() -> Iterator[EnosSimulator]:
    """A simulator of the gateway, fresh for each test."""
    with EnosSimulator() as simulator:
        yield simulator


@pytest.fixture
def connection(sim: EnosSimulator, monkeypatch: pytest.MonkeyPatch) -> EnosSimulator:
    """The simulator, with ``enos_default`` leading to it."""
    monkeypatch.setenv("AIRFLOW_CONN_ENOS_DEFAULT", sim.connection_uri)
    return sim


@pytest.fixture(params=["with a state store", "without a state store"])
def store(request: pytest.FixtureRequest) -> StateStore | None:
    """Run the test with a state store, as on Airflow 3.3 and later, and without, as before."""
    return StateStore() if request.param == "with a state store" else None


@pytest.fixture
def broken_store() -> StateStore:
    return StateStore(broken=True)


@pytest.fixture
def state_store() -> StateStore:
    return StateStore()


@pytest.fixture(scope="session")
def migrated_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make an Airflow home with an empty database, for tests to copy. Once for all processes that run tests."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    home, done = shared / "airflow", shared / "airflow.done"
    with (shared / "airflow.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            database = {"AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db"}
            environment = {**os.environ, "AIRFLOW_HOME": str(home), **database}
            home.mkdir()
            command = [sys.executable, "-m", "airflow", "db", "migrate"]
            subprocess.run(command, env=environment, check=True, capture_output=True)
            done.touch()
    return home


@pytest.fixture
def short_pauses(override_timing: Callable[..., None]) -> None:
    """Shorten the pauses between repetitions of a call to a thousandth."""
    override_timing(pause=lambda seconds: seconds / 1000 if seconds > 0.1 else seconds)


@pytest.fixture(scope="session")
def airflow_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """One Airflow for all tests that look at its pages."""
    from airflow.plugins_manager import AirflowPlugin

    if not hasattr(AirflowPlugin, "external_views"):
        pytest.skip("Airflow before 3.1 has no tabs")
    from pages import site
    from view_scene import set_up

    with site(tmp_path_factory.mktemp("site"), Path(__file__).parent / "browser" / "dags") as looked_at:
        set_up(looked_at)
        yield looked_at
