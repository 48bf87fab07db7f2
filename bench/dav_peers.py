"""The servers of the DAV benchmark, each as its operator would start it, on loopback over plain HTTP.

Ours keeps its sealing and asks an app password of every request. Radicale runs its own server and file store, with
`htpasswd` in plain (its cheapest). Xandikos keeps a git repository a collection; it takes passwords over TLS alone, so
here it asks for none, which flatters it. All flush what they store as they do by default.
"""

from __future__ import annotations

import json
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Protocol

from .dav_wire import DavClient
from .dovecot import free_port
from .ours import DOMAIN, Preau

USER = "bench"
Items = Iterable[tuple[str, bytes]]

_MKCALENDAR = b'<C:mkcalendar xmlns:C="urn:ietf:params:xml:ns:caldav"/>'


class DavPeer(Protocol):
    """A server under measure, as a context manager. `collections`: path by name (`large`, `small`, `cards`)."""

    name: str
    port: int
    login: tuple[str, str] | None

    @property
    def collections(self) -> Mapping[str, str]: ...

    @property
    def pid(self) -> int: ...

    def fill(self, name: str, items: Items) -> None:
        """Make the collection and put the items into it, by the quickest way that the server has."""
        ...


class _Started:
    """A process that listens on a port."""

    name = ""

    def __init__(self) -> None:
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    def _start(self, command: list[str], log: Path) -> None:
        with log.open("ab") as output:
            self._process = subprocess.Popen(command, stdout=output, stderr=output)
        for _ in range(400):
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                time.sleep(0.05)
            if self._process.poll() is not None:
                break
        self.__exit__()
        raise RuntimeError(f"{self.name} did not start: " + log.read_text()[-2000:])

    def __exit__(self, *error: object) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait(10)
            self._process = None

    @property
    def pid(self) -> int:
        """The process whose tree is the server."""
        if self._process is None:
            raise RuntimeError("not running")
        return self._process.pid


class OurDav:
    """`preau serve` with one dav worker."""

    name = "preau"

    def __init__(self, root: Path) -> None:
        """Make the instance in `root`."""
        self._server = Preau(root, [USER])
        settings = root / "preau.toml"
        settings.write_text(settings.read_text() + "\n[dav]\nworkers = 1\n")
        self.port = self._server.http
        self.login: tuple[str, str] | None = self._server.login(USER)
        calendars, books = f"/dav/calendars/{USER}@{DOMAIN}/", f"/dav/addressbooks/{USER}@{DOMAIN}/"
        self.collections: Mapping[str, str] = {
            "large": f"{calendars}calendar/",
            "small": f"{calendars}small/",
            "cards": f"{books}contacts/",
        }

    def __enter__(self) -> OurDav:
        self._server.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.__exit__(*error)

    @property
    def pid(self) -> int:
        """The supervisor."""
        return self._server.pid

    def fill(self, name: str, items: Items) -> None:
        """PUT by PUT."""
        client = DavClient(self.port, self.login)
        if name == "small":
            client.request("MKCALENDAR", self.collections[name], _MKCALENDAR, Content_Type="application/xml")
        for href, data in items:
            client.request("PUT", self.collections[name] + href, data, Content_Type=_media(name))
        client.close()


def _media(name: str) -> str:
    return "text/vcard; charset=utf-8" if name == "cards" else "text/calendar; charset=utf-8"


_RADICALE = """
[server]
hosts = 127.0.0.1:{port}
timeout = 600
[auth]
type = htpasswd
htpasswd_filename = {root}/users
htpasswd_encryption = plain
delay = 0
[storage]
filesystem_folder = {root}/collections
[logging]
level = error
"""


class Radicale(_Started):
    """Radicale's own server over its own file store, from the environment that this runs in."""

    name = "radicale"

    def __init__(self, root: Path) -> None:
        """Write its settings below `root`."""
        super().__init__()
        self._root = root
        root.mkdir()
        self.login: tuple[str, str] | None = (USER, "secret")
        (root / "users").write_text(f"{USER}:secret\n")
        (root / "config").write_text(_RADICALE.format(port=self.port, root=root))
        self.collections = {name: f"/{USER}/{name}/" for name in ("large", "small", "cards")}

    @staticmethod
    def find() -> str | None:
        """Its command."""
        beside = Path(sys.executable).parent / "radicale"
        return str(beside) if beside.exists() else shutil.which("radicale")

    def __enter__(self) -> Radicale:
        self._start([self.find() or "radicale", "--config", str(self._root / "config")], self._root / "log")
        return self

    def fill(self, name: str, items: Items) -> None:
        """Files, as its documentation has them: item by item it would take an hour. It reads them when it is first asked."""
        folder = self._root / "collections" / "collection-root" / USER / name
        folder.mkdir(parents=True)
        (folder / ".Radicale.props").write_text(json.dumps({"tag": "VADDRESSBOOK" if name == "cards" else "VCALENDAR"}))
        for href, data in items:
            (folder / href).write_bytes(data)


class Xandikos(_Started):
    """Xandikos over a git repository a collection."""

    name = "xandikos"
    login: tuple[str, str] | None = None

    def __init__(self, root: Path, command: str) -> None:
        """`command`: its own, which may lie in any environment."""
        super().__init__()
        self._root = root
        self._command = command
        root.mkdir()
        self.collections = {
            "large": f"/{USER}/calendars/calendar/",
            "small": f"/{USER}/calendars/small/",
            "cards": f"/{USER}/contacts/addressbook/",
        }

    def __enter__(self) -> Xandikos:
        command = [self._command, "serve", "-d", str(self._root), "-l", "127.0.0.1", "-p", str(self.port), "--defaults"]
        self._start(
            [*command, "--current-user-principal", f"/{USER}/", "--no-detect-systemd"], self._root.parent / "xandikos.log"
        )
        return self

    def fill(self, name: str, items: Items) -> None:
        """Files, and one commit of all: item by item it would commit ten thousand times."""
        if name == "small":
            DavClient(self.port, None).request(
                "MKCALENDAR", self.collections[name], _MKCALENDAR, Content_Type="application/xml"
            )
        folder = self._root / self.collections[name].strip("/")
        for href, data in items:
            (folder / href).write_bytes(data)
        who = ["-c", "user.name=bench", "-c", "user.email=bench@example.org", "-c", "gc.auto=0"]
        for words in (["add", "-A"], ["commit", "-q", "-m", "corpus"]):
            subprocess.run(["git", "-C", str(folder), *who, *words], check=True, capture_output=True)
