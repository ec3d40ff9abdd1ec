"""Classes of a raster as zones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixelwise.bands import Floats
from pixelwise.errors import InputError
from pixelwise.grid import Block, Grid
from pixelwise.rasters.headers import read_header
from pixelwise.rasters.nodata import is_among
from pixelwise.rasters.pieces import Piece
from pixelwise.rasters.polygons import FORMATS
from pixelwise.rasters.where import placed_on, read_piece
from pixelwise.words import one_line
from pixelwise.zonal.cover import Cover, Runs

__all__ = ["RasterZones", "load_classes"]

#: More classes than a 16-bit raster can have are not classes.
MOST_CLASSES = 65_536

#: Edge of the blocks in which classes are looked for.
EDGE = 1024


@dataclass(frozen=True, eq=False)
class RasterZones:
    """Classes of a raster whose pixels are aligned with a grid.

    Attributes
    ----------
    piece
        The raster, placed on the grid.
    grid
        The grid.
    numbers
        (zone,) the number of each class, ascending.
    covered
        (zone,) share of each class that lies on the grid: 1 if all of the raster does, else NaN. Beyond the grid,
        nothing is read: it may be a map of the whole Earth.
    """

    piece: Piece
    grid: Grid
    numbers: NDArray[Any]
    covered: Floats

    @property
    def name(self) -> str:
        """The file."""
        return str(self.piece.path)

    def __len__(self) -> int:
        return len(self.numbers)

    @property
    def columns(self) -> Mapping[str, NDArray[Any]]:
        """The number of each class."""
        return {"class": self.numbers}

    def groups(self, edge: int) -> Iterator[tuple[int, ...]]:
        """Return all classes together: any of them may be anywhere."""
        yield tuple(range(len(self)))

    def blocks(self, group: tuple[int, ...], edge: int) -> Iterator[Block]:
        """Return the blocks of this edge that the raster covers."""
        return (block for block in self.grid.blocks(edge, edge) if block.intersection(self.piece.block) is not None)

    def cover(self, group: tuple[int, ...], block: Block) -> Cover:
        """Return the pixels of each class in a block."""
        shared = block.intersection(self.piece.block)
        if shared is None:
            return Cover(np.empty(0, np.int64), np.empty(0), Runs.of(np.empty(0, np.int64)))
        known, valid = _known(self.piece, shared)
        place = shared.shift(-block.row, -block.col)
        cells = np.arange(block.pixels).reshape(block.height, block.width)[place.slices][valid]
        # Classes are at most 65 536: numbers of 16 bits are sorted by a radix sort.
        zones = np.searchsorted(self.numbers, known[valid]).astype(np.uint16)
        order = np.argsort(zones, kind="stable")
        return Cover(cells[order], np.ones(len(cells)), Runs.of(zones[order].astype(np.int64)))


def load_classes(path: Path, grid: Grid) -> RasterZones:
    """Read which classes a raster has on a grid.

    Raises
    ------
    InputError
        When it cannot be read, has pixels that are not aligned with the grid, or holds no classes.
    """
    try:
        header = read_header(path)
    except InputError as error:
        raise InputError(f"zones {one_line(error)}; polygons are read from {FORMATS}") from None
    piece = placed_on(grid, header, "zones")
    if np.dtype(piece.dtype).kind not in "iu":
        raise InputError(
            f"zones {path}: holds {piece.dtype} numbers; expected classes, which are integers; if they are whole "
            f"numbers: gdal_translate -ot Int32 {path} {path.stem}_classes.tif"
        )
    shared = piece.block.intersection(grid.block)
    assert shared is not None  # noqa: S101 - `placed_on` refuses others
    found: set[int] = set()
    for block in Grid(grid.crs, grid.transform, shared.height, shared.width).blocks(EDGE, EDGE):
        known, valid = _known(piece, block.shift(shared.row, shared.col))
        found.update(np.unique(known[valid]).tolist())
        if len(found) > MOST_CLASSES:
            raise InputError(f"zones {path}: has more than {MOST_CLASSES} different numbers; are these classes?")
    if not found:
        raise InputError(f"zones {path}: has no class within the map, only nodata")
    numbers = np.array(sorted(found), piece.dtype)
    return RasterZones(piece, grid, numbers, np.full(len(numbers), 1.0 if shared == piece.block else np.nan))


def _known(piece: Piece, block: Block) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Return (y, x) numbers of classes, and where there is one."""
    raw, unmasked = read_piece(piece, block)
    valid = ~is_among(raw, piece.nodata_bounds)
    return raw, valid if unmasked is None else valid & unmasked
