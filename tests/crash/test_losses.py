"""Files that can be made again go: while the account is closed, and while another process has it open (decisions 22).

Caches, search index and snapshots come back without a word; index.db comes back from its sidecars: messages keep their UIDs
and UIDVALIDITY, flags are those of the names, MODSEQs and sync tokens jump beyond all that were told.
"""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import crash_victim
from crash_victim import CALENDAR, text
from crash_view import View, look_at
from files import Files, lose_index, opened
from preau.storage import account
from preau.storage.api import FlagOp, InvalidSyncToken, SyncToken, TextField, TextKey, Uid, Unavailable
from preau.storage.check import verify_account
from preau.storage.paths import AccountPaths
from store_contract import ANNE, KEYS, append

# Another process: it does what a line on stdin asks, and says how that went.
OTHER = """
import sys
from files import opened
from pathlib import Path
from store_contract import append
from crash_victim import text
from preau.storage.api import StoreError
with opened(Path(sys.argv[1])) as files:
    append(files.mail, files.inbox, text(50))
    files.settle()
    print("ready", flush=True)
    for line in sys.stdin:
        try:
            view = files.mail.open(files.inbox)
            view.refresh()
            append(files.mail, files.inbox, text(int(line)))
            view.close()
            print("done", flush=True)
        except StoreError as error:
            print("temporary" if error.temporary else "permanent", flush=True)
"""


def lose(database: Path) -> None:
    for suffix in ("", "-wal", "-shm"):
        database.with_name(database.name + suffix).unlink(missing_ok=True)


def lose_snapshots(paths: AccountPaths) -> None:
    shutil.rmtree(paths.snap, ignore_errors=True)


def lose_all(paths: AccountPaths) -> None:
    lose(paths.cache_db)
    lose(paths.fts_db)
    lose_snapshots(paths)


LOSSES: dict[str, Callable[[AccountPaths], None]] = {
    "cache": lambda paths: lose(paths.cache_db),
    "search": lambda paths: lose(paths.fts_db),
    "snapshots": lose_snapshots,
    "all of them": lose_all,
}


@contextmanager
def another(root: Path) -> Iterator[Callable[[int], str]]:
    support = Path(crash_victim.__file__).parent
    command = [sys.executable, "-P", "-c", OTHER, str(root)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(support)}
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"

        def ask(number: int) -> str:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(f"{number}\n")
            process.stdin.flush()
            return process.stdout.readline().strip()

        yield ask
        process.stdin.close()
        assert process.wait(60) == 0


def found(files: Files, needle: str) -> set[int]:
    view = files.mail.open(files.inbox)
    try:
        uids = [Uid(uid) for uid in view.uids]
        return {int(uid) for uid in files.mail.search_text(files.inbox, TextKey(TextField.BODY, needle), uids)}
    finally:
        view.close()


@pytest.mark.parametrize("loss", LOSSES)
def test_what_can_be_made_again_goes_while_the_account_is_closed(tmp_path: Path, loss: str) -> None:
    crash_victim.prepare(tmp_path)
    with opened(tmp_path) as files:
        before = look_at(files.account)
    LOSSES[loss](AccountPaths(tmp_path, ANNE))
    with opened(tmp_path) as files:
        assert look_at(files.account) == before
        assert found(files, "body 1") == {3}
        assert all(envelope for _, envelope, _ in files.mail.rendered(files.inbox, [Uid(1), Uid(2), Uid(3)]))
    assert verify_account(tmp_path, ANNE, KEYS[ANNE], sealing=True) == []


@pytest.mark.parametrize("loss", LOSSES)
def test_what_can_be_made_again_goes_while_another_process_works(tmp_path: Path, loss: str) -> None:
    crash_victim.prepare(tmp_path)
    with another(tmp_path) as ask:
        assert ask(51) == "done"
        LOSSES[loss](AccountPaths(tmp_path, ANNE))
        assert ask(52) == "done"
        with opened(tmp_path) as files:
            now = look_at(files.account)["mailboxes"]["INBOX"]["messages"]
            assert sorted(map(int, now)) == [1, 2, 3, 4, 5, 6]
            assert found(files, "body 5") == {4, 5, 6}
        assert ask(53) == "done"
    with opened(tmp_path) as files:
        assert found(files, "body 5") == {4, 5, 6, 7}
        files.settle()
    assert verify_account(tmp_path, ANNE, KEYS[ANNE], sealing=True) == []


def assert_rebuilt(files: Files, before: View) -> View:
    now = look_at(files.account)
    for name, box in before["mailboxes"].items():
        there = now["mailboxes"][name]
        assert there["validity"] == box["validity"]
        assert there["next"] >= box["next"]
        assert there["modseq"] > box["modseq"]
        for uid, (digest, flags, _) in box["messages"].items():
            assert there["messages"][uid][:2] == [digest, flags]
    for name, collection in before["collections"].items():
        there = now["collections"][name]
        assert {href: item[:2] for href, item in there["items"].items()} == {
            href: item[:2] for href, item in collection["items"].items()
        }
        assert there["token"] > collection["token"]
    calendar = files.account.collections.find(CALENDAR, "calendar").id
    with pytest.raises(InvalidSyncToken):
        files.account.collections.changes(calendar, SyncToken(before["collections"]["calendar:calendar"]["token"]))
    return now


def test_index_db_goes_while_the_account_is_closed(tmp_path: Path) -> None:
    crash_victim.prepare(tmp_path)
    with opened(tmp_path) as files:
        files.mail.store_flags(files.inbox, [Uid(1)], FlagOp.ADD, frozenset({"\\Answered", "Wort"}))
        files.settle()
        before = look_at(files.account)
    lose_index(AccountPaths(tmp_path, ANNE))
    with opened(tmp_path) as files:
        now = assert_rebuilt(files, before)
        assert append(files.mail, files.inbox, text(9)) >= now["mailboxes"]["INBOX"]["next"]
        files.settle()
    assert verify_account(tmp_path, ANNE, KEYS[ANNE], sealing=True) == []


@pytest.mark.parametrize("first", [0, 31_536_000])
def test_index_db_goes_again_after_the_clock_was_a_year_ahead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: int
) -> None:
    """MODSEQs and tokens jump by the time; they must not come back when the time does."""
    right, right_ns = time.time, time.time_ns
    crash_victim.prepare(tmp_path)
    with monkeypatch.context() as ahead:
        ahead.setattr(time, "time", lambda: right() + first)
        ahead.setattr(time, "time_ns", lambda: right_ns() + first * 1_000_000_000)
        lose_index(AccountPaths(tmp_path, ANNE))
        with opened(tmp_path) as files:
            look_at(files.account)
            files.settle()
    with opened(tmp_path) as files:
        before = look_at(files.account)
        files.settle()
    lose_index(AccountPaths(tmp_path, ANNE))
    with opened(tmp_path) as files:
        assert_rebuilt(files, before)


def test_index_db_goes_while_another_process_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who has it open acknowledges nothing more, and nobody makes an empty one in its place: when the last one has let go,
    the next makes it anew, with all that was acknowledged before."""
    monkeypatch.setattr(account, "_PATIENCE", 0.2)
    crash_victim.prepare(tmp_path)
    with another(tmp_path) as ask:
        assert ask(51) == "done"
        with opened(tmp_path) as files:
            before = look_at(files.account)
        lose_index(AccountPaths(tmp_path, ANNE))
        assert [ask(52), ask(53)] == ["temporary", "temporary"]
        with pytest.raises(Unavailable, match="others have the account open"):
            Files(tmp_path)
    with opened(tmp_path) as files:
        assert_rebuilt(files, before)
        append(files.mail, files.inbox, text(54))
        files.settle()
        assert len(look_at(files.account)["mailboxes"]["INBOX"]["messages"]) == 6
    assert verify_account(tmp_path, ANNE, KEYS[ANNE], sealing=True) == []
