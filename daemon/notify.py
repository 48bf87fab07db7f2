"""Telling who started us how we are (sd_notify(3)): READY, RELOADING, STOPPING, WATCHDOG.

Owns both ends: `Notifier` speaks to systemd or to our own supervisor, which listens with `NotifyReceiver`. Without
NOTIFY_SOCKET every call does nothing. Never raises: a supervisor that went away is no reason to stop serving.
"""

import os
import socket
import struct
import time
from collections.abc import MutableMapping
from pathlib import Path

_MAX_DATAGRAM = 4096
_CREDENTIALS = struct.Struct("3i")  # pid, uid, gid (unix(7), SCM_CREDENTIALS)


class Notifier:
    """One process's line to its supervisor."""

    def __init__(self, address: str | None, *, watchdog: float | None = None) -> None:
        """`address`: a path, `@name` for the abstract namespace, None for nobody. `watchdog`: seconds it may be silent."""
        self.watchdog_limit = watchdog
        self._socket: socket.socket | None = None
        if address and address[0] in "/@":
            self._address = "\0" + address[1:] if address[0] == "@" else address
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
            self._socket.setblocking(False)

    def ready(self, status: str = "") -> None:
        """Every listener accepts (also after a reload)."""
        self._send("READY=1", f"STATUS={_line(status)}" if status else "")

    def reloading(self) -> None:
        """A reload began; `ready` ends it."""
        self._send("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        """Draining began."""
        self._send("STOPPING=1")

    def alive(self) -> None:
        """The event loop turns."""
        self._send("WATCHDOG=1")

    def status(self, text: str) -> None:
        """What we are doing, for `systemctl status`."""
        self._send(f"STATUS={_line(text)}")

    def close(self) -> None:
        """Say nothing more."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _send(self, *lines: str) -> None:
        if self._socket is None:
            return
        try:
            self._socket.sendto("\n".join(line for line in lines if line).encode(), self._address)
        except OSError:
            pass  # its buffer is full or it is gone: it will notice by the watchdog


def notifier(environment: MutableMapping[str, str] | None = None) -> Notifier:
    """The notifier that NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID ask for; removes them (they are not our children's)."""
    variables = os.environ if environment is None else environment
    address = variables.pop("NOTIFY_SOCKET", None)
    usec = variables.pop("WATCHDOG_USEC", "")
    pid = variables.pop("WATCHDOG_PID", "")
    limit = None
    # As with LISTEN_PID: our supervisor knows only its own pid before it starts us.
    if usec.isascii() and usec.isdigit() and int(usec) > 0 and pid in ("", str(os.getpid()), str(os.getppid())):
        limit = int(usec) / 1_000_000
    return Notifier(address, watchdog=limit)


class NotifyReceiver:
    """The supervisor's end: a datagram socket whose messages carry their sender's pid, vouched for by the kernel."""

    def __init__(self, path: Path) -> None:
        """Listen at `path` (mode 0600), replacing what an earlier run left. Raise OSError."""
        self.path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
        try:
            path.unlink(missing_ok=True)
            os.fchmod(self._socket.fileno(), 0o600)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
            self._socket.bind(os.fspath(path))
        except OSError:
            self._socket.close()
            raise

    def fileno(self) -> int:
        """Readable when something was said."""
        return self._socket.fileno()

    def receive(self) -> list[tuple[int, dict[str, str]]]:
        """What was said since the last call: (pid, {"READY": "1", ...}) each, at most 256 at once."""
        said = []
        for _ in range(256):
            try:
                data, control, _, _ = self._socket.recvmsg(_MAX_DATAGRAM, socket.CMSG_SPACE(_CREDENTIALS.size))
            except (BlockingIOError, InterruptedError):
                break
            pid = 0
            for level, kind, payload in control:
                if level == socket.SOL_SOCKET and kind == socket.SCM_CREDENTIALS and len(payload) >= _CREDENTIALS.size:
                    pid = _CREDENTIALS.unpack_from(payload)[0]
            fields = {}
            for line in data.decode("utf-8", "replace").split("\n"):
                name, found, value = line.partition("=")
                if found:
                    fields[name] = value
            said.append((pid, fields))
        return said

    def close(self) -> None:
        """Stop listening and remove the path."""
        self._socket.close()
        self.path.unlink(missing_ok=True)


def _line(text: str) -> str:
    return text.replace("\n", " ")[:512]
