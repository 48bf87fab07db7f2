import os
import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from preau.smtp.spool import Envelope, Spool, SpoolRecipient, parse_envelope, render_envelope
from preau.storage import atomic
from preau.storage.api import NotFound, Unavailable
from preau.storage.seal import SealKind, seal_bytes

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
    with queue.open(first) as opened:
        dek = opened.dek
        queue.activate([first])
        assert opened.read(0, 9) == b"Subject: "
    queue.activate([first])
    assert queue.incoming() == [second]
    assert queue.active() == [first]
    with queue.open(first, dek) as one, queue.open(second) as other:
        assert one.read() == other.read() == b"Subject: x\r\n\r\nhello\r\n"
    for identifier in (first, first, second):
        queue.remove(identifier)
    assert queue.incoming() == queue.active() == []
    with pytest.raises(NotFound):
        queue.envelope(first)


@pytest.mark.parametrize("size", [0, 1, 65_535, 65_536, 65_537, 131_000, 131_072])
def test_message_and_envelope_lie_in_one_file_and_are_told_apart(tmp_path: Path, size: int) -> None:
    queue = spool(tmp_path)
    data = os.urandom(size)
    identifier = put(queue, data)
    with queue.open(identifier) as opened:
        assert opened.size == size
        assert opened.read() == data
        assert opened.read(size) == opened.read(size + 5, 10) == b""
        assert opened.read(max(0, size - 3), 100) == data[max(0, size - 3) :]
        assert opened.envelope() == replace(ENVELOPE, size=size)


def test_a_message_that_was_written_again_opens_though_its_old_key_is_known(tmp_path: Path) -> None:
    queue = spool(tmp_path)
    identifier = "0123456789abcdef01"
    deks = []
    for data in (b"one", b"two"):
        writer = queue.new(identifier)
        writer.write(data)
        writer.commit(ENVELOPE)
        with queue.open(identifier) as opened:
            deks.append(opened.dek)
    with queue.open(identifier, deks[0]) as opened:
        assert (opened.read(), opened.dek) == (b"two", deks[1])
    queue.path("incoming", identifier).write_bytes(b"x" * 200)
    with pytest.raises(Unavailable):
        queue.open(identifier, deks[1])


def test_a_folder_that_was_replaced_is_found_again(tmp_path: Path) -> None:
    queue = spool(tmp_path)
    put(queue)
    (tmp_path / "queue" / "incoming").rename(tmp_path / "away")
    with pytest.raises(Unavailable):
        put(queue)
    (tmp_path / "queue" / "incoming").mkdir()
    identifier = put(queue)
    assert queue.incoming() == [identifier]


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
    queue.new("0123456789abcdef01").write(b"left by a crash" * 10_000)
    again = queue.new("0123456789abcdef01")
    again.abort()
    kept = put(queue)
    assert [file.stem for file in (tmp_path / "queue").rglob("*.*")] == [kept]


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
    assert counting.calls >= 7
    queue.remove(queue.incoming()[0])
    for fail_at in range(1, counting.calls + 1):
        queue = spool(tmp_path)
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
    queue.new().write(b"x" * 200_000)
    for file in (tmp_path / "queue").rglob("*.*"):
        os.utime(file, (now[0], now[0]))
    assert queue.sweep() == 0
    now[0] += 90_000
    assert queue.sweep() == 1
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
    queue.path("incoming", first).write_bytes(queue.path("incoming", second).read_bytes())
    with pytest.raises(Unavailable):
        queue.envelope(first)


@pytest.mark.parametrize("tail", [b"", b"\0\0\0", b"\0\0\0\x01", b"\xff\xff\xff\xff", b"{}\0\0\0\x02"], ids=repr)
def test_a_file_without_an_envelope_is_no_message(tmp_path: Path, tail: bytes) -> None:
    queue = spool(tmp_path)
    name = "0123456789abcdef01"
    queue.path("incoming", name).write_bytes(seal_bytes(tail, PUBLIC, None, SealKind.SPOOL)[0])
    with pytest.raises(Unavailable):
        queue.envelope(name)


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


@settings(max_examples=50)
@given(ENVELOPES)
def test_envelopes_come_back(envelope: Envelope) -> None:
    assert parse_envelope("0" * 18, render_envelope("0" * 18, envelope, 7)) == replace(envelope, size=7)


@settings(max_examples=50)
@given(st.binary(max_size=40) | st.sampled_from([b"{}", b"[]", b'{"version":1,"id":"x"}', b"1", b"[" * 5000]))
def test_what_is_no_envelope_is_refused(data: bytes) -> None:
    with pytest.raises(Unavailable):
        parse_envelope("x", data)
