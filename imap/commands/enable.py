"""ENABLE (RFC 9051 section 6.3.1, RFC 5161; RFC 6855 section 3, RFC 7162 section 3.2.3)."""

from ..session import Session, Upgrade
from ..steps import Steps
from ..values import Enable

CAN_BE_ENABLED = ("CONDSTORE", "QRESYNC", "UTF8=ACCEPT")
"""Of what we advertise. What is not here is passed over in silence, as the RFC wants."""


def handle_enable(session: Session, args: Enable) -> Steps:
    """Enable what we know of what is asked for, and tell what is new."""
    new = [name for name in CAN_BE_ENABLED if name in args.capabilities and name not in session.enabled]
    told = b""
    if "CONDSTORE" in new or "QRESYNC" in new:  # QRESYNC brings CONDSTORE along (RFC 7162 section 3.2.3)
        told = session.enable_condstore()
    session.enabled |= frozenset(new)
    if "UTF8=ACCEPT" in new:
        session.upgrade = Upgrade.UTF8
    yield ("* ENABLED " + " ".join(new)).rstrip().encode("ascii") + b"\r\n" + told
    return b"OK ENABLE completed"
