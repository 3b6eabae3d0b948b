"""``make bench``: the figures of the README, each beside what it is compared with. Loopback only."""

from __future__ import annotations

import compileall
import json
import os
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace

import polling

import airflow_provider_enos

INSTANCE = "3377-20200706062600"
TOKEN = {"status": 0, "msg": "SUCCESS", "data": {"accessToken": "t" * 40, "expire": 7200}}
GRAPH = {
    "tasks": [
        {
            "taskId": 108580 + n,
            "taskName": f"task {n}",
            "taskInstId": f"{108580 + n}-20200706062600",
            "status": "RUNNING",
        }
        for n in range(4)
    ]
}
DATA = {"instanceId": INSTANCE, "flowId": 3377, "flowName": "flow", "status": 2, "graph": json.dumps(GRAPH)}


def main() -> None:
    print(f"Python {sys.version.split()[0]}")
    signed_call()
    import_time()
    polling.main()


def signed_call(rounds: int = 3000) -> None:
    """One signed Get Flow Instance, read into a model, and the bare requests call that it is made of."""
    import requests

    from airflow_provider_enos.client import settings
    from airflow_provider_enos.client.sync import SyncClient
    from airflow_provider_enos.protocol.wire import calls

    with canned_gateway() as port:
        client = SyncClient(settings.read(connection(port)))
        call = calls.get_flow_instance(INSTANCE)
        url = f"http://127.0.0.1:{port}{call.path}?action=get&flowInstId={INSTANCE}&orgId=o1&userId=u1"
        session = requests.Session()
        signed, bare = interleaved(
            rounds,
            lambda: client.call(call),
            lambda: session.get(url, timeout=(10, 65), allow_redirects=False).json(),
        )
    print("\nOne call, keep-alive, loopback, median of", rounds)
    print(f"  bare requests.Session.get(...).json()   {bare * 1e6:7.0f} us")
    print(f"  signed, sent, checked, read into models {signed * 1e6:7.0f} us")
    print(f"  difference                              {(signed - bare) * 1e6:+7.0f} us   (target: at most +150)")


OURS = tuple(f"airflow_provider_enos.{part}.enos" for part in ("operators", "sensors", "hooks"))
DBT = tuple(f"airflow.providers.dbt.cloud.{part}.dbt" for part in ("operators", "sensors", "hooks"))


def import_time(rounds: int = 15) -> None:
    """What parsing a DAG file costs more for importing a provider's classes, in fresh interpreters, taken in turns."""
    # As pip installs it: compiled.
    compileall.compile_dir(os.path.dirname(airflow_provider_enos.__file__), quiet=1)
    seconds: dict[str, list[float]] = {"operator": [], "ours": [], "dbt": []}
    loaded = set()
    for _ in range(rounds):
        for name, modules in (("operator", OURS[:1]), ("ours", OURS), ("dbt", DBT)):
            took, http = imported(modules)
            seconds[name].append(took)
            if name != "dbt":
                loaded.add(http)
    operator, ours, dbt = (statistics.median(taken) for taken in seconds.values())
    print("\nimport after import airflow.sdk, median of", rounds)
    print(
        f"  the operators             {operator * 1e3:6.1f} ms   (target: at most 15); HTTP libraries: {loaded.pop()}"
    )
    passed = "pass" if ours <= 0.15 * dbt else "MISSED"
    print(
        f"  operators, sensors, hooks {ours * 1e3:6.1f} ms   dbt Cloud's {dbt * 1e3:6.1f} ms: {ours / dbt:.2f} of them"
    )
    print(f"                                        (target: at most 0.15)   {passed}")


def imported(modules: tuple[str, ...]) -> tuple[float, str]:
    """The seconds that it takes to import these, and the HTTP libraries that this loads."""
    code = (
        "import time, sys, airflow.sdk; before = set(sys.modules); begun = time.perf_counter();"
        f"import {', '.join(modules)};"
        "print(time.perf_counter() - begun);"
        "print([name for name in ('requests', 'aiohttp') if name in set(sys.modules) - before])"
    )
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    command = [str(polling.PEERS), "-c", code]
    printed = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    took, http = printed.splitlines()[-2:]
    return float(took), http


def interleaved(rounds: int, *works: Callable[[], object]) -> list[float]:
    """Return the median seconds of each, taken in turns, so that all meet the same load of the machine."""
    seconds: list[list[float]] = [[] for _ in works]
    for _ in range(rounds):
        for work, taken in zip(works, seconds, strict=True):
            begun = time.perf_counter()
            work()
            taken.append(time.perf_counter() - begun)
    return [statistics.median(taken[rounds // 10 :]) for taken in seconds]


def connection(port: int) -> SimpleNamespace:
    extra = {"org_id": "o1", "user_id": "u1"}
    return SimpleNamespace(
        conn_id="enos",
        host="127.0.0.1",
        port=port,
        schema="http",
        login="key",
        password="secret",
        extra=json.dumps(extra),
    )


@contextmanager
def canned_gateway() -> Iterator[int]:
    """Answers at once with the same reply, from a process of its own: what is measured is the client."""
    process = subprocess.Popen([sys.executable, __file__, "serve"], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield int(process.stdout.readline())
    finally:
        process.kill()
        process.communicate()


def serve() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
    while True:
        connected, _ = listener.accept()
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=answer, args=(connected,), daemon=True).start()


def answer(connected: socket.socket) -> None:
    replies = {
        name: b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
        for name, body in (
            ("token", json.dumps(TOKEN).encode()),
            ("data", json.dumps({"code": 0, "msg": "OK", "data": DATA}).encode()),
        )
    }
    while request := connected.recv(65536):
        connected.sendall(replies["token" if b"apim-token-service" in request.split(b"\r\n")[0] else "data"])


if __name__ == "__main__":
    serve() if sys.argv[1:] == ["serve"] else main()
