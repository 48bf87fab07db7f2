"""The line after COMPRESS DEFLATE, both ways (RFC 4978).

Owns how much is inflated at a time and how long a compressor lives. Never reads or writes a socket.

A client's octets are kept as they came, and at most PIECE of what is in them lies here and in the decoder at once: a bomb
costs time, piece by piece, never memory. What is sent ends in a sync flush for each write, so that nothing waits inside.
Since such a flush ends on an octet, the next block may come from a new compressor: one that has nothing to do is let go,
and an idle session has none of its 256 KiB.
"""

import zlib

PIECE = 65_536
"""Octets inflated at a time."""

_LEVEL = 1  # the least work: it runs on the loop
_RAW = -15  # no header, no checksum (RFC 4978 section 3)


class InvalidDeflate(Exception):
    """The client's octets are no deflate stream, or it has ended: nothing after it can be understood."""


class Deflate:
    """Both directions of one connection."""

    __slots__ = ("_deflate", "_inflate", "_kept", "_more")

    def __init__(self) -> None:
        """Begin, after the OK was sent."""
        self._inflate = zlib.decompressobj(_RAW)
        self._deflate: zlib._Compress | None = None
        self._kept = b""
        self._more = False  # the last piece was full: there may be more without another octet

    def feed(self, data: bytes) -> None:
        """Keep octets of the client."""
        self._kept = self._kept + data if self._kept else data

    def take(self) -> bytes:
        """The next piece of what they say, b"" when more octets are needed. Raise InvalidDeflate."""
        while self._kept or self._more:
            try:
                piece = self._inflate.decompress(self._kept, PIECE)
            except zlib.error as error:
                raise InvalidDeflate(str(error)) from None
            self._kept = self._inflate.unconsumed_tail
            self._more = len(piece) == PIECE
            if self._inflate.eof:
                raise InvalidDeflate("the stream has ended")
            if piece:
                return piece
        return b""

    def shrink(self, text: bytes) -> bytes:
        """What is sent for `text`, complete."""
        if self._deflate is None:
            self._deflate = zlib.compressobj(_LEVEL, zlib.DEFLATED, _RAW)
        return self._deflate.compress(text) + self._deflate.flush(zlib.Z_SYNC_FLUSH)

    def rest(self) -> None:
        """Nothing will be sent for a while: let the compressor go."""
        self._deflate = None
