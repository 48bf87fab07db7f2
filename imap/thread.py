"""THREAD: messages to threads, by REFERENCES or ORDEREDSUBJECT (RFC 5256 section 3, BASE.6.4.THREAD).

Owns both algorithms and the text of the answer. Pure. Message-IDs and references are what senders wrote: nothing here
goes deep by calling itself, and time stays in proportion to what is given. Only the look for loops could need more, so
it goes up at most LOOKED_UP generations; a link that would need more is left out.

Theory of operation (REFERENCES). Every Message-ID is a node; one that no message has is a dummy. Nodes are numbers, their
parents and children lie in lists, children in dicts so that one can be taken away at once. Numbers above the messages'
are dummies.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

LOOKED_UP = 1_000
REFERENCES_MOST = 1_000  # of one message

_MESSAGE_ID = re.compile(rb"<([^<>\s]+)>")

Tree = list[int | None]


@dataclass(frozen=True, slots=True)
class Threaded:
    """A message to be threaded. `subject`: base subject in collation form; `date`: seconds since 1970."""

    date: int
    subject: str
    reply: bool = False
    message_id: bytes = b""
    references: tuple[bytes, ...] = ()


def find_message_id(value: bytes) -> bytes:
    """The first Message-ID of a field value, quoting undone; b"" when there is none."""
    found = _MESSAGE_ID.search(value)
    return _unquoted(found[1]) if found else b""


def find_references(references: bytes, in_reply_to: bytes) -> tuple[bytes, ...]:
    """What a message refers to, the oldest first: References, else the first of In-Reply-To."""
    found = tuple(_unquoted(name) for name in _MESSAGE_ID.findall(references)[-REFERENCES_MOST:])
    if not found:
        only = find_message_id(in_reply_to)
        found = (only,) if only else ()
    return found


def _unquoted(name: bytes) -> bytes:
    return name.replace(b'"', b"").replace(b"\\", b"") if b'"' in name else name


class Threads:
    """Threads as nodes; the first `count` are the messages, in the order they were given, others are dummies."""

    __slots__ = ("children", "count", "parent", "top")

    def __init__(self, count: int) -> None:
        """Nothing linked."""
        self.count = count
        self.parent: list[int] = [-1] * count
        self.children: list[dict[int, None] | None] = [None] * count
        self.top: list[int] = []

    def dummy(self) -> int:
        """A new node that is no message."""
        self.parent.append(-1)
        self.children.append(None)
        return len(self.parent) - 1

    def link(self, parent: int, child: int) -> None:
        """Make a child, taking it from its parent."""
        self.unlink(child)
        self.parent[child] = parent
        kept = self.children[parent]
        if kept is None:
            kept = self.children[parent] = {}
        kept[child] = None

    def unlink(self, child: int) -> None:
        """Take a node from its parent, if it has one."""
        parent = self.parent[child]
        if parent >= 0:
            kept = self.children[parent]
            assert kept is not None
            del kept[child]
            self.parent[child] = -1

    def would_loop(self, parent: int, child: int) -> bool:
        """Whether `parent` is `child` or below it, or too far down to tell."""
        if parent == child:
            return True
        if not self.children[child]:
            return False
        for _ in range(LOOKED_UP):
            parent = self.parent[parent]
            if parent < 0:
                return False
            if parent == child:
                return True
        return True

    def below(self, node: int) -> list[int]:
        """Children of a node."""
        return list(self.children[node] or ())

    def downwards(self) -> Iterator[int]:
        """Every node under the top, each before its children."""
        stack = list(self.top)
        while stack:
            node = stack.pop()
            yield node
            stack.extend(self.children[node] or ())


def thread_by_references(messages: Sequence[Threaded]) -> Threads:
    """REFERENCES."""
    threads = _linked(messages)
    threads.top = [node for node, parent in enumerate(threads.parent) if parent < 0]  # (2)
    _prune(threads)
    _sort_below(threads, messages)  # (4), and what (6) asks for below the top
    _merge_subjects(threads, messages)
    _sort_below(threads, messages)
    return threads


def _linked(messages: Sequence[Threaded]) -> Threads:
    """Step (1)."""
    threads = Threads(len(messages))
    nodes: dict[bytes, int] = {}
    for node, message in enumerate(messages):
        if message.message_id:
            nodes.setdefault(message.message_id, node)
    for node, message in enumerate(messages):
        last = -1
        for reference in message.references:
            referred = nodes.get(reference, -1)
            if referred < 0:
                referred = nodes[reference] = threads.dummy()
            if last >= 0 and threads.parent[referred] < 0 and not threads.would_loop(last, referred):
                threads.link(last, referred)
            last = referred
        if last < 0:
            threads.unlink(node)
        elif threads.parent[node] != last:
            threads.unlink(node)
            if not threads.would_loop(last, node):
                threads.link(last, node)
    return threads


def _prune(threads: Threads) -> None:
    """Step (3): dummies go, their children take their place, but at the top only a single one."""
    for node in reversed(list(threads.downwards())):  # children before parents
        if node < threads.count:
            continue
        children, parent = threads.below(node), threads.parent[node]
        if parent >= 0:
            threads.unlink(node)
            for child in children:
                threads.link(parent, child)
        elif len(children) == 1:
            threads.unlink(children[0])
    count = threads.count
    threads.top = [
        node for node, parent in enumerate(threads.parent) if parent < 0 and (node < count or threads.children[node])
    ]


def _sort_below(threads: Threads, messages: Sequence[Threaded]) -> None:
    """Steps (4) and (6): siblings by sent date, then as in the mailbox; a dummy counts as its first child."""
    count = threads.count

    def key(node: int) -> tuple[int, int]:
        if node >= count:
            node = next(iter(threads.children[node] or (-1,)))
        return messages[node].date, node

    for node in reversed(list(threads.downwards())):
        kept = threads.children[node]
        if kept and len(kept) > 1:
            threads.children[node] = dict.fromkeys(sorted(kept, key=key))
    threads.top.sort(key=key)


def _merge_subjects(threads: Threads, messages: Sequence[Threaded]) -> None:
    """Step (5): threads under the top that have the same base subject."""
    count = threads.count
    table: dict[str, int] = {}

    def first(node: int) -> Threaded:
        return messages[node if node < count else next(iter(threads.children[node] or (-1,)))]

    for node in threads.top:
        subject = first(node).subject
        if not subject:
            continue
        other = table.get(subject, -1)
        if other < 0 or (other < count and (node >= count or (messages[other].reply and not messages[node].reply))):
            table[subject] = node
    top = dict.fromkeys(threads.top)
    for node in threads.top:
        subject = first(node).subject
        if not subject:
            continue
        other = table[subject]
        if other == node:
            continue
        if node >= count and other >= count:
            for child in threads.below(node):
                threads.link(other, child)
            del top[node]
        elif other >= count or (messages[node].reply and not messages[other].reply):
            threads.link(other, node)
            del top[node]
        else:
            both = threads.dummy()
            threads.link(both, other)
            threads.link(both, node)
            del top[node], top[other]
            top[both] = None
            table[subject] = both
    threads.top = list(top)


def thread_by_subject(messages: Sequence[Threaded]) -> Threads:
    """ORDEREDSUBJECT."""
    threads = Threads(len(messages))
    groups: dict[str, list[int]] = {}
    for node in sorted(range(len(messages)), key=lambda node: (messages[node].date, node)):
        groups.setdefault(messages[node].subject, []).append(node)
    for first, *others in groups.values():  # in the order of their first messages
        threads.top.append(first)
        for node in others:
            threads.link(first, node)
    return threads


def render_threads(threads: Threads, numbers: Sequence[int]) -> Iterator[bytes]:
    """`(1)(2 3)((4)(5))`, some KiB a piece; `numbers` are what messages are called (RFC 5256, BASE.7.2.THREAD)."""
    parts: list[str] = []
    stack: list[int] = threads.top[::-1]  # -1: a closing parenthesis
    children, count = threads.children, threads.count
    while stack:
        node = stack.pop()
        if node < 0:
            parts.append(")")
            continue
        parts.append("(")
        shown = False
        while True:
            if node < count:
                parts.append(f" {numbers[node]}" if shown else str(numbers[node]))
                shown = True
            below = children[node]
            if not below or len(below) > 1:
                break
            node = next(iter(below))
        stack.append(-1)
        if below:
            if shown:
                parts.append(" ")
            stack.extend(reversed(below))
        if len(parts) > 8_192:
            yield "".join(parts).encode("ascii")
            parts.clear()
    yield "".join(parts).encode("ascii")
