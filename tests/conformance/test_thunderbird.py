"""Thunderbird, unchanged and without a display, with the settings that docs/clients.md tells people to type.

Driven by hand: PREAU_THUNDERBIRD=1 scripts/test tests/conformance/test_thunderbird.py. It takes a desktop's libraries to
install, and one core for twenty seconds.
"""

import base64
import contextlib
import os
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from instance import make_instance, serving, wait_for
from people import QUICK, People, Person
from ports import free_base
from programs import needs
from thunderbird import ScriptFailed, Thunderbird, thunderbird

pytestmark = [
    pytest.mark.conformance,
    pytest.mark.skipif("PREAU_THUNDERBIRD" not in os.environ, reason="by hand: set PREAU_THUNDERBIRD"),
]


@dataclass(frozen=True, slots=True)
class Desk:
    """Somebody at a Thunderbird with their account, calendars and contacts in it."""

    window: Thunderbird
    people: People
    jeanne: Person

    @property
    def url(self) -> str:
        """Of calendars and contacts, as one types it."""
        return f"https://localhost:{self.people.instance.base + 443}/"

    def run(self, script: str, *arguments: object) -> object:
        """A script about Jeanne's account: `address`, `inbox`, then args[1] and on."""
        return self.window.run(
            f"const address = args[0], inbox = folder(address, 'INBOX');{script}", self.jeanne.address, *arguments
        )

    def dav(self, method: str, path: str, text: str = "") -> tuple[int, str]:
        """What another client does with Jeanne's calendars and contacts; `path` is below /dav/ and has ADDRESS in it."""
        login = base64.b64encode(f"{self.jeanne.address}:{self.jeanne.password}".encode()).decode()
        asked = urllib.request.Request(
            f"{self.url}dav/{path.replace('ADDRESS', self.jeanne.address)}",
            data=text.replace("\n", "\r\n").encode() if text else None,
            method=method,
            headers={"Authorization": f"Basic {login}", "Content-Type": "text/vcard" if "VCARD" in text else "text/calendar"},
        )
        try:
            with urllib.request.urlopen(asked, timeout=30, context=self.people.instance.trusting()) as answer:
                return answer.status, answer.read().decode().replace("\r\n", "\n")
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()


def sign_in(window: Thunderbird, person: Person, password: str = "", *, starttls: bool = False) -> None:
    """A new account with the settings typed by hand."""
    own = person.instance
    imap, smtp = (own.imap, own.submission) if starttls else (own.imaps, own.submissions)
    window.run(
        """
        const [address, password, imap, smtp, starttls] = args;
        const kind = starttls ? Ci.nsMsgSocketType.alwaysSTARTTLS : Ci.nsMsgSocketType.SSL;
        await addAccount(address, password, { imap, smtp, kind });
        await update(folder(address, "INBOX"));
        await until(() => folders(address).length >= 6, "folders");
        """,
        *(person.address, password or person.password, imap, smtp, starttls),
    )


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    program = needs("thunderbird")
    folder = tmp_path_factory.mktemp("desk")
    instance = make_instance(folder / "i", free_base(), settings=f"{QUICK}[dav]\nworkers = 1\n")
    people = People(instance)
    jeanne, _ = people.add("jeanne"), people.add("ali")
    with serving(instance), thunderbird(program, folder / "t", jeanne.ca) as window:
        sign_in(window, jeanne)
        window.run("await show(folder(args[0], 'INBOX'));", jeanne.address)
        one = Desk(window, people, jeanne)
        found = window.run("return await addCalendars(...args)", jeanne.address, jeanne.password, one.url)
        assert found == [["caldav", ["Agenda", "Tâches"]]]
        assert window.run("return await addBooks(...args)", jeanne.address, jeanne.password, one.url) == ["Contacts"]
        window.run("for (const name of ['Agenda', 'Tâches']) await refresh(name);")
        yield one


def test_thunderbird_knows_the_folders_by_their_use(desk: Desk) -> None:
    uses = desk.run(
        """
        const uses = { Inbox: "INBOX", Drafts: "Drafts", SentMail: "Sent", Trash: "Trash", Junk: "Junk", Archive: "Archive" };
        return Object.entries(uses).filter(([use, name]) => !(folder(address, name).flags & Ci.nsMsgFolderFlags[use]));
        """
    )
    assert uses == []


def test_thunderbird_shows_what_arrives_and_what_others_change(desk: Desk) -> None:
    # Unasked, and in a folder that was empty. The other tests ask, as a click on "Get messages" does.
    desk.jeanne.put("Poussé")
    assert desk.run("return (await bodyOf(await arrival(inbox, 'Poussé'))).trim();") == "Rendez-vous à huit heures."
    with desk.jeanne.reading() as client:
        last = client.search(None, "ALL")[1][0].split()[-1].decode()
        client.store(last, "+FLAGS", "(\\Flagged $label2)")
        desk.run(
            """
            const it = titled(inbox, "Poussé");
            await until(() => it.isFlagged && it.getStringProperty("keywords").includes("$label2"), "flags");
            """
        )
        client.store(last, "+FLAGS", "\\Deleted")
        client.expunge()
    desk.run("await until(() => !titled(inbox, 'Poussé'), 'its end');")


def test_what_thunderbird_marks_is_seen_by_others(desk: Desk) -> None:
    desk.jeanne.put("Marqué")
    desk.run(
        """
        await update(inbox);
        const it = await arrival(inbox, "Marqué");
        inbox.markMessagesRead([it], true);
        inbox.markMessagesFlagged([it], true);
        inbox.addKeywordsToMessages([it], "$label1");
        """
    )
    wait_for(lambda: desk.jeanne.there().get("Marqué") == {"\\Seen", "\\Flagged", "$label1"})


def test_thunderbird_moves_and_deletes(desk: Desk) -> None:
    desk.jeanne.put("Gardé", "Copié", "Jeté")
    desk.run(
        """
        await update(inbox);
        for (const subject of ["Gardé", "Copié", "Jeté"]) await arrival(inbox, subject);
        await transfer("move", inbox, "Gardé", folder(address, "Archive"));
        await transfer("copy", inbox, "Copié", folder(address, "Archive"));
        inbox.deleteMessages([titled(inbox, "Jeté")], win.msgWindow, false, false, null, true);
        await until(() => !titled(inbox, "Jeté"), "its end");
        """
    )
    wait_for(lambda: "Jeté" in desk.jeanne.there("Trash"))
    assert {"Gardé", "Copié"} <= desk.jeanne.there("Archive").keys()
    assert "Copié" in desk.jeanne.there()
    assert not {"Gardé", "Jeté"} & desk.jeanne.there().keys()


def test_thunderbird_makes_renames_and_deletes_folders(desk: Desk) -> None:
    names = desk.run(
        """
        const { rootFolder } = server(address);
        rootFolder.createSubfolder("Classe 6e é&à", null);
        await until(() => folders(address).includes("Classe 6e é&à"), "a folder");
        folder(address, "Classe 6e é&à").createSubfolder("Élèves", null);
        await until(() => folders(address).includes("Classe 6e é&à/Élèves"), "a folder in it");
        folder(address, "Classe 6e é&à").rename("Classe 5e", null);
        await until(() => folders(address).includes("Classe 5e/Élèves"), "its new name");
        rootFolder.createSubfolder("Jetable", null);
        await until(() => folders(address).includes("Jetable"), "another folder");
        folder(address, "Jetable").deleteSelf(null);
        await until(() => folders(address).includes("Trash/Jetable"), "it in the trash");
        return folders(address);
        """
    )
    done = desk.people.instance.preau("mailbox", "list", desk.jeanne.address)
    assert isinstance(names, list)
    assert {"Classe 5e", "Classe 5e/Élèves", "Trash/Jetable"} <= set(names)
    assert all(name in done.output for name in names), done.output
    assert "6e" not in done.output


def test_thunderbird_searches_on_the_server(desk: Desk) -> None:
    desk.jeanne.put("Réunion de rentrée", "Autre chose")
    found = desk.run(
        """
        await update(inbox);
        for (const subject of ["Réunion de rentrée", "Autre chose"]) await arrival(inbox, subject);
        return [
          await search(inbox, ["Body", "huit heures"], ["Subject", "réunion"]),
          await search(inbox, ["Body", "à huit"], ["Subject", "chose"]),
          await search(inbox, ["Body", "neuf heures"]),
        ];
        """
    )
    assert found == [["Réunion de rentrée"], ["Autre chose"], []]


def test_thunderbird_sends_with_an_attachment_and_keeps_a_copy(desk: Desk, tmp_path: Path) -> None:
    plan = tmp_path / "plan été.txt"
    plan.write_text("Le plan de l'école.\n" * 5000)
    letter = {
        "to": "ali@ecole.example",
        "subject": "Sortie à la mer",
        "text": "Bonjour,\nvoici le plan à jour.\n",
        "files": [str(plan)],
    }
    desk.run("await compose(address, 'Now', args[1]);", letter)
    arrived = desk.people.known["ali"].awaited("Sortie")
    (attachment,) = arrived.iter_attachments()
    assert attachment.get_filename() == plan.name
    assert attachment.get_content() == plan.read_text()
    body = arrived.get_body()
    assert body is not None
    assert "voici le plan à jour" in body.get_content()
    assert desk.jeanne.there("Sent")["Sortie à la mer"] == {"\\Seen"}


def test_thunderbird_keeps_drafts(desk: Desk) -> None:
    letter = {"to": "ali@ecole.example", "subject": "À finir", "text": "Pas encore écrit."}
    desk.run("await compose(address, 'SaveAsDraft', args[1]);", letter)
    assert "\\Draft" in desk.jeanne.there("Drafts")["À finir"]
    (draft,) = desk.jeanne.letters(mailbox="Drafts")
    assert draft.get_content().strip() == "Pas encore écrit."


def test_thunderbird_shows_why_a_recipient_was_refused(desk: Desk) -> None:
    desk.run("launch(compose(address, 'Now', { to: 'personne@ecole.example', subject: 'Perdu', text: 'Perdu.' }));")
    text = desk.window.dialog()
    assert "adresse inconnue / no such recipient here" in text
    assert "personne@ecole.example" in text


def test_thunderbird_tells_a_wrong_password(desk: Desk) -> None:
    lea = desk.people.add("lea")
    with pytest.raises(ScriptFailed, match="Probably wrong configuration, username or password"):
        sign_in(desk.window, lea, "pas-le-bon")


def test_thunderbird_is_signed_out_when_its_account_is_locked(desk: Desk) -> None:
    leo = desk.people.add("leo")
    sign_in(desk.window, leo, starttls=True)
    letter = {"to": "ali@ecole.example", "subject": "Par STARTTLS", "text": "Bonjour."}
    desk.window.run("await compose(args[0], 'Now', args[1]);", leo.address, letter)
    assert desk.people.known["ali"].awaited("Par STARTTLS")
    assert desk.people.instance.preau("user", "lock", leo.address, "--reason", "perdu").code == 0
    ask = "launch(running(listener => folder(args[0], 'INBOX').getNewMessages(win.msgWindow, listener)));"
    told, tries = "", 0
    # Asked in the moment of the BYE, Thunderbird leaves it at that without a word: who clicks again is told.
    while not told and tries < 4:
        tries += 1
        desk.window.run(ask, leo.address)
        with contextlib.suppress(AssertionError):
            told = desk.window.dialog(5)
    assert told == f"Login to server localhost with username {leo.address} failed."
    desk.window.run("await until(() => win.outcome, 'an outcome');")
    assert desk.people.instance.preau("user", "unlock", leo.address).code == 0
    desk.window.run(ask + "await until(() => win.outcome == 'done', 'mail again');", leo.address)


EVENT = """BEGIN:VCALENDAR
VERSION:2.0
PRODID:-//example//test//FR
BEGIN:{kind}
UID:{uid}
DTSTAMP:20261101T080000Z
{lines}
SUMMARY:{summary}
END:{kind}
END:VCALENDAR
"""


def test_events_go_both_ways(desk: Desk) -> None:
    desk.run(
        """
        const event = new CalEvent();
        event.id = "conseil";
        event.title = "Conseil de classe – 6e";
        event.startDate = inZone("20270112T170000", "Europe/Paris");
        event.endDate = inZone("20270112T183000", "Europe/Paris");
        await calendar("Agenda").addItem(event);
        """
    )
    path = "calendars/ADDRESS/calendar/conseil.ics"
    status, text = desk.dav("GET", path)
    assert status == 200
    assert "SUMMARY:Conseil de classe – 6e\nDTSTART;TZID=Europe/Paris:20270112T170000\n" in text
    assert desk.dav("PUT", path, text.replace("Conseil de classe", "Conseil déplacé"))[0] == 204
    lines = "DTSTART:20270118T080000Z\nDTEND:20270118T090000Z\nRRULE:FREQ=WEEKLY;COUNT=3"
    there = EVENT.format(kind="VEVENT", uid="maths", lines=lines, summary="Maths")
    assert desk.dav("PUT", "calendars/ADDRESS/calendar/maths.ics", there)[0] == 201
    titles = desk.run("await refresh('Agenda'); return (await items('Agenda')).map(one => one.title).sort();")
    assert titles == ["Conseil déplacé – 6e", "Maths"]
    desk.run("await calendar('Agenda').deleteItem(await item('Agenda', 'maths'));")
    assert desk.dav("GET", "calendars/ADDRESS/calendar/maths.ics")[0] == 404


def test_an_event_that_changed_elsewhere_is_not_overwritten_unasked(desk: Desk) -> None:
    path = "calendars/ADDRESS/calendar/dispute.ics"
    lines = "DTSTART:20270201T080000Z\nDTEND:20270201T090000Z"
    assert desk.dav("PUT", path, EVENT.format(kind="VEVENT", uid="dispute", lines=lines, summary="Avant"))[0] == 201
    desk.run("await refresh('Agenda');")
    assert desk.dav("PUT", path, EVENT.format(kind="VEVENT", uid="dispute", lines=lines, summary="Ailleurs"))[0] == 204
    desk.run(
        """
        const old = await item("Agenda", "dispute"), changed = old.clone();
        changed.title = "Ici";
        launch(calendar("Agenda").modifyItem(changed, old));
        """
    )
    told = desk.run(
        """
        const newest = () => Services.wm.getMostRecentWindow(null);
        const dialog = await until(() => newest().document.querySelector("dialog"), "the question");
        const asked = dialog.ownerDocument.title;
        dialog.cancelDialog();
        await until(() => win.outcome, "an outcome");
        return [asked, (await item("Agenda", "dispute")).title];
        """
    )
    assert told == ["Item changed on server", "Ailleurs"]
    assert "SUMMARY:Ailleurs" in desk.dav("GET", path)[1]


def test_tasks_go_both_ways(desk: Desk) -> None:
    desk.run(
        """
        const task = new CalTodo();
        task.id = "bulletins";
        task.title = "Rendre les bulletins";
        task.dueDate = inZone("20270115T120000", "UTC");
        await calendar("Tâches").addItem(task);
        """
    )
    path = "calendars/ADDRESS/tasks/bulletins.ics"
    status, text = desk.dav("GET", path)
    assert status == 200
    assert "BEGIN:VTODO" in text
    assert "DUE:20270115T120000Z" in text
    lines = "DUE:20270115T120000Z\nSTATUS:COMPLETED\nPERCENT-COMPLETE:100\nCOMPLETED:20261120T080000Z"
    done = EVENT.format(kind="VTODO", uid="bulletins", lines=lines, summary="Rendre les bulletins")
    assert desk.dav("PUT", path, done)[0] == 204
    assert desk.run("await refresh('Tâches'); return (await item('Tâches', 'bulletins')).isCompleted;") is True


def test_events_and_tasks_have_their_own_calendars(desk: Desk) -> None:
    kinds = desk.run(
        "return ['Agenda', 'Tâches'].map(name => ['events', 'tasks'].map(kind =>"
        " calendar(name).getProperty(`capabilities.${kind}.supported`)));"
    )
    assert kinds == [[True, False], [False, True]]


CARD = """BEGIN:VCARD
VERSION:3.0
UID:paul
FN:Paul Roy
N:Roy;Paul;;;
item1.EMAIL;type=INTERNET:paul@ailleurs.example
item1.X-ABLabel:_$!<Work>!$_
END:VCARD
"""


def test_contacts_go_both_ways(desk: Desk) -> None:
    lines = ["VERSION:4.0", "UID:zoe", "FN:Zoé Élan", "EMAIL;PREF=1:zoe@ecole.example", "ANNIVERSARY;VALUE=DATE:20100909"]
    text = "\r\n".join(["BEGIN:VCARD", *lines, "END:VCARD", ""])
    kept = desk.run(
        """
        addPerson("Contacts", args[1]);
        await until(() => person("Contacts", "Zoé Élan")?.getProperty("_etag", ""), "a contact that is stored");
        return vcard(person("Contacts", "Zoé Élan"));
        """,
        text,
    )
    # It is read back at once, in the version it was made in: an anniversary would be gone from the window else.
    assert isinstance(kept, str)
    assert "VERSION:4.0" in kept
    assert "ANNIVERSARY;VALUE=DATE:20100909" in kept
    path = "addressbooks/ADDRESS/contacts/zoe.vcf"
    status, stored = desk.dav("GET", path)
    assert status == 200
    assert "VERSION:4.0" in stored
    assert desk.dav("PUT", path, stored.replace("zoe@ecole.example", "zoe@maison.example"))[0] == 204
    assert desk.dav("PUT", "addressbooks/ADDRESS/contacts/paul.vcf", CARD)[0] == 201
    mail = desk.run(
        "await sync('Contacts'); return ['Zoé Élan', 'Paul Roy'].map(name => person('Contacts', name).primaryEmail);"
    )
    assert mail == ["zoe@maison.example", "paul@ailleurs.example"]
    desk.run("book('Contacts').deleteCards([person('Contacts', 'Paul Roy')]);")
    wait_for(lambda: desk.dav("GET", "addressbooks/ADDRESS/contacts/paul.vcf")[0] == 404)
