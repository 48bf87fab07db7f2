from dataclasses import replace
from typing import Any

import pytest

from preau.smtp.bounce import bounce, header_of, is_wanted, kinds
from preau.smtp.outcome import Verdict
from preau.smtp.queue_store import Notice, Queued, State
from preau.smtp.spool import Envelope, SpoolRecipient
from smtp_peer import Octets

BOB = Queued(
    1, "m", "bob@x", frozenset(), "", False, State.FAILED, 1, 0, False, 50, Verdict.FAILED.value, "5.1.1", "550 no", "mx.x"
)
ENVELOPE = Envelope("anne@example.com", (), 10)
MESSAGE = b"Subject: =?utf-8?q?=C3=A9t=C3=A9?=\r\nMessage-ID: <1@x>\r\n\r\nbody " + b"x" * 500 + b"\r\n"
NOTICE = Notice("0" * 18, "m", "failed", (BOB,))


def told(envelope: Envelope = ENVELOPE, notice: Notice = NOTICE, message: bytes | None = MESSAGE, most: int = 10_000) -> Any:
    source = None if message is None else Octets(message)
    return bounce(notice, envelope, source, hostname="mail.example.com", now=100, give_up_after=1_000, most=most)


@pytest.mark.parametrize(
    ("notify", "sender", "expected"),
    [
        pytest.param((), "a@b", {"failed", "delayed"}, id="nothing said"),
        pytest.param(("NEVER",), "a@b", set(), id="never"),
        pytest.param(("SUCCESS",), "a@b", {"success"}, id="success"),
        pytest.param(("FAILURE", "DELAY"), "a@b", {"failed", "delayed"}, id="two"),
        pytest.param(("SUCCESS", "FAILURE", "DELAY"), "", set(), id="null path"),
    ],
)
def test_who_is_told(notify: tuple[str, ...], sender: str, expected: set[str]) -> None:
    envelope, one = replace(ENVELOPE, reverse_path=sender), replace(BOB, notify=frozenset(notify))
    assert {kind for kind in ("failed", "delayed", "success") if is_wanted(envelope, one, kind)} == expected
    assert set(kinds([(one, kind) for kind in ("failed", "delayed", "success", "")], envelope)) == expected


def test_a_report_goes_from_nobody_and_brings_nothing_back() -> None:
    message, envelope = told()
    assert envelope == Envelope("", (SpoolRecipient("anne@example.com", frozenset({"NEVER"})),), 100, len(message))
    assert b"In-Reply-To: <1@x>" in message
    assert b"Objet: =C3=A9t=C3=A9" in message


@pytest.mark.parametrize(
    ("ret", "kind", "most", "whole"),
    [
        ("", "failed", 10_000, True),
        ("FULL", "failed", 10_000, True),
        ("HDRS", "failed", 10_000, False),
        ("FULL", "failed", 100, False),
        ("FULL", "delayed", 10_000, False),
        ("FULL", "success", 10_000, False),
    ],
)
def test_how_much_comes_back(ret: str, kind: str, most: int, whole: bool) -> None:
    message, _ = told(replace(ENVELOPE, ret=ret), replace(NOTICE, kind=kind), most=most)
    assert (b"Content-Type: message/rfc822\r\n" in message) is whole
    assert (b"Content-Type: text/rfc822-headers\r\n" in message) is not whole
    assert (b"x" * 500 in message) is whole


def test_an_endless_header_is_cut_at_a_line() -> None:
    message, _ = told(message=b"A: b\r\n" * 100_000, most=1_000)
    assert len(message) < 5_000
    assert message.partition(b"text/rfc822-headers\r\n\r\n")[2].startswith(b"A: b\r\n" * 100)


def test_a_message_that_is_gone_and_one_of_8_bits() -> None:
    assert b"rfc822" not in told(message=None)[0].replace(b"rfc822; bob@x", b"")
    message, envelope = told(message=b"Subject: x\r\n\r\n\xe9\r\n")
    assert envelope.body == "8BITMIME"
    assert not envelope.smtputf8
    assert b"\xe9" in message


@pytest.mark.parametrize(
    ("message", "header"),
    [
        pytest.param(b"A: b\r\n\r\nbody", b"A: b\r\n\r\n", id="both"),
        pytest.param(b"A: b\r\n", b"A: b\r\n", id="no body"),
        pytest.param(b"", b"", id="nothing"),
        pytest.param(b"\r\nbody", b"\r\n", id="no header"),
        pytest.param(b"A: b\r\n" * 20_000 + b"\r\nbody" * 20_000, b"A: b\r\n" * 20_000 + b"\r\n", id="over several pieces"),
    ],
)
def test_headers(message: bytes, header: bytes) -> None:
    assert header_of(Octets(message)) == header
