"""EXPUNGE and UID EXPUNGE (RFC 9051 section 6.4.3, RFC 4315 section 2.1)."""

from ...storage.api import Uid
from ..sequence import flatten
from ..session import Session
from ..steps import Steps, work
from ..values import Expunge

READ_ONLY = b"NO [CANNOT] The mailbox is selected read-only"


def handle_expunge(session: Session, args: Expunge) -> Steps:
    """Remove what is marked \\Deleted, among `uids` if given; the frame tells which."""
    view = session.selected
    if view.read_only:
        return READ_ONLY
    uids = None
    if args.uids is not None:
        uids = [Uid(view.uids[place]) for place in flatten(session.positions(args.uids, uid=True))]
    yield from work(session.mail.expunge, view.mailbox.id, uids)
    view.mailbox.refresh()
    if session.condstore:
        return b"OK [HIGHESTMODSEQ %d] EXPUNGE completed" % view.mailbox.highestmodseq
    return b"OK EXPUNGE completed"
