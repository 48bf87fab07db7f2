"""SORT: criteria to an order (RFC 5256 section 3, RFC 5957 for DISPLAYFROM and DISPLAYTO), and what THREAD needs of messages.

Owns what each criterion compares: columns of values, read once for all messages (imap/kept.py keeps them). Asks the store
once for sizes and dates and once for the header fields that are needed, and never reads a message. May take long for a large
mailbox: runs beside the loop.
"""

from array import array
from collections.abc import Iterable, Mapping, Sequence
from enum import Enum, auto
from typing import Any, Protocol, assert_never

from ..formats.address import Address, parse_addresses
from ..formats.dates import parse_date
from ..formats.headers import decode_words, fields
from ..storage.api import Uid
from .subject import base_subject, collation
from .thread import find_message_id, find_references
from .values import SortKey

Header = Mapping[bytes, bytes]
"""Unfolded values by lower-case name."""

_OF_SIZES = frozenset({SortKey.ARRIVAL, SortKey.SIZE, SortKey.DATE})
_ADDRESSES = frozenset({b"from", b"to", b"cc"})
_NO_HEADER: Header = {}


class ThreadKey(Enum):
    """What THREAD asks of messages beside their date and subject."""

    REPLY = auto()  # whether the subject says that it is one (RFC 5256 section 2.1)
    MESSAGE_ID = auto()
    REFERENCES = auto()


Key = SortKey | ThreadKey

_NEEDS: Mapping[Key, tuple[bytes, ...]] = {
    SortKey.CC: (b"cc",),
    SortKey.DATE: (b"date",),
    SortKey.FROM: (b"from",),
    SortKey.SUBJECT: (b"subject",),
    SortKey.TO: (b"to",),
    SortKey.DISPLAYFROM: (b"from",),
    SortKey.DISPLAYTO: (b"to",),
    ThreadKey.REPLY: (b"subject",),
    ThreadKey.MESSAGE_ID: (b"message-id",),
    ThreadKey.REFERENCES: (b"references", b"in-reply-to"),
}


class Sources(Protocol):
    """What sorting asks of the store, of one mailbox; as in storage.api.Mail. Messages that went are left out."""

    def sizes(self, uids: Sequence[Uid]) -> Iterable[tuple[Uid, int, int]]:
        """(UID, octets, internal date) by ascending UID."""
        ...

    def header_fields(self, uids: Sequence[Uid], names: Sequence[bytes]) -> Iterable[tuple[Uid, bytes]]:
        """(UID, block of just these header fields)."""
        ...


def read_headers(sources: Sources, uids: Sequence[Uid], names: Sequence[bytes]) -> dict[int, Header]:
    """Values by UID. Of a field that is there twice the last counts, of addresses the first: as in ENVELOPE."""
    found: dict[int, Header] = {}
    if names:
        for uid, block in sources.header_fields(uids, names):
            values: dict[bytes, bytes] = {}
            for name, value in fields(block):
                name = name.lower()
                if name in _ADDRESSES:
                    values.setdefault(name, value)
                else:
                    values[name] = value
            found[uid] = values
    return found


def sent_date(header: Header, internal_date: int) -> int:
    """Seconds since 1970 of the Date field, else the internal date (RFC 5256 section 2.2)."""
    value = header.get(b"date")
    date = parse_date(value) if value else None
    return internal_date if date is None else date.seconds


def _first_address(header: Header, field: bytes) -> Address | None:
    value = header.get(field)
    found = parse_addresses(value, 1) if value else []
    return found[0] if found else None


def _mailbox(header: Header, field: bytes) -> str:
    address = _first_address(header, field)
    return collation(decode_words(address.mailbox or b"")) if address else ""


def _display(header: Header, field: bytes) -> str:
    """RFC 5957 section 3: the display name, else mailbox@host, else the mailbox."""
    address = _first_address(header, field)
    if address is None:
        return ""
    if address.name and (name := decode_words(address.name)):
        return collation(name)
    mailbox = address.mailbox or b""
    return collation(decode_words(mailbox + b"@" + address.host if address.host else mailbox))


def read_columns(uids: Sequence[int], keys: Iterable[Key], sources: Sources) -> tuple[Mapping[Key, Sequence[Any]], bool]:
    """(key -> values parallel to ascending UIDs, whether all messages could be read); one that could not has empty values."""
    keys = frozenset(keys)
    wanted = [Uid(uid) for uid in uids]
    sizes: Sequence[int] = ()
    dates: Sequence[int] = ()
    complete = True
    if not _OF_SIZES.isdisjoint(keys):
        about = {row[0]: row for row in sources.sizes(wanted)}
        complete = len(about) == len(wanted)
        sizes, dates = (tuple(about[uid][part] if uid in about else 0 for uid in wanted) for part in (1, 2))
    headers: Sequence[Header] = ()
    if names := sorted({name for key in keys for name in _NEEDS.get(key, ())}):
        found = read_headers(sources, wanted, names)
        complete = complete and len(found) == len(wanted)
        headers = [found.get(uid, _NO_HEADER) for uid in uids]
    columns: dict[Key, Sequence[Any]] = {}
    if SortKey.SUBJECT in keys or ThreadKey.REPLY in keys:
        columns[SortKey.SUBJECT], columns[ThreadKey.REPLY] = _subjects(headers)
    for key in keys:
        match key:
            case SortKey.ARRIVAL:
                columns[key] = dates
            case SortKey.SIZE:
                columns[key] = sizes
            case SortKey.DATE:
                columns[key] = [sent_date(header, date) for header, date in zip(headers, dates, strict=True)]
            case SortKey.DISPLAYFROM | SortKey.DISPLAYTO:
                columns[key] = [_display(header, *_NEEDS[key]) for header in headers]
            case SortKey.FROM | SortKey.TO | SortKey.CC:
                columns[key] = [_mailbox(header, *_NEEDS[key]) for header in headers]
            case ThreadKey.MESSAGE_ID:
                columns[key] = [find_message_id(header.get(b"message-id", b"")) for header in headers]
            case ThreadKey.REFERENCES:
                columns[key] = [
                    find_references(header.get(b"references", b""), header.get(b"in-reply-to", b"")) for header in headers
                ]
            case SortKey.SUBJECT | ThreadKey.REPLY:
                pass
            case _:
                assert_never(key)
    return {key: columns[key] for key in keys}, complete


def _subjects(headers: Sequence[Header]) -> tuple[list[str], list[bool]]:
    """Base subjects in collation form, and whether they are replies. Each that occurs is worked out once, and is one object."""
    known: dict[bytes, tuple[str, bool]] = {}
    texts: dict[str, str] = {}
    both = []
    for header in headers:
        value = header.get(b"subject", b"")
        subject = known.get(value)
        if subject is None:
            base, reply = base_subject(value)
            text = collation(base)
            subject = known[value] = texts.setdefault(text, text), reply
        both.append(subject)
    return [text for text, _ in both], [reply for _, reply in both]


def unique_criteria(criteria: Iterable[tuple[SortKey, bool]]) -> tuple[tuple[SortKey, bool], ...]:
    """Without those that come again: repeated, one adds nothing."""
    unique: dict[SortKey, bool] = {}
    for key, reverse in criteria:
        unique.setdefault(key, reverse)
    return tuple(unique.items())


def sort(
    columns: Mapping[Key, Sequence[Any]],
    places: Sequence[int],
    criteria: Sequence[tuple[SortKey, bool]],
    begun: Iterable[int] = (),
) -> "array[int]":
    """Ascending `places` of columns in the order wanted; equal ones in that of the mailbox (RFC 5256 section 3).

    `begun`: the first of them as they were put in order before; the others are then sorted in, in little time.
    """
    order = list(begun)
    order += places[len(order) :]
    # The least criterion first: each sort keeps the order of what is equal to it, reversed or not.
    for key, reverse in reversed(criteria):
        order.sort(key=columns[key].__getitem__, reverse=reverse)
    return array("I", order)
