"""Fields that are declared once: how they are read, and how they are written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

import pytest

from airflow_provider_enos.errors import EnosReplyError
from airflow_provider_enos.protocol.models.documents import (
    OTHER,
    Document,
    custom,
    decimal,
    flag,
    key_values,
    number,
    reply_only,
    several,
    text,
)
from airflow_provider_enos.protocol.models.flows import pairs


@dataclass(frozen=True, slots=True)
class Part(Document):
    _what = "part"

    part_id: Annotated[int, number("partId", write=str)]
    note: Annotated[str | None, text("note", None)] = None


@dataclass(frozen=True, slots=True)
class Whole(Document):
    _what = "whole"

    name: Annotated[str, text("wholeName", written_as="name")]
    size: Annotated[float | None, decimal("size")]
    on: Annotated[bool, flag("isOn", write=int)]
    owner: Annotated[str, reply_only(text("owner", ""))]
    kind: Annotated[str, custom("kind", lambda fields, name: fields.text(name, "").upper())]
    settings: Annotated[tuple[tuple[str, str], ...], key_values("settings", write=pairs)]
    parts: Annotated[tuple[Part, ...], several("parts", Part)]
    other: Annotated[Mapping[str, Any], OTHER] = field(default_factory=dict)


DATA = {
    "wholeName": "w",
    "size": "1.5",
    "isOn": "1",
    "owner": "me",
    "kind": "x",
    "settings": {"a": "b"},
    "parts": [{"partId": "7"}, {"partId": 8, "note": "n"}],
    "odd": [1],
}
WHOLE = Whole("w", 1.5, True, "me", "X", (("a", "b"),), (Part(7), Part(8, "n")), {"odd": [1]})


def test_a_declared_field_is_read() -> None:
    assert Whole.parse(DATA) == WHOLE


def test_a_declared_field_is_written() -> None:
    """By its name in requests, without what only replies have."""
    assert WHOLE.document() == {
        "name": "w",
        "size": 1.5,
        "isOn": 1,
        "kind": "X",
        "settings": [{"key": "a", "value": "b"}],
        "parts": [{"partId": "7"}, {"partId": "8", "note": "n"}],
        "odd": [1],
    }


def test_defaults_are_for_what_is_missing() -> None:
    assert Whole.parse({"wholeName": "w"}) == Whole("w", None, False, "", "", (), ())


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({}, "whole: wholeName is missing"),
        (5, "whole: expected an object, got 5"),
        ({"wholeName": "w", "size": "big"}, "whole: size: expected a number, got 'big'"),
        ({"wholeName": "w", "parts": [{}]}, "part: partId is missing"),
    ],
)
def test_an_error_names_object_and_field(data: object, message: str) -> None:
    with pytest.raises(EnosReplyError) as raised:
        Whole.parse(data)
    assert str(raised.value) == message


@pytest.mark.parametrize("writes_none", [False, True])
def test_a_field_without_a_value_is_left_out_or_null(monkeypatch: pytest.MonkeyPatch, writes_none: bool) -> None:
    monkeypatch.setattr(Part, "_writes_none", writes_none)
    assert Part(7).document() == {"partId": "7", **({"note": None} if writes_none else {})}
