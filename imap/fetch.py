"""Answers of FETCH (RFC 9051 sections 6.4.5 and 7.5.2), as pieces of text made while they are sent.

Owns how items become octets and what each costs. Never changes a flag and never waits: what is asked of the store here
is short (storage/api.py: [inline]), and every piece given out is at most some 0.25 ms of work, so that whoever draws them
can look to its other clients in between.

Three ways, from fast to slow, chosen for the command as a whole:
    flags    FLAGS, UID, MODSEQ alone: read off the mailbox's arrays, 1,024 messages a piece (view.py);
    columns  what the index has - sizes, dates, ENVELOPE, BODYSTRUCTURE, header fields - 64 messages a piece: each item is a
             column of values for the batch, a message is the row across them (fetch_columns.py);
    octets   what only the message has: opened one by one, small ones read at once, large ones in pieces of 128 KiB
             (fetch_octets.py).

A message that was expunged by somebody else is left out and counted (`missing`): RFC 2180 section 4.1.2. One that cannot
be read is left out and counted as well (`damaged`), and so is one in an encoding that nobody knows (`undecodable`). Should
it show half-way through a literal that a message cannot be read, the answer cannot be mended and BrokenAnswer ends the
connection.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain, islice

from ..storage.api import Mail, NotFound, Uid, Unavailable
from .binary import UnknownEncoding
from .fetch_columns import OF_FACTS, OF_SIZES, RENDERED, About, Column, Rendered, Rows, row_template
from .fetch_octets import message_items, reads_message
from .sequence import flatten
from .values import FetchBody, FetchFact, FetchItem
from .view import SLICE, View

ROWS = 64
"""Messages a batch of columns."""

_ROWS_READ = 16  # when messages are read as well

_ON_ARRAYS = frozenset({FetchFact.FLAGS, FetchFact.UID, FetchFact.MODSEQ})


@dataclass(frozen=True, slots=True)
class _Plan:
    """Items sorted out: which can be columns, which need the message, and whether all of them lie in the arrays."""

    light: tuple[FetchFact | FetchBody, ...]
    heavy: tuple[FetchItem, ...]
    sizes: bool  # of the facts, only the first ones
    facts: bool
    rendered: bool
    template: bytes  # of a row of the light items, its number first; with its end when there are no others
    flags_alone: bool
    octets_alone: bool  # nothing is asked but what must be read, and the UID
    uid: bool
    modseq: bool


@lru_cache(maxsize=256)  # clients ask for the same things again and again
def _plan(items: tuple[FetchItem, ...], uid: bool) -> _Plan:
    if uid and FetchFact.UID not in items:
        items = (FetchFact.UID, *items)
    heavy = tuple(item for item in items if reads_message(item))
    light = tuple(item for item in items if isinstance(item, FetchFact | FetchBody) and not reads_message(item))
    return _Plan(
        light=light,
        heavy=heavy,
        sizes=not OF_SIZES.isdisjoint(items),
        facts=not OF_FACTS.isdisjoint(items),
        rendered=not RENDERED.isdisjoint(light),
        template=row_template(light, whole=not heavy),
        flags_alone=FetchFact.FLAGS in items and _ON_ARRAYS.issuperset(items),
        octets_alone=bool(heavy) and light in ((), (FetchFact.UID,)),
        uid=FetchFact.UID in items,
        modseq=FetchFact.MODSEQ in items,
    )


class Fetch:
    """One FETCH under way on a view."""

    def __init__(self, mail: Mail, view: View, items: tuple[FetchItem, ...], *, uid: bool) -> None:
        """`uid`: the UID stands in each answer, asked for or not."""
        self._mail = mail
        self._view = view
        self._plan = _plan(items, uid)
        self.missing = 0
        self.damaged = 0
        self.undecodable = 0

    def answers(self, positions: list[range]) -> Iterator[bytes]:
        """Text for the messages at these positions of the view."""
        if self._plan.flags_alone:
            return self._flags(positions)
        if self._plan.octets_alone:
            return self._messages(positions)
        return self._rows(positions)

    # -- flags alone

    def _flags(self, positions: list[range]) -> Iterator[bytes]:
        view, uid, modseq = self._view, self._plan.uid, self._plan.modseq
        if len(positions) > 1 and len(positions) * 4 > sum(map(len, positions)):
            # Scattered: gathered, or each would be a piece of its own.
            uids = [view.uids[place] for place in flatten(positions)]
            if not view.is_current:
                self.missing += sum(view.place(number) < 0 for number in uids)
            yield from view.fetch_lines([Uid(number) for number in uids], uid=uid, modseq=modseq)
            return
        for places in positions:
            for begin in range(places.start, places.stop, SLICE):
                end = min(begin + SLICE, places.stop)
                if not view.is_current:
                    self.missing += sum(view.place(number) < 0 for number in view.uids[begin:end])
                yield view.flags_slice(begin, end, uid=uid, modseq=modseq)

    # -- columns

    def _rows(self, positions: list[range]) -> Iterator[bytes]:
        view, mail, mailbox = self._view, self._mail, self._view.mailbox
        uids: Sequence[Uid] = (
            view.uids[positions[0].start : positions[0].stop]  # type: ignore[assignment]  # an array of them, not copied
            if len(positions) == 1
            else [Uid(view.uids[place]) for place in flatten(positions)]
        )
        plan = self._plan
        items = plan.light
        facts: Column[About] | None = None
        rendered: Column[Rendered] | None = None
        if plan.facts:
            facts = Column(lambda some: mail.facts(mailbox.id, some), lambda row: row[0], uids)
        elif plan.sizes:
            facts = Column(lambda some: mail.sizes(mailbox.id, some), lambda row: row[0], uids)
        if plan.rendered:
            rendered = Column(lambda some: mail.rendered(mailbox.id, some), lambda row: row[0], uids)
        headers = [self._header_column(item, uids) for item in items if isinstance(item, FetchBody)]
        size = _ROWS_READ if plan.heavy else ROWS
        places = flatten(positions)
        for begin in range(0, len(uids), size):
            batch = uids[begin : begin + size]
            rows = Rows(
                [place + 1 for place in islice(places, len(batch))],
                batch,
                facts.take(batch) if facts else (),
                rendered.take(batch) if rendered else (),
                self._of_arrays(mailbox.flags, batch) if FetchFact.FLAGS in items else (),
                self._of_arrays(mailbox.modseqs, batch) if plan.modseq else (),
                [column.take(batch) for column in headers],
            )
            self.missing += rows.drop_missing()
            yield from self._lines(rows)

    def _header_column(self, item: FetchBody, uids: Sequence[Uid]) -> Column[tuple[Uid, bytes]]:
        mail, mailbox, fields = self._mail, self._view.mailbox, item.section.fields
        return Column(lambda some: mail.header_fields(mailbox.id, some, fields), lambda row: row[0], uids)

    def _of_arrays(self, array: Sequence[int], uids: Sequence[Uid]) -> Sequence[int | None]:
        view = self._view
        # Only of a current view are all of them there: else one that has gone and one not asked for may make up the number.
        if view.is_current:
            first = view.place(uids[0])
            if view.place(uids[-1]) == first + len(uids) - 1:
                return array[first : first + len(uids)]
        return [array[place] if place >= 0 else None for place in map(view.place, uids)]

    def _lines(self, rows: Rows) -> Iterator[bytes]:
        plan = self._plan
        columns = list(rows.columns(plan.light, self._view.texts))
        template = plan.template
        if not plan.heavy:
            if rows.numbers:
                yield _filled(template, columns)
            return
        for uid, row in zip(rows.uids, zip(*columns, strict=True), strict=True):
            yield from self._message(template % row, uid)

    # -- octets

    def _messages(self, positions: list[range]) -> Iterator[bytes]:
        """Messages one by one, when nothing else is asked of them."""
        template, with_uid, uids = self._plan.template, self._plan.uid, self._view.uids
        for place in flatten(positions):
            uid = Uid(uids[place])
            yield from self._message(template % ((place + 1, uid) if with_uid else (place + 1,)), uid)

    def _message(self, line: bytes, uid: Uid) -> Iterator[bytes]:
        """A message's row, begun in `line`, with the items for which it must be read."""
        try:
            with self._mail.read_message(self._view.mailbox.id, uid) as reader:
                yield from message_items(line, self._plan.heavy, uid, reader, self._view)
        except NotFound:
            self.missing += 1
        except Unavailable:
            self.damaged += 1
        except UnknownEncoding:
            self.undecodable += 1


def _filled(template: bytes, columns: Sequence[Sequence[object]]) -> bytes:
    """All rows at once: one formatting of so many templates takes less than one of each."""
    width, size = len(columns), len(columns[0])
    values: list[object] = [None] * (width * size)
    for place, column in enumerate(columns):
        values[place::width] = column
    return template * size % tuple(values)


def changed_positions(view: View, positions: list[range], since: int, changed: Sequence[Uid]) -> list[range]:
    """Those of `positions` whose message is among `changed` (CHANGEDSINCE, RFC 7162 section 3.1.4.1)."""
    if not changed or since >= view.mailbox.highestmodseq:
        return []
    places = sorted(place for place in map(view.position, changed) if place >= 0)
    found: list[range] = []
    chosen = iter(positions)
    within = next(chosen, None)
    for place in places:
        while within is not None and place >= within.stop:
            within = next(chosen, None)
        if within is None:
            break
        if place >= within.start:
            if found and found[-1].stop == place:
                found[-1] = range(found[-1].start, place + 1)
            else:
                found.append(range(place, place + 1))
    return found


def cut_positions(positions: list[range], size: int) -> Iterator[list[range]]:
    """The same positions in groups of at most `size` messages."""
    group: list[range] = []
    room = size
    for places in chain(positions):
        while len(places) > room:
            group.append(places[:room])
            yield group
            places, group, room = places[room:], [], size
        if places:
            group.append(places)
            room -= len(places)
    if group:
        yield group
