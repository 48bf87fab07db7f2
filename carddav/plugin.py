"""Address books as a plugin of dav (RFC 6352): their properties, reports, and what is stored in them.

Owns the lists. Cards are kept as they were put and told in the version that a client asks for.
"""

from collections.abc import Mapping
from typing import Any
from xml.etree.ElementTree import Element

from ..auth.api import Service
from ..dav import xml
from ..dav.collations import COLLATIONS
from ..dav.errors import DavError, forbidden
from ..dav.plugin import Context, DataRenderer, LiveProperty, MethodHandler, ReportHandler
from ..dav.reports.multiget import handle_multiget
from ..dav.values import Collection, Home, Principal
from ..dav.xml import Name
from ..formats.vcard import VERSIONS, InvalidCard, read_card
from ..storage.api import CollectionInfo, CollectionKind, Item, ItemFacts
from .data import MEDIA_TYPES, data_renderer, in_version, preferred_version
from .facts import index_text, version_in
from .filters import carddav
from .search import handle_query

_DESCRIPTION = carddav("addressbook-description")
_TYPES = frozenset({*MEDIA_TYPES, "text/plain", "application/octet-stream", "application/x-www-form-urlencoded", ""})
_CONTENT_TYPE = "text/vcard; charset=utf-8"


class AddressBooks:
    """See dav.plugin.Plugin."""

    kind = CollectionKind.ADDRESSBOOK
    service = Service.CARDDAV
    home = "addressbooks"
    features = ("addressbook",)
    resource_type = "<CR:addressbook/>"
    content_type = "text/vcard"
    data_property = carddav("address-data")

    def __init__(self) -> None:
        """One for all of a process."""
        self.methods: Mapping[str, MethodHandler] = {}
        self.reports: Mapping[Name, ReportHandler] = {
            carddav("addressbook-query"): handle_query,
            carddav("addressbook-multiget"): handle_multiget,
        }
        self.principal_properties: Mapping[Name, LiveProperty[Principal]] = {
            carddav("addressbook-home-set"): LiveProperty(_home_set),
        }
        self.home_properties: Mapping[Name, LiveProperty[Home]] = {}
        self.collection_properties: Mapping[Name, LiveProperty[Collection]] = _COLLECTION
        self.item_properties: Mapping[Name, LiveProperty[Any]] = {}

    def check_item(self, collection: CollectionInfo, href: str, data: bytes, content_type: str) -> ItemFacts:
        """See Plugin."""
        if content_type.partition(";")[0].strip().lower() not in _TYPES:
            raise DavError(403, carddav("supported-address-data"), "text/vcard attendu. / text/vcard expected.")
        try:
            card = read_card(data)
        except InvalidCard as error:
            # The RFC has no condition of its own for pictures.
            condition = "max-resource-size" if error.condition == "max-image-size" else error.condition
            text = f"Fiche incorrecte. / Invalid card: {str(error)[:200]}"
            raise DavError(403, carddav(condition), text) from None
        return ItemFacts(content_type=_CONTENT_TYPE, uid=card.uid, component="VCARD", text=index_text(card))

    def check_collection(self, properties: Mapping[str, str]) -> Mapping[str, str]:
        """See Plugin."""
        return properties

    def representation(self, item: Item, data: bytes, accept: str) -> tuple[str, bytes]:
        """See Plugin."""
        stored = version_in(item.facts.text)
        if stored is None:
            return item.facts.content_type, data
        version = preferred_version(accept, stored)
        content_type = f"{_CONTENT_TYPE}; version={version}" if "version" in accept.lower() else item.facts.content_type
        return content_type, in_version(data, version) if version != stored else data

    def data_renderer(self, context: Context, collection: Collection, asked: Element) -> DataRenderer:
        """See Plugin."""
        text = data_renderer(asked, context.request.headers.get("user-agent", ""))
        return lambda item, data: f"<CR:address-data>{text(data)}</CR:address-data>"


# ---------------------------------------------------------------------------------------------------------------------
# Properties


def _home_set(context: Context, resource: Principal) -> str:
    return xml.href(context.home_path("addressbooks"))


def _description(context: Context, resource: Collection) -> str | None:
    return resource.info.properties.get(_DESCRIPTION)


def _check_description(given: Element) -> str:
    if len(given):
        raise forbidden()
    return xml.store(given)


def _size(context: Context, resource: Collection) -> str:
    return str(context.settings.item_size)


def _constant(text: str) -> LiveProperty[Any]:
    return LiveProperty(lambda context, resource: text)


_COLLECTION: Mapping[Name, LiveProperty[Collection]] = {
    _DESCRIPTION: LiveProperty(_description, check=_check_description),
    carddav("supported-address-data"): _constant(
        "".join(f'<CR:address-data-type content-type="text/vcard" version="{version}"/>' for version in VERSIONS)
    ),
    carddav("supported-collation-set"): _constant(
        "".join(f"<CR:supported-collation>{name}</CR:supported-collation>" for name in COLLATIONS)
    ),
    carddav("max-resource-size"): LiveProperty(_size),
}
