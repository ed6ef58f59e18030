"""Quantization of one matrix: grids and rounding, methods that look at activations, small floats, adapters.

`grid` (levels), `rtn` (round to nearest), `rounding` (which way to round), `hqq` (a better offset), `gptq`,
`awq` and `clip` (methods that use activations), `floats`, `fp8`, `e2m1`, `mxfp4`, `nvfp4` and `nf4` (small
floats and tables), `hadamard` (rotations that spread outliers),
`smoothquant` and `int8` (8-bit activations), `lora` (low-rank repair), `imatrix` (importance of input
channels), `packing` (checkpoints of inference servers), `qat` (training with rounding), `lattice` (weights
trained for a lattice), `allocation` (types under a budget), `metrics` (error measures).
"""
