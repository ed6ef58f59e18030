r"""Byte-level BPE: text to tokens and back, with a model's own tokenizer.

Text is cut into words by a pattern. The bytes of a word are written in an alphabet of printable characters
(a space becomes Ġ), and neighbouring pieces are merged, in the order of the merges in training.

Special tokens such as <|eos|> are not recognised in a text, so it cannot end a sequence by naming one.

References
----------
Sennrich et al. 2016, "Neural Machine Translation of Rare Words with Subword Units", section 3.2. Radford et
al. 2019 (GPT-2), `encoder.py` of openai/gpt-2 (`bytes_to_unicode`, `bpe`, the pattern). The other patterns:
`src/llama-vocab.cpp` of ggml-org/llama.cpp 0c1e57098bba.
"""

from __future__ import annotations

import re
import sys
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import pairwise

from quant_core.files.bounded import read_json
from quant_core.files.errors import FormatError, printable, short_path
from quant_core.files.model import Model
from quant_core.files.tokenizer import MOST_TOKENIZER_BYTES, PRE_TOKENIZERS, split_steps

GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
_PATTERNS = {"gpt-2": GPT2, "digits": r"\p{N}", "numbers": r"\p{N}+"}
_STEPS = {name: steps for steps, name in PRE_TOKENIZERS.items()}

# Unicode's White_Space; Python's \s has four control characters more.
_SPACE = r"\t-\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
_ESCAPE = re.compile(r"\\(?:p\{(\w+)\}|(.))|([\[\]])", re.DOTALL)


class Tokenizer:
    r"""A vocabulary and its merges.

    Parameters
    ----------
    tokens : sequence of str
        Token of each id, in the byte-level alphabet.
    merges : iterable of str
        "a b" for each pair, in the order of training.
    steps : sequence of str
        Patterns that cut a text into words, one after the other; as in Rust's regex, with \p{L} and \p{N}.
    whole_words : bool
        Take a word that is a token as it is, without merging.

    Raises
    ------
    ValueError
        If a merge is not a pair, or a pattern cannot be compiled.

    Examples
    --------
    >>> tokenizer = Tokenizer(["a", "b", "Ġ", "ab", "Ġab"], ["a b", "Ġ ab"], [GPT2])
    >>> tokenizer.encode("ab ab b"), tokenizer.decode([3, 4])
    ([3, 4, 2, 1], 'ab ab')
    """

    def __init__(
        self, tokens: Sequence[str], merges: Iterable[str], steps: Sequence[str], whole_words: bool = False
    ) -> None:
        self.tokens = tuple(tokens)
        self._ids = {token: index for index, token in enumerate(self.tokens)}
        pairs = [tuple(merge.split(" ")) for merge in merges]
        if any(len(pair) != 2 for pair in pairs):
            raise ValueError("a merge is not two tokens with one space between them")
        self._ranks = {pair: rank for rank, pair in enumerate(pairs)}
        self._steps = [_compiled(step) for step in steps]
        self._whole_words = whole_words
        self._word = lru_cache(maxsize=1 << 14)(self._merged)

    def encode(self, text: str) -> list[int]:
        """Return the token ids of a text; bytes that the vocabulary lacks are skipped, as in llama.cpp.

        References
        ----------
        `llm_tokenizer_bpe_session::tokenize` in `src/llama-vocab.cpp` of ggml-org/llama.cpp 0c1e57098bba.
        """
        pieces: Iterable[str] = [text]
        for pattern in self._steps:
            pieces = [part for piece in pieces for part in _split(piece, pattern)]
        ids: list[int] = []
        for piece in pieces:
            ids += self._word("".join(map(_TO_LETTER.__getitem__, piece.encode("utf-8", "surrogateescape"))))
        return ids

    def decode(self, ids: Iterable[int]) -> str:
        """Return the text of some tokens; bytes that are not UTF-8 become U+FFFD."""
        return b"".join(map(self.bytes_of, ids)).decode("utf-8", "replace")

    def bytes_of(self, index: int) -> bytes:
        """Return the bytes of one token; a special token has those of its name.

        Raises
        ------
        ValueError
            If there is no such token.
        """
        if not 0 <= index < len(self.tokens):
            raise ValueError(f"no token {index}; ids are 0 to {len(self.tokens) - 1}")
        token = self.tokens[index]
        if all(letter in _TO_BYTE for letter in token):
            return bytes(map(_TO_BYTE.__getitem__, token))
        return token.encode("utf-8", "surrogateescape")

    def _merged(self, word: str) -> tuple[int, ...]:
        """Merge the best pair everywhere, from left to right, until none is left."""
        if self._whole_words and word in self._ids:
            return (self._ids[word],)
        parts = list(word)
        while len(parts) > 1:
            best = min(pairwise(parts), key=lambda pair: self._ranks.get(pair, sys.maxsize))
            if best not in self._ranks:
                break
            merged, index = [], 0
            while index < len(parts):
                if tuple(parts[index : index + 2]) == best:
                    merged.append("".join(best))
                    index += 2
                else:
                    merged.append(parts[index])
                    index += 1
            parts = merged
        return tuple(self._ids[token] for part in parts for token in self._tokens_of(part))

    def _tokens_of(self, part: str) -> Iterable[str]:
        """Return the token of a part; of a part that is no token, those of its one-byte letters."""
        if part in self._ids:
            return (part,)
        return (letter for letter in part if letter.isascii() and letter in self._ids)


def tokenizer_of(model: Model) -> Tokenizer:
    """Return the tokenizer of a model file.

    The pattern is that of `tokenizer.json` where one lies beside the weights, and otherwise the one that the
    GGUF file names. Files that say gpt-2 for an unnamed pattern split some text differently.

    Raises
    ------
    FormatError
        If the model has no byte-level BPE, or its pattern or normalizer is not known.
    """
    where = short_path(model.path)

    def value(key: str) -> object:
        meta = model.metadata.get(f"tokenizer.ggml.{key}")
        return meta.value if meta is not None else None

    tokens, merges, name = value("tokens"), value("merges"), value("pre") or "gpt-2"
    if value("model") != "gpt2" or not isinstance(tokens, tuple) or not isinstance(merges, tuple):
        raise FormatError(f"{where}: the tokenizer is not a byte-level BPE")
    beside = model.path.with_name("tokenizer.json")
    steps: Sequence[str]
    if model.path.suffix != ".gguf" and beside.exists():
        parsed = read_json(beside, MOST_TOKENIZER_BYTES)
        if parsed.get("normalizer"):
            raise FormatError(f"{short_path(beside)}: normalizer: texts are not normalized here")
        steps = split_steps(beside, parsed)
    elif isinstance(name, str) and name in _STEPS:
        steps = _STEPS[name]
    else:
        raise FormatError(f"{where}: tokenizer.ggml.pre: {printable(name)}; known are {', '.join(_STEPS)}")
    try:
        return Tokenizer(
            tokens, merges, [_PATTERNS.get(step, step) for step in steps], whole_words=name == "llama-bpe"
        )
    except ValueError as error:
        raise FormatError(f"{where}: tokenizer: {error}") from None


def _split(text: str, pattern: re.Pattern[str]) -> Iterator[str]:
    """Return the matches of a pattern and the text between them."""
    end = 0
    for found in pattern.finditer(text):
        if found.start() > end:
            yield text[end : found.start()]
        if found.group():
            yield found.group()
        end = found.end()
    if end < len(text):
        yield text[end:]


@lru_cache(maxsize=32)
def _compiled(pattern: str) -> re.Pattern[str]:
    r"""Translate a pattern of Rust's regex for Python's `re`, which has no \p{L}."""
    inside = False

    def translated(found: re.Match[str]) -> str:
        nonlocal inside
        name, escaped, bracket = found.groups()
        if bracket:
            inside = bracket == "["
            return bracket
        if name is not None:
            ranges = _category(name)
        elif escaped in ("s", "S"):
            ranges = _SPACE
        else:
            return found.group()
        if inside:
            return ranges
        return f"[^{ranges}]" if escaped == "S" else f"[{ranges}]"

    try:
        return re.compile(_ESCAPE.sub(translated, pattern))
    except re.error as error:
        raise ValueError(f"pattern {printable(pattern)}: {error}") from None


@lru_cache(maxsize=8)
def _category(name: str) -> str:
    """The characters of a general category of Unicode, such as L or Lu, as ranges of a character class."""
    ranges: list[list[int]] = []
    for code in range(sys.maxunicode + 1):
        if unicodedata.category(chr(code)).startswith(name):
            if ranges and ranges[-1][1] == code - 1:
                ranges[-1][1] = code
            else:
                ranges.append([code, code])
    if not ranges:
        raise ValueError(f"no characters are of category {printable(name)}")
    return "".join(rf"\U{low:08x}-\U{high:08x}" for low, high in ranges)


def _alphabet() -> dict[int, str]:
    """GPT-2's letter of each byte: itself where it can be printed, else the next one from U+0100 on."""
    shown = {*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)}
    others = iter(range(256, 512))
    return {byte: chr(byte if byte in shown else next(others)) for byte in range(256)}


_TO_LETTER = _alphabet()
_TO_BYTE = {letter: byte for byte, letter in _TO_LETTER.items()}
