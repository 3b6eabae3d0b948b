"""What the Test button says of a connection."""

from __future__ import annotations

import re
import ssl
from typing import Any

import pytest
import trustme
from hook_fixtures import MakeHook

from airflow_provider_enos.hooks.enos import EnosHook
from airflow_provider_enos.simulator import EnosSimulator


def test_a_connection_that_works(hook: EnosHook, sim: EnosSimulator) -> None:
    works, message = hook.test_connection()
    assert works
    assert message == f"Connected to {sim.url} as user {sim.user_id} of organisation {sim.org_id}."
    assert sim.instances == []


@pytest.mark.parametrize("skew", [3600, -3600])
def test_a_clock_that_is_off_is_mentioned(hook_for: MakeHook, skew: float) -> None:
    with EnosSimulator(clock_skew=skew) as sim:
        works, message = hook_for(sim).test_connection()
    assert works
    assert re.search(r"This machine's clock is off by 3(59[5-9]|60[0-5]) s, which is corrected for\.$", message)


UNFIT: dict[str, tuple[dict[str, Any], str]] = {
    "wrong key": ({"login": "another-key"}, r"^Access key or secret key are not accepted\. .*1002 .*login"),
    "wrong secret": ({"password": "another-secret"}, r"^Access key or secret key are not accepted\. .*1003 .*password"),
    "wrong organisation": (
        {"extra": {"org_id": "o1", "user_id": "u15426865866571"}},
        r"^EnOS refuses this user or this caller\. .*62101 .*org_id and user_id do not belong together",
    ),
    "wrong user": (
        {"extra": {"org_id": "o15426865866571", "user_id": "u1"}},
        r"^EnOS refuses this user or this caller\. .*62101",
    ),
    "plain http": (
        {"host": "10.0.0.1"},
        r"^The connection cannot work\. schema: plain http to 10\.0\.0\.1 .*allow_http",
    ),
    "no such host": (
        {"host": "surely-nowhere.invalid", "schema": "https"},
        r"^Cannot reach the gateway\. .*the host name cannot be resolved",
    ),
    "nobody there": ({"port": 1}, r"^Cannot reach the gateway\. .*ConnectionRefusedError"),
    "TLS where there is none": ({"schema": "https"}, r"^TLS is refused\. "),
    "another address": ({"host": "http://127.0.0.1/edge"}, r"^The gateway does not answer as EnOS does\. .*404 .*host"),
    "no host": ({"host": ""}, r"^The connection cannot work\. host: it is missing; expected .*apim\.example\.com"),
    "no login": ({"login": ""}, r"^The connection cannot work\. login: it is missing"),
    "no password": ({"password": ""}, r"^The connection cannot work\. password: it is missing"),
    "no extra": ({"extra": None}, r"^The connection cannot work\. org_id: it is missing in extra"),
}


@pytest.mark.parametrize(("fields", "said"), UNFIT.values(), ids=UNFIT)
def test_a_connection_that_does_not_work(sim: EnosSimulator, hook_for: MakeHook, fields: Any, said: str) -> None:
    works, message = hook_for(sim, fields=fields).test_connection()
    assert not works
    assert re.search(said, message)
    assert len(message) < 400
    assert "\n" not in message


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"password": ""}, 'expected the secret key. In the form, password is "Secret Key".'),
        ({"port": 99999}, "port: 99999; expected 1 to 65535."),
        ({"host": "10.0.0.1"}, 'In the form, schema is "Scheme", allow_http is "Allow plain http".'),
        ({"schema": "https"}, 'plain http one, set schema. In the form, host is "Gateway", schema is "Scheme".'),
    ],
)
def test_the_sentence_says_what_the_form_calls_a_field(
    sim: EnosSimulator, hook_for: MakeHook, fields: Any, said: str
) -> None:
    """If a label is the same as the name of the field, the sentence does not name it."""
    works, message = hook_for(sim, fields=fields).test_connection()
    assert not works
    assert message.endswith(said)


REPLIES: dict[str, tuple[str, dict[str, Any], str]] = {
    "a web page": ("html_200", {}, r"^The gateway does not answer as EnOS does\. .*no JSON object"),
    "a login page elsewhere": ("redirect", {}, r"^The gateway does not answer as EnOS does\. .*points elsewhere"),
    "an address that is barred": ("http_403", {}, r"^EnOS refuses this user or this caller\. .*its address may be"),
    "a gateway in trouble": ("http_503", {"body": "html"}, r"^The gateway does not answer as EnOS does\. .*503"),
    "a line that drops": ("dropped", {}, r"^Cannot reach the gateway\. .*the connection broke"),
    "the quota": ("http_429", {"retry_after": 60}, r"429 .*over the quota"),
}


@pytest.mark.parametrize("on", ["token/get", "time/getCurrentTime", "flowInstances/search"])
@pytest.mark.parametrize(("kind", "options", "said"), REPLIES.values(), ids=REPLIES)
def test_a_gateway_that_does_not_answer_as_it_should(
    hook: EnosHook, sim: EnosSimulator, kind: str, options: Any, said: str, on: str
) -> None:
    """The message comes at once: the user waits in front of a form."""
    sim.fault(kind, on=on, times=None, **options)
    works, message = hook.test_connection()
    assert not works
    assert re.search(said, message)
    assert len(message) < 300
    assert sim.count(on) == 1


def test_a_certificate_that_is_not_trusted(hook_for: MakeHook) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    with EnosSimulator(tls=context) as sim:
        works, message = hook_for(sim).test_connection()
        assert not works
        assert message.startswith("TLS is refused. ")
        assert "CERTIFICATE_VERIFY_FAILED" in message
        assert hook_for(sim, verify=False).test_connection()[0]
