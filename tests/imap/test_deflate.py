"""COMPRESS DEFLATE: what is inflated, how much at a time, and what is sent."""

import os
import tracemalloc
import zlib

import pytest

from preau.imap.deflate import PIECE, Deflate, InvalidDeflate


def deflated(*texts: bytes) -> bytes:
    line = zlib.compressobj(wbits=-15)
    return b"".join(line.compress(text) + line.flush(zlib.Z_SYNC_FLUSH) for text in texts)


def taken(line: Deflate) -> list[bytes]:
    pieces = []
    while piece := line.take():
        pieces.append(piece)
    return pieces


def test_octets_come_back_whole_or_one_by_one() -> None:
    text = os.urandom(3_000) + b"x" * 200_000
    line = Deflate()
    line.feed(deflated(text))
    assert b"".join(taken(line)) == text
    line = Deflate()
    out = b""
    for octet in deflated(b"a NOOP\r\n", b"b NOOP\r\n"):
        line.feed(bytes([octet]))
        out += b"".join(taken(line))
    assert out == b"a NOOP\r\nb NOOP\r\n"


@pytest.mark.parametrize("size", [PIECE - 1, PIECE, PIECE + 1, 3 * PIECE])
def test_nothing_waits_inside(size: int) -> None:
    line = Deflate()
    line.feed(deflated(b"z" * size))
    assert sum(map(len, taken(line))) == size


def test_a_bomb_lies_here_in_pieces() -> None:
    bomb = deflated(bytes(100_000_000))
    assert len(bomb) < 110_000
    line = Deflate()
    line.feed(bomb)
    tracemalloc.start()
    try:
        assert max(len(line.take()) for _ in range(200)) <= PIECE
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("octets", [b"\xff\xff\xff\xff", zlib.compress(b"with a header"), b"hello, world\r\n" * 3])
def test_what_is_no_stream(octets: bytes) -> None:
    line = Deflate()
    line.feed(octets)
    with pytest.raises(InvalidDeflate):
        taken(line)


def test_a_stream_that_ends_is_an_end() -> None:
    closing = zlib.compressobj(wbits=-15)
    line = Deflate()
    line.feed(closing.compress(b"a LOGOUT\r\n") + closing.flush())
    with pytest.raises(InvalidDeflate):
        taken(line)


def test_what_is_sent_is_complete_and_survives_a_rest() -> None:
    line, client = Deflate(), zlib.decompressobj(-15)
    for text in (b"* 1 EXISTS\r\n", b"a OK\r\n" * 1_000, b"", b"b OK\r\n"):
        assert client.decompress(line.shrink(text)) == text
        line.rest()
    assert client.decompress(line.shrink(b"x" * 100) + line.shrink(b"y")) == b"x" * 100 + b"y"
