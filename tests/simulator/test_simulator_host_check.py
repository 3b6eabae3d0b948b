"""Who may talk to the simulator, by Host and Origin, on every path."""

from __future__ import annotations

import json
import logging
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import ProxyHandler, Request, build_opener

import pytest

from airflow_provider_enos.simulator import EnosSimulator
from airflow_provider_enos.simulator.host_check import HostCheck

# Whatever proxy the environment names.
urlopen = build_opener(ProxyHandler({})).open
COMMAND = [sys.executable, "-W", "error", "-m", "airflow_provider_enos.simulator"]
PATHS = [
    "/_simulator/state",
    "/_simulator/nothing",
    "/apim-token-service/v2.0/token/get",
    "/batch-processing-service/v2.1/flows?action=trigger",
    "/",
]


def spoken(sim: EnosSimulator, *lines: str, target: str = "/_simulator/state", version: str = "HTTP/1.1") -> int:
    """The HTTP status of a GET with these header lines and no others."""
    sent = "\r\n".join([f"GET {target} {version}", *lines, "Connection: close", "", ""])
    with socket.create_connection((sim._address, sim.port), timeout=10) as line:
        line.sendall(sent.encode("latin-1"))
        answer = b""
        while piece := line.recv(65536):
            answer += piece
    return int(answer.split(b" ", 2)[1])


@pytest.fixture(scope="module")
def named() -> Iterator[EnosSimulator]:
    with EnosSimulator(allowed_hosts=["host.docker.internal", "Simulator:8790", "[fd00::5]"]) as sim:
        yield sim


def is_let_in(sim: EnosSimulator, *lines: str, **how: str) -> bool:
    return spoken(sim, *lines, **how) != 403


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1:{port}",
        "localhost:{port}",
        "LOCALHOST:{port}",
        "localhost.:{port}",
        "127.0.0.1.:{port}",
        "localhost",
        "localhost:",
        # A container or a tunnel may have another port outside.
        "localhost:9000",
        "127.1.2.3:{port}",
        "[::1]:{port}",
        "[0:0:0:0:0:0:0:1]:{port}",
        "[::FFFF:127.0.0.1]:{port}",
        "host.docker.internal:{port}",
        "Host.Docker.Internal.:1",
        "simulator:8790",
        "[FD00:0::5]:{port}",
    ],
)
def test_whose_host_it_has(named: EnosSimulator, host: str) -> None:
    assert is_let_in(named, f"Host: {host.format(port=named.port)}")


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "lines",
    [
        ["Host: evil.example:{port}"],
        ["Host: localhost.evil.example"],
        ["Host: evil.localhost"],
        ["Host: localhost.."],
        ["Host: 127.0.0.1.evil.example"],
        ["Host: 192.0.2.1:{port}"],
        ["Host: 0.0.0.0:{port}"],
        ["Host: [2001:db8::1]:{port}"],
        ["Host: [::1"],
        ["Host: ::1"],
        ["Host: 127.1"],
        ["Host: 2130706433"],
        ["Host: simulator:8791"],
        ["Host: simulator"],
        ["Host: user@localhost"],
        ["Host: localhost/x"],
        ["Host: localhost:port"],
        ["Host: localhost, evil.example"],
        ["Host: %6cocalhost"],
        ["Host: localho\u017ft".encode().decode("latin-1")],
        ["Host:"],
        [],
        ["Host: localhost", "Host: localhost"],
        ["Host: localhost", "Host: evil.example"],
        ["Host: localhost", "Origin: http://evil.example"],
        ["Host: localhost:{port}", "Origin: null"],
        ["Host: localhost:{port}", "Origin:"],
        ["Host: localhost:{port}", "Origin: file://"],
        ["Host: localhost:{port}", "Origin: chrome-extension://abc"],
        ["Host: localhost:{port}", "Origin: http://localhost:{port}", "Origin: http://evil.example"],
        ["Host: localhost:{port}", "Origin: http://localhost:{port} http://evil.example"],
        # Another server of this machine, which may show anybody's pages.
        ["Host: localhost:{port}", "Origin: http://localhost:1"],
        ["Host: localhost:{port}", "Origin: http://localhost"],
        ["Host: localhost:{port}", "Origin: localhost:{port}"],
        ["Host: localhost:{port}", "Origin: http://simulator:8791"],
        # An image on a page; browsers send no Origin with it.
        ["Host: localhost:{port}", "Sec-Fetch-Site: cross-site", "Sec-Fetch-Dest: image"],
        ["Host: localhost:{port}", "Sec-Fetch-Site: same-site"],
    ],
    ids=str,
)
def test_who_is_kept_out(named: EnosSimulator, lines: list[str], path: str) -> None:
    """On the paths of the gateway, of the control, and on unknown paths."""
    assert not is_let_in(named, *[line.format(port=named.port) for line in lines], target=path)
    assert named.requests == []


@pytest.mark.parametrize(
    "origin",
    [
        "http://localhost:{port}",
        "HTTP://LOCALHOST.:{port}",
        "https://127.0.0.1:{port}",
        "http://[::1]:{port}",
        "http://host.docker.internal:3000",
        "https://host.docker.internal",
        "http://simulator:8790",
    ],
)
def test_an_origin_of_the_same_list(named: EnosSimulator, origin: str) -> None:
    port = str(named.port)
    assert is_let_in(named, f"Host: localhost:{port}", f"Origin: {origin.format(port=port)}")


@pytest.mark.parametrize("site", ["none", "same-origin"])
def test_an_address_that_somebody_types_into_a_browser(named: EnosSimulator, site: str) -> None:
    assert is_let_in(named, f"Host: localhost:{named.port}", f"Sec-Fetch-Site: {site}")


def test_a_port_that_is_not_named_is_the_one_of_the_scheme(named: EnosSimulator) -> None:
    """As through a proxy that listens on port 80."""
    assert is_let_in(named, "Host: localhost", "Origin: http://localhost")
    assert not is_let_in(named, "Host: localhost", "Origin: https://localhost")


@pytest.mark.parametrize("path", PATHS)
def test_a_target_in_absolute_form(named: EnosSimulator, path: str) -> None:
    """Then both name a host, and both count."""
    own, port = "Host: localhost", named.port
    assert is_let_in(named, own, target=f"http://localhost:{port}{path}")
    assert spoken(named, own, target="HTTP://localhost/_simulator/state") == 200
    assert spoken(named, own, target="http://localhost?x") == 404
    assert not is_let_in(named, own, target=f"http://evil.example{path}")
    assert not is_let_in(named, own, target=f"http://localhost@evil.example{path}")
    assert not is_let_in(named, own, target=f"http://{path}")
    assert not is_let_in(named, "Host: evil.example", target=f"http://localhost{path}")
    named.reset()


def test_without_a_host(named: EnosSimulator) -> None:
    """No browser leaves it out."""
    assert not is_let_in(named, version="HTTP/1.0")
    assert is_let_in(named, "Host: localhost", version="HTTP/1.0")
    assert not is_let_in(named, version="HTTP/1.1")


def test_what_is_refused_does_nothing(sim: EnosSimulator, client: Any) -> None:
    """It is signed as it should be, and would start an instance."""
    token = client.token
    before = len(sim.requests)
    sim.fault("http_500", on="flows/triggerFromTask")
    client.send("POST", "/_simulator/flows", b'{"flow_id": 7}', Host="evil.example")
    assert 7 not in {flow.flow_id for flow in sim.flows}
    plain = client.send
    client.send = lambda *args, **headers: plain(*args, **headers, Host="evil.example:80")
    assert client.trigger().status == 403
    client.send = lambda *args, **headers: plain(*args, **headers, Origin="http://evil.example")
    assert client.trigger().status == 403
    assert client.token_call().status == 403
    assert (sim.instances, len(sim.requests), len(sim.armed_faults)) == ([], before, 1)
    client.send = plain
    assert token == client.token
    assert client.trigger().status == 500


def test_a_refusal_is_logged_and_says_how_to_let_it_in(
    sim: EnosSimulator, client: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        answers = [
            client.send("GET", "/_simulator/state", Host="Gateway.Example:8790"),
            client.send("GET", "/batch-processing-service/v2.1/time?x=1", Origin="http://[fd00::5]:3000"),
        ]
        client.send("GET", "/", Host="a\x1b[31m'" + "b" * 300)
    for answer, message, host in zip(answers, caplog.messages, ("gateway.example", "[fd00::5]"), strict=False):
        (text,) = answer.json.values()
        assert f"--allow-host {host} " in text
        assert text in message
        assert message.startswith("Refused GET ")
    assert len(caplog.messages) == 3
    assert all(message.isprintable() and len(message) < 400 for message in caplog.messages)
    with EnosSimulator(allowed_hosts=["gateway.example", "[fd00::5]"]) as other:
        assert is_let_in(other, "Host: Gateway.Example:8790", "Origin: http://[fd00::5]:3000")


@pytest.mark.parametrize("name", ["", "http://x", "a b", "x/", "*", "[::1", "a:b", "user@x", 7])
def test_what_cannot_be_allowed(name: Any) -> None:
    with pytest.raises(ValueError, match="an allowed host is a name or an address"):
        EnosSimulator(allowed_hosts=[name])


def test_what_is_allowed_may_be_one_name_and_may_change_until_it_starts() -> None:
    sim = EnosSimulator(allowed_hosts="simulator")
    sim.allowed_hosts += ("other",)
    with sim:
        assert [is_let_in(sim, f"Host: {name}") for name in ("simulator", "other", "s")] == [True, True, False]


def test_an_address_of_this_machine_counts_where_it_was_reached() -> None:
    """So a simulator that listens on all addresses, as in a container, need not name them."""
    with EnosSimulator(host="0.0.0.0") as sim:
        assert sim.url == f"http://127.0.0.1:{sim.port}"
        assert json.loads(sim.connection_json)["host"] == "127.0.0.1"
        assert is_let_in(sim, f"Host: 0.0.0.0:{sim.port}")
        assert not is_let_in(sim, "Host: 192.0.2.1")
        own = _address_of_this_machine()
        if own is not None:
            with urlopen(f"http://{own}:{sim.port}/_simulator/state") as reply:
                assert reply.status == 200
            foreign = Request(f"http://{own}:{sim.port}/_simulator/state", headers={"Host": "evil.example"})
            with pytest.raises(OSError, match="403"):
                urlopen(foreign)


def _address_of_this_machine() -> str | None:
    """Return an address that is not of the loopback interface, if there is one. Nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return None
        return str(probe.getsockname()[0])


@pytest.mark.skipif(not socket.has_ipv6 or not Path("/proc/net/if_inet6").exists(), reason="there is no IPv6")
def test_on_ipv6() -> None:
    with EnosSimulator(host="::1") as sim:
        assert sim.url == f"http://[::1]:{sim.port}"
        with urlopen(f"{sim.url}/_simulator/state") as reply:
            assert reply.status == 200


def test_the_name_that_it_listens_on() -> None:
    check = HostCheck("simulator.internal", [], "http")

    def refused(host: str) -> bool:
        from airflow_provider_enos.simulator.wire import Request as Asked

        return check.refusal(Asked("GET", "/", headers={"host": host})) is not None

    assert [refused(host) for host in ("Simulator.Internal:1", "localhost", "simulator")] == [False, False, True]


def test_the_switches_of_the_command() -> None:
    options = ["--host", "0.0.0.0", "--allow-host", "simulator", "--allow-host", "other:1", "--quiet"]
    with subprocess.Popen([*COMMAND, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            assert process.stderr
            connection = json.loads(process.stdout.readline().partition("=")[2].strip().strip("'"))
            url = f"http://127.0.0.1:{connection['port']}/_simulator/state"
            with urlopen(Request(url, headers={"Host": "simulator:8790"})) as reply:
                assert reply.status == 200
            with pytest.raises(OSError, match="403"):
                urlopen(Request(url, headers={"Host": "evil.example"}))
            # Also where it is to log no requests.
            assert "--allow-host evil.example" in process.stderr.readline()
        finally:
            process.terminate()
    bad = subprocess.run([*COMMAND, "--allow-host", "http://x"], capture_output=True, text=True, check=False)
    assert bad.returncode == 2
    assert "an allowed host is a name or an address" in bad.stderr


# ---- --state --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["/dev/zero", "/dev/null", "/dev/urandom", "fifo", "directory", "socket", "huge"])
def test_a_state_that_is_no_file_of_ours_is_refused_at_once(kind: str, tmp_path: Path) -> None:
    path, line = tmp_path / "state", socket.socket(socket.AF_UNIX)
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "directory":
        path.mkdir()
    elif kind == "socket":
        line.bind(str(path))
    elif kind == "huge":
        with path.open("wb") as file:
            file.truncate(2**40)
    else:
        path = Path(kind)
    done = subprocess.run(
        [*COMMAND, "--state", str(path)], capture_output=True, text=True, check=False, timeout=20,
        preexec_fn=_with_little_memory,
    )  # fmt: skip
    line.close()
    assert done.returncode == 2
    said = done.stderr.splitlines()[-1]
    assert str(path) in said
    assert ("larger than 64 MiB" if kind == "huge" else "no regular file") in said
    assert "give a file that the simulator has written, or a path where there is none yet" in said


def _with_little_memory() -> None:
    import resource

    resource.setrlimit(resource.RLIMIT_AS, (2**30, 2**30))


@pytest.mark.parametrize("path", ["/proc/self/status", "/proc/kmsg", "/sys/kernel/mm/transparent_hugepage/enabled"])
def test_a_file_that_says_it_is_empty_and_is_not(path: str) -> None:
    if not Path(path).exists():
        pytest.skip("there is no such file here")
    with pytest.raises((ValueError, OSError), match=r"holds no state|permitted|denied|unavailable|too large|seek"):
        EnosSimulator().load(path)


def test_nothing_but_a_file_is_written_over(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path in (pipe, tmp_path):
        with pytest.raises(OSError, match="no regular file"):
            EnosSimulator().save(path)
    assert pipe.is_fifo()


def test_a_state_in_a_folder_that_is_not_there_is_refused_before_it_is_needed(tmp_path: Path) -> None:
    path = tmp_path / "nowhere" / "state"
    done = subprocess.run([*COMMAND, "--state", str(path)], capture_output=True, text=True, check=False, timeout=20)
    assert done.returncode == 2
    assert f"--state {path}: its folder does not exist" in done.stderr
