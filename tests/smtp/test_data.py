from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feed import three_ways
from preau.smtp.data import BareNewlines, ChunkStream, DataStream

NORMALISE, REFUSE, REPAIR = BareNewlines.NORMALISE, BareNewlines.REFUSE, BareNewlines.REPAIR
END = -1


class Octets:
    """The stream seen octet by octet, so that how content was cut makes no difference."""

    def __init__(self, stream: DataStream) -> None:
        self.stream = stream

    def receive(self, data: bytes) -> list[int]:
        before = self.stream.done
        octets = list(self.stream.feed(data))
        return [*octets, END] if self.stream.done and not before else octets


def make(policy: BareNewlines = NORMALISE, limit: int = 1000) -> Callable[[], Octets]:
    return lambda: Octets(DataStream(limit, policy))


@pytest.mark.parametrize(
    ("wire", "content"),
    [
        pytest.param(b".\r\n", b"", id="empty"),
        pytest.param(b"\r\n.\r\n", b"\r\n", id="one empty line"),
        pytest.param(b"a\r\n.\r\n", b"a\r\n", id="one line"),
        pytest.param(b"..\r\n.\r\n", b".\r\n", id="a line that is a dot"),
        pytest.param(b"...\r\n.\r\n", b"..\r\n", id="two dots"),
        pytest.param(b".a\r\n..b\r\nc.\r\n.\r\n", b"a\r\n.b\r\nc.\r\n", id="a dot goes whatever follows"),
        pytest.param(b"a\r\n\r\n.\r\n", b"a\r\n\r\n", id="empty line last"),
        pytest.param(b"a\n.\r\nb\r\n.\r\n", b"a\r\n.\r\nb\r\n", id="LF . CR LF is no end"),
        pytest.param(b"a\r\n.\nb\r\n.\r\n", b"a\r\n\r\nb\r\n", id="CR LF . LF is no end"),
        pytest.param(b"a\n.\nb\r\n.\r\n", b"a\r\n.\r\nb\r\n", id="LF . LF is no end"),
        pytest.param(b"a\r.\r\nb\r\n.\r\n", b"a\r.\r\nb\r\n", id="CR . CR LF is no end"),
        pytest.param(b"a\r\n.\rb\r\n.\r\n", b"a\r\n\rb\r\n", id="CR LF . CR is no end"),
        pytest.param(b"\n\n\r\n.\r\n", b"\r\n\r\n\r\n", id="bare LF"),
        pytest.param(b"a\r\r\n.\r\n", b"a\r\r\n", id="CR CR LF"),
        pytest.param(b"\x00\xff\r\n.\r\n", b"\x00\xff\r\n", id="any octet"),
        pytest.param(b"\r\n.\r.\r\n.\r\n", b"\r\n\r.\r\n", id="almost an end"),
    ],
)
def test_data_ends_at_its_mark_alone(wire: bytes, content: bytes) -> None:
    three_ways(make(), wire, [*content, END], trailing=b"QUIT\r\n.\r\n")


def test_what_follows_is_kept() -> None:
    stream = DataStream(100, NORMALISE)
    assert stream.feed(b"a\r\n.\r\nQUIT\r\n") == b"a\r\n"
    assert stream.feed(b"x") == b""
    assert stream.rest == b"QUIT\r\nx"


@pytest.mark.parametrize("bare", [b"a\nb", b"a\rb", b"a\r\r\nb", b"\n.\r\n", b"\r\n.\n", b"\r.\r"])
def test_bare_line_ends_are_refused_at_the_end(bare: bytes) -> None:
    for step in (1, 2, 3, 100):
        stream = DataStream(100, REFUSE)
        wire = bare + b"\r\n.\r\n"
        for begin in range(0, len(wire), step):
            stream.feed(wire[begin : begin + step])
        assert stream.done
        assert stream.refused_bare


def test_good_line_ends_are_not_refused() -> None:
    for step in (1, 2, 3, 100):
        stream = DataStream(100, REFUSE)
        wire = b"a\r\n..\r\n\r\n.b\r\n.\r\n"
        got = b"".join(stream.feed(wire[begin : begin + step]) for begin in range(0, len(wire), step))
        assert (got, stream.refused_bare) == (b"a\r\n.\r\n\r\nb\r\n", False)


def test_the_limit_holds_while_reading() -> None:
    stream = DataStream(10, NORMALISE)
    assert stream.feed(b"x" * 10) == b"x" * 10
    assert not stream.too_large
    assert stream.feed(b"y" * 10) == b""
    assert stream.too_large
    assert not stream.far_too_large
    stream.feed(b"y" * 2_000_000)
    assert stream.far_too_large
    stream.feed(b"\r\n.\r\nQUIT")
    assert stream.done
    assert stream.rest == b"QUIT"


def stuff(content: bytes) -> bytes:
    lines = content.split(b"\r\n")
    return b"\r\n".join(b"." + line if line.startswith(b".") else line for line in lines)


@given(st.lists(st.sampled_from([b"a", b".", b"\r\n", b"..", b"\xe9", b"bc"])), st.integers(1, 7))
@settings(max_examples=300)
def test_what_was_stuffed_comes_back(pieces: list[bytes], step: int) -> None:
    content = b"".join(pieces) + b"\r\n"
    wire = stuff(content) + b".\r\n"
    stream = DataStream(10_000, REFUSE)
    got = b"".join(stream.feed(wire[begin : begin + step]) for begin in range(0, len(wire), step))
    assert got == content
    assert (stream.done, stream.rest, stream.refused_bare, stream.size) == (True, b"", False, len(content))


@given(st.lists(st.sampled_from([b"a", b".", b"\r", b"\n", b"\r\n", b"\r\n."])), st.integers(1, 5))
@settings(max_examples=300)
def test_pieces_never_change_what_is_read(pieces: list[bytes], step: int) -> None:
    wire = b"".join(pieces) + b"\r\n.\r\nREST"
    for policy in (NORMALISE, REPAIR):
        whole, cut = DataStream(10_000, policy), DataStream(10_000, policy)
        expected = whole.feed(wire)
        got = b"".join(cut.feed(wire[begin : begin + step]) for begin in range(0, len(wire), step))
        assert (got, cut.rest, cut.size) == (expected, whole.rest, whole.size)
        assert b"\n" not in expected.replace(b"\r\n", b"")
    assert b"\r" not in expected.replace(b"\r\n", b"")


@given(
    st.lists(st.tuples(st.binary(max_size=5) | st.sampled_from([b"\r", b"\n", b"\r\n", b""]), st.integers(1, 4)), max_size=8)
)
@settings(max_examples=300)
def test_chunks_are_their_octets(chunks: list[tuple[bytes, int]]) -> None:
    stream, got, sent = ChunkStream(10_000, NORMALISE), b"", b""
    for position, (chunk, step) in enumerate(chunks):
        got += stream.begin(len(chunk), last=position == len(chunks) - 1)
        for begin in range(0, len(chunk), step):
            got += stream.feed(chunk[begin : begin + step])
            assert stream.wanted == len(chunk) - min(len(chunk), begin + step)
        sent += chunk
        assert stream.done == (position == len(chunks) - 1)
    expected = sent.replace(b"\r\n", b"\0").replace(b"\n", b"\r\n").replace(b"\0", b"\r\n") if b"\0" not in sent else None
    if chunks and expected is not None:
        assert got == expected
        assert stream.size == len(expected)


def test_chunks_have_the_same_limits() -> None:
    stream = ChunkStream(5, REFUSE)
    stream.begin(10, last=False)
    stream.feed(b"123456")
    assert stream.too_large
    stream.feed(b"a\nbc")
    assert stream.refused_bare
    assert stream.begin(0, last=True) == b""
    assert stream.done
