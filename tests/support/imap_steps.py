"""Run IMAP commands as the generators they are: no loop, no socket, calls for threads made on the spot."""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from preau.auth.api import CredentialId, Granted, Identity, Service, SessionId
from preau.auth.sasl import Credentials
from preau.imap.commands import TABLE
from preau.imap.decode import AFTER_LOGIN, Decoder
from preau.imap.dispatch import run_command
from preau.imap.session import NotSignedIn, Session, SignedIn, Site, Trigger
from preau.imap.settings import ImapSettings
from preau.imap.steps import Ask, Steps, Wait, Work
from preau.imap.values import AppendBegan, CommandReceived, Event
from preau.imap.watch import Watch
from preau.storage.api import Account, AccountId, AccountKeys, Draft, Flags, Store, Uid
from preau.storage.memory import MemoryStore

ACCOUNT = AccountId("a" * 26)
KEYS = AccountKeys(bytes(32), bytes(32), bytes(32), bytes(32))
GRANTED = Granted(
    Identity(ACCOUNT, "ana@ecole.example"), SessionId("s1"), CredentialId("password"), frozenset(Service), b"", 2**31
)


async def nobody(session: Session, credentials: Credentials) -> SignedIn | NotSignedIn:
    """A Site.sign_in that lets nobody in."""
    return NotSignedIn(b"NO [AUTHENTICATIONFAILED] no")


def make_site(
    settings: ImapSettings | None = None,
    *,
    starttls: bool = False,
    sign_in: Callable[[Session, Credentials], object] = nobody,
) -> Site:
    """What sessions share, without a loop: news are looked for at once."""
    return Site(
        settings=settings or ImapSettings(),
        table=TABLE,
        version="1",
        starttls=starttls,
        now=lambda: 1_800_000_000.0,
        selections=Watch(lambda call: call()),
        sign_in=sign_in,  # type: ignore[arg-type]  # tests hand in simpler ones
    )


def run_steps(steps: Steps, events: Iterable[Event | None] = ()) -> tuple[bytes, bytes]:
    """(everything sent, tagged answer). `events` are what the line answers, in order; what a Work raises goes back in."""
    coming = iter(events)
    sent: list[bytes] = []
    value: object = None
    error: Exception | None = None
    while True:
        try:
            step = steps.send(value) if error is None else steps.throw(error)
        except StopIteration as done:
            return b"".join(sent), done.value
        value = error = None
        if isinstance(step, bytes):
            sent.append(step)
        elif isinstance(step, Work):
            try:
                value = step.call()
            except Exception as raised:
                error = raised
        elif isinstance(step, Wait):
            value = asyncio.run(step.awaitable)
        elif step is not Ask.REFUSE_LITERAL:
            value = next(coming)


@dataclass
class Client:
    """A signed-in session that takes command lines."""

    store: Store = field(default_factory=MemoryStore)
    site: Site = field(default_factory=make_site)

    def __post_init__(self) -> None:
        """Sign in."""
        self.account: Account = self.store.open_account(ACCOUNT, KEYS)
        self.session = Session(self.site, tls=True)
        self.session.account = self.account
        self.session.granted = GRANTED
        self.session.move(Trigger.SIGNED_IN)
        self.decoder = Decoder(AFTER_LOGIN)

    def begin(self, line: bytes) -> Steps:
        """A command line as a running command; `line` without its tag and line end."""
        events = self.decoder.receive(b"t " + line + b"\r\n")
        first = events[0]
        if isinstance(first, AppendBegan):
            return run_command(self.session, TABLE["APPEND"], first)
        assert isinstance(first, CommandReceived), first
        self.session.tag = first.command.tag
        return run_command(self.session, TABLE[first.command.name], first.command.args)

    def say(self, line: bytes) -> tuple[list[str], str]:
        """(untagged lines, tagged answer) of a command line."""
        sent, answer = run_steps(self.begin(line))
        return sent.decode("utf-8", "replace").split("\r\n")[:-1], answer.decode()

    def add(self, *messages: bytes, mailbox: str = "INBOX", flags: Flags = frozenset(), date: int | None = None) -> list[Uid]:
        """Put messages into a mailbox, behind the session's back."""
        mail = self.account.mail
        uids: list[Uid] = []
        for message in messages:
            writer = mail.new_message()
            writer.write(message)
            writer.finish()
            uids += mail.append(mail.find(mailbox).id, [Draft(writer, flags, date)]).uids
        return uids

    def fill(self, count: int, *, mailbox: str = "INBOX") -> list[Uid]:
        """Put `count` small messages into a mailbox."""
        return self.add(*(b"Subject: %d\r\n\r\nbody %d\r\n" % (n, n) for n in range(1, count + 1)), mailbox=mailbox)
