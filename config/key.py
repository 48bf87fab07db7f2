"""What a key of preau.toml is: its default, its meaning in one line, its unit and its bounds.

Owns the metadata that the loader checks by and the example file is made from. Never reads a file.
"""

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, TypeVar, get_type_hints

T = TypeVar("T")


class Unit(Enum):
    """What a number counts. OCTETS also takes "50 MiB", SECONDS also takes "10 min"."""

    NONE = ""
    OCTETS = "octets"
    SECONDS = "seconds"
    DAYS = "days"


class Form(Enum):
    """What a text must look like."""

    TEXT = "text"
    PATH = "path"  # relative ones start at the folder of the file
    LISTEN = "host:port or unix:path"
    HOST_PORT = "host:port to connect to"  # of a table: its values; its keys are domains
    ADDRESS = "IP address"
    NETWORK = "network"  # 192.0.2.0/24, 2001:db8::/32
    DOMAIN = "domain"
    URL = "https URL"
    ASCII = "printable ASCII"


class InvalidValue(ValueError):
    """A value that the key does not take; the text completes "KEY: ..."."""


@dataclass(frozen=True, slots=True)
class KeyInfo:
    """A key as the loader sees it."""

    section: str
    name: str
    type: Any  # bool, int, float, str, Path, X | None, tuple[str, ...], tuple[int, ...], Mapping[str, str]
    default: Any  # dataclasses.MISSING when the file must say it
    meaning: str
    unit: Unit
    form: Form
    minimum: float | None
    maximum: float | None
    choices: Sequence[str]
    filled: bool  # whether a list must have something in it

    @property
    def required(self) -> bool:
        """Whether the file must give it."""
        return self.default is dataclasses.MISSING


def key(
    default: T,
    meaning: str,
    *,
    unit: Unit = Unit.NONE,
    form: Form = Form.TEXT,
    minimum: float | None = None,
    maximum: float | None = None,
    choices: Sequence[str] = (),
    filled: bool = False,
) -> T:
    """Declare a key with its default. Numbers are at least 0 unless `minimum` says otherwise."""
    if minimum is None and isinstance(default, int | float) and not isinstance(default, bool):
        minimum = 0
    metadata = {"meaning": meaning, "unit": unit, "form": form, "minimum": minimum, "maximum": maximum, "choices": choices}
    metadata["filled"] = filled
    given: dict[str, Any] = {"default_factory": default.copy} if isinstance(default, dict) else {"default": default}
    made: Any = dataclasses.field(**given, metadata=metadata)
    return made  # type: ignore[no-any-return]  # a field descriptor stands for its default, as dataclasses.field itself does


def required(meaning: str, *, form: Form = Form.TEXT) -> Any:
    """Declare a key that the file must give."""
    return dataclasses.field(metadata={"meaning": meaning, "form": form})


def keys_of(section: str, cls: type[Any]) -> Iterator[KeyInfo]:
    """The keys of a section, in the order of the schema."""
    hints = get_type_hints(cls)
    for item in dataclasses.fields(cls):
        data = item.metadata
        yield KeyInfo(
            section=section,
            name=item.name,
            type=hints[item.name],
            default=item.default if item.default_factory is dataclasses.MISSING else item.default_factory(),
            meaning=data["meaning"],
            unit=data.get("unit", Unit.NONE),
            form=data.get("form", Form.TEXT),
            minimum=data.get("minimum"),
            maximum=data.get("maximum"),
            choices=data.get("choices", ()),
            filled=data.get("filled", False),
        )
