"""The documents speak of what is there: every module and test they name exists, every capability told has its line."""

import re
from pathlib import Path

import pytest

from preau.imap.capabilities import MECHANISMS
from preau.imap.commands import TABLE
from preau.suite.main import make_parser

ROOT = Path(__file__).resolve().parent.parent
SPECIFICATIONS = (ROOT / "docs" / "specifications.md").read_text(encoding="utf-8")
FOLDERS = ("formats", "config", "daemon", "storage", "auth", "smtp", "imap", "dav", "caldav", "carddav", "suite")


def rows() -> list[list[str]]:
    """Rows of the tables: specification, modules, tests, deviation."""
    lines = [line for line in SPECIFICATIONS.splitlines() if line.startswith("| ") and not line.startswith("| specification")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def modules(cell: str) -> list[Path]:
    """`imap/commands/append, copy; auth/sasl` -> files; a name without folder stands beside the one before."""
    found, folder = [], ""
    for name in re.split(r"[;,] ", cell):
        if "/" in name:
            folder, _, name = name.rpartition("/")
            folder = {"commands": "imap/commands", "methods": "dav/methods", "reports": "dav/reports"}.get(folder, folder)
        found.append(ROOT / folder / f"{name}.py")
    return found


@pytest.mark.parametrize("row", rows(), ids=lambda row: row[0][:40])
def test_a_specification_names_what_is_there(row: list[str]) -> None:
    assert len(row) == 4
    for path in modules(row[1]):
        assert path.exists() or path.with_suffix("").is_dir(), path
    tests = {path.stem for path in (ROOT / "tests").rglob("test_*.py")} | {path.name for path in (ROOT / "tests").iterdir()}
    tests |= {path.name for path in (ROOT / "tests").rglob("*.dialog")}
    named = [name.rpartition("/")[2] for name in re.split(r"[;,] ", row[2])]
    assert named
    for name in named:
        assert name in tests, name


def test_every_capability_has_its_line() -> None:
    told = {capability for row in TABLE.values() for capability in row.capabilities} | {"LITERAL+", "SASL-IR", "APPENDLIMIT"}
    for capability in told:
        assert re.search(rf"(?<![A-Z-]){re.escape(capability.partition('=RES-')[0])}(?![A-Z-])", SPECIFICATIONS), capability
    for mechanism in MECHANISMS:
        assert mechanism in SPECIFICATIONS


def test_links_between_documents_lead_somewhere() -> None:
    for path in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)\)", path.read_text(encoding="utf-8")):
            assert (path.parent / target).exists(), f"{path.name}: {target}"


def test_files_that_documents_name_exist() -> None:
    """`storage/seal.py` in running text."""
    for path in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]:
        for name in re.findall(
            rf"\b((?:{'|'.join(FOLDERS)}|scripts|tests|deploy)/[A-Za-z0-9_/]+\.(?:py|toml|conf))\b", path.read_text("utf-8")
        ):
            assert (ROOT / name).exists(), f"{path.name}: {name}"


def test_every_command_is_in_the_manual() -> None:
    manual = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    verbs = next(
        action
        for action in make_parser()._actions
        if action.dest == "==SUPPRESS==" and hasattr(action, "choices") and action.choices
    )
    assert verbs.choices is not None
    for verb in verbs.choices:
        assert verb in manual, verb
