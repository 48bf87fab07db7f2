"""IMAP commands and decoder events as values (RFC 3501 and 9051 section 6; extensions named where they add something).

Owns the vocabulary between decode.py and everybody behind it: one dataclass for the arguments of each command. Mailbox
names, flags and search words are decoded here already; nobody else looks at a raw line. Never carries an answer.
"""

from dataclasses import dataclass, field
from enum import Enum, StrEnum

from ..storage.api import FlagOp, TextField
from .sequence import SequenceSet

# ---------------------------------------------------------------------------------------------------------------------
# FETCH items (RFC 9051 section 6.4.5)


class FetchFact(StrEnum):
    """Items without arguments; the value is the name they are asked for and answered with."""

    FLAGS = "FLAGS"
    UID = "UID"
    INTERNALDATE = "INTERNALDATE"
    SIZE = "RFC822.SIZE"
    ENVELOPE = "ENVELOPE"
    BODY = "BODY"  # BODYSTRUCTURE without extension data
    BODYSTRUCTURE = "BODYSTRUCTURE"
    MODSEQ = "MODSEQ"  # RFC 7162
    EMAILID = "EMAILID"  # RFC 8474
    THREADID = "THREADID"  # RFC 8474
    SAVEDATE = "SAVEDATE"  # RFC 8514


class SectionText(StrEnum):
    """What of a part a section names (`section-text`); ALL is the part itself."""

    ALL = ""
    HEADER = "HEADER"
    HEADER_FIELDS = "HEADER.FIELDS"
    HEADER_FIELDS_NOT = "HEADER.FIELDS.NOT"
    TEXT = "TEXT"
    MIME = "MIME"


@dataclass(frozen=True, slots=True)
class Section:
    """What stands between the brackets of BODY[...]: part numbers, then the text; `fields` as the client spelled them."""

    part: tuple[int, ...] = ()
    text: SectionText = SectionText.ALL
    fields: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class Partial:
    """`<offset.length>` (RFC 9051: length is not 0)."""

    offset: int
    length: int


@dataclass(frozen=True, slots=True)
class FetchBody:
    """BODY[...], BODY.PEEK[...], RFC822, RFC822.HEADER, RFC822.TEXT.

    `label` is how the answer begins, complete: `BODY[HEADER.FIELDS (From)]<0>`, `RFC822.TEXT`. `peek`: \\Seen is not set.
    """

    section: Section
    peek: bool
    label: bytes
    partial: Partial | None = None


@dataclass(frozen=True, slots=True)
class FetchBinary:
    """BINARY[...], BINARY.PEEK[...] (RFC 3516): the part with its transfer encoding undone."""

    part: tuple[int, ...]
    peek: bool
    label: bytes
    partial: Partial | None = None


@dataclass(frozen=True, slots=True)
class FetchBinarySize:
    """BINARY.SIZE[...] (RFC 3516)."""

    part: tuple[int, ...]
    label: bytes


@dataclass(frozen=True, slots=True)
class FetchPreview:
    """PREVIEW (RFC 8970); `lazy`: only if it costs nothing."""

    lazy: bool = False


FetchItem = FetchFact | FetchBody | FetchBinary | FetchBinarySize | FetchPreview

# ---------------------------------------------------------------------------------------------------------------------
# Search keys (RFC 9051 section 6.4.4): a tree


@dataclass(frozen=True, slots=True)
class All:
    """Every message. RECENT and NEW parse to Not(All()), OLD to All(): this server never calls a message recent."""


@dataclass(frozen=True, slots=True)
class HasFlag:
    """A system flag or keyword is set; UNSEEN and the like are Not(HasFlag(...))."""

    flag: str


@dataclass(frozen=True, slots=True)
class Larger:
    """RFC822.SIZE above `octets`."""

    octets: int


@dataclass(frozen=True, slots=True)
class Smaller:
    """RFC822.SIZE below `octets`."""

    octets: int


class DateField(Enum):
    """Which date a date key looks at."""

    INTERNAL = "internal"  # BEFORE, ON, SINCE
    SENT = "sent"  # SENTBEFORE, SENTON, SENTSINCE
    SAVED = "saved"  # SAVEDBEFORE, SAVEDON, SAVEDSINCE (RFC 8514)


class DateOrder(Enum):
    """How it compares with the day given."""

    BEFORE = "before"
    ON = "on"
    SINCE = "since"


@dataclass(frozen=True, slots=True)
class DateKey:
    """A date against a day; `day` counts from 1 January 1970. Times and zones are disregarded (RFC 9051 6.4.4)."""

    field: DateField
    order: DateOrder
    day: int


@dataclass(frozen=True, slots=True)
class Older:
    """Internal date at least `seconds` ago (RFC 5032)."""

    seconds: int


@dataclass(frozen=True, slots=True)
class Younger:
    """Internal date less than `seconds` ago (RFC 5032)."""

    seconds: int


@dataclass(frozen=True, slots=True)
class Text:
    """BODY, TEXT, HEADER, SUBJECT, FROM, TO, CC, BCC. `needle` is in the command's charset, as it came."""

    field: TextField
    needle: bytes
    header: str = ""


@dataclass(frozen=True, slots=True)
class Numbers:
    """Message numbers, or `$`."""

    set: SequenceSet


@dataclass(frozen=True, slots=True)
class Uids:
    """UID followed by a set, or by `$`."""

    set: SequenceSet


@dataclass(frozen=True, slots=True)
class ModSeqAtLeast:
    """MODSEQ (RFC 7162 section 3.1.5). The flag entry a client may name is read and ignored: one MODSEQ a message."""

    modseq: int


@dataclass(frozen=True, slots=True)
class HasEmailId:
    """EMAILID (RFC 8474)."""

    id: str


@dataclass(frozen=True, slots=True)
class HasThreadId:
    """THREADID (RFC 8474)."""

    id: str


@dataclass(frozen=True, slots=True)
class Not:
    """NOT."""

    key: "SearchKey"


@dataclass(frozen=True, slots=True)
class Or:
    """OR."""

    left: "SearchKey"
    right: "SearchKey"


@dataclass(frozen=True, slots=True)
class And:
    """Keys side by side, or in parentheses; at least two."""

    keys: tuple["SearchKey", ...]


SearchKey = (
    All
    | HasFlag
    | Larger
    | Smaller
    | DateKey
    | Older
    | Younger
    | Text
    | Numbers
    | Uids
    | ModSeqAtLeast
    | HasEmailId
    | HasThreadId
    | Not
    | Or
    | And
)


class SearchReturn(StrEnum):
    """SEARCH result options (RFC 4731, RFC 5182)."""

    MIN = "MIN"
    MAX = "MAX"
    ALL = "ALL"
    COUNT = "COUNT"
    SAVE = "SAVE"


# ---------------------------------------------------------------------------------------------------------------------
# Arguments, any state


@dataclass(frozen=True, slots=True)
class Capability:
    """CAPABILITY."""


@dataclass(frozen=True, slots=True)
class Noop:
    """NOOP."""


@dataclass(frozen=True, slots=True)
class Logout:
    """LOGOUT."""


@dataclass(frozen=True, slots=True)
class Id:
    """ID (RFC 2971): what the client calls itself, at most 30 pairs; hostile text. None: it sent NIL."""

    fields: tuple[tuple[str, str | None], ...] | None


# ---------------------------------------------------------------------------------------------------------------------
# Arguments, not authenticated


@dataclass(frozen=True, slots=True)
class StartTls:
    """STARTTLS."""


@dataclass(frozen=True, slots=True)
class Login:
    """LOGIN. Octets as they came; neither appears in the repr."""

    user: bytes = field(repr=False)
    password: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Authenticate:
    """AUTHENTICATE. `initial` is the SASL-IR response, still base64 (`=`: empty, RFC 4959), None when there was none."""

    mechanism: str  # upper case
    initial: bytes | None = field(repr=False, default=None)


# ---------------------------------------------------------------------------------------------------------------------
# Arguments, authenticated


@dataclass(frozen=True, slots=True)
class Enable:
    """ENABLE (RFC 9051 section 6.3.1): names in upper case, known or not."""

    capabilities: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class QResync:
    """QRESYNC of SELECT (RFC 7162 section 3.2.5). `matches`: message numbers and the UIDs the client has for them."""

    uidvalidity: int
    modseq: int
    known_uids: SequenceSet | None = None
    matches: tuple[SequenceSet, SequenceSet] | None = None


@dataclass(frozen=True, slots=True)
class Select:
    """SELECT and EXAMINE (`read_only`)."""

    mailbox: str
    read_only: bool = False
    condstore: bool = False
    qresync: QResync | None = None


@dataclass(frozen=True, slots=True)
class Create:
    """CREATE. A trailing delimiter ("children will follow") is cut off. `special_use`: RFC 6154, canonical spelling."""

    mailbox: str
    special_use: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Delete:
    """DELETE."""

    mailbox: str


@dataclass(frozen=True, slots=True)
class Rename:
    """RENAME."""

    mailbox: str
    new_name: str


@dataclass(frozen=True, slots=True)
class Subscribe:
    """SUBSCRIBE."""

    mailbox: str


@dataclass(frozen=True, slots=True)
class Unsubscribe:
    """UNSUBSCRIBE."""

    mailbox: str


class StatusItem(StrEnum):
    """STATUS data items."""

    MESSAGES = "MESSAGES"
    RECENT = "RECENT"
    UIDNEXT = "UIDNEXT"
    UIDVALIDITY = "UIDVALIDITY"
    UNSEEN = "UNSEEN"
    DELETED = "DELETED"
    SIZE = "SIZE"
    HIGHESTMODSEQ = "HIGHESTMODSEQ"  # RFC 7162
    MAILBOXID = "MAILBOXID"  # RFC 8474
    APPENDLIMIT = "APPENDLIMIT"  # RFC 7889


class ListSelect(StrEnum):
    """LIST selection options (RFC 5258, RFC 6154)."""

    SUBSCRIBED = "SUBSCRIBED"
    REMOTE = "REMOTE"
    RECURSIVEMATCH = "RECURSIVEMATCH"
    SPECIAL_USE = "SPECIAL-USE"


class ListReturn(StrEnum):
    """LIST return options (RFC 5258, RFC 6154); STATUS stands in `List.status`."""

    SUBSCRIBED = "SUBSCRIBED"
    CHILDREN = "CHILDREN"
    SPECIAL_USE = "SPECIAL-USE"


@dataclass(frozen=True, slots=True)
class List:
    """LIST. `extended`: selection options, return options or several patterns were used (RFC 5258).

    `status`: items of RETURN (STATUS (...)) (RFC 5819).
    """

    reference: str
    patterns: tuple[str, ...]
    extended: bool = False
    select: frozenset[ListSelect] = frozenset()
    returns: frozenset[ListReturn] = frozenset()
    status: tuple[StatusItem, ...] = ()


@dataclass(frozen=True, slots=True)
class Lsub:
    """LSUB (RFC 3501 section 6.3.9)."""

    reference: str
    pattern: str


@dataclass(frozen=True, slots=True)
class Namespace:
    """NAMESPACE."""


@dataclass(frozen=True, slots=True)
class Status:
    """STATUS."""

    mailbox: str
    items: tuple[StatusItem, ...]


@dataclass(frozen=True, slots=True)
class AppendMessage:
    """One message of an APPEND: what was said of it. Its octets went by as LiteralData events."""

    flags: frozenset[str]
    internal_date: int | None  # seconds since 1970 UTC
    size: int
    binary: bool = False  # a literal8, which may hold NUL (RFC 3516)


@dataclass(frozen=True, slots=True)
class Append:
    """APPEND, complete: every literal has come, in the order of `messages` (several: RFC 3502)."""

    mailbox: str
    messages: tuple[AppendMessage, ...]


@dataclass(frozen=True, slots=True)
class Idle:
    """IDLE. After answering `+`, call `Decoder.expect_done`."""


@dataclass(frozen=True, slots=True)
class GetQuota:
    """GETQUOTA (RFC 9208)."""

    root: str


@dataclass(frozen=True, slots=True)
class GetQuotaRoot:
    """GETQUOTAROOT (RFC 9208)."""

    mailbox: str


@dataclass(frozen=True, slots=True)
class Compress:
    """COMPRESS (RFC 4978); `mechanism` in upper case."""

    mechanism: str


# ---------------------------------------------------------------------------------------------------------------------
# Arguments, selected. `uid`: the UID form, in which numbers are UIDs


@dataclass(frozen=True, slots=True)
class Check:
    """CHECK (RFC 3501)."""


@dataclass(frozen=True, slots=True)
class Close:
    """CLOSE."""


@dataclass(frozen=True, slots=True)
class Unselect:
    """UNSELECT."""


@dataclass(frozen=True, slots=True)
class Expunge:
    """EXPUNGE, or UID EXPUNGE with its set."""

    uids: SequenceSet | None = None


@dataclass(frozen=True, slots=True)
class Fetch:
    """FETCH. Macros are expanded, doubles dropped, order kept; `changed_since` and `vanished`: RFC 7162."""

    set: SequenceSet
    items: tuple[FetchItem, ...]
    uid: bool = False
    changed_since: int | None = None
    vanished: bool = False


@dataclass(frozen=True, slots=True)
class Store:
    """STORE. `unchanged_since`: RFC 7162 (0 is a value: fails for all)."""

    set: SequenceSet
    op: FlagOp
    flags: frozenset[str]
    silent: bool = False
    uid: bool = False
    unchanged_since: int | None = None


@dataclass(frozen=True, slots=True)
class Copy:
    """COPY."""

    set: SequenceSet
    mailbox: str
    uid: bool = False


@dataclass(frozen=True, slots=True)
class Move:
    """MOVE (RFC 6851)."""

    set: SequenceSet
    mailbox: str
    uid: bool = False


@dataclass(frozen=True, slots=True)
class Search:
    """SEARCH. `returns`: None without RETURN (answer SEARCH); else answer ESEARCH, `RETURN ()` having become {ALL}.

    `charset` as named, upper case, maybe one that is not there: search.py answers for that.
    """

    key: SearchKey
    charset: str = "US-ASCII"
    returns: frozenset[SearchReturn] | None = None
    uid: bool = False


class SortKey(StrEnum):
    """SORT criteria (RFC 5256, RFC 5957)."""

    ARRIVAL = "ARRIVAL"
    CC = "CC"
    DATE = "DATE"
    FROM = "FROM"
    SIZE = "SIZE"
    SUBJECT = "SUBJECT"
    TO = "TO"
    DISPLAYFROM = "DISPLAYFROM"
    DISPLAYTO = "DISPLAYTO"


@dataclass(frozen=True, slots=True)
class Sort:
    """SORT: criteria with whether each is reversed (RFC 5256; RETURN of RFC 5267)."""

    criteria: tuple[tuple[SortKey, bool], ...]
    charset: str
    key: SearchKey
    returns: frozenset[SearchReturn] | None = None
    uid: bool = False


@dataclass(frozen=True, slots=True)
class Thread:
    """THREAD (RFC 5256); `algorithm` in upper case, maybe one that is not there."""

    algorithm: str
    charset: str
    key: SearchKey
    uid: bool = False


Arguments = (
    Capability
    | Noop
    | Logout
    | Id
    | StartTls
    | Login
    | Authenticate
    | Enable
    | Select
    | Create
    | Delete
    | Rename
    | Subscribe
    | Unsubscribe
    | List
    | Lsub
    | Namespace
    | Status
    | Append
    | Idle
    | GetQuota
    | GetQuotaRoot
    | Compress
    | Check
    | Close
    | Unselect
    | Expunge
    | Fetch
    | Store
    | Copy
    | Move
    | Search
    | Sort
    | Thread
)


@dataclass(frozen=True, slots=True)
class Command:
    """A complete, well-formed command. `name` in upper case, with its prefix: `UID FETCH`."""

    tag: bytes
    name: str
    args: Arguments


# ---------------------------------------------------------------------------------------------------------------------
# Events of the decoder
#
# decode.Decoder(limits, memo=None) is drawn from, so that a mode changes exactly between two commands:
#     feed(data)              keeps octets (bounded by what the shell reads at once; it stops reading while a command runs)
#     next_event()            the next event, or None when more octets are needed
#     receive(data)           feed, then all events there are
#     limits = AFTER_LOGIN    once signed in          utf8 = True        once UTF8=ACCEPT or IMAP4rev2 is enabled
#     expect_response()       after `+` to AUTHENTICATE: the next line is an AuthenticateResponse
#     expect_done()           after `+` to IDLE: the next line is DONE
#     refuse_literal()        after AppendBegan(synchronising=True)
#     take_rest() -> bytes    what is kept unread, taken out: thrown away at STARTTLS, inflated after COMPRESS


@dataclass(frozen=True, slots=True)
class CommandReceived:
    """A command is complete: run and answer it."""

    command: Command


@dataclass(frozen=True, slots=True)
class ContinuationWanted:
    """The client waits with a literal of an ordinary argument: send `+`. It is within limits; nothing to decide."""

    tag: bytes


@dataclass(frozen=True, slots=True)
class AppendBegan:
    """A message of an APPEND begins. Its octets follow as LiteralData, then AppendLiteralEnd.

    `synchronising`: the client waits. Send `+`, or call `Decoder.refuse_literal()` and answer the tag: the command is
    over then. Not synchronising: the octets come anyhow; to refuse, let them pass and answer at CommandReceived.
    `index` counts the messages of this command from 0.
    """

    tag: bytes
    mailbox: str
    message: AppendMessage
    index: int
    synchronising: bool


@dataclass(frozen=True, slots=True)
class LiteralData:
    """Octets of the message, in order; never empty."""

    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class AppendLiteralEnd:
    """The message is complete. The command is not: CommandReceived, another AppendBegan or Malformed follows."""


@dataclass(frozen=True, slots=True)
class LiteralRefused:
    """A literal was announced that is larger than allowed: answer `tag NO [TOOBIG] text` (`tag BAD` before login).

    `fatal`: it will come unasked and is too long to skip: say BYE and close. Otherwise the decoder has dealt with it.
    An APPEND that had begun (MULTIAPPEND) is over: throw away what came of it.
    """

    tag: bytes
    text: str
    fatal: bool


@dataclass(frozen=True, slots=True)
class Malformed:
    """A line that is no command: answer `tag BAD text`, or `* BAD text` without a tag.

    `fatal`: nothing after it can be understood; say BYE and close. An APPEND that had begun is over. `tag` also for
    unknown commands: `name` has what was asked for (ASCII, cut), for the log.
    """

    tag: bytes | None
    text: str
    fatal: bool = False
    name: str = ""


@dataclass(frozen=True, slots=True)
class Refused:
    """Well-formed, but names what cannot be, such as a mailbox name that is no modified UTF-7: `tag NO [code] text`."""

    tag: bytes
    code: str
    text: str


@dataclass(frozen=True, slots=True)
class IdleDone:
    """DONE: answer IDLE's tag."""


@dataclass(frozen=True, slots=True)
class AuthenticateResponse:
    """A line of SASL, still base64; `*` cancels."""

    line: bytes = field(repr=False)


Event = (
    CommandReceived
    | ContinuationWanted
    | AppendBegan
    | LiteralData
    | AppendLiteralEnd
    | LiteralRefused
    | Malformed
    | Refused
    | IdleDone
    | AuthenticateResponse
)
