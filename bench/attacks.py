"""What hostile clients do, each a function that attacks once and says how it was answered; for bench/attacks_run.py.

Strangers know ports alone; insiders have an account of their own. All of it is octets on sockets: nothing here is ours.
"""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
import zlib
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from .wire import ImapClient, LmtpClient, Refused

ADDRESSES = b"To: " + b",\r\n ".join([b"a@b.example"] * 1_000_000) + b"\r\nSubject: a\r\n\r\nx\r\n"
PARTS = (
    b"Subject: p\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"
    + b"--b\r\nContent-Type: text/plain\r\n\r\nx\r\n" * 10_000
    + b"--b--\r\n"
)
NESTED = b"Content-Type: message/rfc822\r\n\r\n" * 3_000 + b"\r\nx\r\n"
PARAMETERS = b"Content-Type: text/plain" + b"".join(b";\r\n n*%d=a" % n for n in range(100_000)) + b"\r\n\r\nx\r\n"
WORDS = b"Subject: " + b"=?utf-8?q?=C3=A9?=\r\n " * 200_000 + b"\r\n\r\nx\r\n"
HEADER = b"".join(b"X-%d: %s\r\n" % (n, b"y" * 900) for n in range(50_000)) + b"\r\nx\r\n"
HTML = b"Content-Type: text/html\r\n\r\n" + b"<a b=" * 1_000_000 + b"\r\n"


@dataclass(frozen=True, slots=True)
class Target:
    """Where the server listens, and the account of the insider."""

    imap: int
    imaps: int
    smtp: int
    https: int
    lmtp: int
    user: str
    password: str


TRUST = ssl.create_default_context()  # certificates are not what is measured
TRUST.check_hostname = False
TRUST.verify_mode = ssl.CERT_NONE

Attack = Callable[[Target], str]


def _last(peer: socket.socket) -> str:
    """The end of what the server says until it closes."""
    said = b""
    try:
        while piece := peer.recv(65_536):
            said = (said + piece)[-300:]
    except TimeoutError:
        return "none: it waits"
    except OSError:
        pass
    lines = said.decode("latin-1").rstrip().splitlines()
    return lines[-1][:60] if lines else "closed"


def _stranger(octets: bytes, target: Target, *, port: str = "imap") -> str:
    """Send to a port, then hear how it ends."""
    with socket.create_connection(("127.0.0.1", getattr(target, port)), 10) as peer:
        peer.recv(1_000)
        with contextlib.suppress(OSError):
            peer.sendall(octets)
            peer.shutdown(socket.SHUT_WR)
        return _last(peer)


def _letter(message: bytes, target: Target) -> str:
    """A message for the insider from outside."""
    client = LmtpClient(target.lmtp)
    try:
        client.deliver("x@strangers.example", [target.user], message)
    except Refused as refused:
        return str(refused).strip()[:60]
    finally:
        client.socket.close()
    return "250"


def _commands(*lines: bytes) -> Attack:
    """Commands of somebody signed in, each after the other's answer."""

    def attack(target: Target) -> str:
        client = ImapClient(target.imaps, tls=TRUST)
        client.login(target.user, target.password)
        client.command(b"SELECT INBOX")
        answer = "OK"
        for line in lines:
            try:
                client.command(line)
            except Refused as refused:
                answer = str(refused).strip()[:60]
                break
        client.close()
        return answer

    return attack


def _deflate(target: Target) -> str:
    client = ImapClient(target.imaps, tls=TRUST)
    client.login(target.user, target.password)
    client.command(b"COMPRESS DEFLATE")
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    with contextlib.suppress(OSError):
        client.socket.sendall(packer.compress(bytes(300_000_000)) + packer.flush(zlib.Z_SYNC_FLUSH))
    with contextlib.suppress(OSError):
        client.socket.settimeout(5)
        client.socket.recv(1_000)
    client.close()
    return "BYE"


def _unread(target: Target) -> str:
    clients = []
    for _ in range(10):
        client = ImapClient(target.imaps, tls=TRUST)
        client.login(target.user, target.password)
        client.command(b"SELECT INBOX")
        client.socket.sendall(b"u FETCH 1:* BODY.PEEK[]\r\n" * 50)
        clients.append(client)
    for client in clients:
        client.close()
    return "held up"


def _dav(method: str, path: str, body: bytes, target: Target, **headers: str) -> str:
    login = b64encode(f"{target.user}:{target.password}".encode()).decode()
    client = http.client.HTTPSConnection("127.0.0.1", target.https, timeout=30, context=TRUST)
    try:
        client.request(method, path.format(user=target.user), body, {"Authorization": f"Basic {login}", **headers})
        return str(client.getresponse().status)
    except OSError as error:
        return type(error).__name__
    finally:
        client.close()


def _put(body: bytes) -> Attack:
    return partial(_dav, "PUT", "/dav/calendars/{user}/calendar/attack.ics", body)


def _report(body: bytes) -> Attack:
    return partial(_dav, "REPORT", "/dav/calendars/{user}/calendar/", body)


def _event(*lines: str) -> bytes:
    head = (
        "BEGIN:VCALENDAR\nVERSION:2.0\nPRODID:x\nBEGIN:VEVENT\nUID:attack\nDTSTAMP:20260101T000000Z\nDTSTART:20260101T000000Z"
    )
    return "\r\n".join([*head.split("\n"), *lines, "END:VEVENT", "END:VCALENDAR", ""]).encode()


def _expanded(target: Target) -> str:
    _put(_event("RRULE:FREQ=SECONDLY"))(target)
    days = '<C:time-range start="20260601T000000Z" end="30260701T000000Z"/>'
    names = 'xmlns:C="urn:ietf:params:xml:ns:caldav" xmlns:D="DAV:"'
    inside = f'<C:comp-filter name="VCALENDAR"><C:comp-filter name="VEVENT">{days}</C:comp-filter></C:comp-filter>'
    data = days.replace("C:time-range", "C:expand")
    asked = f"<D:prop><C:calendar-data>{data}</C:calendar-data></D:prop><C:filter>{inside}</C:filter>"
    return _report(f"<C:calendar-query {names}>{asked}</C:calendar-query>".encode())(target)


def _half_handshakes(target: Target) -> str:
    peers = [
        socket.create_connection(("127.0.0.1", target.imaps), 10, source_address=(f"127.0.{net}.1", 0))
        for net in range(1, 41)
        for _ in range(25)
    ]
    for peer in peers:
        with contextlib.suppress(OSError):
            peer.sendall(b"\x16\x03\x01\x02\x00\x01")
    for peer in peers:
        peer.close()
    return "none: it waits"


def _wrong_passwords(target: Target) -> str:
    answer = ""
    for number in range(10):
        answer = _stranger(b"a LOGIN %b wrong-%d\r\nb LOGOUT\r\n" % (target.user.encode(), number), target)
    return answer


STRANGERS: dict[str, Attack] = {
    "a literal of 4 GiB": partial(_stranger, b"a LOGIN {4294967295+}\r\n" + b"x" * 5_000_000),
    "a million parentheses": partial(_stranger, b"a SEARCH " + b"(" * 1_000_000),
    "a line without an end": partial(_stranger, b"a " + b"x" * 20_000_000),
    "10,000 commands at once": partial(_stranger, b"a NOOP\r\n" * 10_000),
    "garbage instead of base64": partial(_stranger, b"a AUTHENTICATE PLAIN\r\n" + b"!" * 3_000_000 + b"\r\n"),
    "1,000 half handshakes of 40 networks": _half_handshakes,
    "wrong passwords": _wrong_passwords,
    "SMTP: a line without an end": partial(_stranger, b"x" * 20_000_000, port="smtp"),
    "SMTP: 100,000 BDAT of nothing": partial(
        _stranger,
        b"EHLO x.example\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<bench@college-demo.example>\r\n" + b"BDAT 0\r\n" * 100_000,
        port="smtp",
    ),
    "a message of 10,000 parts": partial(_letter, PARTS),
    "a message in a message, 3,000 times": partial(_letter, NESTED),
    "a million addresses": partial(_letter, ADDRESSES),
    "100,000 pieces of a parameter": partial(_letter, PARAMETERS),
    "200,000 encoded words": partial(_letter, WORDS),
    "a header of 45 MB": partial(_letter, HEADER),
    "HTML that never ends a tag": partial(_letter, HTML),
}
"""What anybody can do who reaches the ports, or sends a message."""

INSIDERS: dict[str, Attack] = {
    "structure and text of the above": _commands(
        b"FETCH 1:* (ENVELOPE BODYSTRUCTURE PREVIEW)", b"SEARCH TEXT zz", b"SORT (TO) UTF-8 ALL"
    ),
    "a compression bomb": _deflate,
    "ten that do not read": _unread,
    "a search of 1,000 equal letters": _commands(b"SEARCH BODY {1000+}\r\n" + b"a" * 1_000),
    "keys in keys, 5,000 deep": _commands(b"SEARCH " + b"NOT " * 5_000 + b"ALL"),
    "LIST with 800 wildcards": _commands(b'LIST "" "' + b"*%" * 400 + b'x"'),
    "DAV: 100 MB": _put(b"x" * 100_000_000),
    "DAV: every second for 1,000 years": _expanded,
    "DAV: 60,000 exceptions": _put(
        _event("RRULE:FREQ=DAILY", *(f"EXDATE:20{n % 90 + 10}0101T{n % 24:02}0000Z" for n in range(60_000)))
    ),
    "DAV: XML, a million deep": _report(b"<a>" * 1_000_000),
    "DAV: XML, 300,000 attributes": _report(b"<a " + b" ".join(b'a%d="x"' % n for n in range(300_000)) + b"/>"),
    "DAV: entities in entities": _report(b'<!DOCTYPE a [<!ENTITY a "xx"><!ENTITY b "&a;&a;&a;">]><a>&b;</a>'),
    "DAV: 100,000 hrefs": _report(
        b'<C:calendar-multiget xmlns:C="urn:ietf:params:xml:ns:caldav" xmlns:D="DAV:"><D:prop><D:getetag/></D:prop>'
        + b"<D:href>/x</D:href>" * 100_000
        + b"</C:calendar-multiget>"
    ),
}
"""What somebody with an account can do."""
