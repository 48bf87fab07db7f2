"""Tickets: what `auth` hands a daemon at sign-in and `keys` opens an account's keys for (Ed25519, RFC 8032).

    1 octet version | JSON object | 64 octets signature over a fixed text and all of the former

Owns the form. Pure. A ticket says who signed in and until when; it carries no secret, but who has one can have the
account's keys from the daemon's own socket until it expires: it never stands in a log.
"""

import json
from dataclasses import dataclass
from functools import lru_cache

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from ..storage.api import AccountId
from .api import CredentialId, Service, SessionId

_VERSION = b"\x01"
_CONTEXT = b"preau ticket\0"  # a signature made for a ticket is good for nothing else
_SIGNATURE = 64
SLACK = 300
"""Seconds that a clock may be set back under a ticket: one of further ahead would last until the clock is there."""
_MAX = 4096


class InvalidTicket(Exception):
    """Not signed by auth, damaged, or expired."""


@dataclass(frozen=True, slots=True)
class Ticket:
    """Who signed in, with what, and for which services; `issued` and `expires` in seconds since 1970 UTC."""

    account: AccountId
    credential: CredentialId
    session: SessionId
    scopes: frozenset[Service]
    issued: int
    expires: int


def public_key_of(private_key: bytes) -> bytes:
    """The 32 octets that verify what these 32 sign."""
    return Ed25519PrivateKey.from_private_bytes(private_key).public_key().public_bytes_raw()


def sign_ticket(ticket: Ticket, private_key: bytes) -> bytes:
    """The ticket on the wire. `private_key`: 32 octets."""
    body = _VERSION + json.dumps(
        {
            "account": ticket.account,
            "credential": ticket.credential,
            "session": ticket.session,
            "scopes": sorted(ticket.scopes),
            "issued": ticket.issued,
            "expires": ticket.expires,
        },
        separators=(",", ":"),
    ).encode("ascii")
    return body + _signing_key(private_key).sign(_CONTEXT + body)


@lru_cache(maxsize=2)
def _signing_key(private_key: bytes) -> Ed25519PrivateKey:
    # Loading works out the public half: half the cost of a signature. A process signs with one key.
    return Ed25519PrivateKey.from_private_bytes(private_key)


@lru_cache(maxsize=2)
def _verifying_key(public_key: bytes) -> Ed25519PublicKey:
    return Ed25519PublicKey.from_public_bytes(public_key)


def verify_ticket(data: bytes, public_key: bytes, now: int) -> Ticket:
    """The ticket, if auth signed it and `now` (seconds since 1970 UTC) is before its end. Raise InvalidTicket."""
    if not len(_VERSION) + _SIGNATURE < len(data) <= _MAX or data[:1] != _VERSION:
        raise InvalidTicket("not a ticket")
    body, signature = data[:-_SIGNATURE], data[-_SIGNATURE:]
    try:
        _verifying_key(public_key).verify(signature, _CONTEXT + body)
    except InvalidSignature:
        raise InvalidTicket("not signed by auth") from None
    try:  # signed, hence well-formed unless a later version wrote it
        fields = json.loads(body[1:])
        ticket = Ticket(
            AccountId(str(fields["account"])),
            CredentialId(str(fields["credential"])),
            SessionId(str(fields["session"])),
            frozenset(Service(scope) for scope in fields["scopes"]),
            int(fields["issued"]),
            int(fields["expires"]),
        )
    except (ValueError, KeyError, TypeError):
        raise InvalidTicket("not understood") from None
    if ticket.expires <= now:
        raise InvalidTicket("expired")
    if ticket.issued > now + SLACK:
        raise InvalidTicket("of a time to come")
    return ticket
