"""The policies as pure functions, and the chain that holds their states."""

import dataclasses

import pytest

from preau.auth.api import Reason
from preau.auth.policies import account_rate, net_rate, tls
from preau.auth.policies.account_rate import AccountRateSettings, AccountState
from preau.auth.policies.chain import Chain, PolicySettings
from preau.auth.policies.code_budget import CodeBudget, charge, refund
from preau.auth.policies.net_rate import NetRateSettings, NetState
from preau.auth.policies.networks import is_loopback, is_within, network_of, parse_networks
from preau.auth.policies.tls import TlsSettings
from preau.auth.policies.values import Delay, Facts, Refuse

NOW = 1_800_000_000
PLAIN = Facts("account", "192.0.2.0/24", loopback=False, tls=True, password=True)


def facts(number: int = 0, **changes: object) -> Facts:
    """A wrong password; another number is another password."""
    tag = changes.pop("tag", number.to_bytes(8, "big"))
    return dataclasses.replace(PLAIN, tag=tag, **changes)  # type: ignore[arg-type]  # by name


@pytest.mark.parametrize(
    ("over_tls", "loopback", "plaintext", "passes"),
    [
        pytest.param(True, False, False, True, id="TLS"),
        pytest.param(False, False, False, False, id="clear"),
        pytest.param(False, False, True, False, id="clear from elsewhere, loopback allowed"),
        pytest.param(False, True, False, False, id="clear on loopback"),
        pytest.param(False, True, True, True, id="clear on loopback, allowed"),
    ],
)
def test_tls(over_tls: bool, loopback: bool, plaintext: bool, passes: bool) -> None:
    found = tls.before(dataclasses.replace(PLAIN, tls=over_tls, loopback=loopback), TlsSettings(plaintext))
    assert (found is None) == passes
    assert found is None or found.reason is Reason.CLEARTEXT


# -- a clock that was ahead, and was set right

YEAR = 31_536_000


def test_no_wait_lasts_until_a_wrong_clock_comes_true() -> None:
    locked = after(5, now=NOW + YEAR)
    assert account_rate.before(facts(9), locked, NOW + YEAR, AccountRateSettings()) is not None
    assert account_rate.before(facts(9), locked, NOW, AccountRateSettings()) is None
    again = after(5, state=locked, now=NOW)
    refused = account_rate.before(facts(9), again, NOW, AccountRateSettings())
    assert refused == Refuse("account_rate", Reason.LOCKED, 60)
    # Set back by a minute, as clocks are: nothing is forgiven by that.
    assert account_rate.before(facts(9), after(5), NOW - 60, AccountRateSettings()) is not None


def test_no_network_is_refused_until_a_wrong_clock_comes_true() -> None:
    settings, state = NetRateSettings(), NetState()
    for number in range(settings.refuse):
        state = net_rate.failed(facts(number), state, NOW + YEAR, settings)
    assert isinstance(net_rate.before(facts(99), state, NOW + YEAR, settings), Refuse)
    assert net_rate.before(facts(99), state, NOW, settings) is None
    for number in range(settings.refuse):
        state = net_rate.failed(facts(number), state, NOW, settings)
    assert isinstance(net_rate.before(facts(99), state, NOW, settings), Refuse)
    assert isinstance(net_rate.before(facts(99), state, NOW - 60, settings), Refuse)


def test_no_code_is_refused_until_a_wrong_clock_comes_true() -> None:
    budget = CodeBudget()
    wrong: tuple[int, ...] = ()
    for _ in range(budget.short):
        wrong = charge(wrong, NOW + YEAR, budget) or ()
    assert charge(wrong, NOW + YEAR, budget) is None
    assert charge(wrong, NOW, budget) == (NOW,)


# -- account_rate

ACCOUNT = AccountRateSettings()


def after(count: int, state: AccountState = account_rate.EMPTY, now: float = NOW) -> AccountState:
    for number in range(count):
        state = account_rate.failed(facts(number), state, now, ACCOUNT)
    return state


def test_four_wrong_passwords_are_free_the_fifth_waits_a_minute() -> None:
    assert account_rate.before(facts(9), after(4), NOW, ACCOUNT) is None
    refused = account_rate.before(facts(9), after(5), NOW, ACCOUNT)
    assert refused == Refuse("account_rate", Reason.LOCKED, 60)
    assert account_rate.before(facts(9), after(5), NOW + 60, ACCOUNT) is None


def test_waits_double_up_to_an_hour() -> None:
    state, now, waits = after(5), float(NOW), []
    for number in range(100, 110):
        waits.append(state.locked_until - now)
        now = float(state.locked_until)
        state = account_rate.failed(facts(number), state, now, ACCOUNT)
    assert waits == [60, 120, 240, 480, 960, 1920, 3600, 3600, 3600, 3600]


def test_the_same_wrong_password_again_is_free() -> None:
    state = account_rate.EMPTY
    for minute in range(1000):
        state = account_rate.failed(facts(1), state, NOW + 60 * minute, ACCOUNT)
    assert state.distinct == 1
    assert account_rate.before(facts(1), state, NOW + 60_000, ACCOUNT) is None


def test_the_end_of_a_wait_does_not_move() -> None:
    state = after(5)
    for number in range(50):  # verifications that were under way when the wait was set
        state = account_rate.failed(facts(100 + number), state, NOW + 1, ACCOUNT)
        assert state.locked_until == NOW + 60


def test_a_quiet_day_is_forgiven() -> None:
    assert account_rate.current(after(5), NOW + 90_000, ACCOUNT) == account_rate.EMPTY
    assert account_rate.failed(facts(9), after(5), NOW + 90_000, ACCOUNT).distinct == 1


@pytest.mark.parametrize("change", [{"known_network": True}, {"password": False}], ids=["known network", "app password"])
def test_who_is_never_refused(change: dict[str, bool]) -> None:
    everyone = facts(9, **change)
    assert account_rate.before(everyone, after(30), NOW, ACCOUNT, in_flight=99) is None
    full = NetState(refused_until=NOW + 1000)
    assert net_rate.before(everyone, full, NOW, NetRateSettings(), in_flight=999) is None


def test_tries_in_flight_count_as_wrong() -> None:
    assert account_rate.before(facts(9), after(2), NOW, ACCOUNT, in_flight=2) is None
    assert account_rate.before(facts(9), after(2), NOW, ACCOUNT, in_flight=3) == Refuse("account_rate", Reason.LOCKED, 1)
    assert account_rate.before(facts(9), after(5), NOW + 61, ACCOUNT, in_flight=0) is None
    assert account_rate.before(facts(9), after(5), NOW + 61, ACCOUNT, in_flight=1) is not None


def test_the_ring_is_bounded() -> None:
    assert len(after(200).ring) == account_rate.RING


# -- net_rate

NET = NetRateSettings()


def net_after(count: int, *, now: float = NOW, known: bool = True) -> NetState:
    state = net_rate.EMPTY
    for number in range(count):
        subject = "account" if known else f"?{number}"
        state = net_rate.failed(facts(number, subject=subject), state, now, NET)
    return state


@pytest.mark.parametrize(
    ("failures", "expected"),
    [
        pytest.param(29, None, id="29 pass"),
        pytest.param(30, Delay("net_rate", 2.0), id="30 wait 2 s"),
        pytest.param(36, Delay("net_rate", 8.0), id="36 wait 8 s"),
        pytest.param(59, Delay("net_rate", 15.0), id="59 wait 15 s"),
        pytest.param(60, Refuse("net_rate", Reason.LOCKED, 600), id="60 are refused"),
    ],
)
def test_failures_of_a_network(failures: int, expected: object) -> None:
    assert net_rate.before(facts(999), net_after(failures), NOW, NET) == expected


def test_failures_older_than_the_window_do_not_count() -> None:
    assert net_rate.before(facts(999), net_after(59), NOW + 601, NET) is None


def test_a_phone_with_an_old_password_counts_once() -> None:
    state = net_rate.EMPTY
    for second in range(500):
        state = net_rate.failed(facts(1), state, NOW + second, NET)
    assert len(state.failures) == 1


def test_ten_unknown_logins_are_a_list_being_tried() -> None:
    assert net_rate.before(facts(999), net_after(9, known=False), NOW, NET) is None
    assert net_rate.before(facts(999), net_after(10, known=False), NOW, NET) == Refuse("net_rate", Reason.LOCKED, 3600)


def test_one_unknown_login_often_is_a_typing_mistake() -> None:
    state = net_rate.EMPTY
    for number in range(25):
        state = net_rate.failed(facts(number, subject="?mistyped"), state, NOW, NET)
    assert net_rate.before(facts(999), state, NOW, NET) is None


def test_the_end_of_a_refusal_does_not_move_and_then_all_begins_afresh() -> None:
    state = net_after(60)
    for number in range(100):
        state = net_rate.failed(facts(1000 + number), state, NOW + 5, NET)
        assert state.refused_until == NOW + 600
    assert net_rate.before(facts(1), net_after(60), NOW + 601, NET) is None


def test_the_state_of_a_network_is_bounded() -> None:
    state = net_after(5000, known=False)
    assert len(state.failures) <= NET.refuse
    assert len(state.unknown) <= NET.unknown


# -- the chain


def chain(**bounds: int) -> Chain:
    return Chain(PolicySettings(), lambda subject, network: None, **bounds)


def test_the_chain_asks_tls_first_and_rates_of_passwords_only() -> None:
    many = chain()
    for number in range(100):
        many.failed(facts(number), NOW)
    app = dataclasses.replace(PLAIN, password=False)
    assert many.before(app, NOW) is None
    assert many.before(dataclasses.replace(app, tls=False), NOW) == Refuse("tls", Reason.CLEARTEXT)
    assert isinstance(many.before(facts(999), NOW), Refuse)


def test_success_forgets_what_was_mistyped_there() -> None:
    one = chain()
    for number in range(4):
        one.failed(facts(number), NOW)
    one.succeeded(facts(9))
    one.failed(facts(10), NOW)
    assert one.before(facts(11), NOW) is None
    assert one.take_changes()[("account", PLAIN.network)].distinct == 1


def test_states_are_bounded_and_the_oldest_go() -> None:
    small = chain(max_accounts=50, max_nets=20)
    for number in range(1000):
        small.failed(facts(number, subject=f"?{number}", network=f"10.{number // 256}.{number % 256}.0/24"), NOW)
    assert small.sizes == (50, 20)


def test_an_evicted_state_comes_back_from_where_it_was_written() -> None:
    written: dict[tuple[str, str], AccountState] = {}
    small = Chain(PolicySettings(), lambda subject, network: written.get((subject, network)), max_accounts=1)
    for number in range(5):
        small.failed(facts(number), NOW)
    small.failed(facts(0, subject="other"), NOW)  # pushes the first out
    assert isinstance(small.before(facts(9), NOW), Refuse), "not written yet"
    written |= small.take_changes()
    small.failed(facts(0, subject="third"), NOW)
    assert isinstance(small.before(facts(9), NOW), Refuse), "written"
    assert small.take_changes().keys() == {("third", PLAIN.network)}


def test_changes_that_could_not_be_written_are_taken_again() -> None:
    one = chain()
    one.failed(facts(1), NOW)
    changes = one.take_changes()
    assert one.take_changes() == {}
    one.give_back(changes)
    one.failed(facts(2), NOW)
    assert one.take_changes()[("account", PLAIN.network)].distinct == 2


def test_attempts_in_flight_are_counted_by_secret() -> None:
    one = chain()
    for _ in range(10):  # one client, ten connections, one password
        one.begin(facts(1))
    assert one.before(facts(1), NOW) is None
    for number in range(2, 6):
        one.begin(facts(number))
    assert isinstance(one.before(facts(99), NOW), Refuse)
    for number in range(2, 6):
        one.end(facts(number))
    for _ in range(10):
        one.end(facts(1))
    assert one.before(facts(99), NOW) is None


def test_an_operator_lifts_waits() -> None:
    one = chain()
    for number in range(5):
        one.failed(facts(number), NOW)
    one.forget_account("account")
    assert one.before(facts(9), NOW) is None
    assert one.take_changes() == {}


# -- networks


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.77", "192.0.2.0/24"),
        ("::ffff:192.0.2.77", "192.0.2.0/24"),
        ("2001:db8:1:2::3", "2001:db8:1::/48"),
        ("fe80::1%eth0", "fe80::/48"),
        ("127.0.3.9", "127.0.3.0/24"),
        ("", "local"),
        ("example.org", "unknown"),
        ("1.2.3.4'; DROP TABLE", "unknown"),
    ],
)
def test_network_of(address: str, network: str) -> None:
    assert network_of(address) == network


@pytest.mark.parametrize(
    ("address", "networks", "within"),
    [
        ("192.0.2.7", (), True),
        ("192.0.2.7", ("192.0.2.0/25",), True),
        ("192.0.2.200", ("192.0.2.0/25",), False),
        ("2001:db8::1", ("192.0.2.0/24", "2001:db8::/32"), True),
        ("nonsense", ("0.0.0.0/0",), False),
    ],
)
def test_is_within(address: str, networks: tuple[str, ...], within: bool) -> None:
    assert is_within(address, networks) == within


def test_networks_are_parsed_or_named() -> None:
    assert parse_networks((" 192.0.2.7/24", "192.0.2.0/24")) == ("192.0.2.0/24",)
    with pytest.raises(ValueError, match=r"'192\.0\.2'"):
        parse_networks(("192.0.2",))


def test_is_loopback() -> None:
    assert [is_loopback(address) for address in ("127.9.9.9", "::1", "192.0.2.1", "")] == [True, True, False, False]


# -- code budget


def test_five_codes_in_fifteen_minutes_and_twenty_a_day() -> None:
    budget, tries = CodeBudget(), 0
    wrong: tuple[int, ...] = ()
    for minute in range(24 * 60):
        charged = charge(wrong, NOW + 60 * minute, budget)
        if charged is not None:
            wrong, tries = charged, tries + 1
    assert tries == 20
    burst: tuple[int, ...] = ()
    for _ in range(50):
        burst = charge(burst, NOW, budget) or burst
    assert len(burst) == 5


def test_a_right_code_gives_its_charge_back() -> None:
    assert refund((NOW, NOW + 1), NOW) == (NOW + 1,)
    assert refund((NOW,), NOW + 5) == (NOW,)
