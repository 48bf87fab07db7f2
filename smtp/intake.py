"""A message on its way into the spool: what reception and submission have in common (RFC 5321 section 4.2.5).

A message streams: its header is held back until it is complete and goes on with our own fields, everything else is written
as it comes, sealed. 250 is said after `SpoolWriter.commit`, which returns when the message survives a power cut; whatever
happens before that leaves nothing behind, whatever happens to the connection after it began changes nothing.

Owns recipients, size, loops and the commit. Who may be written to, and what becomes of the header, is its subclasses'.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from ..auth.api import LocalRecipient, SubmissionAuthenticator
from ..daemon.log import logger
from . import reply as replies
from .commands import Address, Mail, Rcpt
from .header_edit import Header, HeaderBuffer, HeaderTooLong
from .lookups import Lookups
from .reply import Refused, Reply
from .service import ServiceSession
from .spool import Envelope, Spool, SpoolRecipient, SpoolWriter

log = logger("smtp")


class Rooms(Protocol):
    """Whether mailboxes have room: asked of those who have a quota."""

    async def refuses(self, address: str, size: int) -> bool:
        """Whether `delivery` would not take `size` octets for this address now because the mailbox is full."""
        ...


@dataclass(frozen=True, slots=True)
class IntakeSettings:
    """What both ways in are told. Sizes are octets."""

    hostname: str
    domain: str = ""  # whose postmaster <postmaster> is; "" refuses it
    domains: frozenset[str] = frozenset()  # ours, in lower case; asked when auth does not tell
    recipients: int = 1_000  # of one message
    received: int = 100  # Received fields of one message: more is a loop
    header_size: int = 262_144
    free_space: int = 268_435_456  # left on the spool's disk, or nothing is taken
    reveal_client: bool = False  # whether Received lines of submitted mail tell the client's address


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What both ways in work with. `commit` calls in a worker thread and is waited for at drain."""

    settings: IntakeSettings
    spool: Spool
    authenticator: SubmissionAuthenticator
    lookups: Lookups
    clock: Callable[[], float]
    commit: Callable[..., "asyncio.Future[str]"]
    rooms: Rooms | None = None


class Intake(ABC):
    """One transaction (modes.Transaction)."""

    def __init__(self, around: Surroundings, session: ServiceSession, mail: Mail) -> None:
        """Begin, with nobody to write to yet."""
        self.around = around
        self.session = session
        self.mail = mail
        self.recipients: dict[str, SpoolRecipient] = {}
        self._header: HeaderBuffer | None = HeaderBuffer(around.settings.header_size)
        self._writer: SpoolWriter | None = None
        self._committing: asyncio.Future[Any] | None = None

    # -- what subclasses say

    @abstractmethod
    async def _admit(self, path: Address, address: str) -> Reply | None:
        """None for a recipient that is taken, or why not. May raise sign-in errors."""

    @abstractmethod
    def _edit(self, header: Header, identifier: str) -> bytes:
        """Change the header; octets to be put before it. Raise Refused."""

    @abstractmethod
    async def _approve(self) -> None:
        """The message is complete. Raise Refused when it is not taken, or a sign-in error."""

    # -- modes.Transaction

    async def recipient(self, rcpt: Rcpt) -> Reply:
        """See modes.Transaction."""
        settings = self.around.settings
        path = rcpt.forward_path
        if not path.is_ascii and not self.mail.smtputf8:
            return replies.NEEDS_UTF8
        address = str(path)
        if not path.domain:
            if not settings.domain:
                return replies.UNKNOWN_RECIPIENT
            path = Address(path.local, settings.domain)
            address = str(path)
        key = f"{path.local}@{path.domain.lower()}"
        if len(self.recipients) >= settings.recipients and key not in self.recipients:
            return replies.TOO_MANY_RECIPIENTS
        refusal = await self._admit(path, address)
        if refusal is not None:
            log.info(
                "recipient refused",
                peer=self.session.peer,
                sender=str(self.mail.reverse_path or ""),
                recipient=address,
                reply=f"{refusal.code} {refusal.enhanced}",
            )
            return refusal
        # Said twice is written to once.
        orcpt = ";".join(rcpt.orcpt) if rcpt.orcpt else ""
        self.recipients.setdefault(key, SpoolRecipient(address, rcpt.notify, orcpt))
        return replies.RECIPIENT_OK

    async def open(self) -> None:
        """See modes.Transaction. Raise Refused when the disk is nearly full: what is in the queue must still find room."""
        if self.around.spool.free() < self.around.settings.free_space + (self.mail.size or 0):
            log.error("disk nearly full, mail refused", free_space=self.around.settings.free_space)
            raise Refused(replies.NO_ROOM)
        self._writer = self.around.spool.new()

    def write(self, data: bytes) -> None:
        """See modes.Transaction."""
        assert self._writer is not None
        if self._header is None:
            self._writer.write(data)
            return
        try:
            header = self._header.feed(data)
        except HeaderTooLong:
            raise Refused(replies.HEADER_TOO_LONG) from None
        if header is not None:
            self._begin(header)

    async def finish(self) -> Sequence[Reply]:
        """See modes.Transaction."""
        writer = self._writer
        assert writer is not None
        if self._header is not None:
            self._begin(self._header.close())
        await self._approve()
        envelope = self._envelope()
        # Once begun it goes on to its end, even when the peer goes away meanwhile.
        self._committing = self.around.commit(writer.commit, envelope)
        identifier = await asyncio.shield(self._committing)
        log.info(
            "queued",
            id=identifier,
            peer=self.session.peer,
            account=envelope.account,
            sender=envelope.reverse_path,
            recipients=len(self.recipients),
            size=writer.size,
        )
        return [Reply(250, "2.0.0", f"ok, queued as {identifier}")]

    def close(self) -> None:
        """See modes.Transaction."""
        if self._writer is not None and self._committing is None:
            self._writer.abort()

    # -- inside

    def _begin(self, header: Header) -> None:
        assert self._writer is not None
        self._header = None
        if header.count(b"received") > self.around.settings.received:
            log.warning("mail loop", sender=str(self.mail.reverse_path or ""), received=header.count(b"received"))
            raise Refused(replies.MAIL_LOOP)
        header.remove(b"return-path")  # only the last hop's means something (RFC 5321 section 4.4)
        before = self._edit(header, self._writer.id)
        self._writer.write(before + header.render())

    def _envelope(self) -> Envelope:
        mail, granted = self.mail, self.session.granted
        return Envelope(
            reverse_path=str(mail.reverse_path) if mail.reverse_path is not None else "",
            recipients=tuple(self.recipients.values()),
            received=int(self.around.clock()),
            body=mail.body,
            smtputf8=mail.smtputf8,
            ret=mail.ret or "",
            envid=mail.envid or "",
            account=granted.identity.account if granted is not None else "",
            peer=self.session.peer,
        )

    def _protocol(self) -> str:
        session = self.session
        return session.mode.protocol(
            self.mail, hello=session.hello, tls=bool(session.tls), signed_in=session.granted is not None
        )

    def _is_ours(self, domain: str, served: bool | None) -> bool:
        return served if served is not None else domain.lower() in self.around.settings.domains

    async def _local(self, address: str, found: Sequence[LocalRecipient]) -> Reply | None:
        """None when somebody of ours takes mail now, or why not."""
        if not all(each.accepts for each in found):
            return replies.NOT_NOW
        rooms = self.around.rooms
        if rooms is None or len(found) != 1 or found[0].quota is None:
            return None
        return replies.OVER_QUOTA_FOR_NOW if await rooms.refuses(address, self.mail.size or 0) else None
