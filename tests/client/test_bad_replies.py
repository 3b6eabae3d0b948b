"""Whatever a gateway answers: the documented exception, and never a second instance."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from typing import Any

import pytest
from client_calls import (
    GET,
    INSTANCE,
    TRIGGER,
    TRIGGER_TIME,
    MakeClient,
    get,
    trigger,
)

from airflow_provider_enos import errors
from airflow_provider_enos.client.gateways import fresh_gateways
from airflow_provider_enos.client.sync import SyncClient
from airflow_provider_enos.protocol.wire import calls, signing
from airflow_provider_enos.simulator import FAULTS, EnosSimulator

# ---- whatever may come back ------------------------------------------------------------------------------------------


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
    """Once: the next request succeeds, unless the reply is a valid answer. Each time: the documented exception."""
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
    """The call itself was not sent, so a trigger may be tried again."""
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


# ---- the simulator is nobody's accomplice ----------------------------------------------------------------------------


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
    """The simulator verifies with code of its own, so it finds a fault of the client's signer."""
    client_for(sim).call(trigger())
    monkeypatch.setattr(signing, *BROKEN_SIGNERS[broken])
    with fresh_gateways(), pytest.raises(errors.EnosAuthError):
        client_for(sim).call(calls.trigger_flow_from_task(3377, 108580, 1594016819108 + 60_000))
    assert len(sim.instances) == 1
