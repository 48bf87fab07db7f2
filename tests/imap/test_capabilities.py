"""What is advertised is what is handled, and in which moment."""

import pytest

from imap_steps import Client, make_site
from preau.imap.capabilities import capabilities, capability_text
from preau.imap.commands import TABLE
from preau.imap.session import SIGNED_OUT, Session
from preau.imap.settings import ImapSettings


@pytest.mark.parametrize(
    ("tls", "starttls", "plaintext_ok", "there", "not_there"),
    [
        pytest.param(False, True, False, {"STARTTLS", "LOGINDISABLED"}, {"AUTH=PLAIN"}, id="in the clear"),
        pytest.param(True, True, False, {"AUTH=PLAIN", "AUTH=LOGIN"}, {"STARTTLS", "LOGINDISABLED"}, id="over TLS"),
        pytest.param(False, True, True, {"STARTTLS", "AUTH=PLAIN"}, {"LOGINDISABLED"}, id="plaintext allowed"),
        pytest.param(False, False, False, {"LOGINDISABLED"}, {"STARTTLS"}, id="no certificate"),
    ],
)
def test_before_login(tls: bool, starttls: bool, plaintext_ok: bool, there: set[str], not_there: set[str]) -> None:
    session = Session(make_site(ImapSettings(plaintext_ok=plaintext_ok), starttls=starttls), tls=tls, local=True)
    told = list(capabilities(session))
    assert there <= set(told)
    assert not_there.isdisjoint(told)
    assert told[0] == "IMAP4rev1"


def test_after_login_sign_in_is_not_offered() -> None:
    told = set(capabilities(Client().session))
    assert not {name for name in told if name.startswith(("AUTH=", "STARTTLS", "LOGINDISABLED"))}
    assert {"IDLE", "MOVE", "UIDPLUS", "CONDSTORE", "SPECIAL-USE", "LITERAL+"} <= told


def test_every_capability_stands_once_and_follows_its_row() -> None:
    client = Client()
    words = capability_text(client.session).decode().split()
    assert len(words) == len(set(words))
    for row in TABLE.values():
        assert row.states is SIGNED_OUT or set(row.capabilities) <= set(words)


def test_the_append_limit_is_that_of_the_settings() -> None:
    assert "APPENDLIMIT=1000" in capabilities(Session(make_site(ImapSettings(append_limit=1000))))


def test_uid_forms_answer_with_uids_and_numbers_stand_still_in_the_others() -> None:
    for name, row in TABLE.items():
        assert row.name == name
        assert row.answers_uids == name.startswith("UID ")
    assert {name for name, row in TABLE.items() if row.uses_sequence} == {"FETCH", "STORE", "SEARCH", "SORT", "THREAD"}
