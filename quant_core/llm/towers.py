"""Towers: the parts of a multimodal model that read images and audio, and the adapters to the text.

`quant_core.llm.shapes` counts the text of a model. llama.cpp stores the other parts of a Hugging Face
checkpoint in a separate file (`mmproj`). Their parameters are counted here, from `vision_config` and
`audio_config`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from quant_core.llm.shapes import model_shape

__all__ = ["tower_parameters"]

_MOST = 1 << 24  # of any number read here
_SIGNS = (
    "vision_config",
    "audio_config",
    "visual",
    "vision_tower",
    "mm_vision_tower",
    "img_processor",
    "audio_processor",
    "embd_layer",
    "thinker_config",
)


def tower_parameters(config: Mapping[str, Any]) -> int | None:
    """Count the parameters beside the text of a `config.json`.

    Parameters
    ----------
    config : mapping
        The parsed file, with all its fields.

    Returns
    -------
    int or None
        0 for a text model; None if there is a tower whose size is not understood.

    Raises
    ------
    ValueError
        If `quant_core.llm.shapes.model_shape` refuses the text part.

    References
    ----------
    The classes of transformers 5.18 that the names below belong to; the counts agree with theirs.

    Examples
    --------
    >>> text = {"model_type": "llama", "hidden_size": 4096, "num_hidden_layers": 32,
    ...         "num_attention_heads": 32, "intermediate_size": 11008, "vocab_size": 32064}
    >>> clip = {"model_type": "clip_vision_model", "hidden_size": 1024, "image_size": 336, "patch_size": 14,
    ...         "intermediate_size": 4096, "num_hidden_layers": 24}
    >>> tower_parameters({"model_type": "llava", "text_config": text, "vision_config": clip})
    324487168
    >>> tower_parameters(text)
    0
    """
    if not any(config.get(name) for name in _SIGNS):
        return 0
    width = model_shape(config).hidden_size
    if any(config.get(name) for name in _SIGNS[2:]):
        return None
    count = _COUNTS.get(str(config.get("model_type")))
    if count is None:
        return None
    try:
        return count(_TowerFields(config), width)
    except _UnknownError:
        return None


class _UnknownError(Exception):
    """A tower has a part that is not counted here."""


class _TowerFields:
    """Fields of one part of a configuration; missing ones take the defaults of its class."""

    def __init__(self, fields: Any) -> None:
        if not isinstance(fields, Mapping):
            raise _UnknownError
        self.fields = fields

    def __call__(self, name: str, default: int | None = None, *others: str) -> int:
        """Return an integer, also from a pair of equal ones such as the sides of an image."""
        value = next(
            (self.fields[key] for key in (name, *others) if self.fields.get(key) is not None), default
        )
        if isinstance(value, list | tuple) and len(set(map(str, value))) == 1:
            value = value[0]
        if isinstance(value, bool) or not isinstance(value, int) or not 0 < value <= _MOST:
            raise _UnknownError
        return value

    def flag(self, name: str, default: bool) -> bool:
        value = self.fields.get(name)
        if value is not None and not isinstance(value, bool):
            raise _UnknownError
        return default if value is None else value

    def length(self, name: str, default: int) -> int:
        """Return how many entries a list has."""
        value = self.fields.get(name)
        if value is not None and not isinstance(value, list | tuple):
            raise _UnknownError
        return default if value is None else len(value)

    def part(self, name: str) -> _TowerFields:
        return _TowerFields(self.fields.get(name))

    def has(self, name: str) -> bool:
        return bool(self.fields.get(name))

    def kind(self) -> str:
        return str(self.fields.get("model_type", ""))


def _linear(inputs: int, outputs: int, bias: bool = True) -> int:
    return inputs * outputs + (outputs if bias else 0)


def _patches(v: _TowerFields, size: int, patch: int) -> int:
    return (v("image_size", size) // v("patch_size", patch)) ** 2


def _block(width: int, ffn: int, norms: int) -> int:
    """Parameters of a vision transformer's layer: attention and two feed-forward matrices, with biases."""
    return 4 * _linear(width, width) + _linear(width, ffn) + _linear(ffn, width) + norms * width


# --- towers that several models have ----------------------------------------------------------------------


def _siglip(v: _TowerFields) -> int:
    idefics = v.kind() != "siglip_vision_model"
    width, ffn = v("hidden_size", 1152 if idefics else 768), v("intermediate_size", 3072)
    size, patch = (224, 32) if idefics else (224, 16)
    pixels = v("num_channels", 3) * v("patch_size", patch) ** 2
    total = _linear(pixels, width) + _patches(v, size, patch) * width + 2 * width
    total += v("num_hidden_layers", 12) * _block(width, ffn, 4)
    if not idefics and v.flag("vision_use_head", True):  # a probe that pools, with attention and feed-forward
        total += width + _block(width, ffn, 2)
    return total


def _clip(v: _TowerFields) -> int:
    width, ffn = v("hidden_size", 768), v("intermediate_size", 3072)
    pixels = v("num_channels", 3) * v("patch_size", 32) ** 2
    embedded = _linear(pixels, width, bias=False) + (_patches(v, 224, 32) + 2) * width
    return embedded + 4 * width + v("num_hidden_layers", 12) * _block(width, ffn, 4)


def _pixtral(v: _TowerFields) -> int:
    width, ffn = v("hidden_size", 1024), v("intermediate_size", 4096)
    pixels = v("num_channels", 3) * v("patch_size", 16) ** 2
    layer = 4 * width * width + 3 * width * ffn + 2 * width
    return pixels * width + width + v("num_hidden_layers", 24) * layer


def _internvl(v: _TowerFields) -> int:
    if v.flag("use_qk_norm", False) or v.fields.get("norm_type", "layer_norm") != "layer_norm":
        raise _UnknownError
    width, ffn = v("hidden_size", 1024), v("intermediate_size", 4096)
    pixels = v("num_channels", 3) * v("patch_size", 14) ** 2
    total = _linear(pixels, width) + width
    total += (_patches(v, 448, 14) + 1) * width if v.flag("use_absolute_position_embeddings", True) else 0
    unbiased = 0 if v.flag("attention_bias", False) else 3 * width
    total += v("num_hidden_layers", 24) * (_block(width, ffn, 6) - unbiased)
    total += width if v.flag("use_mask_token", False) else 0
    return total + (0 if v.flag("use_mean_pooling", True) else 2 * width)


_VISION: dict[str, Callable[[_TowerFields], int]] = {
    "siglip_vision_model": _siglip,
    "clip_vision_model": _clip,
    "pixtral": _pixtral,
}


def _vision(config: _TowerFields) -> tuple[int, int]:
    """Return the parameters and the width of the tower in `vision_config`."""
    v = config.part("vision_config")
    count = _VISION.get(v.kind())
    if count is None:
        raise _UnknownError
    return count(v), v("hidden_size", 1024 if count is _pixtral else 768)


# --- whole models: (configuration, width of the text) -> parameters ---------------------------------------


def _llava(config: _TowerFields, text: int) -> int:
    tower, width = _vision(config)
    bias = config.flag("multimodal_projector_bias", True)
    features = config.length("vision_feature_layer", 1) if _is_list(config, "vision_feature_layer") else 1
    newline = text if config.kind() in ("llava_next", "llava_onevision") else 0
    return tower + newline + _linear(width * features, text, bias) + _linear(text, text, bias)


def _is_list(config: _TowerFields, name: str) -> bool:
    return isinstance(config.fields.get(name), list | tuple)


def _mistral3(config: _TowerFields, text: int) -> int:
    if _is_list(config, "vision_feature_layer"):
        raise _UnknownError
    tower, width = _vision(config)
    bias = config.flag("multimodal_projector_bias", False)
    merged = width * config("spatial_merge_size", 2) ** 2
    return tower + width + merged * width + _linear(width, text, bias) + _linear(text, text, bias)


def _gemma3(config: _TowerFields, text: int) -> int:
    tower, width = _vision(config)
    return tower + width * text + width


def _paligemma(config: _TowerFields, text: int) -> int:
    tower, width = _vision(config)
    return tower + _linear(width, config("projection_dim", 2048))


def _internvl_chat(config: _TowerFields, text: int) -> int:
    v = config.part("vision_config")
    merged = 4 * v("hidden_size", 1024)
    if config.fields.get("downsample_ratio", 0.5) != 0.5:
        raise _UnknownError
    return _internvl(v) + 2 * merged + _linear(merged, text) + _linear(text, text)


def _idefics3(config: _TowerFields, text: int) -> int:
    v = config.part("vision_config")
    return _siglip(v) + v("hidden_size", 1152) * config("scale_factor", 2) ** 2 * text


def _qwen2_vl(config: _TowerFields, text: int) -> int:
    v = config.part("vision_config")
    width, out = v("embed_dim", 1280), v("hidden_size", 3584)
    ffn = v("mlp_ratio", 4) * width
    merged = width * v("spatial_merge_size", 2) ** 2
    total = _qwen_pixels(v, 14) * width + v("depth", 32) * _block(width, ffn, 4)
    return total + 2 * width + _linear(merged, merged) + _linear(merged, out)


def _qwen_pixels(v: _TowerFields, patch: int) -> int:
    return v("in_channels", 3) * v("temporal_patch_size", 2) * v("patch_size", patch) ** 2


def _qwen2_5_vl(config: _TowerFields, text: int) -> int:
    v = config.part("vision_config")
    width, ffn, out = v("hidden_size", 3584), v("intermediate_size", 3420), v("out_hidden_size", 3584)
    merged = width * v("spatial_merge_size", 2) ** 2
    layer = 4 * _linear(width, width) + 2 * _linear(width, ffn) + _linear(ffn, width) + 2 * width
    total = _qwen_pixels(v, 14) * width + v("depth", 32) * layer
    return total + width + _linear(merged, merged) + _linear(merged, out)


def _qwen3_vl(config: _TowerFields, text: int) -> int:
    """Also Qwen3.5, which joins the text at no layer but the first."""
    v = config.part("vision_config")
    width, ffn, out = v("hidden_size", 1152), v("intermediate_size", 4304), v("out_hidden_size", 3584)
    merged = width * v("spatial_merge_size", 2) ** 2
    joint = _linear(merged, merged) + _linear(merged, out)
    deep = 0 if config.kind().startswith("qwen3_5") else v.length("deepstack_visual_indexes", 3)
    total = _linear(_qwen_pixels(v, 16), width) + v("num_position_embeddings", 2304) * width
    total += v("depth", 27) * _block(width, ffn, 4)
    return total + joint + 2 * width + deep * (joint + 2 * merged)


def _glm4v(config: _TowerFields, text: int) -> int:
    v = config.part("vision_config")
    width, out, ffn = v("hidden_size", 1536), v("out_hidden_size", 4096), v("intermediate_size", 13696)
    bias = v.flag("attention_bias", False)
    layer = _linear(width, 3 * width, bias) + width * width + 3 * width * out + 2 * width
    total = _linear(_qwen_pixels(v, 14), width) + _patches(v, 336, 14) * width + 2 * width
    total += v("depth", 24) * layer
    merger = out * out + 2 * out + 3 * out * ffn
    return total + merger + _linear(width * v("spatial_merge_size", 2) ** 2, out)


def _llama4(config: _TowerFields, text: int) -> int:
    v = config.part("vision_config")
    width, ffn = v("hidden_size", 768), v("intermediate_size", 5632)
    inner, out = v("projector_input_dim", 4096), v("projector_output_dim", 4096)
    pixels = v("num_channels", 3) * v("patch_size", 14) ** 2
    total = pixels * width + (_patches(v, 448, 14) + 2) * width + 4 * width
    total += v("num_hidden_layers", 34) * _block(width, ffn, 4)
    return total + ffn * inner + inner * out + v("vision_output_dim", 7680) * text


def _mllama(config: _TowerFields, text: int) -> int:
    v = config.part("vision_config")
    width, ffn, tiles = v("hidden_size", 1280), v("intermediate_size", 5120), v("max_num_tiles", 4)
    tokens = _patches(v, 448, 14) + 1
    ratios = v.length("supported_aspect_ratios", 8) + 1
    pixels = v("num_channels", 3) * v("patch_size", 14) ** 2
    layer = _block(width, ffn, 4) - 4 * width  # attention has no biases
    total = pixels * width + width + tokens * width + 4 * width
    total += ratios * tiles * (tokens + 2) * width + 3
    total += v("num_hidden_layers", 32) * layer + v("num_global_layers", 8) * (layer + 2)
    return total + _linear(v("vision_output_dim", 7680), text)


def _gemma4(config: _TowerFields, text: int) -> int:
    total = 0
    if config.has("vision_config"):
        v = config.part("vision_config")
        width, ffn, head = v("hidden_size", 768), v("intermediate_size", 3072), v("head_dim", 64)
        heads, kv_heads = v("num_attention_heads", 12), v("num_key_value_heads", 12)
        if v.flag("attention_bias", False):
            raise _UnknownError
        layer = 2 * (heads + kv_heads) * head * width + 2 * head + 3 * width * ffn + 4 * width
        total += 3 * v("patch_size", 16) ** 2 * width + 2 * v("position_embedding_size", 10240) * width
        total += v("num_hidden_layers", 16) * layer + width * text
    if config.has("audio_config"):
        a = config.part("audio_config")
        width, out = a("hidden_size", 1024), a("output_proj_dims", 1536)
        first, second = _channels(a, "subsampling_conv_channels")
        total += _conformer(
            width, a("num_hidden_layers", 12), a("num_attention_heads", 8), a("conv_kernel_size", 5)
        )
        total += 9 * first + first + 9 * first * second + second + (first // 4) * second * width
        total += _linear(width, out) + out * text
    return total


def _channels(a: _TowerFields, name: str) -> tuple[int, int]:
    value = a.fields.get(name, (128, 32))
    if not isinstance(value, list | tuple) or len(value) != 2:
        raise _UnknownError
    first, second = (_TowerFields({"channels": each})("channels") for each in value)
    return first, second


def _conformer(width: int, layers: int, heads: int, kernel: int) -> int:
    """Layers of Gemma's audio encoder: two feed-forwards, attention by relative position, a convolution."""
    feed_forward = 8 * width * width + 2 * width
    attention = 5 * width * width + width // heads + 2 * width
    convolution = 3 * width * width + kernel * width + 2 * width
    return layers * (2 * feed_forward + attention + convolution + width)


_MOBILENET_V5 = 294_126_912  # mobilenetv5_300m_enc, the only one of Gemma 3n


def _gemma3n(config: _TowerFields, text: int) -> int:
    total = 0
    if config.has("vision_config"):
        v = config.part("vision_config")
        if v.fields.get("architecture", "mobilenetv5_300m_enc") != "mobilenetv5_300m_enc":
            raise _UnknownError
        total += _MOBILENET_V5 + _gemma3n_joint(v("hidden_size", 2048), v("vocab_size", 128), text)
    if config.has("audio_config"):
        a = config.part("audio_config")
        width = a("hidden_size", 1536)
        first, second = _channels(a, "sscp_conv_channel_size")
        layers, heads = a("conf_num_hidden_layers", 12), a("conf_num_attention_heads", 8)
        total += _conformer(width, layers, heads, a("conf_conv_kernel_size", 5))
        total += 9 * first + first + 9 * first * second + second
        total += a("input_feat_size", 128) // 4 * second * width
        total += _gemma3n_joint(width, a("vocab_size", 128), text)
    return total


def _gemma3n_joint(width: int, vocabulary: int, text: int) -> int:
    return vocabulary * width + 2 * width + width * text


def _kimi(config: _TowerFields, text: int) -> int:
    v = config.part("vision_config")
    width = v("vt_hidden_size", 1152, "hidden_size")
    ffn, patch = v("vt_intermediate_size", 4304, "intermediate_size"), v("patch_size", 14)
    places = v("init_pos_emb_height", 64, "pos_emb_height") * v("init_pos_emb_width", 64, "pos_emb_width")
    layers = v("vt_num_hidden_layers", 27, "num_hidden_layers")
    merged = width * v("merge_kernel_size", 2) ** 2
    total = _linear(3 * patch**2, width) + places * width + layers * _block(width, ffn, 4) + 2 * width
    return total + 2 * width + _linear(merged, merged) + _linear(merged, text)


_COUNTS: dict[str, Callable[[_TowerFields, int], int]] = {
    "llava": _llava,
    "llava_next": _llava,
    "llava_onevision": _llava,
    "mistral3": _mistral3,
    "gemma3": _gemma3,
    "gemma3n": _gemma3n,
    "gemma4": _gemma4,
    "paligemma": _paligemma,
    "internvl": _internvl_chat,
    "idefics3": _idefics3,
    "smolvlm": _idefics3,
    "qwen2_vl": _qwen2_vl,
    "qwen2_5_vl": _qwen2_5_vl,
    "qwen3_vl": _qwen3_vl,
    "qwen3_vl_moe": _qwen3_vl,
    "qwen3_5": _qwen3_vl,
    "qwen3_5_moe": _qwen3_vl,
    "glm4v": _glm4v,
    "glm4v_moe": _glm4v,
    "glm46v": _glm4v,
    "kimi_k25": _kimi,
    "llama4": _llama4,
    "mllama": _mllama,
}
