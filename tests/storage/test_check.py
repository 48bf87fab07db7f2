"""`store verify` finds what is wrong, mends what has one right answer, and leaves the rest alone."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from files import Files, opened
from preau.storage import adoption
from preau.storage.api import Uid
from preau.storage.check import verify_account
from preau.storage.check_report import Finding
from preau.storage.database import open_database
from preau.storage.seal import SealKind, seal_bytes
from preau.storage.search import SCHEMA, SearchIndex
from preau.storage.sidecar import UIDLIST
from store_contract import ANNE, BRUNO, KEYS, MIXED, PLAIN, append, read


@pytest.fixture(params=[True, False], ids=["sealed", "plain"])
def sealing(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture
def root(tmp_path: Path, sealing: bool, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(adoption, "YOUNG", 0)
    with opened(tmp_path, sealing=sealing) as files:
        append(files.mail, files.inbox, PLAIN, "\\Seen")
        append(files.mail, files.inbox, MIXED)
        append(files.mail, files.mail.create("Été").id, PLAIN * 600, "\\Deleted")
        files.settle()
    return tmp_path


def verify(root: Path, sealing: bool, *, repair: bool = False) -> list[Finding]:
    return verify_account(root, ANNE, KEYS[ANNE], sealing=sealing, repair=repair)


def kinds(findings: list[Finding]) -> list[str]:
    return [finding.kind for finding in findings]


def test_a_sound_account_has_no_findings(root: Path, sealing: bool) -> None:
    told: list[tuple[str, int, int]] = []
    assert verify_account(root, ANNE, KEYS[ANNE], sealing=sealing, progress=lambda *step: told.append(step)) == []
    assert told[-1] == ("", 3, 3)


def sql(statement: str) -> Callable[[Files], None]:
    return lambda files: files.context.change(statement, ())


def in_cur(files: Files) -> list[Path]:
    return [files.directory() / "cur" / name for name in files.names()]


def _remove_file(files: Files) -> None:
    in_cur(files)[0].unlink()


def _add_file(files: Files) -> None:
    # Beside the open account, without a look at it: as if the mtime had told nothing.
    files.put("1.strange", PLAIN, part="cur")


def _copy_name(files: Files) -> None:
    path = in_cur(files)[0]
    files.put(path.name.partition(":")[0] + ":2,FT", MIXED, part="cur")


def _link_name(files: Files) -> None:
    path = in_cur(files)[0]
    os.link(path, files.directory() / "new" / path.name.partition(":")[0])


def _remove_directory(files: Files) -> None:
    (files.directory() / "new").rmdir()


def _strange_directory(files: Files) -> None:
    (files.paths.maildir / ".Ailleurs" / "cur").mkdir(parents=True)


def _old_draft(files: Files) -> None:
    path = files.paths.tmp / "m0"
    path.write_bytes(b"x")
    os.utime(path, (1, 1))


def _cut_sidecar(files: Files) -> None:
    path = files.directory() / UIDLIST
    path.write_bytes(path.read_bytes().split(b"\n")[0] + b"\n")


def _orphan_texts(files: Files) -> None:
    # As a process leaves them that dies before it clears up.
    pairs = [(files.inbox << 32 | 1, files.inbox << 32 | 77)]
    files.settle()
    files.context.cache.copy(pairs)
    connection = open_database(files.paths.fts_db, files.context.cache_key, SCHEMA, synchronous="NORMAL")
    SearchIndex(connection).copy(pairs)
    connection.close()


CASES = [
    pytest.param(sql("UPDATE mailbox SET messages = 9, unseen = 7 WHERE name = 'INBOX'"), {"counters differ"}, id="counters"),
    pytest.param(sql("UPDATE mailbox SET uidnext = 1"), {"counters differ"}, id="uidnext"),
    pytest.param(sql("UPDATE mailbox SET highestmodseq = 1"), {"counters differ"}, id="highestmodseq"),
    pytest.param(sql("UPDATE account SET bytes = 5"), {"account's size differs"}, id="account's size"),
    pytest.param(_remove_file, {"rows without file"}, id="file gone"),
    pytest.param(_add_file, {"files without row"}, id="file of others"),
    pytest.param(_copy_name, {"two files of one name"}, id="two files of a name"),
    pytest.param(_link_name, {"two files of one name"}, id="two names of a file"),
    pytest.param(_remove_directory, {"mailbox without directory"}, id="directory gone"),
    pytest.param(_strange_directory, {"directory without mailbox"}, id="directory of others"),
    pytest.param(_old_draft, {"draft left over"}, id="draft"),
    pytest.param(_cut_sidecar, {"sidecar behind"}, id="sidecar"),
    pytest.param(_orphan_texts, {"cached rows of no message", "search text of no message"}, id="orphans"),
    pytest.param(sql("UPDATE msg SET size = size + 1 WHERE id & 255 = 2"), {"row says another form or size"}, id="size"),
    pytest.param(sql("INSERT INTO unlink VALUES ('', 'old', 0, 5)"), set(), id="unlinks are done at opening"),
]


@pytest.mark.parametrize(("harm", "expected"), CASES)
def test_what_is_wrong_is_found_and_mended(
    root: Path, sealing: bool, harm: Callable[[Files], None], expected: set[str]
) -> None:
    with opened(root, sealing=sealing) as files:
        files.settle()
        harm(files)
    found = verify(root, sealing)
    assert expected <= set(kinds(found))
    assert not any(finding.repaired for finding in found)
    assert expected <= set(kinds(verify(root, sealing)))
    mended = verify(root, sealing, repair=True)
    assert all(finding.repaired for finding in mended)
    verify(root, sealing, repair=True)  # what mending brought to light
    assert verify(root, sealing) == []
    with opened(root, sealing=sealing) as files:
        view = files.mail.open(files.inbox)
        contents = [read(files.mail, files.inbox, Uid(uid)) for uid in view.uids]
        assert contents
        assert MIXED in contents
        view.close()


def flip(path: Path, place: int) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("harm", "expected"),
    [
        pytest.param(lambda path: flip(path, -1), "sealed file does not open", id="last octet"),
        pytest.param(lambda path: flip(path, 130), "sealed file does not open", id="first chunk"),
        pytest.param(lambda path: path.write_bytes(path.read_bytes()[:-40]), "sealed file does not open", id="cut"),
        pytest.param(
            lambda path: path.write_bytes(seal_bytes(PLAIN, KEYS[BRUNO].public, BRUNO, SealKind.MESSAGE)[0]),
            "sealed for another account or key",
            id="another account's",
        ),
    ],
)
def test_a_seal_that_does_not_open_is_told_and_left(tmp_path: Path, harm: Callable[[Path], object], expected: str) -> None:
    with opened(tmp_path) as files:
        append(files.mail, files.inbox, PLAIN)
        files.settle()
        (path,) = in_cur(files)
        harm(path)
        harmed = path.read_bytes()
    for repair in (False, True):
        found = verify(tmp_path, True, repair=repair)
        assert kinds(found) == [expected]
        assert not found[0].repaired
        assert not found[0].mendable
    assert path.read_bytes() == harmed


def test_a_wrapped_key_that_does_not_open_is_worked_out_anew(tmp_path: Path) -> None:
    with opened(tmp_path) as files:
        append(files.mail, files.inbox, PLAIN)
        files.context.change("UPDATE msg SET dek = zeroblob(40)", ())
        assert read(files.mail, files.inbox, Uid(1)) == PLAIN
        files.settle()
        files.context.change("UPDATE msg SET dek = ?", (files.context.wrapping.wrap(bytes(32)),))  # type: ignore[union-attr]  # sealing is on
    assert kinds(verify(tmp_path, True)) == ["wrapped key does not open"]
    assert all(finding.repaired for finding in verify(tmp_path, True, repair=True))
    assert verify(tmp_path, True) == []


def test_a_link_in_place_of_a_message_is_told(root: Path, sealing: bool, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(PLAIN)
    with opened(root, sealing=sealing) as files:
        path = in_cur(files)[0]
        path.unlink()
        path.symlink_to(secret)
    assert "file cannot be read" in kinds(verify(root, sealing))
    assert secret.read_bytes() == PLAIN


def test_without_the_secret_key_only_names_are_looked_at(tmp_path: Path) -> None:
    with opened(tmp_path) as files:
        append(files.mail, files.inbox, PLAIN)
        files.settle()
        flip(in_cur(files)[0], -1)
    assert verify_account(tmp_path, ANNE, replace(KEYS[ANNE], secret=None), sealing=True) == []
    assert verify_account(tmp_path, ANNE, KEYS[ANNE], sealing=True, read_files=False) == []


def test_it_works_beside_a_process_that_has_the_account_open(root: Path, sealing: bool) -> None:
    with opened(root, sealing=sealing) as files:
        view = files.mail.open(files.inbox)
        files.context.change("UPDATE mailbox SET messages = 9 WHERE id = ?", (files.inbox,))
        assert kinds(verify(root, sealing, repair=True)) == ["counters differ"]
        append(files.mail, files.inbox)
        view.refresh()
        assert files.mail.status([files.inbox])[0].messages == 3
        view.close()


@pytest.mark.parametrize("sealing", [True, False], ids=["sealed", "plain"])
def test_an_account_that_never_got_mail_is_clean(tmp_path: Path, sealing: bool) -> None:
    assert verify_account(tmp_path, ANNE, KEYS[ANNE], sealing=sealing) == []
    assert verify_account(tmp_path, ANNE, KEYS[ANNE], sealing=sealing) == []
