"""`scripts/bench`: ours beside Dovecot on the same mail, in one run, alternating; a table and JSON with ratios.

Usage: python -m bench.run [--messages N] [--rounds N] [--only NAME ...] [--large] [--json FILE]

The work of each operation is compared (octets for FETCH, hits for SEARCH): a row marked `!` did not do the same. So that
it can be the same, both are filled by APPEND: LMTP has each write its own Received line into the messages. And a session
looks at the mailbox before those that are measured: whoever is first is told \\Recent by Dovecot, with each message.
`--large`: only what leaves the messages as they are, of 20,000 messages if --messages says nothing else (beyond that,
copies of the first ones).
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from itertools import islice
from pathlib import Path

from .corpus import messages
from .dovecot import Dovecot, installed
from .imap_work import CLIENTS, OPERATIONS, USER, Bench, Operation, Peer
from .measure import Figure, measure, pss_kib, settle
from .ours import Preau
from .wire import ImapClient

_AT_ONCE = 50  # messages an APPEND
_UNIQUE = 20_000  # messages beyond that are copies of the first ones: both servers are filled in minutes
_COPIED = 10_000  # a COPY


def _fill(peer: Peer, count: int) -> None:
    client = ImapClient(peer.imap)
    client.login(*peer.login(USER))
    done = 0
    for some in _batches(messages(min(count, _UNIQUE))):
        client.append_several("INBOX", some)
        done += len(some)
        print(f"\r{peer.name}: {done} of {count} messages appended", end="", file=sys.stderr, flush=True)
    client.command(b"SELECT INBOX")
    while done < count:
        more = min(done, count - done, _COPIED)
        client.command(b"COPY 1:%d INBOX" % more)
        done += more
        print(f"\r{peer.name}: {done} of {count} messages, the later ones copies", end="", file=sys.stderr, flush=True)
    client.command(b"SELECT INBOX")  # nobody else is told \\Recent
    client.close()
    print(file=sys.stderr)


def _batches(all_of_them: Iterator[bytes]) -> Iterator[list[bytes]]:
    while some := list(islice(all_of_them, _AT_ONCE)):
        yield some


def run(peers: list[Peer], count: int, rounds: int, only: list[str], *, large: bool) -> dict[str, dict[str, Figure]]:
    """Fill both, then measure each operation in alternating rounds after one that is not counted."""
    benches = []
    for peer in peers:
        _fill(peer, count)
        client = ImapClient(peer.imap)
        client.login(*peer.login(USER))
        client.command(b"SELECT INBOX")
        benches.append(Bench(peer, count, client))
    for peer in peers:
        settle(peer.pid)
    results: dict[str, dict[str, Figure]] = {}
    for name, operation in OPERATIONS.items():
        if (large and not operation.reads) or (only and not any(word.lower() in name.lower() for word in only)):
            continue
        results[name] = figures = {bench.peer.name: Figure() for bench in benches}
        for number in range(rounds + 1):
            for bench in benches:
                _round(bench, operation, figures[bench.peer.name] if number else Figure())
        print(_row(name, figures, operation), flush=True)
    for bench in benches:
        print(f"memory of {bench.peer.name} with one session: {pss_kib(bench.peer.pid) / 1024:.1f} MiB (PSS)")
    return results


def _round(bench: Bench, operation: Operation, figure: Figure) -> None:
    if operation.prepare is not None:
        operation.prepare(bench)
    measure(partial(operation.action, bench), bench.peer.pid, figure)
    if operation.after is not None:
        operation.after(bench)


def _row(name: str, figures: dict[str, Figure], operation: Operation) -> str:
    ours, peer = figures["preau"], figures.get("dovecot")
    if peer is None:
        return f"{name:<36} {ours.median * 1e3:>10.2f} ms"
    ratio = ours.median / peer.median
    cpu = f"{ours.cpu / peer.cpu:.2f}" if peer.cpu else "-"
    goal, mark = "", ""
    if operation.most_ms is not None:
        goal = f"goal {operation.most_ms:g} ms"
        mark = "reached" if ours.median * 1e3 <= operation.most_ms else "MISSED"
    elif operation.goal is not None:
        goal = f"goal {operation.goal}"
        mark = "reached" if ratio <= operation.goal else "MISSED"
    same = " " if abs(ours.work - peer.work) <= 0.02 * max(ours.work, peer.work) else "!"
    return (
        f"{name:<36}{same}{ours.median * 1e3:>10.2f} ms {peer.median * 1e3:>10.2f} ms  x{ratio:<6.2f} cpu x{cpu:<6}"
        f" {goal:<12} {mark}"
    )


def main() -> int:
    """Parse the arguments, start the servers, print and write the figures."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--messages", type=int, help="messages in the mailbox (default 2000, 20000 with --large)")
    words.add_argument("--large", action="store_true", help="only what leaves the messages as they are")
    words.add_argument("--rounds", type=int, default=5, help="counted rounds of each operation (default 5)")
    words.add_argument("--only", nargs="*", default=[], help="operations whose name holds one of these words")
    words.add_argument("--json", type=Path, help="write the figures there as well")
    chosen = words.parse_args()
    count = chosen.messages or (20_000 if chosen.large else 2_000)
    with tempfile.TemporaryDirectory(prefix="preau-bench-") as folder:
        root = Path(folder)
        with Preau(root / "preau", [USER, *CLIENTS]) as ours:
            if installed():
                tls = root / "preau" / "tls"
                with Dovecot(root / "dovecot", certificate=tls / "server.pem", key=tls / "server.key") as dovecot:
                    results = run([ours, dovecot], count, chosen.rounds, chosen.only, large=chosen.large)
            else:
                print("Dovecot is not installed: our own times only (apt install dovecot-imapd dovecot-lmtpd)")
                results = run([ours], count, chosen.rounds, chosen.only, large=chosen.large)
    if chosen.json:
        chosen.json.parent.mkdir(parents=True, exist_ok=True)
        figures = {
            name: {peer: {"wall": f.wall, "median": f.median, "cpu": f.cpu, "work": f.work} for peer, f in rows.items()}
            for name, rows in results.items()
        }
        chosen.json.write_text(json.dumps({"messages": count, "rounds": chosen.rounds, "figures": figures}, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
