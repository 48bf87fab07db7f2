"""Sequence sets (RFC 9051 section 9, `sequence-set`; RFC 5182 for `$`): parsed once, resolved against a mailbox.

Owns what `*`, reversed and overlapping ranges mean. A set is kept as ranges and resolved to ranges of indices, so that
`1:4294967295` costs as little as `1`. Never expands a range by counting through it.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

STAR = 0
"""Stands for `*` in a range: no message has the number 0."""

MAX_NUMBER = 0xFFFFFFFF  # nz-number is an unsigned 32-bit integer


class InvalidSequenceSet(ValueError):
    """Not a sequence set, or more ranges than allowed."""


@dataclass(frozen=True, slots=True)
class SequenceSet:
    """Ranges as the client wrote them, ends in either order, STAR for `*`. `saved`: it was `$` (RFC 5182)."""

    ranges: tuple[tuple[int, int], ...]
    saved: bool = False

    def exceeds(self, count: int) -> bool:
        """Whether it names a message number above `count`: a client's fault in FETCH, STORE, COPY (RFC 9051 6.4.9).

        Ranges that hold `*` never do: `1:*` on an empty mailbox is what every client sends.
        """
        return any(first and last and (first > count or last > count) for first, last in self.ranges)

    def has_star(self) -> bool:
        """Whether `*` is in it: known UIDs of QRESYNC must not have one (RFC 7162 section 7)."""
        return any(not (first and last) for first, last in self.ranges)

    def bounds(self, highest: int) -> list[tuple[int, int]]:
        """Ranges (low, high) ascending, merged where they touch, `*` read as `highest`; none when `highest` is 0.

        `highest` is the number of messages, or the highest UID. Ranges wholly above it stay: a UID may be asked for
        before it exists.
        """
        if not highest:
            return []
        if len(self.ranges) == 1:
            first, last = self.ranges[0]
            first, last = first or highest, last or highest
            return [(first, last) if first <= last else (last, first)]
        ordered = []
        for first, last in self.ranges:
            first, last = first or highest, last or highest
            ordered.append((first, last) if first <= last else (last, first))
        ordered.sort()
        merged = [ordered[0]]
        for low, high in ordered:
            before = merged[-1]
            if low <= before[1] + 1:
                if high > before[1]:
                    merged[-1] = (before[0], high)
            else:
                merged.append((low, high))
        return merged

    def indices(self, count: int) -> list[range]:
        """Message numbers resolved: ranges of indices into a mailbox of `count` messages, ascending, disjoint."""
        return [range(low - 1, min(high, count)) for low, high in self.bounds(count) if low <= count]

    def indices_by_uid(self, uids: Sequence[int], count: int | None = None) -> list[range]:
        """UIDs resolved: ranges of indices into ascending `uids`, of which the first `count` are looked at.

        UIDs that are not there are left out without complaint (RFC 9051 section 6.4.9).
        """
        size = len(uids) if count is None else count
        found = []
        if size:
            begin = 0
            for low, high in self.bounds(uids[size - 1]):
                begin = bisect_left(uids, low, begin, size)
                end = bisect_right(uids, high, begin, size)
                if begin < end:
                    found.append(range(begin, end))
                begin = end
        return found

    def __contains__(self, number: int) -> bool:
        """Whether `number` lies in a range without `*`, which would need to know the highest."""
        return any(min(range_) <= number <= max(range_) for range_ in self.ranges if STAR not in range_)


SAVED = SequenceSet((), saved=True)
"""`$`: what the last SEARCH RETURN (SAVE) found."""


def _number(text: bytes) -> int:
    """A nz-number or `*`."""
    if text == b"*":
        return STAR
    # isdigit() of bytes takes ASCII digits alone; the length bound keeps int() short.
    if not text.isdigit() or len(text) > 10 or text[0] == 0x30:
        raise InvalidSequenceSet("bad number in sequence set")
    value = int(text)
    if value > MAX_NUMBER:
        raise InvalidSequenceSet("number in sequence set above 32 bits")
    return value


def parse_sequence_set(text: bytes, *, most: int = 10_000) -> SequenceSet:
    """Read a sequence set of at most `most` ranges, or `$`. Raise InvalidSequenceSet."""
    if text == b"$":
        return SAVED
    if text.isdigit():  # by far the most frequent: one message
        number = _number(text)
        return SequenceSet(((number, number),))
    if text.count(b",") >= most:
        raise InvalidSequenceSet("too many ranges in sequence set")
    ranges = []
    for part in text.split(b","):
        first, colon, last = part.partition(b":")
        begin = _number(first)
        ranges.append((begin, _number(last) if colon else begin))
    return SequenceSet(tuple(ranges))


def flatten(ranges: Sequence[range]) -> Iterator[int]:
    """The single indices of resolved ranges, ascending."""
    for indices in ranges:
        yield from indices
