"""Clocks that jump, back and forth, by hours and by years, between any two questions for the time.

One process works; another, whose clock jumps as well, takes in, sweeps, removes and clears up all the while. What was
answered is there once, as if the clock had been right; nothing is swept that is being written.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any

import pytest

import crash_victim
from crash_run import ALL, SEEDS, note
from crash_victim import CALENDAR, event, text
from crash_view import look_at
from files import Files, opened, ten_minutes_later
from preau.storage import adoption, leftovers
from preau.storage.api import Draft, FlagOp, Href, NotFound, StoreError, Uid, Unavailable
from preau.storage.check import verify_account
from preau.storage.mail_unlink import remove_files
from store_contract import ANNE, KEYS, append

HOUR, YEAR = 3_600, 31_536_000
JUMPS = (0, 0, 0, HOUR, -HOUR, 20 * HOUR, -20 * HOUR, YEAR, -YEAR)


@contextmanager
def wild_clock(seed: int) -> Iterator[None]:
    """time.time() is wrong by something else each time it is asked."""
    random, right, right_ns = Random(seed), time.time, time.time_ns
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "time", lambda: right() + random.choice(JUMPS))
        patch.setattr(time, "time_ns", lambda: right_ns() + random.choice(JUMPS) * 1_000_000_000)
        yield


@contextmanager
def somebody_clears_up(root: Path) -> Iterator[None]:
    """Another holder of the account, who does all the time what the background does now and then."""
    stop = threading.Event()
    failed: list[BaseException] = []

    def clear_up() -> None:
        try:
            with opened(root) as files:
                while not stop.is_set():
                    for info in files.mail.mailboxes():
                        try:
                            adoption.look(files.context, info.id)
                        except NotFound:
                            continue
                    remove_files(files.context)
                    leftovers.clear(files.context)
                    files.store.sweep()
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=clear_up)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
    assert failed == []


def again(act: Callable[[], Any]) -> Any:
    """What a client does that is told to try later: a draft may have been swept as an old one."""
    for _ in range(50):
        try:
            return act()
        except Unavailable:
            continue
    raise AssertionError("refused again and again")


def work(files: Files, number: int, kept: dict[str, Any]) -> None:
    """A round of everything; `kept`: what was answered."""
    mail, store = files.mail, files.account.collections
    archive = mail.find("Archive").id
    uid = again(lambda: append(mail, files.inbox, text(number), "\\Flagged", "Wort", date=7))
    kept["in"][uid] = (number, {"\\Flagged", "Wort"})
    if number % 3 == 0:
        again(lambda: mail.store_flags(files.inbox, [uid], FlagOp.ADD, frozenset({"\\Deleted"})))
        again(lambda: mail.expunge(files.inbox, [uid]))
        del kept["in"][uid]
    elif number % 3 == 1:
        moved = again(lambda: mail.move(files.inbox, [uid], archive))
        kept["out"][moved.destination[0]] = kept["in"].pop(uid)
    calendar = store.find(CALENDAR, "calendar").id
    put = again(lambda: store.put_item(calendar, Href(f"{number % 5}.ics"), *event(number % 5 + 100 * (number % 2))))
    kept["items"][f"{number % 5}.ics"] = put.item.etag
    assert put.sync_token > kept["token"]
    kept["token"] = put.sync_token
    validity = again(lambda: mail.create(f"box {number}")).uidvalidity
    assert validity > kept["validity"]
    kept["validity"] = validity
    if number % 2:
        again(lambda: mail.delete(f"box {number}"))


@pytest.mark.parametrize("seed", range(40 * SEEDS if ALL else 3))
def test_a_clock_that_jumps_loses_nothing(tmp_path: Path, seed: int) -> None:
    crash_victim.prepare(tmp_path)
    kept: dict[str, Any] = {"in": {}, "out": {}, "items": {}, "token": 0, "validity": 0}
    with wild_clock(seed):
        with somebody_clears_up(tmp_path), opened(tmp_path) as files:
            for number in range(10, 40):
                work(files, number, kept)
            names = [name.partition(":2,")[0] for part in ("cur", "new") for name in files.names(part=part)]
            assert len(names) == len(set(names))
        with opened(tmp_path) as files:
            assert_kept(files, kept)
            files.settle()
    with ten_minutes_later(), opened(tmp_path) as files:
        files.settle()
        assert_kept(files, kept)
        assert verify_account(tmp_path, ANNE, KEYS[ANNE], sealing=True) == []
    note("clock jumps", faults=1)


def assert_kept(files: Files, kept: dict[str, Any]) -> None:
    """All that was answered is there once, with its flags."""
    view = look_at(files.account)
    for name, expected, before in (("INBOX", kept["in"], 3), ("Archive", kept["out"], 0)):
        box = view["mailboxes"][name]["messages"]
        assert len(box) == len(expected) + before
        for uid, (_, flags) in expected.items():
            assert set(box[str(uid)][1]) == flags
    items = view["collections"]["calendar:calendar"]["items"]
    for href, etag in kept["items"].items():
        assert items[href][0] == etag


def test_a_foreign_file_is_sealed_once_however_the_clock_jumps(tmp_path: Path) -> None:
    """Its new name is noted as one to be removed in an hour: that hour may be over at once."""
    for seed in range(8):
        root = tmp_path / str(seed)
        with opened(root) as files:
            for number in range(10):
                files.put(f"{number}.strange", text(number))
            with wild_clock(seed), somebody_clears_up(root):
                adoption.look(files.context, files.inbox)
                files.settle()
            files.settle()
            bodies = sorted(message[0] for message in look_at(files.account)["mailboxes"]["INBOX"]["messages"].values())
            assert len(bodies) == len(set(bodies)) == 10


def test_a_draft_that_was_swept_is_a_temporary_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not "no such mailbox": the sender is to try again."""
    with opened(tmp_path) as files:
        writer = files.mail.new_message()
        writer.write(text(1))
        writer.finish()
        ahead = time.time() + YEAR
        with monkeypatch.context() as patch:
            patch.setattr(time, "time", lambda: ahead)
            files.store.sweep()
        with pytest.raises(StoreError) as caught:
            files.mail.append(files.inbox, [Draft(writer)])
        assert caught.value.temporary
        assert append(files.mail, files.inbox, text(1)) == Uid(1)
