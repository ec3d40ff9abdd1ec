"""Ordinary least squares: a straight line through each pixel's series."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from pixelwise.bands import Band, Floats
from pixelwise.dates.axis import TimeAxis
from pixelwise.kernels.jit import readonly
from pixelwise.kernels.tail_tables import TailTable, student_quantiles, tail_table, tails_of
from pixelwise.method import Method, select_bands
from pixelwise.methods.binding import (
    BoundKernel,
    StraightLine,
    check_confidence_level,
    check_origin,
    check_whole,
    only_the_response,
    series_of,
)

__all__ = ["OrdinaryLeastSquares", "ols"]

# The order is that of the kernel's results (kernels/ols.py).
BANDS = (
    Band("slope", "Change per year of the fitted line", "{value}/year", kind="change", pvalue="pvalue"),
    Band("intercept", "Value of the fitted line at year 0", "{value}", kind="level"),
    Band("rvalue", "Pearson correlation of value and time", kind="correlation", pvalue="pvalue"),
    Band("pvalue", "Two-sided p-value of slope = 0 (Student's t, n - 2 degrees of freedom)", kind="test"),
    Band("stderr", "Standard error of the slope", "{value}/year", kind="level"),
    Band("intercept_stderr", "Standard error of the intercept", "{value}", kind="level"),
    Band("n", "Number of valid observations", integer=True, kind="count"),
    Band("low_slope", "Lower confidence limit of the slope", "{value}/year", optional=True, kind="change"),
    Band("high_slope", "Upper confidence limit of the slope", "{value}/year", optional=True, kind="change"),
    Band("rmse", "Residual standard error, sqrt(RSS / (n - 2))", "{value}", optional=True, kind="level"),
    Band(
        "durbin_watson",
        "Durbin-Watson statistic of the residuals: near 2 where they are independent",
        optional=True,
        kind="level",
    ),
    Band("start", "Value of the line at the first valid date", "{value}", optional=True, kind="level"),
    Band("end", "Value of the line at the last valid date", "{value}", optional=True, kind="level"),
    Band(
        "change",
        "Change of the line from the first to the last valid date",
        "{value}",
        optional=True,
        kind="change",
        pvalue="pvalue",
    ),
    Band(
        "percent_of_mean", "The change in percent of the mean value", "%", optional=True, kind="change", pvalue="pvalue"
    ),
    Band("first_time", "First valid date, decimal year", "year", optional=True, kind="time"),
    Band("last_time", "Last valid date, decimal year", "year", optional=True, kind="time"),
)
# Bands of the fit itself; the others are derived from it (in the order of the kernel `describe`).
FITTED = 7
SLOPE, STDERR = 0, 4
FROM_RESIDUALS = {"pvalue": 1, "stderr": 1, "intercept_stderr": 2, "low_slope": 1, "high_slope": 1}


def ols(*, min_obs: int = 3, confidence_level: float = 0.95, origin: float = 0.0) -> Method:
    """Fit a straight line to each pixel's series by ordinary least squares.

    With the ``n`` valid values ``y`` at times ``t`` (decimal years), deviations ``dt`` and ``dy`` from their
    means, ``Sxx = sum(dt**2)``, ``Sxy = sum(dt * dy)``, ``Syy = sum(dy**2)``::

        slope            = Sxy / Sxx
        intercept        = mean(y) - slope * (mean(t) - origin)
        rvalue           = Sxy / sqrt(Sxx * Syy)
        stderr           = sqrt(RSS / (n - 2) / Sxx),  RSS = sum((dy - slope * dt)**2)
        intercept_stderr = stderr * sqrt(Sxx / n + (mean(t) - origin)**2)
        pvalue           = P(|T| > |slope / stderr|),  T Student's t with n - 2 degrees of freedom

    and on request, with residuals ``e`` in time order and ``q`` the quantile of T for `confidence_level`::

        low_slope, high_slope = slope - q * stderr, slope + q * stderr
        rmse                  = sqrt(RSS / (n - 2))
        durbin_watson         = sum((e[i] - e[i - 1])**2) / RSS
        change                = slope * (last_time - first_time) = end - start
        percent_of_mean       = 100 * change / |mean(y)|

    The p-value assumes independent, normal residuals of equal variance. Autocorrelation makes it too small:
    with 21 annual values and a lag-1 correlation of 0.4, one in five series without a trend has
    ``pvalue < 0.05``.

    Parameters
    ----------
    min_obs
        Minimum number of valid values per pixel, at least 3.
    confidence_level
        Confidence level of ``low_slope`` and ``high_slope``, between 0 and 1.
    origin
        The decimal year for which the intercept is given. Year 0 is far from all data, so its intercept in float32 has
        too few digits to draw the line.

    Returns
    -------
    Method
        Bands ``slope`` and ``stderr`` (value per year), ``intercept`` (at `origin`) and ``intercept_stderr``
        (value), ``rvalue``, ``pvalue``, ``n``; on request ``low_slope``, ``high_slope`` (value per year), ``rmse``,
        ``start``, ``end``, ``change`` (value), ``percent_of_mean`` (%), ``durbin_watson``, ``first_time``,
        ``last_time`` (decimal years).

    Raises
    ------
    ParameterError
        When `min_obs` is below 3, as two points leave no residuals to judge a line by; for an impossible level.

    Notes
    -----
    The status of a pixel is the first of these that applies:

    - 1 no valid value, 2 fewer than `min_obs`: all bands but ``n`` are NaN;
    - 3 all valid values equal: the slope is 0, the intercept that value, the others are NaN (also if there is only one
      date);
    - 4 all valid values of the same date: all bands but ``n`` are NaN;
    - 6 ``Syy`` is beyond 1e290 or below 1e-290, where squares overflow or underflow float64, or a value is infinite:
      slope and intercept as computed, the others are NaN.

    The values are those of `scipy.stats.linregress`. Residuals are summed directly, so that standard errors and
    p-values stay accurate if ``|rvalue|`` is nearly 1. The p-value of a line without residuals is 0, its
    ``durbin_watson`` is NaN.

    References
    ----------
    Draper, N. R. & Smith, H. (1998). Applied Regression Analysis, 3rd ed., chapter 1. Wiley.

    Examples
    --------
    >>> fit = ols()([[1.0], [3.0], [5.0], [7.5]], [2000, 2001, 2002, 2003])
    >>> round(float(fit["slope"][0]), 3)
    2.15
    """
    return OrdinaryLeastSquares(min_obs, confidence_level, origin)


@dataclass(frozen=True)
class OrdinaryLeastSquares(StraightLine):
    """A straight line by least squares; see `ols`."""

    min_obs: int = 3
    confidence_level: float = 0.95
    origin: float = 0.0

    name: ClassVar[str] = "ols"

    def __post_init__(self) -> None:
        check_confidence_level(self.name, self.confidence_level)
        check_origin(self.name, self.origin)
        check_whole(self.name, "min_obs", self.min_obs, 3, "as 2 leave no residuals")

    @property
    def bands(self) -> tuple[Band, ...]:
        """All bands, slope first."""
        return BANDS

    def bind(self, axis: TimeAxis, bands: Sequence[str] | None, inputs: Mapping[str, TimeAxis]) -> BoundLine:
        """Centre the times and tabulate p-values for the degrees of freedom that can occur."""
        only_the_response(self.name, inputs)
        chosen = select_bands(self, bands)
        names = {band.name for band in chosen}
        # A whole number, so that differences of decimal years near it are exact.
        reference = float(np.round(np.mean(axis.years))) if len(axis) else 0.0
        table = None
        if "pvalue" in names and len(axis) >= self.min_obs:
            table = tail_table(self.min_obs - 2, len(axis) - 2)
        return BoundLine(
            bands=chosen,
            times=axis.years - reference,
            reference=reference,
            origin=self.origin,
            min_obs=self.min_obs,
            one_date_possible=longest_run(axis.years) >= self.min_obs,
            residuals=max(FROM_RESIDUALS.get(name, 0) for name in names),
            table=table,
            quantiles=self._quantiles(axis) if names & {"low_slope", "high_slope"} else np.empty(0),
        )

    def _quantiles(self, axis: TimeAxis) -> Floats:
        """Return quantiles of Student's t for every number of observations from `min_obs` on."""
        df = np.arange(self.min_obs - 2, max(len(axis), self.min_obs) - 1, dtype=np.float64)
        return student_quantiles(df, self.confidence_level)


@dataclass(frozen=True, eq=False)
class BoundLine(BoundKernel):
    """`ols` bound to dates and bands.

    Attributes
    ----------
    times, reference, origin
        (time,) decimal years less `reference`, this year, and the year for which the intercept is given.
    min_obs
        Minimum number of valid values.
    one_date_possible
        Whether `min_obs` valid values can all have the same date.
    residuals
        0 if no band needs the residuals, 2 if the intercept's standard error is needed, else 1.
    table
        Table of p-values, if they are needed.
    quantiles
        Quantiles of Student's t for `min_obs` observations, one more, ...; empty if no limits are needed.
    """

    times: Floats
    reference: float
    origin: float
    min_obs: int
    one_date_possible: bool
    residuals: int
    table: TailTable | None
    quantiles: Floats

    @property
    def in_pieces(self) -> bool:
        """Derived bands need the results of the fit in float64."""
        return any(BANDS.index(band) >= FITTED for band in self.bands)

    def fill(self, inputs: tuple[NDArray[Any], ...], result: NDArray[Any], status: NDArray[np.uint8]) -> None:
        """Fit the pixels of one block."""
        values = series_of("ols", inputs, len(self.times))
        rows = self.places_in(BANDS)
        if self.in_pieces:
            self._describe(values, rows.tolist(), result, status)
        else:
            self._fit(values, rows, result, status)

    def _fit(
        self, values: NDArray[Any], rows: NDArray[np.int64], result: NDArray[Any], status: NDArray[np.uint8]
    ) -> None:
        """Write those bands of the fit that `rows` selects, and the status."""
        from pixelwise.kernels.ols import STRIDE, Dates, fit, make_scratch
        from pixelwise.kernels.output import output_into

        times = np.pad(self.times, (0, -len(self.times) % STRIDE))
        fit(
            values,
            Dates(readonly(times), self.reference - self.origin),
            self.min_obs,
            self.one_date_possible,
            self.residuals,
            tails_of(self.table),
            make_scratch(times),
            output_into(rows, result, status),
        )

    def _describe(self, values: NDArray[Any], rows: list[int], result: Floats, status: NDArray[np.uint8]) -> None:
        """Write bands of the fit and those derived from it, and the status."""
        from pixelwise.kernels.ols import DERIVED, Dates, Lines, describe

        fitted = sorted({SLOPE, STDERR, *(row for row in rows if row < FITTED)})
        table, derived = (np.empty((count, values.shape[1])) for count in (len(fitted), DERIVED))
        self._fit(values, readonly(np.array(fitted, dtype=np.int64)), table, status)
        describe(
            values,
            Dates(readonly(self.times), self.reference),
            Lines(table[fitted.index(SLOPE)], table[fitted.index(STDERR)], status),
            self.min_obs,
            readonly(self.quantiles),
            np.empty((2, len(self.times))),
            derived,
        )
        for found, row in zip(result, rows, strict=True):
            found[:] = table[fitted.index(row)] if row < FITTED else derived[row - FITTED]


def longest_run(years: Floats) -> int:
    """Return how often the most frequent date occurs; `years` are in ascending order."""
    return max((len(list(group)) for _, group in groupby(years.tolist())), default=0)
