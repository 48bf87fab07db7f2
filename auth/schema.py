"""The tables of auth.db (auth-security 2.7, decisions 10 and 11).

    account -- address (how it is reached: present, alias, former)     domain (what is served here)
       |-- credential (app passwords)     grp -- member (account, group or outside address)
       |-- totp, recovery                 fail (policy states by subject and network)
       |-- known_net                      deleted (accounts whose store is to be removed)

The file is plain SQLite, 0600, WAL, synchronous FULL; what is secret in it is a hash, a MAC under the pepper, or sealed by
the key holder. A change here is a new version with its migration.
"""

from ..storage.database import Schema

SCHEMA = Schema(
    "auth",
    2,
    """
    CREATE TABLE domain (name TEXT PRIMARY KEY, created INTEGER NOT NULL) WITHOUT ROWID;

    CREATE TABLE account (
        id TEXT PRIMARY KEY,
        address TEXT NOT NULL UNIQUE,               -- the present one
        name TEXT NOT NULL,
        backend TEXT NOT NULL,                      -- who verifies its password
        password TEXT,                              -- hash; NULL: none, or the backend's business
        password_changed INTEGER,
        must_change INTEGER NOT NULL DEFAULT 0,
        second_factor INTEGER NOT NULL DEFAULT 0,   -- 1: the password alone opens nothing
        admin INTEGER NOT NULL DEFAULT 0,
        suspended TEXT,                             -- the operator's reason
        valid_from INTEGER NOT NULL DEFAULT 0,      -- sessions begun before are over
        quota INTEGER,                              -- octets
        created INTEGER NOT NULL
    ) WITHOUT ROWID;

    CREATE TABLE grp (id INTEGER PRIMARY KEY, address TEXT NOT NULL UNIQUE, created INTEGER NOT NULL);

    CREATE TABLE address (
        address TEXT PRIMARY KEY,
        account TEXT REFERENCES account ON DELETE CASCADE,
        grp INTEGER REFERENCES grp ON DELETE CASCADE,
        kind TEXT NOT NULL CHECK (kind IN ('present', 'alias', 'former', 'group')),
        CHECK ((account IS NULL) <> (grp IS NULL))
    ) WITHOUT ROWID;
    CREATE INDEX address_account ON address (account);
    CREATE INDEX address_grp ON address (grp);

    CREATE TABLE member (
        grp INTEGER NOT NULL REFERENCES grp ON DELETE CASCADE,
        account TEXT REFERENCES account ON DELETE CASCADE,
        subgroup INTEGER REFERENCES grp ON DELETE CASCADE,
        outside TEXT,
        CHECK ((account IS NOT NULL) + (subgroup IS NOT NULL) + (outside IS NOT NULL) = 1),
        UNIQUE (grp, account), UNIQUE (grp, subgroup), UNIQUE (grp, outside)
    );
    CREATE INDEX member_account ON member (account);
    CREATE INDEX member_subgroup ON member (subgroup);

    CREATE TABLE credential (
        id INTEGER PRIMARY KEY AUTOINCREMENT,       -- never used again: sessions and traces name it
        account TEXT NOT NULL REFERENCES account ON DELETE CASCADE,
        selector TEXT NOT NULL,
        mac BLOB NOT NULL,
        label TEXT NOT NULL,
        scopes TEXT NOT NULL,
        networks TEXT NOT NULL,
        expires INTEGER,
        idle_days INTEGER NOT NULL,                 -- 0: never
        created INTEGER NOT NULL,
        created_by TEXT NOT NULL,
        revoked INTEGER,
        revoked_why TEXT,
        last_used INTEGER,
        last_service TEXT,
        last_network TEXT,
        scram BLOB,                                 -- StoredKey, ServerKey for each spelling (scram.py); NULL: none
        UNIQUE (account, selector)
    );

    CREATE TABLE totp (
        account TEXT PRIMARY KEY REFERENCES account ON DELETE CASCADE,
        secret BLOB NOT NULL,                       -- sealed by the key holder
        last_step INTEGER NOT NULL DEFAULT 0,
        created INTEGER NOT NULL
    ) WITHOUT ROWID;

    CREATE TABLE recovery (
        account TEXT NOT NULL REFERENCES account ON DELETE CASCADE,
        mac BLOB NOT NULL,
        used INTEGER,
        PRIMARY KEY (account, mac)
    ) WITHOUT ROWID;

    CREATE TABLE known_net (
        account TEXT NOT NULL REFERENCES account ON DELETE CASCADE,
        network TEXT NOT NULL,
        first INTEGER NOT NULL,
        last INTEGER NOT NULL,
        PRIMARY KEY (account, network)
    ) WITHOUT ROWID;

    CREATE TABLE fail (
        subject TEXT NOT NULL,
        network TEXT NOT NULL,
        ring BLOB NOT NULL,
        tries INTEGER NOT NULL,
        locked_until INTEGER NOT NULL,
        last INTEGER NOT NULL,
        PRIMARY KEY (subject, network)
    ) WITHOUT ROWID;
    CREATE INDEX fail_last ON fail (last);

    CREATE TABLE deleted (account TEXT PRIMARY KEY, address TEXT NOT NULL, at INTEGER NOT NULL) WITHOUT ROWID;
    """,
    {1: "ALTER TABLE credential ADD COLUMN scram BLOB"},
)
