"""Which fraction of each pixel a polygon covers: the only module that calls exactextract."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from exactextract import exact_extract
from exactextract.feature import Feature, FeatureSource
from exactextract.raster import NumPyRasterSource
from numpy.typing import NDArray

from pixelwise.grid import Block

__all__ = ["fractions_of"]


class _Polygon(Feature):  # type: ignore[misc]
    """A polygon as exactextract takes it without detours."""

    def __init__(self, wkb: bytes) -> None:
        super().__init__()
        self._wkb = wkb

    def geometry(self) -> bytes:
        """Return the polygon in binary."""
        return self._wkb

    def fields(self) -> list[str]:
        """Return the names of its attributes."""
        return []


class _One(FeatureSource):  # type: ignore[misc]
    """A layer of one polygon."""

    def __init__(self, polygon: _Polygon) -> None:
        super().__init__()
        self._polygon = polygon

    def __iter__(self) -> Iterator[_Polygon]:
        yield self._polygon

    def count(self) -> int:
        """Return how many there are."""
        return 1

    def srs_wkt(self) -> None:
        """Return no coordinate system: coordinates count pixels."""


def fractions_of(wkb: bytes, block: Block) -> tuple[NDArray[np.int64], NDArray[Any]]:
    """Return the pixels of a block that a polygon covers, counted row by row from 0, and the fraction of each.

    Parameters
    ----------
    wkb
        The polygon; x counts columns, y rows, upwards from 0.
    block
        Rows and columns. exactextract computes fractions as float32: they err by up to 6e-8.
    """
    extent = (block.col, -block.row - block.height, block.col + block.width, -block.row)
    source = NumPyRasterSource(np.zeros((block.height, block.width), np.uint8), *extent)
    [found] = exact_extract(source, _One(_Polygon(wkb)), ["cell_id", "coverage"])
    return found["properties"]["cell_id"], found["properties"]["coverage"]
