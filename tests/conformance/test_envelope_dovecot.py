"""ENVELOPE, BODYSTRUCTURE and BODY of some hundreds of messages, beside what Dovecot says of the same bytes.

Compared as a client reads them: a literal and a quoted string are one value (Dovecot sends literals where a field was
folded), blanks count once, the order of parameters does not matter (RFC 2045 section 5.1).
"""

import re
import socket
from collections.abc import Iterator

import pytest

from imap_values import parse_values
from messages import MESSAGES, generated
from preau.formats.bodystructure import render_bodystructure
from preau.formats.envelope import render_envelope
from preau.formats.mime import scan
from reference_dovecot import PASSWORD, reference, why_not

pytestmark = [pytest.mark.conformance, pytest.mark.skipif(bool(why_not()), reason=why_not() or "never")]

READ_OTHERWISE = {
    "empty": "APPEND takes no empty message",
    "nul_and_controls": "APPEND takes no NUL",
    "adjacent_boundaries": "RFC 2046 section 5.1.1: the line end before a boundary belongs to it, after a boundary too",
    "blanks_behind_boundary": "Dovecot looks for the trailing blanks that RFC 2046 forbids, and finds no part",
}


class Session:
    """As much of an IMAP client as this takes."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), 30)
        self._file = self._socket.makefile("rb")
        self._file.readline()

    def command(self, line: bytes, literal: bytes | None = None) -> list[bytes]:
        self._socket.sendall(b"t " + line + b"\r\n")
        if literal is not None:
            assert self._file.readline().startswith(b"+")
            self._socket.sendall(literal + b"\r\n")
        answers: list[bytes] = []
        while True:
            answer = self._file.readline()
            while match := re.search(rb"\{([0-9]+)\}\r\n\Z", answer):
                answer += self._file.read(int(match[1])) + self._file.readline()
            if answer.startswith(b"t "):
                assert answer.startswith(b"t OK"), answer
                return answers
            answers.append(answer)

    def fetch(self, number: int, item: bytes) -> object:
        (answer,) = self.command(b"FETCH %d (%b)" % (number, item))
        start = b"* %d FETCH (%b " % (number, item)
        assert answer.startswith(start)
        return as_read(answer[len(start) : -len(b")\r\n")])

    def close(self) -> None:
        self.command(b"LOGOUT")
        self._file.close()
        self._socket.close()


def as_read(rendered: bytes) -> object:
    (value,) = parse_values(rendered)
    return canonical(value)


def canonical(value: object) -> object:
    if isinstance(value, bytes):
        return b" ".join(value.split())
    if not isinstance(value, list):
        return value
    if value and all(isinstance(item, bytes) for item in value) and len(value) % 2 == 0:
        # Parameters. Dovecot leaves blanks raw in a value that it marks as percent-encoded (RFC 2231 section 4 forbids it).
        return sorted(
            (name.lower(), b" ".join(text.replace(b"%20", b" ").split()))
            for name, text in zip(value[::2], value[1::2], strict=True)
        )
    return [canonical(item) for item in value]


@pytest.fixture(scope="module")
def session() -> Iterator[Session]:
    with reference() as port:
        session = Session(port)
        session.command(b"LOGIN reader " + PASSWORD.encode())
        session.command(b"SELECT INBOX")
        yield session
        session.close()


def check(session: Session, message: bytes) -> None:
    session.command(b"APPEND INBOX {%d}" % len(message), message)
    (exists,) = [answer for answer in session.command(b"NOOP") + session.command(b"SEARCH ALL") if b"SEARCH" in answer]
    number = int(exists.split()[-1])
    # Dovecot counts each line end as two octets, whatever it was.
    root = scan(message.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n"))
    assert as_read(render_envelope(root.header)) == session.fetch(number, b"ENVELOPE")
    assert as_read(render_bodystructure(root, extended=True)) == session.fetch(number, b"BODYSTRUCTURE")
    assert as_read(render_bodystructure(root, extended=False)) == session.fetch(number, b"BODY")


@pytest.mark.parametrize("name", sorted(MESSAGES.keys() - READ_OTHERWISE.keys()))
def test_odd_messages(session: Session, name: str) -> None:
    check(session, MESSAGES[name])


@pytest.mark.parametrize("seed", range(8))
def test_generated_messages(session: Session, seed: int) -> None:
    for message in generated(50, seed=seed + 1):
        check(session, message)


_ADDRESSES = [b"root", b"foo bar", b'"q s"@h', b"a@", b"@b", b"Pete(A nice \\) chap) <pete(his account)@silly.test(his host)>"]
_ADDRESSES += [
    b"grp:;",
    b"grp: a@b",
    b"J. R. R. <c@d>",
    b"a@b (x) (y)",
    b'"x"y <a@b>',
    b"<@r,@s:u@h>",
    b"a @b",
    b"a@ b",
    b"a..b@c",
]
_ADDRESSES += [
    b"undisclosed recipients:;",
    b"<a>",
    b"Name <a>",
    b"Name <>",
    b"Name",
    b"\xc3\xa9@x.y",
    b'"a  b" <c@d>',
    b"",
    b"a@b c",
]


@pytest.mark.parametrize("address", _ADDRESSES)
def test_odd_addresses(session: Session, address: bytes) -> None:
    check(session, b"MIME-Version: 1.0\r\nFrom: " + address + b"\r\n\r\nx\r\n")


_FIELDS = [
    b"Content-Type: text/plain; a=b c=d; e=f",
    b"Content-Type: text/plain;;; a=b",
    b"Content-Type: text / plain ; charset = x",
]
_FIELDS += [b"Content-Type: text/plain (c); charset=(d)x", b"Content-Type: text/plain; name==?utf-8?q?a_b?=; x=y"]
_FIELDS += [
    b"Content-Type: text/plain; n*0=a; n*2=b",
    b"Content-Type: text/plain; n*1=b; n*0=a",
    b"Content-Type: MESSAGE/RFC822",
]
_FIELDS += [
    b"Content-Type: message/global",
    b"Content-Transfer-Encoding: (x) 8bit (y)",
    b"Content-ID: (c) <x@y>",
    b"From : a@b",
]
_FIELDS += [
    b"Content-Disposition: attachment; filename=a b c.pdf",
    b"Subject: one\r\nSubject: two",
    b"To: a@b,\r\nTo: c@d",
    b"Subject:",
]
_FIELDS += [b"Content-Type: multipart/mixed", b'Content-Type: multipart/mixed; boundary=""', b"Subject: " + b"x" * 2000]


@pytest.mark.parametrize("field", _FIELDS, ids=lambda field: field[:50].decode())
def test_odd_fields(session: Session, field: bytes) -> None:
    check(session, b"MIME-Version: 1.0\r\n" + field + b"\r\n\r\nX-Y: z\r\n\r\nx\r\n")
