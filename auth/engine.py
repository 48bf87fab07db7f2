"""The verifier: an Attempt in, Granted or Denied out (auth-security 1.1, 2.1 to 2.3; decisions 23 and 28).

Theory of operation. The form of the secret decides the way:

  app password   one row by address, one by selector, one HMAC; never argon2, never a rate. Right: Granted, or a reason
                 that is told only to who holds the secret (expired, not for this service, suspended).
  anything else  policies; then the backend in a thread. Right, and the account has a second factor: refused and counted
                 like a wrong one, so that neither answer nor lock tells that the password was right.

What must be equal for an account and for a login that is none: the statements run, one HMAC or one argon2, the policies,
the bytes of the answer. What was read before a wait is read again after it: an account locked meanwhile stays out.

Reads run on the loop (microseconds); argon2 and plug-ins in threads of their own; writes once a second in another.
Owns the order of these steps and everything revoked at once. Policies, forms, statements and words are elsewhere.
"""

import asyncio
import hmac
import os
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from ..daemon.log import logger
from ..storage.api import AccountId, Unavailable
from . import app_passwords, scram
from .accounts import Accounts, new_account_id, open_accounts
from .addresses import InvalidAddress, domain_of, normalise_address, normalise_domain, without_tag
from .answers import Answers, Try
from .api import (
    Attempt,
    AuthUnavailable,
    CredentialId,
    Denied,
    Granted,
    Reason,
    Recipients,
    Revocation,
    ScramAttempt,
    ScramExchange,
    ScramGranted,
    Service,
    SessionId,
)
from .app_sign_in import AppSignIn
from .backends.api import Backend, Entry, Verdict
from .backends.load import Backends, BackendSettings, open_backend
from .backends.sqlite import SqliteBackend
from .directory import NOWHERE, Directory
from .exchanges import Exchanges, Opened
from .hashing import BoundedThreads
from .key_source import KeySource
from .policies.account_rate import TAG_OCTETS
from .policies.chain import Chain, PolicySettings
from .policies.networks import network_of
from .policies.values import Delay, Refuse
from .recipients import RecipientLookup
from .references import References
from .sasl import MAX_LOGIN, MAX_SECRET, MalformedResponse
from .sessions import Sessions, parse_session_id, short_id
from .tarpit import Tarpit
from .traces import Traces
from .usage import Pending, Usage
from .verified import Verified

log = logger("auth")

PASSWORD = CredentialId("password")
_FLUSH_EVERY = 1.0  # seconds
_PRUNE_EVERY = 600


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """domains: served here, beside those of accounts made since.  default_domain: completes a login without one.

    delimiter: of sub-addresses.  expand: recipients one address may have.  ticket_seconds: how long a ticket opens keys.
    cache_seconds: how long a verified password is known without argon2.  hash_threads, hash_queue: password checks at once
    and waiting.  hash_seconds, backend_seconds: limits of one check by ourselves and by a plug-in.  sleepers,
    sleepers_per_net: attempts made to wait at once.
    """

    domains: tuple[str, ...] = ()
    default_domain: str = ""
    delimiter: str = "+"
    expand: int = 1000
    ticket_seconds: int = 600
    cache_seconds: int = 300
    hash_threads: int = 2
    hash_queue: int = 64
    hash_seconds: float = 15.0
    backend_seconds: float = 2.0
    sleepers: int = 200
    sleepers_per_net: int = 3
    policies: PolicySettings = field(default_factory=PolicySettings)
    backends: tuple[BackendSettings, ...] = (BackendSettings("sqlite"),)


class Engine:
    """Answers as an `Authenticator`, in this process. One event loop's; `start` before use, `close` after."""

    def __init__(
        self,
        database: Path,
        key_source: KeySource,
        traces: Traces,
        settings: EngineSettings | None = None,
        *,
        clock: Callable[[], float] = time.time,
        random: Callable[[int], bytes] = os.urandom,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """`database`: auth.db, made when it is not there."""
        self._database = database
        self._key_source = key_source
        self._settings = settings or EngineSettings()
        self._clock = clock
        self._random = random
        self.traces = traces
        self._sessions = Sessions()
        self._verified = Verified(random(32), self._settings.cache_seconds)
        self._exchanges = Exchanges(random)
        self._tarpit = Tarpit(self._settings.sleepers, self._settings.sleepers_per_net, sleep)
        self._callbacks: list[Callable[[Revocation], None]] = []
        self._own_threads = BoundedThreads(
            "argon2",
            threads=self._settings.hash_threads,
            queue=self._settings.hash_queue,
            seconds=self._settings.hash_seconds,
        )
        self._plug_in_threads = BoundedThreads(
            "backend", threads=4, queue=self._settings.hash_queue, seconds=self._settings.backend_seconds
        )
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="auth.db")
        self._writing: Accounts | None = None
        self._flusher: asyncio.Task[None] | None = None
        self._pruned = 0.0

    # -- life

    async def start(self) -> None:
        """Fetch the secrets, open the database, begin to write. Raise AuthUnavailable, storage.api.Unavailable, NoBackend."""
        loop = asyncio.get_running_loop()
        self._pepper = await loop.run_in_executor(self._writer, self._key_source.pepper)
        ticket_key = await loop.run_in_executor(self._writer, self._key_source.ticket_key)
        self._accounts = open_accounts(self._database)
        self._directory = Directory(self._accounts.connection)
        self._serve_domains()
        self._usage = Usage(self._accounts)
        self._chain = Chain(self._settings.policies, self._accounts.fail_state)
        self._backends = Backends(
            [
                (open_backend(settings, self._database, self._pepper, self._random), settings.domains)
                for settings in self._settings.backends
            ]
        )
        self._recipients = RecipientLookup(
            self._accounts,
            self._directory,
            self._backends,
            self._plug_in_threads,
            self._add_account,
            delimiter=self._settings.delimiter,
            limit=self._settings.expand,
        )
        self._answers = Answers(
            self.traces,
            References(self._random),
            self._sessions,
            self._usage,
            self._random,
            pepper=self._pepper,
            ticket_key=ticket_key,
            ticket_seconds=self._settings.ticket_seconds,
        )
        self._app_sign_in = AppSignIn(
            self._accounts, self._answers, self._pepper, passwords_elsewhere=self._backends.passwords_elsewhere
        )
        self._flusher = loop.create_task(self._keep_flushing())

    async def close(self) -> None:
        """Write what is pending and close everything."""
        if self._flusher is None:
            return
        self._flusher.cancel()
        await asyncio.gather(self._flusher, return_exceptions=True)
        await self.flush(everything=True)
        self._flusher = None
        self._own_threads.close()
        self._plug_in_threads.close()
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._writer, self._close_writing)
        self._writer.shutdown()
        self._backends.close()
        self._accounts.close()

    def _close_writing(self) -> None:
        if self._writing is not None:
            self._writing.close()

    def _serve_domains(self) -> None:
        missing = [domain for domain in map(normalise_domain, self._settings.domains) if not self._directory.serves(domain)]
        if missing:
            with self._accounts.transaction():
                for domain in missing:
                    self._directory.add_domain(domain, int(self._clock()))

    @property
    def connected(self) -> bool:
        """Always: revocations come by call."""
        return True

    # -- signing in

    async def authenticate(self, attempt: Attempt) -> Granted | Denied:
        """Verify. Raise AuthUnavailable."""
        with self._answering():
            return await self._authenticate(attempt)

    async def begin_scram(self, attempt: ScramAttempt) -> ScramExchange | Denied:
        """Begin an exchange for an app password. Raise AuthUnavailable."""
        with self._answering():
            try:
                first = scram.read_client_first(attempt.message)
                login, authzid = first.login, first.authzid
            except MalformedResponse:
                first, login, authzid = None, "", ""
            claim = Attempt(attempt.service, login, "", attempt.address, attempt.tls, scram.NAME, attempt.client, authzid)
            one = self._begin(claim)
            refusal = self._chain.before(one.facts(), one.now)
            if isinstance(refusal, Refuse):
                return self._answers.refused(one, refusal)
            if first is None:
                return self._answers.denied(one, Reason.CREDENTIALS, "malformed")
            salt = scram.salt_of(self._pepper, one.subject)
            challenge = scram.render_server_first(first, salt, self._random(scram.NONCE_OCTETS))
            return ScramExchange(self._exchanges.open(Opened(claim, one.network, first, challenge), one.now), challenge)

    async def finish_scram(self, exchange: ScramExchange, response: bytes) -> ScramGranted | Denied:
        """End an exchange; it is gone, whatever comes out. Raise AuthUnavailable, also when there is none."""
        with self._answering():
            opened = self._exchanges.take(exchange.id, self._clock())
            if opened is None:
                raise AuthUnavailable("no such exchange, or not any more")
            one = self._begin(opened.attempt)
            if self._acts_for_another(one):
                return self._answers.denied(one, Reason.CREDENTIALS, "authzid")
            return self._app_sign_in.by_proof(one, opened, response)

    @contextmanager
    def _answering(self) -> Iterator[None]:
        if self._flusher is None:
            raise AuthUnavailable("not started")
        try:
            yield
        except Unavailable as error:
            log.error("sign-in not possible", reason=str(error))
            raise AuthUnavailable(str(error)) from error

    async def _authenticate(self, attempt: Attempt) -> Granted | Denied:
        one = self._begin(attempt)
        refusal = self._chain.before(one.facts(), one.now)
        if isinstance(refusal, Refuse):
            return self._answers.refused(one, refusal)
        if not 0 < len(attempt.secret.encode("utf-8", "surrogatepass")) <= MAX_SECRET or len(attempt.login) > MAX_LOGIN:
            # Empty above all: to a directory server an empty password is an anonymous bind, which succeeds.
            return self._answers.denied(one, Reason.CREDENTIALS, "malformed")
        if self._acts_for_another(one):
            return self._answers.denied(one, Reason.CREDENTIALS, "authzid")
        password = app_passwords.parse(attempt.secret)
        if password is not None:
            answer = self._app_sign_in.by_secret(one, password)
            if answer is not None:
                return answer
        return await self._by_password(one)

    def _acts_for_another(self, one: Try) -> bool:
        authzid = one.attempt.authzid
        return bool(authzid) and authzid != one.attempt.login and self._key_form(authzid) != one.address

    def _begin(self, attempt: Attempt) -> Try:
        address = self._key_form(attempt.login) if len(attempt.login) <= MAX_LOGIN else None
        account = self._accounts.by_address(address or "")
        subject = account.id if account is not None else "?" + self.traces.mark(address or attempt.login)
        return Try(attempt, self._clock(), network_of(attempt.address), address, account, subject)

    def _key_form(self, login: str) -> str | None:
        if "@" not in login and self._settings.default_domain:
            login = f"{login}@{self._settings.default_domain}"
        try:
            return normalise_address(login)
        except InvalidAddress:
            return None

    # -- by password

    async def _by_password(self, one: Try) -> Granted | Denied:
        known = self._usage.knows(AccountId(one.subject), one.network, one.now)
        tag = self._tag(one)
        facts = one.facts(password=True, known=known, tag=tag)
        decision = self._chain.before(facts, one.now)
        if isinstance(decision, Delay):
            waited = await self._tarpit.wait(one.network, decision.seconds)
            one.now = self._clock()
            busy = Refuse(decision.policy, Reason.LOCKED, max(1, int(decision.seconds)))
            decision = self._chain.before(facts, one.now) if waited else busy
        if isinstance(decision, Refuse):
            return self._answers.refused(one, decision)
        self._chain.begin(facts)
        try:
            verdict, entry, backend = await self._verdict(one)
        finally:
            self._chain.end(facts)
        one.now = self._clock()
        if verdict is Verdict.UNAVAILABLE:
            raise AuthUnavailable("the backend cannot say")
        if verdict is Verdict.RIGHT and one.account is None and entry is not None:
            one.account = await self._recipients.provide(entry, backend)
        account = self._accounts.by_id(one.account.id if one.account is not None else AccountId(one.subject))
        if one.account is not None and account is not None and account.valid_from != one.account.valid_from:
            raise AuthUnavailable("the account changed while its password was being verified")
        if verdict is not Verdict.RIGHT or account is None:
            self._chain.failed(facts, one.now)
            return self._answers.denied(one, Reason.CREDENTIALS, "password")
        if account.second_factor:
            self._chain.failed(facts, one.now)
            return self._answers.denied(one, Reason.CREDENTIALS, "second factor", PASSWORD)
        if account.suspended is not None:
            return self._answers.denied(one, Reason.SUSPENDED, "suspended", PASSWORD)
        if account.must_change:
            return self._answers.denied(one, Reason.CHANGE, "must change", PASSWORD)
        self._chain.succeeded(facts)
        self._verified.add(account.id, one.attempt.service, one.network, one.attempt.secret, one.now)
        return self._answers.granted(one, account, PASSWORD, frozenset(Service))

    async def _verdict(self, one: Try) -> tuple[Verdict, Entry | None, Backend]:
        account, secret = one.account, one.attempt.secret
        backend = self._backend_for(one)
        if account is not None:
            if self._verified.has(account.id, one.attempt.service, one.network, secret, one.now):
                return Verdict.RIGHT, None, backend
            entry: Entry | None = Entry(account.address, account.address, account.name, account.id)
        else:
            entry = await self._recipients.entry(one.address, backend)
        threads = self._own_threads if isinstance(backend, SqliteBackend) else self._plug_in_threads
        return await threads.run(lambda: backend.verify(entry, secret)), entry, backend

    def _backend_for(self, one: Try) -> Backend:
        if one.account is None:
            return self._backends.of_domain(domain_of(one.address or ""))
        backend = self._backends.named(one.account.backend)
        if backend is None:
            raise AuthUnavailable(f"no backend {one.account.backend}")
        return backend

    def _tag(self, one: Try) -> bytes:
        text = f"tag\0{one.subject}\0{one.attempt.secret}"
        return hmac.digest(self._pepper, text.encode("utf-8", "surrogatepass"), "sha256")[:TAG_OCTETS]

    async def lookup(self, address: str) -> Recipients:
        """Where mail for `address` goes. Raise AuthUnavailable."""
        if self._flusher is None:
            raise AuthUnavailable("not started")
        key = self._key_form(address)
        found = NOWHERE if key is None else await self._recipients.lookup(key)
        try:
            # Of an address that cannot be a mailbox here too (`"a b"@ours`): it is nobody's, and never relayed.
            return replace(found, served=self._directory.serves(normalise_domain(domain_of(key or address))))
        except InvalidAddress:
            return replace(found, served=False)
        except Unavailable as error:
            raise AuthUnavailable(str(error)) from error

    async def may_send(self, session: SessionId, address: str) -> bool:
        """Whether who opened a session may send as an address: its present one, an alias, either with a tag.

        Raise AuthUnavailable.
        """
        claimed = parse_session_id(session, self._pepper) if await self.check_session(session) else None
        try:
            key = normalise_address(address)
            candidates = filter(None, (key, without_tag(key, self._settings.delimiter)))
            return claimed is not None and any(self._directory.may_send_as(claimed.account, one) for one in candidates)
        except InvalidAddress:
            return False
        except Unavailable as error:
            raise AuthUnavailable(str(error)) from error

    # -- sessions and revocation

    async def close_session(self, session: SessionId) -> None:
        """Note that a session ended. Never raises."""
        ended = self._sessions.close(session)
        if ended is not None:
            seconds = max(0, int(self._clock()) - ended.began)
            try:
                self.traces.event(
                    "sess.close", acct=ended.account, cred=ended.credential, sid=short_id(session), seconds=seconds
                )
            except Unavailable as error:
                log.error("end of a session not traced", reason=str(error))

    async def check_session(self, session: SessionId) -> bool:
        """Whether a session may go on. Raise AuthUnavailable."""
        if self._flusher is None:
            raise AuthUnavailable("not started")
        claimed = parse_session_id(session, self._pepper)
        if claimed is None:
            return False
        try:
            account = self._accounts.by_id(claimed.account)
            if account is None or account.suspended is not None or claimed.began <= account.valid_from:
                return False
            kind, _, row = claimed.credential.partition(":")
            live = kind != "app" or self._accounts.credential_is_live(account.id, int(row))
        except Unavailable as error:
            raise AuthUnavailable(str(error)) from error
        if live and self._sessions.get(session) is None:
            self._sessions.open(session, claimed)
        return live

    def on_revoke(self, callback: Callable[[Revocation], None]) -> None:
        """Call `callback` for each revocation."""
        self._callbacks.append(callback)

    def revoke(self, revocation: Revocation) -> None:
        """Forget what is revoked and tell everybody, now. On the loop; the database says so already."""
        account = revocation.account
        self._verified.forget(account)
        ended = self._sessions.end(revocation)
        log.info("revoked", account=account, credential=revocation.credential, sessions=ended, why=revocation.why)
        for callback in self._callbacks:
            callback(revocation)

    def lift_waits(self, account: AccountId) -> None:
        """An operator unlocked an account: forget its waits in memory."""
        self._chain.forget_account(account)

    # -- writing

    async def _add_account(self, address: str, name: str, backend: str) -> None:
        def add() -> None:
            accounts = self._writing_accounts()
            with accounts.transaction():
                if accounts.by_address(address) is None:
                    now = int(self._clock())
                    accounts.add(new_account_id(self._random(16)), address, now=now, name=name, backend=backend)

        await asyncio.get_running_loop().run_in_executor(self._writer, add)

    async def flush(self, *, everything: bool = False) -> None:
        """Write what is pending and make the traces durable; what fails is kept for the next time."""
        self._answers.count_repeated(self._clock(), everything=everything)
        pending = self._usage.take(self._chain.take_changes())
        try:
            await asyncio.get_running_loop().run_in_executor(self._writer, self._write, pending)
        except (Unavailable, OSError) as error:
            log.error("what sign-ins left could not be written", reason=str(error))
            self._usage.give_back(pending)
            self._chain.give_back(pending.failures)

    async def _keep_flushing(self) -> None:
        while True:
            await asyncio.sleep(_FLUSH_EVERY)
            try:
                await self.flush()
            except Unavailable as error:
                log.error("traces cannot be written", reason=str(error))

    def _write(self, pending: Pending) -> None:
        self.traces.sync()
        accounts = self._writing_accounts()
        if pending:
            accounts.write_usage(pending.used, pending.networks, pending.failures)
        now = self._clock()
        if now - self._pruned > _PRUNE_EVERY:
            self._pruned = now
            accounts.prune(int(now))

    def _writing_accounts(self) -> Accounts:
        if self._writing is None:
            self._writing = open_accounts(self._database)
        return self._writing
