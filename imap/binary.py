"""BINARY: parts with their transfer encoding undone (RFC 3516 section 4.3, RFC 9051 section 6.4.5).

Owns which octets a section-binary means and how they become a literal. A literal needs its size first, so a large part is
decoded twice, piece by piece: once to count, once to send. Never has a large part in memory.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from ..formats.mime import Part
from ..formats.transfer import UnknownEncoding, open_transfer
from ..storage.api import MessageReader, Unavailable
from .section import Extract, find_part
from .values import FetchBinary, FetchBinarySize, Partial

_PIECE = 131_072


@dataclass(frozen=True, slots=True)
class Content:
    """Where the octets of a part lie, and the encoding that is to be undone; None: they stand for themselves."""

    place: Extract
    encoding: bytes | None


def find_content(root: Part, numbers: tuple[int, ...]) -> Content | None:
    """What the section means; None: there is no such part. Raise UnknownEncoding.

    A message or multipart is told as it is: the encodings are those of the parts within.
    """
    if not numbers:
        return Content(Extract(0, root.body_offset + root.length), None)
    part = find_part(root, numbers)
    if part is None:
        return None
    encoding = None if part.children else part.encoding
    open_transfer(encoding)
    return Content(Extract(part.body_offset, part.length), encoding)


def check_encodings(root: Part, items: tuple[object, ...]) -> None:
    """Whether all of the items that are BINARY can be answered. Raise UnknownEncoding."""
    for item in items:
        if isinstance(item, FetchBinary | FetchBinarySize):
            find_content(root, item.part)


def binary_pieces(
    line: bytes, item: FetchBinary | FetchBinarySize, root: Part, reader: MessageReader, whole: bytes | None
) -> Iterator[bytes]:
    """`line`, the item's label and its answer; b"" between pieces of work. The first text is the start of all.

    `whole` is the message, if it lies in memory. Raise Unavailable.
    """
    content = find_content(root, item.part)
    if content is None:
        yield line + item.label + (b" 0" if isinstance(item, FetchBinarySize) else b" NIL")
        return
    size = 0
    nul = False
    for piece in _decoded(content, reader, whole):
        size += len(piece)
        nul = nul or b"\0" in piece
        yield b""
    if isinstance(item, FetchBinarySize):
        yield b"%b%b %d" % (line, item.label, size)
        return
    begin, end = _bounds(item.partial, size)
    # RFC 3516 section 4.3: literal8 says that there is NUL, or that there may be.
    yield b"%b%b %b{%d}\r\n" % (line, item.label, b"~" if nul else b"", end - begin)
    position = 0
    for piece in _decoded(content, reader, whole):
        if position >= end:
            return
        yield piece[max(begin - position, 0) : end - position]
        position += len(piece)
    if position != size:
        raise Unavailable("the message changed")


def _bounds(partial: Partial | None, size: int) -> tuple[int, int]:
    if partial is None:
        return 0, size
    begin = min(partial.offset, size)
    return begin, min(begin + partial.length, size)


def _decoded(content: Content, reader: MessageReader, whole: bytes | None) -> Iterator[bytes]:
    decoder = open_transfer(content.encoding)
    offset, length = content.place.offset, content.place.length
    if whole is not None:
        yield decoder.feed(whole[offset : offset + length]) + decoder.finish()
        return
    end = offset + length
    while offset < end:
        octets = reader.read(offset, min(_PIECE, end - offset))
        if not octets:
            raise Unavailable("the message is shorter than it was")
        offset += len(octets)
        yield decoder.feed(octets)
    yield decoder.finish()


__all__ = ["Content", "UnknownEncoding", "binary_pieces", "check_encodings", "find_content"]
