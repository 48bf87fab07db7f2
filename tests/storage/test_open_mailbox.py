"""The shared view of a mailbox: snapshots that fit and do not, logs, and what sessions keep."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from files import Files, opened
from preau.storage import index_messages, open_mailbox
from preau.storage.api import FlagOp, ModSeq, NotFound, Uid
from store_contract import append, flags_of


@pytest.fixture(autouse=True)
def no_mailbox_is_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(open_mailbox, "SMALL", 0)


@pytest.fixture(params=[True, False], ids=["sealed", "plain"])
def files(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Files]:
    with opened(tmp_path, sealing=bool(request.param)) as made:
        yield made


def state(files: Files) -> tuple[list[int], list[int], list[int]]:
    view = files.mail.open(files.inbox)
    found = (list(view.uids), list(view.flags), list(view.modseqs))
    view.close()
    files.settle()
    return found


def fill(files: Files) -> tuple[list[int], list[int], list[int]]:
    for number in range(6):
        append(files.mail, files.inbox, b"%d" % number, "Rouge" if number % 2 else "\\Seen")
    return state(files)


def test_a_snapshot_is_left_and_used(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    before = fill(files)
    assert files.paths.snapshot(files.inbox).exists()
    monkeypatch.setattr(open_mailbox.SharedMailbox, "_read_whole", _never)
    assert state(files) == before
    files.mail.store_flags(files.inbox, [Uid(2)], FlagOp.ADD, frozenset({"\\Deleted", "Bleu"}))
    append(files.mail, files.inbox)
    files.mail.expunge(files.inbox)
    uids, flags, _ = state(files)
    assert uids == [1, 3, 4, 5, 6, 7]
    assert flags[0] == 1
    view = files.mail.open(files.inbox)
    assert list(view.keywords) == ["Rouge", "Bleu"]
    view.close()


def _never(*arguments: object, **named: object) -> bool:
    raise AssertionError("read whole")


def damage(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize(
    "harm", [damage, lambda path: path.write_bytes(b""), lambda path: path.unlink()], ids=["bit", "empty", "gone"]
)
def test_a_snapshot_that_does_not_read_is_made_again(files: Files, harm: object) -> None:
    before = fill(files)
    path = files.paths.snapshot(files.inbox)
    harm(path)  # type: ignore[operator]  # a table of functions
    assert state(files) == before
    append(files.mail, files.inbox)
    assert state(files)[0] == [1, 2, 3, 4, 5, 6, 7]
    assert path.exists()


def test_a_snapshot_older_than_the_tombstones_is_not_used(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(files)
    monkeypatch.setattr(index_messages, "GONE_KEPT", 1)
    for uid in (1, 2, 3):
        files.mail.store_flags(files.inbox, [Uid(uid)], FlagOp.ADD, frozenset({"\\Deleted"}))
        files.mail.expunge(files.inbox)
    assert files.mail.vanished_since(files.inbox, ModSeq(1)) is None
    assert files.mail.vanished_since(files.inbox, files.mail.status([files.inbox])[0].highestmodseq) == []
    assert state(files)[0] == [4, 5, 6]


def test_an_open_view_that_missed_tombstones_tells_all_the_same(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(files)
    view = files.mail.open(files.inbox)
    kept = view.uids
    mark, generation = view.highestmodseq, view.generation
    monkeypatch.setattr(index_messages, "GONE_KEPT", 0)
    files.mail.store_flags(files.inbox, [Uid(2), Uid(5)], FlagOp.ADD, frozenset({"\\Deleted"}))
    files.mail.expunge(files.inbox)
    files.mail.store_flags(files.inbox, [Uid(3)], FlagOp.ADD, frozenset({"\\Flagged"}))
    append(files.mail, files.inbox)
    assert view.refresh()
    assert list(view.uids) == [1, 3, 4, 6, 7]
    assert list(kept) == [1, 2, 3, 4, 5, 6]
    assert view.gone_since(generation) == [2, 5]
    assert list(view.changed_since(mark)) == [3, 7]
    view.close()


def test_a_snapshot_of_another_mailbox_or_life(files: Files) -> None:
    before = fill(files)
    sent = files.mail.find("Sent").id
    append(files.mail, sent)
    view = files.mail.open(sent)
    view.close()
    files.settle()
    files.paths.snapshot(files.inbox).write_bytes(files.paths.snapshot(sent).read_bytes())
    assert state(files) == before
    files.context.change("UPDATE mailbox SET uidvalidity = uidvalidity + 5 WHERE id = ?", (files.inbox,))
    assert state(files)[0] == before[0]


def test_a_snapshot_from_the_future_is_not_used(files: Files) -> None:
    fill(files)
    files.context.change("UPDATE mailbox SET highestmodseq = 3 WHERE id = ?", (files.inbox,))
    assert state(files)[0] == [1, 2, 3, 4, 5, 6]


def test_logs_answer_what_sessions_ask(files: Files) -> None:
    view = files.mail.open(files.inbox)
    marks = [view.highestmodseq]
    for number in range(4):
        append(files.mail, files.inbox)
        if number == 2:
            files.mail.store_flags(files.inbox, [Uid(1)], FlagOp.ADD, frozenset({"\\Seen"}))
        view.refresh()
        marks.append(view.highestmodseq)
    assert [list(view.changed_since(mark)) for mark in marks] == [[1, 2, 3, 4], [1, 2, 3, 4], [1, 3, 4], [4], []]
    assert list(view.changed_since(ModSeq(0))) == [1, 2, 3, 4]
    generations = [view.generation]
    for uid in (2, 4):
        files.mail.store_flags(files.inbox, [Uid(uid)], FlagOp.ADD, frozenset({"\\Deleted"}))
        files.mail.expunge(files.inbox)
        view.refresh()
        generations.append(view.generation)
    assert [list(view.gone_since(generation)) for generation in generations] == [[2, 4], [4], []]
    assert list(view.changed_since(marks[0])) == [1, 3]
    view.close()


STORES = {
    "one": ([3], FlagOp.ADD, {"\\Answered"}),
    "all": ([1, 2, 3, 4, 5, 6], FlagOp.REMOVE, {"\\Seen"}),
    "some": ([1, 2, 5], FlagOp.REPLACE, {"\\Draft", "Rouge"}),
    "a keyword that is known": ([1, 3], FlagOp.ADD, {"Rouge"}),
}


def in_index(files: Files) -> list[tuple[object, ...]]:
    query = "SELECT id & 4294967295, flags, modseq FROM msg WHERE id >> 32 = ? ORDER BY id"
    return files.context.reader.rows(query, (files.inbox,))


@pytest.mark.parametrize(("uids", "op", "flags"), STORES.values(), ids=STORES)
def test_a_store_of_ours_is_not_read_back(
    files: Files, monkeypatch: pytest.MonkeyPatch, uids: list[Uid], op: FlagOp, flags: set[str]
) -> None:
    fill(files)
    view = files.mail.open(files.inbox)
    before = view.highestmodseq
    monkeypatch.setattr(open_mailbox.SharedMailbox, "_apply", _never)
    stored = files.mail.store_flags(files.inbox, uids, op, frozenset(flags))
    assert view.refresh(stored)
    assert list(zip(view.uids, view.flags, view.modseqs, strict=True)) == in_index(files)
    assert (view.highestmodseq, list(view.changed_since(before))) == (stored.modseq, list(stored.changed))
    assert not view.refresh()
    view.close()


@pytest.mark.parametrize("between", ["a store before", "a store behind", "an expunge before", "mail behind", "a new keyword"])
@pytest.mark.parametrize(("uids", "op", "flags"), STORES.values(), ids=STORES)
def test_a_store_of_ours_among_changes_of_others(
    files: Files, uids: list[Uid], op: FlagOp, flags: set[str], between: str
) -> None:
    fill(files)
    view = files.mail.open(files.inbox)
    before = view.highestmodseq
    if between == "a store before":
        files.mail.store_flags(files.inbox, [Uid(1), Uid(4)], FlagOp.ADD, frozenset({"\\Flagged"}))
    elif between == "an expunge before":
        files.mail.store_flags(files.inbox, [Uid(2)], FlagOp.ADD, frozenset({"\\Deleted"}))
        files.mail.expunge(files.inbox)
    elif between == "a new keyword":
        flags = flags | {"Bleu"}
    stored = files.mail.store_flags(files.inbox, uids, op, frozenset(flags))
    if between == "a store behind":
        files.mail.store_flags(files.inbox, [Uid(1), Uid(4)], FlagOp.ADD, frozenset({"\\Flagged"}))
    elif between == "mail behind":
        append(files.mail, files.inbox, b"more")
    assert view.refresh(stored)
    assert list(zip(view.uids, view.flags, view.modseqs, strict=True)) == in_index(files)
    assert set(stored.changed) <= set(view.changed_since(before))
    if between == "a new keyword" and op is not FlagOp.REMOVE:
        assert list(view.keywords) == ["Rouge", "Bleu"]
    view.close()


def test_a_long_log_is_cut_and_answers_stay_right(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(open_mailbox, "_LOG_LIMIT", 3)
    view = files.mail.open(files.inbox)
    mark = view.highestmodseq
    for _ in range(8):
        append(files.mail, files.inbox)
        view.refresh()
    assert list(view.changed_since(mark)) == list(range(1, 9))
    assert list(view.changed_since(ModSeq(view.highestmodseq - 2))) == [7, 8]
    view.close()


def test_wrong_counters_do_not_make_a_wrong_view(files: Files) -> None:
    fill(files)
    view = files.mail.open(files.inbox)
    files.context.change("UPDATE mailbox SET messages = 99 WHERE id = ?", (files.inbox,))
    append(files.mail, files.inbox)
    view.refresh()
    assert list(view.uids) == [1, 2, 3, 4, 5, 6, 7]
    view.close()


def test_rows_that_came_out_of_order_are_shown(files: Files) -> None:
    fill(files)
    view = files.mail.open(files.inbox)
    files.mail.store_flags(files.inbox, [Uid(2)], FlagOp.ADD, frozenset({"\\Deleted"}))
    files.mail.expunge(files.inbox)
    view.refresh()
    # As a repair does it: a row below the last UID.
    files.context.change(
        "INSERT INTO msg SELECT ?1 << 32 | 2, 999, 0, 0, 0, 0, 0, 1, 1, 0, NULL, NULL, 'x' FROM account", (files.inbox,)
    )
    files.context.change("UPDATE mailbox SET messages = messages + 1, highestmodseq = 999 WHERE id = ?", (files.inbox,))
    generation = view.generation
    assert view.refresh()
    assert list(view.uids) == [1, 2, 3, 4, 5, 6]
    assert view.generation > generation
    view.close()


def test_sessions_share_and_the_last_one_lets_go(files: Files) -> None:
    first, second = files.mail.open(files.inbox), files.mail.open(files.inbox)
    assert first is second
    first.close()
    append(files.mail, files.inbox)
    second.refresh()
    assert flags_of(second) == {1: set()}
    second.close()
    assert files.mail.open(files.inbox) is not second
    with pytest.raises(NotFound):
        files.mail.open(files.mail.create("x").id + 7)  # type: ignore[arg-type]  # no such id


def test_many_changed_at_once_are_shown_as_they_are_read(files: Files) -> None:
    """Runs with and without holes, with mail that came in between, from the changes and from the index."""
    fill(files)
    view = files.mail.open(files.inbox)
    before = view.highestmodseq
    for uids, flags, mail in (
        (range(1, 7), {"\\Flagged", "Neuf"}, 0),
        (range(2, 5), {"\\Answered"}, 0),
        ((1, 2, 4, 6), {"\\Deleted"}, 0),
        (range(1, 7), {"\\Draft"}, 2),
    ):
        files.mail.store_flags(files.inbox, [Uid(uid) for uid in uids], FlagOp.ADD, frozenset(flags))
        for _ in range(mail):
            append(files.mail, files.inbox)
        since = view.highestmodseq
        assert view.refresh()
        assert view.changed_since(since) == [*uids, *range(7, 7 + mail)]
    assert view.changed_since(before) == list(range(1, 9))
    assert list(view.keywords) == ["Rouge", "Neuf"]
    shown = (list(view.uids), list(view.flags), list(view.modseqs))
    view.close()
    files.settle()
    files.paths.snapshot(files.inbox).unlink()
    assert state(files) == shown
