"""The aiohttp driver does what the requests driver does: the same bytes, the same results, the same errors."""

from __future__ import annotations

import asyncio
import gzip
import json
import re
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import trustme
from by_hand import answer
from rogue import drive_with_aiohttp, reply, rogue_gateway, settings_of

from airflow_provider_enos.client import aio, settings, sync
from airflow_provider_enos.client.aio import AsyncClient
from airflow_provider_enos.client.settings import Settings
from airflow_provider_enos.client.sync import SyncClient
from airflow_provider_enos.errors import EnosError, EnosReplyError, EnosTransportError
from airflow_provider_enos.protocol.bounded_json import Limits
from airflow_provider_enos.protocol.models import FlowStatus
from airflow_provider_enos.protocol.wire import calls
from airflow_provider_enos.protocol.wire.exchange import Gateway, Retry, Tenant
from airflow_provider_enos.protocol.wire.messages import Call, Request, Response
from airflow_provider_enos.protocol.wire.paging import all_entries
from airflow_provider_enos.simulator import FAULTS, EnosSimulator

TIME = 1594016819108
INSTANCE = "3377-20200706062600"
NODE = "108580-20200706062600"

CALLS: dict[str, Call[Any]] = {
    "trigger from task": calls.trigger_flow_from_task(3377, 108580, TIME),
    "trigger": calls.trigger_flow(3377, TIME),
    "update and trigger": calls.update_and_trigger_flow(3377, TIME, {"REPLACE": "ü €/&=+%\n"}),
    "get flow": calls.get_flow(3377),
    "get flow instance": calls.get_flow_instance(INSTANCE),
    "list": calls.list_flow_instances(
        type=0, from_trigger_time=0, to_trigger_time=TIME, page_no=1, page_size=10, status=[FlowStatus.FAIL]
    ),
    "list with an expression": calls.list_flow_instances(
        type=0, from_trigger_time=0, to_trigger_time=TIME, page_no=1, page_size=10, expression="ü/&"
    ),
    "cancel": calls.cancel_flow_instance(INSTANCE),
    "get task instance": calls.get_task_instance(NODE),
    "get log": calls.get_task_instance_log(NODE, 100),
    "current time": calls.get_current_time(),
    "time zone": calls.get_time_zone(),
    "odd characters in the query": calls.get_flow_instance("a b+c/é?&=%7E~'\"[]"),
}

Drive = Callable[[Settings, Call[Any]], Any]


def settings_for(sim: EnosSimulator, **extra: Any) -> Settings:
    extra = {"org_id": sim.org_id, "user_id": sim.user_id, "timeout": 5, **extra}
    return settings.read(
        SimpleNamespace(
            conn_id="enos",
            host="127.0.0.1",
            port=sim.port,
            schema=sim.url.split(":")[0],
            login=sim.access_key,
            password=sim.secret_key,
            extra=json.dumps(extra),
        )
    )


ONCE = Retry(attempts=1)


def with_requests(found: Settings, call: Call[Any], retry: Retry = ONCE) -> Any:
    client = SyncClient(found, retry=retry)
    try:
        return client.call(call)
    finally:
        client.close()


def with_aiohttp(found: Settings, call: Call[Any], retry: Retry = ONCE) -> Any:
    async def main() -> Any:
        async with AsyncClient(found, retry=retry) as client:
            return await client.call(call)

    return asyncio.run(main())


def outcome(drive: Drive, found: Settings, call: Call[Any]) -> Any:
    """The result, or the class and text of the error."""
    try:
        return drive(found, call)
    except EnosError as error:
        return type(error), error.sent, str(error)


def in_memory(request: Request, found: Settings, call: Call[Any]) -> tuple[str, str, bytes | None]:
    """What the core decides on, without any driver."""
    gateway = Gateway(found.base_url, "key", "secret", clock=time.time, jitter=lambda: 0.0)
    exchange = gateway.exchange(call, Tenant(found.org_id, found.user_id))
    next(exchange)
    token = {"status": 0, "data": {"accessToken": "t", "expire": 7200}}
    signed = answer(exchange, Response(200, {}, json.dumps(token).encode()))
    assert isinstance(signed, Request)
    return signed.method, signed.url, signed.body


def wire(sim: EnosSimulator) -> Any:
    """Return what the simulator received last, without what differs by time: timestamp and signature."""
    record = sim.requests[-1]
    ours = {
        name.lower(): value
        for name, value in record.headers.items()
        if name.lower() in ("accept", "accept-encoding", "content-type", "content-length", "user-agent", "host")
    }
    return record.method, record.path, record.query, record.body, ours


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_the_same_bytes_and_the_same_results(call: Call[Any]) -> None:
    seen, results = [], []
    for drive in (with_requests, with_aiohttp):
        with EnosSimulator(progress="manual") as sim:
            if call.operation not in ("Trigger Flow", "Trigger Flow From Task", "Update And Trigger Flow"):
                sim.trigger(3377, 108580, TIME)
            found = settings_for(sim)
            results.append(outcome(drive, found, call))
            method, path, query, body, headers = wire(sim)
            headers.pop("host")
            seen.append((method, path, query, body, headers))
            decided = in_memory(Request("GET", "", {}), found, call)
            assert decided == (method, f"{sim.url}{decided[1].removeprefix(sim.url)}", body or None)
    assert seen[0] == seen[1]
    if call.operation == "Get Current Time":
        assert abs(results[0] - results[1]) < 60_000
    else:
        # What the simulator dates by its clock may differ between the two by the second, and by the day at midnight.
        undated = [re.sub(r"(\d{4}-\d\d-\d\d.)?\d\d:\d\d:\d\d", "", repr(result)) for result in results]
        assert undated[0] == undated[1]


@pytest.mark.parametrize("kind", FAULTS)
def test_the_same_outcome_of_every_fault(kind: str) -> None:
    """For a read: the same result, or the same class of error with the same text, and the same number of requests."""
    outcomes, requests = [], []
    # All come in time: a limit that some machine is too slow for would make outcomes of the speed.
    options = {"slow": {"seconds": 0.2}, "slow_before": {"seconds": 0.2}, "drip": {"seconds": 0}}.get(kind, {})
    for drive in (with_requests, with_aiohttp):
        with EnosSimulator(progress="manual") as sim:
            sim.trigger(3377, 108580, TIME)
            sim.fault(kind, on="flowInstances/get", times=1, **options)
            found = outcome(drive, settings_for(sim, timeout=60), calls.get_flow_instance(INSTANCE))
            if isinstance(found, tuple):
                # A task reads larger replies than the triggerer.
                text = found[2].replace(sim.url, "")
                found = (found[0], found[1], re.sub(r"[0-9]{5,}|[0-9]+ MiB", "N", text))
            else:
                found = (found.flow_instance_id, found.status, found.nodes)
            outcomes.append(found)
            requests.append(sim.count("flowInstances/get"))
    assert outcomes[0] == outcomes[1]
    assert requests[0] == requests[1]


@pytest.mark.parametrize("kind", ["lost_reply", "dropped", "http_502", "html_200", "truncated_json", "huge_body"])
def test_a_trigger_is_never_sent_twice(kind: str) -> None:
    with EnosSimulator() as sim:
        sim.fault(kind, on="flows/triggerFromTask", times=None)
        found = outcome(
            lambda found, call: with_aiohttp(found, call, Retry()), settings_for(sim), CALLS["trigger from task"]
        )
        assert found[1] is True
        assert sim.count("flows/triggerFromTask") == 1


def test_one_token_for_all_calls_at_once(sim: EnosSimulator) -> None:
    async def main() -> None:
        async with AsyncClient(settings_for(sim)) as client:
            await asyncio.gather(*(client.call(calls.get_flow(3377)) for _ in range(50)))

    asyncio.run(main())
    assert sim.count("token/get") == 1
    assert sim.count("flows/get") == 50


def test_a_renewal_that_is_cancelled_lets_others_renew(sim: EnosSimulator) -> None:
    sim.fault("slow_before", on="token/get", seconds=1)

    async def main() -> str:
        async with AsyncClient(settings_for(sim)) as client:
            first = asyncio.create_task(client.call(calls.get_time_zone()))
            await asyncio.sleep(0.1)
            first.cancel()
            await asyncio.gather(first, return_exceptions=True)
            return await asyncio.wait_for(client.call(calls.get_time_zone()), 15)

    assert asyncio.run(main()) == "GMT+8"


def test_procedures_run_too(sim: EnosSimulator) -> None:
    for minute in range(3):
        sim.trigger(3377, 108580, TIME + minute * 60_000)

    async def main() -> int:
        async with AsyncClient(settings_for(sim)) as client:
            return len(
                await client.run(
                    all_entries(
                        lambda page_no: calls.list_flow_instances(
                            type=0, from_trigger_time=0, to_trigger_time=2 * TIME, page_no=page_no, page_size=2
                        ),
                        2,
                    )
                )
            )

    assert asyncio.run(main()) == 3


# ---- the line -------------------------------------------------------------------------------------------------------


def both(found: Settings) -> list[Any]:
    return [outcome(drive, found, calls.get_time_zone()) for drive in (with_requests, with_aiohttp)]


def test_nobody_listens(sim: EnosSimulator) -> None:
    found = settings_for(sim)
    sim.stop()
    first, second = both(found)
    assert first == second
    assert first == (
        EnosTransportError,
        False,
        f"{sim.url}: cannot connect: ConnectionRefusedError: Connection refused",
    )


def test_a_slow_reply(sim: EnosSimulator) -> None:
    with_requests(settings_for(sim), calls.get_current_time())
    sim.fault("slow", on="time/getTimeZone", times=None, seconds=60)
    first, second = both(settings_for(sim, timeout=0.3))
    assert first == second
    assert first[:2] == (EnosTransportError, True)
    assert first[2].endswith("no reply in time")


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def tls_context(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return context


def test_an_unknown_authority_is_refused(authority: trustme.CA) -> None:
    with EnosSimulator(tls=tls_context(authority)) as sim:
        first, second = both(settings_for(sim))
    assert first == second
    assert first[:2] == (EnosTransportError, False)
    assert "TLS failed: SSLCertVerificationError: CERTIFICATE_VERIFY_FAILED: unable to get" in first[2]


@pytest.mark.parametrize("how", ["verify", "REQUESTS_CA_BUNDLE", "no verification"])
def test_what_is_trusted(authority: trustme.CA, tmp_path: Any, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    """The two drivers trust the same, also by the environment variable that requests knows."""
    file = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(file))
    if how == "REQUESTS_CA_BUNDLE":
        monkeypatch.setenv(how, str(file))
    verify = {"verify": str(file), "no verification": False, "REQUESTS_CA_BUNDLE": True}[how]
    with EnosSimulator(tls=tls_context(authority)) as sim:
        assert both(settings_for(sim, verify=verify)) == ["GMT+8", "GMT+8"]


def test_gateways_are_shared_between_the_drivers(sim: EnosSimulator) -> None:
    found = settings_for(sim)
    with_requests(found, calls.get_time_zone())
    with_aiohttp(found, calls.get_time_zone())
    assert sim.count("token/get") == 1
    assert aio.shared_gateway is sync.shared_gateway


@pytest.mark.parametrize(("letters", "apart"), [(100, False), (100_000, True)])
@pytest.mark.parametrize("encoding", ["", "gzip"])
def test_a_large_reply_is_read_in_another_thread(letters: int, apart: bool, encoding: str) -> None:
    threads = []

    def parse(data: Any) -> str:
        threads.append(threading.current_thread())
        return str(data["timezone"])

    body = json.dumps({"code": 0, "data": {"timezone": "x" * letters}}).encode()
    raw = reply(gzip.compress(body), "Content-Encoding: gzip") if encoding else reply(body)
    with rogue_gateway(raw) as gateway:
        call = replace(calls.get_time_zone(), parse=parse)
        assert drive_with_aiohttp(settings_of(gateway), call) == "x" * letters
    assert [thread is not threading.main_thread() for thread in threads] == [apart]


def test_what_may_be_read_is_told_to_a_client() -> None:
    """The API server reads less than a triggerer, and this less than a task."""
    limits = Limits(size=1_000)

    async def main(found: Settings) -> str:
        async with AsyncClient(found, retry=ONCE, limits=limits) as client:
            return await client.call(calls.get_time_zone())

    with rogue_gateway(reply(b" " * 1_001)) as gateway:
        for read in (
            lambda: asyncio.run(main(settings_of(gateway))),
            lambda: SyncClient(settings_of(gateway), retry=ONCE, limits=limits).call(calls.get_time_zone()),
        ):
            with pytest.raises(EnosReplyError, match="the reply is larger than"):
                read()
