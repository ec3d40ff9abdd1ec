"""The grid of any array: with a transform where pixels are evenly spaced, else with their coordinates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray

from pixelwise.grid import Grid, Places
from pixelwise.rasters.conventions import Coordinate, UnevenError, crs_of, grid_of

__all__ = ["EachPixel", "north_up", "placed"]

#: Latitudes and longitudes (y, x) of each pixel, with their attributes.
EachPixel = tuple[tuple[NDArray[Any], Mapping[str, Any]], tuple[NDArray[Any], Mapping[str, Any]]]

#: Attributes that give a transform where there are no coordinates.
TRANSFORMS = frozenset(["GeoTransform", "spatial:transform", "transform"])


def placed(
    y: Coordinate,
    x: Coordinate,
    mapping: Mapping[str, Any],
    attributes: Mapping[str, Any],
    each: EachPixel | None = None,
) -> Grid:
    """Return the grid of an array; in the order of its rows and columns.

    Parameters
    ----------
    y, x, mapping, attributes
        As in `grid_of`.
    each
        Coordinates of each pixel, which count if rows and columns have none.

    Raises
    ------
    InputError
        As `grid_of` does, but not for rows and columns that are not evenly spaced.
    """
    if y.values is None and x.values is None:
        if each is not None:
            (north, of_north), (east, of_east) = each
            north, east = np.asarray(north, dtype=np.float64), np.asarray(east, dtype=np.float64)
            reason = "each pixel has a longitude and a latitude of its own"
            return Grid(None, Affine.identity(), y.size, x.size, Places(north, east, of_north, of_east, reason))
        if not TRANSFORMS & {*mapping, *attributes}:
            return Grid(None, Affine.identity(), y.size, x.size)
    try:
        return grid_of(y, x, mapping, attributes)
    except UnevenError as error:
        crs = crs_of(mapping, attributes, y.attributes, x.attributes)
        rows, columns = (np.asarray(axis.values, dtype=np.float64) for axis in (y, x))
        places = Places(rows, columns, y.attributes, x.attributes, str(error))
        return Grid(crs, Affine.identity(), y.size, x.size, places)


def north_up(grid: Grid) -> tuple[Grid, tuple[bool, bool]]:
    """Return a grid with north and west first, and whether its rows and its columns had to be turned round."""
    if grid.places is not None:
        y, x = grid.places.y, grid.places.x
        if y.ndim == 2:
            return grid, (False, False)
        south, east = bool(y[0] < y[-1]), bool(x[0] > x[-1])
        order = (slice(None, None, -1) if south else slice(None)), (slice(None, None, -1) if east else slice(None))
        places = Places(
            y[order[0]], x[order[1]], grid.places.y_attributes, grid.places.x_attributes, grid.places.reason
        )  # fmt: skip
        return Grid(grid.crs, grid.transform, grid.height, grid.width, places), (south, east)
    t = grid.transform
    if t.b or t.d or t == Affine.identity():
        return grid, (False, False)
    south, east = t.e > 0, t.a < 0
    if south:
        t = Affine(t.a, t.b, t.c, t.d, -t.e, t.f + t.e * grid.height)
    if east:
        t = Affine(-t.a, t.b, t.c + t.a * grid.width, t.d, t.e, t.f)
    return Grid(grid.crs, t, grid.height, grid.width), (south, east)
