"""The two answers of a sign-in, each with what belongs to it: ticket, session, reference and trace.

An answer is traced before it is given; when the traces cannot be written nobody gets in (storage.api.Unavailable).
Owns what an answer is made of. Never decides which one it is; that is the engine's.
"""

from collections.abc import Callable
from dataclasses import dataclass

from .accounts import Account, Credential
from .api import Attempt, CredentialId, Denied, Granted, Identity, Reason, Service
from .policies.networks import is_loopback
from .policies.values import Facts, Refuse
from .references import References
from .sessions import Session, Sessions, make_session_id, short_id
from .tickets import Ticket, sign_ticket
from .traces import Traces
from .usage import Usage


@dataclass(slots=True)
class Try:
    """One attempt on its way: what every step needs."""

    attempt: Attempt
    now: float
    network: str
    address: str | None  # the login in key form; None: cannot be one
    account: Account | None
    subject: str  # the account's id, or `?` and a MAC of what was typed

    def facts(self, *, password: bool = False, known: bool = False, tag: bytes = b"") -> Facts:
        """What policies may see of it."""
        attempt = self.attempt
        return Facts(self.subject, self.network, is_loopback(attempt.address), attempt.tls, known, password, tag)


class Answers:
    """Makes answers for one engine."""

    def __init__(
        self,
        traces: Traces,
        references: References,
        sessions: Sessions,
        usage: Usage,
        random: Callable[[int], bytes],
        *,
        pepper: bytes,
        ticket_key: bytes,
        ticket_seconds: int,
    ) -> None:
        """`pepper` goes into session ids, `ticket_key` signs tickets."""
        self._traces = traces
        self._references = references
        self._sessions = sessions
        self._usage = usage
        self._random = random
        self._pepper = pepper
        self._ticket_key = ticket_key
        self._ticket_seconds = ticket_seconds

    def granted(
        self, one: Try, account: Account, name: CredentialId, scopes: frozenset[Service], credential: Credential | None = None
    ) -> Granted:
        """Open a session. `credential`: the app password, if it was one."""
        now, service = int(one.now), one.attempt.service
        session = make_session_id(account.id, name, now, self._random(8), self._pepper)
        expires = now + self._ticket_seconds
        ticket = sign_ticket(Ticket(account.id, name, session, scopes, now, expires), self._ticket_key)
        self._trace("auth.ok", one, acct=account.id, cred=name, sid=short_id(session))
        self._usage.signed_in(account.id, credential, service, one.network, one.now)
        self._sessions.open(session, Session(account.id, name, now, service, one.network))
        identity = Identity(account.id, account.address, account.name)
        return Granted(identity, session, name, scopes, ticket, expires, account.quota)

    def denied(
        self,
        one: Try,
        reason: Reason,
        why: str,
        name: CredentialId | None = None,
        *,
        retry_after: int = 0,
        policy: str | None = None,
    ) -> Denied:
        """Refuse. `reason` is for the client, `why` for the traces: it knows more."""
        # What costs the other end nothing shares one line: app passwords of unknown logins, a network that is refused.
        shared = policy == "net_rate" or (one.account is None and why == "app password")
        key = (None if shared else one.subject, one.network, one.attempt.service, why, name, policy)
        reference, is_new = self._references.draw(key, one.now)
        if is_new:
            who: dict[str, object] = (
                {"acct": one.account.id}
                if one.account is not None
                else {"login": self._traces.mark(one.address or one.attempt.login), "len": len(one.attempt.login)}
            )
            self._trace("auth.fail", one, **who, cred=name, why=why, pol=policy, ref=reference)
        return Denied(reason, reference, retry_after)

    def refused(self, one: Try, refusal: Refuse) -> Denied:
        """Refuse as a policy says."""
        return self.denied(one, refusal.reason, refusal.reason, retry_after=refusal.retry_after, policy=refusal.policy)

    def count_repeated(self, now: float, *, everything: bool = False) -> None:
        """Trace how often the refusals whose minute is over were repeated."""
        for reference, count in self._references.take_repeated(now, everything=everything):
            self._traces.event("auth.again", ref=reference, n=count)

    def _trace(self, event: str, one: Try, **fields: object) -> None:
        attempt = one.attempt
        self._traces.event(
            event,
            svc=attempt.service,
            net=one.network,
            tls=attempt.tls,
            mech=attempt.mechanism[:20],
            cli=attempt.client[:64] or None,
            **fields,
        )
