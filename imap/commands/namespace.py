"""NAMESPACE (RFC 9051 section 6.3.10, RFC 2342): one personal namespace without a prefix."""

from ...storage.api import DELIMITER
from ..session import Session
from ..steps import Steps
from ..values import Namespace


def handle_namespace(session: Session, args: Namespace) -> Steps:
    """Tell it; nobody else's mailboxes and no shared ones yet."""
    yield b'* NAMESPACE (("" "%s")) NIL NIL\r\n' % DELIMITER.encode("ascii")
    return b"OK NAMESPACE completed"
