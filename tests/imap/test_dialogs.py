"""The dialogs of this folder, against our server (in the clear and over TLS) and against Dovecot."""

import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from ssl import SSLContext

import pytest

from dialog import DialogFault, Mismatch, Peer, matches, normalise, parse_dialog, play, read_dialog
from own_imap import PASSWORD as OWN_PASSWORD
from own_imap import OwnImap, own_imap
from reference_dovecot import PASSWORD as DOVECOT_PASSWORD
from reference_dovecot import reference, why_not

DIALOGS = [pytest.param(path, id=path.stem) for path in sorted((Path(__file__).parent / "dialogs").glob("*.dialog"))]


@dataclass(frozen=True, slots=True)
class Server:
    """Someone to talk to."""

    name: str
    connect: Callable[[], socket.socket]
    password: str
    capabilities: frozenset[str]
    tls: SSLContext | None = None


def ask_capabilities(connect: Callable[[], socket.socket], password: str) -> frozenset[str]:
    """What is offered after login."""
    peer = Peer(connect(), None)
    try:
        peer.response()
        peer.send(b"a LOGIN capabilities %b\r\nb CAPABILITY\r\n" % password.encode())
        text = ""
        while not (line := peer.response()).startswith("b "):
            if line.startswith("* CAPABILITY "):
                text = line
        return frozenset(text.split()[2:])
    finally:
        peer.close()


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnImap]:
    with own_imap(tmp_path_factory.mktemp("own")) as server:
        yield server


@pytest.fixture(scope="module")
def plain(own: OwnImap) -> Server:
    def connect() -> socket.socket:
        return socket.create_connection(("127.0.0.1", own.port), 10)

    return Server("preau", connect, OWN_PASSWORD, ask_capabilities(connect, OWN_PASSWORD), own.client_tls)


@pytest.fixture(scope="module")
def encrypted(own: OwnImap, plain: Server) -> Server:
    def connect() -> socket.socket:
        raw = socket.create_connection(("127.0.0.1", own.tls_port), 10)
        return own.client_tls.wrap_socket(raw, server_hostname="localhost")

    return Server("preau-tls", connect, OWN_PASSWORD, plain.capabilities)


@pytest.fixture(scope="module")
def dovecot() -> Iterator[Server]:
    if reason := why_not():
        pytest.skip(reason)
    with reference() as port:

        def connect() -> socket.socket:
            return socket.create_connection(("127.0.0.1", port), 10)

        yield Server("dovecot", connect, DOVECOT_PASSWORD, ask_capabilities(connect, DOVECOT_PASSWORD))


def run(path: Path, server: Server) -> None:
    dialog = read_dialog(path)
    if reason := dialog.excluded.get(server.name):
        pytest.skip(f"not against {server.name}: {reason}")
    if missing := [need for need in dialog.needs if need not in server.capabilities]:
        pytest.skip(f"{server.name} does not offer {' '.join(missing)}")
    play(dialog, server.connect, user=f"{path.stem}-{server.name}", password=server.password, tls=server.tls)


@pytest.mark.parametrize("path", DIALOGS)
def test_our_server(path: Path, plain: Server) -> None:
    run(path, plain)


@pytest.mark.parametrize("path", DIALOGS)
def test_our_server_over_tls(path: Path, encrypted: Server) -> None:
    run(path, encrypted)


@pytest.mark.conformance
@pytest.mark.parametrize("path", DIALOGS)
def test_dovecot(path: Path, dovecot: Server) -> None:
    run(path, dovecot)


# -- the runner itself


@pytest.mark.parametrize(
    ("pattern", "line", "fits"),
    [
        ("a OK {any}", "a OK done", True),
        ("a OK {any}", "a OK", False),
        ("* {number} EXISTS", "* 12 EXISTS", True),
        ("* {number} EXISTS", "* x EXISTS", False),
        ("* FLAGS (\\Seen \\Answered)", "* FLAGS (\\Answered \\Seen)", True),
        ("* CAPABILITY {words IDLE ID}", "* CAPABILITY ID X IDLE", True),
        ("* CAPABILITY {words IDLE}", "* CAPABILITY IDLEX", False),
        ("* [UID {uid:number}]", "* [UID 5]", True),
        ("* {known}", "* value", True),
        ("* {known}", "* other", False),
    ],
)
def test_matches(pattern: str, line: str, fits: bool) -> None:
    kept = {"known": "value"}
    assert matches(pattern, normalise(line), kept) is fits
    assert kept.get("uid") == ("5" if "uid" in pattern else None)


def test_recent_is_dropped() -> None:
    assert normalise("* 1 FETCH (FLAGS (\\Seen \\Recent))") == "* 1 FETCH (FLAGS (\\Seen))"
    assert normalise('* 1 FETCH (BODY[TEXT] "(a b)")') == '* 1 FETCH (BODY[TEXT] "(a b)")'


@pytest.mark.parametrize("text", ["Q: x", "C?: x", "hello"])
def test_what_is_no_dialog(text: str) -> None:
    with pytest.raises(DialogFault):
        parse_dialog("x", text)


def converse(text: str, server_says: bytes) -> None:
    """Play against a server that says one thing and closes."""
    ours, theirs = socket.socketpair()
    with theirs:
        theirs.sendall(server_says)
        theirs.shutdown(socket.SHUT_WR)
        play(parse_dialog("test", text), lambda: ours, user="u", password="p")


@pytest.mark.parametrize(
    ("text", "server_says"),
    [
        pytest.param("S: * OK {any}\nS: {closed}", b"* OK hi\r\n", id="in order"),
        pytest.param("S?: * NOTHING\nS: * OK {any}", b"* OK hi\r\n", id="optional line that does not come"),
        pytest.param("S: ...\nS: a OK {any}", b"* 1 EXISTS\r\n* X\r\na OK x\r\n", id="whatever, then"),
        pytest.param("S~: * A\nS~: * B\nS: a OK", b"* B\r\n* A\r\na OK\r\n", id="any order"),
        pytest.param("S~: * A\nS~: ...\nS: a OK", b"* B\r\n* A\r\n* C\r\na OK\r\n", id="any order, and others"),
        pytest.param('S: * X "a\\r\\nb" y', b"* X {4}\r\na\r\nb y\r\n", id="literal"),
    ],
)
def test_what_passes(text: str, server_says: bytes) -> None:
    converse(text, server_says)


@pytest.mark.parametrize(
    ("text", "server_says"),
    [
        pytest.param("S: * OK {any}", b"* NO hi\r\n", id="something else"),
        pytest.param("S: * OK {any}", b"", id="nothing"),
        pytest.param("S: * OK {any}\nS: {closed}", b"* OK hi\r\n* MORE\r\n", id="not closed"),
        pytest.param("S: ...\nS: a OK", b"a NO\r\n", id="another tagged line"),
        pytest.param("S~: * A\nS~: * B\nS: a OK", b"* A\r\na OK\r\n", id="one of a group missing"),
        pytest.param("S: * OK {any}\nS?: * X", b"* OK hi\r\n* Y\r\n", id="more at the end"),
        pytest.param("S: * OK hi", b"* OK hi\n", id="LF alone"),
    ],
)
def test_what_does_not_pass(text: str, server_says: bytes) -> None:
    with pytest.raises(Mismatch):
        converse(text, server_says)
