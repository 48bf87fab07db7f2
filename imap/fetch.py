"""Answers of FETCH (RFC 9051 sections 6.4.5 and 7.5.2), as pieces of text made while they are sent.

Owns how items become octets and what each costs. Never changes a flag and never waits: what is asked of the store here
is short (storage/api.py: [inline]), and every piece given out is at most some 0.25 ms of work, so that whoever draws them
can look to its other clients in between.

Three ways, from fast to slow, chosen for the command as a whole:
    flags    FLAGS, UID, MODSEQ alone: read off the mailbox's arrays, 512 messages a piece (view.py);
    columns  what the index has - sizes, dates, ENVELOPE, BODYSTRUCTURE, header fields - 64 messages a piece: each item is a
             column of octets for the batch, a message is the row across them;
    octets   what only the message has: opened one by one, small ones read at once, large ones in pieces of 128 KiB.

A message that was expunged by somebody else is left out and counted (`missing`): RFC 2180 section 4.1.2. One that cannot
be read is left out and counted as well (`damaged`), and so is one in an encoding that nobody knows (`undecodable`). Should
it show half-way through a literal that a message cannot be read, the answer cannot be mended and BrokenAnswer ends the
connection.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain, islice
from typing import Generic, TypeVar

from ..formats.bodystructure import render_bodystructure
from ..formats.headers import split_header
from ..formats.mime import Part, Scanner
from ..storage.api import Facts, Mail, MessageReader, NotFound, Uid, Unavailable
from .binary import UnknownEncoding, binary_pieces, check_encodings
from .encode import render_date_time
from .preview import preview_of
from .section import Extract, cut_octets, locate, locate_in_message, needs_structure
from .sequence import flatten
from .steps import BrokenAnswer
from .values import FetchBinary, FetchBinarySize, FetchBody, FetchFact, FetchItem, FetchPreview, SectionText
from .view import SLICE, View

T = TypeVar("T")

ROWS = 64
"""Messages a batch of columns."""

_SMALL = 262_144  # octets of a message that is read at once
_PIECE = 131_072
_HEADER_PIECE = 32_768

_ON_ARRAYS = frozenset({FetchFact.FLAGS, FetchFact.UID, FetchFact.MODSEQ})
_OF_FACTS = frozenset({FetchFact.INTERNALDATE, FetchFact.SIZE, FetchFact.EMAILID, FetchFact.THREADID, FetchFact.SAVEDATE})
_RENDERED = frozenset({FetchFact.ENVELOPE, FetchFact.BODYSTRUCTURE})

Rendered = tuple[Uid, bytes, int]


class _Column(Generic[T]):
    """Rows of the store for the messages of a command, a batch at a time.

    The store is asked once for all, and gives rows as they are drawn. Should they fall out of step with the batches,
    because a message has gone, each batch is asked for by itself from there on.
    """

    __slots__ = ("_ask", "_rows", "_uid_of")

    def __init__(self, ask: Callable[[Sequence[Uid]], Iterator[T]], uid_of: Callable[[T], Uid], uids: Sequence[Uid]) -> None:
        self._ask = ask
        self._uid_of = uid_of
        self._rows: Iterator[T] | None = ask(uids)

    def take(self, uids: Sequence[Uid]) -> list[T | None]:
        if self._rows is not None:
            rows: list[T | None] = list(islice(self._rows, len(uids)))
            if len(rows) == len(uids) and (last := rows[-1]) is not None and self._uid_of(last) == uids[-1]:
                return rows
            self._rows = None
        found = {self._uid_of(row): row for row in self._ask(uids)}
        return [found.get(uid) for uid in uids]


@dataclass(frozen=True, slots=True)
class _Plan:
    """Items sorted out: which can be columns, which need the message, and whether all of them lie in the arrays."""

    light: tuple[FetchFact | FetchBody, ...]
    heavy: tuple[FetchItem, ...]
    structure: bool  # whether the tree of parts is needed
    flags_alone: bool
    uid: bool
    modseq: bool


@lru_cache(maxsize=256)  # clients ask for the same things again and again
def _plan(items: tuple[FetchItem, ...], uid: bool) -> _Plan:
    if uid and FetchFact.UID not in items:
        items = (FetchFact.UID, *items)
    heavy = tuple(item for item in items if _is_heavy(item))
    return _Plan(
        light=tuple(item for item in items if isinstance(item, FetchFact | FetchBody) and not _is_heavy(item)),
        heavy=heavy,
        structure=any(map(_needs_structure, heavy)),
        flags_alone=FetchFact.FLAGS in items and _ON_ARRAYS.issuperset(items),
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
        items = self._plan.light
        facts: _Column[Facts] | None = None
        rendered: _Column[Rendered] | None = None
        if not _OF_FACTS.isdisjoint(items):
            facts = _Column(lambda some: mail.facts(mailbox.id, some), lambda row: row.uid, uids)
        if not _RENDERED.isdisjoint(items):
            rendered = _Column(lambda some: mail.rendered(mailbox.id, some), lambda row: row[0], uids)
        headers = {item: self._header_column(item, uids) for item in items if isinstance(item, FetchBody)}
        size = ROWS if not self._plan.heavy else 16
        places = flatten(positions)
        for begin in range(0, len(uids), size):
            batch = uids[begin : begin + size]
            numbers = [place + 1 for place in islice(places, len(batch))]
            batch_facts = facts.take(batch) if facts else ()
            batch_rendered = rendered.take(batch) if rendered else ()
            cells: list[Sequence[bytes | None]] = [
                _header_cells(item, headers[item].take(batch))
                if isinstance(item, FetchBody)
                else self._cells(item, batch, batch_facts, batch_rendered)
                for item in items
            ]
            yield from self._join(numbers, batch, cells)

    def _header_column(self, item: FetchBody, uids: Sequence[Uid]) -> _Column[tuple[Uid, bytes]]:
        mail, mailbox, fields = self._mail, self._view.mailbox, item.section.fields
        return _Column(lambda some: mail.header_fields(mailbox.id, some, fields), lambda row: row[0], uids)

    def _cells(
        self,
        item: FetchFact,
        uids: Sequence[Uid],
        facts: Sequence[Facts | None],
        rendered: Sequence[Rendered | None],
    ) -> Sequence[bytes | None]:
        """One item for a batch; None for messages that are gone."""
        match item:
            case FetchFact.UID:
                return [b"UID %d" % uid for uid in uids]
            case FetchFact.FLAGS:
                texts = self._view.texts
                masks = self._of_arrays(self._view.mailbox.flags, uids)
                return [None if mask is None else f"FLAGS ({texts[mask]})".encode("latin-1", "replace") for mask in masks]
            case FetchFact.MODSEQ:
                modseqs = self._of_arrays(self._view.mailbox.modseqs, uids)
                return [None if modseq is None else b"MODSEQ (%d)" % modseq for modseq in modseqs]
            case FetchFact.SIZE:
                return [b"RFC822.SIZE %d" % fact.size if fact else None for fact in facts]
            case FetchFact.INTERNALDATE:
                return [b"INTERNALDATE " + render_date_time(fact.internal_date) if fact else None for fact in facts]
            case FetchFact.SAVEDATE:
                return [b"SAVEDATE " + render_date_time(fact.save_date) if fact else None for fact in facts]
            case FetchFact.EMAILID:
                return [b"EMAILID (%b)" % fact.email_id.encode("ascii") if fact else None for fact in facts]
            case FetchFact.THREADID:
                return [b"THREADID (%b)" % fact.thread_id.encode("ascii") if fact else None for fact in facts]
            case FetchFact.ENVELOPE:
                if FetchFact.BODYSTRUCTURE in self._plan.light:
                    return [row and row[1] for row in rendered]  # both, exactly as they lie there
                return [row and row[1][: row[2]] for row in rendered]
            case FetchFact.BODYSTRUCTURE:
                if FetchFact.ENVELOPE in self._plan.light:
                    return [row and b"" for row in rendered]  # told with ENVELOPE
                return [row and row[1][row[2] + 1 :] for row in rendered]
            case _:
                raise AssertionError(f"{item} has no column")

    def _of_arrays(self, array: Sequence[int], uids: Sequence[Uid]) -> Sequence[int | None]:
        view = self._view
        first = view.place(uids[0])
        mailbox_uids = view.mailbox.uids
        if first >= 0 and first + len(uids) <= len(mailbox_uids) and mailbox_uids[first + len(uids) - 1] == uids[-1]:
            return array[first : first + len(uids)]
        return [array[place] if place >= 0 else None for place in map(view.place, uids)]

    def _join(self, numbers: list[int], uids: Sequence[Uid], cells: list[Sequence[bytes | None]]) -> Iterator[bytes]:
        rows: Iterable[tuple[bytes | None, ...]] = zip(*cells, strict=True) if cells else ((),) * len(numbers)
        if not self._plan.heavy:
            lines = []
            for number, row in zip(numbers, rows, strict=True):
                if None in row:
                    self.missing += 1
                else:
                    lines.append(b"* %d FETCH (%b)\r\n" % (number, b" ".join(filter(None, row))))
            yield b"".join(lines)
            return
        for number, uid, row in zip(numbers, uids, rows, strict=True):
            if None in row:
                self.missing += 1
            else:
                yield from self._message(b"* %d FETCH (%b" % (number, b" ".join(filter(None, row))), uid)

    # -- octets

    def _message(self, line: bytes, uid: Uid) -> Iterator[bytes]:
        """A message's row, begun in `line`, with the items for which it must be read."""
        try:
            with self._mail.read_message(self._view.mailbox.id, uid) as reader:
                yield from self._read_items(line, uid, reader)
        except NotFound:
            self.missing += 1
        except Unavailable:
            self.damaged += 1
        except UnknownEncoding:
            self.undecodable += 1

    def _read_items(self, line: bytes, uid: Uid, reader: MessageReader) -> Iterator[bytes]:
        """Raise Unavailable or UnknownEncoding as long as nothing was given out; BrokenAnswer afterwards."""
        size = reader.size
        whole = reader.read() if size <= _SMALL else None
        root: Part | None = None
        if self._plan.structure:
            for root in self._structure(uid, reader, whole):  # noqa: B007  # its last value is the tree
                yield b""
            assert root is not None
            check_encodings(root, self._plan.heavy)
        header_size = -1
        begun = False
        try:
            for item in self._plan.heavy:
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

    def _structure(self, uid: Uid, reader: MessageReader, whole: bytes | None) -> Iterator[Part | None]:
        """The tree of parts, at last; None between the pieces of work that finding it takes."""
        known = self._view.structure
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
        self._view.structure = uid, root
        yield root


def _is_heavy(item: FetchItem) -> bool:
    """Whether the message must be read for it."""
    if isinstance(item, FetchBody):
        return bool(item.section.part) or item.section.text is not SectionText.HEADER_FIELDS
    return item is FetchFact.BODY or not isinstance(item, FetchFact)


def _needs_structure(item: FetchItem) -> bool:
    if isinstance(item, FetchBody):
        return needs_structure(item.section)
    return item is FetchFact.BODY or isinstance(item, FetchBinary | FetchBinarySize)


def _header_cells(item: FetchBody, rows: list[tuple[Uid, bytes] | None]) -> list[bytes | None]:
    if item.partial is not None:
        rows = [row and (row[0], cut_octets(row[1], item.partial)) for row in rows]
    label = item.label
    return [row and b"%b {%d}\r\n%b" % (label, len(row[1]), row[1]) for row in rows]


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
