from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from exchanges import ACCESS_KEY, BASE, GET, INSTANCE, SECRET_KEY, TENANT, token

from airflow_provider_enos.protocol.wire.exchange import DEFAULT_RETRY, Gateway, Retry


@pytest.fixture
def gateway(clock: Any) -> Gateway:
    return Gateway(BASE, ACCESS_KEY, SECRET_KEY, clock=clock, jitter=lambda: 1.0)


@pytest.fixture
def run(play: Any, gateway: Gateway, clock: Any) -> Callable[..., Any]:
    """Plays one exchange on the gateway."""

    def run(answers: Any, call: Any = GET, retry: Retry = DEFAULT_RETRY) -> Any:
        return play(gateway.exchange(call, TENANT, retry), answers, clock)

    return run


@pytest.fixture
def held(run: Any) -> None:
    """The gateway has its token."""
    run([token(), INSTANCE])
