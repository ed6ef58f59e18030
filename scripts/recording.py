"""What the scripts that record results share: conditions, a hash of the code, and the form of the file."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from lessons.quantization.measuring import bare_source

ROOT = Path(__file__).resolve().parent.parent


def code_of(modules: Iterable[str]) -> str:
    """SHA-256 of modules, named by their path from the root, without comments and docstrings."""
    digest = hashlib.sha256()
    for name in modules:
        digest.update(bare_source((ROOT / name).read_text("utf-8")).encode())
    return digest.hexdigest()


def conditions(about: str) -> dict[str, Any]:
    """How a recording begins: what it is, the day, and the versions that made it."""
    return {
        "about": about,
        "made": datetime.now(UTC).date().isoformat(),
        "versions": {
            "python": platform.python_version(),
            "numpy": np.__version__,
            "machine": platform.machine(),
        },
    }


def as_text(found: Mapping[str, Any]) -> str:
    """JSON with one row of a table per line, for readable diffs."""
    return (
        "{\n " + ",\n ".join(f"{json.dumps(key)}: {_value(value)}" for key, value in found.items()) + "\n}\n"
    )


def _value(value: Any) -> str:
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return "[\n  " + ",\n  ".join(json.dumps(row, ensure_ascii=False) for row in value) + "\n ]"
    return json.dumps(value, ensure_ascii=False)


def write(path: Path, found: Mapping[str, Any]) -> None:
    """Write a recording."""
    path.write_text(as_text(found), "utf-8")
    print(f"wrote {path.relative_to(ROOT)}")
