"""What survives the loss of index.db: a list of UIDs and a description beside each mailbox (decisions 22).

`preau-uidlist` in a mailbox's directory grows by a line a message, at most a second behind; its form is Dovecot's
(version 3), with our own letters:

    3 V1764040000 M7 Pobject-id N42
    12 I1764039999 A1764040000 T00f1... :1764040000.preau-M000123P4711Q9E....host,S=2048,W=2048

V uidvalidity, M mailbox id, P MAILBOXID, N the next UID when the list was begun; I internal date, A save date, T THREADID.
A line for a message that has gone does no harm: it has no file. The list is begun anew when most of its lines are such.

`collection.json` holds name, uidvalidity, special use and keywords, and a MODSEQ that the mailbox has not come to (INBOX: a
sync token of the account's collections, too), which changes once in a million; `maildir/subscriptions.json` the subscribed
names. Both are replaced when they change.

Owns both forms. Never the truth while index.db is there.
"""

import json
import logging
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import atomic
from .api import MailboxId, NotFound, StoreError
from .index_mailboxes import INBOX
from .index_reader import IndexReader, select
from .mail_context import MailContext

log = logging.getLogger("preau.storage")

UIDLIST = "preau-uidlist"
DESCRIPTION = "collection.json"
SUBSCRIPTIONS = "subscriptions.json"

_DELAY = 0.5  # seconds
_MAX_LIST = 1 << 30
_MAX_JSON = 1 << 20
_TAIL = 4_096
_LINES_AT_ONCE = 2_000
_APPENDED = 32_768
"""Octets added between two flushes, at most: a power cut tears no more than that."""
_CHECKED = 2 * _APPENDED
"""Octets at the end of a list that are compared with the index when the account is opened."""

_HEAD = re.compile(rb"3 V([0-9]{1,10}) M([0-9]{1,10}) P([A-Za-z0-9]{1,64}) N([0-9]{1,10})\Z")
_LINE = re.compile(rb"([0-9]{1,10}) I(-?[0-9]{1,12}) A([0-9]{1,12}) T([0-9a-f]{16}) :([\x21-\x7e]{1,200})\Z")


@dataclass(frozen=True, slots=True)
class Listed:
    """A message as its sidecar tells it."""

    uid: int
    idate: int
    savedate: int
    thread_id: int


@dataclass(frozen=True, slots=True)
class UidList:
    """A whole sidecar: messages by base name."""

    uidvalidity: int
    mailbox: int
    object_id: str
    uidnext: int  # at least
    messages: dict[str, Listed]


class Sidecars:
    """Keeps the sidecars of one account up with its index. Any thread."""

    def __init__(self, context: MailContext) -> None:
        """Nothing is behind yet, as far as this process knows."""
        self._context = context
        self._anew: set[MailboxId] = set()

    def changed(self, mailbox: MailboxId, *, anew: bool = False) -> None:
        """Messages or properties of a mailbox changed: write what is behind, soon. `anew`: the whole list."""
        context = self._context
        if anew:
            self._anew.add(mailbox)
        context.background.submit(("sidecar", context.account, mailbox), lambda: self.write(mailbox), delay=_DELAY)

    def changed_list(self) -> None:
        """Subscriptions changed."""
        context = self._context
        context.background.submit(("sidecar", context.account, 0), self.write_subscriptions, delay=_DELAY)

    def write(self, mailbox: MailboxId, *, anew: bool = False) -> None:
        """Bring both files of a mailbox up to date, durably. Raise Unavailable. [background]"""
        if anew:
            self._anew.add(mailbox)
        try:
            directory = self._context.directory(mailbox)
            description = describe(self._context.reader, mailbox)
            _replace_if_other(directory / DESCRIPTION, description)
            self._write_list(mailbox, directory / UIDLIST)
        except (NotFound, FileNotFoundError):
            return  # deleted meanwhile

    def write_subscriptions(self) -> None:
        """Bring the list of subscriptions up to date. Raise Unavailable. [background]"""
        _replace_if_other(self._context.paths.maildir / SUBSCRIPTIONS, render_subscriptions(self._context))

    def catch_up(self) -> None:
        """Bring up to date what a process that died left behind or torn. Raise Unavailable. [background]"""
        for (mailbox,) in self._context.reader.rows("SELECT id FROM mailbox"):
            try:
                torn = not self._is_whole(mailbox, self._context.directory(mailbox) / UIDLIST)
            except (NotFound, FileNotFoundError):
                continue  # deleted meanwhile; or its directory is not there, which is not ours to mend
            self.write(mailbox, anew=torn)
        self.write_subscriptions()

    def _is_whole(self, mailbox: MailboxId, path: Path) -> bool:
        """Whether the end of a list names the messages that it should."""
        try:
            descriptor = atomic.open_for_reading(path)
        except (FileNotFoundError, StoreError):
            return True  # none: written whole in any case
        try:
            begin = max(0, os.fstat(descriptor).st_size - _CHECKED)
            lines = os.pread(descriptor, _CHECKED, begin).split(b"\n")[1:-1]  # the head, or the end of a line
        finally:
            os.close(descriptor)
        listed: dict[str, int] = {}
        for line in lines:
            match = _LINE.match(line)
            if match is None:
                return False
            listed[match[5].decode("ascii")] = int(match[1])
        if not listed:
            return True
        first = min(listed.values()) if begin else 0
        rows = self._context.reader.rows(
            "SELECT fname FROM msg WHERE id BETWEEN ? AND ?", (mailbox << 32 | first, mailbox << 32 | max(listed.values()))
        )
        return all(base in listed for (base,) in rows)

    def _write_list(self, mailbox: MailboxId, path: Path) -> None:
        head_row = self._context.reader.first(
            "SELECT uidvalidity, object_id, messages, uidnext FROM mailbox WHERE id = ?", (mailbox,)
        )
        if head_row is None:
            return
        uidvalidity, object_id, messages, uidnext = head_row
        head = b"3 V%d M%d P%s N" % (uidvalidity, mailbox, object_id.encode())
        last, size = last_listed(path, head)
        anew = mailbox in self._anew
        self._anew.discard(mailbox)
        if anew or last is None or size > 65_536 + 600 * max(1, messages):
            # N keeps what the lines of removed messages would have told.
            begun = head + b"%d\n" % uidnext
            atomic.replace_file(path, begun + b"".join(self._lines(mailbox, 0)), tmp=self._context.paths.tmp)
            return
        if last + 1 >= uidnext:
            return
        file: atomic.AppendFile | None = None
        try:
            for piece in _in_pieces(self._lines(mailbox, last)):
                file = file or atomic.AppendFile(path)
                file.append(piece)
                file.sync()
        finally:
            if file is not None:
                file.close()

    def _lines(self, mailbox: MailboxId, after: int) -> Iterator[bytes]:
        position, end = mailbox << 32 | after, mailbox << 32 | 0xFFFFFFFF
        while True:
            with self._context.db.read() as connection:
                rows = select(
                    connection,
                    "SELECT id, idate, savedate, threadid, fname FROM msg WHERE id > ? AND id <= ? ORDER BY id LIMIT ?",
                    (position, end, _LINES_AT_ONCE),
                )
            for number, idate, savedate, thread_id, base in rows:
                yield b"%d I%d A%d T%016x :%s\n" % (number & 0xFFFFFFFF, idate, savedate, thread_id, base.encode())
            if len(rows) < _LINES_AT_ONCE:
                return
            position = rows[-1][0]


def _in_pieces(lines: Iterable[bytes]) -> Iterator[bytes]:
    piece = b""
    for line in lines:
        if piece and len(piece) + len(line) > _APPENDED:
            yield piece
            piece = b""
        piece += line
    if piece:
        yield piece


def describe(index: IndexReader, mailbox: MailboxId) -> bytes:
    """collection.json of a mailbox. Raise NotFound."""
    row = index.first("SELECT name, uidvalidity, special_use, object_id, highestmodseq FROM mailbox WHERE id = ?", (mailbox,))
    if row is None:
        raise NotFound("no such mailbox")
    keywords = index.rows("SELECT bit, name FROM keyword WHERE mailbox = ? ORDER BY bit", (mailbox,))
    description = {
        "kind": "mailbox",
        "id": int(mailbox),
        "name": row[0],
        "uidvalidity": row[1],
        "special_use": row[2].split(),
        "object_id": row[3],
        "keywords": [name for _, name in keywords],
        "modseq": _beyond(row[4]),
    }
    if row[0] == INBOX:
        token = index.first("SELECT token FROM collections")
        description["token"] = _beyond(token[0] if token else 0)
    return json.dumps(description, ensure_ascii=False, indent=1, sort_keys=True).encode()


def _beyond(number: int) -> int:
    """What a rebuild may go on from: more than was given out, and than will be while this is written anew."""
    return ((number >> 20) + 2) << 20


def render_subscriptions(context: MailContext) -> bytes:
    """subscriptions.json. Raise Unavailable."""
    rows = context.reader.rows("SELECT name FROM subscription ORDER BY name")
    return json.dumps([name for (name,) in rows], ensure_ascii=False, indent=1).encode()


def _replace_if_other(path: Path, data: bytes) -> None:
    try:
        if atomic.read_file(path, limit=_MAX_JSON) == data:
            return
    except (FileNotFoundError, StoreError):
        pass
    atomic.replace_file(path, data)


def last_listed(path: Path, head: bytes) -> tuple[int | None, int]:
    """The last UID in a sidecar and the file's size; None when it is not there, of another life, or torn."""
    try:
        descriptor = atomic.open_for_reading(path)
    except (FileNotFoundError, StoreError):
        return None, 0
    try:
        size = os.fstat(descriptor).st_size
        first = os.pread(descriptor, len(head) + 16, 0)
        if not first.startswith(head) or b"\n" not in first:
            return None, size
        tail = os.pread(descriptor, _TAIL, max(0, size - _TAIL))
    finally:
        os.close(descriptor)
    if not tail.endswith(b"\n"):
        return None, size
    line = tail[:-1].rpartition(b"\n")[2]
    match = _LINE.match(line)
    if match is None:
        return (0, size) if _HEAD.match(line) else (None, size)
    return int(match[1]), size


def read_uidlist(path: Path) -> UidList | None:
    """A whole sidecar; lines that are torn or strange are passed over. None when it is not there or has no head."""
    try:
        data = atomic.read_file(path, limit=_MAX_LIST)
    except (FileNotFoundError, StoreError):
        return None
    lines = data.split(b"\n")
    head = _HEAD.match(lines[0])
    if head is None:
        return None
    messages: dict[str, Listed] = {}
    for line in lines[1:]:
        match = _LINE.match(line)
        if match is not None:
            listed = Listed(int(match[1]), int(match[2]), int(match[3]), int(match[4], 16) & 0x7FFFFFFFFFFFFFFF)
            messages[match[5].decode("ascii")] = listed
    uidnext = max([int(head[4]), *(listed.uid + 1 for listed in messages.values())])
    return UidList(int(head[1]), int(head[2]), head[3].decode("ascii"), uidnext, messages)


def read_json(path: Path) -> Any:
    """A JSON file of ours; None when it is not there or damaged."""
    try:
        return json.loads(atomic.read_file(path, limit=_MAX_JSON))
    except (FileNotFoundError, StoreError, ValueError, RecursionError):
        return None
