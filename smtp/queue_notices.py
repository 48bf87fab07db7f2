"""Notices of the queue become messages of the spool.

Owns that each is written once: its queue id stands in queue.db before its first octet is written, so that a try after a
crash writes the same message again or finds it known. Never decides who is told what: bounce.py does.
"""

import asyncio
import contextlib
from collections.abc import Callable

import apsw

from ..daemon.log import logger
from ..storage.api import NotFound, StoreError
from . import queue_store as rows
from .bounce import bounce
from .queue_store import Notice, QueueStore
from .spool import Envelope, Spool

log = logger("smtp")


class Teller:
    """Writes reports. One event loop's."""

    def __init__(
        self,
        spool: Spool,
        store: QueueStore,
        *,
        hostname: str,
        give_up_after: int,
        most: int,
        retry_seconds: float,
        now: Callable[[], int],
        told: Callable[[], None],
    ) -> None:
        """`most`: octets of a message that are returned.  `told`: called when a report lies in the spool."""
        self._spool = spool
        self._store = store
        self._hostname = hostname
        self._give_up_after = give_up_after
        self._most = most
        self._retry_seconds = retry_seconds
        self._now = now
        self._told = told
        self._telling: dict[str, asyncio.Task[None]] = {}

    @property
    def tasks(self) -> list["asyncio.Task[None]"]:
        """What is being told."""
        return list(self._telling.values())

    def tell(self, notice: Notice) -> None:
        """Begin to, unless it was begun."""
        if notice.id not in self._telling:
            task = asyncio.get_running_loop().create_task(self._tell(notice))
            self._telling[notice.id] = task
            task.add_done_callback(lambda done: self._done(notice, done))

    def _done(self, notice: Notice, task: "asyncio.Task[None]") -> None:
        self._telling.pop(notice.id, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.incident("report not written", error, id=notice.message)
        self._told()

    async def _tell(self, notice: Notice) -> None:
        while True:
            try:
                await self._tell_once(notice)
            except StoreError as error:
                log.error("report not written, trying again", id=notice.message, reason=str(error))
                await asyncio.sleep(self._retry_seconds)
            else:
                return

    async def _tell_once(self, notice: Notice) -> None:
        # Known already: it was written before a crash kept us from noting that.
        if not self._store.is_known(notice.id) and not self._store.is_finished(notice.id):
            envelope = self._store.envelope(notice.message)
            assert envelope is not None  # a message stays for as long as there is something to tell
            await asyncio.to_thread(self._write, notice, envelope)
        now = self._now()

        def note(connection: apsw.Connection) -> bool:
            connection.execute("DELETE FROM notice WHERE id = ?", (notice.id,))
            return rows.finish(connection, notice.message, now)

        def then(finished: bool) -> None:
            if finished:
                self._spool.remove(notice.message)

        await self._store.write(note, then)

    def _write(self, notice: Notice, envelope: Envelope) -> None:
        with contextlib.ExitStack() as opened:
            source = None
            with contextlib.suppress(NotFound):
                source = opened.enter_context(self._spool.open(notice.message))
            message, to_sender = bounce(
                notice,
                envelope,
                source,
                hostname=self._hostname,
                now=self._now(),
                give_up_after=self._give_up_after,
                most=self._most,
            )
        writer = self._spool.new(notice.id)
        try:
            writer.write(message)
            writer.commit(to_sender)
        except BaseException:
            writer.abort()
            raise
        log.info("report", kind=notice.kind, id=notice.message, report=notice.id, sender=envelope.reverse_path)
