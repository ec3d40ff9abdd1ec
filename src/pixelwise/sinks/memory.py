"""A map that is kept in memory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixelwise.grid import Block, Grid
from pixelwise.map import Map, Timings
from pixelwise.method import Band
from pixelwise.plan import Plan

__all__ = ["MemorySink"]


class MemorySink:
    """Keeps each band as one array: float of the wanted type, int32 for whole numbers, uint8 for status."""

    writes_in_worker = False

    def __init__(self) -> None:
        self._arrays: dict[str, NDArray[Any]] = {}
        self._bands: tuple[Band, ...] = ()
        self._grid: Grid | None = None

    def begin(self, plan: Plan, bands: tuple[Band, ...], dtype: str) -> None:
        """Allocate the arrays."""
        self._grid, self._bands = plan.grid, bands
        shape = (plan.grid.height, plan.grid.width)
        for band in bands:
            self._arrays[band.name] = np.empty(shape, dtype=band.dtype(dtype))

    def write(self, block: Block, values: NDArray[Any], status: NDArray[Any]) -> None:
        """Copy a block into place."""
        for band, layer in zip(self._bands, (*values, status), strict=True):
            self._arrays[band.name][block.slices] = layer

    def finish(self, provenance: Mapping[str, Any], timings: Timings) -> Map:
        """Return the map."""
        if self._grid is None:
            raise RuntimeError("finish() comes after begin()")
        return Map(self._grid, self._bands, provenance, timings, arrays=self._arrays)

    def abort(self) -> None:
        """Forget the arrays."""
        self._arrays = {}
