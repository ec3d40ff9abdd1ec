"""The area of each pixel on the ellipsoid, for every CRS."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixelwise.bands import Floats
from pixelwise.errors import ParameterError
from pixelwise.grid import Block, Grid

__all__ = ["CellAreas"]

#: Chebyshev points along each edge of a piece, and the edge of a piece in pixels. Areas change smoothly, so that a
#: polynomial through 8 x 8 pixels gives those of 256 x 256; where it does not, pieces are smaller.
POINTS, PIECE, SMALLEST = 8, 1024, 16

#: The largest relative error of an interpolated area.
ACCURACY = 1e-8


#: How far off, relative to the size of the Earth, coordinates may be after a transformation there and back.
CLOSE = 1e-7

#: Pieces of each edge of a pixel that are taken for straight: with one, areas are wrong by 1.5e-6 for 20 km.
SEGMENTS = 4


@dataclass(frozen=True)
class CellAreas:
    """Areas of the pixels of a grid.

    The corners of a pixel are placed on the sphere that has the area of the CRS's own ellipsoid, at their authalic
    latitudes (Snyder 1987, *Map Projections: A Working Manual*, equations 3-11 to 3-13), and joined by great circles;
    in geographic coordinates, by parallels. What lies between them has the area of the pixel: exactly in geographic
    coordinates; in others apart from the curvature of the edges, less than 2e-7 of it for edges of 25 km.

    Attributes
    ----------
    grid
        The grid.

    Raises
    ------
    ParameterError
        When pyproj is missing.
    """

    grid: Grid

    @property
    def known(self) -> bool:
        """Whether pixels have an area: not without a CRS, nor in one that is not on the Earth."""
        return self._system is not None

    @property
    def why_unknown(self) -> str:
        """Why pixels have no area."""
        if self.grid.places is not None:
            return "only the centres of the pixels are known (a curvilinear grid)"
        return "the grid has no coordinate reference system" if self.grid.crs is None else "its CRS is not on the Earth"

    def of(self, block: Block) -> Floats:
        """Return the (y, x) areas of pixels in square kilometres; 0 for those beyond the map of the world.

        Parameters
        ----------
        block
            Rows and columns, within the grid.
        """
        if self._system is None:
            raise ParameterError(f"pixels have no area: {self.why_unknown}")
        if self._system.along_parallels(self.grid):
            column = self._each(Block(block.row, block.col, block.height, 1))
            return np.broadcast_to(column, (block.height, block.width))
        return self._in_pieces(block, PIECE)

    def width_at_centre(self) -> float | None:
        """Return the kilometres from edge to edge of the pixel in the middle, along its row; None if nobody knows."""
        if self._system is None:
            return None
        row, col = self.grid.height / 2, self.grid.width / 2
        ends = [np.asarray(self.grid.transform @ (col + aside, row)) for aside in (-0.5, 0.5)]
        left, right = (self._system.on_sphere(x, y) for x, y in ends)
        # Twice the arc sine of half the chord: the cosine of a short arc has no digits left.
        width = 2 * self._system.radius * float(np.arcsin(np.linalg.norm(left - right) / 2))
        return width if math.isfinite(width) and width > 0 else None

    def _in_pieces(self, block: Block, edge: int) -> Floats:
        """Return the areas of a block, interpolated within pieces of this edge where that is accurate."""
        areas = np.empty((block.height, block.width))
        for row in range(0, block.height, edge):
            for col in range(0, block.width, edge):
                height, width = min(edge, block.height - row), min(edge, block.width - col)
                piece = Block(block.row + row, block.col + col, height, width)
                found = self._smooth(piece)
                if found is None:
                    # Coarse pixels, or the edge of the world.
                    found = self._in_pieces(piece, edge // 4) if edge > SMALLEST else self._each(piece)
                areas[row : row + height, col : col + width] = found
        return areas

    def _smooth(self, piece: Block) -> Floats | None:
        """Return the areas of a piece, interpolated; None if that is not accurate."""
        if min(piece.height, piece.width) <= POINTS:
            return None
        rows, cols = _points(piece.height), _points(piece.width)
        known = self._at(piece.row + rows[:, None], piece.col + cols[None, :])
        if not (known > 0).all():
            return None
        areas: Floats = _weights(rows, piece.height) @ known @ _weights(cols, piece.width).T
        # The corners and others between the points.
        some_rows, some_cols = (np.unique([0, size // 3, size - 1]) for size in (piece.height, piece.width))
        exact = self._at(piece.row + some_rows[:, None], piece.col + some_cols[None, :])
        found = areas[np.ix_(some_rows, some_cols)]
        return areas if (np.abs(found - exact) <= ACCURACY * exact).all() else None

    def _each(self, piece: Block) -> Floats:
        """Return the areas of a piece, each from its own corners."""
        rows = piece.row + np.arange(piece.height)[:, None]
        return self._at(rows, piece.col + np.arange(piece.width)[None, :])

    def _at(self, rows: NDArray[Any], cols: NDArray[Any]) -> Floats:
        """Return the areas of single pixels; rows and columns may be fractions."""
        assert self._system is not None  # noqa: S101  (asked before)
        rows, cols = np.broadcast_arrays(np.asarray(rows, dtype=float), np.asarray(cols, dtype=float))
        corners = []
        along = self._system.along_parallels(self.grid)
        for down, right in _outline(1 if along else SEGMENTS):
            x, y = self.grid.transform @ (cols + right, rows + down)
            corners.append(self._system.on_sphere(np.asarray(x), np.asarray(y)))
        if along:
            height = np.abs(corners[3][2] - corners[0][2])
            width = abs(self.grid.transform.a) * self._system.radians
            areas: Floats = height * width * self._system.radius**2
        else:
            first, *others = corners
            areas = np.abs(sum(_triangle(first, a, b) for a, b in pairwise(others))) * self._system.radius**2
        areas[~np.isfinite(areas)] = 0
        return areas

    @cached_property
    def _system(self) -> _System | None:
        crs = self.grid.crs
        if crs is None or self.grid.places is not None:
            return None
        return _system_of(crs.to_wkt())


@dataclass(frozen=True)
class _System:
    """A CRS on an ellipsoid.

    Attributes
    ----------
    to_degrees
        Coordinates to longitude and latitude on the ellipsoid, infinite where there is none.
    geographic
        Whether coordinates are longitude and latitude themselves.
    radians
        Length of a unit of a geographic CRS.
    eccentricity
        That of the ellipsoid.
    radius
        Kilometres: that of the sphere with the same area.
    """

    to_degrees: Callable[[Floats, Floats], tuple[Floats, Floats]]
    geographic: bool
    radians: float
    eccentricity: float
    radius: float

    def along_parallels(self, grid: Grid) -> bool:
        """Whether all pixels of a row have the same area."""
        return self.geographic and grid.transform.b == 0 and grid.transform.d == 0

    def on_sphere(self, x: Floats, y: Floats) -> Floats:
        """Return (3, ...) unit vectors from the centre of the sphere; NaN where coordinates have no place on it."""
        lon, lat = map(np.radians, self.to_degrees(x, y))
        with np.errstate(invalid="ignore"):
            # A row of pixel centres at the pole reaches half a pixel beyond it.
            sine = np.sin(np.clip(lat, -math.pi / 2, math.pi / 2))
            up = _q(sine, self.eccentricity) / _q(np.float64(1), self.eccentricity)
            out = np.sqrt(np.maximum(0, (1 - up) * (1 + up)))
            return np.stack([out * np.cos(lon), out * np.sin(lon), up])


def _q(sine: Any, e: float) -> Any:
    """Return ``q`` of Snyder's equation 3-12 for sines of latitudes: proportional to the area from the equator."""
    if e == 0:
        return 2 * sine
    return (1 - e * e) * (sine / (1 - (e * sine) ** 2) + np.arctanh(e * sine) / e)


def _system_of(wkt: str) -> _System | None:
    """Return the system of a CRS; None if it is not on the Earth."""
    try:
        import pyproj
    except ImportError as error:  # pragma: no cover - the tests' environment has it
        raise ParameterError('areas need pyproj: pip install "pixelwise[plot]"') from error
    crs = pyproj.CRS.from_wkt(wkt)
    geodetic, ellipsoid = crs.geodetic_crs, crs.ellipsoid
    if geodetic is None or ellipsoid is None or not (crs.is_geographic or crs.is_projected or crs.is_derived):
        return None
    # Without a shift between datums: the pixel lies where its own CRS says, on its own ellipsoid.
    transformer = pyproj.Transformer.from_crs(crs, geodetic, always_xy=True)
    radians = geodetic.axis_info[0].unit_conversion_factor
    to_degrees = math.degrees(radians)

    a, b = ellipsoid.semi_major_metre, ellipsoid.semi_minor_metre
    # Once around the equator: a cylindrical map may go on beyond 180 degrees.
    (west, east), _ = transformer.transform(*np.array([(-math.pi, math.pi), (0, 0)]) / radians, direction="INVERSE")

    def geographic(x: Floats, y: Floats) -> tuple[Floats, Floats]:
        lon, lat = _transform(transformer, x, y)
        if not crs.is_geographic:
            # PROJ turns longitudes beyond 180 degrees back: a place off the map is that of another one on it.
            again = _transform(transformer, lon, lat, direction="INVERSE")
            aside, off = (np.abs(one - other) for one, other in zip((x, y), again, strict=True))
            near = CLOSE * (a + np.abs(x) + np.abs(y))
            with np.errstate(invalid="ignore"):
                on_map = (off <= near) & ((aside <= near) | (np.abs(aside - (east - west)) <= near))
            lon, lat = np.where(on_map, lon, np.inf), np.where(on_map, lat, np.inf)
        return lon * to_degrees, lat * to_degrees

    e = math.sqrt(max(0.0, 1 - (b / a) ** 2))
    radius = a * math.sqrt(float(_q(np.float64(1), e)) / 2) / 1000
    return _System(geographic, bool(crs.is_geographic), radians, e, radius)


def _transform(transformer: Any, x: Floats, y: Floats, direction: str = "FORWARD") -> tuple[Floats, Floats]:
    """Transform arrays; pyproj takes an array of one number for a number, of which NumPy before 2.4 warns."""
    if x.size != 1:
        found: tuple[Floats, Floats] = transformer.transform(x, y, direction=direction)
        return found
    one, other = transformer.transform(x.item(), y.item(), direction=direction)
    return np.full(x.shape, one), np.full(x.shape, other)


def _triangle(a: Floats, b: Floats, c: Floats) -> Floats:
    """Return the solid angles of triangles of unit vectors, negative if clockwise (Van Oosterom & Strackee 1983).

    Computed from differences: the product of three nearly equal vectors would keep no digit for pixels of 30 m.
    """
    ab, ac = b - a, c - a
    volume = (a * np.cross(ab, ac, axis=0)).sum(axis=0)
    angles: Floats = 2 * np.arctan2(volume, 1 + (a * b).sum(axis=0) + (b * c).sum(axis=0) + (c * a).sum(axis=0))
    return angles


def _outline(segments: int) -> list[tuple[float, float]]:
    """Return points around a pixel, clockwise from its top left corner, in fractions of its edges."""
    steps = [k / segments for k in range(segments)]
    edges = ([(0, k), (k, 1), (1, 1 - k), (1 - k, 0)] for k in steps)
    return [point for side in zip(*edges, strict=True) for point in side]


def _points(size: int) -> Floats:
    """Return Chebyshev points of a piece, as fractional rows or columns of its pixels."""
    count = min(POINTS, size)
    unit = np.cos((2 * np.arange(count) + 1) * math.pi / (2 * count))
    points: Floats = (size - 1) * (1 - unit) / 2
    return points


def _weights(points: Floats, size: int) -> Floats:
    """Return (pixel, point) weights of the polynomial through `points` (barycentric: Berrut & Trefethen 2004)."""
    count = len(points)
    angle = (2 * np.arange(count) + 1) * math.pi / (2 * count)
    barycentric = (-1.0) ** np.arange(count) * np.sin(angle)
    distance = np.arange(size)[:, None] - points[None, :]
    exact = np.abs(distance) < 1e-12
    terms = barycentric / np.where(exact, 1.0, distance)
    weights: Floats = terms / terms.sum(axis=1, keepdims=True)
    weights[exact.any(axis=1)] = exact[exact.any(axis=1)]
    return weights
