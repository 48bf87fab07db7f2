"""A card told in the other version: 3.0 (RFC 2426) to 4.0 (RFC 6350) and back, without losing a property.

What both know is written in the way of each; what 3.0 has no word for keeps its own (any name is allowed there), or has
the one that clients use (X-ADDRESSBOOKSERVER-KIND, X-ANNIVERSARY, X-GENDER); what 4.0 gave up keeps its name. Groups, unknown
properties and unknown parameters stay, in their order. There and back is the same in meaning, if not in octets.

    3.0                               4.0
    PHOTO;ENCODING=b;TYPE=JPEG:...    PHOTO:data:image/jpeg;base64,...      LOGO, SOUND, KEY alike
    TYPE=PREF                         PREF=1
    BDAY:1996-04-15                   BDAY:19960415                         REV, X-ANNIVERSARY alike
    BDAY;X-APPLE-OMIT-YEAR=1604:...   BDAY:--0415
    LABEL beside its ADR              ADR;LABEL=
    GEO:48.8;2.3  TZ:-05:00           GEO:geo:48.8,2.3  TZ;VALUE=utc-offset:-0500
    TEL:+33 1                         TEL:+33 1, or TEL;VALUE=uri:tel:+331
"""

import binascii
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType

from .content_lines import Line, Parameter, escape, split_list, unescape
from .vcard import BINARY, Card, Version, types
from .vcard_values import (
    basic_date,
    basic_offset,
    data_of,
    data_uri,
    extended_date,
    extended_offset,
    geo_pair,
    geo_uri,
    is_uri,
    known_word,
    media_type,
    media_word,
    split_types,
    telephone,
    yearless,
)

_TO_4: Mapping[str, str] = MappingProxyType(
    {
        "X-ADDRESSBOOKSERVER-KIND": "KIND",
        "X-ADDRESSBOOKSERVER-MEMBER": "MEMBER",
        "X-ANNIVERSARY": "ANNIVERSARY",
        "X-GENDER": "GENDER",
    }
)
_TO_3: Mapping[str, str] = MappingProxyType({new: old for old, new in _TO_4.items()})
_ONCE = frozenset({"KIND", "ANNIVERSARY", "GENDER"})  # of which 4.0 has at most one
_DATES = frozenset({"BDAY", "ANNIVERSARY", "X-ANNIVERSARY"})
_OMIT = "X-APPLE-OMIT-YEAR"
_YEAR = "1604"  # what Apple puts there: a leap year

Parameters = tuple[Parameter, ...]


def convert(card: Card, version: Version) -> Card:
    """The card in `version`; itself when it is in that one already."""
    if card.version == version:
        return card
    lines = _to_4(card.lines) if version == "4.0" else _to_3(card.lines)
    return Card(version, card.uid, [Line("VERSION", version), *lines])


# ---------------------------------------------------------------------------------------------------------------------
# Parameters


def _without(parameters: Parameters, *names: str) -> Parameters:
    return tuple(parameter for parameter in parameters if parameter.name not in names)


def _value_is(line: Line, *kinds: str) -> bool:
    return (line.parameter("VALUE") or "").lower() in kinds


def _with_value(parameters: Parameters, kind: str) -> Parameters:
    return (Parameter("VALUE", (kind,)), *_without(parameters, "VALUE"))


def _with_types(parameters: Parameters, words: Iterable[str]) -> Parameters:
    """TYPE says these words, in one parameter where the first one stood."""
    kept = tuple(dict.fromkeys(words))
    made: list[Parameter] = []
    put = False
    for parameter in parameters:
        if parameter.name != "TYPE" and parameter.values:
            made.append(parameter)
        elif not put and kept:
            made.append(Parameter("TYPE", kept))
            put = True
    if kept and not put:
        made.append(Parameter("TYPE", kept))
    return tuple(made)


def _made(line: Line, *, name: str = "", value: str | None = None, parameters: Parameters | None = None) -> Line:
    """The line with something else in it; itself, octets and all, when nothing is."""
    new = Line(
        name or line.name,
        line.value if value is None else value,
        line.parameters if parameters is None else parameters,
        line.group,
    )
    return line if new[:4] == line[:4] else new


# ---------------------------------------------------------------------------------------------------------------------
# 3.0 to 4.0


def _to_4(lines: Iterable[Line]) -> list[Line]:
    made: list[Line] = []
    labels: list[tuple[int, Line]] = []
    seen: set[str] = set()
    for line in lines:
        if line.name == "VERSION" or (line.name == "N" and not line.value.strip("; ") and not line.parameters):
            continue  # an empty N is what 3.0 must have where there is no name
        line = _parameters_to_4(_decoded(line))
        name = _TO_4.get(line.name, line.name)
        if name in _ONCE:
            if name in seen:
                name = line.name  # the second one keeps the name that says nothing in 4.0
            seen.add(name)
        if name != line.name:
            line = _made(line, name=name)
        if line.name == "LABEL":
            labels.append((len(made), line))
        else:
            made.append(_VALUES_TO_4.get(line.name, _same)(line))
    _place_labels(made, labels)
    return _with_name(made)


_CODINGS = {Parameter(name, ()): Parameter("ENCODING", (name,)) for name in ("BASE64", "QUOTED-PRINTABLE")}


def _same(line: Line) -> Line:
    return line


def _decoded(line: Line) -> Line:
    """Without what 2.1 leaves behind in cards that say 3.0: quoted-printable, CHARSET."""
    if any(parameter in _CODINGS for parameter in line.parameters):
        line = _made(line, parameters=tuple(_CODINGS.get(parameter, parameter) for parameter in line.parameters))
    if (line.parameter("CHARSET") or "").upper() in ("UTF-8", "UTF8"):
        line = _made(line, parameters=_without(line.parameters, "CHARSET"))
    if (line.parameter("ENCODING") or "").upper() == "QUOTED-PRINTABLE":
        try:
            text = binascii.a2b_qp(line.value.encode()).decode()
        except UnicodeDecodeError:
            return line
        # Line ends within the value, which a content line cannot hold; what structures the value is not escaped.
        text = text.replace("\r\n", "\\n").replace("\n", "\\n").replace("\r", "\\n")
        return _made(line, value=text, parameters=_without(line.parameters, "ENCODING"))
    return line


def _parameters_to_4(line: Line) -> Line:
    words = list(types(line))
    bare = any(not parameter.values for parameter in line.parameters)
    preferred = any(word.upper() == "PREF" for word in words)
    if not preferred and not bare:
        return line
    parameters = _with_types(line.parameters, [word for word in words if word.upper() != "PREF"])
    if preferred:
        parameters = (*_without(parameters, "PREF"), Parameter("PREF", ("1",)))
    return _made(line, parameters=parameters)


def _binary_to_4(line: Line) -> Line:
    words = list(types(line))
    plain = _without(line.parameters, "ENCODING", "VALUE")
    if (line.parameter("ENCODING") or "").upper() in ("B", "BASE64"):
        word, others = split_types(words, known=False)
        uri = data_uri(media_type(line.name, word), line.value)
        return line if uri is None else _made(line, value=uri, parameters=_with_types(plain, others))
    if _value_is(line, "uri", "url") or (not _value_is(line, "text") and is_uri(line.value)):
        # TYPE tells the media type here too, where 4.0 has a parameter for it.
        word, others = split_types(words, known=True)
        if word and data_of(line.value) is None:
            media = Parameter("MEDIATYPE", (media_type(line.name, word),))
            return _made(line, parameters=(*_with_types(_without(plain, "MEDIATYPE"), others), media))
        return _made(line, parameters=plain)
    return _made(line, parameters=_with_value(line.parameters, "text"))


def _date_to_4(line: Line) -> Line:
    if _value_is(line, "text"):
        return line
    year = line.parameter(_OMIT)
    value = basic_date(line.value.strip())
    if value is None:
        # Less than a date, which 3.0 cannot say: it was told with its kind.
        known = _value_is(line, "date-and-or-time", "date", "date-time")
        return _made(line, parameters=_without(line.parameters, "VALUE")) if known else line
    parameters = _without(line.parameters, "VALUE")
    if year is not None and value.startswith(year) and len(value) == 8:
        return _made(line, value=f"--{value[4:]}", parameters=_without(parameters, _OMIT))
    return _made(line, value=value, parameters=parameters)


def _rev_to_4(line: Line) -> Line:
    value = basic_date(line.value.strip())
    if value is None:
        return line
    return _made(line, value=value, parameters=_without(line.parameters, "VALUE") if "T" in value else line.parameters)


def _tz_to_4(line: Line) -> Line:
    if _value_is(line, "text"):
        return _made(line, parameters=_without(line.parameters, "VALUE"))
    offset = basic_offset(line.value)
    return line if offset is None else _made(line, value=offset, parameters=_with_value(line.parameters, "utc-offset"))


def _geo_to_4(line: Line) -> Line:
    if _value_is(line, "uri"):
        return _made(line, parameters=_without(line.parameters, "VALUE"))
    uri = geo_uri(line.value)
    if uri is not None:
        return _made(line, value=uri)
    return line if is_uri(line.value) else _made(line, parameters=_with_value(line.parameters, "text"))


def _uid_to_4(line: Line) -> Line:
    # 4.0 takes a UID for a URI unless it is told otherwise.
    if is_uri(line.value):
        return _made(line, parameters=_without(line.parameters, "VALUE"))
    return _made(line, parameters=_with_value(line.parameters, "text"))


_VALUES_TO_4: Mapping[str, Callable[[Line], Line]] = {
    **dict.fromkeys(BINARY, _binary_to_4),
    **dict.fromkeys(_DATES, _date_to_4),
    "REV": _rev_to_4,
    "TZ": _tz_to_4,
    "GEO": _geo_to_4,
    "UID": _uid_to_4,
}


def _place_labels(lines: list[Line], labels: list[tuple[int, Line]]) -> None:
    """LABEL becomes a parameter of the address it stands behind, else of the first that is like it; else X-LABEL."""
    left: list[tuple[int, Line]] = []
    for at, label in labels:
        places = [at - 1, *range(len(lines))] if at else range(len(lines))
        place = next((place for place in places if _is_of(label, lines[place])), None)
        if place is None:
            left.append((at, _made(label, name="X-LABEL")))
        else:
            address = lines[place]
            parameters = (*address.parameters, Parameter("LABEL", (unescape(label.value),)))
            lines[place] = _made(address, parameters=parameters)
    for at, label in reversed(left):
        lines.insert(at, label)


def _is_of(label: Line, address: Line) -> bool:
    return (
        address.name == "ADR"
        and address.parameter("LABEL") is None
        and address.group.lower() == label.group.lower()
        and not _without(label.parameters, "TYPE", "PREF")
        and _kinds(label) == _kinds(address)
    )


def _kinds(line: Line) -> tuple[frozenset[str], str | None]:
    return frozenset(word.lower() for word in types(line)), line.parameter("PREF")


def _with_name(lines: list[Line]) -> list[Line]:
    """FN is a must of both versions; some phones write N alone."""
    return lines if any(line.name == "FN" for line in lines) else [Line("FN", _name_from(lines)), *lines]


def _name_from(lines: list[Line]) -> str:
    """What FN would say."""
    for name in ("N", "ORG", "NICKNAME", "EMAIL", "TEL"):
        for line in lines:
            if line.name == name:
                parts = split_list(line.value, ";")
                if name == "N":  # family, given, additional, prefixes, suffixes
                    order = [parts[place] for place in (3, 1, 2, 0, 4) if place < len(parts)]
                    parts = [" ".join(split_list(part)) for part in order]
                text = " ".join(unescape(part).strip() for part in parts if part.strip())
                if text:
                    return escape(text)
    return ""


# ---------------------------------------------------------------------------------------------------------------------
# 4.0 to 3.0


def _to_3(lines: Iterable[Line]) -> list[Line]:
    made: list[Line] = []
    named = False
    for line in lines:
        if line.name == "VERSION":
            continue
        named = named or line.name == "N"
        line = _parameters_to_3(_VALUES_TO_3.get(line.name, _same)(line))
        if line.name in _TO_3:
            line = _made(line, name=_TO_3[line.name])
        label = line.parameter("LABEL") if line.name == "ADR" else None
        if label is not None:
            line = _made(line, parameters=_without(line.parameters, "LABEL"))
            told = [Parameter("TYPE", tuple(types(line)))] if any(types(line)) else []
            made += [line, Line("LABEL", escape(label), tuple(told), line.group)]
            continue
        made.append(_made(line, name="LABEL") if line.name == "X-LABEL" else line)
    if not named:
        made.insert(0, Line("N", ";;;;"))
    return _with_name(made)


def _parameters_to_3(line: Line) -> Line:
    words = list(types(line))
    split = any("," in value for name, values in line.parameters if name == "TYPE" for value in values)
    preferred = line.parameter("PREF") == "1"
    if not (preferred or split):
        return line
    parameters = _without(line.parameters, "PREF") if preferred else line.parameters
    return _made(line, parameters=_with_types(parameters, [*words, "PREF"] if preferred else words))


def _binary_to_3(line: Line) -> Line:
    if _value_is(line, "text"):
        return line
    parameters = _without(line.parameters, "VALUE", "MEDIATYPE")
    words = list(types(line))
    if (held := data_of(line.value)) is not None:
        media, octets = held
        word = media_word(line.name, media)
        told = line.parameter("MEDIATYPE") in (None, media)
        if told and (word is not None or (media == "application/octet-stream" and not words)):
            parameters = _with_types(parameters, [word, *words] if word is not None else [])
            return _made(line, value=octets, parameters=(Parameter("ENCODING", ("b",)), *parameters))
        return _made(line, parameters=_with_value(line.parameters, "uri"))
    if (word := known_word(line.name, line.parameter("MEDIATYPE") or "")) is not None:
        return _made(line, parameters=_with_value(_with_types(parameters, [word, *words]), "uri"))
    return _made(line, parameters=_with_value(line.parameters, "uri"))


def _date_to_3(line: Line) -> Line:
    if _value_is(line, "text"):
        return line
    value = line.value.strip()
    parameters = _without(line.parameters, "VALUE")
    if (day := yearless(value)) is not None:
        return _made(line, value=f"{_YEAR}-{day}", parameters=(*_without(parameters, _OMIT), Parameter(_OMIT, (_YEAR,))))
    extended = extended_date(value)
    if extended is None:
        return _made(line, parameters=_with_value(parameters, "date-and-or-time"))
    return _made(line, value=extended, parameters=_with_value(parameters, "date-time") if "T" in extended else parameters)


def _rev_to_3(line: Line) -> Line:
    value = extended_date(line.value.strip())
    if value is None:
        return line
    parameters = _without(line.parameters, "VALUE")
    return _made(line, value=value, parameters=parameters if "T" in value else _with_value(parameters, "date"))


def _tz_to_3(line: Line) -> Line:
    if _value_is(line, "uri"):
        return line
    offset = extended_offset(line.value) if _value_is(line, "utc-offset") else None
    if offset is None:
        return _made(line, parameters=_with_value(line.parameters, "text"))
    return _made(line, value=offset, parameters=_without(line.parameters, "VALUE"))


def _geo_to_3(line: Line) -> Line:
    if _value_is(line, "text"):
        return line
    pair = geo_pair(line.value.strip())
    if pair is None:
        return _made(line, parameters=_with_value(line.parameters, "uri"))
    return _made(line, value=pair, parameters=_without(line.parameters, "VALUE"))


def _tel_to_3(line: Line) -> Line:
    number = telephone(line.value) if _value_is(line, "uri") else None
    return line if number is None else _made(line, value=number, parameters=_without(line.parameters, "VALUE"))


def _uid_to_3(line: Line) -> Line:
    return _made(line, parameters=_without(line.parameters, "VALUE"))


_VALUES_TO_3: Mapping[str, Callable[[Line], Line]] = {
    **dict.fromkeys(BINARY, _binary_to_3),
    **dict.fromkeys(_DATES, _date_to_3),
    "REV": _rev_to_3,
    "TZ": _tz_to_3,
    "GEO": _geo_to_3,
    "TEL": _tel_to_3,
    "UID": _uid_to_3,
}
