"""SORT and THREAD with their UID forms (RFC 5256; RFC 5957; RFC 7162 section 3.1.5 for MODSEQ).

Owns arguments and answers: first a search, then an order of what it found. How things are compared stands in imap/sort.py
and imap/thread.py.
"""

from collections.abc import Iterator, Sequence
from functools import partial

from ...storage.api import Facts, Uid
from ..search import asks_modseq
from ..session import Session
from ..sort import Sources, read_headers, sent_date, sort
from ..steps import Steps, work
from ..subject import base_subject, collation
from ..thread import (
    Threaded,
    find_message_id,
    find_references,
    render_threads,
    thread_by_references,
    thread_by_subject,
)
from ..values import Sort, Thread
from .search import MailboxSources, find_messages

_LINE_NUMBERS = 16_384  # numbers a piece of the answer has

_ALGORITHMS = {"REFERENCES": thread_by_references, "ORDEREDSUBJECT": thread_by_subject}
_NAMES = {
    "REFERENCES": (b"date", b"in-reply-to", b"message-id", b"references", b"subject"),
    "ORDEREDSUBJECT": (b"date", b"subject"),
}


def handle_sort(session: Session, args: Sort) -> Steps:
    """Search, then sort."""
    if args.returns is not None:
        return b"BAD SORT takes no RETURN here"
    with_modseq = asks_modseq(args.key)
    found = yield from find_messages(session, args.key, args.charset)
    if isinstance(found, bytes):
        return found
    sources = MailboxSources(session.mail, session.selected.mailbox.id)
    order = yield from work(sort, found.uids, args.criteria, sources)
    numbers = found.uids if args.uid else found.numbers
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
    sources = MailboxSources(session.mail, session.selected.mailbox.id)
    numbers = found.uids if args.uid else found.numbers
    text = yield from work(partial(_threads, args.algorithm, found.uids, numbers, sources))
    yield b"* THREAD " if numbers else b"* THREAD"
    yield from text
    yield b"\r\n"
    return b"OK THREAD completed"


def _threads(algorithm: str, uids: Sequence[int], numbers: Sequence[int], sources: Sources) -> list[bytes]:
    """The answer's text, in pieces. In a thread: reads the index for every message."""
    messages = list(_messages(algorithm, uids, sources))
    return list(render_threads(_ALGORITHMS[algorithm](messages), numbers))


def _messages(algorithm: str, uids: Sequence[int], sources: Sources) -> Iterator[Threaded]:
    wanted = [Uid(uid) for uid in uids]
    headers = read_headers(sources, wanted, _NAMES[algorithm])
    facts = {about.uid: about for about in sources.facts(wanted)}
    gone = Facts(Uid(0), 0, 0, 0, "", "")
    for uid in wanted:
        header = headers.get(uid, {})
        subject, reply = base_subject(header.get(b"subject", b""))
        yield Threaded(
            sent_date(header, facts.get(uid, gone)),
            collation(subject),
            reply,
            find_message_id(header.get(b"message-id", b"")),
            find_references(header.get(b"references", b""), header.get(b"in-reply-to", b"")),
        )
