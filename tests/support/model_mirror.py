"""A client that believes what it is told, and nothing else: its mirror of the selected mailbox, and the rules it holds
the server to (RFC 9051 sections 2.3.1.2, 5.2, 6.4.6 and 7.5; RFC 7162).

Fed the server's octets; `finish` closes a command. With a `Box` it also checks each thing it hears against what was
true once: flags under a MODSEQ are those of that MODSEQ, who is said to be gone is gone.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import Enum

from model_truth import Box, applied
from preau.storage.api import FlagOp, Flags

_LITERAL = re.compile(rb"\{(\d+)\}\r\n\Z")
_FETCH = re.compile(rb"\* (\d+) FETCH \((.*)\)\r\n\Z", re.DOTALL)
_NUMBER = re.compile(rb"\* (\d+) (EXISTS|EXPUNGE|RECENT)\r\n\Z")
_VANISHED = re.compile(rb"\* VANISHED( \(EARLIER\))? ([0-9:,]+)\r\n\Z")
_CODE = re.compile(rb"\[([A-Z]+)(?: ([^]]*))?\]")
_CONTENT = re.compile(rb"X-Id: (\S+)")


class Kind(Enum):
    """What a client enabled."""

    PLAIN = "plain"
    CONDSTORE = "condstore"
    QRESYNC = "qresync"


@dataclass(slots=True)
class Entry:
    """A message as the client knows it: None where it was not told."""

    uid: int | None = None
    flags: Flags | None = None
    modseq: int | None = None


@dataclass(slots=True)
class Cache:
    """What a client keeps of a mailbox while it is away."""

    uidvalidity: int
    highest: int
    messages: dict[int, tuple[Flags, int | None]]


@dataclass(slots=True)
class Said:
    """A command under way, as the mirror needs to know it."""

    line: bytes
    may_expunge: bool = True
    targets: list[Entry] = field(default_factory=list)
    op: FlagOp | None = None
    flags: Flags = frozenset()
    silent: bool = False
    uid: bool = False
    before: list[tuple[Entry, Flags]] = field(default_factory=list)  # what was known, where a guess took its place
    told: set[int] = field(default_factory=set)  # id() of entries whose FLAGS came
    told_modseq: set[int] = field(default_factory=set)
    found: list[int] | None = None  # of SEARCH
    contents: dict[int, str] = field(default_factory=dict)  # UID -> X-Id
    answer: bytes = b""


def numbers(text: bytes) -> list[int]:
    """A sequence set without `*`."""
    found: list[int] = []
    for part in text.split(b","):
        low, _, high = part.partition(b":")
        found += range(int(low), int(high or low) + 1)
    return found


def names(text: bytes) -> Flags:
    """What stands between the parentheses of FLAGS."""
    return frozenset(text.decode().split())


class Mirror:
    """One client's knowledge of one selected mailbox."""

    def __init__(self, kind: Kind, box: Box | None = None, *, early: bool = False, cache: Cache | None = None) -> None:
        """`early`: it takes its own silent STOREs for done when it says them, not when they are answered."""
        self.kind = kind
        self.box = box
        self.early = early
        self.entries: list[Entry] = []
        self.said = Said(b"")
        self.uidvalidity = 0
        self.highest = 0
        self.selected = False
        self._cache = dict(cache.messages) if cache is not None else None
        self._buffer = b""
        self._modseqs: list[int] = []
        self._code: int | None = None
        self.heard: list[bytes] = []

    # -- commands

    def begin(self, said: Said) -> None:
        """A command is said."""
        self.said = said
        if self.early and said.silent and said.op is not None:
            for entry in said.targets:
                if entry.flags is not None:
                    said.before.append((entry, entry.flags))
                    entry.flags = applied(entry.flags, said.op, said.flags)

    def forget_guesses(self) -> None:
        """The command under way will not be answered: it may have been done, or not."""
        for entry, flags in self.said.before:
            if id(entry) not in self.said.told:
                entry.flags = flags

    def finish(self, answer: bytes) -> None:
        """The tagged answer, without its tag."""
        assert not self._buffer, self._buffer
        said, said.answer = self.said, answer
        self.heard.append(b"  -> " + answer + b"\r\n")
        self._note_code(answer)
        if self._code is not None:
            self.highest = self._code
        elif self._modseqs:
            self.highest = max(self.highest, *self._modseqs)
        self._modseqs, self._code = [], None
        if said.op is not None:
            self._stored(answer)
        if self._cache is not None and self.selected:
            self._resumed()

    def _stored(self, answer: bytes) -> None:
        said = self.said
        assert said.op is not None
        here = {id(entry) for entry in self.entries}
        if not answer.startswith(b"OK"):
            for entry in said.targets:
                entry.flags = None  # nothing is sure
            return
        held: set[int] = set()
        if found := re.match(rb"OK \[MODIFIED ([0-9:,]+)\]", answer):
            held = set(numbers(found[1]))
        for entry in said.targets:
            if id(entry) not in here:
                continue
            name = entry.uid if said.uid else next(n for n, known in enumerate(self.entries, 1) if known is entry)
            if name in held:
                if self.early and said.silent and id(entry) not in said.told:
                    entry.flags = None
                continue
            if not said.silent:
                gone = self.box is not None and entry.uid in self.box.rows.gone
                assert id(entry) in said.told or gone or said.uid, f"{said.line!r}: {name} not answered"
            elif not self.early and entry.flags is not None and id(entry) not in said.told:
                entry.flags = applied(entry.flags, said.op, said.flags)

    def _resumed(self) -> None:
        assert self._cache is not None
        known, self._cache = self._cache, None
        last = max(known, default=0)
        assert len(known) <= len(self.entries), f"{len(known)} known, {len(self.entries)} there"
        for entry, uid in zip(self.entries, sorted(known), strict=False):
            assert entry.uid in (None, uid), (entry, uid)
            entry.uid = uid
            entry.flags, entry.modseq = known[uid]
        for entry in self.entries[len(known) :]:
            assert entry.uid is None or entry.uid > last

    def cache(self) -> Cache:
        """What it keeps: messages up to the first that it does not know all of."""
        kept: dict[int, tuple[Flags, int | None]] = {}
        for entry in self.entries:
            if entry.uid is None or entry.flags is None:
                break
            kept[entry.uid] = entry.flags, entry.modseq
        return Cache(self.uidvalidity, self.highest, kept)

    # -- what is heard

    def feed(self, data: bytes) -> None:
        """Octets of the server, in any pieces."""
        self._buffer += data
        while (response := self._response()) is not None:
            self.heard.append(response)
            self._take(response)

    def _response(self) -> bytes | None:
        end = 0
        while True:
            place = self._buffer.find(b"\r\n", end)
            if place < 0:
                return None
            end = place + 2
            literal = _LITERAL.search(self._buffer[:end])
            if literal is None:
                response, self._buffer = self._buffer[:end], self._buffer[end:]
                return response
            end += int(literal[1])

    def _take(self, response: bytes) -> None:
        if found := _FETCH.match(response):
            self._fetched(int(found[1]), found[2])
        elif found := _NUMBER.match(response):
            self._counted(int(found[1]), found[2])
        elif found := _VANISHED.match(response):
            self._vanished(numbers(found[2]), earlier=bool(found[1]))
        elif response.startswith(b"* SEARCH"):
            self.said.found = [int(word) for word in response.split()[2:] if word.isdigit()]
        elif response.startswith((b"* OK ", b"* FLAGS ", b"* ENABLED", b"+ ", b"* CAPABILITY", b"* ID", b"* PREAUTH")):
            self._note_code(response)
        else:
            raise AssertionError(f"unforeseen: {response!r}")

    def _note_code(self, text: bytes) -> None:
        for code, value in _CODE.findall(text):
            if code == b"HIGHESTMODSEQ":
                self._code = int(value)
            elif code == b"UIDVALIDITY":
                self.uidvalidity = int(value)

    def _counted(self, number: int, word: bytes) -> None:
        if word == b"EXISTS":
            assert number >= len(self.entries), f"EXISTS fell from {len(self.entries)} to {number}"
            self.entries += (Entry() for _ in range(number - len(self.entries)))
        elif word == b"EXPUNGE":
            assert self.kind is not Kind.QRESYNC, "EXPUNGE with QRESYNC"
            self._may_expunge()
            assert 1 <= number <= len(self.entries), f"EXPUNGE {number} of {len(self.entries)}"
            self._is_gone(self.entries.pop(number - 1).uid)

    def _may_expunge(self) -> None:
        assert self.said.may_expunge, f"expunge told during {self.said.line!r}"

    def _is_gone(self, uid: int | None) -> None:
        if uid is not None and self.box is not None:
            assert uid in self.box.rows.gone, f"{uid} is told to be gone, and is not"

    def _vanished(self, uids: list[int], *, earlier: bool) -> None:
        assert self.kind is Kind.QRESYNC, "VANISHED without QRESYNC"
        if earlier:
            for uid in uids:
                if self.box is not None:
                    assert uid not in self.box.rows.messages, f"VANISHED (EARLIER) {uid}, which is there"
                if self._cache is not None:
                    self._cache.pop(uid, None)
            return
        self._may_expunge()
        for uid in uids:
            self._is_gone(uid)
            place = next((place for place, entry in enumerate(self.entries) if entry.uid == uid), None)
            if place is None:  # one whose UID it was never told: it lies among those between its neighbours
                after = next((p for p, entry in enumerate(self.entries) if (entry.uid or 0) > uid), len(self.entries))
                place = after - 1
                assert place >= 0, f"VANISHED {uid}, never counted"
                assert self.entries[place].uid is None, f"VANISHED {uid}, never counted"
            del self.entries[place]

    def _fetched(self, number: int, items: bytes) -> None:
        assert 1 <= number <= len(self.entries), f"FETCH {number} of {len(self.entries)}"
        entry = self.entries[number - 1]
        head = items.partition(b"BODY[")[0] + items.rpartition(b"\r\n")[2]
        uid = re.search(rb"UID (\d+)", head)
        flags = re.search(rb"FLAGS \(([^)]*)\)", head)
        modseq = re.search(rb"MODSEQ \((\d+)\)", head)
        if uid is not None:
            told = int(uid[1])
            assert entry.uid in (None, told), f"{number} was UID {entry.uid}, is told as {told}"
            entry.uid = told
            around = [known.uid for known in self.entries if known.uid is not None]
            assert around == sorted(set(around)), f"UIDs do not ascend: {around}"
        if modseq is not None:
            assert self.kind is not Kind.PLAIN, "MODSEQ to who did not ask"
            value = int(modseq[1])
            assert entry.modseq is None or value >= entry.modseq, f"MODSEQ of {number} fell from {entry.modseq} to {value}"
            entry.modseq = value
            self._modseqs.append(value)
            self.said.told_modseq.add(id(entry))
        if flags is not None:
            entry.flags = names(flags[1]) - {"\\Recent"}
            self.said.told.add(id(entry))
        if entry.uid is not None and self.box is not None:
            self._was_true(entry, flags is not None, modseq is not None)
        if self._cache is not None and entry.uid in self._cache and entry.flags is not None:
            self._cache[entry.uid] = entry.flags, entry.modseq
        if content := _CONTENT.search(items):
            assert entry.uid is not None
            self.said.contents[entry.uid] = content[1].decode()

    def _was_true(self, entry: Entry, flags: bool, modseq: bool) -> None:
        assert self.box is not None
        assert entry.uid is not None
        past = self.box.history.get(entry.uid)
        assert past is not None, f"UID {entry.uid} never was"
        if modseq:
            assert entry.modseq in past, f"{entry.uid} never had MODSEQ {entry.modseq}"
        if flags and entry.flags is not None:
            if modseq and entry.modseq is not None:
                true = past[entry.modseq]
                assert true == entry.flags, f"{entry.uid} at {entry.modseq}: {set(entry.flags)}, true is {set(true)}"
            else:
                assert entry.flags in past.values(), f"{entry.uid} never had {set(entry.flags)}"

    # -- comparing

    def differences(self, truth: dict[int, tuple[Flags, int]], *, whole: bool) -> Iterator[str]:
        """What it knows otherwise than it is; `whole`: it was told everything."""
        if len(self.entries) != len(truth):
            yield f"counts {len(self.entries)}, there are {len(truth)}"
            return
        for number, (entry, (uid, (flags, modseq))) in enumerate(zip(self.entries, sorted(truth.items()), strict=True), 1):
            if entry.uid not in (None, uid):
                yield f"{number} is {entry.uid}, should be {uid}"
            if entry.flags not in (None, flags):
                yield f"{uid} has {set(entry.flags or ())}, should have {set(flags)}"
            if entry.modseq not in (None, modseq) and self.kind is not Kind.PLAIN:
                yield f"{uid} is at {entry.modseq}, should be at {modseq}"
            if whole and None in (entry.uid, entry.flags):
                yield f"{number} is not known"


def render(uids: Iterable[int]) -> bytes:
    """A sequence set."""
    return b",".join(b"%d" % uid for uid in uids)
