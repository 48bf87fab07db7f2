"""heap: what was freed goes back to the system."""

from pathlib import Path

import pytest

from preau.storage import heap
from preau.storage.background import Background

pytestmark = pytest.mark.skipif(heap._trim is None, reason="malloc_trim(3) is glibc's")


def resident_kib() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:"))


def test_freed_memory_behind_what_stays_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heap, "DELAY", 0.0)
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
    assert before - resident_kib() > 40_000
    assert len(stays) == 1_000


def test_it_is_done_once_for_what_ends_together() -> None:
    background = Background()
    for _ in range(100):
        heap.give_back_later(background)
    assert len(background._waiting) == 1
    background.close()
