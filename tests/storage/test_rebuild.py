"""An index that was lost comes back from files and sidecars; clients keep what they know."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from files import Files, lose_index, opened
from preau.storage.account_lock import AccountLock
from preau.storage.api import FlagOp, Uid, Unavailable
from preau.storage.rebuild import UID_GAP, Rebuilt, rebuild_account
from preau.storage.sidecar import DESCRIPTION, SUBSCRIPTIONS, UIDLIST, read_uidlist
from store_contract import ANNE, BRUNO, KEYS, MIXED, PLAIN, append, flags_of, read, write_draft


@pytest.fixture(params=[True, False], ids=["sealed", "plain"])
def sealing(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


def tell(files: Files) -> dict[str, object]:
    told: dict[str, object] = {}
    for info in files.mail.mailboxes():
        view = files.mail.open(info.id)
        told[info.name] = (
            info,
            flags_of(view),
            {uid: read(files.mail, info.id, Uid(uid)) for uid in view.uids},
            list(files.mail.facts(info.id, [Uid(uid) for uid in view.uids])),
            view.uidnext,
        )
        view.close()
    return told


def fill(files: Files) -> None:
    mail, inbox = files.mail, files.inbox
    for number in range(4):
        append(mail, inbox, PLAIN, "\\Seen", "Rouge", date=1_600_000_000 + number)
    mail.store_flags(inbox, [Uid(2), Uid(4)], FlagOp.ADD, frozenset({"\\Deleted"}))
    mail.expunge(inbox)
    box = mail.create("École/Réunions", special_use=frozenset({"\\Flagged"}))
    append(mail, box.id, MIXED)
    mail.rename("École", "Collège")
    mail.subscribe("Nulle part", True)
    mail.subscribe("Junk", False)
    mail.copy(inbox, [Uid(1)], mail.find("Archive").id)
    files.settle()


def test_everything_comes_back_when_the_index_is_lost(tmp_path: Path, sealing: bool) -> None:
    with opened(tmp_path, sealing=sealing) as files:
        fill(files)
        before, subscriptions, used = tell(files), files.mail.subscriptions(), files.account.quota().used
        modseq = files.mail.status([files.inbox])[0].highestmodseq
        files.settle()
    lose_index(files.paths)
    with opened(tmp_path, sealing=sealing) as files:
        assert tell(files) == before
        assert files.mail.subscriptions() == subscriptions
        assert files.account.quota().used == used
        assert files.mail.status([files.inbox])[0].highestmodseq > modseq
        assert files.mail.vanished_since(files.inbox, modseq) is None
        assert append(files.mail, files.inbox) == 5


def test_what_no_sidecar_lists_comes_far_above(tmp_path: Path, sealing: bool) -> None:
    with opened(tmp_path, sealing=sealing) as files:
        append(files.mail, files.inbox)
        files.settle()
        listed = (files.directory() / UIDLIST).read_bytes()
        append(files.mail, files.inbox, MIXED)
        files.settle()
        (files.directory() / UIDLIST).write_bytes(listed + b"3 I0 A0 T00")  # the last write was torn
    lose_index(files.paths)
    with opened(tmp_path, sealing=sealing) as files:
        view = files.mail.open(files.inbox)
        assert list(view.uids) == [1, 2 + UID_GAP]
        assert read(files.mail, files.inbox, Uid(2 + UID_GAP)) == MIXED
        assert append(files.mail, files.inbox) == 3 + UID_GAP
        view.close()
        files.settle()
        again = read_uidlist(files.directory() / UIDLIST)
        assert again is not None
        assert sorted(message.uid for message in again.messages.values()) == [1, 2 + UID_GAP, 3 + UID_GAP]


def test_without_a_sidecar_uidvalidity_is_another(tmp_path: Path, sealing: bool) -> None:
    with opened(tmp_path, sealing=sealing) as files:
        fill(files)
        before = {info.name: info.uidvalidity for info in files.mail.mailboxes()}
        files.settle()
        (files.directory() / UIDLIST).unlink()
    lose_index(files.paths)
    with opened(tmp_path, sealing=sealing) as files:
        after = {info.name: info.uidvalidity for info in files.mail.mailboxes()}
        assert {name for name in after if after[name] != before[name]} == {"INBOX"}
        assert after["INBOX"] > max(before.values())
        view = files.mail.open(files.inbox)
        assert list(flags_of(view).values()) == [{"\\Seen", "Rouge"}] * 2
        view.close()


def test_the_lost_uids_of_removed_messages_are_remembered(tmp_path: Path) -> None:
    with opened(tmp_path) as files:
        for _ in range(3):
            append(files.mail, files.inbox, b"x", "\\Deleted")
        files.mail.expunge(files.inbox)
        files.context.sidecars.write(files.inbox, anew=True)  # a list of no message
        files.settle()
    lose_index(files.paths)
    with opened(tmp_path) as files:
        assert append(files.mail, files.inbox) == 4


@pytest.mark.parametrize(
    "harm",
    [
        pytest.param(lambda path: path.write_bytes(b"{"), id="torn"),
        pytest.param(lambda path: path.write_bytes(b"[1, 2]"), id="other JSON"),
        pytest.param(lambda path: path.write_bytes(b"\xff" * 99), id="not UTF-8"),
        pytest.param(lambda path: path.write_bytes(b"[" * 200_000), id="deep"),
        pytest.param(lambda path: path.unlink(), id="gone"),
        pytest.param(lambda path: path.write_text(json.dumps({"kind": "mailbox", "name": "../x", "id": -1})), id="bad values"),
        pytest.param(
            lambda path: path.write_text(
                json.dumps({"kind": "mailbox", "name": 7, "id": "a", "keywords": [1, {}], "special_use": 3, "object_id": []})
            ),
            id="other types",
        ),
        pytest.param(
            lambda path: path.write_text(json.dumps({"kind": "mailbox", "name": "INBOX", "id": 1})), id="another's name"
        ),
    ],
)
def test_a_damaged_description_costs_no_message(tmp_path: Path, harm: Callable[[Path], object]) -> None:
    with opened(tmp_path) as files:
        box = files.mail.create("Projets").id
        append(files.mail, box, MIXED)
        files.settle()
        harm(files.directory(box) / DESCRIPTION)
        (files.paths.maildir / SUBSCRIPTIONS).write_bytes(b"{}")
    lose_index(files.paths)
    with opened(tmp_path) as files:
        info = files.mail.find("Projets")
        assert read(files.mail, info.id, Uid(1)) == MIXED
        assert len(files.mail.mailboxes()) == 7
        assert len(files.mail.subscriptions()) == 6


def test_caches_of_the_old_index_are_not_used(tmp_path: Path) -> None:
    with opened(tmp_path) as files:
        append(files.mail, files.inbox, PLAIN)
        append(files.mail, files.inbox, MIXED)
        files.settle()
        (files.directory() / UIDLIST).unlink()
        first, second = files.names()
        (files.directory() / "cur" / first).unlink()
    lose_index(files.paths)
    with opened(tmp_path) as files:
        ((_, fields),) = files.mail.header_fields(files.inbox, [Uid(1)], [b"Subject"])
        assert fields == b"Subject: plan\r\n\r\n"
        assert second in files.names()


def test_files_of_others_come_back_too(tmp_path: Path, sealing: bool) -> None:
    with opened(tmp_path, sealing=sealing) as files:
        files.put("1.a", PLAIN.replace(b"\r\n", b"\n"))
        files.put("2.a:2,S", MIXED, part="cur")
        view = files.mail.open(files.inbox)
        view.close()
        files.settle()
        before = tell(files)
    lose_index(files.paths)
    with opened(tmp_path, sealing=sealing) as files:
        after = tell(files)
        for name in before:
            assert after[name][1:3] == before[name][1:3]  # type: ignore[index]  # a tuple


def test_delivery_ids_come_back(tmp_path: Path) -> None:
    with opened(tmp_path) as files:
        files.mail.append(files.inbox, [write_draft(files.mail, delivery_id="q-1")])
        files.settle()
    lose_index(files.paths)
    with opened(tmp_path) as files:
        assert files.mail.append(files.inbox, [write_draft(files.mail, delivery_id="q-1")]).uids == [1]


def test_a_rebuild_by_hand_keeps_the_old_index_aside(tmp_path: Path) -> None:
    with opened(tmp_path) as files:
        fill(files)
        before = tell(files)
        files.settle()
    told: list[tuple[str, int, int]] = []
    rebuilt = rebuild_account(tmp_path, ANNE, KEYS[ANNE], sealing=True, progress=lambda *step: told.append(step))
    assert rebuilt == Rebuilt(mailboxes=8, messages=4, kept=4, skipped=0)
    assert told[-1][1:] == (4, 4)
    assert (files.paths.directory / "index.db.before").exists()
    with opened(tmp_path) as files:
        assert tell(files) == before


def test_a_damaged_index_is_refused_and_remade_by_hand(tmp_path: Path) -> None:
    with opened(tmp_path) as files:
        fill(files)
        before = tell(files)
        files.settle()
    lose_index(files.paths)
    files.paths.index_db.write_bytes(os.urandom(65_536))
    with pytest.raises(Unavailable, match=r"index\.db"), opened(tmp_path):
        pass
    rebuild_account(tmp_path, ANNE, KEYS[ANNE], sealing=True)
    with opened(tmp_path) as files:
        assert tell(files) == before


def test_an_account_in_use_is_not_rebuilt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(tmp_path) as files:
        append(files.mail, files.inbox)
        with pytest.raises(Unavailable, match="open in another process"):
            AccountLock(files.paths.directory, alone=True, patience=0)
    lock = AccountLock(files.paths.directory, alone=True)
    with pytest.raises(Unavailable, match="open in another process"):
        AccountLock(files.paths.directory, alone=False, patience=0)
    lock.share()
    AccountLock(files.paths.directory, alone=False, patience=0).release()
    lock.release()


def test_an_account_without_mail_is_rebuilt_to_nothing(tmp_path: Path) -> None:
    assert rebuild_account(tmp_path, BRUNO, KEYS[BRUNO], sealing=True).messages == 0


def test_links_are_not_read(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"secret")
    root = tmp_path / "root"
    with opened(root) as files:
        append(files.mail, files.inbox)
        files.settle()
    cur = files.paths.maildir / "cur"
    (cur / "1.link:2,").symlink_to(secret)
    (files.paths.maildir / ".Link").symlink_to(tmp_path)
    lose_index(files.paths)
    with opened(root) as files:
        assert files.mail.status([files.inbox])[0].messages == 1
        assert len(files.mail.mailboxes()) == 6
