"""Count the parameters of models with transformers, to compare with `quant_core.llm.shapes`.

`make count` runs this in a separate environment. Nothing is downloaded and no weights are allocated (meta
device): a model of a trillion parameters takes a second. It writes

    tests/data/architectures.json       published configurations (given), the parameters of each (counted)
    tests/data/default_configs.json.gz  every configuration class of transformers: its defaults, one field
                                        changed at a time, and the parameters of each
    quant_core/llm/architectures/class_defaults.json
                                        the defaults that a published config.json may omit

and prints quant_core's counts beside them. `PYTHONPATH=. .venv/bin/python scripts/count_models.py compare`
only prints, from these files; with `defaults` it rewrites the third.
"""

from __future__ import annotations

import ast
import collections
import contextlib
import dataclasses
import datetime
import gzip
import json
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from quant_core.llm import shapes
from quant_core.llm.architectures import defaults
from quant_core.llm.architectures.fields import SPELLINGS

ROOT = Path(__file__).resolve().parent.parent
PUBLISHED = ROOT / "tests" / "data" / "architectures.json"
DEFAULTS = ROOT / "tests" / "data" / "default_configs.json.gz"
CLASS_DEFAULTS = ROOT / "quant_core" / "architectures" / "class_defaults.json"

# Parts of a model that process pictures or sound, and their projections to the text.
TOWERS = re.compile(
    r"vision|visual|image|audio|video|speech|project|connector|merger|adapter|resampler|aligner|qformer"
    r"|query_tokens|embed_tokens_extend|codec|talker|token2wav|tokenizer|vqmodel|generation|high_res"
)
IRRELEVANT = re.compile(
    r"token_id|token_index|tokens_list|dropout|_eps$|epsilon|initializer|^id2label|^label2id|dtype|^_name_or_path"
    r"|transformers_version|problem_type|return_dict|^output_(attentions|hidden)|use_cache|chunk_size_feed"
    r"|rope_theta|^rope_parameters|label_names|_coef|_std$|pretraining_tp|^attn_implementation|softcap"
)
KINDS = (
    "MASKED_LM",
    "CAUSAL_LM",
    "IMAGE_TEXT_TO_TEXT",
    "MULTIMODAL_LM",
    "SEQ_TO_SEQ_CAUSAL_LM",
    "TEXT_ENCODING",
)
MOST_PARAMETERS = 5e13


def main(goal: str) -> None:
    """Count, write and print."""
    if goal == "count":
        count_published()
        count_defaults()
    if goal in ("count", "defaults"):
        write_class_defaults()
    print_published()
    print_defaults()


# --- counting, with transformers --------------------------------------------------------------------------


def count(config: Any, wanted: str | None = None) -> dict[str, Any]:
    """Parameters of a configuration, counting tied ones once: of the text and of each other part.

    Raises
    ------
    Exception
        Any error of transformers if it cannot build the model.
    """
    import torch

    for cls in _classes(config, wanted):
        try:
            with torch.device("meta"):
                model = cls(config)
        except Exception as error:
            failed = error
            continue
        towers = {
            name for name in ("vision_config", "audio_config", "qformer_config") if hasattr(config, name)
        }
        parts: dict[str, int] = collections.defaultdict(int)
        for name, parameter in model.named_parameters():
            tower = next((piece for piece in name.split(".")[:2] if TOWERS.search(piece)), "text")
            parts[tower if towers else "text"] += parameter.numel()
        return {
            "class": cls.__name__,
            "parameters": parts.pop("text", 0),
            **({"towers": parts} if parts else {}),
        }
    if hasattr(config, "text_config"):  # its tower needs another package: count the text alone
        return count(config.text_config)
    raise failed


def _classes(config: Any, wanted: str | None) -> Iterator[Any]:
    """The classes to try: the one named in the configuration, then the usual ones."""
    import transformers
    from transformers.models.auto import modeling_auto as auto

    if wanted and hasattr(transformers, wanted):
        yield getattr(transformers, wanted)
    kinds = list(KINDS)
    if hasattr(config, "text_config"):
        kinds = ["IMAGE_TEXT_TO_TEXT", "MULTIMODAL_LM", *kinds]
    names = [getattr(auto, f"MODEL_FOR_{kind}_MAPPING_NAMES").get(config.model_type) for kind in kinds]
    names.append(auto.MODEL_MAPPING_NAMES.get(config.model_type))
    for name in dict.fromkeys(name if isinstance(name, str) else name[0] for name in names if name):
        cls = getattr(transformers, name, None)
        if cls is not None:
            yield cls


def count_published() -> None:
    """Recount each configuration of the file; without a class in transformers its count stays."""
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    content = json.loads(PUBLISHED.read_text("utf-8"))
    for entry in content["models"]:
        given = entry.get("counted_as", entry["config"])
        if given.get("model_type") not in CONFIG_MAPPING:
            continue
        config = CONFIG_MAPPING[given["model_type"]].from_dict(_copy(given))
        counted = count(config, (given.get("architectures") or [None])[0])
        for name in ("class", "parameters", "towers"):
            entry.pop(name, None)
        entry.update(counted)
    PUBLISHED.write_text(_printed({**_stamp(), "models": content["models"]}), "utf-8")


def count_defaults() -> None:
    """Count the defaults of every configuration class, and each of them with one field changed."""
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING, CONFIG_MAPPING_NAMES

    counted: dict[str, Any] = {}
    for model_type in sorted(CONFIG_MAPPING_NAMES):
        print(f"\r· {model_type:<40}", end="", file=sys.stderr, flush=True)
        with contextlib.suppress(
            Exception
        ):  # some need another package or cannot be built from their defaults
            cls = CONFIG_MAPPING[model_type]
            config = cls()
            if not is_text(model_type, config):
                continue
            found = {"config": reduced(config.to_dict()), "written": class_defaults(cls), **count(config)}
            if 0 < found["parameters"] < MOST_PARAMETERS:
                counted[model_type] = {**found, "changed": list(_changed(cls, found))}
    print(file=sys.stderr)
    text = json.dumps({**_stamp(), "defaults": counted}, separators=(",", ":"))
    DEFAULTS.write_bytes(gzip.compress(text.encode(), mtime=0))


def is_text(model_type: str, config: Any) -> bool:
    """Whether transformers has a class for text, or text embeddings, for this configuration."""
    from transformers.models.auto import modeling_auto as auto

    mapped = any(model_type in getattr(auto, f"MODEL_FOR_{kind}_MAPPING_NAMES") for kind in KINDS)
    return mapped or hasattr(config, "vocab_size") or hasattr(config, "text_config")


def _changed(cls: Any, usual: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The defaults with one field changed, if that changes the count."""
    for name, value in _written(cls).items():
        for other in _others(name, value):
            with contextlib.suppress(Exception):  # not a valid value of this class
                config = cls(**{name: other})
                parameters = count(config, usual["class"])["parameters"]
                if parameters != usual["parameters"]:
                    now = reduced(config.to_dict())
                    differs = {
                        key: now.get(key)
                        for key in {*now, *usual["config"]}
                        if now.get(key) != usual["config"].get(key)
                    }
                    yield {"field": name, "value": other, "config": differs, "parameters": parameters}


def _others(name: str, value: Any) -> list[Any]:
    if IRRELEVANT.search(name):
        return []
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, int):
        return [value + 2] if "layer" in name or value < 2 else [2 * value]
    if isinstance(value, float):
        return [2 * value]
    if value is None:
        return [2, 64, [0]]
    if isinstance(value, str):
        return ["relu2", "silu"] if "act" in name else []
    if isinstance(value, list) and value and not isinstance(value[0], dict):
        return [list(reversed(value))]
    return []


def _written(cls: Any) -> dict[str, Any]:
    """Defaults as the class writes them, before derived fields."""
    found = {}
    for field in dataclasses.fields(cls):
        if field.default is not dataclasses.MISSING:
            found[field.name] = field.default
        elif field.default_factory is not dataclasses.MISSING:
            found[field.name] = field.default_factory()
    return found


def class_defaults(cls: Any) -> dict[str, Any]:
    """The defaults of a configuration class for omitted fields."""
    return {
        name: value
        for name, value in _written(cls).items()
        if value is not None and _is_small(value) and not IRRELEVANT.search(name)
    }


def write_class_defaults() -> None:
    """Write the defaults that quant_core reads, of the classes that it counts correctly."""
    content = _read_defaults()
    kept = {
        model_type: _as_read(entry["written"])
        for model_type, entry in content["defaults"].items()
        if verdict(ours(entry["config"])[0], entry["parameters"], 0.001) == "right"
    }
    for model_type in kept:  # the text part of a multimodal model
        text = content["defaults"][model_type]["config"].get("text_config")
        if text:
            kept[model_type] = kept.get(text["model_type"], {})
    _write_class_defaults(content["transformers"], kept)
    misled = {name for name in kept if _is_misled(name, content["defaults"][name])}
    kept = {
        name: fields
        for name, fields in kept.items()
        if not misled & {name, content["defaults"][name]["config"].get("text_config", {}).get("model_type")}
    }
    _write_class_defaults(content["transformers"], kept)


def _write_class_defaults(version: str, kept: Mapping[str, Any]) -> None:
    CLASS_DEFAULTS.write_text(_printed({"transformers": version, "defaults": kept}), "utf-8")
    defaults.read_defaults.cache_clear()


def _is_misled(model_type: str, entry: Mapping[str, Any]) -> bool:
    """Whether a nearly empty file is counted wrongly, because its class derives fields."""
    if "text_config" in entry["config"]:
        return False
    files: list[tuple[dict[str, Any], int]] = [({}, entry["parameters"])]
    files += [({change["field"]: change["value"]}, change["parameters"]) for change in entry["changed"]]
    found = [verdict(ours({"model_type": model_type, **file})[0], counted, 0.001) for file, counted in files]
    return "WRONG" in found


def _as_read(written: Mapping[str, Any]) -> dict[str, Any]:
    """The defaults that quant_core reads, under their usual names."""
    names = {spelling: name for name, others in SPELLINGS.items() for spelling in others}
    usual = {names.get(name, name): value for name, value in written.items()}
    read = {
        node.value
        for module in (Path(shapes.__file__), *CLASS_DEFAULTS.parent.glob("*.py"))
        for node in ast.walk(ast.parse(module.read_text("utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    } - {"rope_scaling", "architectures"}
    return {name: value for name, value in usual.items() if name in read}


def _is_small(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return len(value) <= 100
    return isinstance(value, bool | int | str | float)


def reduced(config: Any) -> Any:
    """A configuration without the fields that cannot affect a size."""
    if not isinstance(config, dict):
        return config
    return {
        name: reduced(value)
        for name, value in config.items()
        if not IRRELEVANT.search(name) and (value is None or _decides(value))
    }


def _decides(value: Any) -> bool:
    return isinstance(value, dict) or _is_small(value) or (isinstance(value, list) and len(value) < 1000)


def _stamp() -> dict[str, str]:
    import torch
    import transformers

    return {
        "transformers": transformers.__version__,
        "torch": torch.__version__.partition("+")[0],
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
    }


# --- comparing, without transformers ------------------------------------------------------------------------


def ours(config: Mapping[str, Any]) -> tuple[int | None, str]:
    """Our count and "", or None and the reason."""
    try:
        return shapes.model_shape(config).parameters, ""
    except ValueError as error:
        return None, str(error)


def verdict(found: int | None, counted: int, tolerance: float) -> str:
    if found is None:
        return "refused"
    return "right" if abs(found - counted) <= tolerance * counted else "WRONG"


def print_published() -> None:
    tally: dict[str, int] = collections.defaultdict(int)
    for entry in json.loads(PUBLISHED.read_text("utf-8"))["models"]:
        found, reason = ours(entry["config"])
        counted = entry.get("parameters")
        said = verdict(found, counted, 0.001) if counted else "refused" if found is None else "NOT COUNTED"
        tally[said] += 1
        print(f"{said:<11} {entry['name']:<44} {_number(found)} {_number(counted)}  {reason[:90]}")
    print("published:", dict(tally))


def print_defaults() -> None:
    whole: dict[str, int] = collections.defaultdict(int)
    fields: dict[str, int] = collections.defaultdict(int)
    for model_type, entry in _read_defaults()["defaults"].items():
        found, _reason = ours(entry["config"])
        said = verdict(found, entry["parameters"], 0.01)
        whole[said] += 1
        if said == "WRONG":
            print(f"{said:<11} {model_type:<44} {_number(found)} {_number(entry['parameters'])}")
        for change in entry["changed"] if said == "right" else ():
            config = {**entry["config"], **change["config"]}
            found, _reason = ours(config)
            said_now = verdict(found, change["parameters"], 0.01)
            fields[said_now] += 1
            if said_now == "WRONG":
                label = f"{model_type} {change['field']}={change['value']}"
                print(f"{said_now:<11} {label[:44]:<44} {_number(found)} {_number(change['parameters'])}")
    print("defaults:", dict(whole), " one field changed:", dict(fields))


def _read_defaults() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(gzip.decompress(DEFAULTS.read_bytes()))
    return found


def _number(value: int | None) -> str:
    return f"{value:>22,}" if value is not None else " " * 21 + "-"


def _printed(content: Mapping[str, Any]) -> str:
    """JSON with one model per line, for readable diffs."""
    head = {name: value for name, value in content.items() if not isinstance(value, dict | list)}
    lines = [f"{json.dumps(name)}: {json.dumps(value)}" for name, value in head.items()]
    for name, value in content.items():
        if isinstance(value, list):
            items = ",\n".join(json.dumps(item) for item in value)
            lines.append(f"{json.dumps(name)}: [\n{items}\n]")
        elif isinstance(value, dict):
            items = ",\n".join(f"{json.dumps(key)}: {json.dumps(item)}" for key, item in value.items())
            lines.append(f"{json.dumps(name)}: {{\n{items}\n}}")
    return "{\n" + ",\n".join(lines) + "\n}\n"


def _copy(config: Mapping[str, Any]) -> dict[str, Any]:
    copied: dict[str, Any] = json.loads(json.dumps(config))
    return copied


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "count")
