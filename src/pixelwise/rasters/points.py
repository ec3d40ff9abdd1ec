"""Points on the ground, and the pixels of a grid in which they lie."""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rasterio.crs import CRS
from rasterio.warp import transform_bounds

from pixelwise.bands import Floats
from pixelwise.crs import crs_name, crs_named, points_in, same_crs
from pixelwise.errors import InputError, ParameterError, Problems
from pixelwise.grid import Bounds, Grid, Places
from pixelwise.regular_files import read_text
from pixelwise.words import shown

__all__ = ["LON_LAT", "Point", "centre_of", "pixel_at", "read_points"]

#: What longitude and latitude mean if nothing else is said.
LON_LAT = "EPSG:4326"

#: Names of columns, in lower case.
XY, DEGREES = ("x", "y"), (("lon", "longitude", "long", "lng"), ("lat", "latitude"))
NAMES = ("name", "id")


@dataclass(frozen=True, slots=True)
class Point:
    """A place.

    Attributes
    ----------
    x, y
        Coordinates, finite, in units of `crs`.
    crs
        The CRS, in any form that rasterio takes, such as ``EPSG:4326``; None for that of the rasters.
    name
        What the user calls it; may be empty.

    Raises
    ------
    ParameterError
        When a coordinate is not a finite number.
    """

    x: float
    y: float
    crs: str | None = None
    name: str = ""

    def __post_init__(self) -> None:
        if not (math.isfinite(self.x) and math.isfinite(self.y)):
            raise ParameterError(f"{self} is no place: expected two finite numbers")

    def __str__(self) -> str:
        called = f"{self.name} " if self.name else ""
        return f"point {called}({self.x:.10g}, {self.y:.10g}{f' in {self.crs}' if self.crs else ''})"


def read_points(path: str | Path, crs: str | None = None) -> tuple[Point, ...]:
    """Read a table of points, separated by commas, semicolons or tabs.

    Parameters
    ----------
    path
        A text with a header: columns ``x`` and ``y``, or ``lon`` and ``lat`` (also ``longitude``, ``latitude``), and
        optionally ``name`` or ``id``; other columns are ignored.
    crs
        The CRS of the coordinates. None for that of the rasters if the columns are ``x`` and ``y``, and for EPSG:4326
        if they are ``lon`` and ``lat``.

    Raises
    ------
    InputError
        When the file cannot be read, a column is missing, or coordinates are no numbers, naming the lines.
    """
    path = Path(path)
    lines = read_text(path).lstrip("\ufeff").splitlines()
    header = lines[0] if lines else ""
    rows = list(csv.reader(lines, delimiter=max(",;\t", key=header.count)))
    columns = [name.strip().lower() for name in rows[0]] if rows else []
    degrees = [next((name for name in names if name in columns), "") for names in DEGREES]
    if set(XY) <= set(columns):
        chosen = list(XY)
    elif all(degrees):
        chosen, crs = degrees, crs or LON_LAT
    else:
        raise InputError(f"{path}: has the columns {shown(header)}; expected x and y, or lon and lat")
    places = [columns.index(name) for name in chosen]
    called = next((columns.index(name) for name in NAMES if name in columns), None)
    problems = Problems()
    points: list[Point] = []
    for number, row in enumerate(rows[1:], 2):
        if not any(cell.strip() for cell in row):
            continue
        try:
            x, y = (float(row[place]) for place in places)
            name = row[called].strip() if called is not None and called < len(row) else ""
            points.append(Point(x, y, crs, name or str(len(points) + 1)))
        except (ValueError, IndexError, ParameterError):
            problems.add(f"{path}: line {number}: {shown(','.join(row))} has no numbers in {' and '.join(chosen)}")
    problems.raise_if_any()
    if not points:
        raise InputError(f"{path}: has no points below its header")
    return tuple(points)


def pixel_at(grid: Grid, point: Point) -> tuple[int, int]:
    """Return row and column, from 0, of the pixel in which a point lies.

    A pixel owns its upper and left edges. Longitudes may be counted from -180 or from 0: both are tried.

    Raises
    ------
    ParameterError
        When the point lies outside the grid, naming both extents, or its CRS is unknown.
    InputError
        When PROJ cannot transform it.
    """
    crs = grid.crs if point.crs is None else crs_named(point.crs, "crs")
    found = _pixel(grid, point.x, point.y, crs)
    if found is None:
        hint = ""
        try:
            swapped = _pixel(grid, point.y, point.x, crs)
        except InputError:
            swapped = None
        if swapped is not None:
            hint = f"; ({point.y:.10g}, {point.x:.10g}) would be inside: x or longitude comes first"
        raise ParameterError(f"{point} lies outside the rasters, which cover {_extents(grid, crs)}{hint}")
    return found


def centre_of(grid: Grid, row: int, col: int) -> tuple[float, float]:
    """Return x and y of the centre of a pixel, in units of the grid's CRS."""
    places = grid.places
    if places is None:
        x, y = grid.transform @ (col + 0.5, row + 0.5)
        return float(x), float(y)
    if places.y.ndim == 1:
        return float(places.x[col]), float(places.y[row])
    return float(places.x[row, col]), float(places.y[row, col])


def _pixel(grid: Grid, x: float, y: float, crs: CRS | None) -> tuple[int, int] | None:
    if crs is not None and not same_crs(crs, grid.crs):
        if grid.crs is None:
            raise ParameterError("the rasters have no CRS: give points in their own coordinates, without --crs (crs=)")
        (x,), (y,) = points_in(grid.crs, crs, [x], [y])
    turns = (0.0, 360.0, -360.0) if grid.crs is not None and grid.crs.is_geographic else (0.0,)
    for turn in turns:
        if grid.places is not None:
            found = _nearest(grid.places, x + turn, y)
        else:
            col, row = ~grid.transform @ (x + turn, y)
            found = (math.floor(row), math.floor(col)) if abs(row) < 2**40 and abs(col) < 2**40 else None
        if found is not None and 0 <= found[0] < grid.height and 0 <= found[1] < grid.width:
            return found
    return None


def _nearest(places: Places, x: float, y: float) -> tuple[int, int] | None:
    """Return the pixel whose centre is nearest, unless the point is farther off than the next pixel would be."""
    if places.y.ndim == 1:
        row, col = (_index(centres, value) for centres, value in ((places.y, y), (places.x, x)))
        return None if row is None or col is None else (row, col)
    apart = np.hypot(places.x - x, places.y - y)
    row, col = divmod(int(np.nanargmin(apart)), apart.shape[1])
    around = (slice(max(row - 1, 0), row + 2), slice(max(col - 1, 0), col + 2))
    step = float(np.nanmax(np.hypot(places.x[around] - places.x[row, col], places.y[around] - places.y[row, col])))
    return (row, col) if apart[row, col] <= step / 2 else None


def _index(centres: Floats, value: float) -> int | None:
    index = int(np.abs(centres - value).argmin())
    steps = np.abs(np.diff(centres))[max(index - 1, 0) : index + 1]
    return index if not len(steps) or abs(centres[index] - value) <= steps.max() / 2 else None


def _extents(grid: Grid, crs: CRS | None) -> str:
    """Write what a grid covers, in its own CRS and in that of a point."""
    bounds = grid.bounds
    if grid.places is not None:
        x, y = grid.places.x, grid.places.y
        bounds = (float(np.nanmin(x)), float(np.nanmin(y)), float(np.nanmax(x)), float(np.nanmax(y)))
    own = _extent(bounds, grid.crs)
    if crs is None or grid.crs is None or same_crs(crs, grid.crs):
        return own
    try:
        theirs = transform_bounds(grid.crs, crs, *bounds, densify_pts=21)
    except Exception:  # GDAL's own errors have no public base class; the other extent still helps
        return own
    return f"{_extent(theirs, crs)}; that is {own}"


def _extent(bounds: Bounds, crs: CRS | None) -> str:
    left, bottom, right, top = bounds
    return f"x {left:.8g} to {right:.8g}, y {bottom:.8g} to {top:.8g} in {crs_name(crs)}"
