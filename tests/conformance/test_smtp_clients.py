"""Unchanged SMTP clients against our role `smtp`: smtplib, swaks, msmtp, curl."""

import shutil
import smtplib
import subprocess
from collections.abc import Iterator
from email.message import EmailMessage
from email.parser import BytesParser
from email.policy import SMTP as WIRE
from pathlib import Path

import pytest

from own_smtp import ANNE, PASSWORD, World, own_smtp
from preau.smtp.modes import SessionLimits
from preau.smtp.server import SmtpSettings
from preau.smtp.spool import Envelope

pytestmark = pytest.mark.conformance

SETTINGS = SmtpSettings(
    hostname="mx.ecole.example",
    domain="ecole.example",
    scram=True,
    limits=SessionLimits(message_size=2_000_000, messages=1_000),
)
LOGIN = "anne@ecole.example"


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with own_smtp(tmp_path_factory.mktemp("smtp"), SETTINGS) as world:
        yield world


@pytest.fixture(autouse=True)
def empty(own: World) -> None:
    for identifier in own.spool.incoming():
        own.spool.remove(identifier)


def needs(program: str) -> str:
    path = shutil.which(program)
    if path is None:
        pytest.skip(f"{program} is not installed")
    return path


def call(*command: str, given: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(command, input=given, capture_output=True, timeout=60, check=False)


def taken(world: World) -> tuple[Envelope, bytes]:
    """The one message that was queued."""
    ((envelope, message),) = world.queued()
    return envelope, message


def a_message(**fields: str) -> EmailMessage:
    message = EmailMessage(policy=WIRE)
    for name, value in {"From": LOGIN, "To": "bob@ecole.example", "Subject": "Sortie scolaire à huit heures", **fields}.items():
        message[name] = value
    message.set_content("Rendez-vous à huit heures.\n.\n..\nFrom ici\n")
    message.add_attachment(bytes(range(256)) * 2_000, maintype="application", subtype="pdf", filename="plan.pdf")
    return message


def same_content(stored: bytes, sent: EmailMessage) -> bool:
    both = [BytesParser(policy=WIRE).parsebytes(each) for each in (stored, sent.as_bytes())]
    first, second = ([part.get_payload(decode=True) for part in each.walk()] for each in both)
    return first == second


@pytest.mark.parametrize("way", ["submissions", "submission"])
@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
def test_smtplib(own: World, way: str, mechanism: str) -> None:
    message = a_message(Bcc="élise@ecole.example")
    if way == "submissions":
        client: smtplib.SMTP = smtplib.SMTP_SSL("localhost", own.ports[way], context=own.client_tls, timeout=20)
    else:
        client = smtplib.SMTP("localhost", own.ports[way], timeout=20)
        client.starttls(context=own.client_tls)
    with client:
        client.ehlo()
        assert {"pipelining", "size", "8bitmime", "smtputf8", "enhancedstatuscodes", "chunking", "dsn", "auth"} <= set(
            client.esmtp_features
        )
        client.user, client.password = LOGIN, PASSWORD
        client.auth(mechanism, getattr(client, f"auth_{mechanism.lower()}"))
        refused = client.sendmail(
            LOGIN,
            ["bob@ecole.example", "nobody@ecole.example", "élise@ecole.example"],
            message.as_bytes(),
            mail_options=["SMTPUTF8", "BODY=8BITMIME", "RET=HDRS"],
            rcpt_options=["NOTIFY=SUCCESS,DELAY"],
        )
    assert {address: code for address, (code, _) in refused.items()} == {"nobody@ecole.example": 550}
    envelope, stored = taken(own)
    assert (envelope.account, envelope.ret, envelope.body, envelope.smtputf8) == (ANNE, "HDRS", "8BITMIME", True)
    assert [(each.address, each.notify) for each in envelope.recipients] == [
        (address, frozenset({"SUCCESS", "DELAY"})) for address in ("bob@ecole.example", "élise@ecole.example")
    ]
    assert same_content(stored, message)
    assert b"\r\nBcc:" not in stored
    assert b"\r\nDate:" in stored
    assert b"\r\nMessage-ID:" in stored


def test_smtplib_is_told_why_not(own: World) -> None:
    with smtplib.SMTP_SSL("localhost", own.ports["submissions"], context=own.client_tls, timeout=20) as client:
        with pytest.raises(smtplib.SMTPAuthenticationError) as wrong:
            client.login(LOGIN, "wrong")
        assert wrong.value.smtp_code == 535
        with pytest.raises(smtplib.SMTPSenderRefused) as unsigned:
            client.sendmail(LOGIN, ["bob@ecole.example"], b"x")
        assert unsigned.value.smtp_code == 530
        client.login(LOGIN, PASSWORD)
        with pytest.raises(smtplib.SMTPSenderRefused) as foreign:
            client.sendmail("bob@ecole.example", ["bob@ecole.example"], b"From: bob@ecole.example\r\n\r\nx")
        assert foreign.value.smtp_code == 550
        with pytest.raises(smtplib.SMTPDataError) as forged:
            client.sendmail(LOGIN, ["bob@ecole.example"], b"From: bob@ecole.example\r\n\r\nx")
        assert forged.value.smtp_code == 550
        with pytest.raises(smtplib.SMTPSenderRefused) as large:
            client.sendmail(LOGIN, ["bob@ecole.example"], b"x" * 2_000_001)
        assert large.value.smtp_code == 552
    assert own.queued() == []


@pytest.mark.parametrize("auth", ["PLAIN", "LOGIN"])
@pytest.mark.parametrize("way", ["submissions", "submission"])
@pytest.mark.parametrize("extra", [[], ["--pipeline"]], ids=["one by one", "pipelined"])
def test_swaks_submits(own: World, auth: str, way: str, extra: list[str]) -> None:
    done = call(
        needs("swaks"),
        *("--server", f"127.0.0.1:{own.ports[way]}", "--tls" if way == "submission" else "--tls-on-connect"),
        *("--auth", auth, "--auth-user", LOGIN, "--auth-password", PASSWORD, "--helo", "client.example"),
        *("--from", LOGIN, "--to", "bob@ecole.example,someone@elsewhere.example", "--body", ".\n..\nbonjour\n", *extra),
    )
    assert done.returncode == 0, done.stdout.decode()
    envelope, stored = taken(own)
    assert [each.address for each in envelope.recipients] == ["bob@ecole.example", "someone@elsewhere.example"]
    assert b"\r\n\r\n.\r\n..\r\nbonjour\r\n" in stored


def test_swaks_delivers_from_outside_over_starttls(own: World) -> None:
    done = call(
        needs("swaks"),
        *("--server", f"127.0.0.1:{own.ports['smtp']}", "--tls", "--helo", "mx.outside.example", "--pipeline"),
        *("--from", "<>", "--to", "bob+x@ecole.example", "--body", "bonjour"),
    )
    assert done.returncode == 0, done.stdout.decode()
    envelope, stored = taken(own)
    assert (envelope.reverse_path, envelope.account) == ("", "")
    assert b" with ESMTPS (TLSv1.3/" in stored


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (["--to", "someone@elsewhere.example"], 24),  # no recipient was taken
        (["--to", "nobody@ecole.example"], 24),
        (["--to", "bob@ecole.example", "--auth", "PLAIN", "--auth-user", "x", "--auth-password", "y"], 28),  # not offered
    ],
    ids=["relay", "unknown", "auth on port 25"],
)
def test_swaks_is_refused(own: World, arguments: list[str], status: int) -> None:
    done = call(
        needs("swaks"),
        *("--server", f"127.0.0.1:{own.ports['smtp']}", "--helo", "x.example", "--from", "x@outside.example", *arguments),
    )
    assert done.returncode == status, done.stdout.decode()
    assert own.queued() == []


def test_swaks_through_a_proxy_is_no_proxy_here(own: World) -> None:
    done = call(
        needs("swaks"),
        *("--server", f"127.0.0.1:{own.ports['smtp']}", "--helo", "x.example", "--from", "<>", "--to", "bob@ecole.example"),
        *("--proxy-version", "1", "--proxy-family", "TCP4", "--proxy-source", "192.0.2.1", "--proxy-source-port", "1"),
        *("--proxy-dest", "192.0.2.2", "--proxy-dest-port", "25"),
    )
    assert done.returncode != 0
    assert own.queued() == []


@pytest.mark.parametrize("way", ["submissions", "submission"])
@pytest.mark.parametrize("auth", ["plain", "login", "scram-sha-256", "on"])
def test_msmtp(own: World, way: str, auth: str, tmp_path: Path) -> None:
    message = a_message(Cc="someone@elsewhere.example", Bcc="élise@ecole.example")
    del message["Bcc"]
    configuration = tmp_path / "msmtprc"
    configuration.write_text(
        f"account ecole\nhost localhost\nport {own.ports[way]}\ntls on\ntls_starttls {'on' if way == 'submission' else 'off'}\n"
        f"tls_trust_file {own.certificate}\nauth {auth}\nuser {LOGIN}\npassword {PASSWORD}\nfrom {LOGIN}\n"
        "dsn_notify failure,delay\ndsn_return headers\n"
    )
    configuration.chmod(0o600)
    command = (needs("msmtp"), "-C", str(configuration), "-a", "ecole")
    done = call(*command, "bob@ecole.example", "someone@elsewhere.example", given=message.as_bytes())
    assert done.returncode == 0, done.stderr.decode()
    envelope, stored = taken(own)
    assert envelope.ret == "HDRS"
    assert {each.notify for each in envelope.recipients} == {frozenset({"FAILURE", "DELAY"})}
    assert same_content(stored, message)
    refused = call(*command, "nobody@ecole.example", given=message.as_bytes())
    assert refused.returncode == 65  # EX_DATAERR
    assert b"550" in refused.stderr


def test_msmtp_with_a_wrong_password_says_so(own: World, tmp_path: Path) -> None:
    configuration = tmp_path / "msmtprc"
    configuration.write_text(
        f"account default\nhost localhost\nport {own.ports['submissions']}\ntls on\ntls_starttls off\n"
        f"tls_trust_file {own.certificate}\nauth on\nuser {LOGIN}\npassword wrong\nfrom {LOGIN}\n"
    )
    configuration.chmod(0o600)
    done = call(needs("msmtp"), "-C", str(configuration), "bob@ecole.example", given=b"Subject: x\n\nx\n")
    assert done.returncode == 77  # EX_NOPERM
    assert b"mot de passe" in done.stderr


@pytest.mark.parametrize("way", ["submissions", "submission"])
@pytest.mark.parametrize("option", [[], ["--login-options", "AUTH=LOGIN"], ["--sasl-ir"]], ids=["default", "login", "sasl-ir"])
def test_curl(own: World, way: str, option: list[str], tmp_path: Path) -> None:
    message = a_message()
    file = tmp_path / "message.eml"
    file.write_bytes(message.as_bytes())
    scheme = "smtps" if way == "submissions" else "smtp"
    done = call(
        needs("curl"),
        *(
            "-sS",
            "--ssl-reqd",
            "--cacert",
            str(own.certificate),
            "--url",
            f"{scheme}://localhost:{own.ports[way]}/client.example",
        ),
        *("--user", f"{LOGIN}:{PASSWORD}", "--mail-from", LOGIN, "--mail-rcpt", "bob@ecole.example", *option),
        *("--upload-file", str(file)),
    )
    assert done.returncode == 0, done.stderr.decode()
    _, stored = taken(own)
    assert same_content(stored, message)


def test_curl_cannot_ask_who_is_there(own: World) -> None:
    url = f"smtp://localhost:{own.ports['smtp']}/client.example"
    answers = {
        call(needs("curl"), "-sS", "--url", url, "--mail-rcpt", name, "--request", "VRFY").stdout
        for name in ("anne@ecole.example", "nobody@ecole.example")
    }
    assert len(answers) == 1
