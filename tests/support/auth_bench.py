"""What tests of sign-in stand on: a clock that is turned by hand, keys in memory, an engine with its administration."""

import asyncio
import hmac
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from passlib.hash import argon2

from preau.auth import passwords
from preau.auth.accounts import Accounts, open_accounts
from preau.auth.admin import AdminSettings, LocalAdministration
from preau.auth.api import Attempt, AuthUnavailable, Service
from preau.auth.engine import Engine, EngineSettings
from preau.auth.traces import Traces
from preau.storage.api import AccountId

PEPPER = bytes(range(32))
PASSWORD = "cheval agrafe pile correcte"
START = 1_800_000_000


@dataclass
class Clock:
    """Time as the test wants it."""

    now: float = float(START)

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


@dataclass
class FakeKeySource:
    """A key holder in memory; `down` makes it fail."""

    down: bool = False

    def pepper(self) -> bytes:
        self._check()
        return PEPPER

    def ticket_key(self) -> bytes:
        self._check()
        return b"t" * 32

    def totp_seal(self, account: AccountId, secret: bytes) -> bytes:
        self._check()
        return self._pad(account) + bytes(a ^ b for a, b in zip(secret, self._pad(account), strict=False))

    def totp_open(self, account: AccountId, blob: bytes) -> bytes:
        self._check()
        assert blob[:32] == self._pad(account)
        return bytes(a ^ b for a, b in zip(blob[32:], self._pad(account), strict=False))

    def _pad(self, account: AccountId) -> bytes:
        return hmac.digest(b"seal", account.encode(), "sha256")

    def _check(self) -> None:
        if self.down:
            raise AuthUnavailable("the key holder is down")


def cheap_argon2() -> Callable[[], None]:
    """Make argon2 cost nothing; answers how to undo it. Time is not what most tests are about."""
    before = passwords._ARGON2
    passwords._ARGON2 = argon2.using(type="ID", memory_cost=8, time_cost=1, parallelism=1)

    def undo() -> None:
        passwords._ARGON2 = before

    return undo


def attempt(
    login: str,
    secret: str,
    *,
    address: str = "192.0.2.7",
    service: Service = Service.IMAP,
    tls: bool = True,
    client: str = "",
    authzid: str = "",
) -> Attempt:
    """An attempt with the usual fields."""
    return Attempt(service, login, secret, address, tls, client=client, authzid=authzid)


@dataclass
class AuthBench:
    """An engine, its administration on the same database, and what they stand on."""

    folder: Path
    clock: Clock
    keys: FakeKeySource
    engine: Engine
    accounts: Accounts
    admin: LocalAdministration
    slept: list[float] = field(default_factory=list)

    @property
    def traces(self) -> Traces:
        return self.engine.traces

    def events(self) -> list[str]:
        """All trace lines."""
        return [line for path in sorted((self.folder / "traces").glob("*.jsonl")) for line in path.read_text().splitlines()]


@asynccontextmanager
async def auth_bench(
    folder: Path,
    settings: EngineSettings | None = None,
    *,
    admin: AdminSettings | None = None,
    sleep: Callable[[float], Awaitable[None]] | None = None,
) -> AsyncIterator[AuthBench]:
    """A bench with the domain `ecole.example` in `folder`."""
    clock, keys, slept = Clock(), FakeKeySource(), list[float]()

    async def note(seconds: float) -> None:
        slept.append(seconds)
        await asyncio.sleep(0)

    random = _random()
    traces = Traces(folder / "traces", b"k" * 32, clock=clock)
    settings = settings or EngineSettings(domains=("ecole.example",), default_domain="ecole.example")
    engine = Engine(folder / "auth.db", keys, traces, settings, clock=clock, random=random, sleep=sleep or note)
    await engine.start()
    accounts = open_accounts(folder / "auth.db")
    administration = LocalAdministration(
        accounts,
        keys,
        traces,
        PEPPER,
        admin,
        random=random,
        clock=clock,
        on_revoke=engine.revoke,
        on_unlock=engine.lift_waits,
    )
    try:
        yield AuthBench(folder, clock, keys, engine, accounts, administration, slept)
    finally:
        await engine.close()
        accounts.close()
        traces.close()


def _random() -> Callable[[int], bytes]:
    """Octets that differ at each call and are the same in each run."""
    count = 0

    def random(size: int) -> bytes:
        nonlocal count
        count += 1
        blocks = [hmac.digest(b"random", f"{count}.{block}".encode(), "sha256") for block in range(-(-size // 32))]
        return b"".join(blocks)[:size]

    return random
