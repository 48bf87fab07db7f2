"""STATUS (RFC 9051 section 6.3.11; RFC 7162 section 3.1.7, RFC 7889, RFC 8438, RFC 8474 section 4.3)."""

from ...storage.api import MailboxInfo, MailboxStatus
from ..encode import render_mailbox
from ..session import Session
from ..steps import Steps
from ..values import Status, StatusItem


def handle_status(session: Session, args: Status) -> Steps:
    """Tell counters of one mailbox."""
    info = session.mail.find(args.mailbox)
    if StatusItem.HIGHESTMODSEQ in args.items:
        yield session.enable_condstore()
    for status in session.mail.status([info.id]):
        yield render_status(session, info, status, args.items)
    return b"OK STATUS completed"


def render_status(session: Session, info: MailboxInfo, status: MailboxStatus, items: tuple[StatusItem, ...]) -> bytes:
    """An untagged STATUS response."""
    parts = [b"%s %s" % (item.value.encode("ascii"), _value(session, info, status, item)) for item in dict.fromkeys(items)]
    return b"* STATUS " + render_mailbox(info.name, utf8=session.utf8) + b" (" + b" ".join(parts) + b")\r\n"


def _value(session: Session, info: MailboxInfo, status: MailboxStatus, item: StatusItem) -> bytes:
    match item:
        case StatusItem.MESSAGES:
            number: int = status.messages
        case StatusItem.RECENT:
            number = 0  # no message is ever \Recent here (RFC 9051 dropped it)
        case StatusItem.UIDNEXT:
            number = status.uidnext
        case StatusItem.UIDVALIDITY:
            number = status.uidvalidity
        case StatusItem.UNSEEN:
            number = status.unseen
        case StatusItem.DELETED:
            number = status.deleted
        case StatusItem.SIZE:
            number = status.size
        case StatusItem.HIGHESTMODSEQ:
            number = status.highestmodseq
        case StatusItem.APPENDLIMIT:
            number = session.site.settings.append_limit
        case StatusItem.MAILBOXID:
            return b"(" + info.object_id.encode("ascii") + b")"
    return b"%d" % number
