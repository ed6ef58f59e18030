"""Convert a byte-level BPE tokenizer of Hugging Face to the metadata that llama.cpp reads.

`tokenizer.json` is turned into `tokenizer.ggml.*` the way convert_hf_to_gguf.py does it, with one difference:
that script recognises a pre-tokenizer by the tokens of a test sentence, this module by its patterns.

References
----------
`conversion/base.py` (`get_vocab_base`, `_set_vocab_gpt2`), `gguf-py/gguf/vocab.py` (`SpecialVocab`) and
`src/llama-vocab.cpp` (the patterns) of ggml-org/llama.cpp 0c1e57098bba.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn

from quant_core.files.bounded import read_json
from quant_core.files.errors import FormatError, printable, short_path
from quant_core.files.gguf import Meta
from quant_core.files.gguf_writer import boolean, int32_array, string, string_array, uint32

MOST_TOKENIZER_BYTES = 1 << 26
MOST_TOKENS = 1 << 22
NORMAL, CONTROL, USER_DEFINED, UNUSED = 1, 3, 4, 5
SPECIAL = ("bos", "eos", "unk", "sep", "pad", "mask")
#: GGUF's spelling of these two differs.
_KEY_OF = {"unk": "unknown", "sep": "seperator", "pad": "padding"}

_WORDS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|"
_REST = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
#: The pre-tokenizer, as a tuple of its steps -> llama.cpp's name for it.
PRE_TOKENIZERS = {
    (_WORDS + r"\p{N}{1,3}" + _REST,): "llama-bpe",
    (_WORDS + r"\p{N}" + _REST,): "qwen2",
    ("gpt-2",): "gpt-2",
    ("digits", "gpt-2"): "smollm",
}


def tokenizer_metadata(
    folder: Path, config: Mapping[str, Any], vocab_size: int
) -> tuple[dict[str, Meta], list[str]]:
    """Read `tokenizer.json`, and `tokenizer_config.json` if there is one.

    Parameters
    ----------
    folder : Path
        Where they lie.
    config : mapping
        The parsed `config.json`; its `bos_token_id` and `eos_token_id` count where no other file names them.
    vocab_size : int
        Rows of the embedding; ids that no token has become `[PAD…]`.

    Returns
    -------
    metadata : dict of str to Meta
    notes : list of str
        Sentences on what llama.cpp may do differently.

    Raises
    ------
    FormatError
        If the tokenizer is not a byte-level BPE, or a file is damaged.
    """
    path = folder / "tokenizer.json"
    tokenizer = read_json(path, MOST_TOKENIZER_BYTES)
    settings_path = folder / "tokenizer_config.json"
    settings = read_json(settings_path, MOST_TOKENIZER_BYTES) if settings_path.exists() else {}
    model, added = tokenizer.get("model"), _added_tokens(path, tokenizer)
    if not isinstance(model, dict) or model.get("type", "BPE") != "BPE" or model.get("byte_fallback"):
        _fail(path, "model", "only byte-level BPE is converted; give a GGUF file that llama.cpp has made")
    steps = split_steps(path, tokenizer)
    if not steps:
        _fail(path, "pre_tokenizer", "no ByteLevel step: only byte-level BPE is converted")
    tokens, types = _tokens(path, model, added, vocab_size)
    metadata = {
        "tokenizer.ggml.model": string("gpt2"),
        "tokenizer.ggml.pre": string(PRE_TOKENIZERS.get(steps, "gpt-2")),
        "tokenizer.ggml.tokens": string_array(tokens),
        "tokenizer.ggml.token_type": int32_array(types),
        "tokenizer.ggml.merges": string_array(_merges(path, model)),
    }
    metadata |= _special(tokenizer, settings, config, added, vocab_size)
    template = settings.get("chat_template")
    if isinstance(template, str):
        metadata["tokenizer.chat_template"] = string(template)
    notes = [] if steps in PRE_TOKENIZERS else [
        "the pattern that tokenizer.json splits text with is none of "
        f"{', '.join(sorted(PRE_TOKENIZERS.values()))}; written as gpt-2, so some text may split differently"
    ]  # fmt: skip
    return metadata, notes


def split_steps(path: Path, tokenizer: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the patterns by which a parsed `tokenizer.json` cuts text into words.

    Parameters
    ----------
    path : Path
        Where it lies, for the message of an error.
    tokenizer : mapping

    Returns
    -------
    tuple of str
        A pattern, or "gpt-2", "digits" or "numbers" for those that have a name; empty without a byte level.

    Raises
    ------
    FormatError
        If the steps are no list of objects.
    """
    return tuple(_steps(path, tokenizer.get("pre_tokenizer")))


def _fail(path: Path, field: str, problem: str) -> NoReturn:
    raise FormatError(f"{short_path(path)}: {field}: {problem}")


def _added_tokens(path: Path, tokenizer: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Tokens that are matched as a whole, by their text."""
    added = tokenizer.get("added_tokens") or []
    good = isinstance(added, list) and all(
        isinstance(token, dict) and type(token.get("id")) is int and isinstance(token.get("content"), str)
        for token in added
    )
    if not good:
        _fail(path, "added_tokens", "it must list objects with an id and a content")
    return {token["content"]: token for token in added}


def _steps(path: Path, step: Any) -> Iterator[str]:
    """Name the steps of a pre-tokenizer: patterns as they are, GPT-2's own as "gpt-2"; none without bytes."""
    if not isinstance(step, dict):
        return
    parts = step.get("pretokenizers", [step])
    if not isinstance(parts, list) or not all(isinstance(part, dict) for part in parts):
        _fail(path, "pre_tokenizer", "its steps must be a list of objects")
    if not any(part.get("type") == "ByteLevel" for part in parts):
        return
    for part in parts:
        pattern = part.get("pattern")
        if part.get("type") == "Split" and isinstance(pattern, dict):
            yield str(pattern.get("Regex", pattern.get("String")))
        elif part.get("type") == "Digits":
            yield "digits" if part.get("individual_digits") else "numbers"
        elif part.get("type") != "ByteLevel":
            yield str(part.get("type"))
        elif part.get("use_regex", True):
            yield "gpt-2"


def _tokens(
    path: Path, model: Mapping[str, Any], added: Mapping[str, Mapping[str, Any]], vocab_size: int
) -> tuple[list[str], list[int]]:
    vocab = model.get("vocab")
    if not isinstance(vocab, dict):
        _fail(path, "model.vocab", "it must map tokens to ids")
    if not 0 < vocab_size <= MOST_TOKENS:
        _fail(path, "vocab_size", f"{vocab_size} of config.json is not from 1 to {MOST_TOKENS}")
    ids = vocab | {content: token["id"] for content, token in added.items()}
    tokens = [f"[PAD{index}]" for index in range(vocab_size)]
    types = [UNUSED] * vocab_size
    for token, index in ids.items():
        if type(index) is not int or not 0 <= index < vocab_size:
            problem = f"{printable(token)} has id {printable(index)}; there are {vocab_size}"
            _fail(path, "model.vocab", problem)
        tokens[index] = token
        types[index] = _type(token, added[token]) if token in added else NORMAL
    return tokens, types


def _type(token: str, entry: Mapping[str, Any]) -> int:
    """Return the type of a token. Unmarked control tokens are recognised by their brackets."""
    looks_special = token.startswith("<|") and token.endswith("|>")
    return CONTROL if entry.get("special") or looks_special else USER_DEFINED


def _merges(path: Path, model: Mapping[str, Any]) -> Iterator[str]:
    """Yield merges as "a b"; a space in a part is written as the byte-level alphabet writes it."""
    merges = model.get("merges")
    if not isinstance(merges, list):
        _fail(path, "model.merges", "it must be a list")
    for merge in merges:
        if isinstance(merge, str):
            yield merge
        elif isinstance(merge, list) and len(merge) == 2 and all(isinstance(part, str) for part in merge):
            yield " ".join(part.replace(" ", "Ġ") for part in merge)
        else:
            _fail(path, "model.merges", f"{printable(merge)} is not a pair of texts")


def _special(
    tokenizer: Mapping[str, Any],
    settings: Mapping[str, Any],
    config: Mapping[str, Any],
    added: Mapping[str, Mapping[str, Any]],
    vocab_size: int,
) -> dict[str, Meta]:
    """Ids of the special tokens, and which of them begin and end a text."""
    named = {kind: _content(settings.get(f"{kind}_token")) for kind in (*SPECIAL, "cls")}
    named["bos"] = named["bos"] or named["cls"]
    named["eos"] = named["eos"] or named["sep"]
    around = _template(tokenizer.get("post_processor"), named, has_settings=bool(settings))
    metadata = {}
    for kind in (*SPECIAL, "eot"):
        entry = added.get(named.get(kind) or "", {}) if settings else {}
        index = entry.get("id", config.get(f"{kind}_token_id"))
        if type(index) is int and 0 <= index < vocab_size:
            metadata[f"tokenizer.ggml.{_KEY_OF.get(kind, kind)}_token_id"] = uint32(index)
    for kind in ("bos", "eos", "sep"):
        is_added = around.get(kind, settings.get(f"add_{kind}_token"))
        if isinstance(is_added, bool):
            metadata[f"tokenizer.ggml.add_{kind}_token"] = boolean(is_added)
    return metadata


def _content(token: Any) -> str | None:
    """The text of a special token, which is given as it is or as an object with a content."""
    content = token.get("content") if isinstance(token, dict) else token
    return content if isinstance(content, str) else None


def _template(post_processor: Any, named: dict[str, str | None], *, has_settings: bool) -> dict[str, bool]:
    """Whether a text begins with bos and ends with eos, as far as the template of a single text says.

    A token that the template puts there, and the settings do not name, is taken for bos or eos in `named`;
    the eos of the settings then ends a turn (eot). Templates for pairs of texts are not read.
    """
    around: dict[str, bool] = {}
    processors = post_processor.get("processors") if isinstance(post_processor, dict) else None
    for processor in processors if isinstance(processors, list) else [post_processor]:
        kind = processor.get("type") if isinstance(processor, dict) else None
        if kind == "ByteLevel":
            around = {"bos": False, "eos": False} | around
        single = processor.get("single") if kind == "TemplateProcessing" else None
        if not isinstance(single, list) or len(single) < 2:
            continue
        if first := _special_token(single[0]):
            named["bos"] = named["bos"] or first
            named["cls"] = named["cls"] or first
            around["bos"] = first in (named["bos"], named["cls"]) or not has_settings
        if last := _special_token(single[-1]):
            if last != named["eos"]:
                named["eot"], named["eos"] = named["eos"], last
            around["eos"] = True
    return around


def _special_token(item: Any) -> str | None:
    special = item.get("SpecialToken") if isinstance(item, dict) else None
    name = special.get("id") if isinstance(special, dict) else None
    return name if isinstance(name, str) else None
