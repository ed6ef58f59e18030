"""Parameters as transformers counts them for the defaults of its classes, and for each field changed.

The data is written by `make count`; see tests/data/README.md.
"""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from quant_core.llm.shapes import model_shape, read_shape

DATA = Path(__file__).parent.parent / "data"
MODELS: dict[str, dict[str, Any]] = {
    model["name"]: model for model in json.loads((DATA / "architectures.json").read_text("utf-8"))["models"]
}
DEFAULTS: dict[str, dict[str, Any]] = json.loads(
    gzip.decompress((DATA / "default_configs.json.gz").read_bytes())
)["defaults"]


def counted(config: dict[str, Any]) -> int | None:
    """Our number, or None where the configuration is refused."""
    try:
        return model_shape(config).parameters
    except ValueError:
        return None


def test_no_default_configuration_is_counted_wrong() -> None:
    found = {name: counted(entry["config"]) for name, entry in DEFAULTS.items()}
    wrong = [
        name
        for name, count in found.items()
        if count is not None and count != pytest.approx(DEFAULTS[name]["parameters"], rel=0.01)
    ]
    assert not wrong
    assert sum(count is not None for count in found.values()) > 120


def test_no_field_of_a_default_configuration_is_overlooked() -> None:
    """Each field that changes the count of transformers, one at a time."""
    wrong, right = [], 0
    for name, entry in DEFAULTS.items():
        for change in entry["changed"]:
            count = counted({**entry["config"], **change["config"]})
            if count is not None and count != pytest.approx(change["parameters"], rel=0.01):
                wrong.append(f"{name} {change['field']}={change['value']}")
            right += count is not None
    assert not wrong
    assert right > 800


def test_omitted_fields_take_the_defaults_of_their_class() -> None:
    """A file that holds nothing but its kind, and one that holds one field more."""
    wrong, right = [], 0
    for name, entry in DEFAULTS.items():
        if "text_config" in entry["config"]:
            continue
        for fields, parameters in [
            ({}, entry["parameters"]),
            *(({change["field"]: change["value"]}, change["parameters"]) for change in entry["changed"]),
        ]:
            count = counted({"model_type": name, **fields})
            if count is not None and count != pytest.approx(parameters, rel=0.01):
                wrong.append(f"{name} {fields}")
            right += count is not None
    assert not wrong
    assert right > 500


def test_sizes_that_were_assumed_are_named() -> None:
    gemma, read = read_shape(MODELS["google/gemma-3-4b-it"]["config"])
    assert {"num_attention_heads", "num_key_value_heads", "vocab_size"} <= set(gemma.assumed)
    assert read["num_attention_heads"] == 8
    with pytest.raises(ValueError, match="num_attention_heads is missing"):
        read_shape(MODELS["google/gemma-3-4b-it"]["config"], assume=False)
    assert not model_shape({"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12,
                            "intermediate_size": 3072, "vocab_size": 50304}).assumed  # fmt: skip
    with pytest.raises(ValueError, match="is missing"):
        model_shape({"model_type": "novel_llama", "vocab_size": 32000})
