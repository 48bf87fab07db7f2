"""The dialog of a connection from outside: PROXY, greeting, STARTTLS, AUTH, and what a stranger may not do.

Builds on session.py, which owns mail transactions. RFC 3207 (STARTTLS), RFC 4954 (AUTH), RFC 2920 (which commands may
stand in a group), RFC 8314 (implicit TLS).

What is announced is computed from what works here and now: STARTTLS where there is a certificate and no TLS yet, AUTH where
signing in is offered and passwords may be said. A connection begins plain even on the port of implicit TLS: the proxy's
header and the caps on addresses come before the cost of a handshake.

Out of turn. RFC 2920 section 3.1 and RFC 3207 name what must end a group of commands: EHLO, DATA, STARTTLS. Who sends on
behind one of them does not listen to what we say, and is no mail client: a web page that was made to post here, a spam
robot, an injection into a connection before its TLS. It is cut off before anything of it is taken for a command.

Owns that order. Never decides who is who (authentication.py) or where mail may go (reception.py, submission.py).
"""

import asyncio
import ipaddress
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from ..auth.api import Granted
from ..auth.sasl import MAX_LINE as MAX_RESPONSE
from ..auth.sasl import (
    MECHANISMS,
    Cancelled,
    Credentials,
    MalformedResponse,
    decode_response,
    encode_challenge,
    open_mechanism,
)
from ..daemon.handshake import Handshakes
from ..daemon.log import logger
from . import reply as replies
from .authentication import Authentication, NotSignedIn, SignedIn, as_reply
from .commands import Auth, Command, Hello, Mail, Rcpt, Simple
from .connection import Ended, Expelled, Slow
from .modes import Handler, Mode, SessionLimits
from .policy import is_trusted
from .proxy import InvalidProxyHeader, parse_proxy_header
from .reply import Refused, Reply
from .session import SmtpSession, State

log = logger("smtp")

# First words of other protocols, which a browser can be made to say here.
_NOT_SMTP = frozenset({b"GET", b"POST", b"PUT", b"HEAD", b"OPTIONS", b"DELETE", b"PATCH", b"CONNECT", b"HOST:"})


_SCRAM = "SCRAM-SHA-256"
_GRACE_SECONDS = 1.0  # who has not signed in by then gives way to newer connections where there is no place
_SILENT_SECONDS = 10.0  # the same of a mail server that says nothing


class ServiceHandler(Handler, Protocol):
    """What stands behind a service session."""

    async def sender(self, session: "ServiceSession", mail: Mail) -> None:
        """MAIL is about to be taken. Raise Refused, or a sign-in error."""
        ...

    def signed_in(self, session: "ServiceSession") -> None:
        """A session has signed in."""
        ...


@dataclass(frozen=True, slots=True)
class ServiceSettings:
    """What is the same for all connections of a listener. Times are seconds."""

    mode: Mode
    hostname: str
    limits: SessionLimits
    handshakes: Handshakes | None = None  # None: there is no TLS
    implicit_tls: bool = False
    plaintext_ok: bool = False  # passwords without TLS from loopback addresses
    proxy_nets: tuple[str, ...] = ()  # peers that begin with a PROXY header
    proxy_seconds: float = 5.0
    handshake_seconds: float = 30.0
    login_seconds: float = 120.0  # from the greeting to signed in
    failed_logins: int = 5
    scram: bool = False  # offer SCRAM-SHA-256
    banner_seconds: float = 0.0


class ServiceSession(SmtpSession):
    """A connection of port 25, 465 or 587."""

    def __init__(
        self,
        settings: ServiceSettings,
        handler: ServiceHandler,
        authentication: Authentication,
        *,
        loop: asyncio.AbstractEventLoop,
        made: Callable[["ServiceSession"], None],
    ) -> None:
        """`made`: called once it stands, before anything is read."""
        super().__init__(settings.mode, handler, settings.limits, hostname=settings.hostname, loop=loop)
        self.settings = settings
        self.granted: Granted | None = None
        self._service = handler
        self._authentication = authentication
        self._failed_logins = 0
        self._began = 0.0
        self._made = made
        self._grain = min(self._grain, settings.login_seconds, settings.proxy_seconds)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See Connection."""
        super().connection_made(transport)
        self._made(self)

    # -- before the dialog

    async def _open_connection(self) -> None:
        settings = self.settings
        head = b""
        if settings.proxy_nets and is_trusted(self.peer, settings.proxy_nets):
            head = await self._read_proxy_header()
        if (refusal := self._handler.admit(self)) is not None:
            if settings.implicit_tls:
                raise Ended  # nothing that is not TLS would be understood
            raise Expelled(refusal)
        if settings.implicit_tls:
            assert settings.handshakes is not None
            await self._start_tls(settings.handshakes, seconds=settings.handshake_seconds, head=head)
        self._began = self.loop.time()
        if settings.banner_seconds > 0:
            await self._listen_before_speaking(settings.banner_seconds)
        if self._input:
            log.info("spoke before the greeting", peer=self.peer)
            raise Expelled(replies.OUT_OF_TURN)
        self._greet()

    async def _read_proxy_header(self) -> bytes:
        self._deadline = self.loop.time() + self.settings.proxy_seconds
        while True:
            try:
                header = parse_proxy_header(bytes(self._input))
            except InvalidProxyHeader as error:
                log.warning("PROXY header not understood", peer=self.peer, reason=str(error))
                raise Ended from None
            if header is not None:
                break
            try:
                await self._more()
            except Slow:
                log.warning("no PROXY header", peer=self.peer)
                raise Ended from None
        del self._input[: header.length]
        self.peer = header.source or self.peer
        if not self.settings.implicit_tls:
            return b""
        head = bytes(self._input)
        self._input.clear()
        return head

    async def _listen_before_speaking(self, seconds: float) -> None:
        self._deadline = self.loop.time() + seconds + 1.0
        try:
            await asyncio.wait_for(self._more(), seconds)
        except TimeoutError:
            pass

    def gives_way(self) -> bool:
        """Make room for a newer connection, if nobody has signed in here and it is the peer who lets us wait."""
        if self.granted is not None:
            return False
        # Mail servers keep connections for the next message, and have one under way that may come slowly.
        waited, grace = (self._came, _GRACE_SECONDS) if self.mode.signs_in else (self._heard, _SILENT_SECONDS)
        return self.loop.time() - waited >= grace and self.leave(replies.TOO_MANY_CONNECTIONS)

    def _latest(self, seconds: float) -> float:
        latest = super()._latest(seconds)
        if self.mode.signs_in and self.granted is None:
            # Whatever it says: it has so long to sign in.
            latest = min(latest, self._began + self.settings.login_seconds)
        return latest

    # -- commands

    def _keywords(self) -> tuple[str, ...]:
        keywords = super()._keywords()
        if self._may_start_tls:
            keywords += ("STARTTLS",)
        if self._may_say_password and self.granted is None:
            scram = (_SCRAM,) if self.settings.scram else ()
            keywords += (f"AUTH {' '.join((*scram, *MECHANISMS))}",)
        return keywords

    @property
    def _may_start_tls(self) -> bool:
        return self.settings.handshakes is not None and not self.tls

    @property
    def _may_say_password(self) -> bool:
        return self.mode.signs_in and (bool(self.tls) or (self.settings.plaintext_ok and _is_loopback(self.peer)))

    async def _handle_line(self, line: bytes) -> None:
        if line[:8].partition(b" ")[0].upper() in _NOT_SMTP:
            log.warning("another protocol", peer=self.peer)
            raise Expelled(replies.NOT_SMTP)
        await super()._handle_line(line)

    async def _handle_command(self, command: Command) -> None:
        match command:
            case Simple(verb="STARTTLS"):
                self._ends_group()
                await self._handle_starttls()
            case Simple(verb="EXPN"):
                raise Refused(replies.NO_EXPN)
            case Auth():
                await self._handle_auth(command)
            case Mail():
                await self._handle_mail_from(command)
            case Rcpt():
                await super()._handle_command(command)
                self._count_refused_recipient()
            case Hello() | Simple(verb="DATA"):
                self._ends_group()
                await super()._handle_command(command)
            case _:
                await super()._handle_command(command)

    def _ends_group(self) -> None:
        if self._input:
            log.warning("sent on out of turn", peer=self.peer)
            raise Expelled(replies.OUT_OF_TURN)

    async def _handle_starttls(self) -> None:
        if self.settings.handshakes is None:
            raise Refused(replies.UNKNOWN_COMMAND)
        if not self._may_start_tls or self.granted is not None:
            raise Refused(replies.BAD_SEQUENCE)
        self._say(replies.START_TLS)
        self._reset()
        # RFC 3207 section 4.2: what was learned in the clear is forgotten, the client's name too.
        self._state = State.START
        self.client = self.hello = ""
        await self._start_tls(self.settings.handshakes, seconds=self.settings.handshake_seconds)

    async def _handle_mail_from(self, mail: Mail) -> None:
        self._expect("MAIL")
        if self.mode.signs_in and self.granted is None:
            raise Refused(replies.SIGN_IN_FIRST)
        try:
            await self._service.sender(self, mail)
        except Refused:
            raise
        except Exception as error:
            self._say(self._answer_for(error))
            return
        await super()._handle_command(mail)

    def _count_refused_recipient(self) -> None:
        # Who guesses addresses is cut off; somebody of ours with an old list is not, nor a list with a few dead ones.
        if self.granted is None and self._last_recipient_code >= 500:
            self._errors += 1
            if self._errors >= self.limits.errors:
                self._say(replies.TOO_MANY_ERRORS)
                self._ending = True

    # -- AUTH

    async def _handle_auth(self, auth: Auth) -> None:
        if not self.mode.signs_in:
            raise Refused(replies.NO_SIGN_IN_HERE)
        if self._state is not State.READY or self.granted is not None or self.hello == "HELO":
            raise Refused(replies.BAD_SEQUENCE)
        if not self._may_say_password:
            raise Refused(as_reply(self._authentication.refusals.cleartext()))
        try:
            if auth.mechanism == _SCRAM and self.settings.scram:
                outcome = await self._exchange_scram(auth)
            else:
                outcome = await self._authentication.sign_in(self, await self._exchange(auth))
        except Cancelled:
            raise Refused(replies.AUTH_CANCELLED) from None
        except MalformedResponse:
            raise Refused(replies.AUTH_MALFORMED) from None
        if isinstance(outcome, SignedIn):
            self.granted = outcome.granted
            self._service.signed_in(self)
            self._say(replies.SIGNED_IN)
            return
        self._say(outcome.reply)
        self._failed_logins += outcome.counts
        if self._failed_logins >= self.settings.failed_logins:
            raise Expelled(as_reply(self._authentication.refusals.too_many()))

    async def _exchange(self, auth: Auth) -> Credentials:
        mechanism = open_mechanism(auth.mechanism)
        if mechanism is None:
            raise Refused(replies.UNKNOWN_MECHANISM)
        response = None if auth.initial is None else decode_response(auth.initial)
        while not isinstance(step := mechanism.receive(response), Credentials):
            response = await self._challenge(step.data)
        return step

    async def _exchange_scram(self, auth: Auth) -> SignedIn | NotSignedIn:
        first = decode_response(auth.initial) if auth.initial is not None else await self._challenge(b"")
        opened = await self._authentication.begin_scram(self, first)
        if isinstance(opened, NotSignedIn):
            return opened
        outcome = await self._authentication.finish_scram(self, opened, await self._challenge(opened.challenge))
        if isinstance(outcome, SignedIn):
            # RFC 4954 section 4: SMTP has no place for data with its success. The client may not like what it hears.
            try:
                if await self._challenge(outcome.final):
                    raise MalformedResponse("nothing is left to be said")
            except MalformedResponse:
                self._authentication.signed_off(self)
                raise
        return outcome

    async def _challenge(self, data: bytes) -> bytes:
        """Ask and wait: the decoded response. Raise MalformedResponse, Refused, Slow, Ended, Expelled."""
        self._say(Reply(334, "", encode_challenge(data).decode("ascii")))
        self._deadline = self._latest(self.limits.command_seconds)
        while (line := self._take_line()) is None:
            await self._more()
        if len(line) > MAX_RESPONSE + 2:
            raise Refused(replies.AUTH_TOO_LONG)
        if not line.endswith(b"\r\n"):
            raise MalformedResponse("no CR LF")
        return decode_response(line[:-2])


def _is_loopback(peer: str) -> bool:
    try:
        return ipaddress.ip_address(peer.partition("%")[0]).is_loopback
    except ValueError:
        return False
