"""What went while a client was away, and what changed (RFC 7162 sections 3.2.5, 3.2.6 and 3.2.10.1).

Owns VANISHED (EARLIER) and the meaning of what a client says it knows. Sets are worked on as ranges: `1:4294967295` costs
no more than the mailbox has messages. Never opens a mailbox and never waits.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence

from ..storage.api import Mail, ModSeq, Uid
from .sequence import SequenceSet
from .values import QResync
from .view import View

Ranges = list[tuple[int, int]]
"""(low, high), ascending, disjoint."""

_ALL = SequenceSet(((1, 0),))  # 1:*
_LINE_RANGES = 4_000  # ranges of one VANISHED line


def resync(mail: Mail, view: View, args: QResync) -> Iterator[bytes]:
    """What SELECT tells a client that comes back: nothing when UIDVALIDITY is another (RFC 7162 section 3.2.5.1)."""
    if args.uidvalidity != view.mailbox.uidvalidity:
        return
    known = args.known_uids or _ALL
    above = matched_uid(view, *args.matches) if args.matches else 0
    yield from vanished_earlier(mail, view, args.modseq, known, above=above)
    changed = view.mailbox.changed_since(ModSeq(args.modseq))
    highest = view.uids[view.count - 1] if view.count else 0
    wanted: list[Uid] = []
    for low, high in known.bounds(highest):
        wanted += changed[bisect_left(changed, low) : bisect_right(changed, min(high, highest))]
    yield from view.fetch_lines(wanted, uid=True, modseq=True)


def matched_uid(view: View, numbers: SequenceSet, uids: SequenceSet) -> int:
    """The highest UID up to which the client's sample of numbers and UIDs agrees with the mailbox (section 3.2.5.2)."""
    agreed = 0
    for number, uid in zip(_counted(numbers), _counted(uids), strict=False):
        if number > view.count or view.uids[number - 1] != uid:
            break
        agreed = uid
    return agreed


def _counted(numbers: SequenceSet) -> Iterator[int]:
    for first, last in numbers.ranges:
        yield from range(min(first, last), max(first, last) + 1)


def vanished_earlier(mail: Mail, view: View, modseq: int, known: SequenceSet, *, above: int = 0) -> Iterator[bytes]:
    """VANISHED (EARLIER) for the UIDs of `known` above `above` that went after `modseq`.

    When that is longer ago than the store remembers, all that are not there (section 3.2.6, note). `*` is the last UID
    ever given: what a client asks for with `1:*` is everything that it may know.
    """
    last = view.mailbox.uidnext - 1
    bounds = [(max(low, above + 1), min(high, last)) for low, high in known.bounds(last)]
    bounds = [(low, high) for low, high in bounds if low <= high]
    if not bounds:
        return
    gone = mail.vanished_since(view.mailbox.id, ModSeq(modseq))
    if gone is None:
        found = absent(view.uids, view.count, bounds)
    else:
        # What this session still counts is told by a plain VANISHED, when its moment comes.
        listed = [gone[bisect_left(gone, low) : bisect_right(gone, high)] for low, high in bounds]
        found = runs(uid for part in listed for uid in part if view.position(uid) < 0)
    for begin in range(0, len(found), _LINE_RANGES):
        yield b"* VANISHED (EARLIER) " + render_ranges(found[begin : begin + _LINE_RANGES]) + b"\r\n"


def absent(uids: Sequence[int], count: int, bounds: Ranges) -> Ranges:
    """The ranges within `bounds` in which none of the first `count` of `uids` lies."""
    found: Ranges = []
    for low, high in bounds:
        begin, end = bisect_left(uids, low, 0, count), bisect_right(uids, high, 0, count)
        free = low
        for uid in uids[begin:end]:
            if uid > free:
                found.append((free, uid - 1))
            free = uid + 1
        if free <= high:
            found.append((free, high))
    return found


def runs(numbers: Iterable[int]) -> Ranges:
    """Ascending numbers as ranges."""
    found: Ranges = []
    first = last = 0
    for number in numbers:
        if number == last + 1 and last:
            last = number
            continue
        if last:
            found.append((first, last))
        first = last = number
    if last:
        found.append((first, last))
    return found


def render_ranges(ranges: Ranges) -> bytes:
    """A sequence set of ranges."""
    return b",".join([b"%d" % low if low == high else b"%d:%d" % (low, high) for low, high in ranges])
