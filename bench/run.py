"""`scripts/bench`: ours beside Dovecot on the same mail, in one run, alternating; a table and JSON with ratios.

Usage: python -m bench.run [--messages N] [--rounds N] [--only NAME ...] [--json FILE]

The work of each operation is compared (octets for FETCH, hits for SEARCH): a row marked `!` did not do the same.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

from .corpus import message, messages
from .dovecot import Dovecot, installed
from .measure import Figure, measure, pss_kib
from .ours import DOMAIN, Preau
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
    lmtp: int

    @property
    def pid(self) -> int: ...

    def login(self, user: str) -> tuple[str, str]: ...


@dataclass
class Bench:
    """A server with an open, selected connection."""

    peer: Peer
    messages: int
    client: ImapClient
    turn: int = 0

    def connect(self, user: str = USER, mailbox: str = "INBOX") -> ImapClient:
        """A new connection, logged in and selected."""
        client = ImapClient(self.peer.imap)
        client.login(*self.peer.login(user))
        client.command(f'SELECT "{mailbox}"'.encode())
        return client


Action = Callable[[Bench], int]


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
    return len(bench.client.command(b"FETCH " + numbers + b" (BODY.PEEK[])"))


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


OPERATIONS: dict[str, tuple[Action, float | None]] = {
    "connect, LOGIN, SELECT x20": (_select, None),
    "NOOP x500": (_noop, None),
    "FETCH FLAGS": (_fetch(b"UID FLAGS"), 0.7),
    "FETCH ENVELOPE BODYSTRUCTURE": (_fetch(b"UID FLAGS INTERNALDATE RFC822.SIZE ENVELOPE BODYSTRUCTURE"), 0.3),
    "FETCH HEADER.FIELDS (Thunderbird)": (_fetch(b"UID RFC822.SIZE FLAGS " + THUNDERBIRD), 0.8),
    "FETCH 1000 bodies": (_bodies, 1.0),
    "UID FETCH one body x300": (_single_bodies, 1.0),
    "STORE one x200": (_store_one, 0.6),
    "STORE 1:*": (_store_all, 0.2),
    "APPEND x100": (_append, 1.0),
    "APPEND, 8 clients x40": (_append_many, 1.0),
    "SEARCH SUBJECT": (_search(b"SUBJECT certificat"), 0.5),
    "SEARCH FROM": (_search(b"FROM lefevre"), 0.5),
    "SEARCH BODY, rare": (_search(b"BODY zanzibar"), 0.1),
    "SEARCH BODY, common": (_search(b"BODY certificat"), 0.1),
    "SEARCH TEXT": (_search(b"TEXT timetable"), 0.1),
    "SORT by date": (_sorted(b"SORT (DATE) UTF-8 ALL"), 1.0),
    "SORT by subject": (_sorted(b"SORT (SUBJECT) UTF-8 ALL"), 1.0),
    "THREAD by references": (_sorted(b"THREAD REFERENCES UTF-8 ALL"), 1.0),
    "COPY 1000": (_copy_move_expunge(b"COPY"), 1.0),
    "MOVE 1000": (_copy_move_expunge(b"MOVE"), 1.0),
    "EXPUNGE 1000": (_copy_move_expunge(b"EXPUNGE"), 0.5),
    "LMTP 4 KiB, 1 connection": (_lmtp(1, 4096), 0.8),
    "LMTP 4 KiB, 10 connections": (_lmtp(10, 4096), 0.8),
    "LMTP 4 KiB, 50 connections": (_lmtp(50, 4096), 0.8),
    "LMTP 100 KiB, 1 connection": (_lmtp(1, 102_400), 0.8),
    "LMTP 100 KiB, 10 connections": (_lmtp(10, 102_400), 0.8),
}
"""Name -> what is done, and the ratio to the peer's time that is the goal."""


def _fill(peer: Peer, count: int) -> None:
    client = LmtpClient(peer.lmtp)
    for number, text in enumerate(messages(count), 1):
        client.deliver("bench@parents.example.net", [f"{USER}@{DOMAIN}"], text)
        if number % 500 == 0:
            print(f"\r{peer.name}: {number} of {count} messages delivered", end="", file=sys.stderr, flush=True)
    client.close()
    print(file=sys.stderr)


def run(peers: list[Peer], count: int, rounds: int, only: list[str]) -> dict[str, dict[str, Figure]]:
    """Fill both, then measure each operation in alternating rounds after one that is not counted."""
    benches = []
    for peer in peers:
        _fill(peer, count)
        client = ImapClient(peer.imap)
        client.login(*peer.login(USER))
        client.command(b"SELECT INBOX")
        benches.append(Bench(peer, count, client))
    results: dict[str, dict[str, Figure]] = {}
    for name, (action, _goal) in OPERATIONS.items():
        if only and not any(word.lower() in name.lower() for word in only):
            continue
        figures = {bench.peer.name: Figure() for bench in benches}
        for number in range(rounds + 1):
            for bench in benches:
                figure = figures[bench.peer.name] if number else Figure()
                measure(partial(action, bench), bench.peer.pid, figure)
        results[name] = figures
        print(_row(name, figures, OPERATIONS[name][1]), flush=True)
    for bench in benches:
        print(f"memory of {bench.peer.name} with one session: {pss_kib(bench.peer.pid) / 1024:.1f} MiB (PSS)")
    return results


def _row(name: str, figures: dict[str, Figure], goal: float | None) -> str:
    ours, peer = figures["preau"], figures.get("dovecot")
    if peer is None:
        return f"{name:<36} {ours.median * 1e3:>10.2f} ms"
    ratio = ours.median / peer.median
    cpu = f"{ours.cpu / peer.cpu:.2f}" if peer.cpu else "-"
    mark = "" if goal is None else ("reached" if ratio <= goal else "MISSED")
    same = " " if abs(ours.work - peer.work) <= 0.02 * max(ours.work, peer.work) else "!"
    return (
        f"{name:<36}{same}{ours.median * 1e3:>10.2f} ms {peer.median * 1e3:>10.2f} ms  x{ratio:<6.2f} cpu x{cpu:<6}"
        f" {'' if goal is None else f'goal {goal}':<9} {mark}"
    )


def main() -> int:
    """Parse the arguments, start the servers, print and write the figures."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--messages", type=int, default=2000, help="messages in the mailbox (default 2000)")
    words.add_argument("--rounds", type=int, default=5, help="counted rounds of each operation (default 5)")
    words.add_argument("--only", nargs="*", default=[], help="operations whose name holds one of these words")
    words.add_argument("--json", type=Path, help="write the figures there as well")
    chosen = words.parse_args()
    with tempfile.TemporaryDirectory(prefix="preau-bench-") as folder:
        root = Path(folder)
        with Preau(root / "preau", [USER, *CLIENTS]) as ours:
            if installed():
                with Dovecot(root / "dovecot") as dovecot:
                    results = run([ours, dovecot], chosen.messages, chosen.rounds, chosen.only)
            else:
                print("Dovecot is not installed: our own times only (apt install dovecot-imapd dovecot-lmtpd)")
                results = run([ours], chosen.messages, chosen.rounds, chosen.only)
    if chosen.json:
        chosen.json.parent.mkdir(parents=True, exist_ok=True)
        figures = {
            name: {peer: {"wall": f.wall, "median": f.median, "cpu": f.cpu, "work": f.work} for peer, f in rows.items()}
            for name, rows in results.items()
        }
        chosen.json.write_text(json.dumps({"messages": chosen.messages, "rounds": chosen.rounds, "figures": figures}, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
