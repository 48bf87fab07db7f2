"""Messages out: small facts, rendered answers, header fields, whole messages (all of it may run on the event loop).

Everything comes in batches of one range query each; nothing is decoded a row at a time that SQLite gives in one piece. What
cache.db does not have (it was deleted, or the message came from other software) is worked out from the file, and handed
to the background to be kept.

Owns the read path. Never writes; never holds a cursor over a yield.
"""

import logging
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import apsw

from ..formats.headers import select_fields, split_header
from .api import Facts, MailboxId, NotFound, Uid, Unavailable
from .atomic import Directory
from .cache import CacheRow
from .index_reader import UID_MASK, Row, chosen, ordered_batches, rows_of
from .index_schema import SEALED
from .mail_context import MailContext
from .mail_derive import Derived, derive_from
from .mail_reader import AnyReader, DamagedFile, open_message
from .mail_transfer import find_file
from .maildir import file_name
from .seal import InvalidSeal, SealReader

log = logging.getLogger("preau.storage")

DAMAGED = (InvalidSeal, DamagedFile)
"""What a file raises that will not be better by waiting."""

_FACTS_AT_ONCE = 512
_FACTS = "size, idate, savedate, printf('E%016x', emailid), printf('T%016x', threadid)"
_BLOBS_AT_ONCE = 64
_HEADER_PIECE = 65_536
_LONGEST_HEADER = 4 * 1024 * 1024
_DAY = 86_400
_KEEP_DEKS = 2.0  # seconds: keys of messages that are read one after the other are written in one transaction


def facts(context: MailContext, mailbox: MailboxId, uids: Sequence[Uid]) -> Iterator[Facts]:
    """See Mail.facts."""
    for batch in ordered_batches(uids, _FACTS_AT_ONCE):
        rows = context.reader.rows(*rows_of(mailbox, batch, _FACTS, "msg"))
        yield from map(Facts._make, chosen(rows, batch))


def sizes(context: MailContext, mailbox: MailboxId, uids: Sequence[Uid]) -> Iterator[tuple[Uid, int, int]]:
    """See Mail.sizes."""
    for batch in ordered_batches(uids, _FACTS_AT_ONCE):
        yield from chosen(context.reader.rows(*rows_of(mailbox, batch, "size, idate", "msg")), batch)


def rendered(context: MailContext, mailbox: MailboxId, uids: Sequence[Uid]) -> Iterator[tuple[Uid, bytes, int]]:
    """See Mail.rendered."""
    for batch in ordered_batches(uids, _BLOBS_AT_ONCE):
        rows = _cached(context, mailbox, batch, _ANSWERS)
        if len(rows) == len(batch):
            yield from rows
            continue
        there = {row[0]: row for row in rows}
        made = _derive_missing(context, mailbox, [uid for uid in batch if uid not in there])
        for uid in batch:
            if uid in there:
                yield there[uid]
            elif uid in made:
                yield uid, made[uid].rendered, made[uid].envlen


def header_fields(
    context: MailContext, mailbox: MailboxId, uids: Sequence[Uid], names: Sequence[bytes]
) -> Iterator[tuple[Uid, bytes]]:
    """See Mail.header_fields."""
    choose = context.choosers.chooser(names)
    wanted = {name.lower() for name in names}
    for batch in ordered_batches(uids, _BLOBS_AT_ONCE):
        if choose is None:
            for uid in batch:
                yield from _fields_of_file(context, mailbox, uid, wanted)
            continue
        rows = _cached(context, mailbox, batch, _SLOTS)
        if len(rows) < len(batch):
            there: dict[Uid, bytes | None] = dict(rows)
            made = _derive_missing(context, mailbox, [uid for uid in batch if uid not in there])
            there.update((uid, derived.slots(b"")) for uid, derived in made.items())
            rows = [(uid, there[uid]) for uid in batch if uid in there]
        for uid, slots in rows:
            if slots is not None:
                yield uid, choose(slots)
            else:
                yield from _fields_of_file(context, mailbox, uid, wanted)


@dataclass(frozen=True, slots=True)
class _Columns:
    """Columns of cache.db, and the same of a row that waits to be written there."""

    names: str
    table: str
    of: Callable[[CacheRow], Row]


_ANSWERS = _Columns("r, envlen", "cache", lambda row: (row[3], row[2]))
_SLOTS = _Columns("s", "slots", lambda row: (row[4],))
_SENT = _Columns("sent", "cache", lambda row: (row[1],))


def _cached(context: MailContext, mailbox: MailboxId, batch: list[Uid], columns: _Columns) -> list[Row]:
    """(UID, columns) of those that are known, ascending."""
    base = mailbox << 32
    waiting, copies = context.waiting.find(mailbox, batch)
    try:
        rows = chosen(context.cache.reader.rows(*rows_of(mailbox, batch, columns.names, columns.table)), batch)
        if waiting or copies:
            rows = _completed(context, batch, columns, rows, waiting, copies)
    except Unavailable as error:
        log.warning("cache not read", extra={"account": context.account, "error": str(error)})
        context.cache.check_file()
        return []
    if context.doomed:
        return [row for row in rows if base | row[0] not in context.doomed]
    return rows


def _completed(
    context: MailContext,
    batch: list[Uid],
    columns: _Columns,
    rows: list[Row],
    waiting: Mapping[int, CacheRow],
    copies: Mapping[int, int],
) -> list[Row]:
    """With rows that wait, and those of which the rows asked for will be copies."""
    there = {row[0]: row for row in rows}
    sources = (
        context.cache.reader.rows(
            f"SELECT id, {columns.names} FROM {columns.table} WHERE id IN carray(?)",  # noqa: S608  # our own words
            (apsw.carray(array("q", copies.values())),),
        )
        if copies
        else ()
    )
    answers = {row[0]: row[1:] for row in sources}
    for number, source in copies.items():
        uid = number & UID_MASK
        if uid not in there and source in answers:
            there[uid] = uid, *answers[source]
    for number, row in waiting.items():
        uid = number & UID_MASK
        there.setdefault(uid, (uid, *columns.of(row)))
    return [there[uid] for uid in batch if uid in there]


def _fields_of_file(context: MailContext, mailbox: MailboxId, uid: Uid, wanted: set[bytes]) -> Iterator[tuple[Uid, bytes]]:
    try:
        with read_message(context, mailbox, uid) as reader:
            found = select_fields(read_header(reader), wanted)
    except NotFound:
        return
    except DAMAGED as error:
        _tell_damage(context, uid, error)
        return
    yield uid, found


def read_header(reader: AnyReader) -> bytes:
    """The header block of an open message. Raise Unavailable."""
    data = reader.read(0, _HEADER_PIECE)
    while True:
        block, end = split_header(data)
        if end < len(data) or len(data) >= min(reader.size, _LONGEST_HEADER):
            return block
        more = reader.read(len(data), len(data))
        if not more:
            return block
        data += more


# ---------------------------------------------------------------------------------------------------------------------
# Files


def read_message(context: MailContext, mailbox: MailboxId, uid: Uid) -> AnyReader:
    """See Mail.read_message."""
    row = context.reader.first("SELECT fname, fflags, size, form, dek FROM msg WHERE id = ?", (mailbox << 32 | uid,))
    if row is None:
        raise NotFound("no such message")
    return open_row(context, mailbox, uid, row)


def open_row(context: MailContext, mailbox: MailboxId, uid: Uid, row: Row) -> AnyReader:
    """Open the file of a row (fname, fflags, size, form, dek). Raise NotFound (its file has gone), Unavailable."""
    base, shown, size, form, wrapped = row
    dek = None
    secret = None
    if form & SEALED:
        dek, secret = _keys(context, mailbox << 32 | uid, wrapped)
    try:
        cur = context.cur(mailbox, check=False)
        reader = open_message(cur, file_name(base, shown), size, form, context.account, secret_key=secret, dek=dek)
    except FileNotFoundError:
        # Renamed or taken away by other software; or a file that was adopted has just been sealed under another name.
        context.look(mailbox)
        found = find_file(context.directory(mailbox), base)
        if found is None:
            again = context.reader.first("SELECT fname, fflags, size, form, dek FROM msg WHERE id = ?", (mailbox << 32 | uid,))
            if again is not None and again[0] != base:
                return open_row(context, mailbox, uid, again)
            raise NotFound("the message's file has gone") from None
        try:
            context.cur(mailbox)  # opened anew if it was moved away
            there = Directory(found.parent)
            reader = open_message(there, found.name, size, form, context.account, secret_key=secret, dek=dek)
        except FileNotFoundError:
            raise NotFound("the message's file has gone") from None
    if dek is None and isinstance(reader, SealReader):
        _keep_dek(context, mailbox << 32 | uid, reader)
    return reader


def _keys(context: MailContext, number: int, wrapped: bytes | None) -> tuple[bytes | None, bytes | None]:
    """(DEK, None) from the row or what was worked out before; else (None, the secret key)."""
    if context.wrapping is None:
        raise Unavailable("the key that opens messages is not here")
    wrapped = wrapped or context.deks.get(number)
    if wrapped is not None:
        try:
            return context.wrapping.unwrap(wrapped), None
        except InvalidSeal:
            log.warning("a wrapped key does not open", extra={"account": context.account})
    return None, context.keys.secret


def _keep_dek(context: MailContext, number: int, reader: SealReader) -> None:
    """Unwrapping by HPKE happened once: keep the key, wrapped for the next time, in the row."""
    if context.wrapping is not None:
        context.deks[number] = context.wrapping.wrap(reader.dek)
        context.background.submit(("deks", context.account), lambda: write_deks(context), delay=_KEEP_DEKS)


def write_deks(context: MailContext) -> None:
    """Wrapped keys into their rows. Raise Unavailable. [background]"""
    pairs = list(context.deks.items())
    if not pairs:
        return
    context.change("UPDATE msg SET dek = ? WHERE id = ?", *[(dek, number) for number, dek in pairs])
    for number, _ in pairs:
        context.deks.pop(number, None)


# ---------------------------------------------------------------------------------------------------------------------
# What the cache lacks


def _derive_missing(context: MailContext, mailbox: MailboxId, uids: Iterable[Uid]) -> dict[Uid, Derived]:
    """Work out what cache.db lacks from the files, and have it kept."""
    made: dict[Uid, Derived] = {}
    for uid in uids:
        try:
            made[uid] = derive_message(context, mailbox, uid)
        except NotFound:
            continue
        except DAMAGED as error:
            _tell_damage(context, uid, error)
    if made:
        context.waiting.add([(mailbox << 32 | uid, b"", derived) for uid, derived in made.items()])
    return made


def _tell_damage(context: MailContext, uid: Uid, error: Exception) -> None:
    # One damaged file must not take a whole mailbox with it: it is left out, and told to who can do something about it.
    log.error("a message cannot be read", extra={"account": context.account, "uid": uid, "error": str(error)})


def derive_message(context: MailContext, mailbox: MailboxId, uid: Uid) -> Derived:
    """derive() of a stored message, read in pieces. Raise NotFound, Unavailable."""
    with read_message(context, mailbox, uid) as reader:
        return derive_from(reader)


def sent_dates(context: MailContext, mailbox: MailboxId, uids: Sequence[Uid]) -> Mapping[Uid, int]:
    """See Mail.sent_dates."""
    days: dict[Uid, int] = {}
    for batch in ordered_batches(uids, 4 * _FACTS_AT_ONCE):
        sent: dict[Uid, int | None] = dict(_cached(context, mailbox, batch, _SENT))
        missing = [uid for uid in batch if uid not in sent]
        there: dict[Uid, int] = dict(chosen(context.reader.rows(*rows_of(mailbox, batch, "idate", "msg")), batch))
        if missing:
            made = _derive_missing(context, mailbox, [uid for uid in missing if uid in there])
            sent.update((uid, derived.sent) for uid, derived in made.items())
        for uid, idate in there.items():
            day = sent.get(uid)
            days[Uid(uid)] = idate // _DAY if day is None else day
    return days
