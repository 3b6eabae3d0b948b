"""Putting the body of a reply together, within bounds: the same for both drivers, whose libraries differ in what they
decompress and in how much at once.
"""

from __future__ import annotations

import zlib

from airflow_provider_enos.client import failures
from airflow_provider_enos.client.failures import LARGEST_REPLY

_GZIP_OR_ZLIB = 32 + zlib.MAX_WBITS
_COMPRESSED = ("gzip", "x-gzip", "deflate")


class Body:
    """Takes what comes, decompresses it if ``encoding`` says so, and holds ``LARGEST_REPLY`` bytes at the most.

    Only one compression is undone, for only gzip is asked for: one in another makes terabytes of a kilobyte.

    :param base_url: the gateway, for messages.
    :param encoding: the reply's ``Content-Encoding``.
    """

    def __init__(self, base_url: str, http_status: int, encoding: str) -> None:
        self._base_url = base_url
        self._http_status = http_status
        compressed = encoding.strip().lower() in _COMPRESSED
        self._decompress = zlib.decompressobj(_GZIP_OR_ZLIB) if compressed else None
        self._pieces: list[bytes] = []
        self._came = 0
        self._size = 0

    def add(self, piece: bytes) -> None:
        """The next piece as it came. Raises ``EnosReplyError`` where it is too much, or no compressed data."""
        self._came += len(piece)
        if self._decompress is not None:
            try:
                # A byte more than is allowed tells that it is too much.
                piece = self._decompress.decompress(piece, LARGEST_REPLY + 1 - self._size)
            except zlib.error:
                raise failures.undecodable(self._base_url) from None
        self._pieces.append(piece)
        self._size += len(piece)
        if max(self._came, self._size) > LARGEST_REPLY:
            raise failures.too_large(self._base_url, self._http_status)

    def whole(self) -> bytes:
        """All of it. Raises ``EnosReplyError`` where the compressed data does not end."""
        if self._decompress is not None and self._came and not self._decompress.eof:
            raise failures.undecodable(self._base_url)
        return b"".join(self._pieces)
