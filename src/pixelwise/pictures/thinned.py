"""A large map by some of its pixels, evenly spread."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray

from pixelwise.bands import Band
from pixelwise.grid import Block, Grid
from pixelwise.pictures.source import Source

__all__ = ["MOST_PIXELS", "Thinned", "thinned"]

#: Maps with more pixels are thinned: 4000 x 4000 are read and drawn in about a second.
MOST_PIXELS = 16_000_000

#: Rows and columns of a thinned map: as many as are visible on a page.
MOST_SAMPLES = 2000

#: Rows that are read at once: those of one tile.
STRIP = 256


@dataclass(frozen=True, eq=False)
class Thinned:
    """Evenly spread pixels of a source, each standing for the same number of others; see `Source`.

    Attributes
    ----------
    grid
        The same area with larger pixels.
    bands, provenance
        Those of the source.
    arrays
        (y, x) values of each band.
    """

    grid: Grid
    bands: tuple[Band, ...]
    provenance: Mapping[str, Any]
    arrays: Mapping[str, NDArray[Any]]

    def band(self, name: str) -> Band:
        """Return the description of a band."""
        return next(band for band in self.bands if band.name == name)

    def read(self, name: str, block: Block) -> NDArray[Any]:
        """Return a part of a band as (y, x) array."""
        return self.arrays[name][block.slices]

    def blocks(self) -> Iterator[Block]:
        """Return the whole as one block."""
        yield self.grid.block

    def __getitem__(self, name: str) -> NDArray[Any]:
        return self.arrays[name]

    def __contains__(self, name: object) -> bool:
        return name in self.arrays

    def __iter__(self) -> Iterator[str]:
        return iter(self.arrays)


def thinned(source: Source, names: list[str]) -> Source:
    """Return the source itself, or evenly spread pixels of some bands if it has more than `MOST_PIXELS`.

    Parameters
    ----------
    source
        A map.
    names
        The bands that are needed.
    """
    grid = source.grid
    if grid.height * grid.width <= MOST_PIXELS or grid.places is not None:
        return source
    rows, cols = (spread(size) for size in (grid.height, grid.width))
    scale = Affine.scale(grid.width / len(cols), grid.height / len(rows))
    smaller = Grid(grid.crs, grid.transform @ scale, len(rows), len(cols))
    # Decoding is all the work: bands on threads.
    with ThreadPoolExecutor(2) as pool:
        arrays = list(pool.map(lambda name: _thin(source, name, rows, cols), names))
    bands = tuple(source.band(name) for name in names)
    return Thinned(smaller, bands, source.provenance, dict(zip(names, arrays, strict=True)))


def spread(size: int, most: int = MOST_SAMPLES) -> NDArray[np.int64]:
    """Return at most `most` indices that represent equal parts of `size`."""
    count = min(size, most)
    return ((np.arange(count) + 0.5) * size / count).astype(np.int64)


def _thin(source: Source, name: str, rows: NDArray[np.int64], cols: NDArray[np.int64]) -> NDArray[Any]:
    """Return some rows and columns of a band."""
    parts = []
    for top in range(0, source.grid.height, STRIP):
        height = min(STRIP, source.grid.height - top)
        own = rows[(rows >= top) & (rows < top + height)] - top
        if own.size:
            strip = source.read(name, Block(top, 0, height, source.grid.width))
            parts.append(strip[np.ix_(own, cols)])
    return np.concatenate(parts)
