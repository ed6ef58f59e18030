"""`--tensor-type NAME=TYPE` of llama-quantize: types for tensors that the mix is not asked about.

`with_tensor_types` returns the model with these types fixed, and `quant_core.files.quantizing.quantize_model`
writes it. As in llama-quantize:

- NAME is a regular expression. It is put into lower case and may match anywhere in a tensor's name; of
  several options the first that matches counts.
- It reaches only what would be quantized: matrices, not norms or biases. The file types F32, F16 and BF16
  quantize nothing and ignore it.
- A tensor with a type of its own is not counted by the rules of the mix: in Q4_K_S, the first four *other*
  `attn_v` become Q5_K.
- Rows that do not divide into blocks fall back, and a type that needs an importance vector still does.

References
----------
`parse_tensor_type` in `tools/quantize/quantize.cpp`; `llama_tensor_get_type` and `tensor_type_fallback` in
`src/llama-quant.cpp` of ggml-org/llama.cpp 0c1e57098bba.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from typing import NamedTuple

from quant_core.files.errors import printable
from quant_core.files.model import Model
from quant_core.files.storage import FILE_TYPES, UNQUANTIZED
from quant_core.ggml.mixes import BLOCK_SIZES, FALLBACK, MIXES
from quant_core.ggml.registry import QUANTIZABLE
from quant_core.llm.shapes import ModelShape, Tensor

#: What Python reads and ECMAScript (std::regex) does not, or otherwise: llama-quantize would take another
#: meaning. Upper-case escapes are among them: in lower case, \S would mean \s.
_FOREIGN = re.compile(r"\(\?(?![:=!])|\\[A-Z]|\[[^\]]*\[[:.=]|[*+?}]\+|\{,")
#: Q6_K_L gives these their types by llama-quantize's other options, which come first.
_FIXED_BY_MIX = {"Q6_K_L": frozenset(("token_embd.weight", "output.weight"))}


class TensorType(NamedTuple):
    """One option: a regular expression in lower case, and the type of the tensors that it names."""

    pattern: str
    type_name: str


def parse_tensor_type(option: str) -> TensorType:
    r"""Read NAME=TYPE; the first "=" separates them, and TYPE is taken in any case.

    Raises
    ------
    ValueError
        If a part is missing, NAME is no regular expression that llama-quantize would read in the same way, or
        TYPE cannot be written.

    Examples
    --------
    >>> parse_tensor_type(r"blk\.[01]\.ATTN_V=q8_0")
    TensorType(pattern='blk\\.[01]\\.attn_v', type_name='Q8_0')
    """
    name, separator, type_name = option.partition("=")
    where = f"tensor type {printable(option)!r}"
    if not (name and separator and type_name):
        raise ValueError(f"{where} is not NAME=TYPE, such as attn_v=Q8_0")
    wanted = type_name.upper()
    if wanted not in QUANTIZABLE:
        raise ValueError(f"{where}: the type is not one of {', '.join(QUANTIZABLE)}")
    foreign = _FOREIGN.search(name)
    if foreign:
        raise ValueError(f"{where}: llama-quantize does not read {printable(foreign[0])!r} as Python does")
    try:
        re.compile(name.lower(), re.ASCII)
    except (re.error, RecursionError, OverflowError) as error:
        raise ValueError(f"{where}: the name is not a regular expression: {error}") from None
    return TensorType(name.lower(), wanted)


@dataclass(frozen=True, kw_only=True)
class _FixedTypes(ModelShape):
    """A shape some of whose tensors have types that no mix changes: pairs of name and type."""

    fixed: tuple[tuple[str, str], ...] = ()

    def tensors(self) -> tuple[Tensor, ...]:
        """Every tensor of the model's GGUF file, in layer order."""
        types = dict(self.fixed)
        return tuple(
            replace(tensor, fixed_type=types.get(tensor.name, tensor.fixed_type))
            for tensor in super().tensors()
        )


def with_tensor_types(model: Model, mix: str, options: Iterable[TensorType]) -> Model:
    """Return the model with the types of the options fixed, for this mix.

    Options that no tensor takes are named in the `notes` of the result. Types fixed earlier stay.

    Parameters
    ----------
    model : Model
        As `quant_core.files.opening.open_model` returns it.
    mix : str
        The file type that will be written, for example "Q4_K_M".
    options : iterable of TensorType
        The first that matches a name counts.

    Raises
    ------
    ValueError
        If the mix is unknown, or rows do not divide into blocks of a type that has no fallback.

    Examples
    --------
    >>> from quant_core.files import open_model, quantize_model
    >>> model = open_model("model.gguf")                                            # doctest: +SKIP
    >>> model = with_tensor_types(model, "Q4_K_M", [parse_tensor_type("ffn_down=q6_k")])  # doctest: +SKIP
    >>> quantize_model(model, "out.gguf", "Q4_K_M")                                 # doctest: +SKIP
    """
    if mix not in FILE_TYPES:
        raise ValueError(f"file type {mix!r} is not known; choose one of {', '.join(FILE_TYPES)}")
    options = list(options)
    if not options:
        return model
    if MIXES[mix].default in UNQUANTIZED:
        note = f"tensor types are not used: {mix} quantizes nothing, and llama-quantize ignores them there"
        return replace(model, notes=(*model.notes, note))
    patterns = [(re.compile(option.pattern, re.ASCII), option) for option in options]
    used: set[TensorType] = set()
    fixed = list(model.shape.fixed) if isinstance(model.shape, _FixedTypes) else []
    for tensor in model.shape.tensors():
        if tensor.fixed_type or tensor.name in _FIXED_BY_MIX.get(mix, ()):
            continue
        option = next((option for pattern, option in patterns if pattern.search(tensor.name)), None)
        if option:
            _check_rows(tensor, option.type_name)
            used.add(option)
            fixed.append((tensor.name, option.type_name))
    unused = tuple(
        f"tensor type {printable(f'{option.pattern}={option.type_name}')}: no tensor takes it"
        for option in options
        if option not in used
    )
    values = {one.name: getattr(model.shape, one.name) for one in fields(ModelShape)}
    return replace(model, shape=_FixedTypes(**values, fixed=tuple(fixed)), notes=(*model.notes, *unused))


def _check_rows(tensor: Tensor, type_name: str) -> None:
    """Refuse what llama-quantize refuses: types of long blocks that have no fallback (NVFP4)."""
    block = BLOCK_SIZES[type_name][0]
    if tensor.columns % block and block > 32 and type_name not in FALLBACK:
        raise ValueError(
            f"tensor {printable(tensor.name)} has rows of {tensor.columns}, which are not divisible by "
            f"{block}, the block of {type_name}; it has no fallback"
        )
