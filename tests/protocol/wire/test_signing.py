"""Signatures, step by step against the vectors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, strategies as st

from airflow_provider_enos.protocol.wire import signing

VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "signing.json").read_text("utf-8"))
INVOKE = [vector for vector in VECTORS if vector["kind"] == "invoke"]
TOKEN = [vector for vector in VECTORS if vector["kind"] == "token"]
BY_NAME = {vector["name"]: vector for vector in VECTORS}

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)


def query_of(vector: dict[str, Any]) -> list[tuple[str, str]]:
    return [(name, value) for name, value in vector["query"]]


def body_of(vector: dict[str, Any]) -> bytes | None:
    return None if vector["body"] is None else str(vector["body"]).encode()


def signature_of(vector: dict[str, Any], **changes: Any) -> str:
    parts = {
        "access_token": vector["access_token"],
        "query": query_of(vector),
        "body": body_of(vector),
        "timestamp": vector["timestamp"],
        "secret_key": vector["secret_key"],
    }
    return signing.signature(**(parts | changes))


@pytest.mark.parametrize("vector", INVOKE, ids=lambda vector: vector["name"])
def test_every_step_of_a_call(vector: dict[str, Any]) -> None:
    params = signing.params_data(query_of(vector), body_of(vector))
    assert params == vector["params_data"].encode()
    signed = signing.sign_data(vector["access_token"], params, vector["timestamp"], vector["secret_key"])
    assert signed == (
        vector["access_token"] + vector["params_data"] + vector["timestamp"] + vector["secret_key"]
    ).encode("utf-8")
    assert signature_of(vector) == vector["digest"]


@pytest.mark.parametrize("vector", TOKEN, ids=lambda vector: vector["name"])
def test_token_digest(vector: dict[str, Any]) -> None:
    digest = signing.token_digest(vector["access_key"], vector["timestamp"], vector["secret_key"])
    assert digest == vector["digest"]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("documented-sample", "body-with-crlf"),
        ("documented-sample", "documented-sample-without-body"),
        ("trigger-from-task-compact", "trigger-from-task-spaced"),
    ],
)
def test_every_byte_of_the_body_counts(one: str, other: str) -> None:
    assert signature_of(BY_NAME[one]) != signature_of(BY_NAME[other])


@pytest.mark.parametrize(
    "changes",
    [
        {"timestamp": "1572574909698"},
        {"access_token": "xxxxaaaxxxy"},
        {"secret_key": "xxxappSecretxxy"},
        {"query": [("k1", "v1"), ("k2", "v2")]},
        {"body": b"{}"},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_every_part_counts(changes: dict[str, Any]) -> None:
    vector = BY_NAME["documented-sample"]
    assert signature_of(vector, **changes) != vector["digest"]


def test_sorted_by_bytes() -> None:
    """Digits, then capitals, then small letters; an empty value leaves the name."""
    query = [("b", "1"), ("a", ""), ("B", "2"), ("1", "3")]
    assert signing.params_data(query, None) == b"13B2ab1"


@given(st.dictionaries(texts, texts, max_size=6), st.randoms(use_true_random=False), st.none() | st.binary())
def test_order_of_the_query_does_not_count(query: dict[str, str], random: Any, body: bytes | None) -> None:
    shuffled = list(query.items())
    random.shuffle(shuffled)
    assert signing.params_data(shuffled, body) == signing.params_data(sorted(query.items()), body)


@given(st.binary())
def test_body_goes_in_as_it_is(body: bytes) -> None:
    assert signing.params_data([("k", "v")], body) == b"kv" + body
