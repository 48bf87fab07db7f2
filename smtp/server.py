"""The role `smtp`: port 25 for mail from outside, ports 465 and 587 for those who are here (RFC 5321, RFC 6409, RFC 8314).

    listener       mode                       TLS
    smtp           mx: for local recipients   STARTTLS, never asked for
    submission     sign in, send anywhere     STARTTLS before AUTH
    submissions    the same                   from the first octet

Owns the listeners, the caps on connections, the threads that make messages durable, and how all of it starts and drains.
Sees the public half of the queue's key alone: nothing that was taken can be read here any more.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from ..auth.api import SubmissionAuthenticator
from ..auth.refusals import Refusals
from ..daemon.handshake import Handshakes
from ..daemon.limits import ConnectionCaps, Slot
from ..daemon.listener import Listener, accept_on
from ..daemon.log import logger
from ..daemon.tls import ServerTls
from ..daemon.turned_away import TurnedAway
from ..daemon.turns import after_others
from . import reply as replies
from .authentication import Authentication
from .commands import Mail
from .intake import Intake, IntakeSettings, Rooms, Surroundings
from .lookups import SECONDS, Lookups
from .modes import MX, SUBMISSION, Mode, SessionLimits
from .policy import is_trusted
from .reception import Reception
from .reply import Reply
from .rooms import DeliveryRooms
from .service import ServiceSession, ServiceSettings
from .session import SmtpSession
from .spool import Spool
from .submission import Submission, check_sender

log = logger("smtp")

SMTP, SUBMISSION_STARTTLS, SUBMISSION_TLS = "smtp", "submission", "submissions"
"""Names of listeners."""

MODES = {SMTP: MX, SUBMISSION_STARTTLS: SUBMISSION, SUBMISSION_TLS: SUBMISSION}


@dataclass(frozen=True, slots=True)
class SmtpSettings:
    """Everything about reception and submission that an operator may change. Times are seconds, sizes octets."""

    hostname: str = "localhost"
    domain: str = ""  # whose postmaster <postmaster> is; "" refuses it
    domains: Sequence[str] = ()  # ours, where auth does not tell
    plaintext_ok: bool = False  # passwords without TLS from loopback addresses
    help_url: str = ""
    support_phone: str = ""
    connections: int = 1_000
    connections_per_address: int = 50  # that have not signed in: on port 25 all of a mail server's
    uncapped_nets: Sequence[str] = ("127.0.0.0/8", "::1/128")  # peers that only `connections` is for
    recipients: int = 1_000  # of one message
    received: int = 100  # Received fields of one message
    header_size: int = 262_144
    free_space: int = 268_435_456  # left on the spool's disk, or nothing is taken
    reveal_client: bool = False  # tell a client's address in the Received line of what it submits
    proxy_nets: Sequence[str] = ()  # peers whose connections begin with a PROXY header
    proxy_seconds: float = 5.0
    handshake_seconds: float = 30.0
    login_seconds: float = 120.0  # from the greeting to signed in
    failed_logins: int = 5
    scram: bool = False  # offer SCRAM-SHA-256, which opens with app passwords alone
    banner_seconds: float = 0.0  # of silence on port 25 before the greeting: who speaks first is no mail server
    delivery_socket: Path | None = None  # who is asked whether a mailbox is full; None: nobody
    lookup_seconds: float = SECONDS  # how long an answer of `auth` is good for
    threads: int = 8  # for disk work
    limits: SessionLimits = field(default_factory=lambda: SessionLimits(messages=1_000, idle_commands=100))


class SmtpServer:
    """The role (daemon/role.py)."""

    def __init__(
        self,
        spool: Spool,
        authenticator: SubmissionAuthenticator,
        settings: SmtpSettings | None = None,
        tls: ServerTls | None = None,
        *,
        rooms: Rooms | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Nothing is opened yet. Without `tls` there is no STARTTLS. The spool is not closed here.

        Raise ValueError for settings that cannot be.
        """
        self.settings = settings = settings or SmtpSettings()
        self._authenticator = authenticator
        self._tls = tls
        self._handshakes = Handshakes(tls) if tls is not None else None
        self._authentication = Authentication(authenticator, Refusals(settings.help_url, settings.support_phone))
        self._workers = ThreadPoolExecutor(settings.threads, thread_name_prefix="smtp")
        self._caps = ConnectionCaps(settings.connections, per_address=settings.connections_per_address)
        self._turned_away = TurnedAway(log)
        self._sessions: dict[SmtpSession, Slot | None] = {}
        self._servers: list[asyncio.Server] = []
        self._committing: set[asyncio.Future[str]] = set()
        self._own_rooms = (
            DeliveryRooms(settings.delivery_socket, settings.hostname)
            if rooms is None and settings.delivery_socket is not None
            else None
        )
        lookups = Lookups(authenticator, settings.lookup_seconds)
        authenticator.on_revoke(lambda revocation: lookups.clear())
        self._around = Surroundings(
            IntakeSettings(
                hostname=settings.hostname,
                domain=settings.domain,
                domains=frozenset(domain.lower() for domain in (settings.domain, *settings.domains) if domain),
                recipients=settings.recipients,
                received=settings.received,
                header_size=settings.header_size,
                free_space=settings.free_space,
                reveal_client=settings.reveal_client,
            ),
            spool,
            authenticator,
            lookups,
            clock,
            self._commit,
            rooms or self._own_rooms,
        )
        for networks in (settings.proxy_nets, settings.uncapped_nets):
            is_trusted("", networks)  # a network that is none is told at start

    # -- the role

    async def start(self, listeners: Sequence[Listener]) -> None:
        """Accept. Raise ValueError for a name that is none, and for implicit TLS without a certificate."""
        for listener in listeners:
            if listener.name not in MODES:
                raise ValueError(f"no such listener: {listener.name}")
            if (listener.tls or listener.name == SUBMISSION_TLS) and self._tls is None:
                raise ValueError(f"{listener.name} needs a certificate")
        for listener in listeners:
            make = self._maker(MODES[listener.name], implicit_tls=listener.tls or listener.name == SUBMISSION_TLS)
            self._servers.append(await accept_on(listener, make))

    async def drain(self, seconds: float) -> None:
        """Let open transactions end, cut the rest, wait for what is being made durable."""
        for server in self._servers:
            server.close()
        for session in tuple(self._sessions):
            session.drain()
        deadline = asyncio.get_running_loop().time() + seconds
        while (serving := [each.serving for each in self._sessions if each.serving is not None]) and (
            left := deadline - asyncio.get_running_loop().time()
        ) > 0:
            await asyncio.wait(serving, timeout=left)
        await asyncio.gather(*(session.end() for session in tuple(self._sessions)))
        if self._committing:
            await asyncio.wait(self._committing)
        await self._authentication.close()
        if self._own_rooms is not None:
            await self._own_rooms.close()
        await asyncio.to_thread(self._workers.shutdown)

    async def reload(self) -> None:
        """Read the certificate again. Raise InvalidCertificate and keep the old one when it is not good."""
        if self._tls is not None:
            self._tls.reload()

    def _maker(self, mode: Mode, *, implicit_tls: bool) -> Callable[[], ServiceSession]:
        settings = self.settings
        service = ServiceSettings(
            mode=mode,
            hostname=settings.hostname,
            limits=settings.limits,
            handshakes=self._handshakes,
            implicit_tls=implicit_tls,
            plaintext_ok=settings.plaintext_ok,
            proxy_nets=tuple(settings.proxy_nets),
            proxy_seconds=settings.proxy_seconds,
            handshake_seconds=settings.handshake_seconds,
            login_seconds=settings.login_seconds,
            failed_logins=settings.failed_logins,
            scram=settings.scram,
            banner_seconds=0.0 if mode.signs_in else settings.banner_seconds,
        )
        loop = asyncio.get_running_loop()
        return lambda: ServiceSession(service, self, self._authentication, loop=loop, made=self._made)

    def _made(self, session: ServiceSession) -> None:
        # Those that have not said yet whom they are a proxy for are counted too, or they could be without number.
        self._sessions[session] = None
        if len(self._sessions) > 2 * self.settings.connections:
            assert session.transport is not None
            session.transport.abort()  # type: ignore[attr-defined]  # a stream's has it

    # -- what sessions ask (service.ServiceHandler)

    def admit(self, session: SmtpSession) -> Reply | None:
        """Anybody, up to the caps."""
        slot = self._caps.admit(session.peer, exempt=is_trusted(session.peer, self.settings.uncapped_nets))
        if slot is None:
            self._turned_away.note(session.peer, self._caps.connections)
            return replies.TOO_MANY_CONNECTIONS
        assert isinstance(session, ServiceSession)
        slot.gives_way = session.gives_way
        if session.transport is not None:
            after_others(session.transport, slot)
        self._sessions[session] = slot
        return None

    async def sender(self, session: ServiceSession, mail: Mail) -> None:
        """On submission it must be one of theirs. Raise Refused, AuthUnavailable."""
        if session.mode.signs_in:
            await check_sender(self._authenticator, session, mail)

    def begin(self, session: SmtpSession, mail: Mail) -> Intake:
        """A transaction."""
        assert isinstance(session, ServiceSession)
        return (Submission if session.mode.signs_in else Reception)(self._around, session, mail)

    def signed_in(self, session: ServiceSession) -> None:
        """It counts for its address no more: a school is one address."""
        slot = self._sessions.get(session)
        if slot is not None:
            slot.authenticated()

    def ended(self, session: SmtpSession) -> None:
        """Forget the session."""
        slot = self._sessions.pop(session, None)
        if slot is not None:
            slot.release()
        if isinstance(session, ServiceSession):
            self._authentication.signed_off(session)

    def _commit(self, call: Callable[..., str], *arguments: object) -> "asyncio.Future[str]":
        committing = asyncio.get_running_loop().run_in_executor(self._workers, call, *arguments)
        self._committing.add(committing)
        committing.add_done_callback(self._committing.discard)
        return committing
