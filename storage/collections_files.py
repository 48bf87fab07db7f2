"""Files of collections: one sealed file an item, one description a collection (docs/store-format.md).

An item's file holds, sealed as one, a JSON object of 4 + n octets (big-endian length, then UTF-8: href, facts, time) and
the item's own octets. So a file says all that the index knew of it: a lost index is made again from the files alone, and no
second file can lag behind. Both directories and files have opaque names.

`collection.json` tells kind, name and properties; sealed under the index key where sealing is on, so that whoever may
deliver can read it.

Owns both forms. Never decides what is kept: see collections.py.
"""

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from . import atomic
from .api import AccountId, CollectionKind, Href, ItemFacts, Unavailable
from .paths import AccountPaths, is_opaque, render_opaque
from .seal import SealKind, looks_sealed, open_blob, open_bytes, seal_blob, seal_bytes

DESCRIPTION = "collection.json"

_PURPOSE = b"collection"
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


def new_name() -> str:
    """An opaque name for a file or directory."""
    return render_opaque(os.urandom(16))


def write_item(
    directory: Path, tmp: Path, item: StoredItem, *, public_key: bytes | None, account: AccountId
) -> tuple[Path, bytes | None]:
    """Write an item's file, durably, before any row names it: its path and its DEK (None: not sealed).

    Raise Unavailable, FileNotFoundError (directory).
    """
    fields = {"href": item.href, "modified": item.modified, "written": item.written, "facts": asdict(item.facts)}
    envelope = json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")
    content = len(envelope).to_bytes(4, "big") + envelope + item.data
    dek = None
    if public_key is not None:
        content, dek = seal_bytes(content, public_key, account, SealKind.ITEM)
    name = new_name()
    file = atomic.NewFile(tmp / f"item.{name}")
    try:
        file.write(content)
        file.publish(directory / name)
    except BaseException:
        file.abort()
        raise
    return directory / name, dek


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
    opened = None
    if sealed:
        content, opened = open_bytes(content, account=account, kind=SealKind.ITEM, secret_key=secret_key, dek=dek)
    return _parse(content, path.name), opened


def _parse(content: bytes, name: str) -> StoredItem:
    length = int.from_bytes(content[:4], "big")
    if len(content) < 4 + length or length > _MAX_ENVELOPE:
        raise Unavailable(f"an item's file is damaged ({name})")
    try:
        fields = json.loads(content[4 : 4 + length])
        facts = ItemFacts(**fields["facts"])
        return StoredItem(fields["href"], facts, int(fields["modified"]), int(fields["written"]), content[4 + length :])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
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
    try:
        names = os.listdir(directory)
    except OSError:
        return
    yield from (directory / name for name in sorted(names) if is_opaque(name))


# ---------------------------------------------------------------------------------------------------------------------
# The description of a collection


@dataclass(frozen=True, slots=True)
class Description:
    """What collection.json tells."""

    kind: CollectionKind
    name: str
    properties: Mapping[str, str]


def make_collection(paths: AccountPaths, description: Description, key: bytes | None) -> str:
    """Make the directory of a new collection with its description, durably; its opaque name. Raise Unavailable."""
    name = new_name()
    directory = paths.collection(description.kind, name)
    atomic.make_directories(directory, below=paths.directory)
    write_description(directory, paths.tmp, description, key)
    return name


def write_description(directory: Path, tmp: Path, description: Description, key: bytes | None) -> None:
    """Put collection.json in place, durably. `key`: the account's index key, None where nothing is sealed."""
    fields = {"kind": description.kind, "name": description.name, "properties": dict(description.properties)}
    data = json.dumps(fields, ensure_ascii=False, indent=1).encode("utf-8", "surrogatepass")
    atomic.replace_file(directory / DESCRIPTION, data if key is None else seal_blob(key, _PURPOSE, data), tmp=tmp)


def read_description(directory: Path, key: bytes) -> Description | None:
    """collection.json of a directory; None when it is not there or does not open."""
    try:
        data = atomic.read_file(directory / DESCRIPTION, limit=_MAX_DESCRIPTION)
        fields = json.loads(data if data.startswith(b"{") else open_blob(key, _PURPOSE, data))
        properties = {str(name): str(value) for name, value in fields["properties"].items()}
        return Description(CollectionKind(fields["kind"]), str(fields["name"]), properties)
    except (FileNotFoundError, Unavailable, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
