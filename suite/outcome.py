"""How a command ends when it is not done: refused (exit 1) or misused (exit 2).

Owns the two exceptions that `main` turns into exit codes. Their text is a sentence for the operator that says what to do next.
"""


class Refused(Exception):
    """Understood, and not done: the thing is not there, the other end said no, the settings are wrong. Exit 1."""


class Misused(Exception):
    """Asked for something that cannot be asked: wrong arguments, or not built yet. Exit 2."""
