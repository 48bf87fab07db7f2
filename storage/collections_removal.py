"""Files and directories of collections whose rows went: noted in that very transaction, removed after it.

What a crash or a full disk leaves behind is removed when the account is next opened; nothing comes back by it.
Owns `item_unlink`. Never removes what a row names.
"""

from collections.abc import Iterable
from pathlib import Path

import apsw

from . import atomic
from .api import StoreError
from .collections_files import remove_item
from .mail_context import MailContext


class Removal:
    """What an account has to remove. Any thread."""

    def __init__(self, context: MailContext) -> None:
        """Remove what was left from last time."""
        self._context = context
        self._removed: list[str] = []  # paths removed, whose note may go
        self.remove(path for (path,) in context.reader.rows("SELECT path FROM item_unlink"))

    def note(self, connection: apsw.Connection, path: Path) -> str:
        """Within the transaction: the path to give to remove() after it."""
        relative = str(path.relative_to(self._context.paths.dav))
        connection.execute("INSERT OR IGNORE INTO item_unlink VALUES (?)", (relative,))
        return relative

    def remove(self, paths: Iterable[str]) -> None:
        """Remove files and directories noted. What fails stays noted, and is tried when next opened."""
        for path in paths:
            try:
                whole = self._context.paths.dav / path
                if path.count("/") == 1:
                    atomic.remove_tree(whole)
                else:
                    remove_item(whole)
            except StoreError:
                continue
            self._removed.append(path)

    def forget_removed(self, connection: apsw.Connection) -> None:
        """Within somebody's transaction, so that it costs no flush of its own."""
        removed, self._removed = self._removed, []
        connection.executemany("DELETE FROM item_unlink WHERE path = ?", [(path,) for path in removed])
