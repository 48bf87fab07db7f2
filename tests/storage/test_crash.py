"""Whatever stops a process, and wherever: what was acknowledged is there, and what was removed stays removed."""

import errno
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from failing_system import Faults, failing
from files import Files, opened, ten_minutes_later
from preau.storage import adoption, atomic, mail_writer
from preau.storage.adoption_directories import look_for_mailboxes
from preau.storage.api import CollectionKind, FlagOp, Href, ItemFacts, Uid
from preau.storage.check import verify_account
from preau.storage.database import InDoubt
from store_contract import ANNE, KEYS, MIXED, PLAIN, append, flags_of, read, write_draft

SUPPORT = Path(__file__).parent.parent / "support"

# Appends, copies, flags and removes without end; a line on stdout for each thing that was acknowledged.
VICTIM = """
import sys
sys.path.insert(0, {support!r})
from pathlib import Path
from files import Files
from preau.storage.api import FlagOp, Uid
from store_contract import append
files = Files(Path({root!r}))
archive = files.mail.find("Archive").id
for number in range(100_000):
    uid = append(files.mail, files.inbox, b"Subject: %d\\r\\n\\r\\nbody %d\\r\\n" % (number, number))
    print("in", uid, number, flush=True)
    if number % 5 == 1:
        files.mail.store_flags(files.inbox, [uid], FlagOp.ADD, frozenset({{"\\\\Flagged", "Mot"}}))
        print("flag", uid, number, flush=True)
    if number % 5 == 2:
        files.mail.store_flags(files.inbox, [uid], FlagOp.ADD, frozenset({{"\\\\Deleted"}}))
        files.mail.expunge(files.inbox, [uid])
        print("out", uid, number, flush=True)
    if number % 5 == 3:
        moved = files.mail.move(files.inbox, [uid], archive).destination[0]
        print("moved", moved, number, flush=True)
"""


def run_and_kill(root: Path, lines: int) -> list[list[str]]:
    script = VICTIM.format(support=str(SUPPORT), root=str(root))
    with subprocess.Popen([sys.executable, "-P", "-c", script], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        told = []
        for line in process.stdout:
            told.append(line.split())
            if len(told) == lines:
                os.kill(process.pid, signal.SIGKILL)
        process.wait()
    assert process.returncode == -signal.SIGKILL
    return [words for words in told if len(words) == 3]


def test_kill_loses_nothing_that_was_acknowledged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adoption, "YOUNG", 0)
    inbox: dict[int, bytes] = {}
    archive: dict[int, bytes] = {}
    flagged: set[int] = set()
    last = 0
    for lines in (9, 40, 77):
        for word, uid, number in run_and_kill(tmp_path, lines):
            body = b"Subject: %s\r\n\r\nbody %s\r\n" % (number.encode(), number.encode())
            match word:
                case "in":
                    inbox[int(uid)] = body
                    last = int(uid)
                case "flag":
                    flagged.add(int(uid))
                case "out":
                    del inbox[int(uid)]
                case "moved":
                    del inbox[last]
                    archive[int(uid)] = body
        with opened(tmp_path) as files:
            archived = files.mail.find("Archive").id
            files.settle()
            for mailbox, expected in ((files.inbox, inbox), (archived, archive)):
                view = files.mail.open(mailbox)
                found = {uid: read(files.mail, mailbox, Uid(uid)) for uid in view.uids}
                # One change may have been committed and not told: its answer died with the process.
                assert expected.items() - found.items() <= set(list(expected.items())[-1:])
                assert len(found.keys() - expected.keys()) <= 1
                view.close()
            view = files.mail.open(files.inbox)
            told = flags_of(view)
            assert all({"\\Flagged", "Mot"} <= told[uid] for uid in flagged if uid in told)
            inbox = {uid: read(files.mail, files.inbox, Uid(uid)) for uid in view.uids}
            view.close()
            view = files.mail.open(archived)
            archive = {uid: read(files.mail, archived, Uid(uid)) for uid in view.uids}
            view.close()
            for mailbox in (files.inbox, archived):
                adoption.look(files.context, mailbox)
        assert_clean(tmp_path)


def assert_clean(root: Path) -> None:
    """No fault, and nothing at all once somebody has held the account for a while."""
    assert [found for found in verify_account(root, ANNE, KEYS[ANNE], sealing=True) if found.fault] == []
    with ten_minutes_later(), opened(root) as files:
        files.settle()
    assert verify_account(root, ANNE, KEYS[ANNE], sealing=True) == []


class Crash(BaseException):
    """The power goes off."""


NAMES = ("open", "write", "fdatasync", "fsync", "rename", "link", "unlink", "mkdir")


def crash_at(monkeypatch: pytest.MonkeyPatch, step: int) -> list[str]:
    """Have the step-th system call from here on not happen, nor any after it."""
    calls: list[str] = []

    def cut(name: str, call: Callable[..., object]) -> Callable[..., object]:
        def run(*arguments: object, **named: object) -> object:
            calls.append(name)
            if len(calls) > step:
                raise Crash
            return call(*arguments, **named)

        return run

    for name in NAMES:
        monkeypatch.setattr(atomic.system, name, cut(name, getattr(atomic.system, name)), raising=False)
    return calls


def do_append(files: Files) -> None:
    files.mail.append(files.inbox, [write_draft(files.mail, MIXED), write_draft(files.mail, PLAIN)])


def do_copy(files: Files) -> None:
    files.mail.copy(files.inbox, [Uid(1), Uid(2)], files.mail.find("Archive").id)


def do_move(files: Files) -> None:
    files.mail.move(files.inbox, [Uid(1), Uid(2)], files.mail.find("Archive").id)


def do_create(files: Files) -> None:
    files.mail.create("a/b")


def do_delete(files: Files) -> None:
    files.mail.delete("Junk")


def do_adopt(files: Files) -> None:
    adoption.look(files.context, files.inbox)


@pytest.mark.parametrize("action", [do_append, do_copy, do_move, do_create, do_delete, do_adopt])
def test_power_cut_between_any_two_system_calls(tmp_path: Path, action: Callable[[Files], None]) -> None:
    step = 0
    while True:
        root = tmp_path / str(step)
        files = Files(root)
        append(files.mail, files.inbox, PLAIN)
        append(files.mail, files.inbox, MIXED)
        files.settle()
        if action is do_adopt:
            files.put("1.a", PLAIN)
        with pytest.MonkeyPatch.context() as monkeypatch:
            monkeypatch.setattr(files.store.background, "submit", lambda *arguments, **named: None)
            monkeypatch.setattr(mail_writer, "_abort", lambda file, process: None)  # the dead tidy nothing up
            crash_at(monkeypatch, step)
            try:
                action(files)
                done = True
            except Crash:
                done = False
        check_after(root, action, done)
        files.close()
        if done:
            break
        step += 1
    assert step > 3


EXPECTED: dict[Callable[[Files], None], int] = {do_append: 4, do_copy: 4, do_adopt: 3}


def check_after(root: Path, action: Callable[[Files], None], done: bool) -> None:
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(adoption, "YOUNG", 0)
        with opened(root) as files:
            archive = files.mail.find("Archive").id
            for mailbox in (files.inbox, archive):
                adoption.look(files.context, mailbox)
            files.settle()
            contents = {}
            for mailbox in (files.inbox, archive):
                view = files.mail.open(mailbox)
                contents[mailbox] = [read(files.mail, mailbox, Uid(uid)) for uid in view.uids]
                view.close()
            both = contents[files.inbox] + contents[archive]
            assert {PLAIN, MIXED} <= set(both)
            if action is not do_move:
                assert contents[files.inbox][:2] == [PLAIN, MIXED]
            if done:
                assert len(both) == EXPECTED.get(action, 2)
            assert len(both) <= 4
            append(files.mail, files.inbox)
            files.mail.store_flags(files.inbox, [Uid(1)], FlagOp.ADD, frozenset({"\\Seen"}))
            files.settle()
        assert_clean(root)


def forget_names_not_flushed(files: Files, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """From here on a directory keeps its new names when it is flushed; the function says: the power goes off."""
    cur = files.directory() / "cur"
    certain = {name: (cur / name).read_bytes() for name in os.listdir(cur)}
    fsync = atomic.system.fsync

    def flush(descriptor: int) -> None:
        fsync(descriptor)
        if os.path.samestat(os.fstat(descriptor), cur.stat()):
            certain.clear()
            certain.update({name: (cur / name).read_bytes() for name in os.listdir(cur)})

    def cut() -> None:
        for name in os.listdir(cur):
            (cur / name).unlink()
        for name, data in certain.items():
            (cur / name).write_bytes(data)

    monkeypatch.setattr(atomic.system, "fsync", flush, raising=False)
    return cut


def test_a_name_that_lost_its_flags_in_a_power_cut_undoes_no_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A flag was written into the name and noted; the power cut forgot the name, and adoption took it for another's change."""
    with opened(tmp_path) as files:
        uid = append(files.mail, files.inbox, PLAIN)
        cut = forget_names_not_flushed(files, monkeypatch)
        files.mail.store_flags(files.inbox, [uid], FlagOp.ADD, frozenset({"\\Seen", "Mot"}))
        files.settle()
        cut()
        adoption.look(files.context, files.inbox)
        view = files.mail.open(files.inbox)
        assert flags_of(view) == {uid: {"\\Seen", "Mot"}}
        view.close()


def test_what_was_expunged_does_not_come_back_after_a_power_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its file was removed and its name cleared; the power cut forgot the removal, and adoption took the file for new."""
    monkeypatch.setattr(adoption, "YOUNG", 0)
    with opened(tmp_path) as files:
        kept, uid = append(files.mail, files.inbox, PLAIN), append(files.mail, files.inbox, MIXED)
        files.settle()
        cut = forget_names_not_flushed(files, monkeypatch)
        files.mail.store_flags(files.inbox, [uid], FlagOp.ADD, frozenset({"\\Deleted"}))
        files.mail.expunge(files.inbox)
        files.settle()
        cut()
        adoption.look(files.context, files.inbox)
        view = files.mail.open(files.inbox)
        assert list(view.uids) == [kept]
        view.close()


def commit_in_doubt(faults: Faults, change: Callable[[], object], root: Path, dead: Path) -> None:
    """A change whose commit is not flushed; the files at `dead` are what a kill leaves then."""
    faults.choose(lambda number, name: errno.EIO if name == "sqlite sync" else 0)
    with pytest.raises(InDoubt):
        change()
    shutil.copytree(root, dead, ignore=shutil.ignore_patterns("*-shm"))
    faults.choose(lambda number, name: 0)


def test_a_delivery_refused_in_doubt_and_tried_again_after_a_crash_is_not_lost(tmp_path: Path) -> None:
    """Its row came back from the log after a kill, the file of the refused message was gone, and the next try, taken for its
    twin, was answered with 250 for a row without a file."""
    root, dead = tmp_path / "root", tmp_path / "dead"

    def deliver(files: Files) -> Uid:
        return files.mail.append(files.inbox, [write_draft(files.mail, PLAIN, delivery_id="q1")]).uids[0]

    with failing() as faults:
        with opened(root) as files:
            commit_in_doubt(faults, lambda: deliver(files), root, dead)
            assert read(files.mail, files.inbox, deliver(files)) == PLAIN
        with opened(dead) as files:
            assert read(files.mail, files.inbox, deliver(files)) == PLAIN


def test_an_item_put_over_in_doubt_is_one_of_both_after_a_crash(tmp_path: Path) -> None:
    """The row of the refused PUT came back from the log, and neither the new file nor the old one was there any more."""
    root, dead = tmp_path / "root", tmp_path / "dead"

    def put(files: Files, data: bytes) -> None:
        calendar = files.account.collections.find(CollectionKind.CALENDAR, "calendar").id
        files.account.collections.put_item(calendar, Href("1.ics"), data, ItemFacts("text/calendar", uid="u"))

    def get(files: Files) -> bytes:
        calendar = files.account.collections.find(CollectionKind.CALENDAR, "calendar").id
        return files.account.collections.read_item(calendar, Href("1.ics"))[1]

    with failing() as faults:
        with opened(root) as files:
            put(files, b"old")
            commit_in_doubt(faults, lambda: put(files, b"new"), root, dead)
            assert get(files) == b"old"
        with opened(dead) as files:
            assert get(files) in (b"old", b"new")


def test_a_mailbox_that_was_half_made_gets_what_it_lacks(tmp_path: Path) -> None:
    """A full disk stopped CREATE between its directories; taken in as a mailbox of others, it could not be delivered into."""
    with opened(tmp_path) as files:
        (files.paths.maildir / ".Halb" / "cur").mkdir(parents=True)
        look_for_mailboxes(files.context)
        halb = files.mail.find("Halb").id
        assert (files.directory(halb) / "new").is_dir()
        assert read(files.mail, halb, append(files.mail, halb, PLAIN)) == PLAIN
