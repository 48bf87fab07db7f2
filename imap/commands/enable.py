"""ENABLE (RFC 9051 section 6.3.1, RFC 5161)."""

from ..session import Session
from ..steps import Steps
from ..values import Enable

CAN_BE_ENABLED = ("CONDSTORE",)
"""Of what we advertise. What is not here is passed over in silence, as the RFC wants."""


def handle_enable(session: Session, args: Enable) -> Steps:
    """Enable what we know of what is asked for, and tell what is new."""
    before = session.enabled
    told = b""
    if "CONDSTORE" in args.capabilities:
        told = session.enable_condstore()
    new = [name for name in CAN_BE_ENABLED if name in session.enabled and name not in before]
    yield ("* ENABLED " + " ".join(new)).rstrip().encode("ascii") + b"\r\n" + told
    return b"OK ENABLE completed"
