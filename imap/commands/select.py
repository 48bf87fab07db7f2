"""SELECT and EXAMINE (RFC 9051 sections 6.3.2 and 6.3.3, RFC 7162 sections 3.1.8 and 3.2.5)."""

from ..resync import resync
from ..session import Session
from ..steps import Steps, work
from ..values import Select


def handle_select(session: Session, args: Select) -> Steps:
    """Open the mailbox and tell all about it. When that fails, nothing is selected (RFC 9051 section 6.3.2)."""
    if args.qresync is not None and not session.qresync:
        return b"BAD QRESYNC is not enabled"
    if session.view is not None:
        session.deselect()
        yield b"* OK [CLOSED] Previous mailbox closed\r\n"
    mail = session.mail
    info = mail.find(args.mailbox)
    if mail.is_warm(info.id):
        view = session.site.selections.open(session, info.id, read_only=args.read_only)
    else:
        # Held open while the session opens it again, which is short then.
        warm = yield from work(mail.open, info.id)
        try:
            view = session.site.selections.open(session, info.id, read_only=args.read_only)
        finally:
            warm.close()
    session.select(view)
    if args.condstore:
        session.enabled |= {"CONDSTORE"}
    mailbox = view.mailbox
    unseen = next((status.unseen for status in mail.status([info.id])), 0)
    first = view.first_unseen() if unseen else 0
    lines = [
        view.flags_lines(),
        b"* %d EXISTS\r\n* 0 RECENT\r\n" % view.count,
        b"* OK [UNSEEN %d] First unseen\r\n" % first if first else b"",
        b"* OK [UIDVALIDITY %d] UIDs valid\r\n" % mailbox.uidvalidity,
        b"* OK [UIDNEXT %d] Predicted next UID\r\n" % mailbox.uidnext,
        b"* OK [HIGHESTMODSEQ %d] Highest\r\n" % mailbox.highestmodseq,
        b"* OK [MAILBOXID (%s)] Ok\r\n" % info.object_id.encode("ascii"),
    ]
    yield b"".join(lines)
    if args.qresync is not None:
        yield from resync(mail, view, args.qresync)
    if args.read_only:
        return b"OK [READ-ONLY] EXAMINE completed"
    return b"OK [READ-WRITE] SELECT completed"
