"""The supervisor with programs of three lines: order, restart, drain, and nothing left behind."""

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from preau.daemon.listener import bind_tcp
from preau.suite.supervisor import Program, Supervisor, Times

# Says READY, writes its pid behind those of its name, notes SIGHUP, and obeys SIGTERM.
OBEDIENT = """
import os, signal, socket, sys
signal.signal(signal.SIGHUP, lambda *_: open(sys.argv[1] + ".hup", "a").close())
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
with open(sys.argv[1], "a") as file: file.write(f"{os.getpid()}\\n")
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); s.sendto(b"READY=1", os.environ["NOTIFY_SOCKET"])
while True: signal.pause()
"""
STUBBORN = OBEDIENT.replace("lambda *_: sys.exit(0)", "signal.SIG_IGN")
FAILING = "raise SystemExit(3)"
MUTE = "import signal; signal.pause()"


def program(source: str, notes: Path, name: str = "one", stage: int = 2) -> Program:
    """A program of `source`; its pids go into notes/NAME."""
    return Program(name, stage, [sys.executable, "-I", "-S", "-c", source, str(notes / name)])


async def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition; the test's own timeout is the limit."""
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110  # what is waited for happens in other processes
            await asyncio.sleep(0.01)


def pids(notes: Path, name: str = "one") -> list[int]:
    """Pids that a program wrote."""
    path = notes / name
    return [int(line) for line in path.read_text().splitlines()] if path.exists() else []


def is_gone(pid: int) -> bool:
    """Whether a process has ended."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def supervise(supervisor: Supervisor, scenario: Callable[[], Awaitable[None]]) -> int:
    """Run the supervisor, the scenario beside it, then SIGTERM; its status."""

    async def both() -> int:
        running = asyncio.create_task(supervisor.run())
        try:
            await scenario()
        finally:
            if not running.done():
                os.kill(os.getpid(), signal.SIGTERM)
        return await asyncio.wait_for(running, 20)

    return asyncio.run(both())


def test_the_ready_file_is_there_while_all_serve(tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    ready.write_text("of an earlier run")
    supervisor = Supervisor([program(OBEDIENT, tmp_path), program(OBEDIENT, tmp_path, "two")], ready_file=ready)

    async def scenario() -> None:
        await until(lambda: ready.exists() and ready.read_text() == f"{os.getpid()}\n")
        assert len(pids(tmp_path)) == len(pids(tmp_path, "two")) == 1

    assert supervise(supervisor, scenario) == 0
    assert not ready.exists()
    assert all(is_gone(pid) for pid in pids(tmp_path) + pids(tmp_path, "two"))


def test_who_is_ready_before_its_pid_is_known_is_heard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spawn, ready = Supervisor._spawn, tmp_path / "ready"

    async def late(self: Supervisor, program: Program, notify: Path) -> asyncio.subprocess.Process:
        process = await spawn(self, program, notify)
        await until(lambda: bool(pids(tmp_path)))
        await asyncio.sleep(0.2)
        return process

    monkeypatch.setattr(Supervisor, "_spawn", late)
    assert supervise(Supervisor([program(OBEDIENT, tmp_path)], ready_file=ready), lambda: until(ready.exists)) == 0


def test_a_stage_starts_when_the_one_before_is_ready(tmp_path: Path) -> None:
    waits = OBEDIENT.replace("s = socket", f"assert open({str(tmp_path / 'first')!r}).read()\ns = socket")
    supervisor = Supervisor(
        [program(waits, tmp_path, "last", stage=2), program(OBEDIENT, tmp_path, "first", stage=0)],
        ready_file=tmp_path / "ready",
    )

    async def scenario() -> None:
        await until((tmp_path / "ready").exists)

    assert supervise(supervisor, scenario) == 0


def test_what_dies_is_restarted(tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    supervisor = Supervisor([program(OBEDIENT, tmp_path)], ready_file=ready)

    async def scenario() -> None:
        await until(ready.exists)
        os.kill(pids(tmp_path)[0], signal.SIGKILL)
        await until(lambda: len(pids(tmp_path)) == 2)
        assert ready.exists()

    assert supervise(supervisor, scenario) == 0
    assert all(is_gone(pid) for pid in pids(tmp_path))


def test_sighup_is_handed_on(tmp_path: Path) -> None:
    supervisor = Supervisor([program(OBEDIENT, tmp_path)], ready_file=tmp_path / "ready")

    async def scenario() -> None:
        await until((tmp_path / "ready").exists)
        os.kill(os.getpid(), signal.SIGHUP)
        await until((tmp_path / "one.hup").exists)

    assert supervise(supervisor, scenario) == 0


def test_a_second_sigterm_kills_what_does_not_end(tmp_path: Path) -> None:
    supervisor = Supervisor([program(STUBBORN, tmp_path)], times=Times(drain=60.0, insist=0.0), ready_file=tmp_path / "ready")

    async def scenario() -> None:
        await until((tmp_path / "ready").exists)
        os.kill(os.getpid(), signal.SIGTERM)
        await until(lambda: not (tmp_path / "ready").exists())  # the one that follows, from supervise(), is the second

    assert supervise(supervisor, scenario) == 0
    assert all(is_gone(pid) for pid in pids(tmp_path))


def test_two_sigterms_at_once_are_one(tmp_path: Path) -> None:
    """timeout(1) signals a process and its group: that is no hurry."""
    slow = OBEDIENT.replace("lambda *_: sys.exit(0)", "lambda *_: (open(sys.argv[1] + '.drained', 'w').close(), sys.exit(0))")
    supervisor = Supervisor([program(slow, tmp_path)], times=Times(insist=60.0), ready_file=tmp_path / "ready")

    async def scenario() -> None:
        await until((tmp_path / "ready").exists)
        os.kill(os.getpid(), signal.SIGTERM)

    assert supervise(supervisor, scenario) == 0
    assert (tmp_path / "one.drained").exists()


def test_a_failed_start_ends_everything(tmp_path: Path) -> None:
    supervisor = Supervisor(
        [program(OBEDIENT, tmp_path, "first", stage=0), program(FAILING, tmp_path, "second", stage=1)],
        ready_file=tmp_path / "ready",
    )
    assert asyncio.run(supervisor.run()) == 1
    assert not (tmp_path / "ready").exists()
    assert all(is_gone(pid) for pid in pids(tmp_path, "first"))


def test_who_never_gets_ready_fails_the_start(tmp_path: Path) -> None:
    supervisor = Supervisor([program(MUTE, tmp_path)], times=Times(start=0.2, drain=0.2))
    assert asyncio.run(supervisor.run()) == 1


def test_who_falls_silent_is_killed_and_restarted(tmp_path: Path) -> None:
    supervisor = Supervisor([program(OBEDIENT, tmp_path)], times=Times(watchdog=0.3), ready_file=tmp_path / "ready")

    async def scenario() -> None:
        await until(lambda: len(pids(tmp_path)) >= 2)

    assert supervise(supervisor, scenario) == 0


def test_a_program_that_is_not_there_fails_the_start(tmp_path: Path) -> None:
    supervisor = Supervisor([Program("none", 2, [str(tmp_path / "nothing")])])
    assert asyncio.run(supervisor.run()) == 1


def test_workers_share_an_inherited_socket(tmp_path: Path) -> None:
    serving = """
import os, socket
fd = int(os.environ["LISTEN_FDNUMBERS"].split(":")[0])
assert os.environ["LISTEN_FDNAMES"] == "imap" and int(os.environ["LISTEN_PID"]) == os.getppid()
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); s.sendto(b"READY=1", os.environ["NOTIFY_SOCKET"])
listening = socket.socket(fileno=fd); listening.setblocking(True)
while True:
    one, _ = listening.accept(); one.sendall(str(os.getpid()).encode()); one.close()
"""
    listening = bind_tcp("127.0.0.1", 0)
    command = [sys.executable, "-I", "-S", "-c", serving]
    programs = [Program(f"w{number}", 2, command, [("imap", listening)]) for number in range(2)]
    supervisor = Supervisor(programs, times=Times(drain=0.1), ready_file=tmp_path / "ready")

    async def scenario() -> None:
        await until((tmp_path / "ready").exists)
        reader, writer = await asyncio.open_connection(*listening.getsockname())
        assert int(await reader.read())
        writer.close()
        await writer.wait_closed()

    try:
        assert supervise(supervisor, scenario) == 0
    finally:
        listening.close()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_processes_end_with_their_supervisor(number: signal.Signals, tmp_path: Path) -> None:
    """However it ends: a real supervisor process, a child that asks the kernel for it."""
    child = (
        "import os, signal, socket, sys; from preau.suite.process import end_with_parent; end_with_parent();"
        f"open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid()));"
        "s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); s.sendto(b'READY=1', os.environ['NOTIFY_SOCKET']);"
        "signal.pause()"
    )
    program = f"Program('c', 2, [sys.executable, '-P', '-c', {child!r}])"
    parent = (
        "import asyncio, sys; from pathlib import Path; from preau.suite.supervisor import *;"
        f"s = Supervisor([{program}], ready_file=Path({str(tmp_path / 'ready')!r}));"
        "sys.exit(asyncio.run(s.run()))"
    )

    async def scenario() -> None:
        process = await asyncio.create_subprocess_exec(sys.executable, "-P", "-c", parent)
        await until((tmp_path / "ready").exists)
        process.send_signal(number)
        await asyncio.wait_for(process.wait(), 20)
        pid = int((tmp_path / "pid").read_text())
        await until(lambda: is_gone(pid))

    asyncio.run(scenario())
