"""Two plain kinds of collections for tests of the DAV core: any octets are an item, its UID the first line."""

from collections.abc import Mapping
from typing import Any
from xml.etree.ElementTree import Element

from preau.auth.api import Service
from preau.dav.errors import DavError
from preau.dav.plugin import Context, DataRenderer, LiveProperty, MethodHandler, ReportHandler
from preau.dav.reports.multiget import handle_multiget
from preau.dav.values import Collection
from preau.dav.xml import CALDAV, CARDDAV, escape, store
from preau.storage.api import CollectionInfo, CollectionKind, Item, ItemFacts


class AnyItems:
    """A Plugin. An item that begins with `bad` is refused."""

    def __init__(self, kind: CollectionKind) -> None:
        """Of this kind."""
        calendar = kind is CollectionKind.CALENDAR
        namespace, prefix = (CALDAV, "C") if calendar else (CARDDAV, "CR")
        self.kind = kind
        self.service = Service.CALDAV if calendar else Service.CARDDAV
        self.home = "calendars" if calendar else "addressbooks"
        self.features = ("calendar-access",) if calendar else ("addressbook",)
        self.resource_type = f"<{prefix}:{kind.value}/>"
        self.content_type = "text/calendar" if calendar else "text/vcard"
        self.data_property = f"{{{namespace}}}{'calendar' if calendar else 'address'}-data"
        self._data = f"{prefix}:{'calendar' if calendar else 'address'}-data"
        self.methods: Mapping[str, MethodHandler] = {}
        self.reports: Mapping[str, ReportHandler] = {f"{{{namespace}}}{kind.value}-multiget": handle_multiget}
        self.principal_properties: Mapping[str, LiveProperty[Any]] = {
            f"{{{namespace}}}{kind.value}-home-set": LiveProperty(
                lambda context, resource: f"<D:href>{context.home_path(self.home)}</D:href>"
            )
        }
        self.home_properties: Mapping[str, LiveProperty[Any]] = {}
        self.collection_properties: Mapping[str, LiveProperty[Any]] = {
            f"{{{namespace}}}{kind.value}-description": LiveProperty(
                lambda context, resource: resource.info.properties.get(f"{{{namespace}}}{kind.value}-description"),
                check=store,
            )
        }
        self.item_properties: Mapping[str, LiveProperty[Any]] = {}

    def check_item(self, collection: CollectionInfo, href: str, data: bytes, content_type: str) -> ItemFacts:
        """See Plugin."""
        if data.startswith(b"bad"):
            raise DavError(403, f"{{{CALDAV}}}valid-calendar-data")
        return ItemFacts(content_type=self.content_type, uid=data.partition(b"\n")[0].decode())

    def check_collection(self, properties: Mapping[str, str]) -> Mapping[str, str]:
        """See Plugin."""
        return properties

    def representation(self, item: Item, data: bytes, accept: str) -> tuple[str, bytes]:
        """See Plugin."""
        return item.facts.content_type, data

    def data_renderer(self, context: Context, collection: Collection, asked: Element) -> DataRenderer:
        """See Plugin."""
        return lambda item, data: f"<{self._data}>{escape(data.decode())}</{self._data}>"


PLUGINS = (AnyItems(CollectionKind.CALENDAR), AnyItems(CollectionKind.ADDRESSBOOK))
