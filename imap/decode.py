"""Octets from an IMAP client to events (RFC 9051 sections 2.2.1 and 4.3; RFC 7888 for LITERAL+).

Owns lines, literals, limits and the modes in which a line is no command. Values come out of arguments.py. Never blocks,
never raises for what a client sent, never keeps more than `Limits` allow: each bound is looked at before an octet of
what it bounds is kept.

Theory of operation. `feed` keeps octets, `next_event` takes one event's worth of them, so that who draws can change the
mode between two commands and nothing has been read under the wrong one (STARTTLS, COMPRESS, ENABLE UTF8=ACCEPT). A
command is put together in `_command`: its lines, and literals as `{n}` CRLF octets, whatever form they came in. Only the
messages of APPEND are never put together: they pass as LiteralData. What cannot be used but comes anyway (a `{n+}` that
is too large, the rest of a refused command) is skipped without being kept, up to `Limits.skipped`; a client that sends
more has its connection ended.

Lines end in CRLF; a LF alone ends one too, since clients behind terminals and scripts send it and no second reading of
the stream exists that could disagree (as Dovecot does). CR elsewhere and NUL make a line malformed.
"""

import re
from enum import Enum, auto

from .append_arguments import AppendOptions, parse_append_mailbox, parse_append_options
from .arguments import UnknownCommand, parse_arguments
from .grammar import Cursor, Unreadable, UnusableName
from .limits import AFTER_LOGIN as AFTER_LOGIN
from .limits import BEFORE_LOGIN as BEFORE_LOGIN
from .limits import Limits as Limits
from .memo import Memo as Memo
from .values import (
    Append,
    AppendBegan,
    AppendLiteralEnd,
    AppendMessage,
    AuthenticateResponse,
    Command,
    CommandReceived,
    ContinuationWanted,
    Event,
    IdleDone,
    LiteralData,
    LiteralRefused,
    Malformed,
    Refused,
)

# tag = 1*<any ASTRING-CHAR except "+">
_TAG = re.compile(rb"[!#$&',\-./0-9:;<=>?@A-Z\[\]^_`a-z|}~]+")
_NAME = re.compile(rb"[A-Za-z][A-Za-z0-9.=_-]*")
_UID = re.compile(rb"UID ([A-Za-z]+)", re.IGNORECASE)
_APPEND = re.compile(rb"[^ ]+ APPEND ", re.IGNORECASE)
# A line that ends so announces a literal, be the rest of it well-formed or not.
_LITERAL = re.compile(rb"\{([0-9]+)(\+?)\}\Z")
_INNER_LITERAL = re.compile(rb"\{([0-9]{1,19})\}\r\n")  # as this decoder keeps it
_LITERAL_LOOK = 64  # octets of a line's end kept to see whether it announced a literal, when the line is not kept
_MAX_LITERAL_DIGITS = 19


class _Mode(Enum):
    COMMAND = auto()  # a line begins or continues a command
    APPEND = auto()  # a message of APPEND has ended: its line goes on
    SKIP = auto()  # the rest of a refused command passes unread
    RESPONSE = auto()  # a line of SASL
    DONE = auto()  # DONE of IDLE


class _Octets(Enum):
    COLLECTED = auto()  # of an ordinary literal
    MESSAGE = auto()
    SKIPPED = auto()


class Decoder:
    """One connection's decoder. See values.py, "Events of the decoder", for how it is drawn from."""

    __slots__ = (
        "_append",
        "_buffer",
        "_command",
        "_dead",
        "_literals",
        "_long_line",
        "_memo",
        "_message_open",
        "_messages",
        "_mode",
        "_octets",
        "_position",
        "_remaining",
        "_scanned",
        "_skipped",
        "_tag",
        "limits",
        "utf8",
    )

    def __init__(self, limits: Limits = BEFORE_LOGIN, *, memo: Memo | None = None) -> None:
        """Begin before the first command."""
        self.limits = limits
        self.utf8 = False
        self._memo = Memo(50) if memo is None else memo
        self._buffer = b""
        self._position = 0  # read up to here
        self._scanned = 0  # no line end before here
        self._mode = _Mode.COMMAND
        self._octets = _Octets.COLLECTED
        self._remaining = 0  # octets of a literal still to come
        self._long_line = b""  # the end of a line that is not kept, while it goes on
        self._skipped = 0
        self._dead = False  # told a fatal event: nothing comes after it
        self._reset()

    def _reset(self) -> None:
        """Between two commands."""
        self._command = bytearray()
        self._literals = 0
        self._tag = b""
        self._append: tuple[str, AppendOptions] | None = None  # mailbox, and what was said of the message under way
        self._messages: list[AppendMessage] = []
        self._message_open = False
        self._skipped = 0
        self._mode = _Mode.COMMAND

    # -- what the shell calls

    def receive(self, data: bytes) -> list[Event]:
        """Take octets, give all events that they complete, every literal accepted."""
        self.feed(data)
        events = []
        while (event := self.next_event()) is not None:
            events.append(event)
        return events

    def feed(self, data: bytes) -> None:
        """Take octets."""
        if self._dead:
            return
        if self._position < len(self._buffer):
            self._scanned -= self._position
            self._buffer = self._buffer[self._position :] + data
        else:
            self._scanned = 0
            self._buffer = data
        self._position = 0

    def take_rest(self) -> bytes:
        """Octets fed but not drawn, taken out: what came behind STARTTLS is thrown away, behind COMPRESS inflated."""
        rest = self._buffer[self._position :]
        self._forget()
        return rest

    def expect_response(self) -> None:
        """The next line is a response of AUTHENTICATE."""
        self._mode = _Mode.RESPONSE

    def expect_done(self) -> None:
        """The next line is the DONE of IDLE; anything else is Malformed and ends IDLE too."""
        self._mode = _Mode.DONE

    def refuse_literal(self) -> None:
        """Right after AppendBegan(synchronising=True): the client will not send it; its command is over."""
        self._remaining = 0
        self._reset()

    def next_event(self) -> Event | None:
        """The next event, or None when more octets are needed."""
        while True:
            if self._remaining:
                event = self._literal_octets()
                if event is not None or self._remaining:
                    return event
                continue
            if self._message_open:
                self._message_open = False
                return AppendLiteralEnd()
            line = self._next_line()
            if line is None:
                return None
            event = self._long() if line is _LONG else self._line(line)
            if event is not None:
                if isinstance(event, (LiteralRefused, Malformed)) and event.fatal:
                    self._dead = True
                    self.take_rest()
                return event

    # -- octets

    def _literal_octets(self) -> Event | None:
        """Some octets of a literal. None: there were none, or they are nobody's business."""
        available = len(self._buffer) - self._position
        if not available:
            self._forget()
            return None
        count = min(available, self._remaining)
        end = self._position + count
        octets = self._octets
        event: Event | None = None
        if octets is not _Octets.SKIPPED:
            whole = count == len(self._buffer)
            data = self._buffer if whole else self._buffer[self._position : end]
            if octets is _Octets.MESSAGE:
                event = LiteralData(data)
            else:
                self._command += data
        self._position = self._scanned = end
        self._remaining -= count
        return event

    def _next_line(self) -> bytes | None:
        """The next line without its end; None when it is not complete; _LONG when it is longer than allowed."""
        buffer, position = self._buffer, self._position
        end = buffer.find(b"\n", self._scanned)
        most = self.limits.line
        if end < 0:
            size = len(buffer)
            if self._long_line or size - position > most:
                self._note_tag(position)
                # Not kept: only its last octets, which may announce a literal.
                self._long_line = (self._long_line + buffer[-_LITERAL_LOOK:])[-_LITERAL_LOOK:]
                self._skipped += size - position
                self._position = self._scanned = size
                if self._skipped > max(self.limits.skipped, most):
                    return _LONG
                return None
            self._scanned = size
            if position == size:
                self._forget()
            return None
        self._position = self._scanned = end + 1
        if self._long_line or end - position >= most:
            self._note_tag(position)
            tail = buffer[max(position, end - _LITERAL_LOOK) : end]
            self._long_line = (self._long_line + tail)[-_LITERAL_LOOK:].removesuffix(b"\r") or b" "
            return _LONG
        if buffer[end - 1 : end] == b"\r" and end > position:
            end -= 1
        return buffer[position:end]

    def _forget(self) -> None:
        """All that was fed is read: an idle connection holds none of it."""
        self._buffer = b""
        self._position = self._scanned = 0

    def _note_tag(self, position: int) -> None:
        """Keep the tag of a line that begins at `position` and will not be kept itself."""
        if not self._long_line and self._mode is _Mode.COMMAND and not self._command:
            self._tag = self._tag_of(self._buffer[position : position + self.limits.tag + 1])

    # -- lines

    def _line(self, line: bytes) -> Event | None:
        mode = self._mode
        if mode is _Mode.COMMAND:
            if not self._command:
                if line[-1:] != b"}":
                    return self._single(line)
                self._tag = self._tag_of(line)
            return self._command_line(line)
        if mode is _Mode.APPEND:
            return self._after_message(line)
        if mode is _Mode.SKIP:
            return self._skip_line(line)
        self._mode = _Mode.COMMAND
        if mode is _Mode.RESPONSE:
            return AuthenticateResponse(line)
        if line.upper() == b"DONE":
            return IdleDone()
        return Malformed(None, "Expected DONE.")

    def _single(self, line: bytes) -> Event:
        """A command in one line: nearly all are."""
        tag, _, rest = line.partition(b" ")
        known = self._memo.get(rest, self.utf8)
        if known is not None and len(tag) <= self.limits.tag and _TAG.fullmatch(tag):
            return CommandReceived(Command(tag, known[0], known[1]))
        return self._complete(line)

    def _command_line(self, line: bytes) -> Event | None:
        """A line of a command in several: it announces a literal, or ends the command."""
        limits = self.limits
        found = _LITERAL.search(line) if line[-1:] == b"}" else None
        if len(self._command) + len(line) > limits.command:
            return self._abandon(Malformed(self._tag or None, "Command too long."), found)
        if found is None:
            self._command += line
            return self._finished(self._complete(bytes(self._command)))
        size = _size(found[1])
        before = line[: found.start()]
        begins_message = _APPEND.match(self._command or before) is not None
        if begins_message:
            try:
                opened = self._open_append(bytes(self._command) + before)
            except Unreadable as error:
                return self._abandon(Malformed(self._tag or None, str(error), name="APPEND"), found)
            except UnusableName as error:
                return self._abandon(Refused(self._tag, "CANNOT", str(error)), found)
            if opened is not None:
                return self._begin_message(found, *opened)
        if before[-1:] not in b" (~" or not self._tag:
            return self._abandon(Malformed(self._tag or None, "Unexpected literal."), found)
        self._literals += 1
        total = len(self._command) + len(line) + size
        if size > limits.literal or self._literals > limits.literals or total > limits.command:
            return self._abandon(LiteralRefused(self._tag, "Literal too large.", fatal=False), found)
        self._command += before.removesuffix(b"~") + b"{%d}\r\n" % size
        self._octets = _Octets.COLLECTED
        self._remaining = size
        return None if found[2] else ContinuationWanted(self._tag)

    def _finished(self, event: Event) -> Event:
        self._reset()
        return event

    def _tag_of(self, line: bytes) -> bytes:
        """The line's tag, b"" if it has none."""
        tag = line.partition(b" ")[0]
        return tag if len(tag) <= self.limits.tag and _TAG.fullmatch(tag) else b""

    def _complete(self, octets: bytes) -> Event:
        """A whole command, literals in place: read it."""
        tag = self._tag_of(octets)
        if not tag:
            return Malformed(None, "Expected a tag.")
        begin = len(tag) + 1
        found = _NAME.match(octets, begin)
        if found is None:
            return Malformed(tag, "Expected a command.")
        if b"\0" in octets or b"\r" in octets:
            fault = _stray(octets)
            if fault:
                return Malformed(tag, fault)
        end = found.end()
        name = found[0].decode("ascii").upper()
        if name == "UID":
            found = _UID.match(octets, begin)
            if found is not None:
                end = found.end()
                name = "UID " + found[1].decode("ascii").upper()
        if name == "APPEND":
            return Malformed(tag, "APPEND takes a literal.", name=name)
        try:
            arguments = parse_arguments(name, Cursor(octets, end, self.limits.bounds, utf8=self.utf8))
        except UnknownCommand:
            return Malformed(tag, "Unknown command.", name=name[:40])
        except Unreadable as error:
            return Malformed(tag, str(error), name=name)
        except UnusableName as error:
            return Refused(tag, "CANNOT", str(error))
        if not self._literals:
            self._memo.keep(octets[begin:], self.utf8, name, arguments)
        return CommandReceived(Command(tag, name, arguments))

    # -- APPEND

    def _open_append(self, octets: bytes) -> tuple[str, AppendOptions] | None:
        """What stands before the message; None when the literal is the mailbox name. Raise Unreadable, UnusableName."""
        found = _APPEND.match(octets)
        if found is None or not self._tag:
            raise Unreadable("Expected a tag.")
        if not self.limits.message:
            raise Unreadable("Log in first.")
        if b"\0" in octets:
            raise Unreadable("NUL in a command.")
        cursor = Cursor(octets, found.end(), self.limits.bounds, utf8=self.utf8)
        if cursor.at_end():
            return None
        return parse_append_mailbox(cursor), parse_append_options(cursor)

    def _begin_message(self, found: "re.Match[bytes]", mailbox: str, options: AppendOptions) -> Event:
        size = _size(found[1])
        if size > self.limits.message or len(self._messages) >= self.limits.messages:
            text = "Message too large." if size > self.limits.message else "Too many messages."
            return self._abandon(LiteralRefused(self._tag, text, fatal=False), found)
        self._append = mailbox, options
        message = AppendMessage(options.flags, options.internal_date, size, options.binary)
        self._messages.append(message)
        self._command = bytearray()
        self._mode = _Mode.APPEND
        self._octets = _Octets.MESSAGE
        self._remaining = size
        self._message_open = True
        return AppendBegan(self._tag, mailbox, message, len(self._messages) - 1, synchronising=not found[2])

    def _after_message(self, line: bytes) -> Event:
        """The line behind a message: the command's end, or the next message (RFC 3502)."""
        assert self._append is not None
        mailbox, options = self._append
        found = _LITERAL.search(line) if line[-1:] == b"}" else None
        try:
            cursor = Cursor(line[: found.start()] if found else line, 0, self.limits.bounds, utf8=self.utf8)
            if options.wrapped:
                cursor.expect(b")")
            if found is None:
                cursor.end()
                append = Append(mailbox, tuple(self._messages))
                return self._finished(CommandReceived(Command(self._tag, "APPEND", append)))
            cursor.space()
            cursor.take(b" ")  # IMAPClient puts two spaces between messages
            options = parse_append_options(cursor)
        except Unreadable as error:
            return self._abandon(Malformed(self._tag, str(error), name="APPEND"), found)
        return self._begin_message(found, mailbox, options)

    # -- what is refused

    def _abandon(self, event: Event, found: "re.Match[bytes] | None") -> Event:
        """Give up the command whose line ended in `found`, a literal or none; what still comes of it is skipped."""
        synchronising = found is None or not found[2]
        size = 0 if found is None else _size(found[1])
        self._reset()
        if not synchronising:
            if size > self.limits.skipped:
                return _fatal(event)
            self._mode = _Mode.SKIP
            self._octets = _Octets.SKIPPED
            self._remaining = self._skipped = size
        return event

    def _skip_line(self, line: bytes) -> Event | None:
        """A line of a command that was refused: its end, or another literal that comes unasked."""
        found = _LITERAL.search(line) if line[-1:] == b"}" else None
        if found is None or not found[2]:
            # Its end; or the client waits, though the tagged answer has been sent already: it will read that.
            self._reset()
            return None
        size = _size(found[1])
        self._skipped += size + len(line)
        if self._skipped > self.limits.skipped:
            self._reset()
            return Malformed(None, "Too much to skip.", fatal=True)
        self._remaining = size
        return None

    def _long(self) -> Event | None:
        """A line longer than allowed has ended, or goes on for too long."""
        found = _LITERAL.search(self._long_line)
        ended = self._buffer[self._position - 1 : self._position] == b"\n"
        self._long_line = b""
        skipping = self._mode is _Mode.SKIP
        tag = self._tag or None
        fatal = not ended or not self.limits.skipped or self._skipped > self.limits.skipped
        self._reset()
        event = Malformed(tag, "Line too long.", fatal)
        if found is not None and found[2]:
            return self._abandon(event, found)
        return None if skipping and not fatal else event


_LONG = b"(too long)"
"""Stands for a line that was not kept; told apart by identity."""


def _size(digits: bytes) -> int:
    """The octets that a literal announces; more digits than any limit has are just too many."""
    return int(digits) if len(digits) <= _MAX_LITERAL_DIGITS else 1 << 63


def _fatal(event: Event) -> Event:
    match event:
        case LiteralRefused(tag=tag, text=text):
            return LiteralRefused(tag, text, fatal=True)
        case Malformed(tag=tag, text=text, name=name):
            return Malformed(tag, text, True, name)
        case Refused(tag=tag, text=text):
            return Malformed(tag, text, True)
        case _:
            return Malformed(None, "Literal too large.", True)


def _stray(octets: bytes) -> str:
    """What is wrong with NUL or CR outside of literals, "" if they are all inside."""
    position = 0
    while True:
        found = _INNER_LITERAL.search(octets, position)
        piece = octets[position : len(octets) if found is None else found.start()]
        if b"\0" in piece:
            return "NUL in a command."
        if b"\r" in piece:
            return "CR in a command."
        if found is None:
            return ""
        position = found.end() + int(found[1])
