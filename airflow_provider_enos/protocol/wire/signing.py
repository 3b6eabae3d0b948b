"""Signatures of the EnOS API gateway, one pure function a step.

Plain SHA-256 over a concatenation, in lower case hex; not an HMAC. Method, host and path are not part of it.
Documentation: API Management, "Get Access Token" and "Invoke API with the Access Token".
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256


def token_digest(access_key: str, timestamp: str, secret_key: str) -> str:
    """``encryption`` of the token service's get and refresh."""
    return _hex_digest((access_key + timestamp + secret_key).encode())


def params_data(query: Iterable[tuple[str, str]], body: bytes | None) -> bytes:
    """Query parameters, decoded and sorted by name, joined without separators; then the body as it is sent."""
    return "".join(name + value for name, value in sorted(query)).encode() + (body or b"")


def sign_data(access_token: str, params: bytes, timestamp: str, secret_key: str) -> bytes:
    """What is digested for ``apim-signature``. It ends with the secret key: never log it."""
    return access_token.encode() + params + timestamp.encode() + secret_key.encode()


def signature(
    access_token: str, query: Iterable[tuple[str, str]], body: bytes | None, timestamp: str, secret_key: str
) -> str:
    """``apim-signature`` of one API call."""
    return _hex_digest(sign_data(access_token, params_data(query, body), timestamp, secret_key))


def _hex_digest(data: bytes) -> str:
    return sha256(data).hexdigest()
