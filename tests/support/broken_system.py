"""System calls that fail: put in the place of atomic.system, they break at a chosen one."""

from typing import Any

from preau.storage.atomic import System


class Crash(BaseException):
    """The power went. Nothing catches it, nothing is done after it."""


class Broken(System):
    """Raises `error` instead of one call: of every call of a name, or of the one with a number.

    By number, every later call raises, too: after a crash nothing is done any more.
    """

    def __init__(self, when: str | int, error: BaseException) -> None:
        """Break at a call's name, or at the call's number, from 0."""
        self.calls: list[str] = []
        self.struck = False
        self._when = when
        self._error = error
        for name in ("open", "write", "truncate", "fdatasync", "fsync", "rename", "link", "unlink", "mkdir", "rmtree"):
            setattr(self, name, self._wrapped(name, getattr(System, name)))

    def _wrapped(self, name: str, real: Any) -> Any:
        def call(*arguments: Any, **named: Any) -> Any:
            number = len(self.calls)
            self.calls.append(name)
            if name == self._when or (isinstance(self._when, int) and number >= self._when):
                self.struck = True
                raise self._error
            return real(*arguments, **named)

        return call
