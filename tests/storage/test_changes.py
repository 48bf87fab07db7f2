"""Processes tell each other what changed, and nobody waits for anybody."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from preau.storage.api import AccountId, Change, ChangeBus
from preau.storage.changes import SilentBus, open_bus
from preau.storage.store import open_store
from store_contract import ANNE, BRUNO, KEYS


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Path]:
    # A socket's path holds 108 octets, and pytest's are long.
    directory = Path("/tmp") / f"preau-{os.getpid()}-{os.urandom(3).hex()}"
    directory.mkdir()
    yield directory
    for file in (directory / "changes").iterdir():
        file.unlink()
    (directory / "changes").rmdir()
    directory.rmdir()


def heard_by(bus: ChangeBus, *accounts: AccountId) -> list[Change]:
    """What the bus brings its listener, of these accounts (ANNE and BRUNO)."""
    heard: list[Change] = []
    bus.listen(heard.append)
    for account in accounts or (ANNE, BRUNO):
        bus.watch(account)
    return heard


def test_all_hear_and_so_does_who_speaks(run: Path) -> None:
    buses = [open_bus(run, f"imap-{number}") for number in range(3)]
    heard = [heard_by(bus) for bus in buses]
    change = Change(ANNE, 7, 1 << 40)
    buses[0].announce(change)
    assert heard == [[change], [], []]
    for bus in buses:
        bus.drain()
    assert heard == [[change]] * 3
    latest = open_bus(run, "delivery-9")
    late = heard_by(latest)
    buses[1].announce(Change(BRUNO, 1 << 33, 2))
    latest.drain()
    assert late == [Change(BRUNO, 1 << 33, 2)]
    for bus in (*buses, latest):
        bus.close()
    assert os.listdir(run / "changes") == []


def test_who_watches_an_account_hears_of_it_and_of_no_other(run: Path) -> None:
    writer, reader, silent = open_bus(run, "a"), open_bus(run, "b"), open_bus(run, "c")
    heard = heard_by(reader, ANNE)
    silent.watch(ANNE)  # it has no listener: a process that only writes is not woken

    def told() -> list[int]:
        writer.announce(Change(ANNE, 1, 1))
        writer.announce(Change(BRUNO, 2, 1))
        reader.drain()
        objects = [change.object for change in heard]
        heard.clear()
        return objects

    assert told() == [1]
    with pytest.raises(BlockingIOError):
        silent._socket.recv(1)  # type: ignore[attr-defined]  # the socket itself: nothing was sent
    reader.watch(ANNE)
    reader.unwatch(ANNE)
    assert told() == [1]  # still once
    reader.unwatch(ANNE)
    assert told() == []
    reader.watch(BRUNO)
    assert told() == [2]
    later: list[Change] = []
    silent.listen(later.append)  # what is watched already is heard from now on
    writer.announce(Change(ANNE, 3, 1))
    silent.drain()
    assert later == [Change(ANNE, 3, 1)]
    for bus in (writer, reader, silent):
        bus.close()


def test_a_process_without_a_board_hears_everything(run: Path) -> None:
    writer, reader = open_bus(run, "a"), open_bus(run, "b")
    heard = heard_by(reader, ANNE)
    (run / "changes" / "b.watch").unlink()
    writer.announce(Change(BRUNO, 1, 1))
    reader.drain()
    assert heard == [Change(BRUNO, 1, 1)]
    writer.close()
    reader.close()


def test_an_open_account_is_watched_and_a_closed_one_is_not(tmp_path: Path, run: Path) -> None:
    writer, reader = open_bus(run, "a"), open_bus(run, "b")
    heard: list[Change] = []
    reader.listen(heard.append)
    store = open_store(tmp_path / "accounts", bus=reader)
    account = store.open_account(ANNE, KEYS[ANNE])
    heard.clear()
    writer.announce(Change(ANNE, 1, 1))
    writer.announce(Change(BRUNO, 1, 1))
    reader.drain()
    assert heard == [Change(ANNE, 1, 1)]
    account.close()
    store.close()
    writer.announce(Change(ANNE, 2, 1))
    reader.drain()
    assert heard == [Change(ANNE, 1, 1)]
    writer.close()
    reader.close()


def test_a_full_reader_loses_and_nobody_waits(run: Path) -> None:
    writer, reader = open_bus(run, "a"), open_bus(run, "b")
    heard = heard_by(reader)
    for number in range(2_000):
        writer.announce(Change(ANNE, number, 1))
    for _ in range(10):
        reader.drain()
    assert 0 < len(heard) < 2_000
    writer.announce(Change(ANNE, 5_000, 1))
    reader.drain()
    assert heard[-1].object == 5_000
    writer.close()
    reader.close()


def test_sockets_of_the_dead_are_removed(run: Path) -> None:
    bus = open_bus(run, "a")
    dead = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    dead.bind(str(run / "changes" / "imap-1.sock"))
    dead.close()
    (run / "changes" / "imap-1.watch").write_bytes(bytes(1_024))  # and with a board that asks for nothing
    bus.announce(Change(ANNE, 1, 1))
    assert sorted(os.listdir(run / "changes")) == ["a.sock", "a.watch"]
    bus.close()


def test_what_others_write_there_harms_nobody(run: Path) -> None:
    bus = open_bus(run, "a")
    heard = heard_by(bus)
    stranger = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    for data in (b"", b"x", b"\x02" + bytes(32), bytes(33), b"\x01" + bytes(200)):
        stranger.sendto(data, str(run / "changes" / "a.sock"))
    stranger.close()
    bus.drain()
    assert heard == []
    (run / "changes" / "b.sock").write_bytes(b"")
    (run / "changes" / "not a socket name").write_bytes(b"")
    bus.announce(Change(ANNE, 1, 1))
    bus.announce(Change(AccountId("nonsense"), 1, 1))
    bus.announce(Change(ANNE, 1 << 80, 1))
    assert heard[0] == Change(ANNE, 1, 1)
    bus.close()


def test_a_listener_that_fails_stops_nobody(run: Path) -> None:
    bus = open_bus(run, "a")

    def fail(change: Change) -> None:
        raise RuntimeError("x")

    bus.listen(fail)
    heard = heard_by(bus)
    bus.announce(Change(ANNE, 1, 1))
    assert heard == [Change(ANNE, 1, 1)]
    bus.close()


def test_a_name_left_by_the_dead_is_taken_over(run: Path) -> None:
    first = open_bus(run, "imap-1")
    second = open_bus(run, "imap-1")
    other = open_bus(run, "imap-2")
    heard = heard_by(second)
    other.announce(Change(ANNE, 3, 3))
    second.drain()
    assert heard == [Change(ANNE, 3, 3)]
    for bus in (other, second, first):
        bus.close()


@pytest.mark.parametrize("name", ["", "../x", "a/b", "A", "a b", "x" * 41])
def test_names_that_are_refused(run: Path, name: str) -> None:
    (run / "changes").mkdir()
    with pytest.raises(ValueError, match="socket name"):
        open_bus(run, name)


def test_alone_one_hears_oneself() -> None:
    bus = SilentBus()
    heard = heard_by(bus)
    bus.announce(Change(ANNE, 1, 1))
    bus.drain()
    assert heard == [Change(ANNE, 1, 1)]
    assert bus.fileno() == -1
    bus.close()
