"""One IMAP session of a process, driven step by step: what its command does in a thread, and what it does with the
result, are two moments between which others may act.
"""

import random
from collections import deque
from collections.abc import Sequence

from imap_steps import GRANTED
from model_mirror import Cache, Entry, Kind, Mirror, Said, render
from model_store import CheckedAccount
from model_truth import Box
from preau.imap.decode import AFTER_LOGIN, Decoder
from preau.imap.dispatch import run_command
from preau.imap.session import Session, Site, Trigger
from preau.imap.steps import Ask, Steps, Work
from preau.imap.values import AppendBegan, CommandReceived, Event, IdleDone
from preau.storage.api import FlagOp

FLAGS = ("\\Seen", "\\Flagged", "\\Answered", "\\Draft", "\\Deleted", "Travail", "$Junk")


class Client:
    """A session, its mirror, and the command it runs."""

    def __init__(self, name: str, site: Site, account: CheckedAccount, rng: random.Random) -> None:
        """Signed in, nothing selected."""
        self.name = name
        self.rng = rng
        self.kind = rng.choice(list(Kind))
        self.early = rng.random() < 0.5
        self.account = account
        self.session = Session(site, tls=True)
        self.session.account = account  # type: ignore[assignment]  # quota aside
        self.session.granted = GRANTED
        self.session.move(Trigger.SIGNED_IN)
        self.session.news = self._news
        self.decoder = Decoder(AFTER_LOGIN)
        self.mirror = Mirror(self.kind)
        self.box: Box | None = None
        self.kept: dict[str, Cache] = {}
        self.steps: Steps | None = None
        self.events: deque[Event] = deque()
        self.value: object = None
        self.error: Exception | None = None
        self.work: Work | None = None
        self.idling = False
        self.has_news = False
        self.log: list[str] = []
        if self.kind is Kind.QRESYNC:
            self.say(b"ENABLE QRESYNC")

    def _news(self) -> None:
        self.has_news = True

    # -- running

    def begin(self, said: Said) -> None:
        """Say a command."""
        assert self.steps is None
        self.mirror.begin(said)
        self.mirror.heard.append(b"  " + said.line[:100] + b"\r\n")
        self.log.append(f"{self.name} {said.line[:100]!r}")
        tag = b"t "
        self.events = deque(self.decoder.receive(tag + said.line + b"\r\n"))
        first = self.events.popleft()
        table = self.session.site.table
        if isinstance(first, AppendBegan):
            self.steps = run_command(self.session, table["APPEND"], first)
            return
        assert isinstance(first, CommandReceived), first
        self.session.tag = first.command.tag
        self.steps = run_command(self.session, table[first.command.name], first.command.args)

    def may_advance(self) -> bool:
        """Whether its command has something to do."""
        return self.steps is not None and (not self.idling or self.has_news)

    def advance(self) -> None:
        """One step of its command: a thread's work, or text and what follows."""
        try:
            self._advance()
        except AssertionError as fault:
            raise AssertionError(f"{self.name}: {fault}\n{self.story()}") from fault

    def story(self, lines: int = 40) -> str:
        """What it said and heard last."""
        heard = b"".join(self.mirror.heard[-lines:]).decode("utf-8", "replace")
        return f"{self.name} ({self.kind.value}, {'early' if self.early else 'late'}):\n{heard}"

    def _advance(self) -> None:
        assert self.steps is not None
        if self.work is not None:
            work, self.work = self.work, None
            try:
                self.value = work.call()
            except AssertionError:
                raise
            except Exception as fault:
                self.error = fault
            return
        if self.idling:
            self.idling = self.has_news = False
            self.value = None
        value, error, self.value, self.error = self.value, self.error, None, None
        try:
            step = self.steps.send(value) if error is None else self.steps.throw(error)
        except StopIteration as done:
            self.steps = None
            self.mirror.finish(done.value)
            return
        if isinstance(step, bytes):
            self.account.observer.observe()  # opening a mailbox may have taken in what others put there
            self.mirror.feed(step)
        elif isinstance(step, Work):
            self.work = step
        elif step is Ask.DONE:
            self.idling = True
        elif step is Ask.EVENT:
            self.value = self.events.popleft()
        else:
            raise AssertionError(step)

    def done(self) -> None:
        """End IDLE."""
        if self.idling:
            self.idling = self.has_news = False
            self.value = IdleDone()
            assert self.steps is not None
            try:
                step = self.steps.send(self.value)
            except StopIteration as done:
                self.steps = None
                self.value = None
                self.mirror.finish(done.value)
                return
            self.value = None
            assert isinstance(step, bytes)
            self.mirror.feed(step)

    def end(self) -> None:
        """Run its command to its end."""
        while self.steps is not None:
            if self.idling:
                self.done()
            else:
                self.advance()

    def say(self, line: bytes, **more: object) -> Said:
        """A command from beginning to end."""
        said = Said(line, **more)  # type: ignore[arg-type]  # its fields
        self.begin(said)
        self.end()
        return said

    # -- mailboxes

    def select(self, name: str, box: Box) -> None:
        """SELECT, with what it kept if it can resynchronise. The command is begun."""
        self.keep()
        cache = self.kept.get(name) if self.kind is Kind.QRESYNC else None
        line = b"SELECT " + name.encode()
        if cache is not None and cache.highest:
            known = b""
            if cache.messages and self.rng.random() < 0.5:
                known = b" " + render(sorted(cache.messages))
                if self.rng.random() < 0.5:
                    uids = sorted(cache.messages)
                    sample = sorted(self.rng.sample(range(len(uids)), min(3, len(uids))))
                    numbers = render(place + 1 for place in sample)
                    known += b" (" + numbers + b" " + render(uids[place] for place in sample) + b")"
            line += b" (QRESYNC (%d %d%b))" % (cache.uidvalidity, cache.highest, known)
        else:
            cache = None
            if self.kind is Kind.CONDSTORE:
                line += b" (CONDSTORE)"
        heard = self.mirror.heard
        self.mirror = Mirror(self.kind, box, early=self.early, cache=cache)
        self.mirror.heard = heard
        self.mirror.selected = True
        self.box = box
        self.begin(Said(line))

    def keep(self) -> None:
        """Keep what it knows of the selected mailbox, as one that loses its connection does."""
        if self.steps is not None:
            self.mirror.forget_guesses()
        if self.box is not None and self.mirror.selected and self.kind is not Kind.PLAIN and self.mirror._cache is None:
            self.kept[self.box.name] = self.mirror.cache()

    def catch_up(self, cache: Cache) -> None:
        """What a client with CONDSTORE alone does when it comes back (RFC 7162 section 6, RFC 4549): the flags that changed,
        and which are left. Then it must know the truth of all that it knew before.
        """
        box = self.box
        assert box is not None
        if cache.uidvalidity != self.mirror.uidvalidity or not cache.messages or not self.mirror.entries:
            return
        last = max(cache.messages)
        self.say(b"UID FETCH 1:%d (FLAGS) (CHANGEDSINCE %d)" % (last, cache.highest))
        told = {entry.uid: (entry.flags, entry.modseq) for entry in self.mirror.entries if entry.uid is not None}
        found = self.say(b"UID SEARCH UID 1:%d" % last).found
        known = {uid: told.get(uid, cache.messages.get(uid)) for uid in found or ()}
        box_now = {uid: here for uid, here in box.rows.messages.items() if uid <= last}
        self.say(b"NOOP")
        for entry in self.mirror.entries:
            if entry.uid in known and entry.flags is not None:
                known[entry.uid] = entry.flags, entry.modseq
        assert known.keys() == box_now.keys(), f"{self.name}: {sorted(known)}, true is {sorted(box_now)}\n{self.story()}"
        for uid, here in box_now.items():
            flags = (known[uid] or (None, None))[0]
            assert flags == here.flags, f"{self.name}: {uid} is {flags}, true is {here.flags}\n{self.story()}"

    def leave(self) -> None:
        """The selected mailbox is left."""
        self.mirror.selected = False
        self.box = None

    def drop(self) -> None:
        """The connection is lost, in the middle of whatever it did, and made anew."""
        self.keep()
        if self.steps is not None:
            if self.work is not None:  # what a thread began, it ends
                self.advance()
            self.steps.close()
            self.steps = self.work = None
            self.value = self.error = None
        self.idling = self.has_news = False
        self.session.move(Trigger.ENDED)
        self.session.deselect()
        site = self.session.site
        self.session = Session(site, tls=True)
        self.session.account = self.account  # type: ignore[assignment]  # quota aside
        self.session.granted = GRANTED
        self.session.move(Trigger.SIGNED_IN)
        self.session.news = self._news
        self.decoder = Decoder(AFTER_LOGIN)
        heard = self.mirror.heard
        self.mirror = Mirror(self.kind)
        self.mirror.heard = heard
        self.leave()
        if self.kind is Kind.QRESYNC:
            self.say(b"ENABLE QRESYNC")


# ---------------------------------------------------------------------------------------------------------------------
# Random commands


def _some(rng: random.Random, entries: Sequence[Entry]) -> list[int]:
    """Some places, often one, sometimes a run, sometimes all."""
    count = len(entries)
    kind = rng.random()
    if kind < 0.5:
        return [rng.randrange(count)]
    if kind < 0.8:
        begin = rng.randrange(count)
        return list(range(begin, min(count, begin + rng.randint(1, 6))))
    if kind < 0.9:
        return list(range(count))
    return sorted(rng.sample(range(count), min(count, 4)))


def random_store(rng: random.Random, mirror: Mirror) -> Said:
    """STORE or UID STORE."""
    uid, places = _named(rng, mirror)
    entries = [mirror.entries[place] for place in places]
    op, sign = rng.choice([(FlagOp.ADD, b"+"), (FlagOp.REMOVE, b"-"), (FlagOp.REPLACE, b"")])
    flags = frozenset(rng.sample(FLAGS, rng.choice([1, 1, 1, 2])))
    silent = rng.random() < 0.5
    since = b""
    if mirror.kind is not Kind.PLAIN and rng.random() < 0.3:
        known = [entry.modseq for entry in entries if entry.modseq is not None]
        since = b" (UNCHANGEDSINCE %d)" % rng.choice([0, mirror.highest, *known])
    line = b"%bSTORE %b%b %bFLAGS%b (%b)" % (
        b"UID " if uid else b"",
        _set(entries, places, uid=uid),
        since,
        sign,
        b".SILENT" if silent else b"",
        " ".join(sorted(flags)).encode(),
    )
    return Said(line, may_expunge=uid, targets=entries, op=op, flags=flags, silent=silent, uid=uid)


def _named(rng: random.Random, mirror: Mirror) -> tuple[bool, list[int]]:
    places = _some(rng, mirror.entries)
    uid = rng.random() < 0.5 and all(mirror.entries[place].uid is not None for place in places)
    return uid, places


def _set(entries: Sequence[Entry], places: Sequence[int], *, uid: bool) -> bytes:
    if uid:
        return render(entry.uid for entry in entries if entry.uid is not None)
    return render(place + 1 for place in places)


def random_fetch(rng: random.Random, mirror: Mirror) -> Said:
    """FETCH or UID FETCH."""
    uid, places = _named(rng, mirror)
    entries = [mirror.entries[place] for place in places]
    items = [b"FLAGS"] if uid else [b"UID", b"FLAGS"]
    modifier = b""
    if mirror.kind is not Kind.PLAIN:
        items.append(b"MODSEQ")
        if rng.random() < 0.3 and mirror.highest:
            modifier = b" (CHANGEDSINCE %d%b)" % (
                rng.randint(max(1, mirror.highest - 20), mirror.highest),
                b" VANISHED" if mirror.kind is Kind.QRESYNC and uid and rng.random() < 0.5 else b"",
            )
    if rng.random() < 0.25:
        items.append(
            rng.choice([b"BODY[HEADER.FIELDS (X-Id)]", b"BODY.PEEK[HEADER.FIELDS (X-Id)]", b"RFC822.SIZE", b"ENVELOPE"])
        )
    rng.shuffle(items)
    line = b"%bFETCH %b (%b)%b" % (b"UID " if uid else b"", _set(entries, places, uid=uid), b" ".join(items), modifier)
    return Said(line, may_expunge=uid, uid=uid)


def random_search(rng: random.Random) -> Said:
    """SEARCH or UID SEARCH."""
    uid = rng.random() < 0.5
    key = rng.choice([b"ALL", b"SEEN", b"UNDELETED", b"KEYWORD Travail", b"FLAGGED UNSEEN", b"SUBJECT letter"])
    return Said(b"%bSEARCH %b" % (b"UID " if uid else b"", key), may_expunge=uid, uid=uid)


def random_transfer(rng: random.Random, mirror: Mirror, target: str) -> Said:
    """COPY or MOVE, by number or UID."""
    uid, places = _named(rng, mirror)
    entries = [mirror.entries[place] for place in places][:4]
    word = rng.choice([b"COPY", b"MOVE"])
    line = b"%b%b %b %b" % (b"UID " if uid else b"", word, _set(entries, places[:4], uid=uid), target.encode())
    return Said(line, uid=uid)


def random_expunge(rng: random.Random, mirror: Mirror) -> Said:
    """EXPUNGE, or UID EXPUNGE of some."""
    uids = [entry.uid for entry in mirror.entries if entry.uid is not None]
    if uids and rng.random() < 0.5:
        return Said(b"UID EXPUNGE " + render(sorted(rng.sample(uids, min(5, len(uids))))), uid=True)
    return Said(b"EXPUNGE")
