"""Fifty writers of one account at once, in several processes: deliveries, APPEND, STORE, MOVE, EXPUNGE.

`crowd(folder, ...)` returns what each process reports. As a program (`python tests/support/crowd.py`) it prints how
long each kind of call took; nobody asserts that.
"""

import argparse
import multiprocessing
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path

from preau.storage.api import Draft, FlagOp, MailboxId, StoreLimits, Uid
from preau.storage.changes import SilentBus, open_bus
from preau.storage.check import verify_account
from preau.storage.store import FileStore
from store_contract import ANNE, KEYS

PATIENCE = 240.0
"""Seconds after which writers that have not ended count as deadlocked."""


@dataclass
class Report:
    """What the writers of one process did: seconds of each call by its kind, and what was acknowledged."""

    seconds: dict[str, list[float]] = field(default_factory=dict)
    arrived: dict[str, list[tuple[str, int]]] = field(default_factory=dict)  # mailbox -> (X-Id, UID)
    modseqs: list[tuple[str, int]] = field(default_factory=list)  # each MODSEQ that a change of one writer alone got
    removed: int = 0
    finished: int = 0
    errors: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Part:
    """What one process is to do."""

    root: Path
    run: Path
    name: str
    delivery: bool
    writers: int
    rounds: int


def work(part: Part) -> Report:
    """Run the writers of a process, each a thread, and wait for them."""
    bus = open_bus(part.run, part.name)
    store = FileStore(part.root, sealing=True, limits=StoreLimits(), bus=bus)
    keys = KEYS[ANNE]
    account = store.open_account(ANNE, replace(keys, secret=None) if part.delivery else keys)
    mail, report, lock = account.mail, Report(), threading.Lock()
    inbox, archive = mail.find("INBOX").id, mail.find("Archive").id

    def timed(kind: str, begun: float) -> None:
        with lock:
            report.seconds.setdefault(kind, []).append(time.monotonic() - begun)

    def put(kind: str, name: str) -> Uid:
        begun = time.monotonic()
        writer = mail.new_message()
        writer.write(f"From: a@b.example\r\nSubject: {name}\r\nX-Id: {name}\r\n\r\n{'Bonjour. ' * 400}\r\n".encode())
        writer.finish()
        appended = mail.append(inbox, [Draft(writer, delivery_id=name if part.delivery else None)])
        timed(kind, begun)
        with lock:
            report.arrived.setdefault("INBOX", []).append((name, appended.uids[0]))
            report.modseqs.append(("INBOX", appended.modseq))
        return appended.uids[0]

    def flags(mailbox: MailboxId, uid: Uid, flag: str) -> None:
        begun = time.monotonic()
        stored = mail.store_flags(mailbox, [uid], FlagOp.ADD, frozenset({flag}))
        timed("STORE", begun)
        with lock:
            assert list(stored.changed) == [uid], stored
            report.modseqs.append(("INBOX", stored.modseq))

    def write(number: int) -> None:
        try:
            for turn in range(part.rounds):
                name = f"{part.name}-{number}-{turn}"
                if part.delivery:
                    put("delivery", name)
                    continue
                uid = put("APPEND", name)
                flags(inbox, uid, "\\Seen")
                if turn % 3 == 1:
                    begun = time.monotonic()
                    copied = mail.move(inbox, [uid], archive)
                    timed("MOVE", begun)
                    with lock:
                        report.arrived["INBOX"].remove((name, uid))
                        report.arrived.setdefault("Archive", []).append((name, copied.destination[0]))
                elif turn % 3 == 2:
                    flags(inbox, uid, "\\Deleted")
                    begun = time.monotonic()
                    gone = mail.expunge(inbox, [uid])
                    timed("EXPUNGE", begun)
                    with lock:
                        assert list(gone) == [uid]
                        report.arrived["INBOX"].remove((name, uid))
                        report.removed += 1
            with lock:
                report.finished += 1
        except Exception as error:
            with lock:
                report.errors.append(f"{part.name}-{number}: {error!r}")

    threads = [threading.Thread(target=write, args=(number,), daemon=True) for number in range(part.writers)]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + PATIENCE
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
        if thread.is_alive():
            report.errors.append(f"{part.name}: a writer never ended")
            return report
    account.close()
    store.close()
    bus.close()
    return report


def crowd(folder: Path, *, writers: int = 50, rounds: int = 6) -> list[Report]:
    """Half of the writers deliver, in one process; the others work in two, as IMAP workers do."""
    root, run = folder / "store", folder / "run"
    run.mkdir()
    first = FileStore(root, sealing=True, limits=StoreLimits(), bus=SilentBus())
    first.open_account(ANNE, KEYS[ANNE]).close()
    first.close()
    deliver = writers // 2
    serve = writers - deliver
    parts = [
        Part(root, run, "delivery-1", True, deliver, rounds),
        Part(root, run, "imap-1", False, serve // 2, rounds),
        Part(root, run, "imap-2", False, serve - serve // 2, rounds),
    ]
    with multiprocessing.get_context("spawn").Pool(len(parts)) as pool:
        return pool.map_async(work, parts, chunksize=1).get(PATIENCE + 60.0)


def findings(folder: Path, reports: list[Report]) -> list[str]:
    """What is wrong after it: nothing, if all is well."""
    wrong = [error for report in reports for error in report.errors]
    root = folder / "store"
    store = FileStore(root, sealing=True, limits=StoreLimits(), bus=SilentBus())
    account = store.open_account(ANNE, KEYS[ANNE])
    for name in ("INBOX", "Archive"):
        mailbox = account.mail.find(name).id
        view = account.mail.open(mailbox)
        acknowledged = sorted(pair[::-1] for report in reports for pair in report.arrived.get(name, ()))
        uids = [uid for uid, _ in acknowledged]
        if uids != list(view.uids):
            wrong.append(f"{name}: {len(uids)} acknowledged, {len(view.uids)} there, or under other UIDs")
        for uid, identity in acknowledged:
            with account.mail.read_message(mailbox, Uid(uid)) as reader:
                if f"X-Id: {identity}\r\n".encode() not in reader.read():
                    wrong.append(f"{name}: {uid} is not {identity}")
        view.close()
    given = Counter(modseq for report in reports for modseq in report.modseqs)
    wrong += [f"MODSEQ {modseq} was given {times} times" for modseq, times in given.items() if times > 1]
    account.close()
    store.close()
    wrong += [str(found) for found in verify_account(root, ANNE, KEYS[ANNE], sealing=True)]
    return wrong


def main() -> int:
    """Print what it took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--writers", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=30)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="preau-crowd-") as name:
        folder = Path(name)
        begun = time.monotonic()
        reports = crowd(folder, writers=given.writers, rounds=given.rounds)
        print(f"{given.writers} writers, {given.rounds} rounds each: {time.monotonic() - begun:.1f} s")
        every: dict[str, list[float]] = {}
        for report in reports:
            for kind, seconds in report.seconds.items():
                every.setdefault(kind, []).extend(seconds)
        for kind, seconds in sorted(every.items()):
            seconds.sort()
            at = [1000 * seconds[int(len(seconds) * part)] for part in (0.5, 0.9, 0.99)]
            print(
                f"{kind:<9} {len(seconds):>6}  median {at[0]:7.1f} ms  p90 {at[1]:7.1f}  p99 {at[2]:7.1f}"
                f"  worst {1000 * seconds[-1]:7.1f}"
            )
        wrong = findings(folder, reports)
        print("\n".join(wrong) or "all is well")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
