"""An instance with people who have an app password each, and what Python's own clients see of them."""

import contextlib
import email
import email.policy
import imaplib
import json
import smtplib
from collections.abc import Iterator
from dataclasses import dataclass, field
from email.message import EmailMessage
from pathlib import Path

from instance import DOMAIN, Instance, wait_for

MAIL_ROLES = ("keys", "auth", "delivery", "queue", "smtp", "imap")
QUICK = "[queue]\nsteps = [1]\npoll_seconds = 0.5\ndelivery_retry_seconds = 1\n[imap]\nworkers = 1\n"
"""Settings under which tests need not wait."""


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody with an account: `address` is the login too, `password` an app password."""

    instance: Instance
    address: str
    password: str

    @property
    def ca(self) -> Path:
        """The private CA, for clients that want a file."""
        return self.instance.folder / "ca.pem"

    @contextlib.contextmanager
    def reading(self, mailbox: str = "INBOX") -> Iterator[imaplib.IMAP4_SSL]:
        """A session over IMAP with a mailbox selected."""
        client = imaplib.IMAP4_SSL("localhost", self.instance.imaps, ssl_context=self.instance.trusting(), timeout=30)
        try:
            client.login(self.address, self.password)
            assert client.select(mailbox)[0] == "OK"
            yield client
        finally:
            client.logout()

    @contextlib.contextmanager
    def submitting(self) -> Iterator[smtplib.SMTP_SSL]:
        """A session on the port of implicit TLS, signed in."""
        context = self.instance.trusting()
        with smtplib.SMTP_SSL("localhost", self.instance.submissions, timeout=30, context=context) as client:
            client.login(self.address, self.password)
            yield client

    def put(self, *subjects: str, mailbox: str = "INBOX") -> None:
        """Append short messages."""
        with self.reading() as client:
            for subject in subjects:
                assert client.append(mailbox, "", "", bytes(a_letter(self.address, self.address, subject=subject)))[0] == "OK"

    def there(self, mailbox: str = "INBOX") -> dict[str, set[str]]:
        """Subjects of a mailbox, each with its flags."""
        found = {}
        with self.reading(mailbox) as client:
            for number in client.search(None, "ALL")[1][0].split():
                head, octets = fetched(client, number, "(FLAGS BODY.PEEK[HEADER])")
                subject = str(email.message_from_bytes(octets, policy=email.policy.default)["Subject"])
                found[subject] = {flag.decode() for flag in imaplib.ParseFlags(head)} - {"\\Recent"}
        return found

    def letters(self, subject: str = "", mailbox: str = "INBOX") -> list[EmailMessage]:
        """Messages of a mailbox: all, or those with this subject (ASCII)."""
        letters = []
        with self.reading(mailbox) as client:
            for number in client.search(None, *(["SUBJECT", f'"{subject}"'] if subject else ["ALL"]))[1][0].split():
                _, octets = fetched(client, number, "(BODY.PEEK[])")
                letters.append(email.message_from_bytes(octets, policy=email.policy.default))
        return letters

    def awaited(self, subject: str, mailbox: str = "INBOX") -> EmailMessage:
        """The message with this subject, once it is there; fail when there are two."""
        wait_for(lambda: self.letters(subject, mailbox), 30)
        (letter,) = self.letters(subject, mailbox)
        return letter


@dataclass(frozen=True, slots=True)
class People:
    """An instance, and who lives in it."""

    instance: Instance
    known: dict[str, Person] = field(default_factory=dict)

    def add(self, name: str) -> Person:
        """Make an account and its app password, by the commands."""
        address = f"{name}@{DOMAIN}"
        done = self.instance.preau("user", "add", address)
        assert done.code == 0, done.error
        done = self.instance.preau("app-password", "add", address, "--label", "test", "--json")
        assert done.code == 0, done.error
        self.known[name] = Person(self.instance, address, json.loads(done.output)["password"])
        return self.known[name]


def fetched(client: imaplib.IMAP4, number: bytes, items: str) -> tuple[bytes, bytes]:
    """What FETCH gives: the line up to its literal, and the literal."""
    # Beside it there may be what another client changed meanwhile.
    (part,) = (part for part in client.fetch(number.decode(), items)[1] if isinstance(part, tuple))
    return part[0], part[1]


def a_letter(sender: str, *to: str, subject: str, text: str = "Rendez-vous à huit heures.\n") -> EmailMessage:
    """A message without Date and Message-ID, as some clients send."""
    letter = EmailMessage(policy=email.policy.SMTP)
    letter["From"], letter["To"], letter["Subject"] = sender, ", ".join(to), subject
    letter.set_content(text)
    return letter
