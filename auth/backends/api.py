"""What answers for passwords: the protocol of backends (auth-security 2.2, decisions 23).

A backend is plain functions, called in worker threads with a time limit. It is found by the entry point group
`preau.auth.backends` or a dotted path. Whatever it raises is a temporary failure, never a yes; it is asked for human
passwords alone: app passwords and second factors stay in auth.db and are enforced there, whoever knows the password.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from ...storage.api import AccountId


class Verdict(Enum):
    """What became of a password."""

    RIGHT = "right"
    WRONG = "wrong"
    UNKNOWN = "unknown"  # no such entry; told like WRONG
    UNAVAILABLE = "unavailable"  # cannot say now


@dataclass(frozen=True, slots=True)
class Entry:
    """A person as a backend knows them. `login` is the backend's key, `account` ours when there is one already."""

    login: str
    address: str
    name: str = ""
    account: AccountId | None = None


class Backend(Protocol):
    """Who knows passwords. Thread-safe."""

    @property
    def name(self) -> str:
        """What the column `backend` of an account says."""
        ...

    @property
    def capabilities(self) -> frozenset[str]:
        """Of `lookup` (tells who is there, so accounts are made at first use), `change` (sets passwords)."""
        ...

    def lookup(self, address: str) -> Entry | None:
        """The entry for an address in key form."""
        ...

    def verify(self, entry: Entry | None, secret: str) -> Verdict:
        """Check a password. None for a login that is none: takes as long as for one that is, and answers UNKNOWN."""
        ...

    def change(self, entry: Entry, secret: str) -> None:
        """Set a password."""
        ...
