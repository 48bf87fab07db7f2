"""Commands and their arguments: any state, sign-in, messages."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imap_reading import read_command
from preau.imap.arguments import COMMANDS
from preau.imap.sequence import SAVED, STAR, SequenceSet
from preau.imap.values import (
    All,
    Arguments,
    Authenticate,
    Compress,
    Copy,
    Enable,
    Expunge,
    Fetch,
    FetchFact,
    HasFlag,
    Id,
    Idle,
    Login,
    Move,
    Not,
    Search,
    SearchReturn,
    Sort,
    SortKey,
    Store,
    Thread,
)
from preau.storage.api import FlagOp

ONE = SequenceSet(((1, 1),))
REST = SequenceSet(((2, 2), (4, STAR)))


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        pytest.param(b"LOGIN bob secret", Login(b"bob", b"secret"), id="login"),
        pytest.param(b'LOGIN "b\\"ob" "p\\\\w"', Login(b'b"ob', b"p\\w"), id="login quoted"),
        pytest.param(b'LOGIN bob ""', Login(b"bob", b""), id="login with nothing"),
        pytest.param(b'LOGIN bob "p\xe9"', Login(b"bob", b"p\xe9"), id="8-bit password, as clients send it"),
        pytest.param(b"LOGIN a]b x", Login(b"a]b", b"x"), id="resp-specials in an astring"),
        pytest.param(b'LOGIN bob "x', "Expected a string.", id="quote without its end"),
        pytest.param(b'LOGIN bob "\\x"', "Expected a string.", id="escape of what needs none"),
        pytest.param(b"LOGIN bob", "Missing argument.", id="login without password"),
        pytest.param(b"AUTHENTICATE plain", Authenticate("PLAIN"), id="authenticate"),
        pytest.param(b"AUTHENTICATE PLAIN =", Authenticate("PLAIN", b"="), id="empty initial response"),
        pytest.param(b"AUTHENTICATE PLAIN AGJvYgBw", Authenticate("PLAIN", b"AGJvYgBw"), id="initial response"),
        pytest.param(b"AUTHENTICATE PLAIN AA BB", "Invalid initial response.", id="two of them"),
        pytest.param(b"ID NIL", Id(None), id="id nil"),
        pytest.param(b"ID ()", Id(()), id="id empty"),
        pytest.param(
            b'ID ("name" "Thunderbird" "version" NIL)', Id((("name", "Thunderbird"), ("version", None))), id="id of a client"
        ),
        pytest.param(b'ID "x"', "ID takes a list or NIL.", id="id string"),
        pytest.param(b'ID ("' + b"n" * 31 + b'" NIL)', "ID field too long.", id="id name too long"),
        pytest.param(b"ID (" + b" ".join([b'"n" "v"'] * 31) + b")", "Too many ID fields.", id="id fields too many"),
        pytest.param(b"ENABLE condstore UTF8=ACCEPT", Enable(("CONDSTORE", "UTF8=ACCEPT")), id="enable"),
        pytest.param(b"ENABLE", "ENABLE takes capability names.", id="enable nothing"),
        pytest.param(b"COMPRESS deflate", Compress("DEFLATE"), id="compress"),
        pytest.param(b"IDLE", Idle(), id="idle"),
        pytest.param(b"EXPUNGE", Expunge(), id="expunge"),
        pytest.param(b"UID EXPUNGE 2,4:*", Expunge(REST), id="uid expunge"),
        pytest.param(b"UID EXPUNGE", "Missing argument.", id="uid expunge without a set"),
        pytest.param(b"COPY 1 Trash", Copy(ONE, "Trash"), id="copy"),
        pytest.param(b"UID MOVE $ trash", Move(SAVED, "trash", True), id="uid move of what was found"),
        pytest.param(b"COPY 0 Trash", "Invalid sequence set: bad number in sequence set.", id="number 0"),
        pytest.param(b"COPY x Trash", "Expected a sequence set.", id="no set"),
    ],
)
def test_commands(line: bytes, expected: Arguments | str) -> None:
    assert read_command(line) == expected


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        pytest.param(b"STORE 1 FLAGS ()", Store(ONE, FlagOp.REPLACE, frozenset()), id="none"),
        pytest.param(
            b"STORE 1 +FLAGS (\\seen $Label1)", Store(ONE, FlagOp.ADD, frozenset({"\\Seen", "$Label1"})), id="add, any case"
        ),
        pytest.param(
            b"UID STORE 2,4:* -flags.silent \\Deleted \\Draft",
            Store(REST, FlagOp.REMOVE, frozenset({"\\Deleted", "\\Draft"}), True, True),
            id="bare list",
        ),
        pytest.param(
            b"STORE 1 (UNCHANGEDSINCE 0) FLAGS \\Flagged",
            Store(ONE, FlagOp.REPLACE, frozenset({"\\Flagged"}), unchanged_since=0),
            id="conditional",
        ),
        pytest.param(b"STORE 1 FLAGS \\Recent", "Invalid system flag \\Recent.", id="recent"),
        pytest.param(b"STORE 1 FLAGS (\\*)", "Expected a flag.", id="star"),
        pytest.param(b"STORE 1 FLAGS (a]b)", "Expected a space.", id="bracket in a keyword"),
        pytest.param(b"STORE 1 FLAGS (a  b)", "Expected a flag.", id="two spaces"),
        pytest.param(b"STORE 1 FLAGS (a", "Missing argument.", id="no end"),
        pytest.param(b"STORE 1 FLAGS", "Missing argument.", id="no flags"),
        pytest.param(b"STORE 1 LABELS x", "STORE changes FLAGS only.", id="something else"),
        pytest.param(b"STORE 1 (UNCHANGEDSINCE 9223372036854775808) FLAGS x", "Number too large.", id="64 bits"),
        pytest.param(
            b"STORE 1 FLAGS (" + b" ".join(b"k%d" % i for i in range(300)) + b")", "Too many items in a list.", id="many"
        ),
        pytest.param(b"STORE 1 FLAGS " + b" ".join(b"k%d" % i for i in range(300)), "Too many flags.", id="many bare"),
    ],
)
def test_store(line: bytes, expected: Arguments | str) -> None:
    assert read_command(line) == expected


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        pytest.param(b"SEARCH ALL", Search(All()), id="all"),
        pytest.param(b"UID SEARCH CHARSET utf-8 UNSEEN", Search(Not(HasFlag("\\Seen")), "UTF-8", None, True), id="charset"),
        pytest.param(b"SEARCH RETURN () ALL", Search(All(), returns=frozenset({SearchReturn.ALL})), id="return nothing: all"),
        pytest.param(
            b"SEARCH RETURN (MIN count SAVE) CHARSET UTF-8 ALL",
            Search(All(), "UTF-8", frozenset({SearchReturn.MIN, SearchReturn.COUNT, SearchReturn.SAVE})),
            id="options",
        ),
        pytest.param(b"SEARCH RETURN (FOO) ALL", "Unknown RETURN option FOO.", id="unknown option"),
        pytest.param(b"SEARCH", "Missing argument.", id="no keys"),
        pytest.param(b"SEARCH CHARSET UTF-8", "Missing argument.", id="charset alone"),
        pytest.param(
            b"UID SORT (REVERSE DATE subject) UTF-8 ALL",
            Sort(((SortKey.DATE, True), (SortKey.SUBJECT, False)), "UTF-8", All(), None, True),
            id="sort",
        ),
        pytest.param(b"SORT (REVERSE) UTF-8 ALL", "Expected a space.", id="reverse nothing"),
        pytest.param(b"THREAD references us-ascii ALL", Thread("REFERENCES", "US-ASCII", All()), id="thread"),
    ],
)
def test_search(line: bytes, expected: Arguments | str) -> None:
    assert read_command(line) == expected


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        pytest.param(b"FETCH 1 FAST", Fetch(ONE, (FetchFact.FLAGS, FetchFact.INTERNALDATE, FetchFact.SIZE)), id="macro"),
        pytest.param(
            b"UID FETCH 2,4:* (FLAGS) (CHANGEDSINCE 9 VANISHED)", Fetch(REST, (FetchFact.FLAGS,), True, 9, True), id="QRESYNC"
        ),
        pytest.param(b"FETCH 1 FLAGS (CHANGEDSINCE 9)", Fetch(ONE, (FetchFact.FLAGS,), False, 9), id="CONDSTORE"),
        pytest.param(
            b"FETCH 1 FLAGS (CHANGEDSINCE 9 VANISHED)", "VANISHED goes with UID FETCH and CHANGEDSINCE only.", id="numbers"
        ),
        pytest.param(b"UID FETCH 1 FLAGS (VANISHED)", "VANISHED goes with UID FETCH and CHANGEDSINCE only.", id="since when"),
        pytest.param(b"FETCH 1 FLAGS x", "Expected '('.", id="more"),
        pytest.param(b"FETCH 1 FLAGS ", "Expected '('.", id="trailing space"),
        pytest.param(b"FETCH 1 (FLAGS) (FOO)", "Unknown FETCH modifier FOO.", id="unknown modifier"),
    ],
)
def test_fetch(line: bytes, expected: Arguments | str) -> None:
    assert read_command(line) == expected


def test_repeated_items_are_read_once() -> None:
    first = read_command(b"UID FETCH 1 (UID FLAGS BODY.PEEK[HEADER.FIELDS (From)])")
    second = read_command(b"UID FETCH 2 (UID FLAGS BODY.PEEK[HEADER.FIELDS (From)])")
    assert isinstance(first, Fetch)
    assert isinstance(second, Fetch)
    assert second.items is first.items


WORDS = st.lists(
    st.sampled_from(
        b'1 * ( ) "x" " FLAGS BODY[ ] <0.1> UID NOT OR INBOX RETURN \\Seen 1-Jan-2026 HEADER.FIELDS & NIL CHARSET % {'.split()
    )
    | st.just(b" "),
    max_size=20,
).map(b"".join)


@given(st.sampled_from(sorted(COMMANDS)), WORDS)
def test_only_bad_and_no_come_out(name: str, rest: bytes) -> None:
    read_command(name.encode() + b" " + rest)


def test_utf8_changes_searches_and_strings() -> None:
    """RFC 6855 section 3: no CHARSET, UTF-8 in quoted strings and nothing else."""
    found = read_command('SEARCH SUBJECT "été"'.encode(), utf8=True)
    assert isinstance(found, Search)
    assert found.charset == "UTF-8"
    assert read_command(b"SEARCH CHARSET UTF-8 ALL", utf8=True) == "No CHARSET with UTF8=ACCEPT."
    assert read_command(b'FETCH 1 BODY[HEADER.FIELDS ("\xff")]', utf8=True) == "Not UTF-8."
    assert isinstance(read_command(b'FETCH 1 BODY[HEADER.FIELDS ("\xff")]'), Fetch)
