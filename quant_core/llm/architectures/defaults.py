"""What a configuration class assumes for the fields that a `config.json` leaves out.

Files that transformers saves hold only what differs from the defaults of their class. Those that decide
a size lie in `class_defaults.json`, for the classes whose defaults `quant_core.llm.shapes` counts right;
`make count` writes it from the classes of transformers.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any


def class_defaults(model_type: str) -> Mapping[str, Any]:
    """Return the defaults of the class of a `model_type`; none where it is not known.

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
    """Return the defaults of every class that is known.

    Examples
    --------
    >>> read_defaults()["llama"]["num_hidden_layers"]
    32
    """
    text = files("quant_core.llm.architectures").joinpath("class_defaults.json").read_text("utf-8")
    content: dict[str, dict[str, Any]] = json.loads(text)["defaults"]
    return content
