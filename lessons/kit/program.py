"""A figure's computation as a program: the source of `compute`, a state of the controls, the read-outs.

What `compute` names in its figure's folder is taken over, function by function; what it imports from
elsewhere stays imported. So the program holds what ran, and nothing else.
"""

from __future__ import annotations

import ast
import functools
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from itertools import groupby
from pathlib import Path
from typing import Any

from lessons.kit.controls import FigureControls

WIDTH = 100
_BLOCK = ("def ", "class ", "@")
_INDENTED: dict[str, Any] = {"initial_indent": "    ", "subsequent_indent": "    "}


@dataclass(frozen=True, slots=True)
class Computation:
    """The code of a `compute`, in pieces.

    Attributes
    ----------
    imports
        Line by line.
    first
        Constants and classes, each behind what it needs, with the functions that they need.
    functions
        `compute`, and the functions that it calls, each before what it calls.
    """

    imports: tuple[str, ...]
    first: tuple[str, ...]
    functions: tuple[str, ...]

    @property
    def source(self) -> str:
        """The code in the order in which it runs."""
        return _paragraphs((*self.first, *self.functions))

    @property
    def listing(self) -> str:
        """The code in the order in which it is read: `compute` at the top."""
        return _paragraphs((*self.functions, *self.first))


def _paragraphs(definitions: Iterable[str]) -> str:
    """Definitions as a module has them, constants that follow one another in one paragraph."""
    paragraphs: list[str] = []
    for are_blocks, group in groupby(definitions, key=lambda code: code.startswith(_BLOCK)):
        codes = list(group)
        paragraphs += codes if are_blocks else ["\n".join(codes)]
    return "\n\n\n".join(paragraphs)


def program(compute: Callable[..., Any], controls: FigureControls, read_outs: Iterable[str]) -> str:
    """Python that computes and prints the read-outs of a state, to be run in the repository's root."""
    computation = computation_of(compute)
    names = textwrap.fill(", ".join(f'"{name}"' for name in read_outs) + ",", WIDTH, **_INDENTED)
    prints = f"""for name in (
{names}
):
    print(f"{{name}} = {{getattr(result, name)!r}}")"""
    parts = [
        "from __future__ import annotations",
        _sorted_imports((*computation.imports, "from types import SimpleNamespace")),
        ("\n" if computation.source.startswith(_BLOCK) else "") + computation.source,
        f"\n{_assigned(controls)}\nresult = {compute.__name__}(controls)\n{prints}",
    ]
    return "\n\n".join(parts) + "\n"


@functools.cache
def computation_of(compute: Callable[..., Any]) -> Computation:
    """The code of a figure's `compute`, read once, so that it is the code that runs."""
    found = _Found(compute.__module__)
    found.take(compute.__module__, compute.__name__)
    functions = tuple(code for code in found.functions if code not in found.first)
    return Computation(tuple(found.imports), tuple(found.first), functions)


class _Found:
    """The statements that a function needs, directly or not.

    `first` has constants and classes, and the functions that make them, each behind what it needs;
    `functions` the others, `compute` before what it calls.
    """

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.imports: dict[str, None] = {}
        self.first: dict[str, None] = {}
        self.functions: dict[str, None] = {}

    def take(self, module: str, name: str, first: bool = False) -> None:
        """Take the statement that binds a name of a module; `first` if it runs at import."""
        statement = _statements(module).get(name)
        if statement is None:
            return
        code = statement.code
        if statement.imported_from is not None:
            if statement.imported_from.startswith(f"{self.folder}."):
                self.take(statement.imported_from, name, first)
            else:
                self.imports[code] = None
            return
        first = first or not statement.is_function
        place = self.first if first else self.functions
        if code in place:
            return
        place[code] = None
        for used in statement.names:
            self.take(module, used, first)
        if first:
            self.first[code] = self.first.pop(code)  # behind what it needs


@dataclass(frozen=True, slots=True)
class _Statement:
    """A statement that binds a name at the top of a module; `imported_from` is None for a definition."""

    code: str
    names: tuple[str, ...] = ()
    imported_from: str | None = None
    is_function: bool = False


@functools.cache
def _statements(module: str) -> Mapping[str, _Statement]:
    """The statement that binds each name of a module."""
    source = Path(str(import_module(module).__file__)).read_text("utf-8")
    return {name: statement for node in ast.parse(source).body for name, statement in _bound(node, source)}


def _bound(node: ast.stmt, source: str) -> Iterator[tuple[str, _Statement]]:
    if isinstance(node, ast.Import | ast.ImportFrom):
        for alias in node.names:
            name = alias.name + (f" as {alias.asname}" if alias.asname else "")
            if isinstance(node, ast.Import):
                yield alias.asname or alias.name, _Statement(f"import {name}", (), alias.name)
            else:
                code = f"from {node.module} import {name}"
                yield alias.asname or alias.name, _Statement(code, (), str(node.module))
        return
    first = min([node.lineno, *(decorator.lineno for decorator in getattr(node, "decorator_list", ()))])
    code = "\n".join(source.splitlines()[first - 1 : node.end_lineno])
    statement = _Statement(code, tuple(dict.fromkeys(_names(node))), None, isinstance(node, ast.FunctionDef))
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        yield node.name, statement
    elif isinstance(node, ast.Assign):
        for target in node.targets:
            yield from ((part.id, statement) for part in ast.walk(target) if isinstance(part, ast.Name))


def _names(node: ast.AST) -> Iterator[str]:
    """The names that a statement needs when it runs; annotations are only read by people."""
    for field, value in ast.iter_fields(node):
        if field in ("annotation", "returns"):
            continue
        for part in value if isinstance(value, list) else [value]:
            if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Load):
                yield part.id
            if isinstance(part, ast.AST):
                yield from _names(part)


def _sorted_imports(imports: Iterable[str]) -> str:
    """One line for a module, in three groups: the standard library, packages, the repository's own."""
    whole = sorted(line for line in imports if line.startswith("import "))
    parts: dict[str, list[str]] = {}
    for line in sorted(line for line in imports if line.startswith("from ")):
        module, _, name = line.removeprefix("from ").partition(" import ")
        parts.setdefault(module, []).append(name)
    lines = [*whole, *(_import_line(module, sorted(names)) for module, names in parts.items())]
    groups = [[line for line in lines if _group(line) == group] for group in range(3)]
    return "\n\n".join("\n".join(group) for group in groups if group)


def _import_line(module: str, names: list[str]) -> str:
    line = f"from {module} import {', '.join(names)}"
    if len(line) <= WIDTH:
        return line
    return f"from {module} import (\n" + "".join(f"    {name},\n" for name in names) + ")"


def _group(line: str) -> int:
    package = line.split()[1].partition(".")[0]
    return 0 if package in sys.stdlib_module_names else 2 if package in ("lessons", "quant_core") else 1


def _assigned(controls: FigureControls) -> str:
    """The values of the controls, as the figure has them."""
    values = [(name, _literal(getattr(controls, name))) for name in type(controls).model_fields]
    line = f"controls = SimpleNamespace({', '.join(f'{name}={value}' for name, value in values)})"
    if len(line) <= WIDTH and "\n" not in line:
        return line
    return "controls = SimpleNamespace(\n" + "".join(f"    {name}={value},\n" for name, value in values) + ")"


def _literal(value: Any) -> str:
    """A value as it is typed; a long text on several lines."""
    if not isinstance(value, str):
        return repr(value)
    pieces = textwrap.wrap(value, WIDTH - 20, drop_whitespace=False, break_on_hyphens=False)
    written = [_quoted(piece) for piece in pieces] or ['""']
    if len(written) == 1:
        return written[0]
    return "(\n" + "".join(f"        {piece}\n" for piece in written) + "    )"


def _quoted(text: str) -> str:
    return repr(text) if '"' in text or "\\" in text else f'"{text}"'
