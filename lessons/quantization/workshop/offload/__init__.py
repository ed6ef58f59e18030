"""Some layers on the card, the rest in RAM: the time of a token by the layers on the card."""

from lessons.kit.still import line
from lessons.quantization.figures.offload import Controls, compute


def still() -> str:
    """From no layer on the card to all of them, whether they fit or not."""
    of = compute(Controls()).split.of
    results = [compute(Controls(layers=layers)) for layers in range(0, of + 1, 3)]
    times = [one.card_time + one.ram_time for one in results]
    return line(times, 0, max(times))
