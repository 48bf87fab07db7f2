"""PREVIEW (RFC 8970): the first words of what a person wrote."""

import base64

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imap_steps import Client, run_steps
from preau.imap.preview import MOST, preview_of


def preview(message: bytes) -> bytes:
    return preview_of(lambda offset, length: message[offset : offset + length], len(message))


def text(kind: bytes, body: bytes, *more: bytes) -> bytes:
    return b"\r\n".join((b"Content-Type: text/" + kind, *more, b"", body))


def parts(kind: bytes, *several: bytes) -> bytes:
    body = b"".join(b"--b\r\n" + part + b"\r\n" for part in several)
    return b"Content-Type: multipart/" + kind + b'; boundary="b"\r\n\r\n' + body + b"--b--\r\n"


HTML = text(b"html", b"<html><head><style>p {}</style><title>No</title></head><p>Caf&eacute; &amp;<b>th</b>&eacute;</p></html>")


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        pytest.param(b"Subject: x\r\n\r\nHello,\r\n\r\n  world\t!\r\n", b'"Hello, world !"', id="plain"),
        pytest.param(HTML, b"{11}\r\nCaf\xc3\xa9 &th\xc3\xa9", id="html"),
        pytest.param(parts(b"alternative", HTML, text(b"plain", b"plain")), b'"plain"', id="plain is preferred"),
        pytest.param(parts(b"mixed", text(b"plain", b"no", b"Content-Disposition: attachment"), HTML), None, id="attachment"),
        pytest.param(text(b"plain", b"> quoted\r\nown words\r\n> more"), b'"own words"', id="quoted lines are left out"),
        pytest.param(text(b"plain", b"> all\r\n> quoted"), b'"> all > quoted"', id="nothing but quoted lines"),
        pytest.param(b"Content-Type: image/png\r\n\r\nxxxx", b'""', id="no text"),
        pytest.param(b"Content-Type: multipart/encrypted\r\n\r\n", b'""', id="nothing there"),
        pytest.param(parts(b"mixed", b"Content-Type: message/rfc822\r\n\r\nA: b\r\n\r\nother"), b'""', id="message within"),
        pytest.param(b"", b'""', id="empty"),
        pytest.param(text(b"plain", b"a\0b\x1b[31mc \xe2\x80\xaed"), None, id="controls"),
    ],
)
def test_what_is_told(message: bytes, expected: bytes | None) -> None:
    told = preview(message)
    if expected is not None:
        assert told == expected
    assert b"\0" not in told
    assert b"\x1b" not in told


def test_length_is_in_characters() -> None:
    body = base64.encodebytes(("é" * 5_000).encode())
    told = preview(text(b"plain; charset=utf-8", body, b"Content-Transfer-Encoding: base64"))
    assert told.startswith(b"{%d}\r\n" % (2 * MOST))
    assert told[-2 * MOST :].decode() == "é" * MOST


def test_style_sheets_come_first() -> None:
    style = b"<style>" + b"p { color: red }\r\n" * 3_000 + b"</style>"
    assert preview(text(b"html", style + b"<p>At last")) == b'"At last"'


def test_little_is_read() -> None:
    asked = []
    message = text(b"plain", b"word " * 1_000_000)

    def read(offset: int, length: int) -> bytes:
        asked.append(length)
        return message[offset : offset + length]

    assert preview_of(read, len(message)).startswith(b'"word word')
    assert sum(asked) < 200_000


@settings(max_examples=60)
@given(st.binary(max_size=300))
def test_any_message_has_one(message: bytes) -> None:
    assert preview(message)


@pytest.mark.parametrize("item", [b"PREVIEW", b"PREVIEW (LAZY)", b"(PREVIEW)", b"(PREVIEW (LAZY))"])
def test_fetch(item: bytes) -> None:
    client = Client()
    client.add(b"Subject: x\r\n\r\nHello\r\n")
    client.say(b"SELECT INBOX")
    assert run_steps(client.begin(b"FETCH 1 " + item)) == (b'* 1 FETCH (PREVIEW "Hello")\r\n', b"OK FETCH completed")
    assert client.session.selected.flags_of(1) == 0
