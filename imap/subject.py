"""Base subjects and the collation of SORT and THREAD (RFC 5256 sections 2.1, 5 and 7; RFC 5051).

Owns what counts as the same subject. Linear in the length of a subject: a place moves through it from both ends, nothing
is cut off or looked at twice, whatever a sender nests or repeats.
"""

import re
import unicodedata

from ..formats.headers import decode_words

MOST = 65_536
"""Octets of a subject that are looked at."""

_BLANKS = re.compile(r"[ \t\r\n]+")
_BLOBS = re.compile(r"(?:\[[^\[\]]*+\] *+)+")  # subj-blob, as many as there are
_REFWD = re.compile(r"(?:re|fwd?) *+(?:\[[^\[\]]*+\] *+)?:", re.IGNORECASE | re.ASCII)
_FORWARD = re.compile(r"\[fwd:", re.IGNORECASE | re.ASCII)
_TRAILER = "(fwd)"


def base_subject(value: bytes) -> tuple[str, bool]:
    """(base subject, whether it was a reply or forward) of an unfolded Subject value (RFC 5256 section 2.1)."""
    text = _BLANKS.sub(" ", decode_words(value[:MOST]))
    begin, end = 0, len(text)
    reply = False
    while True:
        # (2) trailers
        while end > begin:
            if text[end - 1] == " ":
                end -= 1
            elif end - begin >= len(_TRAILER) and text[end - len(_TRAILER) : end].lower() == _TRAILER:
                end -= len(_TRAILER)
                reply = True
            else:
                break
        # (3) leaders, (4) blobs, (5) again
        while begin < end:
            if text[begin] == " ":
                begin += 1
                continue
            blobs = _BLOBS.match(text, begin, end)
            after = begin if blobs is None else blobs.end()
            leader = _REFWD.match(text, after, end)
            if leader is not None:
                begin = leader.end()
                reply = True
            elif blobs is None:
                break
            elif after < end:
                begin = after  # one after the other would have gone: each leaves something
            else:
                begin = text.rindex("[", begin, end)  # the last one is the subject
                break
        # (6) a forward as a whole
        forward = _FORWARD.match(text, begin, end)
        if forward is None or text[end - 1] != "]":
            return text[begin:end], reply
        begin, end = forward.end(), end - 1
        reply = True


def _title(character: str) -> str:
    title = character.title()
    return title if len(title) == 1 else character


def collation(text: str) -> str:
    """What strings are compared by, by code point: i;unicode-casemap (RFC 5051 section 2)."""
    if text.isascii():
        return text.upper()
    return unicodedata.normalize("NFKD", "".join(map(_title, text)))
