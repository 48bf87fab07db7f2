"""Attacks on a whole instance, each named by what it tries: what the daemons let through, keep, or give away."""

import base64
import contextlib
import http.client
import imaplib
import json
import os
import re
import smtplib
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from instance import Instance, descendants, make_instance, serving, wait_for
from people import People, Person, a_letter
from ports import free_base

QUICK = "[queue]\nsteps = [1]\npoll_seconds = 0.5\n[imap]\nworkers = 1\n[dav]\nworkers = 1\n[smtp]\nuncapped_nets = []\n"


@dataclass(frozen=True)
class House:
    """An instance and two of its people."""

    instance: Instance
    ana: Person
    bob: Person

    def dav(self, person: Person, method: str, path: str, body: str = "", **headers: str) -> tuple[int, str]:
        """A request over TLS: status and body."""
        port = self.instance.base + 443
        connection = http.client.HTTPSConnection("localhost", port, timeout=30, context=self.instance.trusting())
        token = base64.b64encode(f"{person.address}:{person.password}".encode()).decode()
        sent = {"Authorization": f"Basic {token}", **{name.replace("_", "-"): value for name, value in headers.items()}}
        try:
            connection.request(method, path, body.encode() or None, sent)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def memory(self, role: str) -> int:
        """Resident KiB of a role's processes."""
        total = 0
        for pid in descendants(int((self.instance.folder / "ready").read_text())):
            with contextlib.suppress(OSError):
                words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
                if role.encode() in words and b"serve" in words:
                    status = Path(f"/proc/{pid}/status").read_text()
                    total += int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS")))
        return total


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """Served, every role."""
    instance = make_instance(tmp_path_factory.mktemp("attacks") / "i", free_base(), settings=QUICK)
    people = People(instance)
    ana, bob = people.add("ana"), people.add("bob")
    with serving(instance):
        yield House(instance, ana, bob)


def event(uid: str, summary: str) -> str:
    return (
        f"BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:x\r\nBEGIN:VEVENT\r\nUID:{uid}\r\nDTSTAMP:20261101T080000Z\r\n"
        f"DTSTART:20261201T080000Z\r\nSUMMARY:{summary}\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"
    )


CANARY = "Chrysanthème-quatorze-Zirconium"


def test_a_stolen_disk_shows_nothing(house: House, tmp_path: Path) -> None:
    """What people write stands nowhere in the clear: mail, index, search, calendars, cards, queue, log, traces, databases."""
    letter = a_letter(house.ana.address, house.bob.address, subject=f"{CANARY} sujet", text=f"{CANARY} corps\n" * 50)
    letter.add_attachment(f"{CANARY} annexe".encode(), maintype="application", subtype="octet-stream", filename="a.bin")
    with house.ana.submitting() as session:
        session.send_message(letter)
        waiting = a_letter(house.ana.address, "x@nulle-part.invalid", subject=f"{CANARY} en attente")
        with contextlib.suppress(smtplib.SMTPException):
            session.send_message(waiting)
    wait_for(lambda: house.bob.letters())
    with house.bob.reading() as client:
        assert client.search(None, "BODY", '"Zirconium"')[1] == [b"1"]  # it is in the index
        client.append("Drafts", "", "", bytes(letter))
    assert house.dav(house.ana, "PUT", f"/dav/calendars/{house.ana.address}/calendar/c.ics", event("c", CANARY))[0] == 201
    card = f"BEGIN:VCARD\r\nVERSION:3.0\r\nUID:c\r\nFN:{CANARY}\r\nN:{CANARY};;;;\r\nEND:VCARD\r\n"
    assert house.dav(house.ana, "PUT", f"/dav/addressbooks/{house.ana.address}/contacts/c.vcf", card)[0] == 201
    needles = [form for text in ("Zirconium", CANARY) for form in (text.encode(), text.encode("utf-16-le"))]
    needles += [base64.b64encode(b"xx" + CANARY.encode() + b"x")[4:-4], *(p.password.encode() for p in (house.ana, house.bob))]
    found = []
    for path in house.instance.folder.rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            found += [(path.name, needle) for needle in needles if needle in data]
    assert found == []


METHODS = (
    "OPTIONS",
    "GET",
    "HEAD",
    "PUT",
    "DELETE",
    "PROPFIND",
    "PROPPATCH",
    "MKCOL",
    "MKCALENDAR",
    "REPORT",
    "COPY",
    "MOVE",
    "ACL",
)


def test_a_stranger_reaches_nothing_by_any_method(house: House) -> None:
    """Every method on every kind of resource of somebody else: as if it were not there, whether it is or not."""
    theirs = f"/dav/calendars/{house.ana.address}/calendar/secret.ics"
    assert house.dav(house.ana, "PUT", theirs, event("secret", "Conseil"))[0] == 201
    mine = f"/dav/calendars/{house.bob.address}/calendar/mine.ics"
    assert house.dav(house.bob, "PUT", mine, event("mine", "x"))[0] == 201
    kinds = ("calendars", "addressbooks", "principals")
    places = [f"/dav/{kind}/{house.ana.address}/" for kind in kinds]
    places += [
        places[0] + "calendar/",
        theirs,
        places[1] + "contacts/",
        places[0] + "nothing/",
        places[0] + "calendar/nothing.ics",
    ]
    for method in METHODS:
        told = {}
        for path in places:
            headers = {"Depth": "1"} if method in ("PROPFIND", "REPORT") else {}
            if method in ("COPY", "MOVE"):
                headers = {"Destination": f"/dav/calendars/{house.bob.address}/calendar/got.ics"}
            body = event("z", "z") if method == "PUT" else ""
            if method == "REPORT":
                body = "<D:sync-token/><D:sync-level>1</D:sync-level><D:prop/>"
                body = f'<D:sync-collection xmlns:D="DAV:">{body}</D:sync-collection>'
            status, text = house.dav(house.bob, method, path, body, **headers)
            told[path] = status
            assert "Conseil" not in text
            assert house.ana.address not in text or method == "OPTIONS", (method, path, text)
        allowed = {404, 403, 405, 409} if method != "OPTIONS" else {200, 404}
        assert set(told.values()) <= allowed, (method, told)
        # What is there cannot be told from what is not.
        assert told[theirs] == told[places[0] + "calendar/nothing.ics"], (method, told)
        assert told[places[0] + "calendar/"] == told[places[0] + "nothing/"], (method, told)
    # Out of one's own calendar into theirs, and their hrefs in one's own reports.
    for method in ("COPY", "MOVE"):
        assert house.dav(house.bob, method, mine, Destination=f"/dav/calendars/{house.ana.address}/calendar/in.ics")[0] in (
            403,
            404,
            409,
        )
    multiget = (
        '<C:calendar-multiget xmlns:D="DAV:" xmlns:C="urn:ietf:params:xml:ns:caldav"><D:prop><C:calendar-data/></D:prop>'
        f"<D:href>{theirs}</D:href></C:calendar-multiget>"
    )
    status, text = house.dav(house.bob, "REPORT", f"/dav/calendars/{house.bob.address}/calendar/", multiget, Depth="1")
    assert (status, "404" in text, "Conseil" in text) == (207, True, False)
    assert house.dav(house.ana, "GET", theirs)[0] == 200


def test_a_symlink_planted_in_the_store_is_not_followed(house: House, tmp_path: Path) -> None:
    """In the Maildir and beside calendar objects: neither read, nor written through, nor deleted through."""
    target = tmp_path / "outside"
    target.write_text("From: x\r\nSubject: from outside\r\n\r\nsecret of the host\r\n")
    accounts = house.instance.folder / "data" / "accounts"
    for person in (house.ana, house.bob):
        with person.reading():
            pass  # the first look makes the mailboxes
    maildirs = [path for path in accounts.rglob("new") if path.is_dir() and path.parent.parent.name != "new"]
    planted = []
    for folder in maildirs:
        for name in ("1700000000.M1P1.planted", "1700000001.M1P1.planted:2,S"):
            place = (folder.parent / ("cur" if ":" in name else "new")) / name
            if place.parent.is_dir():
                place.symlink_to(target)
                planted.append(place)
    assert planted
    for person in (house.ana, house.bob):
        with person.reading() as client:
            client.noop()
            for number in client.search(None, "ALL")[1][0].split():
                data = client.fetch(number.decode(), "(BODY.PEEK[])")[1]
                assert b"secret of the host" not in b"".join(part[1] for part in data if isinstance(part, tuple))
            client.store("1:*", "+FLAGS", "(\\Seen)")
    assert target.read_text().startswith("From: x")
    for place in planted:
        place.unlink(missing_ok=True)
    # A directory of items replaced by a link to elsewhere: nothing is written there.
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    made = f"/dav/calendars/{house.bob.address}/planted/"
    assert house.dav(house.bob, "MKCALENDAR", made)[0] == 201
    before = set(accounts.rglob("*"))
    assert house.dav(house.bob, "PUT", made + "a.ics", event("a", "a"))[0] == 201
    (item,) = [
        path
        for path in set(accounts.rglob("*")) - before
        if path.is_file() and "dav" in path.parts and path.name != "collection.json"  # the background writes elsewhere
    ]
    folder = item.parent
    os.rename(folder, folder.with_name(folder.name + ".away"))
    folder.symlink_to(elsewhere, target_is_directory=True)
    try:
        house.dav(house.bob, "PUT", made + "b.ics", event("b", "b"))
        assert list(elsewhere.iterdir()) == []
    finally:
        folder.unlink()
        os.rename(folder.with_name(folder.name + ".away"), folder)
    assert house.dav(house.bob, "GET", made + "a.ics")[0] == 200


@pytest.mark.parametrize(
    "octets",
    [
        pytest.param(b"a LOGIN {4294967295}\r\n" + b"x" * 200_000, id="a literal of 4 GiB"),
        pytest.param(b"a LOGIN {4294967295+}\r\n" + b"x" * 5_000_000, id="the same, not asked for"),
        pytest.param(b"a SEARCH " + b"(" * 1_000_000, id="a million parentheses"),
        pytest.param(b"a " + b"x" * 20_000_000, id="an endless line"),
        pytest.param(b"a NOOP\r\n" * 10_000, id="10,000 pipelined commands"),
        pytest.param(b"a AUTHENTICATE PLAIN\r\n" + b"!" * 3_000_000 + b"\r\n", id="base64 garbage"),
        pytest.param(b"\0\r\n" * 500_000, id="NUL lines"),
    ],
)
def test_a_stranger_cannot_make_imap_grow(house: House, octets: bytes) -> None:
    """Before sign-in, twenty connections at once; others are served meanwhile."""
    before = house.memory("imap")
    strangers = [socket.create_connection(("127.0.0.1", house.instance.base + 143), 30) for _ in range(20)]
    highest = before

    def flood(stranger: socket.socket) -> None:
        stranger.settimeout(30)
        with contextlib.suppress(OSError):
            stranger.sendall(octets)
            while stranger.recv(65_536):
                pass

    threads = [threading.Thread(target=flood, args=(stranger,)) for stranger in strangers]
    for thread in threads:
        thread.start()
    for _ in range(3):
        with house.ana.reading() as client:
            assert client.noop()[0] == "OK"
        highest = max(highest, house.memory("imap"))
    for stranger in strangers:
        with contextlib.suppress(OSError):
            stranger.shutdown(socket.SHUT_RDWR)
        stranger.close()
    for thread in threads:
        thread.join(30)
    assert highest - before < 20_480, f"{highest - before} KiB"


def a_client_hello() -> bytes:
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    with contextlib.suppress(ssl.SSLWantReadError):
        ssl.create_default_context().wrap_bio(incoming, outgoing, server_hostname="localhost").do_handshake()
    return outgoing.read()


@pytest.mark.parametrize(
    ("ports", "sent"),
    [
        pytest.param((143, 993, 25, 587, 465, 443, 80), b"", id="nothing, on every port"),
        pytest.param((993, 465, 443), a_client_hello()[:100], id="half a ClientHello"),
        pytest.param((993,), a_client_hello(), id="a ClientHello and no more, to IMAP"),
        pytest.param((465,), a_client_hello(), id="a ClientHello and no more, to submission"),
        pytest.param((443,), a_client_hello(), id="a ClientHello and no more, to DAV"),
    ],
)
def test_idle_strangers_leave_room(house: House, ports: tuple[int, ...], sent: bytes) -> None:
    """Two thousand from forty addresses who stand there: whoever signs in is served, and they cost less than 20 MiB."""
    roles = ("imap", "smtp", "dav", "delivery")
    before = sum(map(house.memory, roles))
    standing = []
    try:
        for number in range(2_000):
            stranger = socket.socket()
            stranger.settimeout(5)
            stranger.bind((f"127.0.{1 + number % 40}.{1 + number % 250}", 0))
            with contextlib.suppress(OSError):
                stranger.connect(("127.0.0.1", house.instance.base + ports[number % len(ports)]))
                stranger.sendall(sent)
            standing.append(stranger)
        time.sleep(1.0)  # for as long nobody gives way to others
        with house.ana.reading() as client:
            assert client.noop()[0] == "OK"
        with house.ana.submitting() as session:
            assert session.noop()[0] == 250
        assert house.dav(house.ana, "PROPFIND", f"/dav/calendars/{house.ana.address}/", Depth="0")[0] == 207
        with smtplib.SMTP("127.0.0.1", house.instance.base + 25, timeout=30) as outside:
            assert outside.mail("x@y.example")[0] in (250, 503) or outside.ehlo()[0] == 250
        grown = sum(map(house.memory, roles)) - before
        assert grown < 20_480, f"{grown} KiB"
    finally:
        for stranger in standing:
            stranger.close()


SMTP_FAULTS = re.compile(rb"(220 [^\r]*\r\n)?([45]\d\d [^\r]*\r\n)*")
IMAP_FAULTS = re.compile(rb"\* OK \[[^\r]*\r\n([^ ]+ (BAD|BYE) [^\r]*\r\n)*")
HTTP_FAULTS = re.compile(rb"(HTTP/1\.1 400 Bad Request\r\n.*)?", re.DOTALL)
TLS_FAULTS = re.compile(rb"(\x15\x03.*)?", re.DOTALL)  # an alert
FAULTS = {25: SMTP_FAULTS, 587: SMTP_FAULTS, 24: SMTP_FAULTS, 143: IMAP_FAULTS, 80: HTTP_FAULTS}
FAULTS |= dict.fromkeys((465, 993, 443), TLS_FAULTS)


@pytest.mark.parametrize(
    "octets",
    [
        pytest.param(b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n", id="PROXY"),
        pytest.param(b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c" + bytes(12) + b"\r\n", id="PROXY, version 2"),
        pytest.param(b"POST /x HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", id="HTTP with two hosts"),
        pytest.param(b"\x80\x2e\x01\x00\x02\r\n", id="SSL 2"),
        pytest.param(bytes(5_000) + b"\r\n", id="NUL"),
        pytest.param(b"\xff" * 5_000 + b"\r\n", id="octets that are no text"),
        pytest.param(b"\n\r\r\n\n\r" * 50, id="line ends of every kind"),
    ],
)
def test_another_protocol_is_refused_on_every_port(house: House, octets: bytes) -> None:
    """A clear refusal in the words of the port, or on TLS ports an alert or nothing; the connection ends, the log is quiet."""
    for port, faults in FAULTS.items():
        with socket.create_connection(("127.0.0.1", house.instance.base + port), 20) as stranger:
            said = stranger.recv(2_000) if faults in (SMTP_FAULTS, IMAP_FAULTS) else b""
            with contextlib.suppress(OSError):
                stranger.sendall(octets)
                stranger.shutdown(socket.SHUT_WR)
                while piece := stranger.recv(65_536):
                    said += piece
        assert faults.fullmatch(said), (port, said)
    log = (house.instance.folder / "serve.log").read_text()
    assert "Traceback" not in log
    assert "incident" not in log


def test_a_revoked_password_ends_everything_it_opened(house: House) -> None:
    """Ten that idle, a calendar, a message half sent: all over; another password of the same person lives on."""
    made = house.instance.preau("app-password", "add", house.bob.address, "--label", "volé", "--json")
    stolen = json.loads(made.output)
    thief = Person(house.instance, house.bob.address, stolen["password"])
    context = house.instance.trusting()
    sessions = []
    for _ in range(10):
        client = imaplib.IMAP4_SSL("localhost", house.instance.imaps, ssl_context=context, timeout=30)
        client.login(thief.address, thief.password)
        client.select("INBOX")
        client.send(b"x1 IDLE\r\n")
        assert client.readline().startswith(b"+")
        sessions.append(client)
    assert house.dav(thief, "PROPFIND", f"/dav/calendars/{thief.address}/", Depth="0")[0] == 207
    submitting = smtplib.SMTP_SSL("localhost", house.instance.submissions, timeout=30, context=context)
    submitting.login(thief.address, thief.password)
    submitting.mail(thief.address)
    submitting.rcpt(house.ana.address)
    assert submitting.docmd("DATA")[0] == 354
    submitting.send(b"Subject: half")
    with house.bob.reading() as mine:
        assert house.instance.preau("app-password", "revoke", house.bob.address, stolen["id"]).code == 0
        for client in sessions:
            told = b""
            with contextlib.suppress(OSError):
                while line := client.readline():
                    told += line
            assert b"BYE" in told
            client.shutdown()
        assert house.dav(thief, "PROPFIND", f"/dav/calendars/{thief.address}/", Depth="0")[0] == 401
        code = 0
        with contextlib.suppress(smtplib.SMTPException, OSError):
            submitting.send(b"\r\n\r\nx\r\n.\r\n")
            code, _ = submitting.getreply()
        assert code != 250
        submitting.close()
        assert mine.noop()[0] == "OK"
    assert house.ana.letters("half") == []
