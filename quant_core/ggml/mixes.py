"""Which type each tensor of a GGUF file gets: the mixtures behind names such as Q4_K_M.

A file type of `llama-quantize` is a *mix*: a default type, and a few rules that give more bits to the
tensors that are more sensitive to rounding (`attn_v`, `ffn_down`, `attn_output`, `output`).
`MIXES` states the rules as a table, `tensor_types` applies them to a model. No weights are
touched: the encoders are in `quant_core.ggml`, the sums of bytes in `quant_core.memory`.

References
----------
llama.cpp, `src/llama-quant.cpp`, `llama_tensor_get_type_impl` and `tensor_type_fallback`, commit
0c1e57098bba43ac29e6e3b677cdceebdd22334f.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache

from quant_core.ggml.formats import FORMATS
from quant_core.llm.shapes import ModelShape, Tensor

# Type name -> (weights in a block, bytes of a block), of every ggml type that holds weights.
BLOCK_SIZES: dict[str, tuple[int, int]] = {
    name: (layout.block_size, layout.block_bytes) for name, layout in FORMATS.items()
}

# A row whose length is no multiple of the block takes this type instead; F16 when that does not fit either.
FALLBACK: dict[str, str] = {name: layout.fallback for name, layout in FORMATS.items() if layout.fallback}


@dataclass(frozen=True)
class TypedTensor:
    """A tensor and the type that the mix gives it; `bytes` is its size in the file.

    `wanted` is the type before the row length is checked; `type` differs where it fell back.
    """

    name: str
    layer: int | None
    kind: str
    rows: int
    columns: int
    type: str
    wanted: str

    @property
    def elements(self) -> int:
        """Number of weights."""
        return self.rows * self.columns

    @property
    def bytes(self) -> int:
        """Size in the file, scales and minimums included."""
        block, size = BLOCK_SIZES[self.type]
        return self.elements // block * size


@dataclass(frozen=True)
class Occurrence:
    """The input of a rule: tensor `i` of `n` of its kind, and facts about the model."""

    i: int
    n: int
    queries_per_kv_head: int
    n_experts: int
    importance: bool


# A rule returns a type, or None for the default type.
Rule = Callable[[Occurrence], str | None]


def always(type_name: str) -> Rule:
    """Every tensor of the kind."""
    return lambda at: type_name


def first(count: int, type_name: str, then: str | None = None) -> Rule:
    """The first `count` tensors; `then` for the others."""
    return lambda at: type_name if at.i < count else then


def first_share(divisor: int, type_name: str, then: str | None = None) -> Rule:
    """The first n // divisor layers; `then` for the others."""
    return lambda at: type_name if at.i < at.n // divisor else then


def more_bits(type_name: str) -> Rule:
    """The first and last eighth of the layers and every third between."""
    return lambda at: type_name if uses_more_bits(at.i, at.n) else None


def grouped(type_name: str, otherwise: str | None = None) -> Rule:
    """Where four query heads or more share the tensor, which is then small."""
    return lambda at: type_name if at.queries_per_kv_head >= 4 else otherwise


def uses_more_bits(i: int, n: int) -> bool:
    """Whether layer `i` of `n` gets more bits in the _M mixes.

    Examples
    --------
    >>> [i for i in range(32) if uses_more_bits(i, 32)]
    [0, 1, 2, 3, 6, 9, 12, 15, 18, 21, 24, 27, 28, 29, 30, 31]
    """
    return i < n // 8 or i >= 7 * n // 8 or (i - n // 8) % 3 == 2


@dataclass(frozen=True)
class Mix:
    """One file type: its default type, and the rules by kind of tensor.

    Attributes
    ----------
    default : str
        The type of every matrix that no rule names.
    output : str
        Type of `output.weight`, and of `token_embd.weight` when the two are one tensor.
    embedding : str
        Type of an untied `token_embd.weight`; "" for the default.
    rules : dict of str to Rule
        By kind; the kind `attn_v` stands for `attn_qkv` and `attn_kv_b` too.
    low_bit : bool
        Whether it is one of the IQ1 and IQ2 mixes, which have other rules for experts.
    needs_importance : bool
        llama-quantize refuses to write it without an importance matrix.
    """

    default: str
    output: str = "Q6_K"
    embedding: str = ""
    rules: dict[str, Rule] = field(default_factory=dict, hash=False)
    low_bit: bool = False
    needs_importance: bool = False


def _low_bit(default: str, embedding: str, spare: str, attn_output: str | None) -> Mix:
    """The IQ1 and IQ2 mixes differ only in names: `spare` is the type of the layers that get more."""
    return Mix(
        default,
        output="Q5_K",
        embedding=embedding,
        rules={
            "attn_v": lambda at: "Q4_K" if max(at.queries_per_kv_head, at.n_experts) >= 4 else spare,
            "attn_k": lambda at: "Q4_K" if at.n_experts == 8 else None,
            "attn_output": lambda at: "Q5_K" if at.n_experts == 8 else attn_output,
            "ffn_down": first_share(8, spare),
        },
        low_bit=True,
        needs_importance=True,
    )


def _between_eighths(type_name: str) -> Rule:
    return lambda at: type_name if at.n // 8 <= at.i < 7 * at.n // 8 else None


def _guarded(type_name: str) -> Rule:
    """With an importance matrix, the first eighth of ffn_down gets a minimum (Q4_0 -> Q4_1)."""
    return lambda at: type_name if at.importance and at.i < at.n // 8 else None


def _iq4_down(at: Occurrence) -> str | None:
    return "Q5_K" if at.i < at.n // 8 and not at.importance else None


def _iq3_m_down(at: Occurrence) -> str | None:
    eight = at.n_experts == 8 and uses_more_bits(at.i, at.n)
    return "Q4_K" if at.i < at.n // 8 or eight else None


def _iq3_xxs_down(at: Occurrence) -> str | None:
    if at.importance:
        return None
    return "Q4_K" if at.i < at.n // 8 else "Q3_K"


def _iq3_xxs_value(at: Occurrence) -> str | None:
    return "Q4_K" if at.queries_per_kv_head >= 4 else ("IQ3_XXS" if at.importance else "IQ3_S")


# The file types of llama-quantize, from most to fewest bits per weight.
MIXES: dict[str, Mix] = {
    "F32": Mix("F32", output="F32"),
    "F16": Mix("F16", output="F16"),
    "BF16": Mix("BF16", output="BF16"),
    "Q8_0": Mix("Q8_0", output="Q8_0"),
    "Q6_K": Mix("Q6_K"),
    "Q5_1": Mix("Q5_1"),
    "Q5_K_M": Mix("Q5_K", rules={"attn_v": more_bits("Q6_K"), "ffn_down": more_bits("Q6_K")}),
    "Q5_K_S": Mix("Q5_K"),
    "Q5_0": Mix("Q5_0", rules={"ffn_down": _guarded("Q5_1")}),
    "Q4_1": Mix("Q4_1"),
    "Q4_K_M": Mix("Q4_K", rules={"attn_v": more_bits("Q6_K"), "ffn_down": more_bits("Q6_K")}),
    "IQ4_NL": Mix("IQ4_NL", rules={"attn_v": grouped("Q5_K"), "ffn_down": _iq4_down}),
    "Q4_K_S": Mix("Q4_K", rules={"attn_v": first(4, "Q5_K"), "ffn_down": first_share(8, "Q5_K")}),
    "Q4_0": Mix("Q4_0", rules={"ffn_down": _guarded("Q4_1")}),
    "IQ4_XS": Mix("IQ4_XS", rules={"attn_v": grouped("Q5_K"), "ffn_down": _iq4_down}),
    "MXFP4_MOE": Mix("MXFP4", output="Q8_0"),
    "Q3_K_L": Mix(
        "Q3_K",
        rules={"attn_v": always("Q5_K"), "attn_output": always("Q5_K"), "ffn_down": always("Q5_K")},
    ),
    "Q3_K_M": Mix(
        "Q3_K",
        rules={
            "attn_v": first(2, "Q5_K", then="Q4_K"),
            "attn_output": always("Q4_K"),
            "ffn_down": first_share(16, "Q5_K", then="Q4_K"),
        },
    ),
    "IQ3_M": Mix(
        "IQ3_S",
        rules={"attn_v": always("Q4_K"), "attn_output": always("Q4_K"), "ffn_down": _iq3_m_down},
    ),
    "IQ3_S": Mix("IQ3_S", rules={"attn_v": grouped("Q4_K")}),
    "Q3_K_S": Mix("Q3_K"),
    "IQ3_XS": Mix(
        "IQ3_S",
        rules={
            "attn_v": grouped("Q4_K"),
            "attn_q": always("IQ3_XXS"),
            "attn_k": always("IQ3_XXS"),
            "ffn_gate": _between_eighths("IQ3_XXS"),
            "ffn_up": _between_eighths("IQ3_XXS"),
        },
        needs_importance=True,  # for its attn_q and attn_k, which are IQ3_XXS
    ),
    "IQ3_XXS": Mix(
        "IQ3_XXS",
        output="Q5_K",
        embedding="IQ3_S",
        rules={
            "attn_v": _iq3_xxs_value,
            "attn_q": always("IQ2_S"),
            "attn_k": always("IQ2_S"),
            "attn_output": always("IQ3_S"),
            "ffn_down": _iq3_xxs_down,
        },
        needs_importance=True,
    ),
    "Q2_K": Mix(
        "Q2_K",
        rules={"attn_v": grouped("Q4_K", "Q3_K"), "attn_output": always("Q3_K"), "ffn_down": always("Q3_K")},
    ),
    "Q2_K_S": Mix(
        "Q2_K", rules={"attn_v": grouped("Q4_K"), "ffn_down": first_share(8, "Q4_K")}, needs_importance=True
    ),
    "IQ2_M": _low_bit("IQ2_S", embedding="IQ3_S", spare="IQ3_S", attn_output="IQ3_S"),
    "IQ2_S": _low_bit("IQ2_XS", embedding="IQ3_S", spare="IQ3_S", attn_output="IQ3_S"),
    "IQ2_XS": _low_bit("IQ2_XS", embedding="Q2_K", spare="Q2_K", attn_output=None),
    "IQ2_XXS": _low_bit("IQ2_XXS", embedding="Q2_K", spare="Q2_K", attn_output=None),
    "Q2_0": Mix("Q2_0", embedding="Q4_K"),
    "TQ2_0": Mix("TQ2_0", embedding="Q4_K"),
    "IQ1_M": _low_bit("IQ1_M", embedding="Q2_K", spare="Q2_K", attn_output="IQ2_XXS"),
    "TQ1_0": Mix("TQ1_0", embedding="Q4_K"),
    "IQ1_S": _low_bit("IQ1_S", embedding="Q2_K", spare="Q2_K", attn_output="IQ2_XXS"),
    "Q1_0": Mix("Q1_0"),
    # Not llama-quantize's own: what publishers make with --token-embedding-type and --output-tensor-type.
    "Q6_K_L": Mix("Q6_K", output="Q8_0", embedding="Q8_0"),
}

# Mixtral's class: with eight experts the attention is a small part of the file and gets more bits.
_EIGHT_EXPERTS_OUTPUT = frozenset(
    (
        "Q2_K",
        "IQ3_XS",
        "IQ3_XXS",
        "Q3_K_S",
        "Q3_K_M",
        "IQ4_NL",
        "Q4_K_S",
        "Q4_K_M",
        "IQ3_S",
        "IQ3_M",
        "IQ4_XS",
    )
)
# MXFP4_MOE means the experts; llama.cpp tells them by their third dimension, which latent attention has too.
_THREE_DIMENSIONAL = frozenset(("ffn_gate_exps", "ffn_up_exps", "ffn_down_exps", "attn_k_b", "attn_v_b"))
_UNQUANTIZED = frozenset(("F32", "F16", "BF16"))


def tensor_types(shape: ModelShape, mix: str, importance: bool = False) -> tuple[TypedTensor, ...]:
    """Decide the type of every tensor, as `llama-quantize` does.

    Parameters
    ----------
    shape : ModelShape
        The model.
    mix : str
        A key of `MIXES`, for example `"Q4_K_M"`.
    importance : bool
        Whether an importance matrix is given; it changes IQ4, IQ3_XXS, Q4_0 and Q5_0.

    Returns
    -------
    tuple of TypedTensor
        In layer order. Vectors and routers are F32.

    Raises
    ------
    ValueError
        The mix is unknown.

    Examples
    --------
    >>> from quant_core.llm.shapes import model_shape
    >>> shape = model_shape({"hidden_size": 4096, "num_hidden_layers": 32, "num_attention_heads": 32,
    ...                      "num_key_value_heads": 8, "intermediate_size": 14336, "vocab_size": 128256})
    >>> sum(t.type == "Q6_K" for t in tensor_types(shape, "Q4_K_M") if t.kind == "ffn_down")
    16
    """
    if mix not in MIXES:
        raise ValueError(f"mix {mix!r} is not known; choose one of {', '.join(MIXES)}")
    return _tensor_types(shape, mix, importance)


@lru_cache(maxsize=4)
def _tensor_types(shape: ModelShape, mix: str, importance: bool) -> tuple[TypedTensor, ...]:
    tensors = shape.tensors()
    value_tensors = sum(_group(tensor.kind) == "attn_v" for tensor in tensors)
    seen: dict[str, int] = {}
    typed = []
    for tensor in tensors:
        group = _group(tensor.kind)
        at = Occurrence(
            i=_occurrence(shape, MIXES[mix], tensor, seen.get(group, 0)),
            n=value_tensors if group == "attn_v" else shape.n_layers,
            queries_per_kv_head=shape.queries_per_kv_head,
            n_experts=shape.experts.count if shape.experts else 0,
            importance=importance,
        )
        seen[group] = seen.get(group, 0) + (0 if tensor.fixed_type else 1)
        wanted = _chosen(shape, mix, tensor, at)
        fitting = _fitting(wanted, tensor.columns)
        typed.append(
            TypedTensor(tensor.name, tensor.layer, tensor.kind, tensor.rows, tensor.columns, fitting, wanted)
        )
    return tuple(typed)


def _occurrence(shape: ModelShape, mix: Mix, tensor: Tensor, seen: int) -> int:
    """Return the index that rules use: of the tensor in its kind, or with experts of its layer."""
    by_layer = shape.experts is not None and not mix.low_bit and _group(tensor.kind).startswith("ffn_")
    return tensor.layer if by_layer and tensor.layer is not None else seen


def _chosen(shape: ModelShape, mix_name: str, tensor: Tensor, at: Occurrence) -> str:
    """Return the type before the row length is checked."""
    mix = MIXES[mix_name]
    group = _group(tensor.kind)
    if tensor.fixed_type:
        return tensor.fixed_type
    if mix.default in _UNQUANTIZED:
        return mix.default
    if group == "output" or (group == "token_embd" and shape.tied_embeddings):
        return mix.output if tensor.columns % BLOCK_SIZES[mix.default][0] == 0 else "Q8_0"
    if mix_name == "MXFP4_MOE":
        return "MXFP4" if tensor.kind in _THREE_DIMENSIONAL else "Q8_0"
    if group == "token_embd":
        return mix.embedding or mix.default
    rule = mix.rules.get(group)
    chosen = (rule(at) if rule else None) or mix.default
    if mix.low_bit:
        return chosen
    if group == "attn_v" and shape.is_llama_70b and chosen in ("Q3_K", "Q4_K"):
        chosen = "Q5_K"
    if at.n_experts == 8:
        chosen = _with_eight_experts(mix_name, group, chosen, mix)
    return chosen


def _with_eight_experts(mix_name: str, group: str, chosen: str, mix: Mix) -> str:
    if group in ("attn_v", "attn_k"):
        return "Q8_0"
    if group == "attn_output":
        return "Q5_K" if mix_name in _EIGHT_EXPERTS_OUTPUT else mix.default
    return chosen


def _fitting(type_name: str, columns: int) -> str:
    """Return the type, or the fallback whose blocks divide the row.

    Raises
    ------
    ValueError
        For a type of larger blocks to which llama.cpp has no fallback.
    """
    if columns % BLOCK_SIZES[type_name][0] == 0:
        return type_name
    if type_name not in FALLBACK and BLOCK_SIZES[type_name][0] > 32:
        raise ValueError(
            f"rows of {columns} weights are no multiple of {BLOCK_SIZES[type_name][0]}, the block of "
            f"{type_name}, and llama.cpp defines no type to fall back to"
        )
    fallback = FALLBACK.get(type_name, "F16")
    return fallback if columns % BLOCK_SIZES[fallback][0] == 0 else "F16"


def _group(kind: str) -> str:
    """The category by which llama.cpp decides: experts and shared experts count with the dense block."""
    if kind in ("attn_v", "attn_qkv", "attn_kv_b"):
        return "attn_v"
    if kind == "per_layer_token_embd":
        return "token_embd"
    for group in ("ffn_down", "ffn_gate", "ffn_up"):
        if kind.startswith(group) and not kind.startswith("ffn_gate_inp"):
            return group
    return kind
