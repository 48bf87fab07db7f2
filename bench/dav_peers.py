"""The servers of the DAV benchmark, each as its operator would start it, on loopback over plain HTTP.

Ours keeps its sealing and asks an app password of every request. Radicale runs its own server and file store, with
`htpasswd` in plain (its cheapest). Xandikos keeps a git repository a collection; it takes passwords over TLS alone, so
here it asks for none, which flatters it. Cyrus takes any password, which costs it nothing either; it need not be installed:
its packages unpacked into a folder will do. All flush what they store as they do by default.
"""

from __future__ import annotations

import json
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

from .dav_corpus import ZONE
from .dav_wire import DavClient
from .dovecot import free_port
from .ours import DOMAIN, Preau
from .wire import ImapClient

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

    def _start(self, command: list[str], log: Path, environment: Mapping[str, str] | None = None) -> None:
        with log.open("ab") as output:
            self._process = subprocess.Popen(command, stdout=output, stderr=output, env=environment)
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
        if name == "small":
            client = DavClient(self.port, self.login)
            client.request("MKCALENDAR", self.collections[name], _MKCALENDAR, Content_Type="application/xml")
            client.close()
        put_all(self, name, items)


def put_all(peer: DavPeer, name: str, items: Items) -> None:
    """PUT items over several connections: most of the time each of them waits for the disk."""
    own = threading.local()

    def put(item: tuple[str, bytes]) -> None:
        client = getattr(own, "client", None)
        if client is None:
            client = own.client = DavClient(peer.port, peer.login)
        client.request("PUT", peer.collections[name] + item[0], item[1], Content_Type=_media(name))

    with ThreadPoolExecutor(8) as pool:
        for _ in pool.map(put, items):
            pass


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


_CYRUS = """
configdirectory: {root}/var
partition-default: {root}/spool
defaultpartition: default
cyrus_user: nobody
admins: admin
servername: localhost
allowplaintext: yes
sasl_pwcheck_method: alwaystrue
sasl_mech_list: PLAIN
httpmodules: caldav carddav
caldav_allowscheduling: off
virtdomains: off
altnamespace: on
unixhierarchysep: on
zoneinfo_dir: {root}/zones
idlesocket: {root}/run/idle
notifysocket: {root}/run/notify
lmtpsocket: {root}/run/lmtp
"""
_CYRUS_SERVICES = """
START {{
}}
SERVICES {{
  imap cmd="{bin}/imapd -C {root}/imapd.conf" listen="127.0.0.1:{imap}" prefork=0
  http cmd="{bin}/httpd -C {root}/imapd.conf -U 10000" listen="127.0.0.1:{http}" prefork=2 maxchild=50
}}
EVENTS {{
}}
"""
_UTC = ["BEGIN:STANDARD", "TZOFFSETFROM:+0000", "TZOFFSETTO:+0000", "TZNAME:UTC", "DTSTART:19700101T000000", "END:STANDARD"]


class Cyrus(_Started):
    """Cyrus' httpd below its master. Needs root's rights to become another user, as it insists."""

    name = "cyrus"

    def __init__(self, root: Path, prefix: Path) -> None:
        """`prefix`: where its packages (cyrus-imapd, -common, -caldav and libraries) are unpacked; `/` when installed."""
        super().__init__()
        self._root, self._prefix, self._imap = root, prefix, free_port()
        self.login: tuple[str, str] | None = (USER, "any")
        homes = {"large": "calendars", "small": "calendars", "cards": "addressbooks"}
        self.collections = {name: f"/dav/{home}/user/{USER}/{name}/" for name, home in homes.items()}
        owner = pwd.getpwnam("nobody")
        for folder in ("spool", "run", *(f"var/{name}" for name in ("db", "proc", "socket", "lock", "sync", "msg"))):
            (root / folder).mkdir(parents=True)
        for path in (root, *root.rglob("*")):
            os.chown(path, owner.pw_uid, owner.pw_gid)
        root.parent.chmod(root.parent.stat().st_mode | 0o711)  # its processes reach their folder through this one
        # It knows time zones by a list and files of its own, which say their place again.
        for name, lines in (("Europe/Paris", ZONE[2:]), ("Etc/UTC", [*_UTC, "END:VTIMEZONE"])):
            file = root / "zones" / f"{name}.ics"
            file.parent.mkdir(parents=True, exist_ok=True)
            head = ["BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//bench//"]
            whole = [*head, "BEGIN:VTIMEZONE", f"TZID:{name}", f"X-LIC-LOCATION:{name}", *lines, "END:VCALENDAR", ""]
            file.write_text("\r\n".join(whole), newline="")
        (root / "zones" / "zones.tab").write_text("Etc/UTC\nEurope/Paris\n")
        (root / "imapd.conf").write_text(_CYRUS.format(root=root))
        services = _CYRUS_SERVICES.format(root=root, bin=prefix / "usr/lib/cyrus/bin", imap=self._imap, http=self.port)
        (root / "cyrus.conf").write_text(services)

    def __enter__(self) -> Cyrus:
        libraries = [
            path.parent for path in sorted(self._prefix.glob("*lib/*/*.so.*")) + sorted(self._prefix.glob("usr/lib/*/*.so.*"))
        ]
        unpacked = {} if self._prefix == Path("/") else {"LD_LIBRARY_PATH": ":".join(dict.fromkeys(map(str, libraries)))}
        master = self._prefix / "usr/lib/cyrus/bin/master"
        words = ["-C", f"{self._root}/imapd.conf", "-M", f"{self._root}/cyrus.conf", "-p", f"{self._root}/run/master.pid"]
        self._start([str(master), *words], self._root.parent / "cyrus.log", {**os.environ, **unpacked})
        admin = ImapClient(self._imap)
        admin.login("admin", "any")
        admin.command(f"CREATE user/{USER}".encode())
        admin.close()
        # It makes a home when that is first looked at, and not in the midst of MKCALENDAR.
        client = DavClient(self.port, self.login)
        for home in ("calendars", "addressbooks"):
            client.request("PROPFIND", f"/dav/{home}/user/{USER}/", Depth="0")
        client.close()
        return self

    def fill(self, name: str, items: Items) -> None:
        """PUT by PUT."""
        client = DavClient(self.port, self.login)
        if name == "cards":
            kind = "<D:resourcetype><D:collection/><CR:addressbook/></D:resourcetype>"
            spaces = 'xmlns:D="DAV:" xmlns:CR="urn:ietf:params:xml:ns:carddav"'
            body = f"<D:mkcol {spaces}><D:set><D:prop>{kind}</D:prop></D:set></D:mkcol>".encode()
            client.request("MKCOL", self.collections[name], body, Content_Type="application/xml")
        else:
            client.request("MKCALENDAR", self.collections[name])
        client.close()
        put_all(self, name, items)
