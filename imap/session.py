"""An IMAP session: its states, which command is legal in which, and what it holds (RFC 9051 section 3).

Owns the transition table, the shape of a row of the command table (imap/commands/__init__.py) and the session's facts:
who is signed in, what is enabled, which mailbox is selected. Never reads, writes or waits.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any, Protocol

from ..auth.api import Granted, ScramExchange
from ..auth.sasl import Credentials
from ..storage.api import Account, Mail, MailboxId, Uid
from .sequence import SequenceSet
from .settings import ImapSettings
from .steps import Steps
from .view import View


class State(Enum):
    """RFC 9051 section 3."""

    NOT_AUTHENTICATED = "not authenticated"
    AUTHENTICATED = "authenticated"
    SELECTED = "selected"
    LOGOUT = "logout"


class Trigger(Enum):
    """What moves a session from one state to another."""

    SIGNED_IN = auto()
    SELECTED = auto()
    DESELECTED = auto()  # CLOSE, UNSELECT, a failed SELECT, the mailbox deleted
    ENDED = auto()


TRANSITIONS: Mapping[tuple[State, Trigger], State] = {
    (State.NOT_AUTHENTICATED, Trigger.SIGNED_IN): State.AUTHENTICATED,  # 6.2.2, 6.2.3
    (State.AUTHENTICATED, Trigger.SELECTED): State.SELECTED,  # 6.3.2
    (State.AUTHENTICATED, Trigger.DESELECTED): State.AUTHENTICATED,  # 6.3.2: a failed SELECT with nothing selected
    (State.SELECTED, Trigger.SELECTED): State.SELECTED,  # 6.3.2: another one
    (State.SELECTED, Trigger.DESELECTED): State.AUTHENTICATED,  # 6.4.1, 6.4.2; 6.3.2: a failed SELECT
    (State.NOT_AUTHENTICATED, Trigger.ENDED): State.LOGOUT,  # 6.1.3
    (State.AUTHENTICATED, Trigger.ENDED): State.LOGOUT,
    (State.SELECTED, Trigger.ENDED): State.LOGOUT,
    (State.LOGOUT, Trigger.ENDED): State.LOGOUT,
}


class Upgrade(Enum):
    """What the connection does once a command's answer is sent, before anything else is read."""

    TLS = auto()  # RFC 9051 section 6.2.1
    DEFLATE = auto()  # RFC 4978
    UTF8 = auto()  # RFC 6855


ANY = frozenset({State.NOT_AUTHENTICATED, State.AUTHENTICATED, State.SELECTED})
SIGNED_OUT = frozenset({State.NOT_AUTHENTICATED})
SIGNED_IN = frozenset({State.AUTHENTICATED, State.SELECTED})
IN_MAILBOX = frozenset({State.SELECTED})


class LocalProtocolError(Exception):
    """Our own fault: a transition that the table does not know."""


class NoSuchNumber(Exception):
    """A message number above EXISTS: the client's fault (RFC 9051 section 9, seq-number)."""


@dataclass(frozen=True, slots=True)
class Row:
    """A command: who answers it, when it is legal, and which capabilities stand on it."""

    name: str
    handler: Callable[["Session", Any], Steps]
    states: frozenset[State]
    section: str  # of RFC 9051, or of the RFC named
    capabilities: tuple[str, ...] = ()
    uses_sequence: bool = False  # numbers must not move while it runs: no EXPUNGE is told (RFC 9051 section 7.5.1)
    answers_uids: bool = False  # FETCH lines that it causes carry the UID (RFC 9051 section 6.4.9)
    tells_nothing: bool = False  # the selected mailbox's news wait: it leaves the mailbox, or tells them itself
    begins_early: bool = False  # APPEND: runs from its first AppendBegan on, and is given that instead of its arguments


CommandTable = Mapping[str, Row]


class Selections(Protocol):
    """The mailboxes that sessions of this process have selected (imap/watch.py)."""

    def open(self, session: "Session", mailbox: MailboxId, *, read_only: bool) -> View:
        """Select for a session whose account is open. Raise NotFound. As long as OpenMailbox takes."""
        ...

    def close(self, session: "Session") -> None:
        """Let go of what the session has selected, if anything."""
        ...


@dataclass(frozen=True, slots=True)
class SignedIn:
    """A login that succeeded, its account open. `final`: what SCRAM has the client hear before it is told."""

    granted: Granted
    account: Account
    final: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class NotSignedIn:
    """A login that did not: `answer` is the tagged answer, `alert` what is told before it, if anything."""

    answer: bytes
    alert: bytes = b""
    counts: bool = True  # towards the failures that end a connection
    farewell: bytes = b"BYE [UNAVAILABLE] Too many tries"  # when this failure was the last one allowed


class SignsIn(Protocol):
    """How sessions are signed in (imap/sign_in.py). Never raises for what a client sent, nor for a neighbour."""

    async def __call__(self, session: "Session", credentials: Credentials) -> SignedIn | NotSignedIn:
        """By a password that was said."""
        ...

    async def begin_scram(self, session: "Session", message: bytes) -> ScramExchange | NotSignedIn:
        """By one that is proven: with the client's first message."""
        ...

    async def finish_scram(self, session: "Session", exchange: ScramExchange, response: bytes) -> SignedIn | NotSignedIn:
        """With the client's final message."""
        ...


@dataclass(frozen=True, slots=True)
class Site:
    """What all sessions of a process share."""

    settings: ImapSettings
    table: CommandTable
    version: str
    starttls: bool  # a certificate is there
    now: Callable[[], float]  # seconds since 1970
    selections: Selections
    sign_in: SignsIn
    capability_texts: dict[tuple[bool, bool, bool], bytes] = field(default_factory=dict)
    """As they were told; imap/capabilities.py."""


class Session:
    """One client's session. Handlers of commands get it as their first argument."""

    __slots__ = (
        "account",
        "address",
        "client",
        "compressed",
        "enabled",
        "failures",
        "farewell",
        "granted",
        "local",
        "news",
        "saved",
        "site",
        "state",
        "tag",
        "tls",
        "upgrade",
        "view",
    )

    def __init__(self, site: Site, *, address: str = "", tls: bool = False, local: bool = False) -> None:
        """Begin not authenticated. `local`: the peer is on this machine."""
        self.site = site
        self.address = address
        self.tls = tls
        self.local = local
        self.state = State.NOT_AUTHENTICATED
        self.enabled: frozenset[str] = frozenset()
        self.tag = b""  # of the command under way: ESEARCH repeats it
        self.client = ""  # what it calls itself: hostile text
        self.failures = 0  # logins refused
        self.farewell = b""  # said after the tagged answer, before the connection is closed
        self.compressed = False  # COMPRESS was answered OK
        self.upgrade: Upgrade | None = None  # follows the answer
        self.granted: Granted | None = None
        self.account: Account | None = None
        self.view: View | None = None
        self.saved: Sequence[int] = ()  # UIDs of SEARCH RETURN (SAVE) (RFC 5182)
        self.news: Callable[[], None] | None = None  # called when the selected mailbox has something to tell

    def move(self, trigger: Trigger) -> None:
        """Go where the transition table says. Raise LocalProtocolError."""
        try:
            self.state = TRANSITIONS[self.state, trigger]
        except KeyError:
            raise LocalProtocolError(f"{trigger.name} while {self.state.value}") from None

    @property
    def mail(self) -> Mail:
        """The mail of who is signed in."""
        if self.account is None:
            raise LocalProtocolError("nobody is signed in")
        return self.account.mail

    @property
    def selected(self) -> View:
        """The view of the selected mailbox."""
        if self.view is None:
            raise LocalProtocolError("no mailbox is selected")
        return self.view

    @property
    def takes_passwords(self) -> bool:
        """Whether LOGIN and AUTHENTICATE are open: over TLS, or where settings allow it on loopback (RFC 9051 11.1)."""
        return self.tls or (self.local and self.site.settings.plaintext_ok)

    @property
    def condstore(self) -> bool:
        """Whether a CONDSTORE enabling command was seen: FETCH lines carry MODSEQ (RFC 7162 section 3.1)."""
        return "CONDSTORE" in self.enabled

    @property
    def qresync(self) -> bool:
        """Whether VANISHED stands for EXPUNGE (RFC 7162 section 3.2.3)."""
        return "QRESYNC" in self.enabled

    @property
    def utf8(self) -> bool:
        """Whether the client reads UTF-8 in quoted strings (RFC 6855, RFC 9051)."""
        return not self.enabled.isdisjoint(("UTF8=ACCEPT", "IMAP4REV2"))

    def positions(self, numbers: SequenceSet, *, uid: bool) -> list[range]:
        """Messages named by a set, as ranges of positions in the view, ascending and disjoint. Raise NoSuchNumber."""
        view = self.selected
        if numbers.saved:
            return [range(place, place + 1) for place in map(view.position, self.saved) if place >= 0]
        if uid:
            return numbers.indices_by_uid(view.uids, view.count)
        if numbers.exceeds(view.count):
            raise NoSuchNumber
        return numbers.indices(view.count)

    def tell(self, *, may_expunge: bool, uid: bool = False, answered: Mapping[Uid, int] | None = None) -> Iterator[bytes]:
        """View.tell of the selected mailbox, in the form that this session enabled."""
        return self.selected.tell(
            may_expunge=may_expunge, uid=uid, modseq=self.condstore, vanished=self.qresync, answered=answered
        )

    def enable_condstore(self) -> bytes:
        """Note a CONDSTORE enabling command; what the first one tells of the selected mailbox (RFC 7162 section 3.1)."""
        if self.condstore:
            return b""
        self.enabled |= {"CONDSTORE"}
        if self.view is None:
            return b""
        return b"* OK [HIGHESTMODSEQ %d] Mod-sequences are told from now on\r\n" % self.view.mailbox.highestmodseq

    def select(self, view: View) -> None:
        """A mailbox was selected."""
        self.view = view
        self.saved = ()
        self.move(Trigger.SELECTED)

    def deselect(self) -> None:
        """Nothing is selected any more."""
        self.site.selections.close(self)
        self.view = None
        self.saved = ()
        if self.state is not State.LOGOUT:
            self.move(Trigger.DESELECTED)
