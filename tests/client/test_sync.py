from __future__ import annotations

import contextlib
import gc
import hashlib
import os
import signal
import socket
import ssl
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import trustme

from airflow_provider_enos import errors
from airflow_provider_enos.client import settings, sync
from airflow_provider_enos.client.sync import SyncClient
from airflow_provider_enos.protocol.wire import calls, signing
from airflow_provider_enos.protocol.wire.exchange import AT_ONCE, Gateway, Retry
from airflow_provider_enos.protocol.wire.messages import Call, Procedure, Request, Response, Sleep, T
from airflow_provider_enos.simulator import FAULTS, EnosSimulator

INSTANCE = "3377-20200706062600"
TRIGGER_TIME = 1594016819108
GET = "flowInstances/get"
TRIGGER = "flows/triggerFromTask"

MakeClient = Callable[..., SyncClient]
MakeSettings = Callable[..., settings.Settings]


def get() -> Call[Any]:
    return calls.get_flow_instance(INSTANCE)


def trigger() -> Call[str]:
    return calls.trigger_flow_from_task(3377, 108580, TRIGGER_TIME)


def only(call: Call[T]) -> Procedure[T]:
    """A procedure of one call."""
    result: T = yield call
    return result


def operations(sim: EnosSimulator) -> list[str]:
    return [request.operation for request in sim.requests]


# ---- one token for all ----------------------------------------------------------------------------------------------


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
    ours = sync.shared_gateway(settings_for(sim))
    assert sync.shared_gateway(settings_for(sim, timeout=1)) is ours
    assert sync.shared_gateway(settings_for(sim, url=f"{sim.url}/edge")) is not ours
    assert sync.shared_gateway(settings_for(EnosSimulator(port=sim.port, secret_key="other"))) is not ours
    monkeypatch.setattr(os, "getpid", lambda: -1)
    assert sync.shared_gateway(settings_for(sim)) is not ours


class SlowGateway(Gateway):
    """One whose making can be seen, and interrupted."""

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
    monkeypatch.setattr(sync, "Gateway", SlowGateway)
    monkeypatch.setattr(SlowGateway, "made", 0)
    given = settings_for(sim)
    together = threading.Barrier(20)

    def share(_: int) -> Gateway:
        together.wait(10)
        return sync.shared_gateway(given)

    with ThreadPoolExecutor(20) as threads:
        found = list(threads.map(share, range(20)))
    assert SlowGateway.made > 1
    assert len({id(gateway) for gateway in found}) == 1
    assert sync.shared_gateway(given) is found[0]


def test_a_signal_handler_may_need_the_gateway_that_is_being_made(
    sim: EnosSimulator, settings_for: MakeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It runs in the thread that it interrupts: a lock would never be let go of."""
    monkeypatch.setattr(sync, "Gateway", SlowGateway)
    given = settings_for(sim)
    handled: list[Gateway] = []
    interrupted = threading.Event()

    def handler(*_: object) -> None:
        handled.append(sync.shared_gateway(given))

    def interrupt() -> None:
        if not interrupted.is_set():
            interrupted.set()
            os.kill(os.getpid(), signal.SIGUSR1)

    monkeypatch.setattr(SlowGateway, "during", staticmethod(interrupt))
    before = signal.signal(signal.SIGUSR1, handler)
    try:
        assert sync.shared_gateway(given) is handled[0]
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


# ---- the wire -------------------------------------------------------------------------------------------------------


def test_one_connection_for_many_calls(sim: EnosSimulator, client_for: MakeClient) -> None:
    """The simulator answers each connection in a thread of its own."""
    threads: set[threading.Thread] = set()
    sim.on_event(lambda event, record: threads.add(threading.current_thread()))
    client = client_for(sim)
    for _ in range(20):
        client.call(calls.get_current_time())
    client.call(trigger())
    assert len(threads) == 1


def test_a_closed_client_opens_another_session(sim: EnosSimulator, client_for: MakeClient) -> None:
    client = client_for(sim)
    client.close()
    client.call(calls.get_current_time())
    client.close()
    client.close()
    assert client.call(calls.get_current_time()) > 0


def test_a_connection_that_the_gateway_has_closed_is_not_used_again(sim: EnosSimulator, client_for: MakeClient) -> None:
    """Not even for a trigger, which could not be repeated."""
    client = client_for(sim)
    client.call(calls.get_current_time())
    sim.stop()
    sim.start()
    assert client.call(trigger()) == INSTANCE


def test_it_says_who_it_is_and_what_it_takes(sim: EnosSimulator, client_for: MakeClient) -> None:
    client_for(sim).call(trigger())
    headers = sim.requests[-1].headers
    assert headers["user-agent"].startswith("airflow-provider-enos/")
    assert headers["content-type"] == "application/json;charset=UTF-8"
    assert headers["accept"] == "application/json"
    assert "cookie" not in headers


def test_a_prefix_in_front_of_the_path_is_kept(sim: EnosSimulator, client_for: MakeClient) -> None:
    with pytest.raises(errors.EnosRequestError, match="404"):
        client_for(sim, url=f"{sim.url}/edge").call(calls.get_current_time())
    assert sim.requests[-1].path == "/edge/apim-token-service/v2.0/token/get"


def test_awkward_texts_are_signed_as_they_are_sent(sim: EnosSimulator, client_for: MakeClient) -> None:
    sim.org_id, sim.user_id = "o/1+2 %&=é", "u?#~*'()日本"
    client = client_for(sim)
    assert client.call(trigger()) == INSTANCE
    assert sim.requests[-1].query["orgId"] == sim.org_id


def test_a_redirect_is_not_followed(sim: EnosSimulator, client_for: MakeClient) -> None:
    """Neither to another host nor within it: nobody else gets the signed headers."""
    client = client_for(sim)
    client.call(calls.get_current_time())
    sim.fault("redirect", on=GET, times=None, location=f"{sim.url}/batch-processing-service/v2.1/time")
    before = len(sim.requests)
    with pytest.raises(errors.EnosReplyError, match="HTTP 302: the gateway points elsewhere"):
        client.call(get())
    assert operations(sim)[before:] == [GET] * 4


# ---- time limits and other bounds -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (("slow", {"seconds": 5}), "no reply in time"),
        (("slow_before", {"seconds": 5}), "no reply in time"),
        (("drip", {"seconds": 0.01}), "no reply in time"),
        (("drip", {"seconds": 5}), "no reply in time"),
    ],
    ids=["late", "processed late", "dripping", "dripping so slowly that each byte is late"],
)
def test_a_reply_that_takes_too_long(sim: EnosSimulator, client_for: MakeClient, fault: Any, said: str) -> None:
    sim.trigger(3377, 108580, TRIGGER_TIME)
    client = with_token(sim, client_for, timeout=0.2)
    sim.fault(fault[0], on=GET, **fault[1])
    began = time.monotonic()
    with pytest.raises(errors.EnosTransportError) as caught:
        client.call(get())
    assert time.monotonic() - began < 4
    assert str(caught.value) == f"{sim.url}: {said}"
    assert caught.value.sent


def test_the_timeout_of_a_client_goes_before_that_of_the_connection(sim: EnosSimulator, client_for: MakeClient) -> None:
    sim.fault("slow", seconds=60)
    client = client_for(sim, timeout=30, options={"retry": AT_ONCE, "timeout": 0.1})
    began = time.monotonic()
    with pytest.raises(errors.EnosTransportError, match="no reply in time"):
        client.call(calls.get_current_time())
    assert time.monotonic() - began < 20


def test_no_more_is_read_of_a_reply_than_is_allowed(sim: EnosSimulator, client_for: MakeClient) -> None:
    client = client_for(sim, options={"retry": AT_ONCE})
    client.call(calls.get_current_time())
    sim.fault("huge_body", on=GET)
    with pytest.raises(errors.EnosReplyError, match=r"larger than 32 MiB") as caught:
        client.call(get())
    assert caught.value.http_status == 200
    assert client.call(calls.get_current_time()) > 0


@contextlib.contextmanager
def silent_port() -> Iterator[int]:
    """A port that answers no SYN: its queue is full."""
    with socket.socket() as listener, contextlib.ExitStack() as stack:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        time.sleep(0.05)
        yield listener.getsockname()[1]


def test_a_host_that_does_not_answer(client_for: MakeClient) -> None:
    with silent_port() as port:
        client = client_for(EnosSimulator(port=port), options={"retry": AT_ONCE, "connect_timeout": 0.2})
        began = time.monotonic()
        with pytest.raises(errors.EnosTransportError, match="no connection in time") as caught:
            client.call(calls.get_current_time())
    assert time.monotonic() - began < 4
    assert not caught.value.sent


# ---- whether it was sent --------------------------------------------------------------------------------------------


def with_token(sim: EnosSimulator, client_for: MakeClient, **extra: Any) -> SyncClient:
    """A client whose next request is the call itself: an error of the token's would always say ``sent=False``."""
    client_for(sim).call(calls.get_current_time())
    return client_for(sim, options={"retry": AT_ONCE}, **extra)


def test_a_refused_connection_sends_nothing(sim: EnosSimulator, client_for: MakeClient) -> None:
    client = with_token(sim, client_for)
    sim.stop()
    with pytest.raises(errors.EnosTransportError, match="cannot connect: ConnectionRefusedError") as caught:
        client.call(trigger())
    assert not caught.value.sent
    assert not caught.value.tls


def test_an_unknown_host_gets_nothing(sim: EnosSimulator, client_for: MakeClient) -> None:
    client = client_for(sim, url="https://surely-nowhere.invalid", options={"retry": AT_ONCE})
    client.gateway._hold(calls.models.AccessToken("a-token", 7200))
    with pytest.raises(errors.EnosTransportError, match="the host name cannot be resolved") as caught:
        client.call(trigger())
    assert not caught.value.sent


@pytest.mark.parametrize(("fault", "made"), [("lost_reply", 1), ("dropped", 0), ("dropped_mid_body", 1)])
def test_a_broken_connection_may_have_sent_it(
    sim: EnosSimulator, client_for: MakeClient, fault: str, made: int
) -> None:
    client = with_token(sim, client_for)
    sim.fault(fault, on=TRIGGER)
    with pytest.raises(errors.EnosTransportError, match="the connection broke") as caught:
        client.call(trigger())
    assert caught.value.sent
    assert len(sim.instances) == made
    assert sim.count(TRIGGER) == 1


def test_a_call_that_was_not_sent_is_sent_again_although_it_is_a_trigger(
    sim: EnosSimulator, client_for: MakeClient
) -> None:
    pauses: list[float] = []

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        sim.start()

    client = client_for(sim, options={"sleep": sleep})
    client.call(calls.get_current_time())
    sim.stop()
    assert client.call(trigger()) == INSTANCE
    assert len(pauses) == 1
    assert 0.25 <= pauses[0] <= 0.5


def test_what_the_caller_is_handling_is_not_the_reason(sim: EnosSimulator, client_for: MakeClient) -> None:
    """A cancel that is sent while an error is handled must not be blamed on that error, nor count as not sent."""
    client = with_token(sim, client_for)
    sim.fault("dropped", on="flowInstances/cancel")
    try:
        raise ssl.SSLCertVerificationError("of long ago")
    except ssl.SSLError:
        with pytest.raises(errors.EnosTransportError, match="the connection broke") as caught:
            client.call(calls.cancel_flow_instance(INSTANCE))
    assert caught.value.sent
    assert "long ago" not in str(caught.value)


# ---- TLS ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def tls_sim(authority: trustme.CA) -> Iterator[EnosSimulator]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with EnosSimulator(tls=context) as sim:
        yield sim


@pytest.fixture
def ca_file(authority: trustme.CA, tmp_path: Path) -> str:
    file = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(file))
    return str(file)


def test_a_certificate_of_an_unknown_authority_is_refused(
    tls_sim: EnosSimulator, client_for: MakeClient, ca_file: str
) -> None:
    client_for(tls_sim, verify=ca_file).call(calls.get_current_time())
    seen = len(tls_sim.requests)
    for _ in range(2):
        with pytest.raises(errors.EnosTransportError, match="TLS failed: SSLCertVerificationError") as caught:
            client_for(tls_sim).call(trigger())
        assert caught.value.tls
        assert not caught.value.sent
    assert len(tls_sim.requests) == seen


def test_a_refused_certificate_is_not_asked_for_again(tls_sim: EnosSimulator, client_for: MakeClient) -> None:
    pauses: list[float] = []
    client = client_for(tls_sim, options={"sleep": pauses.append})
    with pytest.raises(errors.EnosTransportError, match="TLS failed"):
        client.call(calls.get_current_time())
    assert pauses == []


def test_a_certificate_for_another_name_is_refused(
    tls_sim: EnosSimulator, client_for: MakeClient, ca_file: str
) -> None:
    client = client_for(tls_sim, url=f"https://localhost:{tls_sim.port}", verify=ca_file)
    with pytest.raises(errors.EnosTransportError, match=r"TLS failed: .*localhost") as caught:
        client.call(calls.get_current_time())
    assert caught.value.tls
    assert tls_sim.requests == []


def test_a_ca_file_of_the_connection(tls_sim: EnosSimulator, client_for: MakeClient, ca_file: str) -> None:
    assert client_for(tls_sim, verify=ca_file).call(trigger()) == INSTANCE


def test_a_ca_file_of_the_environment(
    tls_sim: EnosSimulator, client_for: MakeClient, ca_file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", ca_file)
    assert client_for(tls_sim).call(trigger()) == INSTANCE


def test_verify_false_is_taken_at_its_word(
    tls_sim: EnosSimulator, client_for: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the environment has a CA file, and without a warning at each request to this host."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/no/such/file")
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        client = client_for(tls_sim, verify=False)
        assert client.call(trigger()) == INSTANCE
        assert client.call(get()).flow_id == 3377
    assert warned == []


def test_others_are_still_warned_of_unverified_requests(tls_sim: EnosSimulator, client_for: MakeClient) -> None:
    import requests
    from urllib3.exceptions import InsecureRequestWarning

    with warnings.catch_warnings():
        client_for(tls_sim, verify=False).call(calls.get_current_time())
        with pytest.warns(InsecureRequestWarning, match="localhost"):
            requests.get(f"https://localhost:{tls_sim.port}/", verify=False, timeout=5)


def test_plain_http_where_tls_is_spoken(tls_sim: EnosSimulator, client_for: MakeClient) -> None:
    client = client_for(tls_sim, url=f"http://127.0.0.1:{tls_sim.port}", options={"retry": AT_ONCE})
    with pytest.raises(errors.EnosTransportError, match="the connection broke"):
        client.call(calls.get_current_time())


def test_tls_where_plain_http_is_spoken(sim: EnosSimulator, client_for: MakeClient) -> None:
    client = client_for(sim, url=f"https://127.0.0.1:{sim.port}", options={"retry": AT_ONCE})
    with pytest.raises(errors.EnosTransportError, match="TLS failed") as caught:
        client.call(calls.get_current_time())
    assert caught.value.tls


# ---- the clock ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("skew", [3600, -3600, 86_400 * 400], ids=["ahead", "behind", "far ahead"])
def test_a_wrong_clock_is_corrected(client_for: MakeClient, skew: float) -> None:
    with EnosSimulator(clock_skew=skew) as sim:
        client = client_for(sim)
        assert client.call(trigger()) == INSTANCE
        assert client.call(get()).flow_id == 3377
        assert client.gateway.clock_offset == pytest.approx(skew, abs=5)
        assert operations(sim) == ["token/get", "token/get", TRIGGER, GET]


@pytest.mark.parametrize("skew", [3600, -3600])
def test_a_clock_that_is_set_while_we_work(sim: EnosSimulator, client_for: MakeClient, skew: float) -> None:
    client = client_for(sim)
    client.call(calls.get_current_time())
    sim.clock_skew = skew
    assert client.call(trigger()) == INSTANCE
    assert len(sim.instances) == 1


def test_a_clock_that_is_right_is_left_alone(sim: EnosSimulator, client_for: MakeClient) -> None:
    client = client_for(sim)
    client.call(calls.get_current_time())
    assert client.gateway.clock_offset == 0


# ---- proxies --------------------------------------------------------------------------------------------------------


def test_the_proxy_of_the_environment_is_used(
    sim: EnosSimulator, client_for: MakeClient, proxy: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", proxy.url)
    assert client_for(sim).call(trigger()) == INSTANCE
    assert [line.split()[0] for line in proxy.lines] == ["POST", "POST"]
    assert all(line.split()[1].startswith(sim.url) for line in proxy.lines)


def test_no_proxy_is_respected(
    sim: EnosSimulator, client_for: MakeClient, proxy: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", proxy.url)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    assert client_for(sim).call(trigger()) == INSTANCE
    assert proxy.lines == []


def test_a_proxy_that_refuses_the_tunnel(
    tls_sim: EnosSimulator, client_for: MakeClient, ca_file: str, proxy: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    client_for(tls_sim, verify=ca_file).call(calls.get_current_time())
    monkeypatch.setenv("HTTPS_PROXY", proxy.url)
    client = client_for(tls_sim, verify=ca_file, options={"retry": AT_ONCE})
    with pytest.raises(
        errors.EnosTransportError, match=r"the proxy http://127.0.0.1:\d+ \(HTTPS_PROXY\) refused with HTTP 403$"
    ) as caught:
        client.call(trigger())
    assert not caught.value.sent
    assert {line.split()[0] for line in proxy.lines} == {"CONNECT"}


# ---- what it drives -------------------------------------------------------------------------------------------------


def test_a_procedure_gets_results_and_errors_where_it_asked(sim: EnosSimulator, client_for: MakeClient) -> None:
    waited: list[float] = []

    def procedure() -> Procedure[str]:
        try:
            yield get()
        except errors.EnosRequestError:
            yield Sleep(7.0)
        started = yield trigger()
        instance = yield calls.get_flow_instance(started)
        return f"{instance.flow_id}: {started}"

    assert client_for(sim, options={"sleep": waited.append}).run(procedure()) == f"3377: {INSTANCE}"
    assert waited == [7.0]


def test_a_procedure_may_catch_nothing(sim: EnosSimulator, client_for: MakeClient) -> None:
    ended: list[bool] = []

    def procedure() -> Procedure[None]:
        try:
            yield get()
        finally:
            ended.append(True)

    with pytest.raises(errors.EnosRequestError):
        client_for(sim).run(procedure())
    assert ended == [True]


def test_what_could_start_something_can_be_kept_from_going_out(sim: EnosSimulator, client_for: MakeClient) -> None:
    """It is asked just before, when the token is there; what it raises is neither repeated nor taken for sent."""
    asked: list[list[str]] = []
    stopped = errors.EnosTriggerError("not now")

    def stop() -> None:
        asked.append(operations(sim))
        raise stopped

    client = client_for(sim)
    with pytest.raises(errors.EnosTriggerError) as caught:
        client.run(only(trigger()), before_unsafe=stop)
    assert caught.value is stopped
    assert asked == [["token/get"]]
    client.run(only(calls.get_current_time()), before_unsafe=stop)
    assert operations(sim) == ["token/get", "time/getCurrentTime"]
    assert len(asked) == 1
    assert client.run(only(trigger()), before_unsafe=lambda: asked.append([])) == INSTANCE
    assert len(asked) == 2


def test_each_procedure_has_its_own_checks(sim: EnosSimulator, client_for: MakeClient) -> None:
    def stop() -> None:
        raise errors.EnosTriggerError("not now")

    client = client_for(sim)
    with pytest.raises(errors.EnosTriggerError):
        client.run(only(trigger()), before_unsafe=stop, while_sleeping=stop)
    assert client.run(only(trigger())) == INSTANCE


def test_it_is_asked_before_each_repetition(sim: EnosSimulator, client_for: MakeClient) -> None:
    asked: list[int] = []
    client = client_for(sim)
    sim.fault("http_429", on=TRIGGER, times=2)
    assert client.run(only(trigger()), before_unsafe=lambda: asked.append(sim.count(TRIGGER))) == INSTANCE
    assert asked == [0, 1, 2]


def test_pauses_grow_up_to_the_number_of_attempts(sim: EnosSimulator, client_for: MakeClient) -> None:
    pauses: list[float] = []
    client = client_for(sim, options={"sleep": pauses.append, "retry": Retry(5, first_pause=1, longest_pause=3)})
    sim.fault("http_503", on=GET, times=None)
    with pytest.raises(errors.EnosServerError):
        client.call(get())
    assert sim.count(GET) == 5
    for pause, longest in zip(pauses, (1, 2, 3, 3), strict=True):
        assert longest / 2 <= pause <= longest


def test_nothing_is_left_open(sim: EnosSimulator, client_for: MakeClient) -> None:
    """Whatever ends a reply: an unclosed socket is a ResourceWarning, and so an error here."""
    client = client_for(sim, timeout=1, options={"retry": AT_ONCE})
    for fault in ("huge_body", "drip", "bad_gzip", "dropped_mid_body", "redirect"):
        sim.fault(fault, on="time/getCurrentTime", **({"seconds": 5} if fault == "drip" else {}))
        with pytest.raises(errors.EnosError):
            client.call(calls.get_current_time())
    assert client.call(calls.get_current_time()) > 0
    client.close()
    del client
    gc.collect()


# ---- whatever may come back -----------------------------------------------------------------------------------------

TRANSPORT = (errors.EnosTransportError, errors.EnosTransportError)
REPLY = (errors.EnosReplyError, errors.EnosReplyError)
SERVER = (errors.EnosServerError, errors.EnosServerError)
ACCESS = (errors.EnosAccessError, errors.EnosAccessError)
REQUEST = (errors.EnosRequestError, errors.EnosRequestError)
FINE = (None, None)

ANSWERS: dict[str, tuple[type[errors.EnosError] | None, type[errors.EnosError] | None]] = {
    "lost_reply": TRANSPORT,
    "dropped": TRANSPORT,
    "dropped_mid_body": TRANSPORT,
    "slow": TRANSPORT,
    "slow_before": TRANSPORT,
    "drip": TRANSPORT,
    "wrong_content_length": TRANSPORT,
    "http_500": SERVER,
    "http_502": SERVER,
    "http_503": SERVER,
    "http_504": SERVER,
    "http_401": (errors.EnosAuthError, errors.EnosAuthError),
    "http_403": ACCESS,
    "http_404": REQUEST,
    "http_413": REQUEST,
    "http_429": (errors.EnosRateLimitError, errors.EnosRateLimitError),
    "redirect": REPLY,
    "no_content": REPLY,
    "expired_token": (errors.EnosTokenError, errors.EnosTokenError),
    "internal_error": SERVER,
    "secret_echo": SERVER,
    "html_200": REPLY,
    "empty_body": REPLY,
    "truncated_json": REPLY,
    "not_json": REPLY,
    "invalid_utf8": REPLY,
    "json_bom": FINE,
    "json_null": REPLY,
    "json_list": REPLY,
    "json_number": REPLY,
    "json_string": REPLY,
    "nan_json": REPLY,
    "deep_json": REPLY,
    "huge_body": REPLY,
    "bad_gzip": REPLY,
    "no_code": REPLY,
    "code_null": REPLY,
    "code_text": REPLY,
    "numbers_as_strings": FINE,
    "data_missing": REPLY,
    "data_null": (errors.EnosNotFoundError, errors.EnosReplyError),
    "data_text": REPLY,
    "data_number": REPLY,
    "data_empty_list": (errors.EnosNotFoundError, errors.EnosReplyError),
    "data_list_of_two": REPLY,
    "missing_instance_id": REPLY,
    "missing_status": (errors.EnosReplyError, None),
    "null_status": (errors.EnosReplyError, None),
    "unknown_status": FINE,
    "text_status": FINE,
    "graph_not_json": (errors.EnosReplyError, None),
    "graph_wrong_shape": (errors.EnosReplyError, None),
}
"""What Get Flow Instance, and what the trigger, comes to when it happens each time; None where it does no harm."""
FINAL_FOR_A_READ = {"http_403", "http_404", "http_413", "data_null", "data_empty_list"}
"""What is believed at once, so that asking again does not help."""
REFUSED_BEFORE_IT_WAS_PROCESSED = {"http_401", "http_429", "expired_token"}
"""After these a trigger may be, and is, sent again."""
FINE_FOR_A_TOKEN = {
    *(kind for kind, answer in ANSWERS.items() if answer == FINE),
    *("missing_instance_id", "missing_status", "null_status", "graph_not_json", "graph_wrong_shape"),
}
SLOW: dict[str, dict[str, float]] = {"slow": {"seconds": 60}, "slow_before": {"seconds": 60}, "drip": {"seconds": 60}}
"""Longer than any test waits; the simulator ends it when it is stopped."""


def spoilt(sim: EnosSimulator, client_for: MakeClient, kind: str, on: str, times: int | None) -> SyncClient:
    """A client with a token, and the fault armed."""
    client_for(sim).call(calls.get_current_time())
    sim.fault(kind, on=on, times=times, **SLOW.get(kind, {}))
    return client_for(sim, timeout=0.1 if kind in SLOW else 5)


def test_every_fault_is_in_the_table() -> None:
    assert ANSWERS.keys() == FAULTS.keys()


@pytest.mark.parametrize("kind", ANSWERS)
def test_a_bad_reply_to_a_read(sim: EnosSimulator, client_for: MakeClient, kind: str) -> None:
    """Once: made good by asking again, unless it is an answer to believe. Each time: the documented exception."""
    sim.trigger(3377, 108580, TRIGGER_TIME)
    expected = ANSWERS[kind][0]
    client = spoilt(sim, client_for, kind, GET, None)
    began = time.monotonic()
    if expected is None:
        assert client.call(get()).flow_id == 3377
    else:
        with pytest.raises(errors.EnosError) as caught:
            client.call(get())
        assert type(caught.value) is expected
        assert len(str(caught.value)) < 500
        assert str(caught.value).isprintable()
    assert time.monotonic() - began < 30
    assert sim.count(GET) <= 4
    sim.clear_faults()
    sim.fault(kind, on=GET, **SLOW.get(kind, {}))
    client = client_for(sim, timeout=1 if kind in SLOW else 5)
    if kind in FINAL_FOR_A_READ and expected is not None:
        with pytest.raises(expected):
            client.call(get())
    else:
        assert client.call(get()).flow_instance_id == INSTANCE


@pytest.mark.parametrize("times", [1, None], ids=["once", "each time"])
@pytest.mark.parametrize("kind", ANSWERS)
def test_a_bad_reply_to_a_trigger(sim: EnosSimulator, client_for: MakeClient, kind: str, times: int | None) -> None:
    """Whatever comes back, no second request goes out that could start a second instance."""
    client = spoilt(sim, client_for, kind, TRIGGER, times)
    expected = ANSWERS[kind][1]
    if kind in REFUSED_BEFORE_IT_WAS_PROCESSED and times == 1:
        expected = None
    began = time.monotonic()
    if expected is None:
        assert client.call(trigger()) == INSTANCE
    else:
        with pytest.raises(errors.EnosError) as caught:
            client.call(trigger())
        assert type(caught.value) is expected
        assert caught.value.sent
    assert time.monotonic() - began < 30
    if kind in REFUSED_BEFORE_IT_WAS_PROCESSED:
        assert sim.count(TRIGGER) > 1
    else:
        assert sim.count(TRIGGER) == 1
    sim.stop()
    assert len(sim.instances) <= 1


@pytest.mark.parametrize("kind", ANSWERS)
def test_a_bad_reply_of_the_token_service(sim: EnosSimulator, client_for: MakeClient, kind: str) -> None:
    """Nothing was sent of the call itself, so that a trigger may be tried again by whoever wants to."""
    client = client_for(sim, timeout=0.1 if kind in SLOW else 5)
    sim.fault(kind, on="token/get", times=None, **SLOW.get(kind, {}))
    began = time.monotonic()
    if kind not in FINE_FOR_A_TOKEN:
        with pytest.raises(errors.EnosError) as caught:
            client.call(trigger())
        assert not caught.value.sent
        assert sim.count(TRIGGER) == 0
        sim.clear_faults()
    assert client_for(sim).call(trigger()) == INSTANCE
    assert time.monotonic() - began < 30


# ---- the simulator is nobody's accomplice ---------------------------------------------------------------------------

BROKEN_SIGNERS: dict[str, tuple[str, Callable[..., Any]]] = {
    "the body is left out": ("params_data", lambda query, body: "".join(n + v for n, v in sorted(query)).encode()),
    "the query is left out": ("params_data", lambda query, body: body or b""),
    "the query is in another order": (
        "params_data",
        lambda query, body: "".join(n + v for n, v in sorted(query, reverse=True)).encode() + (body or b""),
    ),
    "names and values are separated": (
        "params_data",
        lambda query, body: "&".join(f"{n}={v}" for n, v in sorted(query)).encode() + (body or b""),
    ),
    "the secret comes first": (
        "sign_data",
        lambda token, params, timestamp, secret: (secret + token).encode() + params + timestamp.encode(),
    ),
    "in upper case": ("_hex_digest", lambda data: hashlib.sha256(data).hexdigest().upper()),
    "another algorithm": ("_hex_digest", lambda data: hashlib.sha1(data).hexdigest()),
    "the token's digest is another": ("token_digest", lambda key, timestamp, secret: "0" * 64),
}


@pytest.mark.parametrize("broken", BROKEN_SIGNERS)
def test_a_broken_signer_is_refused(
    sim: EnosSimulator, client_for: MakeClient, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    """The simulator verifies with code of its own: a fault of the client's signer is not a fault of both."""
    client_for(sim).call(trigger())
    monkeypatch.setattr(signing, *BROKEN_SIGNERS[broken])
    monkeypatch.setattr(sync, "_gateways", {})
    with pytest.raises(errors.EnosAuthError):
        client_for(sim).call(calls.trigger_flow_from_task(3377, 108580, 1594016819108 + 60_000))
    assert len(sim.instances) == 1


# ---- a connection that changes --------------------------------------------------------------------------------------


class Connection:
    """What a hook is to a client: the settings as they are now, or the error that comes of reading them."""

    def __init__(self, found: settings.Settings | errors.EnosError) -> None:
        self.found = found
        self.refused: list[settings.Settings | None] = []

    def read(self, refused: settings.Settings | None) -> settings.Settings:
        self.refused.append(refused)
        if isinstance(self.found, errors.EnosError):
            raise self.found
        return self.found


@pytest.fixture
def connected(sim: EnosSimulator, settings_for: MakeSettings) -> Connection:
    return Connection(settings_for(sim))


def test_settings_are_read_when_they_are_needed_and_once(connected: Connection) -> None:
    client = SyncClient(connected.read)
    assert connected.refused == []
    for _ in range(3):
        client.call(calls.get_current_time())
    assert connected.refused == [None]


@pytest.mark.parametrize("fault", ["http_401", "http_403", "token_refused"])
def test_settings_are_read_again_after_a_refusal(sim: EnosSimulator, connected: Connection, fault: str) -> None:
    client = SyncClient(connected.read, retry=Retry(attempts=1))
    client.call(calls.get_current_time())
    session, gateway = client._adapter, client.gateway
    if fault == "token_refused":
        sim.secret_key = "another"
        sim.expire_tokens()
    else:
        sim.fault(fault, times=None)
    with pytest.raises(errors.EnosApiError):
        client.call(calls.get_current_time())
    assert len(connected.refused) == 1, "not before the next call"
    sim.secret_key = connected.found.secret_key  # type: ignore[union-attr]
    sim.clear_faults()
    client.call(calls.get_current_time())
    assert connected.refused == [None, connected.found]
    assert (client._adapter, client.gateway) == (session, gateway), "nothing has changed"


def test_another_error_is_no_reason_to_read_them_again(sim: EnosSimulator, connected: Connection) -> None:
    client = SyncClient(connected.read, retry=Retry(attempts=1))
    for fault in ("http_503", "http_404", "dropped"):
        sim.fault(fault)
        with pytest.raises(errors.EnosError):
            client.call(calls.get_current_time())
    client.call(calls.get_current_time())
    assert connected.refused == [None]


def test_a_gateway_that_has_moved(sim: EnosSimulator, connected: Connection, settings_for: MakeSettings) -> None:
    """Address, keys and tenant: all of it is the new connection's, the shared token included."""
    client = SyncClient(connected.read)
    client.call(calls.get_current_time())
    with EnosSimulator(secret_key="rotated") as other:
        sim.fault("http_403", times=None)
        with pytest.raises(errors.EnosAccessError):
            client.call(calls.get_current_time())
        connected.found = settings_for(other)
        client.call(calls.get_current_time())
        assert other.count("time/getCurrentTime") == 1
        assert client.gateway is sync.shared_gateway(connected.found)


def test_settings_that_cannot_be_read_are_an_error_of_the_call(connected: Connection) -> None:
    found, connected.found = connected.found, errors.EnosConfigError("host", "it is missing", accepted="one")
    client = SyncClient(connected.read)
    for _ in range(2):
        with pytest.raises(errors.EnosConfigError):
            client.call(calls.get_current_time())
    connected.found = found
    assert client.call(calls.get_current_time())
