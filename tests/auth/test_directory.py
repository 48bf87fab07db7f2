"""Domains, addresses, groups: where mail goes."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from preau.auth.accounts import Accounts, open_accounts
from preau.auth.directory import NOWHERE, Directory, TooManyRecipients
from preau.storage.api import AccountId

NOW = 1_800_000_000
MARIE, PAUL = AccountId("marie-id"), AccountId("paul-id")


@pytest.fixture
def accounts(tmp_path: Path) -> Iterator[Accounts]:
    opened = open_accounts(tmp_path / "auth.db")
    directory = Directory(opened.connection)
    with opened.transaction():
        directory.add_domain("ecole.example", NOW)
        opened.add(MARIE, "marie@ecole.example", now=NOW, quota=1000)
        opened.add(PAUL, "paul@ecole.example", now=NOW)
    yield opened
    opened.close()


@pytest.fixture
def directory(accounts: Accounts) -> Directory:
    return Directory(accounts.connection)


def lookup(directory: Directory, address: str, *, delimiter: str = "+", limit: int = 100) -> tuple[set[str], set[str]]:
    found = directory.lookup(address, delimiter=delimiter, limit=limit)
    return {one.account for one in found.local}, set(found.outside)


def add_group(accounts: Accounts, directory: Directory, address: str, *members: str) -> None:
    with accounts.transaction():
        row = directory.add_group(address, NOW)
        for member in members:
            assert directory.add_member(row, member)


def test_an_account_is_found_with_its_address_and_quota(directory: Directory) -> None:
    (found,) = directory.lookup("marie@ecole.example", delimiter="+", limit=10).local
    assert (found.account, found.address, found.quota, found.accepts) == (MARIE, "marie@ecole.example", 1000, True)


def test_a_tag_is_taken_off_unless_the_address_itself_is_there(accounts: Accounts, directory: Directory) -> None:
    assert lookup(directory, "marie+list@ecole.example") == ({MARIE}, set())
    assert lookup(directory, "marie+list@ecole.example", delimiter="") == (set(), set())
    with accounts.transaction():
        directory.add_alias(PAUL, "marie+list@ecole.example")
    assert lookup(directory, "marie+list@ecole.example") == ({PAUL}, set())


def test_unknown_addresses_lead_nowhere(directory: Directory) -> None:
    assert directory.lookup("nobody@ecole.example", delimiter="+", limit=10) is NOWHERE
    assert directory.lookup("marie@elsewhere.example", delimiter="+", limit=10) is NOWHERE


def test_groups_in_groups_expand_once_and_loops_end(accounts: Accounts, directory: Directory) -> None:
    add_group(accounts, directory, "inner@ecole.example", "paul@ecole.example", "guest@elsewhere.example")
    add_group(accounts, directory, "outer@ecole.example", "marie@ecole.example", "inner@ecole.example")
    inner = directory.group("inner@ecole.example")
    assert inner is not None
    with accounts.transaction():
        assert directory.add_member(inner.row, "outer@ecole.example")  # the loop
        assert directory.add_member(inner.row, "marie@ecole.example")  # twice on the way
    both = ({MARIE, PAUL}, {"guest@elsewhere.example"})
    assert lookup(directory, "outer@ecole.example") == both
    assert lookup(directory, "inner@ecole.example") == both
    assert lookup(directory, "outer+x@ecole.example") == both


def test_a_deep_chain_of_groups_ends(accounts: Accounts, directory: Directory) -> None:
    add_group(accounts, directory, "g0@ecole.example", "marie@ecole.example")
    for number in range(1, 80):
        add_group(accounts, directory, f"g{number}@ecole.example", f"g{number - 1}@ecole.example")
    assert lookup(directory, "g79@ecole.example") == ({MARIE}, set())
    with pytest.raises(TooManyRecipients):
        lookup(directory, "g79@ecole.example", limit=20)


def test_beyond_the_limit_nothing_is_answered_rather_than_a_part(accounts: Accounts, directory: Directory) -> None:
    add_group(accounts, directory, "all@ecole.example", *(f"guest{number}@elsewhere.example" for number in range(11)))
    assert len(lookup(directory, "all@ecole.example", limit=11)[1]) == 11
    with pytest.raises(TooManyRecipients):
        lookup(directory, "all@ecole.example", limit=10)


def test_a_stranger_of_our_own_domain_is_no_member(accounts: Accounts, directory: Directory) -> None:
    with accounts.transaction():
        row = directory.add_group("team@ecole.example", NOW)
        assert not directory.add_member(row, "nobody@ecole.example")
        assert directory.add_member(row, "guest@elsewhere.example")
        assert directory.remove_member(row, "guest@elsewhere.example")
        assert not directory.remove_member(row, "guest@elsewhere.example")


def test_a_deleted_account_leaves_its_groups(accounts: Accounts, directory: Directory) -> None:
    add_group(accounts, directory, "team@ecole.example", "marie@ecole.example", "paul@ecole.example")
    marie = accounts.by_id(MARIE)
    assert marie is not None
    with accounts.transaction():
        accounts.delete(marie, NOW)
    assert lookup(directory, "team@ecole.example") == ({PAUL}, set())
    assert lookup(directory, "marie@ecole.example") == (set(), set())
    assert accounts.deleted_under("marie@ecole.example") == MARIE


def test_a_former_address_still_leads_to_the_account(accounts: Accounts, directory: Directory) -> None:
    with accounts.transaction():
        directory.change_address(MARIE, "marie.martin@ecole.example")
    (found,) = directory.lookup("marie@ecole.example", delimiter="+", limit=10).local
    assert (found.account, found.address) == (MARIE, "marie.martin@ecole.example")
    assert dict(directory.addresses_of(MARIE)) == {"marie@ecole.example": "former", "marie.martin@ecole.example": "present"}
    with accounts.transaction():
        directory.change_address(MARIE, "marie@ecole.example")  # and back
    assert dict(directory.addresses_of(MARIE)) == {"marie@ecole.example": "present", "marie.martin@ecole.example": "former"}


def test_domains(accounts: Accounts, directory: Directory) -> None:
    assert directory.domains() == ["ecole.example"]
    assert directory.serves("ecole.example")
    assert not directory.serves("elsewhere.example")
