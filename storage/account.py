"""One account's store, open and shared by all who hold it in this process.

Owns the databases of the account and how long they live: the last holder's close() lets background work end and closes
them. Never knows an address; keys are handed in and forgotten at the end.
"""

import threading
from collections.abc import Callable

from . import atomic
from .account_db import AccountDatabase
from .api import AccountId, AccountKeys, ChangeBus, Mail, Quota, StoreLimits
from .background import Background
from .cache import Cache
from .database import open_database
from .index_reader import IndexReader
from .index_schema import MAIL_SCHEMA
from .mail import FileMail
from .mail_context import MailContext
from .paths import AccountPaths


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
        index_key = keys.index if sealing else None
        self._db = AccountDatabase(paths.index_db, index_key, MAIL_SCHEMA)
        self._cache: Cache | None = None
        self._reader: IndexReader | None = None
        self._mail: FileMail | None = None
        try:
            reader = open_database(paths.index_db, index_key, MAIL_SCHEMA, synchronous="FULL", query_only=True)
            self._reader = IndexReader(reader, paths.index_db.name)
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
        except BaseException:
            self.release()
            raise

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


def _make_directories(paths: AccountPaths) -> None:
    atomic.make_directories(paths.directory, below=paths.root)
    for path in (paths.maildir, paths.tmp, paths.snap):
        atomic.make_directory(path)
