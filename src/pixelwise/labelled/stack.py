"""Arrays in memory, or lazy ones, as a stack of which the engine reads blocks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray

from pixelwise.dates.axis import TimeAxis
from pixelwise.errors import InputError
from pixelwise.grid import Block, Grid
from pixelwise.kernels.unpack import unpack
from pixelwise.rasters.headers import lossless_in_float32
from pixelwise.rasters.nodata import nodata_bounds, spelled
from pixelwise.stacks.base import Layout

__all__ = ["ArrayStack", "Decoding", "grid_without_place"]

#: An array in memory has no blocks of its own: these are small enough to be cut for any memory, and wide enough for
#: long contiguous runs.
ROWS, COLUMNS = 16, 256

#: Most arithmetic of xarray keeps attributes: the limits of temperatures would blank their anomalies.
COMPUTED = "if this array was computed from another (anomalies, means), the attribute no longer applies"


@dataclass(frozen=True)
class Decoding:
    """How the numbers of an array become values with NaN.

    Attributes
    ----------
    name
        What messages call the array.
    missing
        Integers that mean missing.
    doubtful
        Numbers among floats that may mean missing although decoded arrays have NaN there, each with the attribute that
        says so; "" for what the NetCDF library leaves where nothing was written. They may not occur.
    valid
        The smallest and the largest valid value: no value may be outside.
    limits
        The attributes that say so.
    rounding
        The part of a limit by which values may be beyond it.
    """

    name: str
    missing: tuple[float, ...] = ()
    doubtful: tuple[tuple[float, str], ...] = ()
    valid: tuple[float, float] = (-math.inf, math.inf)
    limits: tuple[str, ...] = ()
    rounding: float = 0.0

    def dtype(self, stored: np.dtype[Any]) -> np.dtype[Any]:
        """Return the type of the values: float32 if that loses nothing, else float64."""
        narrow = stored == np.float16 or lossless_in_float32(stored.name)
        return np.dtype(np.float32 if narrow else np.float64)

    def __call__(self, stored: NDArray[Any]) -> NDArray[Any]:
        """Return values, NaN where missing and where infinite: the numbers themselves if they are values already.

        Raises
        ------
        InputError
            When a number occurs of which nobody knows whether it is a value.
        """
        self._refuse_doubtful(stored)
        dtype = self.dtype(stored.dtype)
        usable = stored.dtype == dtype and stored.dtype.isnative and stored.flags.c_contiguous
        # A look is faster than a copy: most arrays hold nothing infinite.
        if usable and not any(np.isinf(layer).any() for layer in stored):
            return stored
        if stored.dtype.kind == "f":
            values = np.array(stored, dtype=dtype, order="C")
            flat = values.reshape(-1)
            unpack(flat, np.empty((0, 2), dtype), 1.0, 0.0, -math.inf, math.inf, flat)
            return values
        values = np.empty(stored.shape, dtype)
        # Kernels read numbers of this machine, one after the other.
        plain = np.ascontiguousarray(stored, dtype=stored.dtype.newbyteorder("="))
        bounds = nodata_bounds(self.missing, plain.dtype)
        unpack(plain.reshape(-1), bounds, 1.0, 0.0, -math.inf, math.inf, values.reshape(-1))
        return values

    def _beyond(self, limit: float) -> float:
        """Return an upper limit that allows for rounding; integers stay exact."""
        return limit + abs(limit) * self.rounding if self.rounding and math.isfinite(limit) else limit

    def _refuse_doubtful(self, stored: NDArray[Any]) -> None:
        for number, attribute in self.doubtful:
            found = np.count_nonzero(stored == stored.dtype.type(number))
            if not found:
                continue
            text = spelled(number, stored.dtype)
            missing = f"array.where(array != {text}) makes it missing"
            if not attribute:
                who, remedy = "the NetCDF library leaves where nothing was written", missing
            else:
                who = f"its attribute {attribute} calls missing"
                remedy = f"{COMPUTED}: del array.attrs[{attribute!r}]; if it means missing here too, {missing}"
            raise InputError(
                f"{self.name}: {text}, which {who}, occurs {found} times in {stored.size} values: {remedy}"
            )
        if not self.limits:
            return
        low, high = self.valid
        with np.errstate(over="ignore"):  # float16 has no large limits
            least, most = (sign * self._beyond(sign * limit) for sign, limit in ((-1, low), (1, high)))
            odd = ((stored < least) | (stored > most)) & ~np.isinf(stored)
        if self.missing:
            odd &= ~np.isin(stored, self.missing)
        if odd.any():
            bounds = {">=": low, "<=": high}
            tests = [f"(array {sign} {spelled(limit)})" for sign, limit in bounds.items() if math.isfinite(limit)]
            delete = ", ".join(f"array.attrs[{name!r}]" for name in self.limits)
            raise InputError(
                f"{self.name}: {np.count_nonzero(odd)} of {stored.size} values, such as "
                f"{spelled(stored[odd][0], stored.dtype)}, are outside what its {' and '.join(self.limits)} calls "
                f"valid: {COMPUTED}: del {delete}; if they are errors of the data, array.where({' & '.join(tests)}) "
                "makes them missing"
            )


@dataclass(frozen=True, eq=False)
class ArrayStack:
    """The pixels of an array as a stack; further dimensions are planes below each other.

    Attributes
    ----------
    values
        (time, ..., y, x) NumPy or dask array.
    axis
        Dates of its layers.
    grid
        Where its pixels are; with further dimensions, a grid of all planes.
    decoding
        What its numbers mean.
    unit
        Unit of the values, empty if unknown.
    remarks
        What a user should know about it; one line each.
    gap
        Rows of missing values below each plane, so that no pixel has neighbours in another plane.
    """

    values: Any
    axis: TimeAxis
    grid: Grid
    decoding: Decoding
    unit: str = ""
    remarks: tuple[str, ...] = ()
    gap: int = 0

    @property
    def layout(self) -> Layout:
        """How best to read it: by the chunks of a lazy array."""
        chunks = getattr(self.values, "chunks", None)
        rows, columns = (ROWS, COLUMNS) if chunks is None else (max(chunks[-2]), max(chunks[-1]))
        return Layout(
            block_height=min(rows, self.grid.height),
            block_width=min(columns, self.grid.width),
            itemsize=self.decoding.dtype(self.values.dtype).itemsize,
            stored_bytes_per_pixel=len(self.axis) * self.values.dtype.itemsize,
            scratch_bytes_per_pixel=len(self.axis) * self.values.dtype.itemsize,
            unit=self.unit,
        )

    def take(self, indices: Sequence[int]) -> ArrayStack:
        """Return the stack of some of its layers, in order."""
        rows = list(indices)
        axis = TimeAxis(self.axis.dates[rows], self.axis.years[rows], self.axis.precision, self.axis.calendar)
        return replace(self, values=self.values[rows], axis=axis)

    def read(self, block: Block) -> NDArray[Any]:
        """Return (time, y, x) values of a block, NaN where missing."""
        planes = self.values.shape[1:-2]
        height = self.values.shape[-2]
        columns = slice(block.col, block.col + block.width)
        dtype = self.decoding.dtype(self.values.dtype)
        parts = []
        row, end = block.row, block.row + block.height
        while row < end:
            number, top = divmod(row, height + self.gap)
            bottom = min(top + end - row, height + self.gap)
            if top < height:
                plane = self.values[(slice(None), *np.unravel_index(number, planes))] if planes else self.values
                parts.append(self._read_plane(plane[:, top : min(bottom, height), columns]))
            if bottom > height:
                below = bottom - max(top, height)
                parts.append(np.full((len(self.axis), below, block.width), np.nan, dtype))
            row += bottom - top
        return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)

    def _read_plane(self, part: Any) -> NDArray[Any]:
        # Blocks are the engine's to compute in parallel; dask's own threads would multiply with them.
        stored = part if isinstance(part, np.ndarray) else np.asarray(part.compute(scheduler="synchronous"))
        return self.decoding(stored)


def grid_without_place(values: Any, gap: int = 0) -> Grid:
    """Return a grid with a pixel for each of an array's, anywhere: (time, ..., y, x), and rows between planes."""
    planes = math.prod(values.shape[1:-2])
    return Grid(None, Affine.identity(), planes * (values.shape[-2] + gap), values.shape[-1])
