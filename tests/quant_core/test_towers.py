"""Towers, the parts for pictures and sound, counted as transformers counts them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from quant_core.llm.shapes import model_shape
from quant_core.llm.towers import tower_parameters
from tests.each import each

DATA = Path(__file__).parent.parent / "data" / "architectures.json"
MODELS: dict[str, dict[str, Any]] = {m["name"]: m for m in json.loads(DATA.read_text("utf-8"))["models"]}
TOWERS = {
    name: model
    for name, model in MODELS.items()
    if "towers" in model and any(part in model["config"] for part in ("vision_config", "audio_config"))
}
TEXT = {
    "model_type": "llama", "hidden_size": 2048, "num_hidden_layers": 2, "num_attention_heads": 16,
    "intermediate_size": 4096, "vocab_size": 1000,
}  # fmt: skip


def counted(config: dict[str, Any]) -> int | None:
    """The towers alone, whether or not the text can be counted yet."""
    given = config.get("text_config", config)
    width = given.get("hidden_size", 2304 if config["model_type"] == "gemma4" else 4096)
    text = {**TEXT, "hidden_size": width, "num_attention_heads": 1}
    return tower_parameters({**config, "hidden_size": width, "text_config": text})


@each("name", TOWERS)
def test_towers_of_published_models_are_what_transformers_counts(name: str) -> None:
    model = TOWERS[name]
    assert counted(model["config"]) == pytest.approx(sum(model["towers"].values()), rel=0.001)


@pytest.mark.parametrize("name", ["google/gemma-3n-E4B-it", "google/gemma-3n-E2B-it"])
def test_the_towers_of_gemma_3n(name: str) -> None:
    """Counted with timm 1.0.31, which the environment of `make count` does without."""
    by_part = (294_126_912, 681_348_640, 4_460_544, 3_345_408)
    assert counted(MODELS[name]["config"]) == sum(by_part)


def test_a_model_of_text_has_none() -> None:
    assert tower_parameters(TEXT) == 0
    assert tower_parameters({**TEXT, "vision_config": None}) == 0


@pytest.mark.parametrize(
    "config",
    [
        {"model_type": "llava", "vision_config": {"model_type": "novel_vision", "hidden_size": 1024}},
        {"model_type": "llava", "vision_config": "clip"},
        {"model_type": "llava", "vision_config": {"model_type": "clip_vision_model", "hidden_size": "wide"}},
        {"model_type": "llava", "vision_config": {"model_type": "clip_vision_model", "hidden_size": 10**40}},
        {
            "model_type": "gemma3",
            "vision_config": {"model_type": "siglip_vision_model", "vision_use_head": 1},
        },
        {"model_type": "qwen3_vl", "vision_config": {"deepstack_visual_indexes": 3}},
        {"model_type": "gemma4", "audio_config": {"subsampling_conv_channels": [1]}},
        {"model_type": "internvl", "vision_config": {"norm_type": "rms_norm"}},
        {"model_type": "novel_vl", "vision_config": {"hidden_size": 1024}},
        {"model_type": "phi4mm", "audio_processor": {"name": "cascades"}},
        {"model_type": "llava", "mm_vision_tower": "openai/clip-vit-large-patch14"},
    ],
)
def test_unknown_tower_has_no_size(config: dict[str, Any]) -> None:
    assert tower_parameters({**config, "text_config": TEXT}) is None


def test_the_text_must_be_one_that_is_counted() -> None:
    with pytest.raises(ValueError, match="hidden_size"):
        tower_parameters(
            {"model_type": "llava", "text_config": {"hidden_size": 0}, "vision_config": {"depth": 1}}
        )


def test_numbers_of_the_tower_count() -> None:
    clip = {"model_type": "clip_vision_model", "hidden_size": 64, "intermediate_size": 128, "patch_size": 4,
            "image_size": 8, "num_hidden_layers": 1, "num_channels": 1}  # fmt: skip
    embedded = 16 * 64 + (4 + 2) * 64 + 4 * 64
    layer = 4 * (64 * 64 + 64) + 64 * 128 + 128 + 128 * 64 + 64 + 4 * 64
    projector = 64 * 2048 + 2048 + 2048 * 2048 + 2048
    config = {"model_type": "llava", "text_config": TEXT, "vision_config": clip}
    assert tower_parameters(config) == embedded + layer + projector
    assert model_shape(config).hidden_size == 2048
