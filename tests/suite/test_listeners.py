"""Sockets: bound from the settings, or handed over, as systemd does it with the units of deploy/systemd."""

import contextlib
import json
import os
import signal
import smtplib
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from instance import Instance, make_instance, wait_for
from preau.config.load import load_settings
from preau.daemon.listener import bind_tcp, bind_unix, handed_over
from preau.daemon.rpc import RpcRefused, call_blocking
from preau.suite.listeners import as_listeners, of_role, open_sockets
from preau.suite.outcome import Refused

ROLES = ["keys", "auth", "delivery", "queue", "smtp", "imap", "dav"]


@pytest.fixture
def instance(tmp_path: Path, free_base: Callable[[], int]) -> Instance:
    return make_instance(tmp_path / "i", free_base(), settings="[imap]\nworkers = 1\n[dav]\nworkers = 1\n")


def test_what_the_settings_say_is_bound(instance: Instance) -> None:
    sockets = open_sockets(load_settings(instance.config), ROLES, {})
    with contextlib.ExitStack() as stack:
        for _, one in sockets:
            stack.enter_context(one)
        assert [name for name, _ in of_role(sockets, "delivery")] == ["delivery", "lmtp"]
        assert [(each.name, each.tls) for each in as_listeners(of_role(sockets, "imap"))] == [("imap", False), ("imaps", True)]
        assert [(each.name, each.tls) for each in as_listeners(of_role(sockets, "smtp"))] == [
            ("smtp", False),
            ("submission", False),
            ("submissions", True),
        ]
        assert of_role(sockets, "queue") == []  # its sockets are between our processes: it makes them itself
        assert of_role(sockets, "imap")[1][1].getsockname() == ("127.0.0.1", instance.imaps)


def test_what_is_handed_over_is_not_bound(instance: Instance) -> None:
    with bind_tcp("127.0.0.1", 0) as given:
        sockets = open_sockets(load_settings(instance.config), ["imap"], {"imaps": [given]})
        assert [(name, one is given) for name, one in sockets] == [("imap", False), ("imaps", True)]
        sockets[0][1].close()


def test_every_address_that_cannot_be_had_is_told(instance: Instance) -> None:
    with bind_tcp("127.0.0.1", instance.imap), bind_tcp("127.0.0.1", instance.lmtp), pytest.raises(Refused) as caught:
        open_sockets(load_settings(instance.config), ROLES, {})
    assert f"imap 127.0.0.1:{instance.imap}" in str(caught.value)
    assert f"lmtp 127.0.0.1:{instance.lmtp}" in str(caught.value)


def test_a_socket_nobody_knows_is_refused(instance: Instance) -> None:
    with bind_tcp("127.0.0.1", 0) as given, pytest.raises(Refused, match="pop3"):
        open_sockets(load_settings(instance.config), ["imap"], {"pop3": [given]})


@contextlib.contextmanager
def activated(instance: Instance, role: str, sockets: list[tuple[str, socket.socket]]) -> Iterator[None]:
    """A role alone, with sockets handed over."""
    notify = instance.folder / f"{role}.notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told:
        told.bind(os.fspath(notify))
        told.settimeout(60)
        variables, descriptors = handed_over(sockets)
        command = [str(Path(sys.executable).with_name("preau")), "serve", role, "--config", str(instance.config)]
        environment = {**os.environ, **variables, "NOTIFY_SOCKET": str(notify)}
        process = subprocess.Popen(command, pass_fds=descriptors, env=environment)
        try:
            assert told.recv(4096).startswith(b"READY=1")
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0


def test_roles_run_alone_on_sockets_that_systemd_made(instance: Instance) -> None:
    run = instance.run
    with contextlib.ExitStack() as stack:

        def unix(name: str) -> tuple[str, socket.socket]:
            return name, stack.enter_context(bind_unix(run / f"{name}.sock"))

        keys = [unix("keys-auth"), unix("keys-imap"), unix("keys-delivery"), unix("keys-admin")]
        auth = [unix("auth-imap"), unix("auth-delivery"), unix("admin")]
        keys += [unix("keys-queue"), unix("keys-smtp"), unix("keys-dav")]
        auth += [unix("auth-queue"), unix("auth-smtp"), unix("auth-dav")]
        delivery = [unix("delivery")]
        hints = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
        hints.bind(os.fspath(run / "queue.sock"))
        queue = [unix("queue-admin"), ("queue", hints)]
        with activated(instance, "keys", keys), activated(instance, "auth", auth), activated(instance, "delivery", delivery):
            assert instance.preau("user", "add", "marie@ecole.example").code == 0
            found = call_blocking(run / "auth-delivery.sock", "lookup", address="marie@ecole.example")
            assert len(found["local"]) == 1
            with pytest.raises(RpcRefused):  # a socket answers its own role alone
                call_blocking(run / "auth-imap.sock", "lookup", address="marie@ecole.example")
            with pytest.raises(RpcRefused):
                call_blocking(run / "keys-imap.sock", "pepper")
            with pytest.raises(RpcRefused):
                call_blocking(run / "keys-delivery.sock", "queue_key")
            assert "secret" not in call_blocking(run / "keys-smtp.sock", "queue_key")
            with activated(instance, "queue", queue), activated(instance, "smtp", []):
                with smtplib.SMTP("127.0.0.1", instance.smtp, timeout=30) as client:
                    client.sendmail("a@b.example", ["marie@ecole.example"], "Subject: x\r\n\r\nx\r\n")
                wait_for(lambda: json.loads(instance.preau("queue", "list", "--json").output) == [])
                rows = json.loads(instance.preau("mailbox", "list", "marie@ecole.example", "--json").output)
                assert [row["messages"] for row in rows if row["name"] == "INBOX"] == [1]
            # What systemd made stays when a role ends.
            assert (run / "queue.sock").is_socket()
            assert (run / "queue-admin.sock").is_socket()
