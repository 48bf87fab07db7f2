"""Made-up calendar objects and when they take place, by definition (RFC 5545 section 3.8.5): oracle of series as a whole.

A plan is what a writer meant; `text` is what it wrote; `expected` goes through the rule oracle and zoneinfo, and shares no code
with the package.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Literal
from zoneinfo import ZoneInfo

from rule_oracle import WINDOWS, OracleRule, occurrences, random_rule, random_start

ZONES = ("Europe/Paris", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata", "America/Sao_Paulo", "Pacific/Apia")
FLOATING = "Pacific/Auckland"
"""The zone of the calendar, in which floating times are told."""
_UNSET = datetime(1970, 1, 1, tzinfo=UTC)
ALARMS = (
    "TRIGGER:-PT15M",
    "TRIGGER;RELATED=END:PT1H\r\nREPEAT:3\r\nDURATION:P1D",
    "TRIGGER:-P7D",
    "TRIGGER;VALUE=DATE-TIME:20200101T000000Z",
    "TRIGGER;RELATED=END:-P1DT1H",
    "TRIGGER:P3W\r\nREPEAT:2\r\nDURATION:PT5M",
    "TRIGGER:PT0S",
)
Form = Literal["zone", "utc", "floating", "date"]


@dataclass
class Override:
    """Stands in for the instance at `original`; times on the wall of its own zone."""

    original: datetime
    start: datetime
    length: timedelta
    ranged: bool = False
    zone: str = ""


@dataclass
class Plan:
    """One event. Times are on the wall of its zone, marked UTC for want of a naive type."""

    form: Form
    zone: str
    start: datetime
    length: timedelta
    nominal: bool
    rule: OracleRule | None = None
    count: int = 0
    until: datetime | None = None
    until_form: Form = "utc"
    exrule: OracleRule | None = None
    listed: list[tuple[datetime, timedelta | None]] = field(default_factory=list)
    excluded: list[datetime] = field(default_factory=list)
    overrides: list[Override] = field(default_factory=list)
    without_master: bool = False
    alarms: list[str] = field(default_factory=list)
    window: tuple[datetime, datetime] = (_UNSET, _UNSET)

    def utc(self, wall: datetime, zone: str = "") -> datetime:
        """Skipped times with the offset before, those that come twice the first (RFC 5545 section 3.3.5): fold 0."""
        return wall.replace(tzinfo=ZoneInfo(zone or self.zone)).astimezone(UTC)

    def value(self, name: str, wall: datetime, parameters: str = "") -> str:
        """A line with this time in the form of the event."""
        return f"{name}{_parameter(self.form, self.zone)}{parameters}:{_told(self.form, wall)}\r\n"

    def text(self) -> str:
        """The object."""
        lines = ["BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//a//b//EN\r\n"]
        if not self.without_master:
            lines += ["BEGIN:VEVENT\r\nUID:plan\r\nDTSTAMP:20260101T000000Z\r\n", self.value("DTSTART", self.start), self.end()]
            if self.rule is not None:
                limit = f";COUNT={self.count}" if self.count else ""
                if self.until is not None:
                    until = self.utc(self.until) if self.until_form == "utc" else self.until
                    limit = f";UNTIL={_told(self.until_form, until)}"
                lines.append(f"RRULE:{self.rule.text()}{limit}\r\n")
            if self.exrule is not None:
                lines.append(f"EXRULE:{self.exrule.text()}\r\n")
            for wall, length in self.listed:
                if length is None:
                    lines.append(self.value("RDATE", wall, ";VALUE=DATE" if self.form == "date" else ""))
                else:
                    period = f"{_told(self.form, wall)}/PT{int(length.total_seconds())}S"
                    lines.append(f"RDATE;VALUE=PERIOD{_parameter(self.form, self.zone)}:{period}\r\n")
            lines += [self.value("EXDATE", wall) for wall in self.excluded]
            lines.append(f"SUMMARY:master\r\n{self.alarm_text()}END:VEVENT\r\n")
        for one in self.overrides:
            lines += ["BEGIN:VEVENT\r\nUID:plan\r\nDTSTAMP:20260101T000000Z\r\n"]
            lines.append(self.value("RECURRENCE-ID", one.original, ";RANGE=THISANDFUTURE" if one.ranged else ""))
            zone = one.zone or self.zone
            lines.append(f"DTSTART{_parameter(self.form, zone)}:{_told(self.form, one.start)}\r\n")
            lines.append(f"DURATION:{_duration(one.length)}\r\nSUMMARY:override\r\n{self.alarm_text()}END:VEVENT\r\n")
        return "".join([*lines, "END:VCALENDAR\r\n"])

    def alarm_text(self) -> str:
        """The VALARMs of each component."""
        return "".join(f"BEGIN:VALARM\r\nACTION:DISPLAY\r\n{each}\r\nEND:VALARM\r\n" for each in self.alarms)

    def end(self) -> str:
        """DTEND for an exact length, DURATION for a nominal one, nothing for none."""
        if not self.length:
            return ""
        if self.nominal:
            return f"DURATION:{_duration(self.length)}\r\n"
        if self.form == "date":
            return self.value("DTEND", self.start + self.length)
        end = self.utc(self.start) + self.length
        wall = end.astimezone(ZoneInfo(self.zone)).replace(tzinfo=UTC, fold=0)
        # What the wall tells twice needs UTC.
        return self.value("DTEND", wall) if self.utc(wall) == end else f"DTEND:{_told('utc', end)}\r\n"

    def span(self, wall: datetime, length: timedelta, *, nominal: bool, zone: str = "") -> tuple[datetime, datetime]:
        """[start, end) in UTC. Days of a nominal length are days on the wall (RFC 5545 sections 3.3.6 and 3.8.5.3)."""
        start = self.utc(wall, zone)
        if self.form == "date":
            return start, self.utc(wall + (length or timedelta(days=1)), zone)
        if nominal and length.days:
            return start, self.utc(wall + timedelta(days=length.days), zone) + timedelta(seconds=length.seconds)
        return start, start + length

    def originals(self) -> dict[datetime, timedelta | None]:
        """Walls of all instances of the series near the window (overridden ones too), with the length that RDATE gives."""
        begin, end = self.window
        walls: set[datetime] = {self.start}
        if self.rule is not None:
            if self.count:
                everything = sorted({self.start, *occurrences(self.rule, self.start, self.start, end)})
                walls |= set(everything[: self.count])
            else:
                walls |= set(occurrences(self.rule, self.start, max(begin, self.start), end))
            if self.until is not None:
                last = self.until + timedelta(days=1, seconds=-1) if self.until_form == "date" else self.until
                limit = self.utc(last)
                walls = {wall for wall in walls if wall == self.start or self.utc(wall) <= limit}
        found: dict[datetime, timedelta | None] = dict.fromkeys(walls)
        found.update(self.listed)
        if self.exrule is not None:
            gone = set(occurrences(self.exrule, self.start, max(begin, self.start), end))
            gone -= {self.start, *dict(self.listed)}
            found = {wall: length for wall, length in found.items() if wall not in gone}
        # Walls that a gap makes one moment are one instance.
        gone_moments = {self.utc(wall) for wall in self.excluded}
        return {wall: length for wall, length in found.items() if self.utc(wall) not in gone_moments}

    def expected(self) -> set[tuple[datetime, datetime, datetime, str]]:
        """(start, end, original, which) in UTC of every instance whose original is in the window."""
        told: dict[datetime, tuple[datetime, datetime, datetime, str]] = {}
        taken = {self.utc(one.original) for one in self.overrides}
        ranged = sorted((one for one in self.overrides if one.ranged), key=lambda one: one.original)
        listed = dict(self.listed)
        for wall, length in sorted(self.originals().items()) if not self.without_master else ():
            original = self.utc(wall)
            if original in taken or (original in told and length is None):
                continue
            if wall in listed:
                # A listed time is one moment, and its days begin there, also where clocks skip what was written.
                wall = original.astimezone(ZoneInfo(self.zone)).replace(tzinfo=UTC, fold=0)
            segment = next((one for one in reversed(ranged) if one.original <= wall), None)
            if segment is None:
                span = self.span(wall, length if length is not None else self.length, nominal=length is None and self.nominal)
                told[original] = (*span, original, "master")
            else:
                moved = wall + (segment.start - segment.original)
                told[original] = (*self.span(moved, segment.length, nominal=True), original, "override")
        found = set(told.values())
        for one in self.overrides:
            span = self.span(one.start, one.length, nominal=True, zone=one.zone)
            found.add((*span, self.utc(one.original), "override"))
        return found


def _parameter(form: Form, zone: str) -> str:
    return f";TZID={zone}" if form == "zone" else ";VALUE=DATE" if form == "date" else ""


def _told(form: Form, wall: datetime) -> str:
    return wall.strftime("%Y%m%d" if form == "date" else "%Y%m%dT%H%M%SZ" if form == "utc" else "%Y%m%dT%H%M%S")


def _duration(length: timedelta) -> str:
    days = f"{length.days}D" if length.days else ""
    return f"P{days}T{length.seconds}S" if length.seconds or not days else f"P{days}"


def random_plan(random: Random, *, peer: bool = False) -> Plan:
    """A plan; with `peer`, without what others cannot do.

    Hours and less, several times a day, EXRULE, an UNTIL of another form than DTSTART, a DTSTART that its rule does not yield.
    """
    form: Form = random.choice(("zone", "zone", "zone", "utc", "floating", "date"))
    zone = {"zone": random.choice(ZONES), "utc": "UTC", "floating": FLOATING, "date": FLOATING}[form]
    start = random_start(random).replace(year=random.randint(1975, 2030), day=random.randint(1, 28))
    if form == "date":
        start = start.replace(hour=0, minute=0, second=0)
    elif random.random() < 0.3:
        # In the hours that clocks skip or tell twice, somewhere.
        start = start.replace(hour=random.choice((1, 2, 3)), minute=30, second=0)
    length = random.choice(
        (timedelta(0), timedelta(hours=1), timedelta(minutes=90), timedelta(days=1), timedelta(days=2, hours=3))
    )
    if form == "date":
        length = timedelta(days=random.choice((0, 1, 2, 7)))
    plan = Plan(form, zone, start, length, nominal=random.random() < 0.5)
    if random.random() < 0.9:
        plan.rule = _rule(random, form, peer=peer)
        if peer:
            own = occurrences(plan.rule, start, start, start + WINDOWS[plan.rule.frequency])
            plan.start = own[0] if own else start
        plan.window = _window(random, plan.rule, plan.start)
        _limit(random, plan, peer=peer)
        if not peer and random.random() < 0.15:
            exrule = _rule(random, form, peer=peer)
            # One that is asked for as much of time as the rule is.
            plan.exrule = exrule if WINDOWS[exrule.frequency] >= WINDOWS[plan.rule.frequency] else None
    else:
        plan.window = (start, start + timedelta(days=400))
    _changes(random, plan)
    plan.alarms = random.sample(ALARMS, random.choice((0, 0, 1, 2)))
    return plan


def _rule(random: Random, form: Form, *, peer: bool) -> OracleRule:
    while True:
        rule = random_rule(random)
        if rule.frequency in ("SECONDLY", "MINUTELY", "HOURLY") and (peer or form == "date" or random.random() < 0.6):
            continue
        if form == "date" and {"BYHOUR", "BYMINUTE", "BYSECOND"} & set(rule.by):
            continue
        times = [max(1, len(rule.by.get(name, []))) for name in ("BYHOUR", "BYMINUTE", "BYSECOND")]
        if times[0] * times[1] * times[2] < (2 if peer else 9):
            return rule


def _window(random: Random, rule: OracleRule, start: datetime) -> tuple[datetime, datetime]:
    length = WINDOWS[rule.frequency] / 2
    if random.random() < 0.4:
        start += timedelta(days=random.randrange(10_000))
    return start, start + length


def _limit(random: Random, plan: Plan, *, peer: bool) -> None:
    begin, end = plan.window
    choice = random.random()
    if choice < 0.25 and begin == plan.start:
        plan.count = random.randint(1, 40)
    elif choice < 0.5:
        plan.until = begin + (end - begin) * random.random()
        plan.until = max(plan.start, plan.until.replace(microsecond=0))
        if plan.form == "date":
            plan.until, plan.until_form = plan.until.replace(hour=0, minute=0, second=0), "date"
        else:
            plan.until_form = (
                ("floating" if plan.form == "floating" else "utc") if peer else random.choice(("utc", "date", "floating"))
            )
            if plan.until_form == "date":
                plan.until = plan.until.replace(hour=0, minute=0, second=0)


def _changes(random: Random, plan: Plan) -> None:
    walls = [wall for wall in sorted(plan.originals()) if plan.window[0] <= wall < plan.window[1]]
    some = random.sample(walls, min(len(walls), random.choice((0, 1, 3, 6))))
    day = timedelta(days=1)
    for _ in range(random.choice((0, 0, 1, 3))):
        wall = plan.window[0] + random.randrange(1, 60) * day
        if wall > plan.start and wall < plan.window[1] and wall not in dict(plan.listed):
            period = timedelta(minutes=45) if plan.form != "date" and random.random() < 0.4 else None
            plan.listed.append((wall, period))
    ranged_left = 2 if random.random() < 0.3 else 0
    for wall in some:
        if random.random() < 0.5:
            plan.excluded.append(wall)
            continue
        moved = random.choice((0, 1, -1, 5)) * (day if plan.form == "date" else timedelta(hours=random.randint(1, 9)))
        length = random.choice((timedelta(days=1), timedelta(days=3) if plan.form == "date" else timedelta(minutes=20)))
        ranged = ranged_left > 0 and random.random() < 0.5
        ranged_left -= ranged
        zone = random.choice(ZONES) if plan.form == "zone" and not ranged and random.random() < 0.2 else ""
        plan.overrides.append(Override(wall, wall + moved, length, ranged, zone))
    plan.without_master = bool(plan.overrides) and random.random() < 0.15
    taken = {plan.utc(one.original) for one in plan.overrides}
    plan.excluded = [wall for wall in plan.excluded if plan.utc(wall) not in taken]
