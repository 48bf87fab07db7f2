"""Collections of one account in dicts (see memory.py): calendars, address books and their items.

Says in the plainest way what storage/api.py's Collections promises.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from .api import (
    AlreadyExists,
    Changes,
    CollectionId,
    CollectionInfo,
    CollectionKind,
    Conflict,
    ETag,
    Forbidden,
    Href,
    InvalidSyncToken,
    Item,
    ItemFacts,
    NotFound,
    Put,
    SyncToken,
    TooLarge,
)
from .collections_rules import DEFAULT_COLLECTIONS, bound_facts, check_properties, check_segment, render_etag, touches
from .collections_schema import FIRST_COLLECTION

if TYPE_CHECKING:
    from .memory import MemoryAccount


@dataclass(slots=True)
class _Kept:
    item: Item
    data: bytes
    modseq: int


@dataclass(slots=True)
class _Collection:
    info: CollectionInfo
    items: dict[Href, _Kept] = field(default_factory=dict)
    gone: dict[Href, int] = field(default_factory=dict)
    floor: int = 0  # tokens below it are refused

    @property
    def token(self) -> SyncToken:
        return self.info.sync_token

    def next_token(self) -> SyncToken:
        self.info = replace(self.info, sync_token=SyncToken(self.info.sync_token + 1))
        return self.token


class MemoryCollections:
    """See Collections."""

    def __init__(self, account: "MemoryAccount") -> None:
        """Make the default collections."""
        self._account = account
        self._limits = account.limits
        self._collections: dict[CollectionId, _Collection] = {}
        self._last_id = FIRST_COLLECTION
        for kind, name, properties in DEFAULT_COLLECTIONS:
            self.create(kind, name, properties)

    def _get(self, collection: CollectionId) -> _Collection:
        try:
            return self._collections[collection]
        except KeyError:
            raise NotFound(f"no collection {collection}") from None

    def collections(self, kind: CollectionKind | None = None) -> Sequence[CollectionInfo]:
        """See Collections."""
        infos = [one.info for one in self._collections.values() if kind in (None, one.info.kind)]
        return sorted(infos, key=lambda info: (info.name, info.kind))

    def find(self, kind: CollectionKind, name: str) -> CollectionInfo:
        """See Collections."""
        for info in self.collections(kind):
            if info.name == name:
                return info
        raise NotFound(name)

    def create(self, kind: CollectionKind, name: str, properties: Mapping[str, str]) -> CollectionInfo:
        """See Collections."""
        with self._account.lock:
            check_segment(name)
            check_properties(properties)
            if any(info.name == name for info in self.collections(kind)):
                raise AlreadyExists(name)
            if len(self._collections) >= self._limits.collections:
                raise Forbidden(f"more than {self._limits.collections} collections")
            self._last_id += 1
            info = CollectionInfo(CollectionId(self._last_id), kind, name, dict(properties), SyncToken(1))
            self._collections[info.id] = _Collection(info)
            self._account.announce(0, 0)
            return info

    def delete(self, collection: CollectionId) -> None:
        """See Collections."""
        with self._account.lock:
            gone = self._get(collection)
            self._account.charge(-sum(kept.item.size for kept in gone.items.values()))
            del self._collections[collection]
            self._account.announce(0, 0)

    def set_properties(self, collection: CollectionId, changes: Mapping[str, str | None]) -> CollectionInfo:
        """See Collections."""
        with self._account.lock:
            one = self._get(collection)
            merged = {**one.info.properties, **changes}
            properties = {name: value for name, value in merged.items() if value is not None}
            check_properties(properties)
            one.info = replace(one.info, properties=properties)
            self._account.announce(0, 0)
            return one.info

    def items(self, collection: CollectionId, hrefs: Sequence[Href] | None = None) -> Iterator[Item]:
        """See Collections."""
        with self._account.lock:
            items = self._get(collection).items
            wanted = sorted(items if hrefs is None else set(hrefs) & set(items))
            found = [items[href].item for href in wanted]
        yield from found

    def overlapping(
        self, collection: CollectionId, component: str | None, start: int | None, end: int | None
    ) -> Iterator[Item]:
        """See Collections."""
        for item in self.items(collection):
            if component in (None, item.facts.component) and touches(item.facts, start, end):
                yield item

    def read_item(self, collection: CollectionId, href: Href) -> tuple[Item, bytes]:
        """See Collections."""
        kept = self._get(collection).items.get(href)
        if kept is None:
            raise NotFound(href)
        return kept.item, kept.data

    def put_item(
        self,
        collection: CollectionId,
        href: Href,
        data: bytes,
        facts: ItemFacts,
        *,
        if_match: ETag | None = None,
        if_none_match: bool = False,
    ) -> Put:
        """See Collections."""
        with self._account.lock:
            one = self._get(collection)
            check_segment(href)
            if len(data) > self._limits.item_size:
                raise TooLarge(f"more than {self._limits.item_size} octets")
            old = one.items.get(href)
            if if_none_match and old is not None:
                raise Conflict("there already")
            if if_match is not None and (old is None or old.item.etag != if_match):
                raise Conflict("changed meanwhile")
            self._check_uid(one, facts, href)
            if old is None and len(one.items) >= self._limits.items:
                raise Forbidden(f"more than {self._limits.items} items")
            self._account.charge(len(data) - (old.item.size if old else 0))
            item = Item(href, render_etag(data), len(data), int(self._account.clock()), bound_facts(facts, self._limits))
            one.items[href] = _Kept(item, data, one.next_token())
            one.gone.pop(href, None)
            self._account.announce(collection, one.token)
            return Put(item, old is None, one.token)

    def _check_uid(self, one: _Collection, facts: ItemFacts, *free: Href) -> None:
        for kept in one.items.values():
            if facts.uid is not None and kept.item.facts.uid == facts.uid and kept.item.href not in free:
                raise Conflict("the UID is taken", uid_conflict=kept.item.href)

    def delete_item(self, collection: CollectionId, href: Href, *, if_match: ETag | None = None) -> SyncToken:
        """See Collections."""
        with self._account.lock:
            one = self._get(collection)
            old = one.items.get(href)
            if old is None:
                raise NotFound(href)
            if if_match is not None and old.item.etag != if_match:
                raise Conflict("changed meanwhile")
            del one.items[href]
            one.gone[href] = one.next_token()
            self._account.charge(-old.item.size)
            self._account.announce(collection, one.token)
            return one.token

    def copy_item(
        self, collection: CollectionId, href: Href, target: CollectionId, new_href: Href, *, overwrite: bool, move: bool
    ) -> Put:
        """See Collections."""
        with self._account.lock:
            source, destination = self._get(collection), self._get(target)
            check_segment(new_href)
            kept = source.items.get(href)
            if kept is None:
                raise NotFound(href)
            if (collection, href) == (target, new_href):
                raise Forbidden("onto itself")
            if new_href in destination.items and not overwrite:
                raise AlreadyExists(new_href)
            self._check_uid(destination, kept.item.facts, new_href, *([href] if move and source is destination else []))
            old = destination.items.get(new_href)
            if old is None and len(destination.items) >= self._limits.items and not (move and source is destination):
                raise Forbidden(f"more than {self._limits.items} items")
            self._account.charge((0 if move else kept.item.size) - (old.item.size if old else 0))
            token = destination.next_token()
            item = replace(kept.item, href=new_href, modified=int(self._account.clock()))
            destination.items[new_href] = _Kept(item, kept.data, token)
            destination.gone.pop(new_href, None)
            self._account.announce(target, token)
            if move:
                del source.items[href]
                source.gone[href] = token if source is destination else source.next_token()
                self._account.announce(collection, source.token)
            return Put(item, old is None, token)

    def changes(self, collection: CollectionId, since: SyncToken | None, limit: int | None = None) -> Changes:
        """See Collections."""
        with self._account.lock:
            one = self._get(collection)
            if since is not None and not one.floor <= since <= one.token:
                raise InvalidSyncToken(f"token {since}")
            events: list[tuple[int, Href]] = [(kept.modseq, href) for href, kept in one.items.items()]
            if since is not None:
                events += [(modseq, href) for href, modseq in one.gone.items()]
            events = sorted(event for event in events if since is None or event[0] > since)
            cut = len(events) if limit is None else max(1, limit)
            # A token stands between transactions: those of one go together.
            while cut < len(events) and events[cut][0] == events[cut - 1][0]:
                cut += 1
            truncated = cut < len(events)
            hrefs = [href for _, href in events[:cut]]
            return Changes(
                changed=[one.items[href].item for href in hrefs if href in one.items],
                gone=[href for href in hrefs if href not in one.items],
                sync_token=SyncToken(events[cut - 1][0]) if truncated else one.token,
                truncated=truncated,
            )
