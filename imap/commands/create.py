"""CREATE (RFC 9051 section 6.3.4, RFC 6154 section 3 for USE, RFC 8474 section 4.2 for MAILBOXID)."""

from ..names import fold_inbox
from ..session import Session
from ..steps import Steps, work
from ..values import Create

SPECIAL_USES = frozenset({"\\Archive", "\\Drafts", "\\Flagged", "\\Junk", "\\Sent", "\\Trash", "\\Important"})
NOT_KEPT = frozenset({"\\All", "\\Flagged", "\\Important"})  # these would need a virtual mailbox (RFC 6154 section 2)


def handle_create(session: Session, args: Create) -> Steps:
    """Create it with the parents it lacks."""
    if args.special_use & NOT_KEPT or args.special_use - SPECIAL_USES:
        return b"NO [USEATTR] No mailbox of that use here"
    info = yield from work(session.mail.create, fold_inbox(args.mailbox), special_use=args.special_use)
    return b"OK [MAILBOXID (%s)] CREATE completed" % info.object_id.encode("ascii")
