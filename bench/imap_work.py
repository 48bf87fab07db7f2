"""What `scripts/bench` has both servers do by IMAP and LMTP: operations, each told by the work it did, and their goals.

Owns the operations alone. Who is measured, in which order and how often is bench/run.py's.
"""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from .corpus import message
from .ours import DOMAIN
from .wire import ImapClient, LmtpClient

USER = "bench"
CLIENTS = [f"client{number}" for number in range(8)]
THUNDERBIRD = (
    b"BODY.PEEK[HEADER.FIELDS (From To Cc Bcc Subject Date Message-ID Priority X-Priority References Newsgroups"
    b" In-Reply-To Content-Type Reply-To Received)]"
)


class Peer(Protocol):
    """A server under measure."""

    name: str
    imap: int
    imaps: int
    lmtp: int

    @property
    def pid(self) -> int: ...

    def login(self, user: str) -> tuple[str, str]: ...

    def forget_indexes(self) -> None:
        """Take away what only makes selecting quicker: snapshots, index files."""
        ...


@dataclass
class Bench:
    """A server with an open, selected connection."""

    peer: Peer
    messages: int
    client: ImapClient
    turn: int = 0
    over_tls: ImapClient | None = None

    def connect(self, user: str = USER, mailbox: str = "INBOX", *, tls: ssl.SSLContext | None = None) -> ImapClient:
        """A new connection, logged in and, unless `mailbox` is empty, selected."""
        client = ImapClient(self.peer.imaps if tls else self.peer.imap, tls=tls)
        client.login(*self.peer.login(user))
        if mailbox:
            client.command(f'SELECT "{mailbox}"'.encode())
        return client


Action = Callable[[Bench], int]


@dataclass(frozen=True)
class Operation:
    """Something both servers do. `prepare` and `after` stand outside of what is measured."""

    action: Action
    goal: float | None = None  # ours, as a share of the peer's time
    most_ms: float | None = None  # ours, by itself
    prepare: Callable[[Bench], None] | None = None
    after: Callable[[Bench], None] | None = None
    reads: bool = True  # leaves the messages as they are: is measured on large mailboxes, too


def _select(bench: Bench) -> int:
    for _ in range(20):
        bench.connect().close()
    return 20


def _fetch(items: bytes, which: bytes = b"1:*") -> Action:
    def action(bench: Bench) -> int:
        return len(bench.client.command(b"FETCH " + which + b" (" + items + b")"))

    return action


def _bodies(bench: Bench) -> int:
    step = max(1, bench.messages // 1000)
    numbers = b",".join(b"%d" % n for n in range(1, bench.messages + 1, step))
    client = bench.over_tls or bench.client
    return len(client.command(b"FETCH " + numbers + b" (BODY.PEEK[])"))


def _begin_tls(bench: Bench) -> None:
    trust = ssl.create_default_context()
    trust.check_hostname = False
    trust.verify_mode = ssl.CERT_NONE  # certificates are not what is measured
    bench.over_tls = bench.connect(tls=trust)


def _end_tls(bench: Bench) -> None:
    assert bench.over_tls is not None
    bench.over_tls.close()
    bench.over_tls = None


def _nobody_in(bench: Bench) -> None:
    """The mailbox is closed, the account too, and what is written at that moment has been; a new connection is signed in."""
    bench.client.close()
    time.sleep(1.0)
    bench.client = bench.connect(mailbox="")


def _without_indexes(bench: Bench) -> None:
    bench.client.close()
    time.sleep(1.0)
    bench.peer.forget_indexes()
    bench.client = bench.connect(mailbox="")


def _select_first(bench: Bench) -> int:
    bench.client.command(b"SELECT INBOX")
    return bench.messages


def _single_bodies(bench: Bench) -> int:
    step = max(1, bench.messages // 300)
    return sum(
        len(bench.client.command(b"UID FETCH %d (UID BODY.PEEK[])" % n)) - len(b"%d" % n)
        for n in range(1, bench.messages + 1, step)
    )


def _store_all(bench: Bench) -> int:
    bench.turn += 1
    bench.client.command(b"STORE 1:* %sFLAGS.SILENT (\\Flagged)" % (b"+" if bench.turn % 2 else b"-"))
    return bench.messages


def _store_one(bench: Bench) -> int:
    bench.turn += 1
    sign = b"+" if bench.turn % 2 else b"-"
    count = min(bench.messages, 200)
    for number in range(1, count + 1):
        bench.client.command(b"UID STORE %d %sFLAGS (\\Answered)" % (number, sign))
    return count


def _noop(bench: Bench) -> int:
    for _ in range(500):
        bench.client.command(b"NOOP")
    return 500


def _append(bench: Bench) -> int:
    for number in range(100):
        bench.client.append("Sent", message(number))
    return 100


def _append_many(bench: Bench) -> int:
    def work(user: str) -> None:
        client = ImapClient(bench.peer.imap)
        client.login(*bench.peer.login(user))
        for number in range(40):
            client.append("Sent", message(number))
        client.close()

    return run_threads([partial(work, user) for user in CLIENTS]) * 40


def run_threads(actions: list[Callable[[], None]]) -> int:
    """Run all at once; their number, or the first failure."""
    failures: list[BaseException] = []

    def guard(action: Callable[[], None]) -> None:
        try:
            action()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=guard, args=(action,)) for action in actions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    return len(actions)


def _search(key: bytes) -> Action:
    def action(bench: Bench) -> int:
        answer = bench.client.command(b"UID SEARCH CHARSET UTF-8 " + key)
        line = next(line for line in answer.split(b"\r\n") if line.startswith(b"* SEARCH"))
        return len(line.split()) - 2

    return action


def _sorted(command: bytes) -> Action:
    def action(bench: Bench) -> int:
        return len(bench.client.command(b"UID " + command).translate(None, b" ()\r\n"))

    return action


def _copy_move_expunge(verb: bytes) -> Action:
    def action(bench: Bench) -> int:
        count = min(1000, bench.messages // 2)
        client = bench.connect()
        if verb == b"COPY":
            client.command(b"COPY 1:%d Archive" % count)
        elif verb == b"MOVE":
            client.command(b"SELECT Archive")
            client.command(b"MOVE 1:%d Trash" % count)
        else:
            client.command(b"SELECT Trash")
            client.command(b"STORE 1:%d +FLAGS.SILENT (\\Deleted)" % count)
            client.command(b"EXPUNGE")
        client.close()
        return count

    return action


def _lmtp(connections: int, octets: int) -> Action:
    body = sized(octets)
    each = max(1, 200 // connections)

    def action(bench: Bench) -> int:
        def work(number: int) -> None:
            client = LmtpClient(bench.peer.lmtp)
            for _ in range(each):
                client.deliver("bench@parents.example.net", [f"{CLIENTS[number % len(CLIENTS)]}@{DOMAIN}"], body)
            client.close()

        return run_threads([partial(work, number) for number in range(connections)]) * each

    return action


def sized(octets: int) -> bytes:
    """A message of about so many octets."""
    text = message(1)
    head = text[: text.index(b"\r\n\r\n") + 4]
    line = b"L'\xc3\xa9ch\xc3\xa9ancier est joint \xc3\xa0 ce message, merci de r\xc3\xa9pondre avant mercredi soir.\r\n"
    return head + line * max(1, (octets - len(head)) // len(line))


OPERATIONS: dict[str, Operation] = {
    "connect, LOGIN, SELECT x20": Operation(_select),
    "first SELECT": Operation(_select_first, most_ms=3.0, prepare=_nobody_in),
    "first SELECT, no snapshot or index": Operation(_select_first, most_ms=150.0, prepare=_without_indexes),
    "NOOP x500": Operation(_noop),
    "FETCH FLAGS": Operation(_fetch(b"UID FLAGS"), 0.7),
    "FETCH ENVELOPE BODYSTRUCTURE": Operation(_fetch(b"UID FLAGS INTERNALDATE RFC822.SIZE ENVELOPE BODYSTRUCTURE"), 0.3),
    "FETCH HEADER.FIELDS (Thunderbird)": Operation(_fetch(b"UID RFC822.SIZE FLAGS " + THUNDERBIRD), 0.8),
    "FETCH 1000 bodies": Operation(_bodies, 1.0),
    "FETCH 1000 bodies, TLS": Operation(_bodies, 0.5, prepare=_begin_tls, after=_end_tls),
    "UID FETCH one body x300": Operation(_single_bodies, 1.0),
    "STORE one x200": Operation(_store_one, 0.6, reads=False),
    "STORE 1:*": Operation(_store_all, 0.2),
    "APPEND x100": Operation(_append, 1.0, reads=False),
    "APPEND, 8 clients x40": Operation(_append_many, 1.0, reads=False),
    "SEARCH SUBJECT": Operation(_search(b"SUBJECT certificat"), 0.5),
    "SEARCH FROM": Operation(_search(b"FROM lefevre"), 0.5),
    "SEARCH BODY, rare": Operation(_search(b"BODY zanzibar"), 0.1),
    "SEARCH BODY, common": Operation(_search(b"BODY certificat"), 0.1),
    "SEARCH TEXT": Operation(_search(b"TEXT timetable"), 0.1),
    "SORT by date": Operation(_sorted(b"SORT (DATE) UTF-8 ALL"), 1.0),
    "SORT by subject": Operation(_sorted(b"SORT (SUBJECT) UTF-8 ALL"), 1.0),
    "THREAD by references": Operation(_sorted(b"THREAD REFERENCES UTF-8 ALL"), 1.0),
    "COPY 1000": Operation(_copy_move_expunge(b"COPY"), 1.0, reads=False),
    "MOVE 1000": Operation(_copy_move_expunge(b"MOVE"), 1.0, reads=False),
    "EXPUNGE 1000": Operation(_copy_move_expunge(b"EXPUNGE"), 0.5, reads=False),
    "LMTP 4 KiB, 1 connection": Operation(_lmtp(1, 4096), 0.8, reads=False),
    "LMTP 4 KiB, 10 connections": Operation(_lmtp(10, 4096), 0.8, reads=False),
    "LMTP 4 KiB, 50 connections": Operation(_lmtp(50, 4096), 0.8, reads=False),
    "LMTP 100 KiB, 1 connection": Operation(_lmtp(1, 102_400), 0.8, reads=False),
    "LMTP 100 KiB, 10 connections": Operation(_lmtp(10, 102_400), 0.8, reads=False),
}
"""What is measured, by name, in this order."""
