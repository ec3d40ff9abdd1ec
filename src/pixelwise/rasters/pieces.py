"""One band of one file, placed on a stack's grid, and records of what could not be read."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pixelwise.errors import InputError
from pixelwise.grid import Block
from pixelwise.rasters.nodata import nodata_bounds
from pixelwise.rasters.stamps import RemoteStamp
from pixelwise.rasters.urls import Location

__all__ = ["WARP_TILE", "ArrayPlace", "Line", "Loss", "Piece", "Warp", "WindowError"]


class Line(NamedTuple):
    """What makes the values of a band comparable with those of other scenes: ``gain * value + offset``."""

    gain: float
    offset: float


@dataclass(frozen=True, slots=True)
class Warp:
    """How GDAL warps a file to another grid when it is opened.

    Attributes
    ----------
    crs, transform, height, width
        The target grid; the CRS as WKT.
    resampling
        GDAL's name of the resampling method.
    scale
        Pixels of the file per pixel of the result, along x and y.
    anchor
        Row and column of the piece in the warped raster, which starts where a tile starts.
    source_crs
        The CRS of the file as WKT, if it is not in the file.
    """

    crs: str
    transform: tuple[float, ...]
    height: int
    width: int
    resampling: str
    scale: tuple[float, float]
    anchor: tuple[int, int]
    source_crs: str | None = None


@dataclass(frozen=True, slots=True)
class ArrayPlace:
    """Which array of a NetCDF, HDF5 or Zarr file holds pixels, and what its dimensions are; a band is a time step.

    Attributes
    ----------
    group, variable
        Its name, and the group that it is in; empty for the outermost.
    time, y, x
        Its dimensions; no `time` if the array is one image.
    fixed
        Other dimensions, each with the index that is read.
    flipped
        Whether rows begin in the south, and columns in the east.
    chunk, time_chunk
        Rows and columns, and time steps, that are decoded together.
    chunk_bytes
        Bytes of a decoded chunk, of which the array may be only a part.
    unsigned
        Whether integers that are stored with a sign are meant without.
    """

    group: str
    variable: str
    time: str
    y: str
    x: str
    fixed: tuple[tuple[str, int], ...] = ()
    flipped: tuple[bool, bool] = (False, False)
    chunk: tuple[int, int] = (1, 1)
    time_chunk: int = 1
    chunk_bytes: int = 0
    unsigned: bool = False


@dataclass(frozen=True, slots=True)
class Piece:
    """One band of one file, placed on the stack's grid.

    Attributes
    ----------
    path, driver, band
        The file, how to open it, and the band to read.
    block
        Its place on the grid; may extend beyond it.
    dtype, nodata, scale, offset, masked
        How values are stored; `nodata` are the stored values that are missing.
    georeferenced
        Whether the file has a CRS or a transform.
    valid
        Smallest and largest valid value.
    warp
        None for a file on the stack's lattice.
    zoom
        Rows and columns of the grid covered by one pixel of the file.
    array
        Which array holds it; None for a raster.
    stamp
        What the server said of a file that is not local when its header was read.
    line
        What values become after they were found valid; None for a stack without gains.
    """

    path: Location
    driver: str
    band: int
    block: Block
    dtype: str
    nodata: tuple[float, ...]
    scale: float
    offset: float
    masked: bool
    georeferenced: bool
    valid: tuple[float, float] = (-np.inf, np.inf)
    warp: Warp | None = None
    zoom: int = 1
    array: ArrayPlace | None = None
    stamp: RemoteStamp | None = None
    line: Line | None = None

    def __post_init__(self) -> None:
        # Pieces are compared to find those that are stored alike, and a NaN is equal only to the same object.
        nodata = tuple(math.nan if math.isnan(value) else value for value in self.nodata)
        object.__setattr__(self, "nodata", nodata)

    @property
    def size(self) -> Block:
        """A block of all pixels of the file."""
        return Block(0, 0, self.block.height // self.zoom, self.block.width // self.zoom)

    @property
    def key(self) -> tuple[Location, Warp | ArrayPlace | None]:
        """The file, and its warp or array, to open for it."""
        return self.path, self.array or self.warp

    @property
    def chunk(self) -> Location | tuple[Location, str, int]:
        """What one reader best reads as a whole: a file, or the time steps of an array that are decoded together."""
        if self.array is None:
            return self.path
        return self.path, self.array.variable, (self.band - 1) // self.array.time_chunk

    @property
    def warped_with_alpha(self) -> bool:
        """Whether only an alpha band can tell what lies outside the warped file."""
        return self.masked or not self.nodata

    @property
    def scaled(self) -> bool:
        """Whether stored numbers must be converted to values."""
        return self.scale != 1.0 or self.offset != 0.0

    def shift(self, rows: int, cols: int) -> Piece:
        """Return the piece on a grid with a shifted origin."""
        return replace(self, block=self.block.shift(rows, cols))

    @property
    def nodata_bounds(self) -> NDArray[Any]:
        """(value, 2) smallest and largest stored number of each that is missing, in the band's own type."""
        return nodata_bounds(self.nodata, self.dtype)


@dataclass(frozen=True, slots=True)
class Loss:
    """A block of a file that could not be read and therefore counts as missing.

    Attributes
    ----------
    path, band
        The file and its band.
    block
        The requested part of it, on the stack's grid.
    reason
        What the library reported.
    """

    path: Location
    band: int
    block: Block
    reason: str


class WindowError(InputError):
    """A window that cannot be read from a file that can be opened."""


#: Rows and columns that are warped at once: GDAL's own blocks; it would cut other windows into these and warp twice.
WARP_TILE = (128, 512)
