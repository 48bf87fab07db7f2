"""FETCH items and modifiers (RFC 9051 section 6.4.5; RFC 3516, 7162, 8474, 8514, 8970).

Owns the grammar of `fetch-att`, the macros, and the label that each answer begins with. Never reads a message.
"""

import re

from .encode import render_body_label
from .grammar import MAX_MODSEQ, Cursor, Unreadable
from .values import (
    FetchBinary,
    FetchBinarySize,
    FetchBody,
    FetchFact,
    FetchItem,
    FetchPreview,
    Partial,
    Section,
    SectionText,
)

_MAX_OFFSET = 0x7FFF_FFFF_FFFF_FFFF  # number64
_MAX_PARTS = 50  # numbers in one section; messages nest less deep

_FACTS: dict[str, FetchItem] = {fact.value: fact for fact in FetchFact}

_MACROS: dict[str, tuple[FetchItem, ...]] = {
    "ALL": (FetchFact.FLAGS, FetchFact.INTERNALDATE, FetchFact.SIZE, FetchFact.ENVELOPE),
    "FAST": (FetchFact.FLAGS, FetchFact.INTERNALDATE, FetchFact.SIZE),
    "FULL": (FetchFact.FLAGS, FetchFact.INTERNALDATE, FetchFact.SIZE, FetchFact.ENVELOPE, FetchFact.BODY),
}

_RFC822: dict[str, FetchItem] = {
    "RFC822": FetchBody(Section(), False, b"RFC822"),
    "RFC822.HEADER": FetchBody(Section(text=SectionText.HEADER), True, b"RFC822.HEADER"),
    "RFC822.TEXT": FetchBody(Section(text=SectionText.TEXT), False, b"RFC822.TEXT"),
}

# section-part = nz-number *("." nz-number), then "." and the text; FIELDS.NOT before FIELDS before HEADER.
_PART = re.compile(rb"[1-9][0-9]{0,9}(?:\.[1-9][0-9]{0,9})*")
_LAZY = re.compile(rb" \(LAZY\)", re.IGNORECASE)
_TEXT = re.compile(rb"HEADER\.FIELDS\.NOT|HEADER\.FIELDS|HEADER|TEXT|MIME", re.IGNORECASE)


def parse_fetch_items(cursor: Cursor) -> tuple[FetchItem, ...]:
    """Read a macro, one item, or items in parentheses: expanded, doubles dropped. Raise Unreadable."""
    if cursor.peek() == 0x28:
        items = cursor.listed(lambda: _item(cursor))
        return tuple(dict.fromkeys(items))
    begin = cursor.position
    macro = _MACROS.get(cursor.word())
    if macro is not None:  # a macro stands alone
        return macro
    cursor.position = begin
    return (_item(cursor),)


def parse_fetch_modifiers(cursor: Cursor, *, uid: bool) -> tuple[int | None, bool]:
    """Read CHANGEDSINCE and VANISHED, if they come (RFC 7162 sections 3.1.4.1, 3.2.6). Raise Unreadable."""
    changed_since: int | None = None
    vanished = False

    def modifier() -> None:
        nonlocal changed_since, vanished
        name = cursor.word()
        if name == "CHANGEDSINCE":
            cursor.space()
            changed_since = cursor.number(MAX_MODSEQ)
        elif name == "VANISHED":
            vanished = True
        else:
            raise Unreadable(f"Unknown FETCH modifier {name[:40]}.")

    if not cursor.at_end():
        cursor.space()
        cursor.listed(modifier)
        if vanished and (changed_since is None or not uid):
            raise Unreadable("VANISHED goes with UID FETCH and CHANGEDSINCE only.")
    return changed_since, vanished


def _item(cursor: Cursor) -> FetchItem:
    name = cursor.word()
    if cursor.peek() == 0x5B:  # [
        if name in ("BODY", "BODY.PEEK"):
            section = _section(cursor)
            partial = _partial(cursor)
            return FetchBody(section, name != "BODY", render_body_label(section, partial), partial)
        if name in ("BINARY", "BINARY.PEEK", "BINARY.SIZE"):
            return _binary(cursor, name)
        raise Unreadable(f"{name[:40]} takes no section.")
    item = _FACTS.get(name) or _RFC822.get(name)
    if item is not None:
        return item
    if name == "PREVIEW":
        return _preview(cursor)
    raise Unreadable(f"Unknown FETCH item {name[:40]}.")


def _part(cursor: Cursor) -> tuple[int, ...]:
    found = _PART.match(cursor.octets, cursor.position)
    if found is None:
        return ()
    cursor.position = found.end()
    numbers = found[0].split(b".")
    if len(numbers) > _MAX_PARTS:
        raise Unreadable("Section nested too deep.")
    return tuple(map(int, numbers))


def _section(cursor: Cursor) -> Section:
    cursor.expect(b"[")
    if cursor.take(b"]"):
        return Section()
    part = _part(cursor)
    if part and cursor.take(b"]"):
        return Section(part)
    if part:
        cursor.expect(b".")
    found = _TEXT.match(cursor.octets, cursor.position)
    if found is None:
        raise Unreadable("Invalid section.")
    cursor.position = found.end()
    text = SectionText(found[0].decode("ascii").upper())
    if text is SectionText.MIME and not part:
        raise Unreadable("MIME goes with a part number only.")
    fields: tuple[bytes, ...] = ()
    if text in (SectionText.HEADER_FIELDS, SectionText.HEADER_FIELDS_NOT):
        cursor.space()
        fields = tuple(cursor.listed(cursor.astring))
        if len(fields) > cursor.bounds.fields:
            raise Unreadable("Too many header fields.")
    cursor.expect(b"]")
    return Section(part, text, fields)


def _partial(cursor: Cursor) -> Partial | None:
    if not cursor.take(b"<"):
        return None
    offset = cursor.number(_MAX_OFFSET)
    cursor.expect(b".")
    length = cursor.nz_number(_MAX_OFFSET)
    cursor.expect(b">")
    return Partial(offset, length)


def _binary(cursor: Cursor, name: str) -> FetchItem:
    cursor.expect(b"[")
    part = _part(cursor)
    cursor.expect(b"]")
    numbers = b".".join(b"%d" % number for number in part)
    if name == "BINARY.SIZE":
        return FetchBinarySize(part, b"BINARY.SIZE[%b]" % numbers)
    partial = _partial(cursor)
    label = b"BINARY[%b]" % numbers
    if partial is not None:
        label += b"<%d>" % partial.offset
    return FetchBinary(part, name != "BINARY", label, partial)


def _preview(cursor: Cursor) -> FetchItem:
    found = _LAZY.match(cursor.octets, cursor.position)
    if found is None:  # what follows may be modifiers of FETCH itself
        return FetchPreview()
    cursor.position = found.end()
    return FetchPreview(lazy=True)
