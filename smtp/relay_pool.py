"""Sessions to other hosts, kept for the next message: reuse, hosts that are down, hosts whose TLS is broken.

Owns which connection is used again and which host is not asked for a while. Never says a command but QUIT.
"""

import asyncio
from collections import OrderedDict
from typing import TypeVar

from ..daemon.log import logger
from .client_connection import ConnectionBroke, Deadlines, HandshakeFailed, Target
from .client_session import ClientSession, SessionRefused, open_session

log = logger("smtp")

V = TypeVar("V")

_MOST_REMEMBERED = 10_000
_DOUBTFUL_SECONDS = 21_600.0  # longer than the longest wait between two tries


class HostDown(Exception):
    """The host cannot be used now; the text says what it did, this time or last."""


class SessionPool:
    """Open sessions by target. One event loop's."""

    def __init__(
        self,
        hostname: str,
        deadlines: Deadlines,
        *,
        lmtp: bool = False,
        tls: bool = True,
        idle_seconds: float = 10.0,
        transactions: int = 100,
        down_first: float = 60.0,
        down_longest: float = 240.0,
        clear_seconds: float = 3_600.0,
    ) -> None:
        """`transactions`: of one connection.  `down_*`: how long a host that failed is left alone, doubling.

        `clear_seconds`: how long one whose TLS handshake failed is spoken to in the clear.
        """
        self._hostname = hostname
        self._deadlines = deadlines
        self._lmtp = lmtp
        self._tls = tls
        self._idle_seconds = idle_seconds
        self._most = transactions
        self._down_first = down_first
        self._down_longest = down_longest
        self._clear_seconds = clear_seconds
        self._idle: dict[Target, list[tuple[ClientSession, asyncio.TimerHandle]]] = {}
        self._down: OrderedDict[Target, tuple[float, int, str]] = OrderedDict()  # until, failures in a row, why
        self._clear: OrderedDict[Target, float] = OrderedDict()
        self._doubtful: OrderedDict[Target, float] = OrderedDict()
        self._closing: set[asyncio.Task[None]] = set()

    async def take(self, target: Target, *, fresh: bool = False) -> ClientSession:
        """A session, used before or (always when `fresh`) new. Give it back. Raise HostDown."""
        while not fresh and (idle := self._idle.get(target)):
            session, timer = idle.pop()
            timer.cancel()
            if session.is_reusable:
                return session
            session.connection.abort()
        now = asyncio.get_running_loop().time()
        if (down := self._down.get(target)) is not None and down[0] > now:
            raise HostDown(f"not tried again yet: {down[2]}")
        try:
            session = await self._open(target)
        except (SessionRefused, ConnectionBroke) as error:
            self._failed(target, str(error))
            raise HostDown(str(error)) from None
        self._down.pop(target, None)
        return session

    async def _open(self, target: Target) -> ClientSession:
        loop = asyncio.get_running_loop()
        tls = self._tls and self._clear.get(target, 0.0) <= loop.time()
        try:
            return await open_session(target, self._hostname, self._deadlines, lmtp=self._lmtp, tls=tls)
        except HandshakeFailed as error:
            log.warning("TLS failed, going on in the clear", host=str(target), reason=str(error))
            _keep(self._clear, target, loop.time() + self._clear_seconds)
            return await open_session(target, self._hostname, self._deadlines, lmtp=self._lmtp, tls=False)

    def _failed(self, target: Target, why: str) -> None:
        if self._down_first <= 0:
            return
        failures = self._down[target][1] + 1 if target in self._down else 1
        seconds = min(self._down_first * 2 ** min(failures - 1, 20), self._down_longest)
        _keep(self._down, target, (asyncio.get_running_loop().time() + seconds, failures, why))

    def doubt(self, target: Target) -> None:
        """It broke off behind the end of a message: whoever has another host asks it last, until it has taken one."""
        _keep(self._doubtful, target, asyncio.get_running_loop().time() + _DOUBTFUL_SECONDS)

    def trust(self, target: Target) -> None:
        """It took a message."""
        self._doubtful.pop(target, None)

    def is_doubtful(self, target: Target) -> bool:
        """See doubt."""
        return self._doubtful.get(target, 0.0) > asyncio.get_running_loop().time()

    def give_back(self, session: ClientSession) -> None:
        """Keep it for a while, or close it."""
        if not session.is_reusable:
            session.connection.abort()
        elif session.transactions >= self._most or self._idle_seconds <= 0:
            self._close(session)
        else:
            loop = asyncio.get_running_loop()
            timer = loop.call_later(self._idle_seconds, self._idled, session)
            self._idle.setdefault(session.target, []).append((session, timer))

    def _idled(self, session: ClientSession) -> None:
        idle = self._idle.get(session.target, [])
        idle[:] = [each for each in idle if each[0] is not session]
        if not idle:
            self._idle.pop(session.target, None)
        self._close(session)

    def _close(self, session: ClientSession) -> None:
        closing = asyncio.get_running_loop().create_task(session.connection.close(self._deadlines.quit))
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)

    def forgive(self) -> None:
        """Forget which hosts were down."""
        self._down.clear()
        self._clear.clear()
        self._doubtful.clear()

    async def close(self) -> None:
        """QUIT everywhere, for at most a moment."""
        for sessions in self._idle.values():
            for session, timer in sessions:
                timer.cancel()
                self._close(session)
        self._idle.clear()
        if self._closing:
            await asyncio.gather(*self._closing, return_exceptions=True)


def _keep(table: "OrderedDict[Target, V]", target: Target, value: V) -> None:
    table[target] = value
    table.move_to_end(target)
    if len(table) > _MOST_REMEMBERED:
        table.popitem(last=False)
