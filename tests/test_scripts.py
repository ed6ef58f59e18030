"""The browser's scripts: folders, imports, and functions with one implementation."""

from __future__ import annotations

import graphlib
import re
from pathlib import Path

import pytest

from tests.each import each

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "static" / "js"
SCRIPTS = {path.relative_to(FOLDER).as_posix(): path.read_text("utf-8") for path in FOLDER.rglob("*.js")}
MAY_IMPORT = {
    "lib": {"lib"},
    "figure": {"lib", "figure"},
    "lesson": {"lib", "figure", "lesson"},
    "own": {"lib", "figure", "own"},
    "class": {"lib", "figure", "page", "class"},
    "page": {"lib", "figure", "lesson", "own", "page"},
}
PRELOADED = ("lib", "figure", "lesson")
STATIC = re.compile(r'^import (?:[^"]*? from )?"([^"]+)";$', re.MULTILINE)
DYNAMIC = re.compile(r'\bimport\("([^"]+)"\)')


def imports(name: str, *patterns: re.Pattern[str]) -> set[str]:
    """The scripts that a script imports, by name."""
    found = {path for pattern in patterns for path in pattern.findall(SCRIPTS[name])}
    return {((FOLDER / name).parent / path).resolve().relative_to(FOLDER).as_posix() for path in found}


@each("name", sorted(SCRIPTS))
def test_every_import_is_found_and_leads_to_a_script(name: str) -> None:
    assert SCRIPTS[name].count("import(") == len(DYNAMIC.findall(SCRIPTS[name]))
    assert len(re.findall(r"^import\b", SCRIPTS[name], re.MULTILINE)) == len(STATIC.findall(SCRIPTS[name]))
    assert imports(name, STATIC, DYNAMIC) <= SCRIPTS.keys()


def test_no_circle_of_imports() -> None:
    graphlib.TopologicalSorter({name: imports(name, STATIC, DYNAMIC) for name in SCRIPTS}).prepare()


@each("name", sorted(SCRIPTS))
def test_folders_import_one_way(name: str) -> None:
    folder = name.partition("/")[0]
    assert {other.partition("/")[0] for other in imports(name, STATIC, DYNAMIC)} <= MAY_IMPORT[folder]


def test_preloaded_scripts_are_those_every_page_with_figures_imports() -> None:
    needed: set[str] = set()
    left = {"page/figures.js"}
    while left:
        needed |= left
        left = set().union(*(imports(name, STATIC) for name in left)) - needed
    preloaded = {name for name in SCRIPTS if name.startswith(PRELOADED)}
    assert needed - {"page/figures.js"} == preloaded


@each("name", sorted(SCRIPTS))
def test_scripts_start_with_their_purpose(name: str) -> None:
    first = SCRIPTS[name].partition("\n")[0]
    assert re.fullmatch(r"// [A-Z].{20,140}[.:]", first)


@pytest.mark.parametrize(
    ("what", "places"),
    [
        (r"(?<!\w)fetch\(", {"lib/fetch.js"}),
        (r'\[storage\]|Storage\b(?!")', {"lib/storage.js", "page/boot.js"}),
        (r"rel: \"stylesheet\"", {"lib/assets.js"}),
        (r"registerExtension", {"figure/requests.js"}),
        (r"import\.meta", set()),
    ],
)
def test_shared_functions_have_one_implementation(what: str, places: set[str]) -> None:
    """One fetch, storage and loader of style sheets, one place that knows htmx; `boot.js` cannot import."""
    code = {name: re.sub(r"(?<!:)//.*", "", text) for name, text in SCRIPTS.items()}
    assert {name for name, text in code.items() if re.search(what, text)} == places


@each("name", sorted(SCRIPTS))
def test_scripts_build_no_paths(name: str) -> None:
    """Addresses come from the page: a script at most adds a query."""
    code = STATIC.sub("", DYNAMIC.sub("", re.sub(r"(?<!:)//.*", "", SCRIPTS[name])))
    paths = re.findall(r"\}/|/\$\{|[\"'`]\.{0,2}/\w", code)
    assert not paths
