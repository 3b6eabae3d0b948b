"""All clients of a process share one token for a gateway and key."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from client_calls import (
    TRIGGER_TIME,
    MakeClient,
    MakeSettings,
    get,
    trigger,
)

from airflow_provider_enos.client import gateways
from airflow_provider_enos.client.gateways import shared_gateway
from airflow_provider_enos.client.sync import SyncClient
from airflow_provider_enos.protocol.wire import calls
from airflow_provider_enos.protocol.wire.exchange import Gateway
from airflow_provider_enos.protocol.wire.messages import Call, Request, Response
from airflow_provider_enos.simulator import EnosSimulator


def test_twenty_threads_ask_for_one_token(sim: EnosSimulator, settings_for: MakeSettings) -> None:
    given = settings_for(sim)
    together = threading.Barrier(20)

    def use(_: int) -> int:
        client = SyncClient(given)
        together.wait(10)
        try:
            return client.call(calls.get_current_time())
        finally:
            client.close()

    with ThreadPoolExecutor(20) as threads:
        assert len(list(threads.map(use, range(20)))) == 20
    assert sim.count("token/get") == 1
    assert sim.count("time/getCurrentTime") == 20
    assert {request.code for request in sim.requests} == {0}


def test_twenty_threads_replace_an_expired_token_once(sim: EnosSimulator, settings_for: MakeSettings) -> None:
    given = settings_for(sim)
    clients = [SyncClient(given) for _ in range(20)]
    clients[0].call(calls.get_current_time())
    sim.expire_tokens()
    with ThreadPoolExecutor(20) as threads:
        list(threads.map(lambda client: client.call(calls.get_current_time()), clients))
    assert sim.count("token/get") == 2
    for client in clients:
        client.close()


def test_other_keys_addresses_and_processes_share_nothing(
    sim: EnosSimulator, settings_for: MakeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A forked process must not inherit a lock that one of its parent's threads held."""
    ours = shared_gateway(settings_for(sim))
    assert shared_gateway(settings_for(sim, timeout=1)) is ours
    assert shared_gateway(settings_for(sim, url=f"{sim.url}/edge")) is not ours
    assert shared_gateway(settings_for(EnosSimulator(port=sim.port, secret_key="other"))) is not ours
    monkeypatch.setattr(os, "getpid", lambda: -1)
    assert shared_gateway(settings_for(sim)) is not ours


class SlowGateway(Gateway):
    """A gateway whose construction can be observed and interrupted."""

    made = 0
    during: Callable[[], object] = staticmethod(lambda: None)

    def __init__(self, *arguments: Any, **options: Any) -> None:
        type(self).made += 1
        time.sleep(0.02)
        type(self).during()
        super().__init__(*arguments, **options)


def test_twenty_threads_share_one_gateway(
    sim: EnosSimulator, settings_for: MakeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where several of them make one at once."""
    monkeypatch.setattr(gateways, "Gateway", SlowGateway)
    monkeypatch.setattr(SlowGateway, "made", 0)
    given = settings_for(sim)
    together = threading.Barrier(20)

    def share(_: int) -> Gateway:
        together.wait(10)
        return shared_gateway(given)

    with ThreadPoolExecutor(20) as threads:
        found = list(threads.map(share, range(20)))
    assert SlowGateway.made > 1
    assert len({id(gateway) for gateway in found}) == 1
    assert shared_gateway(given) is found[0]


def test_a_signal_handler_may_need_the_gateway_that_is_being_made(
    sim: EnosSimulator, settings_for: MakeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It runs in the thread that it interrupts: a lock would never be released."""
    monkeypatch.setattr(gateways, "Gateway", SlowGateway)
    given = settings_for(sim)
    handled: list[Gateway] = []
    interrupted = threading.Event()

    def handler(*_: object) -> None:
        handled.append(shared_gateway(given))

    def interrupt() -> None:
        if not interrupted.is_set():
            interrupted.set()
            os.kill(os.getpid(), signal.SIGUSR1)

    monkeypatch.setattr(SlowGateway, "during", staticmethod(interrupt))
    before = signal.signal(signal.SIGUSR1, handler)
    try:
        assert shared_gateway(given) is handled[0]
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_a_token_is_renewed_before_it_ends(client_for: MakeClient) -> None:
    """A token is renewed when a tenth of its life is left; no call ever meets one that has ended."""
    ahead = 0.0
    with EnosSimulator(token_lifetime=1000) as sim:
        client = client_for(sim)
        client.gateway._clock = lambda: time.time() + ahead
        for ahead in range(0, 1300, 20):
            sim.clock_skew = ahead
            client.call(calls.get_current_time())
        assert {request.code for request in sim.requests} == {0}
        assert sim.count("token/get") == 1
        assert sim.count("token/refresh") >= 1


@pytest.mark.parametrize("refused_token", ["envelope", "http"])
@pytest.mark.parametrize("call", [get, trigger])
def test_a_token_is_renewed_when_the_gateway_refuses_it(
    client_for: MakeClient, refused_token: str, call: Callable[[], Call[Any]]
) -> None:
    with EnosSimulator(refused_token=refused_token) as sim:
        sim.trigger(4009, 40091, TRIGGER_TIME)
        client = client_for(sim)
        client.call(calls.get_current_time())
        sim.expire_tokens()
        if call is get:
            sim.trigger(3377, 108580, TRIGGER_TIME)
        client.call(call())
        assert sim.count("token/get") == 2
        assert len(sim.instances_of(3377)) == 1


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, SystemExit, MemoryError])
def test_an_interrupted_renewal_leaves_its_lock_free(
    sim: EnosSimulator,
    client_for: MakeClient,
    monkeypatch: pytest.MonkeyPatch,
    interruption: type[BaseException],
) -> None:
    """Also while somebody still holds the traceback, and with it the frames."""
    client = client_for(sim)

    def interrupted(request: Request) -> Response:
        raise interruption

    with monkeypatch.context() as patch:
        patch.setattr(client, "_send", interrupted)
        with pytest.raises(interruption) as caught:
            client.call(calls.get_current_time())
    assert client.call(calls.get_current_time()) > 0
    assert caught.value is not None
