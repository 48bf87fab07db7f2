"""The only writer of files of the store, the spool and the traces.

Theory of operation. A file is there in full or not at all, whatever stops between two system calls:

1. it is made under `tmp` with O_EXCL, written, and flushed (fdatasync: the bytes and the size);
2. it is renamed to where it belongs (one directory entry changes, atomically);
3. the directory that now names it is flushed (fsync: without it a power cut may forget the name, not the bytes).

Only then may anyone say "250", "OK" or "201". A crash before 2 leaves a file under `tmp` that nobody reads and that a
sweep removes; a crash between 2 and 3 leaves the old or the new state.

Every step goes through `system`, so that a test can cut the power between any two of them (tests/storage/test_atomic.py).
Paths are opened directory first, then name, both with O_NOFOLLOW: a link planted in place of a file or of its directory
is an error, not a way out of the store. Modes: files 0660, directories 2770, less the daemon's umask.

Owns the order of system calls and the translation of their errors: ENOENT and EEXIST stay FileNotFoundError and
FileExistsError, because callers decide by them; everything else (ENOSPC, EDQUOT, EIO, EMFILE, a link in the way ...) is
Unavailable. Never knows what is in a file.
"""

import errno
import os
import shutil
import stat
from pathlib import Path

from .api import Unavailable

FILE_MODE = 0o660
DIRECTORY_MODE = 0o770  # and set-group-id, see make_directory

_BUFFER = 65_536
_FLAGS = os.O_CLOEXEC | os.O_NOFOLLOW


class System:
    """The system calls this module makes, one method each; tests put a failing one in `system`'s place."""

    open = staticmethod(os.open)
    close = staticmethod(os.close)
    write = staticmethod(os.write)
    truncate = staticmethod(os.ftruncate)
    fdatasync = staticmethod(os.fdatasync)
    fsync = staticmethod(os.fsync)
    rename = staticmethod(os.rename)
    link = staticmethod(os.link)
    unlink = staticmethod(os.unlink)
    mkdir = staticmethod(os.mkdir)
    rmtree = staticmethod(shutil.rmtree)


system: System = System()


class _Translated:
    """Turns errors of system calls into the store's. A class, because a generator costs three times as much."""

    __slots__ = ("_path",)

    def __init__(self, path: Path | str) -> None:
        self._path = path

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, OSError) and not isinstance(error, FileNotFoundError | FileExistsError):
            raise unavailable(error, self._path) from error


def unavailable(error: OSError, path: Path | str | None = None) -> Unavailable:
    """An I/O error in the store's words; the path's last segment only, never what is in the file."""
    name = f" ({os.path.basename(path)})" if path is not None else ""
    if error.errno == errno.ELOOP:
        return Unavailable(f"a symbolic link is in the way{name}")
    return Unavailable(f"{os.strerror(error.errno or 0)}{name}")


class Directory:
    """A directory, open: for the time of one call, or kept by who has many files come and go in it.

    It is closed when nobody refers to it any more, so it may be let go of while another thread still works in it. Names are
    single segments. Any thread.
    """

    __slots__ = ("_descriptor", "path")

    def __init__(self, path: Path) -> None:
        """Open it, no link. Raise FileNotFoundError, Unavailable."""
        self._descriptor = -1
        self.path = path
        with _Translated(path):
            self._descriptor = system.open(path, os.O_RDONLY | os.O_DIRECTORY | _FLAGS)

    def __del__(self) -> None:
        if self._descriptor >= 0:
            system.close(self._descriptor)

    def __enter__(self) -> int:
        return self._descriptor

    def __exit__(self, *error: object) -> None:
        pass

    def is_current(self) -> bool:
        """Whether its path still leads here: others may move directories."""
        try:
            there = os.lstat(self.path)
        except OSError:
            return False
        here = os.fstat(self._descriptor)
        return here.st_ino == there.st_ino and here.st_dev == there.st_dev

    @property
    def mtime(self) -> int:
        """When a name in it changed last, in nanoseconds."""
        return os.fstat(self._descriptor).st_mtime_ns

    def open_for_reading(self, name: str) -> int:
        """A descriptor of a file in it, whatever kind of file that is; links refused. Raise OSError."""
        # O_NONBLOCK: opening a FIFO that someone put there must not wait for its writer.
        return system.open(name, os.O_RDONLY | os.O_NONBLOCK | _FLAGS, dir_fd=self._descriptor)

    def open_regular(self, name: str) -> int:
        """A descriptor of a regular file in it, links refused. Raise FileNotFoundError, Unavailable. Whoever asks closes it."""
        with _Translated(name):
            descriptor = self.open_for_reading(name)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            system.close(descriptor)
            raise Unavailable(f"not a regular file ({name})")
        return descriptor

    def link(self, name: str, target: "Directory", new_name: str) -> None:
        """A second name for a file. Raise FileNotFoundError, FileExistsError, Unavailable."""
        with _Translated(new_name):
            system.link(name, new_name, src_dir_fd=self._descriptor, dst_dir_fd=target._descriptor, follow_symlinks=False)

    def rename(self, name: str, target: "Directory", new_name: str) -> None:
        """Another name for a file. Raise FileNotFoundError, Unavailable."""
        with _Translated(new_name):
            system.rename(name, new_name, src_dir_fd=self._descriptor, dst_dir_fd=target._descriptor)

    def unlink(self, name: str) -> bool:
        """Remove a file; whether it was there. Raise Unavailable."""
        try:
            with _Translated(name):
                system.unlink(name, dir_fd=self._descriptor)
        except FileNotFoundError:
            return False
        return True

    def sync(self) -> None:
        """Make the names in it durable. Raise Unavailable."""
        with _Translated(self.path):
            system.fsync(self._descriptor)


def _write_all(descriptor: int, data: bytes | bytearray | memoryview) -> None:
    written = system.write(descriptor, data)
    if written < len(data):
        with memoryview(data) as rest:
            while written < len(data):
                written += system.write(descriptor, rest[written:])


class NewFile:
    """A file that nobody sees until publish(). One thread at a time."""

    __slots__ = ("_descriptor", "_directory", "_mode", "_name", "_pending", "_pending_size", "_synced", "size")

    def __init__(self, path: Path | str, *, directory: Directory | None = None, mode: int = FILE_MODE) -> None:
        """Create `path` (in a tmp directory of the same file system), or the name `path` in `directory`.

        In a `directory` it is created when the first octets go out to the disk: never, if it is aborted before.
        Raise FileExistsError, FileNotFoundError, Unavailable.
        """
        self.size = 0
        self._mode = mode
        self._pending: list[bytes] = []
        self._pending_size = 0
        self._synced = False
        self._descriptor = -1
        if directory is None:
            self._directory, self._name = Directory(Path(path).parent), os.path.basename(path)
            self._create()
        else:
            self._directory, self._name = directory, str(path)

    def _create(self) -> None:
        with _Translated(self._name), self._directory as where:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | _FLAGS
            self._descriptor = system.open(self._name, flags, self._mode, dir_fd=where)

    @property
    def path(self) -> Path:
        """Where it lies now."""
        return self._directory.path / self._name

    def set_mtime(self, seconds: int) -> None:
        """Have it say that it was changed then (Maildir: when the message came). Not durable, never raises."""
        try:
            os.utime(self._descriptor, (seconds, seconds))
        except (OSError, OverflowError):
            pass

    def write(self, data: bytes) -> None:
        """Add octets. Small pieces are gathered, so an error may come with a later call. Raise as __init__ does."""
        self.size += len(data)
        self._synced = False
        self._pending.append(data)
        self._pending_size += len(data)
        if self._pending_size >= _BUFFER:
            self._flush()

    def _flush(self) -> None:
        if self._descriptor < 0:
            self._create()
        if self._pending:
            data = self._pending[0] if len(self._pending) == 1 else b"".join(self._pending)
            self._pending.clear()
            self._pending_size = 0
            with _Translated(self._name):
                _write_all(self._descriptor, data)

    def sync(self) -> None:
        """Flush bytes and size to the disk. Raise Unavailable; then the file must be aborted, not synced again.

        After a failed fdatasync Linux marks the pages clean: a second one would succeed over lost bytes.
        """
        if self._synced:
            return
        self._flush()
        with _Translated(self._name):
            system.fdatasync(self._descriptor)
        self._synced = True

    def publish(self, final: Path, *, fsync_dir: bool = True) -> None:
        """Give the file its name, in place of a file of that name if there is one, and make that durable.

        With `fsync_dir=False` the caller flushes the directory (fsync_dir) once for several files, before it answers.
        """
        target = Directory(final.parent)
        self.publish_in(target, final.name)
        if fsync_dir:
            target.sync()

    def publish_in(self, target: Directory, name: str) -> None:
        """publish() in a directory that is open; the caller flushes it (Directory.sync) before it answers."""
        self.sync()
        self._directory.rename(self._name, target, name)
        self._directory, self._name = target, name
        self._close()

    def abort(self) -> None:
        """Throw the file away. Does nothing after publish(), never raises."""
        self._pending.clear()
        if self._descriptor >= 0:
            self._close()
            try:
                self._directory.unlink(self._name)
            except Unavailable:
                pass  # the sweep of tmp takes what is left

    def _close(self) -> None:
        if self._descriptor >= 0:
            descriptor, self._descriptor = self._descriptor, -1
            system.close(descriptor)


class AppendFile:
    """A file that only grows, in whole records: the uidlist sidecar, the traces. One thread at a time."""

    __slots__ = ("_descriptor", "path", "size")

    def __init__(self, path: Path, *, mode: int = FILE_MODE) -> None:
        """Open `path` at its end, making it durably when it is not there. Raise FileNotFoundError (directory), Unavailable."""
        self.path = path
        with _Translated(path), Directory(path.parent) as directory:
            flags = os.O_WRONLY | os.O_APPEND | os.O_NONBLOCK | _FLAGS
            try:
                self._descriptor = system.open(path.name, flags, dir_fd=directory)
            except FileNotFoundError:
                self._descriptor = system.open(path.name, flags | os.O_CREAT, mode, dir_fd=directory)
                system.fsync(directory)
            self.size = os.fstat(self._descriptor).st_size

    def append(self, data: bytes) -> None:
        """Add a record; not durable before sync(). A record that does not fit whole is taken back. Raise Unavailable."""
        with _Translated(self.path):
            begin = os.fstat(self._descriptor).st_size
            try:
                _write_all(self._descriptor, data)
            except OSError:
                system.truncate(self._descriptor, begin)
                raise
            self.size = begin + len(data)

    def sync(self) -> None:
        """Flush what was appended. Raise Unavailable."""
        with _Translated(self.path):
            system.fdatasync(self._descriptor)

    def close(self) -> None:
        """Let go of the file."""
        if self._descriptor >= 0:
            descriptor, self._descriptor = self._descriptor, -1
            system.close(descriptor)


def append_durably(path: Path, data: bytes, *, mode: int = FILE_MODE) -> None:
    """Add one record to `path` and flush it. Raise FileNotFoundError (directory), Unavailable."""
    file = AppendFile(path, mode=mode)
    try:
        file.append(data)
        file.sync()
    finally:
        file.close()


def replace_file(path: Path, data: bytes, *, tmp: Path | None = None, mode: int = FILE_MODE, durable: bool = True) -> None:
    """Put a file of these bytes in place of `path`; readers see the old one or the new one. Raise Unavailable.

    `tmp`: directory of the draft, by default beside the file. `durable=False` spares both flushes, for what can be made
    again (snapshots): after a power cut the file may be empty, so its reader must check it.
    """
    file = NewFile((tmp or path.parent) / f".{path.name}.{os.urandom(6).hex()}", mode=mode)
    try:
        file.write(data)
        if not durable:
            file._flush()
            file._synced = True
        file.publish(path, fsync_dir=durable)
    except BaseException:
        file.abort()
        raise


def create_empty(path: Path, *, mode: int = FILE_MODE) -> bool:
    """Make an empty file unless there is one; whether it was made. Raise FileNotFoundError (directory), Unavailable."""
    with _Translated(path), Directory(path.parent) as directory:
        try:
            # Opened only to refuse a link or a directory in its place.
            system.close(system.open(path.name, os.O_RDWR | os.O_NONBLOCK | _FLAGS, dir_fd=directory))
            return False
        except FileNotFoundError:
            pass
        try:
            descriptor = system.open(path.name, os.O_RDWR | os.O_CREAT | os.O_EXCL | _FLAGS, mode, dir_fd=directory)
        except FileExistsError:
            return False  # somebody made it between the two
        system.close(descriptor)
        system.fsync(directory)
        return True


def open_for_reading(path: Path) -> int:
    """A descriptor of a regular file, links refused. Raise FileNotFoundError, Unavailable. Whoever asks closes it."""
    return Directory(path.parent).open_regular(path.name)


def read_file(path: Path, *, limit: int) -> bytes:
    """A whole file of at most `limit` octets. Raise FileNotFoundError, Unavailable (longer than that, unreadable)."""
    descriptor = open_for_reading(path)
    try:
        with _Translated(path):
            size = os.fstat(descriptor).st_size
            if size > limit:
                raise Unavailable(f"longer than {limit} octets ({path.name})")
            pieces, position = [], 0
            while piece := os.pread(descriptor, size - position + 1, position):
                pieces.append(piece)
                position += len(piece)
                if position > limit:
                    raise Unavailable(f"longer than {limit} octets ({path.name})")
            return b"".join(pieces)
    finally:
        system.close(descriptor)


def link(source: Path, target: Path) -> None:
    """A second name for a file; the caller flushes the target's directory.

    Raise FileNotFoundError, FileExistsError, Unavailable.
    """
    Directory(source.parent).link(source.name, Directory(target.parent), target.name)


def rename(source: Path, target: Path) -> None:
    """Another name for a file or directory; the caller flushes if it matters. Raise FileNotFoundError, Unavailable."""
    Directory(source.parent).rename(source.name, Directory(target.parent), target.name)


def unlink(path: Path) -> bool:
    """Remove a file; whether it was there. Not flushed: a name that comes back is removed again. Raise Unavailable."""
    try:
        return Directory(path.parent).unlink(path.name)
    except FileNotFoundError:
        return False


def fsync_dir(path: Path) -> None:
    """Make the names in a directory durable. Raise FileNotFoundError, Unavailable."""
    Directory(path).sync()


def make_directory(path: Path, *, mode: int = DIRECTORY_MODE, shared: bool = True, durable: bool = True) -> bool:
    """Make one directory unless it is there; whether it was made. Raise FileNotFoundError (parent), Unavailable.

    `shared`: set-group-id, so that what another daemon of the group writes there stays the group's. mkdir(2) drops that
    bit where the parent lacks it.
    """
    with _Translated(path), Directory(path.parent) as parent:
        made = True
        try:
            system.mkdir(path.name, mode, dir_fd=parent)
        except FileExistsError:
            made = False
        descriptor = system.open(path.name, os.O_RDONLY | os.O_DIRECTORY | _FLAGS, dir_fd=parent)
        try:
            present = stat.S_IMODE(os.fstat(descriptor).st_mode)
            if made and shared and not present & stat.S_ISGID:
                os.fchmod(descriptor, present | stat.S_ISGID)
        finally:
            system.close(descriptor)
        if made and durable:
            system.fsync(parent)
        return made


def make_directories(path: Path, *, below: Path, mode: int = DIRECTORY_MODE, shared: bool = True) -> None:
    """Make `path` and what it lacks between `below` (which must be there) and itself. Raise FileNotFoundError, Unavailable."""
    here = below
    for part in path.relative_to(below).parts:
        here /= part
        make_directory(here, mode=mode, shared=shared)


def remove_tree(path: Path) -> None:
    """Remove a directory with all that is in it, never through a link; not there is done. Raise Unavailable."""
    try:
        with _Translated(path):
            system.rmtree(path)
    except FileNotFoundError:
        if path.exists():  # something vanished under us: another remover; the rest is ours
            remove_tree(path)
