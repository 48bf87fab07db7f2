"""Sidecars keep up with the index, and are read back with suspicion."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from files import Files, opened
from preau.storage.api import FlagOp, Uid
from preau.storage.sidecar import DESCRIPTION, SUBSCRIPTIONS, UIDLIST, last_listed, read_json, read_uidlist
from store_contract import append


@pytest.fixture
def files(tmp_path: Path) -> Iterator[Files]:
    with opened(tmp_path) as made:
        yield made


def test_a_line_a_message(files: Files) -> None:
    files.settle()
    for _ in range(3):
        append(files.mail, files.inbox, date=7)
        files.settle()
    lines = (files.directory() / UIDLIST).read_bytes().splitlines()
    info = files.mail.find("INBOX")
    assert lines[0] == b"3 V%d M%d P%s N1" % (info.uidvalidity, info.id, info.object_id.encode())
    assert [line.split(b" ")[:2] for line in lines[1:]] == [[b"1", b"I7"], [b"2", b"I7"], [b"3", b"I7"]]
    told = read_uidlist(files.directory() / UIDLIST)
    assert told is not None
    assert (told.uidnext, len(told.messages), told.mailbox, told.object_id) == (4, 3, info.id, info.object_id)
    assert {name.partition(":")[0] for name in files.names()} == set(told.messages)


def test_descriptions_follow(files: Files) -> None:
    box = files.mail.create("Été", special_use=frozenset({"\\Archive"}))
    uid = append(files.mail, box.id)
    files.settle()
    files.mail.store_flags(box.id, [uid], FlagOp.ADD, frozenset({"Rouge"}))
    files.mail.rename("Été", "Hiver")
    files.mail.subscribe("Hiver", True)
    files.settle()
    told = json.loads((files.directory(box.id) / DESCRIPTION).read_bytes())
    assert told == {
        "kind": "mailbox",
        "id": box.id,
        "name": "Hiver",
        "uidvalidity": box.uidvalidity,
        "special_use": ["\\Archive"],
        "object_id": box.object_id,
        "keywords": ["Rouge"],
        "modseq": 2 << 20,
    }
    assert "Hiver" in json.loads((files.paths.maildir / SUBSCRIPTIONS).read_bytes())


def test_a_list_that_is_behind_catches_up(files: Files) -> None:
    for _ in range(2):
        append(files.mail, files.inbox)
    files.settle()
    path = files.directory() / UIDLIST
    whole = path.read_bytes()
    for harmed in (whole[: whole.rindex(b"\n2 ") + 1], whole[:-5], b"", b"3 V1 M1 P1 N1\n", whole.split(b"\n")[0] + b"\n"):
        path.write_bytes(harmed)
        files.context.sidecars.write(files.inbox)
        told = read_uidlist(path)
        assert told is not None
        assert {message.uid for message in told.messages.values()} == {1, 2}


def test_a_list_of_mostly_gone_messages_is_begun_anew(files: Files) -> None:
    path = files.directory() / UIDLIST
    for _ in range(3):
        append(files.mail, files.inbox, b"x", "\\Deleted")
    files.settle()
    with path.open("ab") as file:
        file.write(b"1 I0 A0 T0000000000000000 :gone\n" * 4_000 + b"3 I0 A0 T0000000000000000 :gone\n")
    append(files.mail, files.inbox)
    files.settle()
    assert len(path.read_bytes().splitlines()) == 5
    told = read_uidlist(path)
    assert told is not None
    assert told.uidnext == 5


@settings(max_examples=60)
@given(st.binary(max_size=300))
def test_octets_from_anywhere(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.mktemp("list") / UIDLIST
    for written in (data, b"3 V1 M1 Pa N1\n" + data):
        path.write_bytes(written)
        told = read_uidlist(path)
        assert told is None or all(name.isascii() for name in told.messages)
        last_listed(path, b"3 V1 M1 Pa N")
        read_json(path)


def test_links_in_place_of_sidecars_are_not_followed(files: Files, tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_bytes(b"3 V1 M1 Pa N1\n")
    path = files.directory() / UIDLIST
    files.settle()
    path.unlink(missing_ok=True)
    path.symlink_to(target)
    assert read_uidlist(path) is None
    append(files.mail, files.inbox)
    files.settle()
    assert target.read_bytes() == b"3 V1 M1 Pa N1\n"
    assert read(path) == [Uid(1)]


def read(path: Path) -> list[int]:
    told = read_uidlist(path)
    assert told is not None
    return [message.uid for message in told.messages.values()]
