"""The server's life, and EnosSimulator itself."""

from __future__ import annotations

import http.client
import json
import ssl
import subprocess
import sys
import threading
import time
import urllib.request
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from airflow_provider_enos.simulator import EnosSimulator

INSTANCE = "3377-20200706062600"


def threads_on(port: int) -> list[str]:
    """Return the threads of the simulator that has, or had, this port: other tests may run simulators too."""
    return [thread.name for thread in threading.enumerate() if thread.name.startswith(f"enos-simulator-{port}")]


def test_stop_leaves_no_thread() -> None:
    sim = EnosSimulator()
    sim.start()
    with pytest.raises(RuntimeError, match="already"):
        sim.start()
    idle = http.client.HTTPConnection("127.0.0.1", sim.port)
    idle.request("GET", "/")
    idle.getresponse().read()
    sim.fault("slow_before", on="token/get", seconds=60)
    slow = http.client.HTTPConnection("127.0.0.1", sim.port)
    slow.request("POST", "/apim-token-service/v2.0/token/get", b"{}")
    while not sim.count("token/get"):
        time.sleep(0.001)
    port = sim.port
    assert len(threads_on(port)) == 3
    before = time.monotonic()
    sim.stop()
    sim.stop()
    assert time.monotonic() - before < 2
    assert threads_on(port) == []
    idle.close()
    slow.close()


def test_restart_keeps_port_and_state(sim: EnosSimulator) -> None:
    port = sim.port
    sim.trigger(3377)
    sim.stop()
    sim.start()
    assert sim.port == port
    assert len(sim.instances) == 1


def test_port_in_use(sim: EnosSimulator) -> None:
    with pytest.raises(OSError, match="in use"):
        EnosSimulator(port=sim.port).start()


def test_connection_forms() -> None:
    sim = EnosSimulator(port=1, access_key="a/b:c@d", secret_key="p%w &?", org_id="o 1", user_id="u&2")
    parts = urlsplit(sim.connection_uri)
    assert (parts.scheme, parts.hostname, parts.port, parts.path) == ("enos", "127.0.0.1", 1, "/http")
    assert (unquote(parts.username or ""), unquote(parts.password or "")) == ("a/b:c@d", "p%w &?")
    assert parse_qs(parts.query) == {"org_id": ["o 1"], "user_id": ["u&2"]}
    form = json.loads(sim.connection_json)
    assert (form["conn_type"], form["login"], form["extra"]["user_id"]) == ("enos", "a/b:c@d", "u&2")


def test_secrets_are_not_shown(sim: EnosSimulator, client: Any) -> None:
    client.trigger()
    client.token_call("refresh", accessToken=client.token)
    shown = repr(sim) + repr(sim.requests) + "".join(str(record.headers) for record in sim.requests)
    assert sim.secret_key not in shown
    assert client.token not in shown


@pytest.mark.parametrize(
    ("name", "value"),
    [("first_page", 2), ("first_page", True), ("time_zone", "UTC"), ("clock_skew", "1"), ("request_id", 1)],
)
def test_unknown_switch_values(sim: EnosSimulator, name: Any, value: Any) -> None:
    before = sim.switch_values
    with pytest.raises(ValueError, match=name):
        setattr(sim, name, value)
    with pytest.raises(ValueError, match=name):
        sim.switch({"graph_keys": "snake", name: value})
    assert sim.switch_values == before


def test_unknown_switch(sim: EnosSimulator) -> None:
    with pytest.raises(ValueError, match="there is no switch 'last_page'; there are progress, first_page"):
        sim.last_page = 1
    with pytest.raises(ValueError, match="there is no switch"):
        EnosSimulator(last_page=1)  # type: ignore[call-arg]


def test_events(sim: EnosSimulator, client: Any) -> None:
    events: list[tuple[str, str, int | None, int]] = []
    sim.on_event(lambda *told: events.append((told[0], told[1].operation, told[1].status, len(sim.instances))))
    client.trigger()
    client.get()
    sim.stop()  # whatever thread still has something to tell has told it
    assert events[2:] == [
        ("received", "flows/triggerFromTask", None, 0),
        ("accepted", "flows/triggerFromTask", None, 1),
        ("replied", "flows/triggerFromTask", 200, 1),
        ("received", "flowInstances/get", None, 1),
        ("replied", "flowInstances/get", 200, 1),
    ]


def test_records(sim: EnosSimulator, client: Any) -> None:
    client.trigger()
    record = sim.requests[-1]
    assert (record.method, record.resource, record.action) == ("POST", "flows", "triggerFromTask")
    assert record.query["orgId"] == sim.org_id
    assert record.json["taskId"] == 108580
    assert (record.status, record.code, record.fault) == (200, 0, None)
    assert sim.count("flows/triggerFromTask") == sim.count("token/get") == 1


def test_keep_alive_is_prompt(sim: EnosSimulator, client: Any) -> None:
    client.token_call()
    took = []
    for _ in range(60):
        before = time.monotonic()
        client.call("time/getTimeZone")
        took.append(time.monotonic() - before)
    assert min(took[20:]) < 0.03, "delayed acknowledgements take 40 ms each"


def test_fifty_threads_get_one_instance(sim: EnosSimulator, client: Any) -> None:
    clients = [type(client)(sim) for _ in range(50)]
    for other in clients:
        other.token = client.token
    codes: list[int] = []
    start = threading.Barrier(50)

    def trigger(number: int) -> None:
        start.wait()
        # A second of the minute each, so that no two carry one signature.
        codes.append(clients[number].trigger(triggerTime=1594016760000 + number).json["code"])

    threads = [threading.Thread(target=trigger, args=(number,)) for number in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(codes) == [0] + [62102] * 49
    assert [instance.id for instance in sim.instances] == [INSTANCE]
    for other in clients:
        other.connection.close()


def test_tls(tmp_path: Path) -> None:
    context = self_signed(tmp_path / "gateway.pem")
    with EnosSimulator(tls=context) as sim:
        port = sim.port
        assert sim.url.startswith("https://")
        assert json.loads(sim.connection_json)["schema"] == "https"
        trusting = ssl.create_default_context(cafile=str(tmp_path / "gateway.pem"))
        idle = http.client.HTTPSConnection("127.0.0.1", sim.port, context=trusting)
        idle.request("GET", "/nowhere")
        assert idle.getresponse().read()
        with pytest.raises(OSError, match=r"."):
            urllib.request.urlopen(f"{sim.url.replace('https', 'http')}/nowhere")
    assert threads_on(port) == []
    idle.close()


def self_signed(path: Path) -> ssl.SSLContext:
    """A server's context with a certificate made for the occasion."""
    x509 = pytest.importorskip("cryptography.x509")
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.oid.NameOID.COMMON_NAME, "EnOS simulator")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    address = x509.IPAddress(IPv4Address("127.0.0.1"))
    certificate = (
        builder.not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    path.write_bytes(certificate.public_bytes(pem) + key.private_bytes(pem, *plain))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    return context


def test_import_is_cheap() -> None:
    code = (
        "import sys, airflow_provider_enos.simulator as s; assert 'http.server' not in sys.modules;"
        "s.EnosSimulator; assert not any(m == 'airflow' or m.startswith('airflow.') for m in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
