"""A deadline holds for a whole reply; a reply within it is read as usual."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from typing import Any

import pytest
from rogue import drive_with_aiohttp, drive_with_requests, reply, rogue_gateway, settings_of

from airflow_provider_enos.client.sync import SyncClient
from airflow_provider_enos.errors import EnosTransportError
from airflow_provider_enos.protocol.wire import calls
from airflow_provider_enos.protocol.wire.exchange import AT_ONCE

GOOD = reply(b'{"code":0,"data":{"timezone":"GMT+8"}}')


def dripping_head(line: socket.socket) -> None:
    for place in range(len(GOOD)):
        line.sendall(GOOD[place : place + 1])
        time.sleep(0.1)


def interim_replies_for_ever(line: socket.socket) -> None:
    while True:
        line.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        time.sleep(0.01)


def chunks_for_ever(line: socket.socket) -> None:
    line.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        line.sendall(b"1\r\n \r\n")
        time.sleep(0.01)


@pytest.mark.parametrize("drive", [drive_with_requests, drive_with_aiohttp])
@pytest.mark.parametrize("answer", [dripping_head, interim_replies_for_ever, chunks_for_ever])
def test_a_gateway_that_never_comes_to_an_end(answer: Callable[[socket.socket], Any], drive: Any) -> None:
    """Each byte is in time; the reply as a whole is not."""
    with rogue_gateway(answer) as gateway:
        began = time.monotonic()
        with pytest.raises(EnosTransportError, match="no reply in time") as caught:
            drive(settings_of(gateway, timeout=0.5), calls.get_time_zone())
        assert time.monotonic() - began < 5
    assert caught.value.sent


def test_each_reply_has_its_own_time() -> None:
    """On one connection, where an earlier slow reply has used most of its time."""

    def late(line: socket.socket) -> None:
        time.sleep(0.4)
        line.sendall(GOOD)

    with rogue_gateway(late) as gateway:
        client = SyncClient(settings_of(gateway, timeout=1), retry=AT_ONCE)
        assert [client.call(calls.get_time_zone()) for _ in range(4)] == ["GMT+8"] * 4
        client.close()


def test_a_reply_that_ends_with_the_connection() -> None:
    """Without a length, the body is read after the connection has dropped its socket."""
    raw = b'HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{"code":0,"data":{"timezone":"GMT+8"}}'

    def answer(line: socket.socket) -> None:
        line.sendall(raw[:-10])
        time.sleep(0.1)
        line.sendall(raw[-10:])
        line.shutdown(socket.SHUT_WR)

    with rogue_gateway(answer) as gateway:
        for drive in (drive_with_requests, drive_with_aiohttp):
            assert drive(settings_of(gateway), calls.get_time_zone()) == "GMT+8"
