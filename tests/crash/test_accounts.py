"""A process over the store dies between any two system calls: by SIGKILL, by a power cut, by one that reorders.

What was acknowledged is there, once; what was not is there wholly or not at all; no number is given twice; clients with an
older cache come to the truth (docs/durability.md).
"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import crash_victim
from crash_run import Death, Recording, deaths, record
from crash_view import View, catch_up, look_at
from files import Files, opened, ten_minutes_later
from preau.storage import adoption
from preau.storage.api import CollectionKind, FlagOp, Href
from preau.storage.check import verify_account
from preau.storage.check_report import Finding
from store_contract import ANNE, KEYS, append, write_draft

LOOKS = {"messages": 12, "mailboxes": 10, "deliveries": 5, "intake": 6, "items": 8, "collections": 9}
CASES = [pytest.param(work, (), id=work) for work in crash_victim.WORKS] + [
    pytest.param("items", ("plain",), id="items-unsealed")
]


def record_work(folder: Path, work: str, *options: str) -> Recording:
    prepare = partial(crash_victim.prepare, sealing="plain" not in options)
    return record(folder, Path(crash_victim.__file__), prepare, work, *options)


@pytest.mark.parametrize(("work", "options"), CASES)
def test_whatever_it_dies_of_the_account_is_whole(tmp_path: Path, morgue: Path, work: str, options: tuple[str, ...]) -> None:
    recording = record_work(tmp_path, work, *options)
    told = recording.told
    assert len(told) > 3
    for death in deaths(recording, morgue / "death", looks=LOOKS[work], begin="open"):
        try:
            look_after(death, told, sealing=not options)
        except BaseException as error:
            error.add_note(str(death))
            raise


def look_after(death: Death, told: tuple[dict[str, Any], ...], *, sealing: bool = True) -> None:
    """The account is without fault, opens, is as acknowledged, and goes on; what the death left goes by itself."""
    done = len(death.told)
    after = told[min(done, len(told) - 1)]
    if death.boundary % 2:  # an opening by itself: every other time a daemon is the first
        assert faults(death.root, sealing=sealing) == []
    with opened(death.root, sealing=sealing) as files:
        now = look_at(files.account)
        expected = one_of(now, death.told[-1]["view"], after)
        files.settle()
        expected = one_of(look_at(files.account), expected, after)
        for step in death.told:
            catch_up(files.account, step["view"], now)
        assert faults(death.root, sealing=sealing) == []
    with ten_minutes_later(), opened(death.root, sealing=sealing) as files:
        files.settle()
        adopted = look_at(files.account)
        assert_only_adopted(adopted, expected, after["view"])
        assert verify(death.root, sealing=sealing) == []  # nothing at all, and nobody repaired anything
        live_on(files, adopted)
        files.settle()
        assert verify(death.root, sealing=sealing) == []
        now = look_at(files.account)
        for step in death.told:
            catch_up(files.account, step["view"], now)
        assert left_over(files) == set()


def one_of(now: View, before: View, after: dict[str, Any]) -> View:
    """Which of both it is: the state acknowledged, or the one that was about to be."""
    boxes, coming = now["mailboxes"], after["view"]["mailboxes"]
    if after["step"] == "rename INBOX":  # two steps: the mailbox is there first, the messages follow together
        coming = {**coming, "old": {**coming["old"], "messages": {}, "next": 1}}
    made = [name for name in boxes if name not in before["mailboxes"] and name in coming and not boxes[name]["messages"]]
    if steady(now) == steady(after["view"]):
        return now
    # The directory of a mailbox that was about to be made is taken in as one.
    assert_same(steady({**now, "mailboxes": {name: box for name, box in boxes.items() if name not in made}}), steady(before))
    return now


def steady(view: View) -> View:
    """Without what may rise by itself: HIGHESTMODSEQ does when flags of names are taken in that change nothing."""
    boxes = view["mailboxes"].items()
    return {**view, "mailboxes": {name: box and {**box, "modseq": 0} for name, box in boxes}}


def assert_same(now: View, expected: View) -> None:
    wrong = [f"{'.'.join(path)}: {one!r} for {other!r}" for path, one, other in differences(now, expected)]
    assert wrong == []


def differences(now: Any, expected: Any, *path: str) -> Iterator[tuple[tuple[str, ...], Any, Any]]:
    """Where two values differ."""
    if isinstance(now, dict) and isinstance(expected, dict):
        for name in now.keys() | expected.keys():
            yield from differences(now.get(name), expected.get(name), *path, str(name))
    elif now != expected:
        yield path, now, expected


def verify(root: Path, *, sealing: bool) -> list[Finding]:
    return verify_account(root, ANNE, KEYS[ANNE], sealing=sealing)


def faults(root: Path, *, sealing: bool) -> list[Finding]:
    return [finding for finding in verify(root, sealing=sealing) if finding.fault]


def assert_only_adopted(now: View, expected: View, after: View) -> None:
    """Nothing went; what came is a message that was about to be acknowledged, under a UID of its own."""
    for name, box in expected["mailboxes"].items():
        there = now["mailboxes"][name]
        extra = there["messages"].keys() - box["messages"].keys()
        assert {uid: there["messages"][uid] for uid in box["messages"]} == box["messages"]
        coming = sorted(message[0] for message in after["mailboxes"].get(name, box)["messages"].values())
        for uid in extra:
            assert int(uid) >= box["next"]
            coming.remove(there["messages"][uid][0])  # at most as often as it was to be
    assert now["collections"] == expected["collections"]


def live_on(files: Files, before: View) -> None:
    """The next changes get numbers that nobody has had."""
    inbox = before["mailboxes"]["INBOX"]
    uid = append(files.mail, files.inbox, crash_victim.text(99))
    assert uid >= inbox["next"]
    stored = files.mail.store_flags(files.inbox, [uid], FlagOp.ADD, frozenset({"\\Seen"}))
    assert stored.modseq > inbox["modseq"]
    store = files.account.collections
    calendar = store.find(CollectionKind.CALENDAR, "calendar")
    put = store.put_item(calendar.id, Href("99.ics"), *crash_victim.event(99))
    assert put.sync_token > before["collections"]["calendar:calendar"]["token"]
    assert store.collection_changes(None).sync_token > before["token"]
    made = files.mail.create("ninety-nine")
    assert made.uidvalidity > max(box["validity"] for box in before["mailboxes"].values())


def left_over(files: Files) -> set[str]:
    """Files in the account's mailboxes that no row names."""
    known = {row[0] for row in files.context.reader.rows("SELECT fname FROM msg")}
    names = {path.name.partition(":2,")[0] for part in ("cur", "new") for path in files.paths.maildir.rglob(f"{part}/*")}
    return names - known


@pytest.mark.parametrize("model", ["cut", "torn"])
def test_a_retry_finds_its_twin(tmp_path: Path, morgue: Path, model: str) -> None:
    """A delivery whose answer died with the server is tried again under its id: the mailbox has it once."""
    recording = record_work(tmp_path, "deliveries")
    for death in deaths(recording, morgue / "death", looks=6, begin="open", models=(model,)):
        with ten_minutes_later(), opened(death.root) as files:
            for number in range(2, 5):
                draft = write_draft(files.mail, crash_victim.text(number), delivery_id=f"q{number}", prefix=b"X: y\r\n")
                files.mail.append(files.inbox, [draft])
            files.settle()
            adoption.look(files.context, files.inbox)
            assert digests(look_at(files.account)) == digests(recording.told[-1]["view"]), str(death)


def digests(view: View) -> list[str]:
    return sorted(message[0] for message in view["mailboxes"]["INBOX"]["messages"].values())
