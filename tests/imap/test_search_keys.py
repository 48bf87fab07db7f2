"""Search programs: every key, trees, faults."""

import pytest

from imap_reading import read_command
from preau.imap.sequence import SAVED, STAR, SequenceSet
from preau.imap.values import (
    All,
    And,
    DateField,
    DateKey,
    DateOrder,
    HasEmailId,
    HasFlag,
    HasThreadId,
    Larger,
    ModSeqAtLeast,
    Not,
    Numbers,
    Older,
    Or,
    Search,
    SearchKey,
    Smaller,
    Text,
    Uids,
    Younger,
)
from preau.storage.api import TextField

NEW_YEAR = 20454  # 1 January 2026


def keys(text: bytes) -> SearchKey | str:
    arguments = read_command(b"SEARCH " + text)
    if isinstance(arguments, str):
        return arguments
    assert isinstance(arguments, Search)
    return arguments.key


def date_key(field: DateField, order: DateOrder) -> DateKey:
    return DateKey(field, order, NEW_YEAR)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"ALL", All()),
        (b"answered", HasFlag("\\Answered")),
        (b"DELETED", HasFlag("\\Deleted")),
        (b"DRAFT", HasFlag("\\Draft")),
        (b"FLAGGED", HasFlag("\\Flagged")),
        (b"SEEN", HasFlag("\\Seen")),
        (b"UNANSWERED", Not(HasFlag("\\Answered"))),
        (b"UNDELETED", Not(HasFlag("\\Deleted"))),
        (b"UNDRAFT", Not(HasFlag("\\Draft"))),
        (b"UNFLAGGED", Not(HasFlag("\\Flagged"))),
        (b"UNSEEN", Not(HasFlag("\\Seen"))),
        (b"NEW", Not(All())),
        (b"OLD", All()),
        (b"RECENT", Not(All())),
        (b"KEYWORD $Junk", HasFlag("$Junk")),
        (b"UNKEYWORD $Junk", Not(HasFlag("$Junk"))),
        (b"LARGER 10", Larger(10)),
        (b"SMALLER 0", Smaller(0)),
        (b"BEFORE 1-Jan-2026", date_key(DateField.INTERNAL, DateOrder.BEFORE)),
        (b"ON 01-jan-2026", date_key(DateField.INTERNAL, DateOrder.ON)),
        (b'SINCE "1-Jan-2026"', date_key(DateField.INTERNAL, DateOrder.SINCE)),
        (b"SENTBEFORE 1-Jan-2026", date_key(DateField.SENT, DateOrder.BEFORE)),
        (b"SENTON 1-Jan-2026", date_key(DateField.SENT, DateOrder.ON)),
        (b"SENTSINCE 1-Jan-2026", date_key(DateField.SENT, DateOrder.SINCE)),
        (b"SAVEDBEFORE 1-Jan-2026", date_key(DateField.SAVED, DateOrder.BEFORE)),
        (b"SAVEDON 1-Jan-2026", date_key(DateField.SAVED, DateOrder.ON)),
        (b"SAVEDSINCE 1-Jan-2026", date_key(DateField.SAVED, DateOrder.SINCE)),
        (b"SAVEDATESUPPORTED", All()),
        (b"OLDER 3600", Older(3600)),
        (b"YOUNGER 3600", Younger(3600)),
        (b"BODY x", Text(TextField.BODY, b"x")),
        (b'TEXT "x y"', Text(TextField.TEXT, b"x y")),
        (b"SUBJECT {2+}\r\n\xc3\xa9", Text(TextField.HEADER, b"\xc3\xa9", "subject")),
        (b'FROM "\xc3\xa9"', Text(TextField.HEADER, b"\xc3\xa9", "from")),
        (b"TO x", Text(TextField.HEADER, b"x", "to")),
        (b"CC x", Text(TextField.HEADER, b"x", "cc")),
        (b"BCC x", Text(TextField.HEADER, b"x", "bcc")),
        (b'HEADER X-Spam ""', Text(TextField.HEADER, b"", "X-Spam")),
        (b"UID 5:*", Uids(SequenceSet(((5, STAR),)))),
        (b"UID $", Uids(SAVED)),
        (b"2,4", Numbers(SequenceSet(((2, 2), (4, 4))))),
        (b"*", Numbers(SequenceSet(((STAR, STAR),)))),
        (b"$", Numbers(SAVED)),
        (b"MODSEQ 620162338", ModSeqAtLeast(620162338)),
        (b'MODSEQ "/flags/\\\\draft" all 0', ModSeqAtLeast(0)),
        (b"EMAILID M1", HasEmailId("M1")),
        (b"THREADID T1", HasThreadId("T1")),
    ],
    ids=lambda value: value.decode("latin-1") if isinstance(value, bytes) else "",
)
def test_keys(text: bytes, expected: SearchKey) -> None:
    assert keys(text) == expected


SEEN = HasFlag("\\Seen")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param(b"SEEN ALL", And((SEEN, All())), id="side by side"),
        pytest.param(b"(SEEN)", SEEN, id="parentheses around one"),
        pytest.param(b"(SEEN ALL) ALL", And((And((SEEN, All())), All())), id="parentheses"),
        pytest.param(b"NOT NOT SEEN", Not(Not(SEEN)), id="not not"),
        pytest.param(b"OR SEEN OR ALL NOT SEEN", Or(SEEN, Or(All(), Not(SEEN))), id="or chain"),
        pytest.param(b"OR (SEEN ALL) 3", Or(And((SEEN, All())), Numbers(SequenceSet(((3, 3),)))), id="or of groups"),
    ],
)
def test_trees(text: bytes, expected: SearchKey) -> None:
    assert keys(text) == expected


def test_a_long_or_chain_of_a_client_is_read() -> None:
    assert isinstance(keys(b"OR SEEN " * 90 + b"SEEN"), Or)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        pytest.param(b"FOO", "Unknown search key FOO.", id="unknown"),
        pytest.param(b"()", "Expected a name.", id="empty parentheses"),
        pytest.param(b"(SEEN", "Missing argument.", id="no end"),
        pytest.param(b"OR SEEN", "Missing argument.", id="half an OR"),
        pytest.param(b"NOT", "Missing argument.", id="NOT nothing"),
        pytest.param(b"SINCE 31-Feb-2026", "Invalid date.", id="no such day"),
        pytest.param(b"SINCE 1-Foo-2026", "Invalid date.", id="no such month"),
        pytest.param(b"SINCE 1-Jan-0000", "Invalid date.", id="no such year"),
        pytest.param(b'SINCE "1-Jan-2026', "Invalid date.", id="quote without its end"),
        pytest.param(b"SINCE yesterday", "Invalid date.", id="no date"),
        pytest.param(b"LARGER x", "Expected a number.", id="no number"),
        pytest.param(b"YOUNGER 0", "Number must not be 0.", id="interval 0"),
        pytest.param(b"MODSEQ /flags/x all 1", "Expected a number.", id="entry not quoted"),
        pytest.param(b'MODSEQ "/comment" all 1', "Unknown metadata item.", id="other entry"),
        pytest.param(b"(" * 101 + b"ALL" + b")" * 101, "Search keys nested too deep.", id="deep"),
        pytest.param(b"ALL " * 2001 + b"ALL", "Too many search keys.", id="many"),
        pytest.param(b"SEEN  ALL", "Expected a name.", id="two spaces"),
    ],
)
def test_faults(text: bytes, fault: str) -> None:
    assert keys(text) == fault
