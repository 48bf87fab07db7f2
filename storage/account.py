"""One account's store, open and shared by all who hold it in this process.

Owns the databases of the account and how long they live: the last holder's close() lets background work end and closes
them. Never knows an address; keys are handed in and forgotten at the end.
"""

import os
import stat
import threading
import time
from collections.abc import Callable

import apsw

from . import atomic
from .account_db import AccountDatabase
from .account_lock import AccountLock
from .api import AccountId, AccountKeys, ChangeBus, Collections, Mail, Quota, StoreLimits, Unavailable
from .background import Background
from .cache import Cache
from .collections import FileCollections
from .collections_schema import COLLECTIONS_SCHEMA
from .database import open_database
from .index_reader import IndexReader
from .index_schema import MAIL_SCHEMA
from .leftovers import clear_later
from .mail import FileMail
from .mail_after import after_use, rest_later
from .mail_context import MailContext
from .paths import AccountPaths
from .rebuild import is_lost, rebuild_index

_PATIENCE = 10.0  # seconds

SCHEMAS = (MAIL_SCHEMA, COLLECTIONS_SCHEMA)
"""What index.db holds."""


class FileAccount:
    """The Account of the file store."""

    def __init__(
        self,
        paths: AccountPaths,
        keys: AccountKeys,
        *,
        sealing: bool,
        limits: StoreLimits,
        bus: ChangeBus,
        background: Background,
        on_close: Callable[["FileAccount"], None],
    ) -> None:
        """Open, and make what is not there. Raise Unavailable (also DamagedDatabase: the key, or damage)."""
        self.id: AccountId = paths.account
        self.holders = 0
        self._on_close = on_close
        self._background = background
        self._lock = threading.Lock()
        _make_directories(paths)
        self._db: AccountDatabase | None = None
        self._cache: Cache | None = None
        self._reader: IndexReader | None = None
        self._mail: FileMail | None = None
        self._held = AccountLock(paths.directory, alone=False)
        self._bus = bus
        bus.watch(self.id)  # before anything is read: what is committed from here on is told
        self._index_db, self._index_key = paths.index_db, keys.index if sealing else None
        try:
            self._recover(paths, keys, sealing=sealing, limits=limits)
            self._reader = IndexReader(self._open_index(), paths.index_db.name, anew=self._open_again)
            self._db = AccountDatabase(paths.index_db, self._index_key, *SCHEMAS, is_open=True)
            self._cache = Cache(paths.cache_db, keys.cache if sealing else None)
            self.context = MailContext(
                paths,
                keys,
                sealing=sealing,
                db=self._db,
                reader=self._reader,
                cache=self._cache,
                background=background,
                bus=bus,
                limits=limits,
            )
            self._mail = FileMail(self.context)
            self.mail: Mail = self._mail
            self.collections: Collections = FileCollections(self.context)
            clear_later(self.context)
            rest_later(self.context)
        except BaseException:
            self.release()
            raise

    def _recover(self, paths: AccountPaths, keys: AccountKeys, *, sealing: bool, limits: StoreLimits) -> None:
        """Mail without an index: make one from the sidecars, before anything looks like an empty account.

        Raise Unavailable when others have the account open: they are refused every change, and must let go of it first.
        """
        deadline = time.monotonic() + _PATIENCE
        while is_lost(paths):
            if self._held.try_alone():
                if is_lost(paths):
                    rebuild_index(paths, keys, sealing=sealing, limits=limits)
                break
            if time.monotonic() > deadline:
                raise Unavailable("the account's index is lost, and others have the account open")
            time.sleep(0.05)
        self._held.share()

    def _open_index(self) -> apsw.Connection:
        return open_database(self._index_db, self._index_key, *SCHEMAS, synchronous="FULL", query_only=True)

    def _open_again(self) -> apsw.Connection:
        """The reader, after a rest. Raise Unavailable when the file it was opened with was taken away: none is made anew."""
        if self._db is None or not self._db.is_current():
            raise Unavailable(f"{self._index_db.name} was taken away")
        after_use(self.context)  # it is to rest again
        return self._open_index()

    def is_whole(self) -> bool:
        """Whether it is the account that a new holder expects: held by others, or resting over the file it was opened with."""
        return self.holders > 0 or (self._db is not None and self._db.is_current())

    def quota(self) -> Quota:
        """See Account."""
        return Quota(self.context.used(), self.context.quota)

    def close(self) -> None:
        """See Account."""
        self._on_close(self)

    def release(self) -> None:
        """Close the databases: nobody holds the account, and no job of it is left."""
        with self._lock:
            if self._mail is not None:
                self._mail.release()
            for part in (self._reader, self._cache, self._db):
                if part is not None:
                    part.close()
            self._bus.unwatch(self.id)
            self._held.release()


def _make_directories(paths: AccountPaths) -> None:
    account = str(paths.directory)
    inside = (os.path.join(account, name) for name in ("maildir", "tmp", "snap"))
    if all(map(_is_directory, (os.path.dirname(account), account, *inside))):
        return  # as nearly always; a link in place of one is refused below
    atomic.make_directories(paths.directory, below=paths.root)
    for path in (paths.maildir, paths.tmp, paths.snap):
        atomic.make_directory(path)


def _is_directory(path: str) -> bool:
    """Whether it is one itself, not a link to one."""
    try:
        return stat.S_ISDIR(os.lstat(path).st_mode)
    except OSError:
        return False
