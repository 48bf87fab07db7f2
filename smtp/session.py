"""The dialog of one SMTP or LMTP connection (RFC 5321 sections 3 and 4.1.4, RFC 2033, RFC 3030, RFC 1870).

Owns the order of commands, the coming in of messages, and what is counted: errors, idle commands, messages. What mail is
for and where it goes is its `Handler`'s and `Transaction`'s; the mode decides only what is spoken.

A command line is at most MAX_LINE octets and complete within `command_seconds`; a message comes within `message_seconds`,
each block of it within `block_seconds`, and is never held. Who is too slow gets 421 and keeps nothing waiting; what was
answered with 250 stays.
"""

import asyncio
from collections.abc import Sequence
from enum import Enum, auto

from ..auth.api import AuthUnavailable
from ..daemon.log import connection_id, logger, new_connection_id, redact
from ..storage.api import StoreError
from . import reply as replies
from .commands import MAX_LINE, Auth, Bdat, Command, Hello, Mail, Rcpt, Simple, parse_command
from .connection import Connection, Ended, Expelled, Slow
from .data import ChunkStream, DataStream
from .modes import Handler, Mode, SessionLimits, Transaction
from .reply import Refused, Reply, reply_for

log = logger("smtp")


class State(Enum):
    """Where the dialog is."""

    START = auto()  # no LHLO yet
    READY = auto()
    MAIL = auto()  # a reverse-path, no recipient
    RCPT = auto()
    CHUNKS = auto()  # between BDAT commands


_ANYWHERE = frozenset(State)
# RFC 5321 section 4.1.4, RFC 3030 section 2 for BDAT. What stands elsewhere is answered 503.
_STATES: dict[str, frozenset[State]] = {
    "HELLO": _ANYWHERE,
    "MAIL": frozenset({State.READY}),
    "RCPT": frozenset({State.MAIL, State.RCPT}),
    "DATA": frozenset({State.RCPT}),
    "BDAT": frozenset({State.RCPT, State.CHUNKS}),
    "RSET": _ANYWHERE,
    "NOOP": _ANYWHERE,
    "VRFY": _ANYWHERE,
    "HELP": _ANYWHERE,
    "QUIT": _ANYWHERE,
}
_TURN_SECONDS = 0.005  # that one connection may keep the others waiting
_IDLE = frozenset({"RSET", "NOOP", "VRFY", "HELP"})


class SmtpSession(Connection):
    """A connection in one of the modes. Made for each by its server."""

    def __init__(
        self, mode: Mode, handler: Handler, limits: SessionLimits, *, hostname: str, loop: asyncio.AbstractEventLoop
    ) -> None:
        """`hostname`: how we name ourselves."""
        super().__init__(limits, hostname=hostname, loop=loop)
        self.mode = mode
        self.client = ""  # as it called itself
        self.hello = ""  # LHLO, EHLO or HELO, "" before it
        self._handler = handler
        self._state = State.START
        self._transaction: Transaction | None = None
        self._recipients = 0
        self._last_recipient_code = 0
        self._chunks: ChunkStream | None = None
        self._failure: Reply | None = None  # why the message coming in will not be stored
        self._ending = self._draining = False
        self._errors = self._idle = self._messages = 0

    def drain(self) -> None:
        """No new transaction: end as soon as none is open."""
        self._draining = True
        self._wake()

    async def _handle_client(self) -> None:
        connection_id.set(new_connection_id())
        try:
            await self._open_connection()
            await self._converse()
        except Expelled as expelled:
            self._say(expelled.reply)
        except Slow:
            log.info("timed out", peer=self.peer, state=self._state.name.lower())
            self._say(replies.TOO_SLOW)
        except (Ended, ConnectionError):
            pass
        except Exception as error:
            self._say(replies.incident(log.incident("session failed", error, peer=self.peer)))
        finally:
            self._reset()
            self._close()
            self._handler.ended(self)

    async def _open_connection(self) -> None:
        """Everything up to the greeting. Raise Expelled for who is not admitted."""
        if (refusal := self._handler.admit(self)) is not None:
            raise Expelled(refusal)
        self._greet()

    def _greet(self) -> None:
        self._say(Reply(220, "", f"{self.hostname} {self.mode.name} ready"))

    def _latest(self, seconds: float) -> float:
        """When something that may take `seconds` has to be there, on the loop's clock."""
        return self.loop.time() + seconds

    async def _converse(self) -> None:
        self._deadline = self._latest(self.limits.command_seconds)
        turn_ends = self._latest(_TURN_SECONDS)
        while not self._ending:
            self._stay()
            if self.loop.time() > turn_ends:
                # Thousands of commands can lie here, none of which waits for anything.
                await asyncio.sleep(0)
                turn_ends = self._latest(_TURN_SECONDS)
            line = self._take_line()
            if line is None:
                if self._draining and self._transaction is None:
                    self._say(replies.SHUTTING_DOWN)
                    return
                await self._more()
                continue
            if log.is_debug():
                log.debug("command", line=redact(line))
            await self._handle_line(line)
            self._deadline = self._latest(self.limits.command_seconds)

    async def _handle_line(self, line: bytes) -> None:
        if len(line) > MAX_LINE:
            self._fault(replies.LINE_TOO_LONG)
            return
        if not line.endswith(b"\r\n"):
            self._fault(replies.BARE_LINE_END)
            return
        try:
            command = parse_command(line[:-2])
        except Refused as refused:
            self._fault(refused.reply)
            # What follows a BDAT that is none are octets of a message: not to be taken for commands.
            self._ending = self._ending or line[:4].upper() == b"BDAT"
            return
        try:
            await self._handle_command(command)
        except Refused as refused:
            self._fault(refused.reply)

    def _fault(self, reply: Reply) -> None:
        self._say(reply)
        self._errors += 1
        if self._errors >= self.limits.errors:
            self._say(replies.TOO_MANY_ERRORS)
            self._ending = True

    async def _handle_command(self, command: Command) -> None:
        match command:
            case Rcpt():
                self._expect("RCPT")
                await self._handle_rcpt(command)
            case Mail():
                self._expect("MAIL")
                self._handle_mail(command)
            case Bdat():
                await self._handle_bdat(command)
            case Hello():
                self._handle_hello(command)
            case Simple(verb="DATA"):
                self._expect("DATA")
                await self._handle_data()
            case Simple():
                self._handle_simple(command.verb)
            case Auth():
                raise Refused(replies.UNKNOWN_COMMAND)

    def _expect(self, verb: str) -> None:
        if self._state not in _STATES[verb]:
            if self._state is State.MAIL and verb in ("DATA", "BDAT"):
                raise Refused(replies.NO_RECIPIENTS)
            if self._state in (State.MAIL, State.RCPT) and verb == "MAIL":
                raise Refused(replies.NESTED_MAIL)
            raise Refused(replies.BAD_SEQUENCE)

    def _handle_hello(self, hello: Hello) -> None:
        if hello.verb not in self.mode.hello:
            raise Refused(replies.UNKNOWN_COMMAND)
        self._count_idle()
        self._reset()
        self._state = State.READY
        self.client, self.hello = hello.name, hello.verb
        # RFC 5321 section 4.1.1.1: HELO knows no extensions and has one line.
        lines = (self.hostname,) if hello.verb == "HELO" else (self.hostname, *self._keywords())
        self._say(Reply(250, "", "\n".join(lines)))

    def _keywords(self) -> tuple[str, ...]:
        """What EHLO or LHLO announces now."""
        return (*self.mode.keywords, f"SIZE {self.limits.message_size}")

    def _handle_simple(self, verb: str) -> None:
        if verb not in _STATES:
            raise Refused(replies.UNKNOWN_COMMAND)
        self._expect(verb)
        if verb in _IDLE:
            self._count_idle()
        match verb:
            case "QUIT":
                self._say(replies.BYE)
                self._ending = True
            case "RSET":
                self._reset()
                self._say(replies.OK)
            case "VRFY":
                self._say(replies.CANNOT_VERIFY)
            case "HELP":
                verbs = (*sorted(self.mode.hello), *(each for each in _STATES if each != "HELLO"))
                self._say(Reply(214, "2.0.0", " ".join(verbs)))
            case _:
                self._say(replies.OK)

    def _count_idle(self) -> None:
        self._idle += 1
        if self._idle > self.limits.idle_commands:
            self._ending = True
            raise Refused(replies.TOO_MANY_ERRORS)

    def _handle_mail(self, mail: Mail) -> None:
        if self._messages >= self.limits.messages:
            self._ending = True
            raise Refused(replies.TOO_MANY_MESSAGES)
        if self._draining:
            self._ending = True
            raise Refused(replies.SHUTTING_DOWN)
        if mail.delivery_id is not None and not self.mode.reply_per_recipient:
            raise Refused(Reply(555, "5.5.4", "parameter XDELIVERYID not known"))
        if mail.body == "BINARYMIME":
            raise Refused(Reply(555, "5.6.1", "BINARYMIME is not offered"))
        if mail.size is not None and mail.size > self.limits.message_size:
            raise Refused(replies.MESSAGE_TOO_LARGE)
        if mail.reverse_path is not None and not mail.smtputf8 and not mail.reverse_path.is_ascii:
            raise Refused(replies.NEEDS_UTF8)
        self._transaction = self._handler.begin(self, mail)
        self._state = State.MAIL
        self._say(replies.SENDER_OK)

    async def _handle_rcpt(self, rcpt: Rcpt) -> None:
        assert self._transaction is not None
        try:
            reply = await self._transaction.recipient(rcpt)
        except Exception as error:
            reply = self._answer_for(error)
        if reply.positive:
            self._recipients += 1
            self._state = State.RCPT
        self._last_recipient_code = reply.code
        self._say(reply)

    async def _handle_data(self) -> None:
        if not await self._open():
            return
        self._say(replies.START_DATA)
        stream = DataStream(self.limits.message_size, self.mode.bare_newlines)
        latest = self.loop.time() + self.limits.message_seconds
        while True:
            if self._input:
                data = bytes(self._input)
                self._input.clear()
                self._store(stream.feed(data))
                if stream.done:
                    break
                self._check_size(stream)
            self._deadline = min(latest, self.loop.time() + self.limits.block_seconds)
            await self._more()
        self._input += stream.rest
        self._scanned = 0
        await self._finish(stream)

    async def _handle_bdat(self, bdat: Bdat) -> None:
        misplaced = self._state not in _STATES["BDAT"]
        if self._chunks is None:
            self._chunks = ChunkStream(self.limits.message_size, self.mode.bare_newlines)
            # RFC 3030 section 2: the octets come whatever we answer, so a refusal must read them too.
            if misplaced:
                self._failure = replies.BAD_SEQUENCE
            else:
                await self._open(answer=False)
        stream = self._chunks
        self._store(stream.begin(bdat.size, last=bdat.last))
        self._check_size(stream)
        latest = self.loop.time() + self.limits.message_seconds
        while stream.wanted:
            if self._input:
                data = bytes(self._input[: stream.wanted])
                del self._input[: len(data)]
                self._store(stream.feed(data))
                self._check_size(stream)
                continue
            self._deadline = min(latest, self.loop.time() + self.limits.block_seconds)
            await self._more()
        self._scanned = 0
        if misplaced:
            self._chunks = self._failure = None
            self._expect("BDAT")
        elif bdat.last:
            await self._finish(stream)
        elif self._failure is not None:
            self._say(self._failure)
            self._reset()
        else:
            self._state = State.CHUNKS
            self._say(Reply(250, "2.0.0", f"{bdat.size} octets"))

    async def _open(self, *, answer: bool = True) -> bool:
        assert self._transaction is not None
        self._failure = None
        try:
            await self._transaction.open()
        except Exception as error:
            self._failure = self._answer_for(error)
            if answer:
                self._say(self._failure)
                self._reset()
            return False
        return True

    def _store(self, data: bytes) -> None:
        if data and self._failure is None and self._transaction is not None:
            try:
                self._transaction.write(data)
            except Exception as error:
                self._failure = self._answer_for(error)

    def _check_size(self, stream: DataStream | ChunkStream) -> None:
        if stream.far_too_large:
            self._say(replies.MESSAGE_TOO_LARGE)
            raise Ended

    async def _finish(self, stream: DataStream | ChunkStream) -> None:
        assert self._transaction is not None
        if stream.too_large:
            self._failure = replies.MESSAGE_TOO_LARGE
        elif stream.refused_bare:
            self._failure = replies.BARE_NEWLINE
        answers: Sequence[Reply] = ()
        if self._failure is None:
            try:
                answers = await self._transaction.finish()
            except Exception as error:
                self._failure = self._answer_for(error)
        if self._failure is not None:
            answers = [self._failure] * (self._recipients if self.mode.reply_per_recipient else 1)
        for each in answers:
            self._say(each)
        self._messages += 1
        self._idle = 0
        if answers and all(each.positive for each in answers):
            self._errors = 0
        self._reset()

    def _reset(self) -> None:
        if self._transaction is not None:
            self._transaction.close()
            self._transaction = None
        self._chunks = None
        self._failure = None
        self._recipients = 0
        if self._state is not State.START:
            self._state = State.READY

    def _answer_for(self, error: Exception) -> Reply:
        reply = reply_for(error)
        if reply is None:
            return replies.incident(log.incident("transaction failed", error, peer=self.peer))
        if isinstance(error, StoreError | AuthUnavailable):
            log.warning("refused", reason=f"{type(error).__name__}: {error}", code=reply.code)
        return reply
