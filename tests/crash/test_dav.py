"""The DAV application dies between any two system calls: 201 and 204, with their ETag and sync token, are what survives.

By requests alone, before and after: tests/crash/test_accounts.py has the same changes below HTTP.
"""

from pathlib import Path
from typing import Any

import crash_dav
from crash_dav import ACCOUNT, CALENDARS, KEYS, View, look_at, number, working
from crash_run import Death, deaths, record
from files import ten_minutes_later
from preau.storage.check import verify_account
from preau.storage.check_report import Finding


def test_what_was_answered_over_http_survives(tmp_path: Path, morgue: Path) -> None:
    recording = record(tmp_path, Path(crash_dav.__file__), crash_dav.prepare)
    views = [told["view"] for told in recording.told if "view" in told]
    answers = [told for told in recording.told if "etag" in told]
    assert len(answers) == len(views) - 1 == 12
    for answer, view in zip(answers, views[1:], strict=True):
        assert_told(answer, view)
    for death in deaths(recording, morgue / "death", looks=7, begin="open"):
        try:
            look_after(death, views)
        except BaseException as error:
            error.add_note(str(death))
            raise


def assert_told(answer: dict[str, Any], view: View) -> None:
    """An ETag that was answered is that of the next look."""
    if answer["etag"]:
        collection, _, _ = answer["path"].rpartition("/")
        assert view["collections"][f"{collection}/"]["items"][answer["path"]]["etag"] == answer["etag"]


def verify(root: Path) -> list[Finding]:
    return verify_account(root, ACCOUNT, KEYS, sealing=True)


def look_after(death: Death, views: list[View]) -> None:
    done = sum("etag" in told for told in death.told)
    before, after = views[done], views[min(done + 1, len(views) - 1)]
    if death.boundary % 2:  # an opening by itself: every other time a daemon is the first
        assert [finding for finding in verify(death.root) if finding.fault] == []
    with working(death.root) as (world, _):
        now = look_at(world)
        assert now in (before, after)
        for view in views[: done + 1]:
            crash_dav.catch_up(world, view, now)
    with ten_minutes_later(), working(death.root) as (world, store):
        account = store.open_account(ACCOUNT, KEYS)
        store.background.settle()
        assert look_at(world) == now
        assert verify(death.root) == []
        account.close()
        calendar = f"{CALENDARS}calendar/"
        answer = crash_dav.put(world, f"{calendar}99.ics", crash_dav.event(99))
        assert answer.status == 201
        later = look_at(world)
        assert later["collections"][calendar]["items"][f"{calendar}99.ics"]["etag"] == answer.headers["etag"]
        assert number(later["collections"][calendar]["token"]) > number(now["collections"][calendar]["token"])
        for view in views[: done + 1]:
            crash_dav.catch_up(world, view, later)
