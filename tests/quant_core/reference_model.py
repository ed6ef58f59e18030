"""A second implementation of the forward pass, in the conventions of Hugging Face and double precision.

`tests/interop` compares it with llama.cpp, `test_model.py` compares `quant_core.llm.model` with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

LLAMA3 = {
    "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}  # fmt: skip
QWEN2 = {"architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2"}
QWEN3 = {"architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "head_dim": 32}
#: What a checkpoint may have beyond the plain Llama of `model_files.CONFIG`.
VARIANTS: dict[str, dict[str, Any]] = {
    "llama": {},
    "llama3": {"rope_scaling": LLAMA3},
    "tied": {"tie_word_embeddings": True},
    "bias": {"attention_bias": True},
    "qwen2": QWEN2,
    "qwen3": QWEN3,
}


def forward(config: Mapping[str, Any], w: Mapping[str, Array], tokens: NDArray[Any]) -> Array:
    """The forward pass of a Llama in the conventions of Hugging Face: logits, (tokens, vocabulary)."""
    heads, kv_heads = config["num_attention_heads"], config["num_key_value_heads"]
    head_dim = config.get("head_dim", config["hidden_size"] // heads)
    angle = np.arange(len(tokens))[:, None] * frequencies(config, head_dim)

    def norm(x: Array, name: str) -> Array:
        scaled: Array = x / np.sqrt(np.mean(x**2, axis=-1, keepdims=True) + config["rms_norm_eps"]) * w[name]
        return scaled

    def project(x: Array, at: str, count: int) -> Array:
        y: Array = x @ w[f"{at}_proj.weight"].T + w.get(f"{at}_proj.bias", np.zeros(1))
        y = y.reshape(len(tokens), count, head_dim).swapaxes(0, 1)
        return norm(y, f"{at}_norm.weight") if f"{at}_norm.weight" in w else y

    def rotate(x: Array) -> Array:
        a, b = np.split(x, 2, axis=-1)
        return np.concatenate(
            [a * np.cos(angle) - b * np.sin(angle), b * np.cos(angle) + a * np.sin(angle)], -1
        )

    x = w["model.embed_tokens.weight"][tokens]
    for layer in range(config["num_hidden_layers"]):
        at = f"model.layers.{layer}."
        y = norm(x, f"{at}input_layernorm.weight")
        query = rotate(project(y, f"{at}self_attn.q", heads))
        key, value = (project(y, f"{at}self_attn.{part}", kv_heads) for part in "kv")
        key, value = (np.repeat(part, heads // kv_heads, axis=0) for part in (rotate(key), value))
        scores = query @ key.swapaxes(1, 2) / np.sqrt(head_dim)
        scores += np.triu(np.full(scores.shape[1:], -np.inf), 1)
        weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
        mixed = (
            (weights / weights.sum(axis=-1, keepdims=True) @ value).swapaxes(0, 1).reshape(len(tokens), -1)
        )
        x = x + mixed @ w[f"{at}self_attn.o_proj.weight"].T
        y = norm(x, f"{at}post_attention_layernorm.weight")
        gate = y @ w[f"{at}mlp.gate_proj.weight"].T
        up = y @ w[f"{at}mlp.up_proj.weight"].T
        x = x + (gate / (1 + np.exp(-gate)) * up) @ w[f"{at}mlp.down_proj.weight"].T
    return norm(x, "model.norm.weight") @ w.get("lm_head.weight", w["model.embed_tokens.weight"]).T


def frequencies(config: Mapping[str, Any], head_dim: int) -> Array:
    """Angle per position of each pair; Llama 3 slows the long waves down."""
    frequency: Array = config["rope_theta"] ** (-np.arange(0, head_dim, 2) / head_dim)
    if "rope_scaling" not in config:
        return frequency
    turns = 64 * frequency / (2 * np.pi)
    kept = np.clip((turns - 1) / (4 - 1), 0, 1)
    slowed: Array = (1 - kept) * frequency / 8 + kept * frequency
    return slowed
