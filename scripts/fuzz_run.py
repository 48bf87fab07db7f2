"""Run the targets of tests/support/fuzz_targets.py under atheris, each for some seconds, and keep what reaches new code.

What it finds lies in tests/fuzz/finds/; each becomes a named test. With --keep, the smallest inputs that reach all that was
reached go to tests/fuzz/corpus/, which `scripts/test` runs. Exit code 1: something was found.
"""

import argparse
import base64
import math
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CORPUS = ROOT / "tests" / "fuzz" / "corpus"
FINDS = ROOT / "tests" / "fuzz" / "finds"
KEPT, LONGEST = 60, 600
_START = 3  # seconds that a target takes to be instrumented and to end


def saved(name: str) -> list[bytes]:
    """The corpus of a target."""
    file = CORPUS / f"{name}.b64"
    return [base64.b64decode(line) for line in file.read_text().split()] if file.exists() else []


def run_one(name: str, *, seconds: int, kept: bool) -> bool:
    """Whether nothing was found; `kept`: what reached new code goes into the corpus."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "corpus"
        for path in (place, FINDS):
            path.mkdir(exist_ok=True, parents=True)
        command = [sys.executable, "-P", __file__, "--child", name]
        common = ["-max_len=4096", "-timeout=20", "-rss_limit_mb=2048", f"-artifact_prefix={FINDS}/{name}-"]
        done = subprocess.run(
            [*command, *common, f"-max_total_time={seconds}", str(place)], capture_output=True, text=True, check=False
        )
        if kept:
            # What lies there reached something new, or reached it with fewer octets.
            found = sorted((path.read_bytes() for path in place.iterdir() if not path.name.startswith("seed")), key=len)
            keep(name, [data for data in found if len(data) <= LONGEST][:KEPT])
    runs = next((line for line in reversed(done.stderr.splitlines()) if line.startswith(("Done", "#"))), "")
    print(f"{name:<18} {'nothing' if done.returncode == 0 else 'FOUND':<8} {runs[:90]}", flush=True)
    if done.returncode:
        print(done.stderr[-3_000:], file=sys.stderr)
    return done.returncode == 0


def keep(name: str, inputs: list[bytes]) -> None:
    """Write the corpus of a target, a line each."""
    if inputs:
        CORPUS.mkdir(exist_ok=True, parents=True)
        text = "".join(base64.b64encode(data).decode() + "\n" for data in sorted(inputs) if data)
        (CORPUS / f"{name}.b64").write_text(text)


def child(name: str, arguments: list[str]) -> None:
    """One target, in a process of its own."""
    import atheris

    sys.path.insert(0, str(ROOT / "tests" / "support"))
    with atheris.instrument_imports(include=["preau"]):
        from fuzz_targets import SEEDS, TARGETS
    place = Path(arguments[-1])
    for number, data in enumerate(SEEDS[name]):
        (place / f"seed{number}").write_bytes(data)
    for number, data in enumerate(saved(name)):
        (place / f"saved{number}").write_bytes(data)
    atheris.Setup(["fuzz", *arguments], TARGETS[name])
    atheris.Fuzz()


def main() -> int:
    """Each target in turn, some at a time."""
    if sys.argv[1:2] == ["--child"]:
        child(sys.argv[2], sys.argv[3:])
        return 0
    sys.path.insert(0, str(ROOT / "tests" / "support"))
    from fuzz_targets import TARGETS

    words = argparse.ArgumentParser(prog="scripts/fuzz", description="Look for octets that break a reader.")
    words.add_argument("targets", nargs="*", metavar="TARGET", help=f"of: {', '.join(TARGETS)} (default: all)")
    words.add_argument("--seconds", type=int, default=60, help="for each target (default 60)")
    words.add_argument("--within", type=int, metavar="SECONDS", help="for all of them: each gets less when that is not enough")
    words.add_argument("--keep", action="store_true", help="keep what reaches new code in tests/fuzz/corpus")
    cores = len(os.sched_getaffinity(0))
    words.add_argument("--jobs", type=int, default=cores, help=f"targets at a time (default: one a core, {cores})")
    chosen = words.parse_args()
    unknown = [name for name in chosen.targets if name not in TARGETS]
    if unknown:
        words.error(f"no target: {', '.join(unknown)}")
    targets, jobs, seconds = chosen.targets or list(TARGETS), max(chosen.jobs, 1), chosen.seconds
    if chosen.within is not None:
        seconds = min(seconds, chosen.within // math.ceil(len(targets) / jobs) - _START)
    if seconds < 1:  # libFuzzer takes 0 for "without end"
        print("no time to look for anything", file=sys.stderr)
        return 0
    print(f"{len(targets)} targets, {seconds} s each", flush=True)
    with ThreadPoolExecutor(jobs) as pool:
        well = list(pool.map(partial(run_one, seconds=seconds, kept=chosen.keep), targets))
    return 0 if all(well) else 1


if __name__ == "__main__":
    sys.exit(main())
