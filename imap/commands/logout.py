"""LOGOUT (RFC 9051 section 6.1.3)."""

from ..session import Session, Trigger
from ..steps import Steps
from ..values import Logout


def handle_logout(session: Session, args: Logout) -> Steps:
    """Say BYE, then OK; the connection closes behind it. \\Deleted messages stay (unlike CLOSE)."""
    session.move(Trigger.ENDED)
    yield b"* BYE Logging out\r\n"
    return b"OK LOGOUT completed"
