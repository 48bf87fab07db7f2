"""The arguments of APPEND, read before its messages come (RFC 9051 section 6.3.12; RFC 3502, 3516, 6855).

Owns what stands before each message's literal and after it. The message itself goes past, see decode.py.
"""

from dataclasses import dataclass

from .grammar import Cursor, Unreadable


@dataclass(frozen=True, slots=True)
class AppendOptions:
    """What is said of a message before its octets. `wrapped`: they stand in UTF8 (...) (RFC 6855 section 4).
    `binary`: they come as literal8 (RFC 3516).
    """

    flags: frozenset[str] = frozenset()
    internal_date: int | None = None
    wrapped: bool = False
    binary: bool = False


def parse_append_options(cursor: Cursor) -> AppendOptions:
    """Read flags and date, each followed by a space, up to the end: there the literal is announced. Raise Unreadable."""
    flags: frozenset[str] = frozenset()
    internal_date: int | None = None
    wrapped = False
    if cursor.peek() == 0x28:
        flags = cursor.flag_list()
        cursor.space()
    if cursor.peek() == 0x22:
        internal_date = cursor.date_time()
        cursor.space()
    if cursor.take_word("UTF8"):
        cursor.space()
        cursor.expect(b"(")
        wrapped = True
    binary = cursor.take(b"~")
    if not cursor.at_end():
        raise Unreadable("Expected flags, a date or a literal.")
    return AppendOptions(flags, internal_date, wrapped, binary)


def parse_append_mailbox(cursor: Cursor) -> str:
    """Read the mailbox and the space behind it. Raise Unreadable, UnusableName."""
    mailbox = cursor.mailbox()
    cursor.space()
    return mailbox
