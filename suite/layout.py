"""Where the files of an instance lie, and who may read them.

Owns the paths that follow from [instance] and the modes of the folders (docs/operations.md has the list). The inside of
an account is the store's.
"""

import os
import stat
from dataclasses import dataclass
from pathlib import Path

from ..config.schema import Settings
from .outcome import Refused

SHARED_FOLDER = 0o2770  # group: delivery, imap and dav write the same store; smtp and queue the same spool
READABLE_FOLDER = 0o750  # group: may go through, not write
PRIVATE_FOLDER = 0o700
SECRET_FILE = 0o600
_SOCKET_PATH_MAX = 100  # octets: sun_path (unix(7)) less what storage.changes keeps for itself
_LONGEST_SOCKET = "changes/managesieve-4194304.sock"


@dataclass(frozen=True, slots=True)
class Layout:
    """Paths of one instance."""

    data: Path
    keys: Path
    run: Path
    kek: Path  # the key-encryption key, 32 octets

    @property
    def accounts(self) -> Path:
        """The store."""
        return self.data / "accounts"

    @property
    def auth_folder(self) -> Path:
        """What only `auth` reads."""
        return self.data / "auth"

    @property
    def auth_db(self) -> Path:
        """Accounts, groups, credentials."""
        return self.auth_folder / "auth.db"

    @property
    def auth_lock(self) -> Path:
        """Held by whoever has auth.db open for writing: the auth process, or a command while none runs."""
        return self.auth_folder / "lock"

    @property
    def traces(self) -> Path:
        """Connection traces."""
        return self.data / "traces"

    @property
    def keys_folder(self) -> Path:
        """Wrapped account keys: useless without the KEK."""
        return self.data / "keys"

    @property
    def keys_db(self) -> Path:
        """The wrapped keys."""
        return self.keys_folder / "keys.db"

    @property
    def queue(self) -> Path:
        """The spool (smtp/spool.py) and queue.db."""
        return self.data / "queue"

    @property
    def queue_db(self) -> Path:
        """What waits, and until when."""
        return self.queue / "queue.db"

    @property
    def queue_lock(self) -> Path:
        """Held by the queue process: two would send everything twice."""
        return self.queue / "lock"

    def auth_socket(self, role: str) -> Path:
        """Where `role` reaches auth."""
        return self.run / f"auth-{role}.sock"

    def keys_socket(self, role: str) -> Path:
        """Where `role` (or `auth`, or `admin`) reaches keys."""
        return self.run / f"keys-{role}.sock"

    @property
    def admin_socket(self) -> Path:
        """Where the command line reaches auth."""
        return self.run / "admin.sock"

    @property
    def delivery_socket(self) -> Path:
        """LMTP."""
        return self.run / "delivery.sock"

    @property
    def queue_hints(self) -> Path:
        """Where the queue hears that a message came in."""
        return self.run / "queue.sock"

    @property
    def queue_admin_socket(self) -> Path:
        """Where the command line reaches the queue."""
        return self.run / "queue-admin.sock"

    def folders(self) -> list[tuple[Path, int]]:
        """Every folder with its mode, parents first."""
        return [
            (self.data, SHARED_FOLDER),
            (self.accounts, SHARED_FOLDER),
            (self.auth_folder, PRIVATE_FOLDER),
            (self.keys_folder, PRIVATE_FOLDER),
            (self.traces, PRIVATE_FOLDER),
            (self.queue, READABLE_FOLDER),
            (self.queue / "tmp", SHARED_FOLDER),
            (self.queue / "incoming", SHARED_FOLDER),
            (self.queue / "active", PRIVATE_FOLDER),
            (self.keys, PRIVATE_FOLDER),
        ]


def layout_of(settings: Settings) -> Layout:
    """The layout that the settings ask for."""
    instance, kek = settings.instance, settings.seal.kek
    if not kek:
        return Layout(instance.data, instance.keys, instance.run, instance.keys / "kek")
    credential = kek.removeprefix("credential:")
    if credential == kek:
        return Layout(instance.data, instance.keys, instance.run, settings.file.parent / kek)
    # Only the keys process is given the credential; to others it is a file that is not there.
    folder = os.environ.get("CREDENTIALS_DIRECTORY", "/run/credentials/preau-keys.service")
    return Layout(instance.data, instance.keys, instance.run, Path(folder) / credential)


def make_folder(path: Path, mode: int) -> None:
    """Make a folder with exactly this mode; one that is there must be ours. Raise Refused."""
    try:
        path.mkdir(mode=mode & 0o777)
    except FileExistsError:
        pass
    except OSError as error:
        raise Refused(f"cannot make {path}: {error.strerror}") from None
    else:
        path.chmod(mode)
        return
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode):
        raise Refused(f"{path} is not a folder")


def make_run_folder(run: Path) -> None:
    """Make RUN and RUN/changes. Raise Refused when somebody else could plant sockets there or paths get too long."""
    longest = len(os.fsencode(run / _LONGEST_SOCKET))
    if longest > _SOCKET_PATH_MAX:
        raise Refused(
            f"[instance] run = {run} is {longest - _SOCKET_PATH_MAX} octets too long for sockets; choose a shorter folder"
        )
    make_folder(run, PRIVATE_FOLDER)
    found = run.lstat()
    if found.st_uid not in (os.geteuid(), 0) or found.st_mode & 0o022:
        raise Refused(f"{run} belongs to somebody else or is writable by others: remove it, or set [instance] run elsewhere")
    make_folder(run / "changes", SHARED_FOLDER)


def is_run_path_short(run: Path) -> bool:
    """Whether all sockets fit below `run`."""
    return len(os.fsencode(run / _LONGEST_SOCKET)) <= _SOCKET_PATH_MAX
