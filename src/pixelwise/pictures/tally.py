"""How much of a map each class covers, in pixels and on the ground."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pixelwise.bands import Floats
from pixelwise.errors import ParameterError
from pixelwise.grid import Block, Grid
from pixelwise.pictures.scheme import MISSING, Scheme, TestScheme
from pixelwise.pictures.source import Source
from pixelwise.rasters.cell_areas import CellAreas

__all__ = ["Tally", "areas_of", "tally_of"]


@dataclass(frozen=True, eq=False)
class Tally:
    """How much each class covers.

    Attributes
    ----------
    scheme
        The classes.
    pixels
        Number of pixels by class.
    km2
        Square kilometres by class, on the ellipsoid; None where pixels have no area.
    missing_pixels, missing_km2
        The same for pixels without a value, without those that were not asked for.
    """

    scheme: Scheme
    pixels: NDArray[np.int64]
    km2: Floats | None
    missing_pixels: int
    missing_km2: float

    @property
    def measure(self) -> Floats:
        """What shares are shares of: square kilometres if they are known, else pixels."""
        return self.pixels.astype(np.float64) if self.km2 is None else self.km2

    @property
    def shares(self) -> Floats:
        """Share of each class in the area with values; 0 if there is none."""
        total = self.measure.sum()
        return self.measure / total if total else np.zeros(len(self.measure))

    @property
    def tested(self) -> NDArray[np.bool_]:
        """Whether the pixels of each class have a test."""
        is_test = isinstance(self.scheme, TestScheme)
        return np.array([is_test and one.tested for one in self.scheme.classes], dtype=bool)

    @property
    def shares_of_tested(self) -> Floats:
        """Share of each class in the area with a test; NaN for classes without one, as all are of what is no test."""
        tested = self.tested
        total = self.measure[tested].sum()
        return np.where(tested, self.measure / total if total else 0.0, np.nan)

    @property
    def missing_measure(self) -> float:
        """How much has no value, in the unit of `measure`."""
        return float(self.missing_pixels) if self.km2 is None else self.missing_km2

    @property
    def missing(self) -> float:
        """The share of the region that has no value."""
        total = self.measure.sum() + self.missing_measure
        return float(self.missing_measure / total) if total else 0.0

    @property
    def shares_of_region(self) -> Floats:
        """Share of each class in the region, which is all that was asked for."""
        total = self.measure.sum() + self.missing_measure
        return self.measure / total if total else np.zeros(len(self.measure))


def tally_of(source: Source, scheme: Scheme, keep: Callable[[Block, NDArray[np.uint8]], None] | None = None) -> Tally:
    """Count what each class covers.

    Parameters
    ----------
    source
        What holds the bands.
    scheme
        The classes.
    keep
        Called with each block and its (y, x) codes.
    """
    counts, sums = np.zeros(256, np.int64), np.zeros(256)
    areas = areas_of(source.grid)
    for block in source.blocks():
        own = scheme.codes(source, block)
        if keep is not None:
            keep(block, own)
        counts += np.bincount(own.ravel(), minlength=256)
        if areas is not None:
            sums += np.bincount(own.ravel(), weights=areas.of(block).ravel(), minlength=256)
    count = len(scheme.classes)
    km2 = None if areas is None else sums[:count]
    return Tally(scheme, counts[:count], km2, int(counts[MISSING]), float(sums[MISSING]))


def areas_of(grid: Grid) -> CellAreas | None:
    """Return the areas of pixels; None where they have none, or pyproj is missing: shares are then those of pixels."""
    areas = CellAreas(grid)
    try:
        return areas if areas.known else None
    except ParameterError:
        return None
