from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import pytest
from airflow.providers.common.compat.sdk import Connection

from airflow_provider_enos.client import settings
from airflow_provider_enos.errors import EnosConfigError, EnosError
from airflow_provider_enos.simulator import EnosSimulator

SECRET = "s3cr3t-Of-The-Key"
TENANT = {"org_id": "o15504722874071", "user_id": "u15426865866571"}


@dataclass
class Given:
    """A connection that works, save for what a test changes."""

    host: Any = "apim.example.com"
    schema: Any = None
    port: Any = None
    login: Any = "the-access-key"
    password: Any = SECRET
    extra: Any = field(default_factory=lambda: dict(TENANT))
    conn_id: str = "given"

    @property
    def read(self) -> settings.Settings:
        return settings.read(self)


def extra(**changes: Any) -> dict[str, Any]:
    return {"extra": json.dumps({**TENANT, **changes})}


# ---- what cannot work -----------------------------------------------------------------------------------------------

A_HOST = "a host name"
SCHEMES = "https or http"
PORTS = "1 to 65535"
OBJECT = "a JSON object"
LINK = "{flow_instance_id} or {flow_id}"
SECONDS = "above 0 and up to 3600"

BAD: dict[str, tuple[dict[str, Any], str, str]] = {
    # What is changed; the field that the message begins with; what it says would do.
    "host missing": ({"host": None}, "host", "such as apim.example.com"),
    "host empty": ({"host": ""}, "host", "such as apim.example.com"),
    "host blank": ({"host": " \t "}, "host", "such as apim.example.com"),
    "host no text": ({"host": 5}, "host", "such as apim.example.com"),
    "host with a space": ({"host": "apim example.com"}, "host", A_HOST),
    "host with a line break": ({"host": "apim\nexample.com"}, "host", A_HOST),
    "address with a line break": ({"host": "https://apim\nexample.com"}, "host", A_HOST),
    "address with a tab in its path": ({"host": "https://apim.example.com/pre\tfix"}, "host", A_HOST),
    "host with an empty label": ({"host": "apim..example.com"}, "host", A_HOST),
    "host with a label that is too long": ({"host": "a" * 64 + ".example.com"}, "host", A_HOST),
    "host with a hyphen in front": ({"host": "-apim.example.com"}, "host", A_HOST),
    "host not ASCII": ({"host": "ápim.example.com"}, "host", A_HOST),
    "host with user": ({"host": "user@apim.example.com"}, "host", A_HOST),
    "host with credentials": ({"host": f"user:{SECRET}@apim.example.com"}, "host", A_HOST),
    "host with credentials that hold a slash": ({"host": f"user:{SECRET}/x@apim.example.com"}, "host", A_HOST),
    "host with credentials that hold an at": ({"host": f"user:{SECRET}@x@apim.example.com"}, "host", A_HOST),
    "host with credentials and a line break": ({"host": f"{SECRET}\n@apim.example.com"}, "host", A_HOST),
    "address with credentials": ({"host": f"https://user:{SECRET}@apim.example.com/"}, "host", A_HOST),
    "address with credentials that hold a slash": ({"host": f"https://u:{SECRET}/x@apim.example.com"}, "host", A_HOST),
    "address with empty credentials": ({"host": "https://@apim.example.com"}, "host", A_HOST),
    "address with a query": ({"host": "https://apim.example.com/?a=b"}, "host", A_HOST),
    "address with a fragment": ({"host": "https://apim.example.com/#top"}, "host", A_HOST),
    "address without a host": ({"host": "https:///prefix"}, "host", A_HOST),
    "address with a blank in its path": ({"host": "https://apim.example.com/a b"}, "host", A_HOST),
    "address with an escaped path": ({"host": "https://apim.example.com/a%20b"}, "host", A_HOST),
    "address with two slashes in its path": ({"host": "https://apim.example.com/a//b"}, "host", A_HOST),
    "address with a backslash": ({"host": "https://apim.example.com\\x"}, "host", A_HOST),
    "address with a port that is no number": ({"host": "https://apim.example.com:https"}, "host", A_HOST),
    "address with a port that is too high": ({"host": "https://apim.example.com:70000"}, "host", A_HOST),
    "address with port 0": ({"host": "https://apim.example.com:0"}, "port", PORTS),
    "host with a port that is no number": ({"host": "apim.example.com:https"}, "host", A_HOST),
    "address with another port": ({"host": "https://apim.example.com:443", "port": 8443}, "port", "one of them"),
    "address with another scheme": ({"host": "https://apim.example.com", "schema": "http"}, "schema", "one of them"),
    "address with an unknown scheme": ({"host": "ftp://apim.example.com"}, "schema", SCHEMES),
    "IPv6 that is none": ({"host": "[1:2]"}, "host", A_HOST),
    "IPv6 without its second bracket": ({"host": "https://[::1"}, "host", A_HOST),
    "IPv6 with a zone": ({"host": "fe80::1%eth0"}, "host", A_HOST),
    "IPv4 in brackets": ({"host": "[10.0.0.1]"}, "host", A_HOST),
    "schema ftp": ({"schema": "ftp"}, "schema", SCHEMES),
    "schema no text": ({"schema": 5}, "schema", SCHEMES),
    "schema with credentials": ({"schema": f"{SECRET}@apim.example.com/https"}, "schema", SCHEMES),
    "plain http": ({"schema": "http"}, "schema", "allow_http: true"),
    "plain http in the address": ({"host": "http://apim.example.com"}, "schema", "allow_http: true"),
    "plain http to a private address": ({"host": "10.0.0.1", "schema": "http"}, "schema", "allow_http: true"),
    "plain http to what only looks local": ({"host": "localhost.example.com", "schema": "http"}, "schema", "https"),
    "plain http, forbidden by text": ({"schema": "http", **extra(allow_http="false")}, "schema", "allow_http: true"),
    "port 0": ({"port": 0}, "port", PORTS),
    "port 70000": ({"port": 70000}, "port", PORTS),
    "port negative": ({"port": -1}, "port", PORTS),
    "port text": ({"port": "https"}, "port", PORTS),
    "port true": ({"port": True}, "port", PORTS),
    "port a fraction": ({"port": 443.0}, "port", PORTS),
    "login missing": ({"login": None}, "login", "the access key"),
    "login empty": ({"login": ""}, "login", "the access key"),
    "login with white space": ({"login": " key"}, "login", "the access key"),
    "login with a line break": ({"login": "key\n"}, "login", "the access key"),
    "password missing": ({"password": None}, "password", "the secret key"),
    "password empty": ({"password": ""}, "password", "the secret key"),
    "password with white space": ({"password": f"{SECRET} "}, "password", "the secret key"),
    "password with a control character": ({"password": f"{SECRET}\x00"}, "password", "the secret key"),
    "extra missing": ({"extra": None}, "org_id", "in the connection's extra or as an argument"),
    "extra no JSON": ({"extra": f"secret={SECRET}"}, "extra", OBJECT),
    "extra broken off": ({"extra": f'{{"password": "{SECRET}"'}, "extra", OBJECT),
    "extra a list": ({"extra": f'["{SECRET}"]'}, "extra", OBJECT),
    "extra a text": ({"extra": f'"{SECRET}"'}, "extra", OBJECT),
    "extra a number": ({"extra": "5"}, "extra", OBJECT),
    "extra nested without end": ({"extra": "[" * 100_000}, "extra", OBJECT),
    "extra with a huge number": ({"extra": '{"timeout": ' + "9" * 5000 + "}"}, "extra", OBJECT),
    "org_id missing": ({"extra": {"user_id": "u1"}}, "org_id", "as an argument"),
    "org_id misspelt": ({"extra": {"orgId": "o1", "user_id": "u1"}}, "org_id", "as an argument"),
    "org_id empty": (extra(org_id=""), "org_id", "as an argument"),
    "org_id blank": (extra(org_id="  "), "org_id", "such as o15504722874071"),
    "org_id a list": (extra(org_id=["o1"]), "org_id", "such as o15504722874071"),
    "org_id true": (extra(org_id=True), "org_id", "such as o15504722874071"),
    "org_id with a control character": (extra(org_id="o1\r\nX: y"), "org_id", "such as o15504722874071"),
    "org_id without end": (extra(org_id="o" * 201), "org_id", "such as o15504722874071"),
    "org_id of a template that found nothing": (extra(org_id="None"), "org_id", "such as o15504722874071"),
    "org_id with half a character": (extra(org_id="o1\ud83d"), "org_id", "such as o15504722874071"),
    "user_id missing": ({"extra": {"org_id": "o1"}}, "user_id", "as an argument"),
    "user_id null": (extra(user_id=None), "user_id", "as an argument"),
    "user_id blank": (extra(user_id="\u3000"), "user_id", "a text"),
    "user_id a fraction": (extra(user_id=1.5), "user_id", "a text"),
    "user_id of a template that found nothing": (extra(user_id=" None "), "user_id", "such as o15504722874071"),
    "user_id with half a character": (extra(user_id="\udc80"), "user_id", "such as o15504722874071"),
    "user_id with a control character": (extra(user_id="u1\x1b[2J"), "user_id", "a text"),
    "verify nonsense": (extra(verify="maybe"), "verify", "a CA file or directory"),
    "verify a number": (extra(verify=1), "verify", "a CA file or directory"),
    "verify with a null": (extra(verify="ca\x00.pem"), "verify", "a CA file or directory"),
    "verify nested": (extra(verify=[[[["ca.pem"]]]]), "verify", "a CA file or directory"),
    "timeout 0": (extra(timeout=0), "timeout", SECONDS),
    "timeout negative": (extra(timeout=-1), "timeout", SECONDS),
    "timeout text": (extra(timeout="a minute"), "timeout", SECONDS),
    "timeout nan": (extra(timeout="nan"), "timeout", SECONDS),
    "timeout inf": (extra(timeout=float("inf")), "timeout", SECONDS),
    "timeout true": (extra(timeout=True), "timeout", SECONDS),
    "timeout huge": (extra(timeout=10**400), "timeout", SECONDS),
    "timeout above an hour": (extra(timeout=3601), "timeout", SECONDS),
    "timeout a list": (extra(timeout=[60]), "timeout", SECONDS),
    "allow_http nonsense": (extra(allow_http="perhaps"), "allow_http", "true or false"),
    "allow_http a number": (extra(allow_http=1), "allow_http", "true or false"),
    "console_url without placeholder": (extra(console_url="https://c.example.com/"), "console_url", LINK),
    "console_url no text": (extra(console_url=5), "console_url", LINK),
    "console_url of another scheme": (extra(console_url="javascript:alert({flow_id})"), "console_url", LINK),
    "console_url without a host": (extra(console_url="https:///{flow_id}"), "console_url", LINK),
    "console_url with an unknown placeholder": (extra(console_url="https://c.example.com/{id}"), "console_url", LINK),
    "console_url with an empty placeholder": (extra(console_url="https://c.example.com/{}"), "console_url", LINK),
    "console_url that reaches for attributes": (
        extra(console_url="https://c.example.com/{flow_id.__class__}"),
        "console_url",
        LINK,
    ),
    "console_url that reaches for items": (
        extra(console_url="https://c.example.com/{flow_id[0]}"),
        "console_url",
        LINK,
    ),
    "console_url that formats": (extra(console_url="https://c.example.com/{flow_id:>999999}"), "console_url", LINK),
    "console_url that converts": (extra(console_url="https://c.example.com/{flow_id!r}"), "console_url", LINK),
    "console_url with a lone brace": (extra(console_url="https://c.example.com/{flow_id}/{"), "console_url", LINK),
    "console_url with braces in its host": (extra(console_url="https://{flow_id}.example.com/"), "console_url", LINK),
    "console_url with credentials": (extra(console_url=f"https://u:{SECRET}@c.com/{{flow_id}}"), "console_url", LINK),
    "console_url with a host after a backslash": (
        extra(console_url="https://c.com\\@d.com/{flow_id}"),
        "console_url",
        LINK,
    ),
    "console_url with a port alone": (extra(console_url="https://:443/{flow_id}"), "console_url", LINK),
    "console_url with a port that is none": (extra(console_url="https://c.com:x/{flow_id}"), "console_url", LINK),
    "console_url too long": (extra(console_url="https://c.com/{flow_id}" + "x" * 1000), "console_url", LINK),
    "console_url with a blank": (extra(console_url="https://c.example.com/ {flow_id}"), "console_url", LINK),
}


@pytest.mark.parametrize(("changes", "named", "accepted"), BAD.values(), ids=BAD)
def test_what_cannot_work_is_refused_by_name(changes: dict[str, Any], named: str, accepted: str) -> None:
    """The message begins with the field, ends with what would do, is short, and never shows the secret."""
    with pytest.raises(EnosConfigError) as caught:
        _ = Given(**changes).read
    message = str(caught.value)
    assert message.startswith(f"{named}: ")
    assert caught.value.field == named
    assert accepted in message.partition("; expected ")[2]
    assert len(message) < 300
    assert message.isprintable()
    assert SECRET not in message
    assert SECRET not in repr(caught.value)
    assert caught.value.final


def test_the_value_is_shown_where_it_is_no_secret() -> None:
    with pytest.raises(EnosConfigError, match=r"^host: 'apim example\.com'; expected"):
        _ = Given(host="apim example.com").read


def test_an_extra_that_calls_it_otherwise_is_told_what_it_has() -> None:
    """The message shows only the names in extra: values may be secrets."""
    given = Given(extra=json.dumps({"orgId": SECRET, "userId": "u1"}))
    with pytest.raises(EnosConfigError, match=r"org_id: it is missing in extra \(which has orgId, userId\)"):
        _ = given.read


WHERE: dict[str, Callable[[Any], dict[str, Any]]] = {
    "host": lambda value: {"host": value},
    "schema": lambda value: {"schema": value},
    "port": lambda value: {"port": value},
    "login": lambda value: {"login": value},
    **{
        name: lambda value, name=name: extra(**{name: value})  # type: ignore[misc]
        for name in ("org_id", "user_id", "verify", "timeout", "allow_http", "console_url", "another")
    },
}
HOW: dict[str, Callable[[str], Any]] = {
    "alone": str,
    "with white space": lambda key: f" {key}\n",
    "in an address": lambda key: f"https://{key}/x y",
    "before an at": lambda key: f"{key}@x",
    "after an at": lambda key: f"x@{key}",
    "percent-encoded": lambda key: quote(key, safe=""),
    "in capitals": str.upper,
    "its front": lambda key: key[:-4],
    "its end": lambda key: key[4:],
    "far behind": lambda key: "x" * 70 + key,
    "in a list": lambda key: [key],
    "in an object": lambda key: {"key": key},
    "as a name": lambda key: {key: 1},
    "for the scheme": lambda key: f"{key}://apim.example.com",
    "for the port": lambda key: f"apim.example.com:{key}",
    "as a placeholder": lambda key: f"https://c.example.com/{{{key}}}",
}


@pytest.mark.parametrize("how", HOW.values(), ids=HOW)
@pytest.mark.parametrize("where", WHERE.values(), ids=WHERE)
@pytest.mark.parametrize("key", ["3b7e9a52-6f0c-4d18-9e2b-c5a1f7d08e64", "Abc/Def+0123=45&67%89"])
def test_a_secret_key_in_the_wrong_field_is_not_shown(where: Any, how: Any, key: str) -> None:
    try:
        found = Given(**{"password": key, **where(how(key))}).read
    except EnosConfigError as error:
        shown = f"{error!r} {error} {vars(error)}"
    else:
        # A part of it, or another spelling, may pass for a host or an id.
        shown = repr(found) if how in (HOW["alone"], HOW["with white space"]) else ""
    letters = re.sub("[^a-z0-9]", "", unquote(shown).lower())
    secret = re.sub("[^a-z0-9]", "", key.lower())
    assert not any(secret[at : at + 8] in letters for at in range(len(secret) - 7)), shown


@pytest.mark.parametrize("name", ["org_id", "user_id"])
def test_a_secret_key_as_an_argument_is_not_shown(name: str) -> None:
    """As a template may find it."""
    for value in (SECRET, f"{SECRET}\n{SECRET}", [SECRET]):
        with pytest.raises(EnosConfigError) as caught:
            settings.read(Given(), **{name: value})
        assert caught.value.field == name
        assert SECRET not in str(caught.value)


def test_a_short_key_may_be_a_part_of_a_host() -> None:
    assert Given(password="apim").read.base_url == "https://apim.example.com"


def test_other_values_are_still_shown() -> None:
    with pytest.raises(EnosConfigError, match=r"^org_id: \['o1'\]; expected a text such as"):
        _ = Given(**extra(org_id=["o1"])).read


# ---- what works -----------------------------------------------------------------------------------------------------

GOOD: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "host alone": ({}, {"base_url": "https://apim.example.com", "verify": True, "timeout": 65.0, "console_url": None}),
    "host with white space around": ({"host": " apim.example.com\n"}, {"base_url": "https://apim.example.com"}),
    "host with a dot at the end": ({"host": "apim.example.com."}, {"base_url": "https://apim.example.com."}),
    "host of one label": ({"host": "gateway_1"}, {"base_url": "https://gateway_1"}),
    "host and port": ({"port": 8443}, {"base_url": "https://apim.example.com:8443"}),
    "port as text": ({"port": "8443"}, {"base_url": "https://apim.example.com:8443"}),
    "port empty": ({"port": ""}, {"base_url": "https://apim.example.com"}),
    "port in host": ({"host": "apim.example.com:8443"}, {"base_url": "https://apim.example.com:8443"}),
    "schema in capitals": ({"schema": "HTTPS"}, {"base_url": "https://apim.example.com"}),
    "address": ({"host": "https://apim.example.com"}, {"base_url": "https://apim.example.com"}),
    "address with a slash": ({"host": "https://apim.example.com/"}, {"base_url": "https://apim.example.com"}),
    "address with all": (
        {"host": "https://apim.example.com:8443/edge/gw-1/", "schema": "https", "port": 8443},
        {"base_url": "https://apim.example.com:8443/edge/gw-1"},
    ),
    "address without scheme": ({"host": "apim.example.com:443/gw"}, {"base_url": "https://apim.example.com:443/gw"}),
    "address, port beside it": (
        {"host": "https://apim.example.com/gw", "port": 8443},
        {"base_url": "https://apim.example.com:8443/gw"},
    ),
    "IPv4": ({"host": "10.0.0.1"}, {"base_url": "https://10.0.0.1"}),
    "IPv6": ({"host": "2001:db8::1"}, {"base_url": "https://[2001:db8::1]"}),
    "IPv6 in brackets": ({"host": "[2001:db8::1]", "port": 8443}, {"base_url": "https://[2001:db8::1]:8443"}),
    "IPv6 in brackets with port": ({"host": "[2001:db8::1]:8443"}, {"base_url": "https://[2001:db8::1]:8443"}),
    "IPv6 in an address": ({"host": "https://[2001:db8::1]:8443/gw"}, {"base_url": "https://[2001:db8::1]:8443/gw"}),
    "plain http to localhost": ({"host": "localhost", "schema": "http"}, {"base_url": "http://localhost"}),
    "plain http to loopback": ({"host": "http://127.0.0.1:8080"}, {"base_url": "http://127.0.0.1:8080"}),
    "plain http to IPv6 loopback": ({"host": "::1", "schema": "http"}, {"base_url": "http://[::1]"}),
    "plain http allowed where Airflow 2 tests its form": (
        {"schema": "http", **extra(allow_http="y")},
        {"base_url": "http://apim.example.com"},
    ),
    "plain http allowed": ({"schema": "http", **extra(allow_http=True)}, {"base_url": "http://apim.example.com"}),
    "plain http allowed by text": (
        {"schema": "http", **extra(allow_http="True")},
        {"base_url": "http://apim.example.com"},
    ),
    "tenant as numbers": (extra(org_id=15, user_id=42), {"org_id": "15", "user_id": "42"}),
    "tenant with white space around": (extra(org_id=" o1 ", user_id="u1 "), {"org_id": "o1", "user_id": "u1"}),
    "verify false": (extra(verify=False), {"verify": False}),
    "verify as text": (extra(verify=" FALSE "), {"verify": False}),
    "timeout as text": (extra(timeout="12.5"), {"timeout": 12.5}),
    "timeout of an hour": (extra(timeout=3600), {"timeout": 3600.0}),
    "the empty form of Airflow 2": (
        {"schema": "", "port": None, **extra(verify="", timeout="", allow_http=False, console_url="")},
        {"base_url": "https://apim.example.com", "verify": True, "timeout": 65.0, "console_url": None},
    ),
    "nulls in extra": (extra(verify=None, timeout=None, allow_http=None, console_url=None), {"timeout": 65.0}),
    "names that are not ours": (extra(color="blue"), {"org_id": TENANT["org_id"]}),
    "extra as an object": ({"extra": {**TENANT, "timeout": 5}}, {"timeout": 5.0}),
}


@pytest.mark.parametrize(("changes", "expected"), GOOD.values(), ids=GOOD)
def test_what_works(changes: dict[str, Any], expected: dict[str, Any]) -> None:
    found = Given(**changes).read
    assert {name: getattr(found, name) for name in expected} == expected


def test_a_ca_file_that_exists(tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    file.write_text("")
    assert Given(**extra(verify=str(file))).read.verify == str(file)


@pytest.mark.parametrize(
    ("given", "expected"),
    [({"org_id": "o9"}, ("o9", "u15426865866571")), ({"org_id": "", "user_id": "u9"}, ("o15504722874071", "u9"))],
    ids=["org_id", "user_id, and an empty org_id"],
)
def test_arguments_override_the_tenant_of_the_connection(given: dict[str, str], expected: tuple[str, str]) -> None:
    found = settings.read(Given(), **given)
    assert (found.org_id, found.user_id) == expected


def test_arguments_do_without_extra() -> None:
    found = settings.read(Given(extra=None), org_id="o1", user_id="u1")
    assert (found.org_id, found.user_id) == ("o1", "u1")


@pytest.mark.parametrize("name", ["org_id", "user_id"])
@pytest.mark.parametrize(
    "value",
    [" ", "a\nb", ["o1"], True, "None", " None\n", "o1\ud83d"],
    ids=["blank", "line break", "list", "bool", "None", "None among white space", "half a character"],
)
def test_arguments_are_checked_as_the_fields_are(value: Any, name: str) -> None:
    """A template that finds nothing renders to "None"; the id of the connection does not replace it."""
    with pytest.raises(EnosConfigError, match=rf"^{name}: ") as caught:
        settings.read(Given(), **{name: value})
    assert caught.value.field == name
    assert ascii(repr(value))[2:-2].replace("\\\\", "\\") in ascii(str(caught.value)).replace("\\\\", "\\")


# ---- what is made of it ---------------------------------------------------------------------------------------------


def test_the_repr_has_no_secret() -> None:
    shown = repr(Given().read)
    assert "https://apim.example.com" in shown
    assert SECRET not in shown


def test_a_link_is_escaped() -> None:
    found = Given(**extra(console_url="https://c.example.com/#/flow/{flow_id}?inst={flow_instance_id}&{{x}}")).read
    link = found.link("33/77-2020 &{flow_id}?#é")
    assert link == "https://c.example.com/#/flow/33%2F77?inst=33%2F77-2020%20%26%7Bflow_id%7D%3F%23%C3%A9&{x}"


@pytest.mark.parametrize(
    ("flow_instance_id", "flow_id"), [("3377-20200706062600", "3377"), ("odd", "odd"), ("a-b-c", "a"), ("-1", "")]
)
def test_a_link_takes_the_flow_from_the_instance(flow_instance_id: str, flow_id: str) -> None:
    """An instance is named after its flow, and a link is wanted before anything of it has been read."""
    found = Given(**extra(console_url="https://c.example.com/{flow_id}/{flow_instance_id}")).read
    assert found.link(flow_instance_id) == f"https://c.example.com/{flow_id}/{flow_instance_id}"


def test_a_link_with_one_placeholder() -> None:
    found = Given(**extra(console_url="http://c.example.com/{flow_instance_id}")).read
    assert found.link("3377-20200706062600") == "http://c.example.com/3377-20200706062600"


def test_without_console_url_there_is_no_link() -> None:
    assert Given().read.link("3377-20200706062600") is None


# ---- through Airflow's own connections ------------------------------------------------------------------------------


def connection_from_env(monkeypatch: pytest.MonkeyPatch, text: str) -> Connection:
    from airflow.providers.common.compat.sdk import BaseHook

    monkeypatch.setenv("AIRFLOW_CONN_ENOS_SETTINGS", text)
    return BaseHook.get_connection("enos_settings")


AWKWARD = "s3cr3t/+=?&#%:@ é\"'{}"


@pytest.mark.parametrize("form", ["connection_json", "connection_uri"])
@pytest.mark.parametrize("secret", [SECRET, AWKWARD], ids=["plain secret", "awkward secret"])
def test_the_simulators_connection(monkeypatch: pytest.MonkeyPatch, form: str, secret: str) -> None:
    sim = EnosSimulator(port=8080, secret_key=secret, access_key="key/+=")
    found = settings.read(connection_from_env(monkeypatch, getattr(sim, form)))
    assert (found.base_url, found.access_key, found.secret_key) == ("http://127.0.0.1:8080", "key/+=", secret)
    assert (found.org_id, found.user_id) == (sim.org_id, sim.user_id)


FULL = {
    "conn_type": "enos",
    "host": "apim.example.com",
    "schema": "https",
    "port": 8443,
    "login": "the-access-key",
    "password": AWKWARD,
    "extra": {
        **TENANT,
        "verify": False,
        "timeout": 12.5,
        "allow_http": True,
        "console_url": "https://c.example.com/{flow_id}",
    },
}


def test_every_field_as_json(monkeypatch: pytest.MonkeyPatch) -> None:
    found = settings.read(connection_from_env(monkeypatch, json.dumps(FULL)))
    assert found == settings.Settings(
        base_url="https://apim.example.com:8443",
        access_key="the-access-key",
        secret_key=AWKWARD,
        **TENANT,
        verify=False,
        timeout=12.5,
        console_url="https://c.example.com/{flow_id}",
    )


@pytest.mark.parametrize("host", ["apim.example.com", "https://apim.example.com/edge", "2001:db8::1"])
def test_a_uri_made_by_airflow_reads_the_same(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    made = connection_from_env(monkeypatch, json.dumps({**FULL, "host": host}))
    again = connection_from_env(monkeypatch, made.get_uri())
    assert settings.read(again) == settings.read(made)


def test_values_in_a_uri_are_text(monkeypatch: pytest.MonkeyPatch) -> None:
    uri = "enos://key:secret@apim.example.com?org_id=15&user_id=u1&verify=false&timeout=5&allow_http=true"
    found = settings.read(connection_from_env(monkeypatch, uri))
    assert (found.org_id, found.verify, found.timeout) == ("15", False, 5.0)


@pytest.mark.parametrize("kept", [{}, {"host": "apim.example.com"}, {"login": "key", "password": SECRET}], ids=str)
def test_an_incomplete_connection_is_an_error_of_ours(monkeypatch: pytest.MonkeyPatch, kept: dict[str, str]) -> None:
    connection = connection_from_env(monkeypatch, json.dumps({"conn_type": "enos", **kept}))
    with pytest.raises(EnosError, match=r"^(host|login|org_id): it is missing"):
        settings.read(connection)
