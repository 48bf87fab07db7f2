"""What is on its way into cache.db answers like what is there, and nobody misses it when it is lost."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from files import Files, opened
from preau.storage import cache_waiting, mail_fetch
from preau.storage.api import FlagOp, MailboxId, NotFound, StoreError, Uid
from preau.storage.held import HELD
from preau.storage.mail_context import MailContext
from store_contract import MIXED, PLAIN, append


@pytest.fixture(params=[True, False], ids=["sealed", "plain"])
def files(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Files]:
    with opened(tmp_path, sealing=request.param) as made:
        hold_back(made, monkeypatch)
        yield made


def hold_back(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is written before a test says so, and no file is looked into."""
    monkeypatch.setattr(files.context.waiting, "_later", lambda: None)
    monkeypatch.setattr(mail_fetch, "derive_message", no_reading)


def no_reading(context: MailContext, mailbox: MailboxId, uid: Uid) -> None:
    if context.reader.rows("SELECT 1 FROM msg WHERE id = ?", (mailbox << 32 | uid,)):
        raise AssertionError("a file was read for what is known")
    raise NotFound


def answers(files: Files, mailbox: int | None = None) -> object:
    where = files.inbox if mailbox is None else files.mail.find("Archive").id
    uids = [Uid(1), Uid(2), Uid(3)]
    return (
        [row[1:] for row in files.mail.rendered(where, uids)],
        [row[1:] for row in files.mail.header_fields(where, uids, [b"Subject", b"Received"])],
        list(files.mail.sent_dates(where, uids).values()),
    )


def rows(files: Files) -> int:
    return int(files.context.cache.reader.rows("SELECT count(*) FROM cache JOIN slots USING (id)")[0][0])


def test_rows_that_wait_are_read_like_those_that_are_written(files: Files) -> None:
    append(files.mail, files.inbox, PLAIN)
    files.context.waiting.write()
    append(files.mail, files.inbox, MIXED)
    assert rows(files) == 1
    before = answers(files)
    assert len(before[0]) == 2  # type: ignore[index]  # a tuple
    files.context.waiting.write()
    assert rows(files) == 2
    assert answers(files) == before


def test_copies_that_wait_answer_from_what_they_were_copied_from(files: Files) -> None:
    append(files.mail, files.inbox, PLAIN)
    files.context.waiting.write()
    append(files.mail, files.inbox, MIXED)
    before = answers(files)
    archive = files.mail.find("Archive").id
    files.mail.copy(files.inbox, [Uid(1), Uid(2)], archive)
    assert answers(files, archive) == before
    assert rows(files) == 1
    files.settle()
    files.context.waiting.write()
    assert rows(files) == 4
    assert answers(files, archive) == before


def test_moved_rows_are_copied_before_they_are_dropped(files: Files) -> None:
    append(files.mail, files.inbox, PLAIN)
    append(files.mail, files.inbox, MIXED)
    before = answers(files)
    archive = files.mail.find("Archive").id
    files.mail.move(files.inbox, [Uid(1), Uid(2)], archive)
    files.settle()
    assert rows(files) == 2
    assert answers(files, archive) == before
    assert answers(files) == ([], [], [])


def test_rows_of_messages_that_went_are_not_left_behind(files: Files) -> None:
    append(files.mail, files.inbox, PLAIN)
    files.mail.store_flags(files.inbox, [Uid(1)], FlagOp.ADD, frozenset({"\\Deleted"}))
    files.mail.expunge(files.inbox)
    assert answers(files) == ([], [], [])
    files.settle()
    files.context.waiting.write()
    assert rows(files) == 0


def test_more_than_may_wait_is_written_by_who_brings_it(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache_waiting, "MOST", 2)
    for _ in range(3):
        append(files.mail, files.inbox, PLAIN)
    assert rows(files) == 3
    monkeypatch.setattr(HELD, "most", HELD.octets + len(MIXED) - 1)
    append(files.mail, files.inbox, MIXED)
    assert rows(files) == 4


def test_what_cannot_be_written_is_let_go(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    append(files.mail, files.inbox, PLAIN)
    before = answers(files)

    def full(*arguments: object) -> None:
        raise StoreError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(files.context.cache, "put", full)
        files.context.waiting.write()
    assert rows(files) == 0
    monkeypatch.undo()
    assert answers(files) == before  # from the file
    files.settle()
    assert rows(files) == 1


def test_another_process_reads_the_file_when_it_is_faster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(tmp_path) as delivery, opened(tmp_path) as reader:
        hold_back(delivery, monkeypatch)
        append(delivery.mail, delivery.inbox, MIXED)
        before = answers(delivery)
        monkeypatch.undo()
        assert answers(reader) == before
        reader.settle()
        assert rows(reader) == 1
        delivery.context.waiting.write()
        assert rows(delivery) == 1
