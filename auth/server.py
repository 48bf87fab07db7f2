"""The role `auth`: the verifier and the administration behind Unix sockets (auth-security 2.1; decisions 3 and 4).

    RUN/auth-<role>.sock   authenticate, scram_begin, scram_finish, lookup, may_send, close_sessions, check_session,
                           subscribe: as the role may
    RUN/admin.sock         every method of Administration, for root and the owner

The socket says who calls; a role signs in to its own services only. Revocations are pushed to all who subscribed, in the
turn of the loop that follows the commit.

Owns the translation between fields and values. Never verifies, never logs a field.
"""

import asyncio
import inspect
import os
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..daemon.listener import Listener
from ..daemon.log import logger
from ..daemon.rpc import RpcConnection, RpcRefused, RpcServer
from .accounts import Accounts, open_accounts
from .admin import AdminSettings, LocalAdministration
from .api import (
    AdminError,
    Administration,
    Attempt,
    AuthUnavailable,
    Denied,
    Granted,
    Revocation,
    ScramAttempt,
    ScramExchange,
    Service,
    SessionId,
)
from .client import decode, encode
from .engine import Engine, EngineSettings
from .key_source import KeySource
from .offline import InUse, hold_lock, open_traces

log = logger("auth")

SERVICES: Mapping[str, frozenset[Service]] = {
    "imap": frozenset({Service.IMAP}),
    "smtp": frozenset({Service.SMTP}),
    "managesieve": frozenset({Service.SIEVE}),
    "dav": frozenset({Service.CALDAV, Service.CARDDAV, Service.WEBDAV}),
    "delivery": frozenset(),
    "queue": frozenset(),
}
"""What a role may sign in to."""

LOOKUPS = frozenset({"delivery", "queue", "smtp"})
"""Roles that may ask where mail goes."""

ADMIN_OPS: Mapping[str, inspect.Signature] = {
    name: inspect.signature(method) for name, method in vars(Administration).items() if not name.startswith("_")
}

_MAX_ADMIN_FRAME = 16 * 1024 * 1024
_MAX_FIELD = 4096
_MAX_LIST = 1024


@dataclass(frozen=True, slots=True)
class AuthSettings:
    """run: folder of the sockets.  database: auth.db; lock: its lock file.  traces: their folder.

    roles: whose sockets are made.  uids: role (or `admin`) -> who may connect; else our own uid and root.
    patience: seconds that `start` waits for the key holder, and for a predecessor to let go of the lock.
    """

    run: Path
    database: Path
    lock: Path
    traces: Path
    roles: Sequence[str] = tuple(SERVICES)
    uids: Mapping[str, frozenset[int]] = field(default_factory=dict)
    retention_days: int = 183
    max_connections: int = 64  # on each socket
    max_in_flight: int = 256  # requests of one connection: a tarpit holds some for seconds
    patience: float = 30.0
    engine: EngineSettings = field(default_factory=EngineSettings)
    admin: AdminSettings = field(default_factory=AdminSettings)


class AuthServer:
    """The role. `start`, then `drain` once."""

    def __init__(
        self,
        settings: AuthSettings,
        key_source: KeySource,
        *,
        clock: Callable[[], float] = time.time,
        random: Callable[[int], bytes] = os.urandom,
    ) -> None:
        """`key_source`: asked in worker threads."""
        self._settings = settings
        self._key_source = key_source
        self._clock = clock
        self._random = random
        self._servers: list[RpcServer] = []
        self._subscribers: set[RpcConnection] = set()
        self._admin_thread = ThreadPoolExecutor(1, thread_name_prefix="admin")
        self._admin_accounts: Accounts | None = None
        self._lock = -1
        self.engine: Engine | None = None

    # -- life

    async def start(self, listeners: Sequence[Listener]) -> None:
        """Accept on `auth-<role>` and `admin` listeners handed over, and on sockets made in RUN for the rest.

        Raise InUse, AuthUnavailable (no key holder in time), storage.api.Unavailable, NoBackend, OSError, ValueError.
        """
        given = {listener.name: listener.socket for listener in listeners}
        names = dict.fromkeys((*(f"auth-{role}" for role in self._settings.roles), "admin", *given))
        for name in names:
            if name != "admin" and name.removeprefix("auth-") not in SERVICES:
                raise ValueError(f"not a listener of auth: {name}")
        self._lock = await self._patiently(lambda: hold_lock(self._settings.lock), InUse)
        loop = asyncio.get_running_loop()
        pepper = await self._patiently_in_thread(self._key_source.pepper)
        traces = open_traces(self._settings.traces, pepper, retention_days=self._settings.retention_days, clock=self._clock)
        self.engine = engine = Engine(
            self._settings.database, self._key_source, traces, self._settings.engine, clock=self._clock, random=self._random
        )
        await engine.start()
        engine.on_revoke(self._push)
        self._admin_accounts = await loop.run_in_executor(self._admin_thread, open_accounts, self._settings.database)
        self._administration = LocalAdministration(
            self._admin_accounts,
            self._key_source,
            traces,
            pepper,
            self._settings.admin,
            random=self._random,
            clock=self._clock,
            on_revoke=lambda revocation: _soon(loop, lambda: engine.revoke(revocation)),
            on_unlock=lambda account: _soon(loop, lambda: engine.lift_waits(account)),
        )
        for name in names:
            role = name.removeprefix("auth-")
            server = RpcServer(
                self._admin_handler if name == "admin" else self._handler_for(role),
                max_frame=_MAX_ADMIN_FRAME if name == "admin" else 65_536,
                max_in_flight=self._settings.max_in_flight,
                max_connections=self._settings.max_connections,
                allowed_uids=self._settings.uids.get(role),
            )
            self._servers.append(server)
            path = self._settings.run / f"{name}.sock"
            if name in given:
                await server.listen_socket(given[name], path)
            else:
                await server.listen(path)

    async def drain(self, seconds: float) -> None:
        """Answer what is in flight, write what is pending, close everything."""
        await asyncio.gather(*(server.close(seconds) for server in self._servers))
        self._servers.clear()
        loop = asyncio.get_running_loop()
        if self._admin_accounts is not None:
            await loop.run_in_executor(self._admin_thread, self._admin_accounts.close)
        self._admin_thread.shutdown()
        if self.engine is not None:
            await self.engine.close()
            await loop.run_in_executor(None, self.engine.traces.close)
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    async def reload(self) -> None:
        """Nothing of it changes while running."""

    async def _patiently(self, call: Callable[[], int], *errors: type[Exception]) -> int:
        deadline = time.monotonic() + self._settings.patience
        while True:
            try:
                return call()
            except errors:
                if time.monotonic() > deadline:
                    raise
            await asyncio.sleep(0.1)

    async def _patiently_in_thread(self, call: Callable[[], bytes]) -> bytes:
        deadline = time.monotonic() + self._settings.patience
        while True:
            try:
                return await asyncio.to_thread(call)
            except AuthUnavailable as error:
                if time.monotonic() > deadline:
                    raise
                log.info("waiting for the key holder", reason=str(error))
            await asyncio.sleep(0.2)

    # -- roles

    def _handler_for(self, role: str) -> Callable[[str, dict[str, Any], RpcConnection], Awaitable[dict[str, Any]]]:
        async def handle(op: str, fields: dict[str, Any], connection: RpcConnection) -> dict[str, Any]:
            try:
                return await self._answer(role, op, fields, connection)
            except AuthUnavailable as error:
                raise RpcRefused(str(error)) from None

        return handle

    async def _answer(self, role: str, op: str, fields: dict[str, Any], connection: RpcConnection) -> dict[str, Any]:
        engine = self.engine
        assert engine is not None
        match op:
            case "authenticate":
                return await self._authenticate(engine, role, fields)
            case "scram_begin":
                return await self._begin_scram(engine, role, fields)
            case "scram_finish":
                exchange = ScramExchange(_text(fields, "exchange"), b"")
                ended = await engine.finish_scram(exchange, _octets(fields, "response"))
                if isinstance(ended, Denied):
                    return _fields_of(ended)
                return {**_fields_of(ended.granted), "final": encode(ended.final)}
            case "lookup" if role in LOOKUPS:
                found = await engine.lookup(_text(fields, "address"))
                local = [
                    {"account": one.account, "address": one.address, "quota": one.quota, "accepts": one.accepts}
                    for one in found.local
                ]
                return {"local": local, "outside": list(found.outside), "served": found.served}
            case "may_send" if Service.SMTP in SERVICES[role]:
                return {"may": await engine.may_send(SessionId(_text(fields, "session")), _text(fields, "address"))}
            case "close_sessions":
                for session in _texts(fields, "sessions"):
                    await engine.close_session(SessionId(session))
                return {}
            case "check_session":
                return {"live": await engine.check_session(SessionId(_text(fields, "session")))}
            case "subscribe":
                if connection not in self._subscribers:
                    self._subscribers.add(connection)
                    connection.on_close(lambda: self._subscribers.discard(connection))
                return {}
            case _:
                raise RpcRefused(f"no op {op[:40]!r} on the socket of {role}")

    async def _authenticate(self, engine: Engine, role: str, fields: dict[str, Any]) -> dict[str, Any]:
        verdict = await engine.authenticate(
            Attempt(
                service=_service(role, fields),
                login=_text(fields, "login"),
                secret=_text(fields, "secret"),
                address=_text(fields, "address"),
                tls=fields.get("tls") is True,
                mechanism=_text(fields, "mechanism", "PLAIN"),
                client=_text(fields, "client", ""),
                authzid=_text(fields, "authzid", ""),
            )
        )
        return _fields_of(verdict)

    async def _begin_scram(self, engine: Engine, role: str, fields: dict[str, Any]) -> dict[str, Any]:
        begun = await engine.begin_scram(
            ScramAttempt(
                service=_service(role, fields),
                message=_octets(fields, "message"),
                address=_text(fields, "address"),
                tls=fields.get("tls") is True,
                client=_text(fields, "client", ""),
            )
        )
        if isinstance(begun, Denied):
            return _fields_of(begun)
        return {"exchange": begun.id, "challenge": encode(begun.challenge)}

    def _push(self, revocation: Revocation) -> None:
        fields = {
            "push": "revoke",
            "account": revocation.account,
            "credential": revocation.credential,
            "session": revocation.session,
            "why": revocation.why,
        }
        for connection in tuple(self._subscribers):
            connection.push({name: value for name, value in fields.items() if value is not None})

    # -- administration

    async def _admin_handler(self, op: str, fields: dict[str, Any], connection: RpcConnection) -> dict[str, Any]:
        if op not in ADMIN_OPS:
            raise RpcRefused(f"no op {op[:40]!r}")
        check_arguments(op, fields)
        actor = f"uid {connection.peer_uid}"
        # Shielded: an act that has begun is finished and traced, whether its asker still listens or not.
        result = asyncio.get_running_loop().run_in_executor(self._admin_thread, self._act, op, fields, actor)
        try:
            return {"result": await asyncio.shield(result)}
        except AdminError as error:
            raise RpcRefused(str(error)) from None

    def _act(self, op: str, fields: dict[str, Any], actor: str) -> Any:
        self._administration.actor = actor
        return getattr(self._administration, op)(**fields)


def check_arguments(op: str, fields: dict[str, Any]) -> None:
    """Raise RpcRefused unless `fields` are arguments of the administration's method `op`, each of its type."""
    parameters = {name: parameter for name, parameter in ADMIN_OPS[op].parameters.items() if name != "self"}
    for name, value in fields.items():
        if name not in parameters:
            raise RpcRefused(f"{op} has no argument {name[:40]!r}")
        if not _fits(value, str(parameters[name].annotation)):
            raise RpcRefused(f"{op}: {name} is not {parameters[name].annotation}")
    for name, parameter in parameters.items():
        if name not in fields and parameter.default is inspect.Parameter.empty:
            raise RpcRefused(f"{op}: {name} is missing")


def _fits(value: object, annotation: str) -> bool:
    if value is None:
        return "None" in annotation
    if isinstance(value, list):
        if "Mapping" in annotation:
            return all(isinstance(row, dict) and all(isinstance(cell, str) for cell in row.values()) for row in value)
        return "Sequence" in annotation and all(isinstance(part, str) for part in value)
    if isinstance(value, bool):
        return "bool" in annotation
    if isinstance(value, int):
        return "int" in annotation
    return isinstance(value, str) and (annotation == "<class 'str'>" or annotation.startswith("str |"))


def _service(role: str, fields: dict[str, Any]) -> Service:
    try:
        service = Service(_text(fields, "service"))
    except ValueError:
        raise RpcRefused("no such service") from None
    if service not in SERVICES[role]:
        raise RpcRefused(f"{role} does not sign in to {service}")
    return service


def _fields_of(verdict: Granted | Denied) -> dict[str, Any]:
    if isinstance(verdict, Denied):
        return {"denied": {"reason": verdict.reason, "reference": verdict.reference, "retry_after": verdict.retry_after}}
    return {
        "granted": {
            "account": verdict.identity.account,
            "address": verdict.identity.address,
            "name": verdict.identity.name,
            "session": verdict.session,
            "credential": verdict.credential,
            "scopes": sorted(verdict.scopes),
            "ticket": encode(verdict.ticket),
            "expires": verdict.expires,
            "quota": verdict.quota,
        }
    }


def _octets(fields: dict[str, Any], name: str) -> bytes:
    try:
        return decode(_text(fields, name))
    except ValueError:
        raise RpcRefused(f"{name}: base64") from None


def _text(fields: dict[str, Any], name: str, default: str | None = None) -> str:
    value = fields.get(name, default)
    if not isinstance(value, str) or len(value) > _MAX_FIELD:
        raise RpcRefused(f"{name}: a string of at most {_MAX_FIELD} characters")
    return value


def _texts(fields: dict[str, Any], name: str) -> list[str]:
    values = fields.get(name)
    if not isinstance(values, list) or len(values) > _MAX_LIST:
        raise RpcRefused(f"{name}: a list of at most {_MAX_LIST} strings")
    return [_text({name: value}, name) for value in values]


def _soon(loop: asyncio.AbstractEventLoop, call: Callable[[], object]) -> None:
    try:
        loop.call_soon_threadsafe(call)
    except RuntimeError:
        pass  # the loop is closed: every session ends with the process
