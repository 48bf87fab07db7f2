"""The DNS as the relay asks it: MX, A and AAAA, remembered for as long as the answers say (RFC 1035, RFC 5321 section 5.1).

Owns the cache: bounded, by TTL within limits of our own, misses too; the same question is asked once at a time however many
messages wait for it. Never decides where mail goes: mx.py does.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import dns.asyncresolver
import dns.exception
import dns.name
import dns.resolver

from .mx import Exchanger, LookupFailed, NoSuchDomain

_MOST = 10_000  # answers remembered
_CHAIN = 8  # CNAMEs followed
_FAMILIES = {"ipv4": "A", "ipv6": "AAAA"}


@dataclass(frozen=True, slots=True)
class ResolverSettings:
    """`servers`: addresses of resolvers, none for those of the system.  `families`: which, and which first.

    Seconds: `timeout` for one question with its repetitions; a positive answer is kept for its TTL, at least `least` and at
    most `longest`; a negative one for `negative`.
    """

    servers: Sequence[str] = ()
    port: int = 53
    families: Sequence[str] = ("ipv4", "ipv6")
    timeout: float = 15.0
    least: float = 5.0
    longest: float = 3_600.0
    negative: float = 60.0

    def __post_init__(self) -> None:
        """Raise ValueError."""
        if not self.families or not set(self.families) <= _FAMILIES.keys():
            raise ValueError("families are ipv4 and ipv6")


class DnsResolver:
    """A resolver with its cache. One event loop's."""

    def __init__(self, settings: ResolverSettings | None = None, *, clock: Callable[[], float] | None = None) -> None:
        """`clock`: monotonic seconds; the loop's when None."""
        self.settings = settings or ResolverSettings()
        self._clock = clock
        self._resolver: dns.asyncresolver.Resolver | None = None
        self._known: OrderedDict[tuple[str, str], tuple[float, Sequence[Any] | Exception]] = OrderedDict()
        self._asking: dict[tuple[str, str], asyncio.Task[Sequence[Any]]] = {}
        self.asked = 0
        """Questions put to servers so far."""

    async def exchangers(self, domain: str) -> Sequence[Exchanger]:
        """See mx.Resolver."""
        records = await self._ask(domain, "MX")
        return [Exchanger(each.preference, _text(each.exchange)) for each in records]

    async def addresses(self, host: str) -> Sequence[str]:
        """See mx.Resolver. An address of one family is enough, even if the other's question failed."""
        families = self.settings.families
        answers = await asyncio.gather(*(self._ask(host, _FAMILIES[each]) for each in families), return_exceptions=True)
        found: list[str] = []
        problem: BaseException | None = None
        for answer in answers:
            if isinstance(answer, BaseException):
                problem = answer
                if not isinstance(answer, NoSuchDomain | LookupFailed):
                    raise answer
            else:
                found += [record.address for record in answer]
        if not found and problem is not None:
            raise problem
        return found

    async def _ask(self, name: str, kind: str) -> Sequence[Any]:
        key = (name.casefold().rstrip("."), kind)
        known = self._known.get(key)
        if known is not None and known[0] > self._now():
            if isinstance(known[1], Exception):
                raise known[1]
            return known[1]
        asking = self._asking.get(key)
        if asking is None:
            asking = asyncio.get_running_loop().create_task(self._fetch(key))
            self._asking[key] = asking
            asking.add_done_callback(lambda task: self._answered(key, task))
        # Shielded: one that gives up does not take the answer from the others.
        return await asyncio.shield(asking)

    def _answered(self, key: tuple[str, str], task: "asyncio.Task[Sequence[Any]]") -> None:
        self._asking.pop(key, None)
        if not task.cancelled():
            task.exception()  # whoever waited has it; nobody may have

    def _now(self) -> float:
        return asyncio.get_running_loop().time() if self._clock is None else self._clock()

    def _remember(self, key: tuple[str, str], answer: Sequence[Any] | Exception, seconds: float) -> None:
        self._known[key] = (self._now() + seconds, answer)
        self._known.move_to_end(key)
        while len(self._known) > _MOST:
            self._known.popitem(last=False)

    async def _fetch(self, key: tuple[str, str]) -> Sequence[Any]:
        settings = self.settings
        try:
            records, ttl = await self._follow(*key)
        except NoSuchDomain as error:
            self._remember(key, error, settings.negative)
            raise
        except (dns.exception.DNSException, OSError, UnicodeError, ValueError) as error:
            if isinstance(error, (dns.name.LabelTooLong, dns.name.NameTooLong, dns.name.EmptyLabel, UnicodeError)):
                raise NoSuchDomain("not a domain name") from None
            raise LookupFailed(_words(error)) from None
        seconds = min(max(ttl, settings.least), settings.longest) if records else settings.negative
        self._remember(key, records, seconds)
        return records

    async def _follow(self, name: str, kind: str) -> tuple[Sequence[Any], float]:
        """Records and how long they are good for, through CNAMEs that the server did not follow itself."""
        resolver = self._open()
        question = dns.name.from_text(name)
        ttl = self.settings.longest
        for _ in range(_CHAIN):
            self.asked += 1
            try:
                answer = await resolver.resolve(
                    question, kind, search=False, raise_on_no_answer=False, lifetime=self.settings.timeout
                )
            except dns.resolver.NXDOMAIN:
                raise NoSuchDomain("no such domain") from None
            chain = answer.chaining_result
            ttl = min([ttl, *(each.ttl for each in chain.cnames)])
            if answer.rrset is not None:
                return list(answer.rrset), min(ttl, answer.rrset.ttl)
            if chain.canonical_name == question:
                return [], self.settings.negative
            question = chain.canonical_name
        raise LookupFailed("too many CNAMEs")

    def _open(self) -> dns.asyncresolver.Resolver:
        if self._resolver is None:
            self._resolver = dns.asyncresolver.Resolver(configure=not self.settings.servers)
            if self.settings.servers:
                self._resolver.nameservers = list(self.settings.servers)
                self._resolver.port = self.settings.port
            self._resolver.timeout = max(0.2, self.settings.timeout / 3)
            self._resolver.lifetime = self.settings.timeout
        return self._resolver

    async def close(self) -> None:
        """Give up what is being asked."""
        tasks: list[asyncio.Task[Sequence[Any]]] = list(self._asking.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _text(name: dns.name.Name) -> str:
    return name.to_text(omit_final_dot=True).casefold() if name != dns.name.root else ""


def _words(error: Exception) -> str:
    match error:
        case dns.exception.Timeout():
            return "no answer from the resolver in time"
        case dns.resolver.NoNameservers():
            return "the resolver could not answer"
        case dns.resolver.NoResolverConfiguration():
            return "no resolver is configured"
    return type(error).__name__
