"""Rows of mailboxes in index.db: made, renamed, deleted, listed, subscribed (writing functions run inside a transaction).

Owns names and their rules, mailbox ids (none is used twice), UIDVALIDITY (from a counter of the account that only rises;
another for a mailbox made anew under an old name) and the choice of a directory.
Never touches the disk.
"""

import secrets
import time
from collections.abc import Sequence

import apsw

from .api import (
    DELIMITER,
    AlreadyExists,
    Forbidden,
    InvalidName,
    MailboxId,
    MailboxInfo,
    MailboxStatus,
    ModSeq,
    NotFound,
    StoreLimits,
    Uid,
    UidValidity,
)
from .index_reader import IndexReader, Row, select
from .mail_context import OwnChange
from .maildir import directory_name, hashed_directory

INBOX = "INBOX"

DEFAULT_MAILBOXES: tuple[tuple[str, str], ...] = (
    (INBOX, ""),
    ("Drafts", "\\Drafts"),
    ("Sent", "\\Sent"),
    ("Junk", "\\Junk"),
    ("Trash", "\\Trash"),
    ("Archive", "\\Archive"),
)
"""What a new account begins with, all subscribed; and special use (RFC 6154)."""

_COLUMNS = (
    "m.id, m.name, m.uidvalidity, m.special_use, EXISTS (SELECT 1 FROM subscription AS s WHERE s.name = m.name), m.object_id"
)


def checked_name(name: str, limits: StoreLimits) -> str:
    """The name as it is kept: INBOX in capitals. Raise InvalidName."""
    parts = name.split(DELIMITER)
    if parts[0].upper() == INBOX:
        parts[0] = INBOX
    if any(not part or part in (".", "..") for part in parts):
        raise InvalidName("a mailbox name has no empty, `.` or `..` parts")
    if any(ord(character) < 32 or 127 <= ord(character) < 160 or character in "\u2028\u2029" for character in name):
        raise InvalidName("a mailbox name has no control characters")
    try:
        octets = len(name.encode())
    except UnicodeEncodeError:
        raise InvalidName("a mailbox name is Unicode text") from None
    if octets > limits.mailbox_name:
        raise InvalidName(f"a mailbox name has at most {limits.mailbox_name} octets")
    if len(parts) > limits.mailbox_depth:
        raise InvalidName(f"a mailbox name has at most {limits.mailbox_depth} parts")
    return DELIMITER.join(parts)


# ---------------------------------------------------------------------------------------------------------------------
# Reading


def list_mailboxes(reader: IndexReader) -> list[MailboxInfo]:
    """All by name, INBOX first."""
    rows = reader.rows(f"SELECT {_COLUMNS} FROM mailbox AS m")  # noqa: S608  # our own words
    return sorted((_info(row) for row in rows), key=lambda info: (info.name != INBOX, info.name))


def find_mailbox(reader: IndexReader, name: str) -> MailboxInfo:
    """One by its checked name. Raise NotFound."""
    row = reader.first(f"SELECT {_COLUMNS} FROM mailbox AS m WHERE m.name = ?", (name,))  # noqa: S608  # our own words
    if row is None:
        raise NotFound("no such mailbox")
    return _info(row)


def _info(row: Row) -> MailboxInfo:
    number, name, uidvalidity, special_use, subscribed, object_id = row
    return MailboxInfo(
        MailboxId(number), name, UidValidity(uidvalidity), frozenset(special_use.split()), bool(subscribed), object_id
    )


def read_status(reader: IndexReader, mailboxes: Sequence[MailboxId]) -> list[MailboxStatus]:
    """Counters of those that are there, in the order asked."""
    columns = "id, messages, unseen, deleted, bytes, uidnext, uidvalidity, highestmodseq"
    if len(mailboxes) == 1:
        rows = reader.rows(f"SELECT {columns} FROM mailbox WHERE id = ?", (mailboxes[0],))  # noqa: S608  # our own words
    else:
        rows = reader.rows(f"SELECT {columns} FROM mailbox")  # noqa: S608  # our own words
    there = {
        row[0]: MailboxStatus(
            MailboxId(row[0]), row[1], row[2], row[3], row[4], Uid(row[5]), UidValidity(row[6]), ModSeq(row[7])
        )
        for row in rows
    }
    return [there[mailbox] for mailbox in mailboxes if mailbox in there]


# ---------------------------------------------------------------------------------------------------------------------
# Writing


def next_uidvalidity(connection: apsw.Connection) -> int:
    """One that the account never gave out: the time, or one more than the last."""
    return int(
        connection.execute(
            "UPDATE account SET uidvalidity = max(uidvalidity + 1, ?) RETURNING uidvalidity", (int(time.time()) & 0x7FFFFFFF,)
        ).get
    )


def insert_mailbox(connection: apsw.Connection, name: str, special_use: str = "") -> tuple[MailboxId, str]:
    """A new mailbox of a checked name: its id and its directory. Raise AlreadyExists."""
    if connection.execute("SELECT 1 FROM mailbox WHERE name = ?", (name,)).get is not None:
        raise AlreadyExists("there is a mailbox of that name")
    number = int(connection.execute("UPDATE account SET mailbox = mailbox + 1 RETURNING mailbox").get)
    directory = directory_name(name)
    if _is_taken(connection, directory):
        directory = hashed_directory(name, number)
    connection.execute(
        "INSERT INTO mailbox (id, name, dir, uidvalidity, special_use, object_id) VALUES (?, ?, ?, ?, ?, ?)",
        (number, name, directory, next_uidvalidity(connection), special_use, new_object_id()),
    )
    return MailboxId(number), directory


def new_object_id() -> str:
    """A MAILBOXID (RFC 8474): never given twice."""
    return "M" + secrets.token_hex(12)


def _is_taken(connection: apsw.Connection, directory: str) -> bool:
    return (
        connection.execute(
            "SELECT 1 FROM mailbox WHERE dir = ?1 UNION ALL SELECT 1 FROM trash WHERE dir = ?1", (directory,)
        ).get
        is not None
    )


def insert_with_parents(
    connection: apsw.Connection, name: str, special_use: str, limits: StoreLimits
) -> list[tuple[MailboxId, str]]:
    """A new mailbox and the parents it lacks, parents first. Raise AlreadyExists, Forbidden (too many)."""
    parts = name.split(DELIMITER)
    made = [
        insert_mailbox(connection, parent)
        for parent in (DELIMITER.join(parts[:depth]) for depth in range(1, len(parts)))
        if connection.execute("SELECT 1 FROM mailbox WHERE name = ?", (parent,)).get is None
    ]
    made.append(insert_mailbox(connection, name, special_use))
    _check_number(connection, limits)
    return made


def _check_number(connection: apsw.Connection, limits: StoreLimits) -> None:
    if connection.execute("SELECT count(*) FROM mailbox").get > limits.mailboxes:
        raise Forbidden(f"an account has at most {limits.mailboxes} mailboxes")


def rename_rows(
    connection: apsw.Connection, name: str, new_name: str, limits: StoreLimits
) -> tuple[list[MailboxId], list[tuple[MailboxId, str]]]:
    """Give a mailbox and its children new names: ids of those renamed, and parents that had to be made.

    Raise NotFound, AlreadyExists, Forbidden (into itself), InvalidName (a child's name would be too long or deep).
    """
    if connection.execute("SELECT 1 FROM mailbox WHERE name = ?", (name,)).get is None:
        raise NotFound("no such mailbox")
    if connection.execute("SELECT 1 FROM mailbox WHERE name = ?", (new_name,)).get is not None:
        raise AlreadyExists("there is a mailbox of that name")
    if new_name.startswith(name + DELIMITER):
        raise Forbidden("a mailbox does not go into itself")
    below = name + DELIMITER
    rows = select(
        connection,
        "SELECT id, name FROM mailbox WHERE name = ?1 OR (name > ?2 AND name < ?3)",
        (name, below, name + chr(ord(DELIMITER) + 1)),
    )
    for number, old in rows:
        renamed = checked_name(new_name + old[len(name) :], limits)
        try:
            connection.execute("UPDATE mailbox SET name = ? WHERE id = ?", (renamed, number))
        except apsw.ConstraintError:
            raise AlreadyExists("there is a mailbox of that name") from None
    parts = new_name.split(DELIMITER)
    made = [
        insert_mailbox(connection, parent)
        for parent in (DELIMITER.join(parts[:depth]) for depth in range(1, len(parts)))
        if connection.execute("SELECT 1 FROM mailbox WHERE name = ?", (parent,)).get is None
    ]
    _check_number(connection, limits)
    return [MailboxId(number) for number, _ in rows], made


def delete_rows(connection: apsw.Connection, name: str) -> MailboxId:
    """Delete a mailbox with its messages; its directory is noted in `trash`. Raise NotFound, Forbidden (INBOX)."""
    if name == INBOX:
        raise Forbidden("INBOX is not deleted")
    found = connection.execute("SELECT id, dir, bytes FROM mailbox WHERE name = ?", (name,)).fetchone()
    if found is None:
        raise NotFound("no such mailbox")
    number, directory, size = found
    first, last = number << 32, number << 32 | 0xFFFFFFFF
    connection.execute("DELETE FROM msg WHERE id BETWEEN ? AND ?", (first, last))
    connection.execute("DELETE FROM gone WHERE id BETWEEN ? AND ?", (first, last))
    connection.execute("DELETE FROM keyword WHERE mailbox = ?", (number,))
    connection.execute("DELETE FROM unlink WHERE dir = ?", (directory,))
    connection.execute("DELETE FROM mailbox WHERE id = ?", (number,))
    connection.execute("INSERT INTO trash VALUES (?, ?)", (directory, number))
    connection.execute("UPDATE account SET bytes = bytes - ?", (size,))
    return MailboxId(number)


def set_subscribed(connection: apsw.Connection, name: str, subscribed: bool, limit: int) -> None:
    """Note or forget a subscription. Raise Forbidden (too many)."""
    if not subscribed:
        connection.execute("DELETE FROM subscription WHERE name = ?", (name,))
        return
    connection.execute("INSERT OR IGNORE INTO subscription VALUES (?)", (name,))
    if connection.execute("SELECT count(*) FROM subscription").get > limit:
        raise Forbidden("too many subscriptions")


def note_own_change(connection: apsw.Connection, mailbox: MailboxId, change: OwnChange) -> None:
    """The mtime of cur/ moved by our own hand: nothing to look for, unless it had moved before."""
    connection.execute(
        "UPDATE mailbox SET cur_mtime = ? WHERE id = ? AND cur_mtime = ?", (change.after, mailbox, change.before)
    )
