"""Columns of FETCH: batches of rows, templates, and messages that a source no longer has."""

from collections.abc import Iterator, Sequence

from preau.imap.fetch_columns import Column, Rows, row_template
from preau.imap.values import FetchBody, FetchFact, Section, SectionText
from preau.storage.api import Facts, Uid

SUBJECT = FetchBody(
    Section((), SectionText.HEADER_FIELDS, (b"100%",)), peek=True, label=b"BODY[HEADER.FIELDS (100%)]", partial=None
)


def facts(uid: int) -> Facts:
    return Facts(Uid(uid), 10 * uid, 0, 86_400, f"E{uid}", f"T{uid}")


def test_a_template_has_a_place_for_each_value() -> None:
    template = row_template((FetchFact.UID, FetchFact.FLAGS, SUBJECT), whole=True)
    assert template % (1, 7, b"\\Seen", 2, b"\r\n") == (
        b"* 1 FETCH (UID 7 FLAGS (\\Seen) BODY[HEADER.FIELDS (100%)] {2}\r\n\r\n)\r\n"
    )
    assert row_template((), whole=False) % 3 == b"* 3 FETCH ("


def test_envelope_and_bodystructure_are_one_place() -> None:
    items = (FetchFact.BODYSTRUCTURE, FetchFact.UID, FetchFact.ENVELOPE)
    rows = Rows([1], [Uid(5)], (), [(Uid(5), b"ENVELOPE (x) BODYSTRUCTURE (y)", 12)], (), (), [])
    row = next(zip(*rows.columns(items, {}), strict=True))
    assert row_template(items, whole=True) % row == b"* 1 FETCH (UID 5 ENVELOPE (x) BODYSTRUCTURE (y))\r\n"
    for item, text in ((FetchFact.ENVELOPE, b"ENVELOPE (x)"), (FetchFact.BODYSTRUCTURE, b"BODYSTRUCTURE (y)")):
        row = next(zip(*rows.columns((item,), {}), strict=True))
        assert row_template((item,), whole=True) % row == b"* 1 FETCH (%b)\r\n" % text


def test_what_a_source_lacks_is_left_out_of_all() -> None:
    header = (Uid(9), b"A: b\r\n\r\n")
    rows = Rows([1, 2, 3], [Uid(7), Uid(8), Uid(9)], [facts(7), None, facts(9)], (), [0, 1, 1], (), [[None, header, header]])
    assert rows.drop_missing() == 2
    items = (FetchFact.UID, FetchFact.SIZE, FetchFact.SAVEDATE, FetchFact.EMAILID, FetchFact.FLAGS, SUBJECT)
    assert list(zip(*rows.columns(items, {1: "\\Seen"}), strict=True)) == [
        (3, 9, 90, b'"02-Jan-1970 00:00:00 +0000"', b"E9", b"\\Seen", 8, b"A: b\r\n\r\n")
    ]
    assert rows.drop_missing() == 0


def test_a_column_falls_back_to_asking_by_batch() -> None:
    there = {Uid(n) for n in (1, 2, 4, 5, 6)}
    asked: list[list[Uid]] = []

    def ask(uids: Sequence[Uid]) -> Iterator[Facts]:
        asked.append(list(uids))
        return iter([facts(uid) for uid in uids if uid in there])

    every = [Uid(n) for n in range(1, 7)]
    column = Column(ask, lambda row: row.uid, every)
    assert column.take(every[:2]) == [facts(1), facts(2)]
    assert column.take(every[2:4]) == [None, facts(4)]
    assert column.take(every[4:]) == [facts(5), facts(6)]
    assert asked == [every, every[2:4], every[4:]]
