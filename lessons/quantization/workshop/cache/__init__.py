"""The cache has bits too: the channels of a head's keys, as they are and rotated."""

from lessons.kit.still import line
from lessons.quantization import sources


def still() -> dict[str, str]:
    """Root mean square of each channel of the keys, before and after rotation."""
    channels = sources.kv_cache_conditions()["channels"]
    high = max(channels["key"])
    return {"plain": line(channels["key"], 0, high), "rotated": line(channels["key_rotated"], 0, high)}
