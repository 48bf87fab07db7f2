"""`preau store`: whether what is stored is whole, and its indexes anew.

Owns the order over accounts and how findings are told; what is looked at is in storage/check.py and storage/rebuild.py.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict

from ..storage.api import AccountId, StoreError
from .accounts import hold_keys, with_shared_umask
from .administration import open_administration
from .invocation import Invocation, Verbs
from .layout import layout_of
from .outcome import Refused

_EXAMPLES = """\
  preau store verify
  preau store verify marie.durand@ecole.example --repair
  preau store rebuild marie.durand@ecole.example
"""


def add_verbs(verbs: Verbs) -> None:
    """Add `store`."""
    group = verbs.group("store", "the files of accounts", examples=_EXAMPLES)
    verify = group.add("verify", run_verify, "read everything and tell what is not whole", examples=_EXAMPLES)
    verify.add_argument("address", metavar="ADDRESS", nargs="?", help="one account (default all)")
    verify.add_argument("--repair", action="store_true", help="also mend what can be mended; never removes a message")
    verify.add_argument("--verbose", action="store_true", help="also list what interrupted steps left, which goes by itself")
    rebuild = group.add("rebuild", run_rebuild, "make the index of an account anew from its files", examples=_EXAMPLES)
    rebuild.add_argument("address", metavar="ADDRESS")


def run_verify(invocation: Invocation) -> None:
    """Verify one account or all. Refused when there is a fault (and it was not mended).

    What an interrupted step left is none: it is counted, and listed on request and in JSON.
    """
    from ..storage.check import verify_account
    from .values import store_limits

    settings, repair = invocation.settings, invocation.arguments.repair
    layout, limits = layout_of(settings), store_limits(settings)
    accounts = _accounts(invocation)
    findings, unread = [], []
    with with_shared_umask(), hold_keys(settings) as keys, invocation.output.progress("accounts", len(accounts)) as advance:
        for address, account in accounts:
            # An account that never got mail has no files yet.
            if (layout.accounts / account[:2] / account).exists():
                try:
                    found = verify_account(
                        layout.accounts,
                        account,
                        keys.open(account, "store verify"),
                        sealing=settings.seal.enabled,
                        repair=repair,
                        limits=limits,
                    )
                except StoreError as error:
                    unread.append(f"{address}: {error}; preau store rebuild {address}")
                else:
                    findings += [{"address": address, **asdict(finding)} for finding in found]
            advance(1)
    columns = {
        "address": "ADDRESS",
        "kind": "WHAT",
        "mailbox": "MAILBOX",
        "detail": "",
        "fault": "FAULT",
        "repaired": "MENDED",
        "mendable": "CAN BE MENDED",
    }
    left = [each for each in findings if not each["fault"] and not each["repaired"]]
    shown = findings if invocation.output.json or invocation.arguments.verbose else [each for each in findings if each["fault"]]
    invocation.output.table(shown, columns, empty=f"{len(accounts)} accounts, all whole")
    if left:
        invocation.output.note(f"{len(left)} things that interrupted steps left; they go by themselves (--verbose lists them)")
    open_ones = [each for each in findings if each["fault"] and not each["repaired"]]
    if unread or open_ones:
        hint = " (preau store verify --repair mends what can be mended)" if any(each["mendable"] for each in open_ones) else ""
        raise Refused("\n".join([*unread, *([f"{len(open_ones)} things are not whole{hint}"] if open_ones else [])]))


def run_rebuild(invocation: Invocation) -> None:
    """Rebuild one account."""
    from ..storage.rebuild import rebuild_account
    from .values import store_limits

    settings = invocation.settings
    ((address, account),) = _accounts(invocation)
    with with_shared_umask(), hold_keys(settings) as keys, invocation.output.progress(address, 1) as advance:
        rebuilt = rebuild_account(
            layout_of(settings).accounts,
            account,
            keys.open(account, "store rebuild"),
            sealing=settings.seal.enabled,
            limits=store_limits(settings),
            progress=_watched(advance),
        )
    facts = asdict(rebuilt)
    told = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in facts.items())
    invocation.output.answer({"address": address, **facts}, f"The index of {address} is made anew: {told}.")


def _accounts(invocation: Invocation) -> Sequence[tuple[str, AccountId]]:
    address = invocation.arguments.address
    with open_administration(invocation.settings) as administration:
        addresses = [address] if address else [row["address"] for row in administration.user_list()]
        return [(each, AccountId(administration.account_id(each))) for each in addresses]


def _watched(advance: Callable[[float], None]) -> Callable[[str, int, int], None]:
    """Progress over messages, as the store tells it, for a bar that counts to 1."""
    told = 0.0

    def tell(mailbox: str, done: int, total: int) -> None:
        nonlocal told
        now = done / total if total else 1.0
        if now - told >= 0.01:
            advance(now - told)
            told = now

    return tell
