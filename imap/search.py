"""Evaluating search keys (RFC 9051 section 6.4.4; RFC 5032, 7162, 8474, 8514) over a mailbox's columns.

Theory of operation. A key filters candidates: ascending indices into the view's columns. Keys side by side filter one
another's survivors, cheapest first: flags and numbers look at columns, then come facts of the index, then sent dates,
and text last, on what is left. OR asks its right side only for what its left side refused.

Owns charsets, day arithmetic and the order of work. Never reads a message: it asks `Sources`. Text and sent dates may
take long; `needs_thread` says whether a search asks for them, so that a shell can run it beside its loop.
"""

from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import compress
from sys import byteorder
from typing import Protocol, assert_never, cast

from ..storage.api import FIRST_KEYWORD_BIT, SYSTEM_FLAGS, Facts, TextField, TextKey, Uid
from .sequence import SequenceSet
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

CHARSETS = ("US-ASCII", "UTF-8", "ISO-8859-1")
"""What needles may be in; told in BADCHARSET."""

_CODECS = {
    "US-ASCII": "utf-8",  # clients send UTF-8 and forget to say so; IMAP4rev2 makes it the default
    "UTF-8": "utf-8",
    "UTF8": "utf-8",
    "ISO-8859-1": "latin-1",
}
_DAY = 86_400
_INLINE = 2_000  # messages whose flags are looked at in a fraction of a millisecond
_WITH_BIT = [bytes(value >> place & 1 for value in range(256)) for place in range(8)]
_WITHOUT_BIT = [bytes(1 - (value >> place & 1) for value in range(256)) for place in range(8)]
_BITS = {name.lower(): bit for name, bit in SYSTEM_FLAGS.items()}

Candidates = Sequence[int]


class BadCharset(ValueError):
    """A charset that is not among CHARSETS: NO [BADCHARSET]."""


class UndecodableText(ValueError):
    """A needle that is not in its charset: BAD."""


class Sources(Protocol):
    """What a search asks of the store, of one mailbox; calls as in storage.api.Mail, the mailbox already chosen."""

    def facts(self, uids: Sequence[Uid]) -> Iterable[Facts]:
        """Facts by ascending UID."""
        ...

    def search_text(self, key: TextKey, uids: Sequence[Uid]) -> set[Uid]:
        """Which of `uids` hold the text. May take long."""
        ...

    def sent_dates(self, uids: Sequence[Uid]) -> Mapping[Uid, int]:
        """Days since 1970 of the Date header. May take long."""
        ...


@dataclass(frozen=True, slots=True)
class Columns:
    """The mailbox as the session sees it: `count` messages, columns in parallel, ascending by UID.

    A search beside the loop must be given columns that nobody changes meanwhile. `saved`: UIDs that `$` stands for.
    """

    count: int
    uids: Sequence[int]
    flags: Sequence[int]
    modseqs: Sequence[int]
    keywords: Sequence[str] = ()
    saved: Sequence[int] = ()


def decode_needle(needle: bytes, charset: str) -> str:
    """The text searched for. `charset` in upper case. Raise BadCharset, UndecodableText."""
    codec = _CODECS.get(charset)
    if codec is None:
        raise BadCharset(charset)
    try:
        return needle.decode(codec)
    except UnicodeDecodeError:
        raise UndecodableText(f"Text is not in {charset}.") from None


def check_needles(key: SearchKey, charset: str) -> None:
    """Whether all that is searched for can be decoded, before any work is done. Raise BadCharset, UndecodableText."""
    if charset not in _CODECS:
        raise BadCharset(charset)
    for part in _walk(key):
        if isinstance(part, Text):
            decode_needle(part.needle, charset)


def needs_thread(key: SearchKey) -> bool:
    """Whether text or sent dates are asked for, which may take long."""
    return any(isinstance(part, Text) or (isinstance(part, DateKey) and part.field is DateField.SENT) for part in _walk(key))


def is_quick(key: SearchKey, count: int) -> bool:
    """Whether a search through `count` messages may run on the loop: it asks for no text, and not for much else."""
    return isinstance(key, All) or (count <= _INLINE and not needs_thread(key))


def asks_modseq(key: SearchKey) -> bool:
    """Whether MODSEQ is among the keys: the answer then carries the highest one (RFC 7162 section 3.1.5)."""
    return any(isinstance(part, ModSeqAtLeast) for part in _walk(key))


def _walk(key: SearchKey) -> Iterable[SearchKey]:
    stack = [key]
    while stack:
        part = stack.pop()
        yield part
        match part:
            case Not(key=inner):
                stack.append(inner)
            case Or(left=left, right=right):
                stack += (left, right)
            case And(keys=keys):
                stack += keys
            case _:
                pass


def search(key: SearchKey, columns: Columns, sources: Sources, *, now: int, charset: str = "US-ASCII") -> Candidates:
    """Indices of the messages that match, ascending: a range or a list. `now`: seconds since 1970.

    Raise BadCharset, UndecodableText.
    """
    check_needles(key, charset)
    found = _Search(columns, sources, now, charset).keep(key, range(columns.count))
    return range(columns.count) if len(found) == columns.count else found


def _cost(key: SearchKey) -> int:
    """How dear a key is, a message: 0 columns, 1 facts of the index, 2 sent dates, 3 text."""
    match key:
        case Text():
            return 3
        case DateKey(field=DateField.SENT):
            return 2
        case DateKey() | Larger() | Smaller() | Older() | Younger() | HasEmailId() | HasThreadId():
            return 1
        case Not(key=inner):
            return _cost(inner)
        case Or(left=left, right=right):
            return max(_cost(left), _cost(right))
        case And(keys=keys):
            return max(map(_cost, keys))
        case _:
            return 0


def _without(candidates: Candidates, gone: Candidates) -> list[int]:
    out = set(gone)
    return [i for i in candidates if i not in out]


class _Search:
    """One evaluation: what it has read already, and from where."""

    __slots__ = ("_charset", "_columns", "_facts", "_now", "_sources")

    def __init__(self, columns: Columns, sources: Sources, now: int, charset: str) -> None:
        self._columns = columns
        self._sources = sources
        self._now = now
        self._charset = charset
        self._facts: dict[int, Facts | None] = {}  # None: expunged meanwhile

    def keep(self, key: SearchKey, candidates: Candidates) -> Candidates:
        """Those of `candidates` that match, ascending."""
        if not candidates:
            return candidates
        match key:
            case All():
                return candidates
            case HasFlag(flag=flag):
                return self._flagged(flag, candidates, True)
            case Not(key=HasFlag(flag=flag)):
                return self._flagged(flag, candidates, False)
            case Not(key=inner):
                return _without(candidates, self.keep(inner, candidates))
            case And(keys=keys):
                for part in sorted(keys, key=_cost):  # stable: the client's own order within a cost
                    candidates = self.keep(part, candidates)
                return candidates
            case Or(left=left, right=right):
                if _cost(right) < _cost(left):
                    left, right = right, left
                first = self.keep(left, candidates)
                second = self.keep(right, _without(candidates, first))
                return sorted([*first, *second])  # two runs: linear in Python's sort
            case Numbers(set=numbers):
                return self._listed(numbers, candidates, by_uid=False)
            case Uids(set=numbers):
                return self._listed(numbers, candidates, by_uid=True)
            case ModSeqAtLeast(modseq=modseq):
                modseqs = self._columns.modseqs
                return [i for i in candidates if modseqs[i] >= modseq]
            case Larger(octets=octets):
                return self._by_fact(candidates, lambda facts: facts.size > octets)
            case Smaller(octets=octets):
                return self._by_fact(candidates, lambda facts: facts.size < octets)
            case Older(seconds=seconds):
                limit = self._now - seconds
                return self._by_fact(candidates, lambda facts: facts.internal_date <= limit)
            case Younger(seconds=seconds):
                limit = self._now - seconds
                return self._by_fact(candidates, lambda facts: facts.internal_date >= limit)
            case HasEmailId(id=id_):
                return self._by_fact(candidates, lambda facts: facts.email_id == id_)
            case HasThreadId(id=id_):
                return self._by_fact(candidates, lambda facts: facts.thread_id == id_)
            case DateKey():
                return self._dated(key, candidates)
            case Text():
                return self._holding(key, candidates)
            case _:
                assert_never(key)

    def _flagged(self, flag: str, candidates: Candidates, present: bool) -> Candidates:
        bit = _BITS.get(flag.lower(), 0)
        if not bit:
            wanted = flag.lower()
            for index, keyword in enumerate(self._columns.keywords):
                if keyword.lower() == wanted:
                    bit = 1 << FIRST_KEYWORD_BIT + index
        if not bit:  # a keyword that no message here ever had
            return [] if present else candidates
        flags = self._columns.flags
        if isinstance(candidates, range) and len(candidates) == len(flags) and isinstance(flags, array):
            # All of them: the octet of each mask that has the bit, at once.
            octet, place = divmod(bit.bit_length() - 1, 8)
            octets = flags.tobytes()[octet if byteorder == "little" else 7 - octet :: 8]
            return list(compress(candidates, octets.translate(_WITH_BIT[place] if present else _WITHOUT_BIT[place])))
        if present:
            return [i for i in candidates if flags[i] & bit]
        return [i for i in candidates if not flags[i] & bit]

    def _listed(self, numbers: SequenceSet, candidates: Candidates, *, by_uid: bool) -> Candidates:
        """Candidates whose number or UID lies in the set; numbers that are not there match nothing."""
        columns = self._columns
        if numbers.saved:
            saved = set(columns.saved)
            uids = columns.uids
            return [i for i in candidates if uids[i] in saved]
        ranges = numbers.indices_by_uid(columns.uids, columns.count) if by_uid else numbers.indices(columns.count)
        if isinstance(candidates, range) and len(candidates) == columns.count:  # nothing filtered yet
            return [i for indices in ranges for i in indices] if len(ranges) != 1 else ranges[0]
        if len(ranges) == 1:
            only = ranges[0]
            return [i for i in candidates if i in only]
        within = {i for indices in ranges for i in indices}
        return [i for i in candidates if i in within]

    def _by_fact(self, candidates: Candidates, claim: Callable[[Facts], bool]) -> list[int]:
        known, uids = self._facts, self._columns.uids
        wanted = [Uid(uids[i]) for i in candidates if uids[i] not in known]
        if wanted:
            known.update(dict.fromkeys(wanted))
            for facts in self._sources.facts(wanted):
                known[facts.uid] = facts
        return [i for i in candidates if (about := known[uids[i]]) is not None and claim(about)]

    def _dated(self, key: DateKey, candidates: Candidates) -> list[int]:
        day, order = key.day, key.order

        def fits(other: int) -> bool:
            if order is DateOrder.BEFORE:
                return other < day
            return other == day if order is DateOrder.ON else other >= day

        match key.field:
            case DateField.INTERNAL:  # told in UTC, so its day is UTC's
                return self._by_fact(candidates, lambda facts: fits(facts.internal_date // _DAY))
            case DateField.SAVED:
                return self._by_fact(candidates, lambda facts: fits(facts.save_date // _DAY))
            case DateField.SENT:
                uids = self._columns.uids
                sent = self._sources.sent_dates([Uid(uids[i]) for i in candidates])
                return [i for i in candidates if (other := sent.get(Uid(uids[i]))) is not None and fits(other)]
            case _:
                assert_never(key.field)

    def _holding(self, key: Text, candidates: Candidates) -> Candidates:
        if not key.needle and key.field is not TextField.HEADER:
            return candidates  # the empty string is in every text; of a header field it asks whether it is there
        uids = self._columns.uids
        text = TextKey(key.field, decode_needle(key.needle, self._charset), key.header)
        whole = isinstance(candidates, range) and len(candidates) == len(uids)
        wanted = cast(Sequence[Uid], uids) if whole else [Uid(uids[i]) for i in candidates]
        found = self._sources.search_text(text, wanted)
        return [i for i in candidates if uids[i] in found]
