"""`preau traces` and `preau why`: who connected when, and what a reference of a refusal means.

Owns how far back is asked and how events are shown. Never changes a trace.
"""

import re
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from .administration import open_administration
from .invocation import Invocation, Verbs
from .outcome import Misused, Refused

_BACK = re.compile(r"([0-9]{1,5})(min|h|d)")
_UNITS = {"min": 60, "h": 3600, "d": 86_400}
_COLUMNS = {
    "t": "TIME",
    "ev": "EVENT",
    "address": "ADDRESS",
    "svc": "SERVICE",
    "cred": "CREDENTIAL",
    "net": "NETWORK",
    "why": "WHY",
    "cli": "CLIENT",
    "ref": "REF",
}
_HIDDEN = frozenset({"v", "seq", "prev", "acct", "sid", "tls", "mech"})

_EXAMPLES = """\
  preau traces show marie.durand@ecole.example --since 7d
  preau traces verify
  preau why 7K2F
"""


def add_verbs(verbs: Verbs) -> None:
    """Add `traces` and `why`."""
    group = verbs.group("traces", "connection traces", examples=_EXAMPLES)
    show = group.add("show", run_show, "show the traces of an account, oldest first", examples=_EXAMPLES)
    show.add_argument("address", metavar="ADDRESS")
    show.add_argument("--since", metavar="WHEN", help="7d, 12h, 30min, or a date like 2026-11-25 or 2026-11-25T07:42")
    group.add("verify", run_verify, "recompute the chain: whether a trace was changed or removed")
    why = verbs.add("why", run_why, "what happened behind a reference that a user read out", examples=_EXAMPLES)
    why.add_argument("reference", metavar="REF")


def run_show(invocation: Invocation) -> None:
    """Show."""
    arguments = invocation.arguments
    since = None if arguments.since is None else parse_since(arguments.since, int(time.time()))
    with open_administration(invocation.settings) as administration:
        rows = administration.traces_show(arguments.address, since=since)
    _show(invocation, rows, "no traces in that time")


def run_verify(invocation: Invocation) -> None:
    """Verify. Refused when the chain is broken."""
    with open_administration(invocation.settings) as administration:
        found = administration.traces_verify()
    if found["ok"]:
        invocation.output.answer(found, f"{found['checked']} traces, none changed or removed.")
        return
    invocation.output.answer(found)
    raise Refused(f"the chain breaks at {found['first_bad']} in {found['file']}: {found['checked']} traces before it are good")


def run_why(invocation: Invocation) -> None:
    """Explain a reference."""
    with open_administration(invocation.settings) as administration:
        rows = administration.why(invocation.arguments.reference)
    if not rows:
        raise Refused(f"no event has the reference {invocation.arguments.reference}")
    _show(invocation, rows, "")


def parse_since(text: str, now: int) -> int:
    """Seconds since 1970 of "7d", "12h", "30min" before `now`, or of a local date. Raise Misused."""
    if match := _BACK.fullmatch(text):
        return now - int(match[1]) * _UNITS[match[2]]
    try:
        return int(datetime.fromisoformat(text).astimezone().timestamp())
    except (ValueError, OverflowError):
        raise Misused(f"--since {text}: give 7d, 12h, 30min, or a date like 2026-11-25 or 2026-11-25T07:42") from None


def _show(invocation: Invocation, rows: Sequence[Mapping[str, Any]], empty: str) -> None:
    present = {name for row in rows for name in row} - _HIDDEN
    columns = {name: heading for name, heading in _COLUMNS.items() if name in present}
    columns |= {name: name.upper() for name in sorted(present - set(_COLUMNS))}
    invocation.output.table(rows, columns, empty=empty)
