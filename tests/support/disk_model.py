"""A disk that forgets: the steps of a recorded process applied to files in memory, with what a flush has made certain.

Theory of operation. Every file and directory has two states: as the process sees it, and as it is known to be on the disk.
A write, a truncation or a change of a name is pending until a flush that *began* after it has ended: fsync or fdatasync of
the file for its octets and size, fsync of the directory for its names. Flushing a file says nothing of its name, and
flushing a directory says nothing of the octets in its files. Both are less than what ext4, XFS and btrfs do; a rename or
link is one step in both of its directories, as on all of them.

At any moment three things can be made of it:

* `killed`: what the process saw. SIGKILL, or a crash of the program: the kernel goes on.
* `cut`: what is certain, and nothing else. The power fails and everything in memory was there only.
* `torn`: what is certain, and of the pending by chance this and not that, whatever its order: for each piece of 4096 (or
  512) octets of a file any of the states it was in since the flush, for its length likewise, and any choice of the changes
  of names that each name's own history allows.

Owns the three. Never runs anything.
"""

import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from disk_log import Call

MODELS = ("killed", "cut", "torn")


@dataclass(slots=True, eq=False)
class File:
    """A file: its octets as seen, as certain, and what was done to it in between (number, offset, data | None, length)."""

    data: bytearray = field(default_factory=bytearray)
    certain: bytes = b""
    pending: list[tuple[int, int, bytes | None]] = field(default_factory=list)

    def change(self, number: int, offset: int, data: bytes | None) -> None:
        """Write at an offset, or cut off (or extend) there."""
        _apply(self.data, offset, data)
        self.pending.append((number, offset, data))

    def flush(self, until: int) -> None:
        """Everything up to a step is certain."""
        if not self.pending or self.pending[0][0] > until:
            return
        certain = bytearray(self.certain)
        while self.pending and self.pending[0][0] <= until:
            _, offset, data = self.pending.pop(0)
            _apply(certain, offset, data)
        self.certain = bytes(certain)

    def torn(self, random: Random) -> bytes:
        """Any of what can be on the disk."""
        if not self.pending:
            return self.certain
        piece = random.choice((512, 4096))
        now = bytearray(self.certain)
        lengths = [len(now)]
        pieces: dict[int, list[bytes]] = {}
        # What is cut off goes with its length, as one: the blocks of before and the length of afterwards are never together.
        cuts = [position for position, (_, _, data) in enumerate(self.pending) if data is None]
        for _, offset, data in self.pending[: random.choice([*cuts, len(self.pending)])]:
            if data is None:
                _apply(now, offset, None)
                lengths = [len(now)]
                pieces = {number: states for number, states in pieces.items() if number < offset // piece}
                pieces[offset // piece] = [bytes(now[offset // piece * piece :])]
                continue
            touched = range(min(offset, len(now)) // piece, (offset + len(data)) // piece + 1)
            for number in touched:
                pieces.setdefault(number, [bytes(now[number * piece : (number + 1) * piece])])
            _apply(now, offset, data)
            for number in touched:
                pieces[number].append(bytes(now[number * piece : (number + 1) * piece]))
            lengths.append(len(now))
        length = random.choice(lengths)
        result = now[:length].ljust(length, b"\0")
        for number, states in pieces.items():
            at = number * piece
            if at < length:
                chosen = random.choice(states)[: length - at]
                room = min(piece, length - at)
                result[at : at + room] = chosen.ljust(room, b"\0")
        return bytes(result)


def _apply(octets: bytearray, offset: int, data: bytes | None) -> None:
    if data is None:
        del octets[offset:]
        octets.extend(bytes(offset - len(octets)))
        return
    if offset > len(octets):
        octets.extend(bytes(offset - len(octets)))
    octets[offset : offset + len(data)] = data


@dataclass(slots=True, eq=False)
class Folder:
    """A directory: its names as seen and as certain."""

    names: dict[str, "File | Folder"] = field(default_factory=dict)
    certain: dict[str, "File | Folder"] = field(default_factory=dict)


Names = dict[str, File | Folder]
Name = tuple[Folder, str]
State = dict[str, tuple[int, bytes] | None]
"""Path below the root -> (which file, octets), None for a directory. Two names of one file say the same number."""


@dataclass(slots=True, eq=False)
class Naming:
    """A change of names that is not certain yet: all of its parts, or none."""

    number: int
    parts: tuple[tuple[Folder, str, "File | Folder | None"], ...]

    @property
    def keys(self) -> set[tuple[int, str]]:
        """The names it changes."""
        return {(id(folder), name) for folder, name, _ in self.parts}


class Disk:
    """The files below one folder, and what is certain of them."""

    def __init__(self, root: Path) -> None:
        """As they are now, all of it certain. `root`: the same path as the recorded process used."""
        self.root = os.fsencode(root)
        self.top = _load(root)
        self.told: list[bytes] = []
        """What was written to `<root>.told`, piece by piece: the process's word on what it has acknowledged."""
        self._files: dict[int, File | Folder | str] = {}  # by descriptor
        self._appending: set[int] = set()
        self._offsets: dict[int, int] = {}
        self._naming: list[Naming] = []
        self._number = 0
        self._begun: dict[int, int] = {}

    # -- steps

    def step(self, call: Call) -> bool:
        """Apply a call; whether it was one that changes something here (or flushes it, or told something)."""
        self._number += 1
        handler = getattr(self, f"_{call.name.rstrip('?')}", None)
        if call.name.endswith("?"):
            self._begun[call.thread] = self._number
            return False
        if handler is not None:
            return bool(handler(call))
        descriptors = {int(word) for word in call.words if word.isdigit()}
        assert not descriptors & self._files.keys(), f"not modelled: {call.name} {call.words}"
        return False

    def _resolve(self, word: str, path: bytes) -> Name | None:
        """The directory and the last name of a path, when it lies below the root."""
        if path.startswith(b"/"):
            if not path.startswith(self.root + b"/"):
                return None
            here: File | Folder | None = self.top
            path = path[len(self.root) + 1 :]
        elif word.isdigit():
            there = self._files.get(int(word))
            here = there if isinstance(there, Folder) else None
        else:
            return None
        *parents, last = os.fsdecode(path).rstrip("/").split("/")
        for name in parents:
            here = here.names.get(name) if isinstance(here, Folder) else None
        return (here, last) if isinstance(here, Folder) and not last.endswith("-shm") else None

    def _name(self, *parts: tuple[Folder, str, "File | Folder | None"]) -> bool:
        for folder, name, node in parts:
            if node is None:
                folder.names.pop(name, None)
            else:
                folder.names[name] = node
        self._naming.append(Naming(self._number, parts))
        return True

    def _openat(self, call: Call) -> bool:
        return self._open_at(call, call.words[0], call.strings[0], call.words[2])

    def _open(self, call: Call) -> bool:
        return self._open_at(call, "AT_FDCWD", call.strings[0], call.words[1])

    def _open_at(self, call: Call, word: str, path: bytes, flags: str) -> bool:
        self._forget(call.result)
        if path == self.root + b".told":
            self._files[call.result] = "told"
            return False
        if path == self.root:
            self._files[call.result] = self.top
            return False
        place = self._resolve(word, path)
        if place is None:
            return False
        folder, name = place
        node = folder.names.get(name)
        changed = False
        if name in ("", "."):
            node = folder
        if node is None:
            if "O_CREAT" not in flags:
                return False
            node = File()
            changed = self._name((folder, name, node))
        if "O_TRUNC" in flags and isinstance(node, File) and node.data:
            node.change(self._number, 0, None)
            changed = True
        self._files[call.result] = node
        self._offsets[call.result] = 0
        if "O_APPEND" in flags:
            self._appending.add(call.result)
        return changed

    def _forget(self, descriptor: int) -> None:
        self._files.pop(descriptor, None)
        self._offsets.pop(descriptor, None)
        self._appending.discard(descriptor)

    def _close(self, call: Call) -> bool:
        self._forget(int(call.words[0]))
        return False

    def _dup(self, call: Call) -> bool:
        old = int(call.words[0])
        self._forget(call.result)
        if old in self._files:
            # Two offsets where the kernel has one: ours writes through one of the two only.
            self._files[call.result] = self._files[old]
            self._offsets[call.result] = self._offsets.get(old, 0)
        return False

    _dup2 = _dup3 = _dup

    def _fcntl(self, call: Call) -> bool:
        return self._dup(call) if call.words[1].startswith("F_DUPFD") else False

    def _file(self, word: str) -> File | None:
        node = self._files.get(int(word)) if word.isdigit() else None
        return node if isinstance(node, File) else None

    def _write(self, call: Call) -> bool:
        descriptor = int(call.words[0])
        data = call.strings[0][: call.result] if call.strings else b""
        if self._files.get(descriptor) == "told":
            self.told.append(data)
            return True
        file = self._file(call.words[0])
        if file is None or not data:
            return False
        offset = len(file.data) if descriptor in self._appending else self._offsets[descriptor]
        self._offsets[descriptor] = offset + len(data)
        file.change(self._number, offset, data)
        return True

    def _pwrite64(self, call: Call) -> bool:
        file = self._file(call.words[0])
        if file is None:
            return False
        file.change(self._number, int(call.words[3]), call.strings[0][: call.result])
        return True

    def _ftruncate(self, call: Call) -> bool:
        file = self._file(call.words[0])
        if file is None or len(file.data) == int(call.words[1]):
            return False
        file.change(self._number, int(call.words[1]), None)
        return True

    def _fsync(self, call: Call) -> bool:
        node = self._files.get(int(call.words[0]))
        until = self._begun.pop(call.thread)
        if isinstance(node, File):
            node.flush(until)
            return True
        if isinstance(node, Folder):
            self._flush_names(node, until)
            return True
        return False

    _fdatasync = _fsync

    def _flush_names(self, folder: Folder, until: int) -> None:
        """Make changes of a directory's names certain, and first whatever their other halves build upon."""
        wanted: set[tuple[int, str]] = set()
        chosen = []
        for naming in reversed(self._naming):
            keys = naming.keys
            if (naming.number <= until and any(each is folder for each, _, _ in naming.parts)) or keys & wanted:
                wanted |= keys
                chosen.append(naming)
        for naming in reversed(chosen):
            _make_certain(naming)
            self._naming.remove(naming)

    def _mkdirat(self, call: Call) -> bool:
        return self._make(call.words[0], call.strings[0])

    def _mkdir(self, call: Call) -> bool:
        return self._make("AT_FDCWD", call.strings[0])

    def _make(self, word: str, path: bytes) -> bool:
        place = self._resolve(word, path)
        return place is not None and self._name((*place, Folder()))

    def _unlinkat(self, call: Call) -> bool:
        return self._remove(call.words[0], call.strings[0])

    def _unlink(self, call: Call) -> bool:
        return self._remove("AT_FDCWD", call.strings[0])

    _rmdir = _unlink

    def _remove(self, word: str, path: bytes) -> bool:
        place = self._resolve(word, path)
        return place is not None and self._name((*place, None))

    def _renameat(self, call: Call) -> bool:
        source = self._resolve(call.words[0], call.strings[0])
        target = self._resolve(call.words[2], call.strings[1])
        return self._rename_to(source, target)

    _renameat2 = _renameat

    def _rename(self, call: Call) -> bool:
        return self._rename_to(self._resolve("", call.strings[0]), self._resolve("", call.strings[1]))

    def _rename_to(self, source: Name | None, target: Name | None) -> bool:
        assert (source is None) == (target is None), "renamed into or out of the folder"
        if source is None or target is None:
            return False
        return self._name((*source, None), (*target, source[0].names[source[1]]))

    def _linkat(self, call: Call) -> bool:
        source = self._resolve(call.words[0], call.strings[0])
        target = self._resolve(call.words[2], call.strings[1])
        assert (source is None) == (target is None), "linked into or out of the folder"
        return source is not None and target is not None and self._name((*target, source[0].names[source[1]]))

    def _link(self, call: Call) -> bool:
        source, target = self._resolve("", call.strings[0]), self._resolve("", call.strings[1])
        return source is not None and target is not None and self._name((*target, source[0].names[source[1]]))

    def _mmap(self, call: Call) -> bool:
        shared = "MAP_SHARED" in call.words[3] and "PROT_WRITE" in call.words[2]
        assert not (shared and self._file(call.words[4])), "a file is written through a mapping"
        return False

    # -- what is left

    def state(self, model: str, random: Random | None = None) -> State:
        """What a model leaves."""
        if model == "killed":
            return dict(_walk(self.top, "", lambda folder: folder.names, lambda file: bytes(file.data)))
        if model == "cut":
            return dict(_walk(self.top, "", lambda folder: folder.certain, lambda file: file.certain))
        assert random is not None
        names = self._torn_names(random)
        contents: dict[int, bytes] = {}  # two names of a file show the same

        def torn(file: File) -> bytes:
            if id(file) not in contents:
                contents[id(file)] = file.torn(random)
            return contents[id(file)]

        return dict(_walk(self.top, "", lambda folder: names.get(id(folder), folder.certain), torn))

    def _torn_names(self, random: Random) -> dict[int, Names]:
        names: dict[int, Names] = {}
        lost: set[tuple[int, str]] = set()
        for naming in self._naming:
            if naming.keys & lost or random.random() < 0.5:
                lost |= naming.keys
                continue
            for folder, name, node in naming.parts:
                there = names.setdefault(id(folder), dict(folder.certain))
                if node is None:
                    there.pop(name, None)
                else:
                    there[name] = node
        return names


def _make_certain(naming: Naming) -> None:
    for folder, name, node in naming.parts:
        if node is None:
            folder.certain.pop(name, None)
        else:
            folder.certain[name] = node


def _walk(
    folder: Folder, path: str, names: Callable[[Folder], Names], octets: Callable[[File], bytes]
) -> Iterator[tuple[str, tuple[int, bytes] | None]]:
    for name, node in names(folder).items():
        below = f"{path}{name}"
        if isinstance(node, Folder):
            yield below, None
            yield from _walk(node, f"{below}/", names, octets)
        else:
            yield below, (id(node), octets(node))


def _load(path: Path) -> Folder:
    folder = Folder()
    for entry in os.scandir(path):
        if entry.is_dir(follow_symlinks=False):
            folder.names[entry.name] = _load(Path(entry.path))
        elif entry.is_file(follow_symlinks=False) and not entry.name.endswith("-shm"):
            data = Path(entry.path).read_bytes()
            folder.names[entry.name] = File(bytearray(data), data)
    folder.certain = dict(folder.names)
    return folder


def fingerprint(state: State) -> bytes:
    """The same for the same state."""
    digest = hashlib.blake2b(digest_size=16)
    for path in sorted(state):
        there = state[path]
        digest.update(f"{path}\0{-1 if there is None else len(there[1])}\0".encode("utf-8", "surrogateescape"))
        digest.update(b"" if there is None else there[1])
    return digest.digest()


def put_down(state: State, root: Path) -> None:
    """Make files of a state, in place of whatever is at `root`."""
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True)
    made: dict[int, Path] = {}
    for path in sorted(state):
        there = state[path]
        if there is None:
            (root / path).mkdir()
        elif there[0] in made:
            os.link(made[there[0]], root / path)
        else:
            (root / path).write_bytes(there[1])
            (root / path).chmod(0o600)  # keys are not taken from a file that others can read
            made[there[0]] = root / path
