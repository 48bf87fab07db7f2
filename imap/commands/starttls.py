"""STARTTLS (RFC 9051 section 6.2.1).

The handshake itself is the connection's, after the answer: it throws away whatever came in the clear behind the command.
"""

from ..session import Session, Upgrade
from ..steps import Steps
from ..values import StartTls


def handle_starttls(session: Session, args: StartTls) -> Steps:
    """Agree, unless there is TLS already or no certificate."""
    yield from ()
    if session.tls:
        return b"BAD TLS is on already"
    if not session.site.starttls:
        return b"NO [UNAVAILABLE] No TLS here"
    session.upgrade = Upgrade.TLS
    return b"OK Begin TLS negotiation now"
