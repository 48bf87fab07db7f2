"""The tables of index.db that belong to collections and their items (docs/store-format.md).

Owns their definition and version. Names, times and search text stand here and not in clear anywhere else; the octets of an
item lie in its own sealed file.
"""

from .database import Schema

FIRST_COLLECTION = 1 << 32
"""Collection ids begin above all mailbox ids: a Change names either by number alone."""

GONE_KEPT = 50_000
"""Tombstones kept a collection; beyond, the oldest go and `floor` rises."""

COLLECTIONS_GONE_KEPT = 1_000
"""The same for collections themselves, an account."""

OPEN_START, OPEN_END = -(1 << 62), 1 << 62
"""Bounds of an item that has none on that side, as the index keeps them."""

COLLECTIONS_SCHEMA = Schema(
    name="collections",
    version=2,
    script="""
CREATE TABLE collections (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    ready INTEGER NOT NULL,                 -- whether the defaults were made, or what was there before taken up again
    last INTEGER NOT NULL,                  -- the last collection id given out: none is used twice
    token INTEGER NOT NULL DEFAULT 1,       -- rises with every change to any collection or item
    floor INTEGER NOT NULL DEFAULT 1        -- tokens below it are refused
);
CREATE TABLE collection (
    id INTEGER PRIMARY KEY,
    kind TEXT NOT NULL,
    name TEXT NOT NULL,                     -- its URL segment; plain: segments from the home on
    dir TEXT NOT NULL UNIQUE,               -- opaque; below dav/<kind>/
    properties TEXT NOT NULL,               -- JSON
    token INTEGER NOT NULL,                 -- modification sequence: the sync token
    floor INTEGER NOT NULL,                 -- tokens below it are refused
    items INTEGER NOT NULL DEFAULT 0,
    complete INTEGER NOT NULL DEFAULT 1,    -- 0: taken up after a loss, its items are not yet
    touched INTEGER NOT NULL DEFAULT 1,     -- collections.token when it or anything in it last changed
    created INTEGER NOT NULL DEFAULT 0,     -- seconds since 1970 UTC
    UNIQUE (kind, name)
);
CREATE TABLE collection_gone (
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    token INTEGER NOT NULL,                 -- collections.token when it went
    PRIMARY KEY (kind, name)
) WITHOUT ROWID;
CREATE TABLE item (
    id INTEGER PRIMARY KEY,
    collection INTEGER NOT NULL,
    href TEXT NOT NULL,
    file TEXT NOT NULL,                     -- opaque; in the collection's directory
    sealed INTEGER NOT NULL,
    dek BLOB,                               -- wrapped under the account's secret key; NULL: not worked out yet, or not sealed
    etag TEXT NOT NULL,
    size INTEGER NOT NULL,
    modified INTEGER NOT NULL,              -- seconds since 1970 UTC
    token INTEGER NOT NULL,                 -- of the collection when it was last changed
    content_type TEXT NOT NULL,
    uid TEXT,
    component TEXT,
    starts INTEGER NOT NULL,                -- first and last second touched
    ends INTEGER NOT NULL,
    recurs INTEGER NOT NULL,
    schedule_tag TEXT,
    text TEXT NOT NULL,
    properties TEXT,                        -- dead ones, JSON; NULL: none
    UNIQUE (collection, href)
);
CREATE UNIQUE INDEX item_uid ON item (collection, uid) WHERE uid IS NOT NULL;
CREATE INDEX item_token ON item (collection, token);
CREATE INDEX item_time ON item (collection, ends, starts);
CREATE TABLE item_gone (
    collection INTEGER NOT NULL,
    href TEXT NOT NULL,
    token INTEGER NOT NULL,
    PRIMARY KEY (collection, href)
) WITHOUT ROWID;
CREATE INDEX item_gone_token ON item_gone (collection, token);
CREATE TABLE item_unlink (                  -- files and directories to be removed, from the moment their row is gone
    path TEXT PRIMARY KEY                   -- below dav/
) WITHOUT ROWID;
INSERT INTO collections (one, ready, last) VALUES (1, 0, 4294967296);
""",
    migrations={
        1: """
ALTER TABLE collections ADD COLUMN token INTEGER NOT NULL DEFAULT 1;
ALTER TABLE collections ADD COLUMN floor INTEGER NOT NULL DEFAULT 1;
ALTER TABLE collection ADD COLUMN touched INTEGER NOT NULL DEFAULT 1;
ALTER TABLE collection ADD COLUMN created INTEGER NOT NULL DEFAULT 0;
UPDATE collection SET created = strftime('%s', 'now');
CREATE TABLE collection_gone (
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    token INTEGER NOT NULL,
    PRIMARY KEY (kind, name)
) WITHOUT ROWID;
ALTER TABLE item ADD COLUMN properties TEXT;
""",
    },
)
