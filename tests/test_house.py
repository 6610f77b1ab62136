"""The structure: imports go down only and in no circle, nothing heavy before it is needed, nothing too long to read."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "thinresnet"
FILES = sorted(PACKAGE.rglob("*.py"))
GROUND = {file.stem for file in PACKAGE.glob("*.py")} - {"__init__", "__main__"}
MAY_IMPORT = {
    "networks": set(),
    "training": {"networks"},
    "pruning": {"networks", "training"},
    "studies": {"networks", "training", "pruning"},
    "leaderboard": set(),
    "cli": {"networks", "training", "pruning", "studies", "leaderboard"},
    "__main__": {"cli"},
}
HEAVY = ("torch", "timm", "numpy", "accelerate", "altair", "wandb", "sklearn", "scipy", "pandas", "fvcore")
MOST_LINES_OF_A_FILE = 450
MOST_LINES_OF_A_FUNCTION = 60


@cache
def _tree(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


def _name(file: Path) -> str:
    parts = ["thinresnet", *file.relative_to(PACKAGE).with_suffix("").parts]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {_name(file) for file in FILES}


def _imports(nodes: Iterator[ast.AST]) -> set[str]:
    """The modules of this package that these statements import."""
    found = set()
    for node in nodes:
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: a relative import"
            named = [f"{node.module}.{alias.name}" for alias in node.names]
            found |= {name if name in MODULES else str(node.module) for name in named}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return {name for name in found if name in MODULES}


def _room(module: str) -> str:
    return [*module.split("."), ""][1]


def _inside_functions(file: Path) -> Iterator[ast.AST]:
    for node in ast.walk(_tree(file)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from ast.walk(node)


def test_imports_go_down_only() -> None:
    for file in FILES:
        room = _room(_name(file))
        allowed = MAY_IMPORT.get(room, set()) | GROUND | {room, ""}
        wrong = {name for name in _imports(ast.walk(_tree(file))) if _room(name) not in allowed}
        assert not wrong, f"{file.relative_to(PACKAGE)} imports {wrong}"


def test_the_ground_floor_imports_no_package_of_this_project() -> None:
    for file in PACKAGE.glob("*.py"):
        if file.stem != "__main__":
            assert {_room(name) for name in _imports(ast.walk(_tree(file)))} <= GROUND | {""}, file.name


def test_files_import_each_other_in_no_circle() -> None:
    graph = {}
    for file in FILES:
        # A package's __init__ gathers names of its own modules, which import each other and never the package itself.
        own = _name(file)
        graph[own] = {name for name in _imports(iter(_tree(file).body)) if name != own}
    try:
        list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def test_imports_stand_at_the_top_but_in_the_command_line() -> None:
    for file in FILES:
        if _room(_name(file)) != "cli":
            inside = [node for node in _inside_functions(file) if isinstance(node, ast.Import | ast.ImportFrom)]
            assert not inside, f"{file.relative_to(PACKAGE)}, line {inside[0].lineno}: an import within a function"


def test_no_module_makes_names_up_or_imports_for_types_alone() -> None:
    for file in FILES:
        text = file.read_text(encoding="utf-8")
        assert "TYPE_CHECKING" not in text or _room(_name(file)) == "cli", file
        names = [node.name for node in _tree(file).body if isinstance(node, ast.FunctionDef)]
        assert "__getattr__" not in names, file


def test_nothing_is_too_long_to_read() -> None:
    for file in FILES:
        assert len(file.read_text(encoding="utf-8").splitlines()) <= MOST_LINES_OF_A_FILE, file
        for node in ast.walk(_tree(file)):
            if isinstance(node, ast.FunctionDef):
                lines = (node.end_lineno or 0) - node.lineno + 1
                assert lines <= MOST_LINES_OF_A_FUNCTION, f"{file}: {node.name} has {lines} lines"


@pytest.mark.parametrize("module", ["thinresnet", "thinresnet.cli", "thinresnet.recipe", "thinresnet.leaderboard"])
def test_importing_is_light(module: str) -> None:
    code = f"import sys, {module}; print([name for name in {HEAVY!r} if name in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_the_help_of_every_verb_is_light() -> None:
    code = (
        "import sys\nfrom typer.testing import CliRunner\nfrom thinresnet.cli import VERBS, app\n"
        "for verb in VERBS: assert CliRunner().invoke(app, [verb, '--help']).exit_code == 0, verb\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.splitlines()[-1] == "[]"


def test_the_package_alone_needs_the_standard_library_only() -> None:
    code = "import sys; before = set(sys.modules); import thinresnet; print(sorted(set(sys.modules) - before))"
    run = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "['thinresnet']"
