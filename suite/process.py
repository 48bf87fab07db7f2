"""What a role's process sets about itself before it does anything: its end with its parent, no core files, umask, limits.

Owns the calls to prctl(2) and setrlimit(2). Linux only, like the rest of the suite.
"""

import contextlib
import ctypes
import os
import resource
import signal

PARENT_VARIABLE = "PREAU_SUPERVISOR"  # pid of the supervisor; set for the processes it starts
_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4
_SECRETIVE = frozenset({"auth", "keys"})  # hold what opens more than one account
_SHARING = frozenset({"delivery", "imap", "dav"})  # write the store, which belongs to their group
_FILES = 65_536


def end_with_parent() -> None:
    """Get SIGTERM when the supervisor dies, however it dies. Raise SystemExit when it is dead already."""
    parent = os.environ.pop(PARENT_VARIABLE, "")
    if parent:
        _prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if str(os.getppid()) != parent:  # it died between our start and the call
            raise SystemExit(1)


def prepare(role: str) -> None:
    """Set umask and limits as the role needs them."""
    os.umask(0o007 if role in _SHARING else 0o077)
    # A core file would hold keys and passwords.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if role in _SECRETIVE:
        _prctl(_PR_SET_DUMPABLE, 0)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):  # fewer files are a lower cap on connections, not a reason to stop
        resource.setrlimit(resource.RLIMIT_NOFILE, (_FILES if hard == resource.RLIM_INFINITY else min(_FILES, hard), hard))


def _prctl(option: int, value: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"prctl {option}: {os.strerror(number)}")
