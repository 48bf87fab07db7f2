"""The dialog of a connection to another host: greeting, EHLO, transactions (RFC 5321 section 3, RFC 2033, RFC 2920).

Owns what is said and what each reply means for each recipient. One session carries one transaction after the other.

A transaction gives every recipient an Outcome, whatever happens: refused by itself, refused with the message, or cut off
with the connection. `Transaction.sent` tells whether the end of the message had gone out when the connection broke: then
the peer may have it, and nobody else is tried at once.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from . import outcome as outcomes
from .client import (
    DataEncoder,
    InvalidPath,
    PeerReply,
    offered_size,
    parse_extensions,
    render_command,
    render_orcpt,
    render_path,
    render_xtext,
    to_ascii_domain,
)
from .client_connection import ClientConnection, ConnectionBroke, Deadlines, HandshakeFailed, Target, connect
from .data import BARE_CR, BARE_LF
from .outcome import Outcome, Verdict, from_reply
from .spool import MessageSource

_PIECE = 65_536  # octets of a message in memory at once,
_WHOLE = 262_144  # or of one that goes to `delivery` in one block


@dataclass(frozen=True, slots=True)
class Sending:
    """A message as a transaction sends it. `needs_utf8`: its header or an address is not ASCII (RFC 6531 section 3.2)."""

    reverse_path: str
    source: MessageSource
    needs_utf8: bool = False
    declared_8bit: bool = False
    ret: str = ""
    envid: str = ""
    delivery_id: str = ""  # LMTP to our own delivery alone


@dataclass(frozen=True, slots=True)
class Receiver:
    """A recipient of a transaction. `key` is the caller's."""

    key: int
    address: str
    notify: frozenset[str] = frozenset()
    orcpt: str = ""


@dataclass(slots=True)
class Transaction:
    """What came of it: an outcome for each key.

    `crowded`: keys refused only because there were too many at once.  `cut`: keys nothing was said about before the
    connection broke.  `sent`: the end of the message had gone out by then.
    """

    outcomes: dict[int, Outcome] = field(default_factory=dict)
    crowded: set[int] = field(default_factory=set)
    cut: set[int] = field(default_factory=set)
    sent: bool = False


class SessionRefused(Exception):
    """The host does not serve us now: its greeting or its answer to EHLO."""

    def __init__(self, reply: PeerReply) -> None:
        """Carry the reply."""
        super().__init__(str(reply))
        self.reply = reply


class ClientSession:
    """A connection that has said EHLO. Use `open_session`."""

    def __init__(self, connection: ClientConnection, target: Target, deadlines: Deadlines, *, lmtp: bool) -> None:
        """Made by open_session alone."""
        self.connection = connection
        self.target = target
        self.extensions: Mapping[str, str] = {}
        self.transactions = 0
        self._deadlines = deadlines
        self._lmtp = lmtp

    @property
    def is_reusable(self) -> bool:
        """Whether another transaction may follow."""
        return self.connection.is_open

    async def hello(self, hostname: str) -> None:
        """EHLO (HELO when it is not known), or LHLO. Raise SessionRefused, ConnectionBroke."""
        name = hostname.encode("idna") if not hostname.isascii() else hostname.encode("ascii")
        verbs = (b"LHLO",) if self._lmtp else (b"EHLO", b"HELO")
        for verb in verbs:
            reply = await self.connection.ask(verb + b" " + name + b"\r\n", self._deadlines.command)
            if reply.code == 250:
                self.extensions = {} if verb == b"HELO" else parse_extensions(reply)
                return
            if reply.code == 421 or not reply.permanent:
                break
        raise SessionRefused(reply)

    async def send(self, sending: Sending, receivers: Sequence[Receiver]) -> Transaction:
        """One transaction. Never raises for what the peer does."""
        self.transactions += 1
        done = Transaction()
        try:
            async with asyncio.timeout(self._deadlines.transaction):
                await self._send(sending, list(receivers), done)
        except (ConnectionBroke, TimeoutError) as error:
            why = str(error) or "the transaction took too long"
            self.connection.abort()
            done.cut = {receiver.key for receiver in receivers}.difference(done.outcomes)
            for key in done.cut:
                done.outcomes[key] = outcomes.deferred("4.4.2", why, self.target.name)
        return done

    def _cannot(self, sending: Sending) -> Outcome | None:
        limit = offered_size(self.extensions)
        if limit is not None and sending.source.size > limit:
            return outcomes.TOO_LARGE
        if "8BITMIME" not in self.extensions and not _is_7bit(sending.source):
            # RFC 6152 section 3 would have it recoded; that breaks signatures, and such hosts have died out.
            return outcomes.NEEDS_8BIT
        if sending.needs_utf8 and "SMTPUTF8" not in self.extensions:
            return outcomes.NEEDS_UTF8
        return None

    def _mail(self, sending: Sending, *, utf8: bool) -> bytes:
        known = self.extensions
        parameters = {}
        if "SIZE" in known:
            parameters["SIZE"] = str(sending.source.size)
        if sending.declared_8bit and "8BITMIME" in known:
            parameters["BODY"] = "8BITMIME"
        if utf8:
            parameters["SMTPUTF8"] = ""
        if "DSN" in known:
            if sending.ret:
                parameters["RET"] = sending.ret
            if sending.envid:
                parameters["ENVID"] = render_xtext(sending.envid)
        if self._lmtp and sending.delivery_id:
            parameters["XDELIVERYID"] = render_xtext(sending.delivery_id)
        return render_command("MAIL FROM", render_path(self._address(sending.reverse_path, utf8=utf8)), parameters)

    def _rcpt(self, receiver: Receiver, *, utf8: bool) -> bytes:
        parameters = {}
        if "DSN" in self.extensions:
            if receiver.notify:
                parameters["NOTIFY"] = ",".join(sorted(receiver.notify))
            if receiver.orcpt and (value := render_orcpt(receiver.orcpt, utf8=utf8)):
                parameters["ORCPT"] = value
        return render_command("RCPT TO", render_path(self._address(receiver.address, utf8=utf8)), parameters)

    def _address(self, address: str, *, utf8: bool) -> str:
        if utf8 or address.isascii():
            return address
        ascii_only = to_ascii_domain(address)
        if not ascii_only.isascii():
            raise InvalidPath("needs SMTPUTF8")
        return ascii_only

    async def _send(self, sending: Sending, receivers: list[Receiver], done: Transaction) -> None:
        host = self.target.name
        cannot = self._cannot(sending)
        utf8 = sending.needs_utf8
        lines: list[tuple[Receiver, bytes]] = []
        try:
            mail = self._mail(sending, utf8=utf8)
        except InvalidPath:
            cannot, mail = cannot or outcomes.NEEDS_UTF8, b""
        for receiver in receivers:
            try:
                lines.append((receiver, self._rcpt(receiver, utf8=utf8)))
            except InvalidPath:
                done.outcomes[receiver.key] = outcomes.BAD_ADDRESS if receiver.address.isascii() else outcomes.NEEDS_UTF8
        if cannot is not None:
            for receiver in receivers:
                done.outcomes.setdefault(receiver.key, cannot.at(host))
            return
        if not lines:
            return
        known = self.extensions
        if self._lmtp and sending.source.size <= _WHOLE and "PIPELINING" in known and "CHUNKING" in known:
            data = sending.source.read(0, sending.source.size)
            if _is_canonical(data):
                await self._at_once(data, mail, lines, done)
                return
        await self._dialog(sending, mail, lines, done)

    async def _at_once(self, data: bytes, mail: bytes, lines: list[tuple[Receiver, bytes]], done: Transaction) -> None:
        """A small message over LMTP: commands and content in one block, one round trip for all of it (RFC 3030 section 2).

        Who answers for each recipient does so behind the content, so nothing is gained by waiting for what it refuses before.
        """
        connection, deadlines, host = self.connection, self._deadlines, self.target.name
        done.sent = True
        connection.write(b"".join((mail, *(line for _, line in lines), b"BDAT %d LAST\r\n" % len(data), data)))
        reply = await connection.reply(deadlines.command)
        self._check(reply)
        refusal = None if reply.positive else from_reply(reply, host)
        accepted: list[Receiver] = []
        for receiver, _ in lines:
            said = await connection.reply(deadlines.command)
            self._check(said)
            if refusal is not None:
                done.outcomes[receiver.key] = refusal
            elif said.positive:
                accepted.append(receiver)
            else:
                done.outcomes[receiver.key] = self._rcpt_refused(receiver, said, accepted, done)
        for receiver in accepted:
            reply = await connection.reply(deadlines.final)
            done.outcomes[receiver.key] = self._final(reply, receiver) if reply.positive else _data_refused(reply, host)
        done.sent = False
        if not accepted:
            self._check(await connection.reply(deadlines.final))  # BDAT was out of place
            await self._reset()
        elif reply.code == 421:
            connection.abort()

    async def _dialog(self, sending: Sending, mail: bytes, lines: list[tuple[Receiver, bytes]], done: Transaction) -> None:
        connection, deadlines, host = self.connection, self._deadlines, self.target.name
        pipelined = "PIPELINING" in self.extensions
        if pipelined:
            connection.write(b"".join((mail, *(line for _, line in lines), b"DATA\r\n")))
            reply = await connection.reply(deadlines.command)
        else:
            reply = await connection.ask(mail, deadlines.command)
        self._check(reply)
        refusal = None if reply.positive else from_reply(reply, host)
        accepted: list[Receiver] = []
        if refusal is None or pipelined:
            for receiver, line in lines:
                if not pipelined:
                    connection.write(line)
                said = await connection.reply(deadlines.command)
                self._check(said)
                if refusal is not None:
                    continue
                if said.positive:
                    accepted.append(receiver)
                else:
                    done.outcomes[receiver.key] = self._rcpt_refused(receiver, said, accepted, done)
        if pipelined:
            reply = await connection.reply(deadlines.data)
            self._check(reply)
        elif accepted:
            reply = await connection.ask(b"DATA\r\n", deadlines.data)
            self._check(reply)
        if refusal is not None:
            for receiver, _ in lines:
                done.outcomes[receiver.key] = refusal
            accepted = []
        if not accepted:
            # RFC 2920 section 3.1: DATA may be taken all the same; then an empty message ends it.
            if pipelined and reply.code == 354:
                await connection.ask(b".\r\n", deadlines.final)
            await self._reset()
            return
        if reply.code != 354:
            for receiver in accepted:
                done.outcomes[receiver.key] = _data_refused(reply, host)
            await self._reset()
            return
        try:
            await self._content(sending.source, done)
        except ConnectionBroke:
            # Who refuses in the middle of a message and hangs up has said why.
            if (said_early := connection.said()) is None or said_early.positive:
                raise
            for receiver in accepted:
                done.outcomes[receiver.key] = _data_refused(said_early, host)
            return
        for position, receiver in enumerate(accepted):
            if self._lmtp or position == 0:
                reply = await connection.reply(deadlines.final)
                # LMTP answers once a recipient: what was said to the first stands, even if the connection breaks then.
            done.outcomes[receiver.key] = self._final(reply, receiver) if reply.positive else _data_refused(reply, host)
        done.sent = False
        if reply.code == 421:
            connection.abort()

    async def _content(self, source: MessageSource, done: Transaction) -> None:
        connection, deadlines = self.connection, self._deadlines
        encoder = DataEncoder()
        offset = 0
        try:
            while offset < source.size:
                piece = source.read(offset, _PIECE)
                offset += len(piece)
                connection.write(encoder.feed(piece))
                await connection.room(deadlines.block)
        except BaseException:
            # Unfinished, and it must stay so: without the final dot nothing was sent.
            connection.abort()
            raise
        done.sent = True
        connection.write(encoder.finish())

    def _final(self, reply: PeerReply, receiver: Receiver) -> Outcome:
        if self._lmtp:
            verdict = Verdict.DELIVERED
        elif "DSN" in self.extensions:
            verdict = Verdict.PASSED
        else:
            verdict = Verdict.RELAYED
        return Outcome(verdict, reply.enhanced, str(reply), self.target.name)

    def _check(self, reply: PeerReply) -> None:
        if reply.code == 421:
            self.connection.abort()
            raise ConnectionBroke(str(reply))

    def _rcpt_refused(self, receiver: Receiver, reply: PeerReply, accepted: Sequence[Receiver], done: Transaction) -> Outcome:
        # RFC 5321 section 4.5.3.1.10: 452, and 552 of old hosts, say "enough for this transaction" behind accepted ones.
        if accepted and (reply.code == 452 or (reply.code == 552 and not reply.said_enhanced)) and reply.enhanced != "4.2.2":
            done.crowded.add(receiver.key)
            return outcomes.deferred("4.5.3", str(reply), self.target.name)
        return from_reply(reply, self.target.name)

    async def _reset(self) -> None:
        self._check(await self.connection.ask(b"RSET\r\n", self._deadlines.command))


def _data_refused(reply: PeerReply, host: str) -> Outcome:
    if reply.positive:  # 250 instead of 354: the dialog is out of step
        return outcomes.deferred("4.5.0", f"unexpected reply: {reply}", host)
    return from_reply(reply, host)


def _is_canonical(data: bytes) -> bool:
    """Whether all lines end in CR LF, the last one too: then no octet of it needs another form."""
    return data.endswith(b"\r\n") and not BARE_LF.search(data) and not BARE_CR.search(data)


def _is_7bit(source: MessageSource) -> bool:
    return all(source.read(offset, _PIECE).isascii() for offset in range(0, source.size, _PIECE))


async def open_session(
    target: Target, hostname: str, deadlines: Deadlines, *, lmtp: bool = False, tls: bool = True
) -> ClientSession:
    """Connect, greet, and encrypt when the host offers it. Raise SessionRefused, HandshakeFailed, ConnectionBroke."""
    connection = await connect(target, deadlines)
    try:
        greeting = await connection.reply(deadlines.greeting)
        if greeting.code != 220:
            raise SessionRefused(greeting)
        session = ClientSession(connection, target, deadlines, lmtp=lmtp)
        await session.hello(hostname)
        offered = tls and not lmtp and "STARTTLS" in session.extensions
        if offered and await connection.start_tls(target.name, deadlines.command, deadlines.handshake):
            # RFC 3207 section 4.2: what was learned in the clear is forgotten.
            session.extensions = {}
            await session.hello(hostname)
        return session
    except HandshakeFailed:
        connection.abort()
        raise
    except (SessionRefused, ConnectionBroke):
        await connection.close(min(deadlines.quit, 1.0), polite=connection.is_open)
        raise
    except BaseException:
        connection.abort()
        raise
