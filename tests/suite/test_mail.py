"""Mail end to end, through every role as `preau serve` runs them: submitted, queued, delivered, relayed, given back."""

import contextlib
import email
import email.policy
import imaplib
import json
import os
import signal
import smtplib
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from email.message import EmailMessage
from pathlib import Path

import pytest

from command import preau
from instance import DOMAIN, Instance, command_of, descendants, is_gone, make_instance, serving, wait_for
from nowhere_dns import nowhere_dns

MARIE, PAUL = f"marie.durand@{DOMAIN}", f"paul.bernard@{DOMAIN}"
OTHER = "autre.example"
QUICK = """
[queue]
steps = [1]
poll_seconds = 0.5
delivery_retry_seconds = 1
[imap]
workers = 1
[dav]
workers = 1
[auth]
patience = 5
"""


class House:
    """An instance with people who have an app password each."""

    def __init__(self, instance: Instance, *people: str) -> None:
        self.instance = instance
        self.passwords = {}
        for address in people:
            assert instance.preau("user", "add", address).code == 0
            done = instance.preau("app-password", "add", address, "--label", "test", "--json")
            self.passwords[address] = json.loads(done.output)["password"]

    @contextlib.contextmanager
    def submitting(self, sender: str, password: str | None = None) -> Iterator[smtplib.SMTP]:
        """A session on the port of implicit TLS, signed in."""
        context = self.instance.trusting()
        with smtplib.SMTP_SSL("localhost", self.instance.submissions, timeout=30, context=context) as client:
            client.login(sender, password or self.passwords[sender])
            yield client

    def send(self, sender: str, *to: str, subject: str) -> None:
        """Submit a short message."""
        with self.submitting(sender) as client:
            assert client.send_message(a_message(sender, *to, subject=subject), sender, list(to)) == {}

    def inbox(self, address: str, subject: str = "") -> list[EmailMessage]:
        """Messages of somebody's INBOX."""
        client = imaplib.IMAP4_SSL("localhost", self.instance.imaps, ssl_context=self.instance.trusting(), timeout=30)
        try:
            client.login(address, self.passwords[address])
            client.select("INBOX")
            _, (found,) = client.search(None, *(["SUBJECT", f'"{subject}"'] if subject else ["ALL"]))
            messages = []
            for number in found.split():
                _, fetched = client.fetch(number.decode(), "(BODY.PEEK[])")
                assert isinstance(fetched[0], tuple)
                messages.append(email.message_from_bytes(fetched[0][1], policy=email.policy.default))
            return messages
        finally:
            client.logout()

    def awaited(self, address: str, subject: str, count: int = 1) -> list[EmailMessage]:
        """The messages with this subject, once they are there."""
        wait_for(lambda: len(self.inbox(address, subject)) >= count, 30)
        return self.inbox(address, subject)

    def queued(self) -> list[dict[str, object]]:
        """What the queue has."""
        done = self.instance.preau("queue", "list", "--json")
        assert done.code == 0, done.error
        found: list[dict[str, object]] = json.loads(done.output)
        return found


def a_message(sender: str, *to: str, subject: str) -> EmailMessage:
    """Without Date and Message-ID, as some clients send."""
    message = EmailMessage(policy=email.policy.SMTP)
    message["From"], message["To"], message["Subject"] = sender, ", ".join(to), subject
    message.set_content("Bonjour.\n")
    return message


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory, module_base: int) -> Iterator[House]:
    """Serves, in a world whose DNS knows nobody; `down.example` is a host that is down."""
    with nowhere_dns() as port, socket.socket() as down:
        down.bind(("127.0.0.1", 0))  # bound and not listening: connections are refused
        settings = f'{QUICK}[dns]\nservers = ["127.0.0.1"]\nport = {port}\n'
        settings += f'[relay]\nroutes = {{"down.example" = "127.0.0.1:{down.getsockname()[1]}"}}\n'
        settings += "[smtp]\nworkers = 2\n[delivery]\nworkers = 2\n"
        made = House(make_instance(tmp_path_factory.mktemp("mail") / "i", module_base, settings=settings), MARIE, PAUL)
        members = [word for each in (MARIE, PAUL) for word in ("--member", each)]
        assert made.instance.preau("group", "add", f"equipe@{DOMAIN}", *members).code == 0
        with serving(made.instance):
            yield made


def test_a_message_is_submitted_and_read(house: House) -> None:
    message = a_message(MARIE, PAUL, subject="avec une annexe")
    message["Bcc"] = MARIE
    message.add_attachment(bytes(range(256)) * 400, maintype="application", subtype="octet-stream", filename="été.bin")
    with house.submitting(MARIE) as client:
        client.sendmail(MARIE, [PAUL, MARIE], message.as_bytes())
    (read,) = house.awaited(PAUL, "avec une annexe")
    (attachment,) = read.iter_attachments()
    assert (attachment.get_filename(), attachment.get_content()) == ("été.bin", bytes(range(256)) * 400)
    assert "Bcc" not in read
    assert read["Return-Path"] == f"<{MARIE}>"
    assert read["Delivered-To"] == PAUL
    assert len(read.get_all("Received", [])) == 2
    assert read["Message-ID"] and read["Date"]  # noqa: PT018 one promise
    assert len(house.awaited(MARIE, "avec une annexe")) == 1


def test_starttls_comes_before_a_password(house: House) -> None:
    with smtplib.SMTP("localhost", house.instance.submission, timeout=30) as client:
        client.ehlo()
        assert client.has_extn("starttls")
        assert not client.has_extn("auth")
        client.starttls(context=house.instance.trusting())
        client.login(PAUL, house.passwords[PAUL])
        client.send_message(a_message(PAUL, MARIE, subject="par STARTTLS"))
    house.awaited(MARIE, "par STARTTLS")


def test_mail_comes_in_from_outside(house: House) -> None:
    with smtplib.SMTP("127.0.0.1", house.instance.smtp, timeout=30) as client:
        client.send_message(a_message("a@b.example", f"equipe@{DOMAIN}", subject="de dehors"))
    for address in (MARIE, PAUL):
        (read,) = house.awaited(address, "de dehors")
        assert read["From"] == "a@b.example"


def test_a_tag_is_its_owners(house: House) -> None:
    tagged = MARIE.replace("@", "+listes@")
    with smtplib.SMTP("127.0.0.1", house.instance.smtp, timeout=30) as client:
        client.send_message(a_message("a@b.example", tagged, subject="une liste"))
    house.awaited(MARIE, "une liste")


@pytest.mark.parametrize("port", ["smtp", "submissions"])
def test_a_wrong_recipient_is_refused_at_rcpt(port: str, house: House) -> None:
    with contextlib.ExitStack() as stack:
        client: smtplib.SMTP
        if port == "smtp":
            client = stack.enter_context(smtplib.SMTP("127.0.0.1", house.instance.smtp, timeout=30))
        else:
            client = stack.enter_context(house.submitting(MARIE))
        client.ehlo_or_helo_if_needed()
        client.mail(MARIE if port != "smtp" else "a@b.example")
        code, text = client.rcpt(f"nobody@{DOMAIN}")
        assert (code, text.split()[0]) == (550, b"5.1.1")
        assert client.rcpt(PAUL)[0] == 250


def test_nobody_relays_from_outside(house: House) -> None:
    with smtplib.SMTP("127.0.0.1", house.instance.smtp, timeout=30) as client:
        client.ehlo()
        client.mail("a@b.example")
        code, text = client.rcpt("someone@elsewhere.example")
        assert (code, text.split()[0]) == (550, b"5.7.1")


def test_an_unknown_domain_comes_back_in_both_languages(house: House) -> None:
    house.send(MARIE, "parent@nulle-part.example", subject="vers nulle part")
    wait_for(lambda: any("nulle-part.example" in str(each) for each in house.inbox(MARIE)), 30)
    (report,) = [each for each in house.inbox(MARIE) if each.get_content_type() == "multipart/report"]
    said, status, returned = report.iter_parts()
    text = said.get_content()
    assert text.index("n'a pas pu être remis") < text.index("could not be delivered")
    assert "parent@nulle-part.example" in text
    assert "Status: 5.1.2" in str(status)
    assert "vers nulle part" in str(returned)
    assert report["Return-Path"] == "<>"
    assert house.queued() == []


def test_nobody_sends_as_another(house: House) -> None:
    with house.submitting(PAUL) as client:
        code, text = client.mail(MARIE)
        assert (code, text.split()[0]) == (550, b"5.7.1")
        client.rset()
        client.mail(PAUL)
        client.rcpt(MARIE)
        code, text = client.data(a_message(MARIE, MARIE, subject="usurpé").as_bytes())
        assert (code, text.split()[0]) == (550, b"5.7.1")
    with pytest.raises(smtplib.SMTPAuthenticationError), house.submitting(PAUL, house.passwords[MARIE]):
        pass
    assert house.inbox(MARIE, "usurpé".replace("é", "")) == []


def test_roles_have_the_workers_they_are_told(house: House) -> None:
    supervisor = int((house.instance.folder / "ready").read_text())
    roles = [command_of(pid)[5] for pid in descendants(supervisor) if command_of(pid)[4:5] == ["serve"]]
    assert sorted(roles) == sorted(["keys", "auth", "delivery", "delivery", "queue", "smtp", "smtp", "imap", "dav"])


def waiting(house: House, *to: str) -> str:
    """The id of a message that waits for a host that is down."""
    known = {each["id"] for each in house.queued()}
    house.send(MARIE, *to or ("parent@down.example",), subject="attend")

    def mine() -> list[str]:
        return [str(each["id"]) for each in house.queued() if each["id"] not in known and tried(each)]

    wait_for(mine)
    return mine()[0]


def tried(message: dict[str, object]) -> bool:
    """Whether a try is over."""
    recipients = message["recipients"]
    assert isinstance(recipients, list)
    return bool(recipients[0]["attempts"])


def test_the_queue_is_shown_and_emptied(house: House) -> None:
    identifier = waiting(house)
    done = house.instance.preau("queue", "list")
    assert (done.code, identifier in done.output, "parent@down.example" in done.output) == (0, True, True)
    assert identifier in house.instance.preau("queue", "list", "--to", "parent@down.example").output
    assert json.loads(house.instance.preau("queue", "list", "--to", "x@down.example", "--json").output) == []
    shown = house.instance.preau("queue", "show", identifier)
    assert (shown.code, MARIE in shown.output, "4.4.1" in shown.output) == (0, True, True)
    (recipient,) = json.loads(house.instance.preau("queue", "show", identifier, "--json").output)["recipients"]
    assert (recipient["state"], recipient["status"]) == ("waiting", "4.4.1")
    assert house.instance.preau("queue", "hold", identifier).output == "Held.\n"
    assert house.instance.preau("queue", "hold", identifier).output == "It was held already.\n"
    assert "held" in house.instance.preau("queue", "list").output
    assert "1 are held" in house.instance.preau("check").output
    assert json.loads(house.instance.preau("queue", "release", identifier, "--json").output) == {"count": 1}
    assert house.instance.preau("queue", "retry", identifier).code == 0
    assert house.instance.preau("queue", "retry", "--all").code == 0
    assert house.instance.preau("queue", "delete", identifier).output == "1 recipients given up.\n"
    assert house.queued() == []


def test_a_deleted_message_bounces_on_demand(house: House) -> None:
    identifier = waiting(house, "mairie@down.example")
    before = len(house.inbox(MARIE))
    assert house.instance.preau("queue", "delete", identifier, "--bounce").code == 0
    wait_for(lambda: len(house.inbox(MARIE)) > before)
    assert any("mairie@down.example" in str(each) for each in house.inbox(MARIE))


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        pytest.param(["show", "6a13f2c04be1d0a2f7"], 1, "no such message", id="unknown"),
        pytest.param(["delete", "../../etc"], 1, "no such message", id="no id"),
        pytest.param(["retry"], 2, "give an ID, or --all", id="neither"),
        pytest.param(["retry", "6a13f2c04be1d0a2f7", "--all"], 2, "give an ID, or --all", id="both"),
        pytest.param(["list", "--limit", "0"], 2, "give 1 or more", id="none"),
    ],
)
def test_what_the_queue_refuses(words: list[str], code: int, message: str, house: House) -> None:
    done = house.instance.preau("queue", *words)
    assert (done.code, done.output, message in done.error) == (code, "", True)


def test_without_a_queue_there_is_nothing_to_show(tmp_path: Path, free_base: Callable[[], int]) -> None:
    instance = make_instance(tmp_path / "i", free_base())
    for words in (["list"], ["show", "x"], ["retry", "--all"]):
        done = instance.preau("queue", *words)
        assert (done.code, "the queue is not running" in done.error) == (1, True)


def test_a_second_queue_is_kept_out(house: House) -> None:
    """Two would send everything twice."""
    command = [str(Path(sys.executable).with_name("preau")), "serve", "queue", "--config", str(house.instance.config)]
    done = subprocess.run(command, capture_output=True, timeout=60, check=False, text=True)
    assert (done.returncode, "queue runs already" in done.stderr) == (1, True)


def test_killed_with_mail_in_the_queue_nothing_is_lost(tmp_path: Path, free_base: Callable[[], int]) -> None:
    house = House(make_instance(tmp_path / "i", free_base(), settings=QUICK), MARIE, PAUL)
    with serving(house.instance, "keys", "auth", "smtp", "queue") as process:  # nobody delivers
        for number in range(10):
            house.send(MARIE, PAUL, subject=f"lettre {number}")
        below = descendants(process.pid)
        for pid in [process.pid, *below]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.wait()
        wait_for(lambda: all(is_gone(pid) for pid in below))
    (house.instance.folder / "ready").unlink()
    with serving(house.instance):
        read = house.awaited(PAUL, "lettre", 10)
        assert sorted(each["Subject"] for each in read) == [f"lettre {number}" for number in range(10)]
        wait_for(lambda: house.queued() == [])
        assert len(house.inbox(PAUL)) == 10


def test_two_houses_write_to_one_another(tmp_path: Path, free_base: Callable[[], int]) -> None:
    base, other_base = free_base(), free_base()
    route = '[relay]\nroutes = {{"{}" = "127.0.0.1:{}"}}\n'
    here = House(make_instance(tmp_path / "i", base, settings=QUICK + route.format(OTHER, other_base + 25)), MARIE)
    assert preau("init", tmp_path / "o", "--domain", OTHER, "--ports-from", other_base).code == 0
    with (tmp_path / "o" / "preau.toml").open("a", encoding="utf-8") as file:
        file.write(QUICK + route.format(DOMAIN, base + 25))
    there = House(Instance(tmp_path / "o", other_base), f"anne@{OTHER}")
    members = ["--member", MARIE, "--member", f"anne@{OTHER}"]
    assert here.instance.preau("group", "add", f"projet@{DOMAIN}", *members).code == 0
    with serving(here.instance):
        here.send(MARIE, f"anne@{OTHER}", subject="attendre le voisin")
        wait_for(lambda: any(tried(each) for each in here.queued()))  # down: it waits
        with serving(there.instance):
            assert here.instance.preau("queue", "retry", "--all").code == 0  # hosts that were down are forgiven
            (read,) = there.awaited(f"anne@{OTHER}", "attendre le voisin")
            assert read["From"] == MARIE
            there.send(f"anne@{OTHER}", f"projet@{DOMAIN}", subject="au groupe")  # which leads back here and there
            here.awaited(MARIE, "au groupe")
            there.awaited(f"anne@{OTHER}", "au groupe")
            there.send(f"anne@{OTHER}", f"nobody@{DOMAIN}", subject="inconnu")
            wait_for(lambda: any("5.1.1" in str(each) for each in there.inbox(f"anne@{OTHER}")), 30)
