"""Turn a reply into its data or into an exception. One table maps codes to exceptions.

The envelope is ``{"code": 0, "msg": "OK", "data": ...}`` for the services, ``{"status": 0, "msg": ..., "data": ...}``
for the token service, and ``{"message": ...}`` with an HTTP status for the gateway itself. Which HTTP status goes with
a code is not documented, so the code is read first, whatever the HTTP status.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any

from airflow_provider_enos.errors import (
    EnosAccessError,
    EnosApiError,
    EnosAuthError,
    EnosNotFoundError,
    EnosRateLimitError,
    EnosReplyError,
    EnosRequestError,
    EnosServerError,
    EnosTokenError,
)
from airflow_provider_enos.protocol import bounded_json
from airflow_provider_enos.protocol.bounded_json import LIMITS, Limits, TooMuchJson
from airflow_provider_enos.protocol.text import NO_SECRETS, Secrets, excerpt
from airflow_provider_enos.protocol.wire.messages import Call, Response, T
from airflow_provider_enos.protocol.wire.redaction import LONGEST, hide

INVALID = 62102
"""A parameter is bad, an object does not exist, or a trigger meets a taken minute."""
INTERNAL = 62109
"""An internal error of the service; also the reply for a log that does not exist."""
REPEATED_DIGEST = 1001
"""The same ``encryption`` was sent before."""

_CLASSES: Mapping[int, tuple[type[EnosApiError], str | None]] = {
    # The token service and the token scheme: "Invoke API with the Access Token".
    REPEATED_DIGEST: (EnosServerError, "the gateway saw this signature before"),
    1002: (EnosAuthError, "the connection's login is not an access key that the gateway knows"),
    1003: (EnosAuthError, "the connection's password is not the secret key of this access key, or a clock is wrong"),
    1004: (EnosRequestError, None),
    1005: (EnosServerError, None),
    1202: (EnosRequestError, None),
    1203: (EnosTokenError, None),
    1204: (EnosTokenError, None),
    4011: (EnosTokenError, None),
    4012: (EnosTokenError, None),
    # The Batch Processing Service: "Common Error Codes".
    62101: (EnosAccessError, "org_id and user_id do not belong together, or one of them is wrong"),
    INVALID: (EnosRequestError, None),
    62103: (EnosAccessError, "the user must own the flow, and neither of them may be locked"),
    62104: (EnosRequestError, None),
    62105: (EnosAccessError, "the user's account is locked: have it unlocked in EnOS"),
    INTERNAL: (EnosServerError, None),
    # HTTP, where the gateway itself answers: "Common Error Messages".
    400: (EnosRequestError, None),
    401: (EnosAuthError, "the gateway does not accept the access key, the secret key or the signature's time"),
    403: (EnosAccessError, "the gateway refuses this caller: its address may be blocked"),
    404: (EnosRequestError, "the gateway does not know this address: is the connection's host right?"),
    413: (EnosRequestError, None),
    429: (EnosRateLimitError, "over the quota of this API"),
    # Other services of EnOS: "Common Error Codes".
    99500: (EnosServerError, None),
}

_NO_TASK = "put a task into the flow first, in the EnOS console"
_OF_THE_UNIT = "the user must belong to the organisation unit of the flow"

_HINTS: Mapping[tuple[str, int], str] = {
    # What to do about a code in one operation.
    (
        "Create Directory",
        INVALID,
    ): "parent_id must be the key of a directory, and no other in it may have this dir_name",
    ("Create Directory", 62103): "the user must belong to the organisation unit of the parent directory",
    ("Delete Flow", 62104): "take it out of the flows that rely on it, and stop its instances, first",
    ("Export Flow", INVALID): "there is no such flow, or it is not complete: look at it in the EnOS console",
    ("Export Flow", 62103): _OF_THE_UNIT,
    ("Get Flow", 62103): _OF_THE_UNIT,
    (
        "Import Flow",
        INVALID,
    ): "dir_id must be the key of a directory, flow_name a new name, and flow_json what Export Flow gives",
    ("Import Flow", 62103): "the user must belong to the organisation unit of the directory",
    ("Load Flow For Edit", 62103): _OF_THE_UNIT,
    ("Save Flow", INVALID): "change what Load Flow For Edit gives, and leave the kinds of its values as they are",
    ("Trigger Flow", 62104): _NO_TASK,
    ("Trigger Flow From Task", 62104): _NO_TASK,
    ("Update And Trigger Flow", 62104): _NO_TASK,
}


_LOOKED_AT = 8192
"""Characters of a text that are looked at; a message shows its beginning."""


def read(call: Call[T], response: Response, *, secrets: Secrets = NO_SECRETS, limits: Limits = LIMITS) -> T:
    """Return the result of the call. Raises ``EnosApiError`` or ``EnosReplyError``; neither shows any of ``secrets``.

    A reply that exceeds ``limits`` is an ``EnosReplyError``.
    """
    try:
        with bounded_json.within(limits):
            return call.parse(_data(call, response, secrets))
    except EnosReplyError as error:
        message = hide(f"{call.operation}: {error}", secrets)
        raise EnosReplyError(message, http_status=response.status) from None
    except EnosApiError as error:
        # Without its traceback: the frames hold what the gateway sent.
        raise error.with_traceback(None) from None


def retry_after(response: Response, now: float) -> float | None:
    """Return the seconds that a ``Retry-After`` header asks for; None if it is missing or cannot be read."""
    text = response.headers.get("retry-after", "").strip()
    if re.fullmatch(r"\d{1,9}(\.\d+)?", text):
        return float(text)
    moment = epoch_seconds(text)
    return None if moment is None else max(0.0, moment - now)


def epoch_seconds(http_date: str) -> float | None:
    """Return an HTTP date in epoch seconds; None if it cannot be read."""
    try:
        moment = parsedate_to_datetime(http_date)
        # Python reads "-0000" as a time without a zone; in HTTP every date is UTC.
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, TypeError, OverflowError):
        return None


def _data(call: Call[Any], response: Response, secrets: Secrets) -> Any:
    envelope = _envelope(response)
    code = code_of(envelope)
    if code is None or (code == 0 and response.status >= 400):
        _refuse_by_http(call, response, envelope, secrets)
    data = envelope.get("data")
    if code:
        raise _api_error(call, response, code, envelope, secrets)
    if "data" not in envelope:
        raise EnosReplyError("the reply has no data")
    if call.missing_codes and data in (None, "", []):
        raise EnosNotFoundError(
            0, "the answer is empty: it is not there", operation=call.operation, http_status=response.status
        )
    return data


def _envelope(response: Response) -> Mapping[str, Any]:
    """Return the reply as an object; an empty one if it is no object. Raises ``TooMuchJson``."""
    try:
        envelope = bounded_json.loads(response.body)
    except TooMuchJson as error:
        if response.status >= 400:
            # The HTTP status says enough.
            return {}
        raise TooMuchJson(f"the reply is not read, since {error}") from None
    except (ValueError, RecursionError):
        return {}
    return envelope if isinstance(envelope, dict) else {}


def code_of(envelope: Mapping[str, Any]) -> int | None:
    """Return the code of an envelope; None if it has none."""
    for name in ("apim_status", "code", "status"):
        value = envelope.get(name)
        if isinstance(value, str) and re.fullmatch(r"-?[0-9]{1,9}", value):
            value = int(value)
        if isinstance(value, int) and not isinstance(value, bool):
            return value
    return None


def _refuse_by_http(call: Call[Any], response: Response, envelope: Mapping[str, Any], secrets: Secrets) -> None:
    """Raise the error for a reply without a code: a refusal by the gateway, or a reply that is not from EnOS."""
    if response.status >= 400:
        raise _api_error(call, response, response.status, envelope, secrets)
    if 300 <= response.status < 400:
        raise EnosReplyError(f"HTTP {response.status}: the gateway points elsewhere; is the address right?")
    shown = _shown_body(response, secrets) or "the body is empty"
    raise EnosReplyError(f"HTTP {response.status}, but no EnOS reply (no JSON object with a code): {shown}")


def _api_error(
    call: Call[Any],
    response: Response,
    code: int,
    envelope: Mapping[str, Any],
    secrets: Secrets,
) -> EnosApiError:
    # An unknown code with a 5xx counts as a fault of the server: EnOS may have carried out the request.
    fallback = EnosServerError if 500 <= code < 600 or response.status >= 500 else EnosApiError
    cls, hint = (EnosNotFoundError, None) if code in call.missing_codes else _CLASSES.get(code, (fallback, None))
    request_id = envelope.get("requestId")
    return cls(
        code,
        _message(response, envelope, secrets),
        operation=call.operation,
        http_status=response.status,
        request_id=excerpt(hide(request_id, secrets), 80) if isinstance(request_id, str) else None,
        hint=_HINTS.get((call.operation, code), hint),
    )


def _message(response: Response, envelope: Mapping[str, Any], secrets: Secrets) -> str:
    text = envelope.get("msg") or envelope.get("message")
    if isinstance(text, str):
        return excerpt(hide(text, secrets, token_fields=True), 300)
    return f"HTTP {response.status} {_shown_body(response, secrets)}".rstrip()


def _shown_body(response: Response, secrets: Secrets) -> str:
    return excerpt(hide(response.body[:LONGEST].decode("utf-8", "replace"), secrets, token_fields=True))
