"""What a command says: its answer on standard output, everything else on standard error.

Owns the two forms of an answer: tables and sentences for people, one JSON value with --json. Never decides an exit code.
"""

import contextlib
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text


class Output:
    """One command's voice. Text from accounts and clients is never taken as markup."""

    def __init__(self, *, json_lines: bool) -> None:
        """`json_lines`: answer in JSON."""
        self.json = json_lines
        # A pipe has no width: nothing may be cut or wrapped there.
        width = None if sys.stdout.isatty() else 10_000
        self._console = Console(file=sys.stdout, markup=False, highlight=False, emoji=False, width=width, soft_wrap=True)
        self._errors = Console(file=sys.stderr, markup=False, highlight=False, emoji=False, soft_wrap=True)

    def answer(self, value: Any, *lines: str) -> None:
        """The answer: `value` for machines, `lines` for people."""
        if self.json:
            self._write_json(value)
        else:
            for line in lines:
                self._console.print(Text(line))

    def table(self, rows: Sequence[Mapping[str, Any]], columns: Mapping[str, str], *, empty: str) -> None:
        """Rows as a table: `columns` maps a key of a row to its heading. `empty` is said when there are none."""
        if self.json:
            self._write_json(rows)
            return
        if not rows:
            self.note(empty)
            return
        table = Table(box=None, pad_edge=False, header_style="bold")
        for heading in columns.values():
            table.add_column(heading, overflow="fold", justify="left")
        for row in rows:
            table.add_row(*(Text(_cell(key, row.get(key))) for key in columns))
        self._console.print(table)

    def facts(self, value: Mapping[str, Any], names: Mapping[str, str] | None = None) -> None:
        """One thing, a fact a line; `names` chooses, orders and names them."""
        if self.json:
            self._write_json(value)
            return
        shown = names or {key: key.replace("_", " ") for key in value}
        width = max((len(name) for name in shown.values()), default=0)
        for key, name in shown.items():
            if key in value:
                self._console.print(Text(f"{name:{width}}  {_cell(key, value[key])}"))

    def note(self, text: str) -> None:
        """Something beside the answer, for people only."""
        if not self.json:
            self._errors.print(Text(text))

    def complain(self, text: str) -> None:
        """Why the command was refused."""
        if self.json:
            sys.stderr.write(json.dumps({"error": text}, ensure_ascii=False) + "\n")
        else:
            self._errors.print(Text(f"preau: {text}"))

    @contextlib.contextmanager
    def progress(self, what: str, total: int) -> Iterator[Callable[[float], None]]:
        """Show how far long work is: the callable takes how many more are done. Silent when nobody watches."""
        if self.json or not sys.stderr.isatty():
            yield lambda done: None
            return
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=self._errors, transient=True) as bar:
            task = bar.add_task(what, total=total)
            yield lambda done: bar.advance(task, done)

    def _write_json(self, value: Any) -> None:
        sys.stdout.write(json.dumps(value, ensure_ascii=False, indent=2 if sys.stdout.isatty() else None) + "\n")


_MOMENTS = frozenset({"created", "expires", "last_used", "last_used_at", "locked_at", "time", "revoked", "password_changed"})


def _cell(key: str, value: Any) -> str:
    match value:
        case None | "" | []:
            return "-"
        case bool():
            return "yes" if value else "no"
        case int() if key in _MOMENTS:
            return render_moment(value)
        case int() if key in ("quota", "size", "used"):
            return render_octets(value)
        case list() | tuple():
            return ", ".join(_cell("", item) for item in value)
        case dict():
            return ", ".join(f"{name}={_cell(name, item)}" for name, item in value.items())
        case _:
            # Hostile text (client names, labels) must not move the operator's cursor.
            return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in str(value))


def render_moment(seconds: int) -> str:
    """Seconds since 1970 as local date and time with its offset."""
    try:
        return datetime.fromtimestamp(seconds, UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S%z")
    except (OverflowError, ValueError, OSError):
        return str(seconds)


def render_octets(octets: int) -> str:
    """Octets with a unit that keeps the number short."""
    size = float(octets)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"
