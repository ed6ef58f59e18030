"""Weight quantization for large language models, on numpy alone.

`methods` quantizes a matrix, `ggml` reads and writes llama.cpp's block formats, `files` reads and writes
model files, `llm` runs whole models, `memory` says how much memory a model takes. `cli` is the command line
(`python -m quant_core`).

It knows nothing of the web. docs/quant_core.md is the map.
"""
