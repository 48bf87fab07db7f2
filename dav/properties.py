"""Live properties of WebDAV itself, and how any resource is told in a multistatus (RFC 4918 section 15, RFC 3744, 5397, 4331).

Owns the tables: what each class of resource has, plugins' properties on top, and what clients stored below. A listing of
thousands of items is rendered by functions that are put together once for the answer, item by item from what the store gives.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from email.utils import formatdate
from functools import lru_cache
from typing import Any
from xml.etree.ElementTree import Element

from ..auth.permits import ALL_RIGHTS
from ..storage.api import CollectionInfo, CollectionKind, Item, SyncToken
from . import acl, xml
from .errors import DavError, bad_request, dav, forbidden
from .plugin import Context, DataRenderer, ItemRenderer, LiveProperty, Plugin, Rendering
from .tree import PRINCIPALS
from .values import Collection, Home, ItemResource, Principal, PropertyRequest, Resource, Root
from .xml import CALENDARSERVER, Name, quote

Table = Mapping[Name, LiveProperty[Any]]

DISPLAYNAME = dav("displayname")
RESOURCETYPE = dav("resourcetype")
GETETAG = dav("getetag")
GETCTAG = f"{{{CALENDARSERVER}}}getctag"
EMAIL_ADDRESSES = f"{{{CALENDARSERVER}}}email-address-set"
_LONGEST_NAME = 1_000


@lru_cache(maxsize=4_096)
def http_date(seconds: int) -> str:
    """IMF-fixdate (RFC 9110 section 5.6.7)."""
    return formatdate(seconds, usegmt=True)


def sync_token(info: CollectionInfo, token: SyncToken | None = None) -> str:
    """The URI of a collection's state: of one life of it, so another with the same name has others."""
    return f"data:,{info.id}.{info.sync_token if token is None else token}"


def home_sync_token(home: str, token: SyncToken) -> str:
    """The URI of a home's state."""
    return f"data:,{home}.{token}"


# ---------------------------------------------------------------------------------------------------------------------
# Values


def _kind(context: Context, resource: Resource) -> CollectionKind | None:
    if isinstance(resource, ItemResource):
        return resource.collection.info.kind
    if isinstance(resource, Collection):
        return resource.info.kind
    return CollectionKind.CALENDAR if isinstance(resource, Home) and resource.name == "calendars" else None


def _current_user_principal(context: Context, resource: Resource) -> str:
    return xml.href(context.principal_path)


def _principal_collection_set(context: Context, resource: Resource) -> str:
    return xml.href(context.principals_path)


def _privileges(context: Context, resource: Resource) -> str:
    owned = not isinstance(resource, Root | Principal)
    return acl.privilege_set(ALL_RIGHTS if owned else acl.READ_ONLY, _kind(context, resource))


def _supported_privileges(context: Context, resource: Resource) -> str:
    return acl.supported_privilege_set(_kind(context, resource))


def _acl(context: Context, resource: Resource) -> str:
    return acl.AUTHENTICATED_ACL if isinstance(resource, Root) else acl.OWNER_ACL


def _owner(context: Context, resource: Resource) -> str | None:
    return None if isinstance(resource, Root) else xml.href(context.principal_path)


def _displayname(context: Context, resource: Collection) -> str | None:
    return resource.info.properties.get(DISPLAYNAME)


def _check_displayname(given: Element) -> str:
    if len(given) or len(given.text or "") > _LONGEST_NAME:
        raise forbidden(text="Nom non accepte. / Name not accepted.")
    return xml.store(given)


def _created(context: Context, resource: Collection) -> str:
    return datetime.fromtimestamp(resource.info.created, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _used(context: Context, resource: Resource) -> str:
    return str(context.account.quota().used)


def _available(context: Context, resource: Resource) -> str | None:
    quota = context.account.quota()
    return None if quota.limit is None else str(max(0, quota.limit - quota.used))


def _home_token(context: Context, resource: Home) -> str:
    changes = context.account.collections.collection_changes(None)
    return home_sync_token(resource.name, changes.sync_token)


def _email_addresses(context: Context, resource: Principal) -> str:
    return f"<CS:email-address>{xml.escape(context.identity.address)}</CS:email-address>"


def _constant(text: str) -> LiveProperty[Any]:
    return LiveProperty(lambda context, resource: text)


_COMMON: Table = {
    dav("current-user-principal"): LiveProperty(_current_user_principal),
    dav("principal-collection-set"): LiveProperty(_principal_collection_set),
    dav("current-user-privilege-set"): LiveProperty(_privileges),
    dav("supported-privilege-set"): LiveProperty(_supported_privileges),
    dav("acl"): LiveProperty(_acl),
    dav("acl-restrictions"): _constant(acl.ACL_RESTRICTIONS),
    dav("inherited-acl-set"): _constant(""),
    dav("owner"): LiveProperty(_owner),
    dav("group"): LiveProperty(lambda context, resource: None),
    dav("supportedlock"): LiveProperty(lambda context, resource: "", in_allprop=True),
    dav("lockdiscovery"): LiveProperty(lambda context, resource: None),
    dav("getetag"): LiveProperty(lambda context, resource: None),
    dav("getcontentlength"): LiveProperty(lambda context, resource: None),
    dav("getcontenttype"): LiveProperty(lambda context, resource: None),
    dav("getcontentlanguage"): LiveProperty(lambda context, resource: None),
    dav("getlastmodified"): LiveProperty(lambda context, resource: None),
    dav("creationdate"): LiveProperty(lambda context, resource: None),
    dav("quota-used-bytes"): LiveProperty(_used),
    dav("quota-available-bytes"): LiveProperty(_available),
    dav("resource-id"): LiveProperty(lambda context, resource: None),
    dav("sync-token"): LiveProperty(lambda context, resource: None),
}

_ROOT: Table = {
    RESOURCETYPE: LiveProperty(lambda context, resource: "<D:collection/>", in_allprop=True),
    dav("quota-used-bytes"): LiveProperty(lambda context, resource: None),
    dav("quota-available-bytes"): LiveProperty(lambda context, resource: None),
}

_PRINCIPAL: Table = {
    RESOURCETYPE: LiveProperty(lambda context, resource: "<D:collection/><D:principal/>", in_allprop=True),
    DISPLAYNAME: LiveProperty(
        lambda context, resource: xml.escape(context.identity.name or context.identity.address), in_allprop=True
    ),
    EMAIL_ADDRESSES: LiveProperty(_email_addresses),
    dav("principal-URL"): LiveProperty(lambda context, resource: xml.href(resource.path)),
    dav("alternate-URI-set"): _constant(""),
    dav("group-membership"): _constant(""),
    dav("group-member-set"): _constant(""),
}

_HOME: Table = {
    RESOURCETYPE: LiveProperty(lambda context, resource: "<D:collection/>", in_allprop=True),
    dav("sync-token"): LiveProperty(_home_token),
    GETCTAG: LiveProperty(_home_token),
}

_COLLECTION: Table = {
    DISPLAYNAME: LiveProperty(_displayname, in_allprop=True, check=_check_displayname),
    dav("creationdate"): LiveProperty(_created, in_allprop=True),
    dav("sync-token"): LiveProperty(lambda context, resource: sync_token(resource.info)),
    GETCTAG: LiveProperty(lambda context, resource: sync_token(resource.info)),
}

_PLAIN: Table = {RESOURCETYPE: LiveProperty(lambda context, resource: "<D:collection/>", in_allprop=True)}

_ITEM: Table = {
    RESOURCETYPE: LiveProperty(lambda context, resource: "", in_allprop=True),
    GETETAG: LiveProperty(lambda context, resource: f'"{resource.item.etag}"', in_allprop=True),
    dav("getcontentlength"): LiveProperty(lambda context, resource: str(resource.item.size), in_allprop=True),
    dav("getcontenttype"): LiveProperty(
        lambda context, resource: xml.escape(resource.item.facts.content_type), in_allprop=True
    ),
    dav("getlastmodified"): LiveProperty(lambda context, resource: http_date(resource.item.modified), in_allprop=True),
}

_FAST: Mapping[Name, Callable[[Item], str]] = {
    RESOURCETYPE: lambda item: "<D:resourcetype/>",
    GETETAG: lambda item: f'<D:getetag>"{item.etag}"</D:getetag>',
    dav("getcontentlength"): lambda item: f"<D:getcontentlength>{item.size}</D:getcontentlength>",
    dav("getcontenttype"): lambda item: f"<D:getcontenttype>{xml.escape(item.facts.content_type)}</D:getcontenttype>",
    dav("getlastmodified"): lambda item: f"<D:getlastmodified>{http_date(item.modified)}</D:getlastmodified>",
}


class Properties:
    """All live properties, with the plugins'."""

    def __init__(
        self,
        homes: Mapping[str, Plugin],
        reports_of: Callable[[Resource], Iterable[Name]],
        methods_of: Callable[[Resource], Iterable[str]],
    ) -> None:
        """`reports_of`, `methods_of`: what may be asked of a resource."""
        self._homes = homes
        common = {
            **_COMMON,
            dav("supported-report-set"): LiveProperty(lambda context, resource: _reports(reports_of(resource))),
            dav("supported-method-set"): LiveProperty(lambda context, resource: _methods(methods_of(resource))),
        }
        self._root: Table = {**common, **_ROOT}
        self._principal: Table = {**common, **_PRINCIPAL}
        for plugin in homes.values():
            self._principal = {**self._principal, **plugin.principal_properties}
        self._home_tables: dict[str, Table] = {
            name: {**common, **_HOME, **plugin.home_properties} for name, plugin in homes.items()
        }
        self._collections: dict[CollectionKind, Table] = {CollectionKind.PLAIN: {**common, **_COLLECTION, **_PLAIN}}
        self._items: dict[CollectionKind, Table] = {CollectionKind.PLAIN: {**common, **_ITEM}}
        for plugin in homes.values():
            kind = f"<D:collection/>{plugin.resource_type}"
            typed = {RESOURCETYPE: LiveProperty(_always(kind), in_allprop=True)}
            self._collections[plugin.kind] = {**common, **_COLLECTION, **typed, **plugin.collection_properties}
            self._items[plugin.kind] = {**common, **_ITEM, **plugin.item_properties}

    def table(self, resource: Resource) -> Table:
        """Live properties of a resource's class."""
        match resource:
            case Root():
                return self._root
            case Principal():
                return self._principal
            case Home():
                return self._home_tables[resource.name]
            case Collection():
                return self._collections[resource.info.kind]
            case _:
                return self._items[resource.collection.info.kind]

    def of_kind(self, kind: CollectionKind) -> Table:
        """Live properties of collections of a kind."""
        return self._collections[kind]

    def stored(self, context: Context, resource: Resource) -> Mapping[Name, str]:
        """What clients stored on it."""
        match resource:
            case Collection():
                return resource.info.properties
            case ItemResource():
                return resource.item.properties
            case Home():
                return own_properties(context, resource.name)
            case Principal():
                return own_properties(context, "principals")
            case _:
                return {}

    def value(self, context: Context, resource: Resource, name: Name) -> str | None:
        """A property as an element, None when the resource has none."""
        live = self.table(resource).get(name)
        inner = live.value(context, resource) if live is not None else self.stored(context, resource).get(name)
        return None if inner is None else xml.stored_element(name, inner)

    def names(self, context: Context, resource: Resource, asked: PropertyRequest) -> Sequence[Name]:
        """Which are asked for of this resource."""
        if not (asked.all or asked.names_only):
            return asked.names
        live = [name for name, one in self.table(resource).items() if one.in_allprop or asked.names_only]
        table = self.table(resource)
        dead = [name for name in self.stored(context, resource) if name not in table]
        return list(dict.fromkeys([*live, *dead, *asked.names]))

    def response(self, context: Context, resource: Resource, asked: PropertyRequest, path: str = "") -> str:
        """The whole <D:response>."""
        found: list[str] = []
        missing: list[str] = []
        whole = asked.all or asked.names_only
        for name in self.names(context, resource, asked):
            value = self.value(context, resource, name)
            if value is not None:
                found.append(xml.element(name) if asked.names_only else value)
            elif not context.minimal and not (whole and name not in asked.names):
                missing.append(xml.element(name))
        return xml.response(path or resource.path, "".join(found), "".join(missing))

    def rendering(self, context: Context, collection: Collection, asked: PropertyRequest) -> Rendering:
        """How to tell the items of one collection."""
        plugin = next((one for one in self._homes.values() if one.kind is collection.info.kind), None)
        data = asked.elements.get(plugin.data_property) if plugin is not None else None
        base = collection.path
        if asked.names == (GETETAG,) and not (asked.all or asked.names_only):
            return Rendering(_etag_renderer(base), False)
        table = self._items[collection.info.kind]
        if asked.all or asked.names_only:
            return Rendering(lambda item, data: self.response(context, ItemResource(collection, item), asked), False)
        steps: list[tuple[str, Callable[[Item, bytes | None], str | None]]] = []
        for name in asked.names:
            if plugin is not None and data is not None and name == plugin.data_property:
                steps.append((xml.element(name), _data_step(plugin.data_renderer(context, collection, data))))
            else:
                steps.append((xml.element(name), _step(context, collection, name, table)))
        return Rendering(_renderer(base, steps, context.minimal), data is not None)


def own_properties(context: Context, name: str) -> Mapping[Name, str]:
    """What clients stored on a home or the principal: kept with a plain collection that no path names."""
    for info in context.account.collections.collections(CollectionKind.PLAIN):
        if info.name == name:
            return info.properties
    return {}


def _always(text: str) -> Callable[[Context, Any], str]:
    return lambda context, resource: text


def _reports(names: Iterable[Name]) -> str:
    return "".join(f"<D:supported-report><D:report>{xml.element(name)}</D:report></D:supported-report>" for name in names)


def _methods(names: Iterable[str]) -> str:
    return "".join(f'<D:supported-method name="{name}"/>' for name in names)


# ---------------------------------------------------------------------------------------------------------------------
# Renderers of items

_OK = f"</D:prop><D:status>{xml.status_line(200)}</D:status></D:propstat>"


def _etag_renderer(base: str) -> ItemRenderer:
    head = f"<D:response><D:href>{base}"
    middle = '</D:href><D:propstat><D:prop><D:getetag>"'
    end = f'"</D:getetag>{_OK}</D:response>'

    def render(item: Item, data: bytes | None) -> str:
        return f"{head}{quote(item.href)}{middle}{item.etag}{end}"

    return render


def _step(context: Context, collection: Collection, name: Name, table: Table) -> Callable[[Item, bytes | None], str | None]:
    if name in _FAST and table[name] is _ITEM.get(name):
        fast = _FAST[name]
        return lambda item, data: fast(item)
    live = table.get(name)
    if live is None:

        def dead(item: Item, data: bytes | None) -> str | None:
            stored = item.properties.get(name)
            return None if stored is None else xml.stored_element(name, stored)

        return dead

    def value(item: Item, data: bytes | None) -> str | None:
        inner = live.value(context, ItemResource(collection, item))
        return None if inner is None else xml.element(name, inner)

    return value


def _data_step(render: DataRenderer) -> Callable[[Item, bytes | None], str | None]:
    return lambda item, data: None if data is None else render(item, data)


def _renderer(
    base: str, steps: Sequence[tuple[str, Callable[[Item, bytes | None], str | None]]], minimal: bool
) -> ItemRenderer:
    def render(item: Item, data: bytes | None) -> str:
        found = ""
        missing = ""
        for empty, step in steps:
            text = step(item, data)
            if text is not None:
                found += text
            elif not minimal:
                missing += empty
        return xml.response(base + quote(item.href), found, missing)

    return render


# ---------------------------------------------------------------------------------------------------------------------
# What a body asks for

_PROP, _ALLPROP, _PROPNAME, _INCLUDE = dav("prop"), dav("allprop"), dav("propname"), dav("include")
MOST_PROPERTIES = 500


def property_request(root: Element) -> PropertyRequest:
    """Of a PROPFIND or a report. Raise DavError 400 for more than one kind, or too many."""
    kinds = [child for child in root if child.tag in (_PROP, _ALLPROP, _PROPNAME)]
    if len(kinds) > 1:
        raise bad_request("prop, allprop et propname s'excluent. / prop, allprop and propname exclude each other.")
    if not kinds:
        return PropertyRequest()
    chosen = kinds[0]
    if chosen.tag == _PROPNAME:
        return PropertyRequest(names_only=True)
    if chosen.tag == _ALLPROP:
        included = root.find(_INCLUDE)
        return PropertyRequest(_names(included) if included is not None else (), all=True)
    return PropertyRequest(_names(chosen), {child.tag: child for child in chosen})


def _names(parent: Element) -> tuple[Name, ...]:
    names = tuple(dict.fromkeys(child.tag for child in parent))
    if len(names) > MOST_PROPERTIES:
        raise DavError(400, text="Trop de proprietes. / Too many properties.")
    return names


ALLPROP = PropertyRequest(all=True)
PRINCIPALS_PATH = PRINCIPALS
