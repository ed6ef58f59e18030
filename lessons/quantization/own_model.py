"""A reader's own model: its `config.json`, or the header of a GGUF file, and the line that an address holds.

The line is what is left of a configuration when every field is dropped without which the shape stays the
same: `model_type=llama hidden_size=4096 …`. A config.json of kilobytes becomes a few hundred characters,
which are read as strictly as the file.
"""

from __future__ import annotations

import base64
import binascii
import functools
import re
from collections.abc import Mapping
from typing import Any

from lessons.kit.language import gettext as _
from lessons.kit.own import OwnError
from quant_core.files import FormatError
from quant_core.files.bounded import parse_object
from quant_core.files.model import config_of_header
from quant_core.memory import ModelShape, model_shape
from quant_core.shapes import read_shape

MOST_BYTES = 1 << 16
MOST_LINE = 1000
FEWEST, MOST = 1e6, 1e13
"""Parameters of a model that is weighed: below, the drawing has nothing to show; above, nobody has one."""

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
_STAR = "A"
"""Stands in the line for the * of Nemotron's pattern, which an address would have to escape."""

_DECIMAL = re.compile(r"[0-9]{1,6}\.[0-9]{1,6}")
_WORD = re.compile(r"[A-Za-z0-9_.\-]{1,512}")


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
            config = config_of_header(data)
        else:
            config = parse_object(data, "config.json")
        line = line_of(config)
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


def line_of(config: Mapping[str, Any]) -> str:
    """The shortest line that gives the shape of a configuration.

    Raises
    ------
    ValueError
        The configuration is none that `model_shape` reads, or its line would be too long for an address.
    """
    kept = _fewest(config)
    while list(again := _fewest(kept)) != list(kept):  # without some fields others are read
        kept = again
    line = " ".join(f"{name}={_written(name, value)}" for name, value in kept.items())
    if len(line) > MOST_LINE:
        raise ValueError(
            _(
                "what decides its memory takes %(count)s characters; at most %(most)s are held",
                count=str(len(line)),
                most=str(MOST_LINE),
            )
        )
    return line


def _fewest(config: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that were read, in the order of reading, without those that change nothing."""
    shape, read = read_shape(config)
    kept = dict(read)
    for name in read:
        fewer = {key: value for key, value in kept.items() if key != name}
        try:
            if name != "model_type" and model_shape(fewer) == shape:
                kept = fewer
        except ValueError:
            continue  # it is needed
    return kept


def _written(name: str, value: Any) -> str:
    if name in _SCALINGS:
        value = value.get("rope_type", value.get("type"))
    if name in _LETTERS:
        return "".join(_LETTERS[name][kind] for kind in value)
    if name == "hybrid_override_pattern":
        value = value.replace("*", _STAR)
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return ",".join(str(item) for item in value)
    if isinstance(value, str) and not _WORD.fullmatch(value):
        raise ValueError(f"{name} is {value[:40]!r}; it must be of letters, digits and ._-")
    return str(value)


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


def _value(name: str, value: str) -> Any:
    if name in _SCALINGS:
        return {"rope_type": value}
    if name in _NAMES:
        return [_NAMES[name].get(letter, letter) for letter in value]
    if name == "hybrid_override_pattern":
        return value.replace(_STAR, "*")
    if name in _LISTS or "," in value:
        return [int(item) if item.isdecimal() and len(item) < 9 else item for item in value.split(",")]
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
    config = config_of(line)
    shape, read = read_shape(config)
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
