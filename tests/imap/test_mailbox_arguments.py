"""Commands that name mailboxes."""

import pytest

from imap_reading import read_command
from preau.imap.sequence import SequenceSet
from preau.imap.values import (
    Arguments,
    Create,
    Delete,
    GetQuota,
    GetQuotaRoot,
    List,
    ListReturn,
    ListSelect,
    Lsub,
    QResync,
    Rename,
    Select,
    Status,
    StatusItem,
    Subscribe,
    Unsubscribe,
)

UIDS = SequenceSet(((41, 41), (43, 211)))
NUMBERS = SequenceSet(((1, 1), (3, 3)))


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        pytest.param(b"SELECT inbox", Select("INBOX"), id="inbox is folded"),
        pytest.param(b'EXAMINE "Envoy&AOk-s"', Select("Envoy\u00e9s", read_only=True), id="examine"),
        pytest.param(b"SELECT x (condstore)", Select("x", condstore=True), id="condstore"),
        pytest.param(
            b"SELECT x (QRESYNC (67890007 20050715194045000))",
            Select("x", qresync=QResync(67890007, 20050715194045000)),
            id="qresync",
        ),
        pytest.param(b"SELECT x (QRESYNC (1 2 41,43:211))", Select("x", qresync=QResync(1, 2, UIDS)), id="known uids"),
        pytest.param(
            b"SELECT x (QRESYNC (1 2 41,43:211 (1,3 41,43:211)) CONDSTORE)",
            Select("x", condstore=True, qresync=QResync(1, 2, UIDS, (NUMBERS, UIDS))),
            id="sequence match data",
        ),
        pytest.param(
            b"SELECT x (QRESYNC (1 2 (1,3 41,43:211)))",
            Select("x", qresync=QResync(1, 2, None, (NUMBERS, UIDS))),
            id="match data alone",
        ),
        pytest.param(b"SELECT x (QRESYNC (1 2 1:*))", "Only numbers are allowed in this set.", id="star in known uids"),
        pytest.param(b"SELECT x (QRESYNC (0 2))", "Number must not be 0.", id="uidvalidity 0"),
        pytest.param(b"SELECT x (FOO)", "Unknown SELECT parameter FOO.", id="unknown parameter"),
        pytest.param(b"SELECT x ()", "Expected a name.", id="no parameter"),
        pytest.param(b'SELECT "a&"', "Modified UTF-7 run without its end.", id="broken name"),
        pytest.param(b"CREATE Classes/", Create("Classes"), id="children will follow"),
        pytest.param(b"CREATE x (USE (\\sent \\Drafts))", Create("x", frozenset({"\\Sent", "\\Drafts"})), id="special use"),
        pytest.param(b"CREATE x (USE (\\Foo))", Create("x", frozenset({"\\Foo"})), id="unknown use is for [USEATTR]"),
        pytest.param(b"CREATE x (USE (Sent))", "Expected '\\\\'.", id="use without its backslash"),
        pytest.param(b"DELETE x", Delete("x"), id="delete"),
        pytest.param(b'RENAME "a b" InBox/c', Rename("a b", "INBOX/c"), id="rename"),
        pytest.param(b"SUBSCRIBE x", Subscribe("x"), id="subscribe"),
        pytest.param(b"UNSUBSCRIBE x", Unsubscribe("x"), id="unsubscribe"),
        pytest.param(b'GETQUOTA ""', GetQuota(""), id="quota"),
        pytest.param(b"GETQUOTAROOT inbox", GetQuotaRoot("INBOX"), id="quota root"),
        pytest.param(
            b"STATUS x (MESSAGES uidnext MESSAGES)",
            Status("x", (StatusItem.MESSAGES, StatusItem.UIDNEXT)),
            id="status, doubles dropped",
        ),
        pytest.param(b"STATUS x ()", "Expected a name.", id="status of nothing"),
        pytest.param(b"STATUS x (FOO)", "Unknown STATUS item FOO.", id="unknown status item"),
        pytest.param(b"STATUS x MESSAGES", "Expected '('.", id="status without parentheses"),
    ],
)
def test_mailboxes(line: bytes, expected: Arguments | str) -> None:
    assert read_command(line) == expected


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        pytest.param(b'LIST "" *', List("", ("*",)), id="plain"),
        pytest.param(b'LIST "" ""', List("", ("",)), id="asks for the delimiter"),
        pytest.param(b'LIST Classes/ "%"', List("Classes/", ("%",)), id="reference"),
        pytest.param(b'LIST "" &AOk-%', List("", ("\u00e9%",)), id="modified UTF-7"),
        pytest.param(
            b'list (subscribed) "" "*" return (special-use)',
            List("", ("*",), True, frozenset({ListSelect.SUBSCRIBED}), frozenset({ListReturn.SPECIAL_USE})),
            id="Thunderbird's",
        ),
        pytest.param(b'LIST () "" (INBOX "a b")', List("", ("INBOX", "a b"), True), id="several patterns"),
        pytest.param(
            b'LIST "" % RETURN (CHILDREN STATUS (MESSAGES UNSEEN) SUBSCRIBED)',
            List(
                "",
                ("%",),
                True,
                frozenset(),
                frozenset({ListReturn.CHILDREN, ListReturn.SUBSCRIBED}),
                (StatusItem.MESSAGES, StatusItem.UNSEEN),
            ),
            id="LIST-STATUS",
        ),
        pytest.param(b'LIST "" % RETURN ()', List("", ("%",), True), id="return nothing"),
        pytest.param(b'LIST (RECURSIVEMATCH) "" *', "RECURSIVEMATCH needs another selection option.", id="modifier alone"),
        pytest.param(
            b'LIST (REMOTE RECURSIVEMATCH) "" *', "RECURSIVEMATCH needs another selection option.", id="with REMOTE alone"
        ),
        pytest.param(
            b'LIST (SUBSCRIBED RECURSIVEMATCH) "" *',
            List("", ("*",), True, frozenset({ListSelect.SUBSCRIBED, ListSelect.RECURSIVEMATCH})),
            id="modifier with its base",
        ),
        pytest.param(b'LIST (FOO) "" *', "Unknown LIST selection option FOO.", id="unknown selection"),
        pytest.param(b'LIST "" * RETURN (FOO)', "Unknown LIST return option FOO.", id="unknown return"),
        pytest.param(b'LIST "" * FOO', "Expected RETURN.", id="something behind"),
        pytest.param(b'LIST ""', "Missing argument.", id="no pattern"),
        pytest.param(b'LSUB "" "%"', Lsub("", "%"), id="lsub"),
    ],
)
def test_list(line: bytes, expected: Arguments | str) -> None:
    assert read_command(line) == expected


def test_utf8_names() -> None:
    assert read_command('SELECT "Envoy\u00e9s & co"'.encode(), utf8=True) == Select("Envoy\u00e9s & co")
    assert read_command(b'SELECT "\xff"', utf8=True) == "Not UTF-8."
    assert read_command('CREATE "a\u2028b"'.encode(), utf8=True) == "Line or paragraph separator in mailbox name."
    assert read_command(b"SELECT {1+}\r\n\xff", utf8=True) == "Mailbox name is not UTF-8."
