"""``python -m airflow_provider_enos.simulator``."""

from __future__ import annotations

import json
import shlex
import signal
import subprocess
import sys
import urllib.request
from typing import Any

import pytest

from airflow_provider_enos.simulator import EnosSimulator

COMMAND = [sys.executable, "-W", "error", "-m", "airflow_provider_enos.simulator"]


def test_help_and_bad_arguments() -> None:
    told = subprocess.run([*COMMAND, "--help"], capture_output=True, text=True, check=True).stdout
    assert "--switch" in told
    assert "  minute_rule=trigger_minute\n" in told
    assert "(trigger_minute, clock)\n" in told
    bad = subprocess.run([*COMMAND, "--switch", "first_page=9"], capture_output=True, text=True, check=False)
    assert bad.returncode == 2
    assert "'first_page' takes one of 0, 1, not 9" in bad.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_run(number: Any) -> None:
    switches = ["--switch", "graph_keys=snake", "--switch", "request_id=True", "--switch", "log_grows=true"]
    options = ["--secret-key", "it's secret", "--progress", "seconds:3", *switches]
    with subprocess.Popen([*COMMAND, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout
        export, line = shlex.split(process.stdout.readline())
        name, _, text = line.partition("=")
        connection = json.loads(text)
        assert (export, name, connection["password"]) == (
            "export",
            "AIRFLOW_CONN_ENOS_DEFAULT",
            "it's secret",
        )
        url = f"http://127.0.0.1:{connection['port']}"
        with urllib.request.urlopen(f"{url}/_simulator/state") as reply:
            state = json.load(reply)["switches"]
        names = ("progress", "graph_keys", "request_id", "log_grows")
        assert [state[name] for name in names] == ["seconds:3", "snake", True, True]
        call = urllib.request.Request(
            f"{url}/apim-token-service/v2.0/token/get", b"{}", {"Content-Type": "application/json"}
        )
        urllib.request.urlopen(call).close()
        process.send_signal(number)
        out, log = process.communicate(timeout=10)
    assert (process.returncode, out) == (0, "")
    assert "POST token/get HTTP 200 code 1202" in log
    assert "secret" not in log


def test_port_in_use(sim: EnosSimulator) -> None:
    done = subprocess.run([*COMMAND, "--port", str(sim.port)], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith(f"Cannot listen on 127.0.0.1, port {sim.port}: ")
    assert done.stderr.count("\n") == 1
