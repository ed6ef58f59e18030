"""Which tensors and which cache an architecture has, and which fields of a `config.json` decide them.

`table` lists the architectures. `building` reads the fields of a usual decoder into `layers`, `plans` those
of the others. Call `quant_core.llm.shapes.model_shape`.
"""
