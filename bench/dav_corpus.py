"""A deterministic corpus of calendars and address books: the same number gives the same octets on every machine.

What a school's people keep: two events in three stand alone, one in three is a series (lessons until the end of the school
year, some without an end, some with exceptions and moved instances); all in Europe/Paris with its VTIMEZONE, with alarms,
attendees and French text: 0.8 to 2 KiB, with exceptions up to 6, 1.5 on average. Of the cards one in five has a photo of 5
to 20 KiB. Line ends are CRLF.

The UIDs are such that every server can make its file name of them: all get the same hrefs.
"""

from __future__ import annotations

import base64
import random
from collections.abc import Iterator
from datetime import date, datetime, time, timedelta

FIRST_YEAR, YEARS = 2022, 5
MONTH = ("20261101T000000Z", "20261201T000000Z")
"""The month that queries ask for: the last whole one that the corpus has much of."""
RARE = "lefevre.19"
"""What addressbook-query looks for in EMAIL."""

_WORDS = [
    "réunion", "conseil", "classe", "salle", "polyvalente", "bulletin", "trimestre", "échéancier", "inscription",
    "sortie", "scolaire", "musée", "élèves", "accompagnateurs", "collège", "absences", "cinquième", "équipe",
    "pédagogique", "rendez-vous", "parents", "certificat", "scolarité", "secrétariat", "merci", "de", "confirmer",
    "votre", "présence", "avant", "mercredi", "soir", "prévoir", "les", "documents", "joints", "et", "la", "liste",
    "des", "participants", "au", "projet",
]  # fmt: skip
_SUBJECTS = [
    "Conseil de classe 5e B", "Cours de mathématiques", "Sortie au musée", "Réunion d'équipe", "Rendez-vous parents",
    "Surveillance du réfectoire", "Atelier théâtre", "Chorale", "Formation sécurité", "Commission éducative",
]  # fmt: skip
_PLACES = ["Salle 12", "Salle polyvalente", "CDI", "Gymnase", "Bureau de la direction", "Amphithéâtre, bâtiment C"]
_NAMES = [
    ("Durand", "Marie"), ("Bernard", "Paul"), ("Petit", "Léa"), ("Lefèvre", "Hélène"), ("Noël", "Jean-François"),
    ("Rousseau", "Amélie"), ("Dubois", "Olivier"), ("Cohen", "Sarah"), ("Martin", "Thomas"), ("Garcia", "Inès"),
]  # fmt: skip
_PLAIN = str.maketrans("éèëïç", "eeeic")
_DAYS = ["MO", "TU", "WE", "TH", "FR"]
ZONE = """BEGIN:VTIMEZONE
TZID:Europe/Paris
BEGIN:DAYLIGHT
TZOFFSETFROM:+0100
TZOFFSETTO:+0200
TZNAME:CEST
DTSTART:19700329T020000
RRULE:FREQ=YEARLY;BYMONTH=3;BYDAY=-1SU
END:DAYLIGHT
BEGIN:STANDARD
TZOFFSETFROM:+0200
TZOFFSETTO:+0100
TZNAME:CET
DTSTART:19701025T030000
RRULE:FREQ=YEARLY;BYMONTH=10;BYDAY=-1SU
END:STANDARD
END:VTIMEZONE""".splitlines()
"""Europe/Paris as a VTIMEZONE."""


def _text(rng: random.Random, most: int) -> str:
    return " ".join(rng.choices(_WORDS, k=rng.randrange(5, most))).capitalize() + "."


def _folded(lines: list[str]) -> bytes:
    """Content lines, folded at 75 octets (RFC 5545 section 3.1)."""
    whole = []
    for line in lines:
        octets = line.encode()
        begin, room = 0, 75
        pieces = []
        while len(octets) - begin > room:
            end = begin + room
            while octets[end] & 0xC0 == 0x80:
                end -= 1
            pieces.append(octets[begin:end])
            begin, room = end, 74
        pieces.append(octets[begin:])
        whole.append(b"\r\n ".join(pieces))
    return b"\r\n".join(whole) + b"\r\n"


def _address(rng: random.Random) -> tuple[str, str]:
    family, given = rng.choice(_NAMES)
    local = f"{given}.{family}".lower().translate(_PLAIN)
    return f"{given} {family}", f"{local}@college-demo.example"


def _stamp(moment: datetime) -> str:
    return moment.strftime("%Y%m%dT%H%M%S")


def _zoned(name: str, moment: datetime) -> str:
    return f"{name};TZID=Europe/Paris:{_stamp(moment)}"


def event_uid(number: int) -> str:
    """The UID of an event; its href is this and `.ics`."""
    return f"evenement-{number:05}-{number * 2654435761 % 2**32:08x}"


def event(number: int, turn: int = 0) -> bytes:
    """Event `number` as an iCalendar object. `turn`: a later version of it, which differs in its text."""
    rng = random.Random(number * 7919 + 1)
    series = number % 3 == 0
    # A series begins in its school year, what stands alone on any day.
    year = FIRST_YEAR + rng.randrange(YEARS)
    day = date(year, 9, 1) + timedelta(rng.randrange(60)) if series else date(year, 1, 1) + timedelta(rng.randrange(365))
    day -= timedelta(max(0, day.weekday() - 4))
    begin = datetime.combine(day, time(rng.randrange(8, 18), rng.choice([0, 15, 30, 45])))
    minutes = rng.choice([30, 55, 60, 90, 120])
    # The first lines are of the whole event: an override has them too.
    common = [f"UID:{event_uid(number)}", "DTSTAMP:20260915T080000Z", f"LAST-MODIFIED:20260915T0800{turn % 60:02}Z"]
    about = [f"SUMMARY:{rng.choice(_SUBJECTS)}", f"LOCATION:{rng.choice(_PLACES)}".replace(",", "\\,")]
    about += [f"DESCRIPTION:{_text(rng, 60)}\\n{_text(rng, 20)} ({turn})", f"CATEGORIES:{rng.choice(['Cours', 'Réunion'])}"]
    about += [f"SEQUENCE:{turn}", "STATUS:CONFIRMED", "TRANSP:OPAQUE", "CLASS:PUBLIC"]
    people = []
    if rng.random() < 0.4:
        name, address = _address(rng)
        people.append(f"ORGANIZER;CN={name}:mailto:{address}")
        for _ in range(rng.randrange(1, 6)):
            name, address = _address(rng)
            people.append(f"ATTENDEE;CN={name};ROLE=REQ-PARTICIPANT;PARTSTAT=ACCEPTED;RSVP=TRUE:mailto:{address}")
    alarm = []
    if rng.random() < 0.6:
        trigger = f"TRIGGER:-PT{rng.choice([5, 15, 30, 60])}M"
        alarm = ["BEGIN:VALARM", "ACTION:DISPLAY", trigger, "DESCRIPTION:Rappel", "END:VALARM"]

    def component(start: datetime, more: list[str]) -> list[str]:
        times = [_zoned("DTSTART", start), _zoned("DTEND", start + timedelta(minutes=minutes))]
        return ["BEGIN:VEVENT", *common, *times, *more, *about, *people, *alarm, "END:VEVENT"]

    components = component(begin, _recurrence(rng, begin) if series else [])
    if series and rng.random() < 0.25:
        for week in rng.sample((2, 4), rng.choice([1, 1, 2])):  # an instance even where it is every second week
            instance = begin + timedelta(weeks=week)
            components += component(instance + timedelta(hours=1), [_zoned("RECURRENCE-ID", instance)])
    head = ["BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//College//Agenda 4.2//FR", *ZONE]
    return _folded([*head, *components, "END:VCALENDAR"])


def _recurrence(rng: random.Random, begin: datetime) -> list[str]:
    """Weekly on the day it begins (so that overrides can name an instance), or more rarely by day of the month."""
    shape = rng.random()
    weekly = f"RRULE:FREQ=WEEKLY;BYDAY={_DAYS[begin.weekday()]}"
    lines = [f"{weekly};COUNT={rng.randrange(6, 30)}"]
    if 0.35 <= shape < 0.75:
        lines = [f"{weekly};UNTIL={begin.year + 1}0705T215959Z"]
    elif 0.75 <= shape < 0.85:
        lines = [weekly]
    elif shape >= 0.85:
        lines = [f"{weekly};INTERVAL=2;COUNT={rng.randrange(8, 18)}"]
    if rng.random() < 0.3:
        step = 14 if shape >= 0.85 else 7
        lines.append(_zoned("EXDATE", begin + timedelta(step * rng.randrange(5, 8))))
    return lines


def events(count: int, first: int = 0) -> Iterator[tuple[str, bytes]]:
    """(href, octets) of `count` events."""
    return ((f"{event_uid(number)}.ics", event(number)) for number in range(first, first + count))


def card_uid(number: int) -> str:
    """The UID of a card; its href is this and `.vcf`."""
    return f"fiche-{number:05}-{number * 2246822519 % 2**32:08x}"


def card(number: int) -> bytes:
    """Card `number`, vCard 3.0."""
    rng = random.Random(number * 104_729 + 2)
    family, given = rng.choice(_NAMES)
    local = f"{given}.{family}.{number}".lower().translate(_PLAIN)
    lines = ["BEGIN:VCARD", "VERSION:3.0", "PRODID:-//College//Contacts 4.2//FR", f"UID:{card_uid(number)}"]
    lines += [f"FN:{given} {family}", f"N:{family};{given};;;", f"EMAIL;TYPE=WORK:{local}@college-demo.example"]
    if rng.random() < 0.4:
        lines.append(f"EMAIL;TYPE=HOME:{local}@parents.example.net")
    lines += [f"TEL;TYPE=CELL:+33 6 {rng.randrange(10, 99)} {rng.randrange(10, 99)} {rng.randrange(10, 99)} 00"]
    lines += ["ORG:Collège de démonstration;Administration", f"TITLE:{rng.choice(_WORDS)}"]
    lines += [f"ADR;TYPE=WORK:;;{rng.randrange(1, 200)} rue de l'École;Lyon;;69001;France", "REV:20260915T080000Z"]
    if rng.random() < 0.5:
        lines.append(f"NOTE:{_text(rng, 40)}")
    if rng.random() < 0.2:
        photo = base64.b64encode(rng.randbytes(rng.randrange(5_120, 20_480))).decode("ascii")
        lines.append(f"PHOTO;ENCODING=b;TYPE=JPEG:{photo}")
    return _folded([*lines, "END:VCARD"])


def cards(count: int, first: int = 0) -> Iterator[tuple[str, bytes]]:
    """(href, octets) of `count` cards."""
    return ((f"{card_uid(number)}.vcf", card(number)) for number in range(first, first + count))
