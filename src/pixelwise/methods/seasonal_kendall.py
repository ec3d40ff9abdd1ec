"""The seasonal Kendall test of Hirsch and Slack for a monotonic trend within seasons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from pixelwise.bands import Band, Floats
from pixelwise.dates.axis import TimeAxis
from pixelwise.dates.slots import Season, seasons_of
from pixelwise.errors import ParameterError
from pixelwise.kernels.jit import readonly
from pixelwise.method import Method, select_bands
from pixelwise.methods.binding import BoundKernel, check_whole, only_the_response, series_of
from pixelwise.methods.seasons import check_season

__all__ = ["SeasonalKendall", "seasonal_kendall"]

#: Periods of composites that give one layer per season.
EVERY = {"month": "month", "quarter": "season", 4: "season", 12: "month", 36: "dekad"}

#: With 12 seasons of noise, 0, 0, 0.15, 1.0, 2.1 and 2.8 % of p-values are below 0.05 after 2 to 7 years.
FEWEST_YEARS = 5

# The order is that of the kernel's results (kernels/seasons.py).
BANDS = (
    Band(
        "slope",
        "Median change per year between pairs of dates of one season",
        "{value}/year",
        kind="change",
        pvalue="pvalue",
    ),
    Band(
        "tau",
        "Kendall's rank correlation of value and time within seasons (tau-b)",
        kind="correlation",
        pvalue="pvalue",
    ),
    Band("s", "Sum of the Mann-Kendall scores of the seasons", kind="signed"),
    Band("var_s", "Variance of the score, with the covariances of seasons", kind="level"),
    Band("z", "Standard normal score, with correction for continuity", kind="signed", pvalue="pvalue"),
    Band("pvalue", "Two-sided p-value of no trend, seasons of a year correlated (Hirsch & Slack 1984)", kind="test"),
    Band("pvalue_independent", "Two-sided p-value of no trend, seasons independent (Hirsch et al. 1982)", kind="test"),
    Band("pvalue_homogeneity", "P-value of all seasons having the same trend (van Belle & Hughes 1984)", kind="test"),
    Band("var_s_independent", "Variance of the score of independent seasons", optional=True, kind="level"),
    Band("n", "Number of valid observations", integer=True, kind="count"),
)


def seasonal_kendall(*, season: Season = "month", min_obs: int = 4) -> Method:
    """Test for a monotonic trend within seasons: January with January, February with February, and so on.

    With the score ``s[g]``, its variance ``var[g]`` and ``z[g] = s[g] / sqrt(var[g])`` of `mann_kendall` in each of
    ``m`` seasons, and ``n[g]`` values with ranks ``R[g]`` in ``N`` years, ``(n[g] + 1) / 2`` if missing::

        slope              = median of (y[j] - y[i]) / (t[j] - t[i]) over pairs of dates of one season
        s                  = sum of s[g],  tau = s / sum of sqrt((n0 - n1) n0)
        var_s              = sum of var[g] + sum over g != h of cov[g, h]
        cov[g, h]          = (K[g, h] + 4 sum of R[g] R[h] - N (n[g] + 1) (n[h] + 1)) / 3
        K[g, h]            = sum over years i < j of sign((y[j, g] - y[i, g]) (y[j, h] - y[i, h]))
        z                  = (s - sign(s)) / sqrt(var_s)
        pvalue             = 2 P(Z > |z|),  Z standard normal
        pvalue_independent = the same without covariances
        pvalue_homogeneity = P(X > sum of z[g]**2 - m mean(z[g])**2),  X chi-square with m - 1 degrees of freedom

    ``pvalue`` allows for correlation between the seasons of a year, which monthly series usually have, but not for
    correlation from year to year; it needs about ten years. If ``pvalue_homogeneity`` is small, seasons have different
    trends, which a single slope may hide. ``pvalue_homogeneity`` assumes independent seasons.

    Parameters
    ----------
    season
        ``month``, ``quarter`` (January to March is the first), or a number of seasons per year, such as 23 for
        MODIS' 16 days, 24 for half-months, 36 for dekads, 46 for 8 days.
    min_obs
        Minimum number of valid values per pixel, at least 3.

    Returns
    -------
    Method
        Bands ``slope`` (value per year), ``tau``, ``s``, ``var_s``, ``z``, ``pvalue``, ``pvalue_independent``,
        ``pvalue_homogeneity``, ``n``; on request ``var_s_independent``.

    Raises
    ------
    ParameterError
        For an unknown season, or two layers in one season of a year: combine them (``--composite HOW --every ...``).

    Notes
    -----
    The status of a pixel is the first of these that applies: 1 no valid value, 2 fewer than `min_obs`, 6 an infinite
    value, 3 all values equal, 4 all of the same date; 4 no season has two values; 3 the values of each season are equal
    (slope and s are 0); 6 covariances leave no variance. A season with a single value adds nothing.
    ``pvalue_homogeneity`` is NaN if fewer than two seasons have values that differ.

    With fewer than five years, ``pvalue`` detects almost nothing. With two years it is never below 0.3, with three
    never below 0.08, whatever the series and the number of seasons. With four years, a series that rises in every
    season and year has a ``pvalue`` of 0.051 with 4 seasons, 0.044 with 12 and 0.041 with very many, and 0.15 % of
    noise is below 0.05. With five years, such a series has 0.015, and 1 % of noise is below 0.05; with seven years,
    0.002 and 2.8 %. ``pvalue_independent``, which assumes independent seasons, is 0.0015 for two years of 12 seasons
    that all rise.

    `scipy.stats.mstats.kendalltau_seasonal` gives the same two p-values. pyMannKendall's ``correlated_seasonal_test``
    has no continuity correction.

    References
    ----------
    Hirsch, R. M., Slack, J. R. & Smith, R. A. (1982). Techniques of trend analysis for monthly water quality data.
    Water Resour. Res. 18, 107-121.
    Hirsch, R. M. & Slack, J. R. (1984). A nonparametric trend test for seasonal data with serial dependence. Water
    Resour. Res. 20, 727-732.
    van Belle, G. & Hughes, J. P. (1984). Nonparametric tests for trend in water quality. Water Resour. Res. 20,
    127-136.
    """
    return SeasonalKendall(season, min_obs)


@dataclass(frozen=True)
class SeasonalKendall(Method):
    """The seasonal Kendall test; see `seasonal_kendall`."""

    season: Season = "month"
    min_obs: int = 4

    name: ClassVar[str] = "seasonal_kendall"

    def __post_init__(self) -> None:
        check_whole(self.name, "min_obs", self.min_obs, 3, "as 2 values always rise or fall")
        check_season(self.name, self.season)

    @property
    def bands(self) -> tuple[Band, ...]:
        """All bands, slope first."""
        return BANDS

    @property
    def season_term(self) -> bool:
        """Each season is compared only with itself."""
        return True

    @property
    def _advice(self) -> str:
        every = EVERY.get(self.season)
        return f"combine them (--composite HOW --every {every}), or " if every else ""

    def cautions(self, axis: TimeAxis) -> tuple[str, ...]:
        """Warn that a few years cannot be significant."""
        most = int(np.bincount(seasons_of(axis, self.season), minlength=1).max())
        if most >= FEWEST_YEARS:
            return ()
        years = f"{most} year{'s' if most > 1 else ''}"
        least = "is never below 0.08" if most < 4 else "is about 0.05 even where each season rises each year"
        text = (
            f"{self.name} detects almost nothing below {FEWEST_YEARS} years: with {years} of a season, pvalue {least}"
            "; take a longer series, or pvalue_independent if you can assume that the seasons of a year are independent"
        )
        return (text,)

    def bind(self, axis: TimeAxis, bands: Sequence[str] | None, inputs: Mapping[str, TimeAxis]) -> BoundSeasonalKendall:
        """Arrange the dates in a table of years by seasons."""
        only_the_response(self.name, inputs)
        seasons, years = seasons_of(axis, self.season), axis.calendar_years
        place = years * 1000 + seasons
        again = np.flatnonzero(np.diff(place) == 0)
        if len(again):
            first = again[0]
            raise ParameterError(
                f"seasonal_kendall with season={self.season}: {axis.days[first]} and {axis.days[first + 1]} fall in "
                f"the same season of {years[first]}; expected one layer: {self._advice}give the number of seasons in "
                "a year"
            )
        _, columns = np.unique(seasons, return_inverse=True)
        return BoundSeasonalKendall(
            bands=select_bands(self, bands),
            times=axis.years,
            years=years - years.min(initial=years[0] if len(years) else 0),
            seasons=columns.astype(np.int64),
            min_obs=self.min_obs,
        )


@dataclass(frozen=True, eq=False)
class BoundSeasonalKendall(BoundKernel):
    """`seasonal_kendall` bound to dates and bands.

    Attributes
    ----------
    times
        (time,) decimal years.
    years, seasons
        (time,) row and column of each date in a table, both from 0.
    min_obs
        Minimum number of valid values.
    """

    times: Floats
    years: NDArray[np.int64]
    seasons: NDArray[np.int64]
    min_obs: int

    def fill(self, inputs: tuple[NDArray[Any], ...], result: NDArray[Any], status: NDArray[np.uint8]) -> None:
        """Test the pixels of one block."""
        from pixelwise.kernels.output import output_into
        from pixelwise.kernels.seasons import Dates, make_scratch, test_seasons

        values = series_of("seasonal_kendall", inputs, len(self.times))
        dates = Dates(readonly(self.times), readonly(self.years), readonly(self.seasons))
        test_seasons(
            values,
            dates,
            self.min_obs,
            make_scratch(dates),
            output_into(self.places_in(BANDS), result, status),
        )
