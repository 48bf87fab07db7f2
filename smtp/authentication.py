"""Who signed in on which connection, and who has to go (RFC 4954; decisions 4).

Owns the question to `auth`, the sessions that are open, and what a revocation does to them. Codes and texts of refusals
are auth/refusals.py's; the dialog of AUTH is service.py's. Never keeps a secret: it is gone when `sign_in` returns.
"""

import asyncio
from collections.abc import Coroutine, Iterable
from typing import TYPE_CHECKING, Any

from ..auth.api import Attempt, Authenticator, AuthUnavailable, Denied, Granted, Reason, Revocation, Service
from ..auth.refusals import Refusal, Refusals
from ..auth.sasl import Credentials
from ..daemon.log import logger
from .reply import SESSION_REVOKED, Reply

if TYPE_CHECKING:
    from .service import ServiceSession

log = logger("smtp")

_LONGEST_PAUSE = 10.0  # seconds between two questions to an `auth` that does not answer


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

    async def sign_in(self, session: "ServiceSession", credentials: Credentials) -> tuple[Granted | None, Reply, bool]:
        """Verify: what was granted, the reply, and whether a refusal counts as a failed try. Never raises for a neighbour."""
        heard = self._heard.setdefault(session, [])
        try:
            granted, reply, counts = await self._verify(session, credentials)
        finally:
            self._heard.pop(session, None)
        if granted is not None:
            self._live[session] = granted
            for revocation in heard:
                self._carry_out(revocation, (session,))
        return granted, reply, counts

    def signed_off(self, session: "ServiceSession") -> None:
        """The connection of a session is over."""
        granted = self._live.pop(session, None)
        if granted is not None:
            self._spawn(self._authenticator.close_session(granted.session))

    async def close(self) -> None:
        """Wait for what is still told to `auth`, briefly; the rest is let go."""
        if self._tasks:
            _, late = await asyncio.wait(tuple(self._tasks), timeout=1.0)
            for task in late:
                task.cancel()

    async def _verify(self, session: "ServiceSession", credentials: Credentials) -> tuple[Granted | None, Reply, bool]:
        # Without the stream of revocations a session could not be ended when it must: no new ones.
        if not self._authenticator.connected:
            return self._unavailable(session, "the authenticator is not connected")
        try:
            answer = await self._authenticator.authenticate(
                Attempt(
                    Service.SMTP,
                    credentials.login,
                    credentials.secret,
                    session.peer,
                    bool(session.tls),
                    credentials.mechanism,
                    session.client,
                    credentials.authzid,
                )
            )
        except AuthUnavailable as error:
            return self._unavailable(session, str(error))
        if isinstance(answer, Denied):
            log.info("login refused", peer=session.peer, reason=answer.reason.value, reference=answer.reference)
            return None, as_reply(self.refusals.denied(answer)), answer.reason is not Reason.LOCKED
        log.info(
            "login",
            account=answer.identity.account,
            session=answer.session,
            credential=answer.credential,
            peer=session.peer,
            tls=session.tls,
            client=session.client,
        )
        return answer, Reply(235, "2.7.0", "ok"), False

    def _unavailable(self, session: "ServiceSession", why: str) -> tuple[None, Reply, bool]:
        log.warning("login unavailable", peer=session.peer, why=why)
        return None, as_reply(self.refusals.unavailable()), False

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
            if granted is not None and _concerns(revocation, granted):
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


def _concerns(revocation: Revocation, granted: Granted) -> bool:
    return (
        (revocation.account is None or revocation.account == granted.identity.account)
        and (revocation.credential is None or revocation.credential == granted.credential)
        and (revocation.session is None or revocation.session == granted.session)
        and (revocation.account, revocation.credential, revocation.session) != (None, None, None)
    )
