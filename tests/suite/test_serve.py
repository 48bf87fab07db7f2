"""All roles, as `preau serve` runs them: mail in by LMTP, read by IMAP, revoked, killed, ended."""

import contextlib
import imaplib
import os
import signal
import smtplib
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from command import preau
from instance import DOMAIN, Instance, command_of, descendants, is_gone, make_instance, serving, wait_for

MARIE = f"marie.durand@{DOMAIN}"
ROLES = ("keys", "auth", "delivery", "queue", "smtp", "imap", "dav")
SMALL = "[imap]\nworkers = 1\n[dav]\nworkers = 1\n"
LETTER = f"From: a@b.example\r\nTo: {MARIE}\r\nSubject: {{}}\r\n\r\nBonjour.\r\n"


def make_people(instance: Instance) -> str:
    """Marie with an app password, which is returned."""
    assert instance.preau("user", "add", MARIE, "--name", "Marie Durand").code == 0
    done = instance.preau("app-password", "add", MARIE, "--label", "test")
    assert done.code == 0, done.error
    return next(line.strip() for line in done.output.splitlines() if line.startswith("  "))


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, module_base: int) -> Iterator[tuple[Instance, str, int]]:
    """An instance that serves, Marie's app password, the supervisor's pid."""
    instance = make_instance(tmp_path_factory.mktemp("serve") / "i", module_base, settings="[auth]\npatience = 3\n")
    password = make_people(instance)
    with serving(instance) as process:
        yield instance, password, process.pid


def deliver(instance: Instance, subject: str, *recipients: str) -> dict[str, tuple[int, bytes]]:
    """By LMTP over TCP; who was refused."""
    with smtplib.LMTP("127.0.0.1", instance.lmtp, timeout=30) as client:
        return client.sendmail("a@b.example", list(recipients or (MARIE,)), LETTER.format(subject))


@contextlib.contextmanager
def signed_in(instance: Instance, password: str) -> Iterator[imaplib.IMAP4_SSL]:
    """An IMAP session over TLS."""
    client = imaplib.IMAP4_SSL("localhost", instance.imaps, ssl_context=instance.trusting(), timeout=30)
    try:
        client.login(MARIE, password)
        yield client
    finally:
        with contextlib.suppress(OSError, imaplib.IMAP4.error):
            client.logout()
        client.sock.close()


def role_pids(supervisor: int, role: str) -> list[int]:
    """Processes of a role."""
    return [pid for pid in descendants(supervisor) if command_of(pid)[3:6] == ["preau.suite.main", "serve", role]]


def test_every_role_has_its_processes(running: tuple[Instance, str, int]) -> None:
    _, _, supervisor = running
    workers = len(os.sched_getaffinity(0))
    assert {role: len(role_pids(supervisor, role)) for role in ROLES} == {
        "keys": 1,
        "auth": 1,
        "delivery": 1,
        "queue": 1,
        "smtp": 1,
        "imap": workers,
        "dav": workers,
    }


def test_a_message_goes_in_and_comes_out(running: tuple[Instance, str, int]) -> None:
    instance, password, _ = running
    assert deliver(instance, "aller") == {}
    with signed_in(instance, password) as client:
        client.select("INBOX")
        _, (found,) = client.search(None, "SUBJECT", "aller")
        (number,) = found.split()
        _, fetched = client.fetch(number.decode(), "(BODY.PEEK[])")
        assert isinstance(fetched[0], tuple)
        assert fetched[0][1].endswith(b"Subject: aller\r\n\r\nBonjour.\r\n")


def test_strangers_are_refused_at_once(running: tuple[Instance, str, int]) -> None:
    refused = deliver(running[0], "deux", MARIE, f"nobody@{DOMAIN}")
    assert {address: code for address, (code, _) in refused.items()} == {f"nobody@{DOMAIN}": 550}


def test_lmtp_on_the_unix_socket(running: tuple[Instance, str, int]) -> None:
    instance, _, _ = running
    with smtplib.LMTP(str(instance.folder / "run" / "delivery.sock"), timeout=30) as client:
        assert client.sendmail("a@b.example", [MARIE], LETTER.format("par la socket")) == {}


def test_starttls(running: tuple[Instance, str, int]) -> None:
    instance, password, _ = running
    client = imaplib.IMAP4("localhost", instance.imap, timeout=30)
    assert "LOGINDISABLED" in client.capabilities
    client.starttls(instance.trusting())
    assert client.login(MARIE, password)[0] == "OK"
    client.logout()


def test_a_wrong_password_is_refused(running: tuple[Instance, str, int]) -> None:
    instance, _, _ = running
    with pytest.raises(imaplib.IMAP4.error, match="AUTHENTICATIONFAILED"), signed_in(instance, "wrong"):
        pass


def test_commands_speak_to_the_daemons(running: tuple[Instance, str, int]) -> None:
    instance, _, _ = running
    for words in (["user", "list"], ["mailbox", "list", MARIE], ["traces", "show", MARIE], ["traces", "verify"], ["check"]):
        done = instance.preau(*words)
        assert done.code == 0, (words, done.error, done.output)
    assert "INBOX" in instance.preau("mailbox", "list", MARIE).output


def test_a_second_instance_of_a_role_is_refused(running: tuple[Instance, str, int]) -> None:
    instance, _, _ = running
    for role in ROLES:
        done = subprocess_preau(instance, "serve", role)
        assert done.returncode == 1, role
        assert b"Traceback" not in done.stderr, done.stderr.decode()


def subprocess_preau(instance: Instance, *words: str) -> subprocess.CompletedProcess[bytes]:
    """A command in a process of its own."""
    command = [str(Path(sys.executable).with_name("preau")), *words, "--config", str(instance.config)]
    return subprocess.run(command, capture_output=True, timeout=60, check=False)


def test_a_revoked_session_ends(running: tuple[Instance, str, int]) -> None:
    instance, _, _ = running
    made = instance.preau("app-password", "add", MARIE, "--label", "lost")
    password = next(line.strip() for line in made.output.splitlines() if line.startswith("  "))
    credential = made.output.split()[2]
    with signed_in(instance, password) as client:
        client.noop()
        assert instance.preau("app-password", "revoke", MARIE, credential).code == 0
        client.sock.settimeout(5)
        with contextlib.suppress(OSError, imaplib.IMAP4.abort):
            while client.sock.recv(4096):
                pass
    with pytest.raises(imaplib.IMAP4.error), signed_in(instance, password):
        pass


def test_a_locked_account_is_refused_at_once_also_where_it_is_still_open(running: tuple[Instance, str, int]) -> None:
    instance, password, _ = running
    with signed_in(instance, password) as client:
        client.noop()
    assert instance.preau("user", "lock", MARIE, "--reason", "essai").code == 0
    try:
        for _ in range(4):  # whichever worker takes the connection
            with pytest.raises(imaplib.IMAP4.error, match="CONTACTADMIN"), signed_in(instance, password):
                pass
    finally:
        assert instance.preau("user", "unlock", MARIE).code == 0
    with signed_in(instance, password) as client:
        assert client.select("INBOX")[0] == "OK"


@pytest.mark.parametrize("role", ["imap", "smtp", "queue", "delivery", "auth", "keys"])
def test_a_killed_role_comes_back(role: str, running: tuple[Instance, str, int]) -> None:
    instance, password, supervisor = running
    before = role_pids(supervisor, role)
    os.kill(before[0], signal.SIGKILL)
    wait_for(lambda: len(role_pids(supervisor, role)) == len(before) and role_pids(supervisor, role) != before)

    def works() -> bool:
        try:
            if deliver(instance, f"après {role}".encode("ascii", "ignore").decode()):
                return False
            with signed_in(instance, password) as client:
                return client.select("INBOX")[0] == "OK"
        except (OSError, smtplib.SMTPException, imaplib.IMAP4.error):
            return False

    wait_for(works, 30)


def test_sigterm_leaves_nothing_behind(tmp_path: Path, free_base: Callable[[], int]) -> None:
    instance = make_instance(tmp_path / "i", free_base(), settings=SMALL)
    password = make_people(instance)
    with serving(instance) as process:
        below = descendants(process.pid)
        assert len(below) >= len(ROLES)
        with signed_in(instance, password) as client:
            client.select("INBOX")
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0
    assert all(is_gone(pid) for pid in below)
    assert not (instance.folder / "ready").exists()
    run = instance.run
    assert [path.name for path in run.rglob("*") if path.is_socket()] == []
    for port in (instance.imap, instance.imaps, instance.lmtp, instance.smtp, instance.submission, instance.submissions):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
    log = (instance.folder / "serve.log").read_text()
    assert "Traceback" not in log
    assert " error " not in log
    with serving(instance), signed_in(instance, password) as client:  # and all is there again
        assert client.select("INBOX")[0] == "OK"


def test_roles_end_with_a_killed_supervisor(tmp_path: Path, free_base: Callable[[], int]) -> None:
    instance = make_instance(tmp_path / "i", free_base(), settings=SMALL)
    with serving(instance) as process:
        below = descendants(process.pid)
        process.kill()
        process.wait()
        wait_for(lambda: all(is_gone(pid) for pid in below), 30)


def test_a_wrong_certificate_is_said(tmp_path: Path, free_base: Callable[[], int]) -> None:
    instance = make_instance(tmp_path / "i", free_base(), settings=SMALL)
    (instance.folder / "tls" / "server.pem").write_text("no certificate")
    done = subprocess_preau(instance, "serve")
    assert done.returncode == 1
    assert b"server.pem" in done.stderr
    assert b"Traceback" not in done.stderr


def test_sighup_takes_a_new_certificate(tmp_path: Path, free_base: Callable[[], int]) -> None:
    instance = make_instance(tmp_path / "i", free_base(), settings=SMALL)
    password = make_people(instance)
    with serving(instance) as process, signed_in(instance, password) as client:
        before = client.sock.getpeercert(binary_form=True)  # type: ignore[attr-defined]  # an SSLSocket
        (instance.folder / "tls" / "server.pem").unlink()
        assert preau("init", instance.folder, "--domain", DOMAIN).code == 0
        process.send_signal(signal.SIGHUP)

        def is_new() -> bool:
            with signed_in(instance, password) as another:
                return another.sock.getpeercert(binary_form=True) != before  # type: ignore[attr-defined,no-any-return]

        wait_for(is_new)
        assert client.noop()[0] == "OK"  # the connection of before still stands
