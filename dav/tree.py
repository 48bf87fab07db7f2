"""Paths and what lies at them (docs/architecture.md 5).

    /  /dav/  /dav/principals/  /dav/calendars/  /dav/addressbooks/       Root
    /dav/principals/ADDRESS/                                              Principal
    /dav/calendars/ADDRESS/            /dav/addressbooks/ADDRESS/         Home
    .../NAME/                                                             Collection (of the home's kind, or plain)
    .../NAME/HREF     .../PLAIN/PLAIN/HREF                                ItemResource, plain collections nest

A path is split first and decoded once, strictly: what is no UTF-8, or would be another path after decoding, is nothing of
ours. Another's address, and one that does not exist, are the same NotFound. Never makes a file name.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from ..auth.permits import Right, Target, may
from ..storage.api import Account, CollectionInfo, CollectionKind, Href, Item, NotFound
from .errors import DavError, bad_request, not_found
from .plugin import Plugin
from .values import Collection, Home, ItemResource, Principal, Resource, Root
from .xml import quote

BASE = "/dav/"
PRINCIPALS = f"{BASE}principals/"
LONGEST_PATH = 8_192
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")


@dataclass(frozen=True, slots=True)
class Location:
    """A path, decoded. `names`: its segments; `slash`: whether it ends with one (of no meaning for what it names)."""

    names: tuple[str, ...]
    slash: bool

    @property
    def path(self) -> str:
        """As an href, without a slash at the end."""
        return "/" + quote("/".join(self.names))


def parse_path(path: str) -> Location:
    """An absolute path as sent. Raise DavError 400 when it is not one, 404 for one that can name nothing."""
    if not path.startswith("/") or len(path) > LONGEST_PATH:
        raise bad_request()
    parts = path.split("/")[1:]
    slash = parts[-1] == ""
    if slash:
        parts.pop()
    if "%" in path or not path.isascii():
        parts = [_decode(part) for part in parts]
    if any(part in ("", ".", "..") or "/" in part or _CONTROL.search(part) for part in parts):
        # Traversal in any form. No name ever becomes a file's; but these are no names to begin with.
        raise not_found()
    return Location(tuple(parts), slash or not parts)


_HEX = frozenset("0123456789abcdefABCDEF")


def _decode(part: str) -> str:
    """Percent-decoding, once. Raise DavError 400 for a stray `%` and for what is not UTF-8."""
    if "%" not in part and part.isascii():
        return part
    first, *rest = part.split("%")
    try:
        octets = bytearray(first.encode())
        for piece in rest:
            if len(piece) < 2 or piece[0] not in _HEX or piece[1] not in _HEX:
                raise bad_request()
            octets.append(int(piece[:2], 16))
            octets += piece[2:].encode()
        return octets.decode()
    except UnicodeError:
        raise bad_request() from None


def path_of(href: str, host: str) -> str:
    """The path of an href: an absolute path, or a URL of this `host`. Raise DavError 502 for another's, 400 for none."""
    if href.startswith("/") and not href.startswith("//"):
        return href.partition("#")[0].partition("?")[0]
    try:
        parts = urlsplit(href)
        port = parts.port
    except ValueError:
        raise bad_request() from None
    if parts.scheme not in ("http", "https") or not parts.netloc or "@" in parts.netloc:
        raise bad_request()
    name, _, told = host.rpartition(":") if not host.endswith("]") and ":" in host else (host, "", "")
    default = 443 if parts.scheme == "https" else 80
    if (parts.hostname or "") != name.strip("[]").lower() or (port or default) not in (int(told or default), default):
        raise DavError(502, text="Autre serveur. / Another server.")
    return parts.path or "/"


class Tree:
    """The resources of one account."""

    def __init__(self, account: Account, address: str, homes: Mapping[str, Plugin]) -> None:
        """`homes`: segment -> plugin."""
        self._account = account
        self._address = address
        self.homes = homes
        self._target = Target(account.id)
        self.principal = Principal(f"{PRINCIPALS}{quote(address)}/", address)

    def home(self, name: str) -> Home:
        """This account's own home."""
        return Home(f"{BASE}{name}/{quote(self._address)}/", name, self._address)

    def may(self, right: Right) -> bool:
        """Whether who signed in has a right here: today all that is reached is their own."""
        return may(self._account.id, right, self._target)

    def find(self, location: Location) -> Resource:
        """What lies there. Raise DavError 404."""
        names = location.names
        if not names or names == ("dav",):
            return Root("/" if not names else BASE)
        if names[0] != "dav" or (names[1] != "principals" and names[1] not in self.homes):
            raise not_found()
        if len(names) == 2:
            return Root(f"{BASE}{names[1]}/")
        # Whose address it is not, learns nothing: not even whether it exists.
        if names[2].casefold() != self._address.casefold() or not self.may(Right.LOOKUP):
            raise not_found()
        if names[1] == "principals":
            if len(names) > 3:
                raise not_found()
            return self.principal
        home = self.home(names[1])
        return home if len(names) == 3 else self._below(home, names[3:])

    def _below(self, home: Home, names: Sequence[str]) -> Resource:
        collections = self._account.collections
        info = self._collection(home, names[0])
        if info is not None:
            collection = Collection(f"{home.path}{quote(names[0])}/", home.name, info)
            if len(names) == 1:
                return collection
            if len(names) == 2 and (item := self.item(collection, names[1])) is not None:
                return ItemResource(collection, item)
            raise not_found()
        try:
            plain = collections.find(CollectionKind.PLAIN, "/".join((home.name, *names)))
            return Collection(f"{home.path}{quote('/'.join(names))}/", home.name, plain)
        except NotFound:
            pass
        if len(names) > 1:
            try:
                plain = collections.find(CollectionKind.PLAIN, "/".join((home.name, *names[:-1])))
            except NotFound:
                raise not_found() from None
            collection = Collection(f"{home.path}{quote('/'.join(names[:-1]))}/", home.name, plain)
            if (item := self.item(collection, names[-1])) is not None:
                return ItemResource(collection, item)
        raise not_found()

    def _collection(self, home: Home, name: str) -> CollectionInfo | None:
        try:
            return self._account.collections.find(self.homes[home.name].kind, name)
        except NotFound:
            return None

    def item(self, collection: Collection, name: str) -> Item | None:
        """A member of a collection."""
        return next(iter(self._account.collections.items(collection.info.id, [Href(name)])), None)

    def parent(self, location: Location) -> Home | Collection | Root | Principal:
        """Where something new at `location` would lie. Raise DavError 409 when there is no such place (RFC 4918 9.3.1, 9.7)."""
        if not location.names:
            return Root("/")
        try:
            found = self.find(Location(location.names[:-1], True))
        except DavError:
            found = None
        if found is None or isinstance(found, ItemResource):
            raise DavError(409, text="Pas de collection a cet endroit. / No collection there.")
        return found

    def plugin_of(self, collection: Collection | CollectionInfo) -> Plugin | None:
        """Who knows what is in it; None for a plain one."""
        info = collection.info if isinstance(collection, Collection) else collection
        return next((plugin for plugin in self.homes.values() if plugin.kind is info.kind), None)

    def collections(self, home: Home) -> Iterator[Collection]:
        """Those directly in a home."""
        for info in self._account.collections.collections(self.homes[home.name].kind):
            yield Collection(f"{home.path}{quote(info.name)}/", home.name, info)
        yield from self._plain_below(home.name, home.path, home.name)

    def plain_collections(self, collection: Collection) -> Iterator[Collection]:
        """Those directly in a plain one."""
        if collection.info.kind is CollectionKind.PLAIN:
            yield from self._plain_below(collection.info.name, collection.path, collection.home)

    def _plain_below(self, name: str, path: str, home: str) -> Iterator[Collection]:
        for info in self._account.collections.collections(CollectionKind.PLAIN):
            parent, _, last = info.name.rpartition("/")
            if parent == name:
                yield Collection(f"{path}{quote(last)}/", home, info)
