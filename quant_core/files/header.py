"""Read a model's shape from the header of a GGUF file, as the fields of a `config.json`.

`quant_core.llm.shapes` then reads these with the same checks as a configuration.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from quant_core.files.bounded import Cursor
from quant_core.files.errors import FormatError, printable, short_path
from quant_core.files.gguf import GgufFile, parse_gguf
from quant_core.files.split import COUNT, NUMBER, number_of

#: Architectures whose shape is read off a header: name in a GGUF file -> `model_type` of a `config.json`.
MODEL_TYPES = {
    "llama": "llama",
    "qwen2": "qwen2",
    "qwen3": "qwen3",
    "qwen3moe": "qwen3_moe",
    "gemma": "gemma",
    "gemma2": "gemma2",
    "gemma3": "gemma3",
    "gemma3n": "gemma3n",
    "gpt-oss": "gpt_oss",
    "phi2": "phi",
    "phi3": "phi3",
    "phimoe": "phimoe",
    "qwen2moe": "qwen2_moe",
    "qwen3next": "qwen3_next",
    "qwen35": "qwen3_5",
    "qwen35moe": "qwen3_5_moe",
    "llama4": "llama4",
    "deepseek": "deepseek",
    "deepseek2": "deepseek_v2",
    "deepseek32": "deepseek_v32",
    "gptneox": "gpt_neox",
    "starcoder2": "starcoder2",
    "stablelm": "stablelm",
    "nemotron": "nemotron",
    "arcee": "arcee",
    "apertus": "apertus",
    "olmo2": "olmo2",
    "olmoe": "olmoe",
    "command-r": "cohere",
    "cohere2": "cohere2",
    "exaone4": "exaone4",
    "smollm3": "smollm3",
    "seed_oss": "seed_oss",
    "granite": "granite",
    "granitehybrid": "granitemoehybrid",
    "ernie4_5": "ernie4_5",
    "ernie4_5-moe": "ernie4_5_moe",
    "glm4": "glm4",
    "glm4moe": "glm4_moe",
    "dots1": "dots1",
    "hunyuan-dense": "hunyuan_v1_dense",
    "minimax-m2": "minimax_m2",
    "mamba": "mamba",
    "mamba2": "mamba2",
    "jamba": "jamba",
    "falcon-h1": "falcon_h1",
    "nemotron_h": "nemotron_h",
    "nemotron_h_moe": "nemotron_h",
    "lfm2": "lfm2",
    "lfm2moe": "lfm2_moe",
}

#: Field of a `config.json` -> key in a GGUF file, after the name of the architecture.
NAMES_IN_FILE = {
    "hidden_size": "embedding_length",
    "num_hidden_layers": "block_count",
    "num_attention_heads": "attention.head_count",
    "num_key_value_heads": "attention.head_count_kv",
    "intermediate_size": "feed_forward_length",
    "head_dim": "attention.key_length",
    "max_position_embeddings": "context_length",
    "sliding_window": "attention.sliding_window",
    "num_experts": "expert_count",
    "num_experts_per_tok": "expert_used_count",
    "moe_intermediate_size": "expert_feed_forward_length",
    "shared_expert_intermediate_size": "expert_shared_feed_forward_length",
    "n_shared_experts": "expert_shared_count",
    "first_k_dense_replace": "leading_dense_block_count",
    "interleave_moe_layer_step": "interleave_moe_layer_step",
    "full_attention_interval": "full_attention_interval",
    "q_lora_rank": "attention.q_lora_rank",
    "kv_lora_rank": "attention.kv_lora_rank",
    "linear_num_key_heads": "ssm.group_count",
    "linear_num_value_heads": "ssm.time_step_rank",
    "linear_key_head_dim": "ssm.state_size",
    "linear_conv_kernel_dim": "ssm.conv_kernel",
}
_SIGMOID = 2  # LLAMA_EXPERT_GATING_FUNC_TYPE_SIGMOID
_CHUNK = 8192  # n_swa of llama_model_llama4: the file does not say it


def config_of_header(header: bytes) -> dict[str, Any]:
    """Return the fields of a `config.json` that a GGUF header alone gives, for `quant_core.llm.shapes`.

    Parameters
    ----------
    header : bytes
        From the first byte of the file on; the weights need not follow. Metadata and tensors that say nothing
        about the shape (the tokenizer, the layers) may have been left out and not counted.

    Raises
    ------
    FormatError
        If the header is damaged, its architecture is not one of those read here, or it lists no embedding; or
        if it is that of one file of several and does not say all.

    References
    ----------
    The names of the metadata: `gguf-py/gguf/constants.py` of ggml-org/llama.cpp (gguf 0.19.0). What an
    architecture makes of them: `load_arch_hparams` and `load_arch_tensors` of its `src/models/*.cpp` in
    ggml-org/llama.cpp: `llama_model_llama4` (8a5c4e03d11b), `llama_model_qwen35moe` (02ebd8f7f24f),
    `llama_model_qwen3next` (0a192937a14c), `llama_model_falcon_h1` (5f0e6cb023e6), `llama_model_gemma3n`
    (3688fa865df0), and `llama_model_deepseek2`, `llama_model_phi3` and
    `llama_model_qwen2moe` as of 2026.
    """
    file = parse_gguf(Cursor(io.BytesIO(header), Path("header.gguf"), len(header)), whole=False)
    _refuse_part(file)
    architecture = file.value("general.architecture")
    if not isinstance(architecture, str) or architecture not in MODEL_TYPES:
        raise FormatError(
            f"general.architecture: {printable(architecture)} is not read from a GGUF header; "
            f"known are {', '.join(MODEL_TYPES)}; its config.json may be"
        )
    return config_of(file, architecture)


def _refuse_part(file: GgufFile) -> None:
    """Refuse one file of several: a tensor that it lacks may be in another."""
    count, number = number_of(file, COUNT, 1), number_of(file, NUMBER, 0)
    if count > 1 and number:
        raise FormatError(f"part {number + 1} of {count} of a model; the first part says its shape")
    if count > 1 and "output.weight" not in file.tensors:
        raise FormatError(
            f"part 1 of {count} of a model: whether it has an output.weight is said in another part; "
            "its config.json says all"
        )


def config_of(file: GgufFile, architecture: str) -> dict[str, Any]:
    """Return the metadata under the names of a `config.json`.

    Raises
    ------
    FormatError
        If the file lists no embedding.

    References
    ----------
    As `config_of_header`.
    """
    embedding = file.tensors.get("token_embd.weight")
    if embedding is None:
        raise FormatError(f"{short_path(file.path)}: tensor token_embd.weight is missing")
    header = _HeaderFields(file, architecture)
    read = {name: header(key) for name, key in NAMES_IN_FILE.items()}
    config = {
        **{name: value for name, value in read.items() if value is not None},
        "model_type": MODEL_TYPES[architecture],
        "vocab_size": embedding.rows,
        "tie_word_embeddings": "output.weight" not in file.tensors,
        "attention_bias": "blk.0.attn_q.bias" in file.tensors,
        "rope_scaling": {"rope_type": "llama3"} if "rope_freqs.weight" in file.tensors else None,
    }
    extra = header(
        "nextn_predict_layers"
    )  # multi-token-prediction layers are blocks in a file, and not counted
    if _are_integers(extra, read["num_hidden_layers"]):
        config["num_hidden_layers"] -= extra
    peculiar = _BY_ARCHITECTURE.get(architecture)
    return config | peculiar(header) if peculiar else config


class _HeaderFields:
    """The fields of a header by llama.cpp's names, without that of the architecture."""

    def __init__(self, file: GgufFile, architecture: str) -> None:
        self.tensors = file.tensors
        self._value, self._architecture = file.value, architecture

    def __call__(self, key: str) -> Any:
        value = self._value(f"{self._architecture}.{key}")
        return value.tolist() if isinstance(value, np.ndarray) else value

    def layers(self, key: str) -> list[int]:
        """An entry that has a number for each layer.

        Raises
        ------
        FormatError
            If it is not such a list.
        """
        value, count = self(key), self("block_count")
        if (
            not isinstance(value, list)
            or not all(isinstance(item, int) for item in value)
            or len(value) != count
        ):
            raise FormatError(f"{self._architecture}.{key} must have a number for each of the layers")
        return value


def _are_integers(*values: object) -> bool:
    return all(isinstance(value, int) and not isinstance(value, bool) for value in values)


def _latent(header: _HeaderFields) -> dict[str, Any]:
    """DeepSeek: the file has the widths of the compressed keys; those of the heads have keys of their own."""
    key, value = (header(f"attention.{which}_length_mla") for which in ("key", "value"))
    if key is None and value is None:  # older files lack them
        key, value = (header(f"attention.{which}_length") for which in ("key", "value"))
    rope = header("rope.dimension_count")
    return {
        "model_type": "deepseek_v3" if header("expert_gating_func") == _SIGMOID else "deepseek_v2",
        "head_dim": None,
        "num_key_value_heads": None,
        "qk_rope_head_dim": rope,
        "qk_nope_head_dim": key - rope if _are_integers(key, rope) else None,
        "v_head_dim": value,
    }


def _chunked(header: _HeaderFields) -> dict[str, Any]:
    """Llama 4: attention in chunks of one length; 0 means none."""
    window = header("attention.sliding_window")
    return {
        "sliding_window": None if window == 0 else _CHUNK,
        "sliding_window_pattern": header("attention.sliding_window_pattern"),
        "first_k_dense_replace": None,
    }


def _long_rope(header: _HeaderFields) -> dict[str, Any]:
    """Phi-3 with a long context: two tables of rotary factors."""
    return {"rope_scaling": {"rope_type": "longrope"}} if "rope_factors_long.weight" in header.tensors else {}


def _recurrent(header: _HeaderFields) -> dict[str, Any]:
    """Gated DeltaNet: the total width of the value heads, and the linear layers if they are listed."""
    inner, heads = header("ssm.inner_size"), header("ssm.time_step_rank")
    layers = header("attention.recurrent_layers")
    named = None
    if isinstance(layers, list):
        named = ["linear_attention" if recurrent else "full_attention" for recurrent in layers]
    return {
        "linear_value_head_dim": inner // heads if _are_integers(inner, heads) and heads else None,
        "layer_types": named,
    }


def _indexed(header: _HeaderFields) -> dict[str, Any]:
    """DeepSeek-V3.2: an indexer beside the latent attention."""
    return {
        **_latent(header),
        "model_type": "deepseek_v32",
        "index_n_heads": header("attention.indexer.head_count"),
        "index_head_dim": header("attention.indexer.key_length"),
    }


def _layer_embeddings(header: _HeaderFields) -> dict[str, Any]:
    """Gemma 3n: which layers have a window, which share a cache, and the embeddings of each layer."""
    windows = header.layers("attention.sliding_window_pattern")
    return {
        "layer_types": ["sliding_attention" if window else "full_attention" for window in windows],
        "num_kv_shared_layers": header("attention.shared_kv_layers"),
        "hidden_size_per_layer_input": header("embedding_length_per_layer_input"),
        "altup_num_inputs": header("altup.num_inputs"),
    }


#: Names of a state space's entries in Qwen's configurations only.
_OF_DELTA_NET = dict.fromkeys(name for name in NAMES_IN_FILE if name.startswith("linear_"))
_OF_ATTENTION = dict.fromkeys(("num_attention_heads", "num_key_value_heads", "head_dim"))


def _ratio(header: _HeaderFields, part: str, whole: str) -> int | None:
    """Return one entry divided by another."""
    inner, outer = header(part), header(whole)
    return outer // inner if _are_integers(inner, outer) and inner > 0 else None


def _mamba(header: _HeaderFields) -> dict[str, Any]:
    return {
        **_OF_DELTA_NET,
        **_OF_ATTENTION,
        "intermediate_size": header("ssm.inner_size"),
        "state_size": header("ssm.state_size"),
        "conv_kernel": header("ssm.conv_kernel"),
        "time_step_rank": header("ssm.time_step_rank"),
    }


def _mamba2(header: _HeaderFields) -> dict[str, Any]:
    return {
        **_OF_DELTA_NET,
        **_OF_ATTENTION,
        "intermediate_size": None,
        "head_dim": _ratio(header, "ssm.time_step_rank", "ssm.inner_size"),
        "expand": _ratio(header, "embedding_length", "ssm.inner_size"),
        "num_heads": header("ssm.time_step_rank"),
        "state_size": header("ssm.state_size"),
        "n_groups": header("ssm.group_count"),
        "conv_kernel": header("ssm.conv_kernel"),
    }


def _beside_attention(header: _HeaderFields) -> dict[str, Any]:
    """Falcon-H1, Granite 4 and Jamba: the fields of the state space begin with `mamba_`."""
    return {
        **_OF_DELTA_NET,
        "mamba_d_state": header("ssm.state_size"),
        "mamba_d_conv": header("ssm.conv_kernel"),
        "mamba_n_groups": header("ssm.group_count"),
        "mamba_n_heads": header("ssm.time_step_rank"),
    }


def _falcon_h1(header: _HeaderFields) -> dict[str, Any]:
    return {**_beside_attention(header), "mamba_d_ssm": header("ssm.inner_size")}


def _granite_hybrid(header: _HeaderFields) -> dict[str, Any]:
    """Layers without key heads are recurrent; without experts the shared block is the feed-forward one."""
    heads = header.layers("attention.head_count_kv")
    shared = header("expert_shared_feed_forward_length") or header("feed_forward_length")
    return {
        **_beside_attention(header),
        "mamba_expand": _ratio(header, "embedding_length", "ssm.inner_size"),
        "num_key_value_heads": max(heads) or None,
        "layer_types": ["attention" if count else "mamba" for count in heads],
        "shared_expert_intermediate_size": None,
        "shared_intermediate_size": shared,
        "num_experts": header("expert_count") or 0,
    }


def _jamba(header: _HeaderFields) -> dict[str, Any]:
    """Jamba: attention by a period; experts in every second layer, as in all published models."""
    heads = header.layers("attention.head_count_kv")
    full = [layer for layer, count in enumerate(heads) if count] or [0]
    period = full[1] - full[0] if len(full) > 1 else len(heads)
    if full != list(range(full[0], len(heads), period)):
        raise FormatError("jamba.attention.head_count_kv: the layers that attend do not follow a period")
    return {
        **_beside_attention(header),
        "mamba_n_groups": None,
        "mamba_n_heads": None,
        "mamba_dt_rank": header("ssm.time_step_rank"),
        "mamba_expand": _ratio(header, "embedding_length", "ssm.inner_size"),
        "head_dim": None,
        "num_key_value_heads": max(heads) or None,
        "attn_layer_period": period,
        "attn_layer_offset": full[0],
    }


def _nemotron_h(header: _HeaderFields) -> dict[str, Any]:
    """Nemotron-H: layers with key heads are attention, with a width feed-forward, with neither recurrent."""
    heads, widths = header.layers("attention.head_count_kv"), header.layers("feed_forward_length")
    wide = "E" if header("expert_count") else "-"
    pairs = zip(heads, widths, strict=True)
    return {
        **_OF_DELTA_NET,
        "hybrid_override_pattern": "".join(
            "*" if count else wide if width else "M" for count, width in pairs
        ),
        "intermediate_size": max(widths) or None,
        "num_key_value_heads": max(heads) or None,
        "mamba_num_heads": header("ssm.time_step_rank"),
        "mamba_head_dim": _ratio(header, "ssm.time_step_rank", "ssm.inner_size"),
        "ssm_state_size": header("ssm.state_size"),
        "n_groups": header("ssm.group_count"),
        "conv_kernel": header("ssm.conv_kernel"),
        "shared_expert_intermediate_size": None,
        "moe_shared_expert_intermediate_size": header("expert_shared_feed_forward_length"),
        "moe_latent_size": header("moe_latent_size"),
    }


def _short_conv(header: _HeaderFields) -> dict[str, Any]:
    """LFM2: layers without key heads are convolutions; the feed-forward width is not to be rounded."""
    heads = header.layers("attention.head_count_kv")
    moe = header("expert_count")
    return {
        "num_key_value_heads": max(heads) or None,
        "layer_types": ["full_attention" if count else "conv" for count in heads],
        "conv_L_cache": header("shortconv.l_cache"),
        "block_auto_adjust_ff_dim": None if moe else False,
    }


_BY_ARCHITECTURE: Mapping[str, Callable[[_HeaderFields], dict[str, Any]]] = {
    "deepseek2": _latent,
    "llama4": _chunked,
    "phi3": _long_rope,
    "qwen3next": _recurrent,
    "qwen35": _recurrent,
    "qwen35moe": _recurrent,
    "deepseek32": _indexed,
    "gemma3n": _layer_embeddings,
    "mamba": _mamba,
    "mamba2": _mamba2,
    "falcon-h1": _falcon_h1,
    "granitehybrid": _granite_hybrid,
    "jamba": _jamba,
    "nemotron_h": _nemotron_h,
    "nemotron_h_moe": _nemotron_h,
    "lfm2": _short_conv,
    "lfm2moe": _short_conv,
}
