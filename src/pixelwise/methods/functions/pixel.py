"""Methods that call a user's function for one pixel's series at a time.

`per_pixel` marks a function and leaves it a plain function; `as_method` turns it into a `Method`. Pixels at which the
function raises get status 5; other pixels are not affected.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pixelwise.bands import Band, Floats, Status
from pixelwise.dates.axis import TimeAxis
from pixelwise.errors import FunctionError
from pixelwise.kernels.jit import import_numba
from pixelwise.methods.functions.base import UserFunction, mixed_pixels, status_of
from pixelwise.methods.functions.calls import Call
from pixelwise.methods.functions.results import (
    BLOCK_WIDTH,
    FAILURES,
    not_learnt,
    numbered,
    row_of,
    stop,
    user_traceback,
)

if TYPE_CHECKING:
    from pixelwise.methods.functions.compiled import CompiledLoop

__all__ = ["SMALL_JOB", "BoundPixelFunction", "PixelFunction"]

log = logging.getLogger(__name__)

# Number of pixels on which a function is tried if it is not compiled.
FEW_PIXELS = 4
# Jobs of up to this many values (pixels times dates) run in plain Python on threads by default. Compiling takes 1 to 3
# s including numba's import, and worker processes take 1.4 s to start; a call in plain Python takes 10 to 60 us, or 250
# us with two nested loops over 21 dates: 0.1 to 0.4 s, or 1.6 s, for 6241 pixels of 21 dates. The decision does not
# depend on measured time, because the next run must give the same digits, and refuse the same functions.
SMALL_JOB = 1 << 17
# Compiled and plain results count as equal up to this relative difference.
TOLERANCE = 1e-12


@dataclass(frozen=True)
class PixelFunction(UserFunction):
    """A user's function of one pixel's series.

    Attributes
    ----------
    gaps
        Whether it also gets the missing values.
    jit
        True: compile, or raise an error. False: never compile. None: compile if the results are the same.
    loop
        The compiled loop, if `rehearse` found that it agrees with plain Python.
    """

    gaps: bool = False
    jit: bool | None = None
    loop: CompiledLoop | None = field(default=None, repr=False, compare=False)

    @property
    def parameters(self) -> dict[str, Any]:
        """Function, file, source text and parameters, for the map's provenance."""
        return {**super().parameters, "gaps": self.gaps}

    def rehearse(self, axis: TimeAxis, sample: Callable[[], Floats], pixels: int | None = None) -> PixelFunction:
        """Learn the bands from one pixel, and decide whether the function runs compiled.

        The decision depends on the function, the sample and the size of the whole job, never on time or blocks.

        Raises
        ------
        FunctionError
            When the bands cannot be learnt from any pixel, the function returns anything but one number per band, or
            ``jit=True`` and it cannot run compiled.
        """
        if self.decision:
            return self
        known = self.fingerprint()
        rows = mixed_pixels(sample(), self.min_obs)
        plain = replace(self, returned=self.returned or self._learn(axis, rows), known=known)
        plain = plain._on_few(axis, rows[:FEW_PIXELS])
        loop, why_not = plain._try(axis, rows, pixels)
        if self.jit and loop is None:
            raise FunctionError(f"{self.name} cannot run compiled: {why_not}")
        decision = "compiled" if loop else f"plain Python: {why_not}"
        log.info("%s: %s", self.name, decision)
        return replace(plain, loop=loop, decision=decision)

    def _on_few(self, axis: TimeAxis, rows: Floats) -> PixelFunction:
        """Find out what kind of values it returns; a wrong number of values raises an error here."""
        if not len(rows):
            return self
        bound = replace(self, strict=False).bind(axis, None, {})
        try:
            table, _ = bound.compute(rows)
            again, _ = bound.compute(rows[:1])
        except MemoryError:  # the job will report it
            return self
        varying = not np.array_equal(table[:, :1], again, equal_nan=True)
        return replace(self, whole=self._whole(table), varying=varying)

    def bind(self, axis: TimeAxis, bands: Sequence[str] | None, inputs: Mapping[str, TimeAxis]) -> BoundPixelFunction:
        """Fix the dates and the bands."""
        return BoundPixelFunction(**self._bound(axis, bands, inputs), gaps=self.gaps, loop=self.loop)

    def _learn(self, axis: TimeAxis, rows: Floats) -> tuple[Band, ...]:
        arrays = self.call.arrays(axis)
        failure = ""
        for row in rows:
            try:
                with np.errstate(all="ignore"):
                    result = _call_on(self.call, arrays, row, ~np.isnan(row), self.gaps)
            except FAILURES as error:
                failure = failure or user_traceback(error)
                continue
            return numbered(row_of(result, self.name, None).size)
        raise not_learnt(self.name, len(rows), failure)

    def _try(self, axis: TimeAxis, rows: Floats, pixels: int | None) -> tuple[CompiledLoop | None, str]:
        """Return the compiled loop, or None and the reason."""
        if self.jit is False:
            return None, "jit=False"
        if not len(rows):
            return None, "there was no pixel to try it on"
        if self.varying:
            return None, "it returns different values on each call"
        if self.jit is None and pixels is not None and pixels * len(axis) <= SMALL_JOB:
            return None, f"compiling would take longer than {pixels} pixels"
        bound = replace(self, strict=False).bind(axis, None, {})
        import_numba()  # which costs 0.5 s
        from pixelwise.methods.functions.compiled import CannotCompile, CompiledLoop

        call = self.call
        loop = CompiledLoop(call.function, call.positional, call.named, call.keywords, len(bound.names), self.gaps)
        try:
            loop.prepare()
        except CannotCompile as why:
            return None, str(why)
        table, status = bound.compute(rows)
        difference = _difference(table[:-1], status == Status.FUNCTION_FAILED, *bound.run_compiled(loop, rows))
        if difference and loop.used_before:
            loop.forget()
            difference = _difference(table[:-1], status == Status.FUNCTION_FAILED, *bound.run_compiled(loop, rows))
        return (None, difference) if difference else (loop, "")


def _difference(plain: Floats, plain_failed: Any, compiled: Floats, compiled_failed: Any) -> str:
    """Describe how compiled results differ from plain ones; empty if they do not."""
    if plain_failed.all():
        return "it failed on every pixel that it was tried on"
    if (plain_failed != compiled_failed).any():
        return "compiled, it fails on other pixels"
    a, b = plain[:, ~plain_failed], compiled[:, ~plain_failed]
    with np.errstate(invalid="ignore"):
        near = np.abs(a - b) <= TOLERANCE * np.maximum(np.abs(a), np.abs(b))
    near |= (a == b) | (np.isnan(a) & np.isnan(b))
    if near.all():
        return ""
    return f"compiled, it gives different numbers ({float(b[~near][0])!r}, not {float(a[~near][0])!r})"


def _call_on(call: Call, arrays: Sequence[NDArray[Any]], row: Floats, valid: NDArray[np.bool_], gaps: bool) -> Any:
    """Call a function on one pixel, with arrays that it may modify."""
    if gaps:
        return call(row.copy(), [array.copy() for array in arrays])
    return call(row[valid], [array[valid] for array in arrays])


@dataclass(frozen=True, eq=False)
class BoundPixelFunction:
    """A user's function of one pixel's series, bound to dates and bands.

    Attributes
    ----------
    call
        The function, and how it is called.
    bands
        The bands to compute.
    names
        Names of the values that the function returns.
    rows
        Index of each of them in `names` and ``n``.
    arrays
        (time,) arrays that the function gets besides the values.
    min_obs, gaps, strict, loop
        As in `PixelFunction`.
    """

    call: Call
    bands: tuple[Band, ...]
    names: tuple[str, ...]
    rows: tuple[int, ...]
    arrays: tuple[NDArray[Any], ...]
    min_obs: int
    gaps: bool
    strict: bool
    loop: CompiledLoop | None
    halo: int = 0

    @property
    def releases_gil(self) -> bool:
        """Whether threads run it in parallel."""
        return self.loop is not None

    def __call__(
        self, inputs: tuple[NDArray[Any], ...], dtype: str = "float64"
    ) -> tuple[NDArray[Any], NDArray[np.uint8]]:
        """Compute one block; see `BoundMethod`."""
        block = inputs[0]
        pixels = block.shape[1]
        # In float64 whatever the type of the map: the caller checks for whole numbers lost by rounding.
        values = np.empty((len(self.rows), pixels))
        status = np.empty(pixels, dtype=np.uint8)
        for start in range(0, pixels, BLOCK_WIDTH):
            part = slice(start, start + BLOCK_WIDTH)
            # A copy with contiguous series: functions never get a view of the block.
            rows = np.array(block[:, part].T, dtype=np.float64, order="C")
            table, status[part] = self.compute(rows, self.loop)
            values[:, part] = table[list(self.rows)]
        return values, status

    def compute(self, rows: Floats, loop: CompiledLoop | None = None) -> tuple[Floats, NDArray[np.uint8]]:
        """Compute (pixel, time) series.

        Returns
        -------
        table : (band, pixel), everything that the function returns, then ``n``
        status : (pixel,)
        """
        valid = ~np.isnan(rows)
        counts = np.count_nonzero(valid, axis=1)
        status = status_of(counts, self.min_obs)
        table = np.full((len(self.names) + 1, len(rows)), np.nan)
        table[-1] = counts
        again = status == Status.OK
        if loop is not None:
            table[:-1], failed = self.run_compiled(loop, rows)
            # Compiled code gives NaN or inf where Python's math raises, so these pixels are computed again.
            again &= failed | ~np.isfinite(table[:-1]).all(axis=0)
        with np.errstate(all="ignore"):
            for pixel in np.flatnonzero(again):
                try:
                    result = _call_on(self.call, self.arrays, rows[pixel], valid[pixel], self.gaps)
                except MemoryError:  # depends on the machine, not on the pixel
                    raise
                except FAILURES as error:
                    if self.strict:
                        raise stop(self.call.name, error, rows[pixel]) from error
                    table[:-1, pixel] = np.nan
                    status[pixel] = Status.FUNCTION_FAILED
                else:
                    table[:-1, pixel] = row_of(result, self.call.name, self.names)
        return table, status

    def run_compiled(self, loop: CompiledLoop, rows: Floats) -> tuple[Floats, NDArray[np.bool_]]:
        """Run compiled code on (pixel, time) series: (band, pixel) values, and which pixels failed."""
        counts = np.count_nonzero(~np.isnan(rows), axis=1)
        values = np.full((len(self.names), len(rows)), np.nan)
        failed = np.zeros(len(rows), dtype=np.bool_)
        loop(rows, counts, self.min_obs, self.arrays, values, failed)
        return values, failed

    def traceback_of(self, series: NDArray[Any]) -> str | None:
        """Run one pixel in plain Python and return the user's own traceback.

        Parameters
        ----------
        series
            (time,) numbers, NaN where missing.

        Returns
        -------
        str or None
            None if the function does not fail, or is not called.
        """
        row = np.array(series, dtype=np.float64)
        valid = ~np.isnan(row)
        if np.count_nonzero(valid) < self.min_obs:
            return None
        try:
            with np.errstate(all="ignore"):
                _call_on(self.call, self.arrays, row, valid, self.gaps)
        except FAILURES as error:
            return user_traceback(error)
        return None
