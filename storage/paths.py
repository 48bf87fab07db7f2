"""Where the files of an account lie, and what an account id looks like.

Owns the layout below the store's root (docs/store-format.md) and the one check that keeps an id from being a path. Names
that a client chose never become path segments here: items and mailboxes get directories and files of our own naming.
Never touches the disk.
"""

import base64
import re
from functools import cached_property
from pathlib import Path

from .api import AccountId, CollectionKind, InvalidName, MailboxId

ACCOUNT_BYTES = 16

# 26 base32 digits carry 130 bits: the last digit holds 3 of them, so its two low bits are zero. Anything else would give
# one account two spellings, hence two directories.
_ACCOUNT = re.compile(r"[a-z2-7]{25}[aeimquy4]\Z")
_OPAQUE = re.compile(r"[a-z2-7]{26}\Z")

_COLLECTION_FOLDERS = {
    CollectionKind.CALENDAR: "calendars",
    CollectionKind.ADDRESSBOOK: "addressbooks",
    CollectionKind.PLAIN: "plain",
}


def render_account_id(raw: bytes) -> AccountId:
    """The id of 16 random bytes, as it is written everywhere."""
    if len(raw) != ACCOUNT_BYTES:
        raise InvalidName("an account id has 16 bytes")
    return AccountId(render_opaque(raw))


def parse_account_id(account: str) -> bytes:
    """The 16 bytes of an id. Raise InvalidName for anything that is not exactly one."""
    if not _ACCOUNT.match(account):
        raise InvalidName("not an account id")
    return base64.b32decode(account.upper() + "======")


def render_opaque(raw: bytes) -> str:
    """16 random bytes as a file name: lower-case base32 without padding."""
    return base64.b32encode(raw).rstrip(b"=").decode("ascii").lower()


def is_opaque(name: str) -> bool:
    """Whether a file name is one that render_opaque makes."""
    return _OPAQUE.match(name) is not None


class AccountPaths:
    """The files and directories of one account: ROOT/<shard>/<account>/...; the shard is the id's first two characters.

    Each is worked out when it is first asked for: a session that reads its INBOX needs few of them.
    """

    def __init__(self, root: Path, account: str) -> None:
        """Lay out the account below `root`. Raise InvalidName when the id is none."""
        if not _ACCOUNT.match(account):
            raise InvalidName("not an account id")
        self.root = root
        self.account = AccountId(account)
        self.directory = root / account[:2] / account

    @cached_property
    def maildir(self) -> Path:
        """INBOX, and the other mailboxes in it."""
        return self.directory / "maildir"

    @cached_property
    def dav(self) -> Path:
        """Collections."""
        return self.directory / "dav"

    @cached_property
    def tmp(self) -> Path:
        """Files being written."""
        return self.directory / "tmp"

    @cached_property
    def snap(self) -> Path:
        """Snapshots of mailboxes."""
        return self.directory / "snap"

    @cached_property
    def index_db(self) -> Path:
        """The truth."""
        return self.directory / "index.db"

    @cached_property
    def cache_db(self) -> Path:
        """What FETCH asks for."""
        return self.directory / "cache.db"

    @cached_property
    def fts_db(self) -> Path:
        """Search text."""
        return self.directory / "fts.db"

    def snapshot(self, mailbox: MailboxId) -> Path:
        """The snapshot file of a mailbox."""
        return self.snap / str(int(mailbox))

    def collection(self, kind: CollectionKind, directory: str) -> Path:
        """The directory of a collection, by its opaque name: what the client calls it may change."""
        return self.dav / _COLLECTION_FOLDERS[kind] / directory

    def collection_folder(self, kind: CollectionKind) -> Path:
        """The directory above all collections of a kind."""
        return self.dav / _COLLECTION_FOLDERS[kind]
