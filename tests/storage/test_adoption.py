"""What other software does to a Maildir is taken in: files put, taken away, renamed; and nothing strange is followed."""

import os
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from files import Files, opened
from preau.storage import adoption
from preau.storage.api import FlagOp, MailboxId, StoreError, TextField, TextKey, Uid
from preau.storage.maildir import file_name, render_base
from store_contract import ANNE, KEYS, MIXED, PLAIN, append, flags_of, read, write_draft

LF = PLAIN.replace(b"\r\n", b"\n")


@pytest.fixture(params=[True, False], ids=["sealed", "plain"])
def files(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Files]:
    with opened(tmp_path, sealing=bool(request.param)) as made:
        yield made


def look(files: Files, mailbox: MailboxId | None = None) -> bool:
    changed = adoption.look(files.context, files.inbox if mailbox is None else mailbox)
    files.settle()
    return changed


def uids(files: Files) -> list[int]:
    view = files.mail.open(files.inbox)
    found = list(view.uids)
    view.close()
    return found


def flags(files: Files) -> dict[int, set[str]]:
    view = files.mail.open(files.inbox)
    view.refresh()
    found = flags_of(view)
    view.close()
    return found


def test_new_files_become_messages(files: Files) -> None:
    append(files.mail, files.inbox)
    files.put("1700000001.M1P1.host", PLAIN)
    files.put("1700000002.M1P1.host:2,FS", MIXED, part="cur")
    assert look(files)
    assert sorted(map(len, flags(files).values())) == [0, 0, 2]
    assert {"\\Flagged", "\\Seen"} in flags(files).values()
    assert {read(files.mail, files.inbox, Uid(uid)) for uid in (2, 3)} == {PLAIN, MIXED}
    assert files.names(part="new") == []
    status = files.mail.status([files.inbox])[0]
    assert (status.messages, status.uidnext) == (3, 4)
    assert files.account.quota().used == 2 * len(PLAIN) + len(MIXED)
    assert not look(files)


def test_a_session_learns_of_them(files: Files) -> None:
    view = files.mail.open(files.inbox)
    files.put("1700000001.M1P1.host", PLAIN)
    view.refresh()
    files.settle()
    assert view.refresh()
    assert list(view.uids) == [1]
    view.close()


def test_a_mailbox_that_changed_is_not_warm_and_opens_complete(files: Files) -> None:
    assert files.mail.is_warm(files.inbox)
    files.put("1700000001.M1P1.host", PLAIN)
    assert not files.mail.is_warm(files.inbox)
    assert uids(files) == [1]
    files.settle()  # sealing it moves the mtime once more
    assert not look(files)
    assert files.mail.is_warm(files.inbox)


def test_lone_line_feeds_are_read_as_crlf(files: Files) -> None:
    files.put("1.a", LF)
    files.put("2.a", b"a: b\r\n\nmixed\r\nends\n" * 3)
    look(files)
    assert {read(files.mail, files.inbox, Uid(uid)) for uid in (1, 2)} == {PLAIN, b"a: b\r\n\r\nmixed\r\nends\r\n" * 3}
    sizes = {facts.size for facts in files.mail.facts(files.inbox, [Uid(1), Uid(2)])}
    assert sizes == {len(PLAIN), 63}
    with files.mail.read_message(files.inbox, Uid(1)) as reader:
        whole = reader.read()
        assert b"".join(reader.read(offset, 7) for offset in range(0, reader.size, 7)) == whole
        assert reader.read(5, 3) == whole[5:8]  # back again
        assert reader.read(reader.size, 5) == b""


def test_with_sealing_they_are_sealed_under_the_same_uid(files: Files) -> None:
    files.put("1.a", LF)
    look(files)
    before = files.mail.status([files.inbox])[0].highestmodseq
    files.settle()
    (name,) = files.names()
    data = (files.directory() / "cur" / name).read_bytes()
    if files.sealing:
        assert data.startswith(b"PREAUC1\n")
        assert b"Bonjour" not in data
    else:
        assert data == LF
        assert name == "1.a:2,"
    assert uids(files) == [1]
    assert read(files.mail, files.inbox, Uid(1)) == PLAIN
    assert files.mail.status([files.inbox])[0].highestmodseq == before
    assert not look(files)
    assert uids(files) == [1]


def test_what_is_derived_of_them_is_there(files: Files) -> None:
    files.put("1.a", LF)
    look(files)
    ((_, fields),) = files.mail.header_fields(files.inbox, [Uid(1)], [b"Message-ID"])
    assert fields == b"Message-ID: <1@exemple.fr>\r\n\r\n"
    ((_, rendered, length),) = files.mail.rendered(files.inbox, [Uid(1)])
    assert rendered.startswith(b"ENVELOPE (")
    assert rendered[length:].startswith(b" BODYSTRUCTURE (")
    assert files.mail.search_text(files.inbox, TextKey(TextField.BODY, "echeancier"), [Uid(1)]) == {1}
    assert files.mail.sent_dates(files.inbox, [Uid(1)]) == {1: 20_697}


def test_files_taken_away_are_expunged(files: Files) -> None:
    for _ in range(3):
        append(files.mail, files.inbox)
    view = files.mail.open(files.inbox)
    mark = view.highestmodseq
    (files.directory() / "cur" / files.names()[1]).unlink()
    assert look(files)
    assert view.refresh()
    assert list(view.uids) == [1, 3]
    assert list(files.mail.vanished_since(files.inbox, mark) or ()) == [2]
    assert files.account.quota().used == 2 * len(PLAIN)
    assert not list(files.mail.rendered(files.inbox, [Uid(2)]))
    view.close()


def test_reading_what_was_taken_away_makes_us_look(files: Files) -> None:
    append(files.mail, files.inbox)
    assert uids(files) == [1]
    (files.directory() / "cur" / files.names()[0]).unlink()
    with pytest.raises(Exception, match="gone"):
        files.mail.read_message(files.inbox, Uid(1))
    files.settle()
    assert uids(files) == []


def test_flags_in_names_are_merged_bit_by_bit(files: Files) -> None:
    append(files.mail, files.inbox, PLAIN, "\\Seen")
    files.mail.store_flags(files.inbox, [Uid(1)], FlagOp.ADD, frozenset({"\\Answered"}))  # not in the name yet
    (name,) = files.names()
    assert name.endswith(":2,S")
    cur = files.directory() / "cur"
    (cur / name).rename(cur / (name[:-1] + "FT"))  # Seen away, Flagged and Deleted set by others
    assert adoption.look(files.context, files.inbox)
    assert flags(files) == {1: {"\\Answered", "\\Flagged", "\\Deleted"}}
    status = files.mail.status([files.inbox])[0]
    assert (status.unseen, status.deleted) == (1, 1)
    files.settle()
    assert files.names()[0].endswith(":2,FRT")


def test_a_renamed_file_is_found_at_once(files: Files) -> None:
    append(files.mail, files.inbox)
    (name,) = files.names()
    cur = files.directory() / "cur"
    (cur / name).rename(cur / (name + "S"))
    assert read(files.mail, files.inbox, Uid(1)) == PLAIN
    files.settle()
    assert flags(files) == {1: {"\\Seen"}}


def test_moved_back_to_new_is_not_lost(files: Files) -> None:
    append(files.mail, files.inbox, PLAIN, "\\Seen")
    (name,) = files.names()
    (files.directory() / "cur" / name).rename(files.directory() / "new" / name.partition(":")[0])
    look(files)
    assert flags(files) == {1: set()}
    assert read(files.mail, files.inbox, Uid(1)) == PLAIN


def test_a_delivery_under_way_is_left_alone(files: Files) -> None:
    def own(counter: int, delivery: bytes | None = None) -> str:
        return render_base(
            time_us=time.time_ns() // 1000, process=1, counter=counter, host="h", email_id=counter, size=1, delivery=delivery
        )

    files.put(file_name(own(1), 0), PLAIN, part="cur")
    assert not look(files)
    assert uids(files) == []
    old = files.put(file_name(own(2), 0), PLAIN, part="cur")
    assert old.exists()
    os.utime(old, (1, 1))  # the mtime is not what counts
    assert not look(files)


def test_what_a_crashed_delivery_left_is_taken_in_later(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    draft = write_draft(files.mail, delivery_id="q-1")
    with monkeypatch.context() as patched:
        patched.setattr(files.context.db, "transact", _die)
        with pytest.raises(KeyboardInterrupt):
            files.mail.append(files.inbox, [draft])
    assert len(files.names()) == 1
    assert not look(files)
    monkeypatch.setattr(adoption, "YOUNG", 0)
    assert look(files)
    assert uids(files) == [1]
    assert read(files.mail, files.inbox, Uid(1)) == PLAIN
    # The queue tries again: the same message, not another one.
    again = files.mail.append(files.inbox, [write_draft(files.mail, delivery_id="q-1")])
    assert list(again.uids) == [1]
    assert len(files.names()) == 1


def test_a_retry_before_adoption_leaves_one_message(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(files.context.db, "transact", _die)
        with pytest.raises(KeyboardInterrupt):
            files.mail.append(files.inbox, [write_draft(files.mail, delivery_id="q-1")])
    assert list(files.mail.append(files.inbox, [write_draft(files.mail, delivery_id="q-1")]).uids) == [1]
    assert len(files.names()) == 2
    monkeypatch.setattr(adoption, "YOUNG", 0)
    look(files)
    assert uids(files) == [1]
    assert len(files.names()) == 1


def _die(change: object) -> None:
    raise KeyboardInterrupt


def test_links_and_what_is_no_file_are_passed_over(files: Files, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"Subject: secret\r\n\r\nsecret\r\n")
    new = files.directory() / "new"
    (new / "1.link").symlink_to(secret)
    (new / "2.directory").mkdir()
    os.mkfifo(new / "3.fifo")
    (new / ".hidden").write_bytes(PLAIN)
    assert not look(files)
    assert uids(files) == []
    # A link put in place of a message is not read either.
    append(files.mail, files.inbox)
    path = files.directory() / "cur" / files.names()[0]
    path.unlink()
    path.symlink_to(secret)
    with pytest.raises(Exception, match=r"link|gone"):
        files.mail.read_message(files.inbox, Uid(1))
    look(files)
    assert secret.read_bytes().endswith(b"secret\r\n")


def test_a_directory_replaced_by_a_link_is_not_followed(files: Files, tmp_path: Path) -> None:
    append(files.mail, files.inbox)
    elsewhere = tmp_path / "elsewhere"
    (files.directory() / "cur").rename(elsewhere)
    (files.directory() / "cur").symlink_to(elsewhere)
    files.context.relax()  # a directory that is open stays the one it was
    with pytest.raises(Exception, match=r"link|directory|Not a"):
        files.mail.read_message(files.inbox, Uid(1))
    with pytest.raises(StoreError):
        append(files.mail, files.inbox)
    assert len(list(elsewhere.iterdir())) == 1


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(b"a b", id="space"),
        pytest.param(b"a\nb", id="line end"),
        pytest.param(b"\xff\xfe", id="not UTF-8"),
        pytest.param(b"caf\xc3\xa9:2,S", id="not ASCII"),
        pytest.param(b"x" * 230, id="long"),
        pytest.param(b"a:1,foo", id="experimental info"),
        pytest.param(b":2,S", id="no base"),
        pytest.param(b"..:2,S", id="hidden"),
    ],
)
def test_names_no_row_can_hold_are_replaced(files: Files, name: bytes) -> None:
    (Path(os.fsdecode(os.fsencode(files.directory() / "new") + b"/" + name))).write_bytes(PLAIN)
    look(files)
    if not name.startswith(b"."):
        assert read(files.mail, files.inbox, Uid(1)) == PLAIN
        (row,) = files.context.reader.rows("SELECT fname FROM msg")
        assert row[0].isascii()
        assert row[0].isprintable()
    assert not look(files)


def test_a_file_in_new_and_cur_at_once_is_two_messages(files: Files) -> None:
    files.put("1.a:2,S", PLAIN, part="cur")
    files.put("1.a", MIXED, part="new")
    files.put("2.a:2,S", PLAIN, part="cur")
    os.link(files.directory() / "cur" / "2.a:2,S", files.directory() / "new" / "2.a")  # one file under two names is one
    look(files)
    contents = [read(files.mail, files.inbox, Uid(uid)) for uid in uids(files)]
    assert (len(contents), contents.count(PLAIN), contents.count(MIXED)) == (3, 2, 1)
    assert files.names(part="new") == []


def test_a_sealed_file_of_ours_moved_between_mailboxes_stays_readable(files: Files) -> None:
    append(files.mail, files.inbox)
    archive = files.mail.find("Archive").id
    (name,) = files.names()
    (files.directory() / "cur" / name).rename(files.directory(archive) / "cur" / "1700000000.moved.host:2,S")
    look(files)
    look(files, archive)
    assert uids(files) == []
    assert read(files.mail, archive, Uid(1)) == PLAIN


def test_a_file_with_the_magic_that_does_not_open_is_taken_as_it_is(files: Files) -> None:
    files.put("1.a", b"PREAUC1\n" + b"not really sealed\r\n" * 20)
    look(files)
    assert read(files.mail, files.inbox, Uid(1)).startswith(b"PREAUC1\r\nnot really")


def test_new_directories_become_mailboxes(files: Files) -> None:
    for name in (".Projets.&AMk-t&AOk-", ".bad..name", ".~0123", ".no-cur", "not-maildir"):
        (files.paths.maildir / name / "new").mkdir(parents=True)
        if name != ".no-cur":
            (files.paths.maildir / name / "cur").mkdir()
    (files.paths.maildir / ".Projets.&AMk-t&AOk-" / "new" / "1.a").write_bytes(PLAIN)
    (files.paths.maildir / ".Link").symlink_to(files.paths.maildir / ".Projets.&AMk-t&AOk-")
    files.mail.mailboxes()
    files.settle()
    names = {info.name for info in files.mail.mailboxes()}
    assert "Projets/Été" in names
    assert len(names) == 7
    box = files.mail.find("Projets/Été").id
    files.settle()
    assert read(files.mail, box, Uid(1)) == PLAIN


def test_a_mailbox_whose_directory_has_gone_keeps_its_rows(files: Files, tmp_path: Path) -> None:
    box = files.mail.create("a").id
    append(files.mail, box)
    files.directory(box).rename(tmp_path / "away")
    assert not adoption.look(files.context, box)
    assert files.mail.status([box])[0].messages == 1
    (tmp_path / "away").rename(files.directory(box))
    assert read(files.mail, box, Uid(1)) == PLAIN


def test_who_cannot_open_files_leaves_them_to_others(tmp_path: Path) -> None:
    with opened(tmp_path) as files:
        assert uids(files) == []
    with opened(tmp_path, keys=replace(KEYS[ANNE], secret=None)) as delivery:
        delivery.put("1.a", PLAIN)
        assert delivery.mail.is_warm(delivery.inbox)
        append(delivery.mail, delivery.inbox)
        delivery.settle()
        assert uids(delivery) == [1]
        with pytest.raises(Exception, match="key"):
            delivery.mail.read_message(delivery.inbox, Uid(1))
        assert [facts.size for facts in delivery.mail.facts(delivery.inbox, [Uid(1)])] == [len(PLAIN)]
        assert len(list(delivery.mail.rendered(delivery.inbox, [Uid(1)]))) == 1
    with opened(tmp_path) as files:
        look(files)
        assert uids(files) == [1, 2]
        assert read(files.mail, files.inbox, Uid(1)) == PLAIN
        files.settle()
        rows = files.context.reader.rows("SELECT dek FROM msg")
        assert all(dek is not None for (dek,) in rows)
