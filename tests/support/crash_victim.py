"""What dies in tests/crash: `python crash_victim.py ROOT WORK` does a piece of work on the store at ROOT, step by step.

After each step a line in ROOT.told says its name and how the account looks (crash_view): that is the acknowledgement. The
work of each kind of answer is in WORKS.
"""

import asyncio
import json
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from crash_view import look_at
from files import Files, opened
from lmtp import FakeAuth, FakeKeys, Lmtp
from preau.auth.api import LocalRecipient, Recipients
from preau.daemon.listener import Listener, bind_unix
from preau.smtp.delivery import DeliveryServer
from preau.storage.api import AccountId, AccountKeys, CollectionKind, FlagOp, Href, ItemFacts, MailboxId, Uid
from store_contract import ANNE, BRUNO, KEYS, MIXED, PLAIN, append, write_draft

Steps = Iterator[str]
CALENDAR, ADDRESSBOOK = CollectionKind.CALENDAR, CollectionKind.ADDRESSBOOK


class Teller:
    """Says what is acknowledged, one write each."""

    def __init__(self, root: Path) -> None:
        """Begin anew."""
        self._file = os.open(f"{root}.told", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)

    def tell(self, step: str, **more: object) -> None:
        """Acknowledge a step."""
        os.write(self._file, json.dumps({"step": step, **more}).encode() + b"\n")


def text(number: int) -> bytes:
    """A message like no other."""
    return b"From: a@ecole.example\r\nSubject: number %d\r\n\r\nbody %d\r\n" % (number, number)


def event(number: int) -> tuple[bytes, ItemFacts]:
    """An item like no other."""
    uid = f"event-{number}"
    data = f"BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\nUID:{uid}\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n".encode()
    return data, ItemFacts("text/calendar; charset=utf-8", uid=uid, component="VEVENT", start=number, end=number + 10)


def prepare(root: Path, *, sealing: bool = True) -> None:
    """An account with something in it, at rest."""
    with opened(root, sealing=sealing) as files:
        for data, flags in ((PLAIN, ()), (MIXED, ("\\Seen", "Mot")), (text(1), ("\\Flagged",))):
            append(files.mail, files.inbox, data, *flags)
        calendar = files.account.collections.find(CALENDAR, "calendar").id
        for number in (1, 2):
            files.account.collections.put_item(calendar, Href(f"{number}.ics"), *event(number))
        files.settle()


def archive(files: Files) -> MailboxId:
    """The mailbox Archive."""
    return files.mail.find("Archive").id


def messages(files: Files) -> Steps:
    """APPEND, STORE, COPY, MOVE, EXPUNGE."""
    mail, inbox = files.mail, files.inbox
    append(mail, inbox, text(2), "\\Seen", "Neu")
    yield "append"
    mail.append(inbox, [write_draft(mail, text(3)), write_draft(mail, text(4), frozenset({"\\Draft"}))])
    yield "append two"
    mail.store_flags(inbox, [Uid(1), Uid(2)], FlagOp.ADD, frozenset({"\\Answered", "Wort"}))
    yield "store"
    files.settle()
    mail.copy(inbox, [Uid(1), Uid(3)], archive(files))
    yield "copy"
    mail.move(inbox, [Uid(2), Uid(4)], archive(files))
    yield "move"
    mail.store_flags(inbox, [Uid(3), Uid(5)], FlagOp.REPLACE, frozenset({"\\Deleted"}))
    yield "mark"
    mail.expunge(inbox)
    yield "expunge"
    files.settle()
    mail.store_flags(inbox, [Uid(1)], FlagOp.REMOVE, frozenset({"\\Answered"}))
    yield "unstore"
    files.settle()  # nobody else writes
    mail.store_flags(inbox, [Uid(1)], FlagOp.ADD, frozenset({"\\Flagged"}), waits=False)
    yield "store at once"


def mailboxes(files: Files) -> Steps:
    """CREATE, RENAME, DELETE, SUBSCRIBE, also of the same name again, and of INBOX."""
    mail = files.mail
    mail.create("a/b")
    yield "create"
    append(mail, mail.find("a/b").id, text(2))
    yield "append"
    mail.rename("a", "c")
    yield "rename"
    append(mail, mail.find("c/b").id, text(3))
    yield "append renamed"
    mail.delete("c/b")
    yield "delete"
    mail.create("c/b")
    yield "create again"
    append(mail, mail.find("c/b").id, text(4))
    yield "append again"
    mail.subscribe("c/b", True)
    yield "subscribe"
    mail.rename("INBOX", "old")
    yield "rename INBOX"
    files.settle()
    mail.delete("old")
    yield "delete with messages"


def deliveries(files: Files) -> Steps:
    """Appends that a queue would try again: each under a delivery id."""
    for number in range(2, 5):
        files.mail.append(files.inbox, [write_draft(files.mail, text(number), delivery_id=f"q{number}", prefix=b"X: y\r\n")])
        yield f"deliver {number}"


def intake(files: Files) -> Steps:
    """LMTP: what a mail server is told 250 for."""
    with asyncio.Runner() as runner:
        server, path = DeliveryServer(files.store, Known(), Handing()), Path(f"{files.root}.sock")
        runner.run(server.start([Listener("lmtp", bind_unix(path))]))
        for number in range(2, 5):
            assert runner.run(send(path, ["anne", "bruno"], text(number), f"q{number}")).startswith("250 ")
            yield f"250 {number}"
        runner.run(server.drain(1.0))


class Known(FakeAuth):
    """Anne and Bruno."""

    def __init__(self) -> None:
        """See FakeAuth."""
        super().__init__()
        for name, account in (("anne", ANNE), ("bruno", BRUNO)):
            address = f"{name}@example.com"
            self.addresses[address] = Recipients((LocalRecipient(account, address, None, True),), ())


class Handing(FakeKeys):
    """Hands out their keys, the secret ones not."""

    async def delivery_keys(self, account: AccountId) -> AccountKeys:
        """See KeyHolder."""
        return replace(KEYS[account], secret=None)


async def send(path: Path, names: list[str], message: bytes, delivery_id: str) -> str:
    """One message over LMTP; the last of the replies."""
    client = Lmtp(*await asyncio.open_unix_connection(path))
    await client.hello()
    assert (await client.ask(f"MAIL FROM:<a@ecole.example> XDELIVERYID={delivery_id}")).startswith("250 ")
    for name in names:
        assert (await client.ask(f"RCPT TO:<{name}@example.com>")).startswith("250 ")
    assert (await client.ask("DATA")).startswith("354 ")
    answers = [await client.ask(message + b".")]
    answers += [await client.reply() for _ in names[1:]]
    await client.close()
    return max(answers)


def items(files: Files) -> Steps:
    """PUT, DELETE, MOVE, COPY, PROPPATCH of items."""
    store = files.account.collections
    calendar, tasks = store.find(CALENDAR, "calendar").id, store.find(CALENDAR, "tasks").id
    store.put_item(calendar, Href("3.ics"), *event(3))
    yield "put"
    store.put_item(calendar, Href("1.ics"), event(1)[0] + b"\r\n", event(1)[1])
    yield "put over"
    store.set_item_properties(calendar, Href("2.ics"), {"{x:}colour": "<a/>"})
    yield "proppatch"
    store.copy_item(calendar, Href("2.ics"), tasks, Href("two.ics"), overwrite=False, move=True)
    yield "move"
    store.copy_item(calendar, Href("3.ics"), tasks, Href("three.ics"), overwrite=False, move=False)
    yield "copy"
    store.delete_item(calendar, Href("3.ics"))
    yield "delete"
    store.put_item(calendar, Href("3.ics"), *event(4))
    yield "put again"


def collections(files: Files) -> Steps:
    """MKCALENDAR, MKCOL, PROPPATCH, MOVE, DELETE of collections."""
    store = files.account.collections
    made = store.create(CALENDAR, "classe", {"{DAV:}displayname": "Classe"}).id
    yield "create"
    store.put_item(made, Href("5.ics"), *event(5))
    yield "put"
    store.set_properties(made, {"{DAV:}displayname": "5e", "{x:}y": "z"})
    yield "proppatch"
    store.move_collection(made, "cinquième")
    yield "move"
    store.create(CollectionKind.PLAIN, "calendars/tree", {})
    yield "create plain"
    store.create(CollectionKind.PLAIN, "calendars/tree/below", {})
    yield "create tree"
    store.delete(made)
    yield "delete"
    store.create(CALENDAR, "cinquième", {})
    yield "create again"
    store.delete(store.find(CollectionKind.PLAIN, "calendars/tree").id)
    yield "delete tree"


WORKS: dict[str, Callable[[Files], Steps]] = {
    work.__name__: work for work in (messages, mailboxes, deliveries, intake, items, collections)
}


def main(work: str, root: Path, sealing: bool) -> None:
    """Do it, telling."""
    teller = Teller(root)
    with opened(root, sealing=sealing) as files:
        teller.tell("open", view=look_at(files.account))
        for step in WORKS[work](files):
            teller.tell(step, view=look_at(files.account))
        files.settle()


if __name__ == "__main__":
    main(sys.argv[2], Path(sys.argv[1]), "plain" not in sys.argv[3:])
