"""Items for which a message is read: which they are, and how often its tree of parts is looked for."""

import pytest

from imap_steps import Client, run_steps
from preau.formats.mime import Scanner
from preau.imap import fetch_octets
from preau.imap.fetch_items import parse_fetch_items
from preau.imap.fetch_octets import reads_message
from preau.imap.grammar import Bounds, Cursor

MESSAGE = b'Content-Type: multipart/mixed; boundary="b"\r\n\r\n--b\r\n\r\none\r\n--b\r\n\r\ntwo\r\n--b--\r\n'


@pytest.mark.parametrize(
    ("text", "reads"),
    [
        (b"ENVELOPE", False),
        (b"BODYSTRUCTURE", False),
        (b"BODY[HEADER.FIELDS (X)]", False),
        (b"BODY", True),
        (b"BODY[]", True),
        (b"BODY[HEADER]", True),
        (b"BODY[1.HEADER.FIELDS (X)]", True),
        (b"RFC822.TEXT", True),
        (b"BINARY[1]", True),
        (b"BINARY.SIZE[1]", True),
        (b"PREVIEW", True),
    ],
)
def test_reads_message(text: bytes, reads: bool) -> None:
    (item,) = parse_fetch_items(Cursor(text, 0, Bounds()))
    assert reads_message(item) is reads


def test_the_tree_of_parts_is_found_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients ask for one part after the other."""
    made = 0

    class Counted(Scanner):
        def __init__(self) -> None:
            nonlocal made
            made += 1
            super().__init__()

    monkeypatch.setattr(fetch_octets, "Scanner", Counted)
    client = Client()
    client.add(MESSAGE, MESSAGE)
    client.say(b"SELECT INBOX")
    for part, text in ((b"1", b"one"), (b"2", b"two"), (b"1", b"one")):
        sent, _ = run_steps(client.begin(b"FETCH 1 BODY.PEEK[%b]" % part))
        assert sent == b"* 1 FETCH (BODY[%b] {3}\r\n%b)\r\n" % (part, text)
    assert made == 1
    run_steps(client.begin(b"FETCH 2 (BODY BINARY.SIZE[1] BODY.PEEK[2])"))
    assert made == 2


def test_a_uid_alone_beside_octets() -> None:
    client = Client()
    client.add(MESSAGE, b"A: b\r\n\r\n")
    client.say(b"SELECT INBOX")
    sent, _ = run_steps(client.begin(b"UID FETCH 1:2 BODY.PEEK[]<0.4>"))
    assert sent == b"* 1 FETCH (UID 1 BODY[]<0> {4}\r\nCont)\r\n* 2 FETCH (UID 2 BODY[]<0> {4}\r\nA: b)\r\n"
    sent, _ = run_steps(client.begin(b"FETCH 2 BODY.PEEK[]<0.4>"))
    assert sent == b"* 2 FETCH (BODY[]<0> {4}\r\nA: b)\r\n"
