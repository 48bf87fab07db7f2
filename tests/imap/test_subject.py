"""Base subjects (RFC 5256 section 2.1) and collation."""

import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from preau.imap.subject import base_subject, collation


@pytest.mark.parametrize(
    ("subject", "base", "reply"),
    [
        ("Hello", "Hello", False),
        ("  Hello \t world  ", "Hello world", False),
        ("Re: Hello", "Hello", True),
        ("RE:Re : fwd: FW:Hello", "Hello", True),
        ("Re[2]: Hello", "Hello", True),
        ("Re [2] : Hello", "Hello", True),
        ("[list] Re: Hello", "Hello", True),
        ("[list] [x] Hello", "Hello", False),
        ("[list]", "[list]", False),
        ("[a] [b]", "[b]", False),
        ("[list] Re: [x] [y]", "[y]", True),
        ("Hello (fwd)", "Hello", True),
        ("Hello (fwd) (FWD) ", "Hello", True),
        ("[Fwd: Hello]", "Hello", True),
        ("[fwd: [fwd: Re: Hello (fwd)] ]", "Hello", True),
        ("Re: [Fwd: Hello]", "Hello", True),
        ("[fwd: x] y", "y", False),
        ("Re:", "", True),
        ("", "", False),
        ("()", "()", False),
        ("Tr : Bonjour", "Tr : Bonjour", False),
        ("Reply", "Reply", False),
        ("=?utf-8?q?Re=3A_=C3=A9t=C3=A9?=", "été", True),
    ],
)
def test_base_subject(subject: str, base: str, reply: bool) -> None:
    assert base_subject(subject.encode()) == (base, reply)


def by_the_book(text: str) -> str:
    """The seven steps as they stand in the RFC, cutting strings."""
    blob = r"\[[^\[\]]*\] *"
    text = re.sub(r"[ \t\r\n]+", " ", text)
    while True:
        while (cut := re.sub(r"(?:\(fwd\)| )\Z", "", text, flags=re.I)) != text:
            text = cut
        while True:
            before = text
            text = re.sub(rf"\A(?:(?:{blob})*(?:re|fwd?) *(?:{blob})?:| )", "", text, flags=re.I)
            if text == before:
                without = re.sub(rf"\A{blob}", "", text)
                if without:
                    text = without
            if text == before:
                break
        if not re.fullmatch(r"\[fwd:.*\]", text, re.I | re.S):
            return text
        text = text[5:-1]


@settings(max_examples=300)
@given(st.lists(st.sampled_from(["re", "fw", "fwd", ":", " ", "[", "]", "(fwd)", "[fwd:", "a", "[b]", "\t"]), max_size=14))
@example(["[b]", " ", "[b]", "re", ":", "[b]"])
def test_it_is_the_algorithm_of_the_rfc(words: list[str]) -> None:
    text = "".join(words)
    assert base_subject(text.encode())[0] == by_the_book(text)


@pytest.mark.parametrize("piece", ["re:", "[a]", "[", "[fwd:", "(fwd)", "[a]re:", "[a ", "re[", " "])
def test_a_hostile_subject_takes_no_time(piece: str) -> None:
    assert len(base_subject((piece * 65_536).encode())[0]) <= 65_536


def test_collation() -> None:
    assert collation("abc") == "ABC"
    assert collation("été") == collation("ÉTÉ")
    assert collation("été") != collation("ete")
    assert collation("straße") != collation("strasse")  # simple title case has one character for one (RFC 5051)
