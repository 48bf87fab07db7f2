"""`preau totp`: the second factor.

Owns how it is shown: once, as URI, QR code and recovery codes. Never keeps any of them.
"""

import io
from collections.abc import Sequence

import segno

from .administration import open_administration
from .invocation import Invocation, Verbs


def add_verbs(verbs: Verbs) -> None:
    """Add `totp`."""
    group = verbs.group("totp", "the second factor of an account", examples="  preau totp add marie.durand@ecole.example\n")
    group.add("add", run_add, "make a second factor and show it once").add_argument("address", metavar="ADDRESS")
    group.add("remove", run_remove, "take the second factor away").add_argument("address", metavar="ADDRESS")


def run_add(invocation: Invocation) -> None:
    """Make and show."""
    address = invocation.arguments.address
    with open_administration(invocation.settings) as administration:
        made = administration.totp_add(address)
    invocation.output.answer(made, *render_factor(address, made["uri"], made["recovery_codes"]))


def run_remove(invocation: Invocation) -> None:
    """Take away."""
    address = invocation.arguments.address
    with open_administration(invocation.settings) as administration:
        administration.totp_remove(address)
    invocation.output.answer({"address": address, "removed": True}, f"{address} has no second factor any more.")


def render_factor(address: str, uri: str, recovery_codes: Sequence[str]) -> list[str]:
    """What the owner is shown, this once."""
    return [
        f"Second factor of {address}, shown this once. Scan with an authenticator app:",
        "",
        *render_qr(uri),
        uri,
        "",
        "Recovery codes, each opens once; print them:",
        *(f"  {code}" for code in recovery_codes),
    ]


def render_qr(text: str) -> list[str]:
    """A QR code as lines of half blocks, dark on light whatever the terminal's colours are."""
    drawn = io.StringIO()
    segno.make(text, error="l", micro=False).terminal(out=drawn, compact=True)
    return drawn.getvalue().splitlines()
