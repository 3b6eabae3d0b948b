"""The poller's metrics in Airflow."""

from __future__ import annotations

import asyncio
import re
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from airflows import AIRFLOW
from fake_tenant import SETTINGS, FakeTenant
from virtual_time import run as run_virtually

from airflow_provider_enos.client.polling import metrics
from airflow_provider_enos.client.polling.poller import Poller


class Stats:
    """Airflow's, as far as it is used."""

    def __init__(self) -> None:
        self.counters = Counter[str]()
        self.gauges: dict[str, float] = {}
        self.most_waits = 0.0

    def incr(self, stat: str, count: int = 1) -> None:
        self.counters[stat] += count

    def gauge(self, stat: str, value: float) -> None:
        self.gauges[stat] = value
        if stat == "enos.poller.waits":
            self.most_waits = max(self.most_waits, value)


@pytest.fixture
def stats(monkeypatch: pytest.MonkeyPatch) -> Stats:
    stats = Stats()
    monkeypatch.setattr(metrics, "_stats", lambda: stats)
    return stats


def test_how_the_waits_of_a_tenant_fare(fresh: Callable[..., FakeTenant], stats: Stats) -> None:
    tenant = fresh(first_page=0)

    async def main() -> None:
        poller = Poller(SETTINGS)
        runs = [tenant.start() for _ in range(60)]
        for run in runs[::20]:
            run.shows_end = False
        waits = [asyncio.create_task(tenant.wait(poller, run, 10.0, read_end=False)) for run in runs]
        await asyncio.sleep(200)
        for run in runs:
            tenant.end(run)
            await asyncio.sleep(1)
        await asyncio.gather(*waits)
        await poller.close()

    run_virtually(main())
    assert stats.most_waits == 60
    assert stats.gauges["enos.poller.waits"] == 0
    assert 0 <= stats.gauges["enos.poller.feed_age"] < 5
    counted = {name.removeprefix("enos.poller."): count for name, count in stats.counters.items()}
    assert counted["requests.ends"] > 20
    assert counted["requests.running"] > 2
    assert counted["requests.instance"] > 2
    assert counted["requests.ends"] + counted["requests.running"] == tenant.asked["list"]
    assert "lost_polls" not in counted


def test_without_airflow_nothing_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "_stats", lambda: None)
    metrics.count("requests.ends")
    metrics.gauge("feed_age", 1.0)
    metrics.more_waits(1)
    metrics.more_waits(-1)


def test_names_are_such_as_airflow_takes(stats: Stats) -> None:
    metrics.count("requests.instance")
    metrics.more_waits(1)
    metrics.more_waits(-1)
    for name in (*stats.counters, *stats.gauges):
        assert re.fullmatch(r"enos\.poller\.[a-z_.]+", name)


def test_docs_list_each_metric() -> None:
    package = Path(metrics.__file__).parents[2]
    sources = "".join(path.read_text() for path in package.rglob("*.py"))
    named = set(re.findall(r'metrics\.(?:count|gauge)\("([a-z_.]+)"', sources)) | {"waits"}
    kinds = set(re.findall(r'(?:runner|call|run)\("([a-z]+)",? ?', (package / "client/polling/poller.py").read_text()))
    documented = (Path(__file__).parents[3] / "docs" / "scale.md").read_text()
    for name in named | {f"requests.{kind}" for kind in kinds}:
        assert f"`enos.poller.{name}`" in documented, name


SEND = """
import os
from airflow_provider_enos.client.polling import metrics
metrics.count("lost_polls")
metrics.more_waits(3)
"""


@pytest.mark.skipif(AIRFLOW < (3, 0), reason="Airflow 2 has statsd in an extra of its own")
def test_they_arrive_where_airflow_sends_its_own(tmp_path: Path) -> None:
    pytest.importorskip("statsd")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listening:
        listening.bind(("127.0.0.1", 0))
        listening.settimeout(10)
        environment: dict[str, Any] = {
            "AIRFLOW_HOME": str(tmp_path),
            "AIRFLOW__METRICS__STATSD_ON": "True",
            "AIRFLOW__METRICS__STATSD_HOST": "127.0.0.1",
            "AIRFLOW__METRICS__STATSD_PORT": str(listening.getsockname()[1]),
            "PATH": "",
        }
        subprocess.run([sys.executable, "-c", SEND], env=environment, check=True, capture_output=True, timeout=60)
        sent = set[str]()
        while len({one for one in sent if ".enos." in one}) < 2:
            sent.add(listening.recv(1000).decode())
    assert {"airflow.enos.poller.lost_polls:1|c", "airflow.enos.poller.waits:3|g"} <= sent
