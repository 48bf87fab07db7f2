"""The demo as mail clients see it: its people, ports and secrets, and foreign programs run against it.

Owns how a client is run and what counts as a failure. What is proven stands in demo_check.py and demo_send.py.
"""

import email
import os
import shutil
import ssl
import subprocess
import sys
import time
from collections.abc import Mapping
from email.message import EmailMessage
from email.policy import default
from pathlib import Path
from typing import Any

import demo_mail


class Failed(Exception):
    """The client saw something else than it should."""


class Skipped(Exception):
    """The client is not here."""


class Check:
    """The demo as its clients see it."""

    def __init__(
        self, folder: Path, domain: str, ports: Mapping[str, int], secrets: Mapping[str, Mapping[str, str]], ca: Path
    ) -> None:
        self.folder = folder
        self.domain = domain
        self.ports = ports
        self.secrets = secrets
        self.ca = ca

    def address(self, local: str) -> str:
        return f"{local}@{self.domain}"

    def app_password(self, local: str) -> str:
        return self.secrets[self.address(local)]["app_password"]

    def imap(self, local: str = "marie.durand") -> "Imap":
        """A signed-in imapclient."""
        return Imap(self, local, self.app_password(local))

    def deliver(self, subject: str, local: str) -> None:
        letter = demo_mail.Letter(demo_mail.PARENT, (local,), subject, "Bonjour,\n\nun message de plus.\n", 0)
        demo_mail.deliver("127.0.0.1", self.ports["lmtp"], self.domain, [letter])

    def preau(self, *words: str) -> None:
        config = str(self.folder / "preau.toml")
        run(str(Path(sys.executable).with_name("preau")), *words, "--config", config)

    def write_secret(self, name: str, text: str) -> Path:
        """A file that only we can read: passwords are no arguments."""
        path = self.folder / name
        path.touch(mode=0o600)
        path.write_text(text)
        return path

    def awaited(self, local: str, subject: str) -> EmailMessage:
        """The one message with this subject in somebody's INBOX, once it is there."""
        deadline = time.monotonic() + 20
        with self.imap(local) as client:
            while True:
                client.select_folder("INBOX")
                if found := client.search(["SUBJECT", subject]):
                    break
                expect(time.monotonic() < deadline, f"{subject!r} did not arrive at {local}")
                time.sleep(0.1)
            expect(len(found) == 1, f"{subject!r} arrived {len(found)} times at {local}")
            data: bytes = client.fetch(found, ["BODY.PEEK[]"])[found[0]][b"BODY[]"]
            return email.message_from_bytes(data, policy=default)


def run(*command: str, stdin: str = "", environment: Mapping[str, str] | None = None) -> str:
    """A client's standard output. Raise Skipped when it is not installed, Failed when it fails."""
    if shutil.which(command[0]) is None:
        raise Skipped(f"{command[0]} is not installed")
    done = subprocess.run(
        command, input=stdin, capture_output=True, text=True, check=False, timeout=90, env={**os.environ, **(environment or {})}
    )
    if done.returncode:
        raise Failed(f"{command[0]} ended with {done.returncode}: {(done.stderr or done.stdout).strip()[-1500:]}")
    return done.stdout


def expect(condition: object, what: str) -> None:
    """Raise Failed unless."""
    if not condition:
        raise Failed(what)


class Imap:
    """imapclient over TLS, as a context manager."""

    def __init__(self, check: Check, local: str, password: str) -> None:
        try:
            import imapclient
        except ImportError:
            raise Skipped("imapclient is not installed") from None
        self.error = imapclient.exceptions.IMAPClientError
        context = ssl.create_default_context(cafile=str(check.ca))
        self.client = imapclient.IMAPClient("localhost", check.ports["imaps"], ssl_context=context, timeout=30)
        self._login = (check.address(local), password)

    def __enter__(self) -> Any:
        self.client.login(*self._login)
        return self.client

    def __exit__(self, *error: object) -> None:
        try:
            self.client.logout()
        except (self.error, OSError, ValueError):
            self.client.shutdown()
