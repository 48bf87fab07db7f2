"""CAPABILITY (RFC 9051 section 6.1.1)."""

from ..capabilities import capability_text
from ..session import Session
from ..steps import Steps
from ..values import Capability


def handle_capability(session: Session, args: Capability) -> Steps:
    """Tell what this session may use now."""
    yield b"* " + capability_text(session) + b"\r\n"
    return b"OK CAPABILITY completed"
