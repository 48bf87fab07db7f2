"""The same objects and the same queries put to ours and to Radicale: what is found must be the same where Radicale is right.

Where it is not, the objects leave the comparison: each exclusion says why, with its section.
"""

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from dav_world import ANA, NAMESPACES, World, dav_world
from preau.caldav.plugin import Calendars
from preau.carddav.plugin import AddressBooks
from radicale_app import USER, RadicaleApp

pytestmark = pytest.mark.conformance


CALENDAR = f"/dav/calendars/{ANA}/calendar/"
BOOK = f"/dav/addressbooks/{ANA}/contacts/"
FIRST = datetime(2026, 1, 1, tzinfo=UTC)
WORDS = ("Réunion", "conseil", "CONTRÔLE", "sortie", "Musée", "parents", "Zoé", "rentrée")


def utc(moment: datetime) -> str:
    return moment.strftime("%Y%m%dT%H%M%SZ")


def objects(dice: random.Random) -> Iterator[tuple[str, str]]:
    """(name, object): events and tasks of every common form."""
    for number in range(80):
        begin = FIRST + timedelta(minutes=15 * dice.randrange(4 * 24 * 200))
        lines = [f"UID:{number}", "DTSTAMP:20260101T000000Z", f"SUMMARY:{dice.choice(WORDS)} {dice.choice(WORDS)}"]
        form = dice.choice(("utc", "utc", "day", "zone"))
        hours = dice.choice((1, 2, 26))
        if form == "day":
            lines += [f"DTSTART;VALUE=DATE:{begin:%Y%m%d}"]
            # Without an end it lasts its day (section 9.9); Radicale takes a series of such days for moments.
            lines += dice.choice(([f"DTEND;VALUE=DATE:{begin + timedelta(days=2):%Y%m%d}"], ["DURATION:P1D"]))
        elif form == "zone":
            lines += [f"DTSTART;TZID=Europe/Paris:{begin:%Y%m%dT%H%M%S}"]
            lines += [f"DTEND;TZID=Europe/Paris:{begin + timedelta(hours=hours):%Y%m%dT%H%M%S}"]
        else:
            lines += [f"DTSTART:{utc(begin)}"]
            lines += dice.choice(([f"DTEND:{utc(begin + timedelta(hours=hours))}"], [f"DURATION:PT{hours}H"]))
        rules = ("FREQ=WEEKLY;COUNT=5", "FREQ=DAILY;INTERVAL=3", "FREQ=MONTHLY;BYDAY=1MO;COUNT=6", "FREQ=YEARLY")
        # Radicale repeats in UTC what repeats on the wall: an hour off in the other half of the year.
        if form != "zone" and dice.random() < 0.6:
            lines.append(f"RRULE:{dice.choice(rules)}")
        if dice.random() < 0.3:
            lines.append(f"LOCATION:Salle {dice.randrange(5)}")
        if dice.random() < 0.3:
            lines.append(
                f"ATTENDEE;PARTSTAT={dice.choice(('ACCEPTED', 'DECLINED'))};CN=X:mailto:p{dice.randrange(3)}@e.example"
            )
        if dice.random() < 0.3:
            lines.append(f"CATEGORIES:{dice.choice(WORDS)},école")
        yield f"{number}.ics", calendar("VEVENT", lines)


def calendar(kind: str, lines: list[str]) -> str:
    return "\r\n".join(
        ["BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//t//t", f"BEGIN:{kind}", *lines, f"END:{kind}", "END:VCALENDAR", ""]
    )


def cards(dice: random.Random) -> Iterator[tuple[str, str]]:
    """(name, card)."""
    for number in range(80):
        lines = ["BEGIN:VCARD", "VERSION:3.0", f"UID:{number}", f"FN:{dice.choice(WORDS)} {dice.choice(WORDS)}", "N:x;;;;"]
        for _ in range(dice.randrange(3)):
            kind = dice.choice(("HOME", "WORK", "home"))
            lines.append(f"EMAIL;TYPE={kind}:{dice.choice(WORDS).lower()}@{dice.choice(('ecole', 'maison'))}.example")
        if dice.random() < 0.4:
            lines.append(f"NICKNAME:{dice.choice(WORDS)}")
        if dice.random() < 0.4:
            lines.append(f"item1.TEL;TYPE=CELL:+33 6 {dice.randrange(100)}")
        yield f"{number}.vcf", "\r\n".join([*lines, "END:VCARD", ""])


class Both:
    """Ours and Radicale with the same in them."""

    def __init__(self, ours: World, radicale: RadicaleApp) -> None:
        """Nothing is there yet."""
        self.ours = ours
        self.radicale = radicale
        body = "<C:mkcalendar xmlns:C='urn:ietf:params:xml:ns:caldav'/>"
        assert radicale.request("MKCALENDAR", f"/{USER}/calendar/", body)[0] == 201
        body = (
            f"<D:mkcol {NAMESPACES}><D:set><D:prop><D:resourcetype><D:collection/><CR:addressbook/></D:resourcetype></D:prop>"
            "</D:set></D:mkcol>"
        )
        assert radicale.request("MKCOL", f"/{USER}/contacts/", body)[0] == 201

    def put(self, kind: str, name: str, text: str) -> None:
        """Into both."""
        media = "text/calendar" if kind == "calendar" else "text/vcard"
        assert self.ours.request("PUT", (CALENDAR if kind == "calendar" else BOOK) + name, text).status == 201
        status, told = self.radicale.request("PUT", f"/{USER}/{kind}/{name}", text, content_type=media)
        assert status == 201, told

    def compare(self, kind: str, body: str) -> set[str]:
        """What both find."""
        path = CALENDAR if kind == "calendar" else BOOK
        answer = self.ours.request("REPORT", path, body, {"Depth": "1"})
        ours = {href.rsplit("/", 1)[1] for href in answer.responses()}
        theirs = self.radicale.found(f"/{USER}/{kind}/", body)
        assert ours == theirs, f"ours alone {sorted(ours - theirs)}, Radicale alone {sorted(theirs - ours)}: {body}"
        return ours


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    """Filled with what a fixed seed makes."""
    dice = random.Random(26)
    with dav_world((Calendars(), AddressBooks())) as ours:
        pair = Both(ours, RadicaleApp(tmp_path_factory.mktemp("radicale")))
        for name, text in objects(dice):
            pair.put("calendar", name, text)
        for name, text in cards(dice):
            pair.put("contacts", name, text)
        yield pair


def calendar_query(inner: str) -> str:
    return (
        f"<C:calendar-query {NAMESPACES}><D:prop><D:getetag/></D:prop><C:filter><C:comp-filter name='VCALENDAR'>"
        f"<C:comp-filter name='VEVENT'>{inner}</C:comp-filter></C:comp-filter></C:filter></C:calendar-query>"
    )


def test_time_ranges(both: Both) -> None:
    dice = random.Random(4791)
    found = 0
    for _ in range(40):
        begin = FIRST + timedelta(minutes=dice.randrange(60 * 24 * 400) - 60 * 24 * 30)
        length = dice.choice((timedelta(minutes=30), timedelta(days=1), timedelta(days=7), timedelta(days=31)))
        found += len(
            both.compare("calendar", calendar_query(f"<C:time-range start='{utc(begin)}' end='{utc(begin + length)}'/>"))
        )
    assert found > 100


@pytest.mark.parametrize(
    "inner",
    [
        "<C:prop-filter name='LOCATION'/>",
        "<C:prop-filter name='LOCATION'><C:is-not-defined/></C:prop-filter>",
        "<C:prop-filter name='SUMMARY'><C:text-match>sortie</C:text-match></C:prop-filter>",
        "<C:prop-filter name='SUMMARY'><C:text-match>SORTIE</C:text-match></C:prop-filter>",
        "<C:prop-filter name='SUMMARY'><C:text-match negate-condition='yes'>conseil</C:text-match></C:prop-filter>",
        "<C:prop-filter name='CATEGORIES'><C:text-match>école</C:text-match></C:prop-filter>",
        "<C:prop-filter name='ATTENDEE'><C:text-match>p1@</C:text-match></C:prop-filter>",
        "<C:prop-filter name='ATTENDEE'><C:param-filter name='PARTSTAT'><C:text-match>DECLINED</C:text-match></C:param-filter>"
        "</C:prop-filter>",
        "<C:prop-filter name='ATTENDEE'><C:param-filter name='ROLE'><C:is-not-defined/></C:param-filter></C:prop-filter>",
        "<C:prop-filter name='LOCATION'><C:text-match>Salle 1</C:text-match></C:prop-filter><C:prop-filter name='ATTENDEE'/>",
        "<C:comp-filter name='VALARM'><C:is-not-defined/></C:comp-filter>",
        "",
    ],
)
def test_filters_of_calendars(both: Both, inner: str) -> None:
    both.compare("calendar", calendar_query(inner))


@pytest.mark.parametrize(
    ("filters", "test"),
    [
        ("<CR:prop-filter name='NICKNAME'/>", "anyof"),
        ("<CR:prop-filter name='NICKNAME'><CR:is-not-defined/></CR:prop-filter>", "anyof"),
        ("<CR:prop-filter name='FN'><CR:text-match>sortie</CR:text-match></CR:prop-filter>", "anyof"),
        ("<CR:prop-filter name='FN'><CR:text-match match-type='starts-with'>conseil</CR:text-match></CR:prop-filter>", "anyof"),
        (
            "<CR:prop-filter name='EMAIL'><CR:text-match match-type='ends-with'>@ecole.example</CR:text-match>"
            "</CR:prop-filter>",
            "anyof",
        ),
        (
            "<CR:prop-filter name='NICKNAME'><CR:text-match match-type='equals'>parents</CR:text-match></CR:prop-filter>",
            "anyof",
        ),
        ("<CR:prop-filter name='NICKNAME'/><CR:prop-filter name='TEL'/>", "allof"),
        ("<CR:prop-filter name='NICKNAME'/><CR:prop-filter name='TEL'/>", "anyof"),
    ],
)
def test_filters_of_address_books(both: Both, filters: str, test: str) -> None:
    body = (
        f"<CR:addressbook-query {NAMESPACES}><D:prop><D:getetag/></D:prop><CR:filter test='{test}'>{filters}</CR:filter>"
        "</CR:addressbook-query>"
    )
    assert both.compare("contacts", body)
