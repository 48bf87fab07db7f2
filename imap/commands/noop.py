"""NOOP and CHECK (RFC 9051 section 6.1.2, RFC 3501 section 6.4.1): nothing but an occasion to tell news."""

from ..session import Session
from ..steps import Steps
from ..values import Check, Noop


def handle_noop(session: Session, args: Noop) -> Steps:
    """Do nothing; the frame tells what is new."""
    yield from ()
    return b"OK NOOP completed"


def handle_check(session: Session, args: Check) -> Steps:
    """Do nothing: whatever was answered is on disk already."""
    yield from ()
    return b"OK CHECK completed"
