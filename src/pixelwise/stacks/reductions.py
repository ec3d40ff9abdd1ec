"""Composites: the layers of one period reduced to one."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, get_args

import numpy as np

from pixelwise.choices import Reduction
from pixelwise.errors import ParameterError
from pixelwise.kernels.jit import readonly
from pixelwise.words import not_a_choice, shown

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import DTypeLike, NDArray

__all__ = ["REDUCTIONS", "Composite", "names_function"]

#: What `Composite.how` may be, besides percentiles.
REDUCTIONS: Final = get_args(Reduction)
PERCENTILES: Final = "p1..p99"

#: Results that are stored values; all others are new numbers.
SELECTING: Final = ("max", "min", "medoid")
WHOLE: Final = ("count", "date_of_max")

#: Pixels copied at a time for a random draw: 300 layers of float32 are 2.5 MB.
DRAWN: Final = 2048

WORD: Final = (1 << 64) - 1


def names_function(how: str) -> bool:
    """Whether a composite is a ``file.py:function`` to run, rather than the name of a built-in one."""
    return ".py:" in how


@dataclass(frozen=True, slots=True)
class Composite:
    """How the layers of one period become one.

    Attributes
    ----------
    how
        A `Reduction`, or ``p1`` to ``p99``: a percentile, interpolated as numpy.quantile does.
    min_count
        A pixel with fewer valid observations in the period is missing.
    equal_count
        Use exactly this many of a pixel's valid observations, drawn at random; a pixel with fewer is missing.
        A maximum of more observations is larger: equal counts keep a trend in their number out of the result.
    seed
        Seed of the draw, which depends on it, on the pixel's row and column and on the period, but not on blocks.
    """

    how: str = "max"
    min_count: int = 1
    equal_count: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.how not in REDUCTIONS and self.percentile is None:
            if re.fullmatch(r"p-?\d+(\.\d+)?", str(self.how)):
                raise ParameterError(
                    f"composite={self.how!r} is not a percentile: expected a whole number, {PERCENTILES} "
                    "(use min and max for p0 and p100)"
                )
            raise not_a_choice("composite", self.how, [*REDUCTIONS, PERCENTILES])
        for name, least in (("min_count", 1), ("equal_count", 1), ("seed", 0)):
            value = getattr(self, name)
            if value is None and name == "equal_count":
                continue
            if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= WORD:
                raise ParameterError(f"{name}={shown(value)} is not a whole number of at least {least}")
        if self.how == "count":
            for name, usual in (("min_count", 1), ("equal_count", None)):
                value = getattr(self, name)
                if value != usual:
                    raise ParameterError(
                        f"{name}={value} cannot be combined with composite='count', which counts all: leave it out"
                    )
        if self.equal_count is not None and self.min_count > self.equal_count:
            raise ParameterError(
                f"min_count={self.min_count} is more than equal_count={self.equal_count}, "
                "so every pixel would be missing: leave min_count out"
            )

    @property
    def percentile(self) -> int | None:
        """The number in ``p10``; None if it is not a percentile."""
        match = re.fullmatch(r"p([1-9]\d?)", str(self.how), re.ASCII)
        return int(match[1]) if match else None

    def dtype(self, stored: DTypeLike) -> np.dtype[Any]:
        """Return the type of the result for values of type `stored`.

        Maxima, minima and medoids are float32 if that holds the stored values exactly. Counts and days are whole
        numbers that float32 holds exactly. Everything else is float64.
        """
        if self.how in WHOLE or (self.how in SELECTING and np.can_cast(stored, np.float32)):
            return np.dtype(np.float32)
        return np.dtype(np.float64)

    def reduce(
        self,
        values: NDArray[Any],
        out: NDArray[Any],
        days: NDArray[np.int64] | None = None,
        cell: tuple[int, int, int] | None = None,
        ordinal: int = 0,
        by: NDArray[Any] | None = None,
    ) -> None:
        """Reduce the layers of a period.

        Parameters
        ----------
        values
            (time, pixel) float32 or float64 in time order, NaN where missing.
        out
            (pixel,) of `dtype` or wider, to be filled.
        days
            (time,) day numbers as in `Periods.days`; for ``date_of_max`` only.
        cell
            Row and column of the first pixel on the whole grid, and the width of the block; for `equal_count`
            only.
        ordinal
            The period's number, as in `Periods.ordinals`; for `equal_count` only.
        by
            (time, pixel), for ``max`` and ``min``: the result is the value of the layer in which `by` is largest
            or smallest. Observations count where both are valid.

        Raises
        ------
        ParameterError
            When shapes or types do not fit, or something is missing.
        """
        self._check(values, out, days, cell, by)
        values = readonly(np.ascontiguousarray(values))
        by = None if by is None else readonly(np.ascontiguousarray(by))
        if self.equal_count is None:
            self._reduce(values, out, days, by)
            return
        assert cell is not None  # noqa: S101
        for part, drawn, drawn_by in self._draw(values, by, self.equal_count, cell, ordinal):
            self._reduce(drawn, out[part], days, drawn_by)

    def _check(
        self,
        values: NDArray[Any],
        out: NDArray[Any],
        days: NDArray[np.int64] | None,
        cell: tuple[int, int, int] | None,
        by: NDArray[Any] | None,
    ) -> None:
        if values.ndim != 2 or len(values) == 0 or values.dtype not in (np.float32, np.float64):
            raise ParameterError(
                f"values are {values.dtype} of shape {values.shape}: expected (time, pixel) float32 or float64"
            )
        layers, pixels = values.shape
        wanted = self.dtype(values.dtype)
        if out.shape != (pixels,) or out.dtype not in (wanted, np.float64) or not out.flags.c_contiguous:
            raise ParameterError(
                f"out is {out.dtype} of shape {out.shape}: expected contiguous {wanted} of shape ({pixels},)"
            )
        if self.how == "date_of_max" and (days is None or days.shape != (layers,)):
            given = "no days are given" if days is None else f"days have shape {days.shape}"
            raise ParameterError(f"how='date_of_max' needs the day of each of {layers} layers, but {given}")
        if self.equal_count is not None and (cell is None or cell[2] < 1):
            raise ParameterError(f"equal_count needs the cell of the first pixel (row, column, width), not {cell}")
        if by is not None and self.how not in ("max", "min"):
            raise ParameterError(f"by works only with how='max' or 'min', not with {self.how!r}")
        if by is not None and (by.shape != values.shape or by.dtype not in (np.float32, np.float64)):
            raise ParameterError(
                f"by is {by.dtype} of shape {by.shape}: expected float32 or float64 of shape {values.shape}"
            )

    def _reduce(
        self, values: NDArray[Any], out: NDArray[Any], days: NDArray[np.int64] | None, by: NDArray[Any] | None
    ) -> None:
        """Reduce what is left after a draw, all arrays checked and contiguous."""
        from pixelwise.kernels import composites as kernels

        counts = np.empty(kernels.CHUNK, np.int32)
        sign = values.dtype.type(-1 if self.how == "min" else 1)
        if self.how == "count":
            kernels.count_valid(values, counts, out)
        elif self.how in ("mean", "sum"):
            sums = np.empty(kernels.CHUNK, np.float64)
            kernels.add_up(values, self.how == "mean", self.min_count, counts, sums, out)
        elif self.how == "date_of_max" or by is not None:
            keys = values if by is None else by
            layer = np.empty(values.shape[1], np.int32)
            best = np.empty(kernels.CHUNK, keys.dtype)
            kernels.find_layer(keys, values, keys.dtype.type(sign), self.min_count, counts, best, layer)
            # -1 means the last layer here, and NaN below.
            found = days[layer] if by is None and days is not None else values[layer, np.arange(layer.size)]
            np.copyto(out, np.where(layer >= 0, found, np.nan), casting="same_kind")
        elif self.how in ("max", "min"):
            kernels.find_extreme(values, sign, self.min_count, counts, out)
        else:
            table = np.empty((len(values), kernels.SORTED), values.dtype)
            quantile = 0.5 if self.percentile is None else self.percentile / 100
            kernels.find_quantile(
                values,
                quantile,
                self.how != "medoid" and self.percentile is None,
                self.how == "medoid",
                self.min_count,
                table,
                counts,
                out,
            )

    def _draw(
        self,
        values: NDArray[Any],
        by: NDArray[Any] | None,
        wanted: int,
        cell: tuple[int, int, int],
        ordinal: int,
    ) -> Iterator[tuple[slice, NDArray[Any], NDArray[Any] | None]]:
        """Yield slices of pixels, and their values (and `by`) with all but the drawn observations missing."""
        from pixelwise.kernels import composites as kernels

        layers, pixels = values.shape
        row, column, width = cell
        key = np.uint64(self.seed), np.uint64(ordinal & WORD)
        for start in range(0, pixels, DRAWN):
            place = kernels.Place(start, np.uint64(row & WORD), np.uint64(column & WORD), width)
            size = min(DRAWN, pixels - start)
            counts, states = np.empty((2, size), np.int64), np.empty(size, np.uint64)
            drawn = []
            for array, other in [(values, values)] if by is None else [(values, by), (by, values)]:
                copy = np.empty((layers, size), array.dtype)
                # Compiled code never warns; with NUMBA_DISABLE_JIT, the overflowing products of hashes would.
                with np.errstate(over="ignore"):
                    kernels.draw(array, other, wanted, key, place, counts, states, copy)
                drawn.append(readonly(copy))
            yield slice(start, start + size), drawn[0], drawn[1] if by is not None else None
