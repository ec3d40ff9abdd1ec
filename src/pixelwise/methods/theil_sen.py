"""The Theil-Sen line: the median of the slopes between all pairs of observations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from pixelwise.bands import Band, Floats
from pixelwise.dates.axis import TimeAxis
from pixelwise.dates.slots import Season
from pixelwise.kernels.jit import readonly
from pixelwise.method import BoundMethod, Method, select_bands
from pixelwise.methods.binding import (
    BoundKernel,
    StraightLine,
    check_confidence_level,
    check_whole,
    only_the_response,
    series_of,
)
from pixelwise.methods.seasons import check_season, without_seasons
from pixelwise.words import not_a_choice

__all__ = ["BANDS", "BoundTheilSen", "TheilSen", "theil_sen"]

Intercept = Literal["separate", "joint"]

# The order is that of the kernel's results (kernels/theil_sen.py).
BANDS = (
    Band("slope", "Median change per year between all pairs of dates", "{value}/year", kind="change"),
    Band("intercept", "Value of the line at year 0", "{value}", kind="level"),
    Band("low_slope", "Lower confidence limit of the slope", "{value}/year", kind="change"),
    Band("high_slope", "Upper confidence limit of the slope", "{value}/year", kind="change"),
    Band("n", "Number of valid observations", integer=True, kind="count"),
)
LIMITS = {"low_slope", "high_slope"}

# Longer series are fitted one at a time. With limits and 10 % gaps, fitting many at once and one at a time takes 3.9
# and 28 us per pixel for 40 dates, 15 and 36 for 56, 23 and 40 for 64; sorting networks of more pairs do not fit the
# cache.
SHORT = 80


def theil_sen(
    *,
    confidence_level: float = 0.95,
    intercept: Intercept = "separate",
    deseasonalise: Season | None = None,
    min_obs: int = 3,
) -> Method:
    """Fit the line whose slope is the median of the slopes between all pairs of observations.

    With the ``n`` valid values ``y`` at times ``t`` (decimal years), ``N`` pairs ``i < j`` of different times,
    their slopes ``Q`` in ascending order, counted from 0, and ``q`` the normal quantile of `confidence_level`::

        slope      = median of (y[j] - y[i]) / (t[j] - t[i])
        intercept  = median(y) - slope * median(t)   ("separate")  or  median(y - slope * t)   ("joint")
        low_slope  = Q[round((N - C) / 2) - 1],  high_slope = Q[round((N + C) / 2)],  C = q * sqrt(var_s)
        var_s      = (n (n-1) (2n+5) - sum of u (u-1) (2u+5) over ties of u equal values or times) / 18

    The slope withstands arbitrary errors in up to 29 % of the values. The limits assume independent observations:
    autocorrelation makes them too narrow.

    Parameters
    ----------
    confidence_level
        Confidence level of the limits of the slope, between 0 and 1.
    intercept
        Through the medians of values and times (``separate``), or such that half of the residuals are positive
        (``joint``).
    deseasonalise
        First subtract the level of each season, estimated together with the trend (below): ``month``, ``quarter``, or a
        number of seasons per year (see `seasonal_kendall`). Without it, seasons that are observed unequally often can
        look like a trend, or hide one.
    min_obs
        Minimum number of valid values per pixel, at least 3. With fewer than 6, the limits at 0.95 are the extreme
        slopes.

    Returns
    -------
    Method
        Bands ``slope``, ``low_slope``, ``high_slope`` (value per year), ``intercept`` (at year 0), ``n``.

    Raises
    ------
    ParameterError
        When a parameter is out of range.

    Notes
    -----
    The status of a pixel is the first of these that applies: 1 no valid value, 2 fewer than `min_obs` (all bands but
    ``n`` are NaN), 6 an infinite value (likewise), 3 all values equal (the slope is 0, the intercept that
    value, the limits are NaN), 4 all of the same date (all but ``n`` are NaN); 6 nearly all values and dates are equal,
    so that ``var_s < 0`` (the limits are NaN).

    All four numbers are those of `scipy.stats.theilslopes`, to the last bit. More than 80 dates take
    ``n * log(n)`` steps instead of ``n**2``.

    With `deseasonalise`, season and trend are estimated together, and the line is fitted to ``y'``. If seasons are
    observed in few and different years, plain means of each season absorb part of the trend: the slopes that remained
    were 0.9 of the truth in ten years with half of the months missing, 0.5 in five with 70 % missing. With ``t`` from
    the first date::

        b     = median of (y[j] - y[i]) / (t[j] - t[i]) over pairs of one season in different years
        r     = y - b * t
        level = mean of r in the season, with deviations from the median clipped at 7.4 median deviations
        y'    = y - level + median(r)
        var_s = (as above) * (n - 1) / (n - seasons - 1) * sum((t - mean(t))**2) / sum((t - mean in the season)**2)

    Seasons observed in only one year say nothing about a trend: their values are ignored and do not count in ``n``.

    References
    ----------
    Theil, H. (1950). A rank-invariant method of linear and polynomial regression analysis. Proc. Kon. Ned. Akad.
    Wetensch. A 53, 386-392, 521-525, 1397-1412.
    Sen, P. K. (1968). Estimates of the regression coefficient based on Kendall's tau. J. Am. Stat. Assoc. 63,
    1379-1389.
    Conover, W. J. (1999). Practical Nonparametric Statistics, 3rd ed., section 5.5 (the intercept). Wiley.

    Examples
    --------
    >>> fit = theil_sen()([[1.0], [3.0], [5.0], [70.0], [9.0]], [2000, 2001, 2002, 2003, 2004])
    >>> float(fit["slope"][0])
    2.0
    """
    return TheilSen(confidence_level, intercept, deseasonalise, min_obs)


@dataclass(frozen=True)
class TheilSen(StraightLine):
    """The line of median slope; see `theil_sen`."""

    confidence_level: float = 0.95
    intercept: Intercept = "separate"
    deseasonalise: Season | None = None
    min_obs: int = 3

    name: ClassVar[str] = "theil_sen"

    def __post_init__(self) -> None:
        check_whole(self.name, "min_obs", self.min_obs, 3, "as 2 values have one slope")
        check_confidence_level(self.name, self.confidence_level)
        if self.intercept not in ("separate", "joint"):
            raise not_a_choice("intercept", self.intercept, ("separate", "joint"))
        if self.deseasonalise is not None:
            check_season(self.name, self.deseasonalise)

    @property
    def bands(self) -> tuple[Band, ...]:
        """All bands, slope first."""
        return BANDS

    @property
    def season_term(self) -> bool:
        """Whether seasonal levels are subtracted."""
        return self.deseasonalise is not None

    def bind(self, axis: TimeAxis, bands: Sequence[str] | None, inputs: Mapping[str, TimeAxis]) -> BoundMethod:
        """Bind the fit, with the seasonal levels subtracted if asked for."""
        only_the_response(self.name, inputs)
        bound = self.bound(axis, bands)
        return without_seasons(bound, bound.fit, axis, self.deseasonalise)

    def bound(self, axis: TimeAxis, bands: Sequence[str] | None) -> BoundTheilSen:
        """Return the bound fit of series as they are, including their seasons."""
        return BoundTheilSen(
            bands=select_bands(self, bands),
            times=axis.years,
            min_obs=self.min_obs,
            joint=self.intercept == "joint",
            quantile=NormalDist().inv_cdf((1 + self.confidence_level) / 2),
        )

    @property
    def fitted_from(self) -> tuple[str, ...]:
        """Slope and intercept; nothing where seasons are taken off first, which no band holds."""
        return super().fitted_from if self.deseasonalise is None else ()


@dataclass(frozen=True, eq=False)
class BoundTheilSen(BoundKernel):
    """`theil_sen` bound to dates and bands.

    Attributes
    ----------
    times
        (time,) decimal years.
    min_obs
        Minimum number of valid values.
    joint
        Whether the intercept is the median of all residuals.
    quantile
        Quantile of the normal distribution, for the limits.
    """

    times: Floats
    min_obs: int
    joint: bool
    quantile: float

    def fill(self, inputs: tuple[NDArray[Any], ...], result: NDArray[Any], status: NDArray[np.uint8]) -> None:
        """Fit the pixels of one block."""
        self.fit(series_of("theil_sen", inputs, len(self.times)), np.empty(0), result, status)

    def fit(self, values: NDArray[Any], stretch: Floats, result: NDArray[Any], status: NDArray[np.uint8]) -> None:
        """Fit pixels whose values are contiguous; `stretch`, if not empty, multiplies the variance of the limits."""
        from pixelwise.kernels import theil_sen as short
        from pixelwise.kernels import theil_sen_long as long
        from pixelwise.kernels.output import output_into

        layers = len(self.times)
        output = output_into(self.places_in(BANDS), result, status)
        common = values, readonly(self.times), self.min_obs, self.joint, short.Limits(self.quantile, stretch)
        if layers <= SHORT:
            short.fit_short(*common, short.make_scratch(layers, repeated=False), output)
        else:
            limits_wanted = any(band.name in LIMITS for band in self.bands)
            long.fit_long(*common, limits_wanted, long.make_scratch(layers), output)
