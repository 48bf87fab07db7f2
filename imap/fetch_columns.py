"""Columns of FETCH: what the index has of many messages, put side by side and told row by row (imap/fetch.py).

Owns the text of each item that needs no message, and one template a command: a row is one formatting, whatever is asked.
Never opens a message.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from operator import itemgetter
from typing import Any, Generic, TypeVar

from ..storage.api import Facts, Uid
from .encode import render_date_time
from .section import cut_octets
from .values import FetchBody, FetchFact, FetchItem

T = TypeVar("T")

Rendered = tuple[Uid, bytes, int]

About = Facts | tuple[Uid, int, int]
"""What the index has of a message: Facts, or how they begin (Mail.sizes)."""

OF_SIZES = frozenset({FetchFact.INTERNALDATE, FetchFact.SIZE})
OF_FACTS = frozenset({FetchFact.EMAILID, FetchFact.THREADID, FetchFact.SAVEDATE})
RENDERED = frozenset({FetchFact.ENVELOPE, FetchFact.BODYSTRUCTURE})


class Column(Generic[T]):
    """Rows of the store for the messages of a command, a batch at a time.

    The store is asked once for all, and gives rows as they are drawn. Should they fall out of step with the batches,
    because a message has gone, each batch is asked for by itself from there on.
    """

    __slots__ = ("_ask", "_rows", "_uid_of")

    def __init__(self, ask: Callable[[Sequence[Uid]], Iterator[T]], uid_of: Callable[[T], Uid], uids: Sequence[Uid]) -> None:
        """`ask` gives rows by ascending UID; `uids` are all that will be taken, in order."""
        self._ask = ask
        self._uid_of = uid_of
        self._rows: Iterator[T] | None = ask(uids)

    def take(self, uids: Sequence[Uid]) -> list[T | None]:
        """The rows of a batch, None for messages that are gone."""
        if self._rows is not None:
            rows: list[T | None] = list(islice(self._rows, len(uids)))
            if len(rows) == len(uids) and (last := rows[-1]) is not None and self._uid_of(last) == uids[-1]:
                return rows
            self._rows = None
        found = {self._uid_of(row): row for row in self._ask(uids)}
        return [found.get(uid) for uid in uids]


_FORMATS: Mapping[FetchFact, bytes] = {
    FetchFact.UID: b"UID %d",
    FetchFact.FLAGS: b"FLAGS (%b)",
    FetchFact.MODSEQ: b"MODSEQ (%d)",
    FetchFact.SIZE: b"RFC822.SIZE %d",
    FetchFact.INTERNALDATE: b"INTERNALDATE %b",
    FetchFact.SAVEDATE: b"SAVEDATE %b",
    FetchFact.EMAILID: b"EMAILID (%b)",
    FetchFact.THREADID: b"THREADID (%b)",
    FetchFact.ENVELOPE: b"%b",
    FetchFact.BODYSTRUCTURE: b"%b",
}

_FACT_VALUES: Mapping[FetchFact, Callable[[Any], object]] = {
    FetchFact.SIZE: itemgetter(1),
    FetchFact.INTERNALDATE: lambda fact: render_date_time(fact[2]),
    FetchFact.SAVEDATE: lambda fact: render_date_time(fact.save_date),
    FetchFact.EMAILID: lambda fact: fact.email_id.encode("ascii"),
    FetchFact.THREADID: lambda fact: fact.thread_id.encode("ascii"),
}


def row_template(items: Sequence[FetchFact | FetchBody], *, whole: bool) -> bytes:
    """How a row of these items is told, its number first; `whole`: nothing comes behind them."""
    parts = []
    for item in items:
        if isinstance(item, FetchBody):
            parts.append(item.label.replace(b"%", b"%%") + b" {%d}\r\n%b")
        elif item is not FetchFact.BODYSTRUCTURE or FetchFact.ENVELOPE not in items:  # else it is told with ENVELOPE
            parts.append(_FORMATS[item])
    return b"* %d FETCH (" + b" ".join(parts) + (b")\r\n" if whole else b"")


@dataclass(slots=True)
class Rows:
    """A batch of messages, what each source has of them, in parallel; a source that is not asked is empty."""

    numbers: list[int]
    uids: Sequence[Uid]
    facts: Sequence[About | None]
    rendered: Sequence[Rendered | None]
    masks: Sequence[Any]
    modseqs: Sequence[int | None]
    headers: list[list[tuple[Uid, bytes] | None]]

    def drop_missing(self) -> int:
        """Leave out those that a source no longer has: how many."""
        sources: list[Sequence[object]] = [self.facts, self.rendered, self.masks, self.modseqs, *self.headers]
        if not any(None in source for source in sources):
            return 0
        every = len(self.numbers)
        kept = [i for i in range(every) if all(not source or source[i] is not None for source in sources)]
        self.numbers = [self.numbers[i] for i in kept]
        self.uids = [self.uids[i] for i in kept]
        self.facts = [self.facts[i] for i in kept] if self.facts else ()
        self.rendered = [self.rendered[i] for i in kept] if self.rendered else ()
        self.masks = [self.masks[i] for i in kept] if self.masks else ()
        self.modseqs = [self.modseqs[i] for i in kept] if self.modseqs else ()
        self.headers = [[source[i] for i in kept] for source in self.headers]
        return every - len(kept)

    def columns(self, items: Sequence[FetchFact | FetchBody], texts: Mapping[int, str]) -> Iterator[Sequence[object]]:
        """What row_template takes, a column each. Call drop_missing() before."""
        headers = iter(self.headers)
        yield self.numbers
        for item in items:
            if isinstance(item, FetchBody):
                yield from _header_values(item, next(headers))
            elif item is FetchFact.FLAGS:
                yield [texts[mask].encode("latin-1", "replace") for mask in self.masks]
            elif item is FetchFact.MODSEQ:
                yield self.modseqs
            elif item is FetchFact.UID:
                yield self.uids
            elif item in RENDERED:
                yield from _rendered_values(item, items, self.rendered)
            else:
                yield list(map(_FACT_VALUES[item], self.facts))


def _header_values(item: FetchBody, rows: Sequence[tuple[Uid, bytes] | None]) -> list[Sequence[object]]:
    blocks = [cut_octets(row[1], item.partial) for row in rows if row]
    return [list(map(len, blocks)), blocks]


def _rendered_values(item: FetchFact, items: Sequence[FetchItem], rows: Sequence[Rendered | None]) -> list[Sequence[object]]:
    if FetchFact.ENVELOPE in items and FetchFact.BODYSTRUCTURE in items:
        # Both, exactly as they lie there, in the place of ENVELOPE.
        return [[row[1] for row in rows if row]] if item is FetchFact.ENVELOPE else []
    if item is FetchFact.ENVELOPE:
        return [[row[1][: row[2]] for row in rows if row]]
    return [[row[1][row[2] + 1 :] for row in rows if row]]
