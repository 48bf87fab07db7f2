"""The role `delivery`: LMTP in, mailboxes out (RFC 2033).

Owns who may connect, where recipients lead, the copies of a message and what is answered for each recipient. A message is
written into all its accounts at once as it arrives, sealed; nothing of it is held in memory and nothing lies anywhere else.

The promise: 250 for a recipient is said after every copy it leads to was put in by Mail.append, which returns when the
message survives a power cut. Two recipients that lead to one account give one copy. A group is answered as a whole: when a
copy fails for now, 4xx is said and who has it already is remembered by the message's digest, so that the next try reaches
only the others.

Only `Authenticator.lookup` and `KeyHolder.delivery_keys` are asked: what is delivered here cannot be opened here.
"""

import asyncio
import contextvars
import hashlib
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from ..auth.api import Authenticator, KeyHolder, Revocation
from ..daemon.limits import ConnectionCaps, Slot
from ..daemon.listener import Listener, accept_on
from ..daemon.log import logger
from ..storage.api import AccountId, Draft, MessageWriter, OverQuota, Store
from . import reply as replies
from .accounts import HeldAccount, HeldAccounts
from .commands import Mail, Rcpt
from .lookups import SECONDS, Lookups
from .modes import LMTP, SessionLimits
from .policy import LoopGuard, is_trusted, render_received, render_trace, without_tag
from .reply import Refused, Reply, reply_for
from .session import SmtpSession

log = logger("smtp")

_REMEMBERED = 1_024  # messages to groups that were delivered in part


@dataclass(frozen=True, slots=True)
class DeliverySettings:
    """Everything about LMTP that an operator may change."""

    hostname: str = "localhost"
    domain: str = ""  # whose postmaster <postmaster> is; "" refuses it
    trusted_networks: Sequence[str] = ("127.0.0.0/8", "::1/128")
    connections: int = 500
    recipients: int = 1_000  # of one message
    received: int = 100  # Received lines of one message
    tag_separator: str = "+"  # user+tag@ goes to user@; "": no tags
    over_quota_passes: bool = False  # 452 instead of 552 for a full mailbox
    hold_accounts: int = 250
    hold_seconds: float = 30.0
    lookup_seconds: float = SECONDS  # how long an answer of `auth` is good for
    threads: int = 8  # for disk work
    limits: SessionLimits = field(default_factory=SessionLimits)


class DeliveryServer:
    """The role: accepts on Unix sockets and on TCP from trusted networks."""

    def __init__(
        self,
        store: Store,
        authenticator: Authenticator,
        keys: KeyHolder,
        settings: DeliverySettings | None = None,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`clock`: seconds since 1970 UTC, for Received lines. The store is not closed here: who opened it does."""
        self.settings = settings or DeliverySettings()
        self.clock = clock
        self._workers = ThreadPoolExecutor(self.settings.threads, thread_name_prefix="delivery")
        self.accounts = HeldAccounts(
            store, keys, self._workers, most=self.settings.hold_accounts, seconds=self.settings.hold_seconds
        )
        self._caps = ConnectionCaps(self.settings.connections, per_address=self.settings.connections)
        self._sessions: dict[SmtpSession, Slot | None] = {}
        self._servers: list[asyncio.Server] = []
        self.lookups = Lookups(authenticator, self.settings.lookup_seconds)
        self.partly: OrderedDict[bytes, frozenset[AccountId]] = OrderedDict()
        """Digest of a message to a group -> who has it already, while some have not."""
        self.finishing: set[Delivery] = set()
        """Transactions whose messages are being put in, whatever became of their sessions."""
        self._finished = asyncio.Event()
        is_trusted("", self.settings.trusted_networks)  # a network that is none is told at start
        authenticator.on_revoke(self._revoked)

    # -- the role

    async def start(self, listeners: Sequence[Listener]) -> None:
        """Accept. Raise ValueError for a TLS listener: LMTP is spoken on this machine or inside a trusted network."""
        if encrypted := [listener.name for listener in listeners if listener.tls]:
            raise ValueError(f"LMTP has no TLS here: {', '.join(encrypted)}")
        for listener in listeners:
            self._servers.append(await accept_on(listener, self._session))

    async def drain(self, seconds: float) -> None:
        """Let open transactions end, cut the rest, wait for what is being put in, close the accounts."""
        for server in self._servers:
            server.close()
        for session in tuple(self._sessions):
            session.drain()
        deadline = asyncio.get_running_loop().time() + seconds
        while (serving := [each.serving for each in self._sessions if each.serving is not None]) and (
            left := deadline - asyncio.get_running_loop().time()
        ) > 0:
            await asyncio.wait(serving, timeout=left)
        await asyncio.gather(*(session.end() for session in tuple(self._sessions)))
        while self.finishing:
            self._finished.clear()
            await self._finished.wait()
        await self.accounts.close()
        await asyncio.to_thread(self._workers.shutdown)

    async def reload(self) -> None:
        """Nothing here changes while running."""

    # -- what sessions ask (session.Handler)

    def admit(self, session: SmtpSession) -> Reply | None:
        """Unix peers and trusted networks, up to the cap."""
        self._sessions[session] = None
        if session.peer and not is_trusted(session.peer, self.settings.trusted_networks):
            log.warning("peer refused", peer=session.peer)
            return replies.NOT_FROM_THERE
        slot = self._caps.admit(session.peer, exempt=True)
        if slot is None:
            log.warning("too many connections", peer=session.peer)
            return replies.TOO_MANY_CONNECTIONS
        self._sessions[session] = slot
        return None

    def begin(self, session: SmtpSession, mail: Mail) -> "Delivery":
        """A transaction."""
        return Delivery(self, session, mail)

    def ended(self, session: SmtpSession) -> None:
        """Forget the session."""
        slot = self._sessions.pop(session, None)
        if slot is not None:
            slot.release()

    # -- what transactions ask

    def finished(self, delivery: "Delivery") -> None:
        """All messages of a transaction are in, or will not be."""
        self.finishing.discard(delivery)
        self._finished.set()

    def _session(self) -> SmtpSession:
        return SmtpSession(
            LMTP,
            self,
            self.settings.limits,
            hostname=self.settings.hostname,
            loop=asyncio.get_running_loop(),
        )

    def _revoked(self, revocation: Revocation) -> None:
        # A credential or a session is nothing to us; an account that was locked or deleted is.
        self.lookups.clear()
        if revocation.lost:
            self.accounts.drop()
        elif revocation.account is not None and revocation.credential is None and revocation.session is None:
            self.accounts.drop(revocation.account)


class _Copy:
    """One account's copy of the message."""

    __slots__ = ("address", "failure", "held", "writer")

    def __init__(self, held: HeldAccount | None, address: str, failure: Reply | None = None) -> None:
        self.held = held
        self.address = address  # for Delivered-To
        self.writer: MessageWriter | None = None
        self.failure = failure

    def fail(self, reply: Reply) -> None:
        self.failure = reply
        if self.writer is not None:
            self.writer.abort()


class Delivery:
    """One transaction (session.Transaction)."""

    def __init__(self, server: DeliveryServer, session: SmtpSession, mail: Mail) -> None:
        """Begin, with nobody to deliver to yet."""
        self._server = server
        self._session = session
        self._mail = mail
        self._identifier = secrets.token_hex(6)
        self._targets: list[tuple[str, list[AccountId]]] = []
        self._copies: dict[AccountId, _Copy] = {}
        self._guard = LoopGuard()
        self._digest = hashlib.sha256()
        self._is_group = False
        self._size = 0
        self._putting = 0  # copies that are on their way into mailboxes
        self._closed = False
        self._all_put: asyncio.Future[None] | None = None

    async def recipient(self, rcpt: Rcpt) -> Reply:
        """See session.Transaction."""
        settings = self._server.settings
        if len(self._targets) >= settings.recipients:
            return replies.TOO_MANY_RECIPIENTS
        path = rcpt.forward_path
        if not path.is_ascii and not self._mail.smtputf8:
            return replies.NEEDS_UTF8
        address = str(path)
        if not path.domain:
            if not settings.domain:
                return replies.UNKNOWN_RECIPIENT
            address = f"{address}@{settings.domain}"
        found = await self._server.lookups.find(address)
        if not found.local and not found.outside and (base := without_tag(path, settings.tag_separator)):
            found = await self._server.lookups.find(str(base))
        if found.outside:
            log.warning("leads outside", recipient=address)
            return replies.LEADS_OUTSIDE
        if not found.local:
            log.info("no such recipient", recipient=address)
            return replies.UNKNOWN_RECIPIENT
        if not all(each.accepts for each in found.local):
            return replies.NOT_NOW
        accounts = [each.account for each in found.local]
        new = {each.account: each.quota for each in found.local if each.account not in self._copies}
        taking = [self._copy(account, quota, address) for account, quota in new.items()]
        copies = [await taking[0]] if len(taking) == 1 else await asyncio.gather(*taking)
        failures = [copy.failure for copy in copies if copy.failure is not None]
        if failures and len(failures) == len(accounts):
            for copy in copies:
                self._give_back(copy)
            return _worst(failures)
        self._copies.update(zip(new, copies, strict=True))
        self._targets.append((address, accounts))
        self._is_group = self._is_group or len(accounts) > 1
        return replies.RECIPIENT_OK

    async def _copy(self, account: AccountId, quota: int | None, address: str) -> _Copy:
        held = None
        try:
            held = await self._server.accounts.take(account, quota)
            if quota is not None and held.account.quota().used + (self._mail.size or 0) > quota:
                raise OverQuota
        except Exception as error:
            return _Copy(held, address, self._answer_for(error, address))
        return _Copy(held, address)

    async def open(self) -> None:
        """See session.Transaction."""
        settings = self._server.settings
        received = render_received(
            client=self._session.client,
            peer=self._session.peer,
            host=settings.hostname,
            protocol=self._session.mode.protocol(self._mail),
            identifier=self._identifier,
            recipient=self._targets[0][0] if len(self._targets) == 1 else "",
            now=int(self._server.clock()),
        )
        first: MessageWriter | None = None
        for copy in self._copies.values():
            if copy.held is None or copy.failure is not None:
                continue
            prefix = render_trace(reverse_path=self._mail.reverse_path, recipient=copy.address)
            try:
                copy.writer = copy.held.account.mail.new_message(prefix=prefix, twin=first)
                copy.writer.write(received)
            except Exception as error:
                copy.fail(self._answer_for(error, copy.address))
            else:
                first = first or copy.writer
        if first is None:
            raise Refused(_worst([copy.failure for copy in self._copies.values() if copy.failure is not None]))

    def write(self, data: bytes) -> None:
        """See session.Transaction."""
        self._size += len(data)
        self._guard.feed(data)
        if self._is_group:
            self._digest.update(data)
        for copy in self._copies.values():
            if copy.writer is not None and copy.failure is None:
                try:
                    copy.writer.write(data)
                except Exception as error:
                    copy.fail(self._answer_for(error, copy.address))

    async def finish(self) -> Sequence[Reply]:
        """See session.Transaction."""
        self._guard.close()
        digest = self._digest.digest() if self._is_group else b""
        done = self._server.partly.get(digest, frozenset())
        ready = []
        for account, copy in self._copies.items():
            if copy.failure is None and self._guard.is_loop(copy.address, self._server.settings.received):
                log.warning("mail loop", recipient=copy.address, received=self._guard.received)
                copy.fail(replies.MAIL_LOOP)
            elif account in done and copy.writer is not None:
                copy.writer.abort()  # an earlier try reached this one
            elif copy.failure is None:
                ready.append(copy)
        if ready:
            # Once begun it goes on to its end, even when the peer goes away meanwhile.
            self._putting = len(ready)
            self._server.finishing.add(self)
            self._all_put = asyncio.get_running_loop().create_future()
            for copy in ready:
                self._put(copy)
            await self._all_put
        if self._is_group:
            self._remember(digest, done)
        return [self._reply(address, accounts) for address, accounts in self._targets]

    def _put(self, copy: _Copy) -> None:
        assert copy.held is not None
        assert copy.writer is not None

        context = contextvars.copy_context()  # the connection's, for the log

        def done(error: Exception | None) -> None:
            if error is not None:
                copy.fail(context.run(self._answer_for, error, copy.address))
            self._putting -= 1
            if self._putting:
                return
            self._server.finished(self)
            if self._closed:
                self._end()
            elif self._all_put is not None and not self._all_put.done():
                self._all_put.set_result(None)

        # A mailbox that has the message from a try whose answer was lost keeps the one it has.
        copy.held.put(Draft(copy.writer, delivery_id=self._mail.delivery_id), done)

    def _remember(self, digest: bytes, done: frozenset[AccountId]) -> None:
        partly = self._server.partly
        reached = done.union(account for account, copy in self._copies.items() if copy.failure is None)
        waits = any(copy.failure is not None and copy.failure.code < 500 for copy in self._copies.values())
        if waits and reached:
            partly[digest] = reached
            if len(partly) > _REMEMBERED:
                partly.popitem(last=False)
        else:
            partly.pop(digest, None)

    def _reply(self, address: str, accounts: list[AccountId]) -> Reply:
        failures = [failure for account in accounts if (failure := self._copies[account].failure) is not None]
        reply = _worst(failures) if failures else Reply(250, "2.0.0", f"delivered, id {self._identifier}")
        log.info(
            "delivered" if reply.positive else "not delivered",
            id=self._identifier,
            recipient=address,
            accounts=len(accounts),
            size=self._size,
            reply=f"{reply.code} {reply.enhanced}",
        )
        return reply

    def close(self) -> None:
        """See session.Transaction."""
        self._closed = True
        if not self._putting:
            self._end()

    def _end(self) -> None:
        for copy in self._copies.values():
            if copy.writer is not None:
                copy.writer.abort()  # nothing happens to one that was put in
            self._give_back(copy)
        self._copies.clear()

    def _give_back(self, copy: _Copy) -> None:
        if copy.held is not None:
            self._server.accounts.give_back(copy.held)
            copy.held = None

    def _answer_for(self, error: Exception, address: str) -> Reply:
        reply = reply_for(error, over_quota_passes=self._server.settings.over_quota_passes)
        if reply is None:
            return replies.incident(log.incident("delivery failed", error, recipient=address))
        log.warning("copy failed", recipient=address, reason=f"{type(error).__name__}: {error}")
        return reply


def _worst(failures: Sequence[Reply]) -> Reply:
    """What is said for several: a temporary failure first, because a second try can mend it."""
    return min(failures, key=lambda reply: reply.code)
