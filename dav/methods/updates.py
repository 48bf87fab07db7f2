"""What a body wants set and removed (RFC 4918 section 9.2, RFC 5689, RFC 4791 section 5.3.1): checked, all or none.

Owns how each property of DAV:set and DAV:remove is judged, and how failures are told. Never writes.
"""

from collections.abc import Iterator, Mapping
from xml.etree.ElementTree import Element

from ...storage.api import CollectionKind
from .. import xml
from ..errors import DavError, bad_request, dav
from ..properties import RESOURCETYPE, Table
from ..xml import Name

PROTECTED = dav("cannot-modify-protected-property")
_MOST = 200


class Updates:
    """The changes of one body. `values`: name -> what is kept, None to remove it. `failures`: name -> why not."""

    def __init__(self) -> None:
        """Nothing yet."""
        self.values: dict[Name, str | None] = {}
        self.failures: dict[Name, DavError] = {}

    def set(self, table: Table, given: Element, *, initial: bool = False) -> None:
        """Judge one property that is to be set; `initial`: of a collection that is being made."""
        name = given.tag
        live = table.get(name)
        try:
            if live is None:
                self.values[name] = xml.store(given)
            elif live.check is None or (live.at_creation and not initial):
                raise DavError(403, PROTECTED)
            else:
                self.values[name] = live.check(given)
        except DavError as error:
            self.failures[name] = error

    def remove(self, table: Table, name: Name) -> None:
        """Judge one that is to be removed; one that is not there is removed well."""
        live = table.get(name)
        if live is not None and (live.check is None or live.at_creation):
            self.failures[name] = DavError(403, PROTECTED)
        else:
            self.values[name] = None

    def propstats(self) -> str:
        """How each fared: those that fail as they do, the others 424; with no failure all 200."""
        if not self.failures:
            return xml.propstat(200, "".join(map(xml.element, self.values)))
        groups: dict[tuple[int, str, str], list[Name]] = {}
        for name, error in self.failures.items():
            groups.setdefault((error.status, error.error, error.text), []).append(name)
        parts = [
            xml.propstat(status, "".join(map(xml.element, names)), told, text) for (status, told, text), names in groups.items()
        ]
        others = [name for name in self.values if name not in self.failures]
        if others:
            parts.append(xml.propstat(424, "".join(map(xml.element, others))))
        return "".join(parts)


def read_updates(root: Element, table: Table) -> Updates:
    """Of a DAV:propertyupdate, in document order. Raise DavError 400."""
    updates = Updates()
    for action, given in _each(root):
        if action == "set":
            updates.set(table, given)
        else:
            updates.remove(table, given.tag)
    return updates


def read_collection_type(root: Element) -> frozenset[Name]:
    """The names in the DAV:resourcetype that a body sets, DAV:collection left out; empty when it sets none."""
    for _, given in _each(root):
        if given.tag == RESOURCETYPE:
            return frozenset(child.tag for child in given) - {dav("collection")}
    return frozenset()


def read_initial(root: Element, table: Table) -> Updates:
    """What a new collection is to have. Raise DavError 400."""
    updates = Updates()
    for action, given in _each(root):
        if action != "set":
            raise bad_request("DAV:remove")
        if given.tag != RESOURCETYPE:
            updates.set(table, given, initial=True)
    return updates


def _each(root: Element) -> Iterator[tuple[str, Element]]:
    count = 0
    for instruction in root:
        if instruction.tag not in (dav("set"), dav("remove")):
            continue
        for prop in instruction:
            if prop.tag != dav("prop"):
                continue
            for given in prop:
                count += 1
                if count > _MOST:
                    raise DavError(403, text="Trop de proprietes. / Too many properties.")
                yield ("set" if instruction.tag == dav("set") else "remove"), given


def kind_of(types: frozenset[Name], known: Mapping[Name, CollectionKind]) -> CollectionKind | None:
    """The kind of collection that resource types ask for; None for one there is not."""
    if not types:
        return CollectionKind.PLAIN
    if len(types) > 1:
        return None
    return known.get(next(iter(types)))
