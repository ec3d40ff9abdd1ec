"""Which pixels to use: those inside a region, and those where a static raster has certain values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixelwise.grid import Block, Grid
from pixelwise.rasters.region import Region, load_region
from pixelwise.rasters.stamps import Stamp
from pixelwise.rasters.urls import Location
from pixelwise.rasters.where import RasterWhere, load_where

__all__ = ["Area", "load_area"]


@dataclass(frozen=True)
class Area:
    """The pixels to use: those inside a region, and those where a raster has certain values.

    Attributes
    ----------
    region, where
        None to use all pixels.
    """

    region: Region | None = None
    where: RasterWhere | None = None

    def __bool__(self) -> bool:
        return self.region is not None or self.where is not None

    @property
    def paths(self) -> tuple[Location, ...]:
        """The files that the user named."""
        region = None if self.region is None else self.region.path
        where = None if self.where is None else self.where.piece.path
        return tuple(path for path in (region, where) if path is not None)

    @property
    def stamps(self) -> Mapping[Location, Stamp]:
        """Size and modification time of the files that are read block by block."""
        return {} if self.where is None else self.where.stamps

    def touches(self, block: Block) -> bool:
        """Whether any pixel of a block may be used; reads nothing."""
        return all(part.touches(block) for part in self._parts())

    def inside(self, block: Block) -> NDArray[np.bool_] | None:
        """Return (y, x), true for pixels to use; None where all are.

        The raster is read only where a pixel is inside the region.

        Raises
        ------
        InputError
            When the raster cannot be read; the message names file, band and window.
        """
        found = None
        for part in self._parts():
            inside = part.inside(block)
            if inside is not None:
                found = inside if found is None else found & inside
                if not found.any():
                    break
        return found

    def shift(self, rows: int, cols: int) -> Area:
        """Return the area on a grid with a shifted origin."""
        return self._each(lambda part: part.shift(rows, cols))

    def crop(self, block: Block) -> Area:
        """Return the area on the grid of one block."""
        return self._each(lambda part: part.crop(block))

    def warm_up(self) -> None:
        """Open the raster once in this thread, before several threads do."""
        if self.where is not None:
            self.where.warm_up()

    def describe(self) -> dict[str, Any]:
        """Return a JSON description of the area, for provenance."""
        parts = {"region": self.region, "where": self.where}
        return {name: part.describe() for name, part in parts.items() if part is not None}

    def _parts(self) -> tuple[Region | RasterWhere, ...]:
        return tuple(part for part in (self.region, self.where) if part is not None)

    def _each(self, move: Any) -> Area:
        return Area(*(None if part is None else move(part) for part in (self.region, self.where)))


def load_area(
    region: str | Path | Sequence[float] | None,
    where: str | None,
    grid: Grid,
    allowed: Sequence[str] = (),
    crs: str | None = None,
) -> Area:
    """Load the region and the raster, whichever is not None; see `load_where` for the rest.

    Raises
    ------
    InputError, ParameterError
        As `load_region` and `load_where` do.
    """
    return Area(
        None if region is None else load_region(region, grid),
        None if where is None else load_where(where, grid, allowed, crs),
    )
