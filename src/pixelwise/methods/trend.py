"""The recommended answer to "is there a trend?": one map for a report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from pixelwise.jit import readonly
from pixelwise.method import Band, BoundMethod, Floats, Method, select_bands
from pixelwise.methods.binding import (
    LINE,
    BoundKernel,
    check_confidence_level,
    check_whole,
    line_at,
    only_the_response,
    series_of,
)
from pixelwise.methods.mann_kendall import BoundMannKendall, MannKendall
from pixelwise.methods.theil_sen import TheilSen
from pixelwise.times import TimeAxis, Unit

__all__ = ["Trend", "trend"]

BANDS = (
    Band("slope", "Median change per year between all pairs of dates (Theil-Sen)", "{value}/year"),
    Band("low_slope", "Lower confidence limit of the slope", "{value}/year"),
    Band("high_slope", "Upper confidence limit of the slope", "{value}/year"),
    Band("ols_slope", "Change per year of the line fitted by least squares", "{value}/year"),
    Band("pvalue", "Two-sided p-value of ols_slope = 0 with the effective sample size (Santer et al. 2000)"),
    Band("pvalue_ols", "The same as if all residuals were independent"),
    Band("pvalue_mk", "Two-sided Mann-Kendall p-value, corrected by lag 1 (Yue & Wang 2004)"),
    Band("r1", "Lag-1 correlation of residuals, less its bias"),
    Band("detectable_slope", "Smallest trend found in nine of ten such series at 5 %", "{value}/year"),
    Band("years_to_detect", "Length of series in which this trend is found in nine of ten, in years", "year"),
    Band("intercept", "Value at year 0 of the line of median slope", "{value}", optional=True),
    Band("n", "Number of valid observations", integer=True),
)
# Rows of the kernel's results (methods/_trend_kernels.py).
OF_LINES = ("ols_slope", "pvalue", "pvalue_ols", "r1", "detectable_slope", "years_to_detect")
OF_PAIRS = ("slope", "intercept", "low_slope", "high_slope", "n")

PER_YEAR: dict[Unit, float] = {
    "year": 1,
    "month": 12,
    "half-month": 24,
    "dekad": 36,
    "16-day": 23,
    "8-day": 46,
    "day": 365.25,
}


def trend(*, confidence_level: float = 0.95, min_obs: int = 5) -> Method:
    """Estimate a trend and say how sure it is, serial correlation considered: one map for a report.

    The slope and its limits are those of `theil_sen`, which outliers do not spoil. ``pvalue`` is the test to report:
    that of the least-squares line with as many degrees of freedom as independent values would have that tell as
    much. With the residuals ``e`` of the line (`ols`), their number ``n``, and ``sxx`` the sum of squared deviations
    of the times::

        r         = lag-1 correlation of e, from pairs exactly one step apart
        r1        = r + (1 + 4 r) / n
        n_e       = n (1 - r1) / (1 + r1),  n where r1 <= 0
        pvalue    = P(|T| > |b| / sqrt(sum(e**2) / (n_e - 2) / sxx)),  T Student's t, n_e - 2 degrees of freedom
        pvalue_mk = of `mann_kendall` with correction="yue_wang"

        detectable_slope = 3.3 sd sqrt((1 + r1) / (1 - r1)) / sqrt(sxx),  sd = sqrt(sum(e**2) / (n - 2))
        years_to_detect  = (3.3 sd / |b| sqrt(12 / f) sqrt((1 + r1) / (1 - r1)))**(2/3),  f steps a year

    Where there is no trend, ``pvalue`` is below 0.05 in 4 of 100 series of 21 independent values, in 6 at a
    correlation of 0.2, in 8 at 0.4; ``pvalue_ols`` in 5, 10 and 18 (docs/methods.md, benchmarks/error_rates.py). The
    price is power: at no correlation 0.88 of that of ``pvalue_ols``.

    Parameters
    ----------
    confidence_level
        Of the limits of the slope, between 0 and 1. They assume independent values.
    min_obs
        Fewest valid values of a pixel, at least 5.

    Returns
    -------
    Method
        Bands ``slope``, ``low_slope``, ``high_slope``, ``ols_slope`` (value per year), ``pvalue``, ``pvalue_ols``,
        ``pvalue_mk``, ``r1``, ``detectable_slope`` (value per year), ``years_to_detect`` (years), ``n``; on request
        ``intercept`` (of ``slope``, at year 0).

    Raises
    ------
    ParameterError
        On an irregular axis; when a parameter is out of its range.

    Notes
    -----
    The status of a pixel, the first that applies: 1 no valid value, 2 fewer than `min_obs`, 6 an infinite value,
    3 all values equal, 4 all of the same date; 6 no two values are one step apart, or ``n_e < 3``: residuals wander so
    much that nothing can be tested (``pvalue`` NaN, the others as computed; at ``r1 >= 1`` the detectable slope
    is infinite).

    ``years_to_detect`` assumes layers without gaps at the steps of the axis. With ``f = 12`` its second root is 1,
    as in the paper, which has months.

    Layers of several seasons a year want `harmonic`, or one layer per year.

    References
    ----------
    Santer, B. D. et al. (2000). Statistical significance of trends and trend differences in layer-average atmospheric
    temperature time series. J. Geophys. Res. 105, 7337-7356.
    Kendall, M. G. (1954). Note on bias in the estimation of autocorrelation. Biometrika 41, 403-404.
    Weatherhead, E. C. et al. (1998). Factors affecting the detection of trends: statistical considerations and
    applications to environmental data. J. Geophys. Res. 103, 17149-17161.
    Yue, S. & Wang, C. (2004). The Mann-Kendall test modified by effective sample size to detect trend in serially
    correlated hydrological series. Water Resour. Manag. 18, 201-218.
    """
    return Trend(confidence_level, min_obs)


@dataclass(frozen=True)
class Trend(Method):
    """The recommended answer; see `trend`."""

    confidence_level: float = 0.95
    min_obs: int = 5

    name: ClassVar[str] = "trend"

    def __post_init__(self) -> None:
        check_whole(self.name, "min_obs", self.min_obs, 5, "as fewer say nothing of serial correlation")
        check_confidence_level(self.name, self.confidence_level)

    @property
    def bands(self) -> tuple[Band, ...]:
        """Slope first."""
        return BANDS

    @property
    def needs_step(self) -> bool:
        """Serial correlation has lags."""
        return True

    def bind(self, axis: TimeAxis, bands: Sequence[str] | None, inputs: Mapping[str, TimeAxis]) -> BoundTrend:
        """Bind the slope and the tests."""
        only_the_response(self.name, inputs)
        self.check_axis(axis)
        chosen = select_bands(self, bands)
        names = {band.name for band in chosen}
        pairs = TheilSen(self.confidence_level, min_obs=self.min_obs)
        step, places = axis.step, axis.index
        assert step is not None and places is not None  # noqa: S101, PT018  (check_axis)
        return BoundTrend(
            bands=chosen,
            times=axis.years,
            places=places.astype(np.float64),
            per_year=PER_YEAR[step.unit] / step.count,
            pairs=pairs.bind(axis, [name for name in OF_PAIRS if name in {"slope", "n", *names}], {}),
            test=MannKendall("yue_wang", min_obs=self.min_obs).bound(axis, ["pvalue"])
            if "pvalue_mk" in names
            else None,
        )

    @property
    def fitted_from(self) -> tuple[str, ...]:
        """Slope and intercept."""
        return LINE

    def predict(self, values: Mapping[str, NDArray[Any]], axis: TimeAxis) -> Floats:
        """Return the line of median slope at the dates of `axis`: (time, pixel), from ``slope`` and ``intercept``."""
        return line_at(values, axis)


@dataclass(frozen=True, eq=False)
class BoundTrend(BoundKernel):
    """`trend` bound to dates and bands.

    Attributes
    ----------
    times, places
        (time,) decimal years, and steps of the axis.
    per_year
        Steps of a year.
    pairs, test
        Theil-Sen slopes, and Mann and Kendall's test where it is wanted.
    """

    times: Floats
    places: Floats
    per_year: float
    pairs: BoundMethod
    test: BoundMannKendall | None

    @property
    def in_pieces(self) -> bool:
        """Slopes, lines and tests are made one after the other."""
        return True

    def fill(self, inputs: tuple[NDArray[Any], ...], result: NDArray[Any], status: NDArray[np.uint8]) -> None:
        """Estimate the trends of one block."""
        from pixelwise.methods import _trend_kernels as kernels

        values = series_of("trend", inputs, len(self.times))
        layers, pixels = values.shape
        table, status[:] = self.pairs((values,))
        found: dict[str, Any] = {band.name: row for band, row in zip(self.pairs.bands, table, strict=True)}
        lines = np.empty((kernels.BANDS, pixels))
        kernels.test_lines(
            values,
            readonly(self.times),
            readonly(self.places),
            self.per_year,
            status,
            np.empty((4, layers)),
            np.empty((11, pixels)),
            lines,
        )
        found |= zip(OF_LINES, lines, strict=True)
        if self.test is not None:
            found["pvalue_mk"] = np.empty(pixels)
            self.test.test(values, found["pvalue_mk"][None], np.empty(pixels, dtype=np.uint8), found["slope"])
        for row, band in zip(result, self.bands, strict=True):
            row[:] = found[band.name]
