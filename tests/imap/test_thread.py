"""THREAD (RFC 5256): both algorithms, and what senders may do to them."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imap_steps import Client
from preau.imap.thread import (
    LOOKED_UP,
    Threaded,
    find_message_id,
    find_references,
    render_threads,
    thread_by_references,
    thread_by_subject,
)


def msg(date: int, ids: str = "", subject: str = "", *, reply: bool = False) -> Threaded:
    """`ids`: own, then the references."""
    own, *references = ids.split() or [""]
    return Threaded(date, subject, reply, own.encode(), tuple(name.encode() for name in references))


def threaded(*messages: Threaded) -> str:
    threads = thread_by_references(messages)
    return b"".join(render_threads(threads, range(1, len(messages) + 1))).decode()


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        pytest.param([], "", id="none"),
        pytest.param([msg(1, "a"), msg(2, "b")], "(1)(2)", id="strangers"),
        pytest.param([msg(1, "a"), msg(2, "b a"), msg(3, "c a b")], "(1 2 3)", id="a chain"),
        pytest.param([msg(1, "a"), msg(3, "b a"), msg(2, "c a")], "(1 (3)(2))", id="siblings by date"),
        pytest.param([msg(3, "c a b"), msg(2, "b a"), msg(1, "a")], "(3 2 1)", id="out of order"),
        pytest.param([msg(1, "b a"), msg(2, "c a")], "((1)(2))", id="a parent that is not there"),
        pytest.param([msg(1, "b a")], "(1)", id="a parent that is not there, one child"),
        pytest.param([msg(1, "d a b c"), msg(2, "a")], "(2 1)", id="dummies between"),
        pytest.param([msg(1, "a b"), msg(2, "b a")], "(2 1)", id="a loop of two"),
        pytest.param([msg(1, "a a")], "(1)", id="one's own parent"),
        pytest.param([msg(1, "a"), msg(2, "a"), msg(3, "b a")], "(1 3)(2)", id="an id used twice"),
        pytest.param([msg(1), msg(2)], "(1)(2)", id="no ids"),
        pytest.param([msg(1, "a", "x"), msg(2, "b", "x", reply=True)], "(1 2)", id="subject: a reply"),
        pytest.param([msg(1, "a", "x", reply=True), msg(2, "b", "x")], "(2 1)", id="subject: a reply that is earlier"),
        pytest.param([msg(1, "a", "x"), msg(2, "b", "x")], "((1)(2))", id="subject: neither is a reply"),
        pytest.param([msg(1, "a", "x"), msg(2, "b", "x"), msg(3, "c", "x")], "((1)(2)(3))", id="subject: three"),
        pytest.param(
            [msg(1, "a p", "x"), msg(2, "b p", "x"), msg(3, "c q", "x"), msg(4, "d q", "x")],
            "((1)(2)(3)(4))",
            id="subject: two dummies",
        ),
        pytest.param([msg(9, "a"), msg(1, "b"), msg(5, "c a")], "(2)(1 3)", id="threads by the first date"),
        pytest.param([msg(2, "b a", "x"), msg(3, "c a"), msg(1, "z", "y")], "(3)((1)(2))", id="a dummy counts as its first"),
    ],
)
def test_references(messages: list[Threaded], expected: str) -> None:
    assert threaded(*messages) == expected


def test_ordered_subject() -> None:
    messages = [msg(5, subject="b"), msg(1, subject="a"), msg(3, subject="a"), msg(2, subject="a"), msg(4, subject="c")]
    text = b"".join(render_threads(thread_by_subject(messages), range(1, 6)))
    assert text == b"(2 (4)(3))(5)(1)"
    pair = [msg(1, subject="a"), msg(2, subject="a")]
    assert b"".join(render_threads(thread_by_subject(pair), [7, 9])) == b"(7 9)"


def test_ids_are_read_whatever_stands_around_them() -> None:
    assert find_message_id(b'Your mail of Monday <"a b"> <"x"@y> <z@y>') == b"x@y"
    assert find_message_id(b"none") == b""
    assert find_references(b"<a@x>\r\n <b@x><c@x> junk", b"<d@x>") == (b"a@x", b"b@x", b"c@x")
    assert find_references(b"junk", b"<d@x> <e@x>") == (b"d@x",)
    assert find_references(b"", b"") == ()


@settings(max_examples=150)
@given(
    st.lists(
        st.builds(
            Threaded,
            st.integers(0, 5),
            st.sampled_from(["", "x", "y"]),
            st.booleans(),
            st.sampled_from([b"", b"a", b"b", b"c", b"d", b"e"]),
            st.lists(st.sampled_from([b"a", b"b", b"c", b"d", b"e", b"f"]), max_size=4).map(tuple),
        ),
        max_size=10,
    )
)
def test_each_message_is_told_once(messages: list[Threaded]) -> None:
    for thread in (thread_by_references, thread_by_subject):
        text = b"".join(render_threads(thread(messages), range(1, len(messages) + 1))).decode()
        assert text.count("(") == text.count(")")
        assert "()" not in text
        numbers = text.replace("(", " ").replace(")", " ").split()
        assert sorted(map(int, numbers)) == list(range(1, len(messages) + 1))


@pytest.mark.parametrize("forwards", [True, False], ids=["oldest first", "newest first"])
def test_a_thread_of_any_depth(forwards: bool) -> None:
    """Far deeper than Python may call itself."""
    count = LOOKED_UP * 20
    order = range(count) if forwards else range(count - 1, -1, -1)
    messages = [msg(n, f"m{n} m{n - 1}" if n else "m0") for n in order]
    text = threaded(*messages)
    assert text.count("(") == 1


def test_links_to_the_end_of_a_long_chain_cost_little() -> None:
    chain = [msg(n, f"m{n} m{n - 1}") for n in range(1, 3_000)]
    pairs = [msg(5_000 + n, f"y{n} m2999 x{n} y{n}") for n in range(2_000)]
    assert threaded(*chain, *pairs).count("(") >= 1


def test_commands() -> None:
    client = Client()
    client.add(
        b"Message-ID: <a@x>\r\nSubject: Sortie\r\nDate: Mon, 1 Jan 2024 10:00:00 +0000\r\n\r\n",
        b"Message-ID: <b@x>\r\nIn-Reply-To: <a@x>\r\nSubject: Re: Sortie\r\nDate: Mon, 1 Jan 2024 11:00:00 +0000\r\n\r\n",
        b"Message-ID: <c@x>\r\nSubject: Autre\r\nDate: Mon, 1 Jan 2024 12:00:00 +0000\r\n\r\n",
    )
    client.say(b"SELECT INBOX")
    assert client.say(b"THREAD REFERENCES UTF-8 ALL") == (["* THREAD (1 2)(3)"], "OK THREAD completed")
    assert client.say(b"THREAD ORDEREDSUBJECT UTF-8 ALL")[0] == ["* THREAD (1 2)(3)"]
    assert client.say(b"UID THREAD references us-ascii 2:3")[0] == ["* THREAD (2)(3)"]
    assert client.say(b"THREAD REFERENCES UTF-8 DELETED")[0] == ["* THREAD"]
    assert client.say(b"THREAD JWZ UTF-8 ALL")[1].startswith("BAD ")
    assert client.say(b"THREAD REFERENCES KOI8-R ALL")[1].startswith("NO [BADCHARSET ")
