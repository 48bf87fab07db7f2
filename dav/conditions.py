"""Conditional requests (RFC 9110 section 13, RFC 4918 section 10.4, RFC 6578 section 5).

Owns the grammar of the headers and the order in which they are weighed. What a resource is like comes in as State; the
time as its own seconds. No lock is ever held yet, so a lock token matches nothing. Pure.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime


class InvalidCondition(ValueError):
    """A header that cannot be read."""


@dataclass(frozen=True, slots=True)
class State:
    """What conditions are weighed against. `etag` without quotes, None when there is no representation."""

    exists: bool
    etag: str | None = None
    modified: int | None = None  # seconds since 1970
    tokens: frozenset[str] = frozenset()  # sync tokens of a collection


NOTHING = State(False)


@dataclass(frozen=True, slots=True)
class Condition:
    """One of a list: a state token or an entity tag (strong, without quotes)."""

    negated: bool
    token: str | None = None
    etag: str | None = None


@dataclass(frozen=True, slots=True)
class Tagged:
    """Lists of conditions for one resource: `tag` its URL as sent, None for the one asked. One list must hold."""

    tag: str | None
    lists: Sequence[Sequence[Condition]]


#   entity-tag = [ "W/" ] DQUOTE *etagc DQUOTE
_ETAG = re.compile(r'\s*(?:(W/)?"([^"]*)"|([^\s,"]+))\s*(?:,|$)')


def parse_etags(header: str) -> list[tuple[bool, str]] | None:
    """[(weak, tag)] of If-Match or If-None-Match; None for `*`. Raise InvalidCondition.

    A tag without quotes is taken as if it had them: some clients forget them.
    """
    if header.strip() == "*":
        return None
    tags = []
    at = 0
    while at < len(header):
        found = _ETAG.match(header, at)
        if found is None:
            if header[at:].strip(" ,\t"):
                raise InvalidCondition("entity tags")
            break
        tags.append((found[1] is not None, found[2] if found[2] is not None else found[3]))
        at = found.end()
    return tags


def parse_date(header: str) -> int | None:
    """An HTTP date in seconds, None when it is none: such a header is ignored (RFC 9110 section 13.1.3)."""
    try:
        return int(parsedate_to_datetime(header).timestamp())
    except (ValueError, TypeError, OverflowError):
        return None


#   If = 1*No-tag-list | 1*Tagged-list;  List = "(" 1*Condition ")";  Condition = ["Not"] (State-token | "[" entity-tag "]")
_IF = re.compile(r'\s*(?:<([^<>]*)>|\[\s*(W/)?"([^"]*)"\s*\]|(\()|(\))|(Not)(?=[\s<\[]))', re.IGNORECASE)
_MOST = 1_000


def parse_if(header: str) -> list[Tagged]:
    """The If header. Raise InvalidCondition."""
    groups: list[Tagged] = []
    lists: list[Sequence[Condition]] = []
    inside: list[Condition] | None = None
    tag: str | None = None
    negated = False
    at = count = 0
    header = header.rstrip()
    while at < len(header):
        found = _IF.match(header, at)
        count += 1
        if found is None or count > _MOST:
            raise InvalidCondition("If")
        at = found.end()
        coded, weak, etag, opens, closes, no = found.groups()
        if inside is None:
            if opens:
                inside = []
            elif coded is not None:
                if lists or tag is not None:
                    groups.append(_tagged(tag, lists))
                elif groups:
                    raise InvalidCondition("If")
                tag, lists = coded, []
            else:
                raise InvalidCondition("If")
        elif no and not negated:
            negated = True
        elif coded is not None or etag is not None:
            # A weak tag never matches: the comparison is a strong one.
            inside.append(Condition(negated, token=coded, etag=None if etag is None else f"W/{etag}" if weak else etag))
            negated = False
        elif closes and inside and not negated:
            lists.append(inside)
            inside = None
        else:
            raise InvalidCondition("If")
    if inside is not None:
        raise InvalidCondition("If")
    groups.append(_tagged(tag, lists))
    if any(group.tag is None for group in groups) and len(groups) > 1:
        raise InvalidCondition("If")
    return groups


def _tagged(tag: str | None, lists: Sequence[Sequence[Condition]]) -> Tagged:
    if not lists:
        raise InvalidCondition("If")
    return Tagged(tag, lists)


def holds(groups: Sequence[Tagged], state_of: Callable[[str | None], State]) -> bool:
    """Whether the If header is true: one list of one of its resources (RFC 4918 section 10.4.3)."""
    for group in groups:
        state = state_of(group.tag)
        if any(all(_matches(condition, state) for condition in conditions) for conditions in group.lists):
            return True
    return False


def _matches(condition: Condition, state: State) -> bool:
    if condition.etag is not None:
        matches = state.etag is not None and condition.etag == state.etag
    else:
        matches = condition.token in state.tokens
    return matches is not condition.negated


def weigh(headers: Mapping[str, str], state: State, state_of: Callable[[str | None], State], *, reads: bool) -> int | None:
    """The status that conditions ask for instead of the request, 304 or 412, or None (RFC 9110 section 13.2.2).

    `headers`: by lower-case name.  `reads`: GET or HEAD.  Raise InvalidCondition.
    """
    if "if-match" in headers:
        tags = parse_etags(headers["if-match"])
        if not (state.exists if tags is None else any(not weak and tag == state.etag for weak, tag in tags)):
            return 412
    elif "if-unmodified-since" in headers:
        since = parse_date(headers["if-unmodified-since"])
        if since is not None and state.modified is not None and state.modified > since:
            return 412
    if "if-none-match" in headers:
        tags = parse_etags(headers["if-none-match"])
        if state.exists if tags is None else any(tag == state.etag for _, tag in tags):
            return 304 if reads else 412
    elif reads and "if-modified-since" in headers:
        since = parse_date(headers["if-modified-since"])
        if since is not None and state.modified is not None and state.modified <= since:
            return 304
    if "if" in headers and not holds(parse_if(headers["if"]), state_of):
        return 412
    return None


PRECONDITIONS = ("if-match", "if-none-match", "if-unmodified-since", "if")
"""Headers under which a write must find exactly what was weighed."""
