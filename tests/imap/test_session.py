"""States, transitions, and what a session may do in each."""

import pytest

from imap_steps import Client, make_site
from preau.imap.sequence import SAVED, parse_sequence_set
from preau.imap.session import TRANSITIONS, LocalProtocolError, NoSuchNumber, Session, State, Trigger
from preau.imap.settings import ImapSettings


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("trigger", Trigger)
def test_only_what_the_table_knows_happens(state: State, trigger: Trigger) -> None:
    session = Session(make_site())
    session.state = state
    if (state, trigger) in TRANSITIONS:
        session.move(trigger)
        assert session.state is TRANSITIONS[state, trigger]
    else:
        with pytest.raises(LocalProtocolError):
            session.move(trigger)
        assert session.state is state


@pytest.mark.parametrize(
    ("tls", "local", "plaintext_ok", "takes"),
    [
        (True, False, False, True),
        (False, False, True, False),
        (False, True, True, True),
        (False, True, False, False),
    ],
    ids=["tls", "from elsewhere", "loopback, allowed", "loopback, not allowed"],
)
def test_where_passwords_are_taken(tls: bool, local: bool, plaintext_ok: bool, takes: bool) -> None:
    session = Session(make_site(ImapSettings(plaintext_ok=plaintext_ok)), tls=tls, local=local)
    assert session.takes_passwords is takes


def test_positions_of_a_set() -> None:
    client = Client()
    client.fill(5)
    client.say(b"SELECT INBOX")
    session = client.session
    assert session.positions(parse_sequence_set(b"2:3,*"), uid=False) == [range(1, 3), range(4, 5)]
    assert session.positions(parse_sequence_set(b"4:100"), uid=True) == [range(3, 5)]
    with pytest.raises(NoSuchNumber):
        session.positions(parse_sequence_set(b"6"), uid=False)
    session.saved = [2, 5, 99]
    assert session.positions(SAVED, uid=True) == [range(1, 2), range(4, 5)]


def test_condstore_is_enabled_once() -> None:
    client = Client()
    client.say(b"SELECT INBOX")
    assert client.session.enable_condstore().startswith(b"* OK [HIGHESTMODSEQ ")
    assert client.session.enable_condstore() == b""


def test_nothing_selected_is_our_own_fault() -> None:
    with pytest.raises(LocalProtocolError):
        Session(make_site()).selected  # noqa: B018  # it is the property that raises
    with pytest.raises(LocalProtocolError):
        Session(make_site()).mail  # noqa: B018  # as above
