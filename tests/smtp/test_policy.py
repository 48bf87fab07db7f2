import pytest

from preau.smtp.commands import Address
from preau.smtp.policy import MAX_HEADER, LoopGuard, is_trusted, render_date, render_received, render_trace, without_tag

HEADER = (
    b"Received: from a\r\n\tby b\r\nSubject: x\r\nRECEIVED : by c\r\n"
    b"Delivered-To: <Anne@Example.com>\r\ndelivered-to: bob@example.com \r\n"
)


@pytest.mark.parametrize("step", [1, 2, 7, 10_000])
@pytest.mark.parametrize("body", [b"\r\nReceived: in the body\r\n", b"\r\n", b""])
def test_the_header_alone_counts_however_it_is_cut(step: int, body: bytes) -> None:
    guard = LoopGuard()
    message = HEADER + body
    for begin in range(0, len(message), step):
        guard.feed(message[begin : begin + step])
    guard.close()
    assert guard.received == 2
    assert guard.delivered_to == {"anne@example.com", "bob@example.com"}
    assert guard.is_loop("ANNE@example.com", 50)
    assert guard.is_loop("carol@example.com", 1)
    assert not guard.is_loop("carol@example.com", 2)


def test_no_header_at_all() -> None:
    guard = LoopGuard()
    guard.feed(b"\r\nReceived: x\r\n\r\n")
    assert guard.received == 0


def test_a_header_without_end_is_let_go() -> None:
    guard = LoopGuard()
    guard.feed(b"Received: x\r\n")
    for _ in range(MAX_HEADER // 65_536 + 2):
        guard.feed(b"x" * 65_536)
    guard.feed(b"\r\nReceived: y\r\n")
    guard.close()
    assert guard.received == 1


@pytest.mark.parametrize(
    ("address", "trusted"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("192.0.2.1", False),
        ("2001:db8::1", False),
        ("fe80::1%eth0", False),
        ("", False),
        ("nonsense", False),
    ],
)
def test_trusted_networks(address: str, trusted: bool) -> None:
    assert is_trusted(address, ["127.0.0.0/8", "::1/128"]) is trusted


def test_a_network_that_is_none() -> None:
    with pytest.raises(ValueError, match="nonsense"):
        is_trusted("127.0.0.1", ["nonsense"])


@pytest.mark.parametrize(
    ("local", "base"), [("anne+lists", "anne"), ("anne+a+b", "anne"), ("anne", None), ("+x", None), ("anne+", "anne")]
)
def test_tags(local: str, base: str | None) -> None:
    assert without_tag(Address(local, "d"), "+") == (Address(base, "d") if base else None)
    assert without_tag(Address(local, "d"), "") is None


def test_lines_of_our_own() -> None:
    assert render_date(1_795_572_307) == "Wed, 25 Nov 2026 02:05:07 +0000"
    assert (
        render_received(
            client="mx.example", peer="192.0.2.1", host="h.example", protocol="LMTP", identifier="ab", recipient="a@b", now=0
        )
        == b"Received: from mx.example ([192.0.2.1])\r\n\tby h.example with LMTP id ab\r\n\tfor <a@b>;"
        b" Thu, 1 Jan 1970 00:00:00 +0000\r\n"
    )
    several = render_received(client="", peer="2001:db8::1", host="h", protocol="LMTP", identifier="ab", recipient="", now=0)
    assert several.startswith(b"Received: from unknown ([IPv6:2001:db8::1])\r\n\tby h with LMTP id ab; ")
    assert b"(local)" in render_received(client="x", peer="", host="h", protocol="L", identifier="i", recipient="", now=0)
    assert render_trace(reverse_path=None, recipient="a@b") == b"Return-Path: <>\r\nDelivered-To: a@b\r\n"
    assert render_trace(reverse_path=Address("c", "d"), recipient="a@b").startswith(b"Return-Path: <c@d>\r\n")
