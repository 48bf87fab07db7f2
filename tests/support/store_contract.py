"""What every store must do: the promises of storage/api.py as tests, for any implementation.

A test module makes a class of each contract and says how a store is opened:

    class TestMail(MailContract):
        @pytest.fixture
        def open_store(self, tmp_path): ...

`open_store(limits=...)` opens the store of one place; called again it is another process on the same place (or, for a
store within one process, the same store). Here are accounts and mailboxes; messages and open mailboxes are in
message_contract.py, changes and search in change_contract.py, collections in collections_contract.py.
"""

from collections.abc import Callable, Iterator

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from preau.storage.api import (
    ANSWERED,
    DELETED,
    FIRST_KEYWORD_BIT,
    FLAGGED,
    SEEN,
    Account,
    AccountId,
    AccountKeys,
    AlreadyExists,
    CollectionKind,
    Draft,
    FlagOp,
    Flags,
    Forbidden,
    InvalidName,
    Mail,
    MailboxId,
    ModSeq,
    NotFound,
    OpenMailbox,
    OverQuota,
    Store,
    StoreError,
    StoreLimits,
    Uid,
)
from preau.storage.paths import render_account_id

ANNE = render_account_id(bytes(range(16)))
BRUNO = render_account_id(bytes(range(16, 32)))


def make_keys(seed: int) -> AccountKeys:
    """Keys of an account, the same for the same seed."""
    secret = bytes([seed]) * 32
    public = X25519PrivateKey.from_private_bytes(secret).public_key().public_bytes_raw()
    return AccountKeys(public=public, index=bytes([seed + 1]) * 32, cache=bytes([seed + 2]) * 32, secret=secret)


KEYS = {ANNE: make_keys(1), BRUNO: make_keys(11)}

PLAIN = (
    b"From: =?utf-8?q?H=C3=A9l=C3=A8ne?= <helene@exemple.fr>\r\n"
    b"To: anne@exemple.fr\r\n"
    b"Subject: =?iso-8859-1?Q?R=E9union?=\r\n"
    b" de rentr=?utf-8?Q?=C3=A9e?=\r\n"
    b"Date: Tue, 01 Sep 2026 23:30:00 -0500\r\n"
    b"Message-ID: <1@exemple.fr>\r\n"
    b"Content-Type: text/plain; charset=utf-8\r\n"
    b"Content-Transfer-Encoding: 8bit\r\n"
    b"\r\n"
    b"Bonjour, l'\xc3\xa9ch\xc3\xa9ancier est pr\xc3\xaat.\r\n"
)
MIXED = (
    b"From: bruno@exemple.fr\r\n"
    b"To: anne@exemple.fr\r\n"
    b"Subject: plan\r\n"
    b"Received: from here\r\n"
    b"Received: from there\r\n"
    b"MIME-Version: 1.0\r\n"
    b"Content-Type: multipart/mixed; boundary=b1\r\n"
    b"\r\n"
    b"--b1\r\n"
    b"Content-Type: text/html; charset=utf-8\r\n"
    b"Content-Transfer-Encoding: base64\r\n"
    b"\r\n"
    b"PHA+VW4gY2VydGlmaWNhdCBkZSA8Yj5zY29sYXJpdMOpPC9iPjwvcD4=\r\n"
    b"--b1\r\n"
    b"Content-Type: application/octet-stream; name=x.bin\r\n"
    b"Content-Transfer-Encoding: base64\r\n"
    b"\r\n"
    b"AAECAwQF\r\n"
    b"--b1--\r\n"
)


def write_draft(
    mail: Mail,
    data: bytes = PLAIN,
    flags: Flags = frozenset(),
    *,
    date: int | None = None,
    delivery_id: str | None = None,
    prefix: bytes = b"",
) -> Draft:
    """A finished draft of these bytes."""
    writer = mail.new_message(prefix=prefix)
    writer.write(data)
    writer.finish()
    return Draft(writer, flags, date, delivery_id)


def append(mail: Mail, mailbox: MailboxId, data: bytes = PLAIN, *flags: str, date: int | None = None) -> Uid:
    """Append one message; its UID."""
    return mail.append(mailbox, [write_draft(mail, data, frozenset(flags), date=date)]).uids[0]


def read(mail: Mail, mailbox: MailboxId, uid: Uid) -> bytes:
    """The octets of a message."""
    with mail.read_message(mailbox, uid) as reader:
        return reader.read()


def flags_of(view: OpenMailbox) -> dict[int, set[str]]:
    """UID to flag names, as an open mailbox tells them."""
    names = {SEEN: "\\Seen", ANSWERED: "\\Answered", FLAGGED: "\\Flagged", DELETED: "\\Deleted", 16: "\\Draft"}
    names |= {1 << (FIRST_KEYWORD_BIT + i): keyword for i, keyword in enumerate(view.keywords)}
    return {uid: {name for bit, name in names.items() if bits & bit} for uid, bits in zip(view.uids, view.flags, strict=True)}


def refreshed(view: OpenMailbox) -> OpenMailbox:
    """The view, up to date."""
    view.refresh()
    return view


def highest(mail: Mail, mailbox: MailboxId) -> ModSeq:
    """The mailbox's HIGHESTMODSEQ."""
    return mail.status([mailbox])[0].highestmodseq


class StoreContract:
    """The fixtures all contracts share."""

    @pytest.fixture
    def open_store(self) -> Iterator[Callable[..., Store]]:
        """How to open a store: the implementation's test says so."""
        raise NotImplementedError

    @pytest.fixture
    def store(self, open_store: Callable[..., Store]) -> Store:
        """An empty store."""
        return open_store()

    @pytest.fixture
    def account(self, store: Store) -> Iterator[Account]:
        """Anne's account."""
        account = store.open_account(ANNE, KEYS[ANNE])
        yield account
        account.close()

    @pytest.fixture
    def mail(self, account: Account) -> Mail:
        """Anne's mail."""
        return account.mail

    @pytest.fixture
    def inbox(self, mail: Mail) -> MailboxId:
        """Anne's INBOX."""
        return mail.find("INBOX").id


class AccountContract(StoreContract):
    """Store, Account, Quota."""

    def test_first_use_makes_the_default_mailboxes_and_collections(self, account: Account) -> None:
        uses = {info.name: set(info.special_use) for info in account.mail.mailboxes()}
        assert uses == {
            "INBOX": set(),
            "Drafts": {"\\Drafts"},
            "Sent": {"\\Sent"},
            "Junk": {"\\Junk"},
            "Trash": {"\\Trash"},
            "Archive": {"\\Archive"},
        }
        assert [(c.kind, c.name) for c in account.collections.collections()] == [
            (CollectionKind.CALENDAR, "calendar"),
            (CollectionKind.ADDRESSBOOK, "contacts"),
            (CollectionKind.CALENDAR, "tasks"),
        ]

    def test_an_open_account_is_shared(self, store: Store, account: Account) -> None:
        again = store.open_account(ANNE, KEYS[ANNE])
        assert again is account
        again.close()
        assert account.mail.find("INBOX").name == "INBOX"  # the first holder still has it

    def test_accounts_are_apart(self, store: Store, mail: Mail, inbox: MailboxId) -> None:
        other = store.open_account(BRUNO, KEYS[BRUNO])
        append(mail, inbox)
        assert other.mail.status([other.mail.find("INBOX").id])[0].messages == 0
        assert other.id == BRUNO
        other.close()

    def test_all_is_there_after_closing_and_opening(self, open_store: Callable[..., Store]) -> None:
        store = open_store()
        account = store.open_account(ANNE, KEYS[ANNE])
        inbox = account.mail.find("INBOX").id
        info = account.mail.create("École/Réunions")
        uid = append(account.mail, inbox, PLAIN, "\\Seen", "Important", date=1_700_000_000)
        mark = highest(account.mail, inbox)
        account.close()
        account = store.open_account(ANNE, KEYS[ANNE])
        assert account.mail.find("École/Réunions") == info
        view = account.mail.open(inbox)
        assert flags_of(view) == {uid: {"\\Seen", "Important"}}
        assert (view.highestmodseq, list(view.modseqs)) == (mark, [mark])
        assert read(account.mail, inbox, uid) == PLAIN
        assert next(account.mail.facts(inbox, [uid])).internal_date == 1_700_000_000
        view.close()
        account.close()

    def test_another_process_sees_what_was_committed(self, open_store: Callable[..., Store]) -> None:
        first, second = open_store(), open_store()
        one, two = first.open_account(ANNE, KEYS[ANNE]), second.open_account(ANNE, KEYS[ANNE])
        inbox = one.mail.find("INBOX").id
        view = two.mail.open(inbox)
        uid = append(one.mail, inbox, PLAIN, "\\Flagged")
        assert view.refresh()
        assert flags_of(view) == {uid: {"\\Flagged"}}
        two.mail.store_flags(inbox, [uid], FlagOp.ADD, frozenset({"\\Deleted"}))
        assert one.mail.expunge(inbox) == [uid]
        assert view.refresh()
        assert list(view.uids) == []
        view.close()
        one.close()
        two.close()

    def test_delete_account_leaves_nothing(self, store: Store) -> None:
        account = store.open_account(ANNE, KEYS[ANNE])
        append(account.mail, account.mail.find("INBOX").id)
        account.mail.create("Old")
        account.close()
        store.delete_account(ANNE)
        store.delete_account(BRUNO)  # was never there
        account = store.open_account(ANNE, KEYS[ANNE])
        assert account.mail.status([account.mail.find("INBOX").id])[0].messages == 0
        assert account.quota().used == 0
        with pytest.raises(NotFound):
            account.mail.find("Old")
        account.close()

    @pytest.mark.parametrize("bad", ["", "..", "../" + ANNE[3:], ANNE.upper(), ANNE + "a", ANNE[:-1] + "b", "anne@exemple.fr"])
    def test_only_account_ids_open(self, store: Store, bad: str) -> None:
        with pytest.raises(StoreError):
            store.open_account(AccountId(bad), KEYS[ANNE])

    def test_quota_counts_messages_and_items(self, store: Store) -> None:
        account = store.open_account(ANNE, KEYS[ANNE], quota=1_000_000)
        mail, inbox = account.mail, account.mail.find("INBOX").id
        assert account.quota().used == 0
        assert account.quota().limit == 1_000_000
        uid = append(mail, inbox)
        assert account.quota().used == len(PLAIN)
        copied = mail.copy(inbox, [uid], mail.find("Archive").id)
        assert account.quota().used == 2 * len(PLAIN)
        mail.move(mail.find("Archive").id, copied.destination, mail.find("Trash").id)
        assert account.quota().used == 2 * len(PLAIN)
        mail.store_flags(inbox, [uid], FlagOp.ADD, frozenset({"\\Deleted"}))
        mail.expunge(inbox)
        assert account.quota().used == len(PLAIN)
        mail.create("Gone")
        mail.move(mail.find("Trash").id, [Uid(uid) for uid in mail.open(mail.find("Trash").id).uids], mail.find("Gone").id)
        mail.delete("Gone")
        assert account.quota().used == 0
        account.close()

    def test_over_quota_changes_nothing(self, store: Store) -> None:
        account = store.open_account(ANNE, KEYS[ANNE], quota=2 * len(PLAIN) + 10)
        mail, inbox = account.mail, account.mail.find("INBOX").id
        uid = append(mail, inbox)
        mark = highest(mail, inbox)
        with pytest.raises(OverQuota):
            append(mail, inbox, PLAIN + b"x" * 100 + PLAIN)
        with pytest.raises(OverQuota):
            mail.append(inbox, [write_draft(mail), write_draft(mail)])
        mail.copy(inbox, [uid], inbox)
        with pytest.raises(OverQuota):
            mail.copy(inbox, [uid], mail.find("Archive").id)
        assert mail.status([inbox])[0].messages == 2
        assert highest(mail, inbox) == mark + 1
        assert mail.move(inbox, [uid], mail.find("Archive").id).source == [uid]  # moving needs no room
        account.close()


class MailboxContract(StoreContract):
    """Mailboxes: names, life, subscriptions, status."""

    def test_inbox_is_first_and_the_rest_by_name(self, mail: Mail) -> None:
        for name in ("zèbre", "Alpha", "Alpha/Beta"):
            mail.create(name)
        names = [info.name for info in mail.mailboxes()]
        assert names[0] == "INBOX"
        assert names[1:] == sorted(names[1:])
        assert {"zèbre", "Alpha", "Alpha/Beta"} < set(names)

    @pytest.mark.parametrize("name", ["INBOX", "inbox", "InBoX"])
    def test_inbox_in_any_case(self, mail: Mail, name: str) -> None:
        assert mail.find(name).name == "INBOX"
        with pytest.raises(AlreadyExists):
            mail.create(name)

    def test_names_are_compared_with_case(self, mail: Mail) -> None:
        mail.create("projets")
        with pytest.raises(NotFound):
            mail.find("Projets")
        mail.create("Projets")
        assert mail.find("projets").id != mail.find("Projets").id

    @pytest.mark.parametrize(
        "name",
        [
            pytest.param("", id="empty"),
            pytest.param("/a", id="empty first part"),
            pytest.param("a/", id="empty last part"),
            pytest.param("a//b", id="empty part"),
            pytest.param("..", id="parent"),
            pytest.param("a/../b", id="parent inside"),
            pytest.param("./a", id="here"),
            pytest.param("a\x00b", id="NUL"),
            pytest.param("a\r\nb", id="line end"),
            pytest.param("a\x1bb", id="escape"),
            pytest.param("a\x7f", id="delete"),
            pytest.param("a\x85b", id="C1"),
            pytest.param("a\ud800", id="lone surrogate"),
            pytest.param("é" * 501, id="too long"),
            pytest.param("/".join("abcdefghijklmnopqrstu"), id="too deep"),
        ],
    )
    def test_names_that_are_none(self, mail: Mail, name: str) -> None:
        for call in (mail.create, mail.find, lambda name: mail.rename("Drafts", name), lambda name: mail.subscribe(name, True)):
            with pytest.raises(InvalidName):
                call(name)
        assert mail.find("Drafts").name == "Drafts"

    @pytest.mark.parametrize(
        "name",
        [
            pytest.param("é" * 500, id="long"),
            pytest.param("/".join("abcdefghijklmnopqrst"), id="deep"),
            pytest.param("a.b", id="dots"),
            pytest.param(".hidden", id="leading dot"),
            pytest.param("...", id="three dots"),
            pytest.param("a&b", id="ampersand"),
            pytest.param("&AOk-", id="looks like modified UTF-7"),
            pytest.param("~root", id="tilde"),
            pytest.param("a b", id="space"),
            pytest.param('a*%b\\"', id="IMAP specials"),
            pytest.param("文件夹/😀", id="wide"),
            pytest.param("e\u0301", id="decomposed"),
            pytest.param("cur", id="Maildir word"),
            pytest.param("new/tmp", id="Maildir words"),
            pytest.param("a:2,S", id="Maildir info"),
        ],
    )
    def test_names_that_are_taken_as_they_are(self, mail: Mail, name: str) -> None:
        info = mail.create(name)
        assert info.name == name
        assert mail.find(name) == info
        uid = append(mail, info.id)
        assert read(mail, info.id, uid) == PLAIN
        mail.delete(name)

    def test_names_that_look_alike_on_disk_stay_apart(self, mail: Mail) -> None:
        boxes = [mail.create(name) for name in ("a/b", "a.b", "a&AC4-b", "A/B")]
        for number, box in enumerate(boxes):
            append(mail, box.id, PLAIN + b"%d\r\n" % number)
        for number, box in enumerate(boxes):
            assert mail.status([box.id])[0].messages == 1
            assert read(mail, box.id, Uid(1)).endswith(b"%d\r\n" % number)

    def test_create_makes_parents(self, mail: Mail) -> None:
        created = mail.create("a/b/c", special_use=frozenset({"\\Archive"}))
        assert created.special_use == {"\\Archive"}
        assert {"a", "a/b", "a/b/c"} < {info.name for info in mail.mailboxes()}
        assert mail.find("a/b").special_use == frozenset()
        with pytest.raises(AlreadyExists):
            mail.create("a/b")

    def test_no_more_mailboxes_than_the_limit(self, open_store: Callable[..., Store]) -> None:
        account = open_store(limits=StoreLimits(mailboxes=8)).open_account(ANNE, KEYS[ANNE])
        account.mail.create("one")
        with pytest.raises(Forbidden):
            account.mail.create("two/three")
        assert "two" not in {info.name for info in account.mail.mailboxes()}
        account.mail.create("two")
        with pytest.raises(Forbidden):
            account.mail.create("three")
        account.close()

    def test_delete_takes_the_messages_and_leaves_the_children(self, mail: Mail) -> None:
        child = mail.create("a/b")
        parent = mail.find("a")
        append(mail, parent.id)
        mail.delete("a")
        with pytest.raises(NotFound):
            mail.find("a")
        assert mail.find("a/b") == child
        assert mail.status([parent.id]) == []
        for call in (lambda: mail.open(parent.id), lambda: mail.read_message(parent.id, Uid(1)), lambda: mail.delete("a")):
            with pytest.raises(NotFound):
                call()
        with pytest.raises(NotFound):
            append(mail, parent.id)

    @pytest.mark.parametrize("name", ["INBOX", "inbox"])
    def test_inbox_is_not_deleted(self, mail: Mail, name: str) -> None:
        with pytest.raises(Forbidden):
            mail.delete(name)

    def test_a_mailbox_made_again_has_another_uidvalidity(self, mail: Mail) -> None:
        before = mail.create("again")
        append(mail, before.id)
        mail.delete("again")
        after = mail.create("again")
        assert after.uidvalidity > before.uidvalidity
        assert after.object_id != before.object_id
        assert mail.status([after.id])[0].messages == 0

    def test_uidvalidities_and_object_ids_are_all_different(self, mail: Mail) -> None:
        boxes = mail.mailboxes()
        assert len({info.uidvalidity for info in boxes}) == len(boxes)
        assert len({info.object_id for info in boxes}) == len(boxes)
        assert all(0 < info.uidvalidity < 2**32 for info in boxes)

    def test_rename_takes_the_children_and_keeps_identity(self, mail: Mail) -> None:
        parent, child = mail.create("a"), mail.create("a/b/c")
        other = mail.create("ab")
        uid = append(mail, child.id, PLAIN, "\\Seen")
        mail.rename("a", "x/y")
        for old, new in ((parent, "x/y"), (child, "x/y/b/c")):
            found = mail.find(new)
            assert (found.id, found.uidvalidity, found.object_id) == (old.id, old.uidvalidity, old.object_id)
        assert mail.find("x").id not in (parent.id, child.id)
        assert mail.find("ab") == other
        assert read(mail, child.id, uid) == PLAIN
        with pytest.raises(NotFound):
            mail.find("a/b")
        assert mail.create("a").uidvalidity > child.uidvalidity  # the old name is free
        assert append(mail, child.id) == uid + 1

    def test_rename_that_is_not_done_changes_nothing(self, mail: Mail) -> None:
        mail.create("a/b")
        mail.create("c")
        before = mail.mailboxes()
        deep = "/".join("abcdefghijklmnopqrst")
        cases: list[tuple[str, str, type[StoreError]]] = [
            ("none", "new", NotFound),
            ("a", "c", AlreadyExists),
            ("a", "a", AlreadyExists),
            ("a", "INBOX", AlreadyExists),
            ("INBOX", "c", AlreadyExists),
            ("a", "a/x", Forbidden),
            ("a", deep.upper(), InvalidName),  # the child would be too deep
        ]
        for old, new, error in cases:
            with pytest.raises(error):
                mail.rename(old, new)
        assert mail.mailboxes() == before

    def test_rename_inbox_moves_its_messages(self, mail: Mail, inbox: MailboxId) -> None:
        """RFC 9051 section 6.3.6: INBOX is left empty, its children stay."""
        child = mail.create("INBOX/child")
        append(mail, inbox, PLAIN, "\\Seen", "Vert")
        mail.rename("INBOX", "old-mail")
        assert mail.find("INBOX").id == inbox
        assert mail.status([inbox])[0].messages == 0
        assert mail.find("INBOX/child") == child
        view = mail.open(mail.find("old-mail").id)
        assert list(flags_of(view).values()) == [{"\\Seen", "Vert"}]
        view.close()
        assert append(mail, inbox) == 2  # no UID is used twice

    def test_subscriptions_outlive_mailboxes(self, mail: Mail) -> None:
        """RFC 9051 section 6.3.9: a name stays subscribed when its mailbox goes."""
        before = set(mail.subscriptions())
        mail.subscribe("not there", True)
        mail.create("there")
        mail.subscribe("there", True)
        mail.subscribe("there", True)
        assert mail.find("there").subscribed
        mail.delete("there")
        assert set(mail.subscriptions()) == before | {"there", "not there"}
        mail.subscribe("there", False)
        mail.subscribe("there", False)
        assert "there" not in mail.subscriptions()
        mail.subscribe("inbox", True)
        assert "INBOX" in mail.subscriptions()
        assert mail.find("INBOX").subscribed

    def test_status_tells_counters(self, mail: Mail, inbox: MailboxId) -> None:
        before = mail.status([inbox])[0]
        assert (before.messages, before.unseen, before.deleted, before.size, before.uidnext) == (0, 0, 0, 0, 1)
        append(mail, inbox)
        append(mail, inbox, MIXED, "\\Seen")
        append(mail, inbox, PLAIN, "\\Seen", "\\Deleted")
        now = mail.status([inbox])[0]
        assert (now.messages, now.unseen, now.deleted, now.uidnext) == (3, 1, 1, 4)
        assert now.size == 2 * len(PLAIN) + len(MIXED)
        assert now.uidvalidity == mail.find("INBOX").uidvalidity
        assert now.highestmodseq > before.highestmodseq
        mail.store_flags(inbox, [Uid(1), Uid(2)], FlagOp.REPLACE, frozenset({"\\Deleted"}))
        now = mail.status([inbox])[0]
        assert (now.messages, now.unseen, now.deleted) == (3, 2, 3)
        mail.expunge(inbox)
        now = mail.status([inbox])[0]
        assert (now.messages, now.unseen, now.deleted, now.size, now.uidnext) == (0, 0, 0, 0, 4)

    def test_flags_are_stored_without_waiting_when_nobody_writes(self, mail: Mail, inbox: MailboxId) -> None:
        append(mail, inbox)
        stored = mail.store_flags(inbox, [Uid(1)], FlagOp.ADD, frozenset({"\\Seen"}), waits=False)
        now = mail.status([inbox])[0]
        assert (list(stored.changed), now.unseen, now.highestmodseq) == ([1], 0, stored.modseq)

    def test_status_leaves_out_what_is_not_there(self, mail: Mail, inbox: MailboxId) -> None:
        drafts = mail.find("Drafts").id
        assert {status.id for status in mail.status([drafts, MailboxId(99_999), inbox])} == {drafts, inbox}
        assert mail.status([]) == []
