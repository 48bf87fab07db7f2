"""Reading the words of a command (RFC 9051 section 9): a cursor over one complete command.

Owns atoms, strings, numbers, dates, flags and mailbox names. decode.py hands it the command whole, its literals in
place as `{n}` CRLF octets (the form it writes itself, whichever the client used). Never knows a command's name.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TypeVar

from ..storage.api import SYSTEM_FLAGS
from .names import InvalidMailboxName, decode_mailbox, fold_inbox
from .sequence import InvalidSequenceSet, SequenceSet, parse_sequence_set
from .values import Arguments

T = TypeVar("T")


class Unreadable(Exception):
    """The command is not well-formed: BAD with this text."""


class UnusableName(Exception):
    """A mailbox name that cannot be one: NO with this text."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """Bounds on what one command may ask for; each stops the reading, not the answering."""

    nesting: int = 100  # parentheses, NOT and OR within one another
    keys: int = 2_000  # search keys
    items: int = 200  # fetch items, flags, list options, status items
    ranges: int = 10_000  # of a sequence set
    fields: int = 200  # header field names of one section


# ATOM-CHAR = any CHAR but "(" / ")" / "{" / SP / CTL / "%" / "*" / DQUOTE / "\" / "]"
_ATOM = re.compile(rb"[!#$&'+,\-./0-9:;<=>?@A-Z\[^_`a-z|}~]+")
_ASTRING = re.compile(rb"[!#$&'+,\-./0-9:;<=>?@A-Z\[\]^_`a-z|}~]+")
_LIST_ATOM = re.compile(rb"[!#$%&'*+,\-./0-9:;<=>?@A-Z\[\]^_`a-z|}~]+")
# A word of a command: letters with the signs that names, options and items are made of; ends before "[" and "<".
_WORD = re.compile(rb"[A-Za-z0-9.=+_-]+")
_SET = re.compile(rb"[0-9:,*]+|\$")
_NUMBER = re.compile(rb"[0-9]+")
# quoted: octets above 127 pass as they are. IMAP4rev1 has none there, but clients send LOGIN and SEARCH that way;
# whoever decodes the word decides. Possessive, so that a missing quote costs one pass.
_QUOTED = re.compile(rb'"((?:[^"\\\r\n\0]|\\["\\])*+)"')
_LITERAL = re.compile(rb"\{([0-9]{1,10})\}\r\n")
_FLAG = re.compile(rb"\\?[!#$&'+,\-./0-9:;<=>?@A-Z\[^_`a-z|}~]+")
_DATE = re.compile(rb'("?)([0-9]{1,2})-([A-Za-z]{3})-([0-9]{4})\1')
_DATE_TIME = re.compile(
    rb'"([ 0-9][0-9])-([A-Za-z]{3})-([0-9]{4}) ([0-9]{2}):([0-9]{2}):([0-9]{2}) ([+-])([0-9]{2})([0-9]{2})"'
)

_MONTHS = {name: number for number, name in enumerate(b"JAN FEB MAR APR MAY JUN JUL AUG SEP OCT NOV DEC".split(), 1)}
_EPOCH = date(1970, 1, 1).toordinal()
_FLAGS_BY_LOWER = {name.lower(): name for name in SYSTEM_FLAGS}
MAX_NUMBER = 0xFFFF_FFFF
MAX_MODSEQ = 0x7FFF_FFFF_FFFF_FFFF  # RFC 7162 section 7: 63 bits


class Cursor:
    """A place in a command. Every method reads on from it or raises Unreadable; none looks behind the command's end."""

    __slots__ = ("bounds", "octets", "position", "utf8")

    def __init__(self, octets: bytes, position: int, bounds: Bounds, *, utf8: bool = False) -> None:
        """Begin at `position`. `utf8`: mailbox names and quoted strings come as UTF-8 (RFC 6855)."""
        self.octets = octets
        self.position = position
        self.bounds = bounds
        self.utf8 = utf8

    # -- signs

    def peek(self) -> int:
        """The next octet, or -1 at the end."""
        return self.octets[self.position] if self.position < len(self.octets) else -1

    def at_end(self) -> bool:
        """Whether nothing is left."""
        return self.position >= len(self.octets)

    def end(self) -> None:
        """Nothing may be left."""
        if self.position < len(self.octets):
            raise Unreadable("Unexpected arguments.")

    def space(self) -> None:
        """One space."""
        if not self.take(b" "):
            raise Unreadable("Missing argument." if self.at_end() else "Expected a space.")

    def take(self, sign: bytes) -> bool:
        """Read `sign` if it comes next."""
        if self.octets.startswith(sign, self.position):
            self.position += len(sign)
            return True
        return False

    def expect(self, sign: bytes) -> None:
        """Read `sign`, which must come next."""
        if not self.take(sign):
            raise Unreadable(f"Expected {sign.decode('ascii')!r}.")

    def _match(self, pattern: "re.Pattern[bytes]", what: str) -> bytes:
        found = pattern.match(self.octets, self.position)
        if found is None:
            raise Unreadable(f"Missing {what}." if self.at_end() else f"Expected {what}.")
        self.position = found.end()
        return found[0]

    # -- words

    def atom(self) -> bytes:
        """An atom."""
        return self._match(_ATOM, "an atom")

    def word(self) -> str:
        """A name of the protocol, in upper case."""
        return self._match(_WORD, "a name").decode("ascii").upper()

    def take_word(self, name: str) -> bool:
        """Read `name`, in any case, if it comes next as a whole word."""
        found = _WORD.match(self.octets, self.position)
        if found is None or found[0].upper() != name.encode("ascii"):
            return False
        self.position = found.end()
        return True

    def string(self) -> bytes:
        """A quoted string or literal."""
        found = _QUOTED.match(self.octets, self.position)
        if found is not None:
            self.position = found.end()
            value = found[1]
            if self.utf8 and not value.isascii() and not _is_utf8(value):
                raise Unreadable("Not UTF-8.")  # RFC 6855 section 3
            return re.sub(rb"\\(.)", rb"\1", value) if b"\\" in value else value
        found = _LITERAL.match(self.octets, self.position)
        if found is None:
            raise Unreadable("Missing string." if self.at_end() else "Expected a string.")
        begin = found.end()
        self.position = begin + int(found[1])
        value = self.octets[begin : self.position]
        if b"\0" in value:
            raise Unreadable("NUL in a literal.")  # CHAR8 excludes it
        return value

    def astring(self) -> bytes:
        """An atom-like word, quoted string or literal."""
        found = _ASTRING.match(self.octets, self.position)
        if found is None:
            return self.string()
        self.position = found.end()
        return found[0]

    def nstring(self) -> bytes | None:
        """A string or NIL."""
        if self.octets[self.position : self.position + 3].upper() == b"NIL":
            self.position += 3
            return None
        return self.string()

    def number(self, most: int = MAX_NUMBER) -> int:
        """A number of at most `most`."""
        text = self._match(_NUMBER, "a number")
        if len(text) > 19 or (value := int(text)) > most:
            raise Unreadable("Number too large.")
        return value

    def nz_number(self, most: int = MAX_NUMBER) -> int:
        """A number above 0."""
        value = self.number(most)
        if not value:
            raise Unreadable("Number must not be 0.")
        return value

    def set(self, *, star: bool = True) -> SequenceSet:
        """A sequence set; without `star`, one of UIDs that are known: no `*`, no `$`."""
        try:
            numbers = parse_sequence_set(self._match(_SET, "a sequence set"), most=self.bounds.ranges)
        except InvalidSequenceSet as error:
            raise Unreadable(f"Invalid sequence set: {error}.") from None
        if not star and (numbers.saved or numbers.has_star()):
            raise Unreadable("Only numbers are allowed in this set.")
        return numbers

    # -- compound words

    def mailbox(self) -> str:
        """A mailbox name, INBOX folded. Raise UnusableName."""
        return fold_inbox(self._name(self.astring()))

    def list_mailbox(self) -> str:
        """A LIST pattern. Raise UnusableName."""
        found = _LIST_ATOM.match(self.octets, self.position)
        if found is None:
            return self._name(self.string())
        self.position = found.end()
        return self._name(found[0])

    def reference(self) -> str:
        """A LIST reference: a name that may be empty. Raise UnusableName."""
        return self._name(self.astring())

    def _name(self, octets: bytes) -> str:
        try:
            return decode_mailbox(octets, utf8=self.utf8)
        except InvalidMailboxName as error:
            text = str(error)
            raise UnusableName(f"{text[0].upper()}{text[1:]}.") from None

    def flag(self) -> str:
        r"""A flag that a client may set: system flags in their one spelling; no other word with a backslash."""
        name = self._match(_FLAG, "a flag").decode("ascii")
        if name[0] != "\\":
            return name
        known = _FLAGS_BY_LOWER.get(name.lower())
        if known is None:
            raise Unreadable(f"Invalid system flag {name[:40]}.")
        return known

    def flag_list(self) -> frozenset[str]:
        """Flags in parentheses, maybe none."""
        return frozenset(self.listed(self.flag, empty=True))

    def listed(self, read: Callable[[], T], *, empty: bool = False) -> list[T]:
        """`(x x x)`; `()` only when `empty`."""
        self.expect(b"(")
        if empty and self.take(b")"):
            return []
        values = [read()]
        while not self.take(b")"):
            self.space()
            values.append(read())
            if len(values) > self.bounds.items:
                raise Unreadable("Too many items in a list.")
        return values

    def option(self, known: Mapping[str, T], what: str) -> T:
        """A name that must be one of `known`; `what` is said when it is not."""
        name = self.word()
        option = known.get(name)
        if option is None:
            raise Unreadable(f"Unknown {what} {name[:40]}.")
        return option

    def day(self) -> int:
        """A date, bare or quoted: its day counted from 1 January 1970."""
        found = _DATE.match(self.octets, self.position)
        if found is None:
            raise Unreadable("Missing date." if self.at_end() else "Invalid date.")
        self.position = found.end()
        return _ordinal(found[2], found[3], found[4]) - _EPOCH

    def date_time(self) -> int:
        """A quoted date-time: its second since 1970 UTC."""
        found = _DATE_TIME.match(self.octets, self.position)
        if found is None:
            raise Unreadable("Invalid date and time.")
        self.position = found.end()
        day, month, year, hour, minute, second, sign, zone_hour, zone_minute = found.groups()
        if int(hour) > 23 or int(minute) > 59 or int(second) > 60 or int(zone_minute) > 59:
            raise Unreadable("Invalid date and time.")
        zone = (int(zone_hour) * 60 + int(zone_minute)) * (-60 if sign == b"-" else 60)
        seconds = (_ordinal(day, month, year) - _EPOCH) * 86_400
        seconds += int(hour) * 3_600 + int(minute) * 60 + min(int(second), 59) - zone
        try:
            datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)  # must be a moment that can be told again
        except OverflowError:
            raise Unreadable("Invalid date and time.") from None
        return seconds


def _is_utf8(octets: bytes) -> bool:
    try:
        octets.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _ordinal(day: bytes, month: bytes, year: bytes) -> int:
    try:
        return date(int(year), _MONTHS[month.upper()], int(day)).toordinal()
    except (KeyError, ValueError):
        raise Unreadable("Invalid date.") from None


CommandParser = Callable[[Cursor], Arguments]
"""Reads the arguments of one command, from behind its name on."""
