"""What every store must do when something is changed or searched (see store_contract.py)."""

import random
import threading
from collections.abc import Callable, Iterator, Sequence

import pytest

from preau.storage.api import (
    MAX_KEYWORDS,
    FlagOp,
    Forbidden,
    Mail,
    MailboxId,
    ModSeq,
    NotFound,
    OpenMailbox,
    Store,
    StoreError,
    TextField,
    TextKey,
    Uid,
)
from preau.storage.memory import MemoryStore
from store_contract import (
    ANNE,
    KEYS,
    MIXED,
    PLAIN,
    StoreContract,
    append,
    flags_of,
    highest,
    read,
    refreshed,
    write_draft,
)


class ChangeContract(StoreContract):
    """STORE, EXPUNGE, COPY, MOVE."""

    @pytest.fixture
    def three(self, mail: Mail, inbox: MailboxId) -> Iterator[OpenMailbox]:
        """INBOX, open, with UIDs 1 (no flag), 2 (Seen, Rouge), 3 (Flagged)."""
        append(mail, inbox)
        append(mail, inbox, PLAIN, "\\Seen", "Rouge")
        append(mail, inbox, MIXED, "\\Flagged")
        view = mail.open(inbox)
        yield view
        view.close()

    @pytest.mark.parametrize(
        ("op", "flags", "expected", "changed"),
        [
            (FlagOp.ADD, {"\\Seen"}, {1: {"\\Seen"}, 2: {"\\Seen", "Rouge"}, 3: {"\\Flagged", "\\Seen"}}, [1, 3]),
            (FlagOp.REMOVE, {"\\Seen", "Absent"}, {1: set(), 2: {"Rouge"}, 3: {"\\Flagged"}}, [2]),
            (FlagOp.REPLACE, {"\\Seen", "Rouge"}, {n: {"\\Seen", "Rouge"} for n in (1, 2, 3)}, [1, 3]),
            (FlagOp.REPLACE, set(), {1: set(), 2: set(), 3: set()}, [2, 3]),
            (FlagOp.ADD, set(), {1: set(), 2: {"\\Seen", "Rouge"}, 3: {"\\Flagged"}}, []),
            (FlagOp.ADD, {"rouge"}, {1: {"Rouge"}, 2: {"\\Seen", "Rouge"}, 3: {"\\Flagged", "Rouge"}}, [1, 3]),
        ],
    )
    def test_store_flags(
        self, mail: Mail, three: OpenMailbox, op: FlagOp, flags: set[str], expected: dict[int, set[str]], changed: list[int]
    ) -> None:
        before = three.highestmodseq
        stored = mail.store_flags(three.id, [Uid(3), Uid(1), Uid(2), Uid(9)], op, frozenset(flags))
        assert list(stored.changed) == changed
        assert list(stored.failed) == []
        assert stored.modseq == highest(mail, three.id)
        assert stored.modseq > before if changed else stored.modseq == before
        assert flags_of(refreshed(three)) == expected
        for uid, modseq in zip(three.uids, three.modseqs, strict=True):
            assert (modseq == stored.modseq) == (uid in changed or (not changed and modseq == before))

    def test_what_changes_nothing_raises_no_modseq(self, mail: Mail, three: OpenMailbox) -> None:
        before = highest(mail, three.id)
        for uids, op, flags in (
            ([Uid(2)], FlagOp.ADD, {"\\Seen"}),
            ([Uid(1)], FlagOp.REMOVE, {"\\Seen"}),
            ([Uid(9)], FlagOp.ADD, {"\\Seen"}),
            ([], FlagOp.REPLACE, {"\\Seen"}),
        ):
            assert list(mail.store_flags(three.id, uids, op, frozenset(flags)).changed) == []
        assert mail.expunge(three.id) == []
        mail.copy(three.id, [Uid(9)], three.id)
        mail.move(three.id, [], three.id)
        assert highest(mail, three.id) == before
        assert not three.refresh()

    def test_unchanged_since(self, mail: Mail, three: OpenMailbox) -> None:
        """RFC 7162 section 3.1.3: what changed after that is left alone and told."""
        mark = three.highestmodseq
        mail.store_flags(three.id, [Uid(2)], FlagOp.ADD, frozenset({"\\Answered"}))
        stored = mail.store_flags(
            three.id, [Uid(1), Uid(2), Uid(3)], FlagOp.ADD, frozenset({"\\Deleted"}), unchanged_since=mark
        )
        assert (list(stored.changed), list(stored.failed)) == ([1, 3], [2])
        refused = mail.store_flags(three.id, [Uid(1)], FlagOp.ADD, frozenset({"\\Draft"}), unchanged_since=ModSeq(0))
        assert (list(refused.changed), list(refused.failed)) == ([], [1])
        assert flags_of(refreshed(three)) == {
            1: {"\\Deleted"},
            2: {"\\Seen", "Rouge", "\\Answered"},
            3: {"\\Flagged", "\\Deleted"},
        }

    def test_no_more_keywords_than_there_are_bits(self, mail: Mail, three: OpenMailbox) -> None:
        many = frozenset(f"k{i}" for i in range(MAX_KEYWORDS - 1))
        mail.store_flags(three.id, [Uid(1)], FlagOp.ADD, many)
        with pytest.raises(Forbidden):
            mail.store_flags(three.id, [Uid(3)], FlagOp.ADD, frozenset({"one-too-many"}))
        assert flags_of(refreshed(three))[1] == many
        assert flags_of(three)[3] == {"\\Flagged"}
        assert len(three.keywords) == MAX_KEYWORDS

    def test_store_in_what_is_not_there(self, mail: Mail) -> None:
        nowhere = MailboxId(99_999)
        calls: list[Callable[[], object]] = [
            lambda: mail.store_flags(nowhere, [Uid(1)], FlagOp.ADD, frozenset({"\\Seen"})),
            lambda: mail.expunge(nowhere),
            lambda: mail.copy(nowhere, [Uid(1)], mail.find("INBOX").id),
            lambda: mail.move(nowhere, [Uid(1)], mail.find("INBOX").id),
        ]
        for call in calls:
            with pytest.raises(NotFound):
                call()

    def test_expunge_all_or_among(self, mail: Mail, three: OpenMailbox) -> None:
        mail.store_flags(three.id, [Uid(1), Uid(3)], FlagOp.ADD, frozenset({"\\Deleted"}))
        before = highest(mail, three.id)
        assert mail.expunge(three.id, [Uid(2), Uid(3), Uid(9)]) == [3]
        assert highest(mail, three.id) > before
        assert mail.expunge(three.id) == [1]
        assert mail.expunge(three.id) == []
        assert list(refreshed(three).uids) == [2]
        with pytest.raises(NotFound):
            mail.read_message(three.id, Uid(1))

    def test_uids_are_never_used_again(self, mail: Mail, three: OpenMailbox) -> None:
        mail.store_flags(three.id, [Uid(3)], FlagOp.ADD, frozenset({"\\Deleted"}))
        mail.expunge(three.id)
        assert append(mail, three.id) == 4

    def test_copy_keeps_flags_dates_and_identity(self, mail: Mail, three: OpenMailbox) -> None:
        target = mail.create("copies")
        append(mail, target.id, PLAIN, "Bleu")  # so that bits differ between the two
        uid = append(mail, three.id, MIXED, "\\Draft", "Vert", date=1_234_567_890)
        copied = mail.copy(three.id, [uid, Uid(2), Uid(77)], target.id)
        assert copied.uidvalidity == target.uidvalidity
        assert (list(copied.source), list(copied.destination)) == ([2, uid], [2, 3])
        view = mail.open(target.id)
        assert flags_of(view) == {1: {"Bleu"}, 2: {"\\Seen", "Rouge"}, 3: {"\\Draft", "Vert"}}
        view.close()
        assert read(mail, target.id, Uid(3)) == MIXED
        old, new = next(mail.facts(three.id, [uid])), next(mail.facts(target.id, [Uid(3)]))
        assert (new.email_id, new.internal_date, new.size) == (old.email_id, 1_234_567_890, old.size)
        assert list(refreshed(three).uids) == [1, 2, 3, uid]

    def test_copy_into_the_same_mailbox(self, mail: Mail, three: OpenMailbox) -> None:
        assert list(mail.copy(three.id, [Uid(1), Uid(2)], three.id).destination) == [4, 5]
        assert read(mail, three.id, Uid(4)) == PLAIN
        mail.store_flags(three.id, [Uid(1)], FlagOp.ADD, frozenset({"\\Deleted"}))
        mail.expunge(three.id)
        assert read(mail, three.id, Uid(4)) == PLAIN

    def test_copy_to_nowhere(self, mail: Mail, three: OpenMailbox) -> None:
        for call in (mail.copy, mail.move):
            with pytest.raises(NotFound):
                call(three.id, [Uid(1)], MailboxId(99_999))
        assert list(refreshed(three).uids) == [1, 2, 3]

    def test_move_is_copy_and_expunge_in_one(self, mail: Mail, three: OpenMailbox) -> None:
        target = mail.create("moved")
        before = highest(mail, three.id)
        old = next(mail.facts(three.id, [Uid(2)]))
        moved = mail.move(three.id, [Uid(3), Uid(2)], target.id)
        assert (list(moved.source), list(moved.destination)) == ([2, 3], [1, 2])
        assert list(refreshed(three).uids) == [1]
        assert list(mail.vanished_since(three.id, before) or ()) == [2, 3]
        view = mail.open(target.id)
        assert flags_of(view) == {1: {"\\Seen", "Rouge"}, 2: {"\\Flagged"}}
        view.close()
        assert read(mail, target.id, Uid(2)) == MIXED
        assert next(mail.facts(target.id, [Uid(1)])).email_id == old.email_id

    def test_move_within_the_mailbox_gives_new_uids(self, mail: Mail, three: OpenMailbox) -> None:
        moved = mail.move(three.id, [Uid(1)], three.id)
        assert (list(moved.source), list(moved.destination)) == ([1], [4])
        assert list(refreshed(three).uids) == [2, 3, 4]
        assert read(mail, three.id, Uid(4)) == PLAIN

    def test_writers_at_once_get_different_uids(self, mail: Mail, inbox: MailboxId) -> None:
        given: list[Uid] = []
        errors: list[BaseException] = []

        def write() -> None:
            try:
                for _ in range(5):
                    uid = append(mail, inbox)
                    mail.store_flags(inbox, [uid], FlagOp.ADD, frozenset({"\\Seen"}))
                    given.append(uid)
            except BaseException as error:  # told below, in the test's own thread
                errors.append(error)

        threads = [threading.Thread(target=write) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not errors
        assert sorted(given) == list(range(1, 31))
        status = mail.status([inbox])[0]
        assert (status.messages, status.unseen, status.uidnext) == (30, 0, 31)


class SearchContract(StoreContract):
    """search_text, sent_dates."""

    @pytest.mark.parametrize(
        ("field", "needle", "header", "expected"),
        [
            pytest.param(TextField.BODY, "échéancier", "", {1}, id="body word"),
            pytest.param(TextField.BODY, "ECHEANCIER", "", {1}, id="no case, no accents"),
            pytest.param(TextField.BODY, "héanc", "", {1}, id="inside a word"),
            pytest.param(TextField.BODY, "êt", "", {1}, id="two letters"),
            pytest.param(TextField.BODY, "certificat de scolarité", "", {2}, id="phrase through markup and base64"),
            pytest.param(TextField.BODY, "AAECAw", "", set(), id="not in the encoded form"),
            pytest.param(TextField.BODY, "helene", "", set(), id="header is not body"),
            pytest.param(TextField.TEXT, "helene@exemple", "", {1}, id="text has the header"),
            pytest.param(TextField.TEXT, "hélène", "", {1}, id="text has the decoded header"),
            pytest.param(TextField.TEXT, "bonjour", "", {1, 3}, id="text has the body"),
            pytest.param(TextField.HEADER, "réunion", "Subject", {1}, id="encoded word"),
            pytest.param(TextField.HEADER, "reunion", "SUBJECT", {1}, id="encoded word without accents"),
            pytest.param(TextField.HEADER, "exemple.fr", "from", {1, 2}, id="address"),
            pytest.param(TextField.HEADER, "", "Received", {2}, id="is there at all"),
            pytest.param(TextField.HEADER, "", "X-None", set(), id="is nowhere"),
            pytest.param(TextField.HEADER, "from there", "Received", {2}, id="second field of that name"),
            pytest.param(TextField.BODY, "nulle part", "", set(), id="nowhere"),
        ],
    )
    def test_search_text(
        self, mail: Mail, inbox: MailboxId, field: TextField, needle: str, header: str, expected: set[int]
    ) -> None:
        append(mail, inbox, PLAIN)
        append(mail, inbox, MIXED)
        append(mail, inbox, b"Subject: x\r\n\r\nbonjour\r\n")
        uids = [Uid(1), Uid(2), Uid(3), Uid(9)]
        assert mail.search_text(inbox, TextKey(field, needle, header), uids) == expected
        assert mail.search_text(inbox, TextKey(field, needle, header), uids[1:]) == expected - {1}

    def test_what_is_gone_is_not_found(self, mail: Mail, inbox: MailboxId) -> None:
        uid = append(mail, inbox, PLAIN, "\\Deleted")
        key = TextKey(TextField.BODY, "bonjour")
        assert mail.search_text(inbox, key, [uid]) == {uid}
        copy = mail.copy(inbox, [uid], inbox).destination[0]
        mail.expunge(inbox, [uid])
        assert mail.search_text(inbox, key, [uid, copy]) == {copy}

    def test_sent_dates(self, mail: Mail, inbox: MailboxId) -> None:
        first = append(mail, inbox, PLAIN, date=0)
        second = append(mail, inbox, MIXED, date=86_400 * 365)
        third = append(mail, inbox, b"Date: nonsense\r\n\r\n", date=86_400 * 5 + 7)
        # 1 September in the header's zone, though it is the 2nd in UTC (RFC 9051 section 6.4.4: disregarding time and zone).
        assert mail.sent_dates(inbox, [first, second, third, Uid(99)]) == {first: 20_697, second: 365, third: 5}


class ModelContract(StoreContract):
    """The store under test and the memory store, driven by the same random commands, tell the same."""

    @pytest.mark.parametrize("seed", [1, 2, 3])
    def test_same_answers_as_the_memory_store(self, store: Store, seed: int) -> None:
        stores: Sequence[Store] = (store, MemoryStore())
        accounts = [one.open_account(ANNE, KEYS[ANNE]) for one in stores]
        views = [account.mail.open(account.mail.find("INBOX").id) for account in accounts]
        rng = random.Random(seed)
        for _ in range(60):
            script = rng.random()
            answers = [_random_step(account.mail, random.Random(script)) for account in accounts]
            assert answers[0] == answers[1]
            if rng.random() < 0.3:
                assert flags_of(refreshed(views[0])) == flags_of(refreshed(views[1]))
        told = [_tell(account.mail) for account in accounts]
        assert told[0] == told[1]
        assert accounts[0].quota().used == accounts[1].quota().used
        for view, account in zip(views, accounts, strict=True):
            view.close()
            account.close()


_NAMES = ("INBOX", "Archive", "a", "a/b", "a/b/c", "b", "a.b")
_FLAGS = ("\\Seen", "\\Deleted", "\\Flagged", "Un", "Deux")


def _random_step(mail: Mail, rng: random.Random) -> object:
    name, other = rng.choice(_NAMES), rng.choice(_NAMES)
    flags = frozenset(rng.sample(_FLAGS, rng.randrange(3)))
    uids = [Uid(uid) for uid in rng.sample(range(1, 25), rng.randrange(12))]
    step = rng.randrange(12)
    try:
        match step:
            case 0:
                return mail.create(name).name
            case 1:
                mail.rename(name, other)
            case 2 if name != "INBOX":
                mail.delete(name)
            case 3 | 4 | 5:
                drafts = [write_draft(mail, PLAIN + b"%d" % rng.randrange(99), flags, date=7) for _ in range(rng.randrange(3))]
                return list(mail.append(mail.find(name).id, drafts).uids)
            case 6 | 7:
                op = rng.choice(list(FlagOp))
                return list(mail.store_flags(mail.find(name).id, uids, op, flags).changed)
            case 8:
                return list(mail.expunge(mail.find(name).id, uids if rng.random() < 0.5 else None))
            case 9 | 10:
                call = mail.copy if step == 9 else mail.move
                copied = call(mail.find(name).id, uids, mail.find(other).id)
                return list(copied.source), list(copied.destination)
            case _:
                mail.subscribe(name, rng.random() < 0.5)
    except StoreError as error:
        return type(error).__name__
    return None


def _tell(mail: Mail) -> object:
    told = []
    for info in mail.mailboxes():
        view = mail.open(info.id)
        status = mail.status([info.id])[0]
        told.append(
            (
                info.name,
                info.subscribed,
                flags_of(view),
                [read(mail, info.id, Uid(uid)) for uid in view.uids],
                (status.messages, status.unseen, status.deleted, status.size, status.uidnext),
            )
        )
        view.close()
    return told
