import os
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from preau.auth.api import CredentialId, Service, SessionId
from preau.auth.tickets import SLACK, InvalidTicket, Ticket, public_key_of, sign_ticket, verify_ticket
from preau.storage.api import AccountId

PRIVATE = bytes(range(32))
PUBLIC = public_key_of(PRIVATE)
TICKET = Ticket(
    AccountId("a" * 26), CredentialId("app:7"), SessionId("s1"), frozenset({Service.IMAP, Service.SMTP}), 400, 1_000
)


def test_a_ticket_comes_back_until_it_expires() -> None:
    data = sign_ticket(TICKET, PRIVATE)
    assert verify_ticket(data, PUBLIC, 999) == TICKET
    with pytest.raises(InvalidTicket, match="expired"):
        verify_ticket(data, PUBLIC, 1_000)


def test_a_ticket_of_a_clock_that_was_ahead_does_not_last_until_then() -> None:
    year = 31_536_000
    data = sign_ticket(replace(TICKET, issued=400 + year, expires=1_000 + year), PRIVATE)
    with pytest.raises(InvalidTicket, match="to come"):
        verify_ticket(data, PUBLIC, 500)
    assert verify_ticket(sign_ticket(TICKET, PRIVATE), PUBLIC, 400 - SLACK) == TICKET  # set right by some minutes


def test_another_signer_is_refused() -> None:
    with pytest.raises(InvalidTicket, match="not signed"):
        verify_ticket(sign_ticket(TICKET, os.urandom(32)), PUBLIC, 400)


def test_every_octet_counts() -> None:
    data = sign_ticket(TICKET, PRIVATE)
    for position in range(len(data)):
        changed = bytearray(data)
        changed[position] ^= 1
        with pytest.raises(InvalidTicket):
            verify_ticket(bytes(changed), PUBLIC, 0)


@pytest.mark.parametrize("data", [b"", b"\x01", b"\x01" + bytes(64), b"\x02" + bytes(100), b"\x01" * 5000])
def test_what_is_no_ticket_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidTicket):
        verify_ticket(data, PUBLIC, 0)


@given(st.binary(max_size=300))
@settings(max_examples=100)
def test_only_invalid_ticket_comes_out(data: bytes) -> None:
    with pytest.raises(InvalidTicket):
        verify_ticket(data, PUBLIC, 0)
