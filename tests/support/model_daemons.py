"""Random sessions over sockets: clients of `preau serve` with their mirrors, several commands under way at once.

The truth is what a session reads that knows nothing; between checkpoints the mirrors hold the server to its rules.
"""

import base64
import http.client
import random
import re
import smtplib
import socket
import ssl
from xml.etree import ElementTree

from model_client import FLAGS, random_expunge, random_fetch, random_search, random_store, random_transfer
from model_mirror import Cache, Kind, Mirror, Said
from people import Person
from preau.storage.api import Flags

BOXES = ("INBOX", "Archive")
SETTINGS = "[imap]\nworkers = 2\n[dav]\nworkers = 1\n"
_LITERAL = re.compile(rb"\{(\d+)\}\r\n\Z")


class Wire:
    """A connection of a client, and its mirror."""

    def __init__(self, person: Person, rng: random.Random) -> None:
        """Connect, sign in, enable."""
        self.person = person
        self.rng = rng
        self.kind = rng.choice(list(Kind))
        self.early = rng.random() < 0.5
        self.kept: dict[str, Cache] = {}
        self.box = ""
        self.idling = False
        self.busy = False
        self.mirror = Mirror(self.kind)
        self.connect()

    def connect(self) -> None:
        """Anew; what it knew is kept."""
        instance = self.person.instance
        plain = socket.create_connection(("127.0.0.1", instance.imaps), timeout=60)
        self._socket: ssl.SSLSocket = instance.trusting().wrap_socket(plain, server_hostname="localhost")
        self._file = self._socket.makefile("rb")
        assert self._file.readline().startswith(b"* OK")
        heard, self.mirror = self.mirror.heard[-60:], Mirror(self.kind)
        self.mirror.heard = heard
        self.box, self.idling, self.busy = "", False, False
        login = f'LOGIN "{self.person.address}" "{self.person.password}"'.encode()
        self._socket.sendall(b"t " + login + b"\r\n")
        while not (line := self._file.readline()).startswith(b"t "):
            assert line, "closed while signing in"
        assert line.startswith(b"t OK"), line
        if self.kind is Kind.QRESYNC:
            self.say(b"ENABLE QRESYNC")

    def begin(self, said: Said) -> None:
        """Say a command; `end` reads what comes."""
        self.mirror.begin(said)
        self.mirror.heard.append(b"  " + said.line[:100] + b"\r\n")
        self._socket.sendall(b"t " + said.line + b"\r\n")
        self.busy = True
        if said.line == b"IDLE":
            self.idling = True

    def end(self) -> None:
        """Read up to the tagged answer."""
        if not self.busy:
            return
        if self.idling:
            self._socket.sendall(b"DONE\r\n")
            self.idling = False
        while True:
            response = self._file.readline()
            assert response.endswith(b"\r\n"), f"closed in {self.mirror.said.line!r}"
            while literal := _LITERAL.search(response):
                response += self._file.read(int(literal[1])) + self._file.readline()
            if response.startswith(b"t "):
                self.busy = False
                self.mirror.finish(response[2:-2])
                return
            self.mirror.feed(response)

    def say(self, line: bytes, **more: bool) -> Said:
        """A whole command."""
        said = Said(line, **more)  # type: ignore[arg-type]  # its fields
        self.begin(said)
        self.end()
        return said

    def select(self, name: str) -> None:
        """Select, with what it kept if it can."""
        self.keep()
        cache = self.kept.get(name) if self.kind is Kind.QRESYNC else None
        line = b"SELECT " + name.encode()
        if cache is not None and cache.highest:
            line += b" (QRESYNC (%d %d))" % (cache.uidvalidity, cache.highest)
        else:
            cache = None
            line += b" (CONDSTORE)" if self.kind is Kind.CONDSTORE else b""
        heard, self.mirror = self.mirror.heard[-60:], Mirror(self.kind, early=self.early, cache=cache)
        self.mirror.heard = heard
        self.mirror.selected = True
        self.box = name
        self.begin(Said(line))

    def keep(self) -> None:
        """Keep what it knows of the selected mailbox."""
        if self.box and not self.busy and self.kind is Kind.QRESYNC:
            self.kept[self.box] = self.mirror.cache()

    def drop(self) -> None:
        """Lose the connection."""
        if self.busy:
            self.mirror.forget_guesses()
            self.busy = False
        self.keep()
        self._file.close()
        self._socket.close()

    def command(self, number: int) -> None:
        """Begin a random one."""
        rng, mirror = self.rng, self.mirror
        if not self.box:
            self.select(rng.choices(BOXES, [4, 1])[0])
            return
        chance, there = rng.random(), bool(mirror.entries)
        if chance < 0.08:
            self.begin(Said(b"IDLE"))
        elif chance < 0.16 or not there:
            self.begin(Said(b"NOOP"))
        elif chance < 0.42:
            self.begin(random_store(rng, mirror))
        elif chance < 0.60:
            self.begin(random_fetch(rng, mirror))
        elif chance < 0.68:
            self.begin(random_search(rng))
        elif chance < 0.76:
            self.begin(random_expunge(rng, mirror))
        elif chance < 0.84:
            self.begin(random_transfer(rng, mirror, BOXES[1 - BOXES.index(self.box)]))
        elif chance < 0.94:
            letter = b"Subject: letter a%d\r\nX-Id: a%d\r\n\r\nBonjour\r\n" % (number, number)
            flags = " ".join(rng.sample(FLAGS, rng.choice([0, 1]))).encode()
            self.begin(Said(b"APPEND %b (%b) {%d+}\r\n%b" % (rng.choice(BOXES).encode(), flags, len(letter), letter)))
        elif chance < 0.97:
            self.drop()
            self.connect()
        else:
            self.select(rng.choice(BOXES))

    def truth(self) -> dict[int, tuple[Flags, int]]:
        """All of the mailbox, when this is a session that knew nothing."""
        if self.mirror.entries:
            self.say(b"FETCH 1:* (UID FLAGS MODSEQ)", may_expunge=False)
        known = {}
        for entry in self.mirror.entries:
            assert entry.uid is not None
            assert entry.flags is not None
            assert entry.modseq is not None
            known[entry.uid] = entry.flags, entry.modseq
        return known


class SyncOverHttp:
    """A calendar client: PUT, DELETE, and sync-collection held to what it knows was put."""

    def __init__(self, person: Person) -> None:
        """Nothing is known."""
        self._person = person
        self._token = ""
        self._items: set[str] = set()
        self.put_there: set[str] = set()
        mark = base64.b64encode(f"{person.address}:{person.password}".encode()).decode()
        self._headers = {"Authorization": f"Basic {mark}", "Content-Type": "text/calendar; charset=utf-8"}
        self._home = f"/dav/calendars/{person.address}/calendar/"

    def _ask(self, method: str, path: str, body: str, **headers: str) -> tuple[int, str]:
        instance = self._person.instance
        connection = http.client.HTTPSConnection("localhost", instance.base + 443, timeout=60, context=instance.trusting())
        try:
            connection.request(method, path, body.encode(), {**self._headers, **headers})
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def begin(self) -> None:
        """Learn what is there."""
        self.put_there = self._items
        self.synchronise()
        self.put_there = set(self._items)

    def change(self, rng: random.Random) -> None:
        """PUT or DELETE one."""
        name = f"e{rng.randrange(12)}.ics"
        if name in self.put_there and rng.random() < 0.4:
            status, _ = self._ask("DELETE", self._home + name, "")
            assert status in (200, 204), status
            self.put_there.discard(name)
            return
        event = (
            "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//model//\r\nBEGIN:VEVENT\r\n"
            f"UID:{name}\r\nDTSTAMP:20261125T120000Z\r\nDTSTART:202611{rng.randint(10, 28)}T120000Z\r\nSUMMARY:x\r\n"
            "END:VEVENT\r\nEND:VCALENDAR\r\n"
        )
        status, text = self._ask("PUT", self._home + name, event)
        assert status in (201, 204), (status, text)
        self.put_there.add(name)

    def synchronise(self) -> None:
        """What differs since the token, applied: then all must be known."""
        body = (
            '<sync-collection xmlns="DAV:"><sync-token>'
            f"{self._token}</sync-token><sync-level>1</sync-level><prop><getetag/></prop></sync-collection>"
        )
        status, text = self._ask("REPORT", self._home, body, **{"Content-Type": "application/xml"})
        assert status == 207, (status, text)
        tree = ElementTree.fromstring(text)  # our own server's
        for response in tree.iter("{DAV:}response"):
            name = (response.findtext("{DAV:}href") or "").rpartition("/")[2]
            gone = "404" in (response.findtext("{DAV:}status") or "")
            (self._items.discard if gone else self._items.add)(name)
        self._token = tree.findtext("{DAV:}sync-token") or ""
        assert self._items == self.put_there


def deliver(person: Person, *names: str) -> None:
    """Messages by LMTP."""
    with smtplib.LMTP("127.0.0.1", person.instance.lmtp, timeout=60) as client:
        for name in names:
            letter = f"From: a@b.example\r\nSubject: letter {name}\r\nX-Id: {name}\r\n\r\nBonjour\r\n"
            client.sendmail("a@b.example", [person.address], letter)


def run_daemons(person: Person, seed: int, *, clients: int = 12, rounds: int = 40, checkpoints: int = 2) -> int:
    """Commands said, without a fault."""
    rng = random.Random(seed)
    wires = [Wire(person, rng) for _ in range(clients)]
    calendar = SyncOverHttp(person)
    calendar.begin()
    said = letters = 0
    deliver(person, *(f"s{seed}d{number}" for number in range(5)))
    for _ in range(checkpoints):
        for _ in range(rounds):
            some = rng.sample(wires, rng.randint(2, 6))
            for wire in some:
                wire.end()
            for wire in some:
                said += 1
                wire.command(said)
            if rng.random() < 0.3:
                letters += 1
                deliver(person, f"s{seed}l{letters}")
            if rng.random() < 0.2:
                calendar.change(rng)
            if rng.random() < 0.2:
                calendar.synchronise()
            for wire in some:
                if not wire.idling:
                    wire.end()
        compare(person, rng, wires)
        calendar.synchronise()
    for wire in wires:
        wire.drop()
    return said


def compare(person: Person, rng: random.Random, wires: list[Wire]) -> None:
    """All clients hear what is new, and must know the truth."""
    for wire in wires:
        wire.end()
    truths = {}
    for name in BOXES:
        fresh = Wire(person, rng)
        fresh.kind = Kind.CONDSTORE
        fresh.mirror.kind = Kind.CONDSTORE
        fresh.drop()
        fresh.connect()
        fresh.select(name)
        fresh.end()
        truths[name] = fresh.truth()
        fresh.drop()
    for wire in wires:
        if not wire.box:
            continue
        wire.say(b"NOOP")
        faults = list(wire.mirror.differences(truths[wire.box], whole=False))
        heard = b"".join(wire.mirror.heard[-40:]).decode("utf-8", "replace")
        assert not faults, f"{wire.kind.value}, early={wire.early}: {faults}\n{heard}"
        if wire.mirror.entries:
            wire.say(
                b"FETCH 1:* (UID FLAGS)" if wire.kind is Kind.PLAIN else b"FETCH 1:* (UID FLAGS MODSEQ)", may_expunge=False
            )
        faults = list(wire.mirror.differences(truths[wire.box], whole=True))
        assert not faults, f"{wire.kind.value}: {faults}"
