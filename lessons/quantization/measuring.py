"""How much every format and method hurts the lesson's own small model: the recipes and the measurement.

`scripts/measure.py` (`make measure`) runs all of this on the whole held-out text and writes what the page
reads, `data/measured.json`. Nothing in it is fitted or smoothed. `fingerprint` names the code and the weights
that the numbers depend on: the file is stale when it differs.

Methods round the matrices of the layers. The embedding, which is also the head, is rounded to nearest at the
same width and group in every one of them, so that only the method differs. Mixes of llama.cpp have types of
their own for it. Methods that compute in 8 bits round what enters the matrices of the layers, too; what
enters the head stays in 16 bits. Calibration text is the model's own: 128 windows that it wrote itself, for
none of the text that it was trained on is shipped, and the held-out text must stay unseen.

Not measured: F32 and BF16, which change no weight of this model; MXFP4_MOE, which is Q8_0 where there are no
experts; and GPTQ, AWQ and HQQ above 4 bits, where rounding to nearest has lost little more than a percent.
Groups of 32 and 128 are measured at 4 and 3 bits, for the three methods that say most about them: all of it
is to take five minutes on two cores.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lessons.quantization.sources import TINY_MODEL
from quant_core import ggml
from quant_core.files import Model, open_model
from quant_core.files.quantizing import decoded, plan
from quant_core.files.storage import row_size
from quant_core.llm import calibrate
from quant_core.llm.activations import rounding_of
from quant_core.llm.bpe import Tokenizer, tokenizer_of
from quant_core.llm.evaluate import Evaluation, Windows, evaluate_each, windows
from quant_core.llm.model import Transformer, from_file
from quant_core.methods import awq, fp8, hqq, int8, nf4, smoothquant
from quant_core.methods.grid import Scheme
from quant_core.methods.rtn import bits_per_weight, round_to_nearest

ROOT = Path(__file__).resolve().parents[2]
WEIGHTS_FILE = TINY_MODEL / "model.safetensors"
CONTEXT = 128
SEED = 0
GROUP_SIZE = 64
SAMPLE_WINDOWS = 8
"""Windows at the beginning of the text whose perplexity is written down too: a test measures it again."""

FAMILIES = ("original", "gguf", "rtn", "gptq", "awq", "w8a8", "other")
PLAIN_MIXES = (
    "Q8_0", "Q6_K_L", "Q6_K", "Q5_1", "Q5_K_M", "Q5_K_S", "Q5_0", "Q4_1", "Q4_K_M", "Q4_K_S", "Q4_0",
    "IQ4_NL", "IQ4_XS", "Q3_K_L", "Q3_K_M", "Q3_K_S", "IQ3_M", "IQ3_S", "Q2_K",
)  # fmt: skip
TRAINED_FOR = ("Q2_0", "TQ2_0", "TQ1_0", "Q1_0")
"""Types for models that were trained for them: on other weights ruinous. They ignore importance."""
IMATRIX_MIXES = (
    *PLAIN_MIXES[PLAIN_MIXES.index("Q6_K") :],
    "IQ3_XS", "IQ3_XXS", "Q2_K_S", "IQ2_M", "IQ2_S", "IQ2_XS", "IQ2_XXS", "IQ1_M", "IQ1_S",
)  # fmt: skip
ROUNDED_ACTIVATIONS = {"w8a8": "int8", "smoothquant": "int8", "llm-int8": "LLM.int8()", "fp8-w8a8": "e4m3"}
"""Methods that compute in 8 bits -> what they do to the inputs of the layers' matrices."""

KEPT = 0.01
"""Share of the input channels that stay in 16 bits where a method keeps some."""

Weights = Mapping[str, NDArray[np.float32]]


@dataclass(frozen=True, slots=True)
class Recipe:
    """One row of the table: how the weights are rounded.

    `name` is the format's or the method's own. `group_size` is 0 where a format has its own blocks.
    `activation_bits` is 8 where what enters the matrices is rounded, too.
    """

    key: str
    family: str
    name: str
    bits: int = 0
    group_size: int = 0
    importance: bool = False
    activation_bits: int = 16


def _recipes() -> tuple[Recipe, ...]:
    rows = [Recipe("F16", "original", "F16", 16)]
    rows += [Recipe(mix, "gguf", mix) for mix in (*PLAIN_MIXES, *TRAINED_FOR)]
    rows += [Recipe(f"{mix}-imatrix", "gguf", mix, importance=True) for mix in IMATRIX_MIXES]
    rows += [_grid("rtn", bits) for bits in (8, 6, 5, 4, 3, 2)]
    rows += [_grid("rtn-symmetric", bits) for bits in (4, 3)]
    for bits in (4, 3, 2):
        if bits > 2:
            rows += [_grid(name, bits, size) for name in ("rtn", "gptq", "awq") for size in (32, 128)]
        rows += [_grid(name, bits) for name in ("gptq", "gptq-act-order", "awq", "awq-clip", "hqq")]
        rows += [_grid(f"keep-{by}", bits) for by in ("activation", "weight", "random") if bits == 3]
    rows += [
        Recipe("nf4", "other", "nf4", 4, 64),
        Recipe("nf4-double", "other", "nf4-double", 4, 64),
        Recipe("mxfp4", "other", "mxfp4", 4),
        Recipe("nvfp4", "other", "nvfp4", 4),
        Recipe("fp8", "other", "fp8", 8),
        Recipe("fp8-e5m2", "other", "fp8-e5m2", 8),
    ]
    rows += [Recipe(name, "w8a8", name, 8, activation_bits=8) for name in ROUNDED_ACTIVATIONS]
    return tuple(rows)


def _grid(name: str, bits: int, group_size: int = GROUP_SIZE) -> Recipe:
    family = name.partition("-")[0]
    return Recipe(
        f"{name}-{bits}-g{group_size}", family if family in FAMILIES else "other", name, bits, group_size
    )


RECIPES = _recipes()


# --- the model and its texts ------------------------------------------------------------------------------


@functools.cache
def model_file() -> Model:
    """The header of the lesson's model."""
    return open_model(WEIGHTS_FILE)


@functools.cache
def tiny_model() -> Transformer:
    """The model as it is, in 16 bits."""
    return from_file(model_file())


@functools.cache
def tokenizer() -> Tokenizer:
    """The model's tokenizer."""
    return tokenizer_of(model_file())


@functools.cache
def held_out() -> NDArray[np.int64]:
    """The held-out text, document after document, each behind the token 0."""
    tokens: NDArray[np.int64] = np.load(TINY_MODEL / "heldout_tokens.npy").astype(np.int64)
    return tokens


def text() -> Windows:
    """All of it, in windows of the model's context; each window's tokens but the first are predicted."""
    return windows(held_out(), CONTEXT, first=1)


@functools.cache
def calibration() -> NDArray[np.int64]:
    """128 windows of text that the model wrote, (windows, context); `write_calibration` makes them."""
    tokens: NDArray[np.int64] = np.load(TINY_MODEL / "calibration_tokens.npy").astype(np.int64)
    return tokens


def write_calibration() -> NDArray[np.uint16]:
    """Sample 128 windows from the model, each from the token that begins a document."""
    begin = np.zeros((CONTEXT, 1), np.int64)
    made = tiny_model().generate(begin, CONTEXT - 1, temperature=1.0, seed=SEED)
    return np.concatenate([begin, made], axis=1).astype(np.uint16)


# --- rounding ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class Rounded:
    """The model of a recipe, what it would take in a file, and the CPU seconds that making it took."""

    model: Transformer
    bytes: int
    bits_per_weight: float
    seconds: float


@functools.cache
def importance() -> tuple[Mapping[str, NDArray[np.float32]], float]:
    """The importance matrix of the calibration text, and the CPU seconds that it took."""
    begun = time.process_time()
    vectors = calibrate.importance(tiny_model(), calibration()).vectors()
    return vectors, time.process_time() - begun


@functools.cache
def seen() -> tuple[Mapping[str, calibrate.Statistics], float]:
    """What the matrices read on the calibration text, and the CPU seconds that it took."""
    begun = time.process_time()
    found = calibrate.statistics(tiny_model(), calibration())
    return found, time.process_time() - begun


def rounded(recipe: Recipe) -> Rounded:
    """Round the model as a recipe says; reading the calibration text counts for each that needs it."""
    read = 0.0
    if recipe.importance:
        read = importance()[1]
    elif recipe.name.startswith(("awq", "keep", "smoothquant")):
        read = seen()[1]
    begun = time.process_time()
    if recipe.family == "gguf":
        steps = plan(model_file(), recipe.name, importance()[0] if recipe.importance else None)
        model = tiny_model().replaced(decoded(steps))
        size = sum(step.spec.bytes for step in steps)
    else:
        model = _method(recipe)
        size = _size(recipe)
    seconds = read + time.process_time() - begun
    elements = sum(tensor.elements for tensor in model_file().tensors)
    return Rounded(model, size, 8 * size / elements, seconds)


def _method(recipe: Recipe) -> Transformer:
    model, bits, size = tiny_model(), recipe.bits, recipe.group_size
    if recipe.family == "original":
        return model
    if recipe.family == "w8a8":
        return _in_eight_bits(recipe.name)
    scheme: Scheme = "symmetric" if recipe.name == "rtn-symmetric" else "asymmetric"

    def to_nearest(w: NDArray[np.float32]) -> NDArray[Any]:
        return round_to_nearest(w, bits, size, scheme).dequantize()

    by_weights: dict[str, Callable[[NDArray[np.float32]], NDArray[Any]]] = {
        "rtn": to_nearest,
        "rtn-symmetric": to_nearest,
        "hqq": lambda w: hqq.hqq(w, bits, size).dequantize(),
        "nf4": lambda w: nf4.quantize(w, size).dequantize(),
        "nf4-double": lambda w: nf4.quantize(w, size, double_quantization=True).dequantize(),
        "mxfp4": lambda w: ggml.dequantize(ggml.quantize(w, "MXFP4"), "MXFP4"),
        "nvfp4": lambda w: ggml.dequantize(ggml.quantize(w, "NVFP4"), "NVFP4"),
        "fp8": lambda w: fp8.quantize(w).dequantize(),
        "fp8-e5m2": lambda w: fp8.quantize(w, "e5m2").dequantize(),
    }
    if recipe.name in by_weights:
        weights = calibrate.round_matrices(model, model.matrices, by_weights[recipe.name])
    else:
        weights = calibrated_layers(recipe.name, bits, size)
        weights |= calibrate.round_matrices(model, [model.head], to_nearest)
    return model.replaced(weights)


def calibrated_layers(
    method: str, bits: int, group_size: int, tokens: NDArray[np.int64] | None = None
) -> dict[str, NDArray[np.float32]]:
    """Round the matrices of the layers by what they read on the calibration text, or on other windows."""
    model = tiny_model()
    if method.startswith("gptq"):
        text = calibration() if tokens is None else tokens
        return calibrate.gptq_layers(model, text, bits, group_size, act_order=method == "gptq-act-order")
    found = seen()[0] if tokens is None else calibrate.statistics(model, tokens)
    if method.startswith("keep-"):
        by: Any = method.removeprefix("keep-")
        return {
            name: awq.keep_channels(
                model.weights[name], found[name].magnitude, bits, group_size, KEPT, by, SEED
            ).dequantized.astype(np.float32)
            for name in model.linears
        }
    return calibrate.awq_layers(model, found, bits, group_size, clipped=method == "awq-clip")


def _in_eight_bits(name: str) -> Transformer:
    """Weights in 8 bits with a scale for each row, and so the inputs of the layers' matrices."""
    model = calibrate.smoothed(tiny_model(), seen()[0]) if name == "smoothquant" else tiny_model()

    def by_reference(w: NDArray[np.float32]) -> NDArray[Any]:
        if name == "llm-int8":
            return int8.quantize_int8(np.zeros((1, w.shape[1])), w).weights
        return fp8.quantize(w).dequantize() if name == "fp8-w8a8" else smoothquant.round_rows(w)

    weights = calibrate.round_matrices(model, model.matrices, by_reference)
    kinds = dict.fromkeys(model.linears, ROUNDED_ACTIVATIONS[name])
    return replace(model.replaced(weights), inputs=rounding_of(kinds))


def _size(recipe: Recipe) -> int:
    """Bytes of all tensors, the norms in float32 as in a GGUF file; of the original, as it is stored."""
    total = 0.0
    layers = tiny_model().linears
    for tensor in model_file().tensors:
        if len(tensor.shape) < 2:
            total += tensor.elements * (2 if recipe.family == "original" else 4)
        elif recipe.name.startswith("keep-") and tensor.name in layers:
            kept = round(KEPT * tensor.columns) / tensor.columns
            total += tensor.elements * (16 * kept + _bits(recipe, tensor.columns) * (1 - kept)) / 8
        else:
            total += tensor.elements * _bits(recipe, tensor.columns) / 8
    return round(total)


def _bits(recipe: Recipe, columns: int) -> float:
    """Bits of one weight of a matrix, scales and zero-points included."""
    if recipe.name in ("mxfp4", "nvfp4"):
        return 8 * row_size(recipe.name.upper(), columns) / columns
    if recipe.family == "original":
        return 16.0
    if recipe.name.startswith("fp8") or recipe.family == "w8a8":
        return 8 + 32 / columns  # a float32 scale for each row
    if recipe.name.startswith("nf4"):
        return nf4.quantize(
            np.ones((256, 256)), recipe.group_size, recipe.name == "nf4-double"
        ).bits_per_weight
    if recipe.name == "hqq":
        return bits_per_weight(recipe.bits, recipe.group_size, "float_offset")
    symmetric = recipe.name == "rtn-symmetric"
    return bits_per_weight(recipe.bits, recipe.group_size, "symmetric" if symmetric else "asymmetric")


# --- measuring --------------------------------------------------------------------------------------------


def measure(
    recipes: Iterable[Recipe], read: Windows, report: Callable[[float], None] | None = None
) -> list[dict[str, Any]]:
    """Round by each recipe and measure all side by side on a text: one row for each, as JSON has it."""
    model = tiny_model()
    by_recipe = {recipe: rounded(recipe) for recipe in recipes}
    # The model itself stands in for its own row, so that its predictions are made once for all.
    models = {"F16": model} | {
        recipe.key: one.model for recipe, one in by_recipe.items() if recipe.key != "F16"
    }
    results = evaluate_each(models, read, model, report)
    return [
        {
            "key": recipe.key,
            "family": recipe.family,
            "name": recipe.name,
            "bits": recipe.bits,
            "group_size": recipe.group_size,
            "importance": recipe.importance,
            "activation_bits": recipe.activation_bits,
            "bytes": one.bytes,
            "bits_per_weight": round(one.bits_per_weight, 5),
            **numbers(results[recipe.key], results["F16"]),
            "divergence": _short(results[recipe.key].divergence),
            "divergence_error": _short(results[recipe.key].divergence_error),
            "agreement": _short(results[recipe.key].agreement),
            "sample_perplexity": _short(_first(results[recipe.key]).perplexity),
            "seconds": round(one.seconds, 2),
        }
        for recipe, one in by_recipe.items()
    ]


def numbers(result: Evaluation, before: Evaluation) -> dict[str, float]:
    """Perplexity, and the rise of the mean loss over the 16-bit model's, both with their standard errors.

    The error of the rise is that of the differences token by token, which share the luck of the text.
    """
    rise = Evaluation(result.losses - before.losses)
    return {
        "perplexity": _short(result.perplexity),
        "standard_error": _short(result.standard_error),
        "rise": _short(float(rise.losses.mean())),
        "rise_error": _short(rise.standard_error / rise.perplexity),
    }


def _first(result: Evaluation) -> Evaluation:
    return Evaluation(result.losses[:SAMPLE_WINDOWS])


def _short(value: float) -> float:
    return float(f"{value:.6g}")


# --- calibration: how much text, and which ----------------------------------------------------------------

CALIBRATED_BITS = 3
CALIBRATION_TOKENS = (256, 1024, 4096, 16384)
SOURCES = ("own", "play", "bible")
METHODS = ("gptq", "awq")


@dataclass(frozen=True, slots=True)
class Calibrated:
    """A method at 3 bits, calibrated on so many tokens of a source; `rtn` needs none."""

    method: str
    source: str
    tokens: int


def calibrations() -> tuple[Calibrated, ...]:
    """Every one that the shipped texts have tokens for."""
    return (
        Calibrated("rtn", "", 0),
        *(
            Calibrated(method, source, tokens)
            for method in METHODS
            for source in SOURCES
            for tokens in CALIBRATION_TOKENS
            if tokens <= calibration_text(source).size
        ),
    )


@functools.cache
def calibration_text(source: str) -> NDArray[np.int64]:
    """Windows to calibrate on: the model's own, The Tempest, or four books of the World English Bible."""
    if source == "own":
        return calibration()
    begins = np.flatnonzero(held_out() == 0)
    first, last = (8, 9) if source == "play" else (0, 4)
    part = held_out()[begins[first] : begins[last]]
    return part[: len(part) // CONTEXT * CONTEXT].reshape(-1, CONTEXT)


def judged_play() -> Windows:
    """Macbeth, which is part of none of the calibration texts."""
    return windows(held_out()[np.flatnonzero(held_out() == 0)[9] :], CONTEXT, first=1)


def measure_calibration(
    wanted: Iterable[Calibrated], read: Windows, report: Callable[[float], None] | None = None
) -> list[dict[str, Any]]:
    """Perplexity of each on a text, as JSON has it."""
    model = tiny_model()

    def nearest(w: NDArray[np.float32]) -> NDArray[Any]:
        return round_to_nearest(w, CALIBRATED_BITS, GROUP_SIZE).dequantize()

    plain = calibrate.round_matrices(model, model.matrices, nearest)
    models: dict[Calibrated, Transformer] = {}
    for one in wanted:
        layers: Weights = {}
        if one.method != "rtn":
            tokens = calibration_text(one.source)[: one.tokens // CONTEXT]
            layers = calibrated_layers(one.method, CALIBRATED_BITS, GROUP_SIZE, tokens)
        models[one] = model.replaced({**plain, **layers})
    keys = {str(index): one for index, one in enumerate(models)}
    results = evaluate_each({"": model} | {key: models[one] for key, one in keys.items()}, read, None, report)
    return [
        {
            "method": one.method,
            "source": one.source,
            "tokens": one.tokens,
            **numbers(results[key], results[""]),
        }
        for key, one in keys.items()
    ]


# --- what the numbers depend on ---------------------------------------------------------------------------

#: What counts, what does not (it reads files and prints, and computes nothing), and what of that does.
_COUNTED = "quant_core"
_LEFT_OUT = ("quant_core.cli", "quant_core.files")
_COUNTED_AGAIN = ("quant_core.files.quantizing", "quant_core.files.storage", "quant_core.files.tensors")


def fingerprint() -> dict[str, str]:
    """SHA-256 of the code that the numbers depend on, and of the model and its texts.

    The code is this module and what it imports of `quant_core`, without comments and docstrings.
    """
    code = hashlib.sha256()
    for path in sorted(counted_modules()):
        code.update(bare_source(path.read_text("utf-8")).encode())
    weights = hashlib.sha256()
    for path in sorted(TINY_MODEL.iterdir()):
        if path.suffix in (".safetensors", ".npy", ".json"):
            weights.update(path.name.encode() + hashlib.sha256(path.read_bytes()).digest())
    return {"code": code.hexdigest(), "weights": weights.hexdigest()}


def counted_modules() -> set[Path]:
    """The files of all modules that this one imports, directly or not."""
    found: set[Path] = {Path(__file__)}
    waiting = [Path(__file__)]
    while waiting:
        for node in ast.walk(ast.parse(waiting.pop().read_text("utf-8"))):
            for name in _imported(node):
                path = _path_of(name)
                if path is not None and path not in found:
                    found.add(path)
                    waiting.append(path)
    return found


def _imported(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom) and node.module:
        return [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return []


def _path_of(name: str) -> Path | None:
    if not name.startswith(f"{_COUNTED}.") and name != _COUNTED:
        return None
    if name.startswith(_LEFT_OUT) and name not in _COUNTED_AGAIN:
        return None
    path = ROOT.joinpath(*name.split("."))
    return next((file for file in (path.with_suffix(".py"), path / "__init__.py") if file.is_file()), None)


def bare_source(source: str) -> str:
    """A module without docstrings, comments on lines of their own and blank lines.

    It is cut from the text, not printed from the syntax tree, whose form differs between versions of Python.
    """
    dropped: set[int] = set()
    for node in ast.walk(ast.parse(source)):
        body = getattr(node, "body", None)
        for part in body if isinstance(body, list) else []:
            if (
                isinstance(part, ast.Expr)
                and isinstance(part.value, ast.Constant)
                and isinstance(part.value.value, str)
            ):
                dropped |= set(range(part.lineno, (part.end_lineno or part.lineno) + 1))
    kept = (
        line.rstrip()
        for number, line in enumerate(source.splitlines(), 1)
        if number not in dropped and line.strip() and not line.lstrip().startswith("#")
    )
    return "\n".join(kept) + "\n"
