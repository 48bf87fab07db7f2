"""Knot, a real DNS server, on a loopback port with the zones a test gives it."""

import asyncio
import contextlib
import os
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import dns.asyncquery
import dns.exception
import dns.message

KNOTD = shutil.which("knotd", path="/usr/sbin:/usr/bin:/usr/local/sbin")

_CONFIGURATION = """
server:
    rundir: "{folder}"
    listen: {host}@{port}
    pidfile: "{folder}/knot.pid"
database:
    storage: "{folder}/db"
control:
    listen: "{folder}/knot.sock"
log:
  - target: stderr
    any: warning
template:
  - id: default
    storage: "{folder}"
    file: "%s.zone"
    zonefile-load: whole
    journal-content: none
zone:
{zones}
"""

_SOA = "$TTL 300\n@ SOA ns.invalid. hostmaster.invalid. 1 3600 600 86400 60\n@ NS ns.invalid.\n"


@contextlib.asynccontextmanager
async def serving(folder: Path, zones: Mapping[str, str]) -> AsyncIterator[tuple[str, int]]:
    """Serve zones (name -> records of a master file) for the length of a block; its address and port."""
    assert KNOTD is not None
    home = folder / "knot"
    (home / "db").mkdir(parents=True)
    for name, records in zones.items():
        (home / f"{name}.zone").write_text(_SOA + records)
    # An address of its own: on 127.0.0.1 any connection going out may take the port in between.
    host = f"127.53.{os.getpid() // 250 % 250 + 1}.{os.getpid() % 250 + 1}"
    with socket.socket() as probe:
        probe.bind((host, 0))
        port = probe.getsockname()[1]
    listed = "".join(f"  - domain: {name}.\n" for name in zones)
    (home / "knot.conf").write_text(_CONFIGURATION.format(folder=home, host=host, port=port, zones=listed))
    process = subprocess.Popen(  # noqa: ASYNC220 it goes on beside the loop
        [KNOTD, "-c", str(home / "knot.conf")], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, cwd=home
    )
    try:
        await _until_it_answers(process, host, port, next(iter(zones)))
        yield host, port
    finally:
        process.terminate()
        await asyncio.to_thread(process.wait, 10)
        assert process.stderr is not None
        process.stderr.close()


async def _until_it_answers(process: "subprocess.Popen[bytes]", host: str, port: int, zone: str) -> None:
    question = dns.message.make_query(f"{zone}.", "SOA")
    for _ in range(100):
        if process.poll() is not None:
            assert process.stderr is not None
            raise RuntimeError(f"knotd ended: {process.stderr.read().decode()}")
        with contextlib.suppress(dns.exception.Timeout, OSError):
            answer = await dns.asyncquery.udp(question, host, port=port, timeout=0.2)
            if answer.answer:
                return
        await asyncio.sleep(0.05)
    raise RuntimeError("knotd does not answer")
