"""One call from beginning to end: token, signature, request, renewal, repetition. Written once, as generators.

Only this module decides what is sent again:

* a call that was never sent, or was refused before it reached the service (429, a repeated signature): always;
* a call whose token has expired: once, with a new token and a new signature;
* a call that was lost, met a 5xx or an unreadable reply: only if it is safe to repeat.

Documentation: API Management, "Get Access Token", "Refresh Access Token", "Invoke API with the Access Token".
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from threading import Lock, RLock
from typing import Any
from urllib.parse import quote, urlencode

from airflow_provider_enos import __version__
from airflow_provider_enos.errors import (
    EnosApiError,
    EnosAuthError,
    EnosError,
    EnosRateLimitError,
    EnosReplyError,
    EnosServerError,
    EnosSetupError,
    EnosTokenError,
    EnosTransportError,
)
from airflow_provider_enos.protocol.models import AccessToken
from airflow_provider_enos.protocol.text import NO_SECRETS, Secrets, excerpt
from airflow_provider_enos.protocol.wire import calls, replies, signing
from airflow_provider_enos.protocol.wire.messages import Call, Exchange, Read, Request, Response, Sleep, T

_RENEW_AHEAD = 600.0
_CLOCK_TOLERANCE = 5.0
_LOOK_AGAIN = 0.02
_HEADERS = {
    "Accept": "application/json",
    "Accept-Encoding": "gzip",
    "User-Agent": f"airflow-provider-enos/{__version__}",
}
_BODY_HEADERS = {**_HEADERS, "Content-Type": "application/json;charset=UTF-8"}


@dataclass(frozen=True, slots=True)
class Retry:
    """The most attempts of a call, and the pauses between them in seconds, which double and have jitter."""

    attempts: int = 4
    first_pause: float = 0.5
    longest_pause: float = 30.0
    waits_for_token: bool = True
    """Whether to wait while another thread renews the token. If not, this one fetches a token of its own."""


DEFAULT_RETRY = Retry()
AT_ONCE = Retry(attempts=1, waits_for_token=False)
"""For a process that is about to be killed: one attempt, and no wait for other threads."""


@dataclass(frozen=True, slots=True)
class Tenant:
    """The organisation and the user of each call: its ``orgId`` and ``userId``."""

    org_id: str
    user_id: str


@dataclass(frozen=True, slots=True, repr=False)
class _HeldToken:
    value: str
    renew_at: float
    ends_at: float


class Gateway:
    """One gateway and access key, with its token and its clock. All calls with this key share it.

    :param base_url: scheme, host, port and path prefix, without a slash at the end.
    :param clock: epoch seconds.
    :param jitter: a number from 0 to 1.
    """

    def __init__(
        self,
        base_url: str,
        access_key: str,
        secret_key: str,
        *,
        clock: Callable[[], float],
        jitter: Callable[[], float],
    ) -> None:
        self.base_url = base_url
        self._access_key = access_key
        self._secret_key = secret_key
        self._clock = clock
        self._jitter = jitter
        self._token: _HeldToken | None = None
        self._renewing = Lock()
        self._clock_offset = 0.0
        self.zone_name = ""
        """The zone that Get Timezone has named last; empty if it was not asked for."""
        # Reentrant: a signal handler may sign a cancel while its own thread is in here.
        self._stamping = RLock()
        self._last_timestamp = 0

    def __repr__(self) -> str:
        return f"Gateway({self.base_url!r})"

    def now(self) -> float:
        """Return epoch seconds by the gateway's clock, or by ours until a reply has told the difference."""
        return self._clock() + self._clock_offset

    @property
    def clock_offset(self) -> float:
        """Seconds by which the gateway's clock is ahead of ours; 0 for a difference of up to 5 s."""
        return self._clock_offset

    def exchange(self, call: Call[T], tenant: Tenant, retry: Retry = DEFAULT_RETRY) -> Exchange[T]:
        """Carry out ``call`` and return its result. Raises ``EnosError``."""
        repeated = False
        for attempt in count(1):
            try:
                return self._noted(call, (yield from self._attempt(call, tenant, retry)))
            except EnosError as error:
                error.repeated = repeated or error.repeated
                pause = self._pause(error, attempt, retry)
                if attempt >= retry.attempts or pause is None or not _may_repeat(error, call.safe):
                    raise
                if call.deadline is not None and self._clock() + pause >= call.deadline:
                    raise
                repeated = error.repeated or _may_hide_success(error, call.safe)
            yield Sleep(pause)
        raise AssertionError("unreachable")

    def _noted(self, call: Call[T], result: T) -> T:
        if call.operation == calls.GET_TIMEZONE and isinstance(result, str):
            self.zone_name = excerpt(result, 40)
        return result

    def _attempt(self, call: Call[T], tenant: Tenant, retry: Retry) -> Exchange[T]:
        token = yield from self._valid_token(retry)
        if call.token_only:
            return call.parse(None)
        try:
            return (yield from self._answer(call, lambda: self._signed(call, tenant, token)))
        except EnosAuthError:
            # The token may have expired early, or another process may have replaced it.
            may_hide_success = not call.safe and not (yield from self._is_dead(token, tenant))
        try:
            renewed = yield from self._valid_token(retry, refused=token)
            return (yield from self._answer(call, lambda: self._signed(call, tenant, renewed)))
        except EnosError as error:
            error.repeated = may_hide_success
            raise

    def _is_dead(self, token: _HeldToken, tenant: Tenant) -> Exchange[bool]:
        """Return whether the token itself explains that a call with it was refused.

        If the token is still accepted for another call, it does not. Then something between here and EnOS may have sent
        the call twice: EnOS carried out the first copy, and refused the second, since it saw the signature before.
        """
        if self._clock() >= token.ends_at - _CLOCK_TOLERANCE:
            return True
        probe = calls.get_current_time()
        try:
            yield from self._answer(probe, lambda: self._signed(probe, tenant, token))
        except EnosAuthError:
            return True
        except EnosError:
            return False
        return False

    def _valid_token(self, retry: Retry, refused: _HeldToken | None = None) -> Exchange[_HeldToken]:
        """Return a valid token. One caller at a time renews it. Errors from here say that the call was not sent."""
        try:
            while True:
                token = self._token
                if token is not None and token is not refused and self._clock() < token.renew_at:
                    return token
                if self._renewing.acquire(blocking=False):
                    try:
                        if self._token is token:
                            yield from self._renew(refused)
                    finally:
                        self._renewing.release()
                elif retry.waits_for_token:
                    yield Sleep(_LOOK_AGAIN)
                else:
                    yield from self._renew(refused)
        except EnosError as error:
            error.sent = False
            raise

    def _renew(self, refused: _HeldToken | None) -> Exchange[None]:
        token = self._token
        if token is None or token is refused or self._clock() >= token.ends_at:
            fetched = yield from self._fetch_token()
            if refused is not None and fetched.value == refused.value:
                # The token service still accepts the token, the gateway does not.
                fetched = yield from self._refresh_token(fetched)
            self._hold(fetched)
            return
        try:
            self._hold((yield from self._refresh_token(token)))
        except EnosError as error:
            if error.final:
                raise
            # The token is still valid: use it, and renew it when a quarter of the rest of its life is over.
            later = self._clock() + (token.ends_at - self._clock()) / 4
            self._token = _HeldToken(token.value, max(later, self._clock() + 1), token.ends_at)

    def _hold(self, token: AccessToken) -> None:
        now = self._clock()
        life = max(token.expire, 1.0)
        self._token = _HeldToken(token.value, now + life - min(_RENEW_AHEAD, life / 10), now + life)

    def _fetch_token(self) -> Exchange[AccessToken]:
        return self._token_exchange(
            lambda timestamp: calls.get_token(self._access_key, self._encryption(timestamp), timestamp)
        )

    def _refresh_token(self, token: AccessToken | _HeldToken) -> Exchange[AccessToken]:
        try:
            return (yield from self._refresh_once(token))
        except EnosTokenError:
            return (yield from self._fetch_token())

    def _refresh_once(self, token: AccessToken | _HeldToken) -> Exchange[AccessToken]:
        return self._token_exchange(
            lambda timestamp: calls.refresh_token(
                self._access_key, self._encryption(timestamp), timestamp, token.value
            ),
            Secrets((token.value,)),
        )

    def _token_exchange(
        self, make: Callable[[int], Call[AccessToken]], secrets: Secrets = NO_SECRETS
    ) -> Exchange[AccessToken]:
        def build() -> tuple[Request, Secrets]:
            timestamp = self._timestamp()
            call = make(timestamp)
            request = Request(call.method, self.base_url + call.path, _BODY_HEADERS, call.body)
            return request, Secrets((self._secret_key, self._encryption(timestamp), *secrets))

        return self._answer(make(0), build)

    def _encryption(self, timestamp: int) -> str:
        return signing.token_digest(self._access_key, str(timestamp), self._secret_key)

    def _signed(self, call: Call[Any], tenant: Tenant, token: _HeldToken) -> tuple[Request, Secrets]:
        """Return the signed request for the call, and the secrets in it."""
        query = call.query
        if call.tenant:
            query = (*query, ("orgId", tenant.org_id), ("userId", tenant.user_id))
        timestamp = str(self._timestamp())
        signature = signing.signature(token.value, query, call.body, timestamp, self._secret_key)
        headers = {
            **(_HEADERS if call.body is None else _BODY_HEADERS),
            "apim-accesstoken": token.value,
            "apim-signature": signature,
            "apim-timestamp": timestamp,
        }
        url = f"{self.base_url}{call.path}?{urlencode(query, quote_via=quote)}"
        request = Request(call.method, url, headers, call.body, call.safe)
        return request, Secrets((self._secret_key, token.value, signature))

    def _answer(self, call: Call[T], build: Callable[[], tuple[Request, Secrets]]) -> Exchange[T]:
        """Send the request; send it once more if it was refused and its reply has corrected our clock."""
        offset = self._clock_offset
        try:
            return (yield from self._round_trip(call, *build()))
        except EnosAuthError:
            if self._clock_offset == offset:
                raise
        return (yield from self._round_trip(call, *build()))

    def _round_trip(self, call: Call[T], request: Request, secrets: Secrets) -> Exchange[T]:
        response: Response = yield request
        self._learn_clock(response)
        try:
            read: T = yield Read(call, response, secrets)
            return read
        except EnosRateLimitError as error:
            error.retry_after = replies.retry_after(response, self._clock() + self._clock_offset)
            raise

    def _learn_clock(self, response: Response) -> None:
        """Correct our clock by the ``Date`` header if they differ by more than 5 s."""
        date = replies.epoch_seconds(response.headers.get("date", ""))
        if date is None:
            return
        offset = date - self._clock()
        wanted = offset if abs(offset) > _CLOCK_TOLERANCE else 0.0
        if abs(wanted - self._clock_offset) > _CLOCK_TOLERANCE:
            self._clock_offset = wanted
            # Timestamps only rise. Forget those of the wrong clock, which may be ahead of the new ones.
            self._last_timestamp = 0

    def _timestamp(self) -> int:
        """Return epoch milliseconds by the gateway's clock, never the same twice."""
        with self._stamping:
            now = int((self._clock() + self._clock_offset) * 1000)
            self._last_timestamp = max(now, self._last_timestamp + 1)
            return self._last_timestamp

    def _pause(self, error: EnosError, attempt: int, retry: Retry) -> float | None:
        """Return the seconds to wait before the next attempt; None if the gateway asks for too long a wait."""
        if isinstance(error, EnosRateLimitError) and error.retry_after is not None:
            return error.retry_after if error.retry_after <= retry.longest_pause else None
        pause = min(retry.first_pause * 2.0 ** (attempt - 1), retry.longest_pause)
        return pause * (0.5 + self._jitter() / 2)


def _may_hide_success(error: EnosError, safe: bool) -> bool:
    """Return whether EnOS may have carried out another copy of the call: it has seen this signature before."""
    return not safe and error.sent and isinstance(error, EnosApiError) and error.code == replies.REPEATED_DIGEST


def _may_repeat(error: EnosError, safe: bool) -> bool:
    if isinstance(error, EnosRateLimitError):
        return True
    if isinstance(error, EnosApiError) and error.code == replies.REPEATED_DIGEST:
        return True
    if isinstance(error, EnosSetupError) or (isinstance(error, EnosTransportError) and error.tls):
        return False
    passing = isinstance(error, (EnosTransportError, EnosServerError, EnosReplyError))
    return passing and (safe or not error.sent)
