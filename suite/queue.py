"""`preau queue`: what waits to be delivered or sent on, and what an operator may do with it.

Owns how messages and recipients are shown. The queue process answers (smtp/queue_admin.py, RUN/queue-admin.sock): there is
no queue to look at while it does not run, because it alone has the key.
"""

import time
from collections.abc import Iterator, Mapping
from typing import Any

from ..daemon.rpc import RpcRefused, RpcUnavailable, call_blocking
from .administration import answers
from .invocation import Invocation, Verbs
from .layout import layout_of
from .outcome import Misused, Refused
from .output import render_moment, render_octets

_PAGE = 25  # messages of one call: each may have a thousand recipients, and an answer is a frame of bounded size
_SLOW = 60.0  # seconds
_COLUMNS = {"id": "ID", "age": "AGE", "size": "SIZE", "from": "FROM", "to": "TO", "state": "STATE", "next": "NEXT TRY"}
_RECIPIENTS = {
    "address": "TO",
    "state": "STATE",
    "attempts": "TRIES",
    "tried": "LAST TRY",
    "next": "NEXT TRY",
    "status": "STATUS",
    "host": "HOST",
    "reply": "REPLY",
}
_SHOWN_TO = 3  # recipients of a message in the list

_EXAMPLES = """\
  preau queue list
  preau queue list --to nadia.benali@parents.example --json
  preau queue show 6a13f2c04be1d0a2f7
  preau queue retry --all                         after an outage
  preau queue delete 6a13f2c04be1d0a2f7 --bounce   its sender is told
"""


def add_verbs(verbs: Verbs) -> None:
    """Add `queue`."""
    group = verbs.group("queue", "look at the mail queue, and act on it", examples=_EXAMPLES)
    listing = group.add("list", run_list, "list messages, oldest first", examples=_EXAMPLES)
    listing.add_argument("--to", metavar="ADDRESS", default="", help="only messages with this recipient")
    listing.add_argument("--limit", metavar="N", type=int, default=1_000, help="at most N messages (default 1000)")
    group.add("show", run_show, "show a message's recipients and what was answered").add_argument("id", metavar="ID")
    retry = group.add("retry", run_retry, "try now, hosts that were down as well")
    retry.add_argument("id", metavar="ID", nargs="?")
    retry.add_argument("--all", action="store_true", help="every message")
    group.add("hold", run_hold, "keep a message from further tries").add_argument("id", metavar="ID")
    group.add("release", run_release, "end a hold and try now").add_argument("id", metavar="ID")
    delete = group.add("delete", run_delete, "give a message up, silently unless --bounce")
    delete.add_argument("id", metavar="ID")
    delete.add_argument("--bounce", action="store_true", help="tell its sender")


def run_list(invocation: Invocation) -> None:
    """List."""
    arguments = invocation.arguments
    if arguments.limit < 1:
        raise Misused(f"--limit {arguments.limit}: give 1 or more")
    messages = list(_messages(invocation, arguments.to, arguments.limit))
    rows = messages if invocation.output.json else [_row(message, time.time()) for message in messages]
    invocation.output.table(rows, _COLUMNS, empty="the queue is empty" if not arguments.to else "no such message")
    if len(messages) == arguments.limit:
        invocation.output.note(f"{arguments.limit} messages shown; --limit N shows more")


def run_show(invocation: Invocation) -> None:
    """Show one."""
    message = _call(invocation, "show", id=invocation.arguments.id)["message"]
    if message is None:
        raise Refused(f"no such message in the queue: {invocation.arguments.id!r}")
    if invocation.output.json:
        invocation.output.answer(message)
        return
    facts = {
        "id": message["id"],
        "from": message["reverse_path"] or "<>",
        "size": message["size"],
        "received": _moment(message["received"]),
        "given up": _moment(message["expires"]),
        "state": _state(message),
        "account": message["account"],
    }
    invocation.output.facts({name: value for name, value in facts.items() if value != ""})
    rows = [{**one, "tried": _moment(one["tried_at"]), "next": _moment(one["next_try"])} for one in message["recipients"]]
    invocation.output.table(rows, _RECIPIENTS, empty="")


def run_retry(invocation: Invocation) -> None:
    """Try one or all now."""
    arguments = invocation.arguments
    if arguments.all == (arguments.id is not None):
        raise Misused("give an ID, or --all")
    fields = {"all": True} if arguments.all else {"id": arguments.id}
    _did(invocation, "retry", "{} recipients are tried now.", **fields)


def run_hold(invocation: Invocation) -> None:
    """Hold one."""
    _did(invocation, "hold", "Held.", "It was held already.", id=invocation.arguments.id)


def run_release(invocation: Invocation) -> None:
    """Release one."""
    _did(invocation, "release", "Released.", "It was not held; it is tried now.", id=invocation.arguments.id)


def run_delete(invocation: Invocation) -> None:
    """Give one up."""
    arguments = invocation.arguments
    _did(invocation, "delete", "{} recipients given up.", id=arguments.id, bounce=arguments.bounce)


def _did(invocation: Invocation, op: str, done: str, nothing: str = "", **fields: Any) -> None:
    count = _call(invocation, op, **fields)["count"]
    invocation.output.answer({"count": count}, done.format(count) if count or not nothing else nothing)


def _messages(invocation: Invocation, address: str, most: int) -> Iterator[Mapping[str, Any]]:
    after: str | None = ""
    while most > 0 and after is not None:
        page = _call(invocation, "list", after=after, limit=min(_PAGE, most), address=address)
        yield from page["messages"]
        most -= len(page["messages"]) or most
        after = page["next"]


def _call(invocation: Invocation, op: str, **fields: Any) -> dict[str, Any]:
    path = layout_of(invocation.settings).queue_admin_socket
    if not answers(path):
        raise Refused(f"the queue is not running (nobody answers on {path}): `preau serve` starts it")
    try:
        return call_blocking(path, op, timeout=_SLOW, **fields)
    except RpcRefused as error:
        raise Refused(str(error)) from None
    except RpcUnavailable as error:
        raise Refused(f"the queue does not answer ({error}); see its log") from None


def _row(message: Mapping[str, Any], now: float) -> dict[str, Any]:
    waiting = [one for one in message["recipients"] if one["state"] == "waiting"]
    to = [one["address"] for one in waiting or message["recipients"]]
    more = f" and {len(to) - _SHOWN_TO} more" if len(to) > _SHOWN_TO else ""
    tries = [one["next_try"] for one in waiting]
    return {
        "id": message["id"],
        "age": _span(now - message["received"]),
        "size": render_octets(message["size"]),
        "from": message["reverse_path"] or "<>",
        "to": ", ".join(to[:_SHOWN_TO]) + more,
        "state": _state(message),
        "next": "" if message["held"] or not tries else _moment(min(tries)),
    }


def _state(message: Mapping[str, Any]) -> str:
    if message["held"]:
        return "held"
    return "tried now" if message["tried_now"] else "waiting"


def _moment(seconds: int) -> str:
    return render_moment(seconds) if seconds else ""


def _span(seconds: float) -> str:
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"
