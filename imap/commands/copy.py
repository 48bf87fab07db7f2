"""COPY and MOVE with their UID forms (RFC 9051 sections 6.4.7 and 6.4.8, RFC 4315 section 3, RFC 6851).

Owns arguments and answers of both. Never touches files: the store copies.
"""

from ...storage.api import Copied, MailboxId, NotFound, Uid
from ..answers import EXPUNGED, TRY_CREATE
from ..encode import render_set
from ..sequence import SequenceSet, flatten
from ..session import Session
from ..steps import Steps, work
from ..values import Copy, Move
from .expunge import READ_ONLY


def handle_copy(session: Session, args: Copy) -> Steps:
    """Copy, all or none."""
    uids = _uids(session, args.set, uid=args.uid)
    if uids is None:
        return EXPUNGED
    target = _target(session, args.mailbox)
    if target is None:
        return TRY_CREATE
    if not uids:
        return b"OK COPY completed: nothing to copy"
    try:
        copied = yield from work(session.mail.copy, session.selected.mailbox.id, uids, target)
    except NotFound:
        return TRY_CREATE
    return b"OK " + _copyuid(copied) + b"COPY completed"


def handle_move(session: Session, args: Move) -> Steps:
    """Move, all or none: COPYUID is told before the EXPUNGEs (RFC 6851 section 4.3)."""
    view = session.selected
    if view.read_only:
        return READ_ONLY
    uids = _uids(session, args.set, uid=args.uid)
    if uids is None:
        return EXPUNGED
    target = _target(session, args.mailbox)
    if target is None:
        return TRY_CREATE
    if not uids:
        return b"OK MOVE completed: nothing to move"
    if target == view.mailbox.id:
        return b"NO [CANNOT] The messages are there already"
    try:
        moved = yield from work(session.mail.move, view.mailbox.id, uids, target)
    except NotFound:
        return TRY_CREATE
    if moved.source:
        yield b"* OK " + _copyuid(moved) + b"Moved\r\n"
    view.mailbox.refresh()
    yield from session.tell(may_expunge=True, uid=args.uid)
    if session.condstore:
        return b"OK [HIGHESTMODSEQ %d] MOVE completed" % view.mailbox.highestmodseq
    return b"OK MOVE completed"


def _uids(session: Session, numbers: SequenceSet, *, uid: bool) -> list[Uid] | None:
    """The UIDs named; None when a message number stands for a message that is gone (RFC 2180 section 4.4.2: none is copied)."""
    view = session.selected
    uids = [Uid(view.uids[place]) for place in flatten(session.positions(numbers, uid=uid))]
    if view.is_current:
        return uids
    there = [number for number in uids if view.place(number) >= 0]
    return there if uid or len(there) == len(uids) else None


def _target(session: Session, name: str) -> MailboxId | None:
    try:
        return session.mail.find(name).id
    except NotFound:
        return None


def _copyuid(copied: Copied) -> bytes:
    """`[COPYUID ...] `, or nothing when nothing was copied."""
    if not copied.source:
        return b""
    return b"[COPYUID %d %b %b] " % (copied.uidvalidity, render_set(copied.source), render_set(copied.destination))
