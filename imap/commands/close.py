"""CLOSE and UNSELECT (RFC 9051 sections 6.4.1 and 6.4.2)."""

from ..session import Session
from ..steps import Steps, work
from ..values import Close, Unselect


def handle_close(session: Session, args: Close) -> Steps:
    """Remove what is marked \\Deleted without telling, unless read-only, and leave the mailbox."""
    view = session.selected
    if not view.read_only:
        yield from work(session.mail.expunge, view.mailbox.id)
    session.deselect()
    return b"OK CLOSE completed"


def handle_unselect(session: Session, args: Unselect) -> Steps:
    """Leave the mailbox as it is."""
    yield from ()
    session.deselect()
    return b"OK UNSELECT completed"
