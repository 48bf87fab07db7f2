"""Random sessions held to a model, seed by seed (tests/model): `scripts/prove_model.py --seeds 1000 [--from N]`.

In one process by default; with `--daemons` over the sockets of an instance that is made, served and removed.
Prints each seed with a fault and its story, and how much was done. Ends with 1 when there was a fault.
"""

import argparse
import multiprocessing
import os
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "support"))


def _one(seed: int) -> tuple[int, int, int, str]:
    from model_world import Fault, run_seed

    try:
        return (seed, *run_seed(seed), "")
    except Fault as fault:
        return seed, 0, 0, str(fault)


def _daemons(seeds: range) -> int:
    from instance import make_instance, serving
    from model_daemons import SETTINGS, run_daemons
    from people import People
    from ports import free_base

    begun, commands = time.monotonic(), 0
    with tempfile.TemporaryDirectory(prefix="preau-model-") as name:
        instance = make_instance(Path(name) / "i", free_base(), settings=SETTINGS)
        with serving(instance, "keys", "auth", "delivery", "imap", "dav"):
            people = People(instance)
            for seed in seeds:
                if seed % 20 == 0 or not people.known:
                    person = people.add(f"p{seed}")
                print(f"seed {seed}", file=sys.stderr)
                commands += run_daemons(person, seed)
    print(f"{len(seeds)} seeds, {commands} commands, {time.monotonic() - begun:.0f} s")
    return 0


def main() -> int:
    """Run the seeds, a process a core unless said otherwise."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=1000, help="how many (1000)")
    parser.add_argument("--from", type=int, default=0, dest="first", help="the first one (0)")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1, help="how many at once (a core each)")
    parser.add_argument("--faults", type=int, default=1, help="stop after this many faults (1)")
    parser.add_argument("--daemons", action="store_true", help="over `preau serve` with two IMAP workers")
    given = parser.parse_args()
    if given.daemons:
        return _daemons(range(given.first, given.first + given.seeds))
    begun, commands, changes, done, faults = time.monotonic(), 0, 0, 0, 0
    with multiprocessing.get_context("spawn").Pool(given.processes) as pool:
        for seed, said, changed, fault in pool.imap_unordered(_one, range(given.first, given.first + given.seeds)):
            done, commands, changes = done + 1, commands + said, changes + changed
            if fault:
                faults += 1
                print(f"--- seed {seed}\n{fault}\n", flush=True)
                if faults >= given.faults:
                    pool.terminate()
                    break
    print(
        f"{done} seeds, {commands} commands, {changes} changes of messages, {faults} faults, {time.monotonic() - begun:.0f} s"
    )
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
