"""What the server writes: strings, flags, dates, sets, search answers, labels."""

import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from preau.imap.encode import (
    flag_names,
    render_astring,
    render_body_label,
    render_date_time,
    render_esearch,
    render_flag_list,
    render_literal8,
    render_mailbox,
    render_nstring,
    render_search,
    render_set,
    render_string,
)
from preau.imap.grammar import Bounds, Cursor
from preau.imap.sequence import flatten, parse_sequence_set
from preau.imap.values import Partial, Section, SectionText
from preau.storage.api import DELETED, SEEN


@pytest.mark.parametrize(
    ("value", "written"),
    [
        pytest.param(b"", b'""', id="empty"),
        pytest.param(b'a "b" \\', b'"a \\"b\\" \\\\"', id="escapes"),
        pytest.param(b"a\r\nb", b"{4}\r\na\r\nb", id="line end"),
        pytest.param(b"\xe9", b"{1}\r\n\xe9", id="8-bit"),
        pytest.param(b"a\0", b"{2}\r\na\x80", id="NUL"),
        pytest.param(b"x" * 1001, b"{1001}\r\n" + b"x" * 1001, id="long"),
    ],
)
def test_render_string(value: bytes, written: bytes) -> None:
    assert render_string(value) == written


def test_utf8_strings_are_quoted_where_the_client_can_read_them() -> None:
    assert render_string("\u00e9".encode(), utf8=True) == '"\u00e9"'.encode()


def test_small_strings() -> None:
    assert render_nstring(None) == b"NIL"
    assert render_nstring(b"NIL") == b'"NIL"'
    assert render_astring(b"nil") == b'"nil"'
    assert render_astring(b"a]b") == b"a]b"
    assert render_astring(b"a b") == b'"a b"'
    assert render_literal8(b"\0") == b"~{1}\r\n\0"


def test_mailboxes() -> None:
    assert render_mailbox("INBOX") == b"INBOX"
    assert render_mailbox("Envoy\u00e9s") == b"Envoy&AOk-s"
    assert render_mailbox("Mes envois") == b'"Mes envois"'
    assert render_mailbox("Envoy\u00e9s", utf8=True) == '"Envoy\u00e9s"'.encode()


def test_flags() -> None:
    keywords = ["$Forwarded", "$Junk"]
    assert flag_names(SEEN | DELETED | 1 << 6, keywords) == ["\\Seen", "\\Deleted", "$Junk"]
    assert flag_names(1 << 40, keywords) == []
    assert render_flag_list(["\\Seen", "$Junk"]) == b"(\\Seen $Junk)"
    assert render_flag_list([]) == b"()"


@pytest.mark.parametrize(
    ("seconds", "written"),
    [
        (0, b'"01-Jan-1970 00:00:00 +0000"'),
        (837596665, b'"17-Jul-1996 09:44:25 +0000"'),
        (-1, b'"31-Dec-1969 23:59:59 +0000"'),
    ],
)
def test_date_time(seconds: int, written: bytes) -> None:
    assert render_date_time(seconds) == written
    assert Cursor(written, 0, Bounds()).date_time() == seconds


@given(st.integers(-62135596800, 253402300799))
def test_date_time_round_trip(seconds: int) -> None:
    assert Cursor(render_date_time(seconds), 0, Bounds()).date_time() == seconds


@pytest.mark.parametrize(
    ("numbers", "written"),
    [
        ([], b""),
        ([7], b"7"),
        ([1, 2, 3], b"1:3"),
        ([1, 3, 5], b"1,3,5"),
        ([1, 2, 4, 5, 6, 9], b"1:2,4:6,9"),
        (range(1, 100_001), b"1:100000"),
        ([*range(1, 513), *range(514, 1100)], b"1:512,514:1099"),
        ([*range(1, 600), *range(700, 1300)], b"1:599,700:1299"),
    ],
)
def test_render_set(numbers: list[int], written: bytes) -> None:
    assert render_set(numbers) == written


@given(st.lists(st.integers(1, 60), unique=True, max_size=50).map(sorted))
def test_set_round_trip(numbers: list[int]) -> None:
    written = render_set(numbers)
    assert not re.search(rb"(\d+):\1\b", written)
    back = list(flatten(parse_sequence_set(written).indices(100))) if written else []
    assert [index + 1 for index in back] == numbers
    # Ranges are as long as they can be.
    assert written.count(b",") == max(0, sum(b - a > 1 for a, b in pairwise(numbers)))


def test_search_answers() -> None:
    assert render_search([]) == b"* SEARCH\r\n"
    assert render_search([2, 5], 917) == b"* SEARCH 2 5 (MODSEQ 917)\r\n"
    assert render_search([], 917) == b"* SEARCH\r\n"
    assert (
        render_esearch(b"A1", uid=True, found=[17, 18, 19, 23], count=4) == b'* ESEARCH (TAG "A1") UID COUNT 4 ALL 17:19,23\r\n'
    )
    assert render_esearch(b"A2", uid=False, least=2, greatest=9, modseq=7) == b'* ESEARCH (TAG "A2") MIN 2 MAX 9 MODSEQ 7\r\n'
    assert render_esearch(b"A3", uid=False, found=[], count=0) == b'* ESEARCH (TAG "A3") COUNT 0\r\n'


def test_body_labels() -> None:
    fields = Section((1, 2), SectionText.HEADER_FIELDS_NOT, (b"From", b"odd name"))
    assert render_body_label(fields, None) == b'BODY[1.2.HEADER.FIELDS.NOT (From "odd name")]'
    assert render_body_label(Section(), Partial(10, 20)) == b"BODY[]<10>"
    assert render_body_label(Section((3,), SectionText.MIME), None) == b"BODY[3.MIME]"
