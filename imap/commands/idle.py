"""IDLE (RFC 9051 section 6.3.13, RFC 2177)."""

from ..session import Session, State
from ..steps import Steps, done_or_news
from ..values import Idle


def handle_idle(session: Session, args: Idle) -> Steps:
    """Tell the selected mailbox's news as they come, until DONE. EXPUNGE may be told at any moment of it."""
    yield b"+ idling\r\n"
    view = session.view
    if view is not None:
        view.mailbox.refresh()
    while session.state is not State.LOGOUT:
        if view is not None:
            yield from session.tell(may_expunge=True)
            if view.mailbox.deleted:
                break  # the frame says farewell
        if (yield from done_or_news()) is not None:
            break
    return b"OK IDLE completed"
