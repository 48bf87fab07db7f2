"""Accounts that `delivery` has open: taken for a message, held for a while, put into together.

Theory of operation. Opening an account costs a call to `keys` and two databases, so it stays open half a minute after its
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


Done = Callable[[Exception | None], None]
"""Called on the loop when a message was put in, with None, or was not, with why."""


class HeldAccount:
    """An open account, from `HeldAccounts.take` until it is given back."""

    __slots__ = ("_busy", "_inbox", "_run", "_waiting", "account", "dropped", "quota", "used", "users")

    def __init__(self, account: Account, quota: int | None, run: "Callable[[Callable[[], object], Done], None]") -> None:
        """Made by HeldAccounts alone. `run`: calls a function in a worker thread, then another one on the loop."""
        self.account = account
        self.quota = quota
        self.users = 0
        self.used = 0.0  # when it was given back last
        self.dropped = False
        self._run = run
        self._inbox: MailboxId | None = None
        self._busy = False
        self._waiting: list[tuple[Draft, Done]] = []

    def put(self, draft: Draft, done: Done) -> None:
        """Put a message into INBOX. When `done` is called with None it survives a power cut; else with a StoreError."""
        # Callbacks instead of coroutines: a message costs a turn of the loop or two, not six.
        if not self._busy:
            self._busy = True

            def entered(error: Exception | None) -> None:
                self._busy = False
                done(error)
                self._put_waiting()

            self._run(lambda: self._finish_and_append(draft), entered)
            return

        def finished(error: Exception | None) -> None:
            if error is not None:
                done(error)
                return
            self._waiting.append((draft, done))
            self._put_waiting()

        self._run(draft.writer.finish, finished)

    def _put_waiting(self) -> None:
        if not self._waiting or self._busy:
            return
        self._busy = True
        batch, self._waiting = self._waiting[:_BATCH], self._waiting[_BATCH:]
        errors: list[Exception | None] = []

        def entered(error: Exception | None) -> None:
            self._busy = False
            for position, (_, done) in enumerate(batch):
                done(error if error is not None else errors[position])
            self._put_waiting()

        self._run(lambda: errors.extend(self._append_all([draft for draft, _ in batch])), entered)

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

    def _run_then(self, call: Callable[[], object], then: Done) -> None:
        loop = asyncio.get_running_loop()

        def work() -> None:
            error: Exception | None = None
            try:
                call()
            except Exception as failure:
                error = failure
            loop.call_soon_threadsafe(then, error)

        try:
            self._workers.submit(work)
        except RuntimeError as refused:  # shut down
            loop.call_soon(then, refused)

    async def _open(self, account: AccountId, quota: int | None) -> HeldAccount:
        keys = await self._keys.delivery_keys(account)
        opened = await asyncio.get_running_loop().run_in_executor(
            self._workers, lambda: self._store.open_account(account, keys, quota=quota)
        )
        held = HeldAccount(opened, quota, self._run_then)
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
