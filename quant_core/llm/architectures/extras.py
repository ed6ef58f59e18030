"""Tensors that only one architecture has, in every layer or before the first.

References
----------
transformers 5.18, `src/transformers/models/*/modeling_*.py`; names of tensors as in
`quant_core.llm.architectures.layers`.
"""

from __future__ import annotations

from quant_core.llm.architectures.building import (
    MOST_FFN,
    MOST_LAYERS,
    MOST_WIDTH,
    Architecture,
    Extras,
    attention,
    count_of_layers,
    hidden_size,
)
from quant_core.llm.architectures.fields import Fields
from quant_core.llm.architectures.layers import matrix, vector


def layer_embeddings(fields: Fields, arch: Architecture) -> Extras:
    """Gemma 3n and Gemma 4 E models: a separate token embedding for each layer."""
    width = fields.integer("hidden_size_per_layer_input", MOST_WIDTH, low=0, default=0)
    vocabulary = fields.integer("vocab_size", 1 << 24)
    rows = fields.integer("vocab_size_per_layer_input", 1 << 24, default=vocabulary)
    if not width:
        return Extras()
    hidden, n_layers = hidden_size(fields), count_of_layers(fields)
    return Extras(
        of_layer=(
            matrix("inp_gate", width, hidden),
            matrix("proj", hidden, width),
            vector("post_norm.weight", hidden),
        ),
        of_model=(
            matrix("per_layer_token_embd", rows, width * n_layers),
            matrix("per_layer_model_proj", width * n_layers, hidden, fixed_type="F16"),
            vector("per_layer_proj_norm.weight", width),
        ),
    )


def gemma3n_extras(fields: Fields, arch: Architecture) -> Extras:
    """Gemma 3n: beside the embeddings of each layer, AltUp's predictions and LAuReL's low-rank paths."""
    embeddings = layer_embeddings(fields, arch)
    hidden = hidden_size(fields)
    inputs = fields.integer("altup_num_inputs", 64, default=4)
    rank = fields.integer("laurel_rank", MOST_WIDTH, default=64)
    scaled = fields.flag("altup_correct_scale", True)
    of_layer = (
        *([vector("altup_correct_scale.weight", hidden)] if scaled else []),
        vector("altup_correct_coef.weight", inputs * inputs),
        vector("altup_predict_coef.weight", inputs**3),
        matrix("altup_router", inputs, hidden, fixed_type="F16"),
        vector("altup_router_norm.weight", hidden),
        matrix("laurel_l", rank, hidden, fixed_type="F16"),
        matrix("laurel_r", hidden, rank, fixed_type="F16"),
        vector("laurel_post_norm.weight", hidden),
    )
    rows = (inputs - 1) * hidden
    of_model = (
        matrix("altup_proj", rows, hidden, fixed_type="F16"),
        matrix("altup_unembd_proj", rows, hidden, fixed_type="F16"),
    )
    return Extras(
        (*embeddings.of_layer, *of_layer),
        (*embeddings.of_model, *(of_model if rows else ())),
        beside_file=-_unused_keys(fields, arch),
    )


def _unused_keys(fields: Fields, arch: Architecture) -> int:
    """Keys and values of layers that share an earlier cache: in files of Gemma 3n, but not counted."""
    shared = fields.integer("num_kv_shared_layers", MOST_LAYERS, low=0, default=0)
    own = attention(fields, arch)
    return shared * (hidden_size(fields) * own.kv_heads * (own.head_dim + own.value_dim) + own.head_dim)


def encoder_embeddings(fields: Fields, arch: Architecture) -> Extras:
    """Encoders: token types, a norm of the embedding, and a head or pooler that no GGUF file has."""
    hidden, vocabulary = hidden_size(fields), fields.integer("vocab_size", 1 << 24)
    kinds = fields.integer("type_vocab_size", 1024, low=0, default=0)
    biased = fields.chosen(arch.norm_bias)
    of_model = (
        *([matrix("token_types", kinds, hidden, fixed_type="F32")] if kinds else []),
        vector("token_embd_norm.weight", hidden),
        *([vector("token_embd_norm.bias", hidden)] if biased else []),
    )
    if fields.headless:
        head = hidden * (hidden + 1) if arch.pooler else 0
    else:
        head = hidden * (hidden + (3 if biased else 1)) + vocabulary
        if not fields.flag("tie_word_embeddings", True):
            head += vocabulary * hidden
    return Extras(of_model=of_model, beside_file=head)


def inner_norms(fields: Fields, arch: Architecture) -> Extras:
    """BitNet: a norm before each matrix that writes to the residual stream."""
    width = fields.integer("intermediate_size", MOST_FFN)
    norms = vector("attn_sub_norm.weight", hidden_size(fields)), vector("ffn_sub_norm.weight", width)
    return Extras(of_layer=norms)


def embedding_norm(fields: Fields, arch: Architecture) -> Extras:
    """BLOOM: a norm of the embedding."""
    hidden = hidden_size(fields)
    return Extras(of_model=(vector("token_embd_norm.weight", hidden), vector("token_embd_norm.bias", hidden)))
