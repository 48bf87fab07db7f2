"""A day of three people: one instance made and run by the `preau` command, and mail clients that no one here wrote.

swaks and msmtp send, imapclient waits and is told, curl reads; a server of aiosmtpd stands for the outside.
"""

import contextlib
import email
import email.policy
import smtplib
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from email.message import EmailMessage
from pathlib import Path

import imapclient
import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from instance import DOMAIN, make_instance, serving, wait_for
from nowhere_dns import nowhere_dns
from people import MAIL_ROLES, QUICK, People, Person, a_letter
from ports import free_base
from programs import needs, private

pytestmark = pytest.mark.conformance

TEAM = f"equipe@{DOMAIN}"
ROOM = 100_000  # octets that Léa may keep


class Elsewhere:
    """Another house of mail: it knows one address."""

    async def handle_RCPT(self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]) -> str:
        if not address.startswith("parent@"):
            return "550 5.1.1 no such user here"
        envelope.rcpt_tos.append(address)
        return "250 OK"


@dataclass(frozen=True, slots=True)
class House:
    """The people."""

    people: People
    marie: Person
    paul: Person
    lea: Person


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """Marie, Paul and Léa, whose mailbox is small; a group of all three; served while the tests run."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        free = probe.getsockname()[1]
    outside = Controller(Elsewhere(), hostname="127.0.0.1", port=free)
    with nowhere_dns() as dns, _running(outside):
        settings = f'{QUICK}[dns]\nservers = ["127.0.0.1"]\nport = {dns}\n'
        settings += f'[relay]\nroutes = {{"ailleurs.example" = "127.0.0.1:{free}"}}\n'
        instance = make_instance(tmp_path_factory.mktemp("house") / "i", free_base(), settings=settings)
        people = People(instance)
        marie, paul, lea = (people.add(name) for name in ("marie.durand", "paul.bernard", "lea.petit"))
        members = [word for each in (marie, paul, lea) for word in ("--member", each.address)]
        assert instance.preau("group", "add", TEAM, *members).code == 0
        assert instance.preau("user", "quota", lea.address, str(ROOM)).code == 0
        with serving(instance, *MAIL_ROLES):
            yield House(people, marie, paul, lea)


@contextlib.contextmanager
def _running(controller: Controller) -> Iterator[None]:
    controller.start()
    try:
        yield
    finally:
        controller.stop()


@contextlib.contextmanager
def waiting(person: Person) -> "Iterator[imapclient.IMAPClient]":
    """imapclient, signed in, idling on INBOX."""
    context = person.instance.trusting()
    with imapclient.IMAPClient("localhost", port=person.instance.imaps, ssl_context=context, timeout=30) as client:
        client.login(person.address, person.password)
        client.select_folder("INBOX")
        client.idle()
        yield client


def swaks(*words: str, codes: tuple[int, ...] = (0,)) -> str:
    """Run it; what it and the server said."""
    command = [needs("swaks"), "--helo", "client.example", *words]
    done = subprocess.run(command, capture_output=True, timeout=60, check=False)
    said = done.stdout.decode("utf-8", "replace") + done.stderr.decode("utf-8", "replace")
    assert done.returncode in codes, said
    return said


def submitting(person: Person) -> list[str]:
    """Options of swaks to submit with an app password over TLS."""
    server = f"localhost:{person.instance.submissions}"
    trust = ["--tls-on-connect", "--tls-verify", "--tls-ca-path", str(person.ca)]
    return ["--server", server, *trust, "--auth", "PLAIN", "--auth-user", person.address, "--auth-password", person.password]


def from_outside(person: Person) -> list[str]:
    """Options of swaks to come in on port 25."""
    return ["--server", f"127.0.0.1:{person.instance.smtp}", "--from", "a@b.example"]


def msmtp(person: Person, letter: EmailMessage, folder: Path, codes: tuple[int, ...] = (0,)) -> str:
    """Send with STARTTLS and SCRAM or PLAIN, as msmtp chooses; what it complained of."""
    configuration = private(
        folder / "msmtprc",
        f"account default\nhost localhost\nport {person.instance.submission}\ntls on\ntls_starttls on\nauth on\n"
        f"tls_trust_file {person.ca}\nuser {person.address}\npassword {person.password}\nfrom {person.address}\n",
    )
    command = [needs("msmtp"), "-C", str(configuration), "-t"]
    done = subprocess.run(command, input=bytes(letter), capture_output=True, timeout=60, check=False)
    assert done.returncode in codes, done.stderr
    return done.stderr.decode("utf-8", "replace")


def read_by_curl(person: Person, folder: Path, subject: str) -> EmailMessage:
    """The one message with this subject."""
    settings = private(folder / "curlrc", f'user = "{person.address}:{person.password}"\ncacert = "{person.ca}"\n')
    curl = [needs("curl"), "-sS", "--config", str(settings)]
    url = f"imaps://localhost:{person.instance.imaps}/INBOX"
    found = subprocess.run([*curl, url, "-X", f'UID SEARCH SUBJECT "{subject}"'], capture_output=True, timeout=60, check=True)
    (uid,) = found.stdout.split()[2:]
    read = subprocess.run([*curl, f"{url};UID={uid.decode()}"], capture_output=True, timeout=60, check=True)
    return email.message_from_bytes(read.stdout, policy=email.policy.default)


def report_about(person: Person, address: str) -> EmailMessage:
    """The delivery report that names an address, once it is there."""

    def reports() -> list[EmailMessage]:
        letters = person.letters()
        return [each for each in letters if each.get_content_type() == "multipart/report" and address in str(each)]

    wait_for(reports, 30)
    (report,) = reports()
    return report


def test_a_letter_its_push_and_the_answer(house: House, tmp_path: Path) -> None:
    plan = tmp_path / "plan.pdf"
    plan.write_bytes(bytes(range(256)) * 200)
    with waiting(house.paul) as client:
        swaks(
            *submitting(house.marie),
            *("--from", house.marie.address, "--to", house.paul.address, "--header", "Subject: Sortie au Louvre"),
            *("--body", "Rendez-vous lundi.", "--attach-type", "application/pdf", "--attach-name", "plan.pdf"),
            *("--attach", f"@{plan}"),
        )
        assert (1, b"EXISTS") in client.idle_check(timeout=30)
        client.idle_done()
        ((_, data),) = client.fetch(client.search(["UNSEEN"]), ["ENVELOPE", "BODYSTRUCTURE"]).items()
        assert data[b"ENVELOPE"].subject == b"Sortie au Louvre"
        assert data[b"BODYSTRUCTURE"].is_multipart
    letter = read_by_curl(house.paul, tmp_path, "Sortie au Louvre")
    (attachment,) = letter.iter_attachments()
    assert attachment.get_content() == plan.read_bytes()
    assert letter["From"] == house.marie.address
    answer = a_letter(house.paul.address, house.marie.address, subject="Re: Sortie au Louvre", text="À lundi.\n")
    answer["In-Reply-To"] = answer["References"] = letter["Message-ID"]
    with waiting(house.marie) as client:
        msmtp(house.paul, answer, tmp_path)
        assert client.idle_check(timeout=30)
        client.idle_done()
        ((_, data),) = client.fetch(client.search(["SUBJECT", "Sortie"]), ["ENVELOPE"]).items()
        assert data[b"ENVELOPE"].in_reply_to.decode() == letter["Message-ID"]
        assert client.thread("REFERENCES", ["ALL"])


def test_a_wrong_address_here_is_told_at_once(house: House, tmp_path: Path) -> None:
    letter = a_letter(house.marie.address, f"pual.bernard@{DOMAIN}", subject="faute de frappe")
    said = msmtp(house.marie, letter, tmp_path, codes=(65,))
    assert "550 5.1.1" in said
    assert house.people.instance.preau("queue", "list", "--json").output.strip() == "[]"


def test_a_wrong_address_elsewhere_comes_back_in_both_languages(house: House, tmp_path: Path) -> None:
    msmtp(house.marie, a_letter(house.marie.address, "perent@ailleurs.example", subject="aux parents"), tmp_path)
    report = report_about(house.marie, "perent@ailleurs.example")
    assert report["Return-Path"] == "<>"
    assert report["Subject"] == "Message non remis / Message not delivered"
    said, status, returned = report.iter_parts()
    text = said.get_content()
    assert text.index("Cette adresse n'existe pas") < text.index("This address does not exist")
    assert "no such user here" in text
    assert "Status: 5.1.1" in str(status)
    assert "aux parents" in str(returned)


def test_a_domain_that_is_not_there_comes_back(house: House, tmp_path: Path) -> None:
    msmtp(house.paul, a_letter(house.paul.address, "x@nulle-part.example", subject="perdu"), tmp_path)
    said, *_ = report_about(house.paul, "x@nulle-part.example").iter_parts()
    assert "Le domaine" in said.get_content()
    assert "The domain" in said.get_content()


@pytest.mark.parametrize("way", ["inside", "outside"])
def test_a_letter_to_the_group_reaches_each_once(way: str, house: House, tmp_path: Path) -> None:
    subject = f"A tous de {way}"
    if way == "inside":
        msmtp(house.marie, a_letter(house.marie.address, TEAM, house.paul.address, subject=subject), tmp_path)
    else:
        swaks(*from_outside(house.marie), "--to", TEAM, "--header", f"Subject: {subject}")
    for person in (house.marie, house.paul, house.lea):
        assert person.awaited(subject)["To"]


def test_a_full_mailbox(house: House, tmp_path: Path) -> None:
    lea = house.lea
    large = bytes(a_letter(lea.address, lea.address, subject="lourd", text=("x" * 69 + "\n") * 1_000))
    with lea.reading() as client:
        assert client.append("Archive", "", "", large)[0] == "OK"
        kind, said = client.append("Archive", "", "", large)
        assert (kind, said[0].startswith(b"[OVERQUOTA]")) == ("NO", True)
        quota = client.getquota('""')[1][0]
        assert quota is not None
        assert b"STORAGE" in quota
    annex = tmp_path / "annexe.bin"
    annex.write_bytes(bytes(60_000))
    attached = ("--attach-type", "application/octet-stream", "--attach", f"@{annex}")
    # The whole group: who has room gets it; the sender is told that somebody has not.
    swaks(
        *submitting(house.marie),
        *("--from", house.marie.address, "--to", TEAM, "--header", "Subject: trop pour Lea", *attached),
    )
    house.paul.awaited("trop pour Lea")
    said_part, status, _ = report_about(house.marie, TEAM).iter_parts()
    text = said_part.get_content()
    assert text.index("est pleine") < text.index("mailbox is full")
    assert "Status: 5.2.2" in str(status)
    assert lea.letters("trop pour Lea") == []
    # She alone: who says how long a letter is hears of it before sending it.
    letter = a_letter(house.paul.address, lea.address, subject="directement", text=("y" * 69 + "\n") * 1_000)
    with house.paul.submitting() as session, pytest.raises(smtplib.SMTPRecipientsRefused) as refused:
        session.send_message(letter)
    code, said_text = refused.value.recipients[lea.address]
    assert (code, said_text.startswith(b"4.2.2")) == (452, True)
    # Once she has made room, it comes.
    with lea.reading("Archive") as client:
        client.store("1:*", "+FLAGS", "(\\Deleted)")
        client.expunge()
    msmtp(house.paul, letter, tmp_path)
    lea.awaited("directement")


def test_a_locked_account(house: House, tmp_path: Path) -> None:
    paul, preau = house.paul, house.people.instance.preau
    with contextlib.suppress(imapclient.exceptions.IMAPClientError, OSError), waiting(paul) as client:
        assert preau("user", "lock", paul.address, "--reason", "telephone perdu").code == 0
        told: list[object] = []
        with contextlib.suppress(OSError):  # cut off: that is what we wait for
            while not any(isinstance(each, tuple) and each[0] == b"BYE" for each in told):
                told += client.idle_check(timeout=30)
        assert told
    # Neither reading nor sending; each says why, in both languages.
    with pytest.raises(imapclient.exceptions.LoginError, match=r"CONTACTADMIN.*suspendu.*suspended"), waiting(paul):
        pass
    said = msmtp(paul, a_letter(paul.address, house.marie.address, subject="interdit"), tmp_path, codes=(77,))
    assert "Compte suspendu" in said
    assert preau("user", "unlock", paul.address).code == 0
    with waiting(paul) as client:
        client.idle_done()
    swaks(*from_outside(paul), "--to", paul.address, "--header", "Subject: apres")
    paul.awaited("apres")
    assert house.marie.letters("interdit") == []
