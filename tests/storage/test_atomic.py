"""Files are there in full or not at all, whatever stops between two system calls; links lead nowhere."""

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from broken_system import Broken, Crash
from preau.storage import atomic
from preau.storage.api import Unavailable
from preau.storage.atomic import AppendFile, NewFile, System


class _Recorded(System):
    """Notes the name of each call, and of what."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        for name in ("write", "fdatasync", "fsync", "rename", "link", "unlink", "mkdir"):
            setattr(self, name, self._noted(name, getattr(System, name)))

    def _noted(self, name: str, real: Callable[..., object]) -> Callable[..., object]:
        def call(*arguments: object, **named: object) -> object:
            self.calls.append(name)
            return real(*arguments, **named)

        return call


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> _Recorded:
    system = _Recorded()
    monkeypatch.setattr(atomic, "system", system)
    return system


@pytest.fixture
def tmp(tmp_path: Path) -> Path:
    (tmp_path / "tmp").mkdir()
    (tmp_path / "cur").mkdir()
    return tmp_path / "tmp"


def test_the_order_of_a_new_file(recorded: _Recorded, tmp: Path) -> None:
    file = NewFile(tmp / "a")
    file.write(b"one")
    file.write(b"two")
    file.sync()
    file.sync()
    file.publish(tmp.parent / "cur" / "b")
    assert recorded.calls == ["write", "fdatasync", "rename", "fsync"]
    assert (tmp.parent / "cur" / "b").read_bytes() == b"onetwo"
    assert file.size == 6
    assert list(tmp.iterdir()) == []


def test_publish_flushes_what_was_not_flushed(recorded: _Recorded, tmp: Path) -> None:
    file = NewFile(tmp / "a")
    file.write(b"x" * 70_000)
    file.write(b"y")
    file.publish(tmp.parent / "cur" / "b", fsync_dir=False)
    assert recorded.calls == ["write", "write", "fdatasync", "rename"]
    atomic.fsync_dir(tmp.parent / "cur")
    assert recorded.calls[-1] == "fsync"


def test_modes_follow_the_umask(tmp: Path) -> None:
    before = os.umask(0o007)
    try:
        NewFile(tmp / "a").publish(tmp / "b")
        assert atomic.make_directory(tmp / "shared")
        assert atomic.make_directory(tmp / "own", shared=False)
        os.umask(0o077)
        atomic.replace_file(tmp / "c", b"")
        atomic.append_durably(tmp / "d", b"")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp / "b").stat().st_mode) == 0o660
    assert stat.S_IMODE((tmp / "shared").stat().st_mode) == 0o2770
    assert stat.S_IMODE((tmp / "own").stat().st_mode) == 0o770
    assert stat.S_IMODE((tmp / "c").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp / "d").stat().st_mode) == 0o600


def test_a_file_is_made_once(tmp: Path) -> None:
    file = NewFile(tmp / "a")
    with pytest.raises(FileExistsError):
        NewFile(tmp / "a")
    with pytest.raises(FileNotFoundError):
        NewFile(tmp / "none" / "a")
    file.abort()
    file.abort()
    assert list(tmp.iterdir()) == []


def test_abort_after_publish_keeps_the_file(tmp: Path) -> None:
    file = NewFile(tmp / "a")
    file.publish(tmp / "b")
    file.abort()
    assert (tmp / "b").exists()


def test_writes_that_come_short_are_carried_on(monkeypatch: pytest.MonkeyPatch, tmp: Path) -> None:
    system = System()
    monkeypatch.setattr(system, "write", lambda descriptor, data: os.write(descriptor, bytes(data[:3])))
    monkeypatch.setattr(atomic, "system", system)
    atomic.replace_file(tmp / "a", b"0123456789")
    assert (tmp / "a").read_bytes() == b"0123456789"


@pytest.mark.parametrize("errno", [28, 122, 5, 24], ids=["ENOSPC", "EDQUOT", "EIO", "EMFILE"])
@pytest.mark.parametrize("call", ["open", "write", "fdatasync", "rename", "fsync"])
def test_errors_of_the_disk_are_temporary(monkeypatch: pytest.MonkeyPatch, tmp: Path, call: str, errno: int) -> None:
    (tmp / "a").write_bytes(b"old")
    with monkeypatch.context() as patch:
        patch.setattr(atomic, "system", Broken(call, OSError(errno, "secret/path")))
        with pytest.raises(Unavailable) as caught:
            atomic.replace_file(tmp / "a", b"new")
    assert caught.value.temporary
    assert "secret" not in str(caught.value)
    # Once renamed it is the new one; that its name may not be durable is what the error says.
    assert (tmp / "a").read_bytes() == (b"new" if call == "fsync" else b"old")
    assert [path.name for path in tmp.iterdir()] == ["a"]


def test_a_crash_leaves_the_old_or_the_new(monkeypatch: pytest.MonkeyPatch, tmp: Path) -> None:
    for stop in range(50):
        (tmp / "a").write_bytes(b"old")
        broken = Broken(stop, Crash())
        with monkeypatch.context() as patch:
            patch.setattr(atomic, "system", broken)
            try:
                atomic.replace_file(tmp / "a", b"new" * 100_000)
            except Crash:
                pass
        there = (tmp / "a").read_bytes()
        assert there in (b"old", b"new" * 100_000)
        assert there == b"old" or "rename" in broken.calls
        if not broken.struck:
            assert stop > 5
            break
    else:
        pytest.fail("never came to its end")


# ---------------------------------------------------------------------------------------------------------------------
# Links


def test_no_link_is_written_through(tmp: Path) -> None:
    outside = tmp.parent / "outside"
    outside.write_bytes(b"safe")
    (tmp / "file").symlink_to(outside)
    (tmp / "directory").symlink_to(tmp.parent / "cur")
    (tmp / "nowhere").symlink_to(tmp.parent / "not there")
    with pytest.raises(FileExistsError):
        NewFile(tmp / "file")
    with pytest.raises(Unavailable, match="symbolic link"):
        AppendFile(tmp / "file")
    with pytest.raises(Unavailable):
        AppendFile(tmp / "nowhere")
    with pytest.raises(Unavailable):
        atomic.create_empty(tmp / "file")
    with pytest.raises(Unavailable):
        atomic.open_for_reading(tmp / "file")
    calls: list[Callable[[Path], object]] = [
        NewFile,
        AppendFile,
        atomic.create_empty,
        atomic.open_for_reading,
        atomic.unlink,
        atomic.make_directory,
        lambda path: atomic.replace_file(path, b""),
        lambda path: atomic.rename(path, tmp / "x"),
        lambda path: atomic.link(path, tmp / "x"),
        lambda path: atomic.fsync_dir(path.parent),
    ]
    for call in calls:
        with pytest.raises(Unavailable):
            call(tmp / "directory" / "a")
    with pytest.raises(Unavailable):
        atomic.make_directory(tmp / "directory")
    assert outside.read_bytes() == b"safe"
    assert list((tmp.parent / "cur").iterdir()) == []
    assert not (tmp.parent / "not there").exists()


def test_replacing_a_link_replaces_the_link(tmp: Path) -> None:
    outside = tmp.parent / "outside"
    outside.write_bytes(b"safe")
    (tmp / "a").symlink_to(outside)
    atomic.replace_file(tmp / "a", b"new")
    assert (tmp / "a").read_bytes() == b"new"
    assert not (tmp / "a").is_symlink()
    assert outside.read_bytes() == b"safe"


def test_remove_tree_stays_inside(tmp: Path) -> None:
    keep = tmp.parent / "cur" / "keep"
    keep.write_bytes(b"")
    (tmp / "tree" / "sub").mkdir(parents=True)
    (tmp / "tree" / "link").symlink_to(tmp.parent / "cur")
    (tmp / "tree" / "sub" / "file").write_bytes(b"")
    atomic.remove_tree(tmp / "tree")
    atomic.remove_tree(tmp / "tree")
    assert keep.exists()
    assert not (tmp / "tree").exists()
    (tmp / "link").symlink_to(tmp.parent / "cur")
    with pytest.raises(Unavailable):
        atomic.remove_tree(tmp / "link")
    assert keep.exists()


# ---------------------------------------------------------------------------------------------------------------------
# Appending, reading, directories


def test_append(recorded: _Recorded, tmp: Path) -> None:
    file = AppendFile(tmp / "log")
    file.append(b"one\n")
    file.append(b"two\n")
    assert file.size == 8
    file.sync()
    file.close()
    file.close()
    assert recorded.calls == ["fsync", "write", "write", "fdatasync"]  # the first: its name, when it was made
    atomic.append_durably(tmp / "log", b"three\n")
    assert (tmp / "log").read_bytes() == b"one\ntwo\nthree\n"
    with pytest.raises(FileNotFoundError):
        AppendFile(tmp / "none" / "log")


def test_a_record_that_does_not_fit_is_taken_back(monkeypatch: pytest.MonkeyPatch, tmp: Path) -> None:
    atomic.append_durably(tmp / "log", b"one\n")

    def short(descriptor: int, data: bytes) -> int:
        if len(data) < 4:
            raise OSError(28, "full")
        return os.write(descriptor, data[:2])

    system = System()
    monkeypatch.setattr(system, "write", short)
    monkeypatch.setattr(atomic, "system", system)
    with pytest.raises(Unavailable):
        atomic.append_durably(tmp / "log", b"abcd")
    assert (tmp / "log").read_bytes() == b"one\n"


def test_read_file_is_bounded(tmp: Path) -> None:
    (tmp / "a").write_bytes(b"12345")
    assert atomic.read_file(tmp / "a", limit=5) == b"12345"
    with pytest.raises(Unavailable):
        atomic.read_file(tmp / "a", limit=4)
    with pytest.raises(FileNotFoundError):
        atomic.read_file(tmp / "none", limit=4)


def test_only_regular_files_are_read(tmp: Path) -> None:
    os.mkfifo(tmp / "fifo")  # must not wait for a writer
    (tmp / "directory").mkdir()
    for name in ("fifo", "directory"):
        with pytest.raises(Unavailable):
            atomic.open_for_reading(tmp / name)


def test_small_steps(recorded: _Recorded, tmp: Path) -> None:
    assert atomic.create_empty(tmp / "a")
    assert not atomic.create_empty(tmp / "a")
    atomic.link(tmp / "a", tmp / "b")
    with pytest.raises(FileExistsError):
        atomic.link(tmp / "a", tmp / "b")
    with pytest.raises(FileNotFoundError):
        atomic.link(tmp / "none", tmp / "c")
    atomic.rename(tmp / "b", tmp / "c")
    with pytest.raises(FileNotFoundError):
        atomic.rename(tmp / "b", tmp / "d")
    assert atomic.unlink(tmp / "a")
    assert not atomic.unlink(tmp / "a")
    assert not atomic.unlink(tmp / "none" / "a")
    assert [path.name for path in tmp.iterdir()] == ["c"]
    atomic.replace_file(tmp / "snapshot", b"x", durable=False)
    assert recorded.calls[-2:] == ["write", "rename"]


def test_directories_are_made_and_made_durable(recorded: _Recorded, tmp: Path) -> None:
    atomic.make_directories(tmp / "a" / "b", below=tmp)
    assert recorded.calls == ["mkdir", "fsync", "mkdir", "fsync"]
    atomic.make_directories(tmp / "a" / "b", below=tmp)
    assert not atomic.make_directory(tmp / "a")
    with pytest.raises(FileNotFoundError):
        atomic.make_directory(tmp / "none" / "a")
    (tmp / "file").write_bytes(b"")
    with pytest.raises(Unavailable):
        atomic.make_directory(tmp / "file")
    with pytest.raises(ValueError, match="subpath"):
        atomic.make_directories(tmp.parent / "cur" / "x", below=tmp)
