"""The policies in order, and the states they judge by: bounded, oldest out first.

Owns the states in memory and what counts as in flight. Account states come from and go to the table `fail` through the
two functions of its user: `load` on a miss, `take_changes` when it writes. Network states live in memory alone.
Single-threaded: the engine's loop. Never reads a clock, a file or a socket.
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from . import account_rate, net_rate, tls
from .account_rate import AccountRateSettings
from .net_rate import NetRateSettings
from .tls import TlsSettings
from .values import Delay, Facts, Refuse

MAX_ACCOUNT_STATES = 20_000
MAX_NET_STATES = 10_000

Load = Callable[[str, str], account_rate.AccountState | None]


@dataclass(frozen=True, slots=True)
class PolicySettings:
    """One dataclass a policy."""

    tls: TlsSettings = field(default_factory=TlsSettings)
    net_rate: NetRateSettings = field(default_factory=NetRateSettings)
    account_rate: AccountRateSettings = field(default_factory=AccountRateSettings)


class Chain:
    """tls, net_rate, account_rate; the numbers of the design are 3, 4 and 6."""

    def __init__(
        self,
        settings: PolicySettings,
        load: Load,
        *,
        max_accounts: int = MAX_ACCOUNT_STATES,
        max_nets: int = MAX_NET_STATES,
    ) -> None:
        """`load(subject, network)` answers what was written down, or None."""
        self._settings = settings
        self._load = load
        self._max_accounts = max_accounts
        self._max_nets = max_nets
        self._accounts: OrderedDict[tuple[str, str], account_rate.AccountState] = OrderedDict()
        self._nets: OrderedDict[str, net_rate.NetState] = OrderedDict()
        self._changed: dict[tuple[str, str], account_rate.AccountState] = {}
        self._flying: dict[str, dict[tuple[str, bytes], int]] = {}  # network -> (subject, tag) -> attempts

    def before(self, facts: Facts, now: float) -> Refuse | Delay | None:
        """What to do with an attempt before anything is verified."""
        refusal = tls.before(facts, self._settings.tls)
        if refusal is not None or not facts.password:
            return refusal
        flying = self._flying.get(facts.network, {})
        others = sum(key != (facts.subject, facts.tag) for key in flying)
        on_net = net_rate.before(
            facts, self._nets.get(facts.network, net_rate.EMPTY), now, self._settings.net_rate, in_flight=others
        )
        if isinstance(on_net, Refuse):
            return on_net
        mine = sum(subject == facts.subject and tag != facts.tag for subject, tag in flying)
        state = self._account(facts)
        return account_rate.before(facts, state, now, self._settings.account_rate, in_flight=mine) or on_net

    def begin(self, facts: Facts) -> None:
        """A password is being verified now; `end` follows, whatever comes out."""
        flying = self._flying.setdefault(facts.network, {})
        key = (facts.subject, facts.tag)
        flying[key] = flying.get(key, 0) + 1

    def end(self, facts: Facts) -> None:
        """It is no longer."""
        flying = self._flying[facts.network]
        key = (facts.subject, facts.tag)
        flying[key] -= 1
        if not flying[key]:
            del flying[key]
        if not flying:
            del self._flying[facts.network]

    def failed(self, facts: Facts, now: float) -> None:
        """A password was wrong (or right, and the second factor missing: nobody outside may see the difference)."""
        if not facts.password:
            return
        nets, network = self._nets, facts.network
        nets[network] = net_rate.failed(facts, nets.get(network, net_rate.EMPTY), now, self._settings.net_rate)
        nets.move_to_end(network)
        while len(nets) > self._max_nets:
            nets.popitem(last=False)
        self._keep(facts, account_rate.failed(facts, self._account(facts), now, self._settings.account_rate))

    def succeeded(self, facts: Facts) -> None:
        """A password was right: what the same person mistyped there is forgotten."""
        if facts.password and self._account(facts) != account_rate.EMPTY:
            self._keep(facts, account_rate.EMPTY)

    def forget_account(self, subject: str) -> None:
        """Lift the waits of an account everywhere (an operator unlocked it); its rows are the caller's to remove."""
        for states in (self._accounts, self._changed):
            for key in [key for key in states if key[0] == subject]:
                del states[key]

    def take_changes(self) -> dict[tuple[str, str], account_rate.AccountState]:
        """States changed since the last call, by (subject, network); EMPTY ones are to be removed."""
        changes, self._changed = self._changed, {}
        return changes

    def give_back(self, changes: dict[tuple[str, str], account_rate.AccountState]) -> None:
        """Changes that could not be written now, to be taken again."""
        self._changed = {**changes, **self._changed}
        while len(self._changed) > self._max_accounts:
            self._changed.pop(next(iter(self._changed)))

    @property
    def sizes(self) -> tuple[int, int]:
        """How many account and network states are held."""
        return len(self._accounts), len(self._nets)

    def _account(self, facts: Facts) -> account_rate.AccountState:
        key = (facts.subject, facts.network)
        state = self._accounts.get(key)
        if state is None:
            state = self._changed.get(key) or self._load(*key) or account_rate.EMPTY
            self._remember(key, state)
        return state

    def _keep(self, facts: Facts, state: account_rate.AccountState) -> None:
        key = (facts.subject, facts.network)
        self._changed[key] = state
        self._remember(key, state)

    def _remember(self, key: tuple[str, str], state: account_rate.AccountState) -> None:
        self._accounts[key] = state
        self._accounts.move_to_end(key)
        while len(self._accounts) > self._max_accounts:
            self._accounts.popitem(last=False)
