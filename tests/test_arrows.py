"""The arrows of the architecture: app → lessons → quant_core, and quant_core needs numpy alone."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
OURS = ("app", "lessons", "quant_core")
MAY_IMPORT = {"quant_core": {"quant_core"}, "lessons": {"lessons", "quant_core"}, "app": set(OURS)}


def imported(package: str) -> dict[Path, set[str]]:
    """The top-level packages that each module of a package imports."""
    found: dict[Path, set[str]] = {}
    for path in sorted((ROOT / package).rglob("*.py")):
        names: set[str] = set()
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                names.add(node.module.partition(".")[0])
        found[path] = names
    return found


@pytest.mark.parametrize("package", OURS)
def test_arrows_run_one_way(package: str) -> None:
    against = {
        str(path.relative_to(ROOT)): names & set(OURS) - MAY_IMPORT[package]
        for path, names in imported(package).items()
        if names & set(OURS) - MAY_IMPORT[package]
    }
    assert not against


def test_quant_core_needs_numpy_alone() -> None:
    needed = set().union(*imported("quant_core").values()) - {"quant_core"}
    assert needed - set(sys.stdlib_module_names) == {"numpy"}


@pytest.mark.parametrize("package", ["lessons", "quant_core"])
def test_only_the_shell_knows_the_web(package: str) -> None:
    web = {"fastapi", "starlette", "uvicorn", "jinja2"}
    assert not [str(path) for path, names in imported(package).items() if names & web]


def test_the_shell_names_no_figure() -> None:
    figures = {path.name for path in (ROOT / "lessons/quantization/figures").glob("[a-z]*/")}
    for path in (ROOT / "app").rglob("*.py"):
        strings = {
            node.value
            for node in ast.walk(ast.parse(path.read_text("utf-8")))
            if isinstance(node, ast.Constant) and isinstance(node.value, str)
        }
        assert not strings & figures, path.name
