"""The 31 symbols of everything a person copies by hand: app passwords, recovery codes, references.

Owns the alphabet, how random octets become symbols, and what typing and copying do to them (capitals, blanks, dashes).
Pure: randomness comes in as an argument.
"""

ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789"
"""No i, l, o, 0, 1: none looks like another. 31 is prime, which is what lets one check symbol catch every swap."""

_SYMBOLS = frozenset(ALPHABET)
INDEX = {symbol: index for index, symbol in enumerate(ALPHABET)}

# Phones turn two blanks into NBSP, `--` into a dash and `'` into an apostrophe; letters are printed in groups.
_DROPPED = dict.fromkeys(
    map(ord, " \t-_'\u00a0\u00ad\u2007\u200b\u2010\u2011\u2012\u2013\u2014\u2015\u2018\u2019\u202f\u2060\u2212\ufeff")
)

_SPARE = 12  # octets of randomness beyond the number's size: the bias left by the remainder is below 2^-90


def octets_for(count: int) -> int:
    """How many random octets `render_symbols` needs for `count` symbols."""
    return (count * 5 + 7) // 8 + _SPARE


def render_symbols(random: bytes, count: int) -> str:
    """`count` symbols from `octets_for(count)` random octets, each as likely as any other."""
    if len(random) < octets_for(count):
        raise ValueError(f"{count} symbols need {octets_for(count)} random octets")
    number = int.from_bytes(random, "big")
    symbols = []
    for _ in range(count):
        number, index = divmod(number, len(ALPHABET))
        symbols.append(ALPHABET[index])
    return "".join(symbols)


def fold_typed(text: str) -> str:
    """What was meant: lower case, without the blanks, dashes and apostrophes that copying leaves."""
    return text.translate(_DROPPED).lower()


def are_symbols(text: str) -> bool:
    """Whether every character is of the alphabet."""
    return _SYMBOLS.issuperset(text)


def grouped(symbols: str, size: int = 5) -> str:
    """The printed form: groups of `size` joined by dashes."""
    return "-".join(symbols[start : start + size] for start in range(0, len(symbols), size))
