"""What the index keeps of a message, worked out while its octets pass by: rendered answers, header fields, thread, text.

One message for several people is written several times (each copy with its own prefix and key) but looked at once: the
writers share one `Derivation`, and whoever is ahead feeds it. It holds the header blocks, the structure and at most
KEPT_FOR_TEXT octets; the message itself passes through.

Owns the derivation. Never touches a file or the index.
"""

import hashlib
import re
import threading
from collections.abc import Mapping
from io import BytesIO
from typing import Protocol

from ..formats.bodystructure import render_bodystructure
from ..formats.dates import parse_date
from ..formats.envelope import render_envelope
from ..formats.headers import unfold
from ..formats.mime import Part, Scanner
from .cache import CacheRow, render_slots
from .held import HELD

KEPT_FOR_TEXT = 2 * 1024 * 1024
"""Octets of a message from whose beginning text for search is taken; what lies beyond is searched in the file."""

_PIECE = 262_144
_PART_WEIGHT = 512  # octets of memory of a part without its header
_MAX_ID = 998
_BLANKS = b" \t\r\n"
_ASKED = re.compile(rb"\n[ \t]*+(date|references|in-reply-to|message-id)[ \t]*+:([^\n]*+)", re.IGNORECASE)
_ID_MASK = 0x7FFFFFFFFFFFFFFF


class Derived:
    """What a whole message gave; the same for all of its copies. Answers are rendered when they are first asked for."""

    __slots__ = ("_answers", "_date", "_weight", "complete", "head", "part", "thread_id")

    def __init__(self, part: Part, head: bytes, *, complete: bool, thread_id: int, date: bytes | None) -> None:
        """`head`: the first KEPT_FOR_TEXT octets, without prefix; `complete`: that is all.  `date`: the Date field."""
        self.part = part
        self.head = head
        self.complete = complete
        self.thread_id = thread_id
        self._date = date
        self._answers: tuple[bytes, int] | None = None
        self._weight = len(head) + sum(_PART_WEIGHT + len(each.header) for each in part.walk())
        HELD.add(self._weight)

    def __del__(self) -> None:
        HELD.let_go(self._weight)

    @property
    def rendered(self) -> bytes:
        """b"ENVELOPE (...) BODYSTRUCTURE (...)"."""
        return self._render()[0]

    @property
    def envlen(self) -> int:
        """Octets of its first half."""
        return self._render()[1]

    def _render(self) -> tuple[bytes, int]:
        if self._answers is None:
            envelope = b"ENVELOPE " + render_envelope(self.part.header)
            self._answers = envelope + b" BODYSTRUCTURE " + render_bodystructure(self.part, extended=True), len(envelope)
        return self._answers

    @property
    def sent(self) -> int | None:
        """Days since 1970 of the Date field."""
        when = parse_date(self._date) if self._date else None
        return None if when is None else when.day

    def cache_row(self, number: int, prefix: bytes) -> CacheRow:
        """The row in cache.db of a copy that begins with `prefix`."""
        return number, self.sent, self.envlen, self.rendered, self.slots(prefix)

    def slots(self, prefix: bytes) -> bytes | None:
        """The header fields that are kept of such a copy; None when they must be read from its file."""
        whole = self.part.body_offset == len(self.part.header)  # else the scanner kept only its beginning
        return render_slots(prefix + self.part.header) if whole else None


class Derivation:
    """Takes the octets of a message from one or several writers, each from its own beginning; any thread."""

    __slots__ = ("_derived", "_head", "_lock", "_scanner", "size")

    def __init__(self) -> None:
        """Nothing seen yet."""
        self._scanner = Scanner()
        self._head = BytesIO()  # its value is handed out without a copy
        self._lock = threading.Lock()
        self._derived: Derived | None = None
        self.size = 0  # octets seen

    def feed(self, offset: int, data: bytes) -> None:
        """`data` stands at `offset` of the message; what was seen before is passed over."""
        with self._lock:
            known = self.size - offset
            if known < 0 or known >= len(data) or self._derived is not None:
                return
            fresh = data[known:] if known else data
            if self.size < KEPT_FOR_TEXT:
                self._head.write(fresh[: KEPT_FOR_TEXT - self.size])
            self.size += len(fresh)
            self._scanner.feed(fresh)

    def finish(self, size: int) -> Derived | None:
        """The whole message has `size` octets. None when something else was seen (a twin was fed otherwise)."""
        with self._lock:
            if size != self.size:
                return None
            if self._derived is None:
                self._derived = derive(self._scanner.close(), self._head.getvalue(), self.size)
                self._head = BytesIO()
            return self._derived


def derive(part: Part, head: bytes, size: int) -> Derived:
    """Work out what the index needs, of a scanned message and its first octets; the rest when it is asked for."""
    values = _first_values(part.header)
    return Derived(
        part,
        head[:KEPT_FOR_TEXT],
        complete=size <= KEPT_FOR_TEXT,
        thread_id=thread_id(values) or _number(part.header),
        date=values.get(b"date"),
    )


class Source(Protocol):
    """An open message."""

    size: int

    def read(self, offset: int = 0, length: int | None = None) -> bytes:
        """Octets from `offset`."""


def derive_from(source: Source) -> Derived:
    """derive() of a stored message, read in pieces. Raise Unavailable."""
    part, head = _scan(source)
    return derive(part, head, source.size)


def structure_of(source: Source) -> Part:
    """The structure of a stored message. Raise Unavailable."""
    return _scan(source)[0]


def _scan(source: Source) -> tuple[Part, bytes]:
    scanner = Scanner()
    head: list[bytes] = []
    offset = 0
    while offset < source.size:
        data = source.read(offset, _PIECE)
        if not data:
            break
        if offset < KEPT_FOR_TEXT:
            head.append(data)
        scanner.feed(data)
        offset += len(data)
    return scanner.close(), b"".join(head)


def _first_values(header: bytes) -> dict[bytes, bytes]:
    """The first value of each field that is asked for here."""
    values: dict[bytes, bytes] = {}
    for name, value in _ASKED.findall(b"\n" + unfold(header)):
        values.setdefault(name.lower(), value.strip(_BLANKS))
    return values


def thread_id(values: Mapping[bytes, bytes]) -> int:
    """THREADID (RFC 8474): of the message that began the thread, as far as References or In-Reply-To name it; 63 bits.

    0 when there is no Message-ID to go by: then the message is a thread of its own.
    """
    for name in (b"references", b"in-reply-to", b"message-id"):
        value = values.get(name, b"")
        begin = value.find(b"<")
        end = value.find(b">", begin)
        if 0 <= begin < end <= begin + _MAX_ID:
            return _number(value[begin : end + 1])
    return 0


def _number(data: bytes) -> int:
    return int.from_bytes(hashlib.sha256(data).digest()[:8], "big") & _ID_MASK
