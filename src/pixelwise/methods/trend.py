"""The recommended method for "is there a trend?": one map for a report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from pixelwise.bands import Band, Floats
from pixelwise.dates.axis import TimeAxis, Unit
from pixelwise.kernels.jit import readonly
from pixelwise.kernels.tail_tables import quantile_series
from pixelwise.method import Method, select_bands
from pixelwise.methods.autocorrelation import curves_up_to
from pixelwise.methods.binding import (
    BoundKernel,
    StraightLine,
    check_confidence_level,
    check_whole,
    only_the_response,
    series_of,
)
from pixelwise.methods.mann_kendall import BoundMannKendall, MannKendall
from pixelwise.methods.theil_sen import BoundTheilSen, TheilSen

__all__ = ["Trend", "trend"]

BANDS = (
    Band(
        "slope",
        "Median change per year between all pairs of dates (Theil-Sen)",
        "{value}/year",
        kind="change",
        pvalue="pvalue",
    ),
    Band(
        "low_slope",
        "Lower confidence limit of the slope, with the effective sample size",
        "{value}/year",
        kind="change",
    ),
    Band(
        "high_slope",
        "Upper confidence limit of the slope, with the effective sample size",
        "{value}/year",
        kind="change",
    ),
    Band(
        "ols_slope",
        "Change per year of the line fitted by least squares",
        "{value}/year",
        kind="change",
        pvalue="pvalue",
    ),
    Band(
        "pvalue",
        "Two-sided p-value of the least-squares line, with the effective sample size (Santer et al. 2000)",
        kind="test",
    ),
    Band("pvalue_ols", "The same as if all residuals were independent", kind="test"),
    Band("pvalue_mk", "Two-sided Mann-Kendall p-value, with the effective sample size", kind="test"),
    Band("r1", "Lag-1 correlation of the noise", kind="correlation"),
    Band(
        "detectable_slope",
        "Smallest trend that nine of ten such series would show at 5 %",
        "{value}/year",
        kind="level",
    ),
    Band(
        "years_to_detect",
        "Length of series, in years, of which nine of ten would show this trend",
        "year",
        kind="level",
    ),
    Band("intercept", "Value at year 0 of the line of that slope", "{value}", optional=True, kind="level"),
    Band("n", "Number of valid observations", integer=True, kind="count"),
)
# Rows of the kernel's results (kernels/trend.py), before those that replace a slope of 0.
OF_LINES = ("ols_slope", "pvalue", "pvalue_ols", "r1", "detectable_slope", "years_to_detect")
OF_PAIRS = ("slope", "intercept", "low_slope", "high_slope")

PER_YEAR: dict[Unit, float] = {
    "year": 1,
    "month": 12,
    "half-month": 24,
    "dekad": 36,
    "16-day": 23,
    "8-day": 46,
    "week": 52,
    "pentad": 72,
    "day": 365.25,
}


def trend(*, confidence_level: float = 0.95, min_obs: int = 5) -> Method:
    """Estimate a trend and its significance, allowing for autocorrelation: one map for a report.

    The slope is that of `theil_sen`, which resists outliers. Its limits and p-values use the effective sample size: the
    number of independent values that would carry the same information. With the residuals ``e`` of the least-squares
    line (`ols`), their number ``n``, and ``sxx`` the sum of squared deviations of the times::

        r_line    = sum(e[i] e[i-1]) / sum(e**2)         each valid value and the one before it
        r_step    = the same after fitting a line and its best step, at least 3 values on either side
        phi       = the AR(1) correlation of noise whose residuals, after the same fit to n values, have this median r
        r1        = the smaller of the phi of r_line and that of r_step
        n_e       = max(3, n (1 - r1) / (1 + r1)),  n if r1 <= 0
        pvalue    = P(|T| > |ols_slope| / se),  se = sqrt(sum(e**2) / (n_e - 2) / sxx),  T Student's t, n_e - 2
                    degrees of freedom
        limits    = of `theil_sen`, pvalue_mk = of `mann_kendall`, the variance of the score times n / n_e

    A step, such as a clear-cut, makes the residuals of a line look autocorrelated although the noise about the step is
    not. The smaller of the two phi avoids that, so the step is found (see "False-alarm rates and power").

    The limits enclose the slopes that the test of ``pvalue_mk`` does not reject. ``pvalue`` tests the least-squares
    line, ``slope`` and its limits are Theil-Sen: they may disagree near 0.05, and where a few years decide. They agree
    in 98 of 100 series without a trend, and in 91 to 96 of those with one. A pixel whose ``ols_slope`` and ``slope``
    have opposite signs counts as not significant in classes, whatever its ``pvalue``; `apply` and `info` say how many
    significant pixels have opposite signs, or limits that include 0. If many values are equal (classes, or counts that
    are mostly 0), the median of the slopes may be exactly 0 although ``pvalue`` finds a trend at the level of the
    limits. In this case, ``slope`` is ``ols_slope``, its limits are ``ols_slope ± t se`` with Student's t of ``n_e -
    2`` degrees of freedom, and ``intercept`` is that of the same line, which is the one that ``pvalue`` tests. If one
    limit is 0, check ``pvalue_mk``: with equal values, it says whether 0 itself is excluded.

    The trend that could have been detected::

        detectable_slope = delta se,  delta = t + 1.28 sqrt(1 + (delta**2 + t**2) / (2 nu)),  t = Student's t(0.975, nu)
        years_to_detect  = (3.3 sd / |ols_slope| sqrt(12 / f) sqrt((1 + phi) / (1 - phi)))**(2/3),  f steps a year,
                           sd = sqrt(sum(e**2) / (n - 2)),  phi at least 0

    Both use the larger of the two phi, also in ``se`` and ``nu = n_e - 2``, so as not to promise too much: ``delta``
    allows for the errors of both standard errors, of this series and of the next one. With fewer than 4 effective
    values nothing is detectable, and ``detectable_slope`` is infinite. Both are rules of thumb: nine out of ten trends
    are found without autocorrelation, fewer the stronger it is.

    Without a trend, ``pvalue`` is below 0.05 in 4 % of series of 21 independent values, in 6 % with a lag-1 correlation
    of 0.2, in 8 % with 0.4; ``pvalue_ols`` in 5, 10 and 19 %. The price is power: without autocorrelation, 0.85
    of that of ``pvalue_ols``.

    Parameters
    ----------
    confidence_level
        Confidence level of the limits of the slope, between 0 and 1.
    min_obs
        Minimum number of valid values per pixel, at least 5.

    Returns
    -------
    Method
        Bands ``slope``, ``low_slope``, ``high_slope``, ``ols_slope`` (value per year), ``pvalue``, ``pvalue_ols``,
        ``pvalue_mk``, ``r1`` (-0.9 to 0.98), ``detectable_slope`` (value per year), ``years_to_detect`` (years), ``n``;
        on request ``intercept`` (for ``slope``, at year 0).

    Raises
    ------
    ParameterError
        For irregular dates, or a parameter that is out of range.

    Notes
    -----
    The status of a pixel is the first of these that applies: 1 no valid value, 2 fewer than `min_obs`, 6 an infinite
    value, 3 all values equal, 4 all of the same date; 6 squares overflow or underflow float64 (tests are NaN, slopes as
    computed).

    ``r1`` is the correlation between one valid value and the next: if a pixel has gaps, these are farther apart, and
    less correlated, than layers are. The medians (benchmarks/autocorrelation.py) assume evenly spaced values: a gap of
    a third of the time adds 1 to 4 points to the error rate at correlations of 0.2 to 0.6.

    With 5 or 6 values, or at confidence levels above 0.95 with few effective values, there may be no slope that the
    test rejects; the limits are then the extreme slopes, as in `theil_sen`.

    If the true change is a step, ``pvalue`` is small, but ``slope`` describes neither side: it is the median over pairs
    of dates, and depends on when the step happened. Look at the residuals (``--write residuals FILE``) before believing
    a line.

    ``years_to_detect`` assumes layers without gaps at the steps of the time axis. With ``f = 12`` its second root is 1,
    as in the paper, which uses months.

    With layers from several seasons a year, use `harmonic`, or make one layer per year.

    References
    ----------
    Santer, B. D. et al. (2000). Statistical significance of trends and trend differences in layer-average atmospheric
    temperature time series. J. Geophys. Res. 105, 7337-7356.
    Weatherhead, E. C. et al. (1998). Factors affecting the detection of trends: statistical considerations and
    applications to environmental data. J. Geophys. Res. 103, 17149-17161.
    Sen, P. K. (1968). Estimates of the regression coefficient based on Kendall's tau. J. Am. Stat. Assoc. 63,
    1379-1389.
    """
    return Trend(confidence_level, min_obs)


@dataclass(frozen=True)
class Trend(StraightLine):
    """The recommended method for trends; see `trend`."""

    confidence_level: float = 0.95
    min_obs: int = 5

    name: ClassVar[str] = "trend"

    def __post_init__(self) -> None:
        check_whole(self.name, "min_obs", self.min_obs, 5, "as fewer say nothing about autocorrelation")
        check_confidence_level(self.name, self.confidence_level)

    @property
    def bands(self) -> tuple[Band, ...]:
        """All bands, slope first."""
        return BANDS

    @property
    def needs_step(self) -> bool:
        """Autocorrelation needs lags of whole steps."""
        return True

    def bind(self, axis: TimeAxis, bands: Sequence[str] | None, inputs: Mapping[str, TimeAxis]) -> BoundTrend:
        """Bind the slope and the tests."""
        only_the_response(self.name, inputs)
        self.check_axis(axis)
        chosen = select_bands(self, bands)
        names = {band.name for band in chosen}
        pairs = TheilSen(self.confidence_level, min_obs=self.min_obs)
        step = axis.step
        assert step is not None  # noqa: S101  (check_axis)
        curves, phis = curves_up_to(len(axis))
        return BoundTrend(
            bands=chosen,
            times=axis.years,
            per_year=PER_YEAR[step.unit] / step.count,
            min_obs=self.min_obs,
            curves=curves,
            phis=phis,
            of_five=quantile_series(0.95),
            of_limits=quantile_series(self.confidence_level),
            level=1 - self.confidence_level,
            # The slope decides whether slope, limits and intercept are those of the median line.
            pairs=pairs.bound(axis, [name for name in OF_PAIRS if name in {"slope", *names}])
            if names.intersection(OF_PAIRS)
            else None,
            test=MannKendall(min_obs=self.min_obs).bound(axis, ["pvalue"]) if "pvalue_mk" in names else None,
        )


@dataclass(frozen=True, eq=False)
class BoundTrend(BoundKernel):
    """`trend` bound to dates and bands.

    Attributes
    ----------
    times
        (time,) decimal years.
    per_year
        Number of steps in a year.
    min_obs
        Minimum number of valid values.
    curves, phis
        Result of `curves_up_to`: relates the lag-1 correlation of residuals to that of the noise.
    of_five, of_limits
        Results of `quantile_series`: at 5 %, and for the confidence limits.
    level
        Significance level of the test that corresponds to the limits.
    pairs, test
        Theil-Sen slopes, and the Mann-Kendall test, if they are needed.
    """

    times: Floats
    per_year: float
    min_obs: int
    curves: Floats
    phis: Floats
    of_five: Floats
    of_limits: Floats
    level: float
    pairs: BoundTheilSen | None
    test: BoundMannKendall | None

    @property
    def in_pieces(self) -> bool:
        """Lines, slopes and tests are computed one after the other."""
        return True

    def fill(self, inputs: tuple[NDArray[Any], ...], result: NDArray[Any], status: NDArray[np.uint8]) -> None:
        """Estimate the trends of one block."""
        from pixelwise.kernels import trend as kernels

        values = series_of("trend", inputs, len(self.times))
        layers, pixels = values.shape
        lines = np.empty((kernels.BANDS, pixels))
        kernels.test_lines(
            values,
            readonly(self.times),
            self.per_year,
            self.min_obs,
            kernels.Tables(
                readonly(self.curves), readonly(self.phis), readonly(self.of_five), readonly(self.of_limits)
            ),
            kernels.make_scratch(layers, pixels),
            lines,
            status,
        )
        found: dict[str, Any] = dict(zip(OF_LINES, lines, strict=False))
        found["n"] = lines[kernels.COUNT]
        if self.pairs is not None:
            table = np.empty((len(self.pairs.bands), pixels))
            self.pairs.fit(values, lines[kernels.STRETCH], table, np.empty(pixels, dtype=np.uint8))
            found |= zip((band.name for band in self.pairs.bands), table, strict=True)
            # If ties make the median 0 although a trend is found, the line that was tested takes its place.
            silent = (found["slope"] == 0.0) & (lines[kernels.PVALUE] < self.level)
            for name, line in (
                ("slope", kernels.OLS_SLOPE),
                ("low_slope", kernels.LOW),
                ("high_slope", kernels.HIGH),
                ("intercept", kernels.INTERCEPT),
            ):
                if name in found:
                    found[name][silent] = lines[line, silent]
        if self.test is not None:
            found["pvalue_mk"] = np.empty(pixels)
            self.test.test(values, lines[kernels.STRETCH], found["pvalue_mk"][None], np.empty(pixels, dtype=np.uint8))
        for row, band in zip(result, self.bands, strict=True):
            row[:] = found[band.name]
