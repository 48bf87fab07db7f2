"""What a daemon runs: the three calls that every role answers.

Owns the shape alone. What a role is made of, `suite` composes; when each call comes, `lifecycle` decides.
"""

from collections.abc import Sequence
from typing import Protocol

from .listener import Listener


class Role(Protocol):
    """One part of the suite as a process runs it: `auth`, `keys`, `delivery`, `imap`, ..."""

    async def start(self, listeners: Sequence[Listener]) -> None:
        """Open what is needed and accept on `listeners`. When it returns, every listener accepts."""
        ...

    async def drain(self, seconds: float) -> None:
        """Stop accepting, let what is begun finish for at most `seconds`, then end the rest and close everything."""
        ...

    async def reload(self) -> None:
        """Take new certificates and whatever else can change while running. What cannot be read stays as it was."""
        ...
