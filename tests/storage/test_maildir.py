"""Names in the Maildir: what is written comes back, and nothing leads out of it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from preau.storage.api import DELETED, DRAFT, FLAGGED, SEEN
from preau.storage.maildir import (
    MAX_DIRECTORY,
    NAMED_FLAGS,
    delivery_hash,
    directory_name,
    file_name,
    hashed_directory,
    is_directory_name,
    is_plain_base,
    mailbox_name,
    parse_base,
    render_base,
    split_name,
)

TWIN = bytes(range(12))


def base(**changes: object) -> str:
    values: dict[str, object] = {
        "time_us": 1_764_040_000_000_123,
        "process": 4711,
        "counter": 9,
        "host": "mail.example.org",
        "email_id": 0xF1A2B3,
        "size": 2048,
    }
    return render_base(**(values | changes))  # type: ignore[arg-type]  # a table of arguments


def test_our_names_tell_what_a_rebuild_needs() -> None:
    name = base(delivery=TWIN)
    assert name == ("1764040000.preau-M000123P4711Q9E0000000000f1a2b3D000102030405060708090a0b.mail-example-org,S=2048,W=2048")
    own = parse_base(name)
    assert own is not None
    assert (own.time, own.email_id, own.delivery, own.size) == (1_764_040_000, 0xF1A2B3, TWIN, 2048)
    plain = parse_base(base())
    assert plain is not None
    assert plain.delivery is None
    assert is_plain_base(name)


@pytest.mark.parametrize("host", ["", "ä.b", "a/b", "a:2,S", "x" * 300])
def test_a_host_name_never_breaks_a_name(host: str) -> None:
    name = base(host=host)
    assert parse_base(name) is not None
    assert is_plain_base(name)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("1764040000.M1P2.host", id="other software"),
        pytest.param("1764040000.preau-M1P2Q3E00.host,S=1,W=1", id="too short"),
        pytest.param(base() + ":2,S", id="with flags"),
        pytest.param("", id="empty"),
    ],
)
def test_names_of_others_are_not_ours(name: str) -> None:
    assert parse_base(name) is None


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        pytest.param("1.a,S=3", True, id="usual"),
        pytest.param("", False, id="empty"),
        pytest.param("a b", False, id="space"),
        pytest.param("a\nb", False, id="line end"),
        pytest.param("a\udce9b", False, id="not UTF-8"),
        pytest.param("é", False, id="not ASCII"),
        pytest.param("a:1,x", False, id="colon"),
        pytest.param("x" * 201, False, id="long"),
    ],
)
def test_plain_bases(name: str, expected: bool) -> None:
    assert is_plain_base(name) is expected


@given(st.integers(min_value=0, max_value=(1 << 63) - 1))
def test_flags_come_back_as_far_as_names_show_them(flags: int) -> None:
    assert split_name(file_name("1.x", flags)) == ("1.x", flags & NAMED_FLAGS, "")


def test_letters_are_in_order_and_strange_ones_are_told() -> None:
    assert file_name("b", SEEN | DRAFT | FLAGGED | DELETED | 1 << 5) == "b:2,DFSTa"
    assert split_name("b:2,PSZ") == ("b", SEEN, "PZ")
    assert split_name("b") == ("b", 0, "")


@pytest.mark.parametrize(
    ("name", "directory"),
    [
        pytest.param("INBOX", "", id="inbox"),
        pytest.param("Sent", ".Sent", id="plain"),
        pytest.param("a/b", ".a.b", id="child"),
        pytest.param("INBOX/a", ".INBOX.a", id="below inbox"),
        pytest.param("a.b", ".a&AC4-b", id="dot"),
        pytest.param("Été", ".&AMk-t&AOk-", id="accents"),
        pytest.param("a&b", ".a&-b", id="ampersand"),
        pytest.param("~x", ".&AH4-x", id="tilde"),
        pytest.param("..", ".&AC4ALg-", id="parent"),
        pytest.param("日本", ".&ZeVnLA-", id="wide"),
    ],
)
def test_directories(name: str, directory: str) -> None:
    assert directory_name(name) == directory
    assert mailbox_name(directory) == name
    assert is_directory_name(directory)


part = st.text(st.characters(exclude_categories=("Cs", "Cc"), exclude_characters="/"), min_size=1, max_size=12)


@given(st.lists(part, min_size=1, max_size=4))
def test_names_come_back_from_directories(parts: list[str]) -> None:
    name = "/".join(parts)
    directory = directory_name(name)
    assert is_directory_name(directory)
    assert len(directory) <= MAX_DIRECTORY
    if name != "INBOX" and "~" not in directory:
        assert mailbox_name(directory) == name


def test_long_names_are_hashed() -> None:
    directory = directory_name("é" * 400)
    assert directory.startswith(".~")
    assert mailbox_name(directory) is None
    assert hashed_directory("a", 1) != hashed_directory("a", 2)


@pytest.mark.parametrize("directory", ["cur", "..", ".", ".a/b", ".a\0", ".~abc", ".a&b", ".a..b", ".&ZeVnL!-", ".&AAA-"])
def test_directories_that_stand_for_no_name(directory: str) -> None:
    assert mailbox_name(directory) is None


@pytest.mark.parametrize("directory", ["..", ".", "a", "cur", ".a/../b", "/etc", ".a\0"])
def test_directories_that_are_not_used(directory: str) -> None:
    assert not is_directory_name(directory)


def test_a_delivery_has_another_hash_in_each_mailbox() -> None:
    assert delivery_hash(1, "x") != delivery_hash(2, "x")
    assert len(delivery_hash(1, "\ud800")) == 12
