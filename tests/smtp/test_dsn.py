import email
import email.policy
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from preau.smtp.dsn import Report, ReportedRecipient, render_report
from preau.smtp.dsn_text import _ADVICE, advice_for

ORIGINAL = b"Subject: hello\r\nFrom: anne@example.com\r\n\r\nbody\r\n"
BOB = ReportedRecipient("bob@example.org", "failed", "5.1.1", "550 5.1.1 no such user", "mx.example.org", "rfc822;Bob@x", 1_000)
REPORT = Report("failed", "0123456789abcdef01", "anne@example.com", "mail.example.com", 2_000, 1_000, [BOB], ORIGINAL, True)


def parsed(report: Report) -> email.message.EmailMessage:
    message, _ = render_report(report)
    assert b"\n" not in message.replace(b"\r\n", b"")
    assert all(len(line) <= 998 for line in message.split(b"\r\n"))
    read = email.message_from_bytes(message, policy=email.policy.default)
    assert isinstance(read, email.message.EmailMessage)
    assert not read.defects
    return read


def blocks(status: email.message.Message) -> list[dict[str, str]]:
    """The groups of fields of a delivery-status part."""
    groups = status.get_payload()
    assert isinstance(groups, list)
    return [{name: str(value) for name, value in group.items()} for group in groups if isinstance(group, email.message.Message)]


def test_a_report_as_others_read_it() -> None:
    read = parsed(replace(REPORT, envid="id 1", message_id="<1@example.com>", original_subject="Réunion"))
    assert read.get_content_type() == "multipart/report"
    assert read.get_param("report-type") == "delivery-status"
    assert read["To"] == "anne@example.com"
    assert read["Auto-Submitted"] == "auto-replied"
    assert read["In-Reply-To"] == "<1@example.com>"
    text, status, original = read.iter_parts()
    words = text.get_content()
    assert "n'existe pas. Vérifiez son orthographe" in words
    assert words.index("Objet: Réunion") < words.index("Subject: Réunion")
    assert "This address does not exist. Check how it is spelled" in words
    assert "(mx.example.org: 550 5.1.1 no such user)" in words
    assert status.get_content_type() == "message/delivery-status"
    about, recipient = blocks(status)
    assert about == {
        "Original-Envelope-Id": "id 1",
        "Reporting-MTA": "dns; mail.example.com",
        "Arrival-Date": "Thu, 1 Jan 1970 00:16:40 +0000",
    }
    assert recipient == {
        "Original-Recipient": "rfc822; Bob@x",
        "Final-Recipient": "rfc822; bob@example.org",
        "Action": "failed",
        "Status": "5.1.1",
        "Remote-MTA": "dns; mx.example.org",
        "Diagnostic-Code": "smtp; 550 5.1.1 no such user",
        "Last-Attempt-Date": "Thu, 1 Jan 1970 00:16:40 +0000",
    }
    assert original.get_content_type() == "message/rfc822"
    assert original.get_content()["Subject"] == "hello"


def test_the_header_alone() -> None:
    *_, returned = parsed(replace(REPORT, original=b"Subject: hello\r\nX: y\r\n\r\n", whole=False)).iter_parts()
    assert returned.get_content_type() == "text/rfc822-headers"
    assert returned.get_payload() == "Subject: hello\r\nX: y\r\n"


def test_a_message_that_is_gone() -> None:
    assert len(list(parsed(replace(REPORT, original=None)).iter_parts())) == 2


def test_waiting_and_arrived() -> None:
    waiting = replace(BOB, action="delayed", status="4.4.1", retry_until=9_000)
    words, status, _ = parsed(replace(REPORT, kind="delayed", recipients=[waiting])).iter_parts()
    assert "Vous n'avez rien à faire" in words.get_content()
    assert blocks(status)[1]["Will-Retry-Until"] == "Thu, 1 Jan 1970 02:30:00 +0000"
    arrived = [replace(BOB, action=action, status="2.0.0") for action in ("delivered", "relayed", "expanded")]
    words, status, _ = parsed(replace(REPORT, kind="success", recipients=arrived)).iter_parts()
    assert [each["Action"] for each in blocks(status)[1:]] == ["delivered", "relayed", "expanded"]
    assert "550" not in words.get_content()


def test_internationalised_reports() -> None:
    zoe = replace(BOB, address="zoé@exämple.org", orcpt="utf-8;zoé@x")
    message, utf8 = render_report(replace(REPORT, recipients=[zoe], original="Subject: été\r\n\r\n".encode()))
    assert utf8
    assert b"Content-Type: message/global-delivery-status\r\nContent-Transfer-Encoding: 8bit\r\n" in message
    assert "Final-Recipient: utf-8; zoé@exämple.org\r\n".encode() in message
    assert "Original-Recipient: utf-8; zoé@x\r\n".encode() in message
    assert b"Content-Type: message/global\r\n" in message
    assert message.partition(b"\r\n\r\n")[0].endswith(b"\r\nContent-Transfer-Encoding: 8bit")
    assert not render_report(REPORT)[1]
    body_only = replace(REPORT, original="Subject: x\r\n\r\né\r\n".encode())
    assert not render_report(body_only)[1]  # a body of 8 bits needs 8BITMIME, not SMTPUTF8


HOSTILE = st.text(st.sampled_from("aé:;<>@. \r\n\t\x00\x85\u2028\udc80=-_"), max_size=30)


@settings(max_examples=150)
@given(HOSTILE, HOSTILE, HOSTILE, HOSTILE, HOSTILE)
def test_nothing_that_came_from_elsewhere_writes_a_field(
    address: str, diagnostic: str, host: str, orcpt: str, other: str
) -> None:
    evil = ReportedRecipient(address, "failed", "5.0.0", diagnostic, host, orcpt, 1)
    report = replace(
        REPORT, recipients=[evil, BOB], envid=other, message_id=other, original_subject=other, sender="a@b" + other
    )
    message, _ = render_report(report)
    header, _, body = message.partition(b"\r\n\r\n")
    names = {line.partition(b":")[0] for line in header.split(b"\r\n") if not line.startswith(b"\t")}
    assert names <= {
        *(b"Date", b"From", b"To", b"Subject", b"Message-ID", b"In-Reply-To", b"References", b"Auto-Submitted"),
        *(b"MIME-Version", b"Content-Type", b"Content-Transfer-Encoding"),
    }
    assert body.count(b"--=_0123456789abcdef01\r\n") == 3
    status = body.split(b"--=_0123456789abcdef01\r\n")[2]
    assert status.count(b"\r\nAction: ") == 2
    assert status.count(b"\r\nFinal-Recipient: ") == 2
    assert status.count(b"\r\n\r\n") == 4


@pytest.mark.parametrize("language", ["fr", "en"])
def test_there_is_always_something_to_do(language: str) -> None:
    for status in ("5.1.1", "5.1.99", "5.2.2", "5.3.4", "5.4.7", "5.6.7", "5.7.26", "5.0.0", "junk", ""):
        (sentence,) = advice_for("failed", "failed", status, language)
        assert sentence.endswith(".")
    assert all(len(french) > 20 and len(english) > 20 for french, english in _ADVICE.values())
