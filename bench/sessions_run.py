"""`scripts/bench --sessions`: many at once beside Dovecot: mixed work, idle sessions, and everybody logging in.

Usage: python -m bench.sessions_run [--only NAME ...] [--idle N] [--alone] [--json FILE]

    mixed    50 sessions of 10 people do what clients do all day for some seconds: operations a second
    idle     N sessions (default 1,000) in IDLE, plain and over TLS: memory of the server's tree a session, and the time until
             each of 50 that watch one mailbox hears of a delivery
    logins   app-password logins a second from 8 connections at a time: of 20 people again and again, and of 400 once each
    hammer   app-password logins at a steady pace while 100 wrong passwords a second come: from nobody, each from a network of
             its own, all from the same address; how many were refused, and how long a login took
    monday   1,000 accounts log in over TLS on two connections each and select INBOX, 100 at a time

What was delivered before is worked off (caches, search, sidecars) before anything is measured.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import random
import resource
import ssl
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from .corpus import message, messages
from .dovecot import Dovecot, installed
from .imap_work import Peer, run_threads
from .measure import cpu_seconds, pss_kib, settle
from .ours import DOMAIN, Preau
from .wire import ImapClient, LmtpClient, Refused

NAMES = ("mixed", "idle", "logins", "hammer", "monday")
PEOPLE = [f"person{number}" for number in range(20)]
EVERYBODY = [f"teacher{number}" for number in range(1_000)]
SECONDS = 10.0
GOOD, WRONG = 40, 100  # logins a second of the hammer
_HAMMERS = 300  # connections that wrong passwords may wait on
WATCHERS = 50


def connect(peer: Peer, user: str, tls: ssl.SSLContext | None = None) -> ImapClient:
    """Signed in, INBOX selected."""
    client = ImapClient(peer.imaps if tls else peer.imap, tls=tls)
    client.login(*peer.login(user))
    client.command(b"SELECT INBOX")
    return client


def fill(peer: Peer, count: int = 500) -> None:
    """Mail for everybody."""
    client = LmtpClient(peer.lmtp)
    for text in messages(count):
        client.deliver("bench@parents.example.net", [f"{user}@{DOMAIN}" for user in PEOPLE[:10]], text)
    client.close()
    settle(peer.pid)


def mixed(peer: Peer) -> dict[str, float]:
    """Operations a second of 50 sessions, and the 99th percentile of one."""
    ends = time.perf_counter() + SECONDS
    took: list[float] = []
    lock = threading.Lock()

    def work(number: int) -> None:
        dice = random.Random(number)
        client = connect(peer, PEOPLE[number % 10])
        mine: list[float] = []
        while time.perf_counter() < ends:
            begin = time.perf_counter()
            one = dice.randrange(1, 480)
            match dice.randrange(10):
                case 0 | 1:
                    client.command(b"NOOP")
                case 2 | 3:
                    client.command(b"FETCH %d:%d (UID FLAGS ENVELOPE)" % (one, one + 20))
                case 4 | 5:
                    client.command(b"FETCH %d (UID BODY.PEEK[])" % one)
                case 6:
                    client.command(b"STORE %d %sFLAGS (\\Seen)" % (one, dice.choice((b"+", b"-"))))
                case 7:
                    client.command(b"UID SEARCH UNSEEN")
                case 8:
                    client.command(b"STATUS Sent (MESSAGES UNSEEN UIDNEXT)")
                case _:
                    client.append("Sent", message(one))
            mine.append(time.perf_counter() - begin)
        client.close()
        with lock:
            took.extend(mine)

    before = cpu_seconds(peer.pid)
    run_threads([partial(work, number) for number in range(50)])
    took.sort()
    return {
        "operations a second": len(took) / SECONDS,
        "p99 ms": took[int(len(took) * 0.99)] * 1e3,
        "cpu ms an operation": (cpu_seconds(peer.pid) - before) / len(took) * 1e3,
    }


def idle(peer: Peer, count: int, tls: ssl.SSLContext | None) -> dict[str, float]:
    """Memory of a session, and how soon those who watch hear of a delivery."""
    warm = [connect(peer, user, tls) for user in PEOPLE]
    for client in warm:
        client.idle()
    before = pss_kib(peer.pid)
    clients = []
    for number in range(count):
        client = connect(peer, PEOPLE[number % len(PEOPLE)], tls)
        client.idle()
        clients.append(client)
    memory = (pss_kib(peer.pid) - before) / count
    watching = clients[:: len(PEOPLE)][:WATCHERS]
    took: list[float] = []
    deliver = LmtpClient(peer.lmtp)
    for _ in range(5):
        begin = time.perf_counter()
        deliver.deliver("bench@parents.example.net", [f"{PEOPLE[0]}@{DOMAIN}"], message(1))
        for client in watching:
            client.until(b"EXISTS")
            took.append(time.perf_counter() - begin)
    deliver.close()
    for client in (*warm, *clients):
        client.close()
    took.sort()
    return {
        "KiB a session": memory,
        "EXISTS p50 ms": took[len(took) // 2] * 1e3,
        "EXISTS p99 ms": took[int(len(took) * 0.99)] * 1e3,
    }


def logins(peer: Peer) -> dict[str, float]:
    """Connections with LOGIN a second, eight at a time, and processor time of one."""

    def round_of(users: list[str]) -> tuple[float, float]:
        before, begin = cpu_seconds(peer.pid), time.perf_counter()

        def work(number: int) -> None:
            for user in users[number::8]:
                client = ImapClient(peer.imap)
                client.login(*peer.login(user))
                client.close()

        run_threads([partial(work, number) for number in range(8)])
        took = time.perf_counter() - begin
        return len(users) / took, (cpu_seconds(peer.pid) - before) / len(users) * 1e3

    few = [round_of(PEOPLE * 40) for _ in range(3)]
    many = round_of(EVERYBODY[:400])
    return {
        "a second": statistics.median(rate for rate, _ in few),
        "cpu ms of one": statistics.median(cost for _, cost in few),
        "a second, each once": many[0],
        "cpu ms of one, each once": many[1],
    }


def hammer(peer: Peer, wrong_from: str) -> dict[str, float]:
    """Latency of good logins from 127.0.0.1 while wrong passwords come. `wrong_from`: "nobody", "others" or "same"."""
    context = multiprocessing.get_context("fork")  # of its own: threads of one process would wait for one another
    answers = context.Queue()
    hammering = context.Process(target=_wrong_passwords, args=(peer.imap, wrong_from, answers))
    before = cpu_seconds(peer.pid)
    if wrong_from != "nobody":
        hammering.start()
        time.sleep(2.0)  # until the hammer is in full swing
    took: list[float] = []
    refused = 0
    begin = time.perf_counter()

    def work(number: int) -> None:
        nonlocal refused
        for turn in range(number, int(GOOD * SECONDS), 8):
            time.sleep(max(0.0, begin + turn / GOOD - time.perf_counter()))
            start = time.perf_counter()
            try:
                client = ImapClient(peer.imap)
                client.login(*peer.login(PEOPLE[turn % len(PEOPLE)]))
                client.close()
            except (OSError, Refused):
                refused += 1
            else:
                took.append(time.perf_counter() - start)

    run_threads([partial(work, number) for number in range(8)])
    figures = {"refused": float(refused), **percentiles(took), "cpu s": cpu_seconds(peer.pid) - before}
    if wrong_from != "nobody":
        figures |= answers.get()
        hammering.join()
    return figures


def percentiles(took: list[float]) -> dict[str, float]:
    """In milliseconds."""
    took = sorted(took)
    return {"p50 ms": took[len(took) // 2] * 1e3, "p99 ms": took[int(len(took) * 0.99)] * 1e3, "most ms": took[-1] * 1e3}


def _wrong_passwords(port: int, wrong_from: str, answers: multiprocessing.Queue[dict[str, float]]) -> None:
    seconds = SECONDS + 3.0
    begin = time.perf_counter()
    said: list[bytes] = []

    def work(number: int) -> None:
        for turn in range(number, int(WRONG * seconds), _HAMMERS):
            time.sleep(max(0.0, begin + turn / WRONG - time.perf_counter()))
            if time.perf_counter() - begin > seconds:
                return
            source = f"127.{turn // 200 + 1}.{turn % 200}.1" if wrong_from == "others" else "127.0.0.1"
            try:
                client = ImapClient(port, source=source)
                client.login(f"{PEOPLE[turn % len(PEOPLE)]}@{DOMAIN}", f"wrong password {turn}")
            except Refused as refused:
                said.append(str(refused).encode())
                client.close()
            except OSError:
                said.append(b"")

    run_threads([partial(work, number) for number in range(_HAMMERS)])
    verified = sum(b"AUTHENTICATIONFAILED" in answer for answer in said)
    answers.put({"wrong a second": len(said) / seconds, "verified a second": verified / seconds})


def move_in(peer: Peer) -> None:
    """A message for each of a thousand: accounts that are new make their databases and folders."""
    client = LmtpClient(peer.lmtp)
    for begin in range(0, len(EVERYBODY), 50):
        client.deliver(
            "bench@parents.example.net", [f"{user}@{DOMAIN}" for user in EVERYBODY[begin : begin + 50]], message(begin)
        )
    client.close()
    settle(peer.pid)


def monday(peer: Peer, tls: ssl.SSLContext) -> dict[str, float]:
    """Seconds until everybody is in, and processor time of one login with its TLS handshake."""
    users = iter([user for user in EVERYBODY for _ in range(2)])
    lock = threading.Lock()
    clients: list[ImapClient] = []
    refused = 0

    def work(number: int) -> None:
        nonlocal refused
        while True:
            with lock:
                user = next(users, None)
            if user is None:
                return
            try:
                signed_in = connect(peer, user, tls)
            except (OSError, Refused):
                with lock:
                    refused += 1
                continue
            with lock:
                clients.append(signed_in)

    before, begin = cpu_seconds(peer.pid), time.perf_counter()
    run_threads([partial(work, number) for number in range(100)])
    took, cpu = time.perf_counter() - begin, cpu_seconds(peer.pid) - before
    memory = pss_kib(peer.pid)
    for signed_in in clients:
        signed_in.close()
    return {"s": took, "refused": refused, "cpu ms of one": cpu / len(clients) * 1e3, "MiB at the end": memory / 1024}


def main() -> int:
    """Parse the arguments, start the servers, print and write the figures."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--only", nargs="*", default=list(NAMES), help=", ".join(NAMES))
    words.add_argument("--idle", type=int, default=1_000, help="idle sessions (default 1000)")
    words.add_argument("--alone", action="store_true", help="ours alone, without Dovecot")
    words.add_argument("--json", type=Path, help="write the figures there as well")
    chosen = words.parse_args()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    trust = ssl.create_default_context()
    trust.check_hostname = False
    trust.verify_mode = ssl.CERT_NONE  # certificates are not what is measured
    work: dict[str, Callable[[Any], dict[str, float]]] = {}
    if "mixed" in chosen.only:
        work["50 mixed sessions"] = mixed
    if "idle" in chosen.only:
        work[f"{chosen.idle} idle sessions, plain"] = partial(idle, count=chosen.idle, tls=None)
        work[f"{chosen.idle} idle sessions, TLS"] = partial(idle, count=chosen.idle, tls=trust)
    if "logins" in chosen.only:
        work["logins"] = logins
    if "hammer" in chosen.only:
        for wrong_from in ("nobody", "others", "same"):
            work[f"wrong passwords from {wrong_from}"] = partial(hammer, wrong_from=wrong_from)
    if "monday" in chosen.only:
        work["1,000 accounts on two connections"] = partial(monday, tls=trust)
    results: dict[str, dict[str, dict[str, float]]] = {}
    with tempfile.TemporaryDirectory(prefix="preau-bench-") as folder:
        root = Path(folder)
        peers: list[Callable[[], Any]] = [lambda: Preau(root / "preau", [*PEOPLE, *EVERYBODY])]
        if installed() and not chosen.alone:
            tls = root / "preau" / "tls"
            peers.append(lambda: Dovecot(root / "dovecot", certificate=tls / "server.pem", key=tls / "server.key"))
        for make in peers:
            with make() as peer:
                fill(peer)
                if {"logins", "monday"} & set(chosen.only):
                    move_in(peer)
                for name, action in work.items():
                    results.setdefault(name, {})[peer.name] = figures = action(peer)
                    told = "  ".join(f"{figure:.1f} {unit}" for unit, figure in figures.items())
                    print(f"{name:<32} {peer.name:<8} {told}", flush=True)
    if chosen.json:
        chosen.json.parent.mkdir(parents=True, exist_ok=True)
        chosen.json.write_text(json.dumps(results, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
