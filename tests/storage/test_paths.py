"""Account ids and where an account's files lie."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from preau.storage.api import CollectionKind, InvalidName, MailboxId
from preau.storage.paths import AccountPaths, is_opaque, parse_account_id, render_account_id, render_opaque


@given(st.binary(min_size=16, max_size=16))
def test_an_id_is_its_sixteen_bytes(raw: bytes) -> None:
    account = render_account_id(raw)
    assert parse_account_id(account) == raw
    assert len(account) == 26
    assert is_opaque(account)


@given(st.text(max_size=40))
def test_whatever_parses_is_the_one_spelling(text: str) -> None:
    try:
        raw = parse_account_id(text)
    except InvalidName:
        return
    assert render_account_id(raw) == text


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="empty"),
        pytest.param("a" * 25, id="short"),
        pytest.param("a" * 27, id="long"),
        pytest.param("A" * 26, id="upper case"),
        pytest.param("a" * 25 + "b", id="bits beyond the sixteen bytes"),
        pytest.param("a" * 26 + "\n", id="line end"),
        pytest.param("../" + "a" * 23, id="parent"),
        pytest.param("a" * 12 + "/" + "a" * 13, id="separator"),
        pytest.param("a" * 25 + "\x00", id="NUL"),
        pytest.param("1" * 26, id="digit that base32 lacks"),
        pytest.param("ａ" * 26, id="wide letters"),
    ],
)
def test_what_is_no_id_opens_no_path(text: str) -> None:
    with pytest.raises(InvalidName):
        parse_account_id(text)
    with pytest.raises(InvalidName):
        AccountPaths(Path("/root"), text)


def test_ids_of_another_length_are_not_made() -> None:
    with pytest.raises(InvalidName):
        render_account_id(bytes(15))


def test_everything_lies_below_the_accounts_directory() -> None:
    account = render_account_id(bytes(range(16)))
    paths = AccountPaths(Path("/root"), account)
    assert paths.directory == Path("/root") / account[:2] / account
    opaque = render_opaque(bytes(16))
    below = [
        paths.maildir,
        paths.dav,
        paths.tmp,
        paths.snap,
        paths.index_db,
        paths.cache_db,
        paths.fts_db,
        paths.snapshot(MailboxId(7)),
        *(paths.collection(kind, opaque) for kind in CollectionKind),
    ]
    assert all(path.is_relative_to(paths.directory) for path in below)
    assert len(set(below)) == len(below)
    assert paths.collection(CollectionKind.CALENDAR, opaque).parent == paths.collection_folder(CollectionKind.CALENDAR)


@pytest.mark.parametrize("name", ["", "collection.json", "..", "a" * 25, "a" * 27, "A" * 26, "a" * 25 + "/", "a" * 26 + "\n"])
def test_only_our_own_names_are_opaque(name: str) -> None:
    assert not is_opaque(name)
