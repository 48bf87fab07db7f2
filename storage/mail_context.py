"""What the parts of one account's mail share: where files lie, keys, the index, the cache, and who is to be told.

Owns the file names given out (unique by time, process and counter), the spelling of paths below the Maildir, and the
directories' mtimes as our own changes leave them. Holds no rule about messages or mailboxes.
"""

import itertools
import os
import socket
import threading
import time
from array import array
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import apsw

from .account_db import AccountDatabase
from .api import AccountId, AccountKeys, Change, ChangeBus, MailboxId, ModSeq, NotFound, StoreLimits
from .atomic import Directory
from .background import Background
from .cache import Cache, FieldChoosers
from .cache_waiting import WaitingRows
from .index_reader import IndexReader
from .maildir import is_directory_name, render_base
from .paths import AccountPaths
from .seal import DekWrapping

if TYPE_CHECKING:
    from .mail_text import MailText
    from .open_mailbox import SharedMailbox
    from .sidecar import Sidecars


class Look(Protocol):
    """Has a mailbox's directory looked at in the background, once, after some seconds."""

    def __call__(self, mailbox: MailboxId, *, delay: float = 0.0) -> None:
        """Have it done."""


_CACHE_DELAY = 0.05  # seconds: what comes in bursts is written once, and other processes find it nearly at once
_TMP_EVERY = 1.0  # seconds
_HOST = socket.gethostname()
_COUNTER = itertools.count()
_CHOOSERS = FieldChoosers()


class OwnChange:
    """The mtime of a `cur` before and after changes of ours; equal when something else came between.

    `with context.own_change(mailbox, cur) as change:` around renames, links and unlinks by us: the new mtime does not mean
    that somebody else was there. Within this process one at a time; what another process does meanwhile makes the mtimes
    differ, hence a look.
    """

    __slots__ = ("_clean", "_cur", "_lock", "_mailbox", "after", "before")

    def __init__(
        self, mailbox: MailboxId, cur: Directory, lock: threading.Lock, clean: dict[MailboxId, tuple[int, int]]
    ) -> None:
        """`clean`: the mtimes known of each mailbox, under `lock`."""
        self.before = 0
        self.after = 0
        self._mailbox = mailbox
        self._cur = cur
        self._lock = lock
        self._clean = clean

    def __enter__(self) -> "OwnChange":
        self._lock.acquire()
        self.before = self._cur.mtime
        return self

    def __exit__(self, *error: object) -> None:
        self.after = self._cur.mtime
        clean = self._clean.get(self._mailbox)
        if clean is not None and clean[0] == self.before:
            self._clean[self._mailbox] = (self.after, clean[1])
        self._lock.release()


class MailContext:
    """The shared parts of one open account. Any thread."""

    def __init__(
        self,
        paths: AccountPaths,
        keys: AccountKeys,
        *,
        sealing: bool,
        db: AccountDatabase,
        reader: IndexReader,
        cache: Cache,
        background: Background,
        bus: ChangeBus,
        limits: StoreLimits,
    ) -> None:
        """Bring them together."""
        self.account: AccountId = paths.account
        self.paths = paths
        self.keys = keys
        self.sealing = sealing
        self.db = db
        self.reader = reader
        self.cache = cache
        self.waiting = WaitingRows(cache, self._write_cache_later, self.gone_among)
        self.background = background
        self.bus = bus
        self.limits = limits
        self.quota: int | None = None
        self.wrapping = DekWrapping(keys.secret) if sealing and keys.secret is not None else None
        self.choosers = _CHOOSERS
        self.open: dict[MailboxId, SharedMailbox] = {}
        self.doomed: set[int] = set()
        """Ids whose rows are gone from the index but perhaps not yet from the cache."""
        self.deks: dict[int, bytes] = {}
        """Wrapped keys worked out by reading, on their way into the index."""
        self.last_used = 0.0
        self.text: MailText
        self.sidecars: Sidecars
        self.look: Look
        self._directories: dict[MailboxId, str] = {}
        self._cur: dict[MailboxId, Directory] = {}
        self._tmp: Directory | None = None
        self._look_at_tmp = 0.0
        self._renaming = threading.Lock()
        self._clean: dict[MailboxId, tuple[int, int]] = {}

    # -- keys

    def use_keys(self, keys: AccountKeys) -> None:
        """Take the secret key that a later holder of the account brings."""
        if self.keys.secret is None and keys.secret is not None:
            self.keys = keys
            if self.sealing:
                self.wrapping = DekWrapping(keys.secret)

    @property
    def public_key(self) -> bytes | None:
        """What new files are sealed with; None: not at all."""
        return self.keys.public if self.sealing else None

    @property
    def cache_key(self) -> bytes | None:
        """What caches are encrypted with; None: not at all."""
        return self.keys.cache if self.sealing else None

    @property
    def may_adopt(self) -> bool:
        """Whether files of others are taken in here: whoever cannot open sealed files (delivery) leaves that to others."""
        return not self.sealing or self.wrapping is not None

    def used(self) -> int:
        """Octets that count for the quota. Raise Unavailable."""
        return int(self.reader.rows("SELECT bytes FROM account")[0][0])

    # -- paths

    def directory(self, mailbox: MailboxId) -> Path:
        """The directory of a mailbox. Raise NotFound."""
        return self.directory_path(self.directory_name(mailbox))

    def directory_name(self, mailbox: MailboxId) -> str:
        """Its `dir` in the index, which never changes. Raise NotFound."""
        name = self._directories.get(mailbox)
        if name is None:
            row = self.reader.first("SELECT dir FROM mailbox WHERE id = ?", (mailbox,))
            if row is None:
                raise NotFound("no such mailbox")
            name = self._directories[mailbox] = str(row[0])
        return name

    def cur(self, mailbox: MailboxId, *, check: bool = True) -> Directory:
        """Its cur/, open. Raise NotFound, FileNotFoundError, Unavailable.

        Without `check` it may be one that others have moved elsewhere: who only reads in it learns so by what is missing.
        """
        held = self._cur.get(mailbox)
        if held is None or (check and not held.is_current()):
            held = self._cur[mailbox] = Directory(self.directory(mailbox) / "cur")
        return held

    def tmp(self) -> Directory:
        """The account's tmp/, open. Raise FileNotFoundError, Unavailable."""
        held, now = self._tmp, time.monotonic()
        if held is not None and now > self._look_at_tmp and not held.is_current():
            held = None
        if held is None or now > self._look_at_tmp:
            self._look_at_tmp = now + _TMP_EVERY
        if held is None:
            held = self._tmp = Directory(self.paths.tmp)
        return held

    def relax(self) -> None:
        """Let go of directories: they are opened again when they are needed."""
        self._cur.clear()
        self._tmp = None

    def directory_path(self, name: str) -> Path:
        """The path of a `dir`. Raise NotFound for one that would lead elsewhere."""
        if not is_directory_name(name):
            raise NotFound("no such mailbox")
        return self.paths.maildir / name if name else self.paths.maildir

    def forget(self, mailbox: MailboxId) -> None:
        """The mailbox is gone."""
        self._directories.pop(mailbox, None)
        self._cur.pop(mailbox, None)
        self._clean.pop(mailbox, None)

    def new_base(self, *, size: int, email_id: int, delivery: bytes | None = None) -> str:
        """A base name that no other file has or will have."""
        return render_base(
            time_us=time.time_ns() // 1000,
            process=os.getpid(),
            counter=next(_COUNTER),
            host=_HOST,
            email_id=email_id,
            size=size,
            delivery=delivery,
        )

    # -- mtimes

    def own_change(self, mailbox: MailboxId, cur: Directory) -> OwnChange:
        """See OwnChange."""
        return OwnChange(mailbox, cur, self._renaming, self._clean)

    def set_clean(self, mailbox: MailboxId, mtimes: tuple[int, int]) -> None:
        """The directories held nothing unknown when they had these mtimes (cur, new)."""
        with self._renaming:
            self._clean[mailbox] = mtimes

    def is_clean(self, mailbox: MailboxId, mtimes: tuple[int, int]) -> bool:
        """Whether this process knows that the directories hold nothing unknown. Asks the index when it does not."""
        if self._clean.get(mailbox) == mtimes:
            return True
        row = self.reader.first("SELECT cur_mtime, new_mtime FROM mailbox WHERE id = ?", (mailbox,))
        if row is None or row == mtimes:
            with self._renaming:
                self._clean[mailbox] = mtimes
            return True
        return False

    def gone_among(self, ids: Sequence[int]) -> list[int]:
        """Those of ids that no message has. Raise Unavailable.

        Asked after something was written about messages that another process may have removed meanwhile: its own clearing
        up may have been before that.
        """
        if not ids:
            return []
        here = self.reader.rows("SELECT id FROM msg WHERE id IN carray(?)", (apsw.carray(array("q", ids)),))
        return sorted(set(ids).difference(number for (number,) in here))

    # -- single statements

    def change(self, statement: str, *rows: Sequence[Any]) -> None:
        """One statement for each row of bindings, in a transaction; on disk when it returns. Raise Unavailable."""

        def run(connection: apsw.Connection) -> None:
            for bindings in rows:
                connection.execute(statement, tuple(bindings))

        self.db.transact(run)

    # -- others

    def _write_cache_later(self) -> None:
        self.background.submit(("cache", self.account), self.waiting.write, delay=_CACHE_DELAY)

    def announce(self, mailbox: MailboxId | int, modseq: ModSeq | int) -> None:
        """Tell everybody what was committed; mailbox 0: the list of mailboxes."""
        self.bus.announce(Change(self.account, int(mailbox), int(modseq)))


def mtime_of(directory: Path) -> int:
    """A directory's mtime in nanoseconds; 0 when it is not there."""
    try:
        return os.stat(directory).st_mtime_ns
    except OSError:
        return 0


def new_email_id() -> int:
    """63 random bits."""
    return int.from_bytes(os.urandom(8), "big") >> 1
