"""The DAV role: listeners, threads, sessions, revocations (daemon/role.py).

Owns the life of a worker. What a request means is the application's.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ..auth.api import Authenticator, KeyHolder
from ..daemon.listener import Listener
from ..daemon.tls import ServerTls
from ..storage.api import ChangeBus, Store
from .app import App, make_site
from .http import HttpHost
from .plugin import Plugin
from .sign_in import SignIn
from .values import DavSettings as DavSettings  # so that dav.server has all that suite needs

_SWEEP_SECONDS = 10.0


class DavServer:
    """One worker of the role `dav`."""

    def __init__(
        self,
        settings: DavSettings,
        plugins: Sequence[Plugin],
        store: Store,
        authenticator: Authenticator,
        key_holder: KeyHolder,
        *,
        tls: ServerTls | None = None,
        bus: ChangeBus | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Nothing is opened yet. Listeners with TLS are refused at start without `tls`."""
        self._settings = settings
        self._plugins = plugins
        self._store = store
        self._authenticator = authenticator
        self._key_holder = key_holder
        self._tls = tls
        self._bus = bus
        self._clock = clock
        self._threads = ThreadPoolExecutor(settings.threads, thread_name_prefix="dav-store")
        self._host: HttpHost | None = None
        self._sign_in: SignIn | None = None
        self._sweeper: asyncio.Task[None] | None = None

    async def start(self, listeners: Sequence[Listener]) -> None:
        """Accept on `listeners`. Raise ValueError for one with TLS when there is no certificate."""
        loop = asyncio.get_running_loop()
        if self._bus is not None:
            # Every request looks at the index anew, so nobody here listens, and others send next to nothing.
            loop.add_reader(self._bus.fileno(), self._bus.drain)
        self._sign_in = sign_in = SignIn(self._settings, self._authenticator, self._key_holder, self._store, self._await_thread)
        app = App(make_site(self._settings, self._plugins, self._threads, self._clock), sign_in)
        self._host = HttpHost(self._settings, app, self._tls, loop)
        self._sweeper = loop.create_task(self._sweep(sign_in))
        for listener in listeners:
            await self._host.listen(listener)

    async def _await_thread(self, call: Callable[[], Any]) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._threads, call)

    async def _sweep(self, sign_in: SignIn) -> None:
        while True:
            await asyncio.sleep(_SWEEP_SECONDS)
            sign_in.sweep()

    async def drain(self, seconds: float) -> None:
        """Let answers finish for `seconds`, then close everything."""
        if self._host is not None:
            await self._host.drain(seconds)
        if self._sweeper is not None:
            self._sweeper.cancel()
            await asyncio.gather(self._sweeper, return_exceptions=True)
        if self._sign_in is not None:
            await self._sign_in.close()
        loop = asyncio.get_running_loop()
        if self._bus is not None:
            loop.remove_reader(self._bus.fileno())
        # Threads that are still in the store finish what they began: it is on its way to the disk.
        await loop.run_in_executor(None, self._threads.shutdown)

    async def reload(self) -> None:
        """Read the certificate again. Raise InvalidCertificate and keep the old one when it is not good."""
        if self._tls is not None:
            self._tls.reload()
