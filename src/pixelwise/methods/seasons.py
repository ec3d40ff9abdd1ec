"""Seasons of the calendar: which one each date belongs to, and series without their cycle."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pixelwise.errors import ParameterError, unknown
from pixelwise.jit import readonly
from pixelwise.method import BoundMethod
from pixelwise.methods.binding import BoundKernel, series_of
from pixelwise.times import TimeAxis

__all__ = ["BoundAnomalies", "Season", "check_season", "seasons_of", "without_seasons"]

Season = Literal["month", "quarter"] | int

NAMED = {"month": 12, "quarter": 4}
#: Days of a season, counted from 1 January, where a year has a day or two more than they have together.
DAYS = {52: 7, 73: 5}


def check_season(method: str, season: Season) -> None:
    """Refuse what is no division of the year."""
    if isinstance(season, str):
        if season not in NAMED:
            raise unknown(f"season of {method}", season, (*NAMED, "a number of seasons per year"))
    elif isinstance(season, bool) or not 2 <= season <= 366:
        raise ParameterError(f"season={season}: {method} needs month, quarter, or 2 to 366 seasons per year")


def seasons_of(axis: TimeAxis, season: Season) -> NDArray[np.int64]:
    """Return the season of each date, from 0.

    Parameters
    ----------
    axis
        The dates.
    season
        ``month``, ``quarter`` (January to March is the first), or how many seasons make a year: 23 for MODIS' 16 days,
        24 for half-months, 36 for dekads, 46 for 8 days, 52 for weeks, 72 for pentads. Numbers that divide 12 are whole
        months, multiples of 12 equal parts of months, others equal parts of the year; 52 and 73 are parts of seven and
        five days from 1 January, the last of which is longer.

    Returns
    -------
    (time,) int64
    """
    count = NAMED[season] if isinstance(season, str) else season
    month: NDArray[np.int64] = axis.dates.astype("datetime64[M]").astype(np.int64) % 12
    day: NDArray[np.int64] = (axis.days - axis.dates.astype("datetime64[M]").astype("datetime64[D]")).astype(np.int64)
    place: NDArray[np.int64]
    if 12 % count == 0:
        place = month * count // 12
    elif count % 12 == 0:
        parts = count // 12
        # The last part of a month is longer: half-months begin on the 1st and 16th, dekads on the 1st, 11th and 21st.
        place = month * parts + np.minimum(day * parts // 30, parts - 1)
    elif count in DAYS:
        # 366 / 52 days are more than seven: the second week would begin in the first part.
        place = np.minimum((axis.days_of_year - 1) // DAYS[count], count - 1)
    else:
        place = (axis.days_of_year - 1) * count // 366
    return place


def without_seasons(method: BoundMethod, axis: TimeAxis, season: Season | None) -> BoundMethod:
    """Return the bound method, to be applied to series without their seasonal cycle where `season` says which."""
    return method if season is None else BoundAnomalies(method.bands, method, seasons_of(axis, season))


@dataclass(frozen=True, eq=False)
class BoundAnomalies(BoundKernel):
    """A bound method applied to series from which the mean of each season is taken, and the mean of all put back.

    Attributes
    ----------
    method
        The method.
    seasons
        (time,) the season of each date.
    """

    method: BoundMethod
    seasons: NDArray[np.int64]

    @property
    def in_pieces(self) -> bool:
        """The anomalies are further arrays."""
        return True

    def fill(self, inputs: tuple[NDArray[Any], ...], result: NDArray[Any], status: NDArray[np.uint8]) -> None:
        """Compute one block."""
        from pixelwise.methods._season_kernels import take_off_means

        values = series_of("deseasonalise", inputs, len(self.seasons))
        count = int(self.seasons.max(initial=0)) + 1
        anomalies = values.astype(np.float64)
        take_off_means(anomalies, readonly(self.seasons), np.empty((3, count)))
        result[:], status[:] = self.method((anomalies,))
