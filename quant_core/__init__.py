"""Weight quantization for large language models, on numpy alone.

Read it from the idea to the bytes: `grid` (levels), `rtn` (round to nearest), `rounding` (which way to
round), `hqq` (a better offset), `gptq`, `awq` and `clip` (roundings that look at activations), `ggml`
(llama.cpp's block formats), `floats`, `fp8` and `nf4` (small floats and tables), `smoothquant` and `int8`
(activations too), `lora` (a repair), `metrics` (what was lost), `mixes`, `memory` and `imatrix` (whole
models), `packing` and `files` (what servers and llama.cpp load), `model`, `bpe`, `activations`, `calibrate`
and `evaluate` (a model that runs, and what rounding costs it). `python -m quant_core` is the command line.

It knows nothing of the web. docs/quant_core.md is the map.
"""
