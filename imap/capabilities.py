"""What CAPABILITY tells (RFC 9051 section 6.1.1): worked out from the command table, so that what is advertised is handled.

Owns the order and the conditions. A capability stands on the row of the command that answers for it; here are only those
that no single command carries. Pure.
"""

from collections.abc import Iterator

from ..auth import scram
from .session import SIGNED_OUT, Session, State

MECHANISMS = ("PLAIN", "LOGIN")
"""SASL mechanisms (auth/sasl.py), offered where passwords are taken; SCRAM comes before them where it is switched on."""

_OF_THE_GRAMMAR = (
    "LITERAL+",  # RFC 7888
    "SASL-IR",  # RFC 4959
)


def capabilities(session: Session) -> Iterator[str]:
    """Capabilities as they are for this session at this moment."""
    yield "IMAP4rev1"
    yield from _OF_THE_GRAMMAR
    signed_out = session.state is State.NOT_AUTHENTICATED
    if signed_out:
        if session.site.starttls and not session.tls:
            yield "STARTTLS"
        if session.takes_passwords:
            if session.site.settings.scram:
                yield f"AUTH={scram.NAME}"
            yield from (f"AUTH={mechanism}" for mechanism in MECHANISMS)
        else:
            yield "LOGINDISABLED"  # RFC 9051 section 6.2.3
    for row in session.site.table.values():
        if signed_out or row.states is not SIGNED_OUT:
            yield from row.capabilities
    yield f"APPENDLIMIT={session.site.settings.append_limit}"  # RFC 7889


def capability_text(session: Session) -> bytes:
    """`CAPABILITY IMAP4rev1 ...`, for the response and for the response code."""
    # What it depends on that is not the site's; every client is told three times before it has read a message.
    key = (session.state is State.NOT_AUTHENTICATED, session.tls, session.takes_passwords)
    told = session.site.capability_texts.get(key)
    if told is None:
        told = ("CAPABILITY " + " ".join(dict.fromkeys(capabilities(session)))).encode("ascii")
        session.site.capability_texts[key] = told
    return told
