"""Whatever somebody writes into a connection: settings that are safe, or an error that names the field."""

from __future__ import annotations

import json
import re
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from airflow.providers.common.compat.sdk import Connection
from fuzzing import JSON, TEXTS, assert_fit_for_a_log, hold
from hypothesis import strategies as st

from airflow_provider_enos.client import settings
from airflow_provider_enos.errors import EnosConfigError

SECRET = "s3cr3t-kéy/with?all#of&it"
ADDRESS = re.compile(r"https?://([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?(/[A-Za-z0-9._~/-]*)?")
HOSTS = (
    st.sampled_from(["apim.example.com", "127.0.0.1", "::1", "https://a.example:443/x", "http://u:p@h", ""])
    | st.from_regex(r"\A[a-z0-9.:/\[\]@\\%?# \r\n-]{0,30}\Z")
    | TEXTS
)
EXTRAS = st.fixed_dictionaries(
    {},
    optional={
        "org_id": TEXTS | JSON,
        "user_id": TEXTS | JSON,
        "verify": st.booleans() | TEXTS | JSON,
        "timeout": JSON | TEXTS,
        "allow_http": st.booleans() | JSON,
        "console_url": st.from_regex(
            r"\A(https?|javascript|data|file)?:?(//)?[a-z.@:\\/?#{}\[\]]{0,20}(\{flow_id\}|\{flow_instance_id\})?[/?#]?\Z"
        )
        | TEXTS,
    },
)


def assert_safe(read: Any) -> None:
    """Settings that can be used, or an error that does not tell the secret key."""
    try:
        found = read()
    except EnosConfigError as error:
        assert_fit_for_a_log(str(error).replace(SECRET, "\0"), 1_000)
        return
    assert ADDRESS.fullmatch(found.base_url)
    urlsplit(found.base_url).port  # noqa: B018 - it raises for a bad one
    assert SECRET not in repr(found)
    assert f"{found.access_key}{found.org_id}{found.user_id}".isprintable()
    for hostile in ("3377-20200706062600", "javascript:alert(1)//", "a b\r\nc", '"><script>', "../..", "{flow_id}"):
        link = found.link(hostile)
        if link is not None:
            assert re.fullmatch(r"https?://[^\s\"<>\\{}]+.*", link)
            assert link.isprintable()
            assert urlsplit(link).netloc == urlsplit(found.console_url).netloc


def test_whatever_the_fields_are() -> None:
    def check(host: Any, schema: Any, port: Any, login: Any, extra: Any) -> None:
        connection = SimpleNamespace(
            conn_id="x", host=host, schema=schema, port=port, login=login, password=SECRET, extra=extra
        )
        assert_safe(lambda: settings.read(connection))

    ids = {"org_id": "o1", "user_id": "u1"}
    hold(
        check,
        host=HOSTS | JSON,
        schema=st.sampled_from([None, "", "https", "http", "HTTP", "ftp"]) | TEXTS,
        port=st.none() | st.integers(-1, 70_000) | st.sampled_from(["443", "x", "", "\uff19"]) | JSON,
        login=st.just("key") | TEXTS | JSON,
        extra=EXTRAS.map(lambda extra: {**ids, **extra}) | EXTRAS.map(json.dumps) | TEXTS | JSON,
        examples=80,
    )


def test_whatever_the_uri_is() -> None:
    """As in ``AIRFLOW_CONN_...``. What Airflow itself refuses does not come to us."""

    def check(uri: str) -> None:
        try:
            connection = Connection(conn_id="x", uri=uri)
            (connection.host, connection.password, connection.extra)  # noqa: B018
        except Exception:
            return
        assert_safe(lambda: settings.read(connection))

    def uri(login: str, host: str, port: str, schema: str, extra: dict[str, Any]) -> str:
        named = {name: value if isinstance(value, str) else json.dumps(value) for name, value in extra.items()}
        query = urlencode({"org_id": "o1", "user_id": "u1", **named}, errors="replace")
        return f"enos://{quote(login, errors='replace')}:{quote(SECRET, safe='')}@{host}{port}/{schema}?{query}"

    written = st.builds(
        uri,
        TEXTS,
        HOSTS | HOSTS.map(lambda host: quote(host, safe="", errors="replace")),
        st.sampled_from(["", ":443", ":0", ":99999", ":x"]),
        st.sampled_from(["", "https", "http", "https/x"]),
        EXTRAS,
    )
    hold(check, uri=written | TEXTS.map(lambda text: f"enos://{text}"), examples=50)
