"""Methods that call a user's vectorised function of many pixels."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixelwise.bands import Band, Floats, Status
from pixelwise.dates.axis import TimeAxis
from pixelwise.methods.functions.base import UserFunction, mixed_pixels, status_of
from pixelwise.methods.functions.calls import Call
from pixelwise.methods.functions.results import (
    BLOCK_WIDTH,
    FAILURES,
    band_table,
    not_learnt,
    numbered,
    stop,
    user_traceback,
)

__all__ = ["BlockFunction", "BoundBlockFunction"]


@dataclass(frozen=True)
class BlockFunction(UserFunction):
    """A user's vectorised function of many pixels."""

    def rehearse(self, axis: TimeAxis, sample: Callable[[], Floats], pixels: int | None = None) -> BlockFunction:
        """Try the function on a few pixels to learn its bands, unless they have names, and the kind of its values.

        Raises
        ------
        FunctionError
            When the function fails on every pixel, or returns anything but (band, pixel).
        """
        if self.decision:
            return self
        known = self.fingerprint()
        block = mixed_pixels(sample(), self.min_obs).T
        learnt = replace(self, returned=self.returned or self._learn(axis, block), known=known)
        learnt = replace(learnt, decision="plain Python: it works on blocks")
        bound = replace(learnt, strict=False).bind(axis, None, {})
        try:
            table, again = bound((block,))[0], bound((block,))[0]
        except MemoryError:  # the job will report it
            return learnt
        varying = not np.array_equal(table, again, equal_nan=True)
        return replace(learnt, whole=learnt._whole(table), varying=varying)

    def bind(self, axis: TimeAxis, bands: Sequence[str] | None, inputs: Mapping[str, TimeAxis]) -> BoundBlockFunction:
        """Fix the dates and the bands."""
        return BoundBlockFunction(**self._bound(axis, bands, inputs))

    def _learn(self, axis: TimeAxis, block: Floats) -> tuple[Band, ...]:
        arrays = self.call.arrays(axis)
        failure = ""
        everything = np.arange(block.shape[1])
        # All together, then one by one, because the function may fail on a few of them.
        for pixels in [everything, *everything[:, None]] if everything.size else []:
            try:
                result = _call_on_block(self.call, arrays, block, pixels)
            except FAILURES as error:
                failure = failure or user_traceback(error)
                continue
            return numbered(len(band_table(result, self.name, None)))
        raise not_learnt(self.name, everything.size, failure)


def _call_on_block(call: Call, arrays: Sequence[NDArray[Any]], block: NDArray[Any], pixels: NDArray[Any]) -> Any:
    """Call a vectorised function on some pixels, with arrays that it may change."""
    values = np.take(block, np.resize(pixels, BLOCK_WIDTH), axis=1).astype(np.float64, copy=False)
    with np.errstate(all="ignore"):
        return call(values, [array.copy() for array in arrays])


@dataclass(frozen=True, eq=False)
class BoundBlockFunction:
    """A user's vectorised function, bound to dates and bands; attributes as in `BoundPixelFunction`."""

    call: Call
    bands: tuple[Band, ...]
    names: tuple[str, ...]
    rows: tuple[int, ...]
    arrays: tuple[NDArray[Any], ...]
    min_obs: int
    strict: bool
    halo: int = 0
    releases_gil: bool = True

    def __call__(
        self, inputs: tuple[NDArray[Any], ...], dtype: str = "float64"
    ) -> tuple[NDArray[Any], NDArray[np.uint8]]:
        """Compute one block; see `BoundMethod`."""
        block = inputs[0]
        counts = np.count_nonzero(~np.isnan(block), axis=0)
        status = status_of(counts, self.min_obs)
        # In float64 whatever the type of the map, as in `BoundPixelFunction`.
        table = np.full((len(self.names) + 1, block.shape[1]), np.nan)
        table[-1] = counts
        todo = np.flatnonzero(status == Status.OK)
        parts = [todo[start : start + BLOCK_WIDTH] for start in range(0, todo.size, BLOCK_WIDTH)]
        while parts:
            pixels = parts.pop()
            try:
                result = _call_on_block(self.call, self.arrays, block, pixels)
            except FAILURES as error:
                if pixels.size > 1:
                    # Halve until only failing pixels are left: the others keep their values.
                    parts += [pixels[: pixels.size // 2], pixels[pixels.size // 2 :]]
                    continue
                if isinstance(error, MemoryError):  # depends on the machine, not on the pixel
                    raise
                if self.strict:
                    raise stop(self.call.name, error, block[:, pixels[0]]) from error
                status[pixels] = Status.FUNCTION_FAILED
            else:
                table[:-1, pixels] = band_table(result, self.call.name, self.names)[:, : pixels.size]
        return table[list(self.rows)], status

    def traceback_of(self, series: NDArray[Any]) -> str | None:
        """Run one pixel and return the user's own traceback; None if the function does not fail.

        Parameters
        ----------
        series
            (time,) numbers, NaN where missing.
        """
        block = np.array(series, dtype=np.float64)[:, None]
        if np.count_nonzero(~np.isnan(block)) < self.min_obs:
            return None
        try:
            _call_on_block(self.call, self.arrays, block, np.arange(1))
        except FAILURES as error:
            return user_traceback(error)
        return None
