"""One try of one message: where its recipients lead, who takes it there, and what came of it.

Owns the way of a message from the spool to `delivery` and to the relay. Recipients here go over LMTP in one transaction,
those of one domain elsewhere in one transaction of the relay's; all of them at the same time. What a part brought is
handed on as soon as it is known: a slow host keeps nobody else's outcome back.

The message's id goes along to `delivery` as the delivery id: a mailbox that has it already, from a try whose answer a
crash swallowed, keeps the one it has.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..auth.api import Authenticator, AuthUnavailable, Recipients
from ..daemon.log import logger
from ..storage.api import NotFound, Unavailable
from . import outcome as outcomes
from .bounce import header_of
from .client import to_ascii_domain
from .client_connection import Deadlines, Target
from .client_session import Receiver, Sending
from .lookups import SECONDS, Lookups
from .outcome import Outcome, Verdict, postponed
from .policy import LoopGuard
from .queue_store import Queued
from .relay import Relay
from .relay_pool import HostDown, SessionPool
from .spool import Envelope, MessageSource, Spool

log = logger("smtp")

Results = Sequence[tuple[Queued, Outcome]]
Members = tuple[Queued, Sequence[str]]

UNREADABLE = outcomes.deferred("4.3.0", "the message cannot be read")

_LOOKUPS_AT_ONCE = 50


@dataclass(frozen=True, slots=True)
class LocalSettings:
    """Delivery to accounts here. `delivery`: RUN/delivery.sock.  `domains`: ours, lower case; asked when `auth` does not tell.

    `domain`: whose postmaster an address without a domain is.  Seconds: `retry_seconds` until a `delivery` or `auth` that is
    not there is asked again.
    """

    delivery: Path
    hostname: str = "localhost"
    domain: str = ""
    domains: frozenset[str] = frozenset()
    tag_separator: str = "+"
    connections: int = 8
    recipients: int = 100  # of one transaction
    idle_seconds: float = 60.0
    retry_seconds: int = 15
    lookup_seconds: float = SECONDS  # how long an answer of `auth` is good for
    received: int = 100  # Received lines: more is a loop
    deadlines: Deadlines = field(default_factory=lambda: Deadlines(connect=10.0, greeting=60.0, command=60.0, block=60.0))


@dataclass(slots=True)
class _Plan:
    local: list[Queued] = field(default_factory=list)
    outside: dict[tuple[str, bool], list[Queued]] = field(default_factory=dict)  # (domain, needs SMTPUTF8)
    settled: list[tuple[Queued, Outcome]] = field(default_factory=list)
    groups: list[Members] = field(default_factory=list)


class Deliverer:
    """Tries messages. One event loop's."""

    def __init__(self, settings: LocalSettings, spool: Spool, authenticator: Authenticator, relay: Relay) -> None:
        """`relay`: for recipients elsewhere."""
        self.settings = settings
        self._spool = spool
        self._found = Lookups(authenticator, settings.lookup_seconds)
        self._relay = relay
        self._slots = asyncio.Semaphore(settings.connections)
        self._lookups = asyncio.Semaphore(_LOOKUPS_AT_ONCE)
        self._target = Target("", name=settings.hostname, path=str(settings.delivery))
        self._pool = SessionPool(
            settings.hostname,
            settings.deadlines,
            lmtp=True,
            tls=False,
            idle_seconds=settings.idle_seconds,
            transactions=10_000,
            down_first=0.0,
        )

    async def attempt(
        self,
        identifier: str,
        envelope: Envelope,
        recipients: Sequence[Queued],
        record: Callable[[Results, Sequence[Members]], Awaitable[None]],
        dek: bytes | None = None,
    ) -> None:
        """Try a message for these recipients; `record` is called with each part of the results. Raise what it raises.

        `dek`: what opens its file, where that is known.
        """
        try:
            source = self._spool.open(identifier, dek)
        except NotFound:
            log.error("message is gone from the spool", id=identifier)
            await record([(one, outcomes.MESSAGE_LOST) for one in recipients], ())
            return
        except Unavailable as error:
            log.error("message cannot be read", id=identifier, reason=str(error))
            await record([(one, UNREADABLE) for one in recipients], ())
            return
        with source:
            plan = await self._plan(recipients)
            parts: list[Awaitable[None]] = []
            if plan.settled or plan.groups:
                parts.append(record(plan.settled, plan.groups))
            if plan.local:
                parts.append(self._part(self._to_delivery(identifier, envelope, source, plan.local), plan.local, record))
            if plan.outside:
                parts.append(self._elsewhere(envelope, source, plan.outside, record))
            if len(parts) == 1:
                await parts[0]
                return
            results = await asyncio.gather(*parts, return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result

    async def _part(
        self,
        sending: Awaitable[dict[int, Outcome]],
        recipients: Sequence[Queued],
        record: Callable[[Results, Sequence[Members]], Awaitable[None]],
    ) -> None:
        try:
            said = await sending
        except Unavailable as error:
            log.error("message cannot be read", reason=str(error))
            said = dict.fromkeys((one.row for one in recipients), UNREADABLE)
        except Exception as error:
            # A fault of ours must not stop the queue, and the message is tried again.
            reference = log.incident("delivery failed", error)
            ours = outcomes.deferred("4.3.0", f"internal error, reference {reference}")
            said = dict.fromkeys((one.row for one in recipients), ours)
        await record([(one, said[one.row]) for one in recipients], ())

    # -- where they lead

    async def _plan(self, recipients: Sequence[Queued]) -> _Plan:
        plan = _Plan()
        if len(recipients) == 1:
            found: Sequence[Recipients | None] = [await self._lookup(recipients[0].address)]
        else:
            found = await asyncio.gather(*(self._lookup(one.address) for one in recipients))
        for one, leads in zip(recipients, found, strict=True):
            self._sort(plan, one, leads)
        return plan

    async def _lookup(self, address: str) -> Recipients | None:
        """Where an address leads; None: cannot be known now."""
        async with self._lookups:
            try:
                full = self._full(address)
                found = await self._found.find(full)
                separator = self.settings.tag_separator
                local, _, domain = full.rpartition("@")
                if not found.local and not found.outside and separator and separator in local:
                    found = await self._found.find(f"{local.partition(separator)[0]}@{domain}")
                return found
            except AuthUnavailable as error:
                log.warning("recipient not looked up", recipient=address, reason=str(error))
                return None

    def _full(self, address: str) -> str:
        return address if "@" in address else f"{address}@{self.settings.domain}"

    def _sort(self, plan: _Plan, one: Queued, leads: Recipients | None) -> None:
        domain = one.address.rpartition("@")[2]
        if leads is None:
            plan.settled.append((one, postponed("recipients cannot be looked up now", self.settings.retry_seconds)))
        elif leads.outside:
            if one.member:
                plan.settled.append((one, outcomes.MAIL_LOOP))  # a group's member that is a group again
            else:
                plan.groups.append((one, [*(each.address for each in leads.local), *leads.outside]))
        elif leads.local:
            plan.local.append(one)
        elif self._is_ours(domain if "@" in one.address else self.settings.domain, leads.served):
            plan.settled.append((one, outcomes.UNKNOWN_LOCAL))
        else:
            needs_utf8 = not to_ascii_domain(one.address).isascii()
            plan.outside.setdefault((domain.casefold().rstrip("."), needs_utf8), []).append(one)

    def _is_ours(self, domain: str, served: bool | None) -> bool:
        return served if served is not None else domain.casefold().rstrip(".") in self.settings.domains

    # -- here

    async def _to_delivery(
        self, identifier: str, envelope: Envelope, source: MessageSource, recipients: Sequence[Queued]
    ) -> dict[int, Outcome]:
        if envelope.body == "BINARYMIME":
            return dict.fromkeys((one.row for one in recipients), outcomes.NEEDS_BINARY)
        addresses = [envelope.reverse_path, *(one.address for one in recipients)]
        sending = Sending(
            envelope.reverse_path,
            source,
            needs_utf8=envelope.smtputf8 or not all(each.isascii() for each in addresses),
            declared_8bit=envelope.body != "7BIT",
            delivery_id=identifier,
        )
        done: dict[int, Outcome] = {}
        left = [Receiver(one.row, self._full(one.address)) for one in recipients]
        fresh = False
        async with self._slots:
            while left:
                try:
                    session = await self._pool.take(self._target, fresh=fresh)
                except HostDown as error:
                    log.warning("delivery is not there", reason=str(error))
                    waiting = postponed("delivery to mailboxes is not there now", self.settings.retry_seconds)
                    done.update((each.key, waiting) for each in left)
                    break
                used = session.transactions > 0
                batch, rest = left[: self.settings.recipients], left[self.settings.recipients :]
                try:
                    said = await session.send(sending, batch)
                finally:
                    self._pool.give_back(session)
                if said.cut and used and not fresh:
                    # It had been idle for too long. Who has the message all the same finds the twin.
                    fresh = True
                    left = [*(each for each in batch if each.key in said.cut), *rest]
                    done.update((key, value) for key, value in said.outcomes.items() if key not in said.cut)
                    continue
                crowded = [each for each in batch if each.key in said.crowded]
                done.update((key, value) for key, value in said.outcomes.items() if key not in said.crowded)
                left = [*crowded, *rest]
        # A delivery that went away is nothing the recipient's mailbox did: soon again.
        return {
            key: postponed(value.text, self.settings.retry_seconds)
            if value.verdict is Verdict.DEFERRED and value.status == "4.4.2"
            else Outcome(value.verdict, value.status, value.text)
            for key, value in done.items()
        }

    # -- elsewhere

    async def _elsewhere(
        self,
        envelope: Envelope,
        source: MessageSource,
        domains: dict[tuple[str, bool], list[Queued]],
        record: Callable[[Results, Sequence[Members]], Awaitable[None]],
    ) -> None:
        try:
            header = header_of(source)
            problem = self._problem(envelope, header)
        except Unavailable as error:
            log.error("message cannot be read", reason=str(error))
            header, problem = b"", UNREADABLE
        if problem is not None:
            await record([(one, problem) for ones in domains.values() for one in ones], ())
            return
        utf8 = (envelope.smtputf8 and not header.isascii()) or not to_ascii_domain(envelope.reverse_path).isascii()
        parts = []
        for (domain, needs_utf8), ones in domains.items():
            sending = Sending(
                envelope.reverse_path,
                source,
                needs_utf8=needs_utf8 or utf8,
                declared_8bit=envelope.body != "7BIT",
                ret=envelope.ret,
                envid=envelope.envid,
            )
            receivers = [Receiver(one.row, one.address, one.notify, one.orcpt) for one in ones]
            parts.append(self._part(self._relay.deliver(domain, sending, receivers), ones, record))
        for result in await asyncio.gather(*parts, return_exceptions=True):
            if result is not None:
                raise result

    def _problem(self, envelope: Envelope, header: bytes) -> Outcome | None:
        guard = LoopGuard()
        guard.feed(header)
        guard.close()
        if guard.received > self.settings.received:
            return outcomes.MAIL_LOOP
        return outcomes.NEEDS_BINARY if envelope.body == "BINARYMIME" else None

    def forgive(self) -> None:
        """Try hosts again that were down."""
        self._relay.forgive()

    async def close(self) -> None:
        """End idle connections."""
        await self._pool.close()
        await self._relay.close()
