"""The daemons' ends of the sockets to `auth` and `keys` (auth/api.py: Authenticator, KeyHolder).

Owns the translation between values and the fields of calls, and the revocation stream: one subscription, renewed with
back-off for as long as the process lives. While it is down no new login is taken (a revocation could be missed), and
listeners are told twice to re-check their sessions: when it breaks and when it is back.

Every call has a time limit; whatever goes wrong on the way is AuthUnavailable, which no client reads as a wrong password.
Never logs a secret, a ticket or a key, and keeps none.
"""

import asyncio
import base64
import binascii
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from ..daemon.log import logger
from ..daemon.rpc import RpcClient, RpcRefused, RpcUnavailable, call_blocking
from ..storage.api import AccountId, AccountKeys
from .api import (
    Attempt,
    AuthUnavailable,
    CredentialId,
    Denied,
    Granted,
    Identity,
    LocalRecipient,
    Reason,
    Recipients,
    Revocation,
    ScramAttempt,
    ScramExchange,
    ScramGranted,
    Service,
    SessionId,
)

log = logger("auth")

T = TypeVar("T")

_GATHER = 0.02  # seconds in which sessions that end are told of together
_AT_ONCE = 128  # sessions a call
_BACK_OFF = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0)  # seconds; the last one repeats


class SocketAuthenticator:
    """`auth` over RUN/auth-<role>.sock. One event loop's; `start` opens the stream, `close` ends it."""

    def __init__(self, path: Path, *, timeout: float = 30.0) -> None:
        """`timeout`: seconds for one call; verifying a password may wait its turn behind others."""
        self._client = RpcClient(path, timeout=timeout)
        self._client.on_push(self._pushed)
        self._client.on_lost(self._lost)
        self._callbacks: list[Callable[[Revocation], None]] = []
        self._task: asyncio.Task[None] | None = None
        self._broken = asyncio.Event()
        self._tried = asyncio.Event()
        self._up = False
        self._closed = False
        self._ended: list[SessionId] = []
        self._telling: asyncio.Task[None] | None = None

    @property
    def connected(self) -> bool:
        """Whether the revocation stream is up."""
        return self._up

    async def start(self) -> None:
        """Open the stream; returns after the first try, whether `auth` was there or not. Called by itself when needed."""
        if self._task is None and not self._closed:
            self._task = asyncio.get_running_loop().create_task(self._keep_subscribed())
        await self._tried.wait()

    async def close(self) -> None:
        """End the stream and the connection."""
        self._closed = True
        if self._telling is not None:
            await asyncio.wait({self._telling}, timeout=1.0)
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self._tried.set()
        self._up = False
        await self._client.close()

    def on_revoke(self, callback: Callable[[Revocation], None]) -> None:
        """Call `callback` on the loop for each revocation, and with `lost=True` when some may have been missed."""
        self._callbacks.append(callback)

    async def authenticate(self, attempt: Attempt) -> Granted | Denied:
        """Verify. Raise AuthUnavailable, also whenever the revocation stream is down."""
        await self._need_stream()
        answer = await self._call(
            "authenticate",
            service=attempt.service,
            login=attempt.login,
            secret=attempt.secret,
            address=attempt.address,
            tls=attempt.tls,
            mechanism=attempt.mechanism,
            client=attempt.client[:64],
            authzid=attempt.authzid,
        )
        return _understood(_verdict, answer)

    async def begin_scram(self, attempt: ScramAttempt) -> ScramExchange | Denied:
        """Begin a SCRAM exchange. Raise AuthUnavailable, also whenever the revocation stream is down."""
        await self._need_stream()
        answer = await self._call(
            "scram_begin",
            service=attempt.service,
            message=encode(attempt.message),
            address=attempt.address,
            tls=attempt.tls,
            client=attempt.client[:64],
        )
        return _understood(_exchange, answer)

    async def finish_scram(self, exchange: ScramExchange, response: bytes) -> ScramGranted | Denied:
        """End it. Raise AuthUnavailable, also whenever the revocation stream is down."""
        await self._need_stream()
        answer = await self._call("scram_finish", exchange=exchange.id, response=encode(response))
        return _understood(_proven, answer)

    async def lookup(self, address: str) -> Recipients:
        """Where mail for `address` goes. Raise AuthUnavailable."""
        return _understood(_recipients, await self._call("lookup", address=address))

    async def close_session(self, session: SessionId) -> None:
        """Tell that a session ended, together with others that end just then. Never raises."""
        self._ended.append(session)
        if self._telling is None:
            self._telling = asyncio.get_running_loop().create_task(self._tell_ended())
        # Whoever stops waiting leaves the others, and what is to be told, alone.
        await asyncio.shield(self._telling)

    async def _tell_ended(self) -> None:
        await asyncio.sleep(_GATHER)
        sessions, self._ended, self._telling = self._ended, [], None
        for begin in range(0, len(sessions), _AT_ONCE):
            try:
                await self._call("close_sessions", sessions=sessions[begin : begin + _AT_ONCE])
            except AuthUnavailable as error:
                log.debug("session ends not told", reason=str(error), sessions=len(sessions) - begin)

    async def check_session(self, session: SessionId) -> bool:
        """Whether the session may go on. Raise AuthUnavailable."""
        return (await self._call("check_session", session=session)).get("live") is True

    async def may_send(self, session: SessionId, address: str) -> bool:
        """Whether who opened the session may send as this address. Raise AuthUnavailable."""
        return (await self._call("may_send", session=session, address=address)).get("may") is True

    async def _need_stream(self) -> None:
        if not self._up:
            await self.start()
        if not self._up:
            raise AuthUnavailable("no revocation stream")

    async def _call(self, op: str, /, **fields: Any) -> dict[str, Any]:
        return await _call(self._client, op, **fields)

    async def _keep_subscribed(self) -> None:
        failures = 0
        first = True
        while True:
            self._broken.clear()
            try:
                await self._client.call("subscribe")
                # The connection may be gone again before this line: then _lost has set the event already.
                self._up = not self._broken.is_set()
            except (RpcRefused, RpcUnavailable) as error:
                if failures in (0, 100):
                    log.warning("no revocation stream", reason=str(error))
            self._tried.set()
            if self._up:
                failures = 0
                if not first:
                    self._tell(Revocation(why="the revocation stream is back", lost=True))
                first = False
                await self._broken.wait()
                continue
            await asyncio.sleep(_BACK_OFF[min(failures, len(_BACK_OFF) - 1)])
            failures += 1

    def _lost(self) -> None:
        was_up, self._up = self._up, False
        self._broken.set()
        if was_up:
            log.warning("revocation stream lost")
            self._tell(Revocation(why="the revocation stream broke", lost=True))

    def _pushed(self, fields: dict[str, Any]) -> None:
        if fields.get("push") != "revoke":
            return
        account, credential, session = (fields.get(name) for name in ("account", "credential", "session"))
        if not (account or credential or session):
            log.warning("revocation of nothing")
            return
        self._tell(
            Revocation(
                AccountId(account) if account else None,
                CredentialId(credential) if credential else None,
                SessionId(session) if session else None,
                str(fields.get("why", "")),
            )
        )

    def _tell(self, revocation: Revocation) -> None:
        for callback in self._callbacks:
            try:
                callback(revocation)
            except Exception as error:  # one listener's fault must not keep a revocation from the others
                log.incident("revocation not carried out", error)


class SocketKeyHolder:
    """`keys` over RUN/keys-<role>.sock; which of the two calls is answered is decided by the socket."""

    def __init__(self, path: Path, *, timeout: float = 10.0) -> None:
        """`timeout`: seconds for one call."""
        self._client = RpcClient(path, timeout=timeout)

    async def unwrap(self, ticket: bytes) -> AccountKeys:
        """All keys of the ticket's account. Raise AuthUnavailable."""
        return _understood(_keys, await _call(self._client, "unwrap", ticket=encode(ticket)))

    async def delivery_keys(self, account: AccountId) -> AccountKeys:
        """Keys to deliver with: without the secret one. Raise AuthUnavailable."""
        return _understood(_keys, await _call(self._client, "delivery_keys", account=account))

    async def close(self) -> None:
        """Close the connection."""
        await self._client.close()


def fetch_queue_key(path: Path, *, wait: float = 30.0) -> tuple[bytes, bytes | None]:
    """(public, secret or None) of the spool's key, from RUN/keys-smtp.sock or RUN/keys-queue.sock. Blocking, for start-up.

    Tries for `wait` seconds, because `keys` may be starting as well. Raise AuthUnavailable.
    """
    deadline = time.monotonic() + wait
    while True:
        try:
            answer = call_blocking(path, "queue_key")
            break
        except RpcUnavailable as error:
            if time.monotonic() >= deadline:
                raise AuthUnavailable(str(error)) from None
            time.sleep(0.1)
        except RpcRefused as error:
            raise AuthUnavailable(str(error)) from None
    return _understood(_key_pair, answer)


def _key_pair(answer: dict[str, Any]) -> tuple[bytes, bytes | None]:
    public = decode(answer["public"])
    secret = decode(answer["secret"]) if "secret" in answer else None
    if len(public) != 32 or (secret is not None and len(secret) != 32):
        raise ValueError("not keys")
    return public, secret


def encode(data: bytes) -> str:
    """Octets as a JSON string."""
    return base64.b64encode(data).decode("ascii")


def decode(text: object) -> bytes:
    """Octets of a JSON string. Raise ValueError."""
    if not isinstance(text, str):
        raise ValueError("not base64")  # noqa: TRY004 one error for whatever is not
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        raise ValueError("not base64") from None


async def _call(client: RpcClient, op: str, /, **fields: Any) -> dict[str, Any]:
    try:
        return await client.call(op, **fields)
    except (RpcRefused, RpcUnavailable) as error:
        raise AuthUnavailable(str(error)) from None


def _understood(read: Callable[[dict[str, Any]], T], answer: dict[str, Any]) -> T:
    try:
        return read(answer)
    except (KeyError, TypeError, ValueError, AttributeError):
        raise AuthUnavailable("an answer that is none") from None  # without the cause: it could show a key


def _verdict(answer: dict[str, Any]) -> Granted | Denied:
    return _denied(answer["denied"]) if "denied" in answer else _granted(answer["granted"])


def _exchange(answer: dict[str, Any]) -> ScramExchange | Denied:
    if "denied" in answer:
        return _denied(answer["denied"])
    return ScramExchange(str(answer["exchange"]), decode(answer["challenge"]))


def _proven(answer: dict[str, Any]) -> ScramGranted | Denied:
    if "denied" in answer:
        return _denied(answer["denied"])
    return ScramGranted(_granted(answer["granted"]), decode(answer["final"]))


def _denied(denied: dict[str, Any]) -> Denied:
    return Denied(Reason(denied["reason"]), str(denied["reference"]), int(denied.get("retry_after", 0)))


def _granted(granted: dict[str, Any]) -> Granted:
    quota = granted.get("quota")
    return Granted(
        Identity(AccountId(granted["account"]), granted["address"], granted.get("name", "")),
        SessionId(granted["session"]),
        CredentialId(granted["credential"]),
        frozenset(Service(scope) for scope in granted["scopes"]),
        decode(granted["ticket"]),
        int(granted["expires"]),
        None if quota is None else int(quota),
    )


def _recipients(answer: dict[str, Any]) -> Recipients:
    local = tuple(
        LocalRecipient(
            AccountId(one["account"]),
            one["address"],
            None if one.get("quota") is None else int(one["quota"]),
            bool(one.get("accepts", True)),
        )
        for one in answer["local"]
    )
    served = answer.get("served")
    return Recipients(local, tuple(str(address) for address in answer["outside"]), None if served is None else bool(served))


def _keys(answer: dict[str, Any]) -> AccountKeys:
    secret = answer.get("secret")
    keys = AccountKeys(
        decode(answer["public"]),
        decode(answer["index"]),
        decode(answer["cache"]),
        None if secret is None else decode(secret),
    )
    held = (keys.public, keys.index, keys.cache) if keys.secret is None else (keys.public, keys.index, keys.cache, keys.secret)
    if any(len(key) != 32 for key in held):
        raise ValueError("not keys")
    return keys
