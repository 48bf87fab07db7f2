"""A world of clients, deliveries, other software and calendars over one account, in one thread, replayed from a seed.

`World(folder, seed).run()` does random steps and compares at checkpoints. A fault says the seed and what went before.
"""

import os
import random
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from unittest.mock import patch

from model_client import (
    FLAGS,
    Client,
    random_expunge,
    random_fetch,
    random_search,
    random_store,
    random_transfer,
)
from model_mirror import Kind, Said
from model_store import ANNE, KEYS, CheckedAccount, CheckedMail, Observer, Process, pick_job
from model_truth import Box
from preau.imap.commands import TABLE
from preau.imap.session import Site
from preau.imap.settings import ImapSettings
from preau.imap.watch import Watch
from preau.storage import mail as mail_module
from preau.storage import open_mailbox
from preau.storage.api import AccountKeys, CollectionKind, Draft, ETag, Href, ItemFacts, MailboxId, NotFound, SyncToken
from preau.storage.check import verify_account
from preau.storage.maildir import file_name, split_name

PROCESSES = 3
CLIENTS = 4  # of each process
BOXES = ("INBOX", "Archive")


class Fault(AssertionError):
    """Something differs; says the seed."""


@dataclass
class Calendar:
    """The truth of a calendar."""

    items: dict[str, str] = field(default_factory=dict)  # href -> ETag
    token: int = 0


@dataclass
class SyncClient:
    """A DAV client with a sync token."""

    process: Process
    items: dict[str, str] = field(default_factory=dict)
    token: SyncToken | None = None


class World:
    """See the module."""

    def __init__(self, folder: Path, seed: int, *, steps: int = 350, checkpoints: int = 3) -> None:
        """Open everything below `folder`, which is empty."""
        self.seed = seed
        self.rng = rng = random.Random(seed)
        self.steps, self.checkpoints = steps, checkpoints
        self.commands = 0
        self.log: list[str] = []
        sealing = rng.random() < 0.5
        self.root = root = folder / "store"
        self.sealing = sealing
        run = folder / "run"
        keys = KEYS[ANNE]

        def open_one(name: str, keys: AccountKeys) -> Process:
            return Process(root, run, name, keys, sealing=sealing)

        self.workers = [open_one(f"imap-{number}", keys) for number in range(PROCESSES)]
        self.delivery = open_one("delivery-1", replace(keys, secret=None))
        self.dav = open_one("dav-1", keys)
        self.processes = [*self.workers, self.delivery, self.dav]
        self.observer = Observer(self.dav)
        self.boxes: dict[str, Box] = {}
        self.ids: dict[str, MailboxId] = {}
        for name in BOXES:
            self.ids[name] = self.dav.account.mail.find(name).id
            self.boxes[name] = self.observer.boxes[self.ids[name]] = Box(name)
        self.observer.observe()
        self.files: dict[MailboxId, set[int]] = {number: set() for number in self.ids.values()}
        self.soon: list[Callable[[], None]] = []
        self.watches: list[Watch] = []
        self.clients: list[Client] = []
        for number, worker in enumerate(self.workers):
            watch = Watch(self.soon.append)
            worker.bus.listen(watch.change)
            site = Site(
                settings=ImapSettings(uid_batch=rng.choice([3, 500])),
                table=TABLE,
                version="1",
                starttls=False,
                now=lambda: 1_800_000_000.0,
                selections=watch,
                sign_in=None,  # type: ignore[arg-type]  # all are signed in
            )
            self.watches.append(watch)
            for which in range(CLIENTS):
                account = CheckedAccount(worker, self.observer, self._missing)
                client = Client(f"{number}.{which}", site, account, rng)
                client.log = self.log
                self.clients.append(client)
        self.calendar = Calendar()
        self.calendar_id = self.dav.account.collections.collections(CollectionKind.CALENDAR)[0].id
        self.syncs = [SyncClient(self.dav), SyncClient(self.workers[0])]
        self.letters = 0
        self.delivered: list[tuple[str, str, int]] = []  # (delivery id, mailbox, UID)
        self.checked = CheckedMail(self.delivery.account.mail, self.observer, self._missing)

    def _missing(self, mailbox: MailboxId) -> set[int]:
        return self.files[mailbox]

    def close(self) -> None:
        """Close all, in order."""
        for client in self.clients:
            if client.steps is not None:
                client.steps.close()
        for process in self.processes:
            process.close()

    def verify(self) -> None:
        """What `preau store verify` says of it all, once it is closed: nothing, but that foreign mail waits to be sealed."""
        found = verify_account(self.root, ANNE, KEYS[ANNE], sealing=self.sealing)
        if any(finding.kind != "files not sealed yet" for finding in found):
            raise Fault(f"seed {self.seed}: {found}\n" + self.story())

    # -- the course of things

    def run(self) -> None:
        """All steps and checkpoints."""
        try:
            for _ in range(self.rng.randint(3, 12)):
                self._deliver()
            for _ in range(self.checkpoints):
                for _ in range(self.steps):
                    self._step()
                    self.observer.observe()
                self._checkpoint()
        except Fault:
            raise
        except Exception as error:
            raise Fault(f"seed {self.seed}: {type(error).__name__}: {error}\n" + self.story()) from error

    def story(self, lines: int = 60) -> str:
        """What was done last."""
        return "\n".join(self.log[-lines:])

    def _step(self) -> None:
        rng = self.rng
        chance = rng.random()
        if chance < 0.50:
            ready = [client for client in self.clients if client.may_advance()]
            if ready:
                rng.choice(ready).advance()
        elif chance < 0.78:
            self._command(rng.choice(self.clients))
        elif chance < 0.86:
            for process, key in pick_job(rng, self.processes):
                self.log.append(f"{process.name} does {key[0] if isinstance(key, tuple) else key}")
                process.background.run(key)
        elif chance < 0.90:
            rng.choice(self.processes).bus.drain()
        elif chance < 0.92:
            soon, self.soon[:] = list(self.soon), []
            for call in soon:
                call()
        elif chance < 0.95:
            self._deliver()
        elif chance < 0.97:
            self._other_software()
        else:
            self._calendar()

    # -- IMAP

    def _command(self, client: Client) -> None:
        rng = self.rng
        if client.steps is not None:
            if rng.random() < 0.03:
                self.log.append(f"{client.name} loses its connection in {client.mirror.said.line[:60]!r}")
                client.drop()
            elif client.idling and rng.random() < 0.4:
                self.log.append(f"{client.name} DONE")
                client.done()
            return
        self.commands += 1
        if client.box is None:
            name = rng.choices(BOXES, [4, 1])[0]
            client.select(name, self.boxes[name])
            return
        mirror = client.mirror
        there = bool(mirror.entries)
        chance = rng.random()
        if chance < 0.10:
            client.begin(Said(b"NOOP"))
        elif chance < 0.17:
            client.begin(Said(b"IDLE"))
        elif chance < 0.42 and there:
            client.begin(random_store(rng, mirror))
        elif chance < 0.62 and there:
            client.begin(random_fetch(rng, mirror))
        elif chance < 0.70:
            client.begin(random_search(rng))
        elif chance < 0.78:
            client.begin(random_expunge(rng, mirror))
        elif chance < 0.86 and there:
            target = BOXES[1 - BOXES.index(client.box.name)] if rng.random() < 0.9 else client.box.name
            client.begin(random_transfer(rng, mirror, target))
        elif chance < 0.93:
            self._append(client)
        elif chance < 0.95:
            client.keep()
            client.begin(Said(rng.choice([b"CLOSE", b"UNSELECT"])))
            client.end()
            client.leave()
        elif chance < 0.97:
            self.log.append(f"{client.name} loses its connection")
            client.drop()
        else:
            client.end()
            name = rng.choice(BOXES)
            client.select(name, self.boxes[name])

    def _letter(self) -> tuple[str, bytes]:
        self.letters += 1
        name = f"m{self.letters}"
        return name, f"From: a@b.example\r\nSubject: letter {name}\r\nX-Id: {name}\r\n\r\nBonjour {name}\r\n".encode()

    def _append(self, client: Client) -> None:
        _, letter = self._letter()
        flags = " ".join(self.rng.sample(FLAGS, self.rng.choice([0, 0, 1, 2])))
        box = self.rng.choices(BOXES, [4, 1])[0]
        line = b"APPEND %b (%b) {%d+}\r\n%b" % (box.encode(), flags.encode(), len(letter), letter)
        client.begin(Said(line))

    # -- others

    def _deliver(self) -> None:
        if self.delivered and self.rng.random() < 0.2:
            self._deliver_again()
            return
        name, letter = self._letter()
        box = self.rng.choices(BOXES, [4, 1])[0]
        self.log.append(f"delivery of {name} to {box}")
        writer = self.checked.new_message()
        writer.write(letter)
        writer.finish()
        appended = self.checked.append(self.ids[box], [Draft(writer, delivery_id=name)])
        self.boxes[box].content[appended.uids[0]] = name
        self.delivered.append((name, box, appended.uids[0]))

    def _deliver_again(self) -> None:
        """A retry finds its twin, as long as that is there."""
        name, box, uid = self.rng.choice(self.delivered)
        rows = self.boxes[box].rows
        if uid not in rows.messages:
            return
        self.log.append(f"delivery of {name} to {box} again")
        writer = self.delivery.account.mail.new_message()
        writer.write(b"X-Id: twin\r\n\r\nagain\r\n")
        appended = self.delivery.account.mail.append(self.ids[box], [Draft(writer, delivery_id=name)])
        assert list(appended.uids) == [uid]
        assert appended.modseq == rows.highest

    def _other_software(self) -> None:
        """Puts a file into new/, gives one other flags, takes one away, or copies one (sealed, perhaps)."""
        rng = self.rng
        name = rng.choice(BOXES)
        box, mailbox = self.boxes[name], self.ids[name]
        directory = self.dav.context.directory(mailbox)
        chance = rng.random()
        if chance < 0.4:
            identity, letter = self._letter()
            self.log.append(f"other software puts {identity} into {name}")
            (directory / "tmp").mkdir(exist_ok=True)
            base = f"1700000{self.letters}.M1P1.elsewhere"
            (directory / "tmp" / base).write_bytes(letter.replace(b"\r\n", b"\n"))
            os.rename(directory / "tmp" / base, directory / "new" / base)
            box.strange += 1
            return
        rows = self.dav.context.reader.rows("SELECT id & 4294967295, fname, fflags FROM msg WHERE id >> 32 = ?", (mailbox,))
        rows = [row for row in rows if row[0] not in self.files[mailbox]]
        if not rows:
            return
        uid, base, shown = rng.choice(rows)
        path = directory / "cur" / file_name(base, shown)
        if not path.exists():
            return  # renamed by the other software before
        if chance < 0.7:
            sign = rng.choice("FRST")
            flags = split_name(f"x:2,{sign}")[1] ^ shown
            self.log.append(f"other software changes {sign} of {uid} in {name}")
            path.rename(directory / "cur" / file_name(base, flags))
            word = {"F": "\\Flagged", "R": "\\Answered", "S": "\\Seen", "T": "\\Deleted"}[sign]
            box.others.setdefault(uid, set()).add(word)
        elif chance < 0.85:
            self.log.append(f"other software removes {uid} from {name}")
            path.unlink()
            self.files[mailbox].add(uid)
            box.went.add(uid)
        else:
            self.log.append(f"other software copies {uid} in {name}")
            shutil.copyfile(path, directory / "cur" / f"1700000{self.letters}.M2P{uid}Q{len(self.log)}.elsewhere:2,")
            box.strange += 1

    def _calendar(self) -> None:
        rng, truth = self.rng, self.calendar
        collections = self.dav.account.collections
        chance = rng.random()
        href = f"e{rng.randrange(12)}.ics"
        if chance < 0.4:
            self.letters += 1
            data = b"BEGIN:VCALENDAR %d" % self.letters
            facts = ItemFacts("text/calendar", uid=href, component="VEVENT", start=0, end=1)
            put = collections.put_item(self.calendar_id, Href(href), data, facts)
            assert put.created == (href not in truth.items)
            assert put.sync_token > truth.token
            truth.items[href], truth.token = put.item.etag, put.sync_token
        elif chance < 0.6 and truth.items:
            href = rng.choice(sorted(truth.items))
            token = collections.delete_item(self.calendar_id, Href(href), if_match=ETag(truth.items.pop(href)))
            assert token > truth.token
            truth.token = token
        else:
            self._synchronise(rng.choice(self.syncs), rng.choice([None, 1, 2, 5]))

    def _synchronise(self, client: SyncClient, limit: int | None) -> bool:
        changes = client.process.account.collections.changes(self.calendar_id, client.token, limit)
        if client.token is not None:
            assert changes.sync_token >= client.token, "a sync token went back"
        for item in changes.changed:
            client.items[item.href] = item.etag
        for href in changes.gone:
            client.items.pop(href, None)
        client.token = changes.sync_token
        if not changes.truncated:
            assert client.items == self.calendar.items, "a sync token skipped something"
        return not changes.truncated

    # -- checkpoints

    def _checkpoint(self) -> None:
        self.log.append("checkpoint")
        for client in self.clients:
            client.end()
        for process in self.processes:
            process.bus.drain()
        self._adopt()
        for client in self.clients:
            if client.box is not None:
                self._compare(client)
        for client in self.clients:
            if client.kind is Kind.CONDSTORE and client.kept:
                self._come_back(client)
        fresh = self.rng.choice(self.clients)
        for name in BOXES:
            self._read(fresh, name)
        for sync in self.syncs:
            for _ in range(100):
                if self._synchronise(sync, 3):
                    break
            assert sync.items == self.calendar.items

    def _adopt(self) -> None:
        """Have what other software did be found, and everything settle."""
        for _ in range(3):
            for process in self.processes:
                process.background.settle()
            for mailbox in self.ids.values():
                self.workers[0].account.mail._look(mailbox)  # type: ignore[attr-defined]  # as a change of mtime would
            self.observer.observe()
        for process in self.processes:
            process.background.settle()
        self.observer.observe()
        for name, box in self.boxes.items():
            mailbox = self.ids[name]
            assert box.strange == 0, f"{box.strange} files in {name} were not taken in"
            assert not self.files[mailbox] & box.rows.messages.keys(), f"files that went from {name} are still counted"
            self.files[mailbox].clear()
            box.others.clear()

    def _come_back(self, client: Client) -> None:
        """A client with CONDSTORE alone catches up with each mailbox that it kept something of."""
        for name, cache in list(client.kept.items()):
            client.drop()
            client.select(name, self.boxes[name])
            client.end()
            client.catch_up(cache)
            del client.kept[name]

    def _compare(self, client: Client) -> None:
        box = client.box
        assert box is not None
        client.say(b"NOOP")
        truth = {uid: (known.flags, known.modseq) for uid, known in box.rows.messages.items()}
        faults = list(client.mirror.differences(truth, whole=False))
        assert not faults, self._fault(client, faults)
        if not client.mirror.entries or self.rng.random() < 0.3:
            return
        condstore = client.kind is not Kind.PLAIN
        client.say(b"FETCH 1:* (UID FLAGS MODSEQ)" if condstore else b"FETCH 1:* (UID FLAGS)", may_expunge=False)
        faults = list(client.mirror.differences(truth, whole=True))
        assert not faults, self._fault(client, faults)
        if condstore:
            assert client.mirror.highest <= box.rows.highest

    def _fault(self, client: Client, faults: list[str]) -> str:
        return f"{faults}\n{client.story()}"

    def _read(self, client: Client, name: str) -> None:
        """What a session that knows nothing reads: the truth, and the right octets under each UID."""
        box = self.boxes[name]
        client.drop()
        client.kept.pop(name, None)
        client.select(name, box)
        client.end()
        assert client.mirror.highest == box.rows.highest
        if not client.mirror.entries:
            assert not box.rows.messages
            return
        said = client.say(b"FETCH 1:* (UID FLAGS BODY.PEEK[HEADER.FIELDS (X-Id)])", may_expunge=False)
        assert said.contents.keys() == box.rows.messages.keys(), (said.contents, sorted(box.rows.messages))
        for uid, identity in said.contents.items():
            assert box.content.setdefault(uid, identity) == identity, f"{uid} in {name} is another message"
        with_text = client.say(b"UID SEARCH SUBJECT letter")
        assert with_text.found == sorted(box.rows.messages), (with_text.found, sorted(box.rows.messages))


@contextmanager
def a_world(seed: int, **more: int) -> Iterator[World]:
    """A world on a disk that forgets, so that a thousand of them take minutes."""
    memory = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(prefix="preau-model-", dir=memory if os.access(memory, os.W_OK) else None))
    try:
        with patch.object(open_mailbox, "_LOOK_EVERY", 0.0), patch.object(mail_module, "_LOOK_EVERY", 0.0):
            world = World(folder, seed, **more)
            try:
                yield world
            finally:
                world.close()
            world.verify()
    finally:
        shutil.rmtree(folder)


def run_seed(seed: int, **more: int) -> tuple[int, int]:
    """(commands, changes of messages) of one seed, without a fault. Raise Fault."""
    with a_world(seed, **more) as world:
        world.run()
        return world.commands, sum(box.changes for box in world.boxes.values())


__all__ = ["Fault", "NotFound", "World", "a_world", "run_seed"]
