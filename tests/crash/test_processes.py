"""Roles of a running instance are killed while clients work: temporary errors, recovery without a hand, nothing lost.

Not at any moment: each role at its nth call of each kind that matters, by strace, which kills where the call would begin:
between a rename and the flush of its directory, a commit and its answer, a request to auth and what comes back.
"""

import base64
import contextlib
import http.client
import imaplib
import os
import signal
import smtplib
import subprocess
import threading
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import pytest

import ports
from crash_run import ALL, note
from disk_log import needs_strace
from instance import DOMAIN, Instance, command_of, descendants, is_gone, make_instance, serving, wait_for

MARIE = f"marie.durand@{DOMAIN}"
SETTINGS = """
[imap]
workers = 1
[dav]
workers = 1
[auth]
patience = 3
[queue]
steps = [2]
delivery_retry_seconds = 2
"""
STORED = ("renameat", "fsync", "fdatasync", "pwrite64", "sendto")
CALLS: dict[str, tuple[str, ...]] = {
    "auth": ("write", "fdatasync", "renameat", "sendto"),
    "keys": ("recvfrom", "sendto"),
    "delivery": STORED,
    "imap": STORED,
    "dav": STORED,
    "queue": (*STORED, "unlinkat"),
    "smtp": ("renameat", "fsync", "fdatasync", "sendto"),
}
"""What each role is killed at: the calls by which something becomes certain, is asked or is answered."""
KILLS = [
    (role, call, number)
    for role, calls in CALLS.items()
    for place, call in enumerate(calls)
    for number in ((1, 4) if ALL else (1,))
    if ALL or place == len(role) % len(calls)
]
GROUPS = [pytest.param([kill for kill in KILLS if kill[0] == role], id=role) for role in CALLS] if ALL else [KILLS]
LOST = (
    OSError,
    EOFError,
    http.client.HTTPException,
    smtplib.SMTPServerDisconnected,
    smtplib.SMTPConnectError,
    imaplib.IMAP4.abort,
)


@dataclass
class Clients:
    """One that delivers, one that appends, one that submits, one that puts appointments; each of them once."""

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

    def submit(self) -> None:
        """Submission with STARTTLS and a sign-in, a connection a message; it arrives by the queue."""
        number = 0
        while not self.stop.is_set():
            number += 1
            name = f"smtp-{number}"
            try:
                with smtplib.SMTP("localhost", self.instance.submission, timeout=30) as client:
                    client.starttls(context=self.instance.trusting())
                    client.login(MARIE, self.password)
                    client.sendmail(MARIE, [MARIE], f"From: {MARIE}\r\nSubject: {name}\r\n\r\n{name}\r\n")
                    self.answered.add(name)
            except smtplib.SMTPRecipientsRefused as error:
                self.refused += [f"smtp {code} {text!r}" for code, text in error.recipients.values()]
            except smtplib.SMTPResponseException as error:
                self.refused.append(f"smtp {error.smtp_code} {error.smtp_error!r}")
            except LOST:
                pass
            self.stop.wait(0.05)

    def put(self) -> None:
        """PUT over HTTPS, a connection an appointment."""
        number = 0
        while not self.stop.is_set():
            number += 1
            name = f"dav--{number}"
            try:
                status, _ = request(self.instance, self.password, "PUT", f"{name}.ics", appointment(name))
                if status in (201, 204):
                    self.answered.add(name)
                else:
                    self.refused.append(f"dav {status}")
            except LOST:
                pass
            self.stop.wait(0.05)


def appointment(name: str) -> str:
    lines = ("BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//x//y//", "BEGIN:VEVENT", f"UID:{name}", "DTSTAMP:20260101T000000Z")
    return "\r\n".join([*lines, "DTSTART:20260102T080000Z", "END:VEVENT", "END:VCALENDAR", ""])


def request(instance: Instance, password: str, method: str, name: str, body: str = "") -> tuple[int, bytes]:
    connection = http.client.HTTPSConnection("localhost", instance.base + 443, context=instance.trusting(), timeout=30)
    credentials = base64.b64encode(f"{MARIE}:{password}".encode()).decode()
    headers = {"Authorization": f"Basic {credentials}", "Content-Type": "text/calendar; charset=utf-8"}
    try:
        connection.request(method, f"/dav/calendars/{MARIE}/calendar/{name}", body or None, headers)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


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


@pytest.mark.parametrize("kills", GROUPS)
def test_roles_killed_at_each_call_while_clients_work(short: Path, kills: list[tuple[str, str, int]]) -> None:
    needs_strace()
    instance = make_instance(short, ports.free_base(), settings=SETTINGS)
    assert instance.preau("user", "add", MARIE, "--name", "Marie Durand").code == 0
    done = instance.preau("app-password", "add", MARIE, "--label", "test")
    password = next(line.strip() for line in done.output.splitlines() if line.startswith("  "))
    with serving(instance) as process:
        clients = Clients(instance, password)
        threads = [threading.Thread(target=work) for work in (clients.deliver, clients.append, clients.submit, clients.put)]
        for thread in threads:
            thread.start()
        made = 0
        try:
            for role, call, number in kills:
                _goes_on(clients)
                before = role_pids(process.pid, role)
                made += _kill_at(before[0], call, number)
                _comes_back(process.pid, role, before)
            _goes_on(clients)
        finally:
            clients.stop.set()
            for thread in threads:
                thread.join(60)
        mails = {name for name in clients.answered if not name.startswith("dav")}
        wait_for(lambda: mails <= subjects(instance, password).keys(), 90)  # what is in the queue is tried again
        found = subjects(instance, password)
        assert {name: times for name, times in found.items() if times != 1} == {}
        for name in clients.answered - mails:
            assert request(instance, password, "GET", f"{name}.ics") == (200, appointment(name).encode())
    for told in clients.refused:  # only what says: later
        assert told.startswith(("lmtp 4", "smtp 4", "dav 503")) or "UNAVAILABLE" in told or "INUSE" in told, told
    assert made > len(kills) // 2
    note("roles killed: " + " ".join(sorted({role for role, _, _ in kills})), killed=made)
    done = instance.preau("store", "verify", MARIE)
    assert done.code == 0, done.output + done.error


def _kill_at(pid: int, call: str, number: int) -> bool:
    """SIGKILL at the beginning of the process's nth call; by hand, and False, if it makes none for a while."""
    options = ["-f", "-qq", "-o", os.devnull, "-e", f"trace={call}", "-e", f"inject={call}:signal=KILL:when={number}"]
    with subprocess.Popen(["strace", *options, "-p", str(pid)], stderr=subprocess.DEVNULL) as trace:
        try:
            wait_for(lambda: is_gone(pid), 8)
        except AssertionError:
            os.kill(pid, signal.SIGKILL)
            return False
        finally:
            trace.kill()  # it does not end by itself when its first thread dies among others
    return True


def _comes_back(supervisor: int, role: str, before: list[int]) -> None:
    def is_back() -> bool:
        now = role_pids(supervisor, role)
        return before[0] not in now and len(now) == len(before)

    wait_for(is_back, 60)


def _goes_on(clients: Clients) -> None:
    """Wait until all clients have something answered that was not before."""
    before = Counter(name[:4] for name in clients.answered.copy())

    def answered() -> bool:
        now = Counter(name[:4] for name in clients.answered.copy())
        return all(now[kind] > before[kind] + 1 for kind in ("lmtp", "imap", "smtp", "dav-"))

    wait_for(answered, 90)
