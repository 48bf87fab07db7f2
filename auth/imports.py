"""A batch of accounts from another platform: `user import` (decisions 12).

Columns: address, name, and optionally password or hash, second_factor, groups. Everything that costs is done before the
transaction (hashes in two threads), everything that writes in one; stores and keys are made at first use. Existing
passwords are taken as they are, however weak: refusing them would lock people out on the day of the move; `weak` says how
many should be changed.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from ..storage.api import AccountId
from . import app_passwords, scram
from .accounts import Accounts, new_account_id
from .addresses import InvalidAddress, domain_of, normalise_address
from .api import Service
from .directory import Directory
from .password_rules import WeakPassword, refuse_weak
from .passwords import SALT_OCTETS, InvalidHash, hash_password, import_hash
from .sasl import MAX_SECRET

COLUMNS = frozenset({"address", "name", "password", "hash", "second_factor", "groups"})
MAX_ROWS = 5_000
_MAX_NAME = 200


@dataclass(slots=True)
class _Row:
    index: int
    account: AccountId
    address: str
    name: str
    password: str
    stored: str | None
    second_factor: bool
    groups: list[str] = field(default_factory=list)
    app_password: app_passwords.AppPassword | None = None
    scram: bytes = b""


class _Refused(Exception):
    """Why a row is left out."""


class Importer:
    """One batch. `added`: the accounts made."""

    def __init__(
        self,
        accounts: Accounts,
        directory: Directory,
        pepper: bytes,
        random: Callable[[int], bytes],
        now: int,
        *,
        idle_days: int,
    ) -> None:
        """`idle_days`: of the app passwords made."""
        self._accounts = accounts
        self._directory = directory
        self._pepper = pepper
        self._random = random
        self._now = now
        self._idle_days = idle_days
        self.added: list[AccountId] = []

    def add(self, rows: Sequence[Mapping[str, str]], *, app_passwords: bool) -> dict[str, Any]:
        """Answers {"added", "passwords", "errors", "weak"}. Raise storage.api.Unavailable: then none was added."""
        errors: list[list[object]] = []
        taken: set[str] = set()
        good: list[_Row] = []
        for index, fields in enumerate(rows):
            try:
                if index >= MAX_ROWS:
                    raise _Refused(f"more than {MAX_ROWS} rows in a batch")
                row = self._understood(index, fields)
                if row.address in taken or self._directory.is_taken(row.address):
                    raise _Refused(f"{row.address} is there already")
                taken.add(row.address)
                good.append(row)
            except _Refused as refused:
                errors.append([index, str(refused)])
        weak = self._hash(good)
        if app_passwords:
            self._make_app_passwords(good)
        passwords: dict[str, str] = {}
        with self._accounts.transaction():
            for row in good:
                if self._directory.is_taken(row.address):  # a group made for a row before it
                    errors.append([row.index, f"{row.address} is there already"])
                    continue
                self._insert(row)
                self.added.append(row.account)
                if row.app_password is not None:
                    passwords[row.address] = self._add_app_password(row, row.app_password)
                errors.extend([row.index, sentence] for sentence in self._join(row))
        return {"added": len(self.added), "passwords": passwords, "errors": sorted(errors, key=_index), "weak": weak}

    def _understood(self, index: int, fields: Mapping[str, str]) -> _Row:
        unknown = set(fields) - COLUMNS
        if unknown:
            raise _Refused(f"unknown column {sorted(unknown)[0]!r}; known are {', '.join(sorted(COLUMNS))}")
        values = {name: (fields.get(name) or "").strip() for name in COLUMNS}
        password = fields.get("password") or ""
        try:
            address = normalise_address(values["address"])
        except InvalidAddress as error:
            raise _Refused(f"{values['address'][:80]!r} is not an address: {error}") from None
        if len(values["name"]) > _MAX_NAME or not values["name"].isprintable():
            raise _Refused(f"name: at most {_MAX_NAME} printable characters")
        if password and values["hash"]:
            raise _Refused("both a password and a hash")
        if len(password.encode("utf-8", "surrogatepass")) > MAX_SECRET:
            raise _Refused(f"password longer than {MAX_SECRET} octets")
        stored = None
        if values["hash"]:
            try:
                stored = import_hash(values["hash"])
            except InvalidHash as error:
                raise _Refused(f"hash: {error}") from None
        second_factor = values["second_factor"].lower() or "none"
        if second_factor not in ("none", "totp"):
            raise _Refused("second_factor is none or totp")
        groups = [word for word in re.split(r"[\s,;]+", values["groups"]) if word]
        return _Row(
            index, new_account_id(self._random(16)), address, values["name"], password, stored, second_factor == "totp", groups
        )

    def _hash(self, rows: list[_Row]) -> int:
        """Hash the clear passwords; answers how many are weak."""
        clear = [row for row in rows if row.password]
        weak = 0
        with ThreadPoolExecutor(2, thread_name_prefix="argon2") as threads:
            salts = [self._random(SALT_OCTETS) for _ in clear]
            hashes = threads.map(lambda row, salt: hash_password(row.password, self._pepper, salt), clear, salts)
            for row, stored in zip(clear, hashes, strict=True):
                row.stored = stored
        for row in clear:
            try:
                refuse_weak(row.password, login=row.address.partition("@")[0], names=(row.name,))
            except WeakPassword:
                weak += 1
        return weak

    def _make_app_passwords(self, rows: list[_Row]) -> None:
        for row in rows:
            row.app_password = app_passwords.make(self._random(app_passwords.RANDOM_OCTETS))

        def keys(row: _Row) -> bytes:
            assert row.app_password is not None
            return scram.make_all_keys(self._pepper, row.account, app_passwords.spellings(row.app_password))

        with ThreadPoolExecutor(2, thread_name_prefix="pbkdf2") as threads:
            for row, made in zip(rows, threads.map(keys, rows), strict=True):
                row.scram = made

    def _insert(self, row: _Row) -> None:
        self._directory.add_domain(domain_of(row.address), self._now)
        self._accounts.add(
            row.account, row.address, now=self._now, name=row.name, password=row.stored, second_factor=row.second_factor
        )

    def _add_app_password(self, row: _Row, password: app_passwords.AppPassword) -> str:
        self._accounts.add_credential(
            row.account,
            password.selector,
            app_passwords.mac(self._pepper, row.account, password),
            scram=row.scram,
            label="import",
            scopes=Service,
            networks=(),
            expires=None,
            idle_days=self._idle_days,
            created_by="import",
            now=self._now,
        )
        return app_passwords.render(password)

    def _join(self, row: _Row) -> list[str]:
        """Put the account into its groups, making those that lack; sentences for those that cannot be."""
        sentences = []
        for text in row.groups:
            try:
                address = normalise_address(text if "@" in text else f"{text}@{domain_of(row.address)}")
            except InvalidAddress as error:
                sentences.append(f"group {text[:80]!r}: {error}")
                continue
            group = self._directory.group(address)
            if group is None and self._directory.is_taken(address):
                sentences.append(f"{address} is an account, not a group")
                continue
            self._directory.add_domain(domain_of(address), self._now)
            self._directory.add_member(group.row if group else self._directory.add_group(address, self._now), row.address)
        return sentences


def _index(error: list[object]) -> int:
    return int(str(error[0]))
