"""Whole language models: their shapes, their tokens, a forward pass, and the cost of quantization.

`shapes`, `architectures` and `towers` read a `config.json`; `bpe`, `model` and `batch` run a model;
`activations`, `calibrate` and `evaluate` quantize it and measure the loss.
"""
