"""The band of speeds: measured tokens a second over the bound, computed from the cited table again."""

from __future__ import annotations

import math

from quant_core.memory import SPEED_SHARE, model_shape, speed_band, weight_bytes
from tests.each import each

LLAMA = {"num_key_value_heads": 8, "vocab_size": 128256, "tie_word_embeddings": False}
SHAPES = {
    "8B": model_shape(
        {**LLAMA, "hidden_size": 4096, "num_hidden_layers": 32, "num_attention_heads": 32,
         "intermediate_size": 14336}
    ),
    "70B": model_shape(
        {**LLAMA, "hidden_size": 8192, "num_hidden_layers": 80, "num_attention_heads": 64,
         "intermediate_size": 28672}
    ),
}  # fmt: skip

COLUMNS = (("8B", "Q4_K_M"), ("8B", "F16"), ("70B", "Q4_K_M"), ("70B", "F16"))

# XiongjieDai/GPU-Benchmarks-on-LLM-Inference, README.md @ aa72e0ec, "Average speed (tokens/s) of generating
# 1024 tokens", Llama 3: every row with one device. First the maker's bandwidth in GB/s.
TABLE: dict[str, tuple[float, ...]] = {
    "3070 8GB": (448, 70.94),
    "3080 10GB": (760.3, 106.40),
    "3080 Ti 12GB": (912.4, 106.71),
    "4070 Ti 12GB": (504.2, 82.21),
    "4080 16GB": (716.8, 106.22, 40.29),
    "RTX 4000 Ada 20GB": (360, 58.59, 20.85),
    "3090 24GB": (936.2, 111.74, 46.51),
    "4090 24GB": (1008, 127.74, 54.34),
    "RTX 5000 Ada 32GB": (576, 89.87, 32.67),
    "RTX A6000 48GB": (768, 102.22, 40.25, 14.58),
    "RTX 6000 Ada 48GB": (960, 130.99, 51.97, 18.36),
    "A40 48GB": (696, 88.95, 33.95, 12.08),
    "L40S 48GB": (864, 113.60, 43.42, 15.31),
    "A100 PCIe 80GB": (1935, 138.31, 54.56, 22.11),
    "A100 SXM 80GB": (2039, 133.38, 53.18, 24.33),
    "H100 PCIe 80GB": (2000, 144.49, 67.79, 25.01),
    "M1 7-Core GPU 8GB": (68.3, 9.72),
    "M1 Max 32-Core GPU 64GB": (400, 34.49, 18.43, 4.09),
    "M2 Ultra 76-Core GPU 192GB": (800, 76.28, 36.25, 12.13, 4.71),
    "M3 Max 40-Core GPU 64GB": (400, 50.74, 22.39, 7.53),
}
MEASURED = [
    (device, model, mix, bandwidth * 1e9, speed)
    for device, (bandwidth, *speeds) in TABLE.items()
    for (model, mix), speed in zip(COLUMNS, speeds, strict=False)
]
SHARES = {
    (device, model, mix): speed / speed_band(SHAPES[model], mix, bandwidth).bound
    for device, model, mix, bandwidth, speed in MEASURED
}


def test_the_band_is_the_least_and_the_most_share_rounded_outwards_to_a_tenth() -> None:
    low, high = min(SHARES.values()), max(SHARES.values())
    assert (math.floor(10 * low) / 10, math.ceil(10 * high) / 10) == SPEED_SHARE
    assert len(SHARES) == 46


def test_the_ends_are_those_that_the_source_names() -> None:
    low, high = min(SHARES, key=SHARES.__getitem__), max(SHARES, key=SHARES.__getitem__)
    assert (low, round(SHARES[low], 2)) == (("A100 SXM 80GB", "8B", "Q4_K_M"), 0.30)
    assert (high, round(SHARES[high], 2)) == (("RTX 4000 Ada 20GB", "8B", "F16"), 0.87)


def test_the_ends_over_the_whole_file() -> None:
    """As a reader would reckon it by hand, the embedding counted."""
    whole = [
        speed * weight_bytes(SHAPES[model], mix) / bandwidth for _, model, mix, bandwidth, speed in MEASURED
    ]
    assert (round(min(whole), 2), round(max(whole), 2)) == (0.32, 0.93)


@each("device, model, mix, bandwidth, speed", MEASURED)
def test_every_measurement_lies_in_the_band(
    device: str, model: str, mix: str, bandwidth: float, speed: float
) -> None:
    band = speed_band(SHAPES[model], mix, bandwidth)
    assert band.low <= speed <= band.high < band.bound
