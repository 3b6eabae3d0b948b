from __future__ import annotations

import base64
import html
import json
import re
import time
from collections.abc import Callable
from urllib.parse import quote, quote_plus, unquote

import pytest
from hypothesis import given, strategies as st

from airflow_provider_enos.protocol.wire import redaction
from airflow_provider_enos.protocol.wire.redaction import LONGEST, hide

KEY = "0f3a-B9c/d7E+4b&2<a8'6\"f1=="
"""A secret with characters that encodings change."""
TOKEN = "APP_PORTAL_S_8d+7f/2c6a=="
UUID = "3b7e9a52-6f0c-4d18-9e2b-c5a1f7d08e64"

Encoding = Callable[[str], str]


def json_of(text: str) -> str:
    return json.dumps(text)[1:-1]


def with_unicode(text: str) -> str:
    return "".join(letter if letter.isalnum() else f"\\u{ord(letter):04x}" for letter in text)


def with_numbers(text: str) -> str:
    return "".join(letter if letter.isalnum() else f"&#{ord(letter)};" for letter in text)


def percent_lower(text: str) -> str:
    return re.sub("%[0-9A-F]{2}", lambda found: found[0].lower(), quote(text, safe="", errors="replace"))


ESCAPES: dict[str, Encoding] = {
    "HTML": html.escape,
    "HTML numbers": with_numbers,
    "HTML hex numbers": lambda text: "".join(one if one.isalnum() else f"&#x{ord(one):X};" for one in text),
    "percent": lambda text: quote(text, safe="", errors="replace"),
    "percent, lower case": percent_lower,
    "percent, slash kept": lambda text: quote(text, errors="replace"),
    "percent, plus": lambda text: quote_plus(text, errors="replace"),
    "percent, all of it": lambda text: "".join(f"%{byte:02x}" for byte in text.encode("utf-8", "replace")),
    "JSON": json_of,
    "JSON with slashes": lambda text: json_of(text).replace("/", "\\/"),
    "JSON with numbers": with_unicode,
    "JSON in JSON": lambda text: json_of(json_of(text)),
    "JSON in JSON in JSON with slashes": lambda text: json_of(json_of(json_of(text).replace("/", "\\/"))),
    "Python": lambda text: repr(text)[1:-1],
    "bytes of Python": lambda text: repr(text.encode("utf-8", "replace"))[2:-1],
    "colours between": lambda text: "\x1b[1m".join(text),
    "lines between": lambda text: "\r\n".join(text),
}
CASES: dict[str, Encoding] = {"upper case": str.upper, "lower case": str.lower}
PACKINGS: dict[str, Encoding] = {
    "base64": lambda text: base64.b64encode(text.encode("utf-8", "replace")).decode(),
    "base64 of an address": lambda text: base64.urlsafe_b64encode(text.encode("utf-8", "replace")).decode(),
    "base64 in lines": lambda text: base64.encodebytes(text.encode("utf-8", "replace") * 3).decode(),
    "base64 without its end": lambda text: PACKINGS["base64"](text).rstrip("="),
    "base64 of more": lambda text: PACKINGS["base64"](f"ab {text} c"),
    "base64 without its front": lambda text: PACKINGS["base64"](f"abcdefg {text}")[3:],
    "hex": lambda text: text.encode("utf-8", "replace").hex(),
    "hex, upper case": lambda text: text.encode("utf-8", "replace").hex().upper(),
}
ENCODINGS = {"as it is": str, **ESCAPES, **CASES, **PACKINGS}


def letters(text: str) -> str:
    """Its ASCII letters and digits, after whatever escapes there are have been undone; ``-`` for what is hidden."""
    for _ in range(12):
        before = text
        text = unquote(html.unescape(text), encoding="latin-1")
        text = re.sub(r"\\+u([0-9a-fA-F]{4})|\\+x([0-9a-fA-F]{2})", lambda one: chr(int(one[1] or one[2], 16)), text)
        if text == before:
            break
    text = re.sub(r"\\+[abfnrtv0]", "", text)
    return re.sub(r"[^a-z0-9-]+", "", text.replace("-", "").replace("***", "-").lower())


def assert_hidden(shown: str, secret: str) -> None:
    """No eight letters and digits of it in a row are left."""
    left, whole = letters(shown), letters(secret)
    runs = {whole[at : at + 8] for at in range(len(whole) - 7)}
    found = [left[at : at + 8] for at in range(len(left) - 7) if left[at : at + 8] in runs]
    assert found == [], shown


@pytest.mark.parametrize("secret", [KEY, TOKEN, UUID])
@pytest.mark.parametrize("encode", ENCODINGS.values(), ids=ENCODINGS)
def test_each_spelling(encode: Encoding, secret: str) -> None:
    spelt = encode(secret)
    shown = hide(f"no such flow {spelt} (id 3377)", [secret])
    assert shown.startswith("no such flow ")
    assert shown.endswith(" (id 3377)")
    assert "***" in shown
    assert_hidden(shown, secret)
    # At most a sign of it that no letter stands around.
    assert len(shown) < len("no such flow  (id 3377)") + 60


@pytest.mark.parametrize("first", ENCODINGS.values(), ids=ENCODINGS)
@pytest.mark.parametrize("second", [*ESCAPES.values(), *PACKINGS.values()], ids=[*ESCAPES, *PACKINGS])
def test_one_spelling_in_another(first: Encoding, second: Encoding) -> None:
    torn = (ESCAPES["colours between"], ESCAPES["lines between"])
    if first in torn and second in torn:
        return
    for secret in (KEY, TOKEN, UUID):
        shown = hide(f"x: {second(first(secret))}.", [secret])
        assert "***" in shown
        assert_hidden(shown, secret)


@pytest.mark.parametrize("encode", [str, *ESCAPES.values()], ids=["as it is", *ESCAPES])
def test_a_piece_of_a_secret(encode: Encoding) -> None:
    """Its front cut off, or its end."""
    for at in range(1, len(UUID) - 11):
        assert_hidden(hide(encode(UUID)[at:], [UUID]), UUID)
        assert_hidden(hide(encode(UUID)[:-at], [UUID]), UUID)
        assert "***" in hide(f"is {encode(UUID[at:])} right?", [UUID])
        assert "***" in hide(f"is {encode(UUID[:-at])} right?", [UUID])


@pytest.mark.parametrize("length", range(4, 8))
def test_where_a_text_is_cut_within_a_secret_less_is_hidden(length: int) -> None:
    piece = "3b7e9a52"[:length]
    assert hide(f"no flow {piece}", [UUID]) == "no flow ***"
    assert hide(f"no flow '{piece}… in 'x'", [UUID]) == "no flow '***… in 'x'"
    assert hide(f"no flow {piece}, sorry", [UUID]) == f"no flow {piece}, sorry"


encodings = st.sampled_from([*ENCODINGS.values()])
signs = st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "S", "Zs")), max_size=60)
secrets = st.from_regex(r"\A[A-Za-z0-9]{8,20}([+/=_.&<>%\"'\\ -]{0,3}[A-Za-z0-9]{1,12}){0,4}={0,2}\Z")


@given(secrets, st.lists(encodings, max_size=4), signs, signs)
def test_any_spelling_of_any_secret(secret: str, encoded_by: list[Encoding], before: str, after: str) -> None:
    text = secret
    for encode in encoded_by:
        text = encode(text)
    assert_hidden(hide(f"{before} {text} {after}", [secret]), secret)


@given(secrets, st.lists(encodings, max_size=3), st.integers(0, 40), st.integers(0, 40))
def test_any_piece_of_any_spelling(secret: str, encoded_by: list[Encoding], front: int, end: int) -> None:
    text = secret
    for encode in encoded_by:
        text = encode(text)
    assert_hidden(hide(text[front : len(text) - end], [secret]), secret)


@given(st.text(max_size=300), st.lists(st.text(max_size=40), max_size=3), st.booleans())
def test_anything(text: str, given_secrets: list[str], fields: bool) -> None:
    """It ends, and no secret is left as it is."""
    shown = hide(text, given_secrets, token_fields=fields)
    assert not any(secret in shown.replace("***", "\0") for secret in given_secrets if secret.strip("*"))


PLAIN = [
    "Trigger Flow From Task: 62102 flow 3377 does not exist (request 9f0a7c31-22aa-4c10-8a55-1d6be0f70b11)",
    "the flow's parameters must be key=value pairs, 100% of them; see https://eu.example.com/apim/v2.1/flows?a=1&b=2",
    'expected {"code": 0, "data": {"flowInstanceId": "3377-20200706062600"}}, got C:\\new\\table\\x41',
    "the secret key and the access token are not accepted: &lt;html&gt; 5 &amp; 6",
    "\u6d41\u7a0b\u4e0d\u5b58\u5728 (flow 3377), cafe\u0301, na\u00efve",
]


@pytest.mark.parametrize("text", PLAIN)
def test_ordinary_messages_stay_as_they_are(text: str) -> None:
    assert hide(text, [KEY, TOKEN, UUID], token_fields=True) == text
    assert hide(text, []) == text
    assert hide(text, [""]) == text


def test_short_secrets_and_those_of_other_letters() -> None:
    assert hide("key s3cr3t, S3CR3T, %C3%A4", ["s3cr3t", "\u00e4"]) == "key ***, ***, ***"
    assert hide("\u043f\u0430\u0440\u043e\u043b\u044c1 and 1", ["\u043f\u0430\u0440\u043e\u043b\u044c1"]) == "*** and 1"


@pytest.mark.parametrize(
    "text",
    [
        "accessToken=a-living-token, x",
        '{\\"accessToken\\": \\"a-living-token\\"}',
        "accessToken%22%3A%22a-living-token%22",
        "&quot;accessToken&quot;:&quot;a-living-token&quot;",
    ],
)
def test_a_token_that_is_not_known(text: str) -> None:
    assert "living" not in hide(text, [], token_fields=True)
    assert hide(text, []) == text


HOSTILE = {
    "percent": "%25" * 3000,
    "percent of percent": "%" + "25" * 5000,
    "entities": "&amp;" * 2000,
    "entities that do not end": "&" * 9000,
    "backslashes": "\\" * 9000,
    "backslashes and letters": "\\u" * 5000,
    "mixed": "%26amp%3B\\u0025" * 600,
    "base64": "A" * 9000,
    "base64 of base64": base64.b64encode(base64.b64encode(base64.b64encode(b"x" * 3600))).decode(),
    "pieces of base64": "QUJDREVGR0hJSktM " * 500,
    "hex": "41" * 5000,
    "pieces of hex": "4141414141414141 " * 500,
    "cuts": "3b7e9a5\u2026" * 1100,
    "colours": "\x1b[" * 4500,
    "almost a secret": UUID[:-1] * 300,
    "token fields": "accessToken=" * 800,
    "letters that grow": "\u0130" * 9000,
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_no_text_takes_long(text: str) -> None:
    """It runs in the triggerer's loop. Measured in CPU time of this process."""
    began = time.process_time()
    shown = hide(text, [KEY, TOKEN, UUID, "x" * 2000], token_fields=True)
    assert time.process_time() - began < 0.2
    assert len(shown) <= LONGEST


def test_only_so_much_is_looked_at() -> None:
    assert hide("x" * (LONGEST + 1), []) == "x" * LONGEST
    assert redaction.LONGEST <= 8192
