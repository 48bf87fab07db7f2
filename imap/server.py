"""The IMAP role: listeners, what all connections share, revocations, changes, deadlines.

Owns the life of a worker. Sessions know nothing of it: they get plain values and functions (imap/session.py: Site).
"""

import asyncio
import contextlib
import ipaddress
import socket
import threading
import time
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache, partial
from typing import Any, TypeVar

from ..auth.api import Authenticator, AuthUnavailable, Granted, KeyHolder, Revocation, SessionId
from ..auth.refusals import Refusals
from ..daemon.handshake import Handshakes
from ..daemon.limits import ConnectionCaps
from ..daemon.listener import Listener, accept_on
from ..daemon.log import logger
from ..daemon.tls import ServerTls
from ..daemon.turned_away import TurnedAway
from ..daemon.turns import after_others
from ..storage.api import AccountId, Change, ChangeBus, Store
from .commands import TABLE
from .connection import SHUTTING_DOWN, Connection, Host, Phase, after_login_limits
from .decode import Memo
from .pace import Pace
from .session import Session, Site
from .settings import ImapSettings as ImapSettings  # so that imap.server has all that suite needs
from .sign_in import SignIn
from .watch import Watch

log = logger("imap")

T = TypeVar("T")

_SWEEP_SECONDS = 5.0
_REVOKED = b"[UNAVAILABLE] Session revoquee, reconnectez-vous. / Session revoked, sign in again."
_TOO_MANY = b"* BYE [LIMIT] Too many connections\r\n"


class ImapServer:
    """One worker of the role `imap` (daemon/role.py)."""

    def __init__(
        self,
        settings: ImapSettings,
        store: Store,
        authenticator: Authenticator,
        key_holder: KeyHolder,
        *,
        tls: ServerTls | None = None,
        bus: ChangeBus | None = None,
        version: str = "",
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Nothing is opened yet. Without `tls` there is no STARTTLS and listeners with TLS are refused at start."""
        self._settings = settings
        self._store = store
        self._authenticator = authenticator
        self._key_holder = key_holder
        self._tls = tls
        self._bus = bus
        self._version = version
        self._clock = clock
        self._caps = ConnectionCaps(settings.connections, per_address=settings.connections_per_address)
        self._turned_away = TurnedAway(log)
        self._per_account: dict[AccountId, int] = {}
        self._counted: dict[Connection, AccountId] = {}
        self._servers: list[asyncio.Server] = []
        self._tasks: set[asyncio.Task[Any]] = set()
        self._threads = ThreadPoolExecutor(settings.threads, thread_name_prefix="imap-store")
        self._host: Host | None = None
        self._loop_thread = 0
        self._one_ended = asyncio.Event()
        self._watch: Watch | None = None
        self._sign_in: SignIn | None = None

    # -- the role

    async def start(self, listeners: Sequence[Listener]) -> None:
        """Accept on `listeners`. Raise ValueError for one with TLS when there is no certificate."""
        if self._tls is None and any(listener.tls for listener in listeners):
            raise ValueError("a TLS listener needs a certificate")
        loop = asyncio.get_running_loop()
        self._loop_thread = threading.get_ident()
        self._watch = watch = Watch(loop.call_soon)
        self._sign_in = sign_in = SignIn(
            self._authenticator,
            self._key_holder,
            self._store,
            Refusals(help_url=self._settings.help_url, support=self._settings.support_phone),
            in_thread=self._await_thread,
            may_join=self._may_join,
        )
        site = Site(
            settings=self._settings,
            table=TABLE,
            version=self._version,
            starttls=self._tls is not None,
            now=self._clock,
            selections=watch,
            sign_in=sign_in,
        )
        self._host = Host(
            site=site,
            loop=loop,
            in_thread=self._in_thread,
            handshakes=Handshakes(self._tls) if self._tls is not None else None,
            connections=set(),
            signed_in=self._signed_in,
            ended=self._ended,
            close_session=self._close_session,
            memo=Memo(),
            pace=Pace(),
            after_login=after_login_limits(self._settings.append_limit),
        )
        self._authenticator.on_revoke(self._revoke)
        if self._bus is not None:
            self._bus.listen(self._announced)
            loop.add_reader(self._bus.fileno(), self._bus.drain)
        self._spawn(self._sweep())
        self._spawn(self._poll())
        for listener in listeners:
            self._servers.append(await accept_on(listener, partial(_Accepted, self, listener)))

    async def drain(self, seconds: float) -> None:
        """Say BYE where nobody waits for an answer, let answers finish for `seconds`, then close everything."""
        host = self._host
        for server in self._servers:
            server.close()
        if host is not None:
            host.draining = True
            deadline = host.loop.time() + seconds
            for connection in list(host.connections):
                if connection.phase in (Phase.NEXT, Phase.IDLING, Phase.ASKING):
                    connection.bye(SHUTTING_DOWN)
            await self._all_ended(deadline)
            for connection in list(host.connections):
                connection.bye(SHUTTING_DOWN)
                connection.abort()
            await self._all_ended(deadline + 1.0)
            if self._bus is not None:
                host.loop.remove_reader(self._bus.fileno())
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        # Threads that are still in the store finish what they began: it is on its way to the disk.
        await asyncio.get_running_loop().run_in_executor(None, self._threads.shutdown)

    async def _all_ended(self, deadline: float) -> None:
        assert self._host is not None
        while self._host.connections:
            self._one_ended.clear()
            try:
                await asyncio.wait_for(self._one_ended.wait(), deadline - self._host.loop.time())
            except TimeoutError:
                return

    async def reload(self) -> None:
        """Read the certificate again. Raise InvalidCertificate and keep the old one when it is not good."""
        if self._tls is not None:
            self._tls.reload()

    # -- threads and tasks

    def _in_thread(self, call: Callable[[], Any]) -> "asyncio.Future[Any]":
        return asyncio.get_running_loop().run_in_executor(self._threads, call)

    async def _await_thread(self, call: Callable[[], T]) -> T:
        result: T = await self._in_thread(call)
        return result

    def _spawn(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _close_session(self, session: SessionId) -> None:
        self._spawn(self._authenticator.close_session(session))

    # -- connections

    def connections(self) -> Sequence[Connection]:
        """All there are now, for tests and for metrics."""
        return list(self._host.connections) if self._host is not None else []

    def admit(self, transport: asyncio.Transport, listener: Listener) -> Connection | None:
        """A connection for who was accepted, or None when there is no room."""
        host = self._host
        assert host is not None
        peer = transport.get_extra_info("peername")
        address = peer[0] if isinstance(peer, tuple) else ""
        local = listener.is_unix or _is_loopback(address)
        slot = None if host.draining else self._caps.admit(address, exempt=local and self._settings.plaintext_ok)
        if slot is None:
            self._turned_away.note(address, self._caps.connections)
            return None
        if not listener.is_unix:
            with contextlib.suppress(OSError):
                accepted: socket.socket = transport.get_extra_info("socket")
                accepted.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        after_others(transport, slot)
        session = Session(host.site, address=address, local=local)
        return Connection(host, slot, session, implicit_tls=listener.tls)

    def _may_join(self, granted: Granted) -> bool:
        return self._per_account.get(granted.identity.account, 0) < self._settings.connections_per_account

    def _signed_in(self, connection: Connection) -> None:
        assert connection.session.granted is not None
        account = connection.session.granted.identity.account
        self._counted[connection] = account
        self._per_account[account] = self._per_account.get(account, 0) + 1
        assert self._sign_in is not None
        for revocation in self._sign_in.under_way_no_more(connection.session):
            # Not from within the connection's own turn.
            asyncio.get_running_loop().call_soon(self._revoke_among, revocation, (connection,))

    def _ended(self, connection: Connection) -> None:
        if self._sign_in is not None:
            self._sign_in.under_way_no_more(connection.session)
        self._one_ended.set()
        account = self._counted.pop(connection, None)
        if account is not None:
            self._per_account[account] -= 1
            if not self._per_account[account]:
                del self._per_account[account]

    # -- what comes from outside

    def _revoke(self, revocation: Revocation) -> None:
        if self._sign_in is not None:
            self._sign_in.hear(revocation)
        self._revoke_among(revocation, tuple(self._counted))

    def _revoke_among(self, revocation: Revocation, connections: Sequence[Connection]) -> None:
        if revocation.lost:
            self._spawn(self._check(set(connections)))
            return
        for connection in connections:
            granted = connection.session.granted
            if granted is not None and revocation.names(granted):
                log.info("session revoked", account=granted.identity.account, session=granted.session, why=revocation.why)
                connection.bye(_REVOKED)

    async def _check(self, waiting: set[Connection]) -> None:
        """The stream of revocations broke: what was pushed meanwhile is not known, so each session is asked about."""
        pause = 1.0
        while waiting:
            for connection in list(waiting):
                granted = connection.session.granted
                if granted is None or connection not in self._counted:
                    waiting.discard(connection)
                    continue
                try:
                    live = await self._authenticator.check_session(granted.session)
                except AuthUnavailable:
                    break
                waiting.discard(connection)
                if not live:
                    log.info("session revoked", account=granted.identity.account, session=granted.session, why="check")
                    connection.bye(_REVOKED)
            if waiting:
                await asyncio.sleep(pause)
                pause = min(pause * 2, 10.0)

    def _announced(self, change: Change) -> None:
        """From whatever thread committed it. The loop is not woken for what nobody here has selected."""
        if self._host is None or self._watch is None or not self._watch.concerns(change):
            return
        if threading.get_ident() == self._loop_thread:
            self._watch.change(change)  # a write made here, or what another process told
        else:
            with contextlib.suppress(RuntimeError):  # the loop is closed: so is everything that could listen
                self._host.loop.call_soon_threadsafe(self._watch.change, change)

    # -- time

    async def _sweep(self) -> None:
        """One timer for all connections: an idle one costs no timer of its own."""
        host = self._host
        assert host is not None
        while True:
            await asyncio.sleep(_SWEEP_SECONDS)
            now = host.loop.time()
            for connection in list(host.connections):
                if connection.phase is Phase.NEXT and now - connection.since > _SWEEP_SECONDS:
                    connection.rest()
                reason = connection.overdue(now)
                if reason is not None:
                    connection.bye(reason)

    async def _poll(self) -> None:
        assert self._watch is not None
        while True:
            await asyncio.sleep(self._settings.poll_seconds)
            self._watch.poll()


@lru_cache(maxsize=4096)
def _is_loopback(address: str) -> bool:
    return bool(address) and ipaddress.ip_address(address.partition("%")[0]).is_loopback


class _Accepted(asyncio.Protocol):
    """Stands in until the peer's address is known, then gives way to a Connection or turns the peer away."""

    __slots__ = ("_listener", "_server")

    def __init__(self, server: ImapServer, listener: Listener) -> None:
        self._server = server
        self._listener = listener

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        connection = self._server.admit(transport, self._listener)
        if connection is None:
            if not self._listener.tls:
                transport.write(_TOO_MANY)
            transport.close()
            return
        transport.set_protocol(connection)
        connection.connection_made(transport)
