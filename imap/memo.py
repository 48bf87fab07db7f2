"""Commands read before: a client repeats itself, and need not be read twice.

Owns what is kept and what never is.
"""

from .values import Arguments

_SECRET = frozenset({"LOGIN", "AUTHENTICATE"})
_WORDS = frozenset({"SEARCH", "UID SEARCH", "SORT", "UID SORT", "THREAD", "UID THREAD", "ID"})


class Memo:
    """Commands read before, by what stood behind the tag: a client repeats itself. One may serve a whole process.

    Bounded in number and in length of each; holds nothing of commands that carry secrets or words searched for.
    """

    __slots__ = ("_known", "_most")

    MAX_LENGTH = 512
    NOT_KEPT = _SECRET | _WORDS

    def __init__(self, most: int = 1_000) -> None:
        """Keep at most `most` commands; the oldest goes."""
        self._known: dict[tuple[bytes, bool], tuple[str, Arguments]] = {}
        self._most = most

    def get(self, rest: bytes, utf8: bool) -> tuple[str, Arguments] | None:
        """Name and arguments, if this was read before."""
        return self._known.get((rest, utf8))

    def keep(self, rest: bytes, utf8: bool, name: str, arguments: Arguments) -> None:
        """Remember, unless it is long or secret."""
        if len(rest) <= self.MAX_LENGTH and name not in self.NOT_KEPT:
            if len(self._known) >= self._most:
                del self._known[next(iter(self._known))]
            self._known[rest, utf8] = name, arguments
