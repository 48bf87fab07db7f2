"""What `scripts/demo --check` proves of mail on its way in and out: handed over, submitted, answered, refused, given back."""

import time
from email.message import EmailMessage
from email.policy import SMTP

import demo_mail
from demo_client import Check, Failed, expect, run


def lmtp_by_swaks(check: Check) -> None:
    """swaks delivers to a person and to the group in one transaction."""
    to = f"{check.address('paul.bernard')},{check.address('equipe')}"
    output = run(
        "swaks", "--protocol", "LMTP", "--server", "127.0.0.1", "--port", str(check.ports["lmtp"]), "--timeout", "30",
        "--to", to, "--from", "swaks@client.example", "--header", "Subject: par swaks",
    )  # fmt: skip
    expect(output.count("<-  250 2.") >= 3, f"swaks saw no two acceptances:\n{output[-1500:]}")


def swaks_settings(check: Check, local: str) -> list[str]:
    """swaks, signed in over TLS whose certificate it checks."""
    secret = check.write_secret(
        f"swaks-{local}", f"--auth-user {check.address(local)}\n--auth-password {check.app_password(local)}\n"
    )
    return [
        "swaks", "--config", str(secret), "--auth", "--server", "localhost", "--port", str(check.ports["submissions"]),
        "--tls-on-connect", "--tls-verify", "--tls-ca-path", str(check.ca), "--timeout", "30",
    ]  # fmt: skip


def submit_by_swaks(check: Check) -> None:
    """swaks submits on the port of implicit TLS, with an attachment, to the group: everybody has it, once."""
    content = bytes(range(256)) * 200
    attachment = check.folder / "annexe.bin"
    attachment.write_bytes(content)
    marie = check.address("marie.durand")
    run(
        *swaks_settings(check, "marie.durand"), "--from", marie, "--to", check.address("equipe"),
        "--header", "Subject: avec swaks", "--attach-type", "application/octet-stream", "--attach", f"@{attachment}",
    )  # fmt: skip
    for local in ("marie.durand", "paul.bernard", "lea.petit"):
        message = check.awaited(local, "avec swaks")
        found = [part.get_content() for part in message.walk() if part.get_content_type() == "application/octet-stream"]
        expect(found == [content], f"the attachment did not arrive whole at {local}")
        expect(message["Return-Path"] == f"<{marie}>", f"Return-Path is {message['Return-Path']}")


def write_and_answer_by_msmtp(check: Check) -> None:
    """Marie writes with an attachment, Paul idles, is told at once, and answers."""
    config = check.folder / "msmtprc"
    accounts = []
    for local in ("marie.durand", "paul.bernard"):
        secret = check.write_secret(f"msmtp-{local}", check.app_password(local))
        accounts.append(
            f"""account {local}
host localhost
port {check.ports["submissions"]}
tls on
tls_starttls off
tls_trust_file {check.ca}
auth on
user {check.address(local)}
passwordeval cat {secret}
from {check.address(local)}
"""
        )
    config.touch(mode=0o600)
    config.write_text("\n".join(accounts))

    def send(local: str, message: EmailMessage) -> None:
        run("msmtp", "-C", str(config), "-a", local, "-t", stdin=message.as_string())

    marie, paul = check.address("marie.durand"), check.address("paul.bernard")
    letter = EmailMessage(policy=SMTP.clone(cte_type="7bit", linesep="\n"))
    letter["From"], letter["To"], letter["Subject"] = marie, paul, "avec msmtp"
    letter.set_content("Le compte rendu est joint.\n")
    letter.add_attachment(demo_mail.pdf("Compte rendu"), maintype="application", subtype="pdf", filename="compte-rendu.pdf")
    with check.imap("paul.bernard") as client:
        before = client.select_folder("INBOX")[b"EXISTS"]
        client.idle()
        send("marie.durand", letter)
        sent = time.monotonic()
        told: list[object] = []
        while (before + 1, b"EXISTS") not in told and time.monotonic() - sent < 10:
            told += client.idle_check(timeout=10)
        waited = time.monotonic() - sent
        client.idle_done()
    expect((before + 1, b"EXISTS") in told and waited < 3, f"told {told!r} after {waited:.1f} s")
    read = check.awaited("paul.bernard", "avec msmtp")
    (attachment,) = read.iter_attachments()
    expect(attachment.get_content() == demo_mail.pdf("Compte rendu"), "the attachment did not arrive whole")
    expect(read["Message-ID"] and read["Date"], "no Message-ID or no Date")
    answer = EmailMessage(policy=SMTP.clone(linesep="\n"))
    answer["From"], answer["To"], answer["Subject"] = paul, marie, "Re: avec msmtp"
    answer["In-Reply-To"] = answer["References"] = str(read["Message-ID"])
    answer.set_content("Merci.\n")
    send("paul.bernard", answer)
    expect(check.awaited("marie.durand", "Re: avec msmtp")["In-Reply-To"] == read["Message-ID"], "the answer names no letter")


def wrong_addresses(check: Check) -> None:
    """An unknown address here is refused while it is said; one elsewhere comes back in French and English."""
    swaks, marie = swaks_settings(check, "marie.durand"), check.address("marie.durand")
    try:
        run(*swaks, "--from", marie, "--to", check.address("inconnu"))
        raise Failed("a recipient who is not here was accepted")
    except Failed as error:
        expect("550 5.1.1" in str(error), str(error))
    run(*swaks, "--from", marie, "--to", "parent@ailleurs.example", "--header", "Subject: vers ailleurs")
    report = check.awaited("marie.durand", "Message non remis")
    expect(report.get_content_type() == "multipart/report", f"the report is {report.get_content_type()}")
    text = next(report.iter_parts()).get_content()
    for words in ("parent@ailleurs.example", "n'a pas pu être remis", "could not be delivered"):
        expect(words in text, f"the report does not say {words!r}:\n{text}")


def nobody_sends_as_another(check: Check) -> None:
    """Paul's password sends as Paul alone; port 25 relays nothing."""
    try:
        run(*swaks_settings(check, "paul.bernard"), "--from", check.address("marie.durand"), "--to", check.address("lea.petit"))
        raise Failed("Paul sent as Marie")
    except Failed as error:
        expect("550 5.7.1" in str(error), str(error))
    outside = ["swaks", "--server", "localhost", "--port", str(check.ports["smtp"]), "--from", "a@client.example"]
    try:
        run(*outside, "--to", "b@ailleurs.example")
        raise Failed("port 25 relays for strangers")
    except Failed as error:
        expect("550 5.7.1" in str(error), str(error))
    run(*outside, "--to", check.address("lea.petit"), "--header", "Subject: de dehors")
    check.awaited("lea.petit", "de dehors")
