"""`perplexity MODEL --text FILE`: measure the perplexity of a text, also after quantization."""

from __future__ import annotations

import argparse
import math
import sys
from dataclasses import replace
from pathlib import Path
from time import monotonic
from typing import TextIO

import numpy as np

from quant_core.files import FormatError, Model, open_model, read_imatrix
from quant_core.files.errors import short_path
from quant_core.files.quantizing import decoded, plan, quantization_warnings
from quant_core.files.storage import TYPES_ARE, file_type
from quant_core.llm.bpe import Tokenizer, tokenizer_of
from quant_core.llm.evaluate import Evaluation, Windows, evaluate, windows
from quant_core.llm.kv_cache import CacheRounding
from quant_core.llm.model import Transformer, from_file
from quant_core.memory import CACHE_TYPES, kv_bytes_per_token

MOST_TEXT_BYTES = 1 << 28
DEFAULT_CONTEXT = 512
_BAR = 30


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Describe the command."""
    parser = commands.add_parser(
        "perplexity", help="measure a model on a text, as it is and rounded to smaller types"
    )
    argument = parser.add_argument
    argument("model", metavar="MODEL", type=Path, help="a GGUF file, or .safetensors beside its config.json")
    argument("--text", type=Path, required=True, metavar="FILE", help="UTF-8")
    argument("--types", default="", metavar="TYPES", help=f"such as Q8_0,Q4_K_M; {TYPES_ARE}")
    argument("--imatrix", type=Path, metavar="FILE", help="an importance matrix of llama-imatrix")
    argument(
        "--context",
        type=int,
        metavar="N",
        help=f"tokens in a window (default: the model's, {DEFAULT_CONTEXT} at most)",
    )
    argument(
        "--stride", type=int, metavar="N", help="tokens from one window to the next (default: no overlap)"
    )
    argument("--all-tokens", action="store_true", help="count the first half of a window too")
    for part, name in (("k", "keys"), ("v", "values")):
        argument(
            f"--cache-type-{part}",
            type=str.lower,
            metavar="TYPE",
            help=f"type of the cached {name}: {', '.join(CACHE_TYPES)} (default: f16 if the other is given, "
            "else nothing is rounded)",
        )
    argument(
        "--attn-rot-disable",
        action="store_true",
        help="do not rotate a quantized cache, as llama.cpp with LLAMA_ATTN_ROT_DISABLE=1",
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print a line for the unquantized model, one with a cache of other types, and one for each type."""
    file = open_model(options.model)
    types = [file_type(name) for name in options.types.split(",") if name]
    importance = read_imatrix(options.imatrix).vectors() if options.imatrix else None
    steps = {mix: plan(file, mix, importance) for mix in types}  # refuses a bad argument before any work
    if importance is not None and not types:
        print("warning: the importance matrix is not used: --types names none to round to", file=sys.stderr)
    for mix in types:
        for remark in quantization_warnings(steps[mix], importance):
            print(f"warning: {mix}: {remark}", file=sys.stderr)
    model, tokenizer = from_file(file), tokenizer_of(file)
    cache = _cache(options)
    if cache:
        print(_cache_line(cache, model))  # refuses a type that does not fit the heads
    elif options.attn_rot_disable:
        print("warning: --attn-rot-disable does nothing without a type of the cache", file=sys.stderr)
    text = _windows(options, file, model, tokenizer)
    size = sum(len(tokenizer.bytes_of(token)) for token in text.targets.ravel().tolist())
    print(
        f"{short_path(options.text)}: {len(text.tokens)} windows of {text.tokens.shape[1]} tokens, "
        f"{text.targets.size} predictions"
    )
    print(
        f"{'type':<10} {'bits/weight':>11}  {'perplexity':>22}  {'bits/byte':>9}  {'KL divergence':>20}"
        "  same top"
    )
    bits = 8 * sum(tensor.bytes for tensor in file.tensors) / sum(tensor.elements for tensor in file.tensors)
    bar = Bar(sys.stderr, 1 + len(types) + (cache is not None))
    print(_line("as it is", bits, evaluate(model, text, report=bar.show), size, compared=False), flush=True)
    if cache:
        result = evaluate(replace(model, cached=cache), text, model, bar.show)
        print(_line("cache", bits, result, size, compared=True), flush=True)
    for mix in types:
        elements = sum(step.source.elements for step in steps[mix])
        bits = 8 * sum(step.spec.bytes for step in steps[mix]) / elements
        rounded = replace(model.replaced(decoded(steps[mix])), cached=cache)
        print(_line(mix, bits, evaluate(rounded, text, model, bar.show), size, compared=True), flush=True)
    return 0


def _cache(options: argparse.Namespace) -> CacheRounding | None:
    """Return the cache that the options describe; None if they name no type."""
    types = options.cache_type_k, options.cache_type_v
    if types == (None, None):
        return None
    return CacheRounding(types[0] or "f16", types[1] or "f16", rotate=not options.attn_rot_disable)


def _cache_line(cache: CacheRounding, model: Transformer) -> str:
    """Say what the cache stores and how much it takes.

    Raises
    ------
    ValueError
        If a head does not divide into blocks of a type.
    """
    types = {"K": cache.cache_type_k, "V": cache.cache_type_v}
    head = np.zeros((1, 1, 1, model.shape.head_dim), np.float32)
    cache(head, head, head)
    rotations = {"K": cache.key_rotation(head.size), "V": cache.value_rotation(head.size)}
    parts = [
        f"{part} {types[part]}" + (f", rotated by {rotations[part]}" if rotations[part] else "")
        for part in types
    ]
    size, half = kv_bytes_per_token(model.shape, *types.values()), kv_bytes_per_token(model.shape)
    return f"cache: {'; '.join(parts)}; {size} bytes for each token, {half} in f16"


def _windows(options: argparse.Namespace, file: Model, model: Transformer, tokenizer: Tokenizer) -> Windows:
    text = _text(options.text)
    tokens = tokenizer.encode(text)
    missing = len(text.encode()) - sum(map(len, map(tokenizer.bytes_of, tokens)))
    if missing:
        print(
            f"note: the vocabulary has no token for {missing} bytes of the text; they are skipped",
            file=sys.stderr,
        )
    context = options.context
    if context is None:
        context = min(model.shape.max_context or DEFAULT_CONTEXT, DEFAULT_CONTEXT)
    begins, bos = (file.metadata.get(f"tokenizer.ggml.{key}") for key in ("add_bos_token", "bos_token_id"))
    start = int(bos.value) if begins is not None and begins.value and bos is not None else None
    first = 1 if options.all_tokens else None
    return windows(np.array(tokens, np.int64), context, first, options.stride, start)


def _text(path: Path) -> str:
    """Read a text of bounded length; it may come from a pipe."""
    with open(path, "rb") as file:
        data = file.read(MOST_TEXT_BYTES + 1)
    if len(data) > MOST_TEXT_BYTES:
        raise FormatError(f"{short_path(path)}: more than {MOST_TEXT_BYTES} bytes")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise FormatError(f"{short_path(path)}: not UTF-8 at byte {error.start}") from None


def _line(name: str, bits: float, result: Evaluation, size: int, *, compared: bool) -> str:
    perplexity = f"{result.perplexity:.4f} ± {result.standard_error:.4f}"
    line = f"{name:<10} {bits:>11.4f}  {perplexity:>22}  {result.bits_per_byte(size):>9.4f}"
    if not compared:
        return line
    divergence = f"{result.divergence:.5f} ± {result.divergence_error:.5f}"
    return f"{line}  {divergence:>20}  {result.agreement:>8.2%}"


class Bar:
    """A progress bar on a terminal; nothing anywhere else.

    Parameters
    ----------
    stream : text file
    count : int
        Runs that are waited for.
    """

    def __init__(self, stream: TextIO, count: int) -> None:
        self._stream, self._count = stream, count
        self._done = 0
        self._begun = monotonic()

    def show(self, share: float) -> None:
        """Show the progress of the current run; 1 ends it and begins the next."""
        total = (self._done + share) / self._count
        if share == 1:
            self._done += 1
        if not self._stream.isatty():
            return
        left = (monotonic() - self._begun) * (1 / total - 1) if total else math.inf
        line = f"{'█' * round(_BAR * total):░<{_BAR}} {total:4.0%}  {left:5.0f} s left"
        # Clear the line at the end of a run: a line of results follows.
        self._stream.write("\r\x1b[K" if share == 1 else f"\r{line}")
        self._stream.flush()
