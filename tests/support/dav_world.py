"""The DAV application without a socket: requests go in as ASGI has them, over a store in memory."""

import asyncio
import base64
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from xml.etree import ElementTree

from own_imap import PASSWORD, AnyKeys, OnePassword, account_of
from preau.auth.api import Attempt, Denied, Granted, Reason, Service
from preau.dav.app import App, make_site
from preau.dav.plugin import Plugin
from preau.dav.sign_in import SignIn
from preau.dav.values import DavSettings
from preau.storage.api import Account, Store
from preau.storage.memory import MemoryStore

ANA = "ana@ecole.example"
DAV = "{DAV:}"


class OneDavPassword(OnePassword):
    """As OnePassword; `scopes` are what the password is good for."""

    def __init__(self) -> None:
        """Good for all of DAV."""
        super().__init__()
        self.scopes = frozenset({Service.CALDAV, Service.CARDDAV, Service.WEBDAV})
        self.attempts: list[Attempt] = []

    async def authenticate(self, attempt: Attempt) -> Granted | Denied:
        """See Authenticator."""
        self.attempts.append(attempt)
        answer = await super().authenticate(attempt)
        if isinstance(answer, Denied):
            return answer
        if attempt.service not in self.scopes:
            return Denied(Reason.SCOPE, "REF456")
        return Granted(
            answer.identity, answer.session, answer.credential, self.scopes, answer.ticket, answer.expires, answer.quota
        )


@dataclass(frozen=True)
class Answer:
    """What came back. Header names are lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode()

    @property
    def xml(self) -> ElementTree.Element:
        """The body as XML."""
        return ElementTree.fromstring(self.body)

    def responses(self) -> dict[str, ElementTree.Element]:
        """Of a multistatus: href -> response."""
        assert self.status == 207, self.text
        return {one.findtext(f"{DAV}href", ""): one for one in self.xml.iter(f"{DAV}response")}

    def properties(self, href: str, status: int = 200) -> dict[str, ElementTree.Element]:
        """Properties of one response that have a status."""
        found: dict[str, ElementTree.Element] = {}
        for propstat in self.responses()[href].iter(f"{DAV}propstat"):
            if f" {status} " in propstat.findtext(f"{DAV}status", ""):
                for prop in propstat.iterfind(f"{DAV}prop/*"):
                    found[prop.tag] = prop
        return found

    def statuses(self) -> dict[str, str]:
        """Href -> the status of the whole response, empty where each property has one."""
        return {href: one.findtext(f"{DAV}status", "")[9:12] for href, one in self.responses().items()}

    def condition(self) -> str:
        """Tag of the first precondition element of a DAV:error."""
        return self.xml[0].tag if self.xml.tag == f"{DAV}error" and len(self.xml) else ""


@dataclass
class World:
    """An application with one account known by ANA and PASSWORD."""

    app: App
    store: Store
    authenticator: OneDavPassword
    sign_in: SignIn
    runner: asyncio.Runner
    sent: list[MutableMapping[str, Any]] = field(default_factory=list)

    @property
    def account(self) -> Account:
        """Ana's, opened once more."""
        keys = self.runner.run(AnyKeys().unwrap(b""))
        return self.store.open_account(account_of(ANA), keys)

    def request(
        self,
        method: str,
        path: str,
        body: bytes | str = b"",
        headers: Mapping[str, str] | None = None,
        *,
        login: str | None = ANA,
        password: str = PASSWORD,
        tls: bool = True,
        pieces: Sequence[bytes] | None = None,
    ) -> Answer:
        """Send one request. `login` None: without credentials. `pieces`: a body of no told length, as it arrives."""
        data = body.encode() if isinstance(body, str) else body
        lines = {"host": "dav.ecole.example", **{name.lower(): value for name, value in (headers or {}).items()}}
        if login is not None and "authorization" not in lines:
            lines["authorization"] = "Basic " + base64.b64encode(f"{login}:{password}".encode()).decode()
        if pieces is not None:
            lines["transfer-encoding"] = "chunked"
        elif data and "content-length" not in lines:
            lines["content-length"] = str(len(data))
        scope: MutableMapping[str, Any] = {
            "type": "http",
            "method": method,
            "path": path,
            "raw_path": path.encode(),
            "scheme": "https" if tls else "http",
            "client": ("192.0.2.7", 40_000),
            "headers": [(name.encode(), value.encode("latin-1")) for name, value in lines.items()],
        }
        return self.runner.run(self._run(scope, list(pieces) if pieces is not None else [data]))

    async def _run(self, scope: MutableMapping[str, Any], pieces: list[bytes]) -> Answer:
        waiting = iter([*({"type": "http.request", "body": one, "more_body": True} for one in pieces[:-1]), None])
        last = {"type": "http.request", "body": pieces[-1] if pieces else b"", "more_body": False}
        told: list[MutableMapping[str, Any]] = []

        async def receive() -> MutableMapping[str, Any]:
            return next(waiting, None) or last

        async def send(message: MutableMapping[str, Any]) -> None:
            told.append(message)

        await self.app(scope, receive, send)
        self.sent = told
        head = {name.decode(): value.decode("latin-1") for name, value in told[0]["headers"]}
        return Answer(told[0]["status"], head, b"".join(message.get("body", b"") for message in told[1:]))

    def propfind(self, path: str, names: str, depth: str = "0", **named: Any) -> Answer:
        """PROPFIND of the properties in `names`: XML with the prefixes D, C, CR, CS, A."""
        return self.request("PROPFIND", path, propfind_body(names), {"Depth": depth}, **named)

    def report(self, path: str, body: str, depth: str = "0") -> Answer:
        """REPORT."""
        return self.request("REPORT", path, body, {"Depth": depth, "Content-Type": "application/xml"})


NAMESPACES = (
    'xmlns:D="DAV:" xmlns:C="urn:ietf:params:xml:ns:caldav" xmlns:CR="urn:ietf:params:xml:ns:carddav" '
    'xmlns:CS="http://calendarserver.org/ns/" xmlns:A="http://apple.com/ns/ical/"'
)
"""For bodies."""


def propfind_body(names: str) -> str:
    """Of a PROPFIND for these properties."""
    return f'<?xml version="1.0" encoding="utf-8"?><D:propfind {NAMESPACES}><D:prop>{names}</D:prop></D:propfind>'


@contextmanager
def dav_world(plugins: Sequence[Plugin], settings: DavSettings | None = None, store: Store | None = None) -> Iterator[World]:
    """An application with these kinds of collections."""
    wishes = settings or DavSettings()
    authenticator = OneDavPassword()
    with ThreadPoolExecutor(2) as threads, asyncio.Runner() as runner:
        loop = runner.get_loop()

        async def in_thread(call: Any) -> Any:
            return await loop.run_in_executor(threads, call)

        kept = store or MemoryStore()
        sign_in = SignIn(wishes, authenticator, AnyKeys(), kept, in_thread)
        app = App(make_site(wishes, plugins, threads), sign_in)
        yield World(app, kept, authenticator, sign_in, runner)
        runner.run(sign_in.close())
