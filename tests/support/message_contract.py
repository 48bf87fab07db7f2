"""What every store must do with messages and open mailboxes (see store_contract.py)."""

from collections.abc import Callable

import pytest

from preau.storage.api import (
    MAX_KEYWORDS,
    Account,
    Appended,
    Draft,
    Facts,
    FlagOp,
    Forbidden,
    Mail,
    MailboxId,
    ModSeq,
    NotFound,
    Store,
    StoreLimits,
    TooLarge,
    Uid,
)
from store_contract import (
    ANNE,
    BRUNO,
    KEYS,
    MIXED,
    PLAIN,
    StoreContract,
    append,
    flags_of,
    highest,
    read,
    write_draft,
)


class MessageContract(StoreContract):
    """Messages in, messages out."""

    def test_a_message_comes_back_byte_for_byte(self, mail: Mail, inbox: MailboxId) -> None:
        data = PLAIN + bytes(range(256)).replace(b"\r", b"").replace(b"\n", b"") * 1_000 + b"\r\nlast line without an end"
        writer = mail.new_message()
        for begin in range(0, len(data), 10_007):
            writer.write(data[begin : begin + 10_007])
        writer.finish()
        assert writer.size == len(data)
        uid = mail.append(inbox, [Draft(writer)]).uids[0]
        with mail.read_message(inbox, uid) as reader:
            assert reader.size == len(data)
            assert reader.read() == data
            assert reader.read(0, 10) == data[:10]
            assert reader.read(65_530, 20) == data[65_530:65_550]
            assert reader.read(200_000, 7) == data[200_000:200_007]
            assert reader.read(len(data) - 3, 100) == data[-3:]
            assert reader.read(len(data) + 5, 10) == b""
            assert reader.read(5, 0) == b""

    @pytest.mark.parametrize(
        "data",
        [
            pytest.param(b"\r\n", id="no header"),
            pytest.param(b"Subject: x", id="header without end"),
            pytest.param(b"no colon here\r\n\r\nbody", id="not a header"),
            pytest.param(b"Subject: x\r\n\r\n" + b"y" * 65_536, id="a chunk and more"),
            pytest.param(b"\x00\xff" * 50, id="octets"),
        ],
    )
    def test_odd_messages_are_kept_too(self, mail: Mail, inbox: MailboxId, data: bytes) -> None:
        uid = append(mail, inbox, data)
        assert read(mail, inbox, uid) == data
        assert next(mail.facts(inbox, [uid])).size == len(data)
        assert [found for found, _ in mail.header_fields(inbox, [uid], [b"subject"])] == [uid]

    def test_the_prefix_comes_first(self, mail: Mail, inbox: MailboxId) -> None:
        prefix = b"Return-Path: <>\r\nDelivered-To: anne@exemple.fr\r\n"
        uid = mail.append(inbox, [write_draft(mail, prefix=prefix)]).uids[0]
        assert read(mail, inbox, uid) == prefix + PLAIN
        assert next(mail.facts(inbox, [uid])).size == len(prefix) + len(PLAIN)

    def test_a_twin_is_a_message_of_its_own(self, store: Store, mail: Mail, inbox: MailboxId) -> None:
        other = store.open_account(BRUNO, KEYS[BRUNO])
        first = mail.new_message(prefix=b"Delivered-To: anne@exemple.fr\r\n")
        second = other.mail.new_message(prefix=b"Delivered-To: bruno@exemple.fr\r\n", twin=first)
        for writer in (first, second):
            writer.write(PLAIN)
        for writer in (first, second):
            writer.finish()
        target = other.mail.find("INBOX").id
        mail.append(inbox, [Draft(first)])
        other.mail.append(target, [Draft(second)])
        assert read(mail, inbox, Uid(1)) == b"Delivered-To: anne@exemple.fr\r\n" + PLAIN
        assert read(other.mail, target, Uid(1)) == b"Delivered-To: bruno@exemple.fr\r\n" + PLAIN
        field = next(other.mail.header_fields(target, [Uid(1)], [b"Delivered-To"]))[1]
        assert field == b"Delivered-To: bruno@exemple.fr\r\n\r\n"
        other.close()

    def test_append_gives_uids_in_order_and_one_modseq(self, mail: Mail, inbox: MailboxId) -> None:
        before = highest(mail, inbox)
        done = mail.append(inbox, [write_draft(mail, PLAIN), write_draft(mail, MIXED), write_draft(mail, PLAIN)])
        assert done == Appended(mail.find("INBOX").uidvalidity, done.uids, highest(mail, inbox))
        assert list(done.uids) == [1, 2, 3]
        assert done.modseq > before
        assert [read(mail, inbox, uid) for uid in done.uids] == [PLAIN, MIXED, PLAIN]
        view = mail.open(inbox)
        assert set(view.modseqs) == {done.modseq}
        view.close()

    def test_append_all_or_none(self, mail: Mail, inbox: MailboxId) -> None:
        before = mail.status([inbox])
        drafts = [write_draft(mail), write_draft(mail, flags=frozenset(f"k{i}" for i in range(MAX_KEYWORDS + 1)))]
        with pytest.raises(Forbidden):
            mail.append(inbox, drafts)
        with pytest.raises(NotFound):
            mail.append(MailboxId(99_999), [write_draft(mail)])
        assert mail.status([inbox]) == before

    def test_an_aborted_message_leaves_nothing(self, account: Account, mail: Mail, inbox: MailboxId) -> None:
        writer = mail.new_message()
        writer.write(PLAIN)
        writer.abort()
        writer = mail.new_message()
        writer.write(PLAIN)
        writer.finish()
        writer.abort()
        writer.abort()
        assert mail.status([inbox])[0].messages == 0
        assert account.quota().used == 0

    def test_append_finishes_what_is_not_finished(self, mail: Mail, inbox: MailboxId) -> None:
        writer = mail.new_message(prefix=b"X: y\r\n")
        writer.write(PLAIN)
        mail.append(inbox, [Draft(writer)])
        assert read(mail, inbox, Uid(1)) == b"X: y\r\n" + PLAIN

    def test_abort_after_append_does_nothing(self, mail: Mail, inbox: MailboxId) -> None:
        draft = write_draft(mail)
        mail.append(inbox, [draft])
        draft.writer.abort()
        assert read(mail, inbox, Uid(1)) == PLAIN

    def test_no_message_beyond_the_limit(self, open_store: Callable[..., Store]) -> None:
        account = open_store(limits=StoreLimits(message_size=100_000)).open_account(ANNE, KEYS[ANNE])
        inbox = account.mail.find("INBOX").id
        writer = account.mail.new_message(prefix=b"X: y\r\n")
        writer.write(b"x" * 99_994)
        with pytest.raises(TooLarge):
            writer.write(b"y")
        writer.abort()
        assert read(account.mail, inbox, append(account.mail, inbox, b"x" * 100_000)) == b"x" * 100_000
        account.close()

    def test_a_delivery_tried_again_finds_its_twin(self, mail: Mail, inbox: MailboxId) -> None:
        first = mail.append(inbox, [write_draft(mail, delivery_id="queue-7/1")])
        again = mail.append(inbox, [write_draft(mail, delivery_id="queue-7/1")])
        other = mail.append(inbox, [write_draft(mail, delivery_id="queue-7/2")])
        assert list(first.uids) == list(again.uids)
        assert list(other.uids) == [2]
        assert mail.status([inbox])[0].messages == 2

    def test_facts(self, mail: Mail, inbox: MailboxId) -> None:
        first = append(mail, inbox, PLAIN, date=0)
        second = append(mail, inbox, MIXED, date=2_000_000_000)
        third = append(mail, inbox, MIXED)
        facts: list[Facts] = list(mail.facts(inbox, [third, Uid(77), first, second]))
        assert list(mail.sizes(inbox, [third, Uid(77), first, second])) == [about[:3] for about in facts]
        assert [fact.uid for fact in facts] == [first, second, third]
        assert [fact.size for fact in facts] == [len(PLAIN), len(MIXED), len(MIXED)]
        assert [fact.internal_date for fact in facts][:2] == [0, 2_000_000_000]
        assert abs(facts[2].internal_date - facts[2].save_date) < 60
        assert len({fact.email_id for fact in facts}) == 3
        # RFC 8474 section 4: 1 to 255 of these characters.
        for fact in facts:
            assert 0 < len(fact.email_id) < 256
            assert fact.email_id.replace("-", "").replace("_", "").isalnum()

    def test_header_fields(self, mail: Mail, inbox: MailboxId) -> None:
        first, second = append(mail, inbox, PLAIN), append(mail, inbox, MIXED)

        def ask(*names: bytes) -> dict[Uid, bytes]:
            return dict(mail.header_fields(inbox, [second, first], names))

        assert list(mail.header_fields(inbox, [second, Uid(9), first], [b"X-None"])) == [(first, b"\r\n"), (second, b"\r\n")]
        assert ask(b"SUBJECT")[second] == b"Subject: plan\r\n\r\n"
        subject = b"Subject: =?iso-8859-1?Q?R=E9union?=\r\n de rentr=?utf-8?Q?=C3=A9e?=\r\n\r\n"
        assert ask(b"subject")[first] == subject  # folded as it stands in the message
        assert ask(b"Received")[second] == b"Received: from here\r\nReceived: from there\r\n\r\n"
        several = ask(b"From", b"To", b"Date", b"X-None")
        assert sorted(several[second].splitlines()) == [b"", b"From: bruno@exemple.fr", b"To: anne@exemple.fr"]
        assert several[first].endswith(b"\r\n\r\n")

    def test_rendered(self, mail: Mail, inbox: MailboxId) -> None:
        first, second = append(mail, inbox, PLAIN), append(mail, inbox, MIXED)
        answers = list(mail.rendered(inbox, [second, Uid(9), first]))
        assert [uid for uid, _, _ in answers] == [first, second]
        for _, text, length in answers:
            assert text[:length].startswith(b"ENVELOPE (")
            assert text[:length].endswith(b")")
            assert text[length:].startswith(b" BODYSTRUCTURE (")
        assert b'"plan"' in answers[1][1][: answers[1][2]]
        assert b'"application" "octet-stream"' in answers[1][1].lower()

    def test_read_message_of_nobody(self, mail: Mail, inbox: MailboxId) -> None:
        append(mail, inbox)
        for mailbox, uid in ((inbox, Uid(2)), (inbox, Uid(0)), (MailboxId(99_999), Uid(1))):
            with pytest.raises(NotFound):
                mail.read_message(mailbox, uid)

    def test_a_reader_outlives_the_message(self, mail: Mail, inbox: MailboxId) -> None:
        uid = append(mail, inbox, PLAIN, "\\Deleted")
        with mail.read_message(inbox, uid) as reader:
            assert mail.expunge(inbox) == [uid]
            assert reader.read() == PLAIN


class ViewContract(StoreContract):
    """Open mailboxes."""

    def test_open_shows_what_is_there(self, mail: Mail, inbox: MailboxId) -> None:
        append(mail, inbox, PLAIN, "\\Seen")
        append(mail, inbox, PLAIN, "\\Answered", "Travail")
        view = mail.open(inbox)
        assert (view.id, view.name, view.deleted, view.uidnext) == (inbox, "INBOX", False, 3)
        assert view.uidvalidity == mail.find("INBOX").uidvalidity
        assert view.highestmodseq == highest(mail, inbox)
        assert list(view.uids) == [1, 2]
        assert list(view.modseqs) == sorted(view.modseqs)
        assert flags_of(view) == {1: {"\\Seen"}, 2: {"\\Answered", "Travail"}}
        assert not view.refresh()
        assert mail.is_warm(inbox)
        view.close()

    def test_open_what_is_not_there(self, mail: Mail) -> None:
        with pytest.raises(NotFound):
            mail.open(MailboxId(99_999))

    def test_sessions_share_the_view(self, mail: Mail, inbox: MailboxId) -> None:
        first, second = mail.open(inbox), mail.open(inbox)
        assert first is second
        first.close()
        append(mail, inbox)
        assert second.refresh()
        assert list(second.uids) == [1]
        second.close()

    def test_new_messages_are_appended_to_the_same_arrays(self, mail: Mail, inbox: MailboxId) -> None:
        append(mail, inbox)
        view = mail.open(inbox)
        uids, generation = view.uids, view.generation
        append(mail, inbox, PLAIN, "\\Flagged")
        assert list(view.uids) == [1]  # nothing moves before refresh
        assert view.refresh()
        assert not view.refresh()
        assert view.uids is uids
        assert list(uids) == [1, 2]
        assert view.generation == generation
        assert flags_of(view)[2] == {"\\Flagged"}
        assert view.uidnext == 3
        view.close()

    def test_flags_change_in_place(self, mail: Mail, inbox: MailboxId) -> None:
        append(mail, inbox)
        append(mail, inbox)
        view = mail.open(inbox)
        uids, before = view.uids, view.highestmodseq
        stored = mail.store_flags(inbox, [Uid(2)], FlagOp.ADD, frozenset({"\\Seen", "Nouveau"}))
        assert view.refresh()
        assert view.uids is uids
        assert flags_of(view) == {1: set(), 2: {"\\Seen", "Nouveau"}}
        assert list(view.modseqs)[1] == view.highestmodseq == stored.modseq > before
        assert list(view.changed_since(before)) == [2]
        assert list(view.changed_since(view.highestmodseq)) == []
        assert list(view.changed_since(ModSeq(0))) == [1, 2]
        view.close()

    def test_a_session_keeps_its_sequence_numbers(self, mail: Mail, inbox: MailboxId) -> None:
        for _ in range(5):
            append(mail, inbox)
        view = mail.open(inbox)
        mine, length, generation = view.uids, len(view.uids), view.generation
        mail.store_flags(inbox, [Uid(2), Uid(4)], FlagOp.ADD, frozenset({"\\Deleted"}))
        assert mail.expunge(inbox) == [2, 4]
        append(mail, inbox)
        assert view.refresh()
        assert list(mine)[:length] == [1, 2, 3, 4, 5]
        assert view.uids is not mine
        assert list(view.uids) == [1, 3, 5, 6]
        assert len(view.flags) == len(view.modseqs) == 4
        assert view.generation > generation
        assert list(view.gone_since(generation)) == [2, 4]
        later = view.generation
        mail.store_flags(inbox, [Uid(1)], FlagOp.ADD, frozenset({"\\Deleted"}))
        mail.expunge(inbox)
        view.refresh()
        assert list(view.gone_since(later)) == [1]
        assert list(view.gone_since(generation)) == [1, 2, 4]
        assert list(view.gone_since(view.generation)) == []
        view.close()

    def test_renamed_and_deleted_while_open(self, mail: Mail) -> None:
        box = mail.create("a")
        append(mail, box.id)
        view = mail.open(box.id)
        mail.rename("a", "b")
        view.refresh()
        assert (view.name, view.deleted) == ("b", False)
        mail.delete("b")
        assert view.refresh()
        assert view.deleted
        view.close()

    def test_vanished_since(self, mail: Mail, inbox: MailboxId) -> None:
        for _ in range(4):
            append(mail, inbox, PLAIN, "\\Deleted")
        begin = highest(mail, inbox)
        assert mail.vanished_since(inbox, begin) == []
        mail.expunge(inbox, [Uid(3), Uid(1)])
        middle = highest(mail, inbox)
        mail.move(inbox, [Uid(4)], mail.find("Archive").id)
        assert list(mail.vanished_since(inbox, begin) or ()) == [1, 3, 4]
        assert list(mail.vanished_since(inbox, middle) or ()) == [4]
        assert mail.vanished_since(inbox, highest(mail, inbox)) == []
        with pytest.raises(NotFound):
            mail.vanished_since(MailboxId(99_999), begin)
