import email
import email.header
import email.utils

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from messages import MESSAGES, generated
from preau.formats.headers import (
    _odd_fields,
    decode_base64,
    decode_extended,
    decode_parameter,
    decode_words,
    fields,
    find_field,
    find_parameter,
    parse_value,
    raw_fields,
    select_fields,
    split_header,
    strip_comments,
    unfold,
)

HEADER = b"From: a\r\nReceived: one\r\n\ttwo\r\nSUBJECT:  x \r\nReceived: three\r\n\r\n"


@pytest.mark.parametrize(
    ("message", "header", "offset"),
    [
        (b"A: b\r\n\r\nbody", b"A: b\r\n\r\n", 8),
        (b"A: b\n\nbody\r\n\r\n", b"A: b\n\n", 6),
        (b"\r\nbody", b"\r\n", 2),
        (b"\nbody", b"\n", 1),
        (b"A: b\r\n", b"A: b\r\n", 6),
        (b"", b"", 0),
        (b"A: b\r\n \r\nB: c\r\n\r\n", b"A: b\r\n \r\nB: c\r\n\r\n", 17),
    ],
)
def test_split_header(message: bytes, header: bytes, offset: int) -> None:
    assert split_header(message) == (header, offset)


def test_fields_are_unfolded_and_in_order() -> None:
    assert list(fields(HEADER)) == [(b"From", b"a"), (b"Received", b"one two"), (b"SUBJECT", b"x"), (b"Received", b"three")]
    assert list(fields(HEADER.replace(b"\r\n", b"\n"))) == list(fields(HEADER))
    assert find_field(HEADER, b"received") == b"one two"
    assert find_field(HEADER, b"to") is None


def test_raw_fields_are_what_stands_there() -> None:
    assert b"".join(raw for _, raw in raw_fields(HEADER)) == HEADER[:-2]
    assert [name for name, _ in raw_fields(b"No colon\r\nA : b\r\n: c\r\nlast")] == [b"No colon", b"A", b"last"]
    assert list(raw_fields(b" continues nothing\r\nA: b\r\n")) == [(b"A", b"A: b\r\n")]


def test_select_fields() -> None:
    assert select_fields(HEADER, {b"received"}) == b"Received: one\r\n\ttwo\r\nReceived: three\r\n\r\n"
    assert select_fields(HEADER, {b"received"}, exclude=True) == b"From: a\r\nSUBJECT:  x \r\n\r\n"
    assert select_fields(HEADER, {b"to"}) == b"\r\n"
    assert select_fields(b"A: b", {b"a"}) == b"A: b\r\n\r\n"


def test_a_lone_cr_is_no_line_end() -> None:
    assert unfold(b"A: b\rB: c\r\n") == b"A: b B: c\n"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"plain", "plain"),
        (b"=?utf-8?q?caf=C3=A9?=", "café"),
        (b"=?UTF-8?B?Y2Fmw6k=?=", "café"),
        (b"=?iso-8859-1*fr?Q?caf=E9_noir?= fin", "café noir fin"),
        (b"a =?utf-8?q?b?= c", "a b c"),
        (b"=?utf-8?q?a?= =?utf-8?q?b?=", "ab"),
        (b"=?utf-8?q?a?=  \t =?iso-8859-1?q?=E9?=", "aé"),
        (b"=?utf-8?b?w6?= =?utf-8?q?=A9?=", "é"),
        (b"=?utf-8?q?=C3?= =?utf-8?q?=A9?=", "é"),
        (b"=?utf-8?q?a?= x =?utf-8?q?b?=", "a x b"),
        (b"=?utf-8?q?a b?=", "a b"),
        (b"=?x-none?q?=E9?=", "é"),
        (b"=?utf-8?x?a?=", "=?x-none?x?a?=".replace("x-none", "utf-8")),
        (b"=?utf-8?b?!!!!?=", ""),
        (b"=?utf-8?b?Y?=", ""),
        (b"=?iso-2022-jp?B?GyRCRnxLXDhsGyhC?=", "日本語"),
        (b"caf\xc3\xa9", "café"),
        (b"caf\xe9", "café"),
        (b"=?=?=?", "=?=?=?"),
        (b"", ""),
        (b"=?windows-1252?q?=80?=", "€"),
        (b"=?us-ascii?q?=92?=", "’"),
    ],
)
def test_decode_words(value: bytes, expected: str) -> None:
    assert decode_words(value) == expected


@settings(max_examples=100)
@given(st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Zl", "Zp"]), max_size=80))
def test_what_the_standard_library_encodes_is_decoded(text: str) -> None:
    encoded = email.header.Header(text, "utf-8", maxlinelen=60).encode(linesep="\r\n").encode("ascii")
    assert decode_words(unfold(encoded)) == text


_READ_OTHERWISE = {"no_blank_line", "folded_badly", "raw_8bit_header", "lone_cr", "nul_and_controls"}


@pytest.mark.parametrize("name", sorted(MESSAGES.keys() - _READ_OTHERWISE))
def test_subjects_agree_with_the_standard_library(name: str) -> None:
    message = MESSAGES[name]
    ours = find_field(split_header(message)[0], b"subject")
    theirs = email.message_from_bytes(message)["Subject"]
    assert (ours is None) == (theirs is None)
    if ours is not None and theirs is not None:
        assert decode_words(ours) == str(email.header.make_header(email.header.decode_header(theirs)))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"a (b) c", b"a   c"),
        (b"a (b (c) d) e", b"a   e"),
        (b'"a (b)" (c)', b'"a (b)"  '),
        (b"a (b \\) c) d", b"a   d"),
        (b"a (never closed", b"a "),
        (b"a ) b", b"a ) b"),
        (b'(") x', b"  x"),
        (b"(" * 100_000 + b")" * 100_000, b" "),
    ],
)
def test_strip_comments(value: bytes, expected: bytes) -> None:
    assert strip_comments(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"text/plain", ()),
        (b"text/plain; charset=utf-8", ((b"charset", b"utf-8"),)),
        (b'text/plain; CharSet = "a;b\\"c" ; x=y', ((b"CharSet", b'a;b"c'), (b"x", b"y"))),
        (b"text/plain; name=a b.txt; x=y", ((b"name", b"a"), (b"x", b"y"))),
        (b"text/plain;;; x=y", ((b"x", b"y"),)),
        (b"text/plain; x; y=", ()),
        (b'text/plain; x="', ((b"x", b""),)),
        (b'text/plain; x="never closed', ((b"x", b"never closed"),)),
        (b"text/plain; n==?utf-8?q?a_b?=", ((b"n", b"=?utf-8?q?a_b?="),)),
        (b"text/plain; n*1=b; n*0=a; x=y", ((b"x", b"y"), (b"n", b"ab"))),
        (b"text/plain; n*0*=utf-8''%C3; n*1*=%A9; n*2=' x'", ((b"n*", b"utf-8''%C3%A9%27"),)),
        (b'text/plain; n*0="a b"; n*1*=%20', ((b"n*", b"''a%20b%20"),)),
        (b"text/plain; n*0=a; n*2=b", ((b"n*0", b"a"), (b"n*2", b"b"))),
        (b"text/plain; n*=utf-8''%C3%A9", ((b"n*", b"utf-8''%C3%A9"),)),
        (b"text/plain; x=\xc3\xa9", ((b"x", b"\xc3\xa9"),)),
    ],
)
def test_parameters(value: bytes, expected: object) -> None:
    assert parse_value(value) == (b"text", b"plain", expected)


@pytest.mark.parametrize("value", [b"", b";", b"/plain", b'"text/plain"', b"\x00"])
def test_what_begins_with_no_token_is_no_value(value: bytes) -> None:
    assert parse_value(value) is None


def test_parameters_are_counted() -> None:
    many = b"a/b" + b"; n=x" * 100_000
    parsed = parse_value(many, limit=7)
    assert parsed is not None
    assert len(parsed[2]) == 7


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"utf-8'fr'%C3%A9t%C3%A9", "été"),
        (b"iso-8859-1''%E9", "é"),
        (b"''plain", "plain"),
        (b"no quotes %41", "no quotes A"),
        (b"utf-8'only one", "utf-8'only one"),
        (b"utf-8''%zz%4", "%zz%4"),
    ],
)
def test_decode_extended(value: bytes, expected: str) -> None:
    assert decode_extended(value) == expected


def test_the_extended_parameter_wins() -> None:
    parameters = ((b"filename", b"=?utf-8?q?=C3=A9?="), (b"FileName*", b"utf-8''%C3%A8"))
    assert decode_parameter(parameters, b"filename") == "è"
    assert decode_parameter(parameters[:1], b"filename") == "é"
    assert decode_parameter((), b"filename") is None
    assert find_parameter(parameters, b"filename*") == b"utf-8''%C3%A8"


@pytest.mark.parametrize("message", list(generated(30, seed=9)), ids=lambda message: str(len(message)))
def test_parameters_agree_with_the_standard_library(message: bytes) -> None:
    header, _ = split_header(message)
    value = find_field(header, b"content-type")
    theirs = email.message_from_bytes(message)
    if value is not None:
        parsed = parse_value(value)
        assert parsed is not None
        for name in (b"boundary", b"charset", b"name", b"title"):
            other = theirs.get_param(name.decode())
            ours = decode_parameter(parsed[2], name)
            assert ours == (email.utils.collapse_rfc2231_value(other) if other is not None else None)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"YWJj", b"abc"),
        (b"YW Jj\r\n", b"abc"),
        (b"YQ==YWJj", b"aabc"),
        (b"YWJjZ", b"abc"),
        (b"YWI", b"ab"),
        (b"====", b""),
        (b"-_!", b""),
    ],
)
def test_decode_base64(data: bytes, expected: bytes) -> None:
    assert decode_base64(data) == expected


@settings(max_examples=200)
@given(st.binary(max_size=120) | st.text("=?utf-8qb*0;\"\\()/ \r\n\t%'", max_size=60).map(str.encode))
def test_anything_is_read(data: bytes) -> None:
    for name, value in fields(data):
        assert name
        decode_words(value)
        decode_extended(value)
        parse_value(value)
    list(raw_fields(data))
    decode_base64(data)
    assert select_fields(data, {b"a"}).endswith(b"\r\n")


@pytest.mark.parametrize(
    "repeated", [b"=?", b"=?a?q?", b"=?utf-8?q?a?= ", b'; a="', b"; n*0=", b";", b"(", b'\\"', b"\r\n ", b"x: y\r\n"]
)
def test_a_megabyte_of_anything_is_read(repeated: bytes) -> None:
    data = b"a/b" + repeated * (1_000_000 // len(repeated))
    decode_words(data)
    parse_value(data)
    strip_comments(data)
    sum(1 for _ in fields(data))


_PIECES = [
    b"Subject",
    b"X-A ",
    b":",
    b": b",
    b"\r\n",
    b"\n",
    b"\r",
    b" ",
    b"\t",
    b"\r\n ",
    b"\n\t",
    b"\0",
    b"\xe9",
    b"a: b\r\n",
]


@given(st.lists(st.sampled_from(_PIECES), max_size=12).map(b"".join) | st.binary(max_size=40))
@settings(max_examples=1_000)
def test_regular_blocks_are_cut_as_odd_ones_are(block: bytes) -> None:
    assert list(raw_fields(block)) == list(_odd_fields(block))


@given(st.lists(st.sampled_from(_PIECES), max_size=12).map(b"".join))
def test_unfolding_leaves_one_line_a_field(block: bytes) -> None:
    expected = block.replace(b"\r\n", b"\n").replace(b"\n ", b" ").replace(b"\n\t", b" ").replace(b"\r", b" ")
    assert unfold(block) == expected
