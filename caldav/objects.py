"""Objects of a calendar that a range or a query is asked of: from the index where it decides, else read, a batch at a time.

What recurs is asked again and again, month after month: its parsed object is remembered for as long as the account is open
here, so that the keys and what they open go together.

Owns what is read and remembered. What matches is query.py's.
"""

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from datetime import tzinfo
from itertools import islice
from weakref import WeakKeyDictionary

from ..dav.items import read_each
from ..formats.calendar_times import times_of
from ..formats.calendar_values import parse_moment, utc_of
from ..formats.icalendar import CalendarObject, InvalidCalendar, read_calendar_object
from ..formats.recurrence import instances
from ..formats.timezones import Zones
from ..storage.api import Account, CollectionId, Href, Item
from .filters import TimeRange

_BATCH = 200
_REMEMBERED = 3_500  # objects of an account, with their series some 20 KiB each


class Objects:
    """One for all of a process."""

    def __init__(self) -> None:
        """Nothing is known yet."""
        self._known: WeakKeyDictionary[Account, OrderedDict[tuple[int, str], tuple[str, CalendarObject]]] = WeakKeyDictionary()

    def read(
        self, account: Account, collection: CollectionId, items: Sequence[Item]
    ) -> Iterator[tuple[Item, CalendarObject | None, bytes | None]]:
        """(item, object, octets where they were read), a batch at a time as it is drawn; what is gone by then is left out.

        No object: the item is there and cannot be read.
        """
        known = self._known.setdefault(account, OrderedDict())
        waiting = iter(items)
        while batch := list(islice(waiting, _BATCH)):
            missing = []
            for item in batch:
                key = (collection, item.href)
                found = known.get(key)
                if found is not None and found[0] == item.etag:
                    known.move_to_end(key)
                    yield item, found[1], None
                else:
                    missing.append(item.href)
            if missing:
                yield from self._read(account, collection, missing, known)

    def _read(
        self,
        account: Account,
        collection: CollectionId,
        hrefs: Sequence[Href],
        known: "OrderedDict[tuple[int, str], tuple[str, CalendarObject]]",
    ) -> Iterator[tuple[Item, CalendarObject | None, bytes | None]]:
        for item, data in read_each(account.collections, collection, hrefs):
            if data is None:
                yield item, None, None
                continue
            try:
                obj = read_calendar_object(data)
            except InvalidCalendar:
                continue  # what another program left in the store: it has no times to be found by
            if item.facts.recurs:
                known[collection, item.href] = (item.etag, obj)
                if len(known) > _REMEMBERED:
                    known.popitem(last=False)
            yield item, obj, data


# ---------------------------------------------------------------------------------------------------------------------
# When one takes place that does not recur: ItemFacts.text is `u FIRST LAST` (UTC seconds) or `w FIRST LAST` (on the wall)


def render_span(obj: CalendarObject) -> str:
    """What the index keeps of an object that takes place once, empty where it cannot be said in two numbers."""
    master = obj.master
    if master is None or obj.overrides or any(line.name in ("RRULE", "RDATE") for line in master.lines):
        return ""
    zones = Zones(obj.zones)
    times = times_of(master, zones)
    if times is None:
        return ""
    form = "u"
    if times.floating or times.all_day:
        form = "w"
        for name in ("DTSTART", "DTEND", "DUE"):
            line = master.line(name)
            moment = None if line is None else parse_moment(line.value)
            if line is not None and (moment is None or moment.form == "utc" or line.parameter("TZID")):
                return ""
    for instance in instances(obj, None, None, default_zone=zones.floating):
        return f"{form} {instance.first} {instance.last}"
    return ""


def is_in(span: str, asked: TimeRange, zone: tzinfo) -> bool:
    """Whether what `render_span` wrote touches a range."""
    form, first_text, last_text = span.split(" ")
    first, last = int(first_text), int(last_text)
    if form == "w":
        first, last = utc_of(first, zone), utc_of(last, zone)
    return (asked.end is None or first < asked.end) and (asked.start is None or last > asked.start)
