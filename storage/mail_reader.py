"""An open message: plain, sealed, or with LF line ends that are read as CRLF.

Owns how the octets of a message come out of its file; every reader checks that the file has the size its row says.
Never follows a link, never waits on a FIFO, never hands out octets that were not verified.
"""

import errno
import os
import stat

from .api import AccountId, Unavailable
from .atomic import Directory, unavailable
from .index_schema import LF_ENDS, SEALED
from .seal import SealKind, SealReader, open_sealed

_PIECE = 262_144


class DamagedFile(Unavailable):
    """A message's file is not what its row says, and will not be by waiting: `store verify` tells more."""


class PlainReader:
    """A MessageReader of a file as it is."""

    __slots__ = ("_descriptor", "size")

    def __init__(self, descriptor: int, size: int) -> None:
        """Take over a descriptor."""
        self._descriptor = descriptor
        self.size = size

    def read(self, offset: int = 0, length: int | None = None) -> bytes:
        """Octets from `offset`. Raise Unavailable."""
        end = self.size if length is None else min(self.size, offset + max(0, length))
        offset = max(0, offset)
        if offset >= end:
            return b""
        return _pread(self._descriptor, end - offset, offset)

    def close(self) -> None:
        """Give the file back."""
        if self._descriptor >= 0:
            descriptor, self._descriptor = self._descriptor, -1
            os.close(descriptor)

    def __enter__(self) -> "PlainReader":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


class LfReader:
    """A MessageReader that makes CRLF of lone LFs. Reading on is cheap, going back begins at the beginning."""

    __slots__ = ("_buffer", "_buffer_offset", "_in_offset", "_last", "_source", "size")

    def __init__(self, source: PlainReader, size: int) -> None:
        """Over a reader of the file; `size` is that with CRLF."""
        self._source = source
        self.size = size
        self._rewind()

    def _rewind(self) -> None:
        self._in_offset = 0  # octets of the file converted so far
        self._last = b""  # the last of them
        self._buffer = b""
        self._buffer_offset = 0  # of the buffer, in the converted message

    def read(self, offset: int = 0, length: int | None = None) -> bytes:
        """Octets from `offset`. Raise Unavailable."""
        end = self.size if length is None else min(self.size, offset + max(0, length))
        offset = max(0, offset)
        if offset < self._buffer_offset:
            self._rewind()
        out = []
        while offset < end:
            reached = self._buffer_offset + len(self._buffer)
            if offset < reached:
                piece = self._buffer[offset - self._buffer_offset : end - self._buffer_offset]
                out.append(piece)
                offset += len(piece)
                continue
            data = self._source.read(self._in_offset, _PIECE)
            if not data:
                break
            self._buffer_offset = reached
            self._in_offset += len(data)
            self._buffer, self._last = to_crlf(data, self._last), data[-1:]
        return b"".join(out)

    def close(self) -> None:
        """Give the file back."""
        self._source.close()

    def __enter__(self) -> "LfReader":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


AnyReader = PlainReader | LfReader | SealReader


def to_crlf(data: bytes, before: bytes = b"") -> bytes:
    """Data with CRLF for each lone LF; `before` is the octet that came before it (CRLF may be cut in two)."""
    if before == b"\r" and data[:1] == b"\n":
        return b"\n" + data[1:].replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    return data.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


def open_file(directory: Directory, name: str) -> tuple[int, int]:
    """A descriptor of a message's file, never through a link, and its octets. Raise FileNotFoundError, Unavailable."""
    try:
        descriptor = directory.open_for_reading(name)
    except FileNotFoundError:
        raise
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENOTDIR):
            raise DamagedFile(f"a symbolic link is in the way ({name})") from error
        raise unavailable(error) from error
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        os.close(descriptor)
        raise DamagedFile(f"not a regular file ({name})")
    return descriptor, status.st_size


def open_message(
    directory: Directory, name: str, size: int, form: int, account: AccountId, *, secret_key: bytes | None, dek: bytes | None
) -> AnyReader:
    """Open the file of a message whose row says `size` and `form`. Raise FileNotFoundError, Unavailable (damaged, no key)."""
    descriptor, there = open_file(directory, name)
    if form & SEALED:
        reader = open_sealed(descriptor, account=account, kind=SealKind.MESSAGE, secret_key=secret_key, dek=dek, octets=there)
        if reader.size != size:
            reader.close()
            raise DamagedFile(f"the file has another size than its row ({name})")
        return reader
    if form & LF_ENDS:
        return LfReader(PlainReader(descriptor, there), size)
    if there != size:
        os.close(descriptor)
        raise DamagedFile(f"the file has another size than its row ({name})")
    return PlainReader(descriptor, there)


def _pread(descriptor: int, length: int, offset: int) -> bytes:
    try:
        data = os.pread(descriptor, length, offset)
        if len(data) == length or not data:
            return data
        pieces, got = [data], len(data)
        while got < length and (more := os.pread(descriptor, length - got, offset + got)):
            pieces.append(more)
            got += len(more)
        return b"".join(pieces)
    except OSError as error:
        raise Unavailable(os.strerror(error.errno or 0)) from error
