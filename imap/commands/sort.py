"""SORT and THREAD with their UID forms (RFC 5256; RFC 5957; RFC 7162 section 3.1.5 for MODSEQ).

Owns arguments and answers: first a search, then an order of what it found. How things are compared stands in imap/sort.py
and imap/thread.py, what is remembered in imap/kept.py: when nothing changed, to sort again is to tell numbers in an order.
"""

from collections.abc import Generator, Mapping, Sequence
from functools import partial
from typing import Any

from ..kept import Table, extend
from ..search import asks_modseq
from ..session import Session
from ..sort import Key, ThreadKey, read_columns, sort, unique_criteria
from ..steps import Step, Steps, work
from ..thread import Threaded, render_threads, thread_by_references, thread_by_subject
from ..values import Sort, SortKey, Thread
from .search import MailboxSources, find_messages

_LINE_NUMBERS = 16_384  # numbers a piece of the answer has
_INLINE = 1_000  # messages sorted on the loop itself; more go to a thread
_FEW = 4  # of a mailbox of which less than one in so many is asked for, only these are read

_ALGORITHMS = {"REFERENCES": thread_by_references, "ORDEREDSUBJECT": thread_by_subject}
_NAMES: Mapping[str, frozenset[Key]] = {
    "REFERENCES": frozenset(
        {SortKey.DATE, SortKey.SUBJECT, ThreadKey.REPLY, ThreadKey.MESSAGE_ID, ThreadKey.REFERENCES},
    ),
    "ORDEREDSUBJECT": frozenset({SortKey.DATE, SortKey.SUBJECT}),
}


def handle_sort(session: Session, args: Sort) -> Steps:
    """Search, then sort."""
    if args.returns is not None:
        return b"BAD SORT takes no RETURN here"
    with_modseq = asks_modseq(args.key)
    found = yield from find_messages(session, args.key, args.charset)
    if isinstance(found, bytes):
        return found
    uids = found.uids
    numbers = uids if args.uid else found.numbers
    criteria = unique_criteria(args.criteria)
    table, places = yield from _known(session, frozenset[Key](key for key, _ in criteria), uids)
    kept = session.selected.kept
    begun = kept.order(criteria) if table is kept.table and isinstance(places, range) else ()
    order: Sequence[int] = begun
    if len(begun) != len(places):
        put_in_order = partial(sort, table.columns, places, criteria, begun)
        sorted_places = put_in_order() if len(places) <= _INLINE else (yield from work(put_in_order))
        if isinstance(places, range):
            kept.keep_order(table, criteria, sorted_places)
            order = sorted_places
        else:
            index = {place: at for at, place in enumerate(places)}
            order = [index[place] for place in sorted_places]
    yield b"* SORT"
    for begin in range(0, len(order), _LINE_NUMBERS):
        yield "".join([f" {numbers[place]}" for place in order[begin : begin + _LINE_NUMBERS]]).encode("ascii")
    if with_modseq and found.modseq:
        yield b" (MODSEQ %d)" % found.modseq
    yield b"\r\n"
    return b"OK SORT completed"


def handle_thread(session: Session, args: Thread) -> Steps:
    """Search, then thread."""
    if args.algorithm not in _ALGORITHMS:
        return b"BAD No such threading algorithm"
    found = yield from find_messages(session, args.key, args.charset)
    if isinstance(found, bytes):
        return found
    uids = found.uids
    numbers = uids if args.uid else found.numbers
    table, places = yield from _known(session, _NAMES[args.algorithm], uids)
    kept = session.selected.kept
    whole = table is kept.table and isinstance(places, range) and (args.uid or numbers == range(1, len(uids) + 1))
    text = kept.text((args.algorithm, args.uid)) if whole else None
    if text is None:
        text = yield from work(_threads, args.algorithm, table, places, numbers)
        if whole:
            kept.keep_text(table, (args.algorithm, args.uid), text)
    yield b"* THREAD " if numbers else b"* THREAD"
    yield from text
    yield b"\r\n"
    return b"OK THREAD completed"


def _known(session: Session, keys: frozenset[Key], uids: Sequence[int]) -> Generator[Step, Any, tuple[Table, Sequence[int]]]:
    """A table with these columns, and where these messages stand in it; what is not known yet is read in a thread."""
    view = session.selected
    kept, mailbox = view.kept, view.mailbox
    table = kept.table
    if not uids:
        return Table(columns=dict.fromkeys(keys, ())), ()
    # Of all messages, a table that still has some that went would give no order that can be kept.
    stale = table.uidvalidity != mailbox.uidvalidity or len(uids) == len(mailbox.uids) != len(table.uids)
    if not stale and keys <= table.columns.keys():
        places = table.places(uids)
        if places is not None:
            return table, places
    read = partial(read_columns, sources=MailboxSources(session.mail, mailbox.id))
    if len(uids) * _FEW >= len(mailbox.uids) or keys <= table.columns.keys():
        table, complete = yield from work(extend, table, mailbox.uidvalidity, mailbox.uids[:], keys, read)
        if complete:
            kept.take(table)
        places = table.places(uids)
        if places is not None:
            return table, places
    # A few of many, or some that have gone meanwhile.
    columns, _ = yield from work(read, uids, keys)
    return Table(columns=columns), list(range(len(uids)))


def _threads(algorithm: str, table: Table, places: Sequence[int], numbers: Sequence[int]) -> list[bytes]:
    """The answer's text, in pieces."""
    columns = table.columns
    names = [SortKey.DATE, SortKey.SUBJECT, ThreadKey.REPLY, ThreadKey.MESSAGE_ID, ThreadKey.REFERENCES]
    chosen = [columns[name] for name in names if name in _NAMES[algorithm]]
    if not isinstance(places, range):
        chosen = [[column[place] for place in places] for column in chosen]
    messages = list(map(Threaded, *chosen))
    return list(render_threads(_ALGORITHMS[algorithm](messages), numbers))
