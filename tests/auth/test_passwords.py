"""Stored passwords: our own form, the forms others bring, and what is refused as a new one."""

import base64
import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from passlib import hash as schemes

from preau.auth import passwords
from preau.auth.passwords import WRONG, Checked, InvalidHash, hash_password, import_hash, is_ours, verify_password

PEPPER, SALT = b"p" * 32, b"s" * 16


def test_our_hash_has_the_costs_of_the_design(real_argon2: None) -> None:
    stored = hash_password("un mot de passe", PEPPER, SALT)
    assert stored.startswith("{PREAU}$argon2id$v=19$m=19456,t=2,p=1$")
    assert verify_password(stored, "un mot de passe", PEPPER) == Checked(True)
    assert is_ours(stored)


@given(st.text(max_size=80), st.text(max_size=80))
@settings(max_examples=40)
def test_a_password_verifies_and_no_other_does(password: str, other: str) -> None:
    stored = hash_password(password, PEPPER, SALT)
    assert verify_password(stored, password, PEPPER).right
    assert verify_password(stored, other, PEPPER).right == (passwords.prepare(other) == passwords.prepare(password))


def test_without_the_pepper_nothing_verifies() -> None:
    assert verify_password(hash_password("secret", PEPPER, SALT), "secret", b"q" * 32) == WRONG


@pytest.mark.parametrize(
    ("set_as", "typed"),
    [
        pytest.param("été à l'école", "e\u0301te\u0301 a\u0300 l'e\u0301cole", id="decomposed by a Mac"),
        pytest.param("mot de passe", "mot\u00a0de\u00a0passe", id="no-break spaces of a phone"),
    ],
)
def test_spellings_of_one_password(set_as: str, typed: str) -> None:
    assert verify_password(hash_password(set_as, PEPPER, SALT), typed, PEPPER).right


def test_an_older_cost_is_stale() -> None:
    stored = hash_password("secret", PEPPER, SALT)
    passwords._ARGON2 = passwords._ARGON2.using(memory_cost=16)
    assert verify_password(stored, "secret", PEPPER) == Checked(True, stale=True)


def _salted(name: str, size: int) -> str:
    digest = hashlib.new(name, b"secret" + b"salt").digest()
    assert len(digest) == size
    return base64.b64encode(digest + b"salt").decode()


SHA512 = schemes.sha512_crypt.using(rounds=1000).hash("secret")
BCRYPT = schemes.bcrypt.using(rounds=4).hash("secret")
PBKDF2 = hashlib.pbkdf2_hmac("sha1", b"secret", b"Salt0123", 100).hex()


@pytest.mark.parametrize(
    "imported",
    [
        pytest.param(SHA512, id="crypt string alone"),
        pytest.param("{SHA512-CRYPT}" + SHA512, id="SHA512-CRYPT"),
        pytest.param("{CRYPT}" + SHA512, id="CRYPT"),
        pytest.param("{SHA256-CRYPT}" + schemes.sha256_crypt.using(rounds=1000).hash("secret"), id="SHA256-CRYPT"),
        pytest.param("{MD5-CRYPT}" + schemes.md5_crypt.hash("secret"), id="MD5-CRYPT"),
        pytest.param("{MD5}" + schemes.md5_crypt.hash("secret"), id="MD5 of crypt form"),
        pytest.param("{BLF-CRYPT}" + BCRYPT, id="BLF-CRYPT"),
        pytest.param("{BLF-CRYPT}" + BCRYPT.replace("$2b$", "$2y$"), id="BLF-CRYPT of PHP"),
        pytest.param("{DES-CRYPT}" + schemes.des_crypt.hash("secret"), id="DES-CRYPT"),
        pytest.param(
            "{ARGON2ID}" + schemes.argon2.using(type="ID", memory_cost=64, time_cost=1, parallelism=1).hash("secret"),
            id="ARGON2ID",
        ),
        pytest.param("{SSHA}" + _salted("sha1", 20), id="SSHA"),
        pytest.param("{ssha256}" + _salted("sha256", 32), id="SSHA256 in small letters"),
        pytest.param("{SSHA512}" + _salted("sha512", 64), id="SSHA512"),
        pytest.param("{SSHA512.HEX}" + base64.b64decode(_salted("sha512", 64)).hex(), id="SSHA512.HEX"),
        pytest.param("{SMD5}" + _salted("md5", 16), id="SMD5"),
        pytest.param("{SHA}" + base64.b64encode(hashlib.sha1(b"secret").digest()).decode(), id="SHA"),
        pytest.param("{SHA256}" + base64.b64encode(hashlib.sha256(b"secret").digest()).decode(), id="SHA256"),
        pytest.param("{SHA512.HEX}" + hashlib.sha512(b"secret").hexdigest(), id="SHA512.HEX"),
        pytest.param("{SHA256.B64}" + base64.b64encode(hashlib.sha256(b"secret").digest()).decode(), id="SHA256.B64"),
        pytest.param("{PLAIN-MD5}" + hashlib.md5(b"secret").hexdigest(), id="PLAIN-MD5"),
        pytest.param("{LDAP-MD5}" + base64.b64encode(hashlib.md5(b"secret").digest()).decode(), id="LDAP-MD5"),
        pytest.param(f"{{PBKDF2}}$1$Salt0123$100${PBKDF2}", id="PBKDF2 of Dovecot"),
        pytest.param(schemes.pbkdf2_sha256.using(rounds=100).hash("secret"), id="PBKDF2 of passlib"),
        pytest.param(schemes.django_pbkdf2_sha256.using(rounds=100).hash("secret"), id="Django"),
    ],
)
def test_imported_hashes_verify_once_and_ask_to_be_replaced(imported: str) -> None:
    stored = import_hash(imported)
    assert verify_password(stored, "secret", PEPPER) == Checked(True, stale=True)
    assert verify_password(stored, "Secret", PEPPER) == WRONG
    assert not is_ours(stored)


@pytest.mark.parametrize(
    ("imported", "sentence"),
    [
        pytest.param("", "empty", id="empty"),
        pytest.param("{PLAIN}secret", "column `password`", id="clear text"),
        pytest.param("{CRAM-MD5}0123", "unknown scheme", id="not verifiable"),
        pytest.param("{SSHA512}c2hvcnQ=", "not a digest", id="too short a digest"),
        pytest.param("{SHA}" + base64.b64encode(b"x" * 24).decode(), "not a digest", id="an unsalted digest with a salt"),
        pytest.param("{SSHA}***", "neither hex nor base64", id="not base64"),
        pytest.param("{SSHA", "a { without }", id="open brace"),
        pytest.param("$6$", "sha512_crypt", id="malformed crypt"),
        pytest.param("$P$", "malformed phpass", id="a phpass hash that ends behind its mark"),
        pytest.param("$2b$31$" + BCRYPT[7:], "cost", id="bcrypt for hours"),
        pytest.param("$6$rounds=999999999$" + SHA512.split("$", 3)[3], "cost", id="a billion rounds"),
        pytest.param("$argon2id$v=19$m=4194304,t=10,p=1$c2FsdHNhbHQ$" + "A" * 43, "cost", id="argon2 of 4 GiB"),
        pytest.param("hello", "unknown scheme", id="a word"),
        pytest.param("x" * 5000, "too long", id="5 kB"),
    ],
)
def test_what_cannot_be_imported_says_why(imported: str, sentence: str) -> None:
    with pytest.raises(InvalidHash, match=sentence.replace("{", r"\{").replace("}", r"\}")):
        import_hash(imported)


@given(st.text(max_size=120))
@settings(max_examples=200)
def test_only_invalid_hash_comes_out_of_an_import(text: str) -> None:
    try:
        import_hash(text)
    except InvalidHash:
        pass


@pytest.mark.parametrize(
    "typed",
    [pytest.param("é" * 100, id="200 octets"), pytest.param("a\0b", id="NUL"), pytest.param("x" * 5000, id="5 kB")],
)
def test_bcrypt_is_asked_no_more_than_it_can(typed: str) -> None:
    assert verify_password(BCRYPT, typed, PEPPER) == WRONG


def test_bcrypt_of_a_long_password_looks_at_72_octets_as_it_always_did() -> None:
    stored = schemes.bcrypt.using(rounds=4).hash("x" * 72)
    assert verify_password(stored, "x" * 100, PEPPER).right
