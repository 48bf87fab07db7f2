"""`preau serve`: run roles, each in a process of its own under the supervisor, or one alone in this process.

Owns which roles there are, in which order they start, and how many processes each has.
"""

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path

from ..config.load import InvalidSettings, load_settings
from ..config.schema import Settings
from ..daemon import log as daemon_log
from ..daemon.lifecycle import run as run_lifecycle
from ..daemon.listener import Listener, inherited
from ..daemon.notify import notifier
from ..daemon.role import Role
from ..daemon.turns import FairLoop
from .invocation import Invocation, Verbs
from .layout import layout_of, make_run_folder
from .listeners import DELIVERY_SOCKET, as_listeners, of_role, open_sockets
from .outcome import Misused, Refused
from .process import PARENT_VARIABLE, end_with_parent, prepare
from .supervisor import DRAINING, Program, Supervisor, Times, python_command
from .unbuilt import ROLES as UNBUILT
from .unbuilt import refuse

log = daemon_log.logger("suite")

STAGES = {
    "keys": 0,
    "auth": 1,
    "delivery": DRAINING,
    "queue": DRAINING + 1,
    "smtp": DRAINING + 2,
    "imap": DRAINING + 3,
    "dav": DRAINING + 4,
}
"""Role -> stage of the start: what a role asks is there before it."""

_EXAMPLES = """\
  preau serve --ready-file /run/preau/ready      all roles, until SIGTERM or Ctrl-C
  preau serve imap                               one role, as a systemd unit does
SIGHUP reads certificates again, SIGTERM drains and ends, a second SIGTERM ends at once.
"""


def add_verbs(verbs: Verbs) -> None:
    """Add `serve`."""
    parser = verbs.add("serve", run_serve, "run the daemons in the foreground", examples=_EXAMPLES)
    parser.add_argument("roles", metavar="ROLE", nargs="*", help=f"{', '.join(STAGES)} (default all)")
    parser.add_argument("--ready-file", metavar="PATH", type=Path, help="a file that is there while every listener accepts")


def run_serve(invocation: Invocation) -> None:
    """Serve until told to stop."""
    roles = check_roles(invocation.arguments.roles)
    settings = invocation.settings
    daemon_log.configure(settings.log.level, json_lines=settings.log.format == "json")
    supervised = PARENT_VARIABLE in os.environ
    end_with_parent()
    ready_file: Path | None = invocation.arguments.ready_file
    if supervised or (len(roles) == 1 and processes_of(settings, roles[0]) == 1 and ready_file is None):
        run_role(settings, roles[0])
    else:
        supervise(settings, roles, ready_file)


def check_roles(names: Sequence[str]) -> list[str]:
    """The roles asked for, in starting order; all when none is named. Raise Misused."""
    for name in names:
        if name in UNBUILT:
            raise refuse(f"the role {name}")
        if name not in STAGES:
            raise Misused(f"no role {name}; there are {', '.join(STAGES)}")
    return [role for role in STAGES if role in names or not names]


def processes_of(settings: Settings, role: str) -> int:
    """How many processes serve a role."""
    workers: int | None = getattr(getattr(settings, role, None), "workers", None)
    return 1 if workers is None else workers or len(os.sched_getaffinity(0))


def supervise(settings: Settings, roles: Sequence[str], ready_file: Path | None) -> None:
    """Run roles under the supervisor. Raise Refused when they do not start."""
    make_run_folder(layout_of(settings).run)
    given = inherited()
    sockets = open_sockets(settings, roles, given)
    bound_delivery = "delivery" in roles and DELIVERY_SOCKET not in given  # what systemd made, systemd removes
    programs = []
    for role in roles:
        count = processes_of(settings, role)
        command = python_command("serve", role, "--config", str(settings.file))
        mine = of_role(sockets, role)
        for number in range(count):
            name = role if count == 1 else f"{role}-{number + 1}"
            programs.append(Program(name, STAGES[role], command, mine))
    times = Times(drain=settings.instance.drain, watchdog=settings.instance.watchdog)
    supervisor = Supervisor(programs, times=times, ready_file=ready_file, notifier=notifier())
    try:
        status = asyncio.run(supervisor.run())
    except OSError as error:
        raise Refused(f"{error.filename or 'serve'}: {error.strerror}") from None
    finally:
        for _, one in sockets:
            one.close()
        if bound_delivery:
            layout_of(settings).delivery_socket.unlink(missing_ok=True)
    if status:
        raise Refused("not every role started; the lines above say why")


def run_role(settings: Settings, name: str) -> None:
    """Run one role in this process. Raise Refused when it cannot start."""
    from .compose import make_role  # the supervisor needs none of what roles import

    prepare(name)
    make_run_folder(layout_of(settings).run)
    listeners = as_listeners(open_sockets(settings, [name], inherited()))
    with make_role(settings, name) as role, asyncio.Runner(loop_factory=FairLoop) as runner:
        runner.run(_live(settings, role, listeners, name))


async def _live(settings: Settings, role: Role, listeners: Sequence[Listener], name: str) -> None:
    await run_lifecycle(
        _Reloading(settings, role), listeners, name=name, notifier=notifier(), drain_seconds=settings.instance.drain
    )


class _Reloading:
    """A role whose reload also reads the settings again, for what can change in a process that lives: the log."""

    def __init__(self, settings: Settings, role: Role) -> None:
        self._file = settings.file
        self._role = role
        self.start = role.start
        self.drain = role.drain

    async def reload(self) -> None:
        """Take the new log level, then what the role itself takes. Settings that cannot be read change nothing."""
        try:
            settings = load_settings(self._file)
        except InvalidSettings as error:
            log.error("settings not taken", problems="; ".join(problem.text for problem in error.problems))
        else:
            daemon_log.configure(settings.log.level, json_lines=settings.log.format == "json")
        await self._role.reload()
