"""The steps of CONTRIBUTING.md for a new figure suffice: in a copy of the tree all checks pass."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LEFT_OUT = shutil.ignore_patterns(
    ".git", ".venv*", "node_modules", "__pycache__", ".*_cache", "test-results", "*.png"
)
NAME = "sawtooth"  # a word that names no test
SUITES = ["tests/lessons", "tests/app", "tests/test_docs.py", "tests/test_arrows.py"]
SEEING = f"{NAME} or test_docs.py or test_arrows.py or test_bare_numbers.py or is_complete or in_the_specimen"
"""Tests that run for each figure, and those that check all figures."""


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tree with a figure that was just created."""
    tree = tmp_path_factory.mktemp("copy") / "tree"
    shutil.copytree(ROOT, tree, ignore=LEFT_OUT)
    shutil.copytree(ROOT / "docs", tree / "docs", dirs_exist_ok=True)
    if (ROOT / ".mypy_cache").is_dir():
        shutil.copytree(ROOT / ".mypy_cache", tree / ".mypy_cache")
    run(tree, "scripts/new_figure.py", NAME)
    return tree


def run(tree: Path, *arguments: str) -> str:
    """Run Python in the copy and return its output."""
    environment = os.environ | {"PYTHONPATH": str(tree), "OPENBLAS_NUM_THREADS": "1"}
    environment.pop("PYTEST_XDIST_WORKER", None)
    done = subprocess.run(
        [sys.executable, *arguments], cwd=tree, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    return done.stdout


def test_new_figure_consists_of_folder_words_and_test(copy: Path) -> None:
    """Apart from these only generated files and the line in the prose change."""
    written = {path.relative_to(copy).as_posix() for path in copy.rglob(f"*{NAME}*")}
    folder = {path.name for path in (copy / "lessons/quantization/figures" / NAME).iterdir()}
    assert folder - {"__pycache__"} == {"__init__.py", "drawing.jinja", "style.css"}
    assert {path for path in written if not path.endswith(".pyc")} == {
        f"lessons/quantization/figures/{NAME}",
        f"lessons/quantization/en/figures/{NAME}.toml",
        f"tests/lessons/test_{NAME}.py",
    }
    for path in written | {"docs/figures.md", "docs/accessibility.md"}:
        assert NAME in path or NAME in (copy / path).read_text("utf-8")


def test_lint_and_types_pass(copy: Path) -> None:
    run(copy, "-m", "ruff", "check", ".")
    run(copy, "-m", "ruff", "format", "--check", ".")
    run(copy, "-m", "mypy", "lessons", "tests/lessons")


def test_suites_that_iterate_over_figures_pass(copy: Path) -> None:
    printed = run(copy, "-m", "pytest", "-q", "-p", "no:cacheprovider", *SUITES, "-k", SEEING)
    (passed,) = re.findall(r"(\d+) passed", printed)
    assert int(passed) > 50


def test_taken_name_is_refused_and_nothing_overwritten(copy: Path) -> None:
    before = (copy / f"tests/lessons/test_{NAME}.py").read_bytes()
    with pytest.raises(AssertionError, match="is already there"):
        run(copy, "scripts/new_figure.py", NAME)
    with pytest.raises(AssertionError, match="small letters"):
        run(copy, "scripts/new_figure.py", "../Spread")
    assert (copy / f"tests/lessons/test_{NAME}.py").read_bytes() == before
