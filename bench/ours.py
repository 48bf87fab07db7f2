"""Our own daemons as an operator starts them: `preau init`, `preau user import`, `preau serve`, in a temporary folder."""

from __future__ import annotations

import csv
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

from .dovecot import free_port

DOMAIN = "college-demo.example"


def preau(*words: str, check: bool = True) -> str:
    """Run the `preau` command, return what it printed."""
    command = Path(sys.executable).parent / "preau"
    done = subprocess.run([str(command), *words], capture_output=True, text=True, check=False)
    if check and done.returncode:
        raise RuntimeError(f"preau {' '.join(words)}: {done.stderr or done.stdout}")
    return done.stdout


def free_base() -> int:
    """An N for --ports-from such that its block is free now."""
    for base in range(20_000, 31_000, 1_000):
        ports = [base + port for port in (25, 587, 465, 24, 143, 993, 190, 443, 80)]
        if all(_is_free(port) for port in ports):
            return base
    return free_port() // 1000 * 1000


def _is_free(port: int) -> bool:
    import socket

    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


class Preau:
    """A running instance; `with Preau(folder, users) as ours:`. Sealing is on, passwords are app passwords."""

    name = "preau"

    def __init__(self, root: Path, users: list[str], *, plaintext: bool = True) -> None:
        """Initialise the instance in `root` (which must not exist) with the users, each with an app password.

        `plaintext`: sign-in without TLS from loopback, which the bounds on connections of an address then leave alone.
        """
        self.root = root
        base = free_base()
        self.imap, self.imaps, self.lmtp, self.http = base + 143, base + 993, base + 24, base + 80
        self.smtp, self.https = base + 25, base + 443
        preau("init", str(root), "--domain", DOMAIN, "--ports-from", str(base), *(["--plaintext"] if plaintext else []))
        people = root / "people.csv"
        with people.open("w", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(["address", "name"])
            rows.writerows([f"{user}@{DOMAIN}", user] for user in users)
        secrets = root / "people.json"
        self.config = str(root / "preau.toml")
        preau("user", "import", str(people), "--app-passwords", str(secrets), "--config", self.config)
        self._passwords: dict[str, str] = json.loads(secrets.read_text())
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Preau:
        ready = self.root / "ready"
        log = (self.root / "serve.log").open("ab")
        command = Path(sys.executable).parent / "preau"
        self._process = subprocess.Popen(
            [str(command), "serve", "--ready-file", str(ready), "--config", self.config], stdout=log, stderr=log
        )
        for _ in range(600):
            if ready.exists():
                return self
            if self._process.poll() is not None:
                break
            time.sleep(0.05)
        raise RuntimeError("preau did not start: " + (self.root / "serve.log").read_text()[-3000:])

    def __exit__(self, *error: object) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait(30)
            self._process = None

    def forget_indexes(self) -> None:
        """Take away the snapshots of mailboxes: what remains is the index, which is the store itself."""
        for path in (self.root / "data" / "accounts").glob("*/*/snap/*"):
            path.unlink()

    def queued(self) -> int:
        """Messages that wait in the queue."""
        spool = self.root / "data" / "queue"
        return sum(len(list((spool / name).glob("*"))) for name in ("incoming", "active"))

    @property
    def pid(self) -> int:
        """The supervisor: its descendants are the server."""
        if self._process is None:
            raise RuntimeError("not running")
        return self._process.pid

    def login(self, user: str) -> tuple[str, str]:
        """What to send in LOGIN for a user."""
        address = f"{user}@{DOMAIN}"
        return address, self._passwords[address]
