"""Putting the body of a reply together, within bounds: the same for both drivers, whose libraries differ in what they
decompress and in how much at once.
"""

from __future__ import annotations

import zlib

from airflow_provider_enos.client import transport_errors

_GZIP_OR_ZLIB = 32 + zlib.MAX_WBITS
_COMPRESSED = ("gzip", "x-gzip", "deflate")
_STEP = 2**20
"""Bytes that are decompressed at once."""
_TIMES = 8
"""How much JSON grows when it is decompressed."""
_FEW_PIECES, _SMALL_PIECE = 20_000, 64
"""Of more pieces than this each has so many bytes, on average: each costs a step of Python, however small it is."""


class ReplyBody:
    """Takes what comes, as it comes; its ``whole`` is decompressed if ``encoding`` says so.

    Only one compression is undone, since only gzip is asked for: one in another makes terabytes of a kilobyte.

    :param base_url: the gateway, for messages.
    :param encoding: the reply's ``Content-Encoding``.
    :param largest: bytes that it may have, compressed or not.
    """

    def __init__(self, base_url: str, http_status: int, encoding: str, largest: int) -> None:
        self._base_url = base_url
        self._http_status = http_status
        self._largest = largest
        self._compressed = encoding.strip().lower() in _COMPRESSED
        self._data = bytearray()
        self.pieces = 0

    @property
    def size(self) -> int:
        """Bytes that ``whole`` may have, as far as can be told: compressed data is taken for what JSON comes to."""
        return len(self._data) * (_TIMES if self._compressed else 1)

    def add(self, piece: bytes) -> None:
        """Add the next piece. Raises ``EnosReplyError`` where they are too many or too much."""
        self._data += piece
        self.pieces += 1
        if len(self._data) > self._largest:
            raise transport_errors.too_large(self._base_url, self._http_status, self._largest)
        if self.pieces > _FEW_PIECES and len(self._data) < _SMALL_PIECE * self.pieces:
            raise transport_errors.too_many_pieces(self._base_url, self._http_status)

    def whole(self) -> bytes:
        """Return all of it. Raises ``EnosReplyError`` where it decompresses to too much, or is no compressed data."""
        if self._compressed and self._data:
            self._data = self._decompressed()
            self._compressed = False
        return bytes(self._data)

    def _decompressed(self) -> bytearray:
        decompress = zlib.decompressobj(_GZIP_OR_ZLIB)
        made = bytearray()
        try:
            for start in range(0, len(self._data), _STEP):
                rest = bytes(self._data[start : start + _STEP])
                while rest and not decompress.eof:
                    made += decompress.decompress(rest, _STEP)
                    rest = decompress.unconsumed_tail
                    if len(made) > self._largest:
                        raise transport_errors.too_large(self._base_url, self._http_status, self._largest)
            made += decompress.flush()
        except zlib.error:
            raise transport_errors.undecodable(self._base_url) from None
        if not decompress.eof:
            raise transport_errors.undecodable(self._base_url)
        return made
