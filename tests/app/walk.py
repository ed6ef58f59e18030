"""Request every kind of response from a ready server; list the project files that it opens.

python -m tests.app.walk FOLDER     the folder is for job results
"""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from safetensors import safe_open
from starlette.testclient import TestClient

os.environ["ACADEMY_MAKE_AHEAD"] = "0"

from app.assets import static_files, version
from app.cache.ahead import read_everything
from app.http.connections import BoundedHttp  # noqa: F401 — as scripts/serve.py does
from app.main import create_app
from app.settings import Settings
from bench.states import FIGURES, LESSON, fragment_path, random_states, table_path
from lessons.kit.source import library_functions

ROOT = Path(__file__).resolve().parents[2]
READ = [str(ROOT / folder) + "/" for folder in ("lessons", "quant_core", "templates", "static")]
"""FastAPI looks up lines of `app` for its messages; its modules are watched below."""

OURS = ("app.", "lessons.", "quant_core.")
URL, FRAGMENTS = "/lessons/quantization", f"/fragments/{version()}/quantization"


def addresses() -> Iterator[str]:
    """One address of each kind for each figure, question, task and job; every ninth library function."""
    yield from ("/", "/accessibility", "/styleguide", "/nowhere", "/readyz", "/en-XA/", f"/en-XA{URL}")
    yield from ("/teach", "/teach/plans", "/teach/answers", "/privacy", "/qr.svg?to=/lessons/quantization")
    yield from (f"/ar-XB{URL}/figures/fit", "/lessons/specimen", "/lessons/specimen/jobs/squares")
    for rest in (
        "",
        "?rtn.bits=5",
        "?rtn.bits=99",
        "/teach",
        "/teach?figure=rtn",
    ):
        yield URL + rest
    for page in ("summary", "faq", "sources", "receipts", "questions", "notebook.ipynb"):
        yield f"{URL}/{page}"
    yield f"{FRAGMENTS}/questions"
    yield from (f"{URL}/jobs/{name}" for name in LESSON.jobs)
    yield from (f"{URL}/tasks/{name}?seed=3" for name in LESSON.tasks)
    for name in LESSON.questions:
        yield from (f"{URL}/questions/{name}", f"{URL}/questions/{name}?skip=1")
    yield from (f"{URL}/code/{name}" for name in list(library_functions())[::9])
    yield from (f"/static/{version()}/{name}" for name in (*static_files(), "lesson.css", "workshop.css"))
    for name in FIGURES:
        for rest in ("", "?embed=1", ".csv", ".svg", ".svg?ground=dark", ".py"):
            yield f"{URL}/figures/{name}{rest}"
        yield from (f"{FRAGMENTS}/{name}/share", f"{FRAGMENTS}/{name}/own")
        states = random_states(name, 3, random.Random(0))
        yield from (fragment_path(name, state) for state in states)
        yield from (
            table_path(name, control, states[0]) for control in [*FIGURES[name].controls.tabled()][:1]
        )


def main(jobs: str) -> int:
    """Request all addresses; print the files opened for each, then the number of addresses."""
    lesson = create_app(Settings(pseudo_languages=True, jobs_folder=jobs))
    read_everything(lesson)
    asked, found, walked = "the start of a worker", set(), 0
    modules = set(sys.modules)

    def note(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open" and isinstance(arguments[0], str) and arguments[0].startswith(tuple(READ)):
            found.add(f"{asked}: {arguments[0]}")

    def noted(*arguments: Any, **options: Any) -> Any:
        found.add(f"{asked}: {arguments[0]}")
        return safe_open(*arguments, **options)

    sys.addaudithook(note)
    for name in modules:
        if name.startswith(OURS) and hasattr(sys.modules[name], "safe_open"):
            vars(sys.modules[name])["safe_open"] = noted  # it opens files without Python's knowledge
    with TestClient(lesson) as client:
        for asked in addresses():
            assert client.get(asked).status_code < 500, asked
            walked += 1
    found |= {f"a late import: {name}" for name in sys.modules.keys() - modules if name.startswith(OURS)}
    print(*sorted(found), walked, sep="\n")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
