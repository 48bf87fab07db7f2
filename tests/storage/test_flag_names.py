"""Flags reach file names by and by, and meet what others wrote there."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from files import Files, opened
from preau.storage import adoption
from preau.storage.api import FlagOp, MailboxId, Uid
from preau.storage.atomic import Directory
from preau.storage.flag_names import write_flag_names
from preau.storage.mail_context import OwnChange
from store_contract import append, flags_of, read


@pytest.fixture
def files(tmp_path: Path) -> Iterator[Files]:
    with opened(tmp_path) as made:
        yield made


def letters(files: Files) -> list[str]:
    return sorted(name.partition(":2,")[2] for name in files.names())


def test_names_follow(files: Files) -> None:
    uids = [append(files.mail, files.inbox) for _ in range(3)]
    files.mail.store_flags(files.inbox, uids[:2], FlagOp.ADD, frozenset({"\\Seen", "Rouge"}))
    assert letters(files) == ["", "", ""]
    files.settle()
    assert letters(files) == ["", "Sa", "Sa"]
    files.mail.store_flags(files.inbox, uids, FlagOp.REPLACE, frozenset({"\\Draft"}))
    files.settle()
    assert letters(files) == ["D", "D", "D"]
    assert not adoption.look(files.context, files.inbox)


def test_no_look_follows_our_own_renames(files: Files) -> None:
    uid = append(files.mail, files.inbox)
    view = files.mail.open(files.inbox)
    files.mail.store_flags(files.inbox, [uid], FlagOp.ADD, frozenset({"\\Seen"}))
    files.settle()
    assert files.mail.is_warm(files.inbox)
    view.refresh()
    modseq = view.highestmodseq
    assert not view.refresh()
    assert view.highestmodseq == modseq
    view.close()


def test_flags_beyond_the_letters_stay_in_the_index(files: Files) -> None:
    uid = append(files.mail, files.inbox, b"x", *(f"k{number:02}" for number in range(40)))
    files.settle()
    assert letters(files) == ["abcdefghijklmnopqrstuvwxyz"]
    assert not adoption.look(files.context, files.inbox)
    view = files.mail.open(files.inbox)
    assert len(flags_of(view)[uid]) == 40
    view.close()


def test_a_change_of_others_is_merged_first(files: Files) -> None:
    uid = append(files.mail, files.inbox)
    files.mail.store_flags(files.inbox, [uid], FlagOp.ADD, frozenset({"\\Answered"}))
    (name,) = files.names()
    cur = files.directory() / "cur"
    (cur / name).rename(cur / (name + "F"))
    write_flag_names(files.context, files.inbox)  # does not find the file under the name it expects
    files.settle()
    view = files.mail.open(files.inbox)
    assert flags_of(view) == {uid: {"\\Answered", "\\Flagged"}}
    assert letters(files) == ["FR"]
    view.close()


def test_a_crash_between_rename_and_commit_changes_no_flag(files: Files) -> None:
    uid = append(files.mail, files.inbox, b"x", "\\Seen")
    files.mail.store_flags(files.inbox, [uid], FlagOp.ADD, frozenset({"\\Flagged"}))
    (name,) = files.names()
    cur = files.directory() / "cur"
    (cur / name).rename(cur / name.replace(":2,S", ":2,FS"))  # as the job does, its transaction lost
    before = files.mail.status([files.inbox])[0].highestmodseq
    adoption.look(files.context, files.inbox)
    view = files.mail.open(files.inbox)
    assert flags_of(view) == {uid: {"\\Seen", "\\Flagged"}}
    assert list(view.modseqs) == [before]  # the flags are what they were: nothing to tell
    assert read(files.mail, files.inbox, Uid(uid)) == b"x"
    view.close()


def test_a_mailbox_that_went_is_no_fault(files: Files) -> None:
    box = files.mail.create("a").id
    append(files.mail, box)
    files.mail.delete("a")
    write_flag_names(files.context, box)


@pytest.mark.parametrize("move", [True, False], ids=["move", "copy"])
def test_a_name_that_follows_while_the_message_is_transferred(
    files: Files, move: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The link shows the flags as they were when it was made: its row must not say that it shows the new ones."""
    uid = append(files.mail, files.inbox)
    archive = files.mail.find("Archive").id
    files.mail.store_flags(files.inbox, [uid], FlagOp.ADD, frozenset({"\\Seen"}))
    own_change = files.context.own_change

    @contextmanager
    def then_names(mailbox: MailboxId, cur: Directory) -> Iterator[OwnChange]:
        with own_change(mailbox, cur) as change:
            yield change
        if mailbox == archive:
            monkeypatch.undo()
            write_flag_names(files.context, files.inbox)

    monkeypatch.setattr(type(files.context), "own_change", lambda context, mailbox, cur: then_names(mailbox, cur))
    (copied,) = (files.mail.move if move else files.mail.copy)(files.inbox, [uid], archive).destination
    assert adoption.look(files.context, archive) is False
    view = files.mail.open(archive)
    assert flags_of(view) == {copied: {"\\Seen"}}
    view.close()
