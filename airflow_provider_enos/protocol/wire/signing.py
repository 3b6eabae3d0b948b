"""Signatures of the EnOS API gateway, one pure function per step.

Plain SHA-256 over a concatenation, in lower case hex; not an HMAC. Method, host and path are not part of it.
Documentation: API Management, "Get Access Token" and "Invoke API with the Access Token".
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256


def token_digest(access_key: str, timestamp: str, secret_key: str) -> str:
    """Return the ``encryption`` of a request to the token service."""
    return _hex_digest((access_key + timestamp + secret_key).encode())


def params_data(query: Iterable[tuple[str, str]], body: bytes | None) -> bytes:
    """Return the query parameters, decoded, sorted by name and joined without separators, then the body as sent."""
    return "".join(name + value for name, value in sorted(query)).encode() + (body or b"")


def sign_data(access_token: str, params: bytes, timestamp: str, secret_key: str) -> bytes:
    """Return the text that ``apim-signature`` is a digest of. It ends with the secret key: never log it."""
    return access_token.encode() + params + timestamp.encode() + secret_key.encode()


def signature(
    access_token: str, query: Iterable[tuple[str, str]], body: bytes | None, timestamp: str, secret_key: str
) -> str:
    """Return the ``apim-signature`` of one API call."""
    return _hex_digest(sign_data(access_token, params_data(query, body), timestamp, secret_key))


def _hex_digest(data: bytes) -> str:
    return sha256(data).hexdigest()
