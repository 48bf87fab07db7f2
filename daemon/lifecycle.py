"""A role's life in its process: start, ready, reload on SIGHUP, drain on SIGTERM or SIGINT.

Owns signals, readiness, the watchdog's heartbeat and the loop's last exception handler. The heartbeat is a timer of the
event loop: a loop that hangs is silent, and whoever started us ends it.

A second SIGTERM ends the draining at once. Never decides what draining means: the role does.
"""

import asyncio
import gc
import signal
from collections.abc import Sequence
from typing import Any

from .listener import Listener
from .log import logger
from .notify import Notifier
from .role import Role

log = logger("daemon")


async def run(
    role: Role, listeners: Sequence[Listener], *, name: str, notifier: Notifier | None = None, drain_seconds: float = 10.0
) -> None:
    """Run `role` until it is told to stop. Raise what `role.start` raises; `name` is for the log.

    `drain_seconds`: how long what is begun may take to finish.
    """
    loop = asyncio.get_running_loop()
    notifier = notifier or Notifier(None)
    stop, reload, hurry = asyncio.Event(), asyncio.Event(), asyncio.Event()
    signals = (signal.SIGTERM, signal.SIGINT)

    def asked_to_stop() -> None:
        (hurry if stop.is_set() else stop).set()

    for number in signals:
        loop.add_signal_handler(number, asked_to_stop)
    loop.add_signal_handler(signal.SIGHUP, reload.set)
    loop.set_exception_handler(_unhandled)
    tasks = [loop.create_task(_reload_when_asked(role, reload, notifier))]
    try:
        await role.start(listeners)
        # What start made lives as long as the process: the collector need not look at it again.
        gc.collect()
        gc.freeze()
        if notifier.watchdog_limit:
            tasks.append(loop.create_task(_beat(notifier, notifier.watchdog_limit / 3)))
        notifier.ready(f"{len(listeners)} listeners")
        log.info("ready", role=name, listeners=len(listeners))
        await stop.wait()
        notifier.stopping()
        log.info("draining", role=name, seconds=drain_seconds)
        await _drain(role, drain_seconds, hurry)
        log.info("stopped", role=name)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for number in (*signals, signal.SIGHUP):
            loop.remove_signal_handler(number)
        gc.unfreeze()


async def _drain(role: Role, seconds: float, hurry: asyncio.Event) -> None:
    draining = asyncio.ensure_future(role.drain(seconds))
    hurried = asyncio.ensure_future(hurry.wait())
    # The role keeps the limit itself; two seconds more are for closing what it holds.
    await asyncio.wait({draining, hurried}, timeout=seconds + 2.0, return_when=asyncio.FIRST_COMPLETED)
    hurried.cancel()
    if not draining.done():
        log.warning("drain cut short", hurried=hurry.is_set())
        draining.cancel()
    (result,) = await asyncio.gather(draining, return_exceptions=True)
    if isinstance(result, Exception):
        log.incident("drain failed", result)


async def _reload_when_asked(role: Role, asked: asyncio.Event, notifier: Notifier) -> None:
    while True:
        await asked.wait()
        asked.clear()
        notifier.reloading()
        try:
            await role.reload()
            log.info("reloaded")
        except Exception as error:
            log.incident("reload failed, everything stays as it was", error)
        notifier.ready()


async def _beat(notifier: Notifier, seconds: float) -> None:
    while True:
        notifier.alive()
        await asyncio.sleep(seconds)


def _unhandled(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    error = context.get("exception")
    message = str(context.get("message", "unhandled"))
    if isinstance(error, ConnectionError | TimeoutError):
        log.debug(message, error=str(error))  # a peer that went away while we wrote
    elif error is not None:
        log.incident(message, error)
    else:
        log.error(message)
