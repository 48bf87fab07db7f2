"""What is worked out of a message does not depend on how it came, and a large one is not held."""

import tracemalloc

import pytest

from preau.storage.mail_derive import KEPT_FOR_TEXT, Derivation, _first_values

HEADER = b"Message-ID: <a@b>\r\nDate: Mon, 30 Nov 2026 10:00:00 +0100\r\n\r\n"


@pytest.mark.parametrize("size", [100, KEPT_FOR_TEXT - 1, KEPT_FOR_TEXT, KEPT_FOR_TEXT + 1, 3 * KEPT_FOR_TEXT])
@pytest.mark.parametrize("piece", [65_537, 10_000_000])
def test_the_head_is_the_beginning_however_the_message_comes(size: int, piece: int) -> None:
    message = HEADER + (b"0123456789abcdef\r\n" * (size // 18 + 1))[: size - len(HEADER)]
    derivation = Derivation()
    for offset in range(0, size, piece):
        derivation.feed(offset, message[offset : offset + piece])
        derivation.feed(max(0, offset - 5), message[max(0, offset - 5) : offset + piece])  # a twin that is behind
    assert derivation.finish(size + 1) is None
    derived = derivation.finish(size)
    assert derived is not None
    assert derived.head == message[:KEPT_FOR_TEXT]
    assert derived.complete == (size <= KEPT_FOR_TEXT)
    assert derived is derivation.finish(size)


def test_a_large_message_costs_its_head_once() -> None:
    piece = b"x" * 65_534 + b"\r\n"
    tracemalloc.start()
    try:
        derivation = Derivation()
        derivation.feed(0, HEADER)
        for number in range(800):
            derivation.feed(len(HEADER) + number * len(piece), piece)
        assert derivation.finish(len(HEADER) + 800 * len(piece)) is not None
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1.3 * KEPT_FOR_TEXT


def test_the_first_value_of_a_field_counts() -> None:
    header = b"date : one\r\nDATE: two\r\nX-Date: three\r\nReferences:\r\n <a@b>\r\n\t<c@d>\r\nin-reply-to\r\n\r\n"
    assert _first_values(header) == {b"date": b"one", b"references": b"<a@b> <c@d>"}
