"""The role `queue`: what was taken is delivered, sent on, or given back with a reason (RFC 5321 sections 4.5.4 and 6.1).

Theory of operation. A message comes from the spool's `incoming`: a datagram says which, and every few seconds it is looked for
anyway. It is noted in queue.db and given to a task of its own at once; the task tries it (queue_delivery.py) and writes down
what came of each recipient, with the notice to the sender in the same transaction. Most messages are through then, and leave
queue.db, then the spool. Those that wait go to `active`, and a loop asks queue.db which of them are due. Notices become
messages of the spool under ids chosen before, and come in like any other.

All steps can be done twice. What a crash cannot be kept from doubling is one thing alone: a host elsewhere that took a
message whose answer we did not hear (RFC 5321 section 4.5.4.1, RFC 1047).

Owns the loop, its bounds, and what is written when. Sockets: RUN/queue.sock (datagrams), RUN/queue-admin.sock (calls).
"""

import asyncio
import contextlib
import functools
import os
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import apsw

from ..daemon.listener import Listener
from ..daemon.log import logger
from ..daemon.rpc import RpcServer
from ..storage.api import NotFound, StoreError, Unavailable
from . import queue_store as rows
from .bounce import kinds
from .outcome import Outcome, Verdict, failed
from .queue_admin import QueueAdmin
from .queue_delivery import Deliverer, Members, Results
from .queue_notices import Teller
from .queue_rules import members_of, step
from .queue_store import Notice, QueueStore, State
from .schedule import Schedule
from .spool import Envelope, Spool

log = logger("smtp")

_TAKEN_AT_ONCE = 100
_HINTS_AT_ONCE = 100
_LOOK_AFTER_HINT = 0.1  # seconds


@dataclass(frozen=True, slots=True)
class QueueSettings:
    """Everything about the queue itself that an operator may change. Sockets lie in `run`; `database`: DATA/queue/queue.db."""

    run: Path
    database: Path
    hostname: str = "localhost"
    schedule: Schedule = field(default_factory=Schedule)
    messages: int = 1_000  # tried at once
    bounce_size: int = 262_144  # octets of a message that are returned whole
    poll_seconds: float = 5.0  # look for messages nobody told of
    sweep_seconds: float = 3_600.0
    admin_uids: frozenset[int] | None = None  # who may manage the queue besides root; None: our own user
    hint_mode: int = 0o660


@dataclass(frozen=True, slots=True)
class _New:
    """A message that was just taken. `dek` opens its file."""

    envelope: Envelope
    recipients: list[rows.Queued]
    dek: bytes


class QueueServer:
    """The role. Everything it is given is closed by drain, but for the spool and the authenticator."""

    def __init__(
        self,
        settings: QueueSettings,
        spool: Spool,
        deliverer: Deliverer,
        database_key: bytes,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`database_key`: queue_store.database_key(secret)."""
        self.settings = settings
        self._spool = spool
        self._deliverer = deliverer
        self._database_key = database_key
        self._clock = clock
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._hinted_ids: set[str] = set()
        self._left: set[str] = set()  # of those being tried: out of queue.db
        self._fresh: set[str] = set()  # noted in queue.db, in `incoming` until the first try is over
        self._new: dict[str, _New] = {}  # about to be tried for the first time
        self._ask_due = True  # whether queue.db is to be asked what is due
        self._full = False  # whether something was due when no more could be tried at once
        self._next_look: asyncio.TimerHandle | None = None
        self._unreadable: set[str] = set()
        self._woken = asyncio.Event()
        self._look = True
        self._turning = False
        self._loop_task: asyncio.Task[None] | None = None
        self._hints: socket.socket | None = None
        self._hints_path: Path | None = None  # when we bound it ourselves
        self._rpc: RpcServer | None = None
        self._draining = True  # not started

    # -- the role

    async def start(self, listeners: Sequence[Listener]) -> None:
        """Open the queue and begin. Raise ValueError, Unavailable, OSError.

        Listeners it takes: `queue` (datagrams) and `queue-admin`; those not handed over it makes itself.
        """
        given = {listener.name: listener.socket for listener in listeners}
        if unknown := given.keys() - {"queue", "queue-admin"}:
            raise ValueError(f"not a listener of queue: {', '.join(sorted(unknown))}")
        settings = self.settings
        self._draining = False
        self.store = await asyncio.to_thread(QueueStore, settings.database, self._database_key)
        if self.store.rebuilt:
            log.error("queue.db was damaged: put aside, taking the messages of the spool again")
        self._teller = Teller(
            self._spool,
            self.store,
            hostname=settings.hostname,
            give_up_after=settings.schedule.give_up_after,
            most=settings.bounce_size,
            retry_seconds=settings.poll_seconds,
            now=self.now,
            told=self.wake,
        )
        await self._recover()
        self._listen_for_hints(given.get("queue"))
        self._rpc = RpcServer(QueueAdmin(self).handle, allowed_uids=settings.admin_uids)
        path = settings.run / "queue-admin.sock"
        if "queue-admin" in given:
            await self._rpc.listen_socket(given["queue-admin"], path)
        else:
            await self._rpc.listen(path)
        self._loop_task = asyncio.get_running_loop().create_task(self._run())

    async def drain(self, seconds: float) -> None:
        """Take nothing more, let tries end, cut the rest: what was not written down is tried again."""
        if self._draining:
            return
        self._draining = True
        if self._rpc is not None:
            await self._rpc.close(min(seconds, 1.0))
        if self._hints is not None:
            asyncio.get_running_loop().remove_reader(self._hints)
            self._hints.close()
            if self._hints_path is not None:
                self._hints_path.unlink(missing_ok=True)
        if self._loop_task is not None:
            self._loop_task.cancel()
            await asyncio.gather(self._loop_task, return_exceptions=True)
        if self._next_look is not None:
            self._next_look.cancel()
            self._next_look = None
        running = [*self._tasks.values(), *self._teller.tasks]
        if running:
            await asyncio.wait(running, timeout=seconds)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        await self._deliverer.close()
        await self.store.close()

    async def reload(self) -> None:
        """Nothing here changes while running; hosts that were down are tried again."""
        self.wake(forgive=True)

    def wake(self, *, forgive: bool = False) -> None:
        """Look at the queue now. `forgive`: at hosts that were down as well."""
        if forgive:
            self._deliverer.forgive()
        self._look = self._ask_due = True
        self._woken.set()

    def now(self) -> int:
        """Seconds since 1970 UTC."""
        return int(self._clock())

    def is_tried_now(self, identifier: str) -> bool:
        """Whether a try of the message is running."""
        return identifier in self._tasks

    async def settled(self) -> None:
        """Return when nothing is due and nothing runs (for tests and for `--once`)."""
        while True:
            tasks = [*self._tasks.values(), *self._teller.tasks]
            if tasks:
                await asyncio.wait(tasks)
            elif self._turning or self._look or self._next_look or self._woken.is_set() or self.store.due(self.now(), 1):
                await asyncio.sleep(0.002)
            else:
                return

    # -- coming in

    def _listen_for_hints(self, given: socket.socket | None) -> None:
        if given is None:
            self._hints_path = path = self.settings.run / "queue.sock"
            path.unlink(missing_ok=True)
            self._hints = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            os.fchmod(self._hints.fileno(), self.settings.hint_mode)
            self._hints.bind(str(path))
            path.chmod(self.settings.hint_mode)
        else:
            self._hints = given
        self._hints.setblocking(False)
        asyncio.get_running_loop().add_reader(self._hints, self._hinted)

    def _hinted(self) -> None:
        assert self._hints is not None
        with contextlib.suppress(OSError):
            for _ in range(_HINTS_AT_ONCE):
                self._hinted_ids.add(self._hints.recv(64).decode("ascii", "replace"))
        self._woken.set()
        if self._next_look is None:
            # A full socket loses hints: whatever came with these is found a moment later.
            self._next_look = asyncio.get_running_loop().call_later(_LOOK_AFTER_HINT, self._look_again)

    def _look_again(self) -> None:
        self._next_look = None
        self._look = True
        self._woken.set()

    async def _recover(self) -> None:
        """After a stop of whatever kind: what is in the spool is in queue.db, what is done leaves, what is to be told is."""
        for identifier in self.store.idle():
            await self._finish(identifier)
        active = await asyncio.to_thread(self._spool.active)
        await self._take([each for each in active if not self.store.is_known(each)])
        for notice in self.store.notices():
            self._teller.tell(notice)

    async def _take_incoming(self) -> None:
        """Take all that lies in `incoming`, of which nobody may have told."""
        listed = await asyncio.to_thread(self._spool.incoming)
        found = [each for each in listed if each not in self._fresh]
        if found:
            await asyncio.to_thread(self._spool.sync_incoming)
        await self._take(found)

    async def _take(self, identifiers: Sequence[str]) -> None:
        """Note messages of the spool that are certain to be there, and have them tried."""
        for begin in range(0, len(identifiers), _TAKEN_AT_ONCE):
            await self._take_some(identifiers[begin : begin + _TAKEN_AT_ONCE])

    async def _take_some(self, identifiers: Sequence[str]) -> None:
        now = self.now()

        def note(connection: apsw.Connection) -> tuple[dict[str, _New], list[str], list[str]]:
            new, known, finished = {}, [], []
            for each in identifiers:
                if (read := self._read(each)) is None:
                    continue
                envelope, dek = read
                if (recipients := rows.insert_message(connection, each, envelope, now)) is not None:
                    new[each] = _New(envelope, recipients, dek)
                elif rows.is_finished(connection, each):
                    finished.append(each)
                else:
                    known.append(each)
            return new, known, finished

        def then(noted: tuple[dict[str, _New], list[str], list[str]]) -> None:
            _, known, finished = noted
            self._spool.activate(known)
            for each in finished:  # brought back by a power cut
                self._spool.remove(each)

        new, known, _ = await self.store.write(note, then, flush=False)
        for identifier, message in new.items():
            self._fresh.add(identifier)
            self._new[identifier] = message
            log.info(
                "queued",
                id=identifier,
                sender=message.envelope.reverse_path or "<>",
                recipients=len(message.envelope.recipients),
                size=message.envelope.size,
            )
        self._ask_due = self._ask_due or bool(known)

    def _read(self, identifier: str) -> tuple[Envelope, bytes] | None:
        try:
            with self._spool.open(identifier) as message:
                return message.envelope(), message.dek
        except NotFound:
            return None
        except Unavailable as error:
            if identifier not in self._unreadable:
                self._unreadable.add(identifier)
                log.error("envelope cannot be read; it stays where it is", id=identifier, reason=str(error))
            return None

    # -- the loop

    async def _run(self) -> None:
        swept = 0.0
        loop = asyncio.get_running_loop()
        while True:
            self._woken.clear()
            self._turning = True
            wait = self.settings.poll_seconds
            try:
                hinted, self._hinted_ids = self._hinted_ids, set()
                await self._take([each for each in hinted if each not in self._fresh])
                if self._look:
                    self._look = False  # first: what comes while we look is looked for again
                    await self._take_incoming()
                if loop.time() >= swept:
                    swept = loop.time() + self.settings.sweep_seconds
                    await self._sweep()
                await self._bring_forward()
                self._dispatch()
                next_try = self.store.next_try(self.now())
                if next_try is not None:
                    wait = min(wait, max(next_try - self.now(), 0.05))
            except StoreError as error:
                log.error("queue cannot go on now", reason=str(error))
            except Exception as error:
                log.incident("queue failed", error)
            self._turning = False
            try:
                async with asyncio.timeout(wait):
                    await self._woken.wait()
            except TimeoutError:
                self._look = self._ask_due = True

    async def _sweep(self) -> None:
        now = self.now()
        await asyncio.to_thread(self._spool.sweep)
        await self.store.write(lambda connection: rows.forget_finished(connection, now))

    async def _bring_forward(self) -> None:
        """What a clock that was ahead put off until it would be there is tried now."""
        now = self.now()
        end = now + self.settings.schedule.furthest
        if self.store.waits_beyond(end):
            await self.store.write(lambda connection: rows.bring_forward(connection, end, now))

    def _dispatch(self) -> None:
        if self._draining:
            return
        new, self._new = self._new, {}
        for identifier, message in new.items():
            if len(self._tasks) < self.settings.messages:
                self._begin(identifier, message)
            else:
                self._full = True  # queue.db tells them later
        if not self._ask_due and not (self._full and len(self._tasks) < self.settings.messages):
            return
        self._ask_due = self._full = False
        for identifier in self.store.due(self.now(), self.settings.messages + 1):
            if identifier in self._tasks:
                continue
            if len(self._tasks) >= self.settings.messages:
                self._full = True
                break
            self._begin(identifier, None)

    def _begin(self, identifier: str, message: "_New | None") -> None:
        task = asyncio.get_running_loop().create_task(self._try(identifier, message))
        self._tasks[identifier] = task
        task.add_done_callback(functools.partial(self._tried, identifier))

    def _tried(self, identifier: str, task: "asyncio.Task[None]") -> None:
        self._tasks.pop(identifier, None)
        if identifier in self._left:
            self._left.discard(identifier)
        else:
            self._ask_due = True
        if not task.cancelled() and (error := task.exception()) is not None:
            log.incident("message not tried", error, id=identifier)
        self._woken.set()

    async def _try(self, identifier: str, message: "_New | None") -> None:
        if message is not None:
            envelope: Envelope | None = message.envelope
            recipients = message.recipients
        else:
            envelope = self.store.envelope(identifier)
            recipients = self.store.waiting(identifier, self.now())
        if envelope is None or not recipients:
            return

        async def record(results: Results, groups: Sequence[Members]) -> None:
            await self._record(identifier, envelope, results, groups)

        try:
            await self._deliverer.attempt(identifier, envelope, recipients, record, message.dek if message else None)
        except StoreError as error:
            # Not on disk: the rows are as they were. Not at once again, or a full disk would keep us turning.
            log.error("outcome not noted", id=identifier, reason=str(error))
            await asyncio.sleep(self.settings.poll_seconds)

    # -- what came of it

    async def _record(self, identifier: str, envelope: Envelope, results: Results, groups: Sequence[Members]) -> None:
        now = self.now()
        schedule = self.settings.schedule
        changed = [(*step(one, outcome, envelope.received, now, schedule), outcome) for one, outcome in results]
        for group, addresses in groups:
            expanded = Outcome(Verdict.EXPANDED, "2.1.5", f"leads to {len(addresses)} other addresses")
            row, kind = step(group, expanded, envelope.received, now, schedule)
            changed.append((row, kind if len(addresses) > 1 else "", expanded))
        # Chosen before the transaction, which may run twice.
        names = {kind: self._spool.new_id() for kind in ("failed", "delayed", "success")}

        def note(connection: apsw.Connection) -> tuple[list[Notice], bool]:
            updated = [(row, kind) for row, kind, _ in changed if rows.update_recipient(connection, row)]
            still = {row.row for row, _ in updated}
            for group, addresses in groups:
                if group.row in still:
                    rows.insert_recipients(connection, identifier, members_of(group, addresses), now, member=True)
            notices = [Notice(names[kind], identifier, kind, tuple(told)) for kind, told in kinds(updated, envelope).items()]
            for notice in notices:
                rows.insert_notice(connection, notice)
            return notices, not notices and rows.finish(connection, identifier, now)

        notices, finished = await self.store.write(note, lambda noted: self._recorded(identifier, finished=noted[1]))
        for row, kind, outcome in changed:
            self._log(identifier, envelope, row, kind, outcome)
        for notice in notices:
            self._teller.tell(notice)
        self._forget_fresh(identifier, finished=finished)

    def _forget_fresh(self, identifier: str, *, finished: bool) -> None:
        self._fresh.discard(identifier)
        if finished and identifier in self._tasks:
            self._left.add(identifier)

    def _recorded(self, identifier: str, *, finished: bool) -> None:
        """What follows an outcome that is on disk. [thread]"""
        if finished:
            self._spool.remove(identifier)
        elif identifier in self._fresh:
            self._spool.activate([identifier])

    def _log(self, identifier: str, envelope: Envelope, row: rows.Queued, kind: str, outcome: Outcome) -> None:
        log.info(
            row.verdict,
            id=identifier,
            recipient=row.address,
            host=outcome.host,
            status=row.status,
            reply=outcome.text,
            attempts=row.attempts,
            delay=row.tried_at - envelope.received,
        )
        if kind == "failed" and not envelope.reverse_path:
            log.warning("a report could not be delivered and is dropped", id=identifier, recipient=row.address)

    async def give_up(self, identifier: str, *, tell: bool) -> int:
        """An operator's word: nobody who waits is tried again; how many that were. Raise Unavailable.

        What a running try brings for them is no longer noted.
        """
        envelope = self.store.envelope(identifier)
        if envelope is None:
            return 0
        waiting = [one for one in self.store.recipients(identifier) if one.state is State.WAITING]
        if tell:
            given_up = failed("5.7.0", "removed from the queue by an operator")
            await self._record(identifier, envelope, [(one, given_up) for one in waiting], ())
            return len(waiting)
        now = self.now()

        def note(connection: apsw.Connection) -> bool:
            query = "UPDATE recipient SET state = ? WHERE message = ? AND state = 0"
            connection.execute(query, (int(State.CANCELLED), identifier))
            return rows.finish(connection, identifier, now)

        finished = await self.store.write(note, lambda finished: self._recorded(identifier, finished=finished))
        self._forget_fresh(identifier, finished=finished)
        return len(waiting)

    async def _finish(self, identifier: str) -> None:
        now = self.now()
        await self.store.write(
            lambda connection: rows.finish(connection, identifier, now),
            lambda finished: self._recorded(identifier, finished=finished),
        )
