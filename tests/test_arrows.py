"""Imports follow the architecture: app → lessons → quant_core, and quant_core needs only numpy."""

from __future__ import annotations

import ast
import graphlib
import re
import sys
from collections import Counter
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


def test_modules_import_each_other_in_no_circle() -> None:
    """Of imports at the top of a module: one in a function runs when all modules are there."""
    paths = [path for package in OURS for path in (ROOT / package).rglob("*.py")]
    modules = {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in paths}
    modules = {name.removesuffix(".__init__"): path for name, path in modules.items()}
    graph: dict[str, set[str]] = {name: set() for name in modules}
    for name, path in modules.items():
        for node in ast.parse(path.read_text("utf-8")).body:
            if isinstance(node, ast.Import):
                graph[name] |= {alias.name for alias in node.names} & modules.keys()
            elif isinstance(node, ast.ImportFrom) and node.module:
                parts = {f"{node.module}.{alias.name}" for alias in node.names}
                graph[name] |= (parts & modules.keys()) or ({node.module} & modules.keys())
    list(graphlib.TopologicalSorter(graph).static_order())  # a CycleError names the modules


def test_quant_core_needs_numpy_alone() -> None:
    needed = set().union(*imported("quant_core").values()) - {"quant_core"}
    assert needed - set(sys.stdlib_module_names) == {"numpy"}


@pytest.mark.parametrize("package", ["lessons", "quant_core"])
def test_only_app_imports_web_libraries(package: str) -> None:
    web = {"fastapi", "starlette", "uvicorn", "jinja2"}
    assert not [str(path) for path, names in imported(package).items() if names & web]


FIGURES = {path.name: path for path in (ROOT / "lessons/quantization/figures").glob("[a-z]*/")}
CODE = re.compile(r"\{\{.*?\}\}\S*|\{%.*?%\}", re.DOTALL)
OF_MARKUP = {"class", "clip", "in-view", "role", "title", "width"}
"""Words that are classes in a figure, too, and with which `app.export` means HTML, SVG and CSS."""


def classes(template: str) -> set[str]:
    """The classes that a template writes as they are."""
    written = re.findall(r'class="((?:[^"{]|\{\{.*?\}\}|\{%.*?%\})*)"', template)
    return set(re.findall(r"(?<!\S)[\w-]+(?!\S)", CODE.sub(" ", " ".join(written))))


def ids(template: str) -> set[str]:
    """What a template adds to the id of a figure for its parts."""
    return set(re.findall(r'id="\{\{ f\.id \}\}(-[\w-]+)', template))


def parts() -> set[str]:
    """Classes and ids that one figure alone has."""
    drawings = [folder / "drawing.jinja" for folder in FIGURES.values()]
    texts = [drawing.read_text("utf-8") for drawing in drawings if drawing.is_file()]
    count = Counter(part for text in texts for part in classes(text) | ids(text))
    shared = "".join(sheet.read_text("utf-8") for sheet in (ROOT / "static/css").glob("*.css"))
    return {part for part, n in count.items() if n == 1 and not re.search(rf"\.{part}\b", shared)}


def constants(path: Path) -> set[str]:
    tree = ast.walk(ast.parse(path.read_text("utf-8")))
    return {node.value for node in tree if isinstance(node, ast.Constant) and isinstance(node.value, str)}


def test_app_names_no_figure_and_no_part_of_one() -> None:
    """Only the export reads drawings: elsewhere a word without a hyphen means something else."""
    known = parts()
    assert known >= {"methods-board", "qlora-bytes", "lones"}
    compound = FIGURES.keys() | {part for part in known - OF_MARKUP if "-" in part}
    named = {path.name: constants(path) & compound for path in (ROOT / "app").rglob("*.py")}
    named |= {path.name: constants(path) & known - OF_MARKUP for path in (ROOT / "app/export").glob("*.py")}
    assert {name: found for name, found in named.items() if found} == {}


def test_templates_name_no_figure_and_no_part_of_one() -> None:
    known = parts()
    named = {}
    for path in (ROOT / "templates").rglob("*.jinja"):
        text = path.read_text("utf-8")
        strings = set(re.findall(r"(?:figure|name) (?:==|!=|in) \(?[\"']([\w-]+)", text))
        named[path.name] = (classes(text) | ids(text) | strings) & (known | FIGURES.keys())
    assert {name: found for name, found in named.items() if found} == {}


def test_no_shared_rule_looks_into_a_whole_figure() -> None:
    """`:has()` on what holds a drawing styles all of it again at every change: 17 ms of each instead of 2."""
    sheets = [*(ROOT / "static/css").glob("*.css"), *(ROOT / "lessons").glob("*/figures/rtn/style.css")]
    costly = re.compile(r"(\.fig|\.fig-body|\.view|\.stage|\bform|\bfigure)(?![\w-])[.\w\[\]-]*:has\(")
    found = [(sheet.name, rule) for sheet in sheets for rule in costly.findall(sheet.read_text("utf-8"))]
    assert found == []
