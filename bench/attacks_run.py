"""`scripts/bench --attacks`: what other people notice while a hostile client does its worst (docs/security.md).

Usage: python -m bench.attacks_run [--only WORD ...] [--seconds N] [--json FILE]

Each attack is repeated for some seconds by a process of its own. Meanwhile somebody else asks for NOOP over IMAP, PROPFIND
over DAV and EHLO over SMTP, every few milliseconds, before and during it: medians and 99th percentiles. Memory is by how much
the largest of the server's processes grew beyond what it had before.
"""

from __future__ import annotations

import argparse
import http.client
import json
import multiprocessing
import socket
import sys
import tempfile
import threading
import time
from base64 import b64encode
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path

from .attacks import INSIDERS, STRANGERS, TRUST, Target
from .corpus import messages
from .measure import tree
from .ours import DOMAIN, Preau
from .wire import ImapClient, LmtpClient

VICTIM, INSIDER = "victim", "bench"
PAUSE = 0.005  # seconds between the questions of somebody else


@dataclass
class Somebody:
    """Who asks small things all the time; what each took, in seconds."""

    name: str
    connect: Callable[[], Callable[[], object]]
    took: list[float] = field(default_factory=list)
    failed: int = 0

    def run(self, stop: threading.Event) -> None:
        """Ask until it is enough, on one connection for as long as it lives."""
        ask: Callable[[], object] | None = None
        while not stop.is_set():
            begin = time.perf_counter()
            try:
                if ask is None:
                    ask = self.connect()
                ask()
            except Exception:
                self.failed += 1
                ask = None
            else:
                self.took.append(time.perf_counter() - begin)
            time.sleep(PAUSE)

    def take(self) -> tuple[float, float, int]:
        """Median and 99th percentile in milliseconds and failures since the last call."""
        took, self.took = sorted(self.took), []
        failed, self.failed = self.failed, 0
        if not took:
            return float("inf"), float("inf"), failed
        return took[len(took) // 2] * 1e3, took[int(len(took) * 0.99)] * 1e3, failed


def everybody(ours: Preau) -> list[Somebody]:
    """Those who are watched."""
    user, password = ours.login(VICTIM)

    def imap() -> Callable[[], object]:
        client = ImapClient(ours.imaps, tls=TRUST)
        client.login(user, password)
        client.command(b"SELECT INBOX")
        return lambda: client.command(b"NOOP")

    def dav() -> Callable[[], object]:
        client = http.client.HTTPSConnection("127.0.0.1", ours.https, timeout=30, context=TRUST)
        login = b64encode(f"{user}:{password}".encode()).decode()
        headers = {"Authorization": f"Basic {login}", "Depth": "0"}

        def ask() -> object:
            client.request("PROPFIND", f"/dav/calendars/{user}/", b"", headers)
            return client.getresponse().read()

        return ask

    def smtp() -> Callable[[], object]:
        peer = socket.create_connection(("127.0.0.1", ours.smtp), 30)
        file = peer.makefile("rb")
        file.readline()

        def ask() -> object:
            # Commands that lead nowhere (NOOP, RSET) are limited in number on a connection, greetings are not.
            peer.sendall(b"EHLO somebody.example\r\n")
            while (line := file.readline())[3:4] == b"-":
                pass
            if not line.startswith(b"250"):
                raise OSError
            return None

        return ask

    return [Somebody("IMAP", imap), Somebody("DAV", dav), Somebody("SMTP", smtp)]


def _resident_kib(pid: int) -> dict[int, int]:
    found = {}
    for process in tree(pid):
        try:
            text = Path(f"/proc/{process}/status").read_text()
        except OSError:
            continue
        found[process] = next((int(line.split()[1]) for line in text.splitlines() if line.startswith("VmRSS:")), 0)
    return found


def _attacker(target: Target, seconds: float, orders: Connection) -> None:
    """In a process of its own: for each name that comes attack for some seconds; tell how often, and the last answer."""
    while (name := orders.recv()) is not None:
        attack = {**STRANGERS, **INSIDERS}[name]
        ends, turns, answer = time.perf_counter() + seconds, 0, ""
        while time.perf_counter() < ends:
            try:
                answer = attack(target)
            except OSError as error:
                answer = type(error).__name__
            turns += 1
        orders.send((turns, answer))


@dataclass(frozen=True, slots=True)
class Row:
    """What came of one attack: for each of those who are watched median, 99th percentile and failures, before and during it."""

    turns: int
    answer: str
    grown: float  # MiB
    quiet: dict[str, tuple[float, float, int]]
    during: dict[str, tuple[float, float, int]]

    def __str__(self) -> str:
        cells = ""
        for who, (median, most, _) in self.quiet.items():
            under = self.during[who]
            cell = f"{median:.1f}/{most:.1f} {under[0]:.1f}/{under[1]:.1f}" + (f" -{under[2]}" if under[2] else "")
            cells += f"{cell:>26}"
        return f"{cells}  +{self.grown:.0f} MiB  x{self.turns}  {self.answer}"


def under_attack(name: str, orders: Connection, ours: Preau, people: list[Somebody], seconds: float) -> Row:
    """Figures of a quiet while, and of the attack right after it."""
    time.sleep(0.5)
    for one in people:
        one.take()
    time.sleep(seconds)
    quiet = {one.name: one.take() for one in people}
    before = _resident_kib(ours.pid)
    orders.send(name)
    grown = 0
    while not orders.poll(0.05):
        now = _resident_kib(ours.pid)
        grown = max([grown, *(size - before[process] for process, size in now.items() if process in before)])
    turns, answer = orders.recv()
    return Row(turns, answer, grown / 1024, quiet, {one.name: one.take() for one in people})


def main() -> int:
    """Parse the arguments, start the server, print and write the figures."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--only", nargs="*", default=[], help="attacks whose name holds one of these words")
    words.add_argument("--seconds", type=float, default=4.0, help="of each attack, and of the quiet before it (default 4)")
    words.add_argument("--json", type=Path, help="write the figures there as well")
    chosen = words.parse_args()
    results: dict[str, Row] = {}
    with (
        tempfile.TemporaryDirectory(prefix="preau-bench-") as folder,
        Preau(Path(folder) / "preau", [INSIDER, VICTIM], plaintext=False) as ours,
    ):
        target = Target(ours.imap, ours.imaps, ours.smtp, ours.https, ours.lmtp, *ours.login(INSIDER))
        fill = LmtpClient(ours.lmtp)
        for text in messages(500):
            fill.deliver("bench@parents.example.net", [f"{INSIDER}@{DOMAIN}", f"{VICTIM}@{DOMAIN}"], text)
        fill.close()
        orders, there = multiprocessing.Pipe()
        # Before there are threads: a process that is forked beside them could inherit a lock that one of them holds.
        attacker = multiprocessing.get_context("fork").Process(target=_attacker, args=(target, chosen.seconds, there))
        attacker.start()
        people, stop = everybody(ours), threading.Event()
        threads = [threading.Thread(target=one.run, args=(stop,), daemon=True) for one in people]
        for thread in threads:
            thread.start()
        print(f"{'milliseconds, median / 99th percentile':<38}" + "".join(f"{one.name:>26}" for one in people))
        for name in (*STRANGERS, *INSIDERS):
            if chosen.only and not any(word.lower() in name.lower() for word in chosen.only):
                continue
            results[name] = row = under_attack(name, orders, ours, people, chosen.seconds)
            print(f"{name:<38}{row}", flush=True)
        stop.set()
        orders.send(None)
        attacker.join()
        for thread in threads:
            thread.join()
    if chosen.json:
        chosen.json.parent.mkdir(parents=True, exist_ok=True)
        chosen.json.write_text(json.dumps({name: asdict(row) for name, row in results.items()}, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
