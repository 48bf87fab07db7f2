"""Policy `tls`: no secret over a connection that others can read (RFC 8314 section 3).

`plaintext_loopback` lets loopback peers in without TLS: for benchmarks and behind a proxy that ends TLS (decisions 6).
"""

from dataclasses import dataclass

from ..api import Reason
from .values import Facts, Refuse

NAME = "tls"


@dataclass(frozen=True, slots=True)
class TlsSettings:
    """plaintext_loopback: whether a peer on a loopback address may do without."""

    plaintext_loopback: bool = False


def before(facts: Facts, settings: TlsSettings) -> Refuse | None:
    """Refuse what came in clear."""
    if facts.tls or (facts.loopback and settings.plaintext_loopback):
        return None
    return Refuse(NAME, Reason.CLEARTEXT)
