"""BINARY and BINARY.SIZE (RFC 3516): parts decoded, small and large."""

import base64
import re
from collections.abc import Sequence

import pytest

from imap_steps import Client, run_steps
from preau.imap.commands import TABLE
from preau.imap.dispatch import run_command
from preau.imap.steps import BrokenAnswer
from preau.storage.api import MessageReader, Uid

OCTETS = bytes(range(256)) * 3
MESSAGE = (
    b'Subject: pieces\r\nContent-Type: multipart/mixed; boundary="b"\r\n\r\n'
    b"--b\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
    b"caf=C3=A9=\r\n!\r\n"
    b"--b\r\nContent-Type: application/octet-stream\r\nContent-Transfer-Encoding: BASE64\r\n\r\n"
    + base64.encodebytes(OCTETS).replace(b"\n", b"\r\n")
    + b"\r\n--b\r\nContent-Type: message/rfc822\r\n\r\nSubject: within\r\nContent-Transfer-Encoding: base64\r\n\r\nSGk=\r\n"
    b"--b\r\nContent-Type: text/plain\r\nContent-Transfer-Encoding: x-secret\r\n\r\n???\r\n--b--\r\n"
)


def client_with(*messages: bytes) -> Client:
    client = Client()
    client.add(*messages)
    client.say(b"SELECT INBOX")
    return client


def fetched(client: Client, items: bytes) -> bytes:
    sent, answer = run_steps(client.begin(b"FETCH 1 " + items))
    assert answer == b"OK FETCH completed"
    return sent


@pytest.mark.parametrize(
    ("items", "expected"),
    [
        (b"BINARY.PEEK[1]", b"BINARY[1] {6}\r\ncaf\xc3\xa9!"),
        (b"BINARY.SIZE[1]", b"BINARY.SIZE[1] 6"),
        (b"BINARY.PEEK[1]<3.2>", b"BINARY[1]<3> {2}\r\n\xc3\xa9"),
        (b"BINARY.PEEK[1]<9.2>", b"BINARY[1]<9> {0}\r\n"),
        (b"BINARY.PEEK[2]", b"BINARY[2] ~{768}\r\n" + OCTETS),
        (b"BINARY.PEEK[2]<250.10>", b"BINARY[2]<250> ~{10}\r\n" + OCTETS[250:260]),
        (b"BINARY.SIZE[2]", b"BINARY.SIZE[2] 768"),
        (b"BINARY.PEEK[3.1]", b"BINARY[3.1] {2}\r\nHi"),
        (b"BINARY.PEEK[9]", b"BINARY[9] NIL"),
        (b"BINARY.SIZE[9]", b"BINARY.SIZE[9] 0"),
        (b"BINARY.PEEK[]", b"BINARY[] {%d}\r\n%b" % (len(MESSAGE), MESSAGE)),
        (b"(BINARY.SIZE[1] BODY.PEEK[2]<0.4>)", b"BINARY.SIZE[1] 6 BODY[2]<0> {4}\r\nAAEC"),
    ],
    ids=lambda value: value.decode()[:30] if value.startswith((b"BINARY.", b"(")) and len(value) < 60 else "",
)
def test_items(items: bytes, expected: bytes) -> None:
    assert fetched(client_with(MESSAGE), items) == b"* 1 FETCH (" + expected + b")\r\n"


@pytest.mark.parametrize("items", [b"BINARY.PEEK[4]", b"BINARY.SIZE[4]", b"(BODY.PEEK[1] BINARY.PEEK[4])"])
def test_an_encoding_that_nobody_knows(items: bytes) -> None:
    lines, answer = client_with(MESSAGE).say(b"FETCH 1 " + items)
    assert lines == []
    assert answer.startswith("NO [UNKNOWN-CTE] ")


def test_only_peek_leaves_a_message_unseen() -> None:
    client = client_with(MESSAGE)
    fetched(client, b"(BINARY.PEEK[1] BINARY.SIZE[1])")
    assert client.session.selected.flags_of(Uid(1)) == 0
    assert b"FLAGS (\\Seen)" in fetched(client, b"BINARY[1]")
    assert client.session.selected.flags_of(Uid(1)) == 1


def large() -> bytes:
    octets = bytes(range(1, 256)) * 4_000
    head = b"Content-Type: application/zip\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    return head + base64.encodebytes(octets).replace(b"\n", b"\r\n")


def test_a_large_part_comes_in_pieces() -> None:
    client = client_with(large())
    pieces = [step for step in client.begin(b"FETCH 1 (BINARY.SIZE[1] BINARY.PEEK[1])") if step]
    sent = b"".join(pieces)  # type: ignore[arg-type]  # steps of this command are text alone
    found = re.match(rb"\* 1 FETCH \(BINARY.SIZE\[1\] 1020000 BINARY\[1\] \{1020000\}\r\n", sent)
    assert found
    assert sent[found.end() :] == bytes(range(1, 256)) * 4_000 + b")\r\n"
    assert max(map(len, pieces)) < 140_000  # type: ignore[arg-type]  # as above
    part = fetched(client, b"BINARY.PEEK[1]<500000.300>")
    assert part == b"* 1 FETCH (BINARY[1]<500000> {300}\r\n" + (bytes(range(1, 256)) * 4_000)[500_000:500_300] + b")\r\n"


def test_a_message_that_ends_early_breaks_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    client = client_with(large())
    mail = client.account.mail
    opened = mail.read_message
    reads = 0

    def read_message(mailbox: object, uid: Uid) -> MessageReader:
        reader = opened(client.session.selected.mailbox.id, uid)
        whole = reader.read

        def read(offset: int = 0, length: int | None = None) -> bytes:
            nonlocal reads
            reads += 1
            return whole(offset, length) if reads < 25 else b""

        reader.read = read  # type: ignore[method-assign]  # a disk that fails
        return reader

    monkeypatch.setattr(mail, "read_message", read_message)
    with pytest.raises(BrokenAnswer):
        run_steps(client.begin(b"FETCH 1 BINARY.PEEK[1]"))


def test_append_takes_literal8_without_nul() -> None:
    """RFC 3516 section 4.4: what cannot be kept as it is, is refused."""
    client = client_with(MESSAGE)
    events = client.decoder.receive(b"t APPEND INBOX ~{6+}\r\nA: b\r\n\r\n")
    assert answer_to(client, events).startswith(b"OK [APPENDUID ")
    events = client.decoder.receive(b"t APPEND INBOX ~{6+}\r\nA: b\0\n\r\n")
    assert answer_to(client, events).startswith(b"NO [UNKNOWN-CTE] ")


def answer_to(client: Client, events: Sequence[object]) -> bytes:
    first, *rest = events
    return run_steps(run_command(client.session, TABLE["APPEND"], first), rest)[1]  # type: ignore[arg-type]  # events they are
