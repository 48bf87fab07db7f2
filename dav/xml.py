"""XML as WebDAV speaks it (RFC 4918 sections 8.2, 14 and 17): a bounded parser, and answers built as strings.

    in     Parser: expat, fed as octets arrive. No DTD, no entities but the five of XML, bounds on depth, elements,
           attributes and names; the result is an xml.etree Element whose tags are Names.
    out    text with the prefixes of PREFIXES, which every document of ours declares at its root (DECLARATIONS).

A Name is `{namespace}local`, or `local` for none. What clients store as a property is kept as its inner XML, which stands
for itself (each element declares its namespace); attributes of the property's own element (xml:lang, Apple's
symbolic-color) are kept before it in a processing instruction, `<?a lang="fr"?>`. Pure.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

Name = str

DAV = "DAV:"
CALDAV = "urn:ietf:params:xml:ns:caldav"
CARDDAV = "urn:ietf:params:xml:ns:carddav"
CALENDARSERVER = "http://calendarserver.org/ns/"
APPLE = "http://apple.com/ns/ical/"
_XML = "http://www.w3.org/XML/1998/namespace"

PREFIXES = {DAV: "D", CALDAV: "C", CARDDAV: "CR", CALENDARSERVER: "CS", APPLE: "A"}
"""Namespace -> prefix in all documents of ours."""
DECLARATIONS = "".join(f' xmlns:{prefix}="{namespace}"' for namespace, prefix in PREFIXES.items())
HEAD = '<?xml version="1.0" encoding="utf-8"?>\n'


class InvalidXml(ValueError):
    """Not well-formed, or past a bound; the text says which. Never holds what the client sent."""


@dataclass(frozen=True, slots=True)
class XmlLimits:
    """Bounds of one document, beside its octets, which the reader of the request counts."""

    depth: int = 64
    elements: int = 100_000
    attributes: int = 32  # of one element, declarations of namespaces apart
    name: int = 500  # characters of a name with its namespace
    value: int = 100_000  # characters of an attribute
    tag: int = 262_144  # octets of a tag or comment that are still without its end


class Parser:
    """Octets of one document to an Element. Comments and processing instructions are dropped."""

    def __init__(self, limits: XmlLimits | None = None) -> None:
        """Ready for `feed`."""
        self._limits = limits or XmlLimits()
        self._depth = self._elements = 0
        self._builder = TreeBuilder()
        parser = expat.ParserCreate(namespace_separator="}")
        parser.buffer_text = True
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._builder.data
        parser.StartDoctypeDeclHandler = self._doctype
        parser.StartNamespaceDeclHandler = self._namespace
        parser.SetParamEntityParsing(expat.XML_PARAM_ENTITY_PARSING_NEVER)
        self._parser = parser
        self._namespaces = 0
        self._waiting = bytearray()
        self._fed = self._wanted = 0

    def feed(self, data: bytes) -> None:
        """Take octets. Raise InvalidXml."""
        self._waiting += data
        if len(self._waiting) >= self._wanted:
            self._fed += len(self._waiting)
            self._parse(bytes(self._waiting), False)
            self._waiting.clear()
            # expat begins a tag that is not complete anew each time: it gets twice as much of it before it does.
            self._wanted = self._fed - self._parser.CurrentByteIndex
            if self._wanted > self._limits.tag:
                raise InvalidXml("a tag or comment is too long")

    def close(self) -> Element:
        """The document's element. Raise InvalidXml when it is cut off."""
        self._parse(bytes(self._waiting), True)
        element: Element = self._builder.close()
        return element

    def _parse(self, data: bytes, last: bool) -> None:
        try:
            self._parser.Parse(data, last)
        except expat.ExpatError as error:
            raise InvalidXml(f"{expat.ErrorString(error.code)} in line {error.lineno}") from None
        except (LookupError, UnicodeError, ValueError) as error:  # an encoding that is none; or our own bound
            raise (error if isinstance(error, InvalidXml) else InvalidXml("unknown encoding")) from None

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        limits = self._limits
        self._depth += 1
        self._elements += 1
        if self._depth > limits.depth:
            raise InvalidXml(f"deeper than {limits.depth}")
        if self._elements > limits.elements:
            raise InvalidXml(f"more than {limits.elements} elements")
        if len(name) > limits.name:
            raise InvalidXml("a name is too long")
        if attributes:
            if len(attributes) > limits.attributes:
                raise InvalidXml("too many attributes")
            if any(len(key) > limits.name or len(value) > limits.value for key, value in attributes.items()):
                raise InvalidXml("an attribute is too long")
            attributes = {_name(key): value for key, value in attributes.items()}
        self._builder.start(_name(name), attributes)

    def _end(self, name: str) -> None:
        self._depth -= 1
        self._builder.end(_name(name))

    def _namespace(self, prefix: str | None, uri: str | None) -> None:
        self._namespaces += 1
        # RFC 4918 section 17: `xmlns:D=""` for a prefix is refused by expat itself.
        if self._namespaces > self._limits.elements or len(uri or "") > self._limits.name:
            raise InvalidXml("too many or too long namespaces")
        if uri is not None and "}" in uri:
            raise InvalidXml("not a namespace")

    def _doctype(self, *_: object) -> None:
        # RFC 4918 section 20.6: no entity of a client's is ever expanded, nor anything fetched for it.
        raise InvalidXml("a document type is not taken")


def _name(name: str) -> str:
    return "{" + name if "}" in name else name


def parse(data: bytes, limits: XmlLimits | None = None) -> Element:
    """A whole document. Raise InvalidXml."""
    parser = Parser(limits)
    parser.feed(data)
    return parser.close()


# ---------------------------------------------------------------------------------------------------------------------
# Names and text


def split_name(name: Name) -> tuple[str, str]:
    """(namespace, local)."""
    if name.startswith("{"):
        namespace, _, local = name[1:].partition("}")
        return namespace, local
    return "", name


_QUOTED = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "\r": "&#13;", "\n": "&#10;", "\t": "&#9;"})
# Characters that no XML document may hold (XML 1.0 section 2.2), and whether a text has none of them.
_NOT_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
_IS_XML = re.compile("[\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]*+").fullmatch


def escape(text: str) -> str:
    """Text as character data. What XML cannot hold becomes U+FFFD."""
    # `replace` and a match of ranges are eight times as quick as `translate` and a search.
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("\r", "&#13;")
    return text if _IS_XML(text) is not None else _NOT_XML.sub("\ufffd", text)


_CONTROLS = bytes(octet for octet in range(0x20) if octet not in b"\t\n\r")


def escape_octets(data: bytes) -> str:
    """UTF-8 octets as character data: `escape` for whole objects, four times as quick. What is no UTF-8 becomes U+FFFD."""
    # U+FFFE and U+FFFF begin with these two octets.
    if len(data.translate(None, _CONTROLS)) < len(data) or b"\xef\xbf" in data:
        return escape(data.decode("utf-8", "replace"))
    data = data.replace(b"&", b"&amp;").replace(b"<", b"&lt;").replace(b">", b"&gt;").replace(b"\r", b"&#13;")
    return data.decode("utf-8", "replace")


def escape_attribute(text: str) -> str:
    """Text as the value of an attribute in double quotes."""
    return _NOT_XML.sub("\ufffd", text.translate(_QUOTED))


def element(name: Name, inner: str = "", attributes: str = "") -> str:
    """An element: `inner` is XML already, `attributes` too (with a space before each)."""
    namespace, local = split_name(name)
    prefix = PREFIXES.get(namespace)
    if prefix is not None:
        tag, declared = f"{prefix}:{local}", ""
    else:
        # xmlns="" where there is none: a parent may have declared a default one.
        tag, declared = local, f' xmlns="{escape_attribute(namespace)}"'
    return f"<{tag}{declared}{attributes}>{inner}</{tag}>" if inner else f"<{tag}{declared}{attributes}/>"


_PATH = re.compile(r"[A-Za-z0-9._~!$'()*+,;=:@/-]*").fullmatch
_SAFE = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._~!$'()*+,;=:@/-")
_QUOTES = tuple(chr(octet) if octet in _SAFE else f"%{octet:02X}" for octet in range(256))


def quote(path: str) -> str:
    """A decoded path (slashes included) as it stands in an href: `@` as it is, nothing that XML would escape."""
    if _PATH(path) is not None:
        return path
    return "".join([_QUOTES[octet] for octet in path.encode("utf-8", "surrogatepass")])


# ---------------------------------------------------------------------------------------------------------------------
# What clients store


def store(given: Element) -> str:
    """A property as a client set it, as it is kept: see the module's docstring."""
    attributes = "".join(_attributes(given))
    inner = "".join(_inner(given, None))
    return f"<?a{attributes}?>{inner}" if attributes else inner


def stored_element(name: Name, stored: str) -> str:
    """A kept property as the element that a client gets."""
    if stored.startswith("<?a "):
        attributes, _, inner = stored[3:].partition("?>")
        return element(name, inner, attributes)
    return element(name, stored)


def parse_stored(stored: str) -> Element:
    """A kept property's inner XML below an element `value`. Raise InvalidXml."""
    inner = stored[3:].partition("?>")[2] if stored.startswith("<?a ") else stored
    return parse(f"<value{DECLARATIONS}>{inner}</value>".encode())


def stored_text(stored: str) -> str:
    """The text of a kept property, elements left out: a colour, a name, a description, a VTIMEZONE."""
    if "<" not in stored and "&" not in stored:
        return stored
    return text_of(parse_stored(stored))


def text_of(given: Element | None) -> str:
    """The character data of an element, children's too; empty for None."""
    return "" if given is None else "".join(given.itertext())


def inner_xml(given: Element) -> str:
    """What stands inside an element, standing for itself."""
    return "".join(_inner(given, None))


def _inner(given: Element, namespace: str | None) -> Iterable[str]:
    if given.text:
        yield escape(given.text)
    for child in given:
        yield from _whole(child, namespace)
        if child.tail:
            yield escape(child.tail)


def _whole(given: Element, outer: str | None) -> Iterable[str]:
    namespace, local = split_name(given.tag)
    declared = "" if namespace == outer else f' xmlns="{escape_attribute(namespace)}"'
    yield f"<{local}{declared}"
    yield from _attributes(given)
    if given.text or len(given):
        yield ">"
        yield from _inner(given, namespace)
        yield f"</{local}>"
    else:
        yield "/>"


def _attributes(given: Element) -> Iterable[str]:
    for number, (name, value) in enumerate(given.attrib.items()):
        namespace, local = split_name(name)
        # `?>` would end the processing instruction of `store`; it is told as `?&gt;`, which is the same.
        if not namespace:
            yield f' {local}="{escape_attribute(value)}"'
        elif namespace == _XML:
            yield f' xml:{local}="{escape_attribute(value)}"'
        else:
            yield f' xmlns:n{number}="{escape_attribute(namespace)}" n{number}:{local}="{escape_attribute(value)}"'


# ---------------------------------------------------------------------------------------------------------------------
# Pieces of a multistatus (RFC 4918 section 13)

MULTISTATUS = f"{HEAD}<D:multistatus{DECLARATIONS}>"
MULTISTATUS_END = "</D:multistatus>"

_REASONS = {
    200: "OK",
    201: "Created",
    204: "No Content",
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    409: "Conflict",
    412: "Precondition Failed",
    413: "Content Too Large",
    415: "Unsupported Media Type",
    422: "Unprocessable Content",
    423: "Locked",
    424: "Failed Dependency",
    500: "Internal Server Error",
    502: "Bad Gateway",
    503: "Service Unavailable",
    507: "Insufficient Storage",
}


def status_line(status: int) -> str:
    """`HTTP/1.1 404 Not Found`, as DAV:status holds it."""
    return f"HTTP/1.1 {status} {_REASONS.get(status, 'Status')}"


def href(path: str) -> str:
    """`<D:href>` of a path that is quoted already."""
    return f"<D:href>{path}</D:href>"


_FOUND = f"</D:prop><D:status>{status_line(200)}</D:status></D:propstat>"


def propstat(status: int, properties: str, error: str = "", description: str = "") -> str:
    """Properties (elements, one after the other) that share a status. `error`: inner XML of DAV:error."""
    if status == 200:
        return f"<D:propstat><D:prop>{properties}{_FOUND}"
    told = f"<D:error>{error}</D:error>" if error else ""
    words = f"<D:responsedescription>{escape(description)}</D:responsedescription>" if description else ""
    return f"<D:propstat><D:prop>{properties}</D:prop><D:status>{status_line(status)}</D:status>{told}{words}</D:propstat>"


def response(path: str, found: str, missing: str = "") -> str:
    """One resource: properties found, and those that are not there. `path` is quoted."""
    if missing:
        both = f"{propstat(200, found)}{propstat(404, missing)}" if found else propstat(404, missing)
        return f"<D:response><D:href>{path}</D:href>{both}</D:response>"
    return f"<D:response><D:href>{path}</D:href><D:propstat><D:prop>{found}{_FOUND}</D:response>"


def status_response(path: str, status: int, error: str = "", description: str = "") -> str:
    """One resource with a status of its own. `error`: inner XML of DAV:error."""
    told = f"<D:error>{error}</D:error>" if error else ""
    words = f"<D:responsedescription>{escape(description)}</D:responsedescription>" if description else ""
    return f"<D:response><D:href>{path}</D:href><D:status>{status_line(status)}</D:status>{told}{words}</D:response>"
