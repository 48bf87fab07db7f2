"""Trace files: one event a line, each bound to all before it by a hash chain; reading and verifying them.

A line is a JSON object in ASCII, keys sorted, control characters escaped, at most 4 KiB:

    {"acct":"k3...","cred":"app:41","ev":"auth.ok","net":"192.0.2.0/24","prev":"<hash>","seq":7,"svc":"imap","t":"...Z","v":1}

    hash(n) = SHA-256(hash(n-1) || line(n) without its line feed)          prev of line n is hash(n-1); hash(0) is 32 NULs

Who edits, deletes, inserts or swaps lines breaks the chain there. The file `head` says under a MAC of the key holder's
pepper how far the chain went, so the end cannot be cut off (nor the beginning, beyond what retention removed).

Accounts appear by their id, peers by their network; what an unknown login typed (often a password) by a MAC and its length.

Owns the forms, reading and verification. Never writes: that is traces.py.
"""

import hashlib
import hmac
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..storage import atomic

MAX_LINE = 4096
GENESIS = bytes(32)
HEAD = "head"

_MAX_VALUE = 300  # octets of one string, escaped
_SMALL_VALUE = 48
_TAIL = 65_536
_UNVOUCHED = 4 * 1024 * 1024  # octets: more than a second of events


def render_line(fields: Mapping[str, object]) -> bytes:
    """One line without its line feed, never longer than MAX_LINE whatever is in the fields."""
    line = _dump({name: _cut(value, _MAX_VALUE) for name, value in fields.items()})
    if len(line) > MAX_LINE:
        line = _dump({name: _cut(value, 64 if name == "prev" else _SMALL_VALUE) for name, value in fields.items()})
    if len(line) > MAX_LINE:
        raise ValueError("too many fields for a trace")
    return line


def next_hash(before: bytes, line: bytes) -> bytes:
    """The hash of a line in the chain."""
    return hashlib.sha256(before + line).digest()


def parse_line(line: bytes) -> dict[str, Any] | None:
    """The event of a line; None when it is none."""
    try:
        event = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(event, dict) or type(event.get("seq")) is not int:
        return None
    prev = event.get("prev")
    return event if isinstance(prev, str) and len(prev) == 64 and _is_hex(prev) else None


def _is_hex(text: str) -> bool:
    try:
        return len(bytes.fromhex(text)) * 2 == len(text)
    except ValueError:
        return False


def _dump(fields: Mapping[str, object]) -> bytes:
    text = json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return text.replace("\x7f", "\\u007f").encode("ascii")


def _cut(value: object, limit: int) -> object:
    if isinstance(value, int):
        return value
    if isinstance(value, str):
        if len(value) <= limit // 2 and value.isascii() and value.isprintable():
            return value  # at most every character escaped
        text = value[:limit]
        while len(json.dumps(text)) - 2 > limit:
            text = text[: len(text) * 3 // 4]
        return text
    if isinstance(value, list | tuple):
        return [_cut(part, _SMALL_VALUE) for part in value[:8]]
    return value


# ---------------------------------------------------------------------------------------------------------------------
# The head


@dataclass(frozen=True, slots=True)
class Head:
    """How far the chain is vouched for (`seq`, `hash`), and where it begins since older files were removed."""

    seq: int
    hash: bytes
    first_seq: int = 1
    first_prev: bytes = GENESIS


EMPTY_HEAD = Head(0, GENESIS)


def render_head(head: Head, key: bytes) -> bytes:
    """The file `head`."""
    fields = {"seq": head.seq, "hash": head.hash.hex(), "first_seq": head.first_seq, "first_prev": head.first_prev.hex()}
    mac = hmac.digest(key, _dump(fields), "sha256").hex()
    return _dump({**fields, "mac": mac}) + b"\n"


def read_head(folder: Path, key: bytes) -> Head | None:
    """The head; None when it is missing or not ours. Raise storage.api.Unavailable."""
    try:
        fields = json.loads(atomic.read_file(folder / HEAD, limit=4096))
        mac = bytes.fromhex(fields.pop("mac"))
        if not hmac.compare_digest(mac, hmac.digest(key, _dump(fields), "sha256")):
            return None
        return Head(fields["seq"], bytes.fromhex(fields["hash"]), fields["first_seq"], bytes.fromhex(fields["first_prev"]))
    except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError):
        return None


# ---------------------------------------------------------------------------------------------------------------------
# Files


def file_name(day: str, number: int) -> str:
    """`2026-11-25-000.jsonl`: files sort by name as the chain runs."""
    return f"{day}-{number:03d}.jsonl"


def trace_files(folder: Path) -> list[Path]:
    """All trace files, oldest first."""
    return sorted(folder.glob("????-??-??-???.jsonl"))


def read_lines(path: Path) -> Iterator[tuple[bytes, bool]]:
    """Lines of a file without their line feeds, and whether each had one. A longer line than any of ours comes in pieces."""
    with open(atomic.open_for_reading(path), "rb") as file:
        while line := file.readline(MAX_LINE + 1):
            yield line.removesuffix(b"\n"), line.endswith(b"\n")


def last_line(path: Path) -> tuple[bytes | None, int]:
    """The last whole line of a file, and how many octets of a torn one follow it."""
    with open(atomic.open_for_reading(path), "rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - _TAIL))
        data = file.read()
    whole, _, torn = data.rpartition(b"\n")
    return (whole.rpartition(b"\n")[2] if b"\n" in data else None), len(torn)


def chain_end(path: Path, head: Head) -> tuple[bytes, int] | None:
    """The last line of a file that follows from what the head vouches for, and how many octets behind it do not.

    A power cut may keep the end of what was not flushed and lose its beginning, so that whole lines make no sense. None when
    the file does not go on from the head: then it is for verification to say where it was touched.
    """
    with open(atomic.open_for_reading(path), "rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - _UNVOUCHED))
        data = file.read()
    found: bytes | None = None
    seq, hash_, position = head.seq, head.hash, 0
    for line in data.split(b"\n")[:-1]:
        event = parse_line(line)
        if event is not None and event["seq"] == head.seq and next_hash(bytes.fromhex(event["prev"]), line) == head.hash:
            found = line
        elif event is not None and event["seq"] == seq + 1 and event["prev"] == hash_.hex():
            seq, hash_, found = seq + 1, next_hash(hash_, line), line
        elif found is not None:
            break
        position += len(line) + 1
    return None if found is None else (found, len(data) - position)


def first_event(path: Path) -> dict[str, Any] | None:
    """The first event of a file."""
    for line, _ in read_lines(path):
        return parse_line(line)
    return None


# ---------------------------------------------------------------------------------------------------------------------
# Questions


@dataclass(frozen=True, slots=True)
class Verified:
    """What verification found. `first_bad`: the first seq that is edited, missing or out of place; `file`: where."""

    ok: bool
    checked: int
    first_bad: int | None = None
    file: str | None = None


def verify(folder: Path, key: bytes, *, until: int | None = None) -> Verified:
    """Recompute the chain up to seq `until` (a writer may be going on behind it). Raise storage.api.Unavailable."""
    head = read_head(folder, key)
    start = head or EMPTY_HEAD
    seq, hash_, checked = start.first_seq - 1, start.first_prev, 0
    last: tuple[bytes, bytes, str] | None = None  # line, hash before it, file
    for path, line in _whole_lines(folder):
        event = parse_line(line)
        if event is not None and seq == start.first_seq - 1 and not last and event["seq"] < start.first_seq:
            continue  # removed by retention as far as the head is concerned
        if event is not None and until is not None and event["seq"] > until and seq >= until:
            break
        if event is None or event["seq"] != seq + 1:
            return Verified(False, checked, seq + 1, path.name)
        if event["prev"] != hash_.hex():
            return _blame(folder, seq, path, line, last, checked, head)
        last = (line, hash_, path.name)
        seq, hash_, checked = seq + 1, next_hash(hash_, line), checked + 1
        if head is not None and seq == head.seq and hash_ != head.hash:
            return Verified(False, checked, seq, path.name)
    if head is None and trace_files(folder):
        return Verified(False, checked, seq + 1, HEAD)
    if head is None:
        return Verified(True, 0)
    if seq < min(head.seq, until if until is not None else head.seq):
        return Verified(False, checked, seq + 1, last[2] if last else HEAD)
    return Verified(True, checked)


def _whole_lines(folder: Path) -> Iterator[tuple[Path, bytes]]:
    files = trace_files(folder)
    for path, following in zip(files, [*files[1:], None], strict=False):
        # What a power cut tore was never vouched for; the next file says how long it was.
        left = path.stat().st_size - _torn(following)
        for line, whole in read_lines(path):
            left -= len(line) + whole
            if left < 0:
                break
            if whole:
                yield path, line
            elif len(line) > MAX_LINE:
                yield path, line  # longer than any line of ours: not one


def _torn(following: Path | None) -> int:
    event = None if following is None else first_event(following)
    octets = event.get("octets") if event is not None and event.get("ev") == "traces.torn" else 0
    return octets if isinstance(octets, int) and octets > 0 else 0


def _blame(
    folder: Path, seq: int, path: Path, line: bytes, last: tuple[bytes, bytes, str] | None, checked: int, head: Head | None
) -> Verified:
    # prev of line seq + 1 is not the hash of line seq: one of the two was edited. The one behind them knows which.
    event = parse_line(line)
    assert event is not None
    own = next_hash(bytes.fromhex(event["prev"]), line).hex()
    following = head.hash.hex() if head is not None and head.seq == seq + 1 else None
    for _, candidate in _whole_lines(folder):
        after = parse_line(candidate)
        if after is not None and after["seq"] == seq + 2:
            following = after["prev"]
    if last is not None and own == following:
        return Verified(False, checked - 1, seq, last[2])
    return Verified(False, checked, seq + 1, path.name)


def find(
    folder: Path, name: str, value: str, *, since: str = "", limit: int, newest_file_only: bool = False
) -> list[dict[str, Any]]:
    """Events whose field `name` is `value`, oldest first, the newest `limit` of them; `since`: an ISO day or time."""
    wanted = f'"{name}":{json.dumps(value)}'.encode("ascii")
    found: list[list[dict[str, Any]]] = []
    count = 0
    for path in reversed(trace_files(folder)):
        if path.name[:10] < since[:10] or count >= limit:
            break
        events = [parse_line(line) for line, whole in read_lines(path) if whole and wanted in line]
        matching = [event for event in events if event is not None and event.get(name) == value and event.get("t", "") >= since]
        if matching:
            found.append(matching)
            count += len(matching)
            if newest_file_only:
                break
    return [event for events in reversed(found) for event in events][-limit:]
