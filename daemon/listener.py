"""Listening sockets: bound here, or handed over by systemd or by our own supervisor (sd_listen_fds(3)).

Owns how a socket comes to be, how it passes from one process to the next, and how many connections are accepted in a row.
Never knows what a connection is for: that is the role's.

systemd hands over descriptors 3, 4, ... and names them in LISTEN_FDNAMES. Our supervisor does the same with one variable
more, LISTEN_FDNUMBERS, because subprocess keeps a descriptor's number instead of moving it to 3. LISTEN_PID is the
receiver's pid (systemd knows it after its fork) or its parent's (all that a supervisor knows before): anything else means
that the variables were meant for another process.
"""

import asyncio
import errno
import os
import socket
import stat
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

BACKLOG = 1024  # connections that the kernel keeps for us
_ACCEPTED_AT_ONCE = 4  # before those that are there have their turn
_FIRST_FD = 3
_UNIX_PATH_MAX = 107  # octets of sun_path without its NUL (unix(7))


@dataclass(frozen=True, slots=True)
class Listener:
    """A bound, listening, non-blocking socket under its configured name. `tls`: the handshake comes first."""

    name: str
    socket: socket.socket
    tls: bool = False

    @property
    def is_unix(self) -> bool:
        """Whether only this machine can connect to it."""
        return self.socket.family == socket.AF_UNIX


async def accept_on(listener: Listener, make: Callable[[], asyncio.BaseProtocol], **options: Any) -> asyncio.Server:
    """Serve a listener with the running loop. `options`: of its create_server."""
    loop = asyncio.get_running_loop()
    create: Callable[..., Any] = loop.create_unix_server if listener.is_unix else loop.create_server
    server: asyncio.Server = await create(make, sock=listener.socket, backlog=_ACCEPTED_AT_ONCE, **options)
    # asyncio takes one number for both, and a thousand handshakes begun in one turn keep everybody waiting for a second.
    listener.socket.listen(BACKLOG)
    return server


def bind_tcp(host: str, port: int, *, backlog: int = BACKLOG) -> socket.socket:
    """Listen on a host (address or name; the first address counts) and port; 0 is any free one. Raise OSError."""
    family, _, _, _, address = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            # `::` means IPv6 alone: who wants both names both, and a peer's address is then never ::ffff:a.b.c.d.
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listening.bind(address)
        listening.listen(backlog)
        listening.setblocking(False)
    except OSError:
        listening.close()
        raise
    return listening


def bind_unix(path: Path, mode: int = 0o600, *, backlog: int = BACKLOG) -> socket.socket:
    """Listen on a Unix socket that never exists with wider rights than `mode`.

    A socket left by a dead process is replaced; one that still answers, or a file that is no socket, raises OSError.
    """
    name = os.fsencode(path)
    if len(name) > _UNIX_PATH_MAX:
        raise OSError(errno.ENAMETOOLONG, f"socket path longer than {_UNIX_PATH_MAX} octets", os.fspath(path))
    _remove_stale(path)
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        os.fchmod(listening.fileno(), mode)  # Linux makes the file with the rights of the descriptor: no moment of 0777
        listening.bind(name)
        path.chmod(mode)  # the umask may have taken more
        listening.listen(backlog)
        listening.setblocking(False)
    except OSError:
        listening.close()
        raise
    return listening


def _remove_stale(path: Path) -> None:
    try:
        found = path.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise OSError(errno.EEXIST, "there is a file that is not a socket", os.fspath(path))
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(os.fspath(path))
        except (ConnectionRefusedError, FileNotFoundError):
            path.unlink(missing_ok=True)
            return
    raise OSError(errno.EADDRINUSE, "another process listens here", os.fspath(path))


def handed_over(sockets: Sequence[tuple[str, socket.socket]]) -> tuple[dict[str, str], tuple[int, ...]]:
    """How a supervisor gives sockets to a child: (variables for its environment, descriptors for `pass_fds`)."""
    numbers = tuple(one.fileno() for _, one in sockets)
    for name, _ in sockets:
        if ":" in name or not name.isprintable():
            raise ValueError(f"not a name for LISTEN_FDNAMES: {name!r}")
    return {
        "LISTEN_PID": str(os.getpid()),
        "LISTEN_FDS": str(len(sockets)),
        "LISTEN_FDNAMES": ":".join(name for name, _ in sockets),
        "LISTEN_FDNUMBERS": ":".join(map(str, numbers)),
    }, numbers


def inherited(environment: MutableMapping[str, str] | None = None) -> dict[str, list[socket.socket]]:
    """The sockets handed over to this process, by name; {} when there are none. A second call finds nothing.

    The variables are removed, so that children do not take them for theirs. Raise OSError when one is not a socket.
    """
    variables = os.environ if environment is None else environment
    numbers = _numbers(variables)
    names = variables.get("LISTEN_FDNAMES", "").split(":") if numbers else []
    for variable in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_FDNUMBERS"):
        variables.pop(variable, None)
    found: dict[str, list[socket.socket]] = {}
    for position, number in enumerate(numbers):
        os.set_inheritable(number, False)
        taken = socket.socket(fileno=number)
        taken.setblocking(False)
        name = names[position] if position < len(names) and names[position] else "unknown"
        found.setdefault(name, []).append(taken)
    return found


def _numbers(variables: Mapping[str, str]) -> list[int]:
    try:
        pid, count = int(variables["LISTEN_PID"]), int(variables["LISTEN_FDS"])
    except (KeyError, ValueError):
        return []
    if pid not in (os.getpid(), os.getppid()) or not 0 <= count <= 1024:
        return []
    if given := variables.get("LISTEN_FDNUMBERS"):
        try:
            numbers = [int(number) for number in given.split(":")]
        except ValueError:
            return []
        return numbers if len(numbers) == count else []
    return list(range(_FIRST_FD, _FIRST_FD + count))
