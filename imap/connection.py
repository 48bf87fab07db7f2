"""One IMAP connection: octets in, commands strictly in order, octets out (storage-imap.md 3.5 and 4.8).

Owns the driving of commands (imap/steps.py), flow control both ways, TLS, and how a connection ends. Never knows what a
command means.

Theory of operation. A connection is always in one `Phase`. `_run` drives the command under way until it has to wait:
for the client (ASKING, IDLING), for a thread or another process (BUSY), for the socket to take what was written (HELD),
or for its neighbours on the loop, when its 0.25 ms are over (TURN). With no command under way it takes the decoder's next
event. What else may happen - octets, a done job, news, room in the socket - only ever calls `_run` from the phase that
waits for it, so a command never runs twice at once and commands never overtake each other.

Octets that come while a command runs stop the reading: at most one read of the socket is kept. Text is gathered and
written in pieces of 64 to 256 KiB: larger ones cost asyncio a copy of their tail at each send, smaller ones a call each.

A thread's work is never left alone: a connection that is lost meanwhile ends its command when the thread is done.
"""

import asyncio
import contextlib
import secrets
import time
from collections.abc import Callable
from contextvars import copy_context
from dataclasses import dataclass, replace
from enum import Enum, auto
from typing import Any, cast

from ..auth.api import SessionId
from ..daemon.handshake import Handshakes
from ..daemon.limits import Slot
from ..daemon.log import connection_id, logger
from ..daemon.tls import describe
from ..storage.api import WouldWait
from .answers import answer_for_bug
from .capabilities import capability_text
from .decode import AFTER_LOGIN, Decoder, Limits, Memo
from .deflate import Deflate, InvalidDeflate
from .dispatch import run_command
from .pace import Pace
from .session import Session, SignedIn, Site, State, Upgrade
from .steps import Ask, BrokenAnswer, Steps, Wait, Work
from .values import (
    AppendBegan,
    CommandReceived,
    ContinuationWanted,
    Event,
    LiteralRefused,
    Malformed,
    Refused,
)

log = logger("imap")

SHUTTING_DOWN = b"[UNAVAILABLE] Shutting down, connect again"
TURN_SECONDS = 0.000_25
_WRITE_FROM = 65_536  # octets gathered before they are written
_WRITE_MOST = 262_144  # octets of one write
_LINGER_SECONDS = 10.0  # for what was written last to be taken
_HEAR_OUT_SECONDS = 1.0  # for the rest of what a client sends that hears BYE in the middle of it
_BROKEN = (Malformed, Refused, LiteralRefused)


class Phase(Enum):
    """What a connection waits for."""

    NEXT = auto()  # the next command
    ASKING = auto()  # an event that the command asked for
    IDLING = auto()  # DONE, or news
    BUSY = auto()  # a thread, or another process
    TURN = auto()  # its next turn on the loop
    HELD = auto()  # room in the socket
    HANDSHAKE = auto()  # TLS
    CLOSING = auto()  # what was written to be sent
    LOST = auto()  # nothing


@dataclass(slots=True)
class Host:
    """What connections need of the server they belong to."""

    site: Site
    loop: asyncio.AbstractEventLoop
    in_thread: Callable[[Callable[[], Any]], "asyncio.Future[Any]"]
    handshakes: Handshakes | None
    connections: "set[Connection]"
    signed_in: Callable[["Connection"], None]
    ended: Callable[["Connection"], None]
    close_session: Callable[[SessionId], None]
    memo: Memo
    pace: Pace
    after_login: Limits = AFTER_LOGIN
    draining: bool = False


class Connection(asyncio.Protocol):
    """The protocol object of one client."""

    __slots__ = (
        "_asked",
        "_bad",
        "_commands",
        "_decoder",
        "_deflate",
        "_eof",
        "_hears_out",
        "_host",
        "_implicit_tls",
        "_job",
        "_news",
        "_out",
        "_out_size",
        "_read",
        "_reading",
        "_slot",
        "_steps",
        "_transport",
        "_writable",
        "_written",
        "name",
        "opened",
        "phase",
        "session",
        "since",
    )

    def __init__(self, host: Host, slot: Slot, session: Session, *, implicit_tls: bool) -> None:
        """`slot`: its place among the server's connections."""
        self._host = host
        self._slot = slot
        slot.gives_way = self._gives_way
        self.session = session
        self._implicit_tls = implicit_tls
        self.name = secrets.token_hex(4)
        self.phase = Phase.NEXT
        self.opened = self.since = host.loop.time()
        self._decoder = Decoder(memo=host.memo)
        self._deflate: Deflate | None = None
        self._transport: asyncio.Transport | None = None
        self._steps: Steps | None = None
        self._asked: Ask | None = None
        self._job: asyncio.Future[Any] | None = None
        self._out: list[bytes] = []
        self._out_size = 0
        self._writable = True
        self._reading = True
        self._hears_out = False
        self._eof = False
        self._news = False
        self._bad = 0
        self._commands = self._read = self._written = 0

    # -- called by asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client is there."""
        connection_id.set(self.name)
        self._transport = cast(asyncio.Transport, transport)
        self._host.connections.add(self)
        if self._implicit_tls:
            self._start_tls()
        else:
            self._transport.set_write_buffer_limits(self._host.site.settings.write_high)
            self._greet()

    def data_received(self, data: bytes) -> None:
        """Octets of the client."""
        if self.phase in (Phase.CLOSING, Phase.LOST):
            return
        self.since = self._host.loop.time()
        self._read += len(data)
        if self._deflate is None:
            self._decoder.feed(data)
        else:
            self._deflate.feed(data)
        if self.phase in (Phase.NEXT, Phase.ASKING, Phase.IDLING):
            self._run()
        elif self.phase is not Phase.HANDSHAKE and self._transport is not None:
            # In HANDSHAKE these are the first octets over TLS, before our own callback says that TLS is there.
            self._reading = False
            self._transport.pause_reading()

    def eof_received(self) -> bool:
        """The client sends no more; what it asked for before is answered, unless TLS is over with it."""
        if self.session.tls or self.phase not in (Phase.BUSY, Phase.TURN, Phase.HELD):
            return False
        self._eof = True
        return True

    def pause_writing(self) -> None:
        """The client is slower than we are."""
        self._writable = False

    def resume_writing(self) -> None:
        """It caught up."""
        self._writable = True
        if self.phase is Phase.HELD:
            self._run()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing comes or goes any more."""
        if self.phase is Phase.LOST:
            return
        connection_id.set(self.name)
        self.phase = Phase.LOST
        self._transport = None
        self._out.clear()
        if self._job is None:
            self._end()

    # -- called by the server

    def tell_news(self) -> None:
        """The selected mailbox may have changed; matters while the client idles."""
        # What comes while earlier news are being told, over several turns, is told after them.
        self._news = self.phase is not Phase.IDLING
        if not self._news:
            self._run(news=True)

    def bye(self, text: bytes) -> None:
        """End the connection: with `* BYE text` where a response may stand, else without a word."""
        if self.phase in (Phase.CLOSING, Phase.LOST):
            return
        connection_id.set(self.name)
        between = self.phase is Phase.TURN and self._steps is None  # an answer is done, the next command waits for its turn
        if text and (between or self.phase in (Phase.NEXT, Phase.ASKING, Phase.IDLING)):
            self._put(b"* BYE " + text + b"\r\n")
            self._close()
        elif self._transport is not None:
            # In the middle of an answer, maybe of a literal.
            transport = self._transport
            self.phase = Phase.CLOSING
            transport.abort()

    def _gives_way(self) -> bool:
        """Not signed in, it waits for its client while newer connections of the same address find no place."""
        grace = self._host.site.settings.grace_seconds
        if self.phase not in (Phase.NEXT, Phase.ASKING, Phase.HANDSHAKE) or self._host.loop.time() - self.opened < grace:
            return False
        self.bye(b"[LIMIT] Too many connections")
        return True

    def abort(self) -> None:
        """Drop the connection with whatever is still to be sent."""
        if self._transport is not None:
            self._transport.abort()

    def rest(self) -> None:
        """Nothing is asked for: hold no more than must be held."""
        if self._deflate is not None:
            self._deflate.rest()

    def overdue(self, now: float) -> bytes | None:
        """Why this connection has had its time, if it has (RFC 9051 section 5.4)."""
        settings = self._host.site.settings
        waited = now - self.since
        match self.phase:
            case Phase.HANDSHAKE:
                return b"Too slow" if now - self.opened > settings.login_seconds else None
            case Phase.CLOSING:
                if waited > _LINGER_SECONDS and self._transport is not None:
                    self._transport.abort()
                return None
            case Phase.HELD:
                return b"Stalled" if waited > settings.stalled_seconds else None
            case Phase.IDLING | Phase.BUSY | Phase.TURN | Phase.LOST:
                # A client that idles is waited for (TCP keepalive finds those that are gone).
                return None
        if self.session.state is State.NOT_AUTHENTICATED:
            return b"[UNAVAILABLE] Login took too long" if now - self.opened > settings.login_seconds else None
        limit = settings.stalled_seconds if self.phase is Phase.ASKING else settings.idle_seconds
        return b"Autologout: no command for too long" if waited > limit else None

    # -- a command under way

    def _run(self, *, news: bool = False, value: Any = None, error: BaseException | None = None) -> None:
        """Go on until there is something to wait for."""
        if self.phase is Phase.LOST or self.phase is Phase.CLOSING:
            return
        connection_id.set(self.name)
        asked, self._asked = self._asked, None
        if news:
            asked = None  # resumed without an event
        until = time.monotonic() + TURN_SECONDS
        while True:
            if self._steps is None or asked is not None:
                event = self._decoder.next_event()
                if event is None:
                    if self._deflate is not None and self._inflates(self._deflate):
                        if self._goes_on(until):
                            continue
                        self._asked = asked
                        return
                    self._wait_for_client(asked)
                    return
                if self._steps is None:
                    self._begin(event)
                elif isinstance(event, _BROKEN):
                    self._break_off(event)
                else:
                    value = event
                asked = None
            if self._steps is not None:
                try:
                    step = self._steps.send(value) if error is None else self._steps.throw(error)
                except StopIteration as done:
                    self._answer(done.value)
                except BrokenAnswer as broken:
                    log.incident("answer broken off", broken)
                    self.bye(b"")
                    return
                except Exception as bug:
                    self._answer(answer_for_bug(log.incident("command failed", bug)))
                else:
                    if isinstance(step, bytes):
                        self._put(step)
                    elif isinstance(step, Work | Wait):
                        outcome = self._done_here(step)
                        if outcome is None:
                            self._start_job(step)
                            return
                        value, error = outcome
                        continue
                    elif step is Ask.REFUSE_LITERAL:
                        self._decoder.refuse_literal()
                    else:
                        asked = step
                        self._expect(step)
                value = error = None
            if self._steps is None and self._ends_or_upgrades():
                return
            if asked is None and not self._goes_on(until):
                return

    def _inflates(self, deflate: Deflate) -> bool:
        """Whether a piece of what came compressed went to the decoder; ends the connection when it cannot be read."""
        try:
            piece = deflate.take()
        except InvalidDeflate as error:
            log.debug("not deflate", address=self.session.address, error=str(error))
            self.bye(b"")
            return False
        self._decoder.feed(piece)
        return bool(piece)

    def _goes_on(self, until: float) -> bool:
        """Whether the command may go on at once. If not, its next turn is arranged."""
        if not self._writable:
            self.phase = Phase.HELD
            self.since = self._host.loop.time()
            return False
        if time.monotonic() > until:
            self.phase = Phase.TURN
            self._host.loop.call_soon(self._turn)
            return False
        return True

    def _turn(self) -> None:
        if self.phase is Phase.TURN:
            self._run()

    def _expect(self, ask: Ask) -> None:
        if ask is Ask.RESPONSE:
            self._decoder.expect_response()
        elif ask is Ask.DONE:
            self._decoder.expect_done()

    def _wait_for_client(self, asked: Ask | None) -> None:
        if self.phase in (Phase.CLOSING, Phase.LOST):
            return
        self._asked = asked
        if self._eof:
            self._close()
            return
        if asked is None:
            self.phase = Phase.NEXT
            if self._host.draining:
                self.bye(SHUTTING_DOWN)
                return
        else:
            self.phase = Phase.IDLING if asked is Ask.DONE else Phase.ASKING
        self._flush()
        if self.phase is Phase.IDLING:
            self.rest()
            if self._news:
                self._host.loop.call_soon(self.tell_news)
        if not self._reading and self._transport is not None:
            self._reading = True
            self._transport.resume_reading()

    def _done_here(self, step: Work | Wait) -> tuple[Any, BaseException | None] | None:
        """What a brief call returned or raised on the loop; None when it is one for a thread."""
        if isinstance(step, Wait) or step.brief is None or not self._host.pace.on_loop:
            return None
        try:
            return self._host.pace.run(step.brief), None
        except WouldWait:
            return None
        except Exception as error:
            return None, error

    def _start_job(self, step: Work | Wait) -> None:
        self.phase = Phase.BUSY
        self._flush()
        if isinstance(step, Work):
            job = self._host.in_thread(self._host.pace.timed(step.call) if step.brief is not None else step.call)
        else:
            context = copy_context()
            job = self._host.loop.create_task(step.awaitable, context=context)
        self._job = job
        job.add_done_callback(self._job_done)

    def _job_done(self, job: "asyncio.Future[Any]") -> None:
        self._job = None
        error = asyncio.CancelledError() if job.cancelled() else job.exception()
        if self.phase is Phase.BUSY:
            self._run(value=None if error else job.result(), error=error)
            return
        connection_id.set(self.name)
        if error is None and isinstance(signed_in := job.result(), SignedIn):
            # The client left while it was let in: what was opened for it is closed with the rest.
            self.session.granted, self.session.account = signed_in.granted, signed_in.account
        if self.phase is Phase.LOST:
            self._end()

    # -- events

    def _begin(self, event: Event) -> None:
        """An event between two commands."""
        match event:
            case CommandReceived(command=command):
                row = self._host.site.table.get(command.name)
                self.session.tag = command.tag
                if row is None:
                    self._fault(b"BAD Unknown command")
                elif not row.begins_early:  # else it was answered before it was complete
                    self._bad = 0
                    self._commands += 1
                    self._steps = run_command(self.session, row, command.args)
            case AppendBegan():
                if event.index == 0:
                    self.session.tag = event.tag
                    self._bad = 0
                    self._commands += 1
                    self._steps = run_command(self.session, self._host.site.table["APPEND"], event)
                elif event.synchronising:
                    self._decoder.refuse_literal()
            case ContinuationWanted():
                self._put(b"+ Ready\r\n")
            case Malformed() | Refused() | LiteralRefused():
                self.session.tag = event.tag or b"*"
                self._complain(event)
            case _:
                pass  # the rest of a command that was answered already

    def _break_off(self, event: Malformed | Refused | LiteralRefused) -> None:
        """The command under way cannot be completed: the client sent something else."""
        if self._steps is not None:
            self._steps.close()
            self._steps = None
        self._complain(event)

    def _complain(self, event: Malformed | Refused | LiteralRefused) -> None:
        text = event.text.encode("ascii", "replace")
        match event:
            case Malformed(fatal=fatal):
                if fatal:
                    self._hears_out = True
                    self.session.farewell = b"BYE " + text
                self._fault(b"BAD " + text)
            case LiteralRefused(fatal=fatal):
                if fatal:
                    self._hears_out = True
                    self.session.farewell = b"BYE [TOOBIG] " + text
                too_big = self.session.state is not State.NOT_AUTHENTICATED
                self._fault((b"NO [TOOBIG] " if too_big else b"BAD ") + text)
            case Refused(code=code):
                self._answer(b"NO [%b] " % code.encode("ascii") + text)

    def _fault(self, answer: bytes) -> None:
        """Answer a client's fault; too many of them in a row end the connection."""
        self._bad += 1
        if self._bad >= self._host.site.settings.bad_commands:
            self.session.farewell = b"BYE Too many bad commands"
        self._answer(answer)

    def _answer(self, answer: bytes) -> None:
        self._steps = None
        self._put(self.session.tag + b" " + answer + b"\r\n")
        if self.session.farewell:
            self._put(b"* " + self.session.farewell + b"\r\n")

    def _ends_or_upgrades(self) -> bool:
        """After an answer: whether the connection ends, or TLS begins. A login widens limits, ENABLE and COMPRESS change how
        octets are read.
        """
        session = self.session
        if session.farewell or session.state is State.LOGOUT:
            self._close()
            return True
        if session.upgrade is not None:
            upgrade, session.upgrade = session.upgrade, None
            if upgrade is Upgrade.TLS:
                self._start_tls()
                return True
            self._decoder.utf8 = session.utf8
            if upgrade is Upgrade.DEFLATE:
                self._flush()  # the answer itself is not compressed (RFC 4978 section 3)
                self._deflate = Deflate()
                self._deflate.feed(self._decoder.take_rest())
        if self._decoder.limits is not self._host.after_login and session.account is not None:
            self._decoder.limits = self._host.after_login
            session.news = self.tell_news
            self._slot.authenticated()
            self._host.signed_in(self)
        return False

    # -- octets

    def _put(self, text: bytes) -> None:
        if text:
            self._out.append(text)
            self._out_size += len(text)
            if self._out_size >= _WRITE_FROM:
                self._flush()

    def _flush(self) -> None:
        out, size = self._out, self._out_size
        if not size or self._transport is None:
            return
        self._written += size
        text = b"".join(out) if len(out) > 1 else out[0]
        out.clear()
        self._out_size = 0
        if self._deflate is not None:
            text = self._deflate.shrink(text)
            size = len(text)
        if size <= _WRITE_MOST:
            self._transport.write(text)
        else:
            for begin in range(0, size, _WRITE_MOST):
                self._transport.write(text[begin : begin + _WRITE_MOST])

    def _greet(self) -> None:
        settings = self._host.site.settings
        greeting = settings.greeting.encode("ascii", "replace")
        self._put(b"* OK [" + capability_text(self.session) + b"] " + greeting + b" ready\r\n")
        self._run()

    # -- TLS

    def _start_tls(self) -> None:
        handshakes = self._host.handshakes
        if handshakes is None or self._transport is None:
            self._close()
            return
        self._flush()
        # What came in the clear behind STARTTLS was maybe not sent by the client: thrown away (RFC 9051 section 6.2.1).
        # A new decoder: not even half a line is left of what was said in the clear.
        self._decoder = Decoder(memo=self._host.memo)
        self.phase = Phase.HANDSHAKE
        seconds = self._host.site.settings.handshake_seconds
        self._job = handshakes.begin(self._transport, self, peer=self.session.address, seconds=seconds)
        self._job.add_done_callback(self._handshake_done)

    def _handshake_done(self, job: "asyncio.Future[asyncio.Transport]") -> None:
        self._job = None
        error = job.exception()
        if error is not None and not isinstance(error, OSError):
            log.incident("TLS handshake failed", error)
        elif error is not None:
            log.debug("TLS handshake failed", address=self.session.address, error=str(error))
        if self.phase is Phase.LOST:
            self._end()
        elif error is not None:
            # Of a connection that is lost before there is TLS, only what shook hands was told.
            self.connection_lost(None)
        else:
            self._transport = transport = job.result()
            transport.set_write_buffer_limits(self._host.site.settings.write_high)
            self.session.tls = True
            self.session.client = ""
            self._reading = self._writable = True
            self.since = self._host.loop.time()
            if self._implicit_tls:
                self._greet()
            else:
                self._run()

    # -- the end

    def _close(self) -> None:
        """Send what is written, then close."""
        self._flush()
        self.phase = Phase.CLOSING
        self.since = self._host.loop.time()
        transport = self._transport
        if transport is None:
            return
        if self._hears_out and transport.can_write_eof():
            # A socket that is closed with octets unread is reset, and the client may lose the BYE that says why.
            transport.write_eof()
            if not self._reading:
                self._reading = True
                transport.resume_reading()
            self._host.loop.call_later(_HEAR_OUT_SECONDS, transport.close)
        else:
            transport.close()

    def _end(self) -> None:
        """Let everything go. No thread works for this connection any more."""
        if self._steps is not None:
            with contextlib.suppress(Exception):
                self._steps.close()
            self._steps = None
        session = self.session
        session.news = None
        self._slot.release()
        self._host.connections.discard(self)
        self._host.ended(self)
        try:
            session.site.selections.close(session)
        finally:
            session.view = None
            account, session.account = session.account, None
            if account is not None:
                self._host.in_thread(account.close)
            if session.granted is not None:
                self._host.close_session(session.granted.session)
        log.info(
            "session end",
            account=session.granted.identity.account if session.granted else None,
            address=session.address,
            commands=self._commands,
            read=self._read,
            written=self._written,
            seconds=round(self._host.loop.time() - self.opened, 1),
        )

    def waiting_octets(self) -> int:
        """Octets made for the client that it has not taken."""
        return self._out_size + (self._transport.get_write_buffer_size() if self._transport else 0)

    def tls_name(self) -> str:
        """Version and cipher, for the log."""
        return describe(self._transport.get_extra_info("ssl_object")) if self._transport else ""


def after_login_limits(append_limit: int) -> Limits:
    """The decoder's limits for who is signed in."""
    return replace(AFTER_LOGIN, message=append_limit, skipped=max(2 * append_limit, AFTER_LOGIN.skipped))
