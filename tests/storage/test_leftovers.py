"""What interrupted steps leave goes by itself, and nothing else does."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from files import Files, opened, ten_minutes_later
from instance import wait_for
from preau.storage import adoption, collections, collections_files, collections_leftovers, leftovers, mail_after
from preau.storage.api import CollectionId, CollectionKind, FlagOp, Href, ItemFacts, Uid
from preau.storage.cache_sweep import find_strays
from preau.storage.check import verify_account
from preau.storage.check_report import Finding
from preau.storage.collections_files import DESCRIPTION as COLLECTION
from preau.storage.database import open_database
from preau.storage.search import SCHEMA, SearchIndex
from preau.storage.sidecar import DESCRIPTION, SUBSCRIPTIONS, UIDLIST
from store_contract import ANNE, KEYS, MIXED, PLAIN, append, read

DATA, FACTS = b"BEGIN:VCALENDAR\r\nEND:VCALENDAR\r\n", ItemFacts("text/calendar; charset=utf-8", uid="one")


@pytest.fixture(params=[True, False], ids=["sealed", "plain"])
def sealing(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture
def root(tmp_path: Path, sealing: bool) -> Path:
    with opened(tmp_path, sealing=sealing) as files:
        for _ in range(3):
            append(files.mail, files.inbox, PLAIN)
        append(files.mail, files.mail.create("Été").id, MIXED)
        files.account.collections.put_item(calendar(files), Href("one"), DATA, FACTS)
        files.settle()
    return tmp_path


def calendar(files: Files) -> CollectionId:
    return files.account.collections.find(CollectionKind.CALENDAR, "calendar").id


def directory(files: Files) -> Path:
    (name,) = files.context.reader.rows("SELECT dir FROM collection WHERE id = ?", (calendar(files),))[0]
    return files.paths.collection(CollectionKind.CALENDAR, name)


def verify(root: Path, sealing: bool) -> list[Finding]:
    return verify_account(root, ANNE, KEYS[ANNE], sealing=sealing)


def keep_texts(files: Files, pairs: list[tuple[int, int]]) -> None:
    """Have rows of other messages in both caches, as a process leaves them that dies before it clears up."""
    files.settle()
    files.context.cache.copy(pairs)
    connection = open_database(files.paths.fts_db, files.context.cache_key, SCHEMA, synchronous="NORMAL")
    SearchIndex(connection).copy(pairs)
    connection.close()


def _expunge_and_die(files: Files) -> None:
    files.settle()
    with pytest.MonkeyPatch.context() as dying:
        dying.setattr(mail_after, "drop_doomed", lambda context: None)
        files.mail.store_flags(files.inbox, [Uid(2)], FlagOp.ADD, frozenset({"\\Deleted"}))
        files.mail.expunge(files.inbox)
        files.settle()


def _rows_without_tombstone(files: Files) -> None:
    keep_texts(files, [(files.inbox << 32 | 1, files.inbox << 32 | 77)])
    files.context.change("UPDATE mailbox SET gone_floor = highestmodseq, highestmodseq = highestmodseq + 1", ())


def _rows_of_a_deleted_mailbox(files: Files) -> None:
    keep_texts(files, [(files.inbox << 32 | 1, 99 << 32 | 1)])


def _sidecar_cut(files: Files) -> None:
    path = files.directory() / UIDLIST
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))


def _sidecar_torn(files: Files) -> None:
    path = files.directory() / UIDLIST
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:2], bytes(len(lines[2])), *lines[3:]]))


def _sidecar_lacks_one(files: Files) -> None:
    path = files.directory() / UIDLIST
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:2], *lines[3:]]))


def _description_behind(files: Files) -> None:
    files.settle()
    (files.directory() / DESCRIPTION).write_bytes(b"{}")


def _subscriptions_behind(files: Files) -> None:
    files.settle()
    (files.paths.maildir / SUBSCRIPTIONS).write_bytes(b"[]")


def _collection_described_otherwise(files: Files) -> None:
    (directory(files) / COLLECTION).unlink()


def _file_without_item(files: Files) -> None:
    (directory(files) / ("a" * 26 + ("" if files.sealing else ".ics"))).write_bytes(DATA)


def _facts_without_item(files: Files) -> None:
    (directory(files) / f".{'a' * 26}.facts").write_bytes(b"{}")


def _directory_without_collection(files: Files) -> None:
    there = files.paths.collection(CollectionKind.CALENDAR, "b" * 25 + "a")
    there.mkdir()
    (there / COLLECTION).write_bytes(b"")


def _directory_without_mailbox(files: Files) -> None:
    (files.paths.maildir / ".Neu" / "cur").mkdir(parents=True)


def _hashed_directory_without_mailbox(files: Files) -> None:
    (files.paths.maildir / ".Neu~0123" / "cur").mkdir(parents=True)


def _delivery_that_died(files: Files) -> None:
    name = files.context.new_base(size=len(PLAIN), email_id=7)
    there = files.paths.maildir / ".Archive" / "cur" / f"{name}:2,"
    there.write_bytes(PLAIN)


DEATHS = [
    (_expunge_and_die, {"cached rows of no message", "search text of no message"}),
    (_rows_without_tombstone, {"cached rows of no message", "search text of no message"}),
    (_rows_of_a_deleted_mailbox, {"cached rows of no message", "search text of no message"}),
    (_sidecar_cut, {"sidecar behind"}),
    (_sidecar_torn, {"sidecar behind"}),
    (_sidecar_lacks_one, {"sidecar behind"}),
    (_description_behind, {"sidecar behind"}),
    (_subscriptions_behind, {"sidecar behind"}),
    (_collection_described_otherwise, {"collection's description differs"}),
    (_file_without_item, {"file without item"}),
    (_facts_without_item, {"file without item"}),
    (_directory_without_collection, {"directory without collection"}),
    (_directory_without_mailbox, {"directory without mailbox"}),
    (_hashed_directory_without_mailbox, {"directory without mailbox"}),
    (_delivery_that_died, {"files without row"}),
]


@pytest.mark.parametrize(("die", "expected"), [pytest.param(*case, id=case[0].__name__.strip("_")) for case in DEATHS])
def test_it_is_no_fault_and_goes_by_itself(root: Path, sealing: bool, die: Callable[[Files], None], expected: set[str]) -> None:
    with opened(root, sealing=sealing) as files:
        die(files)
        # Nothing of ours makes up for it at the end: the process died.
        files.context.sidecars._anew.clear()
    with pytest.MonkeyPatch.context() as later:
        later.setattr(adoption, "YOUNG", 0)
        later.setattr(collections_leftovers, "YOUNG", 0)
        found = verify(root, sealing)
    assert {finding.kind for finding in found} == expected
    assert not any(finding.fault for finding in found)
    with ten_minutes_later(), opened(root, sealing=sealing) as files:
        files.settle()
    with pytest.MonkeyPatch.context() as later:
        later.setattr(adoption, "YOUNG", 0)
        later.setattr(collections_leftovers, "YOUNG", 0)
        assert verify(root, sealing) == []


def lasting(files: Files) -> set[str]:
    """Names of the account's files, but for drafts and what SQLite keeps beside a database that is open."""
    found = (path for path in files.paths.directory.rglob("*") if path.parent.name != "tmp")
    return {path.name for path in found if not path.name.endswith(("-wal", "-shm")) and path.is_file()}


@pytest.mark.parametrize("die", [_file_without_item, _facts_without_item, _directory_without_collection, _delivery_that_died])
def test_what_may_be_somebodys_at_work_waits(
    root: Path, sealing: bool, die: Callable[[Files], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leftovers, "DELAY", 0)
    with opened(root, sealing=sealing) as files:
        die(files)
        before = lasting(files)
        leftovers.clear(files.context)
        files.settle()
        after = lasting(files)
    assert before <= after
    assert verify(root, sealing) == []  # nor is it told


def test_a_directory_in_the_trash_that_a_power_cut_brought_back_goes(root: Path, sealing: bool) -> None:
    with ten_minutes_later(), opened(root, sealing=sealing) as files:
        files.settle()
        there = files.paths.directory / "trash" / "77" / "cur"
        # In one step: the account's own background may be looking.
        (files.paths.directory / "tmp" / "77" / "cur").mkdir(parents=True)
        there.parent.parent.mkdir(exist_ok=True)
        (files.paths.directory / "tmp" / "77").rename(there.parent)
        leftovers.clear(files.context)
        assert not there.exists()


def test_sealing_that_was_interrupted_is_taken_up_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(tmp_path) as files, monkeypatch.context() as dying:
        dying.setattr(adoption, "seal_plain_files", lambda context, mailbox: None)
        files.put("1.strange", PLAIN)
        adoption.look(files.context, files.inbox)
        files.settle()
    found = verify(tmp_path, True)
    assert {(finding.kind, finding.fault) for finding in found} == {("files not sealed yet", False)}
    with ten_minutes_later(), opened(tmp_path) as files:
        files.settle()
        assert [read(files.mail, files.inbox, Uid(1))] == [PLAIN]
    assert verify(tmp_path, True) == []


def test_many_files_without_item_are_a_fault_and_stay(root: Path, sealing: bool) -> None:
    """As when an index of yesterday was put back: they may be all that is left of what was acknowledged since."""
    with opened(root, sealing=sealing) as files:
        suffix = "" if sealing else ".ics"
        made = [directory(files) / f"{'a' * 24}{first}{second}{suffix}" for first in "abcdefg" for second in "abcd"]
        for path in made:
            path.write_bytes(DATA)
    with ten_minutes_later(), opened(root, sealing=sealing) as files:
        files.settle()
        assert all(path.exists() for path in made)
        found = verify(root, sealing)
    assert [finding.fault for finding in found] == [True] * len(made)


def test_a_directory_that_can_be_no_mailbox_is_a_fault_when_it_holds_messages(root: Path, sealing: bool) -> None:
    with opened(root, sealing=sealing) as files:
        there = files.paths.maildir / ".Neu~0123" / "cur"
        there.mkdir(parents=True)
        (there / "1.x").write_bytes(PLAIN)
    with ten_minutes_later(), opened(root, sealing=sealing) as files:
        files.settle()
    assert (there / "1.x").exists()
    assert [(finding.kind, finding.fault) for finding in verify(root, sealing)] == [("directory that can be no mailbox", True)]


def test_a_file_swept_before_its_transaction_is_written_again(
    root: Path, sealing: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A clock that jumps makes a file old that was written just now: whoever is about to name it looks, and tries again."""
    swept: list[str] = []
    write = collections_files.write_item

    def write_and_sweep(*arguments: object, **named: object) -> object:
        written = write(*arguments, **named)  # type: ignore[arg-type]  # passed on
        if not swept:
            monkeypatch.setattr(collections_leftovers, "YOUNG", -1)
            leftovers.clear(files.context)
            monkeypatch.undo()
            swept.append(written[0].name)
            assert not written[0].exists()
        return written

    with opened(root, sealing=sealing) as files:
        monkeypatch.setattr(collections, "write_item", write_and_sweep)
        files.account.collections.put_item(calendar(files), Href("two"), DATA, ItemFacts("text/calendar", uid="two"))
        assert swept
        assert files.account.collections.read_item(calendar(files), Href("two"))[1] == DATA
    assert verify(root, sealing) == []


def test_a_look_through_the_caches_costs_nothing_where_nothing_went(root: Path, sealing: bool) -> None:
    with opened(root, sealing=sealing) as files:
        _expunge_and_die(files)
        with files.context.cache.reader.alone() as connection:
            assert find_strays(connection, "cache", files.context.reader).ids == [files.inbox << 32 | 2]
        assert files.context.cache.sweep(files.context.reader) == 1
        append(files.mail, files.inbox, PLAIN)
        files.settle()
        with files.context.cache.reader.alone() as connection:
            assert not find_strays(connection, "cache", files.context.reader)
        assert files.context.text.sweep() == 1


def test_what_comes_from_the_future_is_not_young_for_ever(root: Path, sealing: bool) -> None:
    """Written while the clock was a year ahead."""
    with opened(root, sealing=sealing) as files:
        _file_without_item(files)
        (stray,) = (path for path in directory(files).iterdir() if path.name.startswith("a" * 26))
        ahead = time.time() + 31_536_000
        os.utime(stray, (ahead, ahead))
        leftovers.clear(files.context)
        assert not stray.exists()


def test_what_is_left_over_waits_while_others_are_served_but_not_for_ever(
    root: Path, sealing: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    cleared: list[str] = []
    with opened(root, sealing=sealing) as files:
        background = files.context.background
        background.finish(ANNE)  # drops what the opening left waiting
        monkeypatch.setattr(leftovers, "clear", lambda context: cleared.append(context.account))
        monkeypatch.setattr(leftovers, "DELAY", 0)
        monkeypatch.setattr(leftovers, "QUIET", 0.01)
        background.busy = time.monotonic() + 3_600
        leftovers.clear_later(files.context)
        time.sleep(0.3)
        assert not cleared
        background.busy = 0.0
        wait_for(lambda: cleared)
        monkeypatch.setattr(leftovers, "PATIENCE", 0.1)
        background.busy = time.monotonic() + 3_600
        cleared.clear()
        leftovers.clear_later(files.context)
        wait_for(lambda: cleared)
