"""Our style sheets for a drawing that leaves the page: what they say of each element, in plain sRGB colours.

The tokens are `light-dark()` pairs in OKLCH behind custom properties. A file takes one side of each pair.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal
from xml.etree.ElementTree import Element

import tinycss2
from coloraide import Color
from cssselect2 import ElementWrapper, Matcher, SelectorError, compile_selector_list

from app.assets import STATIC
from lessons.catalogue import style_sheets

Scheme = Literal["light", "dark"]
Looks = dict[str, str]
Tokens = list[Any]
"""What tinycss2 calls component values."""

ROOT_FONT_SIZE = 16
"""Pixels of a `rem`."""


def looks(root: Element, figure: str, scheme: Scheme) -> dict[Element, Looks]:
    """What the sheets declare, on a wide screen, for each element of a document that holds a figure."""
    matcher = _matcher(figure)
    found: dict[Element, Looks] = {}

    def visit(element: ElementWrapper, variables: Mapping[str, Tokens]) -> None:
        declared = _cascade(matcher, element)
        variables = {
            **variables,
            **{name: value for name, value in declared.items() if name.startswith("--")},
        }
        found[element.etree_element] = {
            name: plain(value, variables, scheme)
            for name, value in declared.items()
            if not name.startswith("--")
        }
        for child in element.iter_children():
            visit(child, variables)

    visit(ElementWrapper.from_html_root(root), {})
    return found


def plain(value: Iterable[Any], variables: Mapping[str, Tokens], scheme: Scheme) -> str:
    """A value without custom properties, pairs, OKLCH and `rem`.

    >>> variables = {"--ink": tinycss2.parse_component_value_list("light-dark(oklch(22% .01 85), white)")}
    >>> plain(tinycss2.parse_component_value_list("1px solid var(--ink)"), variables, "light")
    '1px solid #1d1a15'
    """
    return "".join(_plain(token, variables, scheme) for token in value).strip()


def _plain(token: Any, variables: Mapping[str, Tokens], scheme: Scheme) -> str:
    if token.type == "dimension" and token.lower_unit == "rem":
        return f"{token.value * ROOT_FONT_SIZE:g}px"
    if token.type != "function":
        return str(token.serialize())
    if token.lower_name == "oklch":
        return _hexadecimal(token.serialize())
    arguments = [
        list(part)
        for comma, part in itertools.groupby(token.arguments, lambda each: each == ",")
        if not comma
    ]
    if token.lower_name == "var":
        name, *default = arguments
        return plain(variables.get(plain(name, {}, scheme), *default), variables, scheme)
    if token.lower_name == "light-dark":
        return plain(arguments[scheme == "dark"], variables, scheme)
    return f"{token.name}({', '.join(plain(argument, variables, scheme) for argument in arguments)})"


@functools.cache
def _hexadecimal(colour: str) -> str:
    found: str = Color(colour).convert("srgb").to_string(hex=True, fit="clip")
    return found


def root_tokens() -> dict[str, Tokens]:
    """The custom properties of `:root` by name, as `tokens.css` declares them, in its order."""
    _, declared = next(rules((STATIC / "css" / "tokens.css").read_text("utf-8")))
    return {each.name: each.value for each in declared if each.name.startswith("--")}


@functools.cache
def _matcher(figure: str) -> Matcher:
    """The rules of a figure's sheets, in their order; those under a condition are left out."""
    own = [file for file, _ in style_sheets() if file.parent.name == figure]
    matcher = Matcher()
    for file in [*_shared_sheets(), *own]:
        for selector, declarations in _rules_of(file):
            matcher.add_selector(selector, declarations)
    return matcher


def read_sheets() -> None:
    """Read every sheet that a picture of a figure needs."""
    for file in [*_shared_sheets(), *(file for file, _ in style_sheets())]:
        _rules_of(file)


def _shared_sheets() -> list[Path]:
    return [STATIC / "css" / f"{name}.css" for name in ("tokens", "figure", "chart")]


@functools.cache
def _rules_of(file: Path) -> list[tuple[Any, list[Any]]]:
    """The rules of a sheet, parsed once for all figures."""
    return list(rules(file.read_text("utf-8")))


def rules(sheet: str) -> Iterator[tuple[Any, list[Any]]]:
    """The selectors of a style sheet with their declarations, but for what only a browser has."""
    for rule in tinycss2.parse_stylesheet(sheet, skip_comments=True, skip_whitespace=True):
        if rule.type != "qualified-rule":
            continue
        try:
            selectors = compile_selector_list(rule.prelude)
        except SelectorError:
            continue
        content = tinycss2.parse_blocks_contents(rule.content, skip_comments=True, skip_whitespace=True)
        for selector in selectors:
            if selector.pseudo_element is None:
                yield selector, [each for each in content if each.type == "declaration"]


def _cascade(matcher: Matcher, element: ElementWrapper) -> dict[str, Tokens]:
    """The values that win, in the order of the cascade: a shorthand may follow what it overrides."""
    declared = [each for *_, declarations in matcher.match(element) for each in declarations]
    won: dict[str, Tokens] = {}
    for declaration in sorted(declared, key=lambda each: each.important):
        won.pop(declaration.name, None)
        won[declaration.name] = declaration.value
    return won
