"""Write docs/api.md from the docstrings of quant_core.

Run it as `make docs`. The sources are parsed and not imported: the page is the same under every version of
Python and numpy, and a module that cannot be imported at the moment stops nobody. Of each module it gives the
first paragraph of its docstring; of each public class, function and documented constant the signature, the
first paragraph, and a link to the source. Parameters, errors and references are read in the docstrings.

    python scripts/api_reference.py [--check]
"""

from __future__ import annotations

import argparse
import ast
import re
from collections.abc import Iterator
from itertools import takewhile
from pathlib import Path
from typing import TypeAlias

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "quant_core"
PAGE = ROOT / "docs" / "api.md"

#: Modules without an API: the commands, which docs/quant_core.md describes.
LEFT_OUT = ("quant_core.__main__", "quant_core.cli")

#: The page is stale when a link is off by more lines than this. Within it the definition is on the screen
#: that the link opens, and an edit in one docstring does not renumber the whole page.
NEAR = 25

Function: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef
Definition: TypeAlias = Function | ast.ClassDef
Constant: TypeAlias = ast.Assign | ast.AnnAssign

HEAD = """\
# The API of quant_core

Written by `make docs` from the docstrings. They say more than stands here: parameters with shapes and units,
errors, references, and examples that run. [quant_core.md](quant_core.md) is the map: what each format and
method is for.
"""


def main() -> int:
    """Write the page, or say whether it is current."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument(
        "--check", action="store_true", help="write nothing; exit with 1 if the page is stale"
    )
    if not parser.parse_args().check:
        PAGE.write_text(page(), "utf-8")
        return 0
    if PAGE.exists() and is_current(PAGE.read_text("utf-8"), page()):
        return 0
    print(f"{PAGE.relative_to(ROOT)} is stale; run `make docs`")
    return 1


def is_current(written: str, expected: str) -> bool:
    """Whether two pages say the same, and link to nearly the same lines."""
    lines = [[int(number) for number in re.findall(r"#L(\d+)\)", text)] for text in (written, expected)]
    texts = [re.sub(r"#L\d+\)", ")", text) for text in (written, expected)]
    return texts[0] == texts[1] and all(abs(a - b) <= NEAR for a, b in zip(*lines, strict=True))


def page() -> str:
    """The whole page."""
    modules = [Module(name, path) for name, path in module_files()]
    rows = [
        f"| [`{one.name}`](#{anchor(one.name)}) | {cell(summary(one.tree, one.name))} |" for one in modules
    ]
    return "\n".join([HEAD, "| module | what it is |", "|---|---|", *rows, *map(chapter, modules), ""])


def module_files() -> Iterator[tuple[str, Path]]:
    """The public modules by name, a package before what is in it."""
    found = {}
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(ROOT).with_suffix("").parts
        name = ".".join(part for part in parts if part != "__init__")
        left_out = any(name == one or name.startswith(f"{one}.") for one in LEFT_OUT)
        if not left_out and not any(part.startswith("_") for part in name.split(".")):
            found[name] = path
    return iter(sorted(found.items()))


class Module:
    """A module's name, source and syntax tree."""

    def __init__(self, name: str, path: Path) -> None:
        self.name = name
        self.lines = path.read_text("utf-8").splitlines()
        self.tree = ast.parse("\n".join(self.lines))
        self.link = f"../{path.relative_to(ROOT).as_posix()}"


def definitions(body: list[ast.stmt]) -> list[Definition]:
    """The public classes and functions of a module or a class, in the order of the file."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    return [node for node in body if isinstance(node, kinds) and not node.name.startswith("_")]


def chapter(module: Module) -> str:
    """One module."""
    lines = [
        "",
        f"## {module.name}",
        "",
        f"[source]({module.link}) · {summary(module.tree, module.name)}",
        "",
    ]
    if names := reexported(module.tree):
        lines += [f"Offers from its modules: {', '.join(f'`{name}`' for name in names)}.", ""]
    lines += [constant(module, name, node) for name, node in documented_constants(module)]
    for node in definitions(module.tree.body):
        lines += entry(module, node, f"{module.name}.{node.name}")
    return "\n".join(lines).rstrip()


def entry(module: Module, node: Definition, where: str, indent: str = "") -> Iterator[str]:
    """One function, or one class and what it offers."""
    link = f"[`{node.name}`]({module.link}#L{node.lineno})"
    yield f"{indent}- {link} `{signature(module, node)}` \\\n{indent}  {summary(node, where)}"
    if isinstance(node, ast.ClassDef):
        for member in definitions(node.body):
            yield from entry(module, member, f"{where}.{member.name}", indent + "  ")


def documented_constants(module: Module) -> Iterator[tuple[str, Constant]]:
    """The public constants under a comment that begins with `#:`."""
    for node in module.tree.body:
        if isinstance(node, ast.Assign | ast.AnnAssign):
            target = node.targets[0] if isinstance(node, ast.Assign) else node.target
            commented = module.lines[node.lineno - 2].startswith("#:")
            if isinstance(target, ast.Name) and not target.id.startswith("_") and commented:
                yield target.id, node


def constant(module: Module, name: str, node: Constant) -> str:
    """One constant with the comment above it."""
    above = reversed(module.lines[: node.lineno - 1])
    comment = [line[2:].strip() for line in takewhile(lambda line: line.startswith("#:"), above)]
    kind = f" `{ast.unparse(node.annotation)}`" if isinstance(node, ast.AnnAssign) else ""
    return f"- [`{name}`]({module.link}#L{node.lineno}){kind} \\\n  {' '.join(reversed(comment))}"


def reexported(tree: ast.Module) -> list[str]:
    """The names of a package's `__all__` that it imports from its modules."""
    imported = {
        alias.asname or alias.name
        for node in tree.body
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(PACKAGE.name)
        for alias in node.names
    }
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return [name for name in ast.literal_eval(node.value) if name in imported]
    return []


def signature(module: Module, node: Definition) -> str:
    """How it is called; of a property its type."""
    if isinstance(node, ast.ClassDef):
        return class_signature(module, node)
    decorators = {ast.unparse(decorator).rpartition(".")[2] for decorator in node.decorator_list}
    if decorators & {"property", "cached_property"} and node.returns:
        return ast.unparse(node.returns)
    return arguments(module, node)


def class_signature(module: Module, node: ast.ClassDef) -> str:
    """How its constructor is called, written or a dataclass's; else what the class derives from."""
    for member in node.body:
        if isinstance(member, ast.FunctionDef) and member.name == "__init__":
            return arguments(module, member).removesuffix(" -> None")
    fields = [member for member in node.body if isinstance(member, ast.AnnAssign)]
    if fields and any(ast.unparse(one).startswith("dataclass") for one in node.decorator_list):
        return f"({', '.join(ast.unparse(field) for field in fields)})"
    return f"class({', '.join(ast.unparse(base) for base in node.bases)})" if node.bases else "class"


def arguments(module: Module, node: Function) -> str:
    """The arguments and the result as the source has them, on one line and without `self`."""
    header = " ".join(module.lines[node.lineno - 1 : node.body[0].lineno - 1])
    text = " ".join(header.partition(node.name)[2].split()).removesuffix(":")
    text = re.sub(r"^\(\s*(self|cls)(, |,? ?(?=\)))", "(", text)
    return re.sub(r"^\( ", "(", text).replace(", )", ")").replace(" )", ")")


def summary(node: ast.Module | Definition, where: str) -> str:
    """The first paragraph of a docstring, on one line, as Markdown."""
    text = ast.get_docstring(node)
    if not text:
        raise SystemExit(f"{where} has no docstring; write one, or begin its name with _")
    return " ".join(text.split("\n\n")[0].split())


def anchor(heading: str) -> str:
    """The fragment that a heading is linked by."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def cell(text: str) -> str:
    """Text for a cell of a table."""
    return text.replace("|", "\\|")


if __name__ == "__main__":
    raise SystemExit(main())
