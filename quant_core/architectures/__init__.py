"""Which tensors and which cache an architecture has, and which fields of a ``config.json`` decide them.

:mod:`~quant_core.architectures.table` is the list of architectures. :mod:`~quant_core.architectures.building`
reads the fields of a usual decoder into :mod:`~quant_core.architectures.layers`,
:mod:`~quant_core.architectures.plans` those of the others. The way in is
:func:`quant_core.shapes.model_shape`.
"""
