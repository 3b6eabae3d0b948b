"""Test a connection step by step, for the Test button and the command ``check``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from airflow_provider_enos.client.settings import Settings
from airflow_provider_enos.client.sync import SyncClient
from airflow_provider_enos.errors import (
    EnosAccessError,
    EnosAuthError,
    EnosConfigError,
    EnosError,
    EnosReplyError,
    EnosSetupError,
    EnosTransportError,
)
from airflow_provider_enos.protocol.bounded_json import LIMITS_OF_A_PAGE
from airflow_provider_enos.protocol.models import MyFlow
from airflow_provider_enos.protocol.trigger_time import MINUTE
from airflow_provider_enos.protocol.wire import calls
from airflow_provider_enos.protocol.wire.exchange import Retry
from airflow_provider_enos.protocol.wire.messages import Call, T

State = Literal["ok", "note", "failed"]
"""``note``: it works, but the user should know something."""

_TIMEOUT = 15.0
"""Seconds for each reply: a person waits for the result."""


@dataclass(frozen=True, slots=True)
class Step:
    """The result of one step. ``to_do`` is what to do about it, where ``said`` does not say so itself."""

    name: str
    state: State
    said: str
    to_do: str = ""

    @property
    def sentence(self) -> str:
        """The result, and what to do about it."""
        return f"{self.said.rstrip('.')}. {self.to_do}" if self.to_do else self.said


def failed(name: str, error: EnosError) -> Step:
    """Return the last step of a check that ends with ``error``."""
    if isinstance(error, EnosConfigError):
        return Step(name, "failed", f"The connection cannot work. {error}")
    if isinstance(error, EnosSetupError):
        return Step(name, "failed", f"Nothing was sent. {error}")
    if isinstance(error, EnosTransportError) and error.tls:
        to_do = (
            "If the gateway's certificate is of your own authority, put the path of its CA file into verify."
            if "CERTIFICATE_VERIFY_FAILED" in str(error)
            else "Check host and port, and that the gateway speaks TLS there; if it is a plain http one, set schema."
        )
        return Step(name, "failed", f"TLS is refused. {error}", to_do)
    if isinstance(error, EnosTransportError):
        to_do = "Check host and port, and whether a proxy or a firewall stands between this machine and the gateway."
        return Step(name, "failed", f"Cannot reach the gateway. {error}", to_do)
    if isinstance(error, EnosAuthError):
        return Step(name, "failed", f"Access key or secret key are not accepted. {error}")
    if isinstance(error, EnosAccessError):
        return Step(name, "failed", f"EnOS refuses this user or this caller. {error}")
    # An error with a code says itself what to do.
    to_do = "Check that host is the address of the API gateway." if isinstance(error, EnosReplyError) else ""
    return Step(name, "failed", f"The gateway does not answer as EnOS does. {error}", to_do)


def steps(settings: Settings) -> Iterator[Step]:
    """Yield the steps from the address to the user's rights, each when it is done. A failed step is the last."""
    # The Test button runs this in Airflow's API server.
    timeout = min(settings.timeout, _TIMEOUT)
    client = SyncClient(settings, retry=Retry(attempts=1), timeout=timeout, limits=LIMITS_OF_A_PAGE)
    try:
        now = _tried(client, calls.get_current_time())
        yield from _way_to(settings, client, now)
        if isinstance(now, int):
            yield from _user(settings, client, now)
    finally:
        client.close()


def _tried(client: SyncClient, call: Call[T]) -> T | EnosError:
    try:
        return client.call(call)
    except EnosError as error:
        return error


def _way_to(settings: Settings, client: SyncClient, answer: int | EnosError) -> Iterator[Step]:
    """Yield address, TLS, clock and token: the first call needs all of them."""
    if isinstance(answer, EnosSetupError):
        yield failed("TLS" if answer.tls else "address", answer)
        return
    if isinstance(answer, EnosTransportError) and not answer.tls:
        yield failed("address", answer)
        return
    yield Step("address", "ok", f"{settings.base_url} can be reached")
    if isinstance(answer, EnosTransportError):
        yield failed("TLS", answer)
        return
    yield _tls(settings)
    yield _clock(client)
    if isinstance(answer, EnosError):
        yield failed("token", answer)
    else:
        yield Step("token", "ok", f"access key {settings.access_key} and its secret key are accepted")


def _tls(settings: Settings) -> Step:
    if settings.base_url.startswith("http:"):
        return Step("TLS", "ok", "not used, since the address is a plain http one")
    if settings.verify is False:
        return Step("TLS", "note", "The gateway's certificate is not checked, since verify is false.")
    return Step("TLS", "ok", "the gateway's certificate is trusted")


def _clock(client: SyncClient) -> Step:
    offset = client.gateway.clock_offset
    if not offset:
        return Step("clock", "ok", "as the gateway's")
    said = f"This machine's clock is off by {abs(offset):.0f} s, which is corrected for."
    return Step("clock", "note", said, "Set this machine's clock.")


def _user(settings: Settings, client: SyncClient, now: int) -> Iterator[Step]:
    # Any call with orgId and userId would do; this one is open to all EnOS users and changes nothing.
    listed = _tried(
        client,
        calls.list_flow_instances(type=0, from_trigger_time=now - MINUTE, to_trigger_time=now, page_no=1, page_size=1),
    )
    if isinstance(listed, EnosError):
        yield failed("user", listed)
        return
    yield Step("user", "ok", f"user {settings.user_id} of organisation {settings.org_id} is accepted")
    yield _rights(_tried(client, calls.get_my_flow()))


def _rights(flows: tuple[MyFlow, ...] | EnosError) -> Step:
    """Return a step that never fails: a trigger needs the flow's owner, and EnOS does not say who that is."""
    if isinstance(flows, EnosError):
        return Step("rights", "note", f"It is not known which flows the user may edit. {flows}")
    editable = sum(flow.editable for flow in flows)
    if not editable:
        said = f"The user may edit none of the {len(flows)} flows that it owns or may view; only an owner can trigger."
        return Step("rights", "note", said)
    said = f"may edit {editable} of the {len(flows)} flows that it owns or may view; EnOS triggers only for an owner"
    return Step("rights", "ok", said)
