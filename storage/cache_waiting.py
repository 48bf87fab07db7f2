"""Answers on their way into cache.db: kept in memory for a moment, so that no delivery waits for them.

Whoever stores a message has answered for it once its file and its row in the index are durable; what FETCH will ask for can
be made again from the file at any time. So it is rendered and written a little later, for many messages in one transaction.
Until then readers of this process find it here; another process that is faster than the moment reads the message's file.

Copies wait here too: which row they are to get a copy of.

Owns what waits. Bounded: beyond the bound whoever brings more does the work.
"""

import logging
import threading
from collections.abc import Callable, Sequence
from itertools import islice

from .api import MailboxId, StoreError, Uid
from .cache import Cache, CacheRow
from .held import HELD
from .mail_derive import Derived

log = logging.getLogger("preau.storage")

MOST = 1_000
"""Rows that may wait."""

_AT_ONCE = 64

Fresh = tuple[int, bytes, Derived]
"""id, prefix of this copy, what its octets gave."""


class WaitingRows:
    """What cache.db of one account is to get. Any thread."""

    def __init__(self, cache: Cache, later: Callable[[], None], gone_among: Callable[[Sequence[int]], list[int]]) -> None:
        """`later`: has write() called soon, in the background.  `gone_among`: see MailContext."""
        self._cache = cache
        self._later = later
        self._gone_among = gone_among
        self._lock = threading.Lock()  # of the tables, never held for long
        self._writing = threading.Lock()
        self._fresh: dict[int, tuple[bytes, Derived]] = {}
        self._rendered: dict[int, CacheRow] = {}
        self._copies: dict[int, int] = {}  # new id -> old id

    def add(self, rows: Sequence[Fresh]) -> None:
        """Messages came in."""
        if not rows:
            return
        with self._lock:
            for number, prefix, derived in rows:
                self._fresh[number] = prefix, derived
            full = len(self._fresh) > MOST
        if full or HELD.full:
            self.write()
        else:
            self._later()

    def copy(self, pairs: Sequence[tuple[int, int]]) -> None:
        """Messages were copied: (old, new) ids."""
        if not pairs:
            return
        with self._lock:
            self._copies.update((new, self._copies.get(old, old)) for old, new in pairs)
        self._later()

    def find(self, mailbox: MailboxId, uids: Sequence[Uid]) -> tuple[dict[int, CacheRow], dict[int, int]]:
        """Of these messages, by id: rows that wait, and for copies the id whose row they will get. Ask before the database."""
        if not self._fresh and not self._copies:
            return {}, {}
        found: dict[int, CacheRow] = {}
        copies: dict[int, int] = {}
        base = mailbox << 32
        with self._lock:
            wanted = [number for uid in uids if (number := base | uid) in self._fresh or number in self._copies]
        for number in wanted:
            source = self._copies.get(number, number)
            row = self._row(source)
            if row is not None:
                found[number] = number, *row[1:]
            elif source != number:
                copies[number] = source
        return found, copies

    def _row(self, number: int) -> CacheRow | None:
        """The row of a message that came in, rendered once."""
        with self._lock:
            known = self._rendered.get(number)
            fresh = self._fresh.get(number)
        if known is not None or fresh is None:
            return known
        row = fresh[1].cache_row(number, fresh[0])
        with self._lock:
            if number in self._fresh:
                self._rendered[number] = row
        return row

    def write(self) -> None:
        """Write what waits. What cannot be written is let go: it is made again when it is asked for. [background]"""
        with self._writing:
            written: list[int] = []
            while self._fresh:
                with self._lock:
                    numbers = list(islice(self._fresh, _AT_ONCE))
                rows = [row for number in numbers if (row := self._row(number)) is not None]
                try:
                    self._cache.put(rows)
                    written += numbers
                except StoreError as error:
                    log.warning("cache not written", extra={"error": str(error)})
                self._let_go(numbers)
            with self._lock:
                copies = [(old, new) for new, old in self._copies.items()]
            if copies:
                try:
                    self._cache.copy(copies)
                    written += [new for _, new in copies]
                except StoreError as error:
                    log.warning("cached rows not copied", extra={"error": str(error)})
                with self._lock:
                    for _, new in copies:
                        self._copies.pop(new, None)
            self._drop_gone(written)

    def _drop_gone(self, numbers: Sequence[int]) -> None:
        """Forget rows just written of messages that another process removed, and cleared up after, before."""
        try:
            if gone := self._gone_among(numbers):
                with self._lock:
                    sources = set(self._copies.values())  # dropped by who moved them, once they are copied
                self._cache.drop([number for number in gone if number not in sources])
        except StoreError as error:
            log.warning("cached rows not dropped", extra={"error": str(error)})

    def _let_go(self, numbers: Sequence[int]) -> None:
        with self._lock:
            for number in numbers:
                self._rendered.pop(number, None)
                self._fresh.pop(number, None)
