"""Where pixels are: a grid and its blocks."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from rasterio.crs import CRS

from pixelwise.crs import crs_name, points_in, same_crs
from pixelwise.errors import InputError, ParameterError
from pixelwise.words import width_by_height

__all__ = [
    "LARGEST_COORDINATE",
    "LARGEST_SIZE",
    "Block",
    "Bounds",
    "Grid",
    "Places",
    "around_all",
]

Bounds = tuple[float, float, float, float]

#: GDAL counts rows and columns in 32 bits.
LARGEST_SIZE = 2**31 - 1
#: Beyond this, adjacent doubles are more than a decimetre apart; the Earth is 4e7 m around.
LARGEST_COORDINATE = 1e15

#: Corners of two grids may differ by this many pixels before they count as different grids.
CORNER_TOLERANCE = 0.01

#: Each edge is divided into this many parts for a transformation: it is curved in another CRS.
EDGE_POINTS = 21

#: Two grids share a lattice if their origins are a whole number of pixels apart, within this many pixels.
LATTICE_TOLERANCE = 1e-3


@dataclass(frozen=True, slots=True)
class Block:
    """A rectangle of pixels; ``row`` and ``col`` may be negative where a halo reaches beyond the image."""

    row: int
    col: int
    height: int
    width: int

    def __post_init__(self) -> None:
        if self.height < 1 or self.width < 1:
            raise ValueError(f"a block needs at least one pixel, not {width_by_height(self.width, self.height)}")

    @property
    def pixels(self) -> int:
        """Number of pixels."""
        return self.height * self.width

    @property
    def slices(self) -> tuple[slice, slice]:
        """Rows and columns as slices for NumPy."""
        return slice(self.row, self.row + self.height), slice(self.col, self.col + self.width)

    def pad(self, halo: int) -> Block:
        """Return the block with `halo` more pixels on each side."""
        return Block(self.row - halo, self.col - halo, self.height + 2 * halo, self.width + 2 * halo)

    def shift(self, rows: int, cols: int) -> Block:
        """Return the block moved by `rows` and `cols`."""
        return Block(self.row + rows, self.col + cols, self.height, self.width)

    def scaled(self, times: int) -> Block:
        """Return the block in pixels that are `times` times smaller."""
        return Block(self.row * times, self.col * times, self.height * times, self.width * times)

    def coarsened(self, times: int) -> Block:
        """Return the smallest block of pixels `times` times larger that contains this one."""
        row, col = self.row // times, self.col // times
        return Block(row, col, -(-(self.row + self.height) // times) - row, -(-(self.col + self.width) // times) - col)

    def intersection(self, other: Block) -> Block | None:
        """Return the overlap of both blocks, or None."""
        row, col = max(self.row, other.row), max(self.col, other.col)
        height = min(self.row + self.height, other.row + other.height) - row
        width = min(self.col + self.width, other.col + other.width) - col
        return Block(row, col, height, width) if height > 0 and width > 0 else None


@dataclass(frozen=True, eq=False)
class Places:
    """Where pixels are if no transform says so: latitudes of a Gaussian grid, or coordinates of each pixel.

    Attributes
    ----------
    y, x
        (height,) and (width,) centres of rows and columns, or both (height, width).
    y_attributes, x_attributes
        What the file says about them.
    reason
        Why there is no transform.
    """

    y: NDArray[np.float64]
    x: NDArray[np.float64]
    y_attributes: Mapping[str, Any]
    x_attributes: Mapping[str, Any]
    reason: str

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Places) and np.array_equal(self.y, other.y) and np.array_equal(self.x, other.x)

    def __hash__(self) -> int:
        return hash((self.y.shape, self.x.shape))

    @property
    def attributes(self) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
        """Those of `y` and of `x`."""
        return self.y_attributes, self.x_attributes

    def crop(self, block: Block) -> Places:
        """Return the places of one block."""
        rows, columns = block.slices
        y, x = (self.y[rows], self.x[columns]) if self.y.ndim == 1 else (self.y[block.slices], self.x[block.slices])
        return replace(self, y=y, x=x)


@dataclass(frozen=True)
class Grid:
    """A raster's place on Earth: coordinate reference system, affine transform and size.

    Attributes
    ----------
    crs
        None where the files have none.
    transform
        From (column, row) of a pixel's upper left corner to coordinates.
    height, width
        Rows and columns.
    places
        Where pixels are if they are not evenly spaced; the transform then counts rows and columns. None if it says all.
    """

    crs: CRS | None
    transform: Affine
    height: int
    width: int
    places: Places | None = None

    def __post_init__(self) -> None:
        if self.height < 1 or self.width < 1:
            raise ValueError(f"a grid needs at least one pixel, not {self.size}")
        if max(self.height, self.width) > LARGEST_SIZE:
            raise InputError(
                f"{width_by_height(_count(self.width), _count(self.height))} are more than a raster can have "
                f"({LARGEST_SIZE} columns and rows): is the extent in units of the CRS?"
            )
        numbers = tuple(self.transform)[:6]
        # Comparisons with NaN are false.
        if not all(abs(number) <= LARGEST_COORDINATE for number in (*numbers, *self.bounds)):
            raise InputError(f"the transform {numbers} puts pixels at impossible coordinates (beyond 1e15)")
        left, bottom, right, top = self.bounds
        if self.transform.determinant == 0 or not (left < right and bottom < top):
            raise InputError(f"the transform {numbers} gives pixels no area")

    def __str__(self) -> str:
        return f"{self.size}, {self.crs_name}"

    @property
    def size(self) -> str:
        """Width and height, in words."""
        return width_by_height(self.width, self.height)

    @property
    def block(self) -> Block:
        """The whole grid as one block."""
        return Block(0, 0, self.height, self.width)

    @property
    def crs_name(self) -> str:
        """A short name of the coordinate reference system."""
        return crs_name(self.crs)

    def blocks(self, height: int, width: int) -> Iterator[Block]:
        """Divide the grid into blocks of at most `height` x `width` pixels, row by row."""
        for row in range(0, self.height, height):
            for col in range(0, self.width, width):
                yield Block(row, col, min(height, self.height - row), min(width, self.width - col))

    def crop(self, block: Block) -> Grid:
        """Return the grid of one block."""
        transform = self.transform @ Affine.translation(block.col, block.row)
        places = None if self.places is None else self.places.crop(block)
        return Grid(self.crs, transform, block.height, block.width, places)

    def refined(self, times: int) -> Grid:
        """Return the grid with pixels that are `times` times smaller in each direction."""
        return Grid(self.crs, self.transform @ Affine.scale(1 / times), self.height * times, self.width * times)

    def offset(self, other: Grid) -> tuple[float, float]:
        """Return (row, column) of the origin of `other`, in pixels of this grid."""
        col, row = ~self.transform @ (other.transform.c, other.transform.f)
        return row, col

    def shares_lattice(self, other: Grid) -> bool:
        """Whether the pixels of `other` continue those of this grid: same CRS and pixel size, whole pixels apart."""
        if other is self:
            return True
        if not same_crs(self.crs, other.crs) or (self.places is None) != (other.places is None):
            return False
        if self.places is not None and other.places is not None:
            shared = self.place_of(other).intersection(self.block)
            if shared is None:
                return False
            place = other.place_of(self.crop(shared))
            return self.places.crop(shared) == other.places.crop(place)
        a, b = self.transform, other.transform
        size = max(abs(a.a), abs(a.b), abs(a.d), abs(a.e))
        # Over the whole image a difference of pixel sizes adds up.
        alike = all(
            abs(x - y) * max(self.width, self.height, other.width, other.height) <= LATTICE_TOLERANCE * size
            for x, y in zip((a.a, a.b, a.d, a.e), (b.a, b.b, b.d, b.e), strict=True)
        )
        return alike and all(abs(value - round(value)) <= LATTICE_TOLERANCE for value in self.offset(other))

    def place_of(self, other: Grid) -> Block:
        """Return the place of a grid with the same lattice on this one."""
        row, col = (round(value) for value in self.offset(other))
        return Block(row, col, other.height, other.width)

    def footprint(self, other: Grid) -> tuple[Block, tuple[float, float]]:
        """Return the pixels of this grid, extended as needed, that a grid in any CRS touches.

        Returns
        -------
        block
            One pixel wider on each side.
        scale
            Pixels of `other` per pixel of this grid, along x and y, near its centre.

        Raises
        ------
        InputError
            When either has no CRS, or PROJ cannot transform between them there.
        """
        if self.crs is None or other.crs is None:
            raise InputError("it has no CRS" if other.crs is None else "the raster to align to has no CRS")
        edge = [index / EDGE_POINTS for index in range(EDGE_POINTS + 1)]
        ring = [(x, y) for x in edge for y in (0.0, 1.0)] + [(x, y) for x in (0.0, 1.0) for y in edge]
        # The centre, and one step to the right of it and one down.
        middle = [(0.5, 0.5), (0.5 + 1 / other.width, 0.5), (0.5, 0.5 + 1 / other.height)]
        corners = [other.transform @ (x * other.width, y * other.height) for x, y in (*ring, *middle)]
        xs, ys = points_in(self.crs, other.crs, [x for x, _ in corners], [y for _, y in corners])
        places = [~self.transform @ (x, y) for x, y in zip(xs, ys, strict=True)]
        cols, rows = [col for col, _ in places], [row for _, row in places]
        left, top = math.floor(min(cols) + LATTICE_TOLERANCE) - 1, math.floor(min(rows) + LATTICE_TOLERANCE) - 1
        right, bottom = math.ceil(max(cols) - LATTICE_TOLERANCE) + 1, math.ceil(max(rows) - LATTICE_TOLERANCE) + 1
        block = Block(top, left, bottom - top, right - left)
        centre, beside, below = places[-3:]
        across, down = math.dist(centre, beside), math.dist(centre, below)
        if not (across and down):
            raise InputError(f"its pixels have zero size in {self.crs_name}")
        return block, (_snapped(1 / across), _snapped(1 / down))

    def block_around(self, bounds: Bounds) -> Block:
        """Return the pixels of this grid, extended as needed, that `bounds` touch.

        Raises
        ------
        ParameterError
            When the bounds are empty.
        """
        left, bottom, right, top = bounds
        if self.places is not None:
            raise ParameterError(
                f"bounds {bounds} cannot be found: the pixels form no regular grid, as {self.places.reason}; "
                "cut the area out of the file before, with cdo sellonlatbox say"
            )
        if not (left < right and bottom < top):
            raise ParameterError(f"bounds {bounds} are empty: expected left, bottom, right, top")
        corners = [~self.transform @ xy for xy in ((left, top), (right, top), (left, bottom), (right, bottom))]
        cols, rows = [c for c, _ in corners], [r for _, r in corners]
        # Bounds on pixel edges must not include another pixel through rounding.
        slack = 1e-6
        row, col = int((min(rows) + slack) // 1), int((min(cols) + slack) // 1)
        end_row, end_col = -int((-max(rows) + slack) // 1), -int((-max(cols) + slack) // 1)
        return Block(row, col, max(end_row - row, 1), max(end_col - col, 1))

    def block_of_bounds(self, bounds: Bounds) -> Block:
        """Return the pixels that `bounds` (left, bottom, right, top, in units of the CRS) touch.

        Raises
        ------
        ParameterError
            When the bounds are empty or lie outside the grid.
        """
        touched = self.block_around(bounds).intersection(self.block)
        if touched is None:
            raise ParameterError(f"bounds {bounds} lie outside the rasters, which cover {self.bounds}")
        return touched

    @property
    def bounds(self) -> Bounds:
        """Left, bottom, right, top in units of the CRS."""
        xs, ys = zip(*self._corners(), strict=True)
        return min(xs), min(ys), max(xs), max(ys)

    def _corners(self) -> list[tuple[float, float]]:
        size = ((0, 0), (self.width, 0), (0, self.height), (self.width, self.height))
        return [self.transform @ corner for corner in size]

    def differences(self, other: Grid) -> list[str]:
        """Describe how `other` differs from this grid; empty where both are the same."""
        if other is self:  # as for all time steps of an array
            return []
        found = []
        if not same_crs(self.crs, other.crs):
            theirs_named = "no CRS" if other.crs is None else f"CRS {other.crs_name}"
            found.append(f"{theirs_named} instead of {'none' if self.crs is None else self.crs_name}")
        if (self.height, self.width) != (other.height, other.width):
            found.append(f"size {other.width} x {other.height} instead of {self.size}")
        mine, theirs = tuple(self.transform)[:6], tuple(other.transform)[:6]
        if (self.places is None) != (other.places is None):
            found.append("pixels are evenly spaced in one and not in the other")
        elif self.places != other.places and not found:
            found.append("pixels have other coordinates")
        elif mine != theirs:
            inverse = ~self.transform
            shifts = [
                max(abs(a - b) for a, b in zip(inverse @ xy, corner, strict=True))
                for xy, corner in zip(
                    [other.transform @ c for c in self._pixel_corners()], self._pixel_corners(), strict=True
                )
            ]
            if max(shifts) > CORNER_TOLERANCE:
                found.append(
                    f"transform {_numbers(theirs)} instead of {_numbers(mine)} (off by {max(shifts):.3g} pixels)"
                )
        return found

    def _pixel_corners(self) -> list[tuple[float, float]]:
        return [(0, 0), (self.width, 0), (0, self.height), (self.width, self.height)]

    def __reduce__(self) -> tuple[Any, ...]:
        # A CRS is pickled as WKT: two PROJ contexts never share an object.
        wkt = None if self.crs is None else self.crs.to_wkt()
        return _grid_from_wkt, (wkt, tuple(self.transform)[:6], self.height, self.width, self.places)


def around_all(blocks: Sequence[Block]) -> Block:
    """Return the smallest block that contains all given ones."""
    top, left = min(b.row for b in blocks), min(b.col for b in blocks)
    bottom, right = max(b.row + b.height for b in blocks), max(b.col + b.width for b in blocks)
    return Block(top, left, bottom - top, right - left)


def _snapped(ratio: float) -> float:
    """Return a ratio of pixel sizes without the noise of a transformation: GDAL does the same, within 0.05."""
    for whole in (round(ratio), 1 / max(round(1 / ratio), 1)):
        if whole and abs(ratio / whole - 1) < 0.05:
            return float(whole)
    return ratio


def _grid_from_wkt(
    wkt: str | None, transform: tuple[float, ...], height: int, width: int, places: Places | None
) -> Grid:
    return Grid(None if wkt is None else CRS.from_wkt(wkt), Affine(*transform), height, width, places)


def _count(pixels: int) -> str:
    """Format a number of pixels, which may have thousands of digits."""
    return str(pixels) if pixels < 10**15 else f"{float(pixels):.3g}"


def _numbers(values: tuple[float, ...]) -> str:
    return "(" + ", ".join(f"{value:.10g}" for value in values) + ")"
