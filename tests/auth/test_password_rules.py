"""What may be a new password."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from preau.auth.app_passwords import RANDOM_OCTETS, make, render
from preau.auth.password_rules import WeakPassword, refuse_weak


@pytest.mark.parametrize(
    "password",
    [
        pytest.param("court", id="short"),
        pytest.param("x" * 2000, id="too long"),
        pytest.param("motdepasse12345", id="common word and digits"),
        pytest.param("M0tDeP@sse2026!", id="common word in disguise"),
        pytest.param("passwordpassword", id="common word twice"),
        pytest.param("BonjourSoleil2024", id="two common words"),
        pytest.param("azertyuiopqsdf", id="along the keyboard"),
        pytest.param("lkjhgfdsapoiuyt", id="along a keyboard"),
        pytest.param("123456789012345", id="digits"),
        pytest.param("0612345678 0698765432", id="telephone numbers"),
        pytest.param("aaaaaaaaaaaaaa", id="one letter"),
        pytest.param("xyz!xyz!xyz!xyz!", id="one piece repeated"),
        pytest.param("mdurand fait du velo", id="login"),
        pytest.param("Élodie fait du velo", id="name without accent"),
        pytest.param("vive Lamartine toujours", id="institution"),
        pytest.param("un mot\x00de passe ici", id="NUL"),
        pytest.param(render(make(bytes(range(RANDOM_OCTETS)))), id="form of an app password"),
    ],
)
def test_weak_passwords_are_refused(password: str) -> None:
    with pytest.raises(WeakPassword):
        refuse_weak(password, login="mdurand", names=("Élodie Durand", "lamartine"))


@pytest.mark.parametrize(
    "password",
    [
        pytest.param("cheval agrafe pile correcte", id="four words"),
        pytest.param("tr0mbone&Navette", id="twelve and more"),
        pytest.param("Ж дерево на холме", id="Cyrillic"),
        pytest.param("kP9$wq!fL2xz", id="random"),
    ],
)
def test_good_passwords_pass(password: str) -> None:
    refuse_weak(password, login="mdurand", names=("Élodie Durand", "lamartine"))


@given(st.text(max_size=60), st.text(max_size=20))
def test_only_weak_password_comes_out(password: str, login: str) -> None:
    try:
        refuse_weak(password, login=login)
    except WeakPassword:
        pass
