"""A disk that is full, or fails: at every call in turn, once or from then on.

A temporary error comes out; what was acknowledged stays; the same process goes on when the fault is gone, and so does
another one that finds the files as they were at the fault (docs/durability.md).
"""

import errno
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import crash_victim
from crash_run import ALL, note
from crash_victim import ADDRESSBOOK, CALENDAR, event, text
from crash_view import View, look_at
from failing_system import Faults, failing
from files import Files, opened, ten_minutes_later
from preau.storage.api import AlreadyExists, FlagOp, Href, Uid, Unavailable
from preau.storage.check import verify_account
from store_contract import ANNE, KEYS, append, write_draft

Act = Callable[[Files], object]


def calendar(files: Files) -> object:
    return files.account.collections.find(CALENDAR, "calendar").id


def put(href: str, number: int) -> Act:
    return lambda files: files.account.collections.put_item(calendar(files), Href(href), *event(number))  # type: ignore[arg-type]


def deliver(files: Files) -> object:
    return files.mail.append(files.inbox, [write_draft(files.mail, text(7), delivery_id="q7")])


ACTS: dict[str, Act] = {
    "append": lambda files: append(files.mail, files.inbox, text(7), "\\Seen", "Neu"),
    "deliver": deliver,
    "store": lambda files: files.mail.store_flags(files.inbox, [Uid(1), Uid(2)], FlagOp.ADD, frozenset({"\\Draft"})),
    "expunge": lambda files: files.mail.expunge(files.inbox),
    "copy": lambda files: files.mail.copy(files.inbox, [Uid(1), Uid(2)], crash_victim.archive(files)),
    "move": lambda files: files.mail.move(files.inbox, [Uid(1), Uid(2)], crash_victim.archive(files)),
    "create": lambda files: files.mail.create("a/b"),
    "rename": lambda files: files.mail.rename("Junk", "x/y"),
    "delete": lambda files: files.mail.delete("Drafts"),
    "put": put("3.ics", 3),
    "put over": put("1.ics", 1),
    "delete item": lambda files: files.account.collections.delete_item(calendar(files), Href("1.ics")),  # type: ignore[arg-type]
    "move item": lambda files: files.account.collections.copy_item(
        calendar(files),  # type: ignore[arg-type]
        Href("1.ics"),
        files.account.collections.find(CALENDAR, "tasks").id,
        Href("one.ics"),
        overwrite=False,
        move=True,
    ),
    "make collection": lambda files: files.account.collections.create(ADDRESSBOOK, "classe", {"{DAV:}displayname": "5e"}),
    "set properties": lambda files: files.account.collections.set_properties(calendar(files), {"{x:}y": "z"}),  # type: ignore[arg-type]
    "delete collection": lambda files: files.account.collections.delete(calendar(files)),  # type: ignore[arg-type]
}


@pytest.fixture
def base(morgue: Path) -> Path:
    root = morgue / "base"
    crash_victim.prepare(root)
    with opened(root) as files:
        files.mail.store_flags(files.inbox, [Uid(3)], FlagOp.ADD, frozenset({"\\Deleted"}))
        files.settle()
    return root


def plain(view: View) -> View:
    """Without the numbers that another order of things changes, and without what others can make up for."""
    return {
        "mailboxes": {
            name: sorted((message[0], tuple(message[1])) for message in box["messages"].values())
            for name, box in view["mailboxes"].items()
        },
        "collections": {
            name: ({href: item[0] for href, item in found["items"].items()}, found["properties"])
            for name, found in view["collections"].items()
        },
    }


def chosen(calls: int) -> Iterator[tuple[int, int, bool]]:
    """(call that fails, errno, whether all later ones do): everything, or some of each in the normal run."""
    failures = (errno.ENOSPC, errno.EIO, errno.EROFS)
    for fatal in range(calls):
        if ALL:
            yield from ((fatal, failure, lasting) for failure in failures for lasting in (False, True))
        elif fatal % 5 == 1:
            yield fatal, failures[fatal // 5 % 3], fatal % 2 == 0


@pytest.mark.parametrize("act", ACTS)
def test_a_fault_at_any_call_is_temporary_and_loses_nothing(base: Path, act: str) -> None:
    count = 0
    with failing() as faults:
        shutil.copytree(base, base.with_name("good"))
        with opened(base.with_name("good")) as files:
            before = plain(look_at(files.account))
            faults.choose(lambda number, name: 0)
            ACTS[act](files)
            names = list(faults.calls)
            after = plain(look_at(files.account))
        assert len(names) > 1
        for fatal, failure, lasting in chosen(len(names)):
            count += 1
            try:
                _fail(faults, base, act, failure, fatal, lasting, before, after)
            except BaseException as error:
                error.add_note(f"{errno.errorcode[failure]}{' from here on' if lasting else ''} at {names[: fatal + 1]}")
                raise
    note("faults: " + act, faults=count)


def _fail(faults: Faults, base: Path, act: str, failure: int, fatal: int, lasting: bool, before: View, after: View) -> None:
    root, dead = base.with_name("root"), base.with_name("dead")
    for folder in (root, dead):
        shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(base, root)
    with opened(root) as files:
        look_at(files.account)
        faults.choose(lambda number, name: failure if number == fatal or (lasting and number > fatal) else 0)
        try:
            ACTS[act](files)
            refused = False
        except Unavailable:  # a temporary error, and no other
            refused = True
        assert faults.struck
        faults.choose(lambda number, name: 0)
        _copy(root, dead)
        _go_on(files, act, refused, before, after)
    _check(root, after)
    with opened(dead) as files:  # killed at the fault
        _go_on(files, act, refused, before, after)
    _check(dead, after)


def _copy(root: Path, dead: Path) -> None:
    """The files as they are. Background work may take some away meanwhile: then once more."""
    for attempt in range(20):
        try:
            shutil.copytree(root, dead, ignore=shutil.ignore_patterns("*-shm"))
            return
        except (shutil.Error, FileNotFoundError):
            shutil.rmtree(dead, ignore_errors=True)
            assert attempt < 19


def _go_on(files: Files, act: str, refused: bool, before: View, after: View) -> None:
    """The account is as before or as afterwards, which only a refusal leaves open; tried again, the change is there."""
    now = plain(look_at(files.account))
    if not refused:
        assert now == after
        return
    if now != after:
        known = {name: now["mailboxes"][name] for name in before["mailboxes"]}
        assert {**now, "mailboxes": known} == before  # the directory of a mailbox that could not be made is taken in as one
    if now == after and act != "deliver":
        return  # it was done, and could not be told
    try:
        ACTS[act](files)
    except AlreadyExists:
        assert act == "create"
    assert plain(look_at(files.account)) == after


def _check(root: Path, after: View) -> None:
    """No fault, and nothing at all once somebody has held the account for a while."""
    assert [finding for finding in verify_account(root, ANNE, KEYS[ANNE], sealing=True) if finding.fault] == []
    with ten_minutes_later(), opened(root) as files:
        files.settle()
        assert verify_account(root, ANNE, KEYS[ANNE], sealing=True) == []
        now = plain(look_at(files.account))
        for name, messages in after["mailboxes"].items():
            for message in set(messages):
                assert now["mailboxes"][name].count(message) >= messages.count(message)
