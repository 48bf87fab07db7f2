"""What a client is told when a request fails: status and precondition element (RFC 4918 section 16), one map for all.

Owns the conditions' names of WebDAV itself and what a StoreError becomes. Texts for people: French, then English, ASCII.
Calendars and cards raise DavError with conditions of their own namespaces. Never holds what a client sent.
"""

from ..storage.api import (
    AlreadyExists,
    Conflict,
    Forbidden,
    InvalidDocument,
    InvalidName,
    InvalidSyncToken,
    NotFound,
    OverQuota,
    StoreError,
    TooLarge,
)
from .xml import DAV, Name, element, href, quote


class DavError(Exception):
    """A request, or one resource of it, that fails.

    condition: the precondition or postcondition as a Name ("" for none), `content` its inner XML.  text: for people.
    headers: of the answer when the whole request fails.
    """

    def __init__(
        self,
        status: int,
        condition: Name = "",
        text: str = "",
        *,
        content: str = "",
        headers: tuple[tuple[str, str], ...] = (),
    ) -> None:
        """Say what is wrong."""
        super().__init__(f"{status} {condition} {text}")
        self.status = status
        self.condition = condition
        self.content = content
        self.text = text
        self.headers = headers

    @property
    def error(self) -> str:
        """Inner XML of DAV:error, or empty."""
        return element(self.condition, self.content) if self.condition else ""


def dav(local: str) -> Name:
    """A name of WebDAV's own namespace."""
    return f"{{{DAV}}}{local}"


def not_found() -> DavError:
    """Not there, or not for you: the same answer."""
    return DavError(404, text="Rien a cette adresse. / Nothing at this address.")


def forbidden(condition: Name = "", text: str = "") -> DavError:
    """Well-formed, but not done here."""
    return DavError(403, condition, text or "Pas permis ici. / Not permitted here.")


def bad_request(text: str = "") -> DavError:
    """Not understood."""
    return DavError(400, text=text or "Requete incomprise. / Request not understood.")


def need_privileges(path: str, privilege: str) -> DavError:
    """RFC 3744 section 7.1.1. `path` is quoted."""
    content = f"<D:resource>{href(path)}<D:privilege><D:{privilege}/></D:privilege></D:resource>"
    return DavError(403, dav("need-privileges"), "Droits insuffisants. / Insufficient rights.", content=content)


def error_for(error: StoreError, *, parent: str = "", collection_kind: str = "") -> DavError:
    """What a client is told of an error of the store.

    `parent`: quoted path of the collection it happened in.  `collection_kind`: `calendar` or `addressbook`, whose own
    condition tells a UID that is taken (RFC 4791 section 5.3.2.1, RFC 6352 section 6.3.2.1).
    """
    match error:
        case Conflict(uid_conflict=str() as taken):
            content = href(parent + quote(taken))
            return DavError(403, uid_condition(collection_kind), "UID deja pris. / UID already taken.", content=content)
        case Conflict():
            return DavError(412, text="Change entre-temps. / Changed meanwhile.")
        case NotFound():
            return not_found()
        case AlreadyExists():
            return DavError(405, dav("resource-must-be-null"), "Existe deja. / Exists already.")
        case InvalidName():
            return forbidden(dav("name-allowed"), "Nom non accepte. / Name not accepted.")
        case InvalidSyncToken():
            return forbidden(dav("valid-sync-token"), "Jeton perime : resynchroniser. / Token outdated: synchronise anew.")
        case OverQuota():
            return DavError(507, dav("quota-not-exceeded"), "Plus de place. / No room left.")
        case TooLarge():
            return DavError(413, size_condition(collection_kind), "Trop grand. / Too large.")
        case InvalidDocument():
            return DavError(415, text="Contenu non accepte. / Content not accepted.")
        case Forbidden():
            return forbidden(text="Limite atteinte. / Limit reached.")
    return DavError(503, text="Momentanement indisponible. / Unavailable for the moment.", headers=(("Retry-After", "30"),))


_NAMESPACES = {"calendar": "urn:ietf:params:xml:ns:caldav", "addressbook": "urn:ietf:params:xml:ns:carddav"}


def uid_condition(kind: str) -> Name:
    """`no-uid-conflict` in the namespace of a kind of collection."""
    return f"{{{_NAMESPACES.get(kind, DAV)}}}no-uid-conflict"


def size_condition(kind: str) -> Name:
    """`max-resource-size` in the namespace of a kind of collection; none for a plain one."""
    return f"{{{_NAMESPACES[kind]}}}max-resource-size" if kind in _NAMESPACES else ""
