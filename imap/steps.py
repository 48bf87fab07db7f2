"""What a command asks of its connection, as values: commands are generators that do nothing themselves.

A handler yields steps and returns its tagged answer without the tag (`b"OK NOOP completed"`). It never waits, never sees
a socket, and can be run by a test with a loop of ten lines (tests/support/imap_steps.py):

    bytes     text for the client, sent in this order, gathered into large writes; the command is held up when the client
              does not take it
    Work      a call for a worker thread (what storage/api.py marks [thread]); its result is sent back in
    Wait      an awaitable of auth/api.py; its result is sent back in
    Ask       something of the line: the next event of the decoder, mostly

Exceptions of Work and Wait are raised at the yield. A connection that ends closes the generator, after the call that may
run in a thread; so clean up in `finally`.
"""

from collections.abc import Callable, Coroutine, Generator
from dataclasses import dataclass
from enum import Enum
from functools import partial
from typing import Any, ParamSpec, TypeVar

from .values import Event

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Work:
    """Run `call` in a worker thread.

    `brief` is the same call for the loop itself, when that is as good (imap/pace.py): it takes a flush, and raises WouldWait
    rather than wait for anybody.
    """

    call: Callable[[], Any]
    brief: Callable[[], Any] | None = None


@dataclass(frozen=True, slots=True)
class Wait:
    """Await this on the loop."""

    awaitable: Coroutine[Any, Any, Any]


class Ask(Enum):
    """Something of the line."""

    EVENT = "event"  # the next event of the decoder
    RESPONSE = "response"  # the next line, as AuthenticateResponse
    DONE = "done"  # IdleDone when it comes, None each time the selected mailbox changed
    REFUSE_LITERAL = "refuse literal"  # tell the decoder that a synchronising literal will not come; None


Step = bytes | Work | Wait | Ask
Steps = Generator[Step, Any, bytes]
"""A running command; its value is the tagged answer."""


def work(call: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Generator[Step, Any, T]:
    """`result = yield from work(mail.append, mailbox, drafts)`."""
    result: T = yield Work(partial(call, *args, **kwargs))
    return result


def brief_work(call: Callable[..., T], /, *args: Any, **kwargs: Any) -> Generator[Step, Any, T]:
    """work() for a call of the store that takes `waits`, and no longer than a flush."""
    result: T = yield Work(partial(call, *args, **kwargs), partial(call, *args, waits=False, **kwargs))
    return result


def wait(awaitable: Coroutine[Any, Any, T]) -> Generator[Step, Any, T]:
    """`answer = yield from wait(authenticator.authenticate(attempt))`."""
    result: T = yield Wait(awaitable)
    return result


def next_event() -> Generator[Step, Any, Event]:
    """The next event of the decoder: of an APPEND its LiteralData, then its end."""
    event: Event = yield Ask.EVENT
    return event


def next_response() -> Generator[Step, Any, Event]:
    """The client's next SASL line: AuthenticateResponse, or Malformed."""
    event: Event = yield Ask.RESPONSE
    return event


def done_or_news() -> Generator[Step, Any, Event | None]:
    """What ends IDLE (IdleDone or Malformed), or None when there is something to tell."""
    event: Event | None = yield Ask.DONE
    return event


class BrokenAnswer(Exception):
    """An answer cannot be completed and cannot be taken back: half of a literal is out. The connection must end."""
