import os
import socket
from pathlib import Path

import pytest

from preau.daemon.notify import Notifier, NotifyReceiver, notifier


def test_what_is_said_arrives_with_the_senders_pid(tmp_path: Path) -> None:
    receiver = NotifyReceiver(tmp_path / "notify")
    assert (tmp_path / "notify").stat().st_mode & 0o777 == 0o600
    said = Notifier(str(receiver.path))
    said.ready("3 listeners\nsecond line")
    said.alive()
    said.reloading()
    said.stopping()
    said.status("draining")
    messages = receiver.receive()
    assert {pid for pid, _ in messages} == {os.getpid()}
    fields = [fields for _, fields in messages]
    assert fields[0] == {"READY": "1", "STATUS": "3 listeners second line"}
    assert fields[1] == {"WATCHDOG": "1"}
    assert fields[2]["RELOADING"] == "1"
    assert int(fields[2]["MONOTONIC_USEC"]) > 0
    assert fields[3:] == [{"STOPPING": "1"}, {"STATUS": "draining"}]
    assert receiver.receive() == []
    receiver.close()
    said.alive()  # nobody there any more: no reason to raise
    said.close()
    said.alive()


def test_the_abstract_namespace_works() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        name = f"preau-test-{os.getpid()}"
        listening.bind(f"\0{name}")
        listening.settimeout(10)
        said = Notifier(f"@{name}")
        said.ready()
        assert listening.recv(100) == b"READY=1"
        said.close()


@pytest.mark.parametrize("address", [None, "", "relative"])
def test_without_an_address_nothing_is_said(address: str | None) -> None:
    Notifier(address).ready()


@pytest.mark.parametrize(
    ("variables", "limit"),
    [
        pytest.param({}, None, id="none"),
        pytest.param({"WATCHDOG_USEC": "30000000"}, 30.0, id="for whoever reads it"),
        pytest.param({"WATCHDOG_USEC": "500000", "WATCHDOG_PID": str(os.getpid())}, 0.5, id="for us"),
        pytest.param({"WATCHDOG_USEC": "500000", "WATCHDOG_PID": str(os.getppid())}, 0.5, id="from our supervisor"),
        pytest.param({"WATCHDOG_USEC": "500000", "WATCHDOG_PID": "999999999"}, None, id="for another"),
        pytest.param({"WATCHDOG_USEC": "soon"}, None, id="no number"),
    ],
)
def test_the_environment_is_read_once(variables: dict[str, str], limit: float | None) -> None:
    assert notifier(variables).watchdog_limit == limit
    assert variables == {}
