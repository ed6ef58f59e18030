"""The defaults of configuration classes for fields that a `config.json` omits.

Files that transformers saves hold only values that differ from the defaults of their class. Defaults that
decide a size are in `class_defaults.json`, for classes that `quant_core.llm.shapes` counts right with them;
`make count` writes that file from the classes of transformers.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any


def class_defaults(model_type: str) -> Mapping[str, Any]:
    """Return the defaults of the class of a `model_type`; empty if it is not known.

    Examples
    --------
    >>> class_defaults("gemma3_text")["head_dim"]
    256
    >>> class_defaults("novel")
    {}
    """
    known = read_defaults()
    found = known.get(model_type) or known.get(f"{model_type}_text") or {}
    return found


@cache
def read_defaults() -> dict[str, dict[str, Any]]:
    """Return the defaults of every known class.

    Examples
    --------
    >>> read_defaults()["llama"]["num_hidden_layers"]
    32
    """
    text = files("quant_core.llm.architectures").joinpath("class_defaults.json").read_text("utf-8")
    content: dict[str, dict[str, Any]] = json.loads(text)["defaults"]
    return content
