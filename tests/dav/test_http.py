"""The role on real sockets: bounds on what strangers send and hold, pipelining, keep-alive, draining."""

import asyncio
import base64
import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from dav_plugin import PLUGINS
from dav_world import ANA, OneDavPassword
from own_imap import PASSWORD, AnyKeys, make_certificate
from preau.daemon.listener import Listener, bind_tcp
from preau.daemon.tls import ServerTls
from preau.dav.server import DavServer, DavSettings
from preau.storage.memory import MemoryStore

BASIC = "Basic " + base64.b64encode(f"{ANA}:{PASSWORD}".encode()).decode()
HOME = f"/dav/calendars/{ANA}/"


@dataclass
class Own:
    """A running role."""

    port: int
    tls_port: int
    certificate: Path
    loop: asyncio.AbstractEventLoop
    server: DavServer
    authenticator: OneDavPassword

    def connect(self) -> socket.socket:
        """Without TLS."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=20)

    def connect_tls(self) -> ssl.SSLSocket:
        """With TLS."""
        context = ssl.create_default_context(cafile=str(self.certificate))
        plain = socket.create_connection(("127.0.0.1", self.tls_port), timeout=20)
        return context.wrap_socket(plain, server_hostname="localhost")

    def on_loop(self, coroutine: object) -> object:
        """Run there."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(20)  # type: ignore[arg-type]  # any coroutine


@contextmanager
def own_dav(folder: Path, settings: DavSettings) -> Iterator[Own]:
    """A role in a thread of its own."""
    certificate, key = make_certificate(folder)
    authenticator = OneDavPassword()
    server = DavServer(settings, PLUGINS, MemoryStore(), authenticator, AnyKeys(), tls=ServerTls(certificate, key))
    sockets = [bind_tcp("127.0.0.1", 0), bind_tcp("127.0.0.1", 0)]
    ports = [one.getsockname()[1] for one in sockets]
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    own = Own(ports[0], ports[1], certificate, loop, server, authenticator)
    try:
        own.on_loop(server.start([Listener("http", sockets[0]), Listener("https", sockets[1], tls=True)]))
        yield own
    finally:
        own.on_loop(server.drain(2))
        loop.call_soon_threadsafe(loop.stop)
        thread.join(20)
        loop.close()


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Own]:
    """Takes passwords in the clear."""
    with own_dav(tmp_path, DavSettings(plaintext_ok=True, https_port=8443)) as one:
        yield one


def get(path: str = HOME, **headers: str) -> bytes:
    lines = {"Host": "localhost", "Authorization": BASIC, **{name.replace("_", "-"): value for name, value in headers.items()}}
    return (
        f"GET {path} HTTP/1.1\r\n{''.join(f'{name}: {value}{chr(13)}{chr(10)}' for name, value in lines.items())}\r\n".encode()
    )


def answer(client: socket.socket) -> tuple[int, bytes]:
    """One answer with a Content-Length: its status and body."""
    data = b""
    while b"\r\n\r\n" not in data:
        piece = client.recv(65_536)
        if not piece:
            return (int(data.split()[1]) if data else 0), b""
        data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    length = next((int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0)
    while len(body) < length:
        body += client.recv(65_536)
    return int(head.split()[1]), body


def is_closed(client: socket.socket) -> bool:
    """Whether the server hung up."""
    try:
        while client.recv(65_536):
            pass
    except ConnectionResetError:
        pass
    return True


def test_requests_follow_each_other(own: Own) -> None:
    with own.connect() as client:
        for _ in range(3):
            client.sendall(get())
            assert answer(client)[0] == 200
    assert len(own.authenticator.attempts) == 1


def test_over_tls(own: Own) -> None:
    with own.connect_tls() as client:
        client.sendall(get())
        assert answer(client)[0] == 200
        assert own.authenticator.attempts[0].tls


def test_expect_continue(own: Own) -> None:
    with own.connect() as client:
        head = get(f"{HOME}calendar/a.ics", Content_Length="5", Expect="100-continue").replace(b"GET", b"PUT", 1)
        client.sendall(head)
        assert client.recv(100).startswith(b"HTTP/1.1 100")
        client.sendall(b"uid-1")
        assert answer(client)[0] == 201


def test_a_body_that_nobody_wants(own: Own) -> None:
    """It is taken in and thrown away when it is short, so that the next request is understood."""
    with own.connect() as client:
        client.sendall(get(Content_Length="60000").replace(b"GET", b"PUT", 1))
        assert answer(client)[0] == 405
        client.sendall(b"x" * 60_000 + get())
        assert answer(client)[0] == 200
        client.sendall(get(Content_Length="600000").replace(b"GET", b"PUT", 1) + b"x" * 600_000)
        assert answer(client)[0] == 405
        assert is_closed(client)


def test_who_sends_too_much_reads_why_it_is_refused(own: Own) -> None:
    """Clients without Expect send all they have before they read: a connection that is cut would tell them nothing."""
    with own.connect_tls() as client:
        client.sendall(get(Content_Length="40000000").replace(b"GET", b"PUT", 1))
        for _ in range(40):
            client.sendall(b"x" * 1_000_000)
        assert answer(client)[0] == 405
        assert is_closed(client)


def test_who_sends_nothing_of_it_is_not_waited_for(own: Own, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("preau.dav.request._HEAR_OUT_SECONDS", 0.2)
    monkeypatch.setattr("preau.dav.request._HEARD_OUT", 1_000_000)
    with own.connect() as silent, own.connect() as endless:
        for client in (silent, endless):
            client.sendall(get(Content_Length="40000000").replace(b"GET", b"PUT", 1))
            assert answer(client)[0] == 405
        with contextlib.suppress(ConnectionError):
            endless.sendall(b"x" * 30_000_000)
        assert is_closed(silent)
        assert is_closed(endless)


def test_a_refused_expectation_ends_the_connection(own: Own) -> None:
    with own.connect() as client:
        client.sendall(get(Content_Length="5", Expect="100-continue").replace(b"GET", b"PUT", 1))
        assert answer(client)[0] == 405
        assert is_closed(client)


def test_a_chunked_body(own: Own) -> None:
    with own.connect() as client:
        head = get(f"{HOME}calendar/a.ics", Transfer_Encoding="chunked").replace(b"GET", b"PUT", 1)
        client.sendall(head + b"3\r\nuid\r\n2\r\n-1\r\n0\r\n\r\n")
        assert answer(client)[0] == 201
        client.sendall(get(f"{HOME}calendar/a.ics"))
        assert answer(client) == (200, b"uid-1")


@pytest.mark.parametrize(
    ("request_octets", "status"),
    [
        pytest.param(b"GET /" + b"a" * 9_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414, id="an endless request line"),
        pytest.param(b"GET /" + b"a" * 60_000, 414, id="and one without an end"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"a" * 60_000, 431, id="an endless header"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: x\r\n" + b"a: b\r\n" * 120 + b"\r\n", 431, id="too many headers"),
        pytest.param(b"GET / HTTP/1.1\r\n\r\n", 400, id="no Host"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400, id="two Hosts"),
        pytest.param(b"GET /a#b HTTP/1.1\r\nHost: x\r\n\r\n", 400, id="a fragment"),
        pytest.param(b"GET http://x/ HTTP/1.1\r\nHost: x\r\n\r\n", 400, id="a proxy request"),
        pytest.param(b"\x16\x03\x01\x02\x00\x01\x00", 400, id="TLS where there is none"),
        pytest.param(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx", 400, id="two lengths"),
        pytest.param(
            b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            400,
            id="length and chunks",
        ),
        pytest.param(
            b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 400, id="no coding of ours"
        ),
        pytest.param(b"GET / HTTP/1.1\r\nHost : x\r\n\r\n", 400, id="a space before the colon"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: x\r\n a: b\r\n\r\n", 400, id="a folded header"),
    ],
)
def test_heads_that_are_refused(own: Own, request_octets: bytes, status: int) -> None:
    with own.connect() as client:
        client.sendall(request_octets)
        assert answer(client)[0] == status
        assert is_closed(client)
    assert own.authenticator.attempts == []


def test_a_smuggled_request_is_never_answered(own: Own) -> None:
    """The second request stands in the body of the first, whichever of the two lengths one believes."""
    with own.connect() as client:
        inner = get("/dav/")
        client.sendall(
            get(Content_Length=str(len(inner) + 5), Transfer_Encoding="chunked").replace(b"GET", b"POST", 1)
            + b"0\r\n\r\n"
            + inner
        )
        assert answer(client)[0] == 400
        assert is_closed(client)


@pytest.mark.parametrize(
    ("name", "sent"),
    [
        ("first_byte_seconds", b""),
        ("headers_seconds", b"GET / HTTP/1.1\r\nHost: x\r\n"),
        ("body_idle_seconds", get(f"{HOME}calendar/a", Content_Length="100").replace(b"GET", b"PUT", 1) + b"abc"),
        ("keep_alive_seconds", get()),
    ],
)
def test_slow_clients_are_cut_off(tmp_path: Path, name: str, sent: bytes) -> None:
    values = {"first_byte_seconds": 60.0, "headers_seconds": 60.0, "body_idle_seconds": 60.0, "keep_alive_seconds": 60.0}
    values[name] = 1.0
    with own_dav(tmp_path, DavSettings(plaintext_ok=True, **values)) as own, own.connect() as client:  # type: ignore[arg-type]  # floats
        client.sendall(sent)
        assert is_closed(client)


def test_strangers_share_the_places_of_an_address(tmp_path: Path) -> None:
    settings = DavSettings(connections_per_address=2, first_byte_seconds=60)
    with own_dav(tmp_path, settings) as own, own.connect_tls() as known:
        known.sendall(get())
        assert answer(known)[0] == 200
        # Who signed in has given the place back.
        with own.connect_tls() as second, own.connect_tls() as third:
            for client in (second, third):
                client.sendall(get("/dav/"))
                assert answer(client)[0] == 200


@pytest.mark.parametrize("sent", [b"", b"\x16\x03\x01\x02\x00\x01"], ids=["nothing", "half a handshake"])
def test_handshakes_that_do_not_end_are_counted(tmp_path: Path, sent: bytes) -> None:
    with own_dav(tmp_path, DavSettings(connections_per_address=2)) as own:
        strangers = [socket.create_connection(("127.0.0.1", own.tls_port), timeout=20) for _ in range(3)]
        for stranger in strangers:
            with contextlib.suppress(OSError):
                stranger.sendall(sent)
        assert is_closed(strangers[2])
        time.sleep(1.1)  # then they give way to whoever comes
        with own.connect_tls() as client:
            client.sendall(get())
            assert answer(client)[0] == 200
        assert is_closed(strangers[0])
        for stranger in strangers:
            stranger.close()


def test_five_wrong_passwords_end_a_connection(own: Own) -> None:
    with own.connect() as client:
        statuses = []
        for number in range(5):
            wrong = "Basic " + base64.b64encode(f"{ANA}:wrong{number}".encode()).decode()
            client.sendall(get(Authorization=wrong))
            statuses.append(answer(client)[0])
        assert statuses == [401] * 4 + [429]
        assert is_closed(client)


def test_draining_lets_go(tmp_path: Path) -> None:
    with own_dav(tmp_path, DavSettings(plaintext_ok=True)) as own, own.connect() as idle, own.connect() as resting:
        resting.sendall(get())
        assert answer(resting)[0] == 200
        own.on_loop(own.server.drain(20))
        assert is_closed(idle)
        assert is_closed(resting)
        with pytest.raises(ConnectionRefusedError):
            own.connect()


def test_a_plain_port_leads_to_tls(tmp_path: Path) -> None:
    with own_dav(tmp_path, DavSettings(https_port=8443)) as own, own.connect() as client:
        client.sendall(b"GET /dav/ HTTP/1.1\r\nHost: localhost:8080\r\n\r\n")
        data = client.recv(65_536)
        assert data.startswith(b"HTTP/1.1 308")
        assert b"location: https://localhost:8443/dav/\r\n" in data
