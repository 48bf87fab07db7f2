"""What `store verify` found, and whether it was mended."""

import logging
from collections.abc import Callable
from dataclasses import dataclass

from .api import StoreError
from .mail_context import MailContext

log = logging.getLogger("preau.storage")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not whole."""

    kind: str  # "row without file", ...
    mailbox: str  # its name; empty: the account
    detail: str
    repaired: bool
    mendable: bool  # repair would help


class Report:
    """Gathers findings; with `repair` each is mended where it can be."""

    def __init__(self, context: MailContext, *, repair: bool) -> None:
        """Nothing found yet."""
        self.repair = repair
        self.findings: list[Finding] = []
        self._account = context.account

    def add(self, kind: str, mailbox: str, detail: str, mend: Callable[[], object] | None) -> None:
        """Note something; mend it when that is asked for and possible."""
        repaired = False
        if self.repair and mend is not None:
            try:
                mend()
                repaired = True
            except StoreError as error:
                detail = f"{detail} (not mended: {error})"
        self.findings.append(Finding(kind, mailbox, detail, repaired, mend is not None))
        log.warning("verify", extra={"account": self._account, "kind": kind, "detail": detail, "repaired": repaired})
