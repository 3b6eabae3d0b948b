"""The requests driver: what goes over the wire, within which limits, and what a caller is told."""

from __future__ import annotations

import contextlib
import gc
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from client_calls import (
    GET,
    INSTANCE,
    TRIGGER,
    TRIGGER_TIME,
    MakeClient,
    get,
    only,
    operations,
    trigger,
    with_token,
)

from airflow_provider_enos import errors
from airflow_provider_enos.protocol.wire import calls
from airflow_provider_enos.protocol.wire.exchange import AT_ONCE, Retry
from airflow_provider_enos.protocol.wire.messages import Procedure, Sleep
from airflow_provider_enos.simulator import EnosSimulator

# ---- the wire --------------------------------------------------------------------------------------------------------


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


# ---- time limits and other bounds ------------------------------------------------------------------------------------


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


# ---- whether it was sent ---------------------------------------------------------------------------------------------


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
    sim: EnosSimulator, client_for: MakeClient, override_timing: Callable[..., None]
) -> None:
    pauses: list[float] = []

    def start_in_the_pause(seconds: float) -> float:
        pauses.append(seconds)
        sim.start()
        return 0.0

    override_timing(pause=start_in_the_pause)
    client = client_for(sim)
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


# ---- the clock -------------------------------------------------------------------------------------------------------


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


# ---- what it drives --------------------------------------------------------------------------------------------------


def test_a_procedure_gets_results_and_errors_where_it_asked(
    sim: EnosSimulator, client_for: MakeClient, pauses: list[float]
) -> None:

    def procedure() -> Procedure[str]:
        try:
            yield get()
        except errors.EnosRequestError:
            yield Sleep(7.0)
        started = yield trigger()
        instance = yield calls.get_flow_instance(started)
        return f"{instance.flow_id}: {started}"

    assert client_for(sim).run(procedure()) == f"3377: {INSTANCE}"
    assert pauses == [7.0]


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
    """The hook is called just before, with the token there. Its error is neither retried nor counts as sent."""
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


def test_pauses_grow_up_to_the_number_of_attempts(
    sim: EnosSimulator, client_for: MakeClient, pauses: list[float]
) -> None:
    client = client_for(sim, options={"retry": Retry(5, first_pause=1, longest_pause=3)})
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
