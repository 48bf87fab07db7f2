"""A delivery server over a store in memory, a fake `auth` and `keys`, and a client that speaks raw lines to it."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

from preau.auth.api import (
    Attempt,
    AuthUnavailable,
    Denied,
    Granted,
    LocalRecipient,
    Recipients,
    Revocation,
    SessionId,
)
from preau.daemon.listener import Listener, bind_unix
from preau.smtp.delivery import DeliveryServer, DeliverySettings
from preau.storage.api import AccountId, AccountKeys, Store
from preau.storage.memory import MemoryStore
from preau.storage.paths import render_account_id
from scram_fake import NoScram

ANNE, BOB, CARL = (render_account_id(bytes([n]) * 16) for n in (1, 2, 3))
UNKNOWN = Recipients((), ())


def local(account: AccountId, address: str, quota: int | None = None, accepts: bool = True) -> LocalRecipient:
    return LocalRecipient(account, address, quota, accepts)


class FakeAuth(NoScram):
    """Knows anne@, bob@, carl@ and what a test adds."""

    def __init__(self) -> None:
        self.addresses: dict[str, Recipients | Exception] = {
            f"{name}@example.com": Recipients((local(account, f"{name}@example.com"),), ())
            for name, account in (("anne", ANNE), ("bob", BOB), ("carl", CARL))
        }
        self.asked: list[str] = []
        self.listeners: list[Callable[[Revocation], None]] = []
        self.connected = True

    async def authenticate(self, attempt: Attempt) -> Granted | Denied:
        raise AuthUnavailable("delivery never asks")

    async def lookup(self, address: str) -> Recipients:
        self.asked.append(address)
        answer = self.addresses.get(address.casefold(), UNKNOWN)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def close_session(self, session: SessionId) -> None:
        raise AssertionError("delivery has no sessions")

    async def check_session(self, session: SessionId) -> bool:
        raise AssertionError("delivery has no sessions")

    def on_revoke(self, callback: Callable[[Revocation], None]) -> None:
        self.listeners.append(callback)


class FakeKeys:
    """Hands out keys that are good for nothing, and counts."""

    def __init__(self) -> None:
        self.asked: list[AccountId] = []
        self.broken: set[AccountId] = set()

    async def unwrap(self, ticket: bytes) -> AccountKeys:
        raise AuthUnavailable("delivery never asks")

    async def delivery_keys(self, account: AccountId) -> AccountKeys:
        self.asked.append(account)
        await asyncio.sleep(0)
        if account in self.broken:
            raise AuthUnavailable("keys are not there")
        return AccountKeys(bytes(32), bytes(32), bytes(32))


class Lmtp:
    """A client of raw octets."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def say(self, data: bytes | str) -> None:
        self.writer.write(data.encode() if isinstance(data, str) else data)

    async def reply(self) -> str:
        """The next reply, lines joined by `|`; "" at the end of the connection."""
        lines: list[str] = []
        while True:
            try:
                line = (await asyncio.wait_for(self.reader.readline(), 10)).decode()
            except ConnectionError:
                return ""  # closed while we still sent
            if not line:
                return "|".join(lines)
            assert line.endswith("\r\n")
            lines.append(line[:-2])
            if line[3] == " ":
                return "|".join(lines)

    async def replies(self, count: int) -> list[str]:
        """The codes of as many replies."""
        return [(await self.reply())[:9].rsplit(" ", 1)[0] if count else "" for _ in range(count)]

    async def ask(self, data: bytes | str) -> str:
        """Say a line, give its reply."""
        await self.say(data + (b"\r\n" if isinstance(data, bytes) else "\r\n"))  # type: ignore[operator]  # both of one kind
        return await self.reply()

    async def hello(self) -> None:
        assert (await self.reply()).startswith("220 ")
        assert (await self.ask("LHLO client.example")).startswith("250-")

    async def close(self) -> None:
        self.writer.close()
        try:
            await self.writer.wait_closed()
        except ConnectionError:
            pass


async def until(holds: Callable[[], object]) -> None:
    """Let the loop turn until something holds that nobody tells."""
    while not holds():  # noqa: ASYNC110 there is no event to wait for
        await asyncio.sleep(0.001)


class World:
    """Everything of one test."""

    def __init__(self, folder: Path, settings: DeliverySettings | None, store: Store | None) -> None:
        self.auth, self.keys = FakeAuth(), FakeKeys()
        self.store: Store = store or MemoryStore()
        self.server = DeliveryServer(self.store, self.auth, self.keys, settings, clock=lambda: 1_795_572_307.0)
        self.path = folder / "delivery.sock"
        self._clients: list[Lmtp] = []

    async def connect(self, hello: bool = True) -> Lmtp:
        client = Lmtp(*await asyncio.open_unix_connection(self.path))
        self._clients.append(client)
        if hello:
            await client.hello()
        return client

    async def close(self) -> None:
        for client in self._clients:
            await client.close()

    def messages(self, account: AccountId, mailbox: str = "INBOX") -> list[bytes]:
        """What lies in a mailbox, in the order of UIDs."""
        opened = self.store.open_account(account, AccountKeys(bytes(32), bytes(32), bytes(32), bytes(32)))
        try:
            info = opened.mail.find(mailbox)
            view = opened.mail.open(info.id)
            try:
                found = []
                for uid in list(view.uids):
                    with opened.mail.read_message(info.id, uid) as message:  # type: ignore[arg-type]  # an array holds plain ints
                        found.append(message.read())
                return found
            finally:
                view.close()
        finally:
            opened.close()


def run(
    folder: Path, test: Callable[[World], Awaitable[None]], settings: DeliverySettings | None = None, store: Store | None = None
) -> World:
    """Serve for one test, within 30 seconds."""

    async def running() -> World:
        world = World(folder, settings, store)
        await world.server.start([Listener("lmtp", bind_unix(world.path))])
        try:
            await asyncio.wait_for(test(world), 30)
        finally:
            await world.close()
            await world.server.drain(1.0)
        return world

    return asyncio.run(running())
