"""What a process did to the files below one folder, call by call: recorded with strace, read into steps.

strace sees Python's calls and SQLite's alike, in all threads, in the order in which the kernel finished them, with every
octet that was written. Shared memory of SQLite (`-shm`) is left out: it is written through a mapping, and the first process
that opens the database afterwards makes it anew. Any other shared writable mapping of a file is refused, so that nothing
can be written past the log.

Owns strace's command line and its text. What a disk makes of the steps is in disk_model.py.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

_CALLS = (
    "open,openat,creat,close,dup,dup2,dup3,fcntl,write,pwrite64,writev,pwritev,pwritev2,sendfile,copy_file_range,splice,"
    "fsync,fdatasync,sync_file_range,ftruncate,truncate,fallocate,rename,renameat,renameat2,link,linkat,unlink,unlinkat,"
    "mkdir,mkdirat,rmdir,symlink,symlinkat,mmap"
)
_LINE = re.compile(r"(\d+)\s+(.*)\Z", re.DOTALL)
_CALL = re.compile(r"(\w+)\((.*)\)\s+= (-?\d+|0x[0-9a-f]+|\?)", re.DOTALL)
_RESUMED = re.compile(r"<\.\.\. (\w+) resumed>(.*)\Z", re.DOTALL)
_STRING = re.compile(r'"((?:\\x[0-9a-f]{2})*)"(\.\.\.)?')
_UNFINISHED = "<unfinished ...>"


@dataclass(frozen=True, slots=True)
class Call:
    """One system call that succeeded, or the beginning of a flush (`name` with `?` behind it).

    `strings`: its paths and data.  `words`: its arguments, strings replaced by `$`.  `result`: what it returned.
    """

    thread: int
    name: str
    words: tuple[str, ...]
    strings: tuple[bytes, ...]
    result: int


def why_not() -> str:
    """Why nothing can be recorded here; "" when it can."""
    if shutil.which("strace") is None:
        return "strace is not installed"
    done = subprocess.run(["strace", "-o", os.devnull, "true"], capture_output=True, check=False)
    return "" if done.returncode == 0 else "strace may not trace here"


@cache
def _why_not() -> str:
    return why_not()


def needs_strace() -> None:
    """Skip the test where nothing can be recorded."""
    if reason := _why_not():
        pytest.skip(reason)


def record(command: Sequence[str], log: Path, *, env: Mapping[str, str] | None = None) -> list[Call]:
    """Run `command` (absolute paths only) to its end, which must be a good one; what it called."""
    options = ["-f", "-xx", "-s", "67108864", "--seccomp-bpf", "-e", f"trace={_CALLS}", "-e", "signal=none"]
    done = subprocess.run(
        ["strace", *options, "-o", str(log), *command],
        env={**os.environ, **(env or {})},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        cwd="/",
    )
    assert done.returncode == 0, done.stderr[-4000:]
    try:
        return list(read_log(log))
    finally:
        log.unlink()


def record_python(script: Path, *arguments: str, log: Path) -> list[Call]:
    """Record a script of tests/support."""
    return record([sys.executable, "-P", str(script), *arguments], log, env={"PYTHONPATH": str(script.parent)})


def read_log(log: Path) -> Iterator[Call]:
    """The calls in strace's output, in the order in which they ended."""
    begun: dict[int, str] = {}
    with log.open(encoding="ascii", errors="replace") as lines:
        for line in lines:
            found = _LINE.match(line.rstrip("\n"))
            if found is None:
                continue
            thread, text = int(found[1]), found[2]
            if text.startswith(("+++", "---")):
                continue
            if text.endswith(_UNFINISHED):
                begun[thread] = text = text.removesuffix(_UNFINISHED)
                name, _, rest = text.partition("(")
                if name in ("fsync", "fdatasync"):
                    yield Call(thread, name + "?", _words(rest), (), 0)
                elif name == "close":  # the number is free from here on: another thread's file may have it before this ends
                    yield Call(thread, name, _words(rest), (), 0)
                continue
            if resumed := _RESUMED.match(text):
                text = begun.pop(thread) + resumed[2]
                whole = False
                if text.startswith("close("):
                    continue
            else:
                whole = True
            call = _parse(thread, text)
            if call is None:
                continue
            if whole and call.name in ("fsync", "fdatasync"):
                yield Call(thread, call.name + "?", call.words, (), 0)
            yield call


def _parse(thread: int, text: str) -> Call | None:
    found = _CALL.match(text)
    if found is None:
        return None  # it did not return: the process ended in it
    name, arguments, answer = found.groups()
    if answer.startswith("-") or answer == "?":
        return None
    strings = []
    for each in _STRING.finditer(arguments):
        assert not each[2], "strace cut a string"
        strings.append(bytes.fromhex(each[1].replace("\\x", "")))
    return Call(thread, name, _words(_STRING.sub("$", arguments)), tuple(strings), int(answer, 0))


def _words(arguments: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in arguments.split(","))
