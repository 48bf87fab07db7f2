"""What random sessions found, each fault by its name (test_random_sessions.py looks for more)."""

import re
from dataclasses import replace
from pathlib import Path

from imap_steps import Client, make_site
from model_store import ANNE, KEYS, Process
from preau.storage.api import Draft, FlagOp, Flags, Uid
from preau.storage.check import verify_account
from preau.storage.memory import MemoryStore


def two_clients(count: int) -> tuple[Client, Client]:
    """Two sessions of one process on a mailbox of `count` messages, both with QRESYNC."""
    store, site = MemoryStore(), make_site()
    first, second = Client(store, site), Client(store, site)
    first.fill(count)
    for client in (first, second):
        client.say(b"ENABLE QRESYNC")
        client.say(b"SELECT INBOX")
    return first, second


def mark(client: Client, uid: int, *flags: str) -> None:
    """Set flags behind all sessions' backs."""
    mail = client.account.mail
    named: Flags = frozenset(flags)
    mail.store_flags(mail.find("INBOX").id, [Uid(uid)], FlagOp.ADD, named)


def test_fetch_of_some_across_a_gap_tells_each_its_own_flags() -> None:
    """UIDs 1, 3, 4, 5 were asked for, 1, 2, 4, 5 were there: as many, with the same ends, and not the same."""
    first, second = two_clients(5)
    mark(first, 2, "\\Flagged")
    mark(first, 3, "\\Deleted")
    second.say(b"NOOP")
    first.say(b"EXPUNGE")
    lines, answer = second.say(b"FETCH 1,3,4,5 (UID FLAGS MODSEQ RFC822.SIZE)")
    told = [found[1] for line in lines if (found := re.search(r"UID (\d+) FLAGS \(\)", line))]
    assert told == ["1", "4", "5"]
    assert not any("UID 3" in line for line in lines)
    assert answer.startswith("NO [EXPUNGEISSUED]")


def test_a_silent_store_behind_news_of_the_same_message_tells_its_outcome() -> None:
    """Who hears FLAGS in the answer to its own silent STORE cannot know whether they are from before or after it."""
    for line in (b"STORE 1 +FLAGS.SILENT (\\Seen)", b"UID STORE 1 +FLAGS.SILENT (\\Seen)"):
        first, _ = two_clients(2)
        mark(first, 1, "\\Flagged")
        lines, answer = first.say(line)
        told = [found[1] for each in lines if (found := re.search(r"FLAGS \(([^)]*)\)", each))]
        assert told == ["\\Flagged", "\\Seen \\Flagged"]
        assert answer == "OK STORE completed"
        lines, _ = first.say(b"STORE 1 -FLAGS.SILENT (\\Seen)")  # and is silent again when there is no such news
        assert not any("FLAGS" in each for each in lines)


def test_modseqs_told_before_an_expunge_that_waits_are_taken_back() -> None:
    """RFC 7162 section 3.2: who comes back with what it heard must still learn of the message that went before that."""
    first, second = two_clients(4)
    mark(first, 2, "\\Deleted")
    second.say(b"NOOP")
    first.say(b"EXPUNGE")
    mark(first, 3, "\\Flagged")
    lines, _ = second.say(b"FETCH 1 (FLAGS)")
    heard = max(int(found[1]) for line in lines if (found := re.search(r"FETCH .*MODSEQ \((\d+)\)", line)))
    codes = [int(found[1]) for line in lines if (found := re.search(r"\[HIGHESTMODSEQ (\d+)\]", line))]
    assert codes
    assert codes[-1] < heard
    lines, _ = second.say(b"UNSELECT")
    validity = first.session.selected.mailbox.uidvalidity
    lines, _ = second.say(b"SELECT INBOX (QRESYNC (%d %d))" % (validity, codes[-1]))
    assert "* VANISHED (EARLIER) 2" in lines


def test_nothing_is_kept_of_a_message_that_another_process_removed_before_it_was_derived(tmp_path: Path) -> None:
    """The one that removed it had cleared caches and search text before the one that delivered it filled them."""
    root, run = tmp_path / "store", tmp_path / "run"
    delivery = Process(root, run, "delivery-1", replace(KEYS[ANNE], secret=None), sealing=True)
    worker = Process(root, run, "imap-1", KEYS[ANNE], sealing=True)
    try:
        inbox, archive = delivery.account.mail.find("INBOX").id, worker.account.mail.find("Archive").id
        writers = [delivery.account.mail.new_message() for _ in range(2)]
        for writer in writers:
            writer.write(b"Subject: secret\r\n\r\nBonjour\r\n")
        delivery.account.mail.append(inbox, [Draft(writer, frozenset({"\\Deleted"})) for writer in writers])
        worker.account.mail.copy(inbox, [Uid(1)], archive)
        worker.account.mail.expunge(inbox)
        worker.background.settle()
        delivery.account.mail.expunge(archive)
        delivery.background.settle()
        worker.background.settle()
    finally:
        worker.close()
        delivery.close()
    assert verify_account(root, ANNE, KEYS[ANNE], sealing=True) == []
