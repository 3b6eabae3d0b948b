"""Collect and decompress the body of a reply within bounds, for both drivers.

Their libraries differ in which compressions they undo, and in how much they decompress at once.
"""

from __future__ import annotations

import zlib

from airflow_provider_enos.client import transport_errors

_GZIP_OR_ZLIB = 32 + zlib.MAX_WBITS
_COMPRESSED = ("gzip", "x-gzip", "deflate")
_STEP = 2**20
"""Bytes that are decompressed in one step."""
_COMPRESSION_RATIO = 8
"""How many times larger JSON is when it is decompressed, roughly."""
_FEW_PIECES, _SMALL_PIECE = 20_000, 64
"""A reply with more chunks than the first number needs the second number of bytes a chunk, on average."""


class ReplyBody:
    """Collect a reply chunk by chunk. ``whole`` returns it, decompressed if ``encoding`` says that it is compressed.

    Only one compression is undone: nested ones can turn a kilobyte into terabytes, and the request asks for gzip only.

    :param base_url: the gateway, for messages.
    :param encoding: the reply's ``Content-Encoding``.
    :param largest: the most bytes that it may have, before and after decompression.
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
        """About how many bytes ``whole`` will return."""
        return len(self._data) * (_COMPRESSION_RATIO if self._compressed else 1)

    def add(self, piece: bytes) -> None:
        """Add the next chunk. Raises ``EnosReplyError`` if there are too many chunks or bytes."""
        self._data += piece
        self.pieces += 1
        if len(self._data) > self._largest:
            raise transport_errors.too_large(self._base_url, self._http_status, self._largest)
        if self.pieces > _FEW_PIECES and len(self._data) < _SMALL_PIECE * self.pieces:
            raise transport_errors.too_many_pieces(self._base_url, self._http_status)

    def whole(self) -> bytes:
        """Return the whole body. Raises ``EnosReplyError`` if it is too large, or cannot be decompressed."""
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
