"""python-caldav and caldav-server-tester, neither of them ours, against an instance over TLS."""

import importlib
import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from dav_site import ANA, Site, dav_site
from programs import private

pytestmark = pytest.mark.conformance

caldav: Any = importlib.import_module("caldav")  # by its name: a folder of ours is called so, too


BEGIN = datetime(2026, 11, 23, 8, tzinfo=UTC)  # a Monday
NOT_THERE = {
    "scheduling": "unsupported",  # invitations by the server come later
    "search.text.comp-type-optional": "unsupported",  # properties of VCALENDAR are no properties of events
    "search.time-range.comp-type-optional": "unsupported",  # RFC 4791 section 9.7.1: a time-range stands in a component
    "url.encode-at.identity": "unsupported",  # the tester cannot tell: `@` and `%40` are one name here
    "well-known": "unknown",  # not asked of localhost
}
"""What the tester finds less than full."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Ana's calendars."""
    with dav_site(tmp_path_factory.mktemp("caldav") / "i") as one:
        yield one


@pytest.fixture
def principal(site: Site) -> Iterator[Any]:
    """Ana, found from the address of the server alone."""
    with caldav.DAVClient(site.url, username=ANA, password=site.password, ssl_verify_cert=str(site.ca)) as client:
        yield client.principal()


def test_the_server_tester_finds_no_more_missing_than_we_say(site: Site, tmp_path: Path) -> None:
    settings = {
        "caldav_url": site.url,
        "caldav_username": ANA,
        "caldav_password": site.password,
        "ssl_verify_cert": str(site.ca),
    }
    file = private(tmp_path / "caldav.json", json.dumps({"default": settings}))
    command = [str(Path(sys.executable).with_name("caldav-server-tester")), "--format", "json"]
    done = subprocess.run(
        command, env={"CALDAV_CONFIG_FILE": str(file)}, capture_output=True, text=True, timeout=300, check=False, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr[-2_000:]
    found = {
        name: one if isinstance(one, str) else one.get("support") for name, one in json.loads(done.stdout)["features"].items()
    }
    less = {name: support for name, support in found.items() if support not in ("full", None)}
    assert less == NOT_THERE


def test_a_calendar_is_made_filled_and_searched(principal: Any) -> None:
    calendar = principal.make_calendar(name="Sorties", supported_calendar_component_set=["VEVENT"])
    event = calendar.add_event(
        dtstart=BEGIN, dtend=BEGIN + timedelta(hours=1), summary="Musée", rrule={"FREQ": "WEEKLY", "COUNT": 4}
    )
    calendar.add_event(dtstart=BEGIN + timedelta(days=40), dtend=BEGIN + timedelta(days=41), summary="Vacances")
    weeks = calendar.search(event=True, start=BEGIN + timedelta(days=6), end=BEGIN + timedelta(days=15), expand=True)
    assert [each.icalendar_component["dtstart"].dt for each in weeks] == [BEGIN + timedelta(days=7), BEGIN + timedelta(days=14)]
    assert [each.icalendar_component["summary"] for each in calendar.search(event=True, summary="Musée")] == ["Musée"]
    assert "Sorties" in [str(each.get_display_name()) for each in principal.calendars()]
    event.delete()
    with pytest.raises(caldav.lib.error.NotFoundError):
        calendar.event_by_uid(event.icalendar_component["uid"])
    calendar.delete()


def test_two_clients_see_each_others_changes(site: Site, principal: Any) -> None:
    mine = principal.make_calendar(name="Classe de 6e B")
    with caldav.DAVClient(site.url, username=ANA, password=site.password, ssl_verify_cert=str(site.ca)) as client:
        theirs = client.calendar(url=mine.url)
        known = theirs.objects(load_objects=True)
        event = mine.add_event(dtstart=BEGIN, dtend=BEGIN + timedelta(hours=2), summary="Contrôle")
        updated, deleted = known.sync()
        assert ([each.icalendar_component["summary"] for each in updated], list(deleted)) == (["Contrôle"], [])
        event.icalendar_component["summary"] = "Contrôle reporté"
        event.save()
        updated, deleted = known.sync()
        assert [each.icalendar_component["summary"] for each in updated] == ["Contrôle reporté"]
        event.delete()
        updated, deleted = known.sync()
        assert (list(updated), len(list(deleted))) == ([], 1)
    mine.delete()


def test_tasks_and_notes(principal: Any) -> None:
    tasks = principal.make_calendar(name="À faire", supported_calendar_component_set=["VTODO"])
    tasks.add_todo(summary="Corriger les copies", due=BEGIN)
    late = tasks.add_todo(summary="Ranger", due=BEGIN + timedelta(days=1))
    late.complete()
    assert [each.icalendar_component["summary"] for each in tasks.todos()] == ["Corriger les copies"]
    assert len(tasks.todos(include_completed=True)) == 2
    with pytest.raises(caldav.lib.error.DAVError):
        tasks.add_event(dtstart=BEGIN, dtend=BEGIN + timedelta(hours=1), summary="pas ici")
    notes = principal.make_calendar(name="Cahier", supported_calendar_component_set=["VJOURNAL"])
    notes.add_journal(dtstart=BEGIN, summary="Conseil de classe")
    assert [each.icalendar_component["summary"] for each in notes.journals()] == ["Conseil de classe"]
    tasks.delete()
    notes.delete()


def test_when_somebody_is_busy(principal: Any) -> None:
    calendar = principal.make_calendar(name="Réunions")
    calendar.add_event(dtstart=BEGIN, dtend=BEGIN + timedelta(hours=1), summary="Conseil")
    answer = calendar.freebusy_request(BEGIN - timedelta(days=1), BEGIN + timedelta(days=1))
    assert "20261123T080000Z/20261123T090000Z" in answer.data
    assert "Conseil" not in answer.data
    calendar.delete()
