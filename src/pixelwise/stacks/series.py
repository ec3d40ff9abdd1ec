"""The series of single pixels: what was observed when, and why a value is missing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from pixelwise.choices import MapType
from pixelwise.dates.axis import TimeAxis
from pixelwise.errors import ParameterError
from pixelwise.grid import Block, Grid, around_all
from pixelwise.method import Method
from pixelwise.pictures.quantities import quantity_named
from pixelwise.rasters.handles import reading, take_losses
from pixelwise.rasters.pieces import Loss
from pixelwise.rasters.points import Point, centre_of, pixel_at
from pixelwise.rasters.urls import Url
from pixelwise.stacks.base import FileStack, value_name
from pixelwise.stacks.composite import CompositeStack
from pixelwise.stacks.raster import RasterStack

if TYPE_CHECKING:
    from pixelwise.stacks.fits import Fit

__all__ = ["GAPS", "Gap", "Series", "read_series", "series_at"]

#: Why a layer has no value at a pixel. ``no data``: the file says so, or the value is outside `valid_range` or not
#: finite; ``masked``: there is a value, but a mask rejects it; ``outside image``: no image of that date covers the
#: pixel; ``too few scenes``: fewer observations in the period than `min_count` or `equal_count` asks for;
#: ``unreadable``: a block of the file could not be read.
Gap = Literal["no data", "masked", "outside image", "too few scenes", "unreadable"]
GAPS: tuple[Gap, ...] = ("no data", "masked", "outside image", "too few scenes", "unreadable")

#: Bytes read at once for the pixels of one window.
WINDOW_BYTES = 64 << 20


@dataclass(frozen=True, eq=False)
class Series:
    """What was observed at one pixel.

    Attributes
    ----------
    row, col
        The pixel, from 0.
    x, y
        Its centre, in units of the grid's CRS.
    axis
        When the layers were observed.
    labels
        The date of each layer as text, as precisely as it is known.
    values
        (time,) numbers in the type of the stack, NaN where missing.
    gaps
        Why each value is missing, as in `Gap`; empty texts where there is a value.
    inside
        Whether the pixel is requested (``region``, ``where``).
    quantity, unit
        What the values are, as far as the variable or the names of files say: ``NDVI``, and their unit; empty if
        unknown.
    name
        What the user calls the place.
    stack
        Where the series is from.
    lost
        Whether a block of a file that the values come from could not be read, even if no value is lost with it.
    around
        (time, y, x) of the pixel and its neighbours, NaN outside the image, for methods that need them; None if they
        have not been read, which `fit` then does.
    """

    row: int
    col: int
    x: float
    y: float
    axis: TimeAxis
    labels: tuple[str, ...]
    values: NDArray[Any]
    gaps: tuple[Gap | Literal[""], ...]
    inside: bool
    quantity: str
    unit: str
    name: str
    stack: FileStack = field(repr=False)
    lost: bool = False
    around: NDArray[Any] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if not len(self.axis) == len(self.labels) == len(self.values) == len(self.gaps):
            raise ValueError(
                f"{len(self.axis)} dates, {len(self.labels)} labels, {len(self.values)} values and {len(self.gaps)} "
                "gaps: expected one of each per layer"
            )

    @property
    def dates(self) -> NDArray[np.datetime64]:
        """(time,) datetime64[s]."""
        return self.axis.dates

    @property
    def years(self) -> NDArray[np.float64]:
        """(time,) decimal years, as methods use them."""
        return self.axis.years

    @property
    def valid(self) -> NDArray[np.bool_]:
        """(time,) whether there is a value."""
        found: NDArray[np.bool_] = ~np.isnan(self.values)
        return found

    @property
    def grid(self) -> Grid:
        """The grid of the stack."""
        return self.stack.grid

    @property
    def place(self) -> str:
        """Say which pixel it is: ``pixel row 3, column 2 (x 40.04, y 6.96, EPSG:4326)``."""
        where = f"x {self.x:.8g}, y {self.y:.8g}, {self.grid.crs_name}"
        return f"{self.name + ': ' if self.name else ''}pixel row {self.row}, column {self.col} ({where})"

    @property
    def counts(self) -> Mapping[Gap, int]:
        """How many values are missing, by reason; reasons that do not occur are left out."""
        return {gap: self.gaps.count(gap) for gap in GAPS if gap in self.gaps}

    def __str__(self) -> str:
        missing = "".join(f", {count} {gap}" for gap, count in self.counts.items())
        outside = "" if self.inside else ", outside the requested area"
        return f"{self.place}: {np.count_nonzero(self.valid)} of {len(self.values)} values{missing}{outside}"

    def fit(
        self,
        method: str | Method | Callable[..., Any],
        *,
        bands: Sequence[str] | None = None,
        inputs: Mapping[str, Series] | None = None,
        per: str = "year",
        min_valid: float = 0.0,
        min_span: float = 0.0,
        dtype: MapType = "float64",
    ) -> Fit:
        """Compute what `apply` computes for this pixel, and the curve of a method that fits one.

        Parameters
        ----------
        method
            As in `apply`: any method, or a function of your own.
        bands
            Names of the bands; by default those that a map has. Limits of the slope, and what the curve needs, are
            added.
        inputs
            The series of covariates at the same pixel and dates, by name.
        per, min_valid, min_span, dtype
            As in `apply`, but in float64: ``float32`` gives the numbers of a map as it is usually written.

        Raises
        ------
        ParameterError
            When the method or a band is unknown, or does not suit the dates or the covariates.
        """
        from pixelwise.stacks.fits import fit_series

        return fit_series(
            self, method, bands=bands, inputs=inputs or {}, per=per, needs=(min_valid, min_span), dtype=dtype
        )

    def plot(self) -> Any:
        """Draw the observations, and mark what is missing; needs the extra ``plot``.

        Returns
        -------
        matplotlib.figure.Figure
            Not registered with pyplot; notebooks show it.
        """
        from pixelwise.pictures.chart import draw_charts
        from pixelwise.stacks.fits import chart_of

        return draw_charts([chart_of(self)])


def series_at(stack: FileStack, points: Sequence[Point]) -> tuple[Series, ...]:
    """Return the series of the pixels in which points lie.

    Raises
    ------
    ParameterError
        When one lies outside.
    InputError
        When it cannot be transformed, or a file cannot be read.
    """
    pixels = [pixel_at(stack.grid, point) for point in points]
    return read_series(stack, pixels, [point.name for point in points])


def read_series(
    stack: FileStack, pixels: Sequence[tuple[int, int]], names: Sequence[str] = (), *, halo: int = 0
) -> tuple[Series, ...]:
    """Return the series of some pixels; each block of a file is decoded once for all of them, as far as memory allows.

    Parameters
    ----------
    stack
        Any stack of files.
    pixels
        Row and column of each, from 0.
    names
        What the user calls them.
    halo
        How many neighbours on each side are read too.

    Raises
    ------
    ParameterError
        When a pixel lies outside the grid.
    InputError
        When a file cannot be read, or has changed since the stack was opened.
    """
    grid = stack.grid
    for row, col in pixels:
        if not (0 <= row < grid.height and 0 <= col < grid.width):
            raise ParameterError(
                f"pixel row {row}, column {col} lies outside: rows are 0 to {grid.height - 1}, columns 0 to "
                f"{grid.width - 1}"
            )
    if not pixels:
        return ()
    stack.check_unchanged()
    blocks = [Block(row, col, 1, 1) for row, col in pixels]
    # As titles of maps call it.
    quantity = quantity_named(value_name(stack) or "", next(map(str, stack.paths), ""))
    with reading((stack,)):
        values, lost = _read(stack, blocks)
        gaps = _gaps(stack, blocks, values, lost)
        inside = [stack.area.inside(block) for block in blocks]
        around: Sequence[NDArray[Any] | None] = [None] * len(blocks)
        if halo:
            around, lost = _around(stack, blocks, halo)
    return tuple(
        Series(
            row,
            col,
            *centre_of(grid, row, col),
            stack.axis,
            stack.names,
            values[:, i],
            tuple(gaps[:, i].tolist()),
            inside[i] is None or bool(np.all(inside[i])),
            quantity,
            stack.layout.unit,
            names[i] if i < len(names) else "",
            stack,
            # The result of a pixel depends on all neighbours within the halo.
            any(loss.block.intersection(blocks[i].pad(halo)) for loss in lost),
            around[i],
        )
        for i, (row, col) in enumerate(pixels)
    )


# Reading


def _read(stack: FileStack, blocks: Sequence[Block]) -> tuple[NDArray[Any], tuple[Loss, ...]]:
    """Return (time, pixel) of blocks of one pixel, and what could not be read."""
    values = np.empty((len(stack), len(blocks)), dtype=stack.dtype)
    remote = any(isinstance(path, Url) for path in stack.paths)
    windows = list(_windows(stack, blocks))
    # One window is read of all files at once: those on servers are then asked for several at a time.
    groups = [range(len(stack))] if remote or len(windows) == 1 else stack.groups
    take_losses()  # discards those of earlier reads in this thread
    for group in groups:
        part = stack if len(group) == len(stack) else stack.take(list(group))
        for window, members in windows:
            found = part.read(window)
            rows = [blocks[i].row - window.row for i in members]
            cols = [blocks[i].col - window.col for i in members]
            values[np.ix_(list(group), members)] = found[:, rows, cols]
    return values, take_losses()


def _around(stack: FileStack, blocks: Sequence[Block], halo: int) -> tuple[list[NDArray[Any]], tuple[Loss, ...]]:
    """Return (time, y, x) of each pixel with its neighbours, NaN outside the image, and what could not be read."""
    offsets = [(row, col) for row in range(-halo, halo + 1) for col in range(-halo, halo + 1)]
    wanted = [[block.shift(*offset) for offset in offsets] for block in blocks]
    known = list({one for near in wanted for one in near if one.intersection(stack.extent)})
    values, lost = _read(stack, known)
    found = dict(zip(known, values.T, strict=True))
    outside = np.full(len(stack), np.nan, dtype=stack.dtype)
    shape = (len(stack), 1 + 2 * halo, 1 + 2 * halo)
    return [np.stack([found.get(one, outside) for one in near], axis=1).reshape(shape) for near in wanted], lost


def _windows(stack: FileStack, blocks: Sequence[Block]) -> Iterator[tuple[Block, list[int]]]:
    """Yield windows that contain all pixels, and the numbers of those in each: one for each block of the files."""
    layout = stack.layout
    most = max(WINDOW_BYTES // (len(stack) * stack.dtype.itemsize), 1)
    together: dict[tuple[int, int], list[int]] = {}
    for i, one in enumerate(blocks):
        together.setdefault((one.row // layout.block_height, one.col // layout.block_width), []).append(i)
    pending = list(together.values())
    while pending:
        members = pending.pop()
        window = around_all([blocks[i] for i in members])
        if window.pixels <= most:
            yield window, members
            continue
        # Cut in halves, across the longer side.
        ordered = sorted(members, key=lambda i: blocks[i].row if window.height > window.width else blocks[i].col)
        middle = len(ordered) // 2
        pending += [ordered[:middle], ordered[middle:]]


# Why values are missing


def _gaps(stack: FileStack, blocks: Sequence[Block], values: NDArray[Any], lost: Sequence[Loss]) -> NDArray[Any]:
    """Return (time, pixel) reasons, empty where there is a value."""
    missing = np.isnan(values)
    gaps = np.full(values.shape, "", dtype=object)
    if not missing.any():
        return gaps
    if isinstance(stack, CompositeStack):
        _explain_periods(stack, blocks, missing, gaps)
        return gaps
    gaps[missing] = "no data"
    if isinstance(stack, RasterStack):
        _explain_layers(stack, blocks, missing, gaps)
        for loss in lost:
            rows = [i for i, layer in enumerate(stack.layers) if _reads(layer, loss)]
            cols = [i for i, block in enumerate(blocks) if loss.block.intersection(block)]
            for place in ((row, col) for row in rows for col in cols):
                gaps[place] = "unreadable" if missing[place] else ""
    return gaps


def _reads(layer: Any, loss: Loss) -> bool:
    return any((piece.path, piece.band) == (loss.path, loss.band) for piece in (*layer.pieces, *layer.masks))


def _explain_layers(
    stack: RasterStack, blocks: Sequence[Block], missing: NDArray[np.bool_], gaps: NDArray[Any]
) -> None:
    """Find missing values that no image covers, and those that only a mask rejects."""
    for row in np.flatnonzero(missing.any(axis=1)).tolist():
        covers = [piece.block for image in stack.layers[row].images for piece in image.pieces]
        for col in np.flatnonzero(missing[row]).tolist():
            if not any(block.intersection(blocks[col]) for block in covers):
                gaps[row, col] = "outside image"
    if not stack.derivation.qualities:
        return
    doubtful = np.flatnonzero((gaps == "no data").any(axis=1)).tolist()
    if doubtful:
        there = ~np.isnan(_read(stack.take(doubtful).unmasked, blocks)[0])
        rows = gaps[doubtful]
        rows[(rows == "no data") & there] = "masked"
        gaps[doubtful] = rows


def _explain_periods(
    stack: CompositeStack, blocks: Sequence[Block], missing: NDArray[np.bool_], gaps: NDArray[Any]
) -> None:
    """Say of each period without a value what its scenes lack: the reason of most use to somebody who looks."""
    rows = np.flatnonzero(missing.any(axis=1)).tolist()
    indices = np.unique(np.concatenate([stack.periods.members[row] for row in rows])).tolist()
    scenes = stack.scenes.take(indices)
    values, lost = _read(scenes, blocks)
    found = _gaps(scenes, blocks, values, lost)
    for row in rows:
        own = found[np.searchsorted(indices, stack.periods.members[row])]
        for col in np.flatnonzero(missing[row]).tolist():
            order: tuple[Gap, ...] = ("unreadable", "masked", "no data", "outside image")
            why = next((gap for gap in order if gap in own[:, col]), "no data")
            gaps[row, col] = "too few scenes" if "" in own[:, col] else why
