"""What sign-ins leave, gathered and written together."""

from pathlib import Path

from preau.auth.accounts import open_accounts
from preau.auth.api import Service
from preau.auth.directory import Directory
from preau.auth.policies.account_rate import AccountState
from preau.auth.usage import Usage
from preau.storage.api import AccountId

NOW = 1_800_000_000
MARIE = AccountId("marie-id")


def test_gathered_written_and_kept_when_it_could_not_be(tmp_path: Path) -> None:
    accounts = open_accounts(tmp_path / "auth.db")
    with accounts.transaction():
        Directory(accounts.connection).add_domain("ecole.example", NOW)
        accounts.add(MARIE, "marie@ecole.example", now=NOW)
        row = accounts.add_credential(
            MARIE,
            "abcd",
            b"m" * 32,
            label="x",
            scopes=[Service.IMAP],
            networks=(),
            expires=None,
            idle_days=0,
            created_by="cli",
            now=NOW,
        )
    credential = accounts.credential(MARIE, "abcd")
    usage = Usage(accounts)
    assert not usage.knows(MARIE, "n", NOW)
    for second in range(100):
        usage.signed_in(MARIE, credential, Service.IMAP, "n", NOW + second)
    assert usage.knows(MARIE, "n", NOW), "before it is written"
    pending = usage.take({})
    assert (pending.used, pending.networks) == ({row: (NOW, "imap", "n")}, {(MARIE, "n"): NOW})
    assert not usage.take({})
    usage.give_back(pending)
    again = usage.take({("s", "n"): AccountState((), 1, 0, NOW)})
    assert again.used == pending.used
    accounts.write_usage(again.used, again.networks, again.failures)
    assert usage.knows(MARIE, "n", NOW + 86_400)
    assert not usage.knows(MARIE, "m", NOW)
    accounts.close()
