"""Helpers for tests of the file store: an account on disk, and other software that meddles with its Maildir."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from preau.storage import adoption, collections_leftovers, leftovers
from preau.storage.account import FileAccount
from preau.storage.api import Account, AccountKeys, ChangeBus, Mail, MailboxId, StoreLimits
from preau.storage.changes import SilentBus
from preau.storage.mail_context import MailContext
from preau.storage.paths import AccountPaths
from preau.storage.store import FileStore
from store_contract import ANNE, KEYS


class Files:
    """One store with Anne's account open, and what a test may do behind its back."""

    def __init__(
        self, root: Path, *, sealing: bool = True, bus: ChangeBus | None = None, keys: AccountKeys = KEYS[ANNE]
    ) -> None:
        """Open it."""
        self.root = root
        self.sealing = sealing
        self.store = FileStore(root, sealing=sealing, limits=StoreLimits(), bus=bus or SilentBus())
        account = self.store.open_account(ANNE, keys)
        assert isinstance(account, FileAccount)
        self.account: Account = account
        self.context: MailContext = account.context
        self.mail: Mail = account.mail
        self.paths: AccountPaths = self.context.paths
        self.inbox: MailboxId = self.mail.find("INBOX").id

    def settle(self) -> None:
        """Let everything in the background be done."""
        self.store.background.settle()

    def close(self) -> None:
        """Close the account and the store."""
        self.account.close()
        self.store.close()

    def directory(self, mailbox: MailboxId | None = None) -> Path:
        """The directory of a mailbox (INBOX)."""
        return self.context.directory(self.inbox if mailbox is None else mailbox)

    def names(self, mailbox: MailboxId | None = None, part: str = "cur") -> list[str]:
        """Names of the files in it."""
        return sorted(os.listdir(self.directory(mailbox) / part))

    def put(self, name: str, data: bytes, part: str = "new", mailbox: MailboxId | None = None) -> Path:
        """Deliver a message as other software does."""
        path = self.directory(mailbox) / part / name
        path.write_bytes(data)
        return path


@contextmanager
def opened(
    root: Path, *, sealing: bool = True, bus: ChangeBus | None = None, keys: AccountKeys = KEYS[ANNE]
) -> Iterator[Files]:
    """A store for the length of a block."""
    files = Files(root, sealing=sealing, bus=bus, keys=keys)
    try:
        yield files
    finally:
        files.close()


@contextmanager
def ten_minutes_later() -> Iterator[None]:
    """Nobody is still about to commit what lies about, and who opens an account has held it for a while when it is settled."""
    with pytest.MonkeyPatch.context() as later:
        later.setattr(adoption, "YOUNG", 0)
        later.setattr(collections_leftovers, "YOUNG", 0)
        later.setattr(leftovers, "DELAY", 0)
        later.setattr(leftovers, "QUIET", 0)
        yield


def lose_index(paths: AccountPaths) -> None:
    """Remove index.db, as a dying disk does."""
    for suffix in ("", "-wal", "-shm"):
        paths.index_db.with_name(paths.index_db.name + suffix).unlink(missing_ok=True)
