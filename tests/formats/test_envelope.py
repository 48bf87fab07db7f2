import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imap_values import parse_values
from messages import ALTERNATIVE_WITH_ATTACHMENT, FRENCH_8BIT, MESSAGES
from preau.formats.envelope import render_envelope, render_nstring, render_string
from preau.formats.headers import split_header


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"", b'""'),
        (b"plain text", b'"plain text"'),
        (b'a "b" \\', b'"a \\"b\\" \\\\"'),
        (b'"""""', b'{5}\r\n"""""'),
        (b"\xc3\xa9", b"{2}\r\n\xc3\xa9"),
        (b"a\r\nb", b"{4}\r\na\r\nb"),
        (b"a\0b", b"{5}\r\na\xef\xbf\xbdb"),
        (b"x" * 1_000, b'"' + b"x" * 1_000 + b'"'),
        (b"x" * 1_001, b"{1001}\r\n" + b"x" * 1_001),
        (b"tab\there", b'"tab\there"'),
    ],
)
def test_render_string(text: bytes, expected: bytes) -> None:
    assert render_string(text) == expected
    assert render_nstring(text) == expected


def test_nothing_is_nil() -> None:
    assert render_nstring(None) == b"NIL"


def test_an_ordinary_header() -> None:
    header, _ = split_header(FRENCH_8BIT)
    secretary = b'(("=?utf-8?q?Secr=C3=A9tariat_du_coll=C3=A8ge?=" NIL "secretariat" "college.example"))'
    assert render_envelope(header) == (
        b'("Tue, 3 Nov 2026 10:11:12 +0100" "=?iso-8859-1?Q?R=E9union_du_conseil_?= =?iso-8859-1?Q?de_classe?=" '
        + b" ".join([secretary] * 3)
        + b' (("Durand, Marie" NIL "marie" "rectorat.example")("Paul Bernard" NIL "paul" "rectorat.example"))'
        + b' (("La direction" NIL "direction" "college.example")) NIL NIL "<20261103.1011@college.example>")'
    )


def test_line_ends_do_not_matter() -> None:
    header, _ = split_header(ALTERNATIVE_WITH_ATTACHMENT)
    assert render_envelope(header) == render_envelope(header.replace(b"\r\n", b"\n"))


NIL = b"NIL"
AB = b'((NIL NIL "a" "b"))'


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (b"", [NIL] * 10),
        (b"\r\n", [NIL] * 10),
        (b"From: a@b\r\n", [NIL, NIL, AB, AB, AB, NIL, NIL, NIL, NIL, NIL]),
        (b"From: a@b\r\nSender:\r\nReply-To: (c)\r\n", [NIL, NIL, AB, AB, AB, NIL, NIL, NIL, NIL, NIL]),
        (b"Sender: a@b\r\n", [NIL, NIL, NIL, AB, NIL, NIL, NIL, NIL, NIL, NIL]),
        (b"from : a@b\r\n", [NIL, NIL, AB, AB, AB, NIL, NIL, NIL, NIL, NIL]),
        (b"Subject:\r\n", [NIL, b'""', *[NIL] * 8]),
        (b"Subject: one\r\nSubject: two\r\n", [NIL, b'"two"', *[NIL] * 8]),
        (b"Subject\r\n: x\r\nSubject x: y\r\n", [NIL] * 10),
        (b"Subject: a\r\n b\r\n\tc\r\n", [NIL, b'"a b c"', *[NIL] * 8]),
        (b"Subject: a\rb\r\n", [NIL, b'"a b"', *[NIL] * 8]),
        (b"X: y\r\n Subject: folded\r\n", [NIL] * 10),
        (b"To: a@b\r\nTo: c@d\r\n", [*[NIL] * 5, b'((NIL NIL "a" "b")(NIL NIL "c" "d"))', *[NIL] * 4]),
        (b"To: g: a@b;\r\n", [*[NIL] * 5, b'((NIL NIL "g" NIL)(NIL NIL "a" "b")(NIL NIL NIL NIL))', *[NIL] * 4]),
        (b"Cc: x: ;\r\n", [*[NIL] * 6, b'((NIL NIL "x" NIL)(NIL NIL NIL NIL))', *[NIL] * 3]),
        (b"Bcc: \xe9 <a@b>\r\n", [*[NIL] * 7, b'(({1}\r\n\xe9 NIL "a" "b"))', *[NIL] * 2]),
        (b"In-Reply-To: <a>\r\n <b>\r\nMessage-ID: <c>\r\n", [*[NIL] * 8, b'"<a> <b>"', b'"<c>"']),
    ],
)
def test_render_envelope(header: bytes, expected: list[bytes]) -> None:
    assert render_envelope(header) == b"(" + b" ".join(expected) + b")"


_FIELDS = [b"From: ", b"To:", b"Subject: "]


@settings(max_examples=200)
@given(st.lists(st.sampled_from([*_FIELDS, b"\r\n", b"a@b", b'"', b"(", b"\\", b"<", b":", b";", b"\0", b"\xe9", b"\r"])))
def test_anything_is_one_list_of_ten(pieces: list[bytes]) -> None:
    assert len(items(render_envelope(b"".join(pieces)))) == 10


@pytest.mark.parametrize("name", MESSAGES)
def test_odd_messages_have_an_envelope(name: str) -> None:
    assert len(items(render_envelope(split_header(MESSAGES[name])[0]))) == 10


def test_fifty_megabytes_of_header() -> None:
    assert len(items(render_envelope(b"Subject: " + b"x" * 25_000_000 + b"\r\nTo: " + b"a@b, " * 5_000_000))) == 10


def items(rendered: bytes) -> list[object]:
    values = parse_values(rendered)
    assert len(values) == 1
    assert isinstance(values[0], list)
    return values[0]
