"""Which pixels are asked for: those of a region, and those where a static raster has certain values.

Nothing is read, and no method is called, where no pixel of a block is asked for; the others have status 9.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.warp import transform_bounds

from pixelwise.errors import InputError, ParameterError
from pixelwise.grid import Block, Bounds, Grid, crs_name, crs_remedy, points_in, same_crs
from pixelwise.rasters.headers import read_header, stats_of
from pixelwise.rasters.nodata import is_among
from pixelwise.rasters.polygons import Polygons, local_file, polygon_of_bounds, read_polygons
from pixelwise.rasters.scanlines import rectangles_inside
from pixelwise.rasters.tiff import TiffFile
from pixelwise.rasters.windows import HANDLES, Piece, read_patiently

__all__ = ["Area", "RasterWhere", "Region", "load_area", "load_region", "load_where"]

#: Edges of polygons follow their curve in the rasters' CRS within this many pixels.
CURVE_TOLERANCE = 1e-3

#: An edge is cut into four so many times at most: what is no line then, at a millionth of its length, has a gap.
ROUNDS = 12

#: Polygons are cut off this much beyond the rasters, in parts of their extent.
MARGIN = 0.05

#: Parts of each side of the rasters that are transformed to find their extent in another CRS.
SIDE_POINTS = 101


@dataclass(frozen=True, eq=False)
class Region:
    """Pixels of a grid whose centres lie inside polygons.

    A centre on an edge belongs to the polygon on its right or below it.

    Attributes
    ----------
    source
        The file, ``FILE:LAYER``, or bounds.
    path
        Of the file, None for bounds.
    crs
        Name of its CRS.
    polygons
        How many there were.
    digest
        SHA-256 of their CRS and coordinates.
    rectangles
        (4, rectangle): top, bottom, left, right, without the last; disjoint, by ascending top.
    """

    source: str
    path: Path | None
    crs: str
    polygons: int
    digest: str
    rectangles: NDArray[np.int32] = field(repr=False)

    def __post_init__(self) -> None:
        top, bottom, left, right = self.rectangles
        if not ((top < bottom).all() and (left < right).all() and (np.diff(top) >= 0).all()):
            raise ValueError("rectangles of pixels are wanted, by ascending top")

    @property
    def pixels(self) -> int:
        """How many there are."""
        return _pixels(self.rectangles)

    @property
    def block(self) -> Block | None:
        """The smallest block that holds them all; None where a crop left none."""
        if not self.rectangles.shape[1]:
            return None
        top, bottom, left, right = self.rectangles
        row, col = int(top[0]), int(left.min())
        return Block(row, col, int(bottom.max()) - row, int(right.max()) - col)

    def touches(self, block: Block) -> bool:
        """Whether a pixel of a block is inside."""
        return bool(self._within(block).size)

    def inside(self, block: Block) -> NDArray[np.bool_] | None:
        """Return (y, x), true inside; None where all pixels are."""
        found = self._within(block)
        if _pixels(found) == block.pixels:
            return None
        top, bottom, left, right = found - np.array([[block.row], [block.row], [block.col], [block.col]])
        # Each rectangle's corners; sums over rows and columns fill it. Disjoint ones never sum to more than 1.
        corners = np.zeros((block.height + 1, block.width + 1), np.int8)
        for rows, cols, step in ((top, left, 1), (top, right, -1), (bottom, left, -1), (bottom, right, 1)):
            np.add.at(corners, (rows, cols), np.int8(step))
        np.cumsum(corners, axis=0, out=corners)
        np.cumsum(corners, axis=1, out=corners)
        return corners[:-1, :-1].astype(bool)

    def shift(self, rows: int, cols: int) -> Region:
        """Return the region on a grid whose origin lies elsewhere."""
        return replace(self, rectangles=self.rectangles + np.array([[rows], [rows], [cols], [cols]], np.int32))

    def crop(self, block: Block) -> Region:
        """Return the region on the grid of one block; what lies outside is cut off."""
        return replace(self, rectangles=self._within(block)).shift(-block.row, -block.col)

    def describe(self) -> dict[str, Any]:
        """Return what it is, for provenance."""
        return {"source": self.source, "crs": self.crs, "polygons": self.polygons, "sha256": self.digest}

    def _within(self, block: Block) -> NDArray[np.int32]:
        """Return the rectangles' parts inside a block."""
        found = self.rectangles[:, : np.searchsorted(self.rectangles[0], block.row + block.height)]
        _, bottom, left, right = found
        found = found[:, (bottom > block.row) & (left < block.col + block.width) & (right > block.col)]
        rows, cols = (block.row, block.row + block.height), (block.col, block.col + block.width)
        return np.concatenate([np.clip(found[:2], *rows), np.clip(found[2:], *cols)]).astype(np.int32)


def _pixels(rectangles: NDArray[np.int32]) -> int:
    top, bottom, left, right = rectangles.astype(np.int64)
    return int(((bottom - top) * (right - left)).sum())


def load_region(source: str | Path | Sequence[float], grid: Grid) -> Region:
    """Find the pixels of a grid that lie inside polygons.

    Parameters
    ----------
    source
        A vector file of polygons in any CRS (``FILE:LAYER`` where it has several layers), or left, bottom, right,
        top in units of the grid's CRS, also as text: ``"L,B,R,T"``.

    Raises
    ------
    InputError
        When it cannot be read, has no polygon or no CRS, lies outside the grid, or holds no pixel's centre.
    ParameterError
        When bounds are empty, or the packages are absent that read vectors.
    """
    bounds = _as_bounds(source)
    polygons = read_polygons(str(source)) if bounds is None else polygon_of_bounds(bounds, grid.crs)
    edges, owners = _in_pixels(polygons, grid)
    rectangles = rectangles_inside(edges, owners, grid.height, grid.width)
    if not rectangles.size:
        size = edges.reshape(-1, 2).max(axis=0) - edges.reshape(-1, 2).min(axis=0)
        raise InputError(
            f"region {polygons.name}: holds no pixel's centre of the rasters; what of it is near them is "
            f"{size[1]:.2g} x {size[0]:.2g} pixels (rows x columns)"
        )
    name = crs_name(polygons.crs)
    return Region(polygons.name, polygons.path, name, polygons.count, polygons.digest, rectangles)


def _as_bounds(source: str | Path | Sequence[float]) -> Sequence[float] | None:
    """Return bounds, of a text where it is four numbers; None for a file."""
    if isinstance(source, Path):
        return None
    if not isinstance(source, str):
        return source
    parts = source.split(",")
    try:
        return [float(part) for part in parts] if len(parts) == 4 else None
    except ValueError:
        return None


# ------------------------------------------------------------------------------- from coordinates to pixels


def _in_pixels(polygons: Polygons, grid: Grid) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return edges near the grid in its pixel coordinates (column, row), and whose they are."""
    name = f"region {polygons.name}"
    if polygons.crs is None and grid.crs is not None:
        raise InputError(
            f"{name}: has no CRS, the rasters have {grid.crs_name}; say which it is: "
            f"ogr2ogr -a_srs EPSG:NUMBER region.gpkg {polygons.path}"
        )
    if grid.crs is None and polygons.crs is not None:
        raise InputError(
            f"{name}: has {crs_name(polygons.crs)}, but the rasters have no CRS; "
            "give bounds instead (left, bottom, right, top), or a file without CRS"
        )
    around = _extent_in(polygons.crs, grid)
    edges, owners = _clipped(polygons, around)
    if not len(edges):
        raise InputError(
            f"{name}: lies outside the rasters: it covers {_words(polygons.bounds)}, "
            f"the rasters {_words(around or grid.bounds)} in {crs_name(polygons.crs)}"
        )

    def pixels_of(points: NDArray[np.float64]) -> NDArray[np.float64]:
        xs, ys = points.T
        if not (grid.crs is None or polygons.crs is None or same_crs(grid.crs, polygons.crs)):
            try:
                xs, ys = (np.asarray(axis) for axis in points_in(grid.crs, polygons.crs, xs, ys))
            except InputError as error:
                raise InputError(f"{name}: {error}; cut the polygons off around the rasters") from None
        inverse = ~grid.transform
        cols, rows = (p * xs + q * ys + r for p, q, r in (inverse[:3], inverse[3:6]))
        return np.stack([cols, rows], axis=1)

    if same_crs(grid.crs, polygons.crs):
        return np.hstack([pixels_of(edges[:, :2]), pixels_of(edges[:, 2:])]), owners
    try:
        return _curved(edges, owners, pixels_of)
    except _GapError:
        raise InputError(
            f"{name}: an edge is torn apart in {grid.crs_name}; cut the polygons there, or off around the rasters"
        ) from None


def _extent_in(crs: Any, grid: Grid) -> Bounds | None:
    """Return the grid's bounds in a CRS, right above 180 degrees beyond the antimeridian; None where it has none."""
    if crs is None or grid.crs is None or same_crs(crs, grid.crs):
        return grid.bounds
    try:
        left, bottom, right, top = transform_bounds(grid.crs, crs, *grid.bounds, densify_pts=SIDE_POINTS)
    # As in `points_in`; polygons may be transformed where the rasters' corners may not.
    except Exception:
        return None
    if not all(map(math.isfinite, (left, bottom, right, top))):
        return None
    return left, bottom, right + 360 if right < left and crs.is_geographic else right, top


def _clipped(polygons: Polygons, around: Bounds | None) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return edges of the polygons' parts around the grid, of each polygon that comes near it.

    What lies beyond is moved to the border, straight across it, so that rings stay closed: the inside of the border
    sees no difference. Edges that two polygons share stay the same.
    """
    edges, owners = polygons.edges, polygons.owners
    # Longitudes may be counted from -180 or from 0.
    turns = (-360.0, 0.0, 360.0) if polygons.crs is not None and polygons.crs.is_geographic else (0.0,)
    if around is None:
        return _canonical(edges), owners
    left, bottom, right, top = around
    aside, above = MARGIN * (right - left), MARGIN * (top - bottom)
    found = []
    for index, turn in enumerate(turns):
        turned = edges + np.array([turn, 0.0, turn, 0.0])
        near = _comes_near(turned, owners, around)
        box = (left - aside, bottom - above, right + aside, top + above)
        found.append(_clamped(_canonical(turned[near]), owners[near] * len(turns) + index, box))
    return np.concatenate([part for part, _ in found]), np.concatenate([part for _, part in found])


def _canonical(edges: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return edges from left to right: cut into parts, they are the same for both polygons that share them."""
    backward = (edges[:, 0] > edges[:, 2]) | ((edges[:, 0] == edges[:, 2]) & (edges[:, 1] > edges[:, 3]))
    return np.where(backward[:, None], edges[:, [2, 3, 0, 1]], edges)


def _comes_near(edges: NDArray[np.float64], owners: NDArray[np.int64], around: Bounds) -> NDArray[np.bool_]:
    """Return (edge,): whether its polygon's bounds and others have something in common."""
    count = int(owners.max()) + 1
    low, high = np.full((2, count), np.inf), np.full((2, count), -np.inf)
    for axis in (0, 1):
        np.minimum.at(low[axis], owners, edges[:, axis])
        np.maximum.at(high[axis], owners, edges[:, axis])
    left, bottom, right, top = around
    near: NDArray[np.bool_] = (low[0] < right) & (high[0] > left) & (low[1] < top) & (high[1] > bottom)
    return near[owners]


def _clamped(
    edges: NDArray[np.float64], owners: NDArray[np.int64], box: Bounds
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    for axis, limits in ((0, box[::2]), (1, box[1::2])):
        for limit in limits:
            start, end = edges[:, axis], edges[:, axis + 2]
            crosses = (np.minimum(start, end) < limit) & (np.maximum(start, end) > limit)
            cut = edges[crosses]
            part = (limit - cut[:, axis]) / (cut[:, axis + 2] - cut[:, axis])
            between = cut[:, :2] + part[:, None] * (cut[:, 2:] - cut[:, :2])
            between[:, axis] = limit
            halves = [edges[~crosses], np.hstack([cut[:, :2], between]), np.hstack([between, cut[:, 2:]])]
            edges = np.concatenate(halves)
            owners = np.concatenate([owners[~crosses], owners[crosses], owners[crosses]])
    left, bottom, right, top = box
    edges = np.clip(edges, (left, bottom, left, bottom), (right, top, right, top))
    kept = (edges[:, :2] != edges[:, 2:]).any(axis=1)
    return edges[kept], owners[kept]


class _GapError(Exception):
    """An edge is no line in the other CRS, however short its parts."""


def _curved(
    edges: NDArray[np.float64], owners: NDArray[np.int64], pixels_of: Any
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return edges in pixel coordinates, cut into parts until each follows its curve."""
    places = np.stack([pixels_of(edges[:, :2]), pixels_of(edges[:, 2:])], axis=1)
    points = edges.reshape(-1, 2, 2)
    done = []
    for _ in range(ROUNDS):
        # Three points: the middle of a curve that turns the other way there lies on its chord.
        parts = np.array([0.25, 0.5, 0.75])[None, :, None]
        inner = points[:, :1] + parts * (points[:, 1:] - points[:, :1])
        inner_places = pixels_of(inner.reshape(-1, 2)).reshape(inner.shape)
        chords = places[:, :1] + parts * (places[:, 1:] - places[:, :1])
        straight = np.hypot(*np.moveaxis(inner_places - chords, 2, 0)).max(axis=1) <= CURVE_TOLERANCE
        done.append((places[straight].reshape(-1, 4), owners[straight]))
        if straight.all():
            return np.concatenate([part for part, _ in done]), np.concatenate([part for _, part in done])
        bent = ~straight
        points, places = (
            np.concatenate([ends[bent, :1], middle[bent], ends[bent, 1:]], axis=1)
            for ends, middle in ((points, inner), (places, inner_places))
        )
        points, places = (np.stack([a[:, :-1], a[:, 1:]], axis=2).reshape(-1, 2, 2) for a in (points, places))
        owners = np.repeat(owners[bent], 4)
    raise _GapError


def _words(bounds: Bounds) -> str:
    return "(" + ", ".join(f"{value:.10g}" for value in bounds) + ")"


# ----------------------------------------------------------------------------------------- a static raster


@dataclass(frozen=True)
class RasterWhere:
    """Pixels where a raster has one of some values.

    Attributes
    ----------
    piece
        The raster on the stack's grid; pixels that it does not cover are not used.
    values
        Smallest and largest of each range, in stored numbers; the same twice for one value.
    stats
        Size and modification time (nanoseconds) of the file, and of those behind a VRT.
    """

    piece: Piece
    values: tuple[tuple[float, float], ...]
    stats: Mapping[Path, tuple[int, int]] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        if not self.values or any(not low <= high for low, high in self.values):
            raise ParameterError(f"where {self.piece.path}: its values are {_spelled(self.values) or 'none'}")

    @property
    def block(self) -> Block:
        """What the raster covers."""
        return self.piece.block

    def touches(self, block: Block) -> bool:
        """Whether the raster covers a pixel of a block; what it says there is known only when it is read."""
        return self.piece.block.intersection(block) is not None

    def inside(self, block: Block) -> NDArray[np.bool_] | None:
        """Return (y, x), true where the raster has one of the values; None where all pixels have.

        Raises
        ------
        InputError
            When the file cannot be read, naming file, band and window.
        """
        result = np.zeros((block.height, block.width), bool)
        shared = block.intersection(self.piece.block)
        if shared is not None:
            result[shared.shift(-block.row, -block.col).slices] = self._read(shared)
        return None if result.all() else result

    def shift(self, rows: int, cols: int) -> RasterWhere:
        """Return the same on a grid whose origin lies elsewhere."""
        return replace(self, piece=self.piece.shift(rows, cols))

    def crop(self, block: Block) -> RasterWhere:
        """Return the same on the grid of one block."""
        return self.shift(-block.row, -block.col)

    def warm_up(self) -> None:
        """Open the file once in this thread, before several do."""
        HANDLES.open.opened(self.piece, gdal=True).close()
        source = HANDLES.open.source(self.piece)
        if isinstance(source, TiffFile):
            source.warm_up()

    def describe(self) -> dict[str, Any]:
        """Return what it is, for provenance."""
        # Of a VRT also what is behind it.
        return {
            "raster": str(self.piece.path),
            "values": _spelled(self.values),
            "files": [[path.name, *self.stats[path]] for path in sorted(self.stats)],
        }

    def _read(self, shared: Block) -> NDArray[np.bool_]:
        piece = self.piece
        raw = np.empty((1, shared.height, shared.width), piece.dtype)
        with HANDLES.kept(after=False):
            window = shared.shift(-piece.block.row, -piece.block.col)
            masks = read_patiently(piece, (piece.band,), window, raw, HANDLES.open)
        singles = [low for low, high in self.values if low == high]
        found = np.isin(raw[0], np.array(singles).astype(piece.dtype))
        between = np.zeros_like(found)
        for low, high in self.values:
            if low < high:
                # As stored: 0.1 of a float32 file is not that of a float64.
                ends = np.array([low, high]).astype(raw.dtype) if raw.dtype.kind == "f" else (low, high)
                between |= (raw[0] >= ends[0]) & (raw[0] <= ends[1])
        # Nodata within a range is not meant, but it may be named.
        found |= between & ~is_among(raw[0], piece.nodata_bounds)
        if masks is not None:
            found &= masks[0] != 0
        return found


def load_where(text: str, grid: Grid) -> RasterWhere:
    """Place a static raster on a grid.

    Parameters
    ----------
    text
        ``RASTER=1,2``, with ranges ``RASTER=10..20`` (both ends belong to it), ``..5`` or ``100..``; values as they
        are stored, without scale and offset.

    Raises
    ------
    ParameterError
        When there are no values, or the raster's type cannot hold one.
    InputError
        When the raster cannot be read, has several bands, or is not on the grid's lattice.
    """
    name, equals, listed = text.rpartition("=")
    if not equals or not name or not listed.strip():
        raise ParameterError(f"where {text!r}: RASTER=1,2 or RASTER=10..20 is wanted")
    values = tuple(_value(part, text) for part in listed.split(","))
    header = read_header(local_file(name, "where"))
    path, count = header.path, len(header.bands)
    if count != 1:
        raise InputError(
            f"where {path}: has {count} bands, but RASTER=1,2 looks at one; "
            f"take it out: gdal_translate -b N {path} {path.stem}_band.tif"
        )
    if not grid.shares_lattice(header.grid):
        raise InputError(_off_the_lattice(path, header.grid, grid))
    band, place = header.bands[0], grid.place_of(header.grid)
    if place.intersection(grid.block) is None:
        raise InputError(
            f"where {path}: lies outside the rasters: it covers {_words(header.grid.bounds)}, "
            f"the rasters {_words(grid.bounds)} in {grid.crs_name}"
        )
    piece = Piece(
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
    )
    for low, high in values:
        _check_held(low, high, path, np.dtype(band.dtype))
    return RasterWhere(piece, values, stats_of([header]))


def _value(part: str, text: str) -> tuple[float, float]:
    """Return the ends of ``1``, ``10..20``, ``10..`` or ``..20``."""
    first, dots, last = part.strip().partition("..")
    try:
        low, high = float(first or ("-inf" if dots else "")), float((last or "inf") if dots else first)
    except ValueError:
        low = high = math.nan
    if not low <= high or low == math.inf or high == -math.inf or (low, high) == (-math.inf, math.inf):
        raise ParameterError(
            f"where {text!r}: {part.strip()!r} is no number, and no range from a smaller to a larger one; "
            "RASTER=1,2 or RASTER=10..20 is wanted"
        )
    return low, high


def _check_held(low: float, high: float, path: Path, dtype: np.dtype[Any]) -> None:
    """Refuse what can never be found.

    Raises
    ------
    ParameterError
        When no value of the raster's type is between two ends.
    """
    limits: tuple[float, float]
    first, last = low, high
    if dtype.kind in "iu":
        limits = np.iinfo(dtype).min, np.iinfo(dtype).max
        first, last = (low if math.isinf(low) else math.ceil(low)), (high if math.isinf(high) else math.floor(high))
    else:
        limits = float(np.finfo(dtype).min), float(np.finfo(dtype).max)
    if max(first, limits[0]) > min(last, limits[1]):
        raise ParameterError(f"where {path}: it is {dtype}, which holds no {_spelled(((low, high),))}")


def _off_the_lattice(path: Path, other: Grid, grid: Grid) -> str:
    """Say how a raster's pixels differ from those of a grid, and how to mend it."""
    transforms = " and ".join(f"{_words(tuple(g.transform)[:6])} {g.crs_name}" for g in (other, grid))
    remedy = f"align the rasters to it: --align {path}"
    if other.crs is None and grid.crs is not None:
        remedy = crs_remedy(path, grid.crs)
    elif grid.crs is not None and grid.transform.b == grid.transform.d == 0:
        left, bottom, right, top = (repr(value) for value in grid.bounds)
        remedy = (
            f"gdalwarp -r near -t_srs {grid.crs_name!r} -te {left} {bottom} {right} {top} "
            f"-ts {grid.width} {grid.height} {path} {path.stem}_aligned.tif, or {remedy}"
        )
    return f"where {path}: is not on the lattice of the rasters (transforms {transforms}); {remedy}"


def _spelled(values: Sequence[tuple[float, float]]) -> str:
    def end(value: float) -> str:
        return "" if math.isinf(value) else f"{value:.17g}"

    return ",".join(end(low) if low == high else f"{end(low)}..{end(high)}" for low, high in values)


# ------------------------------------------------------------------------------------------------- both


@dataclass(frozen=True)
class Area:
    """The pixels that are asked for: inside a region, and where a raster has certain values.

    Attributes
    ----------
    region, where
        None for all pixels.
    """

    region: Region | None = None
    where: RasterWhere | None = None

    def __bool__(self) -> bool:
        return self.region is not None or self.where is not None

    @property
    def paths(self) -> tuple[Path, ...]:
        """The files that were named."""
        region = None if self.region is None else self.region.path
        where = None if self.where is None else self.where.piece.path
        return tuple(path for path in (region, where) if path is not None)

    @property
    def stats(self) -> Mapping[Path, tuple[int, int]]:
        """Size and modification time (nanoseconds) of the files that are read block by block."""
        return {} if self.where is None else self.where.stats

    def touches(self, block: Block) -> bool:
        """Whether a pixel of a block may be asked for; nothing is read."""
        return all(part.touches(block) for part in self._parts())

    def inside(self, block: Block) -> NDArray[np.bool_] | None:
        """Return (y, x), true for pixels that are asked for; None where all are.

        The raster is read only where a pixel is inside the region.

        Raises
        ------
        InputError
            When the raster cannot be read, naming file, band and window.
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
        """Return the area on a grid whose origin lies elsewhere."""
        return self._each(lambda part: part.shift(rows, cols))

    def crop(self, block: Block) -> Area:
        """Return the area on the grid of one block."""
        return self._each(lambda part: part.crop(block))

    def warm_up(self) -> None:
        """Open the raster once in this thread, before several do."""
        if self.where is not None:
            self.where.warm_up()

    def describe(self) -> dict[str, Any]:
        """Return what it is, for provenance: JSON."""
        parts = {"region": self.region, "where": self.where}
        return {name: part.describe() for name, part in parts.items() if part is not None}

    def _parts(self) -> tuple[Region | RasterWhere, ...]:
        return tuple(part for part in (self.region, self.where) if part is not None)

    def _each(self, move: Any) -> Area:
        return Area(*(None if part is None else move(part) for part in (self.region, self.where)))


def load_area(region: str | Path | Sequence[float] | None, where: str | None, grid: Grid) -> Area:
    """Load both, each where it is not None.

    Raises
    ------
    InputError, ParameterError
        As `load_region` and `load_where` do.
    """
    return Area(
        None if region is None else load_region(region, grid),
        None if where is None else load_where(where, grid),
    )
