"""A client whose connection is changed while it is in use."""

from __future__ import annotations

import pytest
from client_calls import (
    MakeSettings,
)

from airflow_provider_enos import errors
from airflow_provider_enos.client import settings, sync
from airflow_provider_enos.client.sync import SyncClient
from airflow_provider_enos.protocol.wire import calls
from airflow_provider_enos.protocol.wire.exchange import Retry
from airflow_provider_enos.simulator import EnosSimulator


class Connection:
    """Stands for a hook: returns the settings as they are now, or raises the error of reading them."""

    def __init__(self, found: settings.Settings | errors.EnosError) -> None:
        self.found = found
        self.refused: list[settings.Settings | None] = []

    def read(self, refused: settings.Settings | None) -> settings.Settings:
        self.refused.append(refused)
        if isinstance(self.found, errors.EnosError):
            raise self.found
        return self.found


@pytest.fixture
def connected(sim: EnosSimulator, settings_for: MakeSettings) -> Connection:
    return Connection(settings_for(sim))


def test_settings_are_read_when_they_are_needed_and_once(connected: Connection) -> None:
    client = SyncClient(connected.read)
    assert connected.refused == []
    for _ in range(3):
        client.call(calls.get_current_time())
    assert connected.refused == [None]


@pytest.mark.parametrize("fault", ["http_401", "http_403", "token_refused"])
def test_settings_are_read_again_after_a_refusal(sim: EnosSimulator, connected: Connection, fault: str) -> None:
    client = SyncClient(connected.read, retry=Retry(attempts=1))
    client.call(calls.get_current_time())
    session, gateway = client._adapter, client.gateway
    if fault == "token_refused":
        sim.secret_key = "another"
        sim.expire_tokens()
    else:
        sim.fault(fault, times=None)
    with pytest.raises(errors.EnosApiError):
        client.call(calls.get_current_time())
    assert len(connected.refused) == 1, "not before the next call"
    sim.secret_key = connected.found.secret_key  # type: ignore[union-attr]
    sim.clear_faults()
    client.call(calls.get_current_time())
    assert connected.refused == [None, connected.found]
    assert (client._adapter, client.gateway) == (session, gateway), "nothing has changed"


def test_another_error_is_no_reason_to_read_them_again(sim: EnosSimulator, connected: Connection) -> None:
    client = SyncClient(connected.read, retry=Retry(attempts=1))
    for fault in ("http_503", "http_404", "dropped"):
        sim.fault(fault)
        with pytest.raises(errors.EnosError):
            client.call(calls.get_current_time())
    client.call(calls.get_current_time())
    assert connected.refused == [None]


def test_a_gateway_that_has_moved(sim: EnosSimulator, connected: Connection, settings_for: MakeSettings) -> None:
    """Address, keys and tenant: all of it is the new connection's, the shared token included."""
    client = SyncClient(connected.read)
    client.call(calls.get_current_time())
    with EnosSimulator(secret_key="rotated") as other:
        sim.fault("http_403", times=None)
        with pytest.raises(errors.EnosAccessError):
            client.call(calls.get_current_time())
        connected.found = settings_for(other)
        client.call(calls.get_current_time())
        assert other.count("time/getCurrentTime") == 1
        assert client.gateway is sync.shared_gateway(connected.found)


def test_settings_that_cannot_be_read_are_an_error_of_the_call(connected: Connection) -> None:
    found, connected.found = connected.found, errors.EnosConfigError("host", "it is missing", accepted="one")
    client = SyncClient(connected.read)
    for _ in range(2):
        with pytest.raises(errors.EnosConfigError):
            client.call(calls.get_current_time())
    connected.found = found
    assert client.call(calls.get_current_time())
