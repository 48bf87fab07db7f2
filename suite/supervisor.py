"""The supervisor: a process a role, or several, started in order, restarted when they die, ended together.

Theory of operation. Stages start one after the other: the next when every process of the one before said READY. Until
all are there, a process that ends is a failed start: everything is stopped and `run` returns 1. Later it is restarted, at
once the first time, then after 0.5 s, 1 s, 2 s ... 30 s; a minute without dying forgives all. Processes talk through a
notify socket of ours (daemon/notify.py): READY, and a heartbeat without which they are killed and restarted. The listening
sockets belong to us and are inherited, so nobody is refused a connection while a worker restarts.

SIGTERM ends the stages in reverse, each with its time to drain; SIGHUP is handed on. A process gets SIGTERM from the
kernel should we die ourselves (suite/process.py).

Owns processes. Never knows what a role is.
"""

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..daemon.listener import handed_over
from ..daemon.log import logger
from ..daemon.notify import Notifier, NotifyReceiver
from .process import PARENT_VARIABLE

log = logger("suite")

_FORGIVEN = 60.0  # seconds of life after which earlier deaths do not count
_FIRST_DELAY = 0.5
_LONGEST_DELAY = 30.0
_GRACE = 3.0  # seconds beyond the drain before SIGKILL
_STAGE_GRACE = 2.0  # for processes that have nothing to drain


@dataclass(frozen=True, slots=True)
class Program:
    """A process to keep running. `stage`: lower ones start first and end last."""

    name: str
    stage: int
    command: Sequence[str]
    sockets: Sequence[tuple[str, socket.socket]] = ()
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Times:
    """Seconds."""

    drain: float = 10.0
    watchdog: float = 30.0
    start: float = 60.0  # from exec to READY
    insist: float = 1.0  # after the first SIGTERM a second one counts: timeout(1) and terminals send it twice at once


class _Kept:
    """A program and its present process."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.process: asyncio.subprocess.Process | None = None
        self.ready = asyncio.Event()
        self.started = 0.0
        self.heard = 0.0
        self.deaths = 0

    @property
    def pid(self) -> int:
        return self.process.pid if self.process is not None and self.process.returncode is None else 0

    def signal(self, number: int) -> None:
        if self.pid and self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                self.process.send_signal(number)


class Supervisor:
    """Runs programs until told to stop."""

    def __init__(
        self,
        programs: Sequence[Program],
        *,
        times: Times | None = None,
        ready_file: Path | None = None,
        notifier: Notifier | None = None,
    ) -> None:
        """`ready_file` appears when every program is ready and goes when the first is told to stop."""
        self._kept = [_Kept(program) for program in programs]
        self._times = times or Times()
        self._ready_file = ready_file
        self._notifier = notifier or Notifier(None)
        self._stopping = asyncio.Event()
        self._failed = asyncio.Event()
        self._hurry = asyncio.Event()
        self._serving = False
        self._starting = 0  # programs that are being started: their pids are not known yet
        self._early: set[int] = set()  # pids that were ready before they were known
        self._asked = 0.0  # when SIGTERM came

    async def run(self) -> int:
        """Start all, keep them, end them; 0, or 1 when the start failed. Raise OSError when no socket can be made."""
        loop = asyncio.get_running_loop()
        folder = Path(tempfile.mkdtemp(prefix="preau-"))
        receiver = NotifyReceiver(folder / "notify.sock")
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._asked_to_stop)
        loop.add_signal_handler(signal.SIGHUP, self._asked_to_reload)
        loop.add_reader(receiver.fileno(), self._listen, receiver)
        self._remove_ready_file()
        keepers: list[asyncio.Task[None]] = []
        try:
            await self._start(receiver.path, keepers)
            if not self._stopping.is_set() and not self._failed.is_set():
                self._serving = True
                self._write_ready_file()
                self._notifier.ready(f"{len(self._kept)} processes")
                log.info("serving", processes=len(self._kept))
                await self._watch()
            return 1 if self._failed.is_set() else 0
        finally:
            self._notifier.stopping()
            self._remove_ready_file()
            self._stopping.set()
            await self._end()
            if keepers:
                # One may have been between fork and return: it ends what it started, and then itself.
                await asyncio.wait(keepers, timeout=_GRACE)
                for keeper in keepers:
                    keeper.cancel()
                await asyncio.gather(*keepers, return_exceptions=True)
            loop.remove_reader(receiver.fileno())
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                loop.remove_signal_handler(number)
            receiver.close()
            shutil.rmtree(folder, ignore_errors=True)

    # -- start

    async def _start(self, notify: Path, keepers: list[asyncio.Task[None]]) -> None:
        for stage in sorted({kept.program.stage for kept in self._kept}):
            group = [kept for kept in self._kept if kept.program.stage == stage]
            keepers += [asyncio.create_task(self._keep(kept, notify)) for kept in group]
            ready = asyncio.create_task(_all_ready(group))
            ended = [asyncio.create_task(event.wait()) for event in (self._stopping, self._failed)]
            waited: set[asyncio.Future[Any]] = {ready, *ended}
            await asyncio.wait(waited, timeout=self._times.start, return_when=asyncio.FIRST_COMPLETED)
            for task in ended:
                task.cancel()
            if not ready.done():
                ready.cancel()
                if not self._stopping.is_set() and not self._failed.is_set():
                    slow = [kept.program.name for kept in group if not kept.ready.is_set()]
                    log.error("not ready in time", processes=",".join(slow), seconds=self._times.start)
                    self._failed.set()
                return

    async def _keep(self, kept: _Kept, notify: Path) -> None:
        """Start the program, wait for its end, start it again."""
        while not self._stopping.is_set():
            kept.started = kept.heard = time.monotonic()
            self._starting += 1
            try:
                kept.process = await self._spawn(kept.program, notify)
            except OSError as error:
                log.error("cannot start", process=kept.program.name, error=error.strerror)
                kept.process = None
            self._starting -= 1
            if kept.pid in self._early:
                kept.ready.set()
            if not self._starting:
                self._early.clear()
            if self._stopping.is_set():
                kept.signal(signal.SIGKILL)  # nobody was told of it yet
            status = await kept.process.wait() if kept.process is not None else 127
            kept.ready.clear()
            if self._stopping.is_set():
                return
            if not self._serving:
                log.error("did not start", process=kept.program.name, status=status)
                self._failed.set()
                return
            lived = time.monotonic() - kept.started
            kept.deaths = 1 if lived > _FORGIVEN else kept.deaths + 1
            delay = 0.0 if kept.deaths == 1 else min(_LONGEST_DELAY, _FIRST_DELAY * 2.0 ** min(kept.deaths - 2, 16))
            log.error("died, restarting", process=kept.program.name, status=status, lived=round(lived, 1), delay=delay)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), delay)

    async def _spawn(self, program: Program, notify: Path) -> asyncio.subprocess.Process:
        inherited, descriptors = handed_over(program.sockets)
        environment = {
            **os.environ,
            **(inherited if descriptors else {}),
            **program.environment,
            "NOTIFY_SOCKET": str(notify),
            "WATCHDOG_USEC": str(int(self._times.watchdog * 1_000_000)),
            "WATCHDOG_PID": str(os.getpid()),
            PARENT_VARIABLE: str(os.getpid()),
        }
        # A process group of its own: Ctrl-C is ours to hand on, once.
        return await asyncio.create_subprocess_exec(
            *program.command, pass_fds=descriptors, env=environment, stdin=asyncio.subprocess.DEVNULL, process_group=0
        )

    # -- life

    def _listen(self, receiver: NotifyReceiver) -> None:
        by_pid = {kept.pid: kept for kept in self._kept if kept.pid}
        for pid, fields in receiver.receive():
            if (kept := by_pid.get(pid)) is not None:
                kept.heard = time.monotonic()
                if "READY" in fields:
                    kept.ready.set()
            elif self._starting and "READY" in fields:
                self._early.add(pid)

    async def _watch(self) -> None:
        """Look for processes that are silent or never get ready; beat for ourselves."""
        turn = min(self._times.watchdog / 4, (self._notifier.watchdog_limit or 60.0) / 3)
        while not self._stopping.is_set():
            self._notifier.alive()
            now = time.monotonic()
            for kept in self._kept:
                limit = self._times.watchdog if kept.ready.is_set() else self._times.start
                if kept.pid and now - kept.heard > limit:
                    log.error("silent, killed", process=kept.program.name, seconds=round(now - kept.heard, 1))
                    kept.signal(signal.SIGKILL)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), turn)

    def _asked_to_stop(self) -> None:
        now = time.monotonic()
        if not self._stopping.is_set():
            self._asked = now
            self._stopping.set()
        elif now - self._asked >= self._times.insist:
            self._hurry.set()

    def _asked_to_reload(self) -> None:
        self._notifier.reloading()
        for kept in self._kept:
            if kept.ready.is_set():  # one that starts reads everything anyway, and has no handler yet
                kept.signal(signal.SIGHUP)
        self._notifier.ready()

    # -- end

    async def _end(self) -> None:
        stages = sorted({kept.program.stage for kept in self._kept}, reverse=True)
        # The outer stages drain together: none has anything to wait for in another that will not keep.
        draining = [kept for kept in self._kept if kept.program.stage >= DRAINING]
        await self._end_group(draining, self._times.drain + _GRACE)
        for stage in (stage for stage in stages if stage < DRAINING):
            await self._end_group([kept for kept in self._kept if kept.program.stage == stage], _STAGE_GRACE)

    async def _end_group(self, group: Sequence[_Kept], seconds: float) -> None:
        for kept in group:
            kept.signal(signal.SIGTERM)
        waits = [asyncio.create_task(kept.process.wait()) for kept in group if kept.pid and kept.process is not None]
        if not waits:
            return
        everyone = asyncio.gather(*waits)
        hurried = asyncio.create_task(self._hurry.wait())
        waited: set[asyncio.Future[Any]] = {everyone, hurried}
        await asyncio.wait(waited, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        hurried.cancel()
        for kept in group:
            if kept.pid:
                log.warning("killed", process=kept.program.name)
                kept.signal(signal.SIGKILL)
        await everyone

    def _write_ready_file(self) -> None:
        if self._ready_file is not None:
            temporary = self._ready_file.with_name(f".{self._ready_file.name}.{os.getpid()}")
            temporary.write_text(f"{os.getpid()}\n")
            temporary.rename(self._ready_file)

    def _remove_ready_file(self) -> None:
        if self._ready_file is not None:
            self._ready_file.unlink(missing_ok=True)


async def _all_ready(group: Sequence[_Kept]) -> None:
    for kept in group:
        await kept.ready.wait()


DRAINING = 2
"""Stages from here on serve clients and drain; those below serve them (auth, keys) and end after."""


def python_command(*arguments: str) -> list[str]:
    """This interpreter running the `preau` command; -P keeps the working directory off its path."""
    return [sys.executable, "-P", "-m", "preau.suite.main", *arguments]
