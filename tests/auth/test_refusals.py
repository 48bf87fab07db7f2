"""The table of refusals: each outcome in each protocol's form."""

import pytest

from preau.auth.api import Denied, Reason
from preau.auth.refusals import Refusal, Refusals

FULL = Refusals("https://acces.ecole.example/aide", "01 23 45 67 89")


@pytest.mark.parametrize(
    ("reason", "imap", "smtp", "http"),
    [
        pytest.param(Reason.CREDENTIALS, "AUTHENTICATIONFAILED", "535 5.7.8", 401, id="wrong"),
        pytest.param(Reason.NETWORK, "AUTHENTICATIONFAILED", "535 5.7.8", 401, id="network"),
        pytest.param(Reason.EXPIRED, "EXPIRED", "535 5.7.8", 401, id="expired"),
        pytest.param(Reason.SCOPE, "AUTHORIZATIONFAILED", "535 5.7.8", 403, id="scope"),
        pytest.param(Reason.SUSPENDED, "CONTACTADMIN", "525 5.7.13", 403, id="suspended"),
        pytest.param(Reason.LOCKED, "UNAVAILABLE", "454 4.7.0", 429, id="locked"),
        pytest.param(Reason.CLEARTEXT, "PRIVACYREQUIRED", "538 5.7.11", 403, id="cleartext"),
        pytest.param(Reason.MECHANISM, "CANNOT", "534 5.7.9", 401, id="mechanism"),
        pytest.param(Reason.CHANGE, "EXPIRED", "432 4.7.12", 401, id="change"),
    ],
)
def test_codes_of_denials(reason: Reason, imap: str, smtp: str, http: int) -> None:
    refusal = FULL.denied(Denied(reason, "7K2F", 90))
    assert (refusal.imap_code, f"{refusal.smtp_code} {refusal.enhanced_code}", refusal.http_status) == (imap, smtp, http)
    assert refusal.text.endswith("(ref 7K2F)")
    assert not refusal.closes


def every_refusal(table: Refusals) -> list[Refusal]:
    denied = [table.denied(Denied(reason, "7K2F", 3600)) for reason in Reason]
    return [*denied, table.unavailable(), table.too_many(), table.cleartext()]


@pytest.mark.parametrize(
    "table",
    [Refusals(), FULL, Refusals("https://" + "x" * 112, "0" * 40)],
    ids=["bare", "usual", "longest"],
)
def test_every_text_is_one_ascii_line_that_fits_a_reply(table: Refusals) -> None:
    for refusal in every_refusal(table):
        assert refusal.text.isascii()
        assert refusal.text.isprintable()
        assert " / " in refusal.text, "French, then English"
        # RFC 5321 section 4.5.3.1.5: 512 octets with code and CRLF
        assert len(f"{refusal.smtp_code} {refusal.enhanced_code} {refusal.text}\r\n") <= 512


def test_wrong_network_reads_like_wrong_password() -> None:
    assert FULL.denied(Denied(Reason.NETWORK, "AAAA")) == FULL.denied(Denied(Reason.CREDENTIALS, "AAAA"))


def test_http_asks_for_credentials_with_401_and_says_when_with_429_and_503() -> None:
    for refusal in every_refusal(FULL):
        names = [name for name, _ in refusal.http_headers]
        expected = {401: ["WWW-Authenticate"], 429: ["Retry-After"], 503: ["Retry-After"]}
        assert names == expected.get(refusal.http_status, [])


@pytest.mark.parametrize(("seconds", "minutes"), [(1, 1), (60, 1), (61, 2), (3600, 60)])
def test_waits_are_told_in_minutes(seconds: int, minutes: int) -> None:
    text = Refusals().denied(Denied(Reason.LOCKED, "7K2F", seconds)).text
    assert f"dans {minutes} min" in text
    assert f"in {minutes} min" in text


def test_without_a_help_page_no_url_is_told() -> None:
    assert all("http" not in refusal.text for refusal in every_refusal(Refusals()))
    assert "https://acces.ecole.example/aide" in FULL.denied(Denied(Reason.CREDENTIALS, "7K2F")).text
    assert "01 23 45 67 89" in FULL.denied(Denied(Reason.SUSPENDED, "7K2F")).text


def test_only_too_many_closes_the_connection() -> None:
    assert [refusal.smtp_code for refusal in every_refusal(FULL) if refusal.closes] == [421]


@pytest.mark.parametrize("text", ["é", "a\r\nb", "x" * 200], ids=["accent", "line end", "long"])
def test_texts_that_do_not_fit_are_refused_when_configured(text: str) -> None:
    with pytest.raises(ValueError, match="help_url"):
        Refusals(help_url=text)
