"""`scripts/bench --smtp`: reception by SMTP beside Postfix: messages a second until 250, then until all are in the mailboxes.

Usage: python -m bench.smtp_run [--rounds N] [--json FILE]

Both fsync the queue file before they answer, and both deliver to Maildir files meanwhile; ours seals what it stores.
Before the table: how much memory a message of 50 MB takes in each of our processes on its way.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Protocol

from . import postfix
from .imap_work import CLIENTS, run_threads, sized
from .measure import Figure, measure, peak_kib, roles
from .ours import DOMAIN, Preau
from .wire import SmtpClient

MESSAGES = 200
GOAL = 1.0
LARGE = 50_000_000
LARGE_GOAL = 4.0  # MiB more than before, in each process


class Peer(Protocol):
    """A server under measure."""

    name: str
    smtp: int

    @property
    def pid(self) -> int: ...

    def queued(self) -> int: ...


def receive(peer: Peer, connections: int, body: bytes) -> int:
    """Messages that were answered 250."""
    each = MESSAGES // connections

    def work(number: int) -> None:
        client = SmtpClient(peer.smtp)
        for turn in range(each):
            client.deliver("bench@parents.example.net", [f"{CLIENTS[(number + turn) % len(CLIENTS)]}@{DOMAIN}"], body)
        client.close()

    return run_threads([partial(work, number) for number in range(connections)]) * each


def drained(peer: Peer) -> None:
    """Wait until the queue is empty: the next round begins from the same."""
    deadline = time.monotonic() + 120
    while peer.queued():
        if time.monotonic() > deadline:
            raise RuntimeError(f"{peer.name}: {peer.queued()} messages stay in the queue")
        time.sleep(0.02)


def whole(peer: Peer, connections: int, body: bytes) -> int:
    """The same, until all are in their mailboxes."""
    done = receive(peer, connections, body)
    drained(peer)
    return done


def run(peers: list[Peer], rounds: int) -> dict[str, dict[str, Figure]]:
    """Alternating rounds after one that is not counted."""
    results: dict[str, dict[str, Figure]] = {}
    for octets in (4_096, 102_400):
        body = sized(octets)
        for connections in (1, 10, 50):
            for label, action in (("to the queue", receive), ("to the mailboxes", whole)):
                name = f"SMTP {octets // 1024} KiB, {connections} connections, {label}"
                results[name] = figures = {peer.name: Figure() for peer in peers}
                for number in range(rounds + 1):
                    for peer in peers:
                        call: Callable[[], int] = partial(action, peer, connections, body)
                        measure(call, peer.pid, figures[peer.name] if number else Figure())
                        drained(peer)
                print(row(name, figures), flush=True)
    return results


def memory(ours: Preau) -> dict[str, float]:
    """MiB that a large message adds to each role it passes, at most; told as a line."""
    passed = {pid: role for pid, role in roles(ours.pid).items() if role in ("smtp", "queue", "delivery")}
    deliver_one(ours, sized(102_400))
    time.sleep(_SETTLED)
    before = {pid: peak_kib(pid, forget=True) for pid in passed}
    deliver_one(ours, sized(LARGE))
    time.sleep(_SETTLED)
    added = {role: (peak_kib(pid) - before[pid]) / 1024 for pid, role in passed.items()}
    told = ", ".join(f"{role} {mib:.1f} MiB" for role, mib in sorted(added.items()))
    print(f"a message of {LARGE:,} octets adds: {told}  {'reached' if max(added.values()) < LARGE_GOAL else 'MISSED'}")
    return added


_SETTLED = 7.0  # seconds: the text of a message is taken for search within five


def deliver_one(ours: Preau, body: bytes) -> None:
    """One message, until it is in its mailbox."""
    client = SmtpClient(ours.smtp)
    client.deliver("bench@parents.example.net", [f"{CLIENTS[0]}@{DOMAIN}"], body)
    client.close()
    drained(ours)


def row(name: str, figures: dict[str, Figure]) -> str:
    """One line of the table: messages a second and the ratio of times."""
    ours, peer = figures["preau"], figures.get("postfix")
    told = f"{name:<50} {ours.work / ours.median:>8.0f}/s"
    if peer is None:
        return told
    ratio = ours.median / peer.median
    cpu = f"{ours.cpu / peer.cpu:.2f}" if peer.cpu else "-"
    return f"{told} {peer.work / peer.median:>8.0f}/s  x{ratio:<5.2f} cpu x{cpu:<6} {'reached' if ratio <= GOAL else 'MISSED'}"


def main() -> int:
    """Parse the arguments, start the servers, print and write the figures."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--rounds", type=int, default=3, help="counted rounds of each (default 3)")
    words.add_argument("--json", type=Path, help="write the figures there as well")
    chosen = words.parse_args()
    with tempfile.TemporaryDirectory(prefix="preau-bench-") as folder:
        root = Path(folder)
        with Preau(root / "preau", CLIENTS) as ours:
            added = memory(ours)  # first: what other work left free in a process would hide it
            if postfix.installed():
                with postfix.Postfix(root / "postfix") as peer:
                    results = run([ours, peer], chosen.rounds)
            else:
                print("Postfix is not installed, or this is not root: our own times only (apt install postfix)")
                results = run([ours], chosen.rounds)
    if chosen.json:
        chosen.json.parent.mkdir(parents=True, exist_ok=True)
        figures = {
            name: {peer: {"wall": f.wall, "median": f.median, "cpu": f.cpu, "work": f.work} for peer, f in rows.items()}
            for name, rows in results.items()
        }
        told = {"rounds": chosen.rounds, "messages": MESSAGES, "figures": figures, "memory_mib": added}
        chosen.json.write_text(json.dumps(told, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
