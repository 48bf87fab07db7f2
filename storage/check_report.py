"""What `store verify` found, and whether it was mended.

Two things are told apart. A *fault*: something that was promised is missing, differs or does not open; somebody must act.
What an interrupted step *left*: nothing that was promised is touched by it, and it goes by itself (leftovers.py, adoption).
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass

from .api import StoreError
from .mail_context import MailContext

log = logging.getLogger("preau.storage")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as it should be."""

    kind: str  # "row without file", ...
    mailbox: str  # its name; empty: the account
    detail: str
    repaired: bool
    mendable: bool  # repair would help
    fault: bool  # else: left by a step that was interrupted; harmless, and taken away by itself


class Report:
    """Gathers findings; with `repair` each is mended where it can be."""

    def __init__(self, context: MailContext, *, repair: bool) -> None:
        """Nothing found yet."""
        self.repair = repair
        self.findings: list[Finding] = []
        self._account = context.account

    def fault(self, kind: str, mailbox: str, detail: str, mend: Callable[[], object] | None) -> None:
        """Note what must not be; mend it when that is asked for and possible."""
        self._note(kind, mailbox, detail, mend, fault=True)

    def left(self, kind: str, mailbox: str, detail: str, mend: Callable[[], object] | None) -> None:
        """Note what an interrupted step left and what goes by itself; take it away now when that is asked for."""
        self._note(kind, mailbox, detail, mend, fault=False)

    def _note(self, kind: str, mailbox: str, detail: str, mend: Callable[[], object] | None, *, fault: bool) -> None:
        repaired = False
        if self.repair and mend is not None:
            try:
                mend()
                repaired = True
            except StoreError as error:
                detail = f"{detail} (not mended: {error})"
        self.findings.append(Finding(kind, mailbox, detail, repaired, mend is not None, fault))
        level = logging.WARNING if fault else logging.INFO
        log.log(level, "verify", extra={"account": self._account, "kind": kind, "detail": detail, "repaired": repaired})
