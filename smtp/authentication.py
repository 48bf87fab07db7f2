"""Who signed in on which connection, and who has to go (RFC 4954; decisions 4).

Owns the question to `auth`, the sessions that are open, and what a revocation does to them. Codes and texts of refusals
are auth/refusals.py's; the dialog of AUTH is service.py's. Never keeps a secret: it is gone when `sign_in` returns.
"""

import asyncio
from collections.abc import Coroutine, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..auth.api import (
    Attempt,
    Authenticator,
    AuthUnavailable,
    Denied,
    Granted,
    Reason,
    Revocation,
    ScramAttempt,
    ScramExchange,
    Service,
)
from ..auth.refusals import Refusal, Refusals
from ..auth.sasl import Credentials
from ..daemon.log import logger
from .reply import SESSION_REVOKED, Reply

if TYPE_CHECKING:
    from .service import ServiceSession

log = logger("smtp")

_LONGEST_PAUSE = 10.0  # seconds between two questions to an `auth` that does not answer


@dataclass(frozen=True, slots=True)
class SignedIn:
    """It did. `final`: what SCRAM has the client hear before it is told."""

    granted: Granted
    final: bytes = b""


@dataclass(frozen=True, slots=True)
class NotSignedIn:
    """It did not: the reply, and whether it counts as a failed try."""

    reply: Reply
    counts: bool = False


class Authentication:
    """All sessions of a process that signed in or are about to. One event loop's."""

    def __init__(self, authenticator: Authenticator, refusals: Refusals) -> None:
        """Listen for revocations from now on."""
        self.refusals = refusals
        self._authenticator = authenticator
        self._live: dict[ServiceSession, Granted] = {}
        # What was revoked while a session was being signed in: it is not among the live ones yet.
        self._heard: dict[ServiceSession, list[Revocation]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        authenticator.on_revoke(self._revoked)

    async def sign_in(self, session: "ServiceSession", credentials: Credentials) -> SignedIn | NotSignedIn:
        """Verify a password. Never raises for a neighbour that is not there."""
        attempt = Attempt(
            Service.SMTP,
            credentials.login,
            credentials.secret,
            session.peer,
            bool(session.tls),
            credentials.mechanism,
            session.client,
            credentials.authzid,
        )
        return await self._admit(session, self._verify(attempt), credentials.mechanism)

    async def begin_scram(self, session: "ServiceSession", message: bytes) -> ScramExchange | NotSignedIn:
        """Begin an exchange of SCRAM-SHA-256 with the client's first message. Never raises for a neighbour."""
        try:
            opened = await self._authenticator.begin_scram(
                ScramAttempt(Service.SMTP, message, session.peer, bool(session.tls), session.client)
            )
        except AuthUnavailable as error:
            return self._unavailable(session, str(error))
        return self._denied(session, opened) if isinstance(opened, Denied) else opened

    async def finish_scram(self, session: "ServiceSession", exchange: ScramExchange, response: bytes) -> SignedIn | NotSignedIn:
        """End it with the client's final message. Never raises for a neighbour."""
        return await self._admit(session, self._prove(exchange, response), "SCRAM-SHA-256")

    async def _verify(self, attempt: Attempt) -> SignedIn | Denied:
        answer = await self._authenticator.authenticate(attempt)
        return answer if isinstance(answer, Denied) else SignedIn(answer)

    async def _prove(self, exchange: ScramExchange, response: bytes) -> SignedIn | Denied:
        answer = await self._authenticator.finish_scram(exchange, response)
        return answer if isinstance(answer, Denied) else SignedIn(answer.granted, answer.final)

    async def _admit(
        self, session: "ServiceSession", asking: Coroutine[Any, Any, SignedIn | Denied], mechanism: str
    ) -> SignedIn | NotSignedIn:
        heard = self._heard.setdefault(session, [])
        try:
            # Without the stream of revocations a session could not be ended when it must: no new ones.
            if not self._authenticator.connected:
                asking.close()
                return self._unavailable(session, "the authenticator is not connected")
            answer = await asking
        except AuthUnavailable as error:
            return self._unavailable(session, str(error))
        finally:
            self._heard.pop(session, None)
        if isinstance(answer, Denied):
            return self._denied(session, answer)
        granted = answer.granted
        log.info(
            "login",
            account=granted.identity.account,
            session=granted.session,
            credential=granted.credential,
            peer=session.peer,
            tls=session.tls,
            mechanism=mechanism,
            client=session.client,
        )
        self._live[session] = granted
        for revocation in heard:
            self._carry_out(revocation, (session,))
        return answer

    def signed_off(self, session: "ServiceSession") -> None:
        """The connection of a session is over, or its client took back that it signed in."""
        granted = self._live.pop(session, None)
        if granted is not None:
            self._spawn(self._authenticator.close_session(granted.session))

    async def close(self) -> None:
        """Wait for what is still told to `auth`, briefly; the rest is let go."""
        if self._tasks:
            _, late = await asyncio.wait(tuple(self._tasks), timeout=1.0)
            for task in late:
                task.cancel()

    def _denied(self, session: "ServiceSession", denied: Denied) -> NotSignedIn:
        log.info("login refused", peer=session.peer, reason=denied.reason.value, reference=denied.reference)
        return NotSignedIn(as_reply(self.refusals.denied(denied)), counts=denied.reason is not Reason.LOCKED)

    def _unavailable(self, session: "ServiceSession", why: str) -> NotSignedIn:
        log.warning("login unavailable", peer=session.peer, why=why)
        return NotSignedIn(as_reply(self.refusals.unavailable()))

    # -- revocations

    def _revoked(self, revocation: Revocation) -> None:
        for heard in self._heard.values():
            heard.append(revocation)
        self._carry_out(revocation, tuple(self._live))

    def _carry_out(self, revocation: Revocation, sessions: Iterable["ServiceSession"]) -> None:
        if revocation.lost:
            self._spawn(self._check(set(sessions)))
            return
        for session in sessions:
            granted = self._live.get(session)
            if granted is not None and revocation.names(granted):
                self._expel(session, granted, revocation.why)

    def _expel(self, session: "ServiceSession", granted: Granted, why: str) -> None:
        log.info("session revoked", account=granted.identity.account, session=granted.session, why=why)
        session.expel(SESSION_REVOKED)

    async def _check(self, waiting: set["ServiceSession"]) -> None:
        """The stream broke: what was pushed meanwhile is not known, so each session is asked about."""
        pause = 0.5
        while waiting:
            for session in tuple(waiting):
                granted = self._live.get(session)
                if granted is None:
                    waiting.discard(session)
                    continue
                try:
                    live = await self._authenticator.check_session(granted.session)
                except AuthUnavailable:
                    break
                waiting.discard(session)
                if not live:
                    self._expel(session, granted, "check")
            if waiting:
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def as_reply(refusal: Refusal) -> Reply:
    """A refusal of auth/refusals.py in SMTP's form."""
    return Reply(refusal.smtp_code, refusal.enhanced_code, refusal.text)
