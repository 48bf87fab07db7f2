"""Wall time, processor time of a server's whole process tree, and memory as PSS; alternating rounds, medians, ratios."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

_TICK = os.sysconf("SC_CLK_TCK")
_QUIET = 0.05  # seconds of processor time in one second: background work is done
_PATIENCE = 900.0  # seconds


def tree(pid: int) -> list[int]:
    """The process and all its descendants."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except (OSError, IndexError):
                continue
            children.setdefault(parent, []).append(int(entry.name))
    found, queue = [], [pid]
    while queue:
        process = queue.pop()
        found.append(process)
        queue += children.get(process, [])
    return found


def cpu_seconds(pid: int) -> float:
    """Processor seconds of the tree so far, its ended children too."""
    ticks = 0
    for process in tree(pid):
        try:
            fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        ticks += sum(int(value) for value in fields[11:15])
    return ticks / _TICK


def settle(pid: int) -> None:
    """Wait until what a server does in the background, its indexing mostly, is done: three quiet seconds in a row."""
    ends = time.monotonic() + _PATIENCE
    quiet = 0
    while quiet < 3 and time.monotonic() < ends:
        before = cpu_seconds(pid)
        time.sleep(1.0)
        quiet = quiet + 1 if cpu_seconds(pid) - before <= _QUIET else 0


def pss_kib(pid: int) -> int:
    """Proportional memory of the tree in KiB: pages shared by several processes count once."""
    total = 0
    for process in tree(pid):
        try:
            text = Path(f"/proc/{process}/smaps_rollup").read_text()
        except OSError:
            continue
        total += next((int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:")), 0)
    return total


def roles(pid: int) -> dict[int, str]:
    """The processes of ours below `pid` that are `preau serve ROLE`, with their roles."""
    found = {}
    for process in tree(pid):
        words = Path(f"/proc/{process}/cmdline").read_bytes().split(b"\0")
        role = words[words.index(b"serve") + 1] if b"serve" in words else b""
        if role.isalpha():
            found[process] = role.decode()
    return found


def peak_kib(pid: int, *, forget: bool = False) -> int:
    """The most memory (RSS) a process had since it was last told to `forget`, in KiB. Raise OSError for what has ended."""
    if forget:
        Path(f"/proc/{pid}/clear_refs").write_text("5")  # proc(5): resets the peak to what it has now
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))


@dataclass
class Figure:
    """One operation on one server: seconds of each round, processor seconds in all, and the work that was done."""

    wall: list[float] = field(default_factory=list)
    cpu: float = 0.0
    work: int = 0

    @property
    def median(self) -> float:
        """Median wall seconds of a round."""
        return statistics.median(self.wall)


def measure(action: Callable[[], int], pid: int, figure: Figure) -> None:
    """Run one round; `action` gives the work it did (octets, hits or messages)."""
    before = cpu_seconds(pid)
    begin = time.perf_counter()
    figure.work = action()
    figure.wall.append(time.perf_counter() - begin)
    figure.cpu += cpu_seconds(pid) - before
