"""A role together with its lines to auth and keys: opened before it accepts, closed after it drained.

Owns that order alone.
"""

from collections.abc import Sequence

from ..auth.client import SocketAuthenticator, SocketKeyHolder
from ..daemon.listener import Listener
from ..daemon.role import Role


class WithClients:
    """A role that also keeps its clients."""

    def __init__(self, role: Role, authenticator: SocketAuthenticator, keys: SocketKeyHolder | None = None) -> None:
        """Keep them for as long as the role lives. `keys`: None for one that serves no accounts."""
        self._role = role
        self._authenticator = authenticator
        self._keys = keys
        self.reload = role.reload

    async def start(self, listeners: Sequence[Listener]) -> None:
        """Open the revocation stream (auth may come later), then accept."""
        await self._authenticator.start()
        await self._role.start(listeners)

    async def drain(self, seconds: float) -> None:
        """Drain, then hang up."""
        try:
            await self._role.drain(seconds)
        finally:
            await self._authenticator.close()
            if self._keys is not None:
                await self._keys.close()
