"""The store as everybody else sees it: values, errors and protocols.

Owns the vocabulary that daemons and the store share. Two implementations answer it: `storage.store` (files and SQLite)
and `storage.memory` (dicts, for tests); both pass `tests/support/store_contract.py`.

Where a call may run stands in its docstring. [inline]: microseconds, on the event loop. [thread]: fsync, listdir or
much decoding; a shell hands it to a worker thread. An `OpenMailbox` belongs to the loop's thread; everything else may
be called from any thread.

Never says a protocol's word: which code a `NotFound` becomes is decided once a protocol (imap/answers.py, smtp/reply.py).
"""

from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, StrEnum
from types import MappingProxyType
from typing import NamedTuple, NewType, Protocol

# ---------------------------------------------------------------------------------------------------------------------
# Names and numbers that must not be mixed

AccountId = NewType("AccountId", str)
"""16 random bytes as 26 characters of lower-case base32 without padding; its first two are the shard. Never an address."""

MailboxId = NewType("MailboxId", int)
CollectionId = NewType("CollectionId", int)
Uid = NewType("Uid", int)
UidValidity = NewType("UidValidity", int)
ModSeq = NewType("ModSeq", int)
ETag = NewType("ETag", str)
Href = NewType("Href", str)
"""The last path segment of an item, as the client chose it. Never used as a file name."""
SyncToken = NewType("SyncToken", int)

# ---------------------------------------------------------------------------------------------------------------------
# Errors


class StoreError(Exception):
    """Something the store cannot do. `temporary` tells whether the same call may succeed later."""

    temporary = False


class NotFound(StoreError):
    """No such mailbox, collection, item or message (or not for you: the same answer)."""


class AlreadyExists(StoreError):
    """A mailbox, collection or item of that name is there already."""


class InvalidName(StoreError):
    """A name the store does not take: NUL or control characters, empty parts, `.` or `..` parts, too long, too deep."""


class Forbidden(StoreError):
    """Well-formed, but not done: INBOX deleted, a keyword too many, more mailboxes than the limit."""


class Conflict(StoreError):
    """A precondition failed: the ETag or MODSEQ is another by now, or the UID is taken (`uid_conflict` names its href)."""

    def __init__(self, message: str = "", *, uid_conflict: Href | None = None) -> None:
        """Say what differed."""
        super().__init__(message)
        self.uid_conflict = uid_conflict


class InvalidSyncToken(StoreError):
    """The sync token is unknown, of another life of the collection, or older than what is remembered."""


class OverQuota(StoreError):
    """The account has no room for this."""


class TooLarge(StoreError):
    """One message or item is larger than the limit."""


class InvalidDocument(StoreError):
    """What was handed in is not what the call stores."""


class Unavailable(StoreError):
    """Disk full, I/O error, lock not had in time, keys not there: try again later."""

    temporary = True


class WouldWait(Unavailable):
    """Not done, since it would have to wait for another writer, and the caller said that it may not: call again in a thread."""


# ---------------------------------------------------------------------------------------------------------------------
# Keys


@dataclass(frozen=True, slots=True)
class AccountKeys:
    """The keys of one account as a daemon may hold them while it serves that account (decisions: per-account keys).

    public: X25519 public key, 32 bytes: seals content.  secret: its private half, 32 bytes, or None for who may only
    deliver: opens content.  index: 32 bytes, opens index.db.  cache: 32 bytes, opens cache.db, fts.db and snapshots.
    """

    public: bytes
    index: bytes = field(repr=False)
    cache: bytes = field(repr=False)
    secret: bytes | None = field(default=None, repr=False)


# ---------------------------------------------------------------------------------------------------------------------
# Flags

SEEN, ANSWERED, FLAGGED, DELETED, DRAFT = 1, 2, 4, 8, 16
SYSTEM_FLAGS: Mapping[str, int] = {
    "\\Seen": SEEN,
    "\\Answered": ANSWERED,
    "\\Flagged": FLAGGED,
    "\\Deleted": DELETED,
    "\\Draft": DRAFT,
}
"""System flags in their canonical spelling and their bits. Keywords take bits 5 to 62, by the mailbox's own table."""
FIRST_KEYWORD_BIT = 5
MAX_KEYWORDS = 58

Flags = frozenset[str]
"""Flag names: system flags spelled as in SYSTEM_FLAGS, keywords as first used (compared without case)."""


class FlagOp(Enum):
    """What STORE does with the flags named (RFC 9051 section 6.4.6)."""

    REPLACE = "replace"
    ADD = "add"
    REMOVE = "remove"


# ---------------------------------------------------------------------------------------------------------------------
# Mailboxes and messages

DELIMITER = "/"


@dataclass(frozen=True, slots=True)
class MailboxInfo:
    """A mailbox as LIST tells it. `name` is decoded Unicode with DELIMITER; INBOX is always spelled `INBOX`."""

    id: MailboxId
    name: str
    uidvalidity: UidValidity
    special_use: frozenset[str]  # "\\Sent" ...
    subscribed: bool
    object_id: str  # RFC 8474 MAILBOXID: kept when renamed


@dataclass(frozen=True, slots=True)
class MailboxStatus:
    """What STATUS tells, from counters: never by reading messages."""

    id: MailboxId
    messages: int
    unseen: int
    deleted: int
    size: int  # octets, sum of RFC822.SIZE
    uidnext: Uid
    uidvalidity: UidValidity
    highestmodseq: ModSeq


@dataclass(frozen=True, slots=True)
class Draft:
    """A message about to enter a mailbox: all of its bytes were written to `writer`."""

    writer: "MessageWriter"
    flags: Flags = frozenset()
    internal_date: int | None = None  # seconds since 1970 UTC; None: now
    delivery_id: str | None = None  # a retry with the same one finds its twin instead of doubling it


@dataclass(frozen=True, slots=True)
class Appended:
    """Where drafts went, in their order. Everything survives a power cut from here on."""

    uidvalidity: UidValidity
    uids: Sequence[Uid]
    modseq: ModSeq


@dataclass(frozen=True, slots=True)
class Stored:
    """What STORE did: `changed` has those whose flags differ now, `failed` those past UNCHANGEDSINCE (RFC 7162 3.1.3)."""

    modseq: ModSeq  # of the changed ones; the mailbox's highest when nothing changed
    changed: Sequence[Uid]  # ascending
    failed: Sequence[Uid]
    keep: int = 0  # their mask became (mask & keep) | add; 0 and 0 where that is not told
    add: int = 0


@dataclass(frozen=True, slots=True)
class Copied:
    """What COPYUID reports: source and destination, in the same order (RFC 4315 section 3)."""

    uidvalidity: UidValidity
    source: Sequence[Uid]
    destination: Sequence[Uid]


class Facts(NamedTuple):
    """The small facts of a message that FETCH asks for. A tuple: 100,000 of them are made for one answer."""

    uid: Uid
    size: int  # RFC822.SIZE
    internal_date: int  # seconds since 1970 UTC
    save_date: int
    email_id: str  # RFC 8474: same bytes copied keep it
    thread_id: str


class TextField(StrEnum):
    """Where a search looks for text (RFC 9051 section 6.4.4)."""

    HEADER = "header"  # one header field, by name; empty needle: is it there at all
    BODY = "body"  # the body, not the header
    TEXT = "text"  # both


@dataclass(frozen=True, slots=True)
class TextKey:
    """One text criterion. `needle` is decoded; comparison ignores case and accents (see formats.text.normalise)."""

    field: TextField
    needle: str
    header: str = ""  # for HEADER: field name, any case


class MessageWriter(Protocol):
    """A message on its way into an account: sealed as it is written, in no mailbox yet, gone if never appended."""

    size: int  # octets of plaintext written so far, prefix included

    def write(self, data: bytes) -> None:
        """Add octets (CRLF line ends as they came). Raise TooLarge, OverQuota, Unavailable. [inline up to 256 KiB]"""

    def finish(self) -> None:
        """Flush to disk: after it the bytes survive a power cut. [thread]"""

    def abort(self) -> None:
        """Throw away. Does nothing after an append took it."""


class MessageReader(Protocol):
    """An open message. Close it, or use it as a context manager."""

    size: int  # RFC822.SIZE

    def read(self, offset: int = 0, length: int | None = None) -> bytes:
        """Octets of the message from `offset`; opens only the chunks it needs. [inline up to 256 KiB]

        Raise Unavailable when the file is damaged.
        """

    def close(self) -> None:
        """Give the file back."""

    def __enter__(self) -> "MessageReader": ...

    def __exit__(self, *error: object) -> None: ...


class OpenMailbox(Protocol):
    """A mailbox as one worker process sees it, shared by all of its sessions on it. Loop thread only.

    `uids`, `flags`, `modseqs` run in parallel, ascending by UID. refresh() appends to them and rewrites flags in place;
    when something was expunged it puts a new `uids` in place of the old one, so a session that keeps a reference and a
    length keeps its sequence numbers until it wants to know (imap/view.py).
    """

    id: MailboxId
    name: str
    uidvalidity: UidValidity
    uidnext: Uid
    highestmodseq: ModSeq
    uids: "array[int]"
    flags: "array[int]"  # bit masks
    modseqs: "array[int]"
    generation: int  # one more for each refresh that removed something
    keywords: Sequence[str]  # keyword i has bit FIRST_KEYWORD_BIT + i
    deleted: bool  # the mailbox itself is gone

    def refresh(self, stored: Stored | None = None) -> bool:
        """Catch up with the index and the Maildir's mtimes; whether anything differs. [inline; schedules long work itself]

        `stored`: what a STORE of ours did just now, which need not be read back where nothing came in between.
        """

    def gone_since(self, generation: int) -> Sequence[Uid]:
        """UIDs removed after `generation`, ascending. [inline]"""

    def changed_since(self, modseq: ModSeq) -> Sequence[Uid]:
        """UIDs that are here and whose modseq is higher, ascending (new ones too). [inline]"""

    def close(self) -> None:
        """One session less. The last one lets it go."""


class Mail(Protocol):
    """The mail of one account. Names are decoded Unicode; a mailbox is addressed by id once found."""

    # -- mailboxes

    def mailboxes(self) -> Sequence[MailboxInfo]:
        """All, sorted by name, INBOX first. [inline]"""

    def subscriptions(self) -> Sequence[str]:
        """Subscribed names, also of mailboxes that are gone (RFC 9051 section 6.3.9). [inline]"""

    def find(self, name: str) -> MailboxInfo:
        """The mailbox of that name (`inbox` in any case). Raise NotFound, InvalidName. [inline]"""

    def status(self, mailboxes: Sequence[MailboxId]) -> Sequence[MailboxStatus]:
        """Counters, one query; those not there are left out. [inline]"""

    def create(self, name: str, *, special_use: frozenset[str] = frozenset()) -> MailboxInfo:
        """Create it and the parents it lacks. Raise AlreadyExists, InvalidName, Forbidden. [thread]"""

    def delete(self, name: str) -> None:
        """Delete it with its messages; children stay. Raise NotFound, Forbidden (INBOX). [thread]"""

    def rename(self, name: str, new_name: str) -> None:
        """Rename with all children; INBOX moves its messages (RFC 9051 section 6.3.6). UIDVALIDITY stays. [thread]"""

    def subscribe(self, name: str, subscribed: bool) -> None:
        """Set or clear the subscription of a name, existing or not. Raise InvalidName. [thread]"""

    # -- messages in

    def new_message(self, *, prefix: bytes = b"", twin: "MessageWriter | None" = None) -> MessageWriter:
        """Begin a message. `prefix`: header lines of this copy alone (Return-Path, Delivered-To), written first.

        `twin`: an earlier writer, of any account, that is fed the same octets (its prefix aside): what is read out of the
        message for the index is then worked out once for both. [inline]
        """

    def append(self, mailbox: MailboxId, drafts: Sequence[Draft]) -> Appended:
        """Put drafts into the mailbox, all or none; what is not finished is finished first.

        Raise NotFound, OverQuota, Unavailable. [thread]
        """

    # -- open mailboxes

    def open(self, mailbox: MailboxId) -> OpenMailbox:
        """Share this worker's view of the mailbox. Raise NotFound. [inline with a fresh snapshot, else thread: ask is_warm]"""

    def is_warm(self, mailbox: MailboxId) -> bool:
        """Whether open() is short: already open here, or its snapshot file fits. [inline]"""

    def vanished_since(self, mailbox: MailboxId, modseq: ModSeq) -> Sequence[Uid] | None:
        """UIDs expunged after `modseq`, ascending; None when that is longer ago than remembered (RFC 7162 3.2). [inline]"""

    # -- messages out; UIDs not there (any more) are left out of each answer

    def facts(self, mailbox: MailboxId, uids: Sequence[Uid]) -> Iterator[Facts]:
        """Facts by ascending UID, read in batches as the iterator is drawn. [inline]"""

    def sizes(self, mailbox: MailboxId, uids: Sequence[Uid]) -> Iterator[tuple[Uid, int, int]]:
        """(UID, octets, internal date): how each of facts() begins, in a quarter of the time. [inline]"""

    def rendered(self, mailbox: MailboxId, uids: Sequence[Uid]) -> Iterator[tuple[Uid, bytes, int]]:
        """(UID, b"ENVELOPE (...) BODYSTRUCTURE (...)", length of the ENVELOPE part) as rendered at delivery. [inline]"""

    def header_fields(self, mailbox: MailboxId, uids: Sequence[Uid], names: Sequence[bytes]) -> Iterator[tuple[Uid, bytes]]:
        """(UID, header block of just these fields with its empty line), from the index where it has them all. [inline]"""

    def read_message(self, mailbox: MailboxId, uid: Uid) -> MessageReader:
        """Open one message. Raise NotFound (expunged meanwhile), Unavailable. [inline]"""

    # -- changes; each is one transaction, on disk when it returns

    def store_flags(
        self,
        mailbox: MailboxId,
        uids: Sequence[Uid],
        op: FlagOp,
        flags: Flags,
        *,
        unchanged_since: ModSeq | None = None,
        waits: bool = True,
    ) -> Stored:
        """Change flags. What changes nothing costs nothing and raises no MODSEQ. Raise NotFound, Forbidden. [thread]

        Without `waits` it takes a flush and what `uids` take, waiting for nobody: raise WouldWait.
        """

    def expunge(self, mailbox: MailboxId, uids: Sequence[Uid] | None = None) -> Sequence[Uid]:
        """Remove those marked \\Deleted, all or among `uids`; the UIDs removed, ascending. [thread]"""

    def copy(self, mailbox: MailboxId, uids: Sequence[Uid], target: MailboxId) -> Copied:
        """Copy with flags and dates, all or none. Raise NotFound (target), OverQuota. [thread]"""

    def move(self, mailbox: MailboxId, uids: Sequence[Uid], target: MailboxId) -> Copied:
        """Copy and remove in one step (RFC 6851): no moment in which a message is in neither or lost. [thread]"""

    # -- search

    def search_text(self, mailbox: MailboxId, key: TextKey, uids: Sequence[Uid]) -> set[Uid]:
        """Which of `uids` hold the text: exact substrings, whether indexed yet or not. [thread]"""

    def sent_dates(self, mailbox: MailboxId, uids: Sequence[Uid]) -> Mapping[Uid, int]:
        """Days since 1970 of the Date header as written (its own zone), else of the internal date. [thread]"""


# ---------------------------------------------------------------------------------------------------------------------
# Collections and items (calendars, address books, later documents)


class CollectionKind(StrEnum):
    """What a collection holds."""

    CALENDAR = "calendar"
    ADDRESSBOOK = "addressbook"
    PLAIN = "plain"


@dataclass(frozen=True, slots=True)
class CollectionInfo:
    """A calendar, address book or plain collection.

    `name` is its URL segment; a plain one's is a path of segments, the first of which is the home it lies in
    ("calendars/litmus/sub").
    """

    id: CollectionId
    kind: CollectionKind
    name: str
    properties: Mapping[str, str]  # "{namespace}name" -> serialised XML value
    sync_token: SyncToken  # of its items
    touched: SyncToken = SyncToken(0)  # the account's token (see collection_changes) when it or its items last changed
    created: int = 0  # seconds since 1970 UTC
    items: int = 0


NO_PROPERTIES: Mapping[str, str] = MappingProxyType({})


class ItemFacts(NamedTuple):
    """What the index keeps of an item, worked out by who speaks the protocol (caldav, carddav).

    A tuple, as Item is: 10,000 of them are made for one listing.
    """

    content_type: str
    uid: str | None = None  # unique within the collection
    component: str | None = None  # VEVENT ... or VCARD
    start: int | None = None  # first and last second touched by any instance, None: open
    end: int | None = None
    recurs: bool = False
    schedule_tag: str | None = None
    text: str = ""


class Item(NamedTuple):
    """An item without its bytes."""

    href: Href
    etag: ETag  # strong: of exactly the bytes that the client sent
    size: int
    modified: int  # seconds since 1970 UTC
    facts: ItemFacts
    properties: Mapping[str, str] = NO_PROPERTIES  # dead ones: "{namespace}name" -> serialised XML value


@dataclass(frozen=True, slots=True)
class Put:
    """What a PUT did."""

    item: Item
    created: bool
    sync_token: SyncToken


@dataclass(frozen=True, slots=True)
class Changes:
    """Answer to sync-collection: what differs since a token. `truncated`: ask again with `sync_token` for the rest."""

    changed: Sequence[Item]
    gone: Sequence[Href]
    sync_token: SyncToken
    truncated: bool


@dataclass(frozen=True, slots=True)
class CollectionChanges:
    """What differs among an account's collections since a token; one made again under its old name is not gone."""

    changed: Sequence[CollectionInfo]  # itself or anything in it, by name
    gone: Sequence[tuple[CollectionKind, str]]  # deleted or renamed, by name
    sync_token: SyncToken


class Collections(Protocol):
    """Calendars, address books and plain collections of one account. Items come back byte for byte."""

    def collections(self, kind: CollectionKind | None = None) -> Sequence[CollectionInfo]:
        """All, or those of a kind, by name. [inline]"""

    def find(self, kind: CollectionKind, name: str) -> CollectionInfo:
        """One, by its name. Raise NotFound. [inline]"""

    def create(self, kind: CollectionKind, name: str, properties: Mapping[str, str]) -> CollectionInfo:
        """Make one.

        A plain collection's parent must be there, unless that is a home ("calendars/x" needs none).
        Raise AlreadyExists, InvalidName (too deep, too), Forbidden (too many), NotFound (its parent). [thread]
        """

    def delete(self, collection: CollectionId) -> None:
        """Delete with all items; a plain one with all collections below it. Raise NotFound. [thread]"""

    def set_properties(self, collection: CollectionId, changes: Mapping[str, str | None]) -> CollectionInfo:
        """Set (or, with None, remove) properties, all or none. Raise NotFound, Forbidden (too many, too long). [thread]"""

    def move_collection(self, collection: CollectionId, name: str) -> CollectionInfo:
        """Give it another name, of its kind; a plain one moves with all below it. Ids, items and sync tokens stay.

        Raise NotFound (it, or the new parent), AlreadyExists, InvalidName, Forbidden (onto or into itself). [thread]
        """

    def collection_changes(self, since: SyncToken | None) -> CollectionChanges:
        """What differs since a token (None: all that are there). Raise InvalidSyncToken. [inline]

        The token is the account's: it rises with every change to any collection or item, dead properties of items aside.
        """

    def items(self, collection: CollectionId, hrefs: Sequence[Href] | None = None) -> Iterator[Item]:
        """Items by href, all or those named that are there. [inline]"""

    def overlapping(
        self, collection: CollectionId, component: str | None, start: int | None, end: int | None
    ) -> Iterator[Item]:
        """Items whose bounds touch [start, end), from the index. [inline]"""

    def read_item(self, collection: CollectionId, href: Href) -> tuple[Item, bytes]:
        """An item with its bytes. Raise NotFound, Unavailable. [inline]"""

    def read_items(self, collection: CollectionId, hrefs: Sequence[Href] | None = None) -> Iterator[tuple[Item, bytes]]:
        """Items with their bytes by href, all or those named that are there. Raise NotFound, Unavailable. [thread]"""

    def put_item(
        self,
        collection: CollectionId,
        href: Href,
        data: bytes,
        facts: ItemFacts,
        *,
        if_match: ETag | None = None,
        if_none_match: bool = False,
    ) -> Put:
        """Store the bytes; dead properties of what was there stay. [thread]

        Raise NotFound, Conflict (ETag, or UID taken), InvalidName, InvalidDocument, Forbidden (too many), OverQuota, TooLarge.
        """

    def set_item_properties(self, collection: CollectionId, href: Href, changes: Mapping[str, str | None]) -> Item:
        """Set (or, with None, remove) dead properties, all or none; neither ETag nor any token changes.

        Raise NotFound, Forbidden (too many, too long), OverQuota (they count), Unavailable. [thread]
        """

    def delete_item(self, collection: CollectionId, href: Href, *, if_match: ETag | None = None) -> SyncToken:
        """Remove one. Raise NotFound, Conflict. [thread]"""

    def copy_item(
        self,
        collection: CollectionId,
        href: Href,
        target: CollectionId,
        new_href: Href,
        *,
        overwrite: bool,
        move: bool,
        if_match: ETag | None = None,
    ) -> Put:
        """COPY or MOVE between collections of the account, dead properties included. `if_match`: of the source.

        Raise NotFound, Conflict (ETag, or the UID is taken there), AlreadyExists, InvalidName, Forbidden, OverQuota. [thread]
        """

    def changes(self, collection: CollectionId, since: SyncToken | None, limit: int | None = None) -> Changes:
        """What differs since a token (None: everything there). Raise InvalidSyncToken. [inline]"""


# ---------------------------------------------------------------------------------------------------------------------
# Accounts and the store


@dataclass(frozen=True, slots=True)
class Quota:
    """Octets used and allowed (None: no limit)."""

    used: int
    limit: int | None


@dataclass(frozen=True, slots=True)
class Change:
    """Something committed, as processes tell each other. It is a hint: it may be lost, and is then seen at the next look."""

    account: AccountId
    object: int  # MailboxId or CollectionId; 0: the list of mailboxes or collections itself
    modseq: int


class Account(Protocol):
    """One account's store, open. Shared within a process: open_account gives the same one while it is held."""

    id: AccountId
    mail: Mail
    collections: Collections

    def quota(self) -> Quota:
        """Room used and allowed. [inline]"""

    def close(self) -> None:
        """One holder less; the last one closes databases and forgets the keys."""


class Store(Protocol):
    """All accounts of an instance."""

    def open_account(self, account: AccountId, keys: AccountKeys, *, quota: int | None = None) -> Account:
        """Open, and make at first use: databases, INBOX, Drafts, Sent, Junk, Trash, Archive, calendar, tasks, contacts.

        `quota` is the limit in octets, None for none. Raise Unavailable. [thread the first time]
        """

    def held_account(self, account: AccountId, keys: AccountKeys, *, quota: int | None = None) -> Account | None:
        """As open_account, of one that is open in this process already; else None, and nothing is done. [inline]"""

    def delete_account(self, account: AccountId) -> None:
        """Remove all of an account's files. [thread]"""

    def close(self) -> None:
        """Finish background work (flags into names, unlinks, indexing) and close."""


class ChangeBus(Protocol):
    """How processes over one store tell each other what changed (storage/changes.py)."""

    def announce(self, change: Change) -> None:
        """Tell every other process that watches the account, and this one's listener. Never blocks, never raises."""

    def listen(self, callback: Callable[[Change], None]) -> None:
        """Call `callback` for each change announced in this process (from the announcing thread) or drained from others."""

    def watch(self, account: AccountId) -> None:
        """Have listeners here told of changes to this account by others, from now on; a store does so for what it has open."""

    def unwatch(self, account: AccountId) -> None:
        """No longer, once it was said as often as watch()."""

    def fileno(self) -> int:
        """Readable when another process announced something: then call drain()."""

    def drain(self) -> None:
        """Hand what came from other processes to the listener."""

    def close(self) -> None:
        """Leave."""


@dataclass(frozen=True, slots=True)
class StoreLimits:
    """Bounds of the store; each is a key in preau.toml's [limits] or [store]."""

    message_size: int = 52_428_800  # octets of one message
    item_size: int = 10_485_760  # octets of one calendar object or card
    mailboxes: int = 2_000  # per account
    mailbox_depth: int = 20
    mailbox_name: int = 1_000  # octets of UTF-8
    collections: int = 200  # per account
    items: int = 50_000  # per collection
    indexed_text: int = 262_144  # characters of a text part kept for search; beyond, it is verified in the file


def batches(uids: Sequence[Uid], size: int) -> Iterable[Sequence[Uid]]:
    """Cut a sequence into pieces of at most `size`."""
    for begin in range(0, len(uids), size):
        yield uids[begin : begin + size]
