"""Replies, and the one map from what went wrong to what the other side is told (RFC 5321 section 4.2, RFC 3463, RFC 2034).

Owns every code for an error of the store or of sign-in; no other file chooses one. Pure. The text is a short general
sentence, French first where people read it in a bounce; why it happened stands in the log, never here.
"""

from dataclasses import dataclass
from functools import lru_cache

from ..auth.api import AuthUnavailable
from ..storage.api import (
    Forbidden,
    InvalidDocument,
    InvalidName,
    NotFound,
    OverQuota,
    StoreError,
    TooLarge,
)


@dataclass(frozen=True, slots=True)
class Reply:
    """A reply: code, enhanced code (`2.0.0`, empty where RFC 2034 section 4 has none), lines of text."""

    code: int
    enhanced: str
    text: str

    @property
    def positive(self) -> bool:
        """Whether it is a 2xx or 3xx."""
        return self.code < 400

    def render(self) -> bytes:
        """The reply on the wire; several lines become a multi-line reply. ASCII, never a line end of its own making."""
        return _rendered(self)


@lru_cache(maxsize=256)
def _rendered(reply: Reply) -> bytes:
    prefix = f"{reply.enhanced} " if reply.enhanced else ""
    lines = reply.text.replace("\r", " ").split("\n")
    rendered = [f"{reply.code}-{prefix}{line}\r\n" for line in lines[:-1]]
    rendered.append(f"{reply.code} {prefix}{lines[-1]}\r\n")
    return "".join(rendered).encode("ascii", "replace")


class Refused(Exception):
    """A command or a message that is answered with `reply`."""

    def __init__(self, reply: Reply) -> None:
        """Carry the reply."""
        super().__init__(reply.code, reply.enhanced)
        self.reply = reply


OK = Reply(250, "2.0.0", "ok")
SENDER_OK = Reply(250, "2.1.0", "ok")
RECIPIENT_OK = Reply(250, "2.1.5", "ok")
START_DATA = Reply(354, "", "go on, end with <CRLF>.<CRLF>")
BYE = Reply(221, "2.0.0", "au revoir")
CANNOT_VERIFY = Reply(252, "2.5.1", "not verified here, but mail is taken for those who exist")

START_TLS = Reply(220, "2.0.0", "go on over TLS")
OUT_OF_TURN = Reply(554, "5.5.0", "wait for the answer before you go on, closing")
NOT_SMTP = Reply(421, "4.7.0", "this is SMTP, closing")
NO_EXPN = Reply(502, "5.5.1", "lists are not shown here")

SIGN_IN_FIRST = Reply(530, "5.7.0", "authentification necessaire / sign in first")
SIGNED_IN = Reply(235, "2.7.0", "ok")
NO_SIGN_IN_HERE = Reply(502, "5.5.1", "pas d'authentification sur ce port, prenez le 465 / no sign-in here, use port 465")
UNKNOWN_MECHANISM = Reply(504, "5.5.4", "no such mechanism")
AUTH_CANCELLED = Reply(501, "5.7.0", "cancelled")
AUTH_MALFORMED = Reply(501, "5.5.2", "not a response of this mechanism")
AUTH_TOO_LONG = Reply(500, "5.5.6", "response too long")
SESSION_REVOKED = Reply(421, "4.7.0", "session revoquee, reconnectez-vous / session revoked, sign in again")

UNKNOWN_COMMAND = Reply(500, "5.5.1", "no such command")
LINE_TOO_LONG = Reply(500, "5.5.2", "line too long")
BARE_LINE_END = Reply(500, "5.5.2", "a command line ends with CR LF")
BAD_SEQUENCE = Reply(503, "5.5.1", "not at this point")
NO_RECIPIENTS = Reply(503, "5.5.1", "no valid recipients")
NESTED_MAIL = Reply(503, "5.5.1", "a transaction is open: RSET ends it")
NEEDS_UTF8 = Reply(553, "5.6.7", "this address needs SMTPUTF8")

UNKNOWN_RECIPIENT = Reply(550, "5.1.1", "adresse inconnue / no such recipient here")
NOT_NOW = Reply(450, "4.2.1", "ne recoit pas de courrier en ce moment / takes no mail at present")
LEADS_OUTSIDE = Reply(451, "4.3.5", "leads outside: hand it over by SMTP, port 25")
NO_RELAY = Reply(550, "5.7.1", "pas de relais pour cette adresse / no relaying to this address")
NOT_YOUR_ADDRESS = Reply(550, "5.7.1", "cette adresse d'expediteur n'est pas la votre / this sender address is not yours")
NOT_YOUR_FROM = Reply(550, "5.7.1", "From ou Sender n'est pas votre adresse / From or Sender is not your address")
ONE_FROM = Reply(550, "5.6.0", "un seul champ From, un seul Sender / one From field and one Sender at most")
HEADER_TOO_LONG = Reply(552, "5.3.4", "en-tete trop long / header too long")
TOO_MANY_RECIPIENTS = Reply(452, "4.5.3", "too many recipients in one transaction")
MESSAGE_TOO_LARGE = Reply(552, "5.3.4", "message trop volumineux / message too large")
OVER_QUOTA = Reply(552, "5.2.2", "boite aux lettres pleine / mailbox full")
NO_ROOM = Reply(452, "4.3.1", "insufficient system storage, try again later")
OVER_QUOTA_FOR_NOW = Reply(452, "4.2.2", "boite aux lettres pleine / mailbox full")
MAIL_LOOP = Reply(554, "5.4.6", "boucle de courrier / mail loop: this message was here before")
BARE_NEWLINE = Reply(550, "5.5.2", "a bare CR or LF: lines of a message end with CR LF")
TEMPORARY = Reply(451, "4.3.0", "reessayez plus tard / try again later")

TOO_MANY_CONNECTIONS = Reply(421, "4.3.2", "too many connections, try again later")
NOT_FROM_THERE = Reply(554, "5.7.1", "not from this network")
TOO_SLOW = Reply(421, "4.4.2", "timed out, closing")
TOO_MANY_ERRORS = Reply(421, "4.7.0", "too many errors, closing")
TOO_MANY_MESSAGES = Reply(421, "4.7.0", "enough on this connection, open another")
SHUTTING_DOWN = Reply(421, "4.3.2", "shutting down, try again soon")


def malformed(text: str) -> Reply:
    """A command whose parameters do not follow the grammar."""
    return Reply(501, "5.5.4", text)


def incident(reference: str) -> Reply:
    """Our own fault: temporary, with what leads to the traceback in the log."""
    return Reply(451, "4.3.0", f"erreur interne / internal error, reference {reference}")


def reply_for(error: Exception, *, over_quota_passes: bool = False) -> Reply | None:
    """What an error of the store or of sign-in is answered with; None for one that nobody foresaw.

    `over_quota_passes`: a full mailbox is told as temporary, so that the sender keeps trying.
    """
    match error:
        case Refused():
            return error.reply
        case OverQuota():
            return OVER_QUOTA_FOR_NOW if over_quota_passes else OVER_QUOTA
        case TooLarge():
            return MESSAGE_TOO_LARGE
        case NotFound() | InvalidName():
            return UNKNOWN_RECIPIENT
        case Forbidden() | InvalidDocument():
            return Reply(550, "5.7.1", "refuse / refused")
        case AuthUnavailable() | StoreError():
            # What is left of the store's errors may pass: better delivered late than bounced.
            return TEMPORARY
    return None
