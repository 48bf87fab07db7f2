"""preau.toml to Settings, or everything that is wrong with it at once.

Owns types, bounds, forms and the hints for misspelled keys. Never touches what the settings name: whether a folder or
a port is there is asked by `preau check`.
"""

import dataclasses
import difflib
import ipaddress
import re
import tomllib
import types
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints

from .key import Form, InvalidValue, KeyInfo, Unit, keys_of
from .lines import key_lines
from .schema import Settings
from .units import parse_duration, parse_size

MAX_FILE = 1_048_576  # octets
_DOMAIN = re.compile(r"(?=.{1,253}$)([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*", re.IGNORECASE)
_HOST_PORT = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^:\[\]\s]+):([0-9]{1,5})")
_URL = re.compile(r"https://[!-~]{1,2000}")


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong, and where."""

    file: Path
    line: int  # 0: the file as a whole
    text: str

    def __str__(self) -> str:
        """`preau.toml:12: ...` as editors and people read it."""
        return f"{self.file}:{self.line}: {self.text}" if self.line else f"{self.file}: {self.text}"


class InvalidSettings(Exception):
    """The settings cannot be used; `problems` has every reason."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        """Keep them all; the text has one a line."""
        super().__init__("\n".join(map(str, problems)))
        self.problems = tuple(problems)


def sections() -> Mapping[str, type[Any]]:
    """Section name -> its dataclass, in the order of the schema."""
    return {
        name: cls for name, cls in get_type_hints(Settings).items() if isinstance(cls, type) and dataclasses.is_dataclass(cls)
    }


def load_settings(file: Path) -> Settings:
    """Read and check the file. Raise InvalidSettings."""
    try:
        with file.open("rb") as stream:
            data = stream.read(MAX_FILE + 1)
    except OSError as error:
        raise InvalidSettings([Problem(file, 0, error.strerror or "cannot be read")]) from None
    if len(data) > MAX_FILE:
        raise InvalidSettings([Problem(file, 0, f"larger than {MAX_FILE} octets")])
    return parse_settings(data, file)


def parse_settings(data: bytes, file: Path) -> Settings:
    """Settings from the octets of a file called `file`. Raise InvalidSettings."""
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise InvalidSettings([Problem(file, data[: error.start].count(b"\n") + 1, "not UTF-8")]) from None
    try:
        tree = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        message = str(error)
        place = re.search(r" \(at (?:line ([0-9]+), column [0-9]+|end of document)\)$", message)
        line = int(place[1]) if place and place[1] else text.count("\n") + 1
        raise InvalidSettings([Problem(file, line, message[: place.start()] if place else message)]) from None
    except RecursionError:
        raise InvalidSettings([Problem(file, 0, "nested too deeply")]) from None
    loader = _Loader(file.absolute(), key_lines(text))
    values = {name: loader.section(name, cls, tree.pop(name, {})) for name, cls in sections().items()}
    for name, value in tree.items():
        if isinstance(value, dict):
            loader.complain(name, "", f"no section [{name}]{_nearest(name, sections())}")
        else:
            loader.complain("", name, f"{name} stands in no section")
    if loader.problems:
        raise InvalidSettings(sorted(loader.problems, key=lambda problem: problem.line))
    return Settings(file=file.absolute(), **values)


class _Loader:
    """Checks one file, collecting problems."""

    def __init__(self, file: Path, lines: Mapping[tuple[str, str], int]) -> None:
        self.file = file
        self.lines = lines
        self.problems: list[Problem] = []

    def complain(self, section: str, key: str, text: str) -> None:
        line = self.lines.get((section, key)) or self.lines.get((section, ""), 0)
        self.problems.append(Problem(self.file, line, text))

    def section(self, name: str, cls: type[Any], table: object) -> Any:
        if not isinstance(table, dict):
            self.complain("", name, f"{name} is a section: write [{name}]")
            return None
        known = {info.name: info for info in keys_of(name, cls)}
        values: dict[str, Any] = {}
        before = len(self.problems)
        for key, value in table.items():
            info = known.get(key)
            if info is None:
                self.complain(name, key, f"no key {key} in [{name}]{self._suggest(name, key, known)}")
                continue
            try:
                values[key] = self.value(info, value)
            except InvalidValue as error:
                self.complain(name, key, f"{key}: {error}")
        for info in known.values():
            if info.name not in table:
                if info.required:
                    self.complain(name, "", f"[{name}] needs {info.name}: {info.meaning}")
                else:
                    values[info.name] = self._absolute(info, info.default)
        return cls(**values) if len(self.problems) == before else None

    def _suggest(self, section: str, key: str, known: Mapping[str, KeyInfo]) -> str:
        near = _nearest(key, known)
        if near:
            return near
        elsewhere = [name for name, cls in sections().items() if any(info.name == key for info in keys_of(name, cls))]
        return f"; it belongs to [{elsewhere[0]}]" if elsewhere else ""

    def _absolute(self, info: KeyInfo, value: Any) -> Any:
        return self.file.parent / value if info.form is Form.PATH and isinstance(value, Path) and value.parts else value

    def value(self, info: KeyInfo, value: object) -> Any:
        """Check one value. Raise InvalidValue with a sentence about it."""
        kind = info.type
        if get_origin(kind) in (Union, types.UnionType):
            kind = next(option for option in get_args(kind) if option is not types.NoneType)
        if get_origin(kind) is Mapping:
            return self._texts(info, value)
        if get_origin(kind) is tuple:
            inner = get_args(kind)[0]
            items = value if isinstance(value, list) else [value]
            if info.filled and not items:
                raise InvalidValue("say one at least")
            return tuple(self._scalar(info, inner, item) for item in items)
        return self._scalar(info, kind, value)

    def _texts(self, info: KeyInfo, value: object) -> Mapping[str, str]:
        """A table of domains and texts."""
        if not isinstance(value, dict):
            raise InvalidValue('say a table: {"example.org" = "..."}')
        for name in value:
            _check_form(Form.DOMAIN, name.removeprefix("."))
        return {name.lower(): self._scalar(info, str, each) for name, each in value.items()}

    def _table(self, info: KeyInfo, cls: type[Any], value: object) -> Any:
        """An inline table. A field that takes the rest gets what no other field does, as it stands."""
        if not isinstance(value, dict):
            raise InvalidValue("say a table: {...}")
        known = {each.name: each for each in keys_of(info.name, cls)}
        rest = next((item.name for item in dataclasses.fields(cls) if item.metadata.get("rest")), None)
        found = {name: self.value(known[name], each) for name, each in value.items() if name in known and name != rest}
        left = {name: each for name, each in value.items() if name not in found}
        if left and rest is None:
            raise InvalidValue(f"no key {next(iter(left))}{_nearest(next(iter(left)), known)}")
        for each in known.values():
            if each.required and each.name not in found:
                raise InvalidValue(f"a table needs {each.name}: {each.meaning}")
        return cls(**found, **({rest: left} if rest else {}))

    def _scalar(self, info: KeyInfo, kind: type[Any], value: object) -> Any:
        if kind is bool:
            if not isinstance(value, bool):
                raise InvalidValue("say true or false")
            return value
        if dataclasses.is_dataclass(kind):
            return self._table(info, kind, value)
        if kind in (int, float):
            return _number(info, kind, value)
        if not isinstance(value, str):
            raise InvalidValue("say it as text in quotes")
        if any(ord(character) < 32 or ord(character) == 127 for character in value):
            raise InvalidValue("control characters have no place here")
        if info.choices and value not in info.choices:
            raise InvalidValue(f"{value!r} is not one of {', '.join(info.choices)}{_nearest(value, info.choices)}")
        if kind is Path:
            if not value:
                raise InvalidValue("say a path")
            return self._absolute(info, Path(value).expanduser())
        if value:
            _check_form(info.form, value)
        return value


def _number(info: KeyInfo, kind: type[Any], value: object) -> Any:
    if isinstance(value, str) and info.unit is Unit.OCTETS:
        value = parse_size(value)
    elif isinstance(value, str) and info.unit is Unit.SECONDS:
        value = parse_duration(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or (kind is int and not isinstance(value, int)):
        raise InvalidValue("say a whole number" if kind is int else "say a number")
    unit = f" {info.unit.value}" if info.unit.value else ""
    if info.minimum is not None and not value >= info.minimum:
        raise InvalidValue(f"{value} is less than {info.minimum}{unit}")
    if info.maximum is not None and not value <= info.maximum:
        raise InvalidValue(f"{value} is more than {info.maximum}{unit}")
    return kind(value)


def _check_form(form: Form, value: str) -> None:
    match form:
        case Form.LISTEN:
            parse_listen(value)
        case Form.HOST_PORT:
            match = _HOST_PORT.fullmatch(value)
            if match is None or not 1 <= int(match[2]) <= 65_535:
                raise InvalidValue(f"{value!r} is not host:port, like mail.example.org:25 or [2001:db8::1]:25")
        case Form.ADDRESS:
            try:
                ipaddress.ip_address(value)
            except ValueError:
                raise InvalidValue(f"{value!r} is not an IP address") from None
        case Form.NETWORK:
            try:
                ipaddress.ip_network(value)
            except ValueError as error:
                raise InvalidValue(f"not a network like 192.0.2.0/24: {error}") from None
        case Form.DOMAIN if not _DOMAIN.fullmatch(value):
            raise InvalidValue(f"{value!r} is not a domain name (write internationalised ones as xn--)")
        case Form.ASCII if not (value.isascii() and value.isprintable()):
            raise InvalidValue("printable ASCII only")
        case Form.URL if not _URL.fullmatch(value):
            raise InvalidValue(f"{value!r} is not an https:// address")


def parse_listen(value: str) -> tuple[str, int]:
    """(host, port) of "192.0.2.1:993" or "[2001:db8::1]:993"; host is an IP address or localhost. Raise InvalidValue."""
    match = _HOST_PORT.fullmatch(value)
    if match is None or not 1 <= int(match[2]) <= 65_535:
        raise InvalidValue(f"{value!r} is not address:port, like 127.0.0.1:993 or [::1]:993")
    host = match[1].strip("[]")
    if host == "localhost":
        return "127.0.0.1", int(match[2])
    try:
        ipaddress.ip_address(host)
    except ValueError:
        raise InvalidValue(f"{host!r} is not an IP address to listen on") from None
    return host, int(match[2])


def _nearest(word: str, known: Iterator[str] | Sequence[str] | Mapping[str, Any]) -> str:
    near = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"; did you mean {near[0]}?" if near else ""
