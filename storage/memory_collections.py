"""Collections of one account in dicts (see memory.py): calendars, address books and their items.

Says in the plainest way what storage/api.py's Collections promises.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from .api import (
    AlreadyExists,
    Changes,
    CollectionChanges,
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
from .collections_rules import (
    DEFAULT_COLLECTIONS,
    bound_facts,
    check_name,
    check_properties,
    check_segment,
    merge_item_properties,
    merge_properties,
    parent_of,
    render_etag,
    room_of,
    touches,
)
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

    def tell(self) -> CollectionInfo:
        return replace(self.info, items=len(self.items))


class MemoryCollections:
    """See Collections."""

    def __init__(self, account: "MemoryAccount") -> None:
        """Make the default collections."""
        self._account = account
        self._limits = account.limits
        self._collections: dict[CollectionId, _Collection] = {}
        self._gone: dict[tuple[CollectionKind, str], SyncToken] = {}
        self._token = SyncToken(1)
        self._last_id = FIRST_COLLECTION
        for kind, name, properties in DEFAULT_COLLECTIONS:
            self.create(kind, name, properties)

    def _get(self, collection: CollectionId) -> _Collection:
        try:
            return self._collections[collection]
        except KeyError:
            raise NotFound(f"no collection {collection}") from None

    def _next_account_token(self) -> SyncToken:
        self._token = SyncToken(self._token + 1)
        return self._token

    def _next_token(self, one: _Collection) -> SyncToken:
        one.info = replace(one.info, sync_token=SyncToken(one.token + 1), touched=self._next_account_token())
        return one.token

    def collections(self, kind: CollectionKind | None = None) -> Sequence[CollectionInfo]:
        """See Collections."""
        with self._account.lock:
            infos = [one.tell() for one in self._collections.values() if kind in (None, one.info.kind)]
        return sorted(infos, key=lambda info: (info.name, info.kind))

    def find(self, kind: CollectionKind, name: str) -> CollectionInfo:
        """See Collections."""
        for info in self.collections(kind):
            if info.name == name:
                return info
        raise NotFound(name)

    def _is_taken(self, kind: CollectionKind, name: str) -> bool:
        return any((info.kind, info.name) == (kind, name) for info in self.collections())

    def _check_free(self, kind: CollectionKind, name: str) -> None:
        check_name(kind, name)
        if self._is_taken(kind, name):
            raise AlreadyExists(name)
        parent = parent_of(kind, name)
        if parent is not None and not self._is_taken(CollectionKind.PLAIN, parent):
            raise NotFound(parent)

    def create(self, kind: CollectionKind, name: str, properties: Mapping[str, str]) -> CollectionInfo:
        """See Collections."""
        with self._account.lock:
            self._check_free(kind, name)
            check_properties(properties)
            if len(self._collections) >= self._limits.collections:
                raise Forbidden(f"more than {self._limits.collections} collections")
            self._last_id += 1
            touched, created = self._next_account_token(), int(self._account.clock())
            info = CollectionInfo(CollectionId(self._last_id), kind, name, dict(properties), SyncToken(1), touched, created)
            self._collections[info.id] = _Collection(info)
            self._gone.pop((kind, name), None)
            self._account.announce(0, 0)
            return info

    def _with_below(self, info: CollectionInfo) -> list[CollectionInfo]:
        below = self.collections(info.kind) if info.kind is CollectionKind.PLAIN else []
        return [info, *(one for one in below if one.name.startswith(f"{info.name}/"))]

    def delete(self, collection: CollectionId) -> None:
        """See Collections."""
        with self._account.lock:
            token = self._next_account_token() if collection in self._collections else SyncToken(0)
            for info in self._with_below(self._get(collection).info):
                gone = self._collections.pop(info.id)
                self._account.charge(-sum(room_of(kept.item) for kept in gone.items.values()))
                self._gone[info.kind, info.name] = token
            self._account.announce(0, 0)

    def set_properties(self, collection: CollectionId, changes: Mapping[str, str | None]) -> CollectionInfo:
        """See Collections."""
        with self._account.lock:
            one = self._get(collection)
            properties = merge_properties(one.info.properties, changes)
            one.info = replace(one.info, properties=properties, touched=self._next_account_token())
            self._account.announce(0, 0)
            return one.tell()

    def move_collection(self, collection: CollectionId, name: str) -> CollectionInfo:
        """See Collections."""
        with self._account.lock:
            moved = self._get(collection).info
            check_name(moved.kind, name)
            if name == moved.name or (moved.kind is CollectionKind.PLAIN and name.startswith(f"{moved.name}/")):
                raise Forbidden("onto or into itself")
            self._check_free(moved.kind, name)
            below = self._with_below(moved)
            names = {info.id: name + info.name[len(moved.name) :] for info in below}
            leaving = {info.name for info in below}
            for new in names.values():
                check_name(moved.kind, new)
                if new not in leaving and self._is_taken(moved.kind, new):
                    raise AlreadyExists(new)
            token = self._next_account_token()
            for info in below:
                self._collections[info.id].info = replace(info, name=names[info.id], touched=token)
                self._gone[info.kind, info.name] = token
            for new in names.values():
                self._gone.pop((moved.kind, new), None)
            self._account.announce(0, 0)
            return self._get(collection).tell()

    def collection_changes(self, since: SyncToken | None) -> CollectionChanges:
        """See Collections."""
        with self._account.lock:
            if since is not None and not 1 <= since <= self._token:
                raise InvalidSyncToken(f"token {since}")
            gone = [where for where, token in self._gone.items() if since is not None and token > since]
            return CollectionChanges(
                changed=[info for info in self.collections() if since is None or info.touched > since],
                gone=sorted(gone, key=lambda where: (where[1], where[0])),
                sync_token=self._token,
            )

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

    def read_items(self, collection: CollectionId, hrefs: Sequence[Href] | None = None) -> Iterator[tuple[Item, bytes]]:
        """See Collections."""
        for item in list(self.items(collection, hrefs)):
            kept = self._get(collection).items.get(item.href)
            if kept is not None:
                yield kept.item, kept.data

    def set_item_properties(self, collection: CollectionId, href: Href, changes: Mapping[str, str | None]) -> Item:
        """See Collections."""
        with self._account.lock:
            kept = self._get(collection).items.get(href)
            if kept is None:
                raise NotFound(href)
            item = kept.item._replace(properties=merge_item_properties(kept.item.properties, changes))
            self._account.charge(room_of(item) - room_of(kept.item))
            kept.item = item
            return item

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
            item = Item(href, render_etag(data), len(data), int(self._account.clock()), bound_facts(facts, self._limits))
            if old is not None:
                item = item._replace(properties=old.item.properties)
            self._account.charge(room_of(item) - (room_of(old.item) if old else 0))
            one.items[href] = _Kept(item, data, self._next_token(one))
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
            one.gone[href] = self._next_token(one)
            self._account.charge(-room_of(old.item))
            self._account.announce(collection, one.token)
            return one.token

    def copy_item(
        self,
        collection: CollectionId,
        href: Href,
        target: CollectionId,
        new_href: Href,
        *,
        overwrite: bool,
        move: bool,
        if_match: ETag | None = None,
    ) -> Put:
        """See Collections."""
        with self._account.lock:
            source, destination = self._get(collection), self._get(target)
            check_segment(new_href)
            kept = source.items.get(href)
            if kept is None:
                raise NotFound(href)
            if if_match is not None and kept.item.etag != if_match:
                raise Conflict("changed meanwhile")
            if (collection, href) == (target, new_href):
                raise Forbidden("onto itself")
            if new_href in destination.items and not overwrite:
                raise AlreadyExists(new_href)
            self._check_uid(destination, kept.item.facts, new_href, *([href] if move and source is destination else []))
            old = destination.items.get(new_href)
            if old is None and len(destination.items) >= self._limits.items and not (move and source is destination):
                raise Forbidden(f"more than {self._limits.items} items")
            self._account.charge((0 if move else room_of(kept.item)) - (room_of(old.item) if old else 0))
            token = self._next_token(destination)
            item = kept.item._replace(href=new_href, modified=int(self._account.clock()))
            destination.items[new_href] = _Kept(item, kept.data, token)
            destination.gone.pop(new_href, None)
            self._account.announce(target, token)
            if move:
                del source.items[href]
                source.gone[href] = token if source is destination else self._next_token(source)
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
