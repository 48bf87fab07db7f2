"""Mail to other hosts (RFC 5321 sections 3.6, 4.5.4 and 5.1).

Owns which hosts of a domain are tried, in which order and how long, and how many connections a domain gets. Every recipient
comes back with an Outcome; nothing here knows a database.

The next host is tried when one is down, does not serve us, or hangs up before the message was through. A refusal of a
recipient or of the message is an answer: no other host is asked, a greylisted one comes back later. When the connection
breaks behind the end of the message nobody knows whether it was taken: it is tried again later, then at the other hosts first.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from random import Random

from ..daemon.log import logger
from . import outcome as outcomes
from .client_connection import Deadlines, Target
from .client_session import ClientSession, Receiver, Sending
from .mx import LookupFailed, NoSuchDomain, Resolver, Routes, find_hosts, find_targets
from .outcome import Outcome, Verdict
from .relay_pool import HostDown, SessionPool

log = logger("smtp")


@dataclass(frozen=True, slots=True)
class RelaySettings:
    """How mail leaves.

    `hostname`: our name in EHLO.  `own_names`: names an MX record may call us by.  `starttls`: use TLS where it is offered.
    """

    hostname: str = "localhost"
    own_names: frozenset[str] = frozenset()
    routes: Routes = field(default_factory=Routes)
    starttls: bool = True
    deadlines: Deadlines = field(default_factory=Deadlines)
    connections: int = 500  # in all
    connections_per_domain: int = 5
    waiting_per_domain: int = 200  # transactions that wait for one of these; the rest are put back
    busy_seconds: int = 30  # and looked at again then
    recipients: int = 100  # of one transaction
    hosts: int = 8  # addresses that are tried for a message
    idle_seconds: float = 10.0
    transactions: int = 100  # of one connection
    down_first: float = 60.0
    down_longest: float = 240.0
    clear_seconds: float = 3_600.0


class _Domain:
    """The line before a domain."""

    __slots__ = ("slots", "users")

    def __init__(self, slots: int) -> None:
        self.slots = asyncio.Semaphore(slots)
        self.users = 0


class Relay:
    """Sends messages on. One event loop's."""

    def __init__(self, settings: RelaySettings, resolver: Resolver, *, random: Random | None = None) -> None:
        """`random`: shuffles hosts of equal preference."""
        self.settings = settings
        self._resolver = resolver
        self._random = random or Random()  # noqa: S311 it shares load, it keeps no secret
        self._own_names = settings.own_names | {settings.hostname.casefold()}
        self._connections = asyncio.Semaphore(settings.connections)
        self._domains: dict[str, _Domain] = {}
        self._pool = SessionPool(
            settings.hostname,
            settings.deadlines,
            tls=settings.starttls,
            idle_seconds=settings.idle_seconds,
            transactions=settings.transactions,
            down_first=settings.down_first,
            down_longest=settings.down_longest,
            clear_seconds=settings.clear_seconds,
        )

    async def deliver(self, domain: str, sending: Sending, receivers: Sequence[Receiver]) -> dict[int, Outcome]:
        """Send one message to its recipients of a domain: an outcome for each key. Raise what reading the message raises."""
        key = domain.casefold()
        line = self._domains.setdefault(key, _Domain(self.settings.connections_per_domain))
        if line.users >= self.settings.connections_per_domain + self.settings.waiting_per_domain:
            busy = outcomes.postponed("many messages wait for this domain", self.settings.busy_seconds)
            return {receiver.key: busy for receiver in receivers}
        line.users += 1
        try:
            async with line.slots, self._connections:
                return await self._deliver(domain, sending, receivers)
        finally:
            line.users -= 1
            if line.users == 0:
                self._domains.pop(key, None)

    async def _deliver(self, domain: str, sending: Sending, receivers: Sequence[Receiver]) -> dict[int, Outcome]:
        found = await find_hosts(domain, self.settings.routes, self._resolver, self._own_names, self._random)
        if found.failure is not None:
            return {receiver.key: found.failure for receiver in receivers}
        done: dict[int, Outcome] = {}
        left = list(receivers)
        last: Outcome | None = None
        tried = 0
        async for found_target in self._targets(found.hosts):
            if isinstance(found_target, Outcome):
                last = found_target if found_target.verdict is Verdict.DEFERRED else last or found_target
                continue
            if tried >= self.settings.hosts:
                break
            tried += 1
            left, problem = await self._try(found_target, sending, left, done)
            if not left:
                return done
            last = problem or last
        final = last or outcomes.NO_ADDRESS
        done.update((receiver.key, final) for receiver in left)
        return done

    async def _targets(self, hosts: Sequence[tuple[str, int]]) -> AsyncIterator[Target | Outcome]:
        """Addresses to try, or why a host has none; those that broke off behind the end of a message come last."""
        doubtful: list[Target] = []
        for host, port in hosts:
            try:
                targets = await find_targets(host, port, self._resolver)
            except NoSuchDomain:
                yield outcomes.failed("5.4.4", "the mail host has no address", host)
                continue
            except LookupFailed as error:
                yield outcomes.deferred("4.4.3", f"address of {host}: {error}", host)
                continue
            if not targets:
                yield outcomes.NO_ADDRESS.at(host)
            for target in targets:
                if self._pool.is_doubtful(target):
                    doubtful.append(target)
                else:
                    yield target
        for target in doubtful:
            yield target

    async def _try(
        self, target: Target, sending: Sending, receivers: list[Receiver], done: dict[int, Outcome]
    ) -> tuple[list[Receiver], Outcome | None]:
        """Try one address: who is left for the next, and why."""
        left = receivers
        fresh = False
        while left:
            try:
                session = await self._pool.take(target, fresh=fresh)
            except HostDown as error:
                log.info("host down", host=str(target), reason=str(error))
                return left, outcomes.deferred("4.4.1", str(error), target.name)
            used = session.transactions > 0
            batch, rest = left[: self.settings.recipients], left[self.settings.recipients :]
            try:
                transaction = await session.send(sending, batch)
            except BaseException:
                session.connection.abort()
                raise
            finally:
                self._pool.give_back(session)
            if transaction.sent and transaction.cut:
                self._pool.doubt(target)
            elif transaction.sent:
                self._pool.trust(target)
            again = [each for each in batch if each.key in transaction.crowded]
            cut = [each for each in batch if each.key in transaction.cut and not transaction.sent]
            waiting = {each.key for each in (*again, *cut)}
            done.update((key, outcome) for key, outcome in transaction.outcomes.items() if key not in waiting)
            left = [*cut, *again, *rest]
            if cut:
                if used and not fresh:
                    fresh = True  # it had been idle and was closed meanwhile: that tells nothing about the host
                    continue
                return left, transaction.outcomes[cut[0].key]
            self._log(session, sending, transaction.outcomes)
        return [], None

    def _log(self, session: ClientSession, sending: Sending, said: dict[int, Outcome]) -> None:
        for outcome in dict.fromkeys(said.values()):
            log.info(
                "sent" if outcome.is_final and outcome.status.startswith("2") else "not sent",
                host=str(session.target),
                tls=session.connection.encrypted,
                size=sending.source.size,
                recipients=sum(each == outcome for each in said.values()),
                reply=outcome.text,
            )

    def forgive(self) -> None:
        """Try hosts again that were down."""
        self._pool.forgive()

    async def close(self) -> None:
        """End idle connections, and the resolver's questions."""
        await self._pool.close()
        await self._resolver.close()
