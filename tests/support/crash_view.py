"""An account as a client can see all of it, as plain values: told by a process that is to die, compared afterwards.

Owns what "the same" means: every mailbox with its numbers, every message with UID, octets, flags and MODSEQ, every
collection with its token, items and properties.
"""

import hashlib
import json
from typing import Any

from preau.storage.api import Account, CollectionId, CollectionKind, ModSeq, SyncToken, Uid
from store_contract import flags_of, read

View = dict[str, Any]


def look_at(account: Account) -> View:
    """Everything, in values that survive JSON."""
    mail = account.mail
    mailboxes = {}
    for info in mail.mailboxes():
        opened = mail.open(info.id)
        try:
            opened.refresh()
            flags = flags_of(opened)
            messages = {
                str(uid): [_digest(read(mail, info.id, Uid(uid))), sorted(flags[uid]), modseq]
                for uid, modseq in zip(opened.uids, opened.modseqs, strict=True)
            }
            mailboxes[info.name] = {
                "id": info.id,
                "validity": opened.uidvalidity,
                "next": opened.uidnext,
                "modseq": opened.highestmodseq,
                "messages": messages,
            }
        finally:
            opened.close()
    collections = {}
    for found in account.collections.collections():
        items = {
            item.href: [item.etag, _digest(data), dict(item.properties), list(item.facts)]
            for item, data in account.collections.read_items(found.id)
        }
        collections[f"{found.kind}:{found.name}"] = {
            "id": found.id,
            "token": found.sync_token,
            "touched": found.touched,
            "properties": dict(found.properties),
            "items": items,
        }
    view = {
        "mailboxes": mailboxes,
        "subscriptions": sorted(mail.subscriptions()),
        "collections": collections,
        "token": account.collections.collection_changes(None).sync_token,
        "used": account.quota().used,
    }
    return json.loads(json.dumps(view))  # type: ignore[no-any-return]


def _digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=8).hexdigest()


def catch_up(account: Account, before: View, now: View) -> None:
    """A client whose cache is `before` asks for what changed, and must come to `now`."""
    for name, cached in before["mailboxes"].items():
        there = now["mailboxes"].get(name)
        if there is None or there["validity"] != cached["validity"]:
            continue  # gone, or another: the client fetches it all again
        assert there["modseq"] >= cached["modseq"], f"{name}: HIGHESTMODSEQ went back"
        assert there["next"] >= cached["next"], f"{name}: UIDNEXT went back"
        gone = account.mail.vanished_since(there["id"], ModSeq(cached["modseq"]))
        messages = dict(cached["messages"])
        if gone is None:
            messages = {uid: messages[uid] for uid in messages if uid in there["messages"]}
        else:
            for uid in gone:
                messages.pop(str(uid), None)
        opened = account.mail.open(there["id"])
        try:
            changed = opened.changed_since(ModSeq(cached["modseq"]))
        finally:
            opened.close()
        messages |= {str(uid): there["messages"][str(uid)] for uid in changed}
        assert messages == there["messages"], f"{name}: a client with an older cache does not come to the truth"
    for name, cached in before["collections"].items():
        there = now["collections"].get(name)
        if there is None or there["id"] != cached["id"]:
            continue
        assert there["token"] >= cached["token"], f"{name}: the sync token went back"
        changes = account.collections.changes(CollectionId(there["id"]), SyncToken(cached["token"]))
        items = {href: item[0] for href, item in cached["items"].items()}
        for href in changes.gone:
            items.pop(href, None)
        items |= {item.href: item.etag for item in changes.changed}
        assert items == {href: item[0] for href, item in there["items"].items()}, f"{name}: sync-collection skips"
    assert now["token"] >= before["token"], "the account's sync token went back"
    told = account.collections.collection_changes(SyncToken(before["token"]))
    known = set(before["collections"]) | {_name(info.kind, info.name) for info in told.changed}
    known -= {_name(kind, name) for kind, name in told.gone}
    assert known == set(now["collections"]), "the account's collections: a change is skipped"


def _name(kind: CollectionKind, name: str) -> str:
    return f"{kind}:{name}"
