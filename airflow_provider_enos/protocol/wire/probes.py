"""Ask a gateway how it behaves: what came back as it is, a signature that is sent twice, a token that is refreshed.

For the survey of the command line. Tasks do not use this.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from airflow_provider_enos.errors import EnosApiError, EnosAuthError, EnosError, EnosRateLimitError, EnosReplyError
from airflow_provider_enos.protocol import bounded_json
from airflow_provider_enos.protocol.text import Secrets
from airflow_provider_enos.protocol.wire import calls, replies
from airflow_provider_enos.protocol.wire.exchange import DEFAULT_RETRY, Gateway, Tenant
from airflow_provider_enos.protocol.wire.messages import Call, Exchange, Request, Response

_PASSING = (replies.INTERNAL, 99500)
"""Codes of a fault of the service. They refuse nothing."""


@dataclass(frozen=True, slots=True)
class Seen:
    """One reply as it came."""

    http_status: int
    envelope: Mapping[str, Any] = field(repr=False)
    """The reply; empty if it is no JSON object. It may hold a token."""
    problem: str = ""
    """Why the call failed, without secrets; empty if it succeeded."""

    @property
    def code(self) -> int | None:
        """The code of the service; None in a reply of the gateway itself."""
        return replies.code_of(self.envelope)

    @property
    def data(self) -> Any:
        """The data of the envelope, whatever its form."""
        return self.envelope.get("data")

    @property
    def accepted(self) -> bool:
        """Whether the call succeeded."""
        return self.code == 0 and self.http_status < 400

    @property
    def refused(self) -> bool:
        """Whether the call was refused for what it asks, and not because of a fault of EnOS."""
        by_code = self.code not in (None, 0, *_PASSING)
        return (by_code or (self.code is None and self.http_status >= 400)) and self.http_status < 500


@dataclass(frozen=True, slots=True)
class Refreshed:
    """What a refresh of the access token did."""

    changed: bool
    """Whether another token came."""
    old: Seen
    """The reply to a call with the token from before."""
    new: Seen
    """The reply to the same call with the token that came."""


class ProbingGateway(Gateway):
    """A ``Gateway`` that shows replies as they came."""

    def local_time(self) -> float:
        """Return epoch seconds by our own clock."""
        return self._clock()

    def ask(self, call: Call[Any], tenant: Tenant) -> Exchange[Seen]:
        """Carry out a call, and return its reply, whether EnOS accepts the call or not.

        Raise the ``EnosError`` if there is no reply, or if keys, quota or connection are the problem.
        """
        steps = self.exchange(replace(call, parse=_as_it_came), tenant)
        last: Response | None = None
        thrown: EnosError | None = None
        received: Any = None
        try:
            while True:
                step = steps.send(received) if thrown is None else steps.throw(thrown)
                thrown = None
                try:
                    received = yield step
                except EnosError as error:
                    thrown = error
                if isinstance(received, Response):
                    last = received
        except StopIteration:
            problem = ""
        except (EnosAuthError, EnosRateLimitError):
            raise
        except (EnosApiError, EnosReplyError) as error:
            problem = str(error)
        finally:
            # It may hold a lock.
            steps.close()
        if last is None:
            raise AssertionError("a call without a reply")
        return _seen(last, problem)

    def ask_twice(self, call: Call[Any], tenant: Tenant) -> Exchange[tuple[Seen, Seen]]:
        """Send the same signed request twice, which only a call that is safe may be. Return both replies."""
        token = yield from self._valid_token(DEFAULT_RETRY)
        request, secrets = self._signed(call, tenant, token)
        first = yield from self._sent(call, request, secrets)
        second = yield from self._sent(call, request, secrets)
        return first, second

    def refresh(self, tenant: Tenant) -> Exchange[Refreshed]:
        """Refresh the access token, and find out whether the old one is still accepted.

        Raise the ``EnosError`` if the refresh is refused.
        """
        old = yield from self._valid_token(DEFAULT_RETRY)
        self._hold((yield from self._refresh_once(old)))
        new = yield from self._valid_token(DEFAULT_RETRY)
        probe = calls.get_current_time()
        with_old = yield from self._sent(probe, *self._signed(probe, tenant, old))
        with_new = yield from self._sent(probe, *self._signed(probe, tenant, new))
        return Refreshed(new.value != old.value, with_old, with_new)

    def _sent(self, call: Call[Any], request: Request, secrets: Secrets) -> Exchange[Seen]:
        response: Response = yield request
        try:
            replies.read(replace(call, parse=_as_it_came), response, secrets=secrets)
        except (EnosApiError, EnosReplyError) as error:
            return _seen(response, str(error))
        return _seen(response, "")


def _as_it_came(data: Any) -> Any:
    return data


def _seen(response: Response, problem: str) -> Seen:
    try:
        envelope = bounded_json.loads(response.body)
    except (EnosReplyError, ValueError, RecursionError):
        envelope = {}
    return Seen(response.status, envelope if isinstance(envelope, dict) else {}, problem)
