"""A DAV application that dies at work: `python crash_dav.py ROOT` answers requests over the file store at ROOT.

ROOT.told gets a line for each answer, at once, with its ETag, and one with how everything looks to a client afterwards: by
requests alone, as a client has it (getetag, sync-token, the octets of a GET).
"""

import hashlib
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from crash_victim import Teller
from dav_world import ANA, DAV, NAMESPACES, Answer, World, dav_world
from own_imap import KEYS, account_of
from preau.caldav.plugin import Calendars
from preau.carddav.plugin import AddressBooks
from preau.storage.api import StoreLimits
from preau.storage.changes import SilentBus
from preau.storage.store import FileStore

ACCOUNT = account_of(ANA)
CALENDARS, BOOKS = f"/dav/calendars/{ANA}/", f"/dav/addressbooks/{ANA}/"
COLOUR = "{urn:x}colour"
View = dict[str, Any]


@contextmanager
def working(root: Path) -> Iterator[tuple[World, FileStore]]:
    """The application over the files at `root`."""
    store = FileStore(root, sealing=True, limits=StoreLimits(), bus=SilentBus())
    try:
        with dav_world((Calendars(), AddressBooks()), store=store) as world:
            yield world, store
    finally:
        store.close()


def event(number: int, more: str = "") -> str:
    """An object like no other."""
    lines = ("BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//x//y//", "BEGIN:VEVENT", f"UID:event-{number}")
    rest = ("DTSTAMP:20260101T000000Z", "DTSTART:20260102T080000Z", f"SUMMARY:{number}{more}", "END:VEVENT", "END:VCALENDAR")
    return "\r\n".join([*lines, *rest, ""])


def card(number: int) -> str:
    """A card like no other."""
    return "\r\n".join(["BEGIN:VCARD", "VERSION:3.0", f"UID:card-{number}", f"FN:Card {number}", "N:Card;;;;", "END:VCARD", ""])


def put(world: World, path: str, data: str, **headers: str) -> Answer:
    """PUT of the kind that the path's home takes."""
    kind = "text/vcard" if path.startswith(BOOKS) else "text/calendar"
    lines = {name.replace("_", "-"): value for name, value in headers.items()}
    return world.request("PUT", path, data, {"Content-Type": f"{kind}; charset=utf-8", **lines})


def patch(world: World, path: str, properties: str) -> Answer:
    """PROPPATCH."""
    body = f"<D:propertyupdate {NAMESPACES} xmlns:X='urn:x'><D:set><D:prop>{properties}</D:prop></D:set></D:propertyupdate>"
    return world.request("PROPPATCH", path, body)


def move(world: World, source: str, target: str, **headers: str) -> Answer:
    """MOVE."""
    return world.request("MOVE", source, headers={"Destination": f"https://dav.ecole.example{target}", **headers})


def prepare(root: Path) -> None:
    """Two objects and a card, at rest."""
    with working(root) as (world, store):
        for number in (1, 2):
            assert put(world, f"{CALENDARS}calendar/{number}.ics", event(number)).status == 201
        assert put(world, f"{BOOKS}contacts/1.vcf", card(1)).status == 201
        store.background.settle()


# ---------------------------------------------------------------------------------------------------------------------
# How it looks


def look_at(world: World) -> View:
    """Everything that a client can see."""
    collections: dict[str, View] = {}
    homes: dict[str, str] = {}
    for home in (CALENDARS, BOOKS):
        found = listing(world, home)
        homes[home] = found.pop(home)["token"]
        for path, told in found.items():
            items = listing(world, path)
            items.pop(path)
            for href, item in items.items():
                answer = world.request("GET", href)
                assert answer.headers["etag"] == item["etag"]
                item["digest"] = hashlib.blake2b(answer.body, digest_size=8).hexdigest()
            collections[path] = {**told, "items": items}
    return {"homes": homes, "collections": collections}


def listing(world: World, path: str) -> dict[str, dict[str, str]]:
    """PROPFIND of depth 1."""
    names = "<D:displayname/><D:sync-token/><D:getetag/><X:colour xmlns:X='urn:x'/>"
    answer = world.propfind(path, names, "1")
    found: dict[str, dict[str, str]] = {}
    for href in answer.responses():
        told = {tag: (one.text or "") for tag, one in answer.properties(href).items()}
        wanted = {"name": f"{DAV}displayname", "token": f"{DAV}sync-token", "etag": f"{DAV}getetag", "colour": COLOUR}
        found[href] = {key: told[tag] for key, tag in wanted.items() if tag in told}
    return found


def catch_up(world: World, before: View, now: View) -> None:
    """A client whose cache is `before` asks by sync-collection, and must come to `now`."""
    for home, token in before["homes"].items():
        known = {path for path in before["collections"] if path.startswith(home)}
        told = sync(world, home, token)
        known = {path for path in known if told.get(path) != "404"} | {path for path, tag in told.items() if tag != "404"}
        assert known == {path for path in now["collections"] if path.startswith(home)}, home
        assert number(now["homes"][home]) >= number(token), f"{home}: its sync token went back"
    for path, cached in before["collections"].items():
        there = now["collections"].get(path)
        if there is None:
            continue
        assert number(there["token"]) >= number(cached["token"]), f"{path}: its sync token went back"
        items = {href: item["etag"] for href, item in cached["items"].items()}
        for href, tag in sync(world, path, cached["token"]).items():
            if tag == "404":
                items.pop(href, None)
            else:
                items[href] = tag
        assert items == {href: item["etag"] for href, item in there["items"].items()}, f"{path}: sync-collection skips"


def sync(world: World, path: str, token: str) -> Mapping[str, str]:
    """sync-collection: href -> its new ETag, or 404."""
    body = (
        f"<D:sync-collection {NAMESPACES}><D:sync-token>{token}</D:sync-token><D:sync-level>1</D:sync-level>"
        "<D:prop><D:getetag/></D:prop></D:sync-collection>"
    )
    answer = world.report(path, body)
    tags = {href: answer.properties(href) for href in answer.responses()}
    return {href: status or getattr(tags[href].get(f"{DAV}getetag"), "text", "") for href, status in answer.statuses().items()}


def number(token: str) -> int:
    """The number in a sync token."""
    found = re.search(r"(\d+)\D*\Z", urlsplit(token).path or token)
    assert found is not None, token
    return int(found[1])


# ---------------------------------------------------------------------------------------------------------------------
# The work


def requests(world: World) -> Iterator[tuple[str, str, int, Answer]]:
    """(step, path, status that it must have, answer), one after another."""
    calendar, tasks = f"{CALENDARS}calendar/", f"{CALENDARS}tasks/"
    made = f"{CALENDARS}classe/"
    path = f"{calendar}3.ics"
    yield "PUT", path, 201, put(world, path, event(3), If_None_Match="*")
    path = f"{calendar}1.ics"
    yield "PUT over", path, 204, put(world, path, event(1, " changed"))
    yield "PROPPATCH item", path, 207, patch(world, path, "<X:colour>red</X:colour>")
    path = f"{BOOKS}contacts/2.vcf"
    yield "PUT card", path, 201, put(world, path, card(2))
    body = f"<C:mkcalendar {NAMESPACES}><D:set><D:prop><D:displayname>Classe</D:displayname></D:prop></D:set></C:mkcalendar>"
    yield "MKCALENDAR", made, 201, world.request("MKCALENDAR", made, body)
    yield "MOVE", f"{made}2.ics", 201, move(world, f"{calendar}2.ics", f"{made}2.ics")
    yield "PROPPATCH", made, 207, patch(world, made, "<D:displayname>5e</D:displayname><X:colour>blue</X:colour>")
    path = f"{calendar}3.ics"
    yield "DELETE", path, 204, world.request("DELETE", path)
    yield "MOVE over", f"{calendar}1.ics", 204, move(world, f"{made}2.ics", f"{calendar}1.ics", Overwrite="T")
    yield "MOVE collection", f"{CALENDARS}moved/", 201, move(world, made, f"{CALENDARS}moved/")
    yield "DELETE collection", f"{CALENDARS}moved/", 204, world.request("DELETE", f"{CALENDARS}moved/")
    yield "DELETE default", tasks, 204, world.request("DELETE", tasks)


@dataclass(frozen=True)
class _Wrong(Exception):
    step: str
    status: int
    text: str


def main(root: Path) -> None:
    """Do it, telling."""
    teller = Teller(root)
    with working(root) as (world, store):
        teller.tell("open", view=look_at(world))
        for step, path, status, answer in requests(world):
            teller.tell(step, path=path, etag=answer.headers.get("etag", ""))
            if answer.status != status:
                raise _Wrong(step, answer.status, answer.text)
            teller.tell("view", view=look_at(world))
        store.background.settle()


if __name__ == "__main__":
    main(Path(sys.argv[1]))


__all__ = ["ACCOUNT", "KEYS", "catch_up", "look_at", "prepare", "put", "working"]
