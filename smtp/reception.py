"""Mail from outside for those who are here: port 25 (RFC 5321).

Relays nothing. A recipient is taken when `auth` knows where mail for the whole address goes, as it was meant and not as it
could be read: `user%elsewhere@here`, `elsewhere!user@here`, `"user@elsewhere"@here` are local parts that nobody has, a
source route is ignored (RFC 5321 appendix C), an address literal is never ours. Whatever a sender claims to be is taken
at its word; whether that is so is a matter of SPF and DKIM, which come later.

Owns that rule and the Received line. Never bounces: what is not taken is refused while the sender is still there.
"""

from . import reply as replies
from .commands import Address
from .header_edit import Header
from .intake import Intake
from .policy import render_received
from .reply import Reply


class Reception(Intake):
    """One transaction on port 25."""

    async def _admit(self, path: Address, address: str) -> Reply | None:
        found = await self.around.lookups.find(address)
        if found.local:
            return await self._local(address, found.local)
        if found.outside:
            return None  # an address of ours that leads on: the queue takes it there
        return replies.UNKNOWN_RECIPIENT if self._is_ours(path.domain, found.served) else replies.NO_RELAY

    def _edit(self, header: Header, identifier: str) -> bytes:
        session = self.session
        only = next(iter(self.recipients.values())).address if len(self.recipients) == 1 else ""
        return render_received(
            client=session.client if session.client.isascii() or self.mail.smtputf8 else "",
            peer=session.peer,
            host=self.around.settings.hostname,
            protocol=self._protocol(),
            identifier=identifier,
            recipient=only,
            now=int(self.around.clock()),
            tls=session.tls,
        )

    async def _approve(self) -> None:
        """Whatever it says: who wrote it is not known here."""
