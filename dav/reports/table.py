"""All reports: who answers them, and of what they may be asked (DAV:supported-report-set).

Owns the table of WebDAV's own; a plugin's stand in the plugin and hold for its collections, homes and items.
"""

from collections.abc import Mapping

from ...storage.api import CollectionKind
from ..errors import dav
from ..plugin import Plugin, ReportHandler
from ..values import Collection, Home, ItemResource, Principal, Resource, Root
from ..xml import Name
from .expand_property import handle_expand_property
from .principals import (
    handle_acl_principal_prop_set,
    handle_principal_match,
    handle_principal_property_search,
    handle_principal_search_property_set,
)
from .sync_collection import handle_sync_collection

_EVERYWHERE: Mapping[Name, ReportHandler] = {
    dav("expand-property"): handle_expand_property,
    dav("principal-match"): handle_principal_match,
    dav("principal-property-search"): handle_principal_property_search,
    dav("principal-search-property-set"): handle_principal_search_property_set,
}
_OWNED: Mapping[Name, ReportHandler] = {**_EVERYWHERE, dav("acl-principal-prop-set"): handle_acl_principal_prop_set}
_SYNCED: Mapping[Name, ReportHandler] = {**_OWNED, dav("sync-collection"): handle_sync_collection}


def reports_of(homes: Mapping[str, Plugin], resource: Resource) -> Mapping[Name, ReportHandler]:
    """What may be asked of a resource."""
    match resource:
        case Root():
            return _EVERYWHERE
        case Principal():
            return _OWNED
        case Home():
            return {**_SYNCED, **homes[resource.name].reports}
        case Collection():
            return {**_SYNCED, **_plugin_reports(homes, resource.info.kind)}
        case ItemResource():
            return {**_OWNED, **_plugin_reports(homes, resource.collection.info.kind)}


def report_for(homes: Mapping[str, Plugin], resource: Resource, name: Name) -> ReportHandler | None:
    """Who answers it there."""
    return reports_of(homes, resource).get(name)


def _plugin_reports(homes: Mapping[str, Plugin], kind: CollectionKind) -> Mapping[Name, ReportHandler]:
    return next((plugin.reports for plugin in homes.values() if plugin.kind is kind), {})
