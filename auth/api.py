"""Sign-in as the daemons see it: values, errors and protocols.

Owns the vocabulary between the daemons and the processes `auth` (verifies) and `keys` (holds the KEK). Daemons get an
`Authenticator` and a `KeyHolder` (auth/client.py) whose other ends are Unix sockets: a daemon never sees a hash, a
pepper or a KEK, and forgets the secret as soon as `authenticate` returns.

A wrong password is an answer (`Denied`), not an exception; only `AuthUnavailable` is raised, and it is temporary.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NewType, Protocol

from ..storage.api import AccountId, AccountKeys

SessionId = NewType("SessionId", str)
CredentialId = NewType("CredentialId", str)
"""`password`, or `app:<row>`: what the traces and `Revocation` call a credential."""


class Service(StrEnum):
    """What is signed in to; app-password scopes have the same names."""

    IMAP = "imap"
    SMTP = "smtp"
    SIEVE = "sieve"
    CALDAV = "caldav"
    CARDDAV = "carddav"
    WEBDAV = "webdav"


class AuthUnavailable(Exception):
    """The verifier, the key holder or the backend cannot answer now. Temporary: never tell a client its password is wrong."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try to sign in. The secret never appears in its repr."""

    service: Service
    login: str
    secret: str = field(repr=False)
    address: str  # of the peer, without port
    tls: bool
    mechanism: str = "PLAIN"
    client: str = ""  # what the client calls itself: IMAP ID, User-Agent; hostile text, cut at 64
    authzid: str = ""


@dataclass(frozen=True, slots=True)
class ScramAttempt:
    """A try to sign in with SCRAM-SHA-256: as an Attempt, with the client's first message for login and secret."""

    service: Service
    message: bytes  # hostile; auth/scram.py reads it
    address: str
    tls: bool
    client: str = ""


@dataclass(frozen=True, slots=True)
class ScramExchange:
    """What the client is to answer: `challenge` is the server's first message. Good for a minute and one answer."""

    id: str = field(repr=False)
    challenge: bytes


@dataclass(frozen=True, slots=True)
class Identity:
    """Who logged in: the account whose store is served, and its present address."""

    account: AccountId
    address: str
    name: str = ""


@dataclass(frozen=True, slots=True)
class Granted:
    """Signed in. `ticket` is signed by auth, opens the account's keys at the key holder until `expires`."""

    identity: Identity
    session: SessionId
    credential: CredentialId
    scopes: frozenset[Service]
    ticket: bytes = field(repr=False)
    expires: int  # seconds since 1970 UTC: of the ticket, not of the session
    quota: int | None = None  # octets


@dataclass(frozen=True, slots=True)
class ScramGranted:
    """Signed in; `final` is the server's last message, which the client is to have before it is told of success."""

    granted: Granted
    final: bytes = field(repr=False)


class Reason(StrEnum):
    """Why not. CREDENTIALS covers wrong, unknown, second factor missing, code replayed: nobody outside can tell which."""

    CREDENTIALS = "credentials"
    EXPIRED = "expired"  # right secret, expired or idle app password
    SCOPE = "scope"  # right secret, not for this service
    NETWORK = "network"  # right secret, not from this network; told like CREDENTIALS
    SUSPENDED = "suspended"  # right secret, account locked by an operator
    LOCKED = "locked"  # too many wrong tries from here: wait `retry_after`
    CLEARTEXT = "cleartext"  # not over TLS
    MECHANISM = "mechanism"  # not for this account
    CHANGE = "change"  # right secret, password must be changed first


@dataclass(frozen=True, slots=True)
class Denied:
    """Not signed in. `reference` is what the user reads to support and an operator looks up (`preau why`)."""

    reason: Reason
    reference: str
    retry_after: int = 0  # seconds


@dataclass(frozen=True, slots=True)
class LocalRecipient:
    """A local account that an address leads to."""

    account: AccountId
    address: str  # the account's present address
    quota: int | None
    accepts: bool  # False: the account takes no mail now (deleted while queued); temporary


@dataclass(frozen=True, slots=True)
class Recipients:
    """What an address leads to, groups expanded and loops cut. Empty `local` and `outside`: unknown.

    `served`: whether the address's domain is one of ours, so that an unknown address is nobody's; None: not told.
    """

    local: Sequence[LocalRecipient]
    outside: Sequence[str]
    served: bool | None = None


@dataclass(frozen=True, slots=True)
class Revocation:
    """Sessions to end now: all that match every field that is set. `lost`: the stream to auth broke, re-check all."""

    account: AccountId | None = None
    credential: CredentialId | None = None
    session: SessionId | None = None
    why: str = ""
    lost: bool = False

    def names(self, granted: Granted) -> bool:
        """Whether it ends this sign-in: it matches in every field that is set, and one is."""
        return (
            (self.account is None or self.account == granted.identity.account)
            and (self.credential is None or self.credential == granted.credential)
            and (self.session is None or self.session == granted.session)
            and (self.account, self.credential, self.session) != (None, None, None)
        )


class Authenticator(Protocol):
    """The daemons' way to `auth`."""

    async def authenticate(self, attempt: Attempt) -> Granted | Denied:
        """Verify. Raise AuthUnavailable. Takes as long for an unknown login as for a known one."""
        ...

    async def begin_scram(self, attempt: ScramAttempt) -> ScramExchange | Denied:
        """Begin a SCRAM exchange (RFC 5802); app passwords alone open this way. Raise AuthUnavailable.

        The challenge for an unknown login looks like any other. Denied: by a policy, before anything is asked.
        """
        ...

    async def finish_scram(self, exchange: ScramExchange, response: bytes) -> ScramGranted | Denied:
        """End it with the client's final message. Raise AuthUnavailable, also when the exchange is over or too old."""
        ...

    async def lookup(self, address: str) -> Recipients:
        """Where mail for `address` goes. Raise AuthUnavailable."""
        ...

    async def close_session(self, session: SessionId) -> None:
        """Tell that a session ended (for the traces). Never raises."""
        ...

    async def check_session(self, session: SessionId) -> bool:
        """Whether the session may go on (after the stream was lost). Raise AuthUnavailable."""
        ...

    def on_revoke(self, callback: Callable[[Revocation], None]) -> None:
        """Call `callback` on the loop for each revocation pushed by auth."""
        ...

    @property
    def connected(self) -> bool:
        """Whether the revocation stream is up: without it no new login is taken."""
        ...


class SubmissionAuthenticator(Authenticator, Protocol):
    """The way of the role `smtp`, which also asks whose an address is."""

    async def may_send(self, session: SessionId, address: str) -> bool:
        """Whether who opened `session` may send as `address`: its present address, an alias, either with a tag.

        False for a session that is over. Raise AuthUnavailable.
        """
        ...


class KeyHolder(Protocol):
    """The daemons' way to `keys`."""

    async def unwrap(self, ticket: bytes) -> AccountKeys:
        """All keys of the ticket's account. Raise AuthUnavailable, also when the ticket is not good."""
        ...

    async def delivery_keys(self, account: AccountId) -> AccountKeys:
        """Keys to deliver with: `secret` is None. Made at first use. Raise AuthUnavailable."""
        ...


class Administration(Protocol):
    """What `preau user|group|totp|app-password|traces` ask, in the process that holds auth.db (auth/admin.py).

    Answers are JSON-able. Raise AdminError with a sentence that says what to do next. Over RUN/admin.sock each method is
    an op of the same name; the command line calls it in its own process when no auth daemon runs.
    """

    def user_add(
        self, address: str, *, name: str = "", password: str | None = None, second_factor: str = "none", admin: bool = False
    ) -> dict[str, Any]:
        """Make an account."""

    def user_import(self, rows: Sequence[Mapping[str, str]], *, app_passwords: bool = False) -> dict[str, Any]:
        """One batch (the caller cuts a file into batches of some hundreds, and shows progress).

        Answers {"added": n, "passwords": {address: app password}, "errors": [[row index, sentence], ...]}.
        """

    def user_password(self, address: str, password: str) -> None:
        """Set a password; live sessions that used the old one end."""

    def user_quota(self, address: str, octets: int | None) -> None:
        """Set how much an account may store, None: any amount. Sessions that are open keep to what they began with."""

    def user_list(self) -> list[dict[str, Any]]:
        """All accounts."""

    def user_show(self, address: str) -> dict[str, Any]:
        """One account with its credentials (never a secret)."""

    def user_lock(self, address: str, *, reason: str) -> None:
        """Suspend: nothing opens it any more, live sessions end."""

    def user_unlock(self, address: str) -> None:
        """Lift a lock, and the waits of the policies."""

    def user_delete(self, address: str) -> dict[str, Any]:
        """Answers {"account": id} for the store to be deleted."""

    def group_add(self, address: str, *, members: Sequence[str]) -> dict[str, Any]:
        """Make a group."""

    def group_list(self) -> list[dict[str, Any]]:
        """All groups."""

    def group_show(self, address: str) -> dict[str, Any]:
        """One group with its members."""

    def group_member(self, address: str, member: str, *, present: bool) -> dict[str, Any]:
        """Add or remove a member."""

    def totp_add(self, address: str) -> dict[str, Any]:
        """Answers {"uri": "otpauth://...", "recovery_codes": [...]}; shown once."""

    def totp_remove(self, address: str) -> None:
        """Take the second factor away."""

    def app_password_add(
        self,
        address: str,
        *,
        label: str,
        scopes: Sequence[str] | None = None,
        expires_days: int | None = None,
        networks: Sequence[str] = (),
    ) -> dict[str, Any]:
        """Answers {"id": ..., "password": "xxxxx-xxxxx-xxxxx-xxxxx"}; shown once."""

    def app_password_list(self, address: str) -> list[dict[str, Any]]:
        """All of an account, with scopes, networks, expiry and last use."""

    def app_password_revoke(self, address: str, credential: str) -> None:
        """Revoke; its live sessions end within a second."""

    def account_id(self, address: str) -> str:
        """The account behind an address. Raise AdminError when there is none."""

    def traces_show(self, address: str, *, since: int | None = None) -> list[dict[str, Any]]:
        """Connection traces of an account, oldest first."""

    def traces_verify(self) -> dict[str, Any]:
        """Answers {"ok": bool, "checked": n, "first_bad": seq or None, "file": name or None}."""

    def why(self, reference: str) -> list[dict[str, Any]]:
        """The events behind a reference that a user read out."""


class AdminError(Exception):
    """An administrative call that was refused; its text is for the operator."""
