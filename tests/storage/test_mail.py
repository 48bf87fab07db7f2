"""What the contract cannot see: files, crash order, processes beside each other, memory, hostile names."""

import gc
import os
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest

from files import Files, opened
from preau.storage import atomic, mail_after, mail_derive, mail_mailboxes
from preau.storage.api import (
    Change,
    Draft,
    FlagOp,
    InvalidName,
    NotFound,
    OverQuota,
    TextField,
    TextKey,
    Uid,
    Unavailable,
)
from preau.storage.changes import SilentBus
from preau.storage.store import FileStore
from store_contract import ANNE, BRUNO, KEYS, MIXED, PLAIN, append, flags_of, read, write_draft


@pytest.fixture(params=[True, False], ids=["sealed", "plain"])
def files(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Files]:
    with opened(tmp_path, sealing=bool(request.param)) as made:
        yield made


def on_disk(files: Files) -> bytes:
    """Every octet below the store's root."""
    return b"".join(path.read_bytes() for path in sorted(files.root.rglob("*")) if path.is_file())


def test_with_sealing_nothing_is_in_clear(tmp_path: Path) -> None:
    with opened(tmp_path) as files:
        append(files.mail, files.inbox, PLAIN, "Rouge")
        files.mail.search_text(files.inbox, TextKey(TextField.BODY, "bonjour"), [Uid(1)])
        files.settle()
        data = on_disk(files)
    data += on_disk(files)
    for clear in (b"helene@exemple.fr", b"Bonjour", b"bonjour", b"exemple", KEYS[ANNE].secret or b"", KEYS[ANNE].index):
        assert clear not in data


def test_without_sealing_files_are_what_any_maildir_reader_expects(tmp_path: Path) -> None:
    with opened(tmp_path, sealing=False) as files:
        append(files.mail, files.inbox, PLAIN, "\\Seen", date=1_600_000_000)
        (name,) = files.names()
        path = files.directory() / "cur" / name
        assert path.read_bytes() == PLAIN
        assert name.endswith(f",S={len(PLAIN)},W={len(PLAIN)}:2,S")
        assert path.stat().st_mtime == 1_600_000_000
        assert (files.directory(files.mail.find("Sent").id) / "maildirfolder").exists()


def test_no_file_stays_of_what_was_not_appended(files: Files) -> None:
    writer = files.mail.new_message()
    writer.write(b"x" * 100_000)
    writer.abort()
    writer.abort()
    dropped = files.mail.new_message()
    dropped.write(b"x" * 100_000)
    del dropped
    gc.collect()
    assert os.listdir(files.paths.tmp) == []
    with pytest.raises(ValueError, match="thrown away"):
        files.mail.append(files.inbox, [write_draft(files.mail), Draft(writer)])
    assert files.names() == []
    draft = write_draft(files.mail)
    files.mail.append(files.inbox, [draft])
    draft.writer.abort()
    assert len(files.names()) == 1
    with pytest.raises(ValueError, match="appended before"):
        files.mail.append(files.inbox, [draft])
    assert len(files.names()) == 1


def test_all_or_none_when_a_rename_fails(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    drafts = [write_draft(files.mail) for _ in range(3)]
    count = 0
    rename = atomic.system.rename

    def failing(*arguments: object, **named: object) -> None:
        nonlocal count
        count += 1
        if count == 3:
            raise OSError(28, "No space left on device")
        rename(*arguments, **named)  # type: ignore[arg-type]  # passed on

    monkeypatch.setattr(atomic.system, "rename", failing, raising=False)
    with pytest.raises(Unavailable, match="No space"):
        files.mail.append(files.inbox, drafts)
    monkeypatch.undo()
    assert files.names() == []
    assert files.mail.status([files.inbox])[0].messages == 0
    assert append(files.mail, files.inbox) == 1


def test_expunged_files_go_and_do_not_come_back(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(3):
        append(files.mail, files.inbox, PLAIN, "\\Deleted")
    monkeypatch.setattr(files.store.background, "submit", lambda *arguments, **named: None)  # the process dies here
    files.mail.expunge(files.inbox, [Uid(1), Uid(2)])
    assert len(files.names()) == 3
    first = files.names()[0]
    cur = files.directory() / "cur"
    (cur / first).rename(cur / (first + "S"))  # and others rename one of them meanwhile
    root, sealing = files.root, files.sealing
    with opened(root, sealing=sealing) as again:
        view = again.mail.open(again.inbox)
        again.settle()
        view.refresh()
        assert list(view.uids) == [3]
        assert len(again.names()) == 1
        assert again.context.reader.rows("SELECT * FROM unlink") == []
        view.close()


def test_a_mailbox_deleted_before_a_crash_stays_deleted(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    box = files.mail.create("a").id
    append(files.mail, box)
    files.settle()
    monkeypatch.setattr(mail_mailboxes, "move_to_trash", lambda context: None)
    monkeypatch.setattr(files.store.background, "submit", lambda *arguments, **named: None)
    files.mail.delete("a")
    assert (files.paths.maildir / ".a").exists()
    # Made again under its name before anybody has cleaned up: another directory, nothing of the old one in it.
    again = files.mail.create("a").id
    assert files.mail.status([again])[0].messages == 0
    append(files.mail, again, MIXED)
    monkeypatch.undo()
    with opened(files.root, sealing=files.sealing) as later:
        later.settle()
        assert not (later.paths.maildir / ".a").exists()
        assert read(later.mail, later.mail.find("a").id, Uid(1)) == MIXED
        assert {info.name for info in later.mail.mailboxes()} == {"INBOX", "Archive", "Drafts", "Junk", "Sent", "Trash", "a"}


def test_a_renamed_mailbox_keeps_its_directory(files: Files) -> None:
    box = files.mail.create("a").id
    append(files.mail, box)
    files.mail.rename("a", "b")
    other = files.mail.create("a").id
    assert files.directory(box).name == ".a"
    assert files.directory(other).name.startswith(".~")
    assert read(files.mail, box, Uid(1)) == PLAIN
    files.mail.delete("b")
    files.settle()
    append(files.mail, other)
    assert files.names(other)


@pytest.mark.parametrize(
    "name",
    [
        "../../../etc/passwd",
        "/etc",
        "a/../../b",
        "..",
        "./x",
        "a\0b",
        "cur/../x",
        "..\uff0f..",
        "%2e%2e",
        "a\\..\\b",
        "~/x",
        ".Trash",
    ],
)
def test_no_name_leads_out_of_the_store(files: Files, name: str) -> None:
    before = {path for path in files.root.parent.rglob("*") if not path.is_relative_to(files.root)}
    try:
        box = files.mail.create(name).id
    except InvalidName:
        return
    append(files.mail, box)
    directory = files.directory(box)
    assert directory.parent == files.paths.maildir
    assert directory.name.startswith(".")
    after = {path for path in files.root.parent.rglob("*") if not path.is_relative_to(files.root)}
    assert after == before


def test_two_processes_see_each_other_and_are_told(files: Files) -> None:
    heard: list[Change] = []
    bus = SilentBus()
    bus.listen(heard.append)
    with opened(files.root, sealing=files.sealing, bus=bus) as other:
        mine, theirs = files.mail.open(files.inbox), other.mail.open(other.inbox)
        append(other.mail, other.inbox, PLAIN, "Rouge")
        assert heard == [Change(ANNE, other.inbox, 2)]
        assert mine.refresh()
        assert flags_of(mine) == {1: {"Rouge"}}
        files.mail.store_flags(files.inbox, [Uid(1)], FlagOp.ADD, frozenset({"Bleu", "\\Deleted"}))
        theirs.refresh()
        assert flags_of(theirs) == {1: {"Rouge", "Bleu", "\\Deleted"}}
        box = other.mail.create("neu").id
        assert files.mail.find("neu").id == box
        assert other.mail.copy(other.inbox, [Uid(1)], box).destination == [1]
        view = files.mail.open(box)
        files.mail.expunge(files.inbox)
        theirs.refresh()
        assert list(theirs.uids) == []
        assert theirs.gone_since(0) == [1]
        other.mail.delete("neu")
        assert view.refresh()
        assert view.deleted
        with pytest.raises(NotFound):
            append(files.mail, box)
        for opened_view in (mine, theirs, view):
            opened_view.close()


def test_two_processes_never_give_one_uid_twice(files: Files) -> None:
    with opened(files.root, sealing=files.sealing) as other:
        uids = []
        for _ in range(5):
            uids.append(append(files.mail, files.inbox))
            uids.append(append(other.mail, other.inbox))
        assert uids == list(range(1, 11))


def test_quota_is_counted_where_it_is_committed(files: Files) -> None:
    """Two writers that both had room when they began: the second one to commit has none."""
    files.context.quota = len(PLAIN) + 10
    with opened(files.root, sealing=files.sealing) as other:
        other.context.quota = files.context.quota
        drafts = [write_draft(files.mail), write_draft(other.mail)]
        files.mail.append(files.inbox, [drafts[0]])
        with pytest.raises(OverQuota):
            other.mail.append(other.inbox, [drafts[1]])
        assert len(files.names()) == 1
        with pytest.raises(OverQuota):
            write_draft(other.mail)  # told before the octets are written, when it is known
        assert os.listdir(files.paths.tmp) == []


def test_twins_are_looked_at_once_and_keep_their_own_prefix(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[int] = []
    derive = mail_derive.derive

    def counting(*arguments: object) -> object:
        looked.append(1)
        return derive(*arguments)  # type: ignore[arg-type]  # passed on

    monkeypatch.setattr(mail_derive, "derive", counting)
    bruno = files.store.open_account(BRUNO, KEYS[BRUNO])
    first = files.mail.new_message(prefix=b"Delivered-To: anne\r\n")
    second = bruno.mail.new_message(prefix=b"Delivered-To: bruno\r\n", twin=first)
    third = bruno.mail.new_message(twin=second)
    for begin in range(0, len(MIXED), 50):
        for writer in (first, second, third):
            writer.write(MIXED[begin : begin + 50])
    for writer in (first, second, third):
        writer.finish()
    files.mail.append(files.inbox, [Draft(first)])
    theirs = bruno.mail.find("INBOX").id
    bruno.mail.append(theirs, [Draft(second), Draft(third)])
    assert len(looked) == 1
    assert read(files.mail, files.inbox, Uid(1)) == b"Delivered-To: anne\r\n" + MIXED
    assert read(bruno.mail, theirs, Uid(1)) == b"Delivered-To: bruno\r\n" + MIXED
    names = [b"Delivered-To", b"Subject"]
    assert list(bruno.mail.header_fields(theirs, [Uid(1), Uid(2)], names)) == [
        (1, b"Delivered-To: bruno\r\nSubject: plan\r\n\r\n"),
        (2, b"Subject: plan\r\n\r\n"),
    ]
    rendered = [answer for _, answer, _ in files.mail.rendered(files.inbox, [Uid(1)])]
    assert rendered == [answer for _, answer, _ in bruno.mail.rendered(theirs, [Uid(2)])]
    key = TextKey(TextField.HEADER, "bruno", "delivered-to")
    assert bruno.mail.search_text(theirs, key, [Uid(1), Uid(2)]) == {1}
    bruno.close()


def test_a_twin_that_stops_early_or_is_fed_otherwise_harms_nobody(files: Files) -> None:
    first = files.mail.new_message()
    second = files.mail.new_message(twin=first)
    third = files.mail.new_message(twin=first)
    first.write(MIXED[:100])
    second.write(MIXED[:60])
    first.abort()
    second.write(MIXED[60:])
    third.write(PLAIN)
    for writer in (second, third):
        writer.finish()
    files.mail.append(files.inbox, [Draft(second), Draft(third)])
    assert read(files.mail, files.inbox, Uid(1)) == MIXED
    assert read(files.mail, files.inbox, Uid(2)) == PLAIN
    subjects = [fields for _, fields in files.mail.header_fields(files.inbox, [Uid(1), Uid(2)], [b"Message-ID", b"Subject"])]
    assert subjects[0] == b"Subject: plan\r\n\r\n"
    assert b"<1@exemple.fr>" in subjects[1]


def test_a_large_message_is_not_held_in_memory(tmp_path: Path) -> None:
    with opened(tmp_path) as files:
        line = b"A" * 76 + b"\r\n"
        head = b"Subject: big\r\nContent-Type: application/octet-stream\r\n\r\n"
        piece = line * 1_000
        tracemalloc.start()
        writer = files.mail.new_message()
        writer.write(head)
        for _ in range(250):
            writer.write(piece)
        writer.finish()
        uid = files.mail.append(files.inbox, [Draft(writer)]).uids[0]
        with files.mail.read_message(files.inbox, uid) as reader:
            assert reader.size == len(head) + 250 * len(piece)
            position = len(head) + 200 * len(piece)
            assert reader.read(position, 78) == line
        files.settle()
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 12_000_000  # of 19.5 MB


def test_caches_deleted_under_a_running_store_are_made_again(files: Files) -> None:
    for data in (PLAIN, MIXED):
        append(files.mail, files.inbox, data)
    files.settle()
    uids = [Uid(1), Uid(2)]
    names = [b"Subject", b"From"]
    key = TextKey(TextField.BODY, "certificat")

    def answers() -> object:
        return (
            list(files.mail.rendered(files.inbox, uids)),
            list(files.mail.header_fields(files.inbox, uids, names)),
            files.mail.sent_dates(files.inbox, uids),
            files.mail.search_text(files.inbox, key, uids),
        )

    before = answers()
    for path in (files.paths.cache_db, files.paths.fts_db):
        for suffix in ("", "-wal", "-shm"):
            path.with_name(path.name + suffix).unlink(missing_ok=True)
    for path in files.paths.snap.iterdir():
        path.unlink()
    assert answers() == before
    append(files.mail, files.inbox, PLAIN)
    files.context.cache.check_file()
    files.context.cache.drop([files.inbox << 32 | 1])
    assert answers() == before
    files.settle()
    assert answers() == before
    with opened(files.root, sealing=files.sealing) as again:
        assert list(again.mail.rendered(again.inbox, uids)) == before[0]  # type: ignore[index]  # a tuple


def test_a_header_beyond_the_slots_is_read_from_the_file(files: Files) -> None:
    many = b"".join(b"To: %d@example.org\r\n" % number for number in range(300)) + b"X-Own: yes\r\n\r\nbody"
    append(files.mail, files.inbox, many)
    append(files.mail, files.inbox, PLAIN)
    found = dict(files.mail.header_fields(files.inbox, [Uid(1), Uid(2), Uid(9)], [b"to"]))
    assert found[Uid(1)].count(b"To: ") == 300
    assert found[Uid(2)] == b"To: anne@exemple.fr\r\n\r\n"
    found = dict(files.mail.header_fields(files.inbox, [Uid(1), Uid(2)], [b"x-own"]))
    assert found == {1: b"X-Own: yes\r\n\r\n", 2: b"\r\n"}


def test_sparse_uids_are_looked_up_one_by_one(files: Files) -> None:
    drafts = [write_draft(files.mail, b"Subject: %d\r\n\r\n" % number) for number in range(300)]
    files.mail.append(files.inbox, drafts)
    sparse = [Uid(uid) for uid in (299, 1, 150, 150, 999)]
    assert [uid for uid, _, _ in files.mail.rendered(files.inbox, sparse)] == [1, 150, 299]
    assert [facts.uid for facts in files.mail.facts(files.inbox, sparse)] == [1, 150, 299]
    assert list(files.mail.header_fields(files.inbox, sparse, [b"Subject"]))[1] == (150, b"Subject: 149\r\n\r\n")
    stored = files.mail.store_flags(files.inbox, sparse, FlagOp.ADD, frozenset({"\\Deleted"}))
    assert list(stored.changed) == [1, 150, 299]
    assert files.mail.expunge(files.inbox, sparse) == [1, 150, 299]


def test_a_moved_message_is_still_its_own_twin(files: Files) -> None:
    files.mail.append(files.inbox, [write_draft(files.mail, delivery_id="q-1")])
    archive = files.mail.find("Archive").id
    files.mail.move(files.inbox, [Uid(1)], archive)
    again = files.mail.append(files.inbox, [write_draft(files.mail, delivery_id="q-1")])
    assert list(again.uids) == [1]
    assert [status.messages for status in files.mail.status([files.inbox, archive])] == [0, 1]
    # A copy is no delivery: the same id delivers to the mailbox it was copied from.
    files.mail.append(files.inbox, [write_draft(files.mail, delivery_id="q-2")])
    files.mail.copy(files.inbox, [Uid(2)], archive)
    assert files.mail.status([archive])[0].messages == 2


def test_a_copy_shares_the_octets(files: Files) -> None:
    append(files.mail, files.inbox)
    archive = files.mail.find("Archive").id
    files.mail.copy(files.inbox, [Uid(1)], archive)
    (one,), (two,) = files.names(), files.names(archive)
    assert (files.directory() / "cur" / one).samefile(files.directory(archive) / "cur" / two)
    assert one != two


def test_a_deleted_account_is_not_open(files: Files) -> None:
    with pytest.raises(Exception, match="open"):
        files.store.delete_account(ANNE)


def test_a_closed_store_opens_nothing(tmp_path: Path) -> None:
    with opened(tmp_path) as files:
        store = files.store
    store.close()
    with pytest.raises(Unavailable):
        store.open_account(ANNE, KEYS[ANNE])


def test_the_wrong_key_opens_nothing(tmp_path: Path) -> None:
    with opened(tmp_path) as files:
        append(files.mail, files.inbox)
    with pytest.raises(Unavailable), opened(tmp_path, keys=KEYS[BRUNO]):
        pass
    with opened(tmp_path) as files:
        assert read(files.mail, files.inbox, Uid(1)) == PLAIN


def test_sweep_removes_what_processes_left(tmp_path: Path) -> None:
    with opened(tmp_path) as files:
        old = files.paths.tmp / "m1"
        old.write_bytes(b"x")
        os.utime(old, (1, 1))
        fresh = files.paths.tmp / "m2"
        fresh.write_bytes(b"x")
        half = files.paths.directory.parent / ".gone-1"
        half.mkdir()
        assert isinstance(files.store, FileStore)
        assert files.store.sweep() == 2
        assert os.listdir(files.paths.tmp) == ["m2"]
        assert not half.exists()


def test_one_damaged_file_does_not_take_the_mailbox_with_it(files: Files, caplog: pytest.LogCaptureFixture) -> None:
    for data in (PLAIN, MIXED, PLAIN):
        append(files.mail, files.inbox, data)
    files.settle()
    path = files.directory() / "cur" / files.names()[1]
    path.write_bytes(path.read_bytes()[:-3])
    files.context.cache.drop([files.inbox << 32 | uid for uid in (1, 2, 3)])
    files.context.text.drop([files.inbox << 32 | uid for uid in (1, 2, 3)])
    uids = [Uid(1), Uid(2), Uid(3)]
    assert [uid for uid, _, _ in files.mail.rendered(files.inbox, uids)] == [1, 3]
    assert [uid for uid, _ in files.mail.header_fields(files.inbox, uids, [b"x-unknown"])] == [1, 3]
    assert files.mail.search_text(files.inbox, TextKey(TextField.BODY, "bonjour"), uids) == {1, 3}
    assert files.mail.sent_dates(files.inbox, uids).keys() == {1, 2, 3}
    assert "a message cannot be read" in caplog.text
    with pytest.raises(Unavailable), files.mail.read_message(files.inbox, Uid(2)) as reader:
        reader.read()


def test_after_a_quiet_time_memory_is_given_back_and_all_goes_on(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    append(files.mail, files.inbox)
    files.settle()
    monkeypatch.setattr(mail_after, "_QUIET", 0.0)
    for _ in range(2):
        mail_after.relax(files.context)
    append(files.mail, files.inbox, MIXED)
    assert files.mail.search_text(files.inbox, TextKey(TextField.BODY, "certificat"), [Uid(1), Uid(2)]) == {2}
    assert len(list(files.mail.rendered(files.inbox, [Uid(1), Uid(2)]))) == 2


def test_a_mailbox_that_is_watched_rests_without_a_connection_and_hears_of_news(files: Files) -> None:
    view = files.mail.open(files.inbox)
    append(files.mail, files.inbox)
    files.settle()
    assert view.refresh()
    for rests in range(1, 4):
        files.context.reader.rest()
        assert files.context.reader._connection is None
        append(files.mail, files.inbox)
        assert view.refresh()
        assert len(view.uids) == rests + 1
    view.close()


def test_no_index_is_made_by_who_rested_while_it_was_taken_away(files: Files) -> None:
    files.settle()
    files.context.reader.rest()
    files.paths.index_db.unlink()
    with pytest.raises(Unavailable):
        files.mail.mailboxes()
    assert not files.paths.index_db.exists()
