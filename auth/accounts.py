"""Accounts and their credentials in auth.db, and what sign-ins leave behind.

Owns every statement on accounts, app passwords, second factors, known networks and policy states; the tables are in
schema.py, addresses and groups in directory.py.
Never hashes, never judges. One `Accounts` belongs to one thread at a time; several may be open on one file.
"""

import base64
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import apsw

from ..storage import atomic
from ..storage.api import AccountId
from ..storage.database import open_database, translated
from .api import CredentialId, Service
from .policies.account_rate import EMPTY, TAG_OCTETS, AccountState
from .schema import SCHEMA

STEPS_AHEAD = 10
"""TOTP steps of 30 seconds: how far ahead of a code the last one used can be, if no clock was wrong."""

FAIL_ROWS = 50_000
FAIL_SECONDS = 30 * 86_400
KNOWN_NET_SECONDS = 60 * 86_400
KNOWN_NETS = 200  # an account's: a telephone that travels must not fill the disk


@dataclass(frozen=True, slots=True)
class Account:
    """One account as the verifier needs it."""

    id: AccountId
    address: str
    name: str
    backend: str
    has_password: bool
    must_change: bool
    second_factor: bool
    admin: bool
    suspended: str | None
    valid_from: int
    quota: int | None
    created: int


@dataclass(frozen=True, slots=True)
class Credential:
    """One app password, without its secret."""

    row: int
    account: AccountId
    selector: str
    mac: bytes = field(repr=False)
    label: str
    scopes: frozenset[Service]
    networks: tuple[str, ...]
    expires: int | None
    idle_days: int
    created: int
    created_by: str
    revoked: int | None
    last_used: int | None
    last_service: str | None
    last_network: str | None

    @property
    def id(self) -> CredentialId:
        """What traces and revocations call it."""
        return CredentialId(f"app:{self.row}")

    def is_expired(self, now: float) -> bool:
        """Past its end, or not used for too long."""
        idle_end = max(self.created, self.last_used or 0) + self.idle_days * 86_400
        return (self.expires is not None and now >= self.expires) or (self.idle_days > 0 and now >= idle_end)


_ACCOUNT = (
    "a.id, a.address, a.name, a.backend, a.password IS NOT NULL, a.must_change, a.second_factor, a.admin, a.suspended,"
    " a.valid_from, a.quota, a.created"
)
_CREDENTIAL = (
    "id, account, selector, mac, label, scopes, networks, expires, idle_days, created, created_by, revoked, last_used,"
    " last_service, last_network"
)


def new_account_id(random: bytes) -> AccountId:
    """An id from 16 random octets: lower-case base32, 26 characters."""
    if len(random) != 16:
        raise ValueError("an account id is made of 16 octets")
    return AccountId(base64.b32encode(random).decode("ascii").rstrip("=").lower())


def open_accounts(path: Path) -> "Accounts":
    """Open auth.db, making it (0600) when it is not there. Raise storage.api.Unavailable."""
    atomic.create_empty(path, mode=0o600)
    connection = open_database(path, None, SCHEMA, synchronous="FULL")
    connection.pragma("foreign_keys", True)
    return Accounts(connection)


class Accounts:
    """Statements on accounts and credentials. Errors of SQLite come out as storage.api.Unavailable."""

    def __init__(self, connection: apsw.Connection) -> None:
        """Take over a connection."""
        self.connection = connection

    def close(self) -> None:
        """Close the connection."""
        self.connection.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing, durable when it ends (synchronous FULL)."""
        with translated("auth.db"):
            self.connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                self.connection.execute("COMMIT")
            except BaseException:
                if self.connection.in_transaction:
                    self.connection.execute("ROLLBACK")
                raise

    # -- accounts

    def by_address(self, address: str) -> Account | None:
        """The account that an address in key form leads to directly, present or former."""
        return self._account(
            f"SELECT {_ACCOUNT} FROM address AS d JOIN account AS a ON a.id = d.account WHERE d.address = ?",  # noqa: S608 constants
            address,
        )

    def by_id(self, account: AccountId) -> Account | None:
        """The account of an id."""
        return self._account(f"SELECT {_ACCOUNT} FROM account AS a WHERE a.id = ?", account)  # noqa: S608 constants

    def all(self) -> list[Account]:
        """Every account, by address."""
        with translated("auth.db"):
            rows = self.connection.execute(f"SELECT {_ACCOUNT} FROM account AS a ORDER BY a.address")  # noqa: S608 constants
            return [_account_of(row) for row in rows]

    def _account(self, statement: str, key: str) -> Account | None:
        with translated("auth.db"):
            row = self.connection.execute(statement, (key,)).fetchone()
        return _account_of(row) if row is not None else None

    def credential_counts(self) -> dict[AccountId, int]:
        """How many app passwords are live, for accounts that have any."""
        with translated("auth.db"):
            rows: Any = self.connection.execute(
                "SELECT account, count(*) FROM credential WHERE revoked IS NULL GROUP BY account"
            )
            return {AccountId(account): count for account, count in rows}

    def deleted_under(self, address: str) -> AccountId | None:
        """The account last deleted under an address: its traces are kept."""
        with translated("auth.db"):
            row = self.connection.execute(
                "SELECT account FROM deleted WHERE address = ? ORDER BY at DESC LIMIT 1", (address,)
            ).fetchone()
        return AccountId(str(row[0])) if row is not None else None

    def add(
        self,
        account: AccountId,
        address: str,
        *,
        now: int,
        name: str = "",
        backend: str = "sqlite",
        password: str | None = None,
        second_factor: bool = False,
        admin: bool = False,
        quota: int | None = None,
    ) -> None:
        """Make an account and its present address (key form, free, of a domain served here). In a transaction."""
        self.connection.execute(
            "INSERT INTO account (id, address, name, backend, password, password_changed, second_factor, admin, quota, created)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (account, address, name, backend, password, now if password else None, second_factor, admin, quota, now),
        )
        self.connection.execute("INSERT INTO address VALUES (?, ?, NULL, 'present')", (address, account))

    def delete(self, account: Account, now: int) -> None:
        """Remove an account with all that hangs on it, and note that its store is to go. In a transaction."""
        self.connection.execute("DELETE FROM fail WHERE subject = ?", (account.id,))
        self.connection.execute("DELETE FROM account WHERE id = ?", (account.id,))
        self.connection.execute("INSERT INTO deleted VALUES (?, ?, ?)", (account.id, account.address, now))

    def suspend(self, account: AccountId, reason: str | None, now: int) -> None:
        """Suspend with a reason, or lift it (None). Sessions begun before are over in both cases. In a transaction."""
        self.connection.execute("UPDATE account SET suspended = ?, valid_from = ? WHERE id = ?", (reason, now, account))

    def password_of(self, account: AccountId) -> str | None:
        """The stored hash; None when there is none."""
        with translated("auth.db"):
            row = self.connection.execute("SELECT password FROM account WHERE id = ?", (account,)).fetchone()
        return row[0] if row is not None else None

    def set_password(self, account: AccountId, password: str, now: int) -> None:
        """Put another hash in place: the password changed, sessions begun before are over. In a transaction."""
        self.connection.execute(
            "UPDATE account SET password = ?, password_changed = ?, must_change = 0, valid_from = ? WHERE id = ?",
            (password, now, now, account),
        )

    def set_quota(self, account: AccountId, octets: int | None) -> None:
        """How much it may store. In a transaction."""
        self.connection.execute("UPDATE account SET quota = ? WHERE id = ?", (octets, account))

    def replace_hash(self, account: AccountId, before: str, after: str) -> None:
        """The same password hashed anew, unless it changed meanwhile."""
        with self.transaction():
            self.connection.execute("UPDATE account SET password = ? WHERE id = ? AND password = ?", (after, account, before))

    # -- app passwords

    def credential(self, account: AccountId, selector: str) -> Credential | None:
        """The app password of an account under a selector, revoked or not."""
        with translated("auth.db"):
            row = self.connection.execute(
                f"SELECT {_CREDENTIAL} FROM credential WHERE account = ? AND selector = ?",  # noqa: S608 constants
                (account, selector),
            ).fetchone()
        return _credential_of(row) if row is not None else None

    def credentials(self, account: AccountId, *, revoked: bool = False) -> list[Credential]:
        """All app passwords of an account, oldest first; `revoked`: those too."""
        with translated("auth.db"):
            rows = self.connection.execute(
                f"SELECT {_CREDENTIAL} FROM credential WHERE account = ? ORDER BY id",  # noqa: S608 constants
                (account,),
            )
            return [found for found in map(_credential_of, rows) if revoked or found.revoked is None]

    def credential_is_live(self, account: AccountId, row: int) -> bool:
        """Whether an app password is there and not revoked."""
        with translated("auth.db"):
            found = self.connection.execute(
                "SELECT revoked IS NULL FROM credential WHERE id = ? AND account = ?", (row, account)
            ).fetchone()
        return found is not None and bool(found[0])

    def scram_keys(self, account: AccountId, *, limit: int = 256) -> list[tuple[str, bytes]]:
        """(selector, StoredKey and ServerKey of each spelling) of app passwords that have them; live ones first."""
        with translated("auth.db"):
            rows: Any = self.connection.execute(
                "SELECT selector, scram FROM credential WHERE account = ? AND scram IS NOT NULL"
                " ORDER BY revoked IS NOT NULL, id DESC LIMIT ?",
                (account, limit),
            )
            return list(rows)

    def add_credential(
        self,
        account: AccountId,
        selector: str,
        mac: bytes,
        *,
        scram: bytes | None = None,
        label: str,
        scopes: Iterable[Service],
        networks: tuple[str, ...],
        expires: int | None,
        idle_days: int,
        created_by: str,
        now: int,
    ) -> int:
        """Store an app password; answers its row. `scram`: of scram.make_all_keys; without them SCRAM does not know it.

        In a transaction.
        """
        text = ",".join(sorted(scopes))
        self.connection.execute(
            "INSERT INTO credential (account, selector, mac, scram, label, scopes, networks, expires, idle_days, created,"
            " created_by) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (account, selector, mac, scram, label, text, ",".join(networks), expires, idle_days, now, created_by),
        )
        return self.connection.last_insert_rowid()

    def revoke(self, row: int, why: str, now: int) -> None:
        """Mark an app password revoked. In a transaction."""
        self.connection.execute(
            "UPDATE credential SET revoked = ?, revoked_why = ? WHERE id = ? AND revoked IS NULL", (now, why, row)
        )

    # -- second factor

    def totp(self, account: AccountId) -> tuple[bytes, int] | None:
        """The sealed secret and the last step used; None without one."""
        with translated("auth.db"):
            row = self.connection.execute("SELECT secret, last_step FROM totp WHERE account = ?", (account,)).fetchone()
        return (row[0], row[1]) if row is not None else None

    def set_totp(self, account: AccountId, secret: bytes, recovery: Iterable[bytes], now: int) -> None:
        """Put a sealed secret and MACs of recovery codes in place of what was; the account needs them now. In a transaction."""
        self.remove_totp(account)
        self.connection.execute("INSERT INTO totp (account, secret, created) VALUES (?, ?, ?)", (account, secret, now))
        self.connection.executemany("INSERT INTO recovery VALUES (?, ?, NULL)", [(account, mac) for mac in recovery])
        self.connection.execute("UPDATE account SET second_factor = 1, valid_from = ? WHERE id = ?", (now, account))

    def remove_totp(self, account: AccountId) -> None:
        """Take the second factor away. In a transaction."""
        self.connection.execute("DELETE FROM totp WHERE account = ?", (account,))
        self.connection.execute("DELETE FROM recovery WHERE account = ?", (account,))
        self.connection.execute("UPDATE account SET second_factor = 0 WHERE id = ?", (account,))

    def consume_step(self, account: AccountId, step: int) -> bool:
        """Use up a TOTP step: True for exactly one caller, and for no step before it ever after (RFC 6238 section 5.2).

        But for one used far ahead, by a clock that was wrong: it would refuse all codes until that day.
        """
        with self.transaction():
            self.connection.execute(
                "UPDATE totp SET last_step = ?1 WHERE account = ?2 AND (last_step < ?1 OR last_step > ?1 + ?3)",
                (step, account, STEPS_AHEAD),
            )
            return self.connection.changes() == 1

    def consume_recovery(self, account: AccountId, mac: bytes, now: int) -> bool:
        """Use up a recovery code: True for exactly one caller."""
        with self.transaction():
            self.connection.execute(
                "UPDATE recovery SET used = ? WHERE account = ? AND mac = ? AND used IS NULL", (now, account, mac)
            )
            return self.connection.changes() == 1

    def recovery_left(self, account: AccountId) -> int:
        """How many recovery codes are unused."""
        with translated("auth.db"):
            return int(
                self.connection.execute("SELECT count(*) FROM recovery WHERE account = ? AND used IS NULL", (account,)).get
            )

    # -- what sign-ins leave

    def knows_network(self, account: AccountId, network: str, now: float) -> bool:
        """Whether the account signed in from there within 60 days."""
        with translated("auth.db"):
            row = self.connection.execute(
                "SELECT last FROM known_net WHERE account = ? AND network = ?", (account, network)
            ).fetchone()
        return row is not None and now - row[0] < KNOWN_NET_SECONDS

    def fail_state(self, subject: str, network: str) -> AccountState | None:
        """The policy state written down for a subject and network."""
        with translated("auth.db"):
            row = self.connection.execute(
                "SELECT ring, tries, locked_until, last FROM fail WHERE subject = ? AND network = ?", (subject, network)
            ).fetchone()
        if row is None:
            return None
        ring = tuple(row[0][start : start + TAG_OCTETS] for start in range(0, len(row[0]), TAG_OCTETS))
        return AccountState(ring, row[1], row[2], row[3])

    def write_usage(
        self,
        used: Mapping[int, tuple[int, str, str]],
        networks: Mapping[tuple[AccountId, str], int],
        failures: Mapping[tuple[str, str], AccountState],
    ) -> None:
        """What a second of sign-ins left, in one transaction.

        used: credential row -> (time, service, network).  networks: (account, network) -> time.  failures: policy states.
        """
        with self.transaction():
            self.connection.executemany(
                "UPDATE credential SET last_used = ?, last_service = ?, last_network = ? WHERE id = ?",
                [(*values, row) for row, values in used.items()],
            )
            # An account deleted meanwhile has no row to refer to.
            self.connection.executemany(
                "INSERT INTO known_net SELECT id, ?2, ?3, ?3 FROM account WHERE id = ?1"
                " ON CONFLICT (account, network) DO UPDATE SET last = max(last, excluded.last)",
                [(account, network, when) for (account, network), when in networks.items()],
            )
            self.connection.executemany(
                "DELETE FROM known_net WHERE account = ?1 AND network NOT IN"
                " (SELECT network FROM known_net WHERE account = ?1 ORDER BY last DESC LIMIT ?2)",
                [(account, KNOWN_NETS) for account in {account for account, _ in networks}],
            )
            for (subject, network), state in failures.items():
                self.write_failure(subject, network, state)

    def write_failure(self, subject: str, network: str, state: AccountState) -> None:
        """Write down one policy state; an empty one is removed. In a transaction."""
        if state == EMPTY:
            self.connection.execute("DELETE FROM fail WHERE subject = ? AND network = ?", (subject, network))
        else:
            self.connection.execute(
                "INSERT OR REPLACE INTO fail VALUES (?, ?, ?, ?, ?, ?)",
                (subject, network, b"".join(state.ring), state.distinct, state.locked_until, state.last),
            )

    def forget_failures(self, subject: str) -> None:
        """Remove the policy states of a subject. In a transaction."""
        self.connection.execute("DELETE FROM fail WHERE subject = ?", (subject,))

    def prune(self, now: int) -> None:
        """Remove what is too old, and the oldest of what is too much."""
        with self.transaction():
            self.connection.execute("DELETE FROM fail WHERE last < ?", (now - FAIL_SECONDS,))
            excess = self.connection.execute("SELECT count(*) FROM fail").get - FAIL_ROWS
            if excess > 0:
                self.connection.execute(
                    "DELETE FROM fail WHERE (subject, network) IN (SELECT subject, network FROM fail ORDER BY last LIMIT ?)",
                    (excess,),
                )
            self.connection.execute("DELETE FROM known_net WHERE last < ?", (now - KNOWN_NET_SECONDS,))


def _account_of(row: tuple[object, ...]) -> Account:
    values: list[Any] = [*row[:4], *map(bool, row[4:8]), *row[8:]]  # typed by the columns
    return Account(*values)


@lru_cache(maxsize=256)
def _scopes_of(text: str) -> frozenset[Service]:
    return frozenset(Service(word) for word in text.split(",") if word)


def _credential_of(row: tuple[object, ...]) -> Credential:
    scopes = _scopes_of(str(row[5]))
    networks = tuple(word for word in str(row[6]).split(",") if word)
    values: list[Any] = [*row[:5], scopes, networks, *row[7:]]
    return Credential(*values)
