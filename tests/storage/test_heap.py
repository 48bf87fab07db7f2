"""heap: what was freed goes back to the system."""

import subprocess
import sys

import pytest

from preau.storage import heap
from preau.storage.background import Background

FREED_AMONG_WHAT_STAYS = """
from pathlib import Path
from preau.storage import heap
from preau.storage.background import Background

def resident_kib():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:"))

heap.DELAY = 0.0
large, stays = [], []
for number in range(1_000):
    large.append(bytes([number & 255]) * 60_000)  # below what malloc maps by itself
    stays.append(bytes([number & 255]) * 600)
large.clear()
before = resident_kib()
background = Background()
heap.give_back_later(background)
background.settle()
background.close()
print(before - resident_kib())
"""


@pytest.mark.skipif(heap._trim is None, reason="malloc_trim(3) is glibc's")
def test_freed_memory_behind_what_stays_is_given_back() -> None:
    # In a process of its own: what others left in the heap would be filled first.
    done = subprocess.run([sys.executable, "-P", "-c", FREED_AMONG_WHAT_STAYS], capture_output=True, text=True, check=True)
    assert int(done.stdout) > 40_000


@pytest.mark.skipif(heap._trim is None, reason="malloc_trim(3) is glibc's")
def test_it_is_done_once_for_what_ends_together() -> None:
    background = Background()
    for _ in range(100):
        heap.give_back_later(background)
    assert len(background._waiting) == 1
    background.close()
