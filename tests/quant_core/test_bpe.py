"""The tokenizer, compared with tokens from another implementation."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quant_core.files import FormatError, open_model, quantize_model
from quant_core.files.gguf_writer import string
from quant_core.files.tokenizer import PRE_TOKENIZERS
from quant_core.llm.bpe import GPT2, Tokenizer, tokenizer_of
from tests.quant_core.conftest import DATA
from tests.quant_core.model_files import CONFIG, TINYLM, TOKENIZER, write_checkpoint

MODEL = open_model(TINYLM / "model.safetensors")
TINY = tokenizer_of(MODEL)
MERGES = MODEL.metadata["tokenizer.ggml.merges"].value
BYTES = [chr(code) for code in (*range(33, 127), *range(161, 173), *range(174, 256), *range(256, 324))]


def test_the_held_out_text_has_the_tokens_of_hugging_faces_tokenizer() -> None:
    documents = json.loads((TINYLM / "heldout_text.json").read_text("utf-8"))
    tokens: list[int] = []
    for document in documents:
        tokens += [0, *TINY.encode(document)]
        assert TINY.decode(TINY.encode(document)) == document
    np.testing.assert_array_equal(tokens, np.load(TINYLM / "heldout_tokens.npy"))


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=60))
def test_every_text_survives_a_round_trip(written: str) -> None:
    ids = TINY.encode(written)
    assert TINY.decode(ids) == written
    assert b"".join(map(TINY.bytes_of, ids)) == written.encode()


def test_partial_character_is_marked() -> None:
    first, second = TINY.encode("é")
    assert TINY.decode([first]) == "\ufffd"
    assert TINY.decode([first, second]) == "é"


def test_special_tokens_are_not_looked_for() -> None:
    assert 0 not in TINY.encode("<|eos|>")
    assert TINY.bytes_of(0) == b"<|eos|>"


# What GPT-2's own tokenizer cuts these into (the examples of its pattern's comment, and the edges).
WORDS = {
    "I've 3 naïve ²s": ["I", "'ve", " 3", " naïve", " ²", "s"],
    "a  b": ["a", " ", " b"],
    "end.  ": ["end", ".", "  "],
    "x\n\ny": ["x", "\n", "\n", "y"],
    "don't!!": ["don", "'t", "!!"],
}


@pytest.mark.parametrize("written", WORDS)
def test_gpt2s_pattern_cuts_where_gpt2_does(written: str) -> None:
    tokenizer = Tokenizer(BYTES, [], [GPT2])
    seen: list[str] = []

    def kept(word: str) -> tuple[int, ...]:
        seen.append(word)
        return ()

    tokenizer._word = kept  # type: ignore[assignment]
    tokenizer.encode(written)
    letters = {letter: bytes([byte]) for byte, letter in zip(byte_order(), BYTES, strict=True)}
    assert [b"".join(map(letters.__getitem__, word)).decode() for word in seen] == WORDS[written]


def byte_order() -> list[int]:
    shown = [*range(33, 127), *range(161, 173), *range(174, 256)]
    return [*shown, *(byte for byte in range(256) if byte not in shown)]


LETTERS = dict(zip(byte_order(), BYTES, strict=True))


def test_the_first_merge_of_training_comes_first() -> None:
    tokens = ["a", "b", "c", "ab", "bc", "abc"]
    assert Tokenizer(tokens, ["b c", "a b", "a bc"], [GPT2]).encode("abcab") == [5, 3]
    assert Tokenizer(tokens, ["a b", "b c", "a bc"], [GPT2]).encode("abc") == [3, 2]
    assert Tokenizer(tokens, ["a b"], [GPT2], whole_words=True).encode("abc") == [5]


def test_a_gguf_file_carries_its_tokenizer(tmp_path: Path) -> None:
    quantize_model(open_model(TINYLM / "model.safetensors"), tmp_path / "m.gguf", "Q8_0")
    tokenizer = tokenizer_of(open_model(tmp_path / "m.gguf"))
    assert tokenizer.tokens == TINY.tokens
    assert tokenizer.encode("And it came to pass") == TINY.encode("And it came to pass")


@pytest.mark.parametrize("name", PRE_TOKENIZERS.values())
def test_every_known_pattern_can_be_used(tmp_path: Path, name: str) -> None:
    quantize_model(open_model(TINYLM / "model.safetensors"), tmp_path / "m.gguf", "Q8_0")
    model = open_model(tmp_path / "m.gguf")
    tokenizer = tokenizer_of(replace(model, metadata={**model.metadata, "tokenizer.ggml.pre": string(name)}))
    written = "In 1234 words, naïve Ωs\n\n  don't end."
    assert tokenizer.decode(tokenizer.encode(written)) == written
    # GPT-2 keeps a number together, SmolLM and Qwen cut every digit, Llama every three.
    digits = {"gpt-2": 4, "smollm": 1, "qwen2": 1, "llama-bpe": 3}[name]
    assert max(len(TINY.decode([i]).strip()) for i in tokenizer.encode("1234")) <= digits


def test_tokenizers_that_are_not_read_are_refused(tmp_path: Path) -> None:
    model = open_model(write_checkpoint(tmp_path))
    for key, value, problem in (
        ("model", string("llama"), "not a byte-level BPE"),
        ("merges", string("a b"), "not a byte-level BPE"),
    ):
        with pytest.raises(FormatError, match=problem):
            tokenizer_of(replace(model, metadata={**model.metadata, f"tokenizer.ggml.{key}": value}))
    file = replace(
        model, path=tmp_path / "m.gguf", metadata={**model.metadata, "tokenizer.ggml.pre": string("x")}
    )
    with pytest.raises(FormatError, match="pre: x; known are"):
        tokenizer_of(file)
    normalized: dict[str, Any] = {**TOKENIZER, "normalizer": {"type": "NFC"}}
    with pytest.raises(FormatError, match="normalizer"):
        tokenizer_of(open_model(write_checkpoint(tmp_path / "n", CONFIG, normalized)))
    split = {"type": "Split", "pattern": {"Regex": "("}}
    steps = {"type": "Sequence", "pretokenizers": [split, {"type": "ByteLevel", "use_regex": False}]}
    with pytest.raises(FormatError, match=r"pattern \("):
        tokenizer_of(
            open_model(write_checkpoint(tmp_path / "p", CONFIG, {**TOKENIZER, "pre_tokenizer": steps}))
        )


def test_bytes_that_the_vocabulary_lacks_are_skipped_as_llama_cpp_does() -> None:
    # SmolLM2 has no token for this byte, which is no white space to the pattern: " \x1d" is a word.
    tokens = ["?" if token == LETTERS[0x1D] else token for token in TINY.tokens]
    lacking = Tokenizer(tokens, MERGES, [GPT2])
    written = (DATA / "text_with_group_separator.txt").read_text("utf-8")
    assert written.count("\x1d") == 1
    ids = lacking.encode(written)
    before, after = written.split("\x1d")
    assert ids == [*lacking.encode(before), *lacking.encode(after)]
    assert lacking.decode(ids) == written.replace("\x1d", "")
    assert ids == [i for i in TINY.encode(written) if TINY.tokens[i] != LETTERS[0x1D]]


def test_unknown_piece_is_looked_up_byte_by_byte() -> None:
    # `llm_tokenizer_bpe_session::tokenize` looks such a piece up byte by byte of its UTF-8: Ġ has two.
    tokenizer = Tokenizer(["a", "b", "Ġ"], ["a b", "Ġ ab"], [GPT2])
    assert tokenizer.encode("ab ab") == [0, 1, 0, 1]
    assert tokenizer.encode("zz z") == [2]
    assert Tokenizer(["a"], [], [GPT2]).encode("zé") == []


def test_invalid_tokenizers_are_refused() -> None:
    with pytest.raises(ValueError, match="not two tokens"):
        Tokenizer(["a"], ["a b c"], [GPT2])
    with pytest.raises(ValueError, match="category Xx"):
        Tokenizer(["a"], [], [r"\p{Xx}"])
    for index in (-1, 1024):
        with pytest.raises(ValueError, match="ids are 0 to 1023"):
            TINY.bytes_of(index)
