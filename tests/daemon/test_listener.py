import asyncio
import contextlib
import os
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from preau.daemon.listener import Listener, accept_on, bind_tcp, bind_unix, handed_over, inherited


def test_tcp_takes_a_free_port_and_does_not_block() -> None:
    with bind_tcp("127.0.0.1", 0) as listening:
        assert listening.getsockname()[1] > 0
        assert not listening.getblocking()
        with pytest.raises(OSError, match="in use"):
            bind_tcp("127.0.0.1", listening.getsockname()[1])
        assert not Listener("imap", listening).is_unix


@pytest.mark.parametrize("mode", [0o600, 0o660, 0o666])
def test_unix_sockets_have_just_their_mode(tmp_path: Path, mode: int) -> None:
    with bind_unix(tmp_path / "s", mode) as listening:
        assert stat.S_IMODE((tmp_path / "s").stat().st_mode) == mode
        assert Listener("lmtp", listening).is_unix


def test_a_stale_socket_is_replaced_and_a_live_one_is_not(tmp_path: Path) -> None:
    bind_unix(tmp_path / "s").close()
    with bind_unix(tmp_path / "s"), pytest.raises(OSError, match="another process listens"):
        bind_unix(tmp_path / "s")


def test_a_file_in_the_way_stays(tmp_path: Path) -> None:
    (tmp_path / "s").write_text("mine")
    with pytest.raises(OSError, match="not a socket"):
        bind_unix(tmp_path / "s")
    assert (tmp_path / "s").read_text() == "mine"


def test_a_path_too_long_says_so(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="longer than 107"):
        bind_unix(tmp_path / ("x" * 108))


_CHILD = """
import asyncio
import contextlib
import os
from preau.daemon.listener import inherited
found = inherited()
for name in sorted(found):
    print(name, *[s.getsockname()[1] for s in found[name]], *[os.get_inheritable(s.fileno()) for s in found[name]])
print(sorted(v for v in os.environ if v.startswith("LISTEN_")), inherited())
"""


def test_a_supervisor_hands_sockets_to_its_child() -> None:
    with bind_tcp("127.0.0.1", 0) as a, bind_tcp("127.0.0.1", 0) as b, bind_tcp("127.0.0.1", 0) as c:
        variables, numbers = handed_over([("imap", a), ("imap", b), ("imaps", c)])
        child = subprocess.run(
            [sys.executable, "-P", "-c", _CHILD],
            env={**os.environ, **variables},
            pass_fds=numbers,
            capture_output=True,
            text=True,
            check=True,
        )
        ports = [s.getsockname()[1] for s in (a, b, c)]
    assert child.stdout.splitlines() == [
        f"imap {ports[0]} {ports[1]} False False",
        f"imaps {ports[2]} False",
        "[] {}",
    ]


def test_systemd_hands_over_from_descriptor_three() -> None:
    # A child of a child, so that descriptor 3 is free to be what systemd makes it.
    program = f"""
import os, socket
s = socket.create_server(("127.0.0.1", 0))
os.dup2(s.fileno(), 3)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1", LISTEN_FDNAMES="https")
{_CHILD}
"""
    child = subprocess.run([sys.executable, "-P", "-c", program], capture_output=True, text=True, check=True, close_fds=True)
    assert child.stdout.startswith("https ")


@pytest.mark.parametrize(
    "variables",
    [
        pytest.param({}, id="none"),
        pytest.param({"LISTEN_PID": "1", "LISTEN_FDS": "1"}, id="for another process"),
        pytest.param({"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "many"}, id="no number"),
        pytest.param({"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "-1"}, id="negative"),
        pytest.param({"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "2", "LISTEN_FDNUMBERS": "7"}, id="numbers do not fit"),
    ],
)
def test_variables_not_meant_for_us_give_nothing(variables: dict[str, str]) -> None:
    if variables.get("LISTEN_PID") == "1" and os.getppid() == 1:
        pytest.skip("our parent is process 1")
    assert inherited(variables) == {}
    assert variables == {}


def test_names_with_a_colon_are_refused() -> None:
    with socket.socket() as one, pytest.raises(ValueError, match="not a name"):
        handed_over([("a:b", one)])


def test_a_storm_of_connections_leaves_others_their_turns() -> None:
    """None is turned away by the kernel, and a few are accepted in a row."""
    made: list[int] = []
    turn = 0

    class Peer(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            made.append(turn)

    async def storm() -> None:
        nonlocal turn
        listener = Listener("x", bind_tcp("127.0.0.1", 0))
        async with await accept_on(listener, Peer):
            with contextlib.ExitStack() as stack:
                for _ in range(200):
                    stack.enter_context(socket.create_connection(listener.socket.getsockname(), 5))
                while len(made) < 200:
                    turn += 1
                    await asyncio.sleep(0)

    asyncio.run(storm())
    assert max(made.count(each) for each in set(made)) <= 16
