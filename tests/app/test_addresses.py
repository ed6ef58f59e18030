"""All addresses are defined in one module and match the routes."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from fastapi.routing import iter_route_contexts

from app import create_app
from app.addresses import PATHS, address, in_language, of_figures
from app.settings import Settings
from app.site import Site, use_site
from lessons.kit.language import language, use_language
from tests.each import each

ROOT = Path(__file__).resolve().parents[2]
HOME = ROOT / "app" / "addresses.py"
SPELLED = re.compile(r"/(lessons|fragments)/|/(figures|questions|tasks|jobs|along)/($|\{)")
FILES = [
    *(
        path
        for folder in ("app", "lessons")
        for path in sorted((ROOT / folder).rglob("*.py"))
        if path != HOME
    ),
    *(path for folder in ("templates", "lessons") for path in sorted((ROOT / folder).rglob("*.jinja"))),
]


def test_routes_are_the_addresses() -> None:
    routes = {str(route.path) for route in iter_route_contexts(create_app(Settings()).routes)}
    assert routes == set(PATHS.values())


def texts(path: Path) -> Iterator[str]:
    """The text of a template, or the strings of a module without docstrings."""
    text = path.read_text("utf-8")
    if path.suffix == ".jinja":
        yield re.sub("(?s){#.*?#}", "", text)
        return
    parsed = ast.walk(ast.parse(text))
    for node in parsed:
        for child in ast.iter_child_nodes(node):
            if (
                isinstance(child, ast.Constant)
                and isinstance(child.value, str)
                and not isinstance(node, ast.Expr)
            ):
                yield child.value


@each("path", FILES)
def test_addresses_are_spelled_only_in_one_module(path: Path) -> None:
    assert [text for text in texts(path) if SPELLED.search(text)] == []


def test_addresses_have_root_path_and_language_prefix() -> None:
    query = of_figures([("rtn", [("bits", "3")]), ("fit", [])])
    with use_site(Site("/academy")), use_language("en-XA"):
        found = address("lesson", "quantization", query=query, anchor="fig-02")
        assert found == "/academy/en-XA/lessons/quantization?rtn.bits=3#fig-02"
        assert in_language(found, language("en")) == found.replace("/en-XA", "")
    assert address("course") == "/"
