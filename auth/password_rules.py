"""What a new password must be (CNIL deliberation 2022-100: length and a denied list; no forced classes, no expiry).

Twelve characters at least, nothing of the person's login or name, none of the passwords that are tried first. The list
is small on purpose: shorter leaked ones fall by length, and what people add to a common word to make it longer (digits,
signs, a capital, `@` for a) is taken off again before looking.

Owns the rules and their sentences (French, then English). Never hashes, never stores. Pure.
"""

import unicodedata
from collections.abc import Iterable

from . import app_passwords
from .sasl import MAX_SECRET

MIN_LENGTH = 12

_SHORTEST_PART = 4  # characters of a login or name that count: `de`, `la`, `ana` occur in any sentence


class WeakPassword(Exception):
    """A password that is refused; the text says why, for whoever chose it."""


_WORDS = """
    password passwort motdepasse mdp azerty azertyuiop qwerty qwertyuiop qwertz qwertzuiop asdfghjkl qsdfghjklm wxcvbn zxcvbnm
    admin administrator administrateur root user utilisateur test guest invite changeme changezmoi welcome bienvenue bonjour
    bonsoir salut coucou hello iloveyou jetaime jtaime monamour amour loulou doudou chouchou soleil princesse princess sunshine
    letmein trustno superman batman spiderman starwars pokemon naruto dragon monkey football baseball basketball liverpool
    chelsea arsenal barcelona marseille paris france ecole college lycee professeur prof eleve secret secretariat vacances
    printemps automne hiver janvier fevrier mars avril juin juillet aout septembre octobre novembre decembre lundi mardi
    mercredi jeudi vendredi samedi dimanche family famille maman papa michael jennifer jordan computer ordinateur internet
    google facebook samsung iphone chocolat nutella camille thomas nicolas julien alexandre charlotte caroline sebastien
    correcthorsebatterystaple aqwzsxedc azeqsdwxc qazwsxedc passwordpassword motdepassemotdepasse
"""
_COMMON = frozenset(_WORDS.split())

_LEET = str.maketrans("@4031!5$7+", "aaoeiisstt")
_SEQUENCES = (
    "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz",
    "01234567890123456789",
    "azertyuiopqsdfghjklmwxcvbn",
    "qwertyuiopasdfghjklzxcvbnm",
    "qwertzuiopasdfghjklyxcvbnm",
    "1234567890azertyuiop",
    "1234567890qwertyuiop",
)


def refuse_weak(password: str, *, login: str = "", names: Iterable[str] = ()) -> None:
    """Raise WeakPassword unless `password` may be set for `login`, a person or institution of these names."""
    if len(password) < MIN_LENGTH:
        raise WeakPassword(f"au moins {MIN_LENGTH} caracteres / at least {MIN_LENGTH} characters")
    if len(password.encode("utf-8", "surrogatepass")) > MAX_SECRET:
        raise WeakPassword(f"au plus {MAX_SECRET} octets / at most {MAX_SECRET} octets")
    if any(unicodedata.category(character) in ("Cc", "Cs", "Cn", "Co") for character in password):
        raise WeakPassword("pas de caracteres de commande / no control characters")
    if app_passwords.parse(password) is not None:
        # The verifier would take it for an app password and never try it as what it is.
        raise WeakPassword("cette forme est celle des mots de passe d'application / that is the form of app passwords")
    folded = _fold(password)
    for part in _parts(login, names):
        if part in folded or part in folded.translate(_LEET):
            raise WeakPassword("il contient votre identifiant ou votre nom / it contains your login or name")
    if len(set(folded)) < 5 or _is_repeated(folded) or _is_sequence(folded) or _is_common(folded):
        raise WeakPassword("trop facile a deviner / too easily guessed")


def _fold(text: str) -> str:
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    return "".join(character for character in decomposed if not unicodedata.combining(character))


def _parts(login: str, names: Iterable[str]) -> set[str]:
    words: set[str] = set()
    for text in (login, *names):
        folded = "".join(character if character.isalnum() else " " for character in _fold(text))
        words.update(word for word in folded.split() if len(word) >= _SHORTEST_PART)
    return words


def _is_repeated(folded: str) -> bool:
    return folded in (folded + folded)[1:-1]  # made of one piece, again and again


def _is_sequence(folded: str) -> bool:
    return any(folded in keys or folded[::-1] in keys for keys in _SEQUENCES)


def _is_common(folded: str) -> bool:
    # Digits and signs around a word first: in `M0tDeP@sse2026!` the 0 is a letter, the 2026 is not.
    core = folded.strip("".join(character for character in folded if not character.isalpha()))
    for text in (folded, core.translate(_LEET)):
        letters = "".join(character for character in text if character.isalpha())
        if letters in _COMMON or not letters:
            return True
        # Two or three common words in a row, with years and signs between them, are tried as well.
        if len(letters) >= _SHORTEST_PART and _is_chain(letters, 3):
            return True
    return False


def _is_chain(letters: str, words: int) -> bool:
    if not letters:
        return True
    return words > 0 and any(letters.startswith(word) and _is_chain(letters[len(word) :], words - 1) for word in _COMMON)
