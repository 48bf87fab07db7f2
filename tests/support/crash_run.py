"""Dying at every boundary: a recorded piece of work is replayed, and whatever each kind of death leaves is looked at.

A boundary lies behind each call that changed, flushed or told something. Boundaries that leave the same files and the same
acknowledgements are looked at once. In the normal run of the tests a fixed stride picks some; with PREAU_PROVE=1 all are
looked at, and PREAU_SEEDS says how many torn disks are made of each.

What was looked at is noted in the file that PREAU_PROVE_TABLE names, a line a piece of work: scripts/prove prints it.
"""

import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from disk_log import Call, needs_strace, record_python
from disk_model import MODELS, Disk, fingerprint, put_down

ALL = os.environ.get("PREAU_PROVE") == "1"
SEEDS = int(os.environ.get("PREAU_SEEDS", "1"))
TABLE = os.environ.get("PREAU_PROVE_TABLE")
_ATTEMPTS = 5


@dataclass(frozen=True, slots=True)
class Death:
    """What one death left: files at `root`, and what had been acknowledged."""

    root: Path
    told: tuple[dict[str, Any], ...]
    model: str
    boundary: int
    seed: int
    random: Random

    def __str__(self) -> str:
        """Name it so that it can be found again."""
        steps = [each["step"] for each in self.told]
        return f"{self.model} at boundary {self.boundary}, seed {self.seed}, after {steps[-1] if steps else 'nothing'}"


@dataclass(slots=True)
class Count:
    """What was looked at."""

    boundaries: int = 0
    looked: dict[str, int] = field(default_factory=lambda: dict.fromkeys(MODELS, 0))


@dataclass(frozen=True, slots=True)
class Recording:
    """A piece of work: the files before it, and its calls. `boundaries`: positions of calls that change something."""

    disk: Disk
    calls: list[Call]
    boundaries: frozenset[int]
    told: tuple[dict[str, Any], ...]
    """All that was acknowledged, to the end."""


class Misread(Exception):
    """A log that contradicts itself: the work is to be recorded again.

    strace writes a call down when it ends; among many threads a descriptor's number may be another file's before its closing
    is told.
    """


def record(folder: Path, script: Path, prepare: Callable[[Path], object], *words: str) -> Recording:
    """Run `python SCRIPT ROOT WORDS...` on what `prepare` made at ROOT, and read what it did; again where the log misreads."""
    needs_strace()
    for attempt in range(_ATTEMPTS):
        root = folder / f"root{attempt}"
        prepare(root)
        disk = Disk(root)
        calls = record_python(script, str(root), *words, log=folder / f"log{attempt}")
        try:
            return _read(disk, calls)
        except Misread:
            if attempt == _ATTEMPTS - 1:
                raise
    raise AssertionError


def _read(disk: Disk, calls: list[Call]) -> Recording:
    dry = deepcopy(disk)
    try:
        boundaries = frozenset(position for position, call in enumerate(calls) if dry.step(call))
    except AssertionError as error:
        raise Misread(str(error)) from error
    return Recording(disk, calls, boundaries, parse(dry.told))


def parse(told: Iterable[bytes]) -> tuple[dict[str, Any], ...]:
    """Acknowledgements."""
    return tuple(json.loads(line) for line in b"".join(told).splitlines())


def deaths(
    recording: Recording, folder: Path, *, looks: int, begin: str = "", models: Sequence[str] = MODELS
) -> Iterator[Death]:
    """All of them, or about `looks` of each model; `begin`: the step behind which they count.

    The files of one are gone when the next is asked for.
    """
    disk = deepcopy(recording.disk)
    begun = not begin
    count = Count()
    told: tuple[dict[str, Any], ...] = ()
    pieces = 0
    seen: set[tuple[str, bytes, int]] = set()
    stride = 1 if ALL else max(1, len(recording.boundaries) // looks)
    number = 0
    for position, call in enumerate(recording.calls):
        disk.step(call)
        if position not in recording.boundaries:
            continue
        if len(disk.told) != pieces:
            pieces, told = len(disk.told), parse(disk.told)
            begun = begun or told[-1]["step"] == begin
        if not begun:
            continue
        number += 1
        count.boundaries += 1
        for offset, model in enumerate(MODELS):
            if model not in models or (number + offset * stride // len(MODELS)) % stride:
                continue
            for seed in range(SEEDS if model == "torn" else 1):
                random = Random(f"{number} {seed}")
                state = disk.state(model, random)
                mark = (model, fingerprint(state), len(told))
                if mark in seen:
                    continue
                seen.add(mark)
                put_down(state, folder)
                count.looked[model] += 1
                yield Death(folder, told, model, number, seed, random)
    test = os.environ.get("PYTEST_CURRENT_TEST", folder.name).rpartition("::")[2].split(" ")[0]
    note(test, boundaries=count.boundaries, **count.looked)


def note(test: str, **counts: int) -> None:
    """Note what was looked at, for scripts/prove."""
    if TABLE:
        with open(TABLE, "a", encoding="utf-8") as table:
            table.write(json.dumps({"test": test, **counts}) + "\n")
