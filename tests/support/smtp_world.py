"""A queue with everything around it in one process: `delivery` over a store in memory, a fake DNS, a clock that is turned."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from typing import Any

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from lmtp import FakeAuth, World
from preau.daemon.listener import Listener, bind_unix
from preau.smtp.client_connection import Deadlines
from preau.smtp.delivery import DeliverySettings
from preau.smtp.mx import Exchanger, LookupFailed, NoSuchDomain, Routes
from preau.smtp.queue import QueueServer, QueueSettings
from preau.smtp.queue_delivery import Deliverer, LocalSettings
from preau.smtp.queue_store import database_key
from preau.smtp.relay import Relay, RelaySettings
from preau.smtp.spool import Envelope, Spool, SpoolRecipient
from preau.storage.api import AccountId, Store
from smtp_peer import Peer, free_port

SECRET = bytes(range(32))
PUBLIC = X25519PrivateKey.from_private_bytes(SECRET).public_key().public_bytes_raw()
BEGIN = 1_795_572_307
MESSAGE = b"Subject: hello\r\nMessage-ID: <1@example.com>\r\n\r\nhello\r\n"
QUICK = Deadlines(connect=5, greeting=5, command=5, data=5, block=5, final=5, quit=1, handshake=5)

Answer = Sequence[Any] | Exception


class FakeDns:
    """Answers from tables (mx.Resolver): a domain without MX is its own host, a host without an address is at 127.0.0.1."""

    def __init__(self, exchangers: Mapping[str, Answer] | None = None, addresses: Mapping[str, Answer] | None = None) -> None:
        """`exchangers`: domain -> Exchangers or an error.  `addresses`: host -> addresses or an error."""
        self.mx = dict(exchangers or {})
        self.hosts = dict(addresses or {})
        self.asked: list[str] = []

    async def exchangers(self, domain: str) -> Sequence[Exchanger]:
        """See mx.Resolver."""
        found: Sequence[Exchanger] = self._answer("MX", domain, self.mx, ())
        return found

    async def addresses(self, host: str) -> Sequence[str]:
        """See mx.Resolver."""
        found: Sequence[str] = self._answer("A", host, self.hosts, ("127.0.0.1",))
        return found

    def _answer(self, kind: str, name: str, table: Mapping[str, Answer], default: Answer) -> Any:
        key = name.casefold().rstrip(".")
        self.asked.append(f"{kind} {key}")
        answer = table.get(key, default)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def close(self) -> None:
        """Nothing."""


@dataclass(slots=True)
class Clock:
    """Seconds since 1970 that pass when a test says so."""

    now: float = BEGIN

    def __call__(self) -> float:
        return self.now


@dataclass(slots=True)
class QueueWorld:
    """Everything of one test. `peers` listen on one port, each on an address of its own: 127.0.0.11, .12, ..."""

    folder: Path
    local: World
    dns: FakeDns
    clock: Clock
    spool: Spool
    queue: QueueServer
    relay: Relay
    peers: list[Peer]
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def auth(self) -> FakeAuth:
        """Who is here."""
        return self.local.auth

    def put(
        self, *recipients: str | SpoolRecipient, sender: str = "anne@example.com", message: bytes = MESSAGE, **more: Any
    ) -> str:
        """A message into the spool; its id."""
        writer = self.spool.new()
        writer.write(message)
        to = tuple(each if isinstance(each, SpoolRecipient) else SpoolRecipient(each) for each in recipients)
        return writer.commit(Envelope(sender, to, int(self.clock.now), **more))

    async def send(self, *recipients: str | SpoolRecipient, **more: Any) -> str:
        """Put a message and wait until nothing is due."""
        identifier = self.put(*recipients, **more)
        await self.settle()
        return identifier

    async def settle(self, later: int = 0) -> None:
        """Let `later` seconds pass, and everything happen that is due then."""
        self.clock.now += later
        self.queue.wake()
        await self.queue.settled()

    def inbox(self, account: AccountId) -> list[bytes]:
        """What was delivered to someone here."""
        return self.local.messages(account)

    def is_empty(self) -> bool:
        """Whether nothing is left of any message."""
        return self.queue.store.counts()[0] == 0 and not self.spool.active() and not self.spool.incoming()


def make_queue(
    folder: Path, local: World, dns: FakeDns, clock: Clock, port: int, **settings: Any
) -> tuple[QueueServer, Relay, Spool]:
    """A queue over the files in `folder`; not started."""
    spool = Spool(folder / "queue", PUBLIC, SECRET, hint_path=folder / "queue.sock", clock=clock)
    relay_settings = replace(
        RelaySettings("queue.example.com", routes=Routes(port=port), deadlines=QUICK, down_first=0.0, idle_seconds=5.0),
        **settings.pop("relay", {}),
    )
    relay = Relay(relay_settings, dns, random=Random(7))
    domains = frozenset({"example.com"})
    here = replace(
        LocalSettings(local.path, "queue.example.com", "example.com", domains, deadlines=QUICK), **settings.pop("here", {})
    )
    deliverer = Deliverer(here, spool, local.auth, relay)
    queue_settings = replace(
        QueueSettings(folder, folder / "queue" / "queue.db", "queue.example.com", poll_seconds=0.5), **settings
    )
    return QueueServer(queue_settings, spool, deliverer, database_key(SECRET), clock=clock), relay, spool


def run_queue(
    folder: Path,
    test: Callable[[QueueWorld], Awaitable[None]],
    *peers: Peer,
    dns: FakeDns | None = None,
    store: Store | None = None,
    seconds: float = 20.0,
    **settings: Any,
) -> None:
    """Serve for one test, within `seconds`."""

    async def running() -> None:
        port = free_port()
        for position, peer in enumerate(peers):
            await peer.start(f"127.0.0.{11 + position}", port)
        names = dns or FakeDns()
        if peers:
            names.hosts.setdefault("peer.example", ["127.0.0.11"])
        clock = Clock()
        local = World(folder, DeliverySettings(domain="example.com"), store)
        await local.server.start([Listener("lmtp", bind_unix(local.path))])
        queue, relay, spool = make_queue(folder, local, names, clock, port, **settings)
        await queue.start([])
        try:
            await asyncio.wait_for(
                test(QueueWorld(folder, local, names, clock, spool, queue, relay, list(peers), settings)), seconds
            )
        finally:
            await queue.drain(2.0)
            spool.close()
            await local.server.drain(1.0)
            for peer in peers:
                await peer.stop()

    asyncio.run(running())


__all__ = ["Exchanger", "FakeDns", "LookupFailed", "NoSuchDomain", "QueueWorld", "make_queue", "run_queue"]
