"""Hirsch and Slack's test for a monotonic trend within seasons."""

from __future__ import annotations

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
from pixelwise.methods.seasons import Season, check_season, seasons_of

__all__ = ["SeasonalKendall", "seasonal_kendall"]

#: Which composites are one of each season.
EVERY = {"month": "month", "quarter": "season", 4: "season", 12: "month", 36: "dekad"}

#: Of noise of 12 seasons 0, 0, 0.15, 1.0, 2.1 and 2.8 % are below 0.05 in 2 to 7 years.
FEWEST_YEARS = 5

# The order is that of the kernel's results (kernels/seasons.py).
BANDS = (
    Band("slope", "Median change per year between pairs of dates of one season", "{value}/year"),
    Band("tau", "Kendall's rank correlation of value and time within seasons (tau-b)"),
    Band("s", "Sum of the Mann-Kendall scores of the seasons"),
    Band("var_s", "Variance of the score, with the covariances of seasons"),
    Band("z", "Standard normal score, with correction for continuity"),
    Band("pvalue", "Two-sided p-value of no trend, seasons of a year correlated (Hirsch & Slack 1984)"),
    Band("pvalue_independent", "Two-sided p-value of no trend, seasons independent (Hirsch et al. 1982)"),
    Band("pvalue_homogeneity", "P-value of all seasons having the same trend (van Belle & Hughes 1984)"),
    Band("var_s_independent", "Variance of the score of independent seasons", optional=True),
    Band("n", "Number of valid observations", integer=True),
)


def seasonal_kendall(*, season: Season = "month", min_obs: int = 4) -> Method:
    """Test for a monotonic trend within seasons, such as among Januaries, among Februaries, and so on.

    With the score ``s[g]``, its variance ``var[g]`` and ``z[g] = s[g] / sqrt(var[g])`` of `mann_kendall` in each of
    ``m`` seasons, and ``n[g]`` values at ranks ``R[g]`` in ``N`` years, ``(n[g] + 1) / 2`` where missing::

        slope              = median of (y[j] - y[i]) / (t[j] - t[i]) over pairs of dates of one season
        s                  = sum of s[g],  tau = s / sum of sqrt((n0 - n1) n0)
        var_s              = sum of var[g] + sum over g != h of cov[g, h]
        cov[g, h]          = (K[g, h] + 4 sum of R[g] R[h] - N (n[g] + 1) (n[h] + 1)) / 3
        K[g, h]            = sum over years i < j of sign((y[j, g] - y[i, g]) (y[j, h] - y[i, h]))
        z                  = (s - sign(s)) / sqrt(var_s)
        pvalue             = 2 P(Z > |z|),  Z standard normal
        pvalue_independent = the same without covariances
        pvalue_homogeneity = P(X > sum of z[g]**2 - m mean(z[g])**2),  X chi-square with m - 1 degrees of freedom

    ``pvalue`` allows for the correlation of the seasons of a year, which monthly series usually have, but not for that
    from year to year; it needs about ten years. Where ``pvalue_homogeneity`` is small, seasons have different
    trends, and one slope for all of them may hide it. It assumes independent seasons.

    Parameters
    ----------
    season
        ``month``, ``quarter`` (January to March is the first), or a number of seasons per year, such as 23 for
        MODIS' 16 days, 24 for half-months, 36 for dekads, 46 for 8 days.
    min_obs
        Fewest valid values of a pixel, at least 3.

    Returns
    -------
    Method
        Bands ``slope`` (value per year), ``tau``, ``s``, ``var_s``, ``z``, ``pvalue``, ``pvalue_independent``,
        ``pvalue_homogeneity``, ``n``; on request ``var_s_independent``.

    Raises
    ------
    ParameterError
        For another season, or two layers of one season and year: make one of them (``--composite HOW --every ...``).

    Notes
    -----
    The status of a pixel, the first that applies: 1 no valid value, 2 fewer than `min_obs`, 6 an infinite value,
    3 all values equal, 4 all of the same date; 4 no season has two values; 3 the values of each season are equal
    (slope and s 0); 6 covariances leave no variance. A season of one value adds
    nothing. ``pvalue_homogeneity`` is NaN where fewer than two seasons have values that differ.

    Below five years ``pvalue`` finds next to nothing. In two years it is never below 0.3, in three never below 0.08,
    whatever the series and however many seasons. In four years a series of which every season rises every year has
    0.051 with 4 seasons, 0.044 with 12 and 0.041 with very many, and 0.15 % of noise is below 0.05. In five years that
    series has 0.015, and 1 % of noise is below 0.05; in seven years 0.002 and 2.8 %. ``pvalue_independent``, which
    takes the seasons of a year for independent, has 0.0015 for two years of 12 seasons that all rise.

    `scipy.stats.mstats.kendalltau_seasonal` gives the same p-values of both kinds. pyMannKendall's
    ``correlated_seasonal_test`` has no correction for continuity.

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
    """The test of Hirsch and Slack; see `seasonal_kendall`."""

    season: Season = "month"
    min_obs: int = 4

    name: ClassVar[str] = "seasonal_kendall"

    def __post_init__(self) -> None:
        check_whole(self.name, "min_obs", self.min_obs, 3, "as 2 values always rise or fall")
        check_season(self.name, self.season)

    @property
    def bands(self) -> tuple[Band, ...]:
        """Slope first."""
        return BANDS

    @property
    def season_term(self) -> bool:
        """Seasons are compared with themselves only."""
        return True

    @property
    def _advice(self) -> str:
        every = EVERY.get(self.season)
        return f"make one of them (--composite HOW --every {every}), or " if every else ""

    def cautions(self, axis: TimeAxis) -> tuple[str, ...]:
        """Say that a few years cannot be significant."""
        most = int(np.bincount(seasons_of(axis, self.season), minlength=1).max())
        if most >= FEWEST_YEARS:
            return ()
        years = f"{most} year{'s' if most > 1 else ''}"
        least = "is never below 0.08" if most < 4 else "is about 0.05 even where each season rises each year"
        text = (
            f"{self.name} finds next to nothing below {FEWEST_YEARS} years: with {years} of a season its pvalue {least}"
            "; take a longer series, or pvalue_independent if you can assume that the seasons of a year are independent"
        )
        return (text,)

    def bind(self, axis: TimeAxis, bands: Sequence[str] | None, inputs: Mapping[str, TimeAxis]) -> BoundSeasonalKendall:
        """Put the dates into a table of years by seasons."""
        only_the_response(self.name, inputs)
        seasons, years = seasons_of(axis, self.season), axis.calendar_years
        place = years * 1000 + seasons
        again = np.flatnonzero(np.diff(place) == 0)
        if len(again):
            first = again[0]
            raise ParameterError(
                f"seasonal_kendall with season={self.season}: {axis.days[first]} and {axis.days[first + 1]} are of one "
                f"season of {years[first]}, of which one layer is wanted: {self._advice}name the number of seasons "
                "that a year has"
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
        Fewest valid values.
    """

    times: Floats
    years: NDArray[np.int64]
    seasons: NDArray[np.int64]
    min_obs: int

    def fill(self, inputs: tuple[NDArray[Any], ...], result: NDArray[Any], status: NDArray[np.uint8]) -> None:
        """Test the pixels of one block."""
        from pixelwise.kernels.output import Output
        from pixelwise.kernels.seasons import Dates, make_scratch, test_seasons

        values = series_of("seasonal_kendall", inputs, len(self.times))
        dates = Dates(readonly(self.times), readonly(self.years), readonly(self.seasons))
        test_seasons(
            values,
            dates,
            self.min_obs,
            make_scratch(dates),
            Output(self.places_in(BANDS), result, status),
        )
