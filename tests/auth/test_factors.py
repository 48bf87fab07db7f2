"""Second factors: each code opens once, and guessing is bounded."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from auth_bench import PEPPER, Clock, FakeKeySource
from preau.auth import totp
from preau.auth.accounts import Accounts, open_accounts
from preau.auth.directory import Directory
from preau.auth.factors import SecondFactors
from preau.auth.policies.code_budget import CodeBudget
from preau.storage.api import AccountId

MARIE, PAUL = AccountId("marie-id"), AccountId("paul-id")
SECRET = b"s" * 20
CODES = totp.make_recovery_codes(bytes(range(256)))
KEYS = FakeKeySource()


@pytest.fixture
def accounts(tmp_path: Path) -> Iterator[Accounts]:
    opened = open_accounts(tmp_path / "auth.db")
    macs = [totp.recovery_mac(PEPPER, MARIE, totp.parse_recovery_code(code) or "") for code in CODES]
    with opened.transaction():
        Directory(opened.connection).add_domain("ecole.example", 0)
        opened.add(MARIE, "marie@ecole.example", now=0)
        opened.add(PAUL, "paul@ecole.example", now=0)
        opened.set_totp(MARIE, KEYS.totp_seal(MARIE, SECRET), macs, 0)
    yield opened
    opened.close()


def factors(accounts: Accounts, clock: Clock) -> SecondFactors:
    return SecondFactors(accounts, KEYS, PEPPER, clock=clock)


def code(clock: Clock, offset: int = 0) -> str:
    return totp.code_at(SECRET, int(clock.now) // totp.STEP + offset)


def test_a_code_opens_once_and_none_before_it_again(accounts: Accounts) -> None:
    clock = Clock()
    marie = factors(accounts, clock)
    assert marie.check(MARIE, code(clock))
    assert not marie.check(MARIE, code(clock))
    assert not marie.check(MARIE, code(clock, -1))
    clock.advance(30)
    assert marie.check(MARIE, f" {code(clock)} ")


def test_a_recovery_code_opens_once(accounts: Accounts) -> None:
    marie = factors(accounts, Clock())
    assert marie.check(MARIE, CODES[3].upper())
    assert not marie.check(MARIE, CODES[3])
    assert accounts.recovery_left(MARIE) == 9
    assert not factors(accounts, Clock()).check(PAUL, CODES[4])


@pytest.mark.parametrize("kind", ["code", "recovery code"])
def test_exactly_one_of_racing_threads_gets_in(accounts: Accounts, tmp_path: Path, kind: str) -> None:
    clock = Clock()
    typed = code(clock) if kind == "code" else CODES[0]
    barrier, answers = threading.Barrier(12), list[bool]()

    def race() -> None:
        mine = open_accounts(tmp_path / "auth.db")
        checking = SecondFactors(mine, KEYS, PEPPER, clock=clock, budget=CodeBudget(short=100, daily=100))
        barrier.wait()
        answers.append(checking.check(MARIE, typed))
        mine.close()

    threads = [threading.Thread(target=race) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == [False] * 11 + [True]


def test_wrong_codes_are_bounded_and_right_ones_cost_nothing(accounts: Accounts) -> None:
    clock = Clock()
    marie = factors(accounts, clock)
    for _ in range(40):
        clock.advance(30)
        assert marie.check(MARIE, code(clock))
    for _ in range(5):
        assert not marie.check(MARIE, "000000")
    clock.advance(30)
    assert not marie.check(MARIE, code(clock)), "the budget is spent"
    clock.advance(900)
    assert marie.check(MARIE, code(clock))


def test_twenty_wrong_codes_a_day(accounts: Accounts) -> None:
    clock = Clock()
    marie = factors(accounts, clock)
    for _ in range(4):
        for _ in range(5):
            assert not marie.check(MARIE, "000000")
        clock.advance(1000)
    assert not marie.check(MARIE, code(clock)), "the day's budget is spent, after a restart too"
    clock.advance(86_400)
    assert factors(accounts, clock).check(MARIE, code(clock))


def test_an_account_without_a_factor_has_no_right_code(accounts: Accounts) -> None:
    clock = Clock()
    assert not factors(accounts, clock).check(PAUL, code(clock))
    assert not factors(accounts, clock).check(AccountId("nobody"), code(clock))
