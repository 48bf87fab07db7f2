"""Files of collections: one file an item, one description a collection (docs/store-format.md).

A sealed item's file holds, sealed as one, a JSON object of 4 + n octets (big-endian length, then UTF-8: href, facts, time,
dead properties) and the item's own octets. So a file says all that the index knew of it: a lost index is made again from
the files alone, and no second file can lag behind. Both directories and files have opaque names.

Where nothing is sealed an item's file is what the client sent, octet by octet, `<opaque>.ics` or `.vcf`: other software may
read it. What the index knew lies beside it in `.<opaque>.facts`, which is durable before the item is; a file that has none
is told by its name alone.

`collection.json` tells kind, name, properties and when it was made; sealed under the index key where sealing is on, so that
whoever may deliver can read it.

Owns both forms. Never decides what is kept: see collections.py.
"""

import contextlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from . import atomic
from .api import NO_PROPERTIES, AccountId, CollectionKind, Href, ItemFacts, Unavailable
from .paths import AccountPaths, is_opaque, render_opaque
from .seal import SealKind, looks_sealed, open_blob, open_bytes, seal_blob, seal_bytes

DESCRIPTION = "collection.json"

_PURPOSE = b"collection"
_OPAQUE = 26  # characters of an opaque name
_SUFFIXES = {"text/calendar": ".ics", "text/vcard": ".vcf"}
_MAX_ENVELOPE = 4 * 1024 * 1024
_MAX_DESCRIPTION = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class StoredItem:
    """All that an item's file holds."""

    href: Href
    facts: ItemFacts
    modified: int  # seconds since 1970 UTC
    written: int  # nanoseconds since 1970: of two files of one href, the later one is meant
    data: bytes
    properties: Mapping[str, str] = field(default_factory=lambda: NO_PROPERTIES)


def new_name() -> str:
    """An opaque name for a file or directory."""
    return render_opaque(os.urandom(16))


def write_item(
    directory: Path, tmp: Path, item: StoredItem, *, public_key: bytes | None, account: AccountId
) -> tuple[Path, bytes | None]:
    """Write an item's file, durably, before any row names it: its path and its DEK (None: not sealed).

    Raise Unavailable, FileNotFoundError (directory).
    """
    envelope = _render_envelope(item)
    name = new_name()
    if public_key is not None:
        content = len(envelope).to_bytes(4, "big") + envelope + item.data
        content, dek = seal_bytes(content, public_key, account, SealKind.ITEM)
        path = directory / name
        _put(tmp, path, content, fsync_dir=True)
        return path, dek
    path = directory / (name + _SUFFIXES.get(item.facts.content_type.partition(";")[0].strip().lower(), ""))
    beside = facts_file(path)
    _put(tmp, beside, envelope, fsync_dir=False)
    try:
        _put(tmp, path, item.data, fsync_dir=True)
    except BaseException:
        with contextlib.suppress(Unavailable):
            atomic.unlink(beside)
        raise
    return path, None


def _put(tmp: Path, path: Path, content: bytes, *, fsync_dir: bool) -> None:
    file = atomic.NewFile(tmp / f"item.{path.name}")
    try:
        file.write(content)
        file.publish(path, fsync_dir=fsync_dir)
    except BaseException:
        file.abort()
        # It may have its name already when the directory could not be flushed: nobody was told that it is kept.
        with contextlib.suppress(Unavailable):
            atomic.unlink(path)
        raise


def facts_file(path: Path) -> Path:
    """What lies beside an item's file that is not sealed."""
    return path.with_name(f".{path.name[:_OPAQUE]}.facts")


def remove_item(path: Path) -> None:
    """Remove an item's file and what lies beside it; not there is done. Raise Unavailable."""
    atomic.unlink(path)
    atomic.unlink(facts_file(path))


def read_item(
    path: Path,
    *,
    sealed: bool,
    account: AccountId,
    secret_key: bytes | None,
    dek: bytes | None,
    limit: int,
) -> tuple[StoredItem, bytes | None]:
    """An item's file and the DEK that opened it. Raise FileNotFoundError, Unavailable (damaged, no key)."""
    content = atomic.read_file(path, limit=limit + _MAX_ENVELOPE + 65_536)
    if sealed:
        content, opened = open_bytes(content, account=account, kind=SealKind.ITEM, secret_key=secret_key, dek=dek)
        return _parse(content, path.name), opened
    try:
        envelope = atomic.read_file(facts_file(path), limit=_MAX_ENVELOPE)
    except FileNotFoundError:
        kind = next((kind for kind, suffix in _SUFFIXES.items() if path.suffix == suffix), None)
        if kind is None:
            return _parse(content, path.name), None  # written before there were files beside: as sealed ones are
        written = path.stat().st_mtime_ns
        return StoredItem(Href(path.name), ItemFacts(kind), written // 1_000_000_000, written, content), None
    return _parse_envelope(envelope, content, path.name), None


def _render_envelope(item: StoredItem) -> bytes:
    fields = {"href": item.href, "modified": item.modified, "written": item.written, "facts": item.facts._asdict()}
    if item.properties:
        fields["properties"] = dict(item.properties)
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")


def _parse(content: bytes, name: str) -> StoredItem:
    length = int.from_bytes(content[:4], "big")
    if len(content) < 4 + length or length > _MAX_ENVELOPE:
        raise Unavailable(f"an item's file is damaged ({name})")
    return _parse_envelope(content[4 : 4 + length], content[4 + length :], name)


def _parse_envelope(envelope: bytes, data: bytes, name: str) -> StoredItem:
    try:
        fields = json.loads(envelope)
        facts, properties = ItemFacts(**fields["facts"]), dict(fields.get("properties", NO_PROPERTIES))
        modified, written = int(fields["modified"]), int(fields["written"])
        return StoredItem(fields["href"], facts, modified, written, data, properties)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise Unavailable(f"an item's file is damaged ({name})") from error


def is_sealed_file(path: Path) -> bool:
    """Whether a file has the magic: asked on rebuild only, when no row tells. Raise FileNotFoundError, Unavailable."""
    descriptor = atomic.open_for_reading(path)
    try:
        return looks_sealed(os.pread(descriptor, 8, 0))
    finally:
        os.close(descriptor)


def item_files(directory: Path) -> Iterator[Path]:
    """The files in a collection's directory that can be items."""
    for name in _listed(directory):
        stem, dot, suffix = name.partition(".")
        if is_opaque(stem) and (not dot or dot + suffix in _SUFFIXES.values()):
            yield directory / name


def lone_facts(directory: Path, items: Iterable[str]) -> Iterator[Path]:
    """Files that lay beside an item that is not among the files `items`."""
    beside = {facts_file(directory / name).name for name in items}
    for name in _listed(directory):
        if name.startswith(".") and name.endswith(".facts") and is_opaque(name[1:-6]) and name not in beside:
            yield directory / name


def _listed(directory: Path) -> list[str]:
    try:
        return sorted(os.listdir(directory))
    except OSError:
        return []


# ---------------------------------------------------------------------------------------------------------------------
# The description of a collection


@dataclass(frozen=True, slots=True)
class Description:
    """What collection.json tells."""

    kind: CollectionKind
    name: str
    properties: Mapping[str, str]
    created: int = 0  # seconds since 1970 UTC; 0: written before this was kept


def make_collection(paths: AccountPaths, description: Description, key: bytes | None) -> str:
    """Make the directory of a new collection with its description, durably; its opaque name. Raise Unavailable."""
    name = new_name()
    directory = paths.collection(description.kind, name)
    atomic.make_directories(directory, below=paths.directory)
    write_description(directory, paths.tmp, description, key)
    return name


def write_description(directory: Path, tmp: Path, description: Description, key: bytes | None) -> None:
    """Put collection.json in place, durably. `key`: the account's index key, None where nothing is sealed."""
    fields = {
        "kind": description.kind,
        "name": description.name,
        "created": description.created,
        "properties": dict(description.properties),
    }
    data = json.dumps(fields, ensure_ascii=False, indent=1).encode("utf-8", "surrogatepass")
    atomic.replace_file(directory / DESCRIPTION, data if key is None else seal_blob(key, _PURPOSE, data), tmp=tmp)


def read_description(directory: Path, key: bytes) -> Description | None:
    """collection.json of a directory; None when it is not there or does not open."""
    try:
        data = atomic.read_file(directory / DESCRIPTION, limit=_MAX_DESCRIPTION)
        fields = json.loads(data if data.startswith(b"{") else open_blob(key, _PURPOSE, data))
        properties = {str(name): str(value) for name, value in fields["properties"].items()}
        created = int(fields.get("created", 0))
        return Description(CollectionKind(fields["kind"]), str(fields["name"]), properties, created)
    except (FileNotFoundError, Unavailable, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
