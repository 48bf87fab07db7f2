"""auth.db and the traces opened for administration: by the auth process, and by the command line when none runs.

Who opens them for writing holds the lock (decisions 4): two chains of traces in one folder would break each other.
"""

import contextlib
import fcntl
import hmac
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from .accounts import open_accounts
from .admin import AdminSettings, LocalAdministration
from .key_source import KeySource
from .traces import Traces


class InUse(Exception):
    """Another process has auth.db open for writing."""


def hold_lock(path: Path, holder: str = "auth") -> int:
    """Take a lock, that of auth.db or of the role `holder`; who asks closes the descriptor. Raise InUse, OSError."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise InUse(f"{path.name} is held: {holder} runs already, or a command is at work") from None
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def open_traces(folder: Path, pepper: bytes, *, retention_days: int = 183, clock: Callable[[], float] = time.time) -> Traces:
    """The traces, vouched for under a key of their own made from the pepper. Raise storage.api.Unavailable."""
    key = hmac.digest(pepper, b"traces", "sha256")
    return Traces(folder, key, retention_days=retention_days, clock=clock)


@contextlib.contextmanager
def open_administration(
    database: Path,
    traces: Path,
    key_source: KeySource,
    settings: AdminSettings | None = None,
    *,
    retention_days: int = 183,
    random: Callable[[int], bytes] = os.urandom,
    clock: Callable[[], float] = time.time,
) -> Iterator[LocalAdministration]:
    """The administration in this process; the caller holds the lock. Raise AuthUnavailable, storage.api.Unavailable."""
    pepper = key_source.pepper()
    with contextlib.ExitStack() as stack:
        accounts = stack.enter_context(contextlib.closing(open_accounts(database)))
        chain = stack.enter_context(contextlib.closing(open_traces(traces, pepper, retention_days=retention_days, clock=clock)))
        administration = LocalAdministration(accounts, key_source, chain, pepper, settings, random=random, clock=clock)
        administration.actor = f"uid {os.getuid()}"
        yield administration
