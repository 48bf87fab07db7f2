"""Roles of a running instance are killed while clients work: temporary errors, recovery without a hand, nothing lost."""

import contextlib
import imaplib
import os
import signal
import smtplib
import threading
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import pytest

import ports
from crash_run import ALL
from instance import DOMAIN, Instance, command_of, descendants, make_instance, serving, wait_for

MARIE = f"marie.durand@{DOMAIN}"
SETTINGS = "[imap]\nworkers = 1\n[dav]\nworkers = 1\n[auth]\npatience = 3\n"
KILLED = ("auth", "keys", "delivery", "imap", "auth", "queue", "smtp") if ALL else ("auth", "keys", "imap")
LOST = (OSError, EOFError, smtplib.SMTPServerDisconnected, smtplib.SMTPConnectError, imaplib.IMAP4.abort)


@dataclass
class Clients:
    """One that delivers and one that appends, each message once."""

    instance: Instance
    password: str
    stop: threading.Event = field(default_factory=threading.Event)
    answered: set[str] = field(default_factory=set)
    refused: list[str] = field(default_factory=list)

    def deliver(self) -> None:
        """LMTP, a connection a message."""
        number = 0
        while not self.stop.is_set():
            number += 1
            try:
                with smtplib.LMTP("127.0.0.1", self.instance.lmtp, timeout=30) as client:
                    name = f"lmtp-{number}"
                    told = client.sendmail("a@b.example", [MARIE], f"Subject: {name}\r\n\r\n{name}\r\n")
                    assert told == {}
                    self.answered.add(name)
            except smtplib.SMTPRecipientsRefused as error:
                self.refused += [f"lmtp {code} {text!r}" for code, text in error.recipients.values()]
            except smtplib.SMTPResponseException as error:
                self.refused.append(f"lmtp {error.smtp_code} {error.smtp_error!r}")
            except LOST:
                self.stop.wait(0.02)

    def append(self) -> None:
        """IMAP, a session for as long as it lasts."""
        number = 0
        while not self.stop.is_set():
            client = None
            try:
                client = imaplib.IMAP4_SSL("localhost", self.instance.imaps, ssl_context=self.instance.trusting(), timeout=30)
                client.login(MARIE, self.password)
                for _ in range(10):
                    number += 1
                    name = f"imap-{number}"
                    kind, text = client.append("INBOX", "", "", f"Subject: {name}\r\n\r\n{name}\r\n".encode())
                    if kind == "OK":
                        self.answered.add(name)
                    else:
                        self.refused.append(f"imap {text!r}")
            except LOST:
                self.stop.wait(0.02)
            except imaplib.IMAP4.error as error:
                self.refused.append(f"imap {error}")
            finally:
                if client is not None:
                    with contextlib.suppress(OSError):
                        client.shutdown()


def role_pids(supervisor: int, role: str) -> list[int]:
    return [pid for pid in descendants(supervisor) if command_of(pid)[3:6] == ["preau.suite.main", "serve", role]]


def subjects(instance: Instance, password: str) -> Counter[str]:
    client = imaplib.IMAP4_SSL("localhost", instance.imaps, ssl_context=instance.trusting(), timeout=30)
    client.login(MARIE, password)
    client.select("INBOX", readonly=True)
    _, fetched = client.fetch("1:*", "(BODY.PEEK[TEXT])")
    client.logout()
    return Counter(part[1].decode().strip() for part in fetched if isinstance(part, tuple))


@pytest.fixture
def short(tmp_path: Path) -> Path:
    return tmp_path / "i"


def test_roles_killed_while_clients_work(short: Path) -> None:
    instance = make_instance(short, ports.free_base(), settings=SETTINGS)
    assert instance.preau("user", "add", MARIE, "--name", "Marie Durand").code == 0
    done = instance.preau("app-password", "add", MARIE, "--label", "test")
    password = next(line.strip() for line in done.output.splitlines() if line.startswith("  "))
    with serving(instance) as process:
        clients = Clients(instance, password)
        threads = [threading.Thread(target=work) for work in (clients.deliver, clients.append)]
        for thread in threads:
            thread.start()
        try:
            for role in KILLED:
                _goes_on(clients)
                before = role_pids(process.pid, role)
                os.kill(before[0], signal.SIGKILL)
                _comes_back(process.pid, role, before)
            _goes_on(clients)
        finally:
            clients.stop.set()
            for thread in threads:
                thread.join(60)
        found = subjects(instance, password)
        assert clients.answered - found.keys() == set()
        assert {name: times for name, times in found.items() if times != 1} == {}
    for told in clients.refused:  # only what says: later
        assert told.startswith("lmtp 4") or "UNAVAILABLE" in told or "INUSE" in told, told
    done = instance.preau("store", "verify", MARIE, "--repair")
    assert done.code == 0, done.output + done.error
    done = instance.preau("store", "verify", MARIE)
    assert done.code == 0, done.output + done.error


def _comes_back(supervisor: int, role: str, before: list[int]) -> None:
    def is_back() -> bool:
        now = role_pids(supervisor, role)
        return before[0] not in now and len(now) == len(before)

    wait_for(is_back, 60)


def _goes_on(clients: Clients) -> None:
    """Wait until both clients have something answered that was not before."""
    before = Counter(name[:4] for name in clients.answered)

    def answered() -> bool:
        now = Counter(name[:4] for name in set(clients.answered))
        return now["lmtp"] > before["lmtp"] + 2 and now["imap"] > before["imap"] + 2

    wait_for(answered, 90)
