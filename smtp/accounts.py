"""Accounts that `delivery` has open: taken for a message, held for a while, put into together.

Theory of operation. Opening an account costs a call to `keys` and two databases, so it stays open some minutes after its
last message, the longest unused one going first when there are too many. An account that auth revokes (locked, deleted) is
dropped at once: its keys are forgotten when the last message in hand is through.

Writes into one account's index wait for each other anyway, so they are gathered: the first message is put in by itself;
what arrives while that runs is made durable side by side and then enters in one transaction. Fifty deliveries to one
mailbox cost a few commits, a single one waits for nobody.

Owns the holding and the gathering. Never looks at a message.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Executor

from ..auth.api import KeyHolder
from ..daemon.log import logger
from ..storage.api import Account, AccountId, Draft, MailboxId, Store, StoreError

log = logger("smtp")

_BATCH = 100  # messages in one transaction of an index


class HeldAccount:
    """An open account, from `HeldAccounts.take` until it is given back."""

    __slots__ = ("_busy", "_inbox", "_run", "_waiting", "account", "dropped", "quota", "used", "users")

    def __init__(self, account: Account, quota: int | None, run: "Callable[..., asyncio.Future[object]]") -> None:
        """Made by HeldAccounts alone. `run`: calls a function in a worker thread."""
        self.account = account
        self.quota = quota
        self.users = 0
        self.used = 0.0  # when it was given back last
        self.dropped = False
        self._run = run
        self._inbox: MailboxId | None = None
        self._busy = False
        self._waiting: list[tuple[Draft, asyncio.Future[None]]] = []

    async def put(self, draft: Draft) -> None:
        """Put a message into INBOX. When this returns it survives a power cut. Raise StoreError."""
        if not self._busy:
            self._busy = True
            try:
                await self._run(self._finish_and_append, draft)
            finally:
                self._busy = False
                self._put_waiting()
            return
        await self._run(draft.writer.finish)
        entered: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((draft, entered))
        self._put_waiting()
        await entered

    def _put_waiting(self) -> None:
        if self._waiting and not self._busy:
            self._busy = True
            batch, self._waiting = self._waiting[:_BATCH], self._waiting[_BATCH:]
            putting = self._run(self._append_all, [draft for draft, _ in batch])
            putting.add_done_callback(lambda done: self._batch_done(batch, done))

    def _batch_done(self, batch: list[tuple[Draft, "asyncio.Future[None]"]], done: "asyncio.Future[object]") -> None:
        self._busy = False
        errors = done.result() if not done.cancelled() and done.exception() is None else None
        for position, (_, entered) in enumerate(batch):
            if entered.done():
                continue
            if isinstance(errors, list):
                error = errors[position]
            else:
                error = StoreError("interrupted") if done.cancelled() else done.exception()
            if error is None:
                entered.set_result(None)
            else:
                entered.set_exception(error)
        self._put_waiting()

    # -- in a worker thread

    def _finish_and_append(self, draft: Draft) -> None:
        draft.writer.finish()
        self._append([draft])

    def _append_all(self, drafts: list[Draft]) -> list[Exception | None]:
        try:
            self._append(drafts)
        except StoreError:
            if len(drafts) == 1:
                raise
            # All or none: one without room must not keep the others out.
            errors: list[Exception | None] = []
            for draft in drafts:
                try:
                    self._append([draft])
                    errors.append(None)
                except StoreError as error:
                    errors.append(error)
            return errors
        return [None] * len(drafts)

    def _append(self, drafts: list[Draft]) -> None:
        if self._inbox is None:
            self._inbox = self.account.mail.find("INBOX").id
        self.account.mail.append(self._inbox, drafts)


class HeldAccounts:
    """All accounts that are open here. One event loop's."""

    def __init__(self, store: Store, keys: KeyHolder, workers: Executor, *, most: int, seconds: float) -> None:
        """`most`: open ones without users that are kept.  `seconds`: how long."""
        self._store = store
        self._keys = keys
        self._workers = workers
        self._most = most
        self._seconds = seconds
        self._held: OrderedDict[AccountId, HeldAccount] = OrderedDict()  # longest unused first
        self._opening: dict[AccountId, asyncio.Future[HeldAccount]] = {}
        self._closing: set[asyncio.Future[object]] = set()
        self._sweep: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        """Open ones."""
        return len(self._held)

    async def take(self, account: AccountId, quota: int | None) -> HeldAccount:
        """The account, open. Give it back. Raise AuthUnavailable, StoreError."""
        held = self._held.get(account)
        if held is not None and held.quota != quota:
            self.drop(account)  # the limit changed: it is told at opening
            held = None
        while held is None:
            opening = self._opening.get(account)
            if opening is None:
                opening = asyncio.ensure_future(self._open(account, quota))
                self._opening[account] = opening
                opening.add_done_callback(lambda _: self._opening.pop(account, None))
            held = await asyncio.shield(opening)
            if held.dropped:
                held = None
        held.users += 1
        return held

    def give_back(self, held: HeldAccount) -> None:
        """One user less."""
        held.users -= 1
        held.used = asyncio.get_running_loop().time()
        if held.users == 0:
            if held.dropped:
                self._close(held)
            else:
                self._held.move_to_end(held.account.id)
                self._trim()

    def drop(self, account: AccountId | None = None) -> None:
        """Hold this one (None: any) no longer; what is in use is closed when it is given back."""
        for each in [account] if account is not None else list(self._held):
            held = self._held.pop(each, None)
            if held is not None:
                held.dropped = True
                if held.users == 0:
                    self._close(held)

    async def close(self) -> None:
        """Close all and wait for it."""
        if self._sweep is not None:
            self._sweep.cancel()
        self.drop()
        while self._opening:
            await asyncio.wait(list(self._opening.values()))
            self.drop()
        if self._closing:
            await asyncio.wait(self._closing)

    def run(self, call: Callable[..., object], *arguments: object) -> "asyncio.Future[object]":
        """Call in a worker thread."""
        return asyncio.get_running_loop().run_in_executor(self._workers, call, *arguments)

    async def _open(self, account: AccountId, quota: int | None) -> HeldAccount:
        keys = await self._keys.delivery_keys(account)
        opened = await asyncio.get_running_loop().run_in_executor(
            self._workers, lambda: self._store.open_account(account, keys, quota=quota)
        )
        held = HeldAccount(opened, quota, self.run)
        held.used = asyncio.get_running_loop().time()
        self._held[account] = held
        if self._sweep is None:
            self._sweep_later()
        return held

    def _trim(self) -> None:
        while len(self._held) > self._most:
            unused = next((each for each, held in self._held.items() if held.users == 0), None)
            if unused is None:
                return
            self.drop(unused)

    def _sweep_later(self) -> None:
        self._sweep = asyncio.get_running_loop().call_later(max(self._seconds / 4, 0.01), self._swept)

    def _swept(self) -> None:
        self._sweep = None
        oldest = asyncio.get_running_loop().time() - self._seconds
        for account in [each for each, held in self._held.items() if held.users == 0 and held.used <= oldest]:
            self.drop(account)
        if self._held:
            self._sweep_later()

    def _close(self, held: HeldAccount) -> None:
        closing = self.run(held.account.close)
        self._closing.add(closing)
        closing.add_done_callback(self._closed)

    def _closed(self, closing: "asyncio.Future[object]") -> None:
        self._closing.discard(closing)
        if not closing.cancelled() and (error := closing.exception()) is not None:
            log.incident("account not closed", error)
