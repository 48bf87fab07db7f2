"""The authorisation function."""

import pytest

from preau.auth.permits import ALL_RIGHTS, NO_RIGHTS, Right, Target, may, rights_of
from preau.storage.api import AccountId

OWNER, FRIEND, STRANGER = AccountId("owner"), AccountId("friend"), AccountId("stranger")
GIVEN = Target(OWNER, {FRIEND: frozenset({Right.LOOKUP, Right.READ})})
HALF = Target(OWNER, {FRIEND: frozenset({Right.READ})})


@pytest.mark.parametrize(
    ("identity", "target", "rights"),
    [
        pytest.param(OWNER, Target(OWNER), ALL_RIGHTS, id="owner"),
        pytest.param(OWNER, GIVEN, ALL_RIGHTS, id="owner of a shared one"),
        pytest.param(STRANGER, Target(OWNER), NO_RIGHTS, id="stranger"),
        pytest.param(STRANGER, GIVEN, NO_RIGHTS, id="stranger to a shared one"),
        pytest.param(FRIEND, GIVEN, frozenset({Right.LOOKUP, Right.READ}), id="friend"),
        pytest.param(FRIEND, HALF, NO_RIGHTS, id="rights without lookup"),
    ],
)
def test_rights(identity: AccountId, target: Target, rights: frozenset[Right]) -> None:
    assert rights_of(identity, target) == rights
    for right in Right:
        assert may(identity, right, target) == (right in rights)


def test_the_letters_are_those_of_rfc_4314() -> None:
    assert {right.value for right in Right} == set("lrswipkxtea")
