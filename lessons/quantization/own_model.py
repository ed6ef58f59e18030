"""A reader's own model: its `config.json`, or the header of a GGUF file, and the line that an address holds.

The line is what is left of a configuration when every field is dropped without which the shape stays the
same: `model_type=llama hidden_size=4096 …`. A config.json of kilobytes becomes a few hundred characters,
which are read as strictly as the file. It holds the sizes that the file left to the defaults of its class, so
that a link keeps its meaning, and names them (`assumed`); and what reads pictures and sound (`towers`), which
is no part of the shape.
"""

from __future__ import annotations

import base64
import binascii
import functools
import re
from collections.abc import Iterator, Mapping
from itertools import groupby
from typing import Any, NamedTuple

from lessons.kit.language import gettext as _
from lessons.kit.own import OwnError
from quant_core.files import FormatError
from quant_core.files.bounded import parse_config
from quant_core.files.model import config_of_header
from quant_core.llm.architectures.table import TEXT_PARTS
from quant_core.llm.shapes import read_shape
from quant_core.llm.towers import tower_parameters
from quant_core.memory import ModelShape

MOST_BYTES = 1 << 17
MOST_LINE = 1000
FEWEST, MOST = 1e6, 1e13
"""The numbers of parameters that a model may have; the drawing cannot show smaller ones."""

GGUF_MAGIC = b"GGUF"
#: Lists of names are written with a letter for each; of several names with one letter the last is read.
_LETTERS: dict[str, dict[str, str]] = {
    "layer_types": {
        "attention": "f", "indexed_attention": "f", "full_attention": "f", "chunked_attention": "s",
        "sliding_attention": "s", "mamba": "l", "conv": "l", "linear_attention": "l",
    },
    "mlp_layer_types": {"dense": "d", "sparse": "s"},
    "indexer_types": {"full": "f", "shared": "s"},
    "block_types": {"attention": "a", "recurrent": "r"},
    "layers_block_type": {
        "linear_attention": "m", "mamba": "m",
        "full_attention": "a", "attention": "a", "mlp": "d", "moe": "e",
    },
}  # fmt: skip
_NAMES = {field: {letter: name for name, letter in names.items()} for field, names in _LETTERS.items()}
_SCALINGS = ("rope_scaling", "rope_parameters")
_LISTS = ("architectures", "mlp_only_layers", "moe_layers", "attn_layer_indices", "cross_attention_layers",
          "full_attn_idxs")  # fmt: skip
_UNKNOWN = "unknown"
_STAR = "A"
"""Stands in the line for the * of Nemotron's pattern, which an address would have to escape."""

_DECIMAL = re.compile(r"[0-9]{1,6}\.[0-9]{1,6}")
_WORD = re.compile(r"[A-Za-z0-9_.\-]{1,512}")
_RUN = re.compile(r"([0-9]{1,3}):(.+)")
_MOST_ITEMS = 512


class Beside(NamedTuple):
    """What a line says beside the shape.

    `towers` is the number of parameters that read pictures and sound, None where it is not known, 0 where
    there are none; `assumed` has the sizes that the file left to the defaults of its class.
    """

    towers: int | None
    assumed: tuple[tuple[str, int], ...]


def controls_of(fields: Mapping[str, str]) -> dict[str, str]:
    """The controls of FIG.06 for a model that a form has sent: `own.text`, or `own.file` in base64.

    Raises
    ------
    OwnError
        Whatever is wrong with it, in words for the reader.
    """
    try:
        data = _sent(fields)
        if data.startswith(GGUF_MAGIC):
            line = line_of(config_of_header(data), assume=False)
        else:
            line = line_of(parse_config(data, "config.json"))
        shape_of(line)
    except (FormatError, ValueError) as error:
        raise OwnError(str(error)) from None
    return {"source": "config", "config": line}


def _sent(fields: Mapping[str, str]) -> bytes:
    if not fields.get("own.file"):
        data = fields.get("own.text", "").strip().encode()
    else:
        try:
            data = base64.b64decode(fields["own.file"], validate=True)
        except (binascii.Error, ValueError):
            raise OwnError(_("The file did not arrive whole.")) from None
    if not data:
        raise OwnError(_("There is nothing to read: give the text of a config.json."))
    if len(data) > MOST_BYTES:
        raise OwnError(_("It is larger than %(most)s bytes.", most=str(MOST_BYTES)))
    return data


def line_of(config: Mapping[str, Any], *, assume: bool = True) -> str:
    """The shortest line that gives the shape of a configuration.

    `assume` is as for `read_shape`: a header of a GGUF file leaves nothing to a class.

    Raises
    ------
    ValueError
        The configuration is none that `model_shape` reads, or its line would be too long for an address.
    """
    shape, kept = read_shape(config, assume=assume)
    if kept.get("model_type") in TEXT_PARTS:  # which is refused where it stands alone
        kept["model_type"] = kept["model_type"].removesuffix("_text")
    while list(fewer := _fewest(kept, shape)) != list(kept):  # without some fields others are read
        kept = fewer
    parts = [f"{name}={_written(name, value)}" for name, value in kept.items()]
    if assumed := [name for name in shape.assumed if name in kept]:
        parts.append(f"assumed={_list(assumed)}")
    if (towers := tower_parameters(config)) != 0:
        parts.append(f"towers={towers or _UNKNOWN}")
    line = " ".join(parts)
    if len(line) > MOST_LINE:
        raise ValueError(
            _(
                "what decides its memory takes %(count)s characters; at most %(most)s are held",
                count=str(len(line)),
                most=str(MOST_LINE),
            )
        )
    return line


def _fewest(config: dict[str, Any], shape: ModelShape) -> dict[str, Any]:
    """The fields of a configuration, in the order of reading, without those that change nothing."""
    kept = config
    for name in config:
        fewer = {key: value for key, value in kept.items() if key != name}
        try:
            if name != "model_type" and read_shape(fewer, assume=False)[0] == shape:
                kept = fewer
        except ValueError:
            continue  # it is needed
    return read_shape(kept, assume=False)[1]


def _written(name: str, value: Any) -> str:
    if name in _SCALINGS:
        value = value.get("rope_type", value.get("type"))
    if name in _LETTERS:
        return "".join(_LETTERS[name][kind] for kind in value)
    if name == "hybrid_override_pattern":
        return str(value).replace("*", _STAR)
    if isinstance(value, list | tuple):
        return _list([_word(name, item) for item in value])
    return _word(name, value)


def _word(name: str, value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return str(value)
    if not isinstance(value, str | float) or not _WORD.fullmatch(str(value)):
        raise ValueError(f"{name} is {str(value)[:40]!r}; it must be of letters, digits and ._-")
    return str(value)


def _list(items: list[str]) -> str:
    """Items behind commas; a row of equal ones, and an only one, as `3:item`."""
    runs = [(item, len(list(run))) for item, run in groupby(items)]
    only = len(items) == 1
    return ",".join(f"{count}:{item}" if count > 1 or only else item for item, count in runs)


def config_of(line: str) -> dict[str, Any]:
    """The configuration that a line holds.

    Raises
    ------
    ValueError
        A part of it is no `name=value`, or a name occurs twice.
    """
    config: dict[str, Any] = {}
    for part in line.split():
        name, equals, value = part.partition("=")
        if not equals or not _WORD.fullmatch(name) or not value:
            raise ValueError(_("“%(part)s” is not of the form name=value", part=part[:40]))
        if name in config:
            raise ValueError(_("%(name)s is given twice", name=name[:40]))
        config[name] = _value(name, value)
    return config


def fields_of(line: str) -> dict[str, Any]:
    """The fields of the configuration that decide the shape.

    Raises
    ------
    ValueError
        As `config_of`.
    """
    return {name: value for name, value in config_of(line).items() if name not in Beside._fields}


def _value(name: str, value: str) -> Any:
    if name in _SCALINGS:
        return {"rope_type": value}
    if name in _NAMES:
        return [_NAMES[name].get(letter, letter) for letter in value]
    if name == "hybrid_override_pattern":
        return value.replace(_STAR, "*")
    if name in _LISTS or "," in value or ":" in value:
        items = list(_items(value))
        if len(items) > _MOST_ITEMS:
            raise ValueError(f"{name} has {len(items)} items; at most {_MOST_ITEMS} are read")
        return items
    return _single(value)


def _items(written: str) -> Iterator[Any]:
    for part in written.split(","):
        run = _RUN.fullmatch(part)
        yield from [_single(run[2])] * int(run[1]) if run else [_single(part)]


def _single(value: str) -> Any:
    if value in ("true", "false"):
        return value == "true"
    if value.isascii() and value.isdecimal() and len(value) < 19:
        return int(value)
    return float(value) if _DECIMAL.fullmatch(value) else value


@functools.lru_cache(maxsize=256)
def shape_of(line: str) -> ModelShape:
    """The shape of the model that a line describes, small enough to be weighed in every format.

    Raises
    ------
    ValueError
        A field is missing, not known, out of range or contradicts another; the message names it.
    """
    beside_of(line)
    config = fields_of(line)
    shape, read = read_shape(config, assume=False)
    unread = [name for name in config if name not in read]
    if unread:
        raise ValueError(_("%(name)s decides nothing about this model's memory", name=unread[0][:40]))
    count = shape.parameters
    if not FEWEST <= count <= MOST:
        raise ValueError(
            _(
                "these fields make a model of %(count)s parameters; it must have from %(low)s to %(high)s",
                count=f"{count:.3g}",
                low="1e6",
                high="1e13",
            )
        )
    return shape


def beside_of(line: str) -> Beside:
    """What a line says beside the shape.

    Raises
    ------
    ValueError
        It is none of what `line_of` writes there; the message names the field.
    """
    config = config_of(line)
    towers, assumed = config.get("towers", 0), config.get("assumed", [])
    if towers != _UNKNOWN and (type(towers) is not int or not 0 <= towers < MOST):
        raise ValueError(f"towers is {str(towers)[:40]!r}; it must be a number of parameters, or {_UNKNOWN}")
    if not isinstance(assumed, list) or not all(type(config.get(str(name))) is int for name in assumed):
        raise ValueError("assumed must name fields of this line")
    return Beside(None if towers == _UNKNOWN else towers, tuple((name, config[name]) for name in assumed))
