"""Pixels where a static raster has certain values."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixelwise.crs import crs_remedy
from pixelwise.errors import InputError, ParameterError
from pixelwise.grid import Block, Grid
from pixelwise.rasters.handles import HANDLES
from pixelwise.rasters.headers import Header, read_header, stamps_of
from pixelwise.rasters.nodata import is_among
from pixelwise.rasters.pieces import Piece
from pixelwise.rasters.polygons import local_file
from pixelwise.rasters.region import words
from pixelwise.rasters.stamps import Stamp
from pixelwise.rasters.tiff import TiffFile
from pixelwise.rasters.urls import Location, is_url, permitted
from pixelwise.rasters.windows import read_with_retries

__all__ = ["RasterWhere", "load_where", "placed_on", "read_piece"]


@dataclass(frozen=True)
class RasterWhere:
    """Pixels where a raster has one of certain values.

    Attributes
    ----------
    piece
        The raster on the stack's grid; pixels outside it are not used.
    values
        Smallest and largest stored number of each range; the same number twice for a single value.
    stamps
        Stamps of the file and of the sources of a VRT.
    """

    piece: Piece
    values: tuple[tuple[float, float], ...]
    stamps: Mapping[Location, Stamp] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        if not self.values or any(not low <= high for low, high in self.values):
            raise ParameterError(f"where {self.piece.path}: its values are {_spelled(self.values) or 'none'}")

    @property
    def block(self) -> Block:
        """The part of the grid that the raster covers."""
        return self.piece.block

    def touches(self, block: Block) -> bool:
        """Whether the raster covers any pixel of a block; its values there are known only after reading."""
        return self.piece.block.intersection(block) is not None

    def inside(self, block: Block) -> NDArray[np.bool_] | None:
        """Return (y, x), true where the raster has one of the values; None where it has them everywhere.

        Raises
        ------
        InputError
            When the file cannot be read; the message names file, band and window.
        """
        result = np.zeros((block.height, block.width), bool)
        shared = block.intersection(self.piece.block)
        if shared is not None:
            result[shared.shift(-block.row, -block.col).slices] = self._read(shared)
        return None if result.all() else result

    def shift(self, rows: int, cols: int) -> RasterWhere:
        """Return the same on a grid with a shifted origin."""
        return replace(self, piece=self.piece.shift(rows, cols))

    def crop(self, block: Block) -> RasterWhere:
        """Return the same on the grid of one block."""
        return self.shift(-block.row, -block.col)

    def warm_up(self) -> None:
        """Open the file once in this thread, before several threads do."""
        HANDLES.open_files.open(self.piece, gdal=True).close()
        source = HANDLES.open_files.source(self.piece)
        if isinstance(source, TiffFile):
            source.warm_up()

    def describe(self) -> dict[str, Any]:
        """Return a description, for provenance."""
        # For a VRT, its sources too.
        return {
            "raster": str(self.piece.path),
            "values": _spelled(self.values),
            "files": [[path.name, *astuple(self.stamps[path])] for path in sorted(self.stamps)],
        }

    def _read(self, shared: Block) -> NDArray[np.bool_]:
        raw, valid = read_piece(self.piece, shared)
        singles = [low for low, high in self.values if low == high]
        found = np.isin(raw, np.array(singles).astype(self.piece.dtype))
        between = np.zeros_like(found)
        for low, high in self.values:
            if low < high:
                # As stored: 0.1 in float32 is not 0.1 in float64.
                ends = np.array([low, high]).astype(raw.dtype) if raw.dtype.kind == "f" else (low, high)
                between |= (raw >= ends[0]) & (raw <= ends[1])
        # A range does not include nodata, but a single value may be nodata.
        found |= between & ~is_among(raw, self.piece.nodata_bounds)
        return found if valid is None else found & valid


def load_where(text: str, grid: Grid, allowed: Sequence[str] = (), crs: str | None = None) -> RasterWhere:
    """Place a static raster on a grid.

    Parameters
    ----------
    text
        ``RASTER=1,2``, or with ranges: ``RASTER=10..20`` (ends included), ``..5``, ``100..``; values as stored, before
        scale and offset.
    grid
        The grid.
    allowed
        Schemes of servers from which the raster may be read.
    crs
        Its CRS if the file has none.

    Raises
    ------
    ParameterError
        When no values are given, or one is outside the raster's type.
    InputError
        When the raster cannot be read, has several bands, or is not on the grid's lattice.
    """
    name, equals, listed = text.rpartition("=")
    if not equals or not name or not listed.strip():
        raise ParameterError(f"where {text!r}: expected RASTER=1,2 or RASTER=10..20")
    values = tuple(_value(part, text) for part in listed.split(","))
    header = read_header(permitted(name, allowed) if is_url(name) else local_file(name, "where"))
    header = header if crs is None else header.with_crs(crs)
    piece = placed_on(grid, header, "where", f"; or align the rasters to it: --align {header.path}")
    for low, high in values:
        _check_held(low, high, header.path, np.dtype(header.bands[0].dtype))
    return RasterWhere(piece, values, stamps_of([header]))


def placed_on(grid: Grid, header: Header, what: str, otherwise: str = "") -> Piece:
    """Place a raster of one band on a grid.

    Parameters
    ----------
    grid
        The grid.
    header
        Of the raster.
    what
        What it is for, named in messages.
    otherwise
        What else a user may do where its pixels do not fit.

    Raises
    ------
    InputError
        When the raster has several bands, or is not on the grid's lattice.
    """
    path, count = header.path, len(header.bands)
    if count != 1:
        raise InputError(
            f"{what} {path}: has {count} bands, but only one is used; "
            f"extract it: gdal_translate -b N {path} {path.stem}_band.tif"
        )
    if not grid.shares_lattice(header.grid):
        raise InputError(_off_the_lattice(header, grid, what, otherwise))
    band, place = header.bands[0], grid.place_of(header.grid)
    if place.intersection(grid.block) is None:
        raise InputError(
            f"{what} {path}: lies outside the rasters: it covers {words(header.grid.bounds)}, "
            f"the rasters {words(grid.bounds)} in {grid.crs_name}"
        )
    return Piece(
        path=path,
        driver=header.driver,
        band=band.index,
        block=place,
        dtype=band.dtype,
        nodata=() if band.nodata is None else (band.nodata,),
        scale=1.0,
        offset=0.0,
        masked=band.masked,
        georeferenced=header.georeferenced,
        stamp=header.remote_stamp,
    )


def read_piece(piece: Piece, shared: Block) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
    """Return (y, x) stored numbers of a part of the grid that a raster covers, and what its mask says of them.

    Raises
    ------
    InputError
        When the file cannot be read; the message names file, band and window.
    """
    raw = np.empty((1, shared.height, shared.width), piece.dtype)
    with HANDLES.kept(after=False):
        window = shared.shift(-piece.block.row, -piece.block.col)
        masks = read_with_retries(piece, (piece.band,), window, raw, HANDLES.open_files)
    return raw[0], None if masks is None else masks[0] != 0


def _value(part: str, text: str) -> tuple[float, float]:
    """Return the ends of ``1``, ``10..20``, ``10..`` or ``..20``."""
    first, dots, last = part.strip().partition("..")
    try:
        low, high = float(first or ("-inf" if dots else "")), float((last or "inf") if dots else first)
    except ValueError:
        low = high = math.nan
    if not low <= high or low == math.inf or high == -math.inf or (low, high) == (-math.inf, math.inf):
        raise ParameterError(
            f"where {text!r}: {part.strip()!r} is neither a number nor an ascending range; "
            "expected RASTER=1,2 or RASTER=10..20"
        )
    return low, high


def _check_held(low: float, high: float, path: Location, dtype: np.dtype[Any]) -> None:
    """Refuse a range that no pixel can be in.

    Raises
    ------
    ParameterError
        When no value of the raster's type is within the range.
    """
    limits: tuple[float, float]
    first, last = low, high
    if dtype.kind in "iu":
        limits = np.iinfo(dtype).min, np.iinfo(dtype).max
        first, last = (low if math.isinf(low) else math.ceil(low)), (high if math.isinf(high) else math.floor(high))
    else:
        limits = float(np.finfo(dtype).min), float(np.finfo(dtype).max)
    if max(first, limits[0]) > min(last, limits[1]):
        raise ParameterError(f"where {path}: it is {dtype}, which cannot hold {_spelled(((low, high),))}")


def _off_the_lattice(header: Header, grid: Grid, what: str, otherwise: str) -> str:
    """Describe how a raster's lattice differs from that of a grid, and how to fix it."""
    path, other = header.path, header.grid
    transforms = " and ".join(f"{words(tuple(g.transform)[:6])} {g.crs_name}" for g in (other, grid))
    remedy = f"resample it to their pixels, by nearest neighbour{otherwise}"
    if other.crs is None and grid.crs is not None:
        remedy = crs_remedy(path, grid.crs)
    elif grid.crs is not None and grid.transform.b == grid.transform.d == 0:
        left, bottom, right, top = (repr(value) for value in grid.bounds)
        remedy = (
            f"gdalwarp -r near -t_srs {grid.crs_name!r} -te {left} {bottom} {right} {top} "
            f"-ts {grid.width} {grid.height} {path} {path.stem}_aligned.tif{otherwise}"
        )
    return f"{what} {path}: its pixels are not aligned with those of the rasters (transforms {transforms}); {remedy}"


def _spelled(values: Sequence[tuple[float, float]]) -> str:
    def end(value: float) -> str:
        return "" if math.isinf(value) else f"{value:.17g}"

    return ",".join(end(low) if low == high else f"{end(low)}..{end(high)}" for low, high in values)
