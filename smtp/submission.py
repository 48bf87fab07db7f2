"""Mail of those who are here to anywhere: ports 465 and 587 (RFC 6409).

Whose name stands on a message is checked twice: MAIL FROM must be an address of who signed in (the null path is left to
disposition notifications, RFC 8098 section 2.1), and so must every address in From and, when it is there, in Sender.
`auth` says which addresses those are: the present one, aliases, either with a tag.

What a message lacks is added: From, Date, Message-ID (RFC 6409 section 8). Bcc goes: who got a copy unseen is in the
envelope alone. The Received line says nothing of where its sender is; the log does.

Owns those rules. Never asks which server the mail will go to.
"""

from ..auth.api import SubmissionAuthenticator
from . import reply as replies
from .commands import Address, Mail
from .header_edit import MAX_CLAIMED, Header
from .intake import Intake, Surroundings
from .policy import render_date, render_received, render_received_from_us
from .reply import Refused, Reply
from .service import ServiceSession


async def check_sender(authenticator: SubmissionAuthenticator, session: ServiceSession, mail: Mail) -> None:
    """Raise Refused for a reverse-path that is not of who signed in; AuthUnavailable."""
    assert session.granted is not None
    path = mail.reverse_path
    if path is not None and not await authenticator.may_send(session.granted.session, str(path)):
        raise Refused(replies.NOT_YOUR_ADDRESS)


class Submission(Intake):
    """One transaction of somebody who signed in."""

    def __init__(self, around: Surroundings, session: ServiceSession, mail: Mail) -> None:
        """See Intake."""
        super().__init__(around, session, mail)
        self._claimed: set[str] = set()

    async def _admit(self, path: Address, address: str) -> Reply | None:
        found = await self.around.lookups.find(address)
        if found.local:
            return await self._local(address, found.local)
        if found.outside or not self._is_ours(path.domain, found.served):
            return None
        return replies.UNKNOWN_RECIPIENT

    def _edit(self, header: Header, identifier: str) -> bytes:
        granted = self.session.granted
        assert granted is not None
        settings, now = self.around.settings, int(self.around.clock())
        if header.count(b"from") > 1 or header.count(b"sender") > 1:
            raise Refused(replies.ONE_FROM)
        for name in (b"from", b"sender"):
            claimed = header.claimed(name)
            if header.count(name) and (not claimed or "" in claimed or len(claimed) > MAX_CLAIMED):
                raise Refused(replies.NOT_YOUR_FROM)
            self._claimed |= set(claimed)
        header.remove(b"bcc", b"resent-bcc")
        if not header.count(b"from"):
            header.add(f"From: <{granted.identity.address}>\r\n".encode())
        if not header.count(b"date"):
            header.add(f"Date: {render_date(now)}\r\n".encode())
        if not header.count(b"message-id"):
            header.add(f"Message-ID: <{identifier}@{settings.hostname}>\r\n".encode())
        if not settings.reveal_client:
            return render_received_from_us(host=settings.hostname, protocol=self._protocol(), identifier=identifier, now=now)
        return render_received(
            client=self.session.client,
            peer=self.session.peer,
            host=settings.hostname,
            protocol=self._protocol(),
            identifier=identifier,
            recipient="",
            now=now,
            tls=self.session.tls,
        )

    async def _approve(self) -> None:
        granted = self.session.granted
        assert granted is not None
        for address in sorted(self._claimed):
            if not await self.around.authenticator.may_send(granted.session, address):
                raise Refused(replies.NOT_YOUR_FROM)
