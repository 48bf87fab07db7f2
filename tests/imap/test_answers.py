"""The one map from errors to response codes."""

import pytest

from preau.auth.api import AuthUnavailable
from preau.imap.answers import answer_for, answer_for_bug
from preau.storage.api import (
    AlreadyExists,
    Conflict,
    Forbidden,
    InvalidDocument,
    InvalidName,
    InvalidSyncToken,
    NotFound,
    OverQuota,
    StoreError,
    TooLarge,
    Unavailable,
)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (NotFound("secret name"), b"NONEXISTENT"),
        (AlreadyExists("secret name"), b"ALREADYEXISTS"),
        (InvalidName("secret name"), b"CANNOT"),
        (Forbidden("secret name"), b"CANNOT"),
        (Conflict("secret name"), b"INUSE"),
        (OverQuota("secret name"), b"OVERQUOTA"),
        (TooLarge("secret name"), b"TOOBIG"),
        (InvalidDocument("secret name"), b"CANNOT"),
        (InvalidSyncToken("secret name"), b"SERVERBUG"),
        (Unavailable("secret name"), b"UNAVAILABLE"),
        (AuthUnavailable("secret name"), b"UNAVAILABLE"),
        (StoreError("secret name"), b"SERVERBUG"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_code_and_a_sentence_that_gives_nothing_away(error: Exception, code: bytes) -> None:
    answer = answer_for(error)
    assert answer.startswith(b"NO [" + code + b"] ")
    assert b"secret" not in answer


def test_other_errors_are_bugs_and_pass() -> None:
    with pytest.raises(KeyError):
        answer_for(KeyError("x"))


def test_a_bug_has_a_reference() -> None:
    assert answer_for_bug("1a2b") == b"NO [SERVERBUG] Internal error, reference 1a2b"
