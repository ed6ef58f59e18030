"""The Python that ran: the very source of a function, highlighted."""

from __future__ import annotations

import ast
import functools
import importlib
import inspect
import pkgutil
import re
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pygments import highlight as pygments_highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer

import lessons
import quant_core
from lessons.kit.program import computation_of


@dataclass(frozen=True, slots=True)
class Source:
    """A function's dotted name and its highlighted source, as safe HTML in three parts that join without gap.

    `head` ends with the first line of the docstring, `documentation` is the rest of it, `body` is what runs.
    """

    name: str
    head: str
    documentation: str
    body: str


@functools.lru_cache(maxsize=256)
def source_of(function: Callable[..., Any]) -> Source:
    """The source of a function as it stands in its file, of a figure's `compute` with what it names."""
    if not function.__module__.startswith("quant_core."):
        return Source(dotted_name(function), highlight(computation_of(function).listing), "", "")
    where = function.__code__
    following = _lines(where.co_filename)[where.co_firstlineno - 1 :]
    code = textwrap.dedent("".join(inspect.getblock(following)))
    lines = highlight(code).rstrip("\n").split("\n")
    definition = ast.parse(code).body[0]
    assert isinstance(definition, ast.FunctionDef)
    first = definition.body[0]
    documented = ast.get_docstring(definition) is not None
    head, end = (
        (first.lineno, first.end_lineno or first.lineno)
        if documented
        else (first.lineno - 1, first.lineno - 1)
    )
    parts = lines[:head], lines[head:end], lines[end:]
    return Source(dotted_name(function), *("\n".join(part) for part in parts))


def source_named(dotted: str) -> Source:
    """The source of the function with this dotted name, such as `quant_core.methods.rtn.round_to_nearest`."""
    return source_of(shown_functions()[dotted])


def _former_name(dotted: str) -> str:
    """The name from before modules had folders, such as `quant_core.rtn.round_to_nearest`, for old links."""
    return re.sub(r"^quant_core\.(methods|llm|ggml(?=\.mixes\.))\.", "quant_core.", dotted)


def dotted_name(function: Callable[..., Any]) -> str:
    """The name under which `source_named` finds a function."""
    return f"{function.__module__}.{function.__qualname__}"


@functools.cache
def _lines(file: str) -> list[str]:
    """The lines of a module, read once, so that they are those that run."""
    return Path(file).read_text("utf-8").splitlines(keepends=True)


@functools.cache
def shown_functions() -> dict[str, Callable[..., Any]]:
    """Every function that has a page: those of the library, and the `compute` of each figure."""
    folders = sorted(Path(lessons.__path__[0]).glob("*/figures/*/__init__.py"))
    names = [f"lessons.{path.parts[-4]}.figures.{path.parts[-2]}" for path in folders]
    computes = [importlib.import_module(name).FIGURE.compute for name in names]
    for compute in computes:
        computation_of(compute)  # reads its lines now
    return library_functions() | {dotted_name(compute): compute for compute in computes}


@functools.cache
def library_functions() -> dict[str, Callable[..., Any]]:
    """Every function and method of `quant_core` by its dotted name, and by its former one."""
    names = [found.name for found in pkgutil.walk_packages(quant_core.__path__, "quant_core.")]
    modules = [importlib.import_module(name) for name in names if not name.endswith("__main__")]
    files = {str(module.__file__): _lines(str(module.__file__)) for module in modules}
    classes = [kind for module in modules for _, kind in inspect.getmembers(module, inspect.isclass)]
    members = [member for owner in (*modules, *classes) for member in vars(owner).values()]
    functions = [inspect.unwrap(member) for member in members if callable(member)]
    named: dict[str, Callable[..., Any]] = {
        dotted_name(function): function
        for function in functions
        if inspect.isfunction(function)
        and function.__module__ in names
        and function.__code__.co_filename in files  # a dataclass has some that are in none
    }
    return {_former_name(name): function for name, function in named.items()} | named


def highlight(code: str) -> str:
    """Python as HTML with class names; the style sheet holds the colours."""
    marked: str = pygments_highlight(code, PythonLexer(), HtmlFormatter(nowrap=True))
    return marked
