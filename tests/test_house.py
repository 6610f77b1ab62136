"""The house: imports go down only, and nothing heavy is imported before it is needed."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "thinresnet"
GROUND = {
    "budget",
    "charts",
    "convert",
    "errors",
    "files",
    "identity",
    "network",
    "policy",
    "progress",
    "recipe",
    "result",
    "runs",
    "stopping",
    "yamls",
    "",
}
MAY_IMPORT = {
    "networks": GROUND,
    "pruning": GROUND | {"networks", "training"},
    "training": GROUND | {"networks"},
    "studies": GROUND | {"networks", "training", "pruning"},
    "leaderboard": GROUND,
    "cli": GROUND | {"networks", "training", "pruning", "studies", "leaderboard"},
    "__main__": {"cli"},
}
HEAVY = ("torch", "timm", "numpy", "accelerate", "altair", "wandb", "sklearn", "pandas", "fvcore")


def _imported(file: Path) -> set[str]:
    """The rooms (or ground-floor modules) of this package that a file imports, at whatever depth."""
    rooms = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level == 0 and (node.module or "").startswith("thinresnet"):
            module = node.module or ""
            names = [f"{module}.{alias.name}" for alias in node.names] if module == "thinresnet" else [module]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names if alias.name.startswith("thinresnet")]
        else:
            assert not (isinstance(node, ast.ImportFrom) and node.level), f"{file}: relative import"
            continue
        rooms |= {[*name.split("."), ""][1] for name in names}
    return rooms


def test_imports_go_down_only() -> None:
    for file in sorted(PACKAGE.rglob("*.py")):
        room = file.relative_to(PACKAGE).parts[0].removesuffix(".py")
        allowed = MAY_IMPORT.get(room, GROUND) | {room}
        assert _imported(file) <= allowed, f"{file.relative_to(PACKAGE)} imports {_imported(file) - allowed}"


@pytest.mark.parametrize(
    "module", ["thinresnet", "thinresnet.cli", "thinresnet.network", "thinresnet.result", "thinresnet.leaderboard"]
)
def test_importing_is_light(module: str) -> None:
    code = f"import sys, {module}; print([name for name in {HEAVY!r} if name in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_the_package_alone_needs_the_standard_library_only() -> None:
    code = "import sys; before = set(sys.modules); import thinresnet; print(sorted(set(sys.modules) - before))"
    run = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "['thinresnet']"
