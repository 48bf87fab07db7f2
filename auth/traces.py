"""Connection traces: who signed in or tried, from where, when; what operators did (auth-security 2.4).

Owns writing: the place in the chain, durability, the turn of files, retention. An event is in the file when `event`
returns and on the disk after the next `sync`: within a second for sign-ins, before the answer for what an operator does.
The chain goes on after a restart. If it was found cut or edited, it goes on in such a way that verification names the
place for ever, and says so in an event of its own. Reading and verifying are in trace_files.py.

Never writes a secret; never a typed login that is no account's. Any thread.
"""

import hmac
import threading
import time
from collections.abc import Callable
from datetime import date, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any

from ..daemon.log import logger
from ..storage import atomic
from . import trace_files
from .trace_files import EMPTY_HEAD, GENESIS, HEAD, Head, Verified

log = logger("auth")

_DAY = 86_400
MAX_FILE = 64 * 1024 * 1024


class Traces:
    """The traces of one instance, in one process at a time (auth's lock on auth.db)."""

    def __init__(
        self,
        folder: Path,
        key: bytes,
        *,
        retention_days: int = 183,
        clock: Callable[[], float] = time.time,
        max_file: int = MAX_FILE,
    ) -> None:
        """Open `folder`, making it. `key` vouches for the head. Raise storage.api.Unavailable."""
        self._folder = folder
        self._key = key
        self._retention = retention_days
        self._clock = clock
        self._max_file = max_file
        self._lock = threading.Lock()  # the chain and the file being written
        self._sync_lock = threading.Lock()  # one flush at a time
        self._file: atomic.AppendFile | None = None
        self._name = ""
        self._before = ""  # day of the file before, YYYY-MM-DD
        self._retired: list[atomic.AppendFile] = []
        self._unsynced = False
        self._seq = 0
        self._hash = GENESIS
        self._head = EMPTY_HEAD
        atomic.make_directory(folder, mode=0o700, shared=False)
        self._resume()

    # -- writing

    def event(self, name: str, /, **fields: object) -> int:
        """Append an event; answers its seq. None values are left out. Raise storage.api.Unavailable."""
        with self._lock:
            return self._append(name, fields)

    def _append(self, name: str, fields: dict[str, object]) -> int:
        now = self._clock()
        seq = self._seq + 1
        line = trace_files.render_line(
            {
                **{field: value for field, value in fields.items() if value is not None},
                "v": 1,
                "ev": name,
                "seq": seq,
                "t": iso_time(now),
                "prev": self._hash.hex(),
            }
        )
        self._file_for(now).append(line + b"\n")
        self._seq, self._hash = seq, trace_files.next_hash(self._hash, line)
        self._unsynced = True
        return seq

    def mark(self, text: str) -> str:
        """What stands for a typed login that is no account's: a MAC, the same for the same text."""
        return hmac.digest(self._key, b"login\0" + text.encode("utf-8", "surrogatepass"), "sha256")[:8].hex()

    def sync(self) -> None:
        """Put what was appended on the disk, and vouch for it. Raise storage.api.Unavailable."""
        with self._sync_lock:
            with self._lock:
                if not self._unsynced:
                    return
                self._unsynced = False
                files, self._retired = self._retired, []
                current = self._file
                head = Head(self._seq, self._hash, self._head.first_seq, self._head.first_prev)
            try:
                for file in files:
                    file.sync()
                if current is not None:
                    current.sync()
                self._write_head(head)
            except BaseException:
                with self._lock:
                    self._unsynced = True
                    self._retired = files + self._retired
                raise
            for file in files:
                file.close()
            if files:
                self._prune()

    def _write_head(self, head: Head) -> None:
        atomic.replace_file(self._folder / HEAD, trace_files.render_head(head, self._key), mode=0o600)
        self._head = head

    def close(self) -> None:
        """Flush and close. Raise storage.api.Unavailable."""
        self.sync()
        with self._sync_lock, self._lock:
            if self._file is not None:
                self._file.close()
                self._file = None

    # -- questions

    def verify(self) -> Verified:
        """Recompute the chain as far as it is written now. Raise storage.api.Unavailable."""
        self.sync()
        with self._lock:
            until = self._seq
        return trace_files.verify(self._folder, self._key, until=until)

    def of_account(self, account: str, *, since: float | None = None, limit: int = 5000) -> list[dict[str, Any]]:
        """Events of an account, oldest first, the newest `limit`."""
        return trace_files.find(self._folder, "acct", account, since=iso_time(since) if since else "", limit=limit)

    def of_reference(self, reference: str, *, limit: int = 20) -> list[dict[str, Any]]:
        """Events under a reference that was told to a user, on the last day that has it."""
        return trace_files.find(self._folder, "ref", reference, limit=limit, newest_file_only=True)

    # -- files

    def _file_for(self, now: float) -> atomic.AppendFile:
        # A clock that goes back must not begin a file that sorts before the present one.
        day = max(iso_time(now)[:10], self._name[:10])
        if self._file is not None and self._name[:10] == day and self._file.size < self._max_file:
            return self._file
        number = int(self._name[11:14]) + 1 if self._name[:10] == day else 0
        if number > 999:
            if self._file is not None:
                return self._file  # a thousand files in a day: the last one grows
            number = 999
        return self._turn_to(trace_files.file_name(day, number))

    def _turn_to(self, name: str) -> atomic.AppendFile:
        file = atomic.AppendFile(self._folder / name, mode=0o600)
        if self._file is not None:
            self._retired.append(self._file)
        if name[:10] != self._name[:10]:
            self._before = self._name[:10]
        self._file, self._name = file, name
        return file

    def _prune(self) -> None:
        """Remove what is too old; by the day before this one, so that a clock that jumps ahead removes nothing."""
        if not self._before:
            return
        oldest = min(
            iso_time(self._clock() - self._retention * _DAY)[:10],
            str(date.fromisoformat(self._before) - timedelta(days=self._retention - 1)),
        )
        files = trace_files.trace_files(self._folder)
        old = [path for path in files if path.name[:10] < oldest and path.name != self._name]
        if not old:
            return
        kept = trace_files.first_event(files[len(old)]) if len(files) > len(old) else None
        if kept is None:
            return
        # First the head says where the chain begins now, then the files go: a crash between leaves files too many.
        self._write_head(Head(self._head.seq, self._head.hash, kept["seq"], bytes.fromhex(kept["prev"])))
        for path in old:
            atomic.unlink(path)
        log.info("old traces removed", files=len(old), before=oldest)

    def _resume(self) -> None:
        head = trace_files.read_head(self._folder, self._key)
        files = trace_files.trace_files(self._folder)
        self._head = head or EMPTY_HEAD
        line, torn = trace_files.last_line(files[-1]) if files else (None, 0)
        if files and head is not None:
            line, torn = _chain_end(files, head) or (line, torn)
        if files and line is None and len(files) > 1:  # made just before a crash: nothing whole in it yet
            line = trace_files.last_line(files[-2])[0]
        event = trace_files.parse_line(line) if line is not None else None
        if files:
            self._name = files[-1].name
        broken = ""
        if event is None:
            self._seq, self._hash = self._head.seq, self._head.hash
            if line is not None:
                broken = "last line unreadable"
            elif self._head.seq:
                broken = "files missing"
        else:
            assert line is not None
            self._seq = event["seq"]
            self._hash = trace_files.next_hash(bytes.fromhex(event["prev"]), line)
            if head is None:
                broken, self._seq = "head missing", self._seq + 1  # leaves a gap, which verification names
            elif head.seq > self._seq or (head.seq == self._seq and head.hash != self._hash):
                broken = "cut off" if head.seq > self._seq else "last line edited"
                self._seq, self._hash = head.seq, head.hash
        if self._name and (torn or broken):  # evidence stays as it is; the chain goes on in another file
            self._turn_to(trace_files.file_name(self._name[:10], min(int(self._name[11:14]) + 1, 999)))
        elif self._name:
            self._turn_to(self._name)
        if broken:
            log.error("traces are not as they were left", what=broken, seq=self._seq)
            self._append("traces.broken", {"why": broken})
        if torn:
            self._append("traces.torn", {"octets": torn})


def _chain_end(files: list[Path], head: Head) -> tuple[bytes | None, int] | None:
    """The last line that goes on from the head, and what follows it in the last file; None when there is none."""
    if (end := trace_files.chain_end(files[-1], head)) is not None:
        return end
    before = trace_files.chain_end(files[-2], head) if len(files) > 1 else None
    if before is None or before[1]:
        return None
    return before[0], files[-1].stat().st_size  # begun just before a power cut: nothing of it was vouched for


def iso_time(seconds: float) -> str:
    """UTC with milliseconds, `2026-11-25T03:26:24.123Z`."""
    whole = int(seconds)
    milliseconds = int((seconds - whole) * 1000)
    return f"{_iso_second(whole)}.{milliseconds:03d}Z"


@lru_cache(maxsize=4)
def _iso_second(whole: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(whole))
