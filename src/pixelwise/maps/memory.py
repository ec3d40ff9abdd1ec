"""A map that is kept in memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixelwise.bands import Band
from pixelwise.grid import Block, Grid
from pixelwise.maps.map import Map, Timings
from pixelwise.maps.records import DoneBlock, Layout, PlacedTiles, Seal

__all__ = ["MemorySink"]


def as_they_are(block: Block, values: NDArray[Any], status: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return a block's values and status unchanged."""
    return values, status


class MemorySink:
    """Keeps each band as one array: float of the requested type, int32 for integers, uint8 for status."""

    encode = staticmethod(as_they_are)

    def __init__(self) -> None:
        self._arrays: dict[str, NDArray[Any]] = {}
        self._bands: tuple[Band, ...] = ()
        self._grid: Grid | None = None

    def begin(
        self,
        grid: Grid,
        layout: Layout,
        bands: tuple[Band, ...],
        dtype: str,
        provenance: Mapping[str, Any],
        *,
        resumed: bool,
    ) -> Layout:
        """Allocate the arrays."""
        self._grid, self._bands = grid, bands
        shape = (grid.height, grid.width)
        for band in bands:
            self._arrays[band.name] = np.empty(shape, dtype=band.dtype(dtype))
        return layout

    def write(self, block: Block, encoded: tuple[NDArray[Any], NDArray[Any]]) -> tuple[PlacedTiles, ...]:
        """Copy a block into place."""
        values, status = encoded
        for band, layer in zip(self._bands, (*values, status), strict=True):
            self._arrays[band.name][block.slices] = layer
        return ()

    def restore(self, done: DoneBlock) -> bool:
        """Return False: memory does not outlive its process."""
        return False

    def finish(self, provenance: Mapping[str, Any], timings: Timings, commit: Callable[[Sequence[Seal]], None]) -> Map:
        """Return the map."""
        if self._grid is None:
            raise RuntimeError("finish() comes after begin()")
        return Map(self._grid, self._bands, provenance, timings, arrays=self._arrays)

    def abort(self, *, keep: bool) -> None:
        """Drop the arrays."""
        self._arrays = {}
