from __future__ import annotations

import gzip
import tracemalloc
import zlib

import pytest

from airflow_provider_enos.client import reply_body
from airflow_provider_enos.client.reply_body import ReplyBody
from airflow_provider_enos.errors import EnosReplyError
from airflow_provider_enos.protocol.bounded_json import LIMITS_OF_A_TASK

LARGEST_REPLY = LIMITS_OF_A_TASK.size

TEXT = b'{"code":0,"msg":"OK","data":""}'


def packed(data: bytes) -> bytes:
    return gzip.compress(data, mtime=0)


def put(raw: bytes, encoding: str, *, piece: int = 65_536) -> bytes:
    body = ReplyBody("https://gateway", 200, encoding, LARGEST_REPLY)
    for place in range(0, len(raw), piece):
        body.add(raw[place : place + piece])
    return body.whole()


@pytest.mark.parametrize("piece", [1, 7, 65_536])
@pytest.mark.parametrize(
    ("raw", "encoding"),
    [
        (TEXT, ""),
        (TEXT, "identity"),
        (TEXT, "UTF-8"),
        (packed(TEXT), "gzip"),
        (packed(TEXT), " X-GZip "),
        (zlib.compress(TEXT), "deflate"),
        (packed(TEXT) + b"\0" * 100, "gzip"),
    ],
    ids=["plain", "identity", "unknown", "gzip", "x-gzip", "deflate", "gzip and more"],
)
def test_what_is_read(raw: bytes, encoding: str, piece: int) -> None:
    assert put(raw, encoding, piece=piece) == TEXT


def test_no_body_needs_no_decompression() -> None:
    assert put(b"", "gzip") == b""


@pytest.mark.parametrize("raw", [TEXT, packed(TEXT)[:-9], b"\x1f\x8b"], ids=["plain", "cut", "begun"])
def test_what_cannot_be_decompressed(raw: bytes) -> None:
    with pytest.raises(EnosReplyError, match="https://gateway: the reply cannot be decompressed"):
        put(raw, "gzip")


def test_as_much_as_is_allowed_and_no_more() -> None:
    assert len(put(bytes(LARGEST_REPLY), "")) == LARGEST_REPLY
    assert len(put(packed(bytes(LARGEST_REPLY)), "gzip")) == LARGEST_REPLY
    for raw, encoding in ((bytes(LARGEST_REPLY + 1), ""), (packed(bytes(LARGEST_REPLY + 1)), "gzip")):
        with pytest.raises(EnosReplyError, match="larger than 32 MiB") as caught:
            put(raw, encoding)
        assert caught.value.http_status == 200


def test_a_bomb_takes_no_more_memory_than_a_large_reply() -> None:
    """600 kB that would be 600 MiB, in one piece."""
    compress = zlib.compressobj(9, wbits=31)
    bomb = b"".join(compress.compress(bytes(2**20)) for _ in range(600)) + compress.flush()
    tracemalloc.start()
    with pytest.raises(EnosReplyError, match="larger than 32 MiB"):
        put(bomb, "gzip", piece=len(bomb))
    assert tracemalloc.get_traced_memory()[1] < 3 * LARGEST_REPLY
    tracemalloc.stop()


def test_a_bomb_in_a_bomb_is_not_unpacked() -> None:
    inner = packed(packed(TEXT))
    assert put(inner, "gzip, gzip") == inner


def test_what_decompresses_to_nothing_does_not_go_on_for_ever() -> None:
    """Empty blocks, of which there can be any number."""
    head, empty_blocks = b"\x1f\x8b\x08\0\0\0\0\0\0\xff", b"\0\0\0\xff\xff" * (LARGEST_REPLY // 5 + 1)
    with pytest.raises(EnosReplyError, match="larger than 32 MiB"):
        put(head + empty_blocks, "gzip")


@pytest.mark.parametrize("piece", [1, 2, 63])
def test_a_great_many_small_pieces_are_refused(piece: int) -> None:
    with pytest.raises(EnosReplyError, match="https://gateway: the reply comes in too many small pieces"):
        put(b"x" * 20_001 * piece, "", piece=piece)
    assert len(put(b"x" * 20_000 * piece, "", piece=piece)) == 20_000 * piece


def test_small_pieces_take_no_more_memory_than_large_ones() -> None:
    raw = b"x" * 4_000_000
    tracemalloc.start()
    assert put(raw, "", piece=64) == raw
    assert tracemalloc.get_traced_memory()[1] < 3 * len(raw)
    tracemalloc.stop()


def test_a_large_reply_is_decompressed_in_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever a step ends."""
    raw = bytes(range(256)) * 40
    for step in (1, 3, 7, 100, 5_000):
        monkeypatch.setattr(reply_body, "_STEP", step)
        assert put(packed(raw), "gzip") == raw
