"""Unchanged IMAP libraries against an instance, each with an app password, over TLS, with the private CA alone as trust."""

import asyncio
from typing import TYPE_CHECKING

import aioimaplib
import imap_tools
import pytest

from people import Person, a_letter

if TYPE_CHECKING:
    from aioimaplib import IMAP4_SSL

pytestmark = pytest.mark.conformance


def letter(subject: str) -> bytes:
    """A message with an attachment."""
    made = a_letter("marie@ecole.example", "paul@ecole.example", subject=subject)
    made["Message-ID"] = f"<{subject}@ecole.example>"
    made["Date"] = "Sat, 7 Feb 2026 11:11:12 +0100"
    made.add_attachment(bytes(range(256)), maintype="application", subtype="pdf", filename="été.pdf")
    return bytes(made)


def test_imap_tools(person: Person) -> None:
    query = imap_tools.AND
    mailbox = imap_tools.MailBox("localhost", person.instance.imaps, timeout=20, ssl_context=person.instance.trusting())
    with mailbox.login(person.address, person.password):
        for subject in ("un", "deux", "trois"):
            mailbox.append(letter(subject), "INBOX", flag_set=["\\Seen", "$Travail"] if subject == "un" else None)
        found = {each.subject: each for each in mailbox.fetch(mark_seen=False)}
        assert set(found) == {"un", "deux", "trois"}
        uids = {subject: each.uid or "" for subject, each in found.items()}
        assert all(uids.values())
        assert set(found["un"].flags) >= {"\\Seen", "$Travail"}
        (attachment,) = found["deux"].attachments
        assert (attachment.filename, attachment.payload) == ("été.pdf", bytes(range(256)))
        assert [each.subject for each in mailbox.fetch(query(seen=False, subject="trois"), bulk=True)] == ["trois"]
        assert [each.subject for each in mailbox.fetch(query(text="à huit heures"), charset="UTF-8", limit=1)] == ["un"]
        mailbox.flag(uids["deux"], [imap_tools.MailMessageFlags.FLAGGED, "$label1"], value=True)
        mailbox.flag(uids["un"], ["\\Seen"], value=False)
        assert mailbox.uids(query(flagged=True, keyword="$label1")) == [uids["deux"]]
        mailbox.folder.create("Été/Sorties")
        assert mailbox.folder.exists("Été/Sorties")
        mailbox.folder.subscribe("Été/Sorties", value=True)
        assert {"Été/Sorties", "INBOX"} <= {folder.name for folder in mailbox.folder.list(subscribed_only=True)}
        mailbox.move(uids["un"], "Été/Sorties")
        mailbox.copy(uids["deux"], "Été/Sorties")
        mailbox.delete(uids["trois"])
        assert [each.subject for each in mailbox.fetch(mark_seen=False)] == ["deux"]
        mailbox.folder.rename("Été/Sorties", "Été/Visites")
        assert mailbox.folder.status("Été/Visites", ["MESSAGES", "UNSEEN"]) == {"MESSAGES": 2, "UNSEEN": 2}
        with mailbox.idle as idle:
            person.put("quatre")
            assert any(b"2 EXISTS" in line for line in idle.poll(timeout=20))
        mailbox.folder.delete("Été/Visites")
        assert not mailbox.folder.exists("Été/Visites")
    wrong = imap_tools.MailBox("localhost", person.instance.imaps, timeout=20, ssl_context=person.instance.trusting())
    with pytest.raises(imap_tools.MailboxLoginError, match="AUTHENTICATIONFAILED"):
        wrong.login(person.address, "wrong")
    wrong.client.shutdown()


def test_aioimaplib(person: Person) -> None:

    async def signed_in() -> "IMAP4_SSL":
        client = aioimaplib.IMAP4_SSL("localhost", person.instance.imaps, timeout=20, ssl_context=person.instance.trusting())
        await client.wait_hello_from_server()
        assert (await client.login(person.address, person.password)).result == "OK"
        return client

    async def pushed(client: "IMAP4_SSL", end: bytes) -> list[bytes]:
        """Lines that come unasked, up to one with this end."""
        lines: list[bytes] = []
        while not any(line.endswith(end) for line in lines):
            lines += await client.wait_server_push(timeout=20)
        return lines

    async def converse() -> None:
        client, other = await signed_in(), await signed_in()
        assert client.has_capability("CONDSTORE")
        assert (await client.enable("CONDSTORE")).result == "OK"
        assert (await client.select("INBOX")).result == "OK"
        assert (await other.select("INBOX")).result == "OK"
        # What another session does arrives while this one idles.
        idling = await client.idle_start(timeout=60)
        assert (await other.append(letter("un"), "INBOX", flags="$Travail")).result == "OK"
        await pushed(client, b"1 EXISTS")
        assert (await other.uid("store", "1", "+FLAGS (\\Seen)")).result == "OK"
        assert any(b"\\Seen" in line for line in await pushed(client, b")"))
        second = letter("deux")
        assert (await other.append(second, "INBOX")).result == "OK"
        await pushed(client, b"2 EXISTS")
        assert (await other.store("1", "+FLAGS.SILENT", "(\\Deleted)")).result == "OK"
        assert (await other.expunge()).result == "OK"
        await pushed(client, b"1 EXPUNGE")
        client.idle_done()
        assert (await asyncio.wait_for(idling, 20)).result == "OK"
        # And it works on: search, fetch, move, folders.
        assert (await client.uid_search("ALL")).lines[0] == b"2"
        fetched = await client.uid("fetch", "2", "(FLAGS BODY.PEEK[])")
        assert bytes(fetched.lines[1]) == second
        assert (await client.create("Classe")).result == "OK"
        assert (await client.subscribe("Classe")).result == "OK"
        assert (await client.uid("move", "2", "Classe")).result == "OK"
        status = await client.status("Classe", "(MESSAGES UIDNEXT)")
        assert status.lines[0].endswith(b"(MESSAGES 1 UIDNEXT 2)")
        assert any(b"Classe" in line for line in (await client.lsub('""', "*")).lines)
        assert (await client.getquotaroot("INBOX")).result == "OK"
        assert (await client.delete("Classe")).result == "OK"
        for each in (client, other):
            assert (await each.logout()).result == "OK"

    asyncio.run(converse())
