"""Every method, as clients and RFC 4918 use it."""

import pytest

from dav_plugin import PLUGINS
from dav_world import ANA, DAV, NAMESPACES, World, dav_world
from preau.dav.values import DavSettings

HOME = f"/dav/calendars/{ANA}/"
BOOKS = f"/dav/addressbooks/{ANA}/"
CALENDAR = f"{HOME}calendar/"


def put(world: World, path: str, text: str = "uid-1\nbody") -> str:
    answer = world.request("PUT", path, text)
    assert answer.status in (201, 204), answer.text
    return answer.headers["etag"]


def set_body(*properties: str, remove: str = "") -> str:
    removed = f"<D:remove><D:prop>{remove}</D:prop></D:remove>" if remove else ""
    sets = "".join(f"<D:set><D:prop>{one}</D:prop></D:set>" for one in properties)
    return f"<D:propertyupdate {NAMESPACES}>{sets}{removed}</D:propertyupdate>"


# -- OPTIONS


@pytest.mark.parametrize("path", ["/", "/dav/", f"/dav/principals/{ANA}/", HOME, CALENDAR, f"{HOME}nothing/"])
def test_options_say_the_same_everywhere(world: World, path: str) -> None:
    answer = world.request("OPTIONS", path)
    assert answer.status == 200
    features = {token.strip() for token in answer.headers["dav"].split(",")}
    assert features == {"1", "3", "access-control", "extended-mkcol", "calendar-access", "addressbook"}
    assert "OPTIONS" in answer.headers["allow"]


@pytest.mark.parametrize("method", ["LOCK", "UNLOCK", "POST", "PATCH", "BREW"])
def test_what_is_not_done_is_refused_with_what_is(world: World, method: str) -> None:
    answer = world.request(method, CALENDAR)
    assert answer.status == 405
    assert "PROPFIND" in answer.headers["allow"]
    assert method not in answer.headers["allow"].split(", ")


def test_rights_are_not_changed(world: World) -> None:
    answer = world.request("ACL", CALENDAR, f"<D:acl {NAMESPACES}/>")
    assert (answer.status, answer.condition()) == (403, f"{DAV}no-protected-ace-conflict")


# -- PUT, GET, DELETE


def test_an_item_comes_back_byte_for_byte(world: World) -> None:
    data = b"uid-1\r\n\xc3\xa9\r\n trailing \r\n\r\n"
    made = world.request("PUT", f"{CALENDAR}a.ics", data, {"If-None-Match": "*"})
    assert made.status == 201
    got = world.request("GET", f"{CALENDAR}a.ics")
    assert (got.status, got.body, got.headers["etag"]) == (200, data, made.headers["etag"])
    assert got.headers["content-type"] == "text/calendar; charset=utf-8"
    head = world.request("HEAD", f"{CALENDAR}a.ics")
    assert (head.status, head.headers["content-length"]) == (200, str(len(data)))
    again = world.request("PUT", f"{CALENDAR}a.ics", data + b"x", {"If-Match": made.headers["etag"]})
    assert again.status == 204
    assert again.headers["etag"] != made.headers["etag"]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"If-None-Match": "*"}, 412),
        ({"If-Match": '"other"'}, 412),
        ({"If": '(["other"])'}, 412),
        ({"If-Unmodified-Since": "Tue, 14 Nov 2023 22:13:19 GMT"}, 412),
        ({"If": "nonsense"}, 400),
        ({"Content-Range": "bytes 0-1/2"}, 400),
        ({"Content-Encoding": "gzip"}, 415),
    ],
)
def test_a_put_that_must_not_happen_does_not(world: World, headers: dict[str, str], status: int) -> None:
    put(world, f"{CALENDAR}a.ics")
    answer = world.request("PUT", f"{CALENDAR}a.ics", "uid-1\nnew", headers)
    assert answer.status == status
    assert world.request("GET", f"{CALENDAR}a.ics").body == b"uid-1\nbody"


@pytest.mark.parametrize(
    ("path", "status"),
    [
        (f"{HOME}nothing/a.ics", 409),
        (f"{HOME}a.ics", 403),
        ("/dav/a.ics", 403),
        ("/a.ics", 403),
        ("/", 405),
        (CALENDAR, 405),
        (f"{CALENDAR}a.ics/", 409),
        ("/dav/calendars/bob@ecole.example/calendar/a.ics", 409),
    ],
)
def test_where_nothing_can_be_put(world: World, path: str, status: int) -> None:
    assert world.request("PUT", path, "uid\n").status == status


def test_a_uid_is_taken_once(world: World) -> None:
    put(world, f"{CALENDAR}a.ics")
    answer = world.request("PUT", f"{CALENDAR}b.ics", "uid-1\nother")
    assert answer.status == 403
    assert answer.condition() == "{urn:ietf:params:xml:ns:caldav}no-uid-conflict"
    assert answer.xml[0].findtext(f"{DAV}href") == f"{CALENDAR}a.ics"
    changed = world.request("PUT", f"{CALENDAR}a.ics", "uid-2\nother")
    assert (changed.status, changed.condition()) == (403, "{urn:ietf:params:xml:ns:caldav}no-uid-conflict")


def test_representation_when_it_is_preferred(world: World) -> None:
    answer = world.request("PUT", f"{CALENDAR}a.ics", "uid-1\nx", {"Prefer": "return=representation"})
    assert (answer.status, answer.body) == (201, b"uid-1\nx")
    assert answer.headers["preference-applied"] == "return=representation"


@pytest.mark.parametrize("told", [True, False])
def test_too_much_is_refused_before_it_is_taken(told: bool) -> None:
    with dav_world(PLUGINS, DavSettings(item_size=1_000)) as world:
        if told:
            answer = world.request("PUT", f"{CALENDAR}a.ics", b"", {"Content-Length": "100000000"})
        else:
            answer = world.request("PUT", f"{CALENDAR}a.ics", pieces=[b"x" * 600, b"x" * 600, b"x" * 10_000_000])
        assert answer.status == 413
        assert answer.headers["connection"] == "close"
        assert world.request("GET", f"{CALENDAR}a.ics").status == 404


def test_not_modified(world: World) -> None:
    etag = put(world, f"{CALENDAR}a.ics")
    answer = world.request("GET", f"{CALENDAR}a.ics", headers={"If-None-Match": etag})
    assert (answer.status, answer.body, answer.headers["etag"]) == (304, b"", etag)


def test_delete(world: World) -> None:
    etag = put(world, f"{CALENDAR}a.ics")
    assert world.request("DELETE", f"{CALENDAR}a.ics", headers={"If-Match": '"x"'}).status == 412
    assert world.request("DELETE", f"{CALENDAR}a.ics", headers={"If-Match": etag}).status == 204
    assert world.request("DELETE", f"{CALENDAR}a.ics").status == 404
    assert world.request("DELETE", CALENDAR, headers={"Depth": "0"}).status == 400
    assert world.request("DELETE", CALENDAR).status == 204
    assert world.request("PROPFIND", CALENDAR, headers={"Depth": "0"}).status == 404
    for path in (HOME, "/", f"/dav/principals/{ANA}/"):
        assert world.request("DELETE", path).status == 403


# -- MKCOL


def test_plain_collections_nest(world: World) -> None:
    assert world.request("MKCOL", f"{HOME}one/").status == 201
    assert world.request("MKCOL", f"{HOME}one/two").status == 201
    assert world.request("PUT", f"{HOME}one/two/x.txt", "hello", {"Content-Type": "text/plain"}).status == 201
    assert world.request("GET", f"{HOME}one/two/x.txt").headers["content-type"] == "text/plain; charset=utf-8"
    assert world.request("MKCOL", f"{HOME}one/").status == 405
    assert world.request("MKCOL", f"{HOME}no/two").status == 409
    assert world.request("MKCOL", f"{HOME}one/two/x.txt/three").status == 409
    assert world.request("MKCOL", f"{CALENDAR}sub").status == 403
    assert world.request("MKCOL", "/dav/sub").status == 403
    assert world.request("MKCOL", f"{HOME}bin", b"\x01\x02", {"Content-Type": "application/octet-stream"}).status == 415
    assert world.request("DELETE", f"{HOME}one").status == 204
    assert world.request("GET", f"{HOME}one/two/x.txt").status == 404


def mkcol_body(kind: str, *properties: str) -> str:
    resource_type = f"<D:resourcetype><D:collection/>{kind}</D:resourcetype>"
    return f"<D:mkcol {NAMESPACES}><D:set><D:prop>{resource_type}{''.join(properties)}</D:prop></D:set></D:mkcol>"


def test_extended_mkcol(world: World) -> None:
    body = mkcol_body("<CR:addressbook/>", "<D:displayname>Équipe</D:displayname>", '<x xmlns="u:x">y</x>')
    assert world.request("MKCOL", f"{BOOKS}team/", body).status == 201
    found = world.propfind(f"{BOOKS}team/", '<D:displayname/><D:resourcetype/><x xmlns="u:x"/>').properties(f"{BOOKS}team/")
    assert found[f"{DAV}displayname"].text == "Équipe"
    assert found["{u:x}x"].text == "y"
    assert {child.tag for child in found[f"{DAV}resourcetype"]} == {
        f"{DAV}collection",
        "{urn:ietf:params:xml:ns:carddav}addressbook",
    }


@pytest.mark.parametrize(
    ("path", "body", "status", "condition"),
    [
        (f"{HOME}x", mkcol_body("<CR:addressbook/>"), 403, "addressbook-collection-location-ok"),
        (f"{BOOKS}x", mkcol_body("<C:calendar/>"), 403, "calendar-collection-location-ok"),
        (f"{BOOKS}x", mkcol_body("<CR:addressbook/><C:calendar/>"), 403, "valid-resourcetype"),
        (f"{BOOKS}x", mkcol_body('<n xmlns="u:n"/>'), 403, "valid-resourcetype"),
        (f"{BOOKS}contacts", mkcol_body("<CR:addressbook/>"), 405, "resource-must-be-null"),
    ],
)
def test_collections_where_they_cannot_be(world: World, path: str, body: str, status: int, condition: str) -> None:
    answer = world.request("MKCOL", path, body)
    assert (answer.status, answer.condition().rpartition("}")[2]) == (status, condition)


def test_mkcol_is_all_or_nothing(world: World) -> None:
    body = mkcol_body("<CR:addressbook/>", "<D:displayname>x</D:displayname>", "<D:getetag>mine</D:getetag>")
    answer = world.request("MKCOL", f"{BOOKS}x", body)
    assert (answer.status, answer.xml.tag) == (403, f"{DAV}mkcol-response")
    statuses = {one.findtext(f"{DAV}status", "")[9:12]: one[0][0].tag for one in answer.xml}
    assert statuses == {"403": f"{DAV}getetag", "424": f"{DAV}displayname"}
    assert world.propfind(f"{BOOKS}x", "<D:displayname/>").status == 404


# -- COPY, MOVE


def moved(world: World, method: str, source: str, target: str, **headers: str) -> int:
    lines = {"Destination": f"https://dav.ecole.example{target}", **headers}
    return world.request(method, source, headers=lines).status


def test_move_an_item(world: World) -> None:
    etag = put(world, f"{CALENDAR}a.ics")
    world.request("PROPPATCH", f"{CALENDAR}a.ics", set_body('<x xmlns="u:x">kept</x>'))
    assert moved(world, "MOVE", f"{CALENDAR}a.ics", f"{CALENDAR}b.ics") == 201
    assert world.request("GET", f"{CALENDAR}a.ics").status == 404
    got = world.request("GET", f"{CALENDAR}b.ics")
    assert (got.body, got.headers["etag"]) == (b"uid-1\nbody", etag)
    kept = world.propfind(f"{CALENDAR}b.ics", '<x xmlns="u:x"/>').properties(f"{CALENDAR}b.ics")
    assert kept["{u:x}x"].text == "kept"
    assert moved(world, "MOVE", f"{CALENDAR}b.ics", f"{HOME}tasks/b.ics") == 201
    assert world.request("GET", f"{HOME}tasks/b.ics").headers["etag"] == etag


@pytest.mark.parametrize("target", ["tasks/b.ics", "tasks/new.ics"])
def test_what_appears_at_the_destination_meanwhile_is_not_overwritten(
    world: World, monkeypatch: pytest.MonkeyPatch, target: str
) -> None:
    """Overwrite: F holds in the step that stores, not only when the request is looked at."""
    put(world, f"{CALENDAR}a.ics")
    put(world, f"{HOME}tasks/b.ics", "uid-2")
    monkeypatch.setattr("preau.dav.methods.copy_move.find_or_none", lambda context, location: None)
    status = moved(world, "MOVE", f"{CALENDAR}a.ics", HOME + target, Overwrite="F")
    there = target.endswith("b.ics")
    assert status == (412 if there else 201)
    assert world.request("GET", f"{CALENDAR}a.ics").status == (200 if there else 404)
    assert world.request("GET", f"{HOME}tasks/b.ics").body.startswith(b"uid-2")


def test_copies_within_a_calendar_would_share_a_uid(world: World) -> None:
    put(world, f"{CALENDAR}a.ics")
    assert moved(world, "COPY", f"{CALENDAR}a.ics", f"{CALENDAR}b.ics") == 403
    assert moved(world, "COPY", f"{CALENDAR}a.ics", f"{HOME}tasks/a.ics") == 201
    assert moved(world, "COPY", f"{CALENDAR}a.ics", f"{HOME}tasks/a.ics", Overwrite="F") == 412
    assert moved(world, "COPY", f"{CALENDAR}a.ics", f"{HOME}tasks/a.ics") == 204


def test_what_comes_into_a_calendar_is_judged(world: World) -> None:
    world.request("MKCOL", f"{HOME}plain/")
    put(world, f"{HOME}plain/x", "bad thing")
    assert moved(world, "MOVE", f"{HOME}plain/x", f"{CALENDAR}x.ics") == 403
    put(world, f"{HOME}plain/y", "uid-9\nfine")
    assert moved(world, "MOVE", f"{HOME}plain/y", f"{CALENDAR}y.ics") == 201
    assert world.request("GET", f"{CALENDAR}y.ics").headers["content-type"].startswith("text/calendar")
    assert world.request("GET", f"{HOME}plain/y").status == 404


@pytest.mark.parametrize(
    ("target", "status"),
    [
        (f"{HOME}nothing/a.ics", 409),
        (f"{CALENDAR}a.ics", 403),
        (HOME, 403),
        ("/dav/calendars/bob@ecole.example/calendar/a.ics", 409),
        (f"{CALENDAR}../x", 404),
    ],
)
def test_destinations_that_are_none(world: World, target: str, status: int) -> None:
    put(world, f"{CALENDAR}a.ics")
    assert moved(world, "MOVE", f"{CALENDAR}a.ics", target) == status
    assert world.request("GET", f"{CALENDAR}a.ics").status == 200


def test_a_destination_elsewhere(world: World) -> None:
    put(world, f"{CALENDAR}a.ics")
    answer = world.request("MOVE", f"{CALENDAR}a.ics", headers={"Destination": "https://other.example/dav/x"})
    assert answer.status == 502
    assert world.request("MOVE", f"{CALENDAR}a.ics").status == 400


def test_collections_move_and_copy(world: World) -> None:
    world.request("MKCOL", f"{HOME}one/")
    world.request("MKCOL", f"{HOME}one/two/")
    put(world, f"{HOME}one/two/x", "x")
    put(world, f"{HOME}one/y", "y")
    assert moved(world, "COPY", f"{HOME}one/", f"{HOME}copy/") == 201
    assert moved(world, "COPY", f"{HOME}one/", f"{HOME}bare/", Depth="0") == 201
    assert moved(world, "MOVE", f"{HOME}one/", f"{HOME}moved/") == 201
    assert moved(world, "MOVE", f"{HOME}moved/", f"{HOME}copy/") == 204
    assert moved(world, "MOVE", f"{HOME}copy/", f"{HOME}copy/inside/") == 403
    for path, there in (("copy/two/x", 200), ("copy/y", 200), ("one/y", 404), ("moved/y", 404), ("bare/y", 404)):
        assert world.request("GET", f"{HOME}{path}").status == there, path
    assert moved(world, "MOVE", CALENDAR, f"{HOME}renamed/") == 201
    assert moved(world, "MOVE", f"{HOME}renamed/", f"{BOOKS}renamed/") == 403


# -- PROPFIND, PROPPATCH


def test_infinity_is_refused(world: World) -> None:
    for headers in ({"Depth": "infinity"}, {}):
        answer = world.request("PROPFIND", HOME, headers=headers)
        assert (answer.status, answer.condition()) == (403, f"{DAV}propfind-finite-depth")
    assert world.request("PROPFIND", HOME, headers={"Depth": "2"}).status == 400


def test_the_way_from_the_root(world: World) -> None:
    found = world.propfind("/", "<D:current-user-principal/>").properties("/")
    principal = found[f"{DAV}current-user-principal"].findtext(f"{DAV}href", "")
    assert principal == f"/dav/principals/{ANA}/"
    found = world.propfind(principal, "<C:calendar-home-set/><CR:addressbook-home-set/><CS:email-address-set/>").properties(
        principal
    )
    assert [one[0].text for one in found.values()] == [HOME, BOOKS, ANA]
    assert set(world.propfind(HOME, "<D:displayname/>", "1").responses()) == {HOME, CALENDAR, f"{HOME}tasks/"}


def test_unknown_properties_are_told_or_left_out(world: World) -> None:
    names = '<D:resourcetype/><nothing xmlns="u:x"/>'
    assert set(world.propfind(CALENDAR, names).properties(CALENDAR, 404)) == {"{u:x}nothing"}
    for wish in ({"Brief": "t"}, {"Prefer": "return=minimal"}):
        headers = {"Depth": "0", **wish}
        body = f"<D:propfind {NAMESPACES}><D:prop>{names}</D:prop></D:propfind>"
        answer = world.request("PROPFIND", CALENDAR, body, headers)
        assert answer.properties(CALENDAR, 404) == {}
        assert set(answer.properties(CALENDAR)) == {f"{DAV}resourcetype"}


def test_allprop_and_propname(world: World) -> None:
    put(world, f"{CALENDAR}a.ics")
    item = f"{CALENDAR}a.ics"
    everything = world.request("PROPFIND", item, headers={"Depth": "0"}).properties(item)
    assert {f"{DAV}getetag", f"{DAV}getcontentlength", f"{DAV}resourcetype"} <= set(everything)
    body = f"<D:propfind {NAMESPACES}><D:propname/></D:propfind>"
    named = world.request("PROPFIND", item, body, {"Depth": "0"}).properties(item)
    assert set(everything) <= set(named)
    assert all(not one.text and not len(one) for one in named.values())


def test_dead_properties_of_collections_and_items(world: World) -> None:
    put(world, f"{CALENDAR}a.ics")
    for path in (CALENDAR, f"{CALENDAR}a.ics", HOME, f"/dav/principals/{ANA}/"):
        body = set_body('<x xmlns="u:x">a<b/></x>', '<A:calendar-color symbolic-color="red">#FF0000FF</A:calendar-color>')
        answer = world.request("PROPPATCH", path, body)
        assert set(answer.properties(path)) == {"{u:x}x", "{http://apple.com/ns/ical/}calendar-color"}
        found = world.propfind(path, '<x xmlns="u:x"/><A:calendar-color/>').properties(path)
        assert found["{u:x}x"].text == "a"
        assert found["{http://apple.com/ns/ical/}calendar-color"].attrib == {"symbolic-color": "red"}
        world.request("PROPPATCH", path, set_body(remove='<x xmlns="u:x"/>'))
        assert set(world.propfind(path, '<x xmlns="u:x"/>').properties(path, 404)) == {"{u:x}x"}


def test_proppatch_is_all_or_nothing(world: World) -> None:
    answer = world.request("PROPPATCH", CALENDAR, set_body("<D:displayname>new</D:displayname>", "<D:getetag>x</D:getetag>"))
    assert set(answer.properties(CALENDAR, 403)) == {f"{DAV}getetag"}
    assert set(answer.properties(CALENDAR, 424)) == {f"{DAV}displayname"}
    assert "new" not in world.propfind(CALENDAR, "<D:displayname/>").text
    assert (
        world.request("PROPPATCH", CALENDAR, set_body("<D:displayname>n</D:displayname>"), {"Prefer": "return=minimal"}).body
        == b""
    )


@pytest.mark.parametrize("body", ["<x/>", f"<D:propertyupdate {NAMESPACES}/>", "", "<D:propertyupdate"])
def test_a_proppatch_that_is_none(world: World, body: str) -> None:
    assert world.request("PROPPATCH", CALENDAR, body).status == 400
