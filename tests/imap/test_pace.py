"""Where brief writes run (imap/pace.py): on the loop while the disk is quick, in threads when it is not."""

import socket
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from own_imap import PASSWORD, own_imap
from preau.imap.pace import LONGEST, PAUSE, SHORT, Pace
from preau.storage.api import StoreLimits, Unavailable, WouldWait
from preau.storage.changes import SilentBus
from preau.storage.database import commit
from preau.storage.memory_mail import MemoryMail
from preau.storage.store import FileStore


class Clock:
    """A clock that stands still, unless a call takes time."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    def take(self, seconds: float) -> Callable[[], None]:
        """A call of so many seconds."""

        def call() -> None:
            self.now += seconds

        return call


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def quick(clock: Clock) -> Pace:
    """The pace of a disk that was quick so far."""
    pace = Pace(clock)
    assert not pace.on_loop
    pace.timed(clock.take(SHORT / 10))()
    assert pace.on_loop
    return pace


def test_a_slow_disk_is_left_to_threads_from_the_beginning(clock: Clock) -> None:
    pace = Pace(clock)
    pace.timed(clock.take(2 * SHORT))()
    assert not pace.on_loop


def test_one_long_write_is_the_last_on_the_loop(clock: Clock, quick: Pace) -> None:
    quick.run(clock.take(2 * LONGEST))
    assert not quick.on_loop


def test_a_checkpoint_now_and_then_does_not_matter(clock: Clock, quick: Pace) -> None:
    for number in range(1_000):
        quick.run(clock.take(LONGEST / 2 if number % 80 == 0 else SHORT / 5))
        assert quick.on_loop


def test_many_that_take_a_little_too_long_go_to_threads(clock: Clock, quick: Pace) -> None:
    for _ in range(100):
        quick.run(clock.take(2 * SHORT))
    assert not quick.on_loop


def test_it_comes_back_when_one_in_a_thread_was_short_after_the_pause(clock: Clock, quick: Pace) -> None:
    quick.run(clock.take(2 * LONGEST))
    quick.timed(clock.take(SHORT / 10))()
    assert not quick.on_loop, "too early"
    clock.now += PAUSE
    quick.timed(clock.take(2 * SHORT))()
    assert not quick.on_loop, "still slow"
    quick.timed(clock.take(SHORT / 10))()
    assert quick.on_loop


def test_what_would_have_waited_tells_nothing(clock: Clock, quick: Pace) -> None:
    def busy() -> None:
        clock.now += 2 * LONGEST
        raise WouldWait

    with pytest.raises(WouldWait):
        quick.run(busy)
    assert quick.on_loop


def test_a_failed_write_counts_as_long_as_it_took(clock: Clock, quick: Pace) -> None:
    def fail() -> None:
        clock.now += 2 * LONGEST
        raise Unavailable

    with pytest.raises(Unavailable):
        quick.run(fail)
    assert not quick.on_loop
    clock.now += PAUSE
    with pytest.raises(Unavailable):
        quick.timed(fail)()
    assert not quick.on_loop


class Client:
    """Signed in, one message in INBOX."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=20)
        self.file = self.socket.makefile("rb")
        self.say(f"LOGIN ana {PASSWORD}")
        self.say("APPEND INBOX {9+}\r\nA: b\r\n\r\nx\r\n")
        self.say("SELECT INBOX")

    def say(self, command: str) -> bytes:
        """The tagged answer."""
        self.socket.sendall(f"t {command}\r\n".encode())
        while not (line := self.file.readline()).startswith(b"t "):
            assert line, "the server closed"
        return line

    def close(self) -> None:
        self.file.close()
        self.socket.close()


def test_a_disk_that_hangs_sends_writes_to_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clock: Clock) -> None:
    flush = SHORT / 10
    where: list[bool] = []  # of each commit of a STORE: on the loop

    def flushed(connection: object) -> None:
        name = threading.current_thread().name
        if not name.startswith("preau-store"):  # which work in the background
            clock.now += flush
            where.append(name == "own-imap")
        commit(connection)  # type: ignore[arg-type]  # what the store passed on

    folder = tmp_path / "server"
    folder.mkdir()
    store = FileStore(tmp_path / "data", sealing=True, limits=StoreLimits(), bus=SilentBus())
    with own_imap(folder, store=store) as own:
        client = Client(own.port)
        host = own.server._host
        assert host is not None
        host.pace = Pace(clock)
        monkeypatch.setattr("preau.storage.account_db.commit", flushed)
        assert client.say("STORE 1 +FLAGS (\\Seen)") == b"t OK STORE completed\r\n"
        assert client.say("STORE 1 -FLAGS (\\Seen)") == b"t OK STORE completed\r\n"
        assert where == [False, True], "the first one in a thread, to see"
        flush = 3 * LONGEST
        client.say("STORE 1 +FLAGS (\\Seen)")
        client.say("STORE 1 -FLAGS (\\Seen)")
        assert client.say("FETCH 1 BODY[]").startswith(b"t OK")
        assert where == [False, True, True, False, False], "one of them held the loop up"
        flush, clock.now = SHORT / 10, clock.now + PAUSE
        client.say("STORE 1 -FLAGS (\\Seen)")
        client.say("STORE 1 +FLAGS (\\Seen)")
        assert where[5:] == [False, True]
        client.close()


def test_what_would_wait_on_the_loop_is_done_in_a_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    storing = MemoryMail.store_flags

    def busy(self: MemoryMail, *args: object, waits: bool = True, **kwargs: object) -> object:
        if not waits:
            raise WouldWait
        assert threading.current_thread().name.startswith("imap-store")
        return storing(self, *args, **kwargs)  # type: ignore[arg-type]  # as they came

    monkeypatch.setattr(MemoryMail, "store_flags", busy)
    with own_imap(tmp_path) as own:
        client = Client(own.port)
        assert client.say("STORE 1 +FLAGS (\\Seen)") == b"t OK STORE completed\r\n"
        host = own.server._host
        assert host is not None
        host.pace._on_loop = True
        assert client.say("STORE 1 -FLAGS (\\Seen)") == b"t OK STORE completed\r\n"
        client.close()
