"""DELETE (RFC 9051 section 6.3.5)."""

from ..names import fold_inbox
from ..session import Session
from ..steps import Steps, work
from ..values import Delete


def handle_delete(session: Session, args: Delete) -> Steps:
    """Delete it with its messages; children stay. What this session has selected is closed first."""
    name = fold_inbox(args.mailbox)
    info = session.mail.find(name)
    yield from work(session.mail.delete, name)
    if session.view is not None and session.view.mailbox.id == info.id:
        session.deselect()
        yield b"* OK [CLOSED] The mailbox is deleted\r\n"
    return b"OK DELETE completed"
