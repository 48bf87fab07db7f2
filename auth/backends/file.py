"""A backend over a passwd-like file, as Dovecot's passwd-file writes it: `login:{SCHEME}hash:uid:gid:name:...`.

Read again whenever it changes. Lines that are none, and hashes that are not verified here, are left out and logged; the
rest counts. Never writes the file.
"""

import threading
from collections.abc import Callable
from pathlib import Path

from ...daemon.log import logger
from ...storage import atomic
from ..addresses import InvalidAddress, normalise_address
from ..passwords import SALT_OCTETS, InvalidHash, hash_password, import_hash, verify_password
from .api import Entry, Verdict

log = logger("auth")

MAX_OCTETS = 32 * 1024 * 1024

_Row = tuple[Entry, str]


class FileBackend:
    """Passwords in a file somebody else keeps."""

    name = "file"
    capabilities = frozenset({"lookup"})

    def __init__(self, path: Path, pepper: bytes, random: Callable[[int], bytes], *, domain: str = "") -> None:
        """`domain` completes logins without one. Raise storage.api.Unavailable or FileNotFoundError when it cannot be read."""
        self._path = path
        self._domain = domain
        self._pepper = pepper
        self._nobody = hash_password(random(32).hex(), pepper, random(SALT_OCTETS))
        self._lock = threading.Lock()
        self._stamp: tuple[int, int, int] | None = None
        self._rows: dict[str, _Row] = {}
        self._current()

    def lookup(self, address: str) -> Entry | None:
        """The line of an address."""
        row = self._current().get(address)
        return row[0] if row is not None else None

    def verify(self, entry: Entry | None, secret: str) -> Verdict:
        """Check a password."""
        row = self._current().get(entry.login) if entry is not None else None
        if row is None:
            verify_password(self._nobody, secret, self._pepper)
            return Verdict.UNKNOWN
        return Verdict.RIGHT if verify_password(row[1], secret, self._pepper).right else Verdict.WRONG

    def change(self, entry: Entry, secret: str) -> None:
        """Not here."""
        raise NotImplementedError("passwords of a file are changed by whoever keeps it")

    def _current(self) -> dict[str, _Row]:
        with self._lock:
            found = self._path.stat()
            stamp = (found.st_mtime_ns, found.st_size, found.st_ino)
            if stamp != self._stamp:
                data = atomic.read_file(self._path, limit=MAX_OCTETS)
                self._rows = dict(self._parsed(data))
                self._stamp = stamp
            return self._rows

    def _parsed(self, data: bytes) -> list[tuple[str, _Row]]:
        rows, refused = [], 0
        for line in data.decode("utf-8", "replace").splitlines():
            fields = line.split(":")
            if not line.strip() or line.startswith("#"):
                continue
            try:
                login = fields[0] if "@" in fields[0] or not self._domain else f"{fields[0]}@{self._domain}"
                address = normalise_address(login)
                stored = import_hash(fields[1])
            except (InvalidAddress, InvalidHash, IndexError):
                refused += 1
                continue
            name = fields[4].partition(",")[0] if len(fields) > 4 else ""
            rows.append((address, (Entry(address, address, name), stored)))
        if refused:
            log.warning("lines of a password file not understood", file=self._path.name, lines=refused)
        return rows
