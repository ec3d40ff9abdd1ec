"""A large map by some of its pixels, evenly spread."""

from __future__ import annotations

import os
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

#: Rows and columns of a thinned map: more than are visible at 300 dots per inch, on maps five inches wide.
MOST_SAMPLES = 1500

#: Rows that are read at once: those of one tile.
STRIP = 256

#: Each holds a strip, and GDAL's copy of it: 40 MB of a map 20 000 pixels wide.
MOST_THREADS = 4


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
    rows, cols = (spread(size, MOST_SAMPLES) for size in (grid.height, grid.width))
    scale = Affine.scale(grid.width / len(cols), grid.height / len(rows))
    smaller = Grid(grid.crs, grid.transform @ scale, len(rows), len(cols))
    strips = []
    for top in range(0, grid.height, STRIP):
        height = min(STRIP, grid.height - top)
        own = rows[(rows >= top) & (rows < top + height)] - top
        if own.size:
            strips.append((Block(top, 0, height, grid.width), np.ix_(own, cols)))

    def sample(task: tuple[str, tuple[Block, Any]]) -> NDArray[Any]:
        name, (block, chosen) = task
        sampled: NDArray[Any] = source.read(name, block)[chosen]
        return sampled

    # Decoding is nearly all the work, and GDAL does it without the interpreter's lock.
    with ThreadPoolExecutor(min(MOST_THREADS, os.cpu_count() or 1)) as pool:
        parts = list(pool.map(sample, [(name, strip) for name in names for strip in strips]))
    count = len(strips)
    arrays = {name: np.concatenate(parts[k * count : (k + 1) * count]) for k, name in enumerate(names)}
    return Thinned(smaller, tuple(source.band(name) for name in names), source.provenance, arrays)


def spread(size: int, most: int = MOST_SAMPLES) -> NDArray[np.int64]:
    """Return at most `most` indices that represent equal parts of `size`."""
    count = min(size, most)
    return ((np.arange(count) + 0.5) * size / count).astype(np.int64)
