"""An instance in a temporary folder, and its daemons as an operator starts them."""

import contextlib
import os
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from command import Done, preau
from preau.config.load import load_settings

DOMAIN = "ecole.example"


@dataclass(frozen=True)
class Instance:
    """Where it is and how it is reached."""

    folder: Path
    base: int

    @property
    def config(self) -> Path:
        """Its settings."""
        return self.folder / "preau.toml"

    @property
    def run(self) -> Path:
        """Its sockets: elsewhere when the folder's path is too long for them."""
        return load_settings(self.config).instance.run

    @property
    def imap(self) -> int:
        """Port with STARTTLS."""
        return self.base + 143

    @property
    def imaps(self) -> int:
        """Port with TLS."""
        return self.base + 993

    @property
    def smtp(self) -> int:
        """Port for mail from outside."""
        return self.base + 25

    @property
    def submission(self) -> int:
        """Port with STARTTLS."""
        return self.base + 587

    @property
    def submissions(self) -> int:
        """Port with TLS."""
        return self.base + 465

    @property
    def lmtp(self) -> int:
        """Port of LMTP."""
        return self.base + 24

    def preau(self, *words: object, stdin: str = "") -> Done:
        """A command on it."""
        return preau(*words, "--config", self.config, stdin=stdin)

    def trusting(self) -> ssl.SSLContext:
        """A client's context that trusts its CA alone."""
        return ssl.create_default_context(cafile=self.folder / "ca.pem")


def make_instance(folder: Path, base: int, *options: str, settings: str = "") -> Instance:
    """`preau init`; `settings` are sections added to its preau.toml."""
    done = preau("init", folder, "--domain", DOMAIN, "--ports-from", base, *options)
    assert done.code == 0, done.error
    with (folder / "preau.toml").open("a", encoding="utf-8") as file:
        file.write(settings)
    return Instance(folder, base)


@contextlib.contextmanager
def serving(instance: Instance, *roles: str) -> Iterator[subprocess.Popen[bytes]]:
    """`preau serve`, ready; ended and waited for afterwards."""
    ready, log = instance.folder / "ready", instance.folder / "serve.log"
    command = [str(Path(sys.executable).with_name("preau")), "serve", *roles, "--ready-file", str(ready)]
    with log.open("ab") as output:
        process = subprocess.Popen([*command, "--config", str(instance.config)], stdout=output, stderr=output)
    try:
        wait_for(lambda: ready.exists() or process.poll() is not None, 60)
        assert ready.exists(), log.read_text()
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise


def wait_for(condition: object, seconds: float = 20.0) -> None:
    """Wait until a condition holds; fail after `seconds`."""
    assert callable(condition)
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


def descendants(pid: int) -> list[int]:
    """Processes below a process."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError, IndexError, ValueError):
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                parents.setdefault(int(fields[1]), []).append(int(entry.name))
    found, waiting = [], [pid]
    while waiting:
        below = parents.get(waiting.pop(), [])
        found += below
        waiting += below
    return found


def is_gone(pid: int) -> bool:
    """Whether a process has ended (a zombie has)."""
    try:
        return (Path(f"/proc/{pid}") / "stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def command_of(pid: int) -> list[str]:
    """A process's arguments."""
    with contextlib.suppress(OSError):
        return (Path(f"/proc/{pid}") / "cmdline").read_bytes().decode().split("\0")
    return []


def rights(path: Path) -> int:
    """Permission bits."""
    return os.stat(path).st_mode & 0o7777
