"""Commands and the frame they run in, each run as a generator (dialogs/ has what clients say over a socket)."""

import re

import pytest

from imap_steps import Client, make_site, run_steps
from preau.imap.commands import TABLE
from preau.imap.dispatch import run_command
from preau.imap.session import Session, State, Upgrade
from preau.imap.settings import ImapSettings
from preau.imap.steps import Work
from preau.imap.values import Noop
from preau.storage.api import FlagOp, OverQuota, Uid
from preau.storage.memory import MemoryStore
from preau.storage.memory_mail import MemoryMail


def selected(count: int = 3, command: bytes = b"SELECT INBOX") -> Client:
    client = Client()
    client.fill(count)
    client.say(command)
    return client


def expunge(client: Client, *uids: int) -> None:
    """By another session."""
    mail, mailbox = client.account.mail, client.session.selected.mailbox.id
    mail.store_flags(mailbox, [Uid(uid) for uid in uids], FlagOp.ADD, frozenset({"\\Deleted"}))
    mail.expunge(mailbox, [Uid(uid) for uid in uids])


# -- the frame


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("name", TABLE)
def test_a_command_runs_only_in_its_states(name: str, state: State) -> None:
    session = Session(make_site())
    session.state = state
    row = TABLE[name]
    if state not in row.states:
        _, answer = run_steps(run_command(session, row, None))
        assert answer.startswith(b"BAD ")


def test_errors_of_the_store_are_answers() -> None:
    client = Client()
    assert client.say(b"SELECT Nowhere")[1].startswith("NO [NONEXISTENT] ")
    assert client.say(b"CREATE Sent")[1].startswith("NO [ALREADYEXISTS] ")
    assert client.say(b"DELETE INBOX")[1].startswith("NO [CANNOT] ")
    assert client.say(b"RENAME Nowhere There")[1].startswith("NO [NONEXISTENT] ")


def test_a_number_above_exists_is_the_clients_fault() -> None:
    for line in (b"FETCH 4 FLAGS", b"STORE 4 +FLAGS (\\Seen)", b"COPY 4 Trash"):
        assert selected(3).say(line) == ([], "BAD Message number out of range")
    assert selected(3).say(b"UID FETCH 4 FLAGS")[1] == "OK FETCH completed"


@pytest.mark.parametrize("line", [b"FETCH 1 FLAGS", b"STORE 1 +FLAGS.SILENT (\\Seen)", b"SEARCH ALL"])
def test_no_expunge_is_told_while_numbers_are_used(line: bytes) -> None:
    client = selected(3)
    expunge(client, 3)
    assert "* 3 EXPUNGE" not in client.say(line)[0]
    assert client.say(b"NOOP")[0] == ["* 3 EXPUNGE"]


@pytest.mark.parametrize("line", [b"UID FETCH 1 FLAGS", b"UID SEARCH ALL", b"NOOP", b"CHECK", b"STATUS Sent (MESSAGES)"])
def test_expunge_is_told_where_it_may(line: bytes) -> None:
    client = selected(3)
    expunge(client, 3)
    assert "* 3 EXPUNGE" in client.say(line)[0]


def test_a_uid_heard_of_elsewhere_is_known_at_once() -> None:
    client = selected(1)
    (uid,) = client.fill(1)
    assert client.say(b"UID FETCH %d FLAGS" % uid)[0] == ["* 2 EXISTS", "* 2 FETCH (UID 2 FLAGS ())"]


# -- mailboxes


def test_a_failed_select_leaves_nothing_selected() -> None:
    client = selected()
    lines, answer = client.say(b"SELECT Nowhere")
    assert lines == ["* OK [CLOSED] Previous mailbox closed"]
    assert answer.startswith("NO [NONEXISTENT]")
    assert client.session.state is State.AUTHENTICATED


def test_select_opens_a_large_mailbox_in_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    client = Client()
    client.fill(2)
    monkeypatch.setattr(MemoryMail, "is_warm", lambda self, mailbox: False)
    steps = client.begin(b"SELECT INBOX")
    assert isinstance(steps.send(None), Work)
    steps.close()
    lines, answer = client.say(b"SELECT INBOX")
    assert "* 2 EXISTS" in lines
    assert answer.startswith("OK [READ-WRITE]")


def test_list_tells_names_that_are_only_parents() -> None:
    client = Client()
    client.say(b"CREATE Classes/5B/Notes")
    client.say(b"DELETE Classes/5B")
    assert client.say(b'LIST "" Classes*')[0] == [
        '* LIST (\\HasChildren) "/" Classes',
        '* LIST (\\Noselect \\HasChildren) "/" Classes/5B',
        '* LIST (\\HasNoChildren) "/" Classes/5B/Notes',
    ]
    assert client.say(b'LIST "" Classes/% RETURN (CHILDREN)')[0] == [
        '* LIST (\\NonExistent \\HasChildren) "/" Classes/5B',
    ]
    assert client.say(b'LIST "Classes/" %')[0] == ['* LIST (\\Noselect \\HasChildren) "/" Classes/5B']


def test_list_of_subscriptions() -> None:
    client = Client()
    client.say(b"CREATE A/B")
    client.say(b"SUBSCRIBE A/B")
    client.say(b"SUBSCRIBE Gone")
    lines, _ = client.say(b'LIST (SUBSCRIBED) "" *')
    assert '* LIST (\\HasNoChildren \\Subscribed) "/" A/B' in lines
    assert '* LIST (\\NonExistent \\HasNoChildren \\Subscribed) "/" Gone' in lines
    lines, _ = client.say(b'LIST (SUBSCRIBED RECURSIVEMATCH) "" A')
    assert lines == ['* LIST (\\HasChildren) "/" A ("CHILDINFO" ("SUBSCRIBED"))']
    assert '* LSUB (\\Noselect) "/" A' in client.say(b'LSUB "" %')[0]
    assert '* LSUB () "/" A/B' in client.say(b'LSUB "" *')[0]
    assert '* LSUB (\\Noselect) "/" Gone' in client.say(b'LSUB "" *')[0]


def test_list_with_special_use_and_status() -> None:
    client = Client()
    client.fill(2, mailbox="Sent")
    lines, _ = client.say(b'LIST (SPECIAL-USE) "" * RETURN (STATUS (MESSAGES UNSEEN))')
    at = lines.index('* LIST (\\HasNoChildren \\Sent) "/" Sent')
    assert lines[at + 1] == "* STATUS Sent (MESSAGES 2 UNSEEN 2)"
    assert not [line for line in lines if "INBOX" in line]


def test_too_many_patterns() -> None:
    client = Client(site=make_site(ImapSettings(list_patterns=2)))
    assert client.say(b'LIST "" (a b c)')[1].startswith("NO [LIMIT]")


def test_status_of_everything() -> None:
    client = Client()
    client.fill(2)
    info = client.account.mail.find("INBOX")
    (status,) = client.account.mail.status([info.id])
    lines, _ = client.say(b"STATUS INBOX (MESSAGES RECENT UIDNEXT UIDVALIDITY UNSEEN DELETED SIZE APPENDLIMIT MAILBOXID)")
    assert lines == [
        f"* STATUS INBOX (MESSAGES 2 RECENT 0 UIDNEXT 3 UIDVALIDITY {info.uidvalidity} UNSEEN 2 DELETED 0"
        f" SIZE {status.size} APPENDLIMIT 52428800 MAILBOXID ({info.object_id}))"
    ]
    assert not client.session.condstore
    client.say(b"STATUS INBOX (HIGHESTMODSEQ)")
    assert client.session.condstore


@pytest.mark.parametrize("use", [b"\\All", b"\\Flagged", b"\\Nonsense"])
def test_create_for_a_use_that_is_not_here(use: bytes) -> None:
    client = Client()
    assert client.say(b"CREATE X (USE (%b))" % use)[1].startswith(("NO [USEATTR]", "BAD"))


# -- messages


def test_store_answers_for_each_message_changed_or_not() -> None:
    client = selected(3)
    client.say(b"STORE 2 +FLAGS.SILENT (\\Seen)")
    lines, _ = client.say(b"STORE 1:2 +FLAGS (\\Seen)")
    assert lines == ["* 1 FETCH (FLAGS (\\Seen))", "* 2 FETCH (FLAGS (\\Seen))"]
    assert client.say(b"UID STORE 3 FLAGS (\\Flagged)")[0] == ["* 3 FETCH (UID 3 FLAGS (\\Flagged))"]


def test_silent_store_tells_nothing_of_its_own_change() -> None:
    client = selected(3)
    assert client.say(b"STORE 1:3 +FLAGS.SILENT (\\Seen)") == ([], "OK STORE completed")
    assert client.say(b"NOOP")[0] == []


def test_silent_store_tells_modseq_with_condstore() -> None:
    client = selected(2)
    client.say(b"ENABLE CONDSTORE")
    modseq = client.session.selected.mailbox.highestmodseq + 1
    lines, _ = client.say(b"STORE 1 +FLAGS.SILENT (\\Seen)")
    assert lines == [f"* 1 FETCH (UID 1 MODSEQ ({modseq}))"]


def test_silent_store_tells_what_others_changed_in_that_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    client = selected(3)
    storing = MemoryMail.store_flags

    def twice(self: MemoryMail, mailbox: object, uids: object, op: FlagOp, flags: object, **how: object) -> object:
        # Somebody else is a moment faster.
        storing(self, mailbox, [Uid(1), Uid(3)], FlagOp.ADD, frozenset({"\\Flagged"}))  # type: ignore[arg-type]
        return storing(self, mailbox, uids, op, flags, **how)  # type: ignore[arg-type]

    monkeypatch.setattr(MemoryMail, "store_flags", twice)
    lines, _ = client.say(b"STORE 1:2 +FLAGS.SILENT (\\Seen)")
    assert lines == ["* 1 FETCH (FLAGS (\\Seen \\Flagged))", "* 3 FETCH (FLAGS (\\Flagged))"]


def test_unchanged_since_holds_back_and_says_which() -> None:
    client = selected(3)
    since = client.session.selected.mailbox.highestmodseq
    client.say(b"STORE 2 +FLAGS.SILENT (\\Flagged)")
    lines, answer = client.say(b"STORE 1:3 (UNCHANGEDSINCE %d) +FLAGS (\\Seen)" % since)
    assert answer.startswith("OK [MODIFIED 2] ")
    assert [line.split()[1] for line in lines if "FETCH" in line] == ["1", "3"]
    assert client.say(b"UID STORE 1 (UNCHANGEDSINCE 0) +FLAGS (\\Draft)")[1].startswith("OK [MODIFIED 1] ")


@pytest.mark.parametrize("line", [b"STORE 1 +FLAGS (\\Seen)", b"EXPUNGE", b"UID EXPUNGE 1", b"MOVE 1 Trash"])
def test_nothing_changes_in_a_read_only_mailbox(line: bytes) -> None:
    client = selected(2, b"EXAMINE INBOX")
    before = client.session.selected.mailbox.highestmodseq
    assert client.say(line)[1].startswith("NO [CANNOT]")
    assert client.session.selected.mailbox.highestmodseq == before


def test_close_expunges_without_telling_and_examine_does_not() -> None:
    for command, left in ((b"EXAMINE INBOX", 2), (b"SELECT INBOX", 1)):
        client = Client()
        client.fill(2)
        client.say(b"SELECT INBOX")
        client.say(b"STORE 1 +FLAGS.SILENT (\\Deleted)")
        client.say(command)
        assert client.say(b"CLOSE") == ([], "OK CLOSE completed")
        assert client.say(b"STATUS INBOX (MESSAGES)")[0] == [f"* STATUS INBOX (MESSAGES {left})"]


def test_uid_expunge_removes_only_those_named() -> None:
    client = selected(3)
    client.say(b"STORE 1:3 +FLAGS.SILENT (\\Deleted)")
    assert client.say(b"UID EXPUNGE 2:9")[0] == ["* 2 EXPUNGE", "* 2 EXPUNGE"]


def test_copy_and_move() -> None:
    client = selected(3)
    trash = client.account.mail.find("Trash").uidvalidity
    assert client.say(b"COPY 1,3 Trash")[1] == f"OK [COPYUID {trash} 1,3 1:2] COPY completed"
    lines, answer = client.say(b"UID MOVE 2:3 Trash")
    assert lines == [f"* OK [COPYUID {trash} 2:3 3:4] Moved", "* 2 EXPUNGE", "* 2 EXPUNGE"]
    assert answer == "OK MOVE completed"
    assert client.say(b"COPY 1 Nowhere")[1].startswith("NO [TRYCREATE]")
    assert client.say(b"UID MOVE 99 Trash")[1] == "OK MOVE completed: nothing to move"


def test_none_is_copied_when_one_is_gone() -> None:
    client = selected(3)
    expunge(client, 2)
    client.session.selected.mailbox.refresh()
    lines, answer = client.say(b"COPY 1:3 Trash")
    assert answer.startswith("NO [EXPUNGEISSUED]")
    assert lines == ["* 2 EXPUNGE"]
    assert client.say(b"STATUS Trash (MESSAGES)")[0] == ["* STATUS Trash (MESSAGES 0)"]


def test_over_quota(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: MemoryMail, *args: object) -> object:
        raise OverQuota("full")

    client = selected(1)
    monkeypatch.setattr(MemoryMail, "copy", full)
    assert client.say(b"COPY 1 Trash")[1].startswith("NO [OVERQUOTA]")


# -- search


@pytest.mark.parametrize(
    ("line", "lines"),
    [
        (b"SEARCH SUBJECT 2", ["* SEARCH 2"]),
        (b"UID SEARCH NOT SUBJECT 2", ["* SEARCH 1 3"]),
        (b"SEARCH 5", ["* SEARCH"]),
        (b"SEARCH RETURN () ALL", ['* ESEARCH (TAG "t") ALL 1:3']),
        (b"UID SEARCH RETURN (MIN MAX COUNT) ALL", ['* ESEARCH (TAG "t") UID MIN 1 MAX 3 COUNT 3']),
        (b"SEARCH RETURN (COUNT) TEXT nowhere", ['* ESEARCH (TAG "t") COUNT 0']),
        (b"SEARCH RETURN (SAVE) SUBJECT 3", []),
    ],
)
def test_search(line: bytes, lines: list[str]) -> None:
    assert selected(3).say(line) == (lines, "OK SEARCH completed")


def test_search_result_variable() -> None:
    client = selected(4)
    client.say(b"SEARCH RETURN (SAVE) OR SUBJECT 2 SUBJECT 4")
    assert client.say(b"FETCH $ UID")[0] == ["* 2 FETCH (UID 2)", "* 4 FETCH (UID 4)"]
    client.say(b"SEARCH RETURN (SAVE MIN) ALL")
    assert client.say(b"UID STORE $ +FLAGS (\\Deleted)")[0] == ["* 1 FETCH (UID 1 FLAGS (\\Deleted))"]
    client.say(b"EXPUNGE")
    assert client.say(b"FETCH $ UID")[0] == []
    client.say(b"SELECT INBOX")
    assert client.say(b"FETCH $ UID")[0] == []


def test_search_in_other_charsets() -> None:
    client = selected(1)
    assert client.say(b"SEARCH CHARSET KOI8-R TEXT x")[1].startswith("NO [BADCHARSET (US-ASCII UTF-8 ISO-8859-1)]")


def test_search_over_a_mailbox_that_lost_messages() -> None:
    client = selected(4)
    expunge(client, 2)
    client.session.selected.mailbox.refresh()
    assert client.say(b"SEARCH ALL")[0] == ["* SEARCH 1 3 4"]


def test_search_for_modseq_tells_the_highest() -> None:
    client = selected(2)
    modseq = client.session.selected.mailbox.highestmodseq
    lines, _ = client.say(b"SEARCH MODSEQ %d" % modseq)
    assert lines == [f"* OK [HIGHESTMODSEQ {modseq}] Mod-sequences are told from now on", f"* SEARCH 2 (MODSEQ {modseq})"]


# -- the rest


def test_enable_tells_what_is_new() -> None:
    client = Client()
    assert client.say(b"ENABLE CONDSTORE X-UNKNOWN") == (["* ENABLED CONDSTORE"], "OK ENABLE completed")
    assert client.say(b"ENABLE CONDSTORE") == (["* ENABLED"], "OK ENABLE completed")


def test_id_notes_the_client_without_control_characters() -> None:
    client = Client()
    lines, _ = client.say(b'ID ("name" "Thunder\tbird" "version" "153" "os" "' + b"x" * 200 + b'")')
    assert lines == ['* ID ("name" "Preau" "version" "1")']
    assert client.session.client.startswith("Thunderbird 153 xxx")
    assert len(client.session.client) == 64


def test_without_a_limit_there_is_no_quota_root() -> None:
    # Nor an empty list of resources, at which Thunderbird ends the connection, and no mail is pushed to it.
    client = Client()
    assert client.say(b"GETQUOTAROOT INBOX") == (["* QUOTAROOT INBOX"], "OK GETQUOTAROOT completed")
    assert client.say(b'GETQUOTA ""') == ([], "NO [NONEXISTENT] No such quota root")


def test_quota_of_the_one_root() -> None:
    store = MemoryStore()
    client = Client(store)
    store.open_account(client.account.id, None, quota=10_240)  # type: ignore[arg-type]  # the memory store needs no keys
    client.add(b"A: b\r\n\r\n" + b"x" * 1016)
    assert client.say(b'GETQUOTA ""')[0] == ['* QUOTA "" (STORAGE 1 10)']
    assert client.say(b"GETQUOTAROOT INBOX")[0] == ['* QUOTAROOT INBOX ""', '* QUOTA "" (STORAGE 1 10)']
    assert client.say(b"GETQUOTA other")[1].startswith("NO [NONEXISTENT]")


def test_noop_is_what_it_says() -> None:
    client = Client()
    assert run_steps(run_command(client.session, TABLE["NOOP"], Noop())) == (b"", b"OK NOOP completed")


def test_new_keywords_are_told_before_they_are_used() -> None:
    """RFC 9051 section 7.3.5 and 7.1 (PERMANENTFLAGS): FLAGS first, then the FETCH lines that name them."""
    client = selected(2)
    lines, _ = client.say(b"STORE 1 +FLAGS ($New)")
    assert [line.split()[1] for line in lines] == ["FLAGS", "OK", "1"]
    mail, mailbox = client.account.mail, client.session.selected.mailbox
    mail.store_flags(mailbox.id, [Uid(2)], FlagOp.ADD, frozenset({"$Other"}))
    mailbox.refresh()
    lines, _ = client.say(b"FETCH 2 FLAGS")
    assert [line.split()[1] for line in lines][:3] == ["FLAGS", "OK", "2"]
    assert "$Other" in lines[0]


def test_compress_is_agreed_to_once() -> None:
    client = Client()
    assert client.say(b"COMPRESS LZMA")[1].startswith("NO [CANNOT]")
    assert client.say(b"COMPRESS DEFLATE")[1].startswith("OK ")
    assert client.session.upgrade is Upgrade.DEFLATE
    assert client.say(b"COMPRESS DEFLATE")[1].startswith("NO [COMPRESSIONACTIVE]")


def test_utf8_accept_tells_names_as_they_are() -> None:
    client = Client()
    client.say(b"CREATE &AMk-t&AOk-")
    assert client.say(b"ENABLE UTF8=ACCEPT")[0] == ["* ENABLED UTF8=ACCEPT"]
    assert client.session.upgrade is Upgrade.UTF8
    assert '* LIST (\\HasNoChildren) "/" "\u00c9t\u00e9"' in client.say(b'LIST "" *')[0]


def test_recursivematch_tells_parents_of_what_is_not_told_itself() -> None:
    """RFC 5258 sections 3.3 and 3.5, RFC 5819: no redundant parents, STATUS only for what was selected."""
    client = Client()
    for name in (b"A/B", b"C/D", b"C/E"):
        client.say(b"CREATE " + name)
        client.say(b"SUBSCRIBE " + name)
    client.say(b"SUBSCRIBE C")

    def told(pattern: bytes) -> list[str]:
        lines, _ = client.say(b'LIST (SUBSCRIBED RECURSIVEMATCH) "" %b RETURN (STATUS (MESSAGES))' % pattern)
        return [line for line in lines if re.search(r"\b[ACD](/|\b)", line.split(") ", 1)[1] if "LIST" in line else line[9:])]

    assert told(b"A*") == ['* LIST (\\HasNoChildren \\Subscribed) "/" A/B', "* STATUS A/B (MESSAGES 0)"]
    assert told(b"A") == ['* LIST (\\HasChildren) "/" A ("CHILDINFO" ("SUBSCRIBED"))']
    assert told(b"C") == [
        '* LIST (\\HasChildren \\Subscribed) "/" C ("CHILDINFO" ("SUBSCRIBED"))',
        "* STATUS C (MESSAGES 0)",
    ]
    assert '* LIST (\\HasChildren \\Subscribed) "/" C ("CHILDINFO" ("SUBSCRIBED"))' in told(b"(C C/*)")


def test_recursivematch_of_special_use() -> None:
    """RFC 6154 section 3: SPECIAL-USE is a selection option like others."""
    client = Client()
    client.say(b"CREATE Old/Kept (USE (\\Archive))")
    lines, _ = client.say(b'LIST (SPECIAL-USE RECURSIVEMATCH) "" Old')
    assert lines == ['* LIST (\\HasChildren) "/" Old ("CHILDINFO" ("SPECIAL-USE"))']
