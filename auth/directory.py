"""Domains, addresses and groups in auth.db: where mail for an address goes (decisions 11, RFC 5321 section 3.9).

Owns every statement on them and the expansion of groups: each group once, so loops end; a bound on recipients, beyond
which nothing is answered rather than a part. Never takes an address that is not in key form (addresses.py).
"""

from dataclasses import dataclass
from typing import Any

import apsw

from ..storage.api import AccountId
from ..storage.database import translated
from .addresses import domain_of, without_tag
from .api import LocalRecipient, Recipients

NOWHERE = Recipients((), ())


class TooManyRecipients(Exception):
    """A group expands to more recipients than the limit: an operator's mistake, told as a temporary error."""


@dataclass(frozen=True, slots=True)
class Group:
    """A group and its direct members, by address."""

    row: int
    address: str
    members: tuple[str, ...]


class Directory:
    """Statements on addresses and groups, over the connection of an `Accounts`."""

    def __init__(self, connection: apsw.Connection) -> None:
        """Share a connection."""
        self.connection = connection

    # -- domains and addresses

    def serves(self, domain: str) -> bool:
        """Whether a domain in key form is served here."""
        with translated("auth.db"):
            return self.connection.execute("SELECT 1 FROM domain WHERE name = ?", (domain,)).fetchone() is not None

    def domains(self) -> list[str]:
        """All domains served here."""
        with translated("auth.db"):
            return [row[0] for row in self.connection.execute("SELECT name FROM domain ORDER BY name")]

    def add_domain(self, domain: str, now: int) -> None:
        """Serve a domain. In a transaction."""
        self.connection.execute("INSERT OR IGNORE INTO domain VALUES (?, ?)", (domain, now))

    def is_taken(self, address: str) -> bool:
        """Whether an address leads anywhere, as a former one of somebody too."""
        with translated("auth.db"):
            return self.connection.execute("SELECT 1 FROM address WHERE address = ?", (address,)).fetchone() is not None

    def addresses_of(self, account: AccountId) -> list[tuple[str, str]]:
        """All addresses of an account with their kind: present, alias, former."""
        with translated("auth.db"):
            return list(
                self.connection.execute("SELECT address, kind FROM address WHERE account = ? ORDER BY address", (account,))
            )

    def may_send_as(self, account: AccountId, address: str) -> bool:
        """Whether an address is an account's own: its present one or an alias; a former one is not."""
        with translated("auth.db"):
            row = self.connection.execute(
                "SELECT 1 FROM address WHERE address = ? AND account = ? AND kind IN ('present', 'alias')", (address, account)
            ).fetchone()
        return row is not None

    def add_alias(self, account: AccountId, address: str) -> None:
        """Let another address lead to an account. In a transaction."""
        self.connection.execute("INSERT INTO address VALUES (?, ?, NULL, 'alias')", (address, account))

    def change_address(self, account: AccountId, address: str) -> None:
        """Give an account another present address; the one it had stays as a former one. In a transaction."""
        self.connection.execute("UPDATE address SET kind = 'former' WHERE account = ? AND kind = 'present'", (account,))
        self.connection.execute(
            "INSERT INTO address VALUES (?, ?, NULL, 'present')"
            " ON CONFLICT (address) DO UPDATE SET kind = 'present' WHERE account = excluded.account",
            (address, account),
        )
        self.connection.execute("UPDATE account SET address = ? WHERE id = ?", (address, account))

    # -- groups

    def group(self, address: str) -> Group | None:
        """A group by its address."""
        with translated("auth.db"):
            row = self.connection.execute("SELECT id FROM grp WHERE address = ?", (address,)).fetchone()
            return Group(row[0], address, self._members(row[0])) if row is not None else None

    def groups(self) -> list[Group]:
        """All groups, by address."""
        with translated("auth.db"):
            rows: list[Any] = self.connection.execute("SELECT id, address FROM grp ORDER BY address").fetchall()
            return [Group(row, address, self._members(row)) for row, address in rows]

    def groups_of(self, account: AccountId) -> list[str]:
        """Addresses of the groups an account is a direct member of."""
        with translated("auth.db"):
            statement = "SELECT g.address FROM member AS m JOIN grp AS g ON g.id = m.grp WHERE m.account = ? ORDER BY g.address"
            return [row[0] for row in self.connection.execute(statement, (account,))]

    def _members(self, group: int) -> tuple[str, ...]:
        rows = self.connection.execute(
            "SELECT coalesce(a.address, g.address, m.outside) AS address FROM member AS m"
            " LEFT JOIN account AS a ON a.id = m.account LEFT JOIN grp AS g ON g.id = m.subgroup WHERE m.grp = ?"
            " ORDER BY address",
            (group,),
        )
        return tuple(row[0] for row in rows)

    def add_group(self, address: str, now: int) -> int:
        """Make a group; answers its row. In a transaction."""
        self.connection.execute("INSERT INTO grp (address, created) VALUES (?, ?)", (address, now))
        row = self.connection.last_insert_rowid()
        self.connection.execute("INSERT INTO address VALUES (?, NULL, ?, 'group')", (address, row))
        return row

    def add_member(self, group: int, address: str) -> bool:
        """Add an account, group or outside address; False: of our domains and leading nowhere. In a transaction."""
        account, subgroup, outside = self._target(address)
        if (account, subgroup, outside) == (None, None, None):
            return False
        self.connection.execute("INSERT OR IGNORE INTO member VALUES (?, ?, ?, ?)", (group, account, subgroup, outside))
        return True

    def remove_member(self, group: int, address: str) -> bool:
        """Remove a member; whether it was one. In a transaction."""
        account, subgroup, outside = self._target(address)
        self.connection.execute(
            "DELETE FROM member WHERE grp = ? AND account IS ? AND subgroup IS ? AND outside IS ?",
            (group, account, subgroup, outside),
        )
        return self.connection.changes() > 0

    def _target(self, address: str) -> tuple[str | None, int | None, str | None]:
        row = self.connection.execute("SELECT account, grp FROM address WHERE address = ?", (address,)).fetchone()
        if row is not None:
            return row[0], row[1], None
        return None, None, None if self.serves(domain_of(address)) else address

    # -- where mail goes

    def lookup(self, address: str, *, delimiter: str, limit: int) -> Recipients:
        """Expand an address in key form. Raise TooManyRecipients beyond `limit`."""
        with translated("auth.db"):
            start = self._leads_to(address)
            if start is None and (base := without_tag(address, delimiter)) is not None:
                start = self._leads_to(base)
            if start is None:
                return NOWHERE
            local: dict[str, LocalRecipient] = {}
            outside: dict[str, None] = {}
            groups: set[int] = set()
            waiting: list[tuple[str | None, int | None, str | None]] = [(*start, None)]
            while waiting:
                account, group, elsewhere = waiting.pop()
                if account is not None:
                    self._add_local(account, local)
                elif elsewhere is not None:
                    outside[elsewhere] = None
                elif group is not None and group not in groups:
                    groups.add(group)
                    waiting += self.connection.execute("SELECT account, subgroup, outside FROM member WHERE grp = ?", (group,))
                if len(local) + len(outside) > limit or len(groups) > limit:
                    raise TooManyRecipients(f"{address} leads to more than {limit} recipients")
            return Recipients(tuple(local.values()), tuple(outside))

    def administrators(self, *, limit: int) -> Recipients:
        """All administrators, at most `limit`: who reads mail for a role that nobody was given."""
        with translated("auth.db"):
            local: dict[str, LocalRecipient] = {}
            statement = "SELECT id FROM account WHERE admin AND suspended IS NULL ORDER BY address LIMIT ?"
            for (account,) in self.connection.execute(statement, (limit,)).fetchall():
                self._add_local(str(account), local)
            return Recipients(tuple(local.values()), ())

    def _leads_to(self, address: str) -> tuple[str | None, int | None] | None:
        row: tuple[str | None, int | None] | None = self.connection.execute(
            "SELECT account, grp FROM address WHERE address = ?", (address,)
        ).fetchone()
        return row

    def _add_local(self, account: str, local: dict[str, LocalRecipient]) -> None:
        if account not in local:
            row = self.connection.execute("SELECT address, quota FROM account WHERE id = ?", (account,)).fetchone()
            if row is not None:
                # A suspended account goes on receiving: its mail is not lost while somebody finds out what happened.
                local[account] = LocalRecipient(AccountId(account), row[0], row[1], accepts=True)
