"""Which pixels of a grid lie inside a region.

Nothing is read, and no method is called, for blocks without a pixel to use; unused pixels have status 9.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.warp import transform_bounds

from pixelwise.crs import crs_name, points_in, same_crs
from pixelwise.errors import InputError
from pixelwise.grid import Block, Bounds, Grid
from pixelwise.rasters.polygons import Polygons, polygon_of_bounds, read_polygons
from pixelwise.rasters.scanlines import rectangles_inside
from pixelwise.words import width_by_height

__all__ = [
    "GapError",
    "PixelsOf",
    "Region",
    "canonical",
    "curved",
    "edges_in_pixels",
    "extent_in",
    "load_region",
    "pixels_of",
    "region_of",
    "words",
]

#: Edges of polygons follow their curve in the rasters' CRS to within this many pixels.
CURVE_TOLERANCE = 1e-3

#: An edge is cut into four at most this many times: if it is not a line at a millionth of its length, it has a gap.
ROUNDS = 12

#: Polygons are clipped this far beyond the rasters, as a fraction of their extent.
MARGIN = 0.05

#: Each side of the rasters is transformed in this many parts to find their extent in another CRS.
SIDE_POINTS = 101

#: From (point, 2) coordinates to (point, 2) columns and rows.
PixelsOf = Callable[[NDArray[np.float64]], NDArray[np.float64]]


@dataclass(frozen=True, eq=False)
class Region:
    """Pixels of a grid whose centres lie inside polygons.

    A centre on an edge belongs to the polygon to its right or below it.

    Attributes
    ----------
    source
        The file, ``FILE:LAYER``, or bounds.
    path
        The file; None for bounds.
    crs
        Name of the CRS of the polygons.
    polygons
        Number of polygons.
    digest
        SHA-256 of their CRS and coordinates.
    rectangles
        (4, rectangle): top, bottom, left, right, half-open; disjoint, by ascending top.
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
            raise ValueError("expected rectangles of pixels, by ascending top")

    @property
    def pixels(self) -> int:
        """Number of pixels."""
        return _pixels(self.rectangles)

    @property
    def block(self) -> Block | None:
        """The smallest block that holds all pixels; None where a crop left none."""
        if not self.rectangles.shape[1]:
            return None
        top, bottom, left, right = self.rectangles
        row, col = int(top[0]), int(left.min())
        return Block(row, col, int(bottom.max()) - row, int(right.max()) - col)

    def touches(self, block: Block) -> bool:
        """Whether any pixel of a block is inside."""
        return bool(self._within(block).size)

    def inside(self, block: Block) -> NDArray[np.bool_] | None:
        """Return (y, x), true inside; None where all pixels are."""
        found = self._within(block)
        if _pixels(found) == block.pixels:
            return None
        top, bottom, left, right = found - np.array([[block.row], [block.row], [block.col], [block.col]])
        # Mark the corners of each rectangle, then sum over rows and columns. Disjoint ones never sum to more than 1.
        corners = np.zeros((block.height + 1, block.width + 1), np.int8)
        for rows, cols, step in ((top, left, 1), (top, right, -1), (bottom, left, -1), (bottom, right, 1)):
            np.add.at(corners, (rows, cols), np.int8(step))
        np.cumsum(corners, axis=0, out=corners)
        np.cumsum(corners, axis=1, out=corners)
        return corners[:-1, :-1].astype(bool)

    def shift(self, rows: int, cols: int) -> Region:
        """Return the region on a grid with a shifted origin."""
        return replace(self, rectangles=self.rectangles + np.array([[rows], [rows], [cols], [cols]], np.int32))

    def crop(self, block: Block) -> Region:
        """Return the region on the grid of one block, cut off at its edges."""
        return replace(self, rectangles=self._within(block)).shift(-block.row, -block.col)

    def describe(self) -> dict[str, Any]:
        """Return a description of the region, for provenance."""
        return {"source": self.source, "crs": self.crs, "polygons": self.polygons, "sha256": self.digest}

    def _within(self, block: Block) -> NDArray[np.int32]:
        """Return the parts of the rectangles inside a block."""
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
        When it cannot be read, has no polygons or no CRS, lies outside the grid, or contains no pixel centre.
    ParameterError
        When bounds are empty, or the packages that read vector files are missing.
    """
    bounds = _as_bounds(source)
    polygons = read_polygons(str(source)) if bounds is None else polygon_of_bounds(bounds, grid.crs)
    return region_of(polygons, grid)


def region_of(polygons: Polygons, grid: Grid, what: str = "region") -> Region:
    """Find the pixels of a grid that lie inside polygons; `what` is the option that names them, for errors.

    Raises
    ------
    InputError
        When they have no CRS, lie outside the grid, or contain no pixel centre.
    """
    edges, owners = edges_in_pixels(polygons, grid, what)
    rectangles = rectangles_inside(edges, owners, grid.height, grid.width)
    if not rectangles.size:
        size = edges.reshape(-1, 2).max(axis=0) - edges.reshape(-1, 2).min(axis=0)
        raise InputError(
            f"{what} {polygons.name}: contains no pixel centre of the rasters; the part of it near them measures "
            f"{width_by_height(f'{size[0]:.2g}', f'{size[1]:.2g}')}"
        )
    name = crs_name(polygons.crs)
    return Region(polygons.name, polygons.path, name, polygons.count, polygons.digest, rectangles)


def _as_bounds(source: str | Path | Sequence[float]) -> Sequence[float] | None:
    """Return bounds, also from a text of four numbers; None for a file."""
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


def edges_in_pixels(
    polygons: Polygons, grid: Grid, what: str = "region"
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return edges near the grid in its pixel coordinates (column, row), and the polygon that each belongs to.

    Parameters
    ----------
    polygons, grid
        What is placed, and where.
    what
        The option that names them, for errors.
    """
    name = f"{what} {polygons.name}"
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
    around = extent_in(polygons.crs, grid)
    edges, owners = _clipped(polygons, around)
    if not len(edges):
        raise InputError(
            f"{name}: lies outside the rasters: it covers {words(polygons.bounds)}, "
            f"the rasters {words(around or grid.bounds)} in {crs_name(polygons.crs)}"
        )
    place = pixels_of(name, polygons.crs, grid)
    if same_crs(grid.crs, polygons.crs):
        return np.hstack([place(edges[:, :2]), place(edges[:, 2:])]), owners
    try:
        parts, edge, _ = curved(edges, place)
    except GapError:
        raise InputError(
            f"{name}: an edge is torn apart in {grid.crs_name}; cut the polygons there, or clip them around the rasters"
        ) from None
    return parts, owners[edge]


def pixels_of(name: str, crs: CRS | None, grid: Grid) -> PixelsOf:
    """Return the function from coordinates in a CRS to columns and rows of a grid; `name` is for its errors."""
    left, _, right, _ = grid.bounds

    def place(points: NDArray[np.float64]) -> NDArray[np.float64]:
        xs, ys = points.T
        if not (grid.crs is None or crs is None or same_crs(grid.crs, crs)):
            try:
                xs, ys = (np.asarray(axis) for axis in points_in(grid.crs, crs, xs, ys))
            except InputError as error:
                raise InputError(f"{name}: {error}; clip the polygons around the rasters") from None
            if grid.crs.is_geographic:
                # Longitudes of PROJ jump at 180 degrees; here they do so on the other side of the Earth from the grid.
                xs = xs + 360 * np.round(((left + right) / 2 - xs) / 360)
        inverse = ~grid.transform
        cols, rows = (p * xs + q * ys + r for p, q, r in (inverse[:3], inverse[3:6]))
        return np.stack([cols, rows], axis=1)

    return place


def extent_in(crs: Any, grid: Grid) -> Bounds | None:
    """Return the grid's bounds in a CRS; right is above 180 degrees beyond the antimeridian. None where it has none."""
    if crs is None or grid.crs is None or same_crs(crs, grid.crs):
        return grid.bounds
    try:
        left, bottom, right, top = transform_bounds(grid.crs, crs, *grid.bounds, densify_pts=SIDE_POINTS)
    # As in `points_in`; polygons may be transformable where the rasters' corners are not.
    except Exception:
        return None
    if not all(map(math.isfinite, (left, bottom, right, top))):
        return None
    return left, bottom, right + 360 if right < left and crs.is_geographic else right, top


def _clipped(polygons: Polygons, around: Bounds | None) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return the edges of the polygons' parts around the grid, for polygons that come near it.

    Whatever lies beyond the border is moved straight onto it, so that rings stay closed and nothing changes inside the
    border. Edges shared by two polygons stay the same.
    """
    edges, owners = polygons.edges, polygons.owners
    # Longitudes may be counted from -180 or from 0.
    turns = (-360.0, 0.0, 360.0) if polygons.crs is not None and polygons.crs.is_geographic else (0.0,)
    if around is None:
        return canonical(edges), owners
    left, bottom, right, top = around
    aside, above = MARGIN * (right - left), MARGIN * (top - bottom)
    found = []
    for index, turn in enumerate(turns):
        turned = edges + np.array([turn, 0.0, turn, 0.0])
        near = _comes_near(turned, owners, around)
        box = (left - aside, bottom - above, right + aside, top + above)
        found.append(_clamped(canonical(turned[near]), owners[near] * len(turns) + index, box))
    return np.concatenate([part for part, _ in found]), np.concatenate([part for _, part in found])


def canonical(edges: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return edges from left to right, so that two polygons cut a shared edge into the same parts."""
    backward = (edges[:, 0] > edges[:, 2]) | ((edges[:, 0] == edges[:, 2]) & (edges[:, 1] > edges[:, 3]))
    return np.where(backward[:, None], edges[:, [2, 3, 0, 1]], edges)


def _comes_near(edges: NDArray[np.float64], owners: NDArray[np.int64], around: Bounds) -> NDArray[np.bool_]:
    """Return (edge,): whether the bounds of the edge's polygon overlap `around`."""
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


class GapError(Exception):
    """An edge is not a line in the other CRS, however short its parts."""


def curved(
    edges: NDArray[np.float64], place: PixelsOf
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.float64]]:
    """Cut edges into parts until each follows its curve.

    Returns
    -------
    parts
        (part, 4): columns and rows of both ends.
    edge
        (part,): the edge it belongs to.
    begin
        (part,): where on the edge it begins, from 0 to 1.

    Raises
    ------
    GapError
        When a part is not a line, however short.
    """
    places = np.stack([place(edges[:, :2]), place(edges[:, 2:])], axis=1)
    points = edges.reshape(-1, 2, 2)
    owners, begin, length = np.arange(len(edges)), np.zeros(len(edges)), 1.0
    done = []
    for _ in range(ROUNDS):
        # Three points: the middle of an S-shaped curve lies on its chord.
        parts = np.array([0.25, 0.5, 0.75])[None, :, None]
        inner = points[:, :1] + parts * (points[:, 1:] - points[:, :1])
        inner_places = place(inner.reshape(-1, 2)).reshape(inner.shape)
        chords = places[:, :1] + parts * (places[:, 1:] - places[:, :1])
        straight = np.hypot(*np.moveaxis(inner_places - chords, 2, 0)).max(axis=1) <= CURVE_TOLERANCE
        done.append((places[straight].reshape(-1, 4), owners[straight], begin[straight]))
        if straight.all():
            found = [np.concatenate(columns) for columns in zip(*done, strict=True)]
            return found[0], found[1], found[2]
        bent = ~straight
        points, places = (
            np.concatenate([ends[bent, :1], middle[bent], ends[bent, 1:]], axis=1)
            for ends, middle in ((points, inner), (places, inner_places))
        )
        points, places = (np.stack([a[:, :-1], a[:, 1:]], axis=2).reshape(-1, 2, 2) for a in (points, places))
        length /= 4
        owners = np.repeat(owners[bent], 4)
        begin = np.repeat(begin[bent], 4) + np.tile(np.arange(4) * length, bent.sum())
    raise GapError


def words(bounds: Bounds) -> str:
    """Format bounds for messages."""
    return "(" + ", ".join(f"{value:.10g}" for value in bounds) + ")"
