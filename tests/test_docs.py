"""Compare the documents with the code: figures, settings, limits, commands, files."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from app.cache import store
from app.http import clients, connections, query, refusals
from app.routes import job
from app.server import supervisor
from app.settings import Settings
from lessons.catalogue import Lesson, load_lesson
from lessons.kit import job_store
from scripts import figure_reference, serve

ROOT = Path(__file__).resolve().parents[1]
LESSON = load_lesson("quantization")


@pytest.mark.parametrize(
    ("document", "page"),
    [
        (figure_reference.FIGURES, figure_reference.figures_page),
        (figure_reference.ACCESSIBILITY, figure_reference.accessibility_page),
    ],
    ids=["figures", "accessibility"],
)
def test_figure_reference_is_current(document: Path, page: Callable[[Lesson, str], str]) -> None:
    written = document.read_text("utf-8")
    assert written == page(LESSON, written)


def test_application_settings_and_defaults_are_documented() -> None:
    text = (ROOT / "docs/hosting.md").read_text("utf-8")
    for name, field in Settings.model_fields.items():
        default = f"`{field.default}`" if field.default != "" else "(empty)"
        variable = field.validation_alias or f"ACADEMY_{name.upper()}"
        assert f"| `{variable}` | {default} |" in text


def test_limits_are_documented() -> None:
    text = (ROOT / "docs/hosting.md").read_text("utf-8")
    rows = dict(
        re.findall(r"^\| ([^|]+) \| ([^|]+) \| [^|]+ \|$", text.split("## Security")[1], re.MULTILINE)
    )
    assert rows["path"] == f"{refusals.PATH_BYTES} bytes"
    assert rows["query"] == f"{query.MAXIMUM_BYTES} bytes, {query.MAXIMUM_FIELDS} parameters"
    assert rows["headers"] == f"{refusals.HEADER_BYTES // 1024} KiB"
    assert rows["a request, head and body"] == (
        f"{connections.REQUEST_BYTES // 1024} KiB, {connections.REQUEST_SECONDS:.0f} s"
    )
    assert rows["its head"] == f"{connections.HEAD_BYTES // 1024} KiB"
    assert rows["pipelined requests"] == str(connections.PIPELINED)
    assert rows["form, where one is accepted"] == (
        f"{query.MAXIMUM_FORM_BYTES // 1024} KiB; all waiting forms {query.MOST_HELD // 2**20} MiB, "
        "of one client no more than remains free"
    )
    assert rows["sending a response"] == f"{connections.ANSWER_SECONDS:.0f} s"
    assert rows["idle time between two requests"] == f"`KEEP_ALIVE`, {serve.KEEP_ALIVE} s"
    without_body = rows["requests of a client with an incomplete body"]
    assert without_body.startswith(f"{connections.INCOMPLETE_REQUESTS};")
    assert text.count(f"after {connections.REFUSED_SECONDS:.0f} s") == 3
    assert connections.SPARE == 1.25
    assert rows["different responses that wait"] == (
        f"{store.MOST_WAITING} in each queue, of state tables {store.MOST_AHEAD}"
    )


SERVER_SETTINGS = {
    "HOST": '"HOST", "127.0.0.1"',
    "PORT": '"PORT", default=8000',
    "WORKERS": '"WORKERS", default=1,',
    "CONNECTIONS": '"CONNECTIONS", default=4000',
    "CLIENT_CONNECTIONS": '"CLIENT_CONNECTIONS", default=2000',
    "KEEP_ALIVE": "KEEP_ALIVE = 130",
}


@pytest.mark.parametrize("name", SERVER_SETTINGS)
def test_server_settings_and_defaults_are_documented(name: str) -> None:
    code, text = SERVER_SETTINGS[name], (ROOT / "docs/hosting.md").read_text("utf-8")
    assert code in (ROOT / "scripts/serve.py").read_text("utf-8")
    default = re.split("[ =]", code)[-1].strip('",')
    assert f"| `{name}` | `{default}` " in text


def test_numbers_in_hosting_match_the_code() -> None:
    text = " ".join((ROOT / "docs/hosting.md").read_text("utf-8").split())
    assert f"At most {job_store.MOST_WAITING} wait, {job_store.MOST_OF_ONE} of them from one client" in text
    assert f"to {job.MOST_FOLLOWERS} pages; others ask every {job.POLL_SECONDS} s" in text
    assert f"stands still for {supervisor.HANGS_AFTER:.0f} s" in text
    assert "within 9 s; Docker waits for 10" in text
    assert supervisor.GRACE < supervisor.KILLED_AFTER < 9
    assert f"the /{clients.NETWORK_BITS} network" in text


@pytest.mark.parametrize("document", ["README.md", "CONTRIBUTING.md"])
def test_make_targets_in_the_documents_exist(document: str) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    named = set(re.findall(r"\bmake ([a-z]+)\b", (ROOT / document).read_text("utf-8")))
    assert named
    assert named <= targets


@pytest.mark.parametrize(
    "document",
    ["README.md", "CONTRIBUTING.md", *sorted(str(p.relative_to(ROOT)) for p in (ROOT / "docs").glob("*.md"))],
)
def test_linked_files_exist(document: str) -> None:
    path = ROOT / document
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", path.read_text("utf-8"))
    assert not [link for link in links if not (path.parent / link).exists()]


def test_readme_example_runs(capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.DOTALL)
    exec(compile(code, "README.md", "exec"), {})
    assert capsys.readouterr().out == "4.15625\n"
