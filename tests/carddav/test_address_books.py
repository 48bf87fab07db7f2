"""Address books over DAV: what is stored, queries (RFC 6352 sections 8.6 and 10.5), cards in both versions."""

from collections.abc import Iterable

import pytest

from dav_world import ANA, DAV, NAMESPACES, Answer, World

HOME = f"/dav/addressbooks/{ANA}/"
BOOK = f"{HOME}contacts/"
C = "{urn:ietf:params:xml:ns:carddav}"
DATA = f"{C}address-data"


def card(name: str, *lines: str, version: str = "3.0") -> str:
    family = name.split()[-1]
    told = ["BEGIN:VCARD", f"VERSION:{version}", f"UID:uid-{name.split()[0].lower()}", f"FN:{name}", f"N:{family};;;;", *lines]
    return "\r\n".join([*told, "END:VCARD", ""])


CARDS = {
    "zoe.vcf": card(
        "Zoé Élan",
        "EMAIL;TYPE=INTERNET,WORK:zoe@ecole.example",
        "EMAIL;TYPE=HOME:zoe@maison.example",
        "item1.TEL;TYPE=CELL;TYPE=pref:+33 6 11",
        "item1.X-ABLabel:_$!<Mobile>!$_",
        "NICKNAME:Zo",
    ),
    "ben.vcf": card("Ben Martin", "EMAIL;TYPE=WORK:ben@ailleurs.example", "ORG:Lycée;Vie scolaire", "NICKNAME:Benny"),
    "cleo.vcf": card("Cléo Roy", "EMAIL;PREF=1:cleo@ecole.example", "KIND:individual", "BDAY:--0415", version="4.0"),
}


@pytest.fixture
def full(world: World) -> World:
    for name, text in CARDS.items():
        assert world.request("PUT", BOOK + name, text, {"Content-Type": "text/vcard"}).status == 201
    return world


def query(
    world: World,
    filters: str,
    *,
    prop: str = "<D:getetag/>",
    test: str = "",
    more: str = "",
    path: str = BOOK,
    depth: str = "1",
) -> Answer:
    attribute = f' test="{test}"' if test else ""
    body = (
        f"<CR:addressbook-query {NAMESPACES}><D:prop>{prop}</D:prop>"
        f"<CR:filter{attribute}>{filters}</CR:filter>{more}</CR:addressbook-query>"
    )
    return world.request("REPORT", path, body, {"Depth": depth})


def found(answer: Answer) -> list[str]:
    return sorted(href.rsplit("/", 1)[1].removesuffix(".vcf") for href in answer.responses() if href.endswith(".vcf"))


def prop(name: str, inner: str = "", test: str = "") -> str:
    return f'<CR:prop-filter name="{name}"{f" test={test!r}" if test else ""}>{inner}</CR:prop-filter>'


def text(value: str, **attributes: str) -> str:
    told = "".join(f' {name.replace("_", "-")}="{given}"' for name, given in attributes.items())
    return f"<CR:text-match{told}>{value}</CR:text-match>"


def param(name: str, inner: str = "") -> str:
    return f'<CR:param-filter name="{name}">{inner}</CR:param-filter>'


@pytest.mark.parametrize(
    ("filters", "test", "expected"),
    [
        pytest.param("", "", "ben cleo zoe", id="no condition"),
        pytest.param(prop("NICKNAME"), "", "ben zoe", id="is there"),
        pytest.param(prop("nickname", "<CR:is-not-defined/>"), "", "cleo", id="is not there"),
        pytest.param(prop("FN", text("élan")), "", "zoe", id="contains, whatever the case"),
        pytest.param(prop("FN", text("éLAN", collation="i;ascii-casemap")), "", "", id="ASCII letters alone are folded"),
        pytest.param(prop("FN", text("Élan", collation="i;octet")), "", "zoe", id="as it is"),
        pytest.param(prop("FN", text("e\u0301lan")), "", "zoe", id="however its accents are written"),
        pytest.param(prop("NICKNAME", text("zo", match_type="equals")), "", "zoe", id="equals"),
        pytest.param(prop("NICKNAME", text("z", match_type="equals")), "", "", id="does not equal"),
        pytest.param(prop("EMAIL", text("BEN@", match_type="starts-with")), "", "ben", id="starts with"),
        pytest.param(prop("EMAIL", text("@ECOLE.example", match_type="ends-with")), "", "cleo zoe", id="ends with"),
        pytest.param(prop("NICKNAME", text("zo", negate_condition="yes")), "", "ben", id="negated, where the property is"),
        pytest.param(prop("NICKNAME") + prop("KIND"), "anyof", "ben cleo zoe", id="any of"),
        pytest.param(prop("NICKNAME") + prop("ORG"), "allof", "ben", id="all of"),
        pytest.param(prop("EMAIL", text("ecole") + text("zoe"), "allof"), "", "zoe", id="all of one property"),
        pytest.param(prop("EMAIL", text("ecole") + text("ben")), "", "ben cleo zoe", id="any of one property"),
        pytest.param(prop("EMAIL", param("TYPE", text("work"))), "", "ben zoe", id="parameter"),
        pytest.param(prop("EMAIL", param("PREF")), "", "cleo", id="parameter is there"),
        pytest.param(prop("EMAIL", param("TYPE", "<CR:is-not-defined/>")), "", "cleo", id="parameter is not there"),
        pytest.param(
            prop("EMAIL", text("ecole") + param("TYPE", text("home")), "allof"), "", "", id="of one and the same line"
        ),
        pytest.param(
            prop("EMAIL", text("maison") + param("TYPE", text("home")), "allof"), "", "zoe", id="of one line that is there"
        ),
        pytest.param(prop("TEL"), "", "zoe", id="of any group"),
        pytest.param(prop("item1.TEL"), "", "zoe", id="of its group"),
        pytest.param(prop("item2.TEL"), "", "", id="of another group"),
    ],
)
def test_a_filter_finds(full: World, filters: str, test: str, expected: str) -> None:
    assert " ".join(found(query(full, filters, test=test))) == expected


def test_what_is_asked_of_another_depth(full: World) -> None:
    assert found(query(full, "", depth="0")) == []
    assert found(query(full, prop("ORG"), path=HOME, depth="infinity")) == ["ben"]
    assert found(query(full, prop("ORG"), path=BOOK + "ben.vcf", depth="0")) == ["ben"]
    assert found(query(full, prop("KIND"), path=BOOK + "ben.vcf", depth="0")) == []


def test_a_limit_is_told(full: World) -> None:
    answer = query(full, "", more="<CR:limit><CR:nresults>2</CR:nresults></CR:limit>")
    assert len(found(answer)) == 2
    assert answer.statuses()[BOOK] == "507"
    assert answer.responses()[BOOK].find(f"{DAV}error/{DAV}number-of-matches-within-limits") is not None
    whole = query(full, "", more="<CR:limit><CR:nresults>3</CR:nresults></CR:limit>")
    assert len(found(whole)) == 3
    assert BOOK not in whole.responses()


@pytest.mark.parametrize(
    ("filters", "status", "condition"),
    [
        (prop("FN", text("x", collation="i;klingon")), 403, "supported-collation"),
        (prop("FN", text("x", match_type="sounds-like")), 403, "supported-filter"),
        (prop("FN", "<CR:other/>"), 403, "supported-filter"),
        ("<CR:comp-filter/>", 403, "supported-filter"),
        (prop("FN", text("x" * 1_001)), 403, "supported-filter"),
        (prop("FN") * 101, 403, "supported-filter"),
        (prop("FN", text("x") * 101), 403, "supported-filter"),
        (prop("FN", "<CR:is-not-defined/>" + text("x")), 400, ""),
        (prop(""), 400, ""),
    ],
)
def test_a_filter_that_is_none(world: World, filters: str, status: int, condition: str) -> None:
    answer = query(world, filters)
    assert answer.status == status
    if condition:
        assert answer.condition() == f"{C}{condition}"


def test_a_query_needs_a_filter(world: World) -> None:
    body = f"<CR:addressbook-query {NAMESPACES}><D:prop/></CR:addressbook-query>"
    assert world.request("REPORT", BOOK, body, {"Depth": "1"}).status == 400


def multiget(world: World, names: Iterable[str], asked: str, **headers: str) -> Answer:
    hrefs = "".join(f"<D:href>{BOOK}{name}</D:href>" for name in names)
    body = f"<CR:addressbook-multiget {NAMESPACES}><D:prop><D:getetag/>{asked}</D:prop>{hrefs}</CR:addressbook-multiget>"
    return world.request("REPORT", BOOK, body, {"Depth": "1", **headers})


def data_of(answer: Answer, name: str) -> str:
    return answer.properties(BOOK + name)[DATA].text or ""


def test_cards_are_told_in_the_version_that_is_asked(full: World) -> None:
    as_3 = multiget(full, CARDS, "<CR:address-data/>")
    assert data_of(as_3, "zoe.vcf") == CARDS["zoe.vcf"]
    told = data_of(as_3, "cleo.vcf")
    assert "VERSION:3.0\r\n" in told
    assert "X-ADDRESSBOOKSERVER-KIND:individual\r\n" in told
    assert "BDAY;X-APPLE-OMIT-YEAR=1604:1604-04-15\r\n" in told
    as_4 = multiget(full, CARDS, '<CR:address-data content-type="text/vcard" version="4.0"/>')
    assert data_of(as_4, "cleo.vcf") == CARDS["cleo.vcf"]
    assert "VERSION:4.0\r\n" in data_of(as_4, "zoe.vcf")
    assert "item1.X-ABLabel:_$!<Mobile>!$_\r\n" in data_of(as_4, "zoe.vcf")


def test_thunderbird_gets_cards_as_they_were_put(full: World) -> None:
    # It asks for no version, and would save in 3.0 what it once got in 3.0.
    agent = {"User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:153.0) Gecko/20100101 Thunderbird/153.7.0"}
    told = multiget(full, CARDS, "<CR:address-data/>", **agent)
    assert {name: data_of(told, name) for name in CARDS} == CARDS
    part = multiget(full, CARDS, '<CR:address-data><CR:prop name="VERSION"/></CR:address-data>', **agent)
    assert "VERSION:4.0\r\n" in data_of(part, "cleo.vcf")
    asked = multiget(full, CARDS, '<CR:address-data version="3.0"/>', **agent)
    assert "VERSION:3.0\r\n" in data_of(asked, "cleo.vcf")


def test_cards_are_told_in_part(full: World) -> None:
    asked = '<CR:prop name="FN"/><CR:prop name="email" novalue="yes"/><CR:prop name="item1.TEL"/>'
    asked = f"<CR:address-data>{asked}</CR:address-data>"
    assert data_of(multiget(full, ["zoe.vcf"], asked), "zoe.vcf").split("\r\n") == [
        "BEGIN:VCARD",
        "FN:Zoé Élan",
        "EMAIL;TYPE=INTERNET,WORK:",
        "EMAIL;TYPE=HOME:",
        "item1.TEL;TYPE=CELL;TYPE=pref:+33 6 11",
        "END:VCARD",
        "",
    ]


@pytest.mark.parametrize("attributes", ['version="2.1"', 'content-type="application/vcard+xml"', 'version="5.0"'])
def test_what_cards_are_not_told_in(full: World, attributes: str) -> None:
    answer = multiget(full, CARDS, f"<CR:address-data {attributes}/>")
    assert (answer.status, answer.condition()) == (403, f"{C}supported-address-data")


@pytest.mark.parametrize(
    ("accept", "name", "version"),
    [
        ("", "cleo.vcf", "4.0"),
        ("*/*", "cleo.vcf", "4.0"),
        ("text/vcard", "cleo.vcf", "4.0"),
        ("text/vcard; version=3.0", "cleo.vcf", "3.0"),
        ("text/vcard;version=4.0, text/vcard;q=0.5", "zoe.vcf", "4.0"),
        ("text/vcard;version=4.0;q=0.2, text/vcard;version=3.0;q=0.1", "zoe.vcf", "4.0"),
        ("text/vcard;version=3.0, */*;q=0.1", "zoe.vcf", "3.0"),
        ("text/x-vcard", "cleo.vcf", "3.0"),
        ("text/html", "cleo.vcf", "4.0"),
        ("text/vcard;version=3.0;q=x", "cleo.vcf", "4.0"),
    ],
)
def test_get_gives_the_version_that_is_accepted(full: World, accept: str, name: str, version: str) -> None:
    answer = full.request("GET", BOOK + name, headers={"Accept": accept} if accept else {})
    assert answer.status == 200
    assert f"VERSION:{version}\r\n" in answer.text
    assert answer.headers["vary"] == "Accept"
    if f"VERSION:{version}\r\n" in CARDS[name]:
        assert answer.text == CARDS[name]
    if "version" in accept:
        assert answer.headers["content-type"] == f"text/vcard; charset=utf-8; version={version}"


@pytest.mark.parametrize(
    ("body", "content_type", "condition"),
    [
        (card("Old One", version="2.1"), "text/vcard", "supported-address-data"),
        (card("No Photo", "PHOTO;ENCODING=b:" + "A" * 9_900_000), "text/vcard", "max-resource-size"),
        ("nothing", "text/vcard", "valid-address-data"),
        (card("Two Cards") * 2, "text/vcard", "valid-address-data"),
        (card("No Id").replace("UID:", "X-UID:"), "text/vcard", "valid-address-data"),
        (card("Is Text"), "text/html", "supported-address-data"),
    ],
)
def test_what_is_no_card(world: World, body: str, content_type: str, condition: str) -> None:
    answer = world.request("PUT", f"{BOOK}x.vcf", body, {"Content-Type": content_type})
    assert (answer.status, answer.condition()) == (403, f"{C}{condition}")
    assert world.request("GET", f"{BOOK}x.vcf").status == 404


def test_photos_and_groups_come_back_as_they_were_put(world: World) -> None:
    photo = card("Ana Photo", "PHOTO;ENCODING=b;TYPE=JPEG;X-ABCROP-RECTANGLE=ABClipRect_1&0:" + "QUJD" * 200_000)
    group = card("Ma Classe", "X-ADDRESSBOOKSERVER-KIND:group", "X-ADDRESSBOOKSERVER-MEMBER:urn:uuid:uid-ana")
    for name, text_ in (("photo.vcf", photo), ("group.vcf", group)):
        put = world.request("PUT", BOOK + name, text_, {"If-None-Match": "*"})
        answer = world.request("GET", BOOK + name)
        assert (put.status, answer.text, answer.headers["etag"]) == (201, text_, put.headers["etag"])
    as_4 = data_of(multiget(world, ["group.vcf"], '<CR:address-data version="4.0"/>'), "group.vcf")
    assert "KIND:group\r\nMEMBER:urn:uuid:uid-ana\r\n" in as_4


def test_one_uid_lies_once_in_a_book(full: World) -> None:
    answer = full.request("PUT", f"{BOOK}other.vcf", CARDS["zoe.vcf"])
    assert (answer.status, answer.condition()) == (403, f"{C}no-uid-conflict")
    assert answer.xml.findtext(f"{C}no-uid-conflict/{DAV}href") == f"{BOOK}zoe.vcf"


def test_what_clients_ask_of_an_account(world: World) -> None:
    body = f"<D:propfind {NAMESPACES}><D:prop><CR:addressbook-home-set/></D:prop></D:propfind>"
    principal = world.request("PROPFIND", f"/dav/principals/{ANA}/", body, {"Depth": "0"})
    homes = principal.properties(f"/dav/principals/{ANA}/")[f"{C}addressbook-home-set"]
    assert homes.findtext(f"{DAV}href") == HOME
    asked = "<D:resourcetype/><CR:supported-address-data/><CR:max-resource-size/><CR:supported-collation-set/><D:displayname/>"
    body = f"<D:propfind {NAMESPACES}><D:prop>{asked}</D:prop></D:propfind>"
    book = world.request("PROPFIND", HOME, body, {"Depth": "1"}).properties(BOOK)
    assert book[f"{DAV}resourcetype"].find(f"{C}addressbook") is not None
    versions = [one.get("version") for one in book[f"{C}supported-address-data"]]
    assert versions == ["3.0", "4.0"]
    assert "addressbook" in world.request("OPTIONS", BOOK).headers["dav"]


def test_a_book_is_described(world: World) -> None:
    body = (
        f"<D:mkcol {NAMESPACES}><D:set><D:prop><D:resourcetype><D:collection/><CR:addressbook/></D:resourcetype>"
        "<D:displayname>Parents</D:displayname><CR:addressbook-description>De la 6e B</CR:addressbook-description>"
        "</D:prop></D:set></D:mkcol>"
    )
    assert world.request("MKCOL", f"{HOME}parents/", body).status == 201
    asked = f"<D:propfind {NAMESPACES}><D:prop><CR:addressbook-description/></D:prop></D:propfind>"
    book = world.request("PROPFIND", f"{HOME}parents/", asked, {"Depth": "0"}).properties(f"{HOME}parents/")
    assert book[f"{C}addressbook-description"].text == "De la 6e B"
    patch = f"<D:propertyupdate {NAMESPACES}><D:set><D:prop><CR:addressbook-description><D:x/></CR:addressbook-description>"
    patch += "</D:prop></D:set></D:propertyupdate>"
    refused = world.request("PROPPATCH", f"{HOME}parents/", patch)
    assert f"{C}addressbook-description" in refused.properties(f"{HOME}parents/", 403)


def test_a_card_that_nobody_can_read_says_so(full: World) -> None:
    """Left by another program: told as it is, and found by no condition."""
    account = full.account
    book = next(info for info in account.collections.collections() if info.name == "contacts")
    item = next(one for one in account.collections.items(book.id) if one.href == "zoe.vcf")
    account.collections.put_item(book.id, item.href, b"BEGIN:VCARD\r\nbroken", item.facts)
    assert found(query(full, prop("EMAIL"))) == ["ben", "cleo"]
    assert found(query(full, "")) == ["ben", "cleo", "zoe"]
    whole = multiget(full, ["zoe.vcf"], "<CR:address-data/>")
    assert data_of(whole, "zoe.vcf").startswith("BEGIN:VCARD\r\nbroken")
