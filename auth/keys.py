"""The role `keys`: the only process that holds the KEK. It answers a few questions, each on the sockets that may ask it.

Owns who may ask what: the table below, by the socket a call came in on (one a role, 0600, uid checked by the kernel's word).
A daemon that serves people gets an account's keys for a ticket that `auth` signed and that is for its own service;
`delivery` gets them without the one that opens content; `auth` gets the instance's secrets but no account's keys.

Each socket has a server of its own, with its own bounds on connections and requests; writes go through one thread, reads
are answered at once: a flood on one socket does not starve the others. Making keys for accounts is rated, because a
`delivery` that was broken into could name accounts without end.

Never logs key material. What an operator opened with `admin_unwrap` stands in the log with the reason given.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from ..daemon.limits import TokenBuckets
from ..daemon.listener import Listener
from ..daemon.log import logger
from ..daemon.rpc import RpcConnection, RpcRefused, RpcServer
from ..storage.api import AccountId, AccountKeys, StoreError
from .api import Service
from .client import decode, encode
from .key_store import (
    INSTANCE_SECRETS,
    PEPPER,
    QUEUE_KEY,
    TICKET_KEY,
    InvalidKek,
    KeysInUse,
    KeyStore,
    create_kek,
    open_keys,
    open_totp,
    seal_totp,
)
from .tickets import InvalidTicket, public_key_of, verify_ticket

__all__ = ["InvalidKek", "KeyServer", "KeySettings", "KeyStore", "KeysInUse", "create_kek", "open_keys"]

log = logger("keys")

OPS: Mapping[str, frozenset[str]] = {
    "imap": frozenset({"unwrap"}),
    "dav": frozenset({"unwrap"}),
    "managesieve": frozenset({"unwrap"}),
    "delivery": frozenset({"delivery_keys"}),
    "smtp": frozenset({"queue_key"}),
    "queue": frozenset({"queue_key"}),
    "auth": frozenset({"pepper", "ticket_key", "totp_seal", "totp_open"}),
    "admin": frozenset({"admin_unwrap", "create", "forget", "rewrap"}),
}
"""Which socket may ask what: RUN/keys-<role>.sock."""

_SERVICES: Mapping[str, frozenset[Service]] = {
    "imap": frozenset({Service.IMAP}),
    "dav": frozenset({Service.CALDAV, Service.CARDDAV, Service.WEBDAV}),
    "managesieve": frozenset({Service.SIEVE}),
}
"""For which services a ticket must be good to be taken from a socket."""


@dataclass(frozen=True, slots=True)
class KeySettings:
    """Where the sockets lie and how much a caller may ask."""

    run: Path
    roles: Sequence[str] = tuple(OPS)
    uids: Mapping[str, frozenset[int]] = field(default_factory=dict)  # role -> who may connect; else our own and root
    max_connections: int = 64  # on each socket
    max_in_flight: int = 64  # requests of one connection
    create_rate: float = 100.0  # new accounts' keys a second, on each socket
    create_burst: float = 10_000.0


class KeyServer:
    """The role. Construct with an open KeyStore; drain() closes it."""

    def __init__(self, store: KeyStore, settings: KeySettings, *, clock: Callable[[], float] = time.time) -> None:
        """`clock`: seconds since 1970 UTC, for the expiry of tickets."""
        self._store = store
        self._settings = settings
        self._clock = clock
        self._servers: list[RpcServer] = []
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="keys")
        self._creations = TokenBuckets(settings.create_rate, settings.create_burst)
        self._ticket_key = b""  # public half of what auth signs with
        self._ops: dict[str, Callable[[str, dict[str, Any], RpcConnection], Awaitable[dict[str, Any]]]] = {
            "unwrap": self._op_unwrap,
            "delivery_keys": self._op_delivery_keys,
            "queue_key": self._op_queue_key,
            "pepper": self._op_pepper,
            "ticket_key": self._op_ticket_key,
            "totp_seal": self._op_totp_seal,
            "totp_open": self._op_totp_open,
            "admin_unwrap": self._op_admin_unwrap,
            "create": self._op_create,
            "forget": self._op_forget,
            "rewrap": self._op_rewrap,
        }

    async def start(self, listeners: Sequence[Listener]) -> None:
        """Accept on `keys-<role>` listeners handed over, and on RUN/keys-<role>.sock for every other role of the settings.

        Raise ValueError for a listener that is no such thing, OSError when a socket cannot be bound.
        """
        for name in INSTANCE_SECRETS:  # made here, so that asking for one later is a short read
            await self._write(self._store.secret, name, self._now())
        self._ticket_key = public_key_of(self._store.secret(TICKET_KEY, self._now()))
        given = {listener.name: listener.socket for listener in listeners}
        known = {f"keys-{role}" for role in OPS}
        if unknown := given.keys() - known:
            raise ValueError(f"not a listener of keys: {', '.join(sorted(unknown))}")
        for role in dict.fromkeys((*self._settings.roles, *(name.removeprefix("keys-") for name in given))):
            server = RpcServer(
                self._handler_for(role),
                max_in_flight=self._settings.max_in_flight,
                max_connections=self._settings.max_connections,
                allowed_uids=self._settings.uids.get(role),
            )
            self._servers.append(server)
            path = self._settings.run / f"keys-{role}.sock"
            if f"keys-{role}" in given:
                await server.listen_socket(given[f"keys-{role}"], path)
            else:
                await server.listen(path)

    async def drain(self, seconds: float) -> None:
        """Answer what is in flight, then close the store."""
        await asyncio.gather(*(server.close(seconds) for server in self._servers))
        self._servers.clear()
        await asyncio.to_thread(self._writer.shutdown)
        self._store.close()

    async def reload(self) -> None:
        """Nothing changes while running: another KEK is taken by `rewrap`."""

    def _handler_for(self, role: str) -> Callable[[str, dict[str, Any], RpcConnection], Awaitable[dict[str, Any]]]:
        allowed = OPS[role]

        async def handle(op: str, fields: dict[str, Any], connection: RpcConnection) -> dict[str, Any]:
            if op not in allowed:
                log.warning("call refused", role=role, op=op, pid=connection.peer_pid, uid=connection.peer_uid)
                raise RpcRefused("not from this socket")
            try:
                return await self._ops[op](role, fields, connection)
            except StoreError as error:
                # What is temporary is not the caller's fault, and an operator must read of it.
                (log.error if error.temporary else log.warning)("call failed", role=role, op=op, reason=str(error))
                raise RpcRefused(str(error)) from None
            except (KeyError, ValueError, TypeError):
                log.warning("call not understood", role=role, op=op, pid=connection.peer_pid)
                raise RpcRefused("fields not understood") from None

        return handle

    def _now(self) -> int:
        return int(self._clock())

    async def _write(self, call: Callable[..., Any], *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._writer, call, *arguments)

    async def _account_keys(self, role: str, account: object) -> AccountKeys:
        name = AccountId(_text(account))
        if (keys := self._store.find(name)) is not None:
            return keys
        if self._creations.take(role, time.monotonic()) > 0:
            log.warning("too many accounts at once", role=role)
            raise RpcRefused("too many new accounts at once: try again later")
        made: AccountKeys = await self._write(self._store.account_keys, name, self._now())
        log.info("keys made", account=name, role=role)
        return made

    # -- the ops

    async def _op_unwrap(self, role: str, fields: dict[str, Any], connection: RpcConnection) -> dict[str, Any]:
        try:
            ticket = verify_ticket(decode(fields["ticket"]), self._ticket_key, self._now())
        except InvalidTicket as error:
            log.warning("ticket refused", role=role, reason=str(error), pid=connection.peer_pid)
            raise RpcRefused(f"ticket: {error}") from None
        if not ticket.scopes & _SERVICES[role]:
            log.warning("ticket refused", role=role, reason="for another service", account=ticket.account)
            raise RpcRefused("ticket: for another service")
        return _all(await self._account_keys(role, ticket.account))

    async def _op_delivery_keys(self, role: str, fields: dict[str, Any], connection: RpcConnection) -> dict[str, Any]:
        keys = _all(await self._account_keys(role, fields["account"]))
        del keys["secret"]
        return keys

    async def _op_queue_key(self, role: str, fields: dict[str, Any], connection: RpcConnection) -> dict[str, Any]:
        secret = self._store.secret(QUEUE_KEY, self._now())
        public = encode(X25519PrivateKey.from_private_bytes(secret).public_key().public_bytes_raw())
        # Whoever receives mail writes the spool and reads none of it: only `queue` gets the half that opens.
        return {"public": public, "secret": encode(secret)} if role == "queue" else {"public": public}

    async def _op_pepper(self, role: str, fields: dict[str, Any], connection: RpcConnection) -> dict[str, Any]:
        return {"pepper": encode(self._store.secret(PEPPER, self._now()))}

    async def _op_ticket_key(self, role: str, fields: dict[str, Any], connection: RpcConnection) -> dict[str, Any]:
        return {"secret": encode(self._store.secret(TICKET_KEY, self._now()))}

    async def _op_totp_seal(self, role: str, fields: dict[str, Any], connection: RpcConnection) -> dict[str, Any]:
        account, secret = AccountId(_text(fields["account"])), decode(fields["secret"])
        return {"blob": encode(seal_totp(self._store, account, secret, self._now()))}

    async def _op_totp_open(self, role: str, fields: dict[str, Any], connection: RpcConnection) -> dict[str, Any]:
        account, blob = AccountId(_text(fields["account"])), decode(fields["blob"])
        return {"secret": encode(open_totp(self._store, account, blob, self._now()))}

    async def _op_admin_unwrap(self, role: str, fields: dict[str, Any], connection: RpcConnection) -> dict[str, Any]:
        why = _text(fields["why"]).strip()
        if not why:
            raise RpcRefused("say why: it stands in the log")
        account = AccountId(_text(fields["account"]))
        log.warning("keys opened by an operator", account=account, why=why, uid=connection.peer_uid, pid=connection.peer_pid)
        return _all(await self._account_keys(role, account))

    async def _op_create(self, role: str, fields: dict[str, Any], connection: RpcConnection) -> dict[str, Any]:
        return {"public": encode((await self._account_keys(role, fields["account"])).public)}

    async def _op_forget(self, role: str, fields: dict[str, Any], connection: RpcConnection) -> dict[str, Any]:
        account = AccountId(_text(fields["account"]))
        await self._write(self._store.forget, account, self._now())
        log.warning("keys destroyed", account=account, uid=connection.peer_uid, pid=connection.peer_pid)
        return {}

    async def _op_rewrap(self, role: str, fields: dict[str, Any], connection: RpcConnection) -> dict[str, Any]:
        count = await self._write(self._store.rewrap)
        log.warning("key-encryption key changed", rows=count, uid=connection.peer_uid, pid=connection.peer_pid)
        return {"rewrapped": count}


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _all(keys: AccountKeys) -> dict[str, Any]:
    assert keys.secret is not None
    return {
        "public": encode(keys.public),
        "secret": encode(keys.secret),
        "index": encode(keys.index),
        "cache": encode(keys.cache),
    }
