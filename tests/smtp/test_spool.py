import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from preau.smtp.spool import Envelope, Spool, SpoolRecipient, parse_envelope, render_envelope
from preau.storage import atomic
from preau.storage.api import NotFound, Unavailable
from preau.storage.seal import SealKind, open_bytes

SECRET = bytes(range(32))
PUBLIC = X25519PrivateKey.from_private_bytes(SECRET).public_key().public_bytes_raw()
ENVELOPE = Envelope(
    "anne@example.com",
    (
        SpoolRecipient("bob@example.org", frozenset({"FAILURE", "DELAY"}), "rfc822;Bob@Example.Org"),
        SpoolRecipient("é@ü.example"),
    ),
    1_795_572_307,
    body="8BITMIME",
    smtputf8=True,
    ret="HDRS",
    envid="QQ+1",
    account="a" * 26,
    peer="192.0.2.1",
)


def spool(tmp_path: Path, **more: Any) -> Spool:
    return Spool(tmp_path / "queue", PUBLIC, SECRET, **more)


def put(into: Spool, data: bytes = b"Subject: x\r\n\r\nhello\r\n") -> str:
    writer = into.new()
    writer.write(data)
    return writer.commit(ENVELOPE)


def test_what_is_written_is_read_by_the_queue_alone(tmp_path: Path) -> None:
    receiver = Spool(tmp_path / "queue", PUBLIC)
    writer = receiver.new()
    data = os.urandom(200_000)
    writer.write(data[:7])
    writer.write(data[7:])
    assert writer.size == 200_000
    identifier = writer.commit(ENVELOPE)
    assert identifier == writer.id
    with pytest.raises(Unavailable):
        receiver.open(identifier)
    with pytest.raises(Unavailable):
        receiver.envelope(identifier)
    queue = spool(tmp_path)
    assert queue.incoming() == [identifier]
    read = queue.envelope(identifier)
    assert read.size == 200_000
    assert read.recipients == ENVELOPE.recipients
    with queue.open(identifier) as reader:
        assert reader.size == 200_000
        assert reader.read(65_530, 20) == data[65_530:65_550]
    for file in (tmp_path / "queue" / "incoming").iterdir():
        assert b"example" not in file.read_bytes()
        assert file.stat().st_mode & 0o007 == 0


def test_a_message_goes_from_incoming_to_active_and_away(tmp_path: Path) -> None:
    queue = spool(tmp_path)
    first, second = put(queue), put(queue)
    assert queue.incoming() == sorted([first, second])
    queue.activate([first])
    queue.activate([first])
    assert queue.incoming() == sorted([first, second])
    assert queue.active() == [first]
    queue.forget_incoming([first])
    queue.forget_incoming([first])
    assert queue.incoming() == [second]
    assert queue.open(first).read() == queue.open(second).read()
    queue.remove(first)
    queue.remove(first)
    queue.remove(second)
    assert queue.incoming() == queue.active() == []
    with pytest.raises(NotFound):
        queue.envelope(first)


@pytest.mark.parametrize("name", ["", "../../etc/passwd/x", "0" * 17, "0" * 19, "é" * 18, "0" * 17 + "/"])
def test_what_is_no_id_is_not_found(tmp_path: Path, name: str) -> None:
    queue = spool(tmp_path)
    for call in (queue.envelope, queue.open, queue.remove, lambda name: queue.activate([name])):
        with pytest.raises(NotFound):
            call(name)


def test_an_aborted_message_leaves_nothing(tmp_path: Path) -> None:
    queue = spool(tmp_path)
    writer = queue.new()
    writer.write(b"x" * 100_000)
    writer.abort()
    writer.abort()
    with pytest.raises(ValueError, match="before"):
        writer.commit(ENVELOPE)
    queue.new("0123456789abcdef01").write(b"left by a crash")
    again = queue.new("0123456789abcdef01")
    again.abort()
    kept = put(queue)
    assert [file.stem for file in (tmp_path / "queue").rglob("*.*")] == [kept, kept]


class Failing(atomic.System):
    """System calls of which the nth fails, as a full disk does."""

    def __init__(self, fail_at: int) -> None:
        self.calls = 0
        self.fail_at = fail_at
        for name in ("open", "write", "fdatasync", "fsync", "rename"):
            setattr(self, name, self._counted(name, getattr(atomic.System, name)))

    def _counted(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*arguments: Any, **named: Any) -> Any:
            self.calls += 1
            if self.calls == self.fail_at:
                raise OSError(28, "No space left on device")
            return call(*arguments, **named)

        return counted


def test_a_message_is_there_in_full_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counting = Failing(0)
    queue = spool(tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(atomic, "system", counting)
        put(queue)
    assert counting.calls > 12
    queue.remove(queue.incoming()[0])
    for fail_at in range(1, counting.calls + 1):
        with monkeypatch.context() as patched:
            patched.setattr(atomic, "system", Failing(fail_at))
            with pytest.raises(Unavailable):
                put(queue)
        assert queue.incoming() == [], fail_at


def test_what_a_crash_left_is_swept_when_it_is_old(tmp_path: Path) -> None:
    now = [2_000_000_000.0]
    queue = spool(tmp_path, clock=lambda: now[0])
    kept = put(queue)
    taken = put(queue)
    queue.activate([taken])
    queue.forget_incoming([taken])
    lonely = put(queue)
    queue.path("incoming", lonely, ".env").unlink()
    queue.new().write(b"x")
    assert queue.incoming() == [kept]
    for file in (tmp_path / "queue").rglob("*.*"):
        os.utime(file, (now[0], now[0]))
    assert queue.sweep() == 0
    now[0] += 90_000
    assert queue.sweep() == 2
    assert queue.incoming() == [kept]
    assert queue.active() == [taken]


def test_the_queue_is_told(tmp_path: Path) -> None:
    path = tmp_path / "queue.sock"
    receiver = spool(tmp_path, hint_path=path)
    put(receiver)  # nobody listens: nothing happens
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(path))
        identifier = put(receiver)
        assert listening.recv(100) == identifier.encode()
    receiver.close()


def test_an_envelope_belongs_to_its_message(tmp_path: Path) -> None:
    queue = spool(tmp_path)
    first, second = put(queue), put(queue)
    incoming = tmp_path / "queue" / "incoming"
    (incoming / f"{first}.env").write_bytes((incoming / f"{second}.env").read_bytes())
    with pytest.raises(Unavailable):
        queue.envelope(first)
    (incoming / f"{first}.env").write_bytes((incoming / f"{second}.msg").read_bytes())
    with pytest.raises(Unavailable):
        queue.envelope(first)


TEXT = st.text(max_size=20)
RECIPIENTS = st.builds(SpoolRecipient, TEXT, st.frozensets(st.sampled_from(["SUCCESS", "FAILURE", "DELAY"])), TEXT)
ENVELOPES = st.builds(
    Envelope,
    TEXT,
    st.lists(RECIPIENTS, max_size=4).map(tuple),
    st.integers(0, 2**33),
    st.integers(0, 2**40),
    TEXT,
    st.booleans(),
)


@settings(max_examples=50, deadline=None)
@given(ENVELOPES)
def test_envelopes_come_back(envelope: Envelope) -> None:
    sealed = render_envelope("0" * 18, envelope, PUBLIC)
    assert parse_envelope("0" * 18, open_bytes(sealed, account=None, kind=SealKind.SPOOL, secret_key=SECRET)[0]) == envelope


@settings(max_examples=50, deadline=None)
@given(st.binary(max_size=40) | st.sampled_from([b"{}", b"[]", b'{"version":1,"id":"x"}', b"1", b"[" * 5000]))
def test_what_is_no_envelope_is_refused(data: bytes) -> None:
    with pytest.raises(Unavailable):
        parse_envelope("x", data)
