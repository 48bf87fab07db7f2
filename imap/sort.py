"""SORT: criteria to an order (RFC 5256 section 3, RFC 5957 for DISPLAYFROM and DISPLAYTO).

Owns what each criterion compares. Asks the store once for the facts and once for the header fields that are needed, and
never reads a message. May take long for a large mailbox: runs beside the loop.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

from ..formats.address import Address, parse_addresses
from ..formats.dates import parse_date
from ..formats.headers import decode_words, fields
from ..storage.api import Facts, Uid
from .subject import base_subject, collation
from .values import SortKey

Header = Mapping[bytes, bytes]
"""Unfolded values by lower-case name."""

_NEEDS: Mapping[SortKey, bytes] = {
    SortKey.CC: b"cc",
    SortKey.DATE: b"date",
    SortKey.FROM: b"from",
    SortKey.SUBJECT: b"subject",
    SortKey.TO: b"to",
    SortKey.DISPLAYFROM: b"from",
    SortKey.DISPLAYTO: b"to",
}
_OF_FACTS = frozenset({SortKey.ARRIVAL, SortKey.SIZE, SortKey.DATE})
_ADDRESSES = frozenset({b"from", b"to", b"cc"})
_NO_FACTS = Facts(Uid(0), 0, 0, 0, "", "")


class Sources(Protocol):
    """What sorting asks of the store, of one mailbox; as in storage.api.Mail. Messages that went are left out."""

    def facts(self, uids: Sequence[Uid]) -> Iterable[Facts]:
        """Facts by ascending UID."""
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


def sent_date(header: Header, facts: Facts) -> int:
    """Seconds since 1970 of the Date field, else the internal date (RFC 5256 section 2.2)."""
    value = header.get(b"date")
    date = parse_date(value) if value else None
    return facts.internal_date if date is None else date.seconds


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


def _value(key: SortKey) -> Callable[[Header, Facts], Any]:
    match key:
        case SortKey.ARRIVAL:
            return lambda header, facts: facts.internal_date
        case SortKey.SIZE:
            return lambda header, facts: facts.size
        case SortKey.DATE:
            return sent_date
        case SortKey.SUBJECT:
            return lambda header, facts: collation(base_subject(header.get(b"subject", b""))[0])
        case SortKey.DISPLAYFROM | SortKey.DISPLAYTO:
            return lambda header, facts: _display(header, _NEEDS[key])
        case _:
            return lambda header, facts: _mailbox(header, _NEEDS[key])


def sort(uids: Sequence[int], criteria: Sequence[tuple[SortKey, bool]], sources: Sources) -> list[int]:
    """Indices into ascending `uids`, in the order wanted; equal ones in that of the mailbox (RFC 5256 section 3)."""
    unique: dict[SortKey, bool] = {}
    for key, reverse in criteria:  # repeated, one adds nothing
        unique.setdefault(key, reverse)
    wanted = [Uid(uid) for uid in uids]
    names = sorted({_NEEDS[key] for key in unique if key in _NEEDS})
    facts: dict[int, Facts] = {}
    if not _OF_FACTS.isdisjoint(unique):
        facts = {about.uid: about for about in sources.facts(wanted)}
    headers = read_headers(sources, wanted, names)
    order = list(range(len(uids)))
    nothing: Header = {}
    # The least criterion first: each sort keeps the order of what is equal to it, reversed or not.
    for key, reverse in reversed(unique.items()):
        value = _value(key)
        column = [value(headers.get(uid, nothing), facts.get(uid, _NO_FACTS)) for uid in uids]
        order.sort(key=column.__getitem__, reverse=reverse)
    return order
