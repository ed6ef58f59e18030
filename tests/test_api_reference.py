"""docs/api.md matches the docstrings, and the docstrings follow the conventions."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
from pathlib import Path
from types import ModuleType

from scripts import api_reference
from tests.each import each

MODULES = dict(api_reference.module_files())

#: Public functions without an example or a source, by reason.
WITHOUT_EXAMPLE = {
    "checks of arguments: what they refuse is tested with every function that calls them": """
        quant_core.arrays.as_matrix quant_core.arrays.check_bits quant_core.arrays.check_group_size
        quant_core.ggml.registry.codec_of""",
    "steps that all block formats share, which name the sources": """
        quant_core.ggml.codec.to_columns quant_core.ggml.codec.from_columns""",
    "need a model file: the command line is their example": """
        quant_core.files.bounded.open_bounded quant_core.files.bounded.read_json
        quant_core.files.bounded.stamp_of
        quant_core.files.model.in_file_order quant_core.files.model.model_of_gguf
        quant_core.files.opening.open_model quant_core.files.opening.open_tensors
        quant_core.files.opening.is_gguf""",
    "what `atomic_file`, which has an example, is made of": """
        quant_core.files.atomic.atomic_files quant_core.files.atomic.check_target
        quant_core.files.errors.naming""",
    "sums whose sources are the logs that their tests hold": """
        quant_core.memory.weight_buffers quant_core.memory.kv_bytes_per_token
        quant_core.memory.kv_pool_tokens
        quant_core.memory.host_buffer_bytes quant_core.memory.speed_band""",
}


def test_the_page_is_current() -> None:
    current = api_reference.is_current(api_reference.PAGE.read_text("utf-8"), api_reference.page())
    assert current, "docs/api.md is stale; run `make docs`"


def test_page_is_stale_if_a_word_or_a_link_changes() -> None:
    page = "- [`f`](../quant_core/f.py#L10) `(x: int) -> int` \\\n  Return 10."
    assert api_reference.is_current(page, page.replace("#L10", "#L35"))
    assert not api_reference.is_current(page, page.replace("#L10", "#L36"))
    assert not api_reference.is_current(page, page.replace("Return 10", "Return 11"))
    assert not api_reference.is_current(page, f"{page}\n{page}")


def public(module: ModuleType) -> dict[str, object]:
    """The public names that a module defines, found by importing it."""
    return {
        name: one
        for name, one in vars(module).items()
        if not name.startswith("_")
        and (inspect.isfunction(one) or inspect.isclass(one))
        and one.__module__ == module.__name__
    }


@each("name", MODULES)
def test_every_public_name_is_on_the_page_and_linked(name: str) -> None:
    chapter = api_reference.PAGE.read_text("utf-8").split(f"\n## {name}\n")[1].split("\n## ")[0]
    listed = re.findall(r"^- \[`(\w+)`\]\(\.\./(.+)#L(\d+)\) `", chapter, re.MULTILINE)
    found = public(importlib.import_module(name))
    assert {one for one, _, _ in listed} >= set(found)
    for one, path, line in listed:
        source = (api_reference.ROOT / path).read_text("utf-8").splitlines()
        near = source[max(0, int(line) - 1 - api_reference.NEAR) : int(line) + api_reference.NEAR]
        assert any(re.match(rf"(def|class) {one}\b|{one}\b", text) for text in near), one


def functions(path: Path) -> list[tuple[ast.FunctionDef, str]]:
    """The public functions of a module, each with the docstrings that may name its source."""
    tree = ast.parse(path.read_text("utf-8"))
    return [
        (node, (ast.get_docstring(node) or "") + "\n\n" + (ast.get_docstring(tree) or ""))
        for node in api_reference.definitions(tree.body)
        if isinstance(node, ast.FunctionDef)
    ]


def test_public_functions_have_an_example_or_a_source() -> None:
    """A module with one source may name it once for all its functions."""
    without = {
        f"{name}.{node.name}"
        for name, path in MODULES.items()
        for node, text in functions(path)
        if not re.search(r"^(Examples\n-{8}|References\n-{10})$", text, re.MULTILINE)
    }
    excused = {name for names in WITHOUT_EXAMPLE.values() for name in names.split()}
    assert sorted(without - excused) == []
    assert sorted(excused - without) == [], "they have what they lacked; take them off the list"


@each("name", MODULES)
def test_everything_public_has_a_docstring(name: str) -> None:
    module = importlib.import_module(name)
    assert module.__doc__
    assert not [one for one, value in public(module).items() if not inspect.getdoc(value)]


def test_docstrings_have_one_markup() -> None:
    """Numpydoc with single backticks: no Sphinx roles, no double backticks."""
    for path in api_reference.PACKAGE.rglob("*.py"):
        assert not re.findall(r"``|:[a-z]+:`", path.read_text("utf-8")), path


def test_functions_are_short() -> None:
    """At most 60 lines, the docstring not counted."""
    long = [
        f"{path.name}: {node.name}"
        for path in api_reference.PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.FunctionDef)
        and (node.end_lineno or 0) - node.lineno - len((ast.get_docstring(node) or "").splitlines()) > 60
    ]
    assert not long
