"""STORE and UID STORE (RFC 9051 section 6.4.6, RFC 7162 section 3.1.3).

Owns what the client is told of its own change: FETCH lines unless .SILENT, MODSEQ with CONDSTORE, MODIFIED for those that
UNCHANGEDSINCE held back. The frame then tells what others changed meanwhile.
"""

from collections.abc import Generator, Mapping, Sequence
from typing import Any

from ...storage.api import FIRST_KEYWORD_BIT, SYSTEM_FLAGS, FlagOp, Flags, ModSeq, OpenMailbox, Stored, Uid
from ..answers import EXPUNGED
from ..encode import render_set
from ..session import Session
from ..steps import Step, Steps, brief_work, work
from ..values import Store
from ..view import View
from .expunge import READ_ONLY

_BRIEF = 32  # messages whose flags are changed in little more than the flush takes


def change_flags(
    session: Session,
    mailbox: OpenMailbox,
    uids: Sequence[Uid],
    op: FlagOp,
    flags: Flags,
    *,
    unchanged_since: ModSeq | None = None,
) -> Generator[Step, Any, Stored]:
    """Change flags in one transaction, on the loop where they are few and the disk is quick, and have the view see it."""
    run = brief_work if len(uids) <= _BRIEF else work
    stored = yield from run(session.mail.store_flags, mailbox.id, uids, op, flags, unchanged_since=unchanged_since)
    mailbox.refresh(stored)
    return stored


def handle_store(session: Session, args: Store) -> Steps:
    """Change flags in one transaction and answer for it."""
    view = session.selected
    if view.read_only:
        return READ_ONLY
    since = None if args.unchanged_since is None else ModSeq(args.unchanged_since)
    if since is not None:
        yield session.enable_condstore()
    mailbox = view.mailbox
    positions = session.positions(args.set, uid=args.uid)
    uids = view.uids_at(positions)
    if not uids:
        return b"OK STORE completed: nothing to change"
    if not args.uid:  # else the frame has just done so
        mailbox.refresh()
        yield from session.tell(may_expunge=False)
    before = _masks(view, uids) if args.silent else {}
    # Their FLAGS came in this command, without its change: a client cannot tell, so it hears of them once more.
    stale = view.told_in_this_command(uids) if args.silent else set()
    as_of = mailbox.highestmodseq
    stored = yield from change_flags(session, mailbox, uids, args.op, args.flags, unchanged_since=since)
    yield view.new_keywords()
    alone = mailbox.highestmodseq == stored.modseq and stored.modseq <= as_of + 1
    if args.silent:
        answered = yield from _answer_silently(session, args, stored, before, alone=alone)
        for uid in stale:
            answered.pop(uid, None)
    else:
        held = set(stored.failed)
        told = [uid for uid in uids if uid not in held] if held else uids
        answered = dict.fromkeys(told, mailbox.highestmodseq)
        yield from view.fetch_lines(told, uid=args.uid, modseq=session.condstore)
    yield from session.tell(may_expunge=False, uid=args.uid, answered=answered)
    if not args.uid and not view.is_current and any(view.place(uid) < 0 for uid in uids):
        return EXPUNGED
    if stored.failed:
        return b"OK [MODIFIED %b] Conditional STORE failed for some" % _named(view, stored, uid=args.uid)
    return b"OK STORE completed"


def _answer_silently(
    session: Session, args: Store, stored: Stored, before: Mapping[Uid, int], *, alone: bool
) -> Generator[Step, Any, dict[Uid, int]]:
    """What .SILENT still tells: MODSEQ. Returns the UIDs that the client need not hear of."""
    view = session.selected
    if session.condstore:
        yield from view.fetch_lines(stored.changed, uid=True, modseq=True, flags=False)
    if alone:  # nobody else changed anything in between
        return dict.fromkeys(stored.changed, int(stored.modseq))
    wanted = {uid: _changed_mask(view.mailbox, before[uid], args.op, args.flags) for uid in stored.changed if uid in before}
    return {uid: int(stored.modseq) for uid, mask in wanted.items() if view.flags_of(uid) == mask}


def _masks(view: View, uids: list[Uid]) -> dict[Uid, int]:
    if view.is_current and len(uids) == len(view.uids):
        return dict(zip(uids, view.mailbox.flags, strict=True))
    return {uid: view.flags_of(uid) for uid in uids}


def _changed_mask(mailbox: OpenMailbox, mask: int, op: FlagOp, flags: Flags) -> int:
    """The mask that the client expects after its STORE."""
    bits = {name.lower(): 1 << bit for bit, name in enumerate(mailbox.keywords, FIRST_KEYWORD_BIT)}
    named = sum(SYSTEM_FLAGS[name] if name in SYSTEM_FLAGS else bits.get(name.lower(), 0) for name in flags)
    match op:
        case FlagOp.ADD:
            return mask | named
        case FlagOp.REMOVE:
            return mask & ~named
        case FlagOp.REPLACE:
            return named


def _named(view: View, stored: Stored, *, uid: bool) -> bytes:
    """Those held back, as the client names messages in this command."""
    if uid:
        return render_set(stored.failed)
    return render_set([place + 1 for place in map(view.position, stored.failed) if place >= 0])
