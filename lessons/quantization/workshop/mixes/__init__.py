"""What the suffix changes: which tensors of Q4_K_M have more bits than its name says."""

from lessons.quantization.figures.mixes import KINDS, Controls, bits_of, compute


def still() -> list[tuple[int, int, bool]]:
    """Layer, row and whether the tensor has more bits than the base type; for every tensor of every layer."""
    result = compute(Controls())
    return [
        (tensor.layer, KINDS.index(tensor.kind), bits_of(tensor.type) > bits_of(result.base))
        for tensor in result.tensors
        if tensor.layer is not None and tensor.kind in KINDS
    ]
