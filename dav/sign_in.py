"""Who asks: HTTP Basic (RFC 7617) to a session of an account, remembered for minutes so that a request costs a look-up.

A client sends its password with each request. It is verified once; then an HMAC of it under a random key of this process
leads to the session, as long as requests come, at most an hour, and never from another address than the first. A
revocation takes sessions away at once; when the stream of revocations breaks, all go: the next request is verified anew.

Owns what is remembered and for how long. Which answer a refusal becomes is auth/refusals.py's. Never keeps a password.
"""

import asyncio
import base64
import binascii
import hashlib
import hmac
import os
import time
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, TypeVar

from ..auth.api import (
    Attempt,
    Authenticator,
    AuthUnavailable,
    Denied,
    Granted,
    KeyHolder,
    Reason,
    Revocation,
    Service,
)
from ..auth.refusals import Refusal, Refusals
from ..daemon.log import logger
from ..storage.api import Account, Store, StoreError
from .values import DavSettings

log = logger("dav")

T = TypeVar("T")

_LONGEST_HEADER = 2_048
_LONGEST_LIFE = 3_600.0  # seconds: an app password that expired opens nothing after that
ANY = (Service.CALDAV, Service.CARDDAV, Service.WEBDAV)
"""Scopes each of which opens what belongs to no kind of collection: the principal, the folders above."""


@dataclass(slots=True, eq=False)
class DavSession:
    """A sign-in that goes on. `users`: requests under way; `over`: revoked or forgotten, gone once they are done."""

    granted: Granted
    account: Account
    key: bytes = field(repr=False)
    made: float
    used: float
    users: int = 0
    over: bool = False


class InvalidCredentials(Exception):
    """An Authorization header that is none of Basic's."""


def parse_basic(header: str) -> tuple[str, str]:
    """(login, password) of an Authorization header, UTF-8 (RFC 7617 section 2.1). Raise InvalidCredentials."""
    scheme, _, token = header.strip().partition(" ")
    if scheme.lower() != "basic" or len(header) > _LONGEST_HEADER:
        raise InvalidCredentials
    try:
        octets = base64.b64decode(token.strip(), validate=True)
    except (binascii.Error, ValueError):
        raise InvalidCredentials from None
    try:
        text = octets.decode()
    except UnicodeDecodeError:
        text = octets.decode("latin-1")  # what clients older than RFC 7617 send
    login, colon, password = text.partition(":")
    if not colon or not login or "\x00" in text:
        raise InvalidCredentials
    return login, password


class SignIn:
    """Signs requests in; one for all of a process."""

    def __init__(
        self,
        settings: DavSettings,
        authenticator: Authenticator,
        key_holder: KeyHolder,
        store: Store,
        in_thread: Callable[[Callable[[], Any]], Coroutine[Any, Any, Any]],
    ) -> None:
        """`in_thread`: runs a call of the store elsewhere."""
        self._settings = settings
        self._authenticator = authenticator
        self._key_holder = key_holder
        self._store = store
        self._in_thread = in_thread
        self._refusals = Refusals(help_url=settings.help_url, support=settings.support_phone)
        self._secret = os.urandom(32)
        self._sessions: OrderedDict[bytes, DavSession] = OrderedDict()  # the longest unused first
        self._under_way: dict[bytes, asyncio.Task[DavSession | Refusal]] = {}
        self._heard: list[Revocation] = []  # while sign-ins are under way
        self._closing: set[asyncio.Task[None]] = set()
        authenticator.on_revoke(self._revoke)

    def challenge(self) -> Refusal:
        """For a request without credentials."""
        return self._refusals.denied(Denied(Reason.CREDENTIALS, ""))

    def cleartext(self) -> Refusal:
        """For credentials that came without TLS."""
        return self._refusals.cleartext()

    def too_many(self) -> Refusal:
        """After too many failures on one connection."""
        return self._refusals.too_many()

    async def enter(
        self, header: str, *, services: tuple[Service, ...], address: str, tls: bool, client: str
    ) -> DavSession | Refusal:
        """The session that an Authorization header leads to; `leave` it after the request.

        `services`: any one of which is enough.
        """
        try:
            login, password = parse_basic(header)
        except InvalidCredentials:
            return self.challenge()
        what = b"\x00".join(
            [login.encode(), password.encode("utf-8", "surrogateescape"), address.encode(), b"1" if tls else b"0"]
        )
        key = hmac.digest(self._secret, what, hashlib.sha256)
        session = self._sessions.get(key)
        if session is not None and not session.granted.scopes.isdisjoint(services):
            if session.made + _LONGEST_LIFE > time.monotonic():
                return self._entered(session)
            self._forget(session)
        # Requests that come at once, as clients send them on Monday at 8, are verified once.
        task_key = key + services[0].value.encode()
        task = self._under_way.get(task_key)
        if task is None:
            attempts = [Attempt(service, login, password, address, tls, "BASIC", client[:64]) for service in services]
            task = asyncio.create_task(self._verify(key, attempts))
            self._under_way[task_key] = task
            task.add_done_callback(lambda done: self._verified(task_key))
        answer = await asyncio.shield(task)
        if isinstance(answer, Refusal):
            return answer
        if answer.over:  # revoked while others waited for it
            return self.challenge()
        return self._entered(answer)

    def _entered(self, session: DavSession) -> DavSession | Refusal:
        if session.users >= self._settings.requests:
            return Refusal("", 0, "", 429, "Trop de requetes a la fois. / Too many requests at once.", (("Retry-After", "5"),))
        session.users += 1
        session.used = time.monotonic()
        self._sessions.move_to_end(session.key) if session.key in self._sessions else None
        return session

    def leave(self, session: DavSession) -> None:
        """The request is done."""
        session.users -= 1
        if session.over and not session.users:
            self._close(session)

    def _verified(self, task_key: bytes) -> None:
        del self._under_way[task_key]
        if not self._under_way:
            self._heard.clear()

    async def _verify(self, key: bytes, attempts: list[Attempt]) -> DavSession | Refusal:
        if not self._authenticator.connected:
            return self._refusals.unavailable()
        heard = len(self._heard)
        try:
            for attempt in attempts:
                answer = await self._authenticator.authenticate(attempt)
                # An app password for contacts alone is right on what belongs to neither.
                if isinstance(answer, Granted) or answer.reason is not Reason.SCOPE:
                    break
            if isinstance(answer, Denied):
                log.info("login refused", address=attempts[0].address, reason=answer.reason.value, reference=answer.reference)
                return self._refusals.denied(answer)
            return await self._open(key, answer, attempts[0], heard)
        except AuthUnavailable as error:
            log.warning("login unavailable", address=attempts[0].address, why=str(error))
            return self._refusals.unavailable()

    async def _open(self, key: bytes, granted: Granted, attempt: Attempt, heard: int) -> DavSession | Refusal:
        try:
            keys = await self._key_holder.unwrap(granted.ticket)
            owner, quota = granted.identity.account, granted.quota
            account: Account = await self._in_thread(lambda: self._store.open_account(owner, keys, quota=quota))
        except (AuthUnavailable, StoreError) as error:
            log.warning("login unavailable", account=granted.identity.account, why=f"{type(error).__name__}: {error}")
            await self._authenticator.close_session(granted.session)
            return self._refusals.unavailable()
        now = time.monotonic()
        session = DavSession(granted, account, key, now, now)
        if any(revocation.lost or revocation.names(granted) for revocation in self._heard[heard:]):
            session.over = True
            self._close(session)
            return self._refusals.unavailable()
        old = self._sessions.pop(key, None)
        if old is not None:
            self._forget(old)
        self._sessions[key] = session
        if len(self._sessions) > self._settings.sessions:
            self._forget(next(iter(self._sessions.values())))
        log.info(
            "login",
            account=granted.identity.account,
            session=granted.session,
            credential=granted.credential,
            address=attempt.address,
            tls=attempt.tls,
            client=attempt.client,
        )
        return session

    # -- forgetting

    def sweep(self) -> None:
        """Forget sessions without a request for so long."""
        limit = time.monotonic() - self._settings.session_seconds
        for session in list(self._sessions.values()):
            if not session.users and session.used < limit:
                self._forget(session)

    def _forget(self, session: DavSession) -> None:
        if self._sessions.get(session.key) is session:
            del self._sessions[session.key]
        if not session.over:
            session.over = True
            if not session.users:
                self._close(session)

    def _close(self, session: DavSession) -> None:
        task = asyncio.create_task(self._end(session))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def _end(self, session: DavSession) -> None:
        await self._in_thread(session.account.close)
        await self._authenticator.close_session(session.granted.session)

    def _revoke(self, revocation: Revocation) -> None:
        if self._under_way:
            self._heard.append(revocation)
        for session in list(self._sessions.values()):
            if revocation.lost or revocation.names(session.granted):
                if not revocation.lost:
                    granted = session.granted
                    log.info("session revoked", account=granted.identity.account, session=granted.session, why=revocation.why)
                self._forget(session)

    async def close(self) -> None:
        """End all sessions."""
        for session in list(self._sessions.values()):
            self._forget(session)
        for task in list(self._under_way.values()):
            task.cancel()
        await asyncio.gather(*self._closing, *self._under_way.values(), return_exceptions=True)
