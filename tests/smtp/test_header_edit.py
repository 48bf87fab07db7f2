import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from preau.smtp.header_edit import MAX_CLAIMED, Header, HeaderBuffer, HeaderTooLong

BODY = b"body\r\n\r\nmore\r\n"


def through(message: bytes, step: int, limit: int = 1_000) -> bytes:
    """A message that passed unchanged, in pieces."""
    buffer: HeaderBuffer | None = HeaderBuffer(limit)
    out = b""
    for begin in range(0, len(message), step):
        piece = message[begin : begin + step]
        if buffer is None:
            out += piece
        elif (header := buffer.feed(piece)) is not None:
            out += header.render()
            buffer = None
    return out if buffer is None else out + buffer.close().render()


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        pytest.param(b"A: b\r\n\r\n" + BODY, b"A: b\r\n\r\n" + BODY, id="plain"),
        pytest.param(b"A: b\r\n c\r\n\td\r\n\r\n" + BODY, b"A: b\r\n c\r\n\td\r\n\r\n" + BODY, id="folded"),
        pytest.param(b"\r\n" + BODY, b"\r\n" + BODY, id="empty header"),
        pytest.param(b"A: b\r\n", b"A: b\r\n\r\n", id="no body"),
        pytest.param(b"A: b", b"A: b\r\n\r\n", id="no line end"),
        pytest.param(b"", b"\r\n", id="nothing"),
        pytest.param(b"hello", b"\r\nhello", id="one word"),
        pytest.param(b"hello\r\nA: b\r\n\r\n", b"\r\nhello\r\nA: b\r\n\r\n", id="body at once"),
        pytest.param(b" A: b\r\n\r\n", b"\r\n A: b\r\n\r\n", id="continues nothing"),
        pytest.param(b": b\r\n\r\n", b"\r\n: b\r\n\r\n", id="no name"),
        pytest.param(b"A b: c\r\n\r\n", b"\r\nA b: c\r\n\r\n", id="blank in a name"),
        pytest.param(b"\xc3\xa9: c\r\n\r\n", b"\r\n\xc3\xa9: c\r\n\r\n", id="a name that is not ASCII"),
        pytest.param(b"A: b\r\nFrom x\r\nB: c\r\n\r\n", b"A: b\r\n\r\nFrom x\r\nB: c\r\n\r\n", id="a line that is no field"),
    ],
)
@pytest.mark.parametrize("step", [1, 3, 1_000])
def test_where_a_header_ends(message: bytes, expected: bytes, step: int) -> None:
    assert through(message, step) == expected


@given(
    st.lists(st.sampled_from([b"A", b":", b" ", b"\r\n", b"b", b"\r\n\r\n", b"A: b\r\n", b"\xe9"]), max_size=30),
    st.integers(1, 9),
)
@settings(max_examples=300)
def test_pieces_change_nothing_and_nothing_is_lost(pieces: list[bytes], step: int) -> None:
    message = b"".join(pieces)
    whole = through(message, len(message) or 1)
    assert through(message, step) == whole
    assert whole.replace(b"\r\n", b"") == message.replace(b"\r\n", b"")


@pytest.mark.parametrize(
    "endless",
    [b"A: b\r\n" * 100, b"A: " + b"b" * 500, b"A: b\r\n" + b" c\r\n" * 100, b"x" * 500],
    ids=["fields", "a line", "continuations", "no line end"],
)
@pytest.mark.parametrize("step", [1, 1_000])
def test_an_endless_header(endless: bytes, step: int) -> None:
    with pytest.raises(HeaderTooLong):
        through(endless, step, limit=200)


def test_a_body_without_a_header_may_be_long() -> None:
    message = b"no field\r\n" * 100
    assert through(message, 7, limit=200) == b"\r\n" + message


@pytest.mark.parametrize(
    ("fields", "claimed"),
    [
        (b"From: a@b\r\n", ["a@b"]),
        (b'FROM : A <a@b>, "x, y" <c@d>\r\n', ["a@b", "c@d"]),
        (b"From:\r\n =?utf-8?q?=22?=\r\n <a@b>\r\n", ["a@b"]),
        (b"From: g: a@b, c@d; , e@f\r\n", ["a@b", "c@d", "e@f"]),
        (b"From: a\r\n", [""]),
        (b"From: <>\r\n", []),
        (b"From: @\r\n", [""]),
        (b"From: \xc3\xa9@b\r\n", ["é@b"]),
        (b"From: \xff@b\r\n", ["\ufffd@b"]),
        (b'From: "a b"@c\r\n', ["a b@c"]),
        (b"From: a@b\r\nfrom: c@d\r\n", ["a@b", "c@d"]),
        (b"X: a@b\r\n", []),
        (b"From: " + b"a@b," * 500 + b"\r\n", ["a@b"] * (MAX_CLAIMED + 1)),
    ],
)
def test_whose_addresses_are_claimed(fields: bytes, claimed: list[str]) -> None:
    assert Header(fields + b"\r\n").claimed(b"from") == claimed


def test_fields_come_and_go() -> None:
    header = Header(b"A: 1\r\nBcc: x\r\n y\r\nB: 2\r\nbcc:z\r\n\r\nBcc: body\r\n")
    assert (header.count(b"bcc"), header.count(b"a"), header.count(b"c")) == (2, 1, 0)
    header.remove(b"bcc", b"c")
    header.add(b"C: 3\r\n")
    assert header.render() == b"A: 1\r\nB: 2\r\nC: 3\r\n\r\nBcc: body\r\n"
    assert header.count(b"c") == 1


def test_a_continuation_without_its_end_is_no_part_of_the_field() -> None:
    header = Header(b"Subject: a\n b\n c")
    assert [field.raw for field in header.fields] == [b"Subject: a\n b\n"]
    assert header.rest == b" c"
