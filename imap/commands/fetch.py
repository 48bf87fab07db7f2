"""FETCH and UID FETCH (RFC 9051 section 6.4.5, RFC 7162 section 3.1.4).

Owns what a FETCH sets in motion beside its answers: \\Seen, the CONDSTORE enabling, which messages CHANGEDSINCE leaves.
The answers themselves are imap/fetch.py's.
"""

from collections.abc import Generator
from typing import Any

from ...storage.api import SEEN, FlagOp, ModSeq, Uid
from ..answers import EXPUNGED
from ..fetch import Fetch, changed_positions, cut_positions
from ..resync import vanished_earlier
from ..session import Session
from ..steps import Step, Steps
from ..values import Fetch as FetchArguments
from ..values import FetchBinary, FetchBody, FetchFact, FetchItem
from .store import change_flags

_SEEN = frozenset({"\\Seen"})
_DAMAGED = b"NO [UNAVAILABLE] Some messages cannot be read now"

_UNDECODABLE = b"NO [UNKNOWN-CTE] Some parts have an encoding that is not known here"  # RFC 3516 section 4.3


def handle_fetch(session: Session, args: FetchArguments) -> Steps:
    """Send what is asked for."""
    view = session.selected
    items: tuple[FetchItem, ...] = args.items
    if args.vanished and not session.qresync:
        return b"BAD QRESYNC is not enabled"
    positions = session.positions(args.set, uid=args.uid)
    if args.changed_since is not None:
        if FetchFact.MODSEQ not in items:
            items = (*items, FetchFact.MODSEQ)
        changed = view.mailbox.changed_since(ModSeq(args.changed_since))
        positions = changed_positions(view, positions, args.changed_since, changed)
    if FetchFact.MODSEQ in items:
        yield session.enable_condstore()
    if args.vanished and args.changed_since is not None:
        yield from vanished_earlier(session.mail, view, args.changed_since, args.set)
    fetch = Fetch(session.mail, view, items, uid=args.uid)
    if not positions:
        return b"OK FETCH completed"
    yield view.new_keywords()
    if not view.read_only and any(isinstance(item, FetchBody | FetchBinary) and not item.peek for item in items):
        fetch = yield from _fetch_and_mark(session, items, positions, uid=args.uid)
    else:
        yield from fetch.answers(positions)
    if fetch.damaged:
        return _DAMAGED
    if fetch.undecodable:
        return _UNDECODABLE
    if fetch.missing and not args.uid:
        return EXPUNGED
    return b"OK FETCH completed"


def _fetch_and_mark(
    session: Session, items: tuple[FetchItem, ...], positions: list[range], *, uid: bool
) -> Generator[Step, Any, Fetch]:
    """Mark as \\Seen, then send, some hundred messages at a time: FLAGS stand in the answers of those that changed.

    One transaction for each of these groups, and a client that leaves half-way has not everything marked that it never got.
    """
    view = session.selected
    plain = Fetch(session.mail, view, items, uid=uid)
    # RFC 7162 section 3.2.4: with CONDSTORE, UID and MODSEQ stand in every FETCH that tells FLAGS unasked.
    extra = [FetchFact.FLAGS, *[FetchFact.UID, FetchFact.MODSEQ][: 2 * session.condstore]]
    marked = Fetch(session.mail, view, (*items, *(item for item in extra if item not in items)), uid=uid)
    answered: dict[Uid, int] = {}
    for group in cut_positions(positions, session.site.settings.uid_batch):
        uids = view.uids_at(group)
        unseen = [number for number in uids if not view.flags_of(number) & SEEN]
        fetch = plain
        if unseen:
            stored = yield from change_flags(session, view.mailbox, unseen, FlagOp.ADD, _SEEN)
            answered.update(dict.fromkeys(stored.changed, int(stored.modseq)))
            fetch = marked
        yield from fetch.answers(group)
    yield from session.tell(may_expunge=False, uid=uid, answered=answered)
    plain.missing += marked.missing
    plain.damaged += marked.damaged
    plain.undecodable += marked.undecodable
    return plain
