"""Mail between two instances that find one another by MX records of a real DNS server, with neighbours that misbehave.

Each neighbour is a domain with two hosts: the first follows a script, the second takes what it is given. All run at once, so
that one that hangs is seen not to keep the others waiting.
"""

import asyncio
import contextlib
import json
import re
import smtplib
import threading
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import knot
from command import preau
from instance import Instance, make_instance, serving, wait_for
from people import People, Person, a_letter
from ports import free_base
from smtp_peer import DROP, HANG, Peer, free_port

pytestmark = pytest.mark.skipif(knot.KNOTD is None, reason="knotd is not installed")

OTHER = "autre.example"
OTHER_HOST, SECOND_HOST = "127.0.0.62", "127.0.0.63"
SETTINGS = """
[queue]
steps = [1]
poll_seconds = 0.5
delivery_retry_seconds = 1
[imap]
workers = 1
[relay]
port = {port}
greeting_seconds = 1.0
command_seconds = 1.0
data_seconds = 1.0
final_seconds = 1.0
down_first = 1.0
down_longest = 1.0
[dns]
servers = ["{dns}"]
port = {dns_port}
"""

TAKEN_BY_SECOND: Mapping[str, Mapping[str, Sequence[str]]] = {
    "dies-greeting": {"GREETING": [DROP]},
    "dies-ehlo": {"EHLO": [DROP]},
    "dies-mail": {"MAIL": [DROP]},
    "dies-rcpt": {"RCPT": [DROP]},
    "dies-data": {"DATA": [DROP]},
    "dies-in-the-middle": {"MIDDLE": [DROP]},
    "hangs-greeting": {"GREETING": [HANG]},
    "hangs-ehlo": {"EHLO": [HANG]},
    "hangs-mail": {"MAIL": [HANG]},
    "hangs-rcpt": {"RCPT": [HANG]},
    "hangs-data": {"DATA": [HANG]},
    "busy-greeting": {"GREETING": ["421 4.3.2 busy"]},
    "closed-greeting": {"GREETING": ["554 5.3.2 no mail here"]},
    "dies-final": {"FINAL": [DROP]},
    "hangs-final": {"FINAL": [HANG]},
}
"""The first host fails before it answers for the message: the second one is asked, in the same try or the next."""
TAKEN_LATER: Mapping[str, Mapping[str, Sequence[str]]] = {
    "greylists": {"RCPT": ["450 4.7.1 greylisted, come again", "450 4.7.1 greylisted, come again", "250 2.1.5 ok"]},
    "later-mail": {"MAIL": ["452 4.3.1 no room", "250 2.1.0 ok"]},
    "later-data": {"DATA": ["451 4.3.0 later", "354 go on"]},
    "later-final": {"FINAL": ["451 4.3.0 later", "250 2.0.0 taken"]},
    "helo-only": {"EHLO": ["502 5.5.1 what?"]},
}
"""The first host answers for the message, in the end well."""
RETURNED: Mapping[str, tuple[Mapping[str, Sequence[str]], str]] = {
    "no-mail": ({"MAIL": ["550 5.7.1 not from you"]}, "5.7.1"),
    "no-rcpt": ({"RCPT": ["550 5.1.1 no such user"]}, "5.1.1"),
    "no-data": ({"DATA": ["554 5.6.0 not this"]}, "5.6.0"),
    "no-final": ({"FINAL": ["554 5.7.1 looks like spam"]}, "5.7.1"),
    "too-big": ({"MAIL": ["552 5.3.4 too big"]}, "5.3.4"),
}
"""The first host refuses for good, and is believed: (script, status that the sender reads)."""


class Background:
    """An event loop in a thread, for peers that run beside a test."""

    def __init__(self) -> None:
        """Running."""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Its result."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    def end(self, peer: Peer) -> None:
        """Of a peer. Raise what a client did to it that no client may."""
        self.run(peer.stop())

    def stop(self) -> None:
        """No more."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(30)
        self._loop.close()


@dataclass(frozen=True)
class Houses:
    """Two instances and their neighbours, which are peers by their domains' names."""

    here: Instance
    there: Instance
    marie: Person
    anne: Person
    first: Mapping[str, Peer]
    second: Peer

    def send(self, *addresses: str, subject: str) -> None:
        """From Marie, one message to each address."""
        with self.marie.submitting() as session:
            for address in addresses:
                session.send_message(a_letter(self.marie.address, address, subject=subject, text="Bonjour.\n"))

    def waiting(self) -> int:
        """Messages in the queue."""
        return len(json.loads(self.here.preau("queue", "list", "--json").output))


def scripts() -> dict[str, Mapping[str, Sequence[str]]]:
    """Every neighbour."""
    return {**TAKEN_BY_SECOND, **TAKEN_LATER, **{name: script for name, (script, _) in RETURNED.items()}}


def zones() -> dict[str, str]:
    """Of all neighbours and of the two houses. `mx1` of the other house is down."""
    found = {
        f"{name}.example": f"@ MX 10 mx1\n@ MX 20 mx2\nmx1 A 127.0.1.{number}\nmx2 A {SECOND_HOST}\n"
        for number, name in enumerate(scripts(), 1)
    }
    found[OTHER] = f"@ MX 10 mx1\n@ MX 20 mx2\nmx1 A 127.0.2.1\nmx2 A {OTHER_HOST}\n"
    found["nomail.example"] = "@ MX 0 .\n"
    found["only-address.example"] = f"@ A {SECOND_HOST}\n"
    return found


@pytest.fixture(scope="module")
def houses(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Houses]:
    """All of them, running."""
    folder = tmp_path_factory.mktemp("mx")
    port, background = free_port(), Background()
    with contextlib.ExitStack() as stack:
        stack.callback(background.stop)
        dns = knot.serving(folder, zones())
        address, dns_port = background.run(dns.__aenter__())
        stack.callback(lambda: background.run(dns.__aexit__(None, None, None)))
        peers = {name: Peer(script) for name, script in scripts().items()}
        second = Peer()
        for number, peer in enumerate(peers.values(), 1):
            background.run(peer.start(f"127.0.1.{number}", port))
        background.run(second.start(SECOND_HOST, port))
        for peer in (*peers.values(), second):
            stack.callback(background.end, peer)
        settings = SETTINGS.format(port=port, dns=address, dns_port=dns_port)
        here = make_instance(folder / "here", free_base(), settings=settings)
        base = free_base()
        assert preau("init", folder / "there", "--domain", OTHER, "--ports-from", base).code == 0
        there = Instance(folder / "there", base)
        listening_at(there.config, f"{OTHER_HOST}:{port}")
        with there.config.open("a") as file:
            file.write(settings)
        people = People(here)
        marie = people.add("marie.durand")
        assert there.preau("user", "add", f"anne@{OTHER}").code == 0
        made = json.loads(there.preau("app-password", "add", f"anne@{OTHER}", "--label", "test", "--json").output)
        roles = ("keys", "auth", "delivery", "queue", "smtp", "imap")
        stack.enter_context(serving(here, *roles))
        stack.enter_context(serving(there, *roles))
        yield Houses(here, there, marie, Person(there, f"anne@{OTHER}", made["password"]), peers, second)


def listening_at(config: Path, address: str) -> None:
    """Port 25 of an instance is somewhere else."""
    text, count = re.subn(r"^smtp = .*$", f'smtp = ["{address}"]', config.read_text(), count=1, flags=re.MULTILINE)
    assert count == 1
    config.write_text(text)


def subjects(peer: Peer) -> list[str]:
    """Of what it took, with the domain it was for."""
    return [f"{one.rcpts[0].split('@')[1].split('>')[0]}" for one in peer.taken]


def test_the_next_host_takes_mail_for_the_other_house(houses: Houses) -> None:
    houses.send(houses.anne.address, subject="par le second MX")
    letter = houses.anne.awaited("par le second MX")
    assert letter["From"] == houses.marie.address
    with houses.anne.submitting() as session, pytest.raises(smtplib.SMTPRecipientsRefused):
        session.send_message(a_letter(houses.anne.address, f"personne@{OTHER}", subject="ici"))


def test_neighbours_that_misbehave(houses: Houses) -> None:
    names = list(scripts())
    houses.send(*(f"x@{name}.example" for name in names), subject="aux voisins")
    wait_for(lambda: houses.waiting() == 0, 90)
    taken = subjects(houses.second)
    for name in TAKEN_BY_SECOND:
        assert (name, taken.count(f"{name}.example"), len(houses.first[name].taken)) == (name, 1, 0)
    for name in TAKEN_LATER:
        assert (name, taken.count(f"{name}.example"), len(houses.first[name].taken)) == (name, 0, 1)
    reports = {name: reports_about(houses.marie, f"x@{name}.example") for name in names}
    for name in (*TAKEN_BY_SECOND, *TAKEN_LATER):
        assert (name, reports[name]) == (name, [])
    for name, (_, status) in RETURNED.items():
        assert (name, taken.count(f"{name}.example"), len(houses.first[name].taken)) == (name, 0, 0)
        (report,) = reports[name]
        assert f"Status: {status}" in report, name


def reports_about(person: Person, address: str) -> list[str]:
    """The reports that name an address."""
    letters = person.letters()
    return [str(each) for each in letters if each.get_content_type() == "multipart/report" and address in str(each)]


@pytest.mark.parametrize(
    ("domain", "outcome"),
    [("nomail.example", "5.1.10"), ("nowhere.only-address.example", "5.1.2"), ("only-address.example", "")],
    ids=["null MX", "no such domain", "an address alone"],
)
def test_domains_that_are_special(houses: Houses, domain: str, outcome: str) -> None:
    houses.send(f"x@{domain}", subject="special")
    wait_for(lambda: reports_about(houses.marie, f"x@{domain}") or domain in subjects(houses.second), 30)
    if outcome:
        (report,) = reports_about(houses.marie, f"x@{domain}")
        assert f"Status: {outcome}" in report
    else:
        assert subjects(houses.second).count(domain) == 1
