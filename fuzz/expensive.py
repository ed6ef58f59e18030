"""The most expensive valid requests for each route, used to test the cost limit of one request.

They are derived from the application's routes, so that none is forgotten: add the values of a new path
placeholder to `PLACES`.
"""

from __future__ import annotations

import base64
import json
import random
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from urllib.parse import urlencode

from fastapi import FastAPI
from fastapi.routing import iter_route_contexts

from app.assets import static_files, version
from app.http.query import FORM
from app.views.teach import GUIDE, MOST_IN_QR
from fuzz.asgi import Request
from lessons.catalogue import Lesson, all_slugs, load_lesson, plain_pages, teaching_pages
from lessons.kit.controls import FigureControls, Text, as_parameter
from lessons.kit.figure import Figure
from lessons.kit.source import library_functions
from quant_core.files.single import MOST_NUMBERS

FORM_HEADERS = (("content-type", FORM),)

LAYERS = 512
OTHERS = (
    "hidden_size=2560 num_attention_heads=32 num_key_value_heads=8 head_dim=128 intermediate_size=9728 "
    "num_experts=128 num_experts_per_tok=8 moe_intermediate_size=768"
)


def routes(app: FastAPI) -> list[tuple[str, str]]:
    """Method and path of every route of the application."""
    return [
        (method, str(route.path))
        for route in iter_route_contexts(app.routes)
        for method in sorted((route.methods or set()) - {"HEAD"})
    ]


def expensive_requests(method: str, path: str, turn: int) -> Iterator[tuple[str, Request]]:
    """The most expensive requests for a route, each with a label; different states for every `turn`."""
    dice = random.Random(f"{method} {path} {turn}")
    if "{slug}" not in path or path == "/{slug}":
        yield from _without_lesson(method, path)
        return
    for slug in all_slugs():
        lesson = load_lesson(slug)
        filled = path.replace("{slug}", slug).replace("{version}", version())
        for place, names in PLACES.items():
            if place in path:
                for name in names(lesson):
                    yield from _of_name(method, filled.replace(place, "{name}"), lesson, name, turn, dice)
                break
        else:
            query = _lesson_query(lesson, turn, dice) if takes_states(path) else ""
            yield slug, Request(method, filled + query)


PLACES: dict[str, Callable[[Lesson], list[str]]] = {
    "tasks/{name}": lambda lesson: [f"tasks/{section}" for section in lesson.tasks],
    "workshop/{page}": lambda lesson: [f"workshop/{page.slug}" for page in lesson.workshop],
    "questions/{name}": lambda lesson: [f"questions/{name}" for name in lesson.questions],
    "jobs/{name}": lambda lesson: [f"jobs/{name}" for name in lesson.jobs],
    "{name}": lambda lesson: list(lesson.figures),
    "code/{function}": lambda lesson: [f"code/{name}" for name in list(library_functions())[::40]],
}
"""Path placeholder → its possible values."""


def takes_states(path: str) -> bool:
    """Whether an address of a lesson holds states of its figures."""
    return path.endswith(("/lessons/{slug}", "/notebook.ipynb"))


def _without_lesson(method: str, path: str) -> Iterator[tuple[str, Request]]:
    if path == "/{slug}":
        yield from ((slug, Request(method, f"/{slug}")) for slug in plain_pages())
    elif path == "/teach/{page}":
        yield from ((slug, Request(method, f"/teach/{slug}")) for slug in teaching_pages() if slug != GUIDE)
    elif path == "/qr.svg":
        yield path, Request(method, f"{path}?to=/{'x' * (MOST_IN_QR - 1)}")
    elif "{path:path}" in path:
        largest = max(static_files(), key=lambda name: static_files()[name].stat().st_size)
        yield largest, Request(method, path.replace("{version}", version()).replace("{path:path}", largest))
    else:
        yield path, Request(method, path)


def _of_name(
    method: str, path: str, lesson: Lesson, name: str, turn: int, dice: random.Random
) -> Iterator[tuple[str, Request]]:
    address = path.replace("{name}", name)
    figure = lesson.figures.get(name)
    if figure is None:
        kind, _, rest = name.partition("/")
        yield name, Request(method, f"{address}{_query_of(kind, rest, lesson, turn)}")
        return
    state = expensive_state(figure, turn, dice)
    query = [(key, as_parameter(value)) for key, value in state]
    if method == "POST":
        if figure.takes_own and not (figure.from_file and path.endswith((".csv", ".svg"))):
            yield from _own(address, figure, query, turn)
    elif "{control}" in path:
        for control in state.tabled():
            yield (
                f"{name} {control}",
                Request(method, f"{address.replace('{control}', control)}?{urlencode(query)}"),
            )
    elif "{function}" in path:
        yield name, Request(method, address.replace("{function}", next(iter(library_functions()))))
    elif _has(figure, lesson, path):
        yield name, Request(method, f"{address}?{urlencode(query)}")


def _has(figure: Figure[Any], lesson: Lesson, path: str) -> bool:
    """Whether a figure has such a page."""
    if path.endswith(".svg"):
        return not figure.is_html
    return figure.takes_own or not path.endswith("/own")


def _query_of(kind: str, name: str, lesson: Lesson, turn: int) -> str:
    if kind == "tasks":
        return f"?seed={9000 + turn}&solve=1"
    if kind == "questions":
        return "?skip=1"
    if kind == "jobs":
        state = expensive_state_of(lesson.jobs[name].controls, name, turn, random.Random(turn))
        return f"?{urlencode(state.query())}"
    return ""


def _lesson_query(lesson: Lesson, turn: int, dice: random.Random) -> str:
    """Every figure in some state, up to the longest query."""
    pairs = [
        (f"{name}.{key}", value)
        for name, figure in lesson.figures.items()
        for key, value in expensive_state(figure, turn, dice).query()
    ]
    pairs.sort(key=lambda pair: pair[0].endswith(("sentence", "config")), reverse=True)
    return f"?{urlencode(pairs[:127])}"


def expensive_state(figure: Figure[Any], turn: int, dice: random.Random) -> FigureControls:
    """A state of a figure whose text controls hold the longest and most expensive text."""
    return expensive_state_of(figure.controls, figure.name, turn, dice)


def expensive_state_of(
    controls: type[FigureControls], name: str, turn: int, dice: random.Random
) -> FigureControls:
    given = {
        key: expensive_text(widget, turn, dice) if isinstance(widget, Text) else dice.choice(widget.states())
        for key, widget in controls.widgets().items()
    }
    if "source" in given and "config" in given:
        given["source"] = "config"
    if "model" in given and "sentence" in given:
        given["model"] = "tinylm"
    return controls.model_validate(given)


def expensive_text(widget: Text, turn: int, dice: random.Random) -> str:
    """The most expensive text of a control: a line of a model with many layers, or many short tokens."""
    model = f"{_layers(turn)} vocab_size={dice.randint(10**5, 10**6)}"
    tokens = "".join(dice.choices("~!@#$%^&*()_+{}|:<>?", k=widget.most))
    return next((text for text in (model, tokens) if widget.accepts(text)), max(widget.samples, key=len))


def _layers(turn: int) -> str:
    return f"model_type=qwen3_moe num_hidden_layers={LAYERS - turn} {OTHERS}"


def _own(
    address: str,
    figure: Figure[Any],
    query: list[tuple[str, str]],
    turn: int,
) -> Iterator[tuple[str, Request]]:
    sent = expensive_configs(turn) if figure.from_file else expensive_numbers(turn)
    for kind, fields in sent.items():
        body = form([*query, *fields.items()])
        yield f"{figure.name} {kind}", Request("POST", address, FORM_HEADERS, body)


def form(fields: Iterable[tuple[str, str]]) -> bytes:
    """The body of a form with as little escaping as possible, so that most fits."""
    return urlencode(list(fields), safe=',:[]{}"').encode()


def expensive_numbers(turn: int) -> dict[str, dict[str, str]]:
    """Readers' own weights: as many numbers as allowed, with as many digits as fit."""
    dice = random.Random(turn)
    numbers = " ".join(f"{dice.gauss(0, 1):.17f}" for _ in range(MOST_NUMBERS))
    return {"numbers": {"own.text": numbers}}


def expensive_configs(turn: int) -> dict[str, dict[str, str]]:
    """Configurations of a model: long lists, many fields, deep nesting, and one value out of range."""
    config = dict(pair.split("=") for pair in f"{_layers(turn)} vocab_size=151936".split())
    read = {key: int(value) if value.isdigit() else value for key, value in config.items()}
    configs = {
        "zeros": {**read, "mlp_only_layers": [0] * 31_000},
        "kinds": {**read, "model_type": "qwen3", "layer_types": ["full_attention"] * (LAYERS - turn)},
        "fields": {**read, **{f"field_{i}": i for i in range(3000)}},
        "out of range": {**read, "vocab_size": 10**12, "mlp_only_layers": [0] * 31_000},
        "nested": {"text_config": {**read, "mlp_only_layers": [LAYERS - turn] * 15_000}},
    }
    texts = {kind: json.dumps(found, separators=(",", ":")) for kind, found in configs.items()}
    texts["deep"] = "[" * 30_000 + "]" * 30_000
    return {
        **{kind: {"own.text": text} for kind, text in texts.items()},
        "file": {"own.file": base64.b64encode(texts["zeros"][:60_000].encode()).decode()},
    }
