"""A queue that dies at work: `python crash_queue.py ROOT` takes messages for Bruno and for nobody, and delivers or bounces.

Everything is in this one process: the spool, the queue, `delivery` over a file store in which Bruno and Anne, the sender,
have their mailboxes. ROOT.told gets a line for each 250 and for each time that nothing is left to do.
"""

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from crash_victim import Handing, Known, Teller, text
from files import Files, opened
from lmtp import World
from preau.daemon.listener import Listener, bind_unix
from preau.smtp.delivery import DeliveryServer
from preau.smtp.queue import QueueServer
from preau.smtp.spool import Envelope, Spool, SpoolRecipient
from preau.storage import adoption
from preau.storage.api import Account, Uid
from smtp_world import BEGIN, Clock, FakeDns, make_queue
from store_contract import BRUNO, KEYS, read

MESSAGES = (1, 2)


@dataclass
class _Local(World):
    """What make_queue wants to know of `delivery`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.auth = Known()


@contextlib.asynccontextmanager
async def working(root: Path) -> AsyncIterator[tuple[QueueServer, Spool, Files]]:
    """All of it, over the files at `root`."""
    local = _Local(Path(f"{root}.sock"))
    local.path.unlink(missing_ok=True)
    with opened(root / "accounts") as files:
        delivery = DeliveryServer(files.store, local.auth, Handing())
        await delivery.start([Listener("lmtp", bind_unix(local.path))])
        queue, _, spool = make_queue(root, local, FakeDns(), Clock(), 1)
        try:
            await queue.start([])
            await queue.settled()
            yield queue, spool, files
        finally:
            await queue.drain(1.0)
            await delivery.drain(1.0)
            spool.close()


def prepare(root: Path) -> None:
    """Empty mailboxes and an empty queue, at rest."""
    (root / "queue").mkdir(parents=True)

    async def once() -> None:
        async with working(root) as (_, _, files):
            files.store.open_account(BRUNO, KEYS[BRUNO]).close()

    asyncio.run(once())


async def work(root: Path) -> None:
    """Take, deliver, bounce, telling."""
    teller = Teller(root)
    async with working(root) as (queue, spool, files):
        teller.tell("open")
        for number in MESSAGES:
            writer = spool.new()
            writer.write(text(number))
            recipients = (SpoolRecipient("bruno@example.com"), SpoolRecipient("nobody@example.com"))
            await asyncio.to_thread(writer.commit, Envelope("anne@example.com", recipients, int(BEGIN)))
            teller.tell("250", number=number)
            queue.wake()
            await queue.settled()
            teller.tell("settled", number=number)
        files.settle()


async def finish(root: Path) -> dict[int, tuple[int, int]]:
    """What a restart makes of the files: message -> (times Bruno has it, times Anne was told that nobody does)."""
    async with working(root) as (queue, spool, files):
        assert queue.store.counts() == (0, 0, 0)
        assert not queue.store.notices()
        assert not spool.active()
        assert not spool.incoming()
        bruno = files.store.open_account(BRUNO, KEYS[BRUNO])
        counts = {}
        for number in MESSAGES:
            counts[number] = (count(bruno, number), count(files.account, number))
        bruno.close()
    return counts


def count(account: Account, number: int) -> int:
    """Messages in INBOX that hold the text of that number."""
    inbox = account.mail.find("INBOX").id
    adoption.look(account.context, inbox)  # type: ignore[attr-defined]  # of the file store
    view = account.mail.open(inbox)
    try:
        return sum(text(number).splitlines()[-1] in read(account.mail, inbox, Uid(uid)) for uid in view.uids)
    finally:
        view.close()


if __name__ == "__main__":
    asyncio.run(work(Path(sys.argv[1])))
