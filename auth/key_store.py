"""The keys of all accounts at rest: keys.db, wrapped by the key-encryption key (KEK) in a file of its own.

Theory of operation. Each account has three random keys: an X25519 pair (content), one for index.db, one for the caches.
They are made when first asked for and committed (synchronous FULL) before anyone holds them, because a message sealed for
a key that is lost is lost. A row holds the public half in clear and the rest wrapped: AES-256-GCM under the KEK, a fresh
nonce each, bound to the account and to what it is, so that no row can stand in for another. The instance's own secrets
(pepper, ticket key, queue key, the seal of second factors) lie in a second table in the same way.

Keys of accounts that were asked for lately are kept as they are, in bounded number: whoever can read this process' memory
has the KEK and opens all rows with it, so that they are no less safe there than wrapped. `forget` takes them out as well.

A row names the KEK that wrapped it. `rewrap` writes the new KEK beside the old one as `<kek>.next`, rewraps all rows in one
transaction and then renames it over the old one: whatever moment the power fails in, the files hold the KEK of every row,
and the next `open` finishes what was begun.

`forget` is crypto-erasure: the row is overwritten (secure_delete, the log truncated) and the id stays barred, so that a
late delivery does not make keys for someone who is gone. Backups of keys.db made before still hold the wraps.

One process at a time has the store open: it holds keys.lock exclusively. Calls may come from several threads.
Never logs, never prints a key; nothing here knows who may ask: keys.py does.
"""

import fcntl
import hashlib
import os
import secrets
import stat
import threading
from collections import OrderedDict
from pathlib import Path
from typing import Any

import apsw
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from ..storage import atomic
from ..storage.api import AccountId, AccountKeys, Forbidden, InvalidName, NotFound, Unavailable
from ..storage.database import Schema, open_database, translated
from ..storage.paths import parse_account_id

KEY_BYTES = 32
PEPPER, TICKET_KEY, QUEUE_KEY, TOTP_KEY = "pepper", "ticket", "queue", "totp"
INSTANCE_SECRETS = (PEPPER, TICKET_KEY, QUEUE_KEY, TOTP_KEY)
"""The instance's secrets, 32 random octets each."""

_NONCE = 12
_REMEMBERED = 4096  # accounts, a few hundred octets each
_SCHEMA = Schema(
    "keys",
    1,
    """
    CREATE TABLE account_key (
        account TEXT PRIMARY KEY,
        public BLOB NOT NULL,
        secret BLOB NOT NULL,      -- the three wrapped ones
        index_key BLOB NOT NULL,
        cache_key BLOB NOT NULL,
        kek BLOB NOT NULL,         -- which KEK wrapped them
        created INTEGER NOT NULL
    ) WITHOUT ROWID;
    CREATE TABLE instance_secret (
        name TEXT PRIMARY KEY,
        wrapped BLOB NOT NULL,
        kek BLOB NOT NULL,
        created INTEGER NOT NULL
    ) WITHOUT ROWID;
    CREATE TABLE forgotten (account TEXT PRIMARY KEY, at INTEGER NOT NULL) WITHOUT ROWID;
    """,
)


class InvalidKek(Unavailable):
    """The KEK file is missing, not 32 octets, readable by others, or not the one that wrapped what is here."""


class KeysInUse(Unavailable):
    """Another process has the key store open."""


def create_kek(path: Path) -> None:
    """Make a KEK, 0600, durably. Raise FileExistsError: one that may have wrapped something is never replaced."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    _write_kek(path, secrets.token_bytes(KEY_BYTES))


def _write_kek(path: Path, key: bytes) -> None:
    if path.exists():
        raise FileExistsError(f"{path} exists")
    atomic.replace_file(path, key, tmp=path.parent, mode=0o600)


def read_kek(path: Path) -> bytes:
    """The KEK in a file. Raise InvalidKek."""
    try:
        found = path.stat()
        data = path.read_bytes() if found.st_size == KEY_BYTES else b""
    except OSError as error:
        raise InvalidKek(f"{path}: {error.strerror}") from None
    if not stat.S_ISREG(found.st_mode) or len(data) != KEY_BYTES:
        raise InvalidKek(f"{path} does not hold a key of {KEY_BYTES} octets")
    if found.st_mode & 0o077:
        raise InvalidKek(f"{path} can be read by others: chmod 600 it")
    return data


def kek_id(kek: bytes) -> bytes:
    """What rows call a KEK: it tells nothing of it."""
    return hashlib.sha256(b"preau kek id\0" + kek).digest()[:8]


class KeyStore:
    """keys.db, open. Use `open_keys` to get one."""

    def __init__(self, database: Path, kek_file: Path, lock: int) -> None:
        """Take the lock's descriptor over; closes it on close(). Raise InvalidKek, Unavailable."""
        self._kek_file = kek_file
        self._lock_file = lock
        self._mutex = threading.Lock()  # of the writing connection
        self._keks: dict[bytes, bytes] = {}
        self._active = b""
        atomic.create_empty(database, mode=0o600)
        self._writer = open_database(database, None, _SCHEMA, synchronous="FULL")
        self._writer.pragma("secure_delete", True)
        self._reading = threading.Lock()  # of the reading connection, and of what is remembered
        self._remembered: OrderedDict[AccountId, AccountKeys] = OrderedDict()
        try:
            self._reader = open_database(database, None, _SCHEMA, synchronous="FULL", query_only=True)
            self._load_keks()
        except BaseException:
            self._writer.close()
            raise

    # -- accounts

    def find(self, account: AccountId) -> AccountKeys | None:
        """The keys of an account, None before its first use. Microseconds. Raise Forbidden once forgotten, InvalidName."""
        with self._reading, translated("keys.db"):
            if (known := self._remembered.get(account)) is not None:
                return known
            parse_account_id(account)
            row = self._reader.execute(
                "SELECT public, secret, index_key, cache_key, kek FROM account_key WHERE account = ?", (account,)
            ).fetchone()
            if row is None:
                self._check_not_forgotten(self._reader, account)
                return None
            public, secret, index, cache, kek = row
            keys = AccountKeys(
                public,
                self._unwrap(index, kek, account, "index"),
                self._unwrap(cache, kek, account, "cache"),
                self._unwrap(secret, kek, account, "secret"),
            )
            self._remembered[account] = keys
            if len(self._remembered) > _REMEMBERED:
                self._remembered.popitem(last=False)
            return keys

    def account_keys(self, account: AccountId, now: int) -> AccountKeys:
        """The keys of an account, made durably if it has none. Raise Forbidden once forgotten, InvalidName, Unavailable."""
        if (keys := self.find(account)) is not None:
            return keys
        pair = X25519PrivateKey.generate()
        public = pair.public_key().public_bytes_raw()
        wrapped = {
            "secret": pair.private_bytes_raw(),
            "index": secrets.token_bytes(KEY_BYTES),
            "cache": secrets.token_bytes(KEY_BYTES),
        }
        with self._mutex, translated("keys.db"), self._writer:
            self._check_not_forgotten(self._writer, account)
            row = (account, public, *(self._wrap(key, account, what) for what, key in wrapped.items()), self._active, now)
            # Two threads may come here at once: the first one's keys count.
            self._writer.execute("INSERT OR IGNORE INTO account_key VALUES (?, ?, ?, ?, ?, ?, ?)", row)
        found = self.find(account)
        assert found is not None
        return found

    def forget(self, account: AccountId, now: int) -> None:
        """Destroy the keys: nothing sealed for them opens again, in backups neither. Raise InvalidName, Unavailable."""
        parse_account_id(account)
        with self._mutex, translated("keys.db"):
            with self._writer:
                self._writer.execute("DELETE FROM account_key WHERE account = ?", (account,))
                self._writer.execute("INSERT OR IGNORE INTO forgotten VALUES (?, ?)", (account, now))
            with self._reading:  # after the commit: who reads from now on finds no row to remember
                self._remembered.pop(account, None)
            self._scrub()

    def accounts(self) -> list[AccountId]:
        """All that have keys."""
        with self._reading, translated("keys.db"):
            return [AccountId(str(account)) for (account,) in self._reader.execute("SELECT account FROM account_key")]

    # -- the instance

    def secret(self, name: str, now: int) -> bytes:
        """One of the instance's secrets, made durably when first asked for; then microseconds. Raise NotFound, Unavailable."""
        if name not in INSTANCE_SECRETS:
            raise NotFound(name)
        with self._reading, translated("keys.db"):
            row = self._secret_row(self._reader, name)
        if row is None:
            with self._mutex, translated("keys.db"), self._writer:
                wrapped = self._wrap(secrets.token_bytes(KEY_BYTES), name, "instance")
                self._writer.execute(
                    "INSERT OR IGNORE INTO instance_secret VALUES (?, ?, ?, ?)", (name, wrapped, self._active, now)
                )
                row = self._secret_row(self._writer, name)
            assert row is not None
        return self._unwrap(row[0], row[1], name, "instance")

    def rewrap(self) -> int:
        """Change the KEK: make a new one, wrap everything anew, replace the old file. How many rows. Raise Unavailable."""
        with self._mutex:
            next_file = self._next_file()
            if not next_file.exists():
                _write_kek(next_file, secrets.token_bytes(KEY_BYTES))
            new = read_kek(next_file)
            self._keks[kek_id(new)] = new
            with translated("keys.db"):
                count = self._rewrap_rows(new)
                self._scrub()
            self._take_next(new)
            return count

    def close(self) -> None:
        """Close and let another process in. A second call does nothing."""
        with self._mutex, self._reading:
            self._writer.close()
            self._reader.close()
            self._keks.clear()
            self._remembered.clear()
            if self._lock_file >= 0:
                os.close(self._lock_file)
                self._lock_file = -1

    # -- inside

    def _secret_row(self, connection: apsw.Connection, name: str) -> tuple[bytes, bytes] | None:
        row: tuple[bytes, bytes] | None = connection.execute(
            "SELECT wrapped, kek FROM instance_secret WHERE name = ?", (name,)
        ).fetchone()
        return row

    def _next_file(self) -> Path:
        return self._kek_file.with_name(self._kek_file.name + ".next")

    def _load_keks(self) -> None:
        kek = read_kek(self._kek_file)
        self._keks[kek_id(kek)] = kek
        self._active = kek_id(kek)
        used = {
            bytes(each) for (each,) in self._reader.execute("SELECT kek FROM account_key UNION SELECT kek FROM instance_secret")
        }
        if self._next_file().exists():
            new = read_kek(self._next_file())
            if kek_id(new) in used:
                # A change of KEK got as far as its commit, which moved all rows at once: finish it.
                self._keks[kek_id(new)] = new
                self._take_next(new)
        if unknown := used - self._keks.keys():
            wanted = unknown.pop().hex()
            raise InvalidKek(f"{self._kek_file} is {self._active.hex()}, but keys.db was wrapped by {wanted}")

    def _take_next(self, new: bytes) -> None:
        atomic.rename(self._next_file(), self._kek_file)
        atomic.fsync_dir(self._kek_file.parent)
        self._active = kek_id(new)

    def _rewrap_rows(self, new: bytes) -> int:
        count = 0
        with self._writer:
            query = "SELECT account, secret, index_key, cache_key, kek FROM account_key"
            rows: list[Any] = self._writer.execute(query).fetchall()
            for account, *wrapped, kek in rows:
                moved = (
                    _seal(new, self._unwrap(blob, kek, account, what), _context(account, what))
                    for what, blob in zip(("secret", "index", "cache"), wrapped, strict=True)
                )
                self._writer.execute(
                    "UPDATE account_key SET secret = ?, index_key = ?, cache_key = ?, kek = ? WHERE account = ?",
                    (*moved, kek_id(new), account),
                )
                count += 1
            others: list[Any] = self._writer.execute("SELECT name, wrapped, kek FROM instance_secret").fetchall()
            for name, blob, kek in others:
                moved_secret = _seal(new, self._unwrap(blob, kek, name, "instance"), _context(name, "instance"))
                self._writer.execute(
                    "UPDATE instance_secret SET wrapped = ?, kek = ? WHERE name = ?", (moved_secret, kek_id(new), name)
                )
                count += 1
        return count

    def _scrub(self) -> None:
        # Deleted rows are overwritten by secure_delete; old pages leave the log when it is truncated.
        self._writer.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)

    def _check_not_forgotten(self, connection: apsw.Connection, account: str) -> None:
        if connection.execute("SELECT 1 FROM forgotten WHERE account = ?", (account,)).fetchone() is not None:
            raise Forbidden("the keys of this account were destroyed")

    def _wrap(self, key: bytes, owner: str, what: str) -> bytes:
        return _seal(self._keks[self._active], key, _context(owner, what))

    def _unwrap(self, wrapped: bytes, kek: bytes, owner: str, what: str) -> bytes:
        if (key := self._keks.get(kek)) is None:
            raise InvalidKek("a row wants a KEK that is not here")
        return _open(key, wrapped, _context(owner, what))


def open_keys(database: Path, kek_file: Path) -> KeyStore:
    """Open the key store in this process alone. Raise KeysInUse, InvalidKek, Unavailable."""
    database.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = os.open(database.with_name("keys.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return KeyStore(database, kek_file, lock)
    except BlockingIOError:
        os.close(lock)
        raise KeysInUse("the key store is open in another process") from None
    except BaseException:
        os.close(lock)
        raise


def seal_totp(store: KeyStore, account: AccountId, secret: bytes, now: int) -> bytes:
    """A second factor's secret under a key that a change of KEK leaves alone, bound to the account."""
    parse_account_id(account)
    return _seal(store.secret(TOTP_KEY, now), secret, _context(account, "totp"))


def open_totp(store: KeyStore, account: AccountId, blob: bytes, now: int) -> bytes:
    """The secret in a blob sealed for this account. Raise Forbidden when it is not."""
    parse_account_id(account)
    try:
        return _open(store.secret(TOTP_KEY, now), blob, _context(account, "totp"))
    except InvalidKek:
        raise Forbidden("not a seal for this account") from None


def _context(owner: str, what: str) -> bytes:
    try:
        raw = parse_account_id(owner)
    except InvalidName:
        raw = owner.encode("ascii")  # a secret of the instance
    return b"preau keys\0" + what.encode("ascii") + b"\0" + raw


def _seal(key: bytes, data: bytes, context: bytes) -> bytes:
    nonce = os.urandom(_NONCE)
    return nonce + AESGCM(key).encrypt(nonce, data, context)


def _open(key: bytes, blob: bytes, context: bytes) -> bytes:
    try:
        return AESGCM(key).decrypt(blob[:_NONCE], blob[_NONCE:], context)
    except (InvalidTag, ValueError):
        raise InvalidKek("a wrapped key is damaged, or of another place") from None
