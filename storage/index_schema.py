"""The tables of index.db that belong to mail (docs/store-format.md).

Owns their definition and version. `msg.id` is mailbox << 32 | uid, so a mailbox is one range of the table, by ascending UID.
Never holds content: what is derived from messages stands in cache.db and fts.db.
"""

from .database import Schema

SEALED = 1
"""Bit of msg.form: the file is sealed (else it is read as it is)."""
LF_ENDS = 2
"""Bit of msg.form: lines in the file end with LF alone; reading gives CRLF, and so does every size."""

GONE_KEPT = 50_000
"""Tombstones kept a mailbox; beyond, the oldest go and gone_floor rises."""

MAIL_SCHEMA = Schema(
    name="mail",
    version=1,
    script="""
CREATE TABLE account (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    uidvalidity INTEGER NOT NULL,           -- the last one given out: they only rise
    mailbox INTEGER NOT NULL,               -- the last mailbox id given out: none is used twice
    bytes INTEGER NOT NULL                  -- octets of all messages, for the quota
);
CREATE TABLE mailbox (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    dir TEXT NOT NULL UNIQUE,               -- below maildir/; '' is INBOX; stays when the mailbox is renamed
    uidvalidity INTEGER NOT NULL,
    uidnext INTEGER NOT NULL DEFAULT 1,
    highestmodseq INTEGER NOT NULL DEFAULT 1,
    gone_floor INTEGER NOT NULL DEFAULT 0,  -- tombstones up to this MODSEQ may be missing
    messages INTEGER NOT NULL DEFAULT 0,
    unseen INTEGER NOT NULL DEFAULT 0,
    deleted INTEGER NOT NULL DEFAULT 0,
    bytes INTEGER NOT NULL DEFAULT 0,
    cur_mtime INTEGER NOT NULL DEFAULT 0,   -- of the directories when last known to hold nothing new, nanoseconds
    new_mtime INTEGER NOT NULL DEFAULT 0,
    special_use TEXT NOT NULL DEFAULT '',   -- attributes, separated by spaces
    object_id TEXT NOT NULL UNIQUE          -- RFC 8474
);
CREATE TABLE msg (
    id INTEGER PRIMARY KEY,
    modseq INTEGER NOT NULL,
    flags INTEGER NOT NULL,                 -- bits 0 to 4 system, 5 to 62 keywords
    fflags INTEGER NOT NULL,                -- flags as last seen or written in the file's name
    idate INTEGER NOT NULL,                 -- seconds since 1970 UTC
    savedate INTEGER NOT NULL,
    size INTEGER NOT NULL,                  -- RFC822.SIZE
    emailid INTEGER NOT NULL,
    threadid INTEGER NOT NULL,
    form INTEGER NOT NULL,                  -- bits SEALED, LF_ENDS
    dek BLOB,                               -- wrapped under the account's secret key; NULL: not worked out yet, or not sealed
    delivery BLOB,                          -- hash of the delivery id
    fname TEXT NOT NULL                     -- without ':2,...'
);
CREATE INDEX msg_modseq ON msg (id >> 32, modseq);
CREATE UNIQUE INDEX msg_name ON msg (id >> 32, fname);
CREATE UNIQUE INDEX msg_delivery ON msg (delivery) WHERE delivery IS NOT NULL;
CREATE TABLE keyword (
    mailbox INTEGER NOT NULL,
    bit INTEGER NOT NULL,
    name TEXT NOT NULL,
    PRIMARY KEY (mailbox, bit)
) WITHOUT ROWID;
CREATE TABLE gone (id INTEGER PRIMARY KEY, modseq INTEGER NOT NULL);
CREATE INDEX gone_modseq ON gone (id >> 32, modseq);
CREATE TABLE unlink (                       -- files to be removed, from the moment their row is gone
    dir TEXT NOT NULL,
    fname TEXT NOT NULL,
    fflags INTEGER NOT NULL,
    after INTEGER NOT NULL DEFAULT 0,       -- seconds since 1970: not before
    PRIMARY KEY (dir, fname)
) WITHOUT ROWID;
CREATE TABLE trash (                        -- directories of deleted mailboxes, to be moved away and removed
    dir TEXT PRIMARY KEY,
    mailbox INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE subscription (name TEXT PRIMARY KEY) WITHOUT ROWID;
INSERT INTO account VALUES (1, 0, 0, 0);
""",
)
