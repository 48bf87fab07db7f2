"""What a server speaks, its bounds, and what it hands mail to (RFC 5321, RFC 2033).

Owns the values and protocols between a connection (connection.py, session.py) and who stands behind it (delivery.py,
reception.py, submission.py): one `Handler` a server, one `Transaction` a MAIL.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from .commands import Mail, Rcpt
from .data import BareNewlines
from .reply import Reply

if TYPE_CHECKING:
    from .session import SmtpSession


@dataclass(frozen=True, slots=True)
class Mode:
    """What is spoken. `keywords`: what LHLO or EHLO announces besides SIZE, each handled below."""

    name: str
    hello: frozenset[str]
    reply_per_recipient: bool  # RFC 2033 section 4.2
    bare_newlines: BareNewlines
    keywords: tuple[str, ...]
    signs_in: bool = False  # AUTH is there, and needed before MAIL

    def protocol(self, mail: Mail, *, hello: str = "EHLO", tls: bool = False, signed_in: bool = False) -> str:
        """The name in Received lines (RFC 3848, RFC 6531 section 4.3)."""
        if hello == "HELO":
            return "SMTP"
        name = self.name
        if mail.smtputf8:
            name = "UTF8" + name.removeprefix("E")
        return name + ("S" if tls else "") + ("A" if signed_in else "")


LMTP = Mode(
    "LMTP",
    frozenset({"LHLO"}),
    True,
    BareNewlines.NORMALISE,
    ("PIPELINING", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES", "CHUNKING"),
)

_EXTENSIONS = ("PIPELINING", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES", "CHUNKING", "DSN")

MX = Mode("ESMTP", frozenset({"EHLO", "HELO"}), False, BareNewlines.REFUSE, _EXTENSIONS)
"""Port 25: mail from anywhere for those who are here. Nobody signs in (RFC 8314 section 3.3)."""

SUBMISSION = Mode("ESMTP", frozenset({"EHLO", "HELO"}), False, BareNewlines.REPAIR, _EXTENSIONS, signs_in=True)
"""Ports 465 and 587: mail of those who are here to anywhere (RFC 6409)."""


@dataclass(frozen=True, slots=True)
class SessionLimits:
    """Bounds of one connection."""

    message_size: int = 52_428_800  # octets
    messages: int = 100_000  # then 421: a connection does not live for ever
    errors: int = 20  # commands that are none, or at the wrong time
    idle_commands: int = 200  # NOOP, RSET, VRFY, HELP, LHLO between two messages
    command_seconds: float = 300.0
    block_seconds: float = 180.0
    message_seconds: float = 1_800.0


class Transaction(Protocol):
    """One mail transaction, made by the handler at MAIL; the session calls close() exactly once, whatever happens."""

    async def recipient(self, rcpt: Rcpt) -> Reply:
        """Take or refuse a recipient; a positive reply is a recipient more. May raise store and sign-in errors."""
        ...

    async def open(self) -> None:
        """The message is about to come. Raise Refused, or a store or sign-in error, and it is not asked for."""
        ...

    def write(self, data: bytes) -> None:
        """Octets of the message. A store error ends it; the rest is read and thrown away."""
        ...

    async def finish(self) -> Sequence[Reply]:
        """The message is complete: the replies, one a recipient or a single one as the mode has it."""
        ...

    def close(self) -> None:
        """Over: what was not finished is thrown away."""
        ...


class Handler(Protocol):
    """What stands behind the sessions of a server."""

    def admit(self, session: "SmtpSession") -> Reply | None:
        """None, or why the connection is not served (421 or 554)."""
        ...

    def begin(self, session: "SmtpSession", mail: Mail) -> Transaction:
        """MAIL was said. Raise Refused."""
        ...

    def ended(self, session: "SmtpSession") -> None:
        """The connection of a session is over, admitted or not."""
        ...
