"""Undoing a content transfer encoding while its octets come (RFC 2045 section 6).

Owns which encodings are known. What comes out depends on the octets alone, but for lines of quoted-printable longer than
any that is legal. Never keeps more than one such line.
"""

import binascii
import re
from collections.abc import Callable

_IDENTITY = frozenset((b"", b"7bit", b"8bit", b"binary"))
_NOT_BASE64 = re.compile(rb"[^A-Za-z0-9+/]+")
_LONGEST_LINE = 65_536  # octets of quoted-printable kept while no line end comes; RFC 2045 allows 76


class UnknownEncoding(ValueError):
    """A content transfer encoding that nobody here knows how to undo."""


def is_identity(encoding: bytes | None) -> bool:
    """Whether octets in this encoding stand for themselves."""
    return (encoding or b"").lower() in _IDENTITY


class Base64Decoder:
    """Base64 as formats.headers.decode_base64 reads it, piece by piece."""

    __slots__ = ("_rest",)

    def __init__(self) -> None:
        """Begin."""
        self._rest = b""

    def feed(self, data: bytes) -> bytes:
        """What these octets complete."""
        *ended, last = data.split(b"=")
        out = []
        for run in ended:
            out.append(self._end(self._rest + _NOT_BASE64.sub(b"", run)))
            self._rest = b""
        clean = self._rest + _NOT_BASE64.sub(b"", last)
        whole = len(clean) & ~3
        self._rest = clean[whole:]
        out.append(binascii.a2b_base64(clean[:whole]))
        return b"".join(out)

    def finish(self) -> bytes:
        """What is left at the end."""
        rest, self._rest = self._rest, b""
        return self._end(rest)

    @staticmethod
    def _end(clean: bytes) -> bytes:
        if len(clean) % 4 == 1:
            clean = clean[:-1]
        return binascii.a2b_base64(clean + b"=" * (-len(clean) % 4))


class QuotedPrintableDecoder:
    """Quoted-printable, line by line."""

    __slots__ = ("_rest",)

    def __init__(self) -> None:
        """Begin."""
        self._rest = b""

    def feed(self, data: bytes) -> bytes:
        """What these octets complete."""
        end = data.rfind(b"\n") + 1
        if end:
            text, self._rest = self._rest + data[:end], data[end:]
            return binascii.a2b_qp(text)
        self._rest += data
        if len(self._rest) <= _LONGEST_LINE:
            return b""
        # Cut where no `=XX` is torn apart.
        cut = self._rest.find(b"=", len(self._rest) - 2)
        cut = len(self._rest) if cut < 0 else cut
        text, self._rest = self._rest[:cut], self._rest[cut:]
        return binascii.a2b_qp(text)

    def finish(self) -> bytes:
        """What is left at the end."""
        rest, self._rest = self._rest, b""
        return binascii.a2b_qp(rest)


class IdentityDecoder:
    """7bit, 8bit and binary."""

    __slots__ = ()

    def feed(self, data: bytes) -> bytes:
        """The same octets."""
        return data

    def finish(self) -> bytes:
        """Nothing."""
        return b""


TransferDecoder = Base64Decoder | QuotedPrintableDecoder | IdentityDecoder

_DECODERS: dict[bytes, Callable[[], TransferDecoder]] = {
    b"base64": Base64Decoder,
    b"quoted-printable": QuotedPrintableDecoder,
    **dict.fromkeys(_IDENTITY, IdentityDecoder),
}


def open_transfer(encoding: bytes | None) -> TransferDecoder:
    """A decoder for the value of Content-Transfer-Encoding (None: no such field). Raise UnknownEncoding."""
    make = _DECODERS.get((encoding or b"").lower())
    if make is None:
        raise UnknownEncoding((encoding or b"").decode("ascii", "replace"))
    return make()
