"""The gateways of this process. Each holds the one access token for its address and key, and a clock offset."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager

from airflow_provider_enos.client.settings import Settings
from airflow_provider_enos.protocol.wire.exchange import Gateway

_gateways: dict[tuple[int, str, str, str], Gateway] = {}


def shared_gateway(settings: Settings) -> Gateway:
    """Return the gateway object of this process for this address and key."""
    # A forked process must not inherit a lock that a thread of its parent held: hence the process id.
    key = (os.getpid(), settings.base_url, settings.access_key, settings.secret_key)
    return _gateways.setdefault(key, Gateway(*key[1:], clock=time.time, jitter=random.random))


@contextmanager
def fresh_gateways() -> Iterator[None]:
    """Begin without any token while the block runs. For tests: a new simulator may have the port of an old one."""
    global _gateways
    before, _gateways = _gateways, {}
    try:
        yield
    finally:
        _gateways = before
