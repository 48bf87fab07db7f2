"""`scripts/bench --dav`: calendars and contacts beside Radicale, Xandikos and Cyrus in one run; a table and JSON with ratios.

Usage: scripts/bench --dav [--events N] [--cards N] [--rounds N] [--only WORD ...] [--without NAME ...]
                           [--xandikos COMMAND] [--cyrus FOLDER] [--json FILE]

Servers take turns. What is quick is repeated within a round until it can be measured; what is very slow has fewer rounds.
The work is compared: a ratio with `!` is of an answer with other hits, or with a tenth more or fewer octets of data.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from html import unescape
from pathlib import Path

from .dav_corpus import MONTH, RARE, card_uid, cards, event, event_uid, events
from .dav_peers import Cyrus, DavPeer, OurDav, Radicale, Xandikos
from .dav_wire import DavClient
from .measure import Figure, cpu_seconds, pss_kib
from .wire import Refused

_QUICK = 0.3  # seconds that a round lasts at least
_PATIENCE = 45.0  # seconds of one operation on one server, after which it has no more rounds

_SPACES = ' xmlns="DAV:" xmlns:C="urn:ietf:params:xml:ns:caldav" xmlns:CR="urn:ietf:params:xml:ns:carddav"'
_TOKEN = re.compile(rb"sync-token>([^<]*)</")
_HIT = re.compile(rb"\.(?:ics|vcf)</")
_DATA = re.compile(rb"(?:calendar|address)-data[^>]*>(?:<!\[CDATA\[(.*?)\]\]>|([^<]+))<", re.DOTALL)


@dataclass
class Bench:
    """A server, a connection to it, and what the operations know of it."""

    peer: DavPeer
    events: int
    cards: int
    client: DavClient
    turn: int = 0
    tokens: dict[str, str] = field(default_factory=dict)

    def report(self, name: str, body: str, *, depth: str = "1") -> bytes:
        """The answer to a REPORT on a collection."""
        path = self.peer.collections[name]
        return self.client.request("REPORT", path, body.encode(), Content_Type="application/xml", Depth=depth)

    def propfind(self, name: str, properties: str, depth: str) -> bytes:
        """The answer to a PROPFIND on a collection."""
        body = f"<propfind{_SPACES}><prop>{properties}</prop></propfind>".encode()
        path = self.peer.collections[name]
        return self.client.request("PROPFIND", path, body, Content_Type="application/xml", Depth=depth)

    def sync(self, name: str, token: str) -> bytes:
        """The answer to a sync-collection."""
        wanted = f"<sync-token>{token}</sync-token><sync-level>1</sync-level><prop><getetag/></prop>"
        return self.report(name, f"<sync-collection{_SPACES}>{wanted}</sync-collection>", depth="0")

    def put(self, number: int, turn: int) -> bytes:
        """An event of this number, a version of it."""
        path = f"{self.peer.collections['large']}{event_uid(number)}.ics"
        return self.client.request("PUT", path, event(number, turn), Content_Type="text/calendar; charset=utf-8")


Action = Callable[[Bench], Sequence[bytes]]


@dataclass(frozen=True)
class Operation:
    """`goal`: of Radicale's time; `best`: of the quickest peer's; `within`: milliseconds.

    `prepare` is not measured; `once`: a round is one call, which does `calls` requests; `count`: what is a hit in the answer.
    """

    action: Action
    goal: float | None = None
    best: float | None = 0.7
    within: float | None = None
    prepare: Callable[[Bench], None] = lambda bench: None
    once: bool = False
    calls: int = 1
    count: re.Pattern[bytes] = _HIT


def _list(name: str) -> Action:
    return lambda bench: [bench.propfind(name, "<getetag/>", "1")]


def _sync(name: str, *, initial: bool) -> Action:
    return lambda bench: [bench.sync(name, "" if initial else bench.tokens[name])]


def _learn(name: str) -> Callable[[Bench], None]:
    """Prepare: where the collection stands."""

    def learn(bench: Bench) -> None:
        found = _TOKEN.search(bench.propfind(name, "<sync-token/>", "0")) or _TOKEN.search(bench.sync(name, ""))
        if found is None:
            raise Refused("no sync-token")
        bench.tokens[name] = unescape(found[1].decode())

    return learn


def _change_ten(bench: Bench) -> None:
    _learn("large")(bench)
    _put_over(bench)


def _put_over(bench: Bench) -> Sequence[bytes]:
    bench.turn += 1
    return [bench.put(number * 7 % bench.events, bench.turn) for number in range(10)]


def _put_new(bench: Bench) -> Sequence[bytes]:
    """Ten that were not there; they go again before the next round, so that all have as many."""
    return [bench.put(bench.events + number, bench.turn) for number in range(10)]


def _take_out(bench: Bench) -> None:
    for number in range(10):
        with contextlib.suppress(Refused):
            bench.client.request("DELETE", f"{bench.peer.collections['large']}{event_uid(bench.events + number)}.ics")


def _get(bench: Bench) -> Sequence[bytes]:
    path = bench.peer.collections["large"]
    return [bench.client.request("GET", f"{path}{event_uid(number * 13 % bench.events)}.ics") for number in range(50)]


def _query(data: str) -> Action:
    span = f'<C:time-range start="{MONTH[0]}" end="{MONTH[1]}"/>'
    asked = f'<C:filter><C:comp-filter name="VCALENDAR"><C:comp-filter name="VEVENT">{span}</C:comp-filter></C:comp-filter>'
    body = f"<C:calendar-query{_SPACES}><prop><getetag/>{data}</prop>{asked}</C:filter></C:calendar-query>"
    return lambda bench: [bench.report("large", body)]


def _multiget(count: int) -> Action:
    def action(bench: Bench) -> Sequence[bytes]:
        path, step = bench.peer.collections["large"], max(1, bench.events // count)
        hrefs = "".join(f"<href>{path}{event_uid(n * step)}.ics</href>" for n in range(min(count, bench.events)))
        wanted = "<prop><getetag/><C:calendar-data/></prop>"
        return [bench.report("large", f"<C:calendar-multiget{_SPACES}>{wanted}{hrefs}</C:calendar-multiget>")]

    return action


def _cards(bench: Bench) -> Sequence[bytes]:
    path, count = bench.peer.collections["cards"], min(500, bench.cards)
    hrefs = "".join(f"<href>{path}{card_uid(n * (bench.cards // count))}.vcf</href>" for n in range(count))
    wanted = "<prop><getetag/><CR:address-data/></prop>"
    return [bench.report("cards", f"<CR:addressbook-multiget{_SPACES}>{wanted}{hrefs}</CR:addressbook-multiget>")]


def _find_card(bench: Bench) -> Sequence[bytes]:
    match = f'<CR:text-match collation="i;unicode-casemap" match-type="contains">{RARE}</CR:text-match>'
    asked = f'<CR:filter><CR:prop-filter name="EMAIL">{match}</CR:prop-filter></CR:filter>'
    wanted = "<prop><getetag/><CR:address-data/></prop>"
    return [bench.report("cards", f"<CR:addressbook-query{_SPACES}>{wanted}{asked}</CR:addressbook-query>")]


def _knock(bench: Bench) -> Sequence[bytes]:
    answers = []
    for _ in range(100):
        bench.client.close()
        answers.append(bench.propfind("small", "<getetag/><resourcetype/>", "0"))
    return answers


_EVENT = re.compile(rb"BEGIN:VEVENT")
_CALENDAR = re.compile(rb"BEGIN:VCALENDAR")
_STATUS = re.compile(rb"multistatus>\s*$")
_EXPAND = f'<C:calendar-data><C:expand start="{MONTH[0]}" end="{MONTH[1]}"/></C:calendar-data>'

OPERATIONS: dict[str, Operation] = {
    "PROPFIND Depth 1, getetag": Operation(_list("large"), 0.1),
    "sync-collection, initial": Operation(_sync("large", initial=True), 0.1),
    "sync, nothing new, 100 items": Operation(_sync("small", initial=False), 0.1, prepare=_learn("small")),
    "sync, nothing new": Operation(_sync("large", initial=False), 0.1, prepare=_learn("large")),
    "sync after 10 changes": Operation(_sync("large", initial=False), 0.1, prepare=_change_ten),
    "PUT new": Operation(_put_new, 0.1, prepare=_take_out, once=True, calls=10),
    "PUT overwrite": Operation(_put_over, 0.1, once=True, calls=10),
    "GET": Operation(_get, calls=50, count=_CALENDAR),
    "calendar-query, a month": Operation(_query("<C:calendar-data/>"), 0.1, 0.3),
    "calendar-multiget 100": Operation(_multiget(100), 0.25),
    "calendar-multiget 1000": Operation(_multiget(1000), 0.25),
    "cards: PROPFIND Depth 1": Operation(_list("cards"), 0.1),
    "cards: sync, initial": Operation(_sync("cards", initial=True), 0.1),
    "cards: multiget 500": Operation(_cards, 0.25),
    "cards: query EMAIL contains": Operation(_find_card),
    "sign-in on new connections": Operation(_knock, calls=100, count=_STATUS),
    "calendar-query, expanded month": Operation(_query(_EXPAND), within=50.0, count=_EVENT),
}
"""Name -> what is done and what is to be reached. `PUT` answers nothing: its ten requests are its hits."""


@dataclass(frozen=True)
class Work:
    """What an answer held."""

    hits: int
    octets: int

    def is_like(self, other: Work) -> bool:
        """Whether two servers did the same: their text of an object may differ a little, in folding and escapes."""
        return self.hits == other.hits and abs(self.octets - other.octets) <= 0.1 * max(self.octets, other.octets)


def weigh(operation: Operation, answers: Sequence[bytes]) -> Work:
    """The work in what a server answered."""
    hits = sum(len(operation.count.findall(answer)) for answer in answers) if any(answers) else len(answers)
    octets = sum(len(as_is or unescape(data.decode())) for answer in answers for as_is, data in _DATA.findall(answer))
    return Work(hits, octets)


@dataclass
class Row:
    """One operation on one server."""

    figure: Figure = field(default_factory=Figure)
    requests: int = 0
    work: Work | None = None
    spent: float = 0.0
    failure: str = ""

    @property
    def cpu(self) -> float:
        """Processor seconds a request."""
        return self.figure.cpu / max(1, self.requests)


def _round(bench: Bench, operation: Operation, row: Row, *, counted: bool) -> None:
    if row.failure or (row.spent > _PATIENCE and row.figure.wall):
        return  # at least one round that is warm is counted
    started = time.perf_counter()
    try:
        operation.prepare(bench)
        before, begin, times = cpu_seconds(bench.peer.pid), time.perf_counter(), 0
        while not times or (not operation.once and time.perf_counter() - begin < _QUICK):
            answers = operation.action(bench)
            times += 1
        wall = time.perf_counter() - begin
        used = cpu_seconds(bench.peer.pid) - before
    except (Refused, OSError) as error:
        row.failure = str(error)[:160] or type(error).__name__
        bench.client.close()
        return
    row.spent += time.perf_counter() - started
    if counted:
        row.figure.wall.append(wall / times / operation.calls)
        row.figure.cpu += used
        row.requests += times * operation.calls
    row.work = weigh(operation, answers)


def run(peers: Sequence[DavPeer], chosen: argparse.Namespace) -> dict[str, dict[str, Row]]:
    """Fill all, then measure each operation in alternating rounds after one that is not counted."""
    benches = []
    for peer in peers:
        for name, items in (
            ("large", events(chosen.events)),
            ("small", events(100, first=900_000)),
            ("cards", cards(chosen.cards)),
        ):
            begin = time.perf_counter()
            peer.fill(name, items)
            print(f"{peer.name}: {name} filled in {time.perf_counter() - begin:.1f} s", file=sys.stderr, flush=True)
        bench = Bench(peer, chosen.events, chosen.cards, DavClient(peer.port, peer.login))
        begin = time.perf_counter()
        for name in peer.collections:
            bench.propfind(name, "<getetag/>", "1")
        print(f"{peer.name}: first listed in {time.perf_counter() - begin:.1f} s", file=sys.stderr, flush=True)
        benches.append(bench)
    print(_head([peer.name for peer in peers]), flush=True)
    results: dict[str, dict[str, Row]] = {}
    for name, operation in OPERATIONS.items():
        if chosen.only and not any(word.lower() in name.lower() for word in chosen.only):
            continue
        rows = {bench.peer.name: Row() for bench in benches}
        for number in range(chosen.rounds + 1):
            for bench in benches:
                _round(bench, operation, rows[bench.peer.name], counted=number > 0)
        results[name] = rows
        print(_line(name, operation, rows), flush=True)
    for name, rows in results.items():
        for peer_name, row in rows.items():
            if row.failure:
                print(f"{peer_name}: {name}: {row.failure}")
    _grows(results)
    for bench in benches:
        print(f"memory of {bench.peer.name}: {pss_kib(bench.peer.pid) / 1024:.1f} MiB (PSS)")
    return results


def _head(names: Sequence[str]) -> str:
    titles = "".join(f"{name + ' ms':>12} {'ratio':>7} {'cpu':>6}" for name in names[1:])
    return f"{'a request':<32}{'hits':>7}{names[0] + ' ms':>10}{titles}  goals"


def _line(name: str, operation: Operation, rows: dict[str, Row]) -> str:
    ours = rows["preau"]
    if ours.failure or ours.work is None:
        return f"{name:<32} FAILED: {ours.failure}"
    text = f"{name:<32}{ours.work.hits:>7}{ours.figure.median * 1e3:>10.2f}"
    valid: dict[str, float] = {}
    for peer, row in rows.items():
        if peer == "preau":
            continue
        if row.failure or row.work is None:
            text += f"{'refused':>12} {'':>7} {'':>6}"
            continue
        ratio = ours.figure.median / row.figure.median
        same = row.work.is_like(ours.work)
        if same:
            valid[peer] = ratio
        cpu = f"x{ours.cpu / row.cpu:.3f}" if row.cpu else "-"
        text += f"{row.figure.median * 1e3:>12.2f} {f'x{ratio:.3f}' + ('' if same else '!'):>7} {cpu:>6}"
    return f"{text}  {'; '.join(judge(operation, ours.figure.median, valid))}"


def judge(operation: Operation, median: float, ratios: dict[str, float]) -> list[str]:
    """What was to be reached, and whether it was. `ratios`: of our time to theirs, of those that did the same work."""
    words = []
    if operation.goal is not None and "radicale" in ratios:
        words.append(f"{operation.goal} of radicale {_word(ratios['radicale'] <= operation.goal)}")
    if operation.best is not None and ratios:
        words.append(f"{operation.best} of the best {_word(max(ratios.values()) <= operation.best)}")
    if operation.within is not None:
        words.append(f"{operation.within:.0f} ms {_word(median * 1e3 <= operation.within)}")
    return words


def _word(reached: bool) -> str:
    return "reached" if reached else "MISSED"


def _grows(results: dict[str, dict[str, Row]]) -> None:
    small, large = results.get("sync, nothing new, 100 items", {}), results.get("sync, nothing new", {})
    for name, row in small.items():
        if name in large and not row.failure and not large[name].failure:
            print(
                f"{name}: a sync with nothing new takes {large[name].figure.median / row.figure.median:.2f} x that of 100 items"
            )


def main() -> int:
    """Parse the arguments, start the servers, print and write the figures."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--events", type=int, default=10_000, help="events in the large calendar (default 10000)")
    words.add_argument("--cards", type=int, default=5_000, help="cards in the address book (default 5000)")
    words.add_argument("--rounds", type=int, default=5, help="counted rounds of each operation (default 5)")
    words.add_argument("--only", nargs="*", default=[], help="operations whose name holds one of these words")
    words.add_argument("--without", nargs="*", default=[], help="peers to leave out: radicale, xandikos, cyrus")
    words.add_argument("--xandikos", default=shutil.which("xandikos"), help="its command (default: on the path)")
    words.add_argument("--cyrus", type=Path, default=Path("/"), help="where its packages are unpacked (default: installed)")
    words.add_argument("--json", type=Path, help="write the figures there as well")
    chosen = words.parse_args()
    with tempfile.TemporaryDirectory(prefix="preau-bench-") as folder, contextlib.ExitStack() as stack:
        root = Path(folder)
        peers: list[DavPeer] = [stack.enter_context(OurDav(root / "preau"))]
        if "radicale" not in chosen.without and Radicale.find():
            peers.append(stack.enter_context(Radicale(root / "radicale")))
        else:
            print("radicale is not measured", file=sys.stderr)
        if "xandikos" not in chosen.without and chosen.xandikos:
            peers.append(stack.enter_context(Xandikos(root / "xandikos", chosen.xandikos)))
        else:
            print("xandikos is not measured: give --xandikos COMMAND", file=sys.stderr)
        if "cyrus" not in chosen.without and (chosen.cyrus / "usr/lib/cyrus/bin/httpd").exists():
            peers.append(stack.enter_context(Cyrus(root / "cyrus", chosen.cyrus)))
        else:
            print("cyrus is not measured: give --cyrus FOLDER", file=sys.stderr)
        results = run(peers, chosen)
    if chosen.json:
        figures = {
            name: {
                peer: {
                    "wall": row.figure.wall,
                    "cpu": row.cpu,
                    "hits": row.work.hits if row.work else None,
                    "octets": row.work.octets if row.work else None,
                    "failure": row.failure,
                }
                for peer, row in rows.items()
            }
            for name, rows in results.items()
        }
        sizes = {"events": chosen.events, "cards": chosen.cards, "rounds": chosen.rounds}
        chosen.json.write_text(json.dumps({**sizes, "figures": figures}, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
