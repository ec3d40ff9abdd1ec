"""Descriptive statistics of each pixel's values: level, spread, quantiles, first and last."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from pixelwise.bands import Band, Floats
from pixelwise.dates.axis import TimeAxis
from pixelwise.errors import ParameterError
from pixelwise.kernels.jit import readonly
from pixelwise.method import Method, select_bands
from pixelwise.methods.binding import BoundKernel, check_whole, only_the_response, series_of

__all__ = ["Summary", "summary"]

# The order is that of the kernel's results (kernels/summary.py), quantiles after them.
BANDS = (
    Band("n", "Number of valid observations", integer=True, kind="count"),
    Band("mean", "Arithmetic mean", "{value}", kind="level"),
    Band("sd", "Standard deviation (n - 1)", "{value}", kind="level"),
    Band("min", "Smallest value", "{value}", kind="level"),
    Band("max", "Largest value", "{value}", kind="level"),
    Band("first", "First valid value", "{value}", kind="level"),
    Band("last", "Last valid value", "{value}", kind="level"),
    Band("cv", "Coefficient of variation: standard deviation over the size of the mean", kind="level"),
    Band("first_time", "When the first valid value was observed", "year", optional=True, kind="time"),
    Band("last_time", "When the last valid value was observed", "year", optional=True, kind="time"),
)
COUNT, MEAN, SD, MIN, MAX, FIRST, LAST, CV, FIRST_TIME, LAST_TIME = BANDS


def summary(*, quantiles: str | Sequence[str] = "median", min_obs: int = 2) -> Method:
    """Describe each pixel's values: mean, spread, quantiles, first and last.

    With the ``n`` valid values ``y``::

        mean = sum(y) / n
        sd   = sqrt(sum((y - mean)**2) / (n - 1))
        cv   = sd / abs(mean)

    A quantile ``q`` is at position ``(n - 1) * q`` of the sorted values, interpolated linearly between neighbours: the
    default of `numpy.quantile`, definition 7 of Hyndman & Fan. The median of an even number of values is the mean of
    the middle two.

    Parameters
    ----------
    quantiles
        ``median`` and ``p1`` to ``p99``, separated by commas or in a sequence; ``none`` for none. Each becomes a band
        of that name.
    min_obs
        Minimum number of valid values per pixel, at least 2, as a single value has no spread.

    Returns
    -------
    Method
        Bands ``mean``, ``sd``, ``min``, the quantiles, ``max``, ``first``, ``last`` (value), ``cv`` (no unit), ``n``;
        on request ``first_time`` and ``last_time`` (decimal years, which float32 holds to half an hour).

    Raises
    ------
    ParameterError
        When a quantile is unknown or given twice, or `min_obs` is below 2.

    Notes
    -----
    The status of a pixel is the first of these that applies:

    - 1 no valid value, 2 fewer than `min_obs`: all bands but ``n`` are NaN;
    - 6 a value is infinite, or the sum of squares lies beyond 1e290 or, though values differ, below 1e-290, where
      squares overflow or underflow float64: ``sd`` and ``cv`` are NaN, the others as computed.

    A constant series has status 0 and an ``sd`` of exactly 0. ``cv`` is NaN if the mean is exactly 0, and says little
    if the values have both signs or no natural zero (degrees Celsius, anomalies).

    References
    ----------
    Hyndman, R. J. & Fan, Y. (1996). Sample quantiles in statistical packages. The American Statistician 50, 361-365.

    Examples
    --------
    >>> found = summary()([[1.0], [3.0], [8.0]], [2000, 2001, 2002])
    >>> float(found["mean"][0]), float(found["median"][0])
    (4.0, 3.0)
    """
    return Summary(quantiles, min_obs)


@dataclass(frozen=True)
class Summary(Method):
    """Descriptive statistics; see `summary`."""

    quantiles: str | Sequence[str] = "median"
    min_obs: int = 2

    name: ClassVar[str] = "summary"

    def __post_init__(self) -> None:
        check_whole(self.name, "min_obs", self.min_obs, 2, "as a single value has no spread")
        given = self.quantiles
        names = tuple(text.strip() for text in given.split(",")) if isinstance(given, str) else tuple(given)
        object.__setattr__(self, "quantiles", () if names == ("none",) else names)
        for name in self.quantiles:
            if not re.fullmatch(r"median|p[1-9]\d?", name, re.ASCII):
                raise ParameterError(f"quantile {name!r} of {self.name} is unknown; expected median or p1 to p99")
            if self.quantiles.count(name) > 1:
                raise ParameterError(f"quantile {name!r} of {self.name} is given twice")

    @property
    def bands(self) -> tuple[Band, ...]:
        """All bands, the mean first."""
        return (MEAN, SD, MIN, *self._quantile_bands, MAX, FIRST, LAST, CV, FIRST_TIME, LAST_TIME, COUNT)

    @property
    def _quantile_bands(self) -> tuple[Band, ...]:
        words = {name: "Median" if name == "median" else f"Percentile {name[1:]}" for name in self.quantiles}
        return tuple(Band(name, text, "{value}", kind="level") for name, text in words.items())

    def bind(self, axis: TimeAxis, bands: Sequence[str] | None, inputs: Mapping[str, TimeAxis]) -> BoundSummary:
        """Select the quantiles to compute."""
        only_the_response(self.name, inputs)
        chosen = select_bands(self, bands)
        quantiles = [band.name for band in chosen if band in self._quantile_bands]
        rows = [BANDS.index(band) if band in BANDS else len(BANDS) + quantiles.index(band.name) for band in chosen]
        return BoundSummary(
            bands=chosen,
            rows=np.array(rows, dtype=np.int64),
            # Negative means the median, which is rounded differently from p50.
            shares=np.array([-1.0 if name == "median" else int(name[1:]) / 100 for name in quantiles]),
            times=axis.years,
            min_obs=self.min_obs,
        )


@dataclass(frozen=True, eq=False)
class BoundSummary(BoundKernel):
    """`summary` bound to dates and bands.

    Attributes
    ----------
    rows
        Row of each band in the results of the kernel.
    shares
        The quantiles to compute, -1 for the median.
    times
        (time,) decimal years.
    min_obs
        Minimum number of valid values.
    """

    rows: NDArray[np.int64]
    shares: Floats
    times: Floats
    min_obs: int

    def __call__(
        self, inputs: tuple[NDArray[Any], ...], dtype: str = "float64"
    ) -> tuple[NDArray[Any], NDArray[np.uint8]]:
        """Compute one block; float64 stays float64, so that the caller notices whole numbers lost by rounding."""
        return super().__call__(inputs, "float64" if inputs[0].dtype == np.float64 else dtype)

    def fill(self, inputs: tuple[NDArray[Any], ...], result: NDArray[Any], status: NDArray[np.uint8]) -> None:
        """Describe the pixels of one block."""
        from pixelwise.kernels.output import output_into
        from pixelwise.kernels.scratch import aligned
        from pixelwise.kernels.summary import CHUNK, RESULTS, SUMS, summarise

        values = series_of("summary", inputs, len(self.times))
        summarise(
            values,
            readonly(self.times),
            self.min_obs,
            readonly(self.shares),
            aligned(SUMS + RESULTS + len(self.shares), CHUNK),
            np.empty((len(values) if len(self.shares) else 0, CHUNK), dtype=values.dtype),
            output_into(self.rows, result, status),
        )
