"""Items of FETCH that only the message has (RFC 9051 section 6.4.5; RFC 3516, RFC 8970).

Owns how a message is read for them: a small one at once, a large one in pieces, its tree of parts found once while a
client asks for one part after the other.
"""

from collections.abc import Iterator

from ..formats.bodystructure import render_bodystructure
from ..formats.headers import split_header
from ..formats.mime import Part, Scanner
from ..storage.api import MessageReader, Uid, Unavailable
from .binary import binary_pieces, check_encodings
from .preview import preview_of
from .section import Extract, cut_octets, locate, locate_in_message, needs_structure
from .steps import BrokenAnswer
from .values import FetchBinary, FetchBinarySize, FetchBody, FetchFact, FetchItem, FetchPreview, Section, SectionText
from .view import View

_SMALL = 262_144  # octets of a message that is read at once
_PIECE = 131_072
_HEADER_PIECE = 32_768
_WHOLE = Section()


def reads_message(item: FetchItem) -> bool:
    """Whether the message must be read for this item."""
    if isinstance(item, FetchBody):
        return bool(item.section.part) or item.section.text is not SectionText.HEADER_FIELDS
    return item is FetchFact.BODY or not isinstance(item, FetchFact)


def _needs_tree(item: FetchItem) -> bool:
    if isinstance(item, FetchBody):
        return needs_structure(item.section)
    return item is FetchFact.BODY or isinstance(item, FetchBinary | FetchBinarySize)


def message_items(line: bytes, items: tuple[FetchItem, ...], uid: Uid, reader: MessageReader, view: View) -> Iterator[bytes]:
    """A message's row, begun in `line`, with the items for which it must be read.

    Raise Unavailable or UnknownEncoding as long as nothing was given out; BrokenAnswer afterwards.
    """
    size = reader.size
    whole = reader.read() if size <= _SMALL else None
    root: Part | None = None
    if whole is not None and len(items) == 1 and isinstance(only := items[0], FetchBody) and only.section == _WHOLE:
        # What clients ask for most, in as few steps as it can be.
        octets = whole if only.partial is None else cut_octets(whole, only.partial)
        space = b"" if line.endswith(b"(") else b" "
        yield b"%b%b%b {%d}\r\n" % (line, space, only.label, len(octets))
        yield octets
        yield b")\r\n"
        return
    if any(map(_needs_tree, items)):
        for root in _structure(view, uid, reader, whole):  # noqa: B007  # its last value is the tree
            yield b""
        assert root is not None
        check_encodings(root, items)
    header_size = -1
    begun = False
    try:
        for item in items:
            if not line.endswith(b"("):
                line += b" "
            if isinstance(item, FetchFact):
                assert root is not None
                line += b"BODY " + render_bodystructure(root, extended=False)
                continue
            if isinstance(item, FetchPreview):
                read = reader.read if whole is None else lambda offset, length: whole[offset : offset + length]
                line += b"PREVIEW " + preview_of(read, size, root)
                continue
            if isinstance(item, FetchBinary | FetchBinarySize):
                assert root is not None
                for piece in binary_pieces(line, item, root, reader, whole):
                    yield piece
                    begun = begun or bool(piece)
                line = b""
                continue
            if header_size < 0 and not needs_structure(item.section) and item.section.text is not SectionText.ALL:
                header_size = _header_size(reader, whole)
            extract: Extract | None
            if needs_structure(item.section):
                assert root is not None
                extract = locate(root, item.section)
            else:
                extract = locate_in_message(item.section, size, header_size)
            for piece in _literal(line, item, extract, reader, whole):
                yield piece
                begun = True
            line = b""
        yield line + b")\r\n"
    except Unavailable as error:
        if begun:
            raise BrokenAnswer(str(error)) from error
        raise


def _structure(view: View, uid: Uid, reader: MessageReader, whole: bytes | None) -> Iterator[Part | None]:
    """The tree of parts, at last; None between the pieces of work that finding it takes."""
    known = view.structure
    if known is not None and known[0] == uid:
        yield known[1]
        return
    scanner = Scanner()
    if whole is not None:
        scanner.feed(whole)
    else:
        for offset in range(0, reader.size, _PIECE):
            scanner.feed(reader.read(offset, _PIECE))
            yield None
    root = scanner.close()
    # Kept: clients fetch the parts of a message, and pieces of them, one command after the other.
    view.structure = uid, root
    yield root


def _header_size(reader: MessageReader, whole: bytes | None) -> int:
    """Octets of the message's header with its empty line."""
    data = reader.read(0, _HEADER_PIECE) if whole is None else whole
    while True:
        _, end = split_header(data)
        if end < len(data) or len(data) >= reader.size:
            return end
        data += reader.read(len(data), max(len(data), _PIECE))


def _literal(
    line: bytes, item: FetchBody, extract: Extract | None, reader: MessageReader, whole: bytes | None
) -> Iterator[bytes]:
    """`line`, the item's label and its octets, the first piece being the start of all."""
    if extract is None:
        yield line + item.label + b" NIL"
        return
    if extract.fields is not None or whole is not None:
        if whole is None:
            octets = reader.read(extract.offset, extract.length)
        else:
            octets = whole[extract.offset : extract.offset + extract.length]
        octets = cut_octets(extract.pick(octets), item.partial)
        yield b"%b%b {%d}\r\n" % (line, item.label, len(octets))
        yield octets
        return
    extract = extract.cut(item.partial)
    first = reader.read(extract.offset, min(_PIECE, extract.length))
    yield b"%b%b {%d}\r\n" % (line, item.label, extract.length)
    yield first
    end = extract.offset + extract.length
    for offset in range(extract.offset + len(first), end, _PIECE):
        piece = reader.read(offset, min(_PIECE, end - offset))
        if not piece:
            raise Unavailable("the message is shorter than it was")
        yield piece
