"""Prints what a run of scripts/prove looked at: `python crash_table.py FILE` (see crash_run)."""

import json
import sys
from pathlib import Path

COLUMNS = ("boundaries", "killed", "cut", "torn", "faults")


def main(table: Path) -> None:
    """A line a test, and the sum."""
    rows = [json.loads(line) for line in table.read_text(encoding="utf-8").splitlines()]
    rows.sort(key=lambda row: str(row["test"]))
    rows.append({"test": "all", **{name: sum(row.get(name, 0) for row in rows) for name in COLUMNS}})
    width = max(len(str(row["test"])) for row in rows)
    print(f"{'':{width}}  {'  '.join(f'{name:>10}' for name in COLUMNS)}")
    for row in rows:
        print(f"{row['test']:{width}}  {'  '.join(f'{row.get(name, 0):>10}' for name in COLUMNS)}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
