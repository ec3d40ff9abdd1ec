"""Sensors that the names of files tell, where no product says what their bands are."""

from __future__ import annotations

import re
from collections.abc import Sequence

from pixelwise.stacks.layers import Layer

__all__ = ["LANDSAT_FAMILIES", "sensors_of"]

#: Sensors of Landsat whose bands are alike.
LANDSAT_FAMILIES = (
    ("LT04", "LT05", "LE07"),
    ("LC08", "LC09", "LO08", "LO09"),
    ("LM01", "LM02", "LM03", "LM04", "LM05"),
)

#: LC08_L2SP_..., LT51700551986035XXX02; which names are Landsat's, the rules of dates decide.
LANDSAT = re.compile(r"(?<![A-Za-z0-9])(L[COTEM])0?([1-9])(?=_|\d{6})", re.IGNORECASE)


def sensors_of(layers: Sequence[Layer]) -> list[tuple[str, ...]]:
    """Return the sensors of each layer: those of the product, or else what the names of its files say."""
    if any(layer.sensors for layer in layers):
        return [layer.sensors for layer in layers]
    return [_named(layer) if layer.rule.startswith("Landsat") else () for layer in layers]


def _named(layer: Layer) -> tuple[str, ...]:
    """Return the sensors that the names of a layer's files say."""
    found = (LANDSAT.search(piece.path.name) for piece in layer.pieces)
    return tuple(sorted({f"{one[1].upper()}0{one[2]}" for one in found if one}))
