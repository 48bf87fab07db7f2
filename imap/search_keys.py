"""Search programs to trees of keys (RFC 9051 section 6.4.4; RFC 3501, 5032, 7162, 8474, 8514 add keys).

Owns the grammar of `search-key`. Never decodes a needle nor looks at a message: search.py does.
"""

from collections.abc import Callable

from ..storage.api import TextField
from .grammar import MAX_MODSEQ, Cursor, Unreadable
from .values import (
    All,
    And,
    DateField,
    DateKey,
    DateOrder,
    HasEmailId,
    HasFlag,
    HasThreadId,
    Larger,
    ModSeqAtLeast,
    Not,
    Numbers,
    Older,
    Or,
    SearchKey,
    Smaller,
    Text,
    Uids,
    Younger,
)

_MAX_SIZE = 0x7FFF_FFFF_FFFF_FFFF  # number64

_SIMPLE: dict[str, SearchKey] = {
    "ALL": All(),
    "ANSWERED": HasFlag("\\Answered"),
    "DELETED": HasFlag("\\Deleted"),
    "DRAFT": HasFlag("\\Draft"),
    "FLAGGED": HasFlag("\\Flagged"),
    "SEEN": HasFlag("\\Seen"),
    "UNANSWERED": Not(HasFlag("\\Answered")),
    "UNDELETED": Not(HasFlag("\\Deleted")),
    "UNDRAFT": Not(HasFlag("\\Draft")),
    "UNFLAGGED": Not(HasFlag("\\Flagged")),
    "UNSEEN": Not(HasFlag("\\Seen")),
    # IMAP4rev1 only. This server never says \Recent, so none is and all are old.
    "NEW": Not(All()),
    "OLD": All(),
    "RECENT": Not(All()),
    "SAVEDATESUPPORTED": All(),  # RFC 8514 section 4.3
}


def _header(cursor: Cursor) -> SearchKey:
    cursor.space()
    name = cursor.astring()
    cursor.space()
    # A field name has no 8-bit octets; one that has some is in no message.
    return Text(TextField.HEADER, cursor.astring(), name.decode("ascii", "replace"))


def _text(field: TextField, header: str = "") -> Callable[[Cursor], SearchKey]:
    def read(cursor: Cursor) -> SearchKey:
        cursor.space()
        return Text(field, cursor.astring(), header)

    return read


def _date(field: DateField, order: DateOrder) -> Callable[[Cursor], SearchKey]:
    def read(cursor: Cursor) -> SearchKey:
        cursor.space()
        return DateKey(field, order, cursor.day())

    return read


def _keyword(cursor: Cursor) -> HasFlag:
    cursor.space()
    return HasFlag(cursor.atom().decode("ascii"))


def _larger(cursor: Cursor) -> SearchKey:
    cursor.space()
    return Larger(cursor.number(_MAX_SIZE))


def _smaller(cursor: Cursor) -> SearchKey:
    cursor.space()
    return Smaller(cursor.number(_MAX_SIZE))


def _older(cursor: Cursor) -> SearchKey:
    cursor.space()
    return Older(cursor.nz_number())


def _younger(cursor: Cursor) -> SearchKey:
    cursor.space()
    return Younger(cursor.nz_number())


def _uid(cursor: Cursor) -> SearchKey:
    cursor.space()
    return Uids(cursor.set())


def _email_id(cursor: Cursor) -> SearchKey:
    cursor.space()
    return HasEmailId(cursor.astring().decode("ascii", "replace"))


def _thread_id(cursor: Cursor) -> SearchKey:
    cursor.space()
    return HasThreadId(cursor.astring().decode("ascii", "replace"))


def _modseq(cursor: Cursor) -> SearchKey:
    """MODSEQ ["/flags/..." priv|shared|all] n (RFC 7162 section 3.1.5)."""
    cursor.space()
    if cursor.peek() == 0x22:
        if not cursor.string().startswith(b"/flags/"):
            raise Unreadable("Unknown metadata item.")
        cursor.space()
        if cursor.word() not in ("PRIV", "SHARED", "ALL"):
            raise Unreadable("Unknown kind of metadata item.")
        cursor.space()
    return ModSeqAtLeast(cursor.number(MAX_MODSEQ))


_WITH_ARGUMENT: dict[str, Callable[[Cursor], SearchKey]] = {
    "BCC": _text(TextField.HEADER, "bcc"),
    "BEFORE": _date(DateField.INTERNAL, DateOrder.BEFORE),
    "BODY": _text(TextField.BODY),
    "CC": _text(TextField.HEADER, "cc"),
    "EMAILID": _email_id,
    "FROM": _text(TextField.HEADER, "from"),
    "HEADER": _header,
    "KEYWORD": _keyword,
    "LARGER": _larger,
    "MODSEQ": _modseq,
    "OLDER": _older,
    "ON": _date(DateField.INTERNAL, DateOrder.ON),
    "SAVEDBEFORE": _date(DateField.SAVED, DateOrder.BEFORE),
    "SAVEDON": _date(DateField.SAVED, DateOrder.ON),
    "SAVEDSINCE": _date(DateField.SAVED, DateOrder.SINCE),
    "SENTBEFORE": _date(DateField.SENT, DateOrder.BEFORE),
    "SENTON": _date(DateField.SENT, DateOrder.ON),
    "SENTSINCE": _date(DateField.SENT, DateOrder.SINCE),
    "SINCE": _date(DateField.INTERNAL, DateOrder.SINCE),
    "SMALLER": _smaller,
    "SUBJECT": _text(TextField.HEADER, "subject"),
    "TEXT": _text(TextField.TEXT),
    "THREADID": _thread_id,
    "TO": _text(TextField.HEADER, "to"),
    "UID": _uid,
    "UNKEYWORD": lambda cursor: Not(_keyword(cursor)),
    "YOUNGER": _younger,
}


class _Program:
    """One search program being read: counts its keys, and how deep they lie in one another."""

    __slots__ = ("cursor", "depth", "keys")

    def __init__(self, cursor: Cursor) -> None:
        self.cursor = cursor
        self.depth = 0
        self.keys = 0

    def several(self, closing: bytes) -> SearchKey:
        """Keys side by side, up to the end, or to `closing`."""
        keys = [self.one()]
        cursor = self.cursor
        while not (cursor.take(closing) if closing else cursor.at_end()):
            cursor.space()
            keys.append(self.one())
        return keys[0] if len(keys) == 1 else And(tuple(keys))

    def one(self) -> SearchKey:
        cursor = self.cursor
        self.keys += 1
        if self.keys > cursor.bounds.keys:
            raise Unreadable("Too many search keys.")
        sign = cursor.peek()
        if sign == 0x28:  # (
            cursor.take(b"(")
            return self._nested(lambda: self.several(b")"))
        if sign >= 0 and sign in b"0123456789*$":
            return Numbers(cursor.set())
        name = cursor.word()
        simple = _SIMPLE.get(name)
        if simple is not None:
            return simple
        read = _WITH_ARGUMENT.get(name)
        if read is not None:
            return read(cursor)
        if name == "NOT":
            cursor.space()
            return Not(self._nested(self.one))
        if name == "OR":
            return self._nested(self._or)
        raise Unreadable(f"Unknown search key {name[:40]}.")

    def _or(self) -> SearchKey:
        self.cursor.space()
        left = self.one()
        self.cursor.space()
        return Or(left, self.one())

    def _nested(self, read: Callable[[], SearchKey]) -> SearchKey:
        self.depth += 1
        if self.depth > self.cursor.bounds.nesting:
            raise Unreadable("Search keys nested too deep.")
        key = read()
        self.depth -= 1
        return key


def parse_search_keys(cursor: Cursor) -> SearchKey:
    """Read search keys up to the end of the command. Raise Unreadable."""
    return _Program(cursor).several(b"")
