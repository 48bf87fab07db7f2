"""From credentials to an open account: authenticator, key holder, store, in that order.

Owns the order, and what is undone when a later step fails. Codes and texts of refusals are auth/refusals.py's. Never
keeps a secret: it is gone when `authenticate` returns; the keys go into the store and are dropped here.
"""

import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from ..auth.api import (
    Attempt,
    Authenticator,
    AuthUnavailable,
    Denied,
    Granted,
    KeyHolder,
    Reason,
    Revocation,
    ScramAttempt,
    ScramExchange,
    ScramGranted,
    Service,
)
from ..auth.refusals import Refusal, Refusals
from ..auth.sasl import Credentials
from ..daemon.log import logger
from ..storage.api import Account, AccountKeys, Store, StoreError
from .session import NotSignedIn, Session, SignedIn

log = logger("imap")

_TOO_MANY = b"NO [LIMIT] Trop de connexions pour ce compte. / Too many connections of this account."

_NOT_CONNECTED = "the authenticator is not connected"

Ask = Callable[[], Coroutine[Any, Any, Granted | ScramGranted | Denied]]
InThread = Callable[[Callable[[], Account]], Coroutine[Any, Any, Account]]


class SignIn:
    """Signs sessions in; one for all of a process."""

    def __init__(
        self,
        authenticator: Authenticator,
        key_holder: KeyHolder,
        store: Store,
        refusals: Refusals,
        *,
        in_thread: InThread,
        may_join: Callable[[Granted], bool],
    ) -> None:
        """`may_join` says whether the account may have one more session here."""
        self._authenticator = authenticator
        self._key_holder = key_holder
        self._store = store
        self._refusals = refusals
        self._in_thread = in_thread
        self._may_join = may_join
        # Revocations that came while a session was being signed in: it is in no list of live sessions yet.
        self._heard: dict[Session, list[Revocation]] = {}

    def hear(self, revocation: Revocation) -> None:
        """A revocation came: it may concern those under way."""
        for heard in self._heard.values():
            heard.append(revocation)

    def under_way_no_more(self, session: Session) -> Sequence[Revocation]:
        """The session is among the live ones, or gone; what was revoked since its sign-in began."""
        return self._heard.pop(session, ())

    async def __call__(self, session: Session, credentials: Credentials) -> SignedIn | NotSignedIn:
        """By a password that was said. Never raises for what a client sent, nor when a neighbour is not there."""
        attempt = Attempt(
            Service.IMAP,
            credentials.login,
            credentials.secret,
            session.address,
            session.tls,
            credentials.mechanism,
            session.client,
            credentials.authzid,
        )
        return await self._hearing(session, lambda: self._authenticator.authenticate(attempt))

    async def begin_scram(self, session: Session, message: bytes) -> ScramExchange | NotSignedIn:
        """By one that is proven (RFC 5802), with the client's first message. Never raises, as above."""
        if not self._authenticator.connected:
            return self._unavailable(session, _NOT_CONNECTED)
        attempt = ScramAttempt(Service.IMAP, message, session.address, session.tls, session.client)
        try:
            begun = await self._authenticator.begin_scram(attempt)
        except AuthUnavailable as error:
            return self._unavailable(session, str(error))
        return self._refused(session, begun) if isinstance(begun, Denied) else begun

    async def finish_scram(self, session: Session, exchange: ScramExchange, response: bytes) -> SignedIn | NotSignedIn:
        """With its final message. Never raises, as above."""
        return await self._hearing(session, lambda: self._authenticator.finish_scram(exchange, response))

    async def _hearing(self, session: Session, ask: Ask) -> SignedIn | NotSignedIn:
        self._heard[session] = []
        outcome: SignedIn | NotSignedIn | None = None
        try:
            outcome = await self._sign_in(session, ask)
        finally:
            if not isinstance(outcome, SignedIn):
                self._heard.pop(session, None)
        return outcome

    async def _sign_in(self, session: Session, ask: Ask) -> SignedIn | NotSignedIn:
        started = time.monotonic()
        # Without the stream of revocations a session could not be ended when it must: no new ones (decisions.md 4).
        if not self._authenticator.connected:
            return self._unavailable(session, _NOT_CONNECTED)
        try:
            answer = await ask()
        except AuthUnavailable as error:
            return self._unavailable(session, str(error))
        if isinstance(answer, Denied):
            return self._refused(session, answer)
        final = b""
        if isinstance(answer, ScramGranted):
            final, answer = answer.final, answer.granted
        try:
            account = await self._open(answer)
        except (AuthUnavailable, StoreError) as error:
            await self._authenticator.close_session(answer.session)
            return self._unavailable(session, f"{type(error).__name__}: {error}", account=answer.identity.account)
        except BaseException:
            await self._authenticator.close_session(answer.session)
            raise
        if not self._may_join(answer):
            await self._in_thread(lambda: _closed(account))
            await self._authenticator.close_session(answer.session)
            log.info("login refused", account=answer.identity.account, reason="too many connections")
            return NotSignedIn(_TOO_MANY, counts=False)
        log.info(
            "login",
            account=answer.identity.account,
            session=answer.session,
            credential=answer.credential,
            address=session.address,
            tls=session.tls,
            client=session.client,
            seconds=round(time.monotonic() - started, 3),
        )
        return SignedIn(answer, account, final)

    async def _open(self, granted: Granted) -> Account:
        keys: AccountKeys = await self._key_holder.unwrap(granted.ticket)
        account, quota = granted.identity.account, granted.quota
        held = self._store.held_account(account, keys, quota=quota)
        return held or await self._in_thread(lambda: self._store.open_account(account, keys, quota=quota))

    def _refused(self, session: Session, denied: Denied) -> NotSignedIn:
        log.info("login refused", address=session.address, reason=denied.reason.value, reference=denied.reference)
        answer = _answer(self._refusals.denied(denied))
        return NotSignedIn(answer, counts=denied.reason is not Reason.LOCKED, farewell=self._farewell())

    def _unavailable(self, session: Session, why: str, **fields: object) -> NotSignedIn:
        log.warning("login unavailable", address=session.address, why=why, **fields)
        return NotSignedIn(_answer(self._refusals.unavailable()), counts=False)

    def _farewell(self) -> bytes:
        refusal = self._refusals.too_many()
        return f"BYE [{refusal.imap_code}] {refusal.text}".encode("ascii")


def _answer(refusal: Refusal) -> bytes:
    return f"NO [{refusal.imap_code}] {refusal.text}".encode("ascii")


def _closed(account: Account) -> Account:
    account.close()
    return account
