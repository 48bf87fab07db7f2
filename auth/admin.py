"""What operators do with accounts: the protocol `Administration`, on auth.db itself.

Every act is committed, then traced durably, then answered; what ends sessions is told to the engine at once. Each runs in
one worker thread, one at a time. Refusals are AdminError: a sentence that says what to do next.

Owns the acts and what they may not do. Never signs anybody in; a batch of new accounts is in imports.py.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

from ..storage.api import AccountId, Unavailable
from . import app_passwords, scram, totp
from .accounts import Account, Accounts, new_account_id
from .addresses import domain_of
from .admin_fields import account_fields, credential_fields, group_fields, key_form, one_line, parse_nets, parse_scopes
from .api import AdminError, AuthUnavailable, CredentialId, Revocation
from .directory import Directory, Group
from .imports import Importer
from .key_source import KeySource
from .password_rules import WeakPassword, refuse_weak
from .passwords import SALT_OCTETS, hash_password
from .traces import Traces

_DAY = 86_400
_MAX_NAME = 200
_MAX_REASON = 200
_MAX_LABEL = 64
_MOST_OCTETS = 2**62
_SECOND_FACTORS = ("none", "totp")

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class AdminSettings:
    """issuer: what authenticator applications show.  idle_days: app passwords not used for so long expire; 0: never.

    app_passwords: live ones an account may have.
    """

    issuer: str = "Preau"
    idle_days: int = 90
    app_passwords: int = 40


def _act(
    method: Callable[Concatenate["LocalAdministration", P], T],
) -> Callable[Concatenate["LocalAdministration", P], T]:
    """An act: whatever cannot be done now is told as an AdminError."""

    @wraps(method)
    def wrapped(self: "LocalAdministration", /, *args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return method(self, *args, **kwargs)
        except (Unavailable, AuthUnavailable) as error:
            raise AdminError(f"{error}; try again, or see the log of auth") from error

    return wrapped


class LocalAdministration:
    """Answers `Administration` where auth.db is open. One thread's at a time."""

    def __init__(
        self,
        accounts: Accounts,
        key_source: KeySource,
        traces: Traces,
        pepper: bytes,
        settings: AdminSettings | None = None,
        *,
        random: Callable[[int], bytes],
        clock: Callable[[], float] = time.time,
        on_revoke: Callable[[Revocation], None] = lambda _: None,
        on_unlock: Callable[[AccountId], None] = lambda _: None,
    ) -> None:
        """`on_revoke`, `on_unlock`: the engine's, when one runs; called after the commit."""
        self._accounts = accounts
        self._directory = Directory(accounts.connection)
        self._key_source = key_source
        self._traces = traces
        self._pepper = pepper
        self._settings = settings or AdminSettings()
        self._random = random
        self._clock = clock
        self._on_revoke = on_revoke
        self._on_unlock = on_unlock
        self.actor = ""
        """Who acts, for the traces: `uid 0`."""

    # -- users

    @_act
    def user_add(
        self, address: str, *, name: str = "", password: str | None = None, second_factor: str = "none", admin: bool = False
    ) -> dict[str, Any]:
        """Make an account. With `totp` the answer carries what totp_add answers, too."""
        key = self._free(address)
        name = one_line("name", name, _MAX_NAME, empty=True)
        if second_factor not in _SECOND_FACTORS:
            raise AdminError(f"second factor is one of: {', '.join(_SECOND_FACTORS)}")
        hashed = self._hashed(password, key, name) if password is not None else None
        account, now = self._new_id(), self._now()
        new_domain = not self._directory.serves(domain_of(key))
        with self._accounts.transaction():
            self._directory.add_domain(domain_of(key), now)
            self._accounts.add(
                account, key, now=now, name=name, password=hashed, second_factor=second_factor != "none", admin=admin
            )
        answer: dict[str, Any] = {"account": account, "address": key, "name": name, "second_factor": second_factor}
        if new_domain:
            answer["new_domain"] = domain_of(key)
        self._done("user_add", account, second_factor=second_factor, admin=admin)
        if second_factor == "totp":
            answer |= self.totp_add(key)
        return answer

    @_act
    def user_import(self, rows: Sequence[Mapping[str, str]], *, app_passwords: bool = False) -> dict[str, Any]:
        """One batch, in one transaction; rows with an error are left out and told."""
        importer = Importer(
            self._accounts, self._directory, self._pepper, self._random, self._now(), idle_days=self._settings.idle_days
        )
        answer = importer.add(rows, app_passwords=app_passwords)
        for account in importer.added:
            self._traces.event("admin.user_add", acct=account, by=self.actor or None)
        self._done("user_import", None, n=len(importer.added))
        return answer

    @_act
    def user_password(self, address: str, password: str) -> None:
        """Set a password; live sessions end."""
        account = self._account(address)
        hashed = self._hashed(password, account.address, account.name)
        with self._accounts.transaction():
            self._accounts.set_password(account.id, hashed, self._now())
        self._revoked(Revocation(account=account.id, why="password changed"))
        self._done("user_password", account.id)

    @_act
    def user_quota(self, address: str, octets: int | None) -> None:
        """Set how much an account may store, None: any amount."""
        if octets is not None and not (isinstance(octets, int) and 0 <= octets <= _MOST_OCTETS):
            raise AdminError("a quota is a number of octets, or none")
        account = self._account(address)
        with self._accounts.transaction():
            self._accounts.set_quota(account.id, octets)
        self._done("user_quota", account.id, octets=octets)

    @_act
    def user_list(self) -> list[dict[str, Any]]:
        """All accounts, by address."""
        counts = self._accounts.credential_counts()
        return [{**account_fields(account), "app_passwords": counts.get(account.id, 0)} for account in self._accounts.all()]

    @_act
    def user_show(self, address: str) -> dict[str, Any]:
        """One account with its credentials, never a secret."""
        account = self._account(address)
        found = self._accounts.totp(account.id)
        return {
            **account_fields(account),
            "addresses": [{"address": one, "kind": kind} for one, kind in self._directory.addresses_of(account.id)],
            "groups": self._directory.groups_of(account.id),
            "totp": found is not None,
            "recovery_codes_left": self._accounts.recovery_left(account.id),
            "app_passwords": [credential_fields(one, self._clock()) for one in self._accounts.credentials(account.id)],
        }

    @_act
    def user_lock(self, address: str, *, reason: str) -> None:
        """Suspend: nothing opens it any more, live sessions end. Mail goes on arriving."""
        account = self._account(address)
        reason = one_line("reason", reason, _MAX_REASON)
        with self._accounts.transaction():
            self._accounts.suspend(account.id, reason, self._now())
        self._revoked(Revocation(account=account.id, why="account locked"))
        self._done("user_lock", account.id, why=reason)

    @_act
    def user_unlock(self, address: str) -> None:
        """Lift a lock, and the waits of the policies."""
        account = self._account(address)
        with self._accounts.transaction():
            if account.suspended is not None:
                self._accounts.suspend(account.id, None, self._now())
            self._accounts.forget_failures(account.id)
        self._on_unlock(account.id)
        self._done("user_unlock", account.id)

    @_act
    def user_delete(self, address: str) -> dict[str, Any]:
        """Remove the account and all its credentials; its store and keys are the caller's to delete, by the answer's id."""
        account = self._account(address)
        with self._accounts.transaction():
            self._accounts.delete(account, self._now())
        self._revoked(Revocation(account=account.id, why="account deleted"))
        self._done("user_delete", account.id)
        return {"account": account.id}

    @_act
    def account_id(self, address: str) -> str:
        """The account behind an address."""
        return self._account(address).id

    # -- groups

    @_act
    def group_add(self, address: str, *, members: Sequence[str]) -> dict[str, Any]:
        """Make a group."""
        key = self._free(address)
        with self._accounts.transaction():
            self._directory.add_domain(domain_of(key), self._now())
            row = self._directory.add_group(key, self._now())
            self._add_members(row, members)
        self._done("group_add", None, group=key)
        return self.group_show(key)

    @_act
    def group_list(self) -> list[dict[str, Any]]:
        """All groups, by address."""
        return [group_fields(group) for group in self._directory.groups()]

    @_act
    def group_show(self, address: str) -> dict[str, Any]:
        """One group with its members."""
        return group_fields(self._group(address))

    @_act
    def group_member(self, address: str, member: str, *, present: bool) -> dict[str, Any]:
        """Add or remove a member; answers the group."""
        group = self._group(address)
        with self._accounts.transaction():
            if present:
                self._add_members(group.row, [member])
            elif not self._directory.remove_member(group.row, key_form(member)):
                raise AdminError(f"{member} is not a member of {group.address}")
        self._done("group_member", None, group=group.address, member=key_form(member), present=present)
        return self.group_show(group.address)

    def _add_members(self, row: int, members: Sequence[str]) -> None:
        unknown = [member for member in members if not self._directory.add_member(row, key_form(member))]
        if unknown:
            raise AdminError(f"no account or group {', '.join(unknown)}; add it first: preau user add {unknown[0]}")

    # -- second factor and app passwords

    @_act
    def totp_add(self, address: str) -> dict[str, Any]:
        """A new secret and recovery codes in place of old ones; from now on the password alone opens nothing."""
        account = self._account(address)
        secret = self._random(totp.SECRET_OCTETS)
        codes = totp.make_recovery_codes(self._random(totp.RECOVERY_RANDOM_OCTETS))
        sealed = self._key_source.totp_seal(account.id, secret)
        macs = [totp.recovery_mac(self._pepper, account.id, totp.parse_recovery_code(code) or "") for code in codes]
        with self._accounts.transaction():
            self._accounts.set_totp(account.id, sealed, macs, self._now())
        self._revoked(Revocation(account=account.id, credential=CredentialId("password"), why="second factor added"))
        self._done("totp_add", account.id)
        return {"uri": totp.provisioning_uri(secret, account.address, self._settings.issuer), "recovery_codes": codes}

    @_act
    def totp_remove(self, address: str) -> None:
        """Take the second factor away: the password alone signs in again."""
        account = self._account(address)
        if not account.second_factor and self._accounts.totp(account.id) is None:
            raise AdminError(f"{account.address} has no second factor")
        with self._accounts.transaction():
            self._accounts.remove_totp(account.id)
        self._done("totp_remove", account.id)

    @_act
    def app_password_add(
        self,
        address: str,
        *,
        label: str,
        scopes: Sequence[str] | None = None,
        expires_days: int | None = None,
        networks: Sequence[str] = (),
    ) -> dict[str, Any]:
        """Make an app password; it is shown this once."""
        account = self._account(address)
        label = one_line("label", label, _MAX_LABEL)
        if len(self._accounts.credentials(account.id)) >= self._settings.app_passwords:
            raise AdminError(f"{account.address} has {self._settings.app_passwords} app passwords; revoke one first")
        if expires_days is not None and not 0 < expires_days <= 36_500:
            raise AdminError("expiry is a number of days from 1")
        now = self._now()
        chosen = parse_scopes(scopes)
        allowed = parse_nets(networks)
        with self._accounts.transaction():
            password = self._new_password(account.id)
            row = self._accounts.add_credential(
                account.id,
                password.selector,
                app_passwords.mac(self._pepper, account.id, password),
                scram=scram.make_all_keys(self._pepper, account.id, app_passwords.spellings(password)),
                label=label,
                scopes=chosen,
                networks=allowed,
                expires=now + expires_days * _DAY if expires_days is not None else None,
                idle_days=self._settings.idle_days,
                created_by="cli",
                now=now,
            )
        credential = f"app:{row}"
        self._done("app_password_add", account.id, cred=credential, scopes=sorted(chosen))
        return {"id": credential, "password": app_passwords.render(password), "label": label, "scopes": sorted(chosen)}

    @_act
    def app_password_list(self, address: str) -> list[dict[str, Any]]:
        """All of an account that are not revoked, oldest first."""
        return [credential_fields(one, self._clock()) for one in self._accounts.credentials(self._account(address).id)]

    @_act
    def app_password_revoke(self, address: str, credential: str) -> None:
        """Revoke, by `app:41` or `41`; its live sessions end at once."""
        account = self._account(address)
        number = credential.removeprefix("app:")
        found = [one for one in self._accounts.credentials(account.id) if str(one.row) == number]
        if not found:
            raise AdminError(f"{account.address} has no app password {credential}; see: preau app-password list {address}")
        with self._accounts.transaction():
            self._accounts.revoke(found[0].row, "revoked by an operator", self._now())
        self._revoked(Revocation(account=account.id, credential=found[0].id, why="app password revoked"))
        self._done("app_password_revoke", account.id, cred=found[0].id)

    # -- traces

    @_act
    def traces_show(self, address: str, *, since: int | None = None) -> list[dict[str, Any]]:
        """Connection traces of an account, or of the one last deleted under the address; oldest first."""
        key = key_form(address)
        account = self._accounts.by_address(key)
        owner = account.id if account is not None else self._accounts.deleted_under(key)
        if owner is None:
            raise AdminError(f"no account {address}")
        self._done("traces_show", owner)
        return self._traces.of_account(owner, since=since)

    @_act
    def traces_verify(self) -> dict[str, Any]:
        """Recompute the chain."""
        found = self._traces.verify()
        return {"ok": found.ok, "checked": found.checked, "first_bad": found.first_bad, "file": found.file}

    @_act
    def why(self, reference: str) -> list[dict[str, Any]]:
        """The events behind a reference that a user read out, with the present address of their account."""
        events = self._traces.of_reference(reference.strip().removeprefix("ref").strip().upper())
        for event in events:
            account = self._accounts.by_id(AccountId(str(event.get("acct", ""))))
            if account is not None:
                event["address"] = account.address
        return events

    # -- shared

    def _account(self, address: str) -> Account:
        account = self._accounts.by_address(key_form(address))
        if account is None:
            raise AdminError(f"no account {address}")
        return account

    def _group(self, address: str) -> Group:
        group = self._directory.group(key_form(address))
        if group is None:
            raise AdminError(f"no group {address}")
        return group

    def _free(self, address: str) -> str:
        key = key_form(address)
        if self._directory.is_taken(key):
            raise AdminError(f"{key} is there already")
        return key

    def _hashed(self, password: str, address: str, name: str) -> str:
        try:
            refuse_weak(password, login=address.rpartition("@")[0], names=(name, domain_of(address).partition(".")[0]))
        except WeakPassword as error:
            raise AdminError(f"password refused: {error}") from None
        return hash_password(password, self._pepper, self._random(SALT_OCTETS))

    def _new_password(self, account: AccountId) -> app_passwords.AppPassword:
        while True:
            password = app_passwords.make(self._random(app_passwords.RANDOM_OCTETS))
            if self._accounts.credential(account, password.selector) is None:
                return password

    def _new_id(self) -> AccountId:
        return new_account_id(self._random(16))

    def _now(self) -> int:
        return int(self._clock())

    def _revoked(self, revocation: Revocation) -> None:
        # Before the trace: what must end, ends even when the traces cannot be written.
        self._on_revoke(revocation)

    def _done(self, act: str, account: AccountId | None, **fields: object) -> None:
        self._traces.event(f"admin.{act}", acct=account, by=self.actor or None, **fields)
        self._traces.sync()
