"""The wheel of quant_core alone, installed in a fresh environment: its README example and its commands."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import venv
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text("utf-8")
MODEL = ROOT / "lessons" / "quantization" / "weights" / "tinylm" / "model.safetensors"


class Environment:
    """An environment with only numpy and the wheel; numpy is copied, without a package index."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        venv.create(folder / "fresh", with_pip=False)
        self.programs = folder / "fresh" / ("Scripts" if os.name == "nt" else "bin")
        self.python = self.programs / "python"
        (packages,) = (folder / "fresh").rglob("site-packages")
        for part in Path(np.__file__).parents[1].glob("numpy*"):
            (packages / part.name).symlink_to(part, target_is_directory=True)
        self.install()

    def install(self) -> None:
        run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(self.folder)], cwd=ROOT)
        (wheel,) = self.folder.glob("quant_core-*.whl")
        pip = [sys.executable, "-m", "pip", "--python", str(self.python), "--disable-pip-version-check"]
        run([*pip, "install", "--no-index", str(wheel)], cwd=self.folder)

    def run(self, *command: str) -> str:
        """The output of a command of the environment, in a folder without the checkout."""
        return run([str(self.programs / command[0]), *command[1:]], cwd=self.folder)


def run(command: list[str], cwd: Path) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    for needed in ("hatchling", "pip"):
        pytest.importorskip(needed, reason=f"{needed} builds or installs the wheel; `make test` installs it")
    return Environment(tmp_path_factory.mktemp("wheel"))


def test_wheel_contains_only_the_library_and_its_data(fresh: Environment) -> None:
    code = """\
import importlib.metadata, importlib.util, pathlib, quant_core
from quant_core.ggml import iq
from quant_core.llm.architectures.defaults import read_defaults

assert pathlib.Path(quant_core.__file__).is_relative_to(pathlib.Path.cwd()), quant_core.__file__
assert iq.grid("iq1s").shape == (2048, 8) and read_defaults()
assert (pathlib.Path(quant_core.__file__).parent / "py.typed").exists()
names = {one.metadata["Name"] for one in importlib.metadata.distributions()}
assert names == {"numpy", "quant-core"}, names
assert not any(map(importlib.util.find_spec, ("app", "lessons", "tests")))
"""
    fresh.run("python", "-c", code)


def test_the_example_of_the_readme_runs(fresh: Environment) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert fresh.run("python", "-c", code) == "4.15625\n"


def test_the_commands_of_the_readme_run(fresh: Environment) -> None:
    (fresh.folder / "model.safetensors").symlink_to(MODEL)
    for file in ("config.json", "tokenizer.json"):
        (fresh.folder / file).symlink_to(MODEL.with_name(file))
    commands = re.findall(r"^(quant-core [^#\n]+)", README, re.MULTILINE)
    assert len(commands) == 2
    printed = [fresh.run(*command.split()) for command in commands]
    assert "Q4_K_M" in printed[0]
    assert printed[1].count("\n") > 10
    assert (fresh.folder / "model.gguf").read_bytes()[:4] == b"GGUF"


def test_the_command_and_the_module_are_the_same_program(fresh: Environment) -> None:
    """Help and errors name the command as typed."""
    helps = [fresh.run("quant-core", "--help"), fresh.run("python", "-m", "quant_core", "--help")]
    assert helps[0].startswith("usage: quant-core ")
    assert helps[0].split()[2:] == helps[1].split()[2:]
    done = subprocess.run(
        [fresh.programs / "quant-core", "inspect", "missing.gguf"], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (2, "quant-core: missing.gguf: No such file or directory\n")
