"""Cached rows and search text of messages that went: found again when whoever should have dropped them died before.

index.db remembers which messages went (`gone`, bounded). Each cache notes, a mailbox, up to which MODSEQ that has been looked
through, in the transaction that drops the rows: a power cut that brings rows back takes the note back, too. So a look costs a
lookup a message that went since the last one, and nothing where nothing went.

Owns the table `swept` and which rows are stray. Never the truth: a row that stays takes room, and nobody finds it.
"""

from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import apsw

from .database import Schema
from .index_reader import IndexReader, select

SWEPT_SCHEMA = Schema(
    name="swept",
    version=1,
    script="CREATE TABLE swept (mailbox INTEGER PRIMARY KEY, modseq INTEGER NOT NULL)",
)
"""In cache.db and fts.db: what went from a mailbox up to this MODSEQ has no rows here."""


@dataclass(frozen=True, slots=True)
class Strays:
    """What a cache holds of no message, and what may be noted once that is dropped."""

    ids: Sequence[int]
    swept: Mapping[int, int]  # mailbox -> MODSEQ
    gone: Sequence[int]  # mailboxes that are noted and are not there any more

    def __bool__(self) -> bool:
        """Whether there is anything to write."""
        return bool(self.ids or self.swept or self.gone)

    def note(self, connection: apsw.Connection) -> None:
        """Within the transaction that drops the rows."""
        connection.executemany("INSERT OR REPLACE INTO swept VALUES (?, ?)", list(self.swept.items()))
        connection.executemany("DELETE FROM swept WHERE mailbox = ?", [(mailbox,) for mailbox in self.gone])


def find_strays(connection: apsw.Connection, table: str, index: IndexReader) -> Strays:
    """Look through `table` (cache, text) of an open cache. Raise Unavailable, apsw.Error.

    What another process writes late of a message that went before, it drops by itself (WaitingRows, MailText).
    """
    noted: dict[int, int] = dict(select(connection, "SELECT mailbox, modseq FROM swept"))
    boxes = index.rows("SELECT id, highestmodseq, gone_floor FROM mailbox")
    here = {mailbox for mailbox, _, _ in boxes}
    strays: list[int] = []
    swept: dict[int, int] = {}
    for mailbox in _mailboxes_in(connection, table):
        if mailbox not in here:
            strays += _ids_of(connection, table, mailbox)
    for mailbox, highest, floor in boxes:
        mark = noted.get(mailbox, 0)
        if mark < floor:  # tombstones went that would be needed: compare
            known = {number for (number,) in index.rows("SELECT id FROM msg WHERE id BETWEEN ? AND ?", _range(mailbox))}
            strays += [number for number in _ids_of(connection, table, mailbox) if number not in known]
            swept[mailbox] = highest
        elif mark < highest:
            went = index.rows("SELECT id FROM gone WHERE id >> 32 = ? AND modseq > ?", (mailbox, mark))
            if went:
                ids = apsw.carray(array("q", [number for (number,) in went]))
                strays += [number for (number,) in select(connection, f"SELECT id FROM {table} WHERE id IN carray(?)", (ids,))]  # noqa: S608  # our own words
                swept[mailbox] = highest
    return Strays(strays, swept, sorted(noted.keys() - here))


def _range(mailbox: int) -> tuple[int, int]:
    return mailbox << 32, mailbox << 32 | 0xFFFFFFFF


def _mailboxes_in(connection: apsw.Connection, table: str) -> list[int]:
    """Each mailbox that has rows, by a lookup a mailbox."""
    found: list[int] = []
    begin = 0
    while True:
        number = connection.execute(f"SELECT id FROM {table} WHERE id >= ? ORDER BY id LIMIT 1", (begin,)).get  # noqa: S608  # our own words
        if number is None:
            return found
        found.append(int(number) >> 32)
        begin = (found[-1] + 1) << 32


def _ids_of(connection: apsw.Connection, table: str, mailbox: int) -> list[int]:
    rows = select(connection, f"SELECT id FROM {table} WHERE id BETWEEN ? AND ?", _range(mailbox))  # noqa: S608  # our own words
    return [number for (number,) in rows]
