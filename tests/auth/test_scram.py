"""SCRAM-SHA-256: the published exchange, a client nobody here wrote, and messages that are none."""

import base64

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scramp import ScramClient, ScramException

from preau.auth import scram
from preau.auth.sasl import MalformedResponse

SALT = base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ==")
FIRST = b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO"
SERVER_FIRST = b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
FINAL = b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
PROOF = base64.b64encode(bytes(32))


def test_the_exchange_of_rfc_7677() -> None:
    first, final = scram.read_client_first(FIRST), scram.read_client_final(FINAL)
    assert (first.login, first.authzid, first.nonce, first.bare) == ("user", "", b"rOprNGfwEbeRWgbNEkqO", FIRST[3:])
    assert scram.continues(first, SERVER_FIRST, final)
    keys = scram.make_keys("pencil", SALT)
    message = scram.auth_message(first, SERVER_FIRST, final)
    assert scram.find_keys([keys], message, final.proof) == 0
    assert scram.render_server_final(keys, message) == b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="
    assert scram.find_keys([scram.make_keys("pencils", SALT)], message, final.proof) is None


def converse(login: str, password: str, keys: list[bytes], salt: bytes, *, random: bytes = bytes(18)) -> int | None:
    """What scramp's client and we say to each other; which of the keys it was."""
    client = ScramClient([scram.NAME], login, password)
    first = scram.read_client_first(client.get_client_first().encode())
    assert first.login == login
    challenge = scram.render_server_first(first, salt, random)
    client.set_server_first(challenge.decode())
    final = scram.read_client_final(client.get_client_final().encode())
    assert scram.continues(first, challenge, final)
    message = scram.auth_message(first, challenge, final)
    found = scram.find_keys(keys, message, final.proof)
    if found is not None:
        client.set_server_final(scram.render_server_final(keys[found], message).decode())
    return found


@pytest.mark.parametrize("count", [1, 8, 80, scram.PADDED, scram.PADDED + 20])
def test_the_right_one_of_many_is_found(count: int) -> None:
    salt = scram.salt_of(b"p" * 32, "account")
    keys = [scram.make_keys(f"secret {number}", salt) for number in range(count)]
    for number in (0, count // 2, count - 1):
        assert converse("marie@ecole.example", f"secret {number}", keys, salt) == number
    assert converse("marie@ecole.example", "another", keys, salt) is None


def test_nobodys_keys_open_nothing() -> None:
    assert converse("nobody", "secret", [], scram.salt_of(b"p" * 32, "?1")) is None
    assert scram.find_keys([], b"message", bytes(32)) is None


def test_a_client_sees_through_a_server_without_the_keys() -> None:
    client = ScramClient([scram.NAME], "marie", "secret")
    first = scram.read_client_first(client.get_client_first().encode())
    challenge = scram.render_server_first(first, SALT, bytes(18))
    client.set_server_first(challenge.decode())
    message = scram.auth_message(first, challenge, scram.read_client_final(client.get_client_final().encode()))
    with pytest.raises(ScramException):
        client.set_server_final(scram.render_server_final(scram.make_keys("other", SALT), message).decode())


@pytest.mark.parametrize(
    ("message", "login", "authzid"),
    [
        (b"n,,n=marie,r=abc", "marie", ""),
        (b"y,,n=marie,r=abc", "marie", ""),
        (b"n,a=paul,n=marie,r=abc", "marie", "paul"),
        (b"n,a=p=2Cq=3D,n==2C=3D=3D2C,r=abc", ",==2C", "p,q="),
        ("n,,n=élise@école.example,r=!~+-/=".encode(), "élise@école.example", ""),
        (b"n,,n=marie,r=abc,x=any thing,y=\xff=", "marie", ""),
        (b"n,,n=" + b"=2C" * 320 + b",r=" + b"r" * 256, "," * 320, ""),
    ],
    ids=["n", "y", "authzid", "escapes", "utf-8", "extensions", "longest"],
)
def test_first_messages(message: bytes, login: str, authzid: str) -> None:
    first = scram.read_client_first(message)
    assert (first.login, first.authzid) == (login, authzid)
    assert first.header + first.bare == message


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b",",
        b"n,,",
        b"n,,n=marie",
        b"n,n=marie,r=abc",
        b"p=tls-exporter,,n=marie,r=abc",
        b"p=tls-unique,,n=marie,r=abc",
        b"p,,n=marie,r=abc",
        b"N,,n=marie,r=abc",
        b"F,n,,n=marie,r=abc",
        b"n,paul,n=marie,r=abc",
        b"n,a=,n=marie,r=abc",
        b"n,,r=abc,n=marie",
        b"n,,n=,r=abc",
        b"n,,n=marie,r=",
        b"n,,n=marie,r=a c",
        b"n,,n=marie,r=a\x7fc",
        "n,,n=marie,r=é".encode(),
        b"n,,n=marie,r=" + b"r" * 257,
        b"n,,n=ma=rie,r=abc",
        b"n,,n=marie=,r=abc",
        b"n,,n=marie=2,r=abc",
        b"n,,n=marie=2c,r=abc",
        b"n,,n=ma\0rie,r=abc",
        b"n,,n=\xff,r=abc",
        b"n,,n=" + b"a" * 321 + b",r=abc",
        b"n,,m=x,n=marie,r=abc",
        b"n,,n=marie,r=abc,m=x",
        b"n,,n=marie,r=abc,",
        b"n,,n=marie,r=abc,x=",
        b"n,,n=marie,r=abc,xy=1",
        b"n,,n=marie,r=abc,1=1",
        b"n,,n=marie,r=abc,x=a\0",
        b"n,,n=marie,r=abc,x=" + b"y" * 1666,
        b"," * 1666,
    ],
)
def test_first_messages_that_are_none(message: bytes) -> None:
    with pytest.raises(MalformedResponse):
        scram.read_client_first(message)


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"c=biws,r=abc",
        b"c=biws,p=" + PROOF,
        b"r=abc,c=biws,p=" + PROOF,
        b"c=biws,r=abc,p=" + PROOF + b",x=1",
        b"c=biw,r=abc,p=" + PROOF,
        b"c=b iws,r=abc,p=" + PROOF,
        b"c=biws,r=,p=" + PROOF,
        b"c=biws,r=abc,p=",
        b"c=biws,r=abc,p=AAAA",
        b"c=biws,r=abc,p=" + base64.b64encode(bytes(33)),
        b"c=biws,r=abc,p=" + PROOF[:-1],
        b"c=biws,r=abc,p=\xff" + PROOF[1:],
        b"c=biws,r=abc,m=x,p=" + PROOF,
        b"c=biws,r=abc,,p=" + PROOF,
        b"c=biws,r=" + b"r" * 1666 + b",p=" + PROOF,
    ],
)
def test_final_messages_that_are_none(message: bytes) -> None:
    with pytest.raises(MalformedResponse):
        scram.read_client_final(message)


@pytest.mark.parametrize(
    ("final", "same"),
    [
        (b"c=biws,r=abcOURS,p=", True),
        (b"c=biws,r=abcOURS,x=ignored,p=", True),
        (b"c=eSws,r=abcOURS,p=", False),  # y,, for n,,
        (b"c=bixhPXBhdWws,r=abcOURS,p=", False),  # n,a=paul,
        (b"c=biwsdGxz,r=abcOURS,p=", False),  # n,,tls
        (b"c=,r=abcOURS,p=", False),
        (b"c=biws,r=abc,p=", False),
        (b"c=biws,r=abcOURSx,p=", False),
        (b"c=biws,r=xbcOURS,p=", False),
    ],
)
def test_a_final_message_belongs_to_its_exchange(final: bytes, same: bool) -> None:
    first = scram.read_client_first(b"n,,n=marie,r=abc")
    assert scram.continues(first, b"r=abcOURS,s=AAAA,i=4096", scram.read_client_final(final + PROOF)) is same


def test_salts_are_the_same_each_time_and_differ() -> None:
    salts = {scram.salt_of(pepper, subject) for pepper in (b"p" * 32, b"q" * 32) for subject in ("a", "b", "?a")}
    assert len(salts) == 6
    assert {len(salt) for salt in salts} == {16}
    assert scram.salt_of(b"p" * 32, "a") in salts


def test_stored_keys_are_those_of_each_spelling() -> None:
    stored = scram.make_all_keys(b"p" * 32, "account", ("a-b", "ab"))
    salt = scram.salt_of(b"p" * 32, "account")
    assert scram.split_keys(stored) == [scram.make_keys("a-b", salt), scram.make_keys("ab", salt)]


@settings(max_examples=200)
@given(st.one_of(st.binary(max_size=200), st.text("nyp=,ar2CDmxé\0", max_size=60).map(str.encode)))
def test_whatever_comes_is_understood_or_malformed(message: bytes) -> None:
    for read in (scram.read_client_first, scram.read_client_final):
        try:
            read(message)
        except MalformedResponse:
            continue


@settings(max_examples=30)
@given(
    st.text(st.characters(codec="ascii", categories=["L", "N", "P", "S"]), min_size=1, max_size=60),
    st.binary(min_size=18, max_size=18),
)
def test_any_login_comes_through(login: str, random: bytes) -> None:
    keys = [scram.make_keys("k7mfp-9xq2c-tn4wd-b8rju", SALT)]
    assert converse(login, "k7mfp-9xq2c-tn4wd-b8rju", keys, SALT, random=random) == 0
