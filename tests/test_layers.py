"""The rules of the floors, read from the imports (docs/architecture.md).

A folder imports lower floors only; only suite reads config; pure files import nothing that has effects; daemons see the
store and sign-in through their api modules; no circles, not even inside a folder; `__init__.py` holds a docstring.
"""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FLOORS = {
    "formats": 1,
    "config": 1,
    "daemon": 1,
    "storage": 2,
    "auth": 3,
    "sieve": 3,
    "managesieve": 4,
    "dav": 4,
    "smtp": 4,
    "imap": 4,
    "caldav": 5,
    "carddav": 5,
    "documents": 5,
    "pages": 5,
    "suite": 6,
}
DAEMONS = {"smtp", "imap", "dav", "managesieve", "pages"}
PLUGINS = {"caldav", "carddav", "documents"}
EFFECTS = {"asyncio", "socket", "ssl", "os", "pathlib", "time", "random", "secrets", "logging"}
PURE = (
    "formats/*.py",
    "sieve/*.py",
    "imap/decode.py",
    "imap/encode.py",
    "imap/sequence.py",
    "imap/names.py",
    "imap/search.py",
    "imap/session.py",
    "imap/section.py",
    "imap/view.py",
    "imap/values.py",
    "auth/passwords.py",
    "auth/totp.py",
    "auth/app_passwords.py",
    "auth/sasl.py",
    "auth/scram.py",
    "auth/refusals.py",
    "auth/policies/*.py",
    "smtp/commands.py",
    "smtp/data.py",
    "smtp/reply.py",
    "smtp/policy.py",
    "dav/xml.py",
    "dav/conditions.py",
    "caldav/query.py",
    "carddav/query.py",
)


@dataclass(frozen=True)
class Import:
    """One import statement: by `module`, of `target` (dotted, "preau." cut off when `ours`)."""

    module: str
    line: int
    target: str
    ours: bool
    lazy: bool  # inside a function
    typing_only: bool


def modules() -> list[Path]:
    """Every module of the package."""
    return sorted(path for folder in FLOORS for path in (ROOT / folder).rglob("*.py"))


def name_of(path: Path) -> str:
    """storage/api.py -> storage.api; storage/__init__.py -> storage."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


NAMES = {name_of(path) for path in modules()}


def imports_of(path: Path) -> Iterator[Import]:
    """Imports anywhere in a module, those of submodules by `from . import x` resolved."""
    module = name_of(path)
    package = module.split(".") if path.name == "__init__.py" else module.split(".")[:-1]

    def visit(node: ast.AST, lazy: bool, typing_only: bool) -> Iterator[Import]:
        for child in ast.iter_child_nodes(node):
            inside = lazy or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef)
            guarded = typing_only or (isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test))
            if isinstance(child, ast.Import):
                for alias in child.names:
                    ours = alias.name.split(".")[0] == "preau"
                    yield Import(module, child.lineno, alias.name.removeprefix("preau."), ours, lazy, typing_only)
            elif isinstance(child, ast.ImportFrom):
                base = (child.module or "").split(".") if child.module else []
                if child.level:
                    kept = package[: len(package) - child.level + 1]
                    ours, base = True, kept + base
                else:
                    ours = bool(base) and base[0] == "preau"
                    base = base[1:] if ours else base
                for alias in child.names:
                    target = ".".join(base)
                    deeper = ".".join([*base, alias.name])
                    yield Import(module, child.lineno, deeper if ours and deeper in NAMES else target, ours, lazy, typing_only)
            else:
                yield from visit(child, inside, guarded)

    yield from visit(ast.parse(path.read_bytes()), lazy=False, typing_only=False)


IMPORTS = {path: list(imports_of(path)) for path in modules()}


def ours() -> Iterator[tuple[Import, str, str]]:
    """(import, importing folder, imported folder) of everything of ours; the package root counts as no folder."""
    for found in IMPORTS.values():
        for one in found:
            if one.ours and one.target and one.target.split(".")[0] in FLOORS:
                yield one, one.module.split(".")[0], one.target.split(".")[0]


def complaint(one: Import, why: str) -> str:
    """As an editor finds it."""
    return f"{one.module.replace('.', '/')}.py:{one.line} imports {one.target}: {why}"


def test_every_folder_of_code_has_a_floor() -> None:
    found = {path.parent.name for path in ROOT.glob("*/__init__.py")} - {"bench"}
    assert found <= set(FLOORS)
    assert {"formats", "config", "daemon", "storage", "auth", "smtp", "imap", "suite"} <= found


def test_a_folder_imports_lower_floors_only() -> None:
    wrong = [
        complaint(one, f"floor {FLOORS[source]} sees floors below it")
        for one, source, target in ours()
        if source != target
        and FLOORS[target] >= FLOORS[source]
        # A log line and a frame look the same on every floor: daemon/ is for all of them.
        and not (target == "daemon" and source != "formats" and source != "config")
        # The plug-ins of dav stand above it.
        and not (source in PLUGINS and target == "dav")
    ]
    assert wrong == []


def test_daemon_stands_on_nothing() -> None:
    assert [complaint(one, "daemon knows nobody") for one, source, target in ours() if source == "daemon" != target] == []


def test_only_suite_reads_config() -> None:
    wrong = [
        complaint(one, "take plain values")
        for one, source, target in ours()
        if target == "config" and source not in ("config", "suite")
    ]
    assert wrong == []


def test_daemons_never_import_one_another() -> None:
    wrong = [
        complaint(one, "declare a protocol of your own; suite fills it")
        for one, source, target in ours()
        if source != target
        and source in DAEMONS | PLUGINS
        and target in DAEMONS | PLUGINS
        and not (source in PLUGINS and target == "dav")
    ]
    assert wrong == []


def test_daemons_see_store_and_auth_through_their_api() -> None:
    # permits: the one authorisation function; sasl, scram: pure grammar; refusals: the texts of the table.
    open_to_all = {"storage.api", "auth.api", "auth.permits", "auth.sasl", "auth.scram", "auth.refusals"}
    # The spool is files and a database of its own: written, sealed and opened as the store does it (decisions 9, 19, 24).
    of_the_spool = {"storage.atomic", "storage.seal", "storage.database"}
    wrong = [
        complaint(one, "daemons see storage.api and auth.api")
        for one, source, target in ours()
        if source in DAEMONS | PLUGINS
        and target in ("storage", "auth")
        and one.target not in open_to_all
        and not (one.module in ("smtp.spool", "smtp.queue_store") and one.target in of_the_spool)
    ]
    assert wrong == []


def test_pure_files_have_no_effects() -> None:
    wrong = []
    for path, found in IMPORTS.items():
        relative = path.relative_to(ROOT).as_posix()
        if path.name != "__init__.py" and any(fnmatch(relative, pattern) for pattern in PURE):
            wrong += [
                complaint(one, "a pure file takes it as an argument")
                for one in found
                if not one.ours and one.target.split(".")[0] in EFFECTS and not one.typing_only
            ]
    assert wrong == []


def test_pure_files_import_pure_files() -> None:
    """Of ours, a pure file sees only other pure files, the two contracts and tables."""
    allowed = ("storage.api", "auth.api", "auth.symbols")
    wrong = []
    for path, found in IMPORTS.items():
        relative = path.relative_to(ROOT).as_posix()
        if path.name == "__init__.py" or not any(fnmatch(relative, pattern) for pattern in PURE):
            continue
        for one in found:
            target = one.target.replace(".", "/") + ".py"
            if one.ours and one.target and one.target not in allowed and not any(fnmatch(target, pattern) for pattern in PURE):
                bad = EFFECTS & {each.target.split(".")[0] for each in IMPORTS.get(ROOT / target, []) if not each.ours}
                wrong += [complaint(one, f"which has {', '.join(sorted(bad))}")] if bad else []
    assert wrong == []


def test_no_circles() -> None:
    graph = {
        name_of(path): {one.target for one in found if one.ours and not one.typing_only and one.target in NAMES}
        - {name_of(path)}
        for path, found in IMPORTS.items()
    }
    state: dict[str, int] = {}

    def circle_from(module: str, trail: list[str]) -> list[str]:
        state[module] = 1
        for target in sorted(graph[module]):
            if state.get(target) == 1:
                return [*trail[trail.index(target) :], target] if target in trail else [module, target]
            if target not in state and (found := circle_from(target, [*trail, target])):
                return found
        state[module] = 2
        return []

    assert [circle for module in graph if module not in state and (circle := circle_from(module, [module]))] == []


@pytest.mark.parametrize("path", [path for path in modules() if path.name == "__init__.py"], ids=name_of)
def test_init_holds_a_docstring(path: Path) -> None:
    body = ast.parse(path.read_bytes()).body
    assert ast.get_docstring(ast.parse(path.read_bytes()))
    # imap/commands holds the table it is about; nobody re-exports.
    assert len(body) == 1 or path.parent.name == "commands"


@pytest.mark.parametrize("path", [path for path in modules() if path.name != "__init__.py"], ids=name_of)
def test_a_module_says_what_it_is(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_bytes()))


def test_inside_the_package_imports_are_relative() -> None:
    absolute = [
        complaint(one, "write it relative")
        for path, found in IMPORTS.items()
        for one in found
        if one.ours and _is_absolute(path, one)
    ]
    assert absolute == []


def _is_absolute(path: Path, one: Import) -> bool:
    line = path.read_text(encoding="utf-8").splitlines()[one.line - 1]
    return line.lstrip().startswith(("import preau", "from preau"))


def test_tests_and_bench_import_absolute_names() -> None:
    """Our folders are `preau.storage`, never `storage`: the checkout is not on the path."""
    wrong = []
    for path in sorted([*(ROOT / "tests").rglob("*.py"), *(ROOT / "bench").rglob("*.py")]):
        for node in ast.walk(ast.parse(path.read_bytes())):
            targets = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.module and not node.level:
                targets = [node.module]
            wrong += [f"{path.relative_to(ROOT)}:{node.lineno} {each}" for each in targets if each.split(".")[0] in FLOORS]  # type: ignore[attr-defined]  # imports have lines
    assert [each for each in wrong if "caldav.davclient" not in each] == []
