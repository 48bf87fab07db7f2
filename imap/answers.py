"""Errors of the store and of sign-in as tagged answers (RFC 9051 section 7.1, RFC 5530): the one map.

Owns which response code an error becomes and the general sentence beside it. The sentence never has a name, a path or a
reason from inside: those are for the log.
"""

from ..auth.api import AuthUnavailable
from ..storage.api import (
    AlreadyExists,
    Conflict,
    Forbidden,
    InvalidDocument,
    InvalidName,
    NotFound,
    OverQuota,
    StoreError,
    TooLarge,
    Unavailable,
)

# From special to general: the first that fits.
_ANSWERS: tuple[tuple[type[Exception], bytes], ...] = (
    (NotFound, b"NO [NONEXISTENT] No such mailbox"),
    (AlreadyExists, b"NO [ALREADYEXISTS] There is a mailbox of that name"),
    (InvalidName, b"NO [CANNOT] Not a name for a mailbox"),
    (OverQuota, b"NO [OVERQUOTA] No room left for this"),
    (TooLarge, b"NO [TOOBIG] Message larger than the limit"),
    (Forbidden, b"NO [CANNOT] Not possible here"),
    (Conflict, b"NO [INUSE] Changed meanwhile, try again"),
    (InvalidDocument, b"NO [CANNOT] Not a message"),
    (Unavailable, b"NO [UNAVAILABLE] Not available now, try again later"),
    (AuthUnavailable, b"NO [UNAVAILABLE] Not available now, try again later"),
    (StoreError, b"NO [SERVERBUG] Not done"),
)

TRY_CREATE = b"NO [TRYCREATE] No such mailbox"
"""For a target of APPEND, COPY, MOVE that could be made (RFC 9051 section 7.1)."""

EXPUNGED = b"NO [EXPUNGEISSUED] Some messages are gone"
"""Message numbers that stood for messages expunged by another session (RFC 2180 section 4.1.2, RFC 5530)."""

FOREIGN = (StoreError, AuthUnavailable)
"""What handlers may let pass: everything else is a bug."""


def answer_for(error: Exception) -> bytes:
    """The tagged answer, without its tag, for an error of the store or of sign-in."""
    for kind, answer in _ANSWERS:
        if isinstance(error, kind):
            return answer
    raise error


def answer_for_bug(incident: str) -> bytes:
    """The tagged answer for an unforeseen exception; the log has its traceback under `incident`."""
    return b"NO [SERVERBUG] Internal error, reference " + incident.encode("ascii", "replace")
