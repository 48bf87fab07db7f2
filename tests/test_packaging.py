"""The house as an installer sees it: links, pins, and what a wheel holds."""

import ast
import configparser
import re
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SETUP = configparser.ConfigParser()
SETUP.read(ROOT / "setup.cfg", encoding="utf-8")
_PIN = re.compile(r"([A-Za-z0-9._-]+)==([A-Za-z0-9.!+_-]+)(?:\s*;.*)?")


def code_folders() -> set[str]:
    """Top-level folders that are packages."""
    return {path.parent.name for path in ROOT.glob("*/__init__.py") if path.parent.name not in ("tests", "bench")}


def normal(name: str) -> str:
    """A distribution's name as indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def pins(file: str) -> dict[str, str]:
    """Name -> version of a requirements file, files it includes too."""
    found = {}
    for line in (ROOT / file).read_text(encoding="utf-8").splitlines():
        if line.startswith("-r "):
            found.update(pins(line[3:].strip()))
        elif line.strip() and not line.startswith("#"):
            match = _PIN.fullmatch(line.strip())
            assert match is not None, f"{file}: {line!r} is no exact pin"
            found[normal(match[1])] = match[2]
    return found


def declared(text: str) -> set[str]:
    """Names in a list of requirements of setup.cfg."""
    return {normal(re.split(r"[\[<>=~!; ]", line, maxsplit=1)[0]) for line in text.split("\n") if line.strip()}


def test_every_folder_of_code_is_linked() -> None:
    """Else: `ln -s ../../FOLDER src/preau/FOLDER`."""
    links = {path.name: path for path in (ROOT / "src" / "preau").iterdir() if path.name != "__pycache__"}
    assert set(links) == code_folders() | {"__init__.py", "py.typed"}
    for name, link in links.items():
        assert link.is_symlink()
        assert link.readlink() == Path("..", "..", name)


def test_what_is_declared_is_pinned() -> None:
    assert declared(SETUP["options"]["install_requires"]) <= set(pins("requirements.txt"))
    assert declared(SETUP["options.extras_require"]["dev"]) <= set(pins("requirements-dev.txt"))


def test_what_is_imported_is_declared() -> None:
    """Nothing of others is used by way of somebody else's dependency."""
    from importlib.metadata import packages_distributions

    owners = packages_distributions()
    names = declared(SETUP["options"]["install_requires"])
    for path in (path for folder in code_folders() for path in (ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_bytes())):
            targets = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.module and not node.level:
                targets = [node.module]
            for top in (target.split(".")[0] for target in targets):
                if top not in sys.stdlib_module_names:
                    assert {normal(owner) for owner in owners.get(top, [])} & names, f"{path.relative_to(ROOT)} imports {top}"


def test_what_the_design_names_is_declared() -> None:
    named = {"aiosmtpd", "aioimaplib", "radicale", "dnspython", "libpass", "pyotp", "cryptography"}
    assert named <= declared(SETUP["options"]["install_requires"])


def test_a_pin_satisfies_what_is_declared() -> None:
    from packaging.requirements import Requirement

    found = pins("requirements-dev.txt")
    lines = f"{SETUP['options']['install_requires']}\n{SETUP['options.extras_require']['dev']}".splitlines()
    for requirement in (Requirement(line) for line in lines if line.strip()):
        assert requirement.specifier.contains(found[normal(requirement.name)]), requirement


def test_passlib_is_libpass() -> None:
    """Both own the folder `passlib`: whichever is installed last wins, and the old one breaks on every bcrypt hash."""
    assert "passlib" not in pins("requirements-dev.txt")
    assert version("libpass")
    with pytest.raises(PackageNotFoundError):
        version("passlib")


def test_what_is_pinned_needs_nothing_unpinned() -> None:
    """Transitively: `pip install -r requirements.txt --no-deps` would do."""
    from importlib.metadata import requires

    from packaging.requirements import Requirement

    for file in ("requirements.txt", "requirements-dev.txt"):
        known = pins(file)
        for name in known:
            for line in requires(name) or ():
                needed = Requirement(line)
                if needed.marker is None or needed.marker.evaluate({"extra": ""}):
                    assert normal(needed.name) in known, f"{name} needs {needed.name}"


def test_what_runs_is_what_is_pinned() -> None:
    assert {name: version(name) for name in pins("requirements-dev.txt")} == pins("requirements-dev.txt")


def test_the_licence_is_said_once() -> None:
    assert SETUP["metadata"]["license"] == "GPL-3.0-or-later"
    assert "GNU GENERAL PUBLIC LICENSE" in (ROOT / "LICENSE").read_text(encoding="utf-8")


def test_pyproject_leaves_the_package_to_setup_cfg() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert "project" not in project
    assert project["build-system"]["build-backend"] == "setuptools.build_meta"


def test_a_wheel_holds_the_package_and_nothing_else(tmp_path: Path) -> None:
    """Built from what git knows, so that a forgotten file shows."""
    tree = tmp_path / "tree"
    tree.mkdir()
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    for name in listed.stdout.decode().split("\0"):
        source = ROOT / name
        if not name or name.startswith(("tests/", "bench/", "docs/")) or not (source.exists() or source.is_symlink()):
            continue
        target = tree / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_symlink():
            target.symlink_to(source.readlink())
        else:
            target.write_bytes(source.read_bytes())
    build = [sys.executable, "-P", "-m", "build", "--no-isolation", "--wheel", "--outdir", str(tmp_path / "dist"), str(tree)]
    subprocess.run(build, check=True, capture_output=True, cwd=tmp_path)
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        files = {name for name in archive.namelist() if ".dist-info/" not in name}
        entry = next(archive.read(name).decode() for name in archive.namelist() if name.endswith("entry_points.txt"))
    assert {name.split("/")[0] for name in files} == {"preau"}
    assert {name.split("/")[1] for name in files} == code_folders() | {"__init__.py", "py.typed"}
    assert "preau/config/preau.example.toml" in files
    expected = {path.relative_to(tree).as_posix() for folder in code_folders() for path in (tree / folder).rglob("*.py")}
    assert {f"preau/{name}" for name in expected} <= files
    assert "preau = preau.suite.main:main" in entry
