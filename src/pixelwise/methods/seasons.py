"""Calendar seasons: the season of each date, and series without their seasonal cycle."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from pixelwise.bands import Floats, Status
from pixelwise.dates.axis import TimeAxis
from pixelwise.errors import ParameterError
from pixelwise.kernels.jit import readonly
from pixelwise.method import BoundMethod
from pixelwise.methods.binding import BoundKernel, series_of
from pixelwise.words import not_a_choice, shown

__all__ = ["BoundAnomalies", "Season", "check_season", "seasons_of", "without_seasons"]

Season = Literal["month", "quarter"] | int

NAMED = {"month": 12, "quarter": 4}
#: Days of a season, counted from 1 January, for seasons that leave a day or two of the year over.
DAYS = {52: 7, 73: 5}


class Adjusted(Protocol):
    """Computation of a bound method on values whose slope has a larger variance than that of independent ones."""

    def __call__(
        self, values: NDArray[Any], factors: Floats, result: NDArray[Any], status: NDArray[np.uint8], /
    ) -> None:
        """Write (band, pixel) and (pixel,) status; `factors` (pixel,) multiply the variance."""


def check_season(method: str, season: Season) -> None:
    """Refuse a season that does not divide the year."""
    if isinstance(season, str):
        if season not in NAMED:
            raise not_a_choice("season", season, (*NAMED, "a number of seasons per year"))
    elif isinstance(season, bool) or not 2 <= season <= 366:
        raise ParameterError(f"season={shown(season)}: {method} needs month, quarter, or 2 to 366 seasons per year")


def seasons_of(axis: TimeAxis, season: Season) -> NDArray[np.int64]:
    """Return the season of each date, from 0.

    Parameters
    ----------
    axis
        The dates.
    season
        ``month``, ``quarter`` (January to March is the first), or the number of seasons in a year: 23 for MODIS' 16
        days, 24 for half-months, 36 for dekads, 46 for 8 days, 52 for weeks, 72 for pentads. Numbers that divide 12
        give whole months, multiples of 12 equal parts of months, others equal parts of the year; 52 and 73 give parts
        of seven and five days from 1 January, the last of which is longer.

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
        # 366 / 52 is more than seven days: the second week would begin in the first part.
        place = np.minimum((axis.days_of_year - 1) // DAYS[count], count - 1)
    else:
        place = (axis.days_of_year - 1) * count // 366
    return place


def without_seasons(
    method: BoundMethod, compute: Adjusted, axis: TimeAxis, season: Season | None
) -> BoundMethod | BoundAnomalies:
    """Return the bound method; if there is a `season`, one that first removes the seasonal cycle.

    `compute` is the computation of the method on values and factors for the variance.
    """
    if season is None:
        return method
    labels = seasons_of(axis, season)
    order = np.argsort(labels, kind="stable")
    counts = np.bincount(labels)
    starts = np.concatenate([[0], np.cumsum(counts[counts > 0])])
    return BoundAnomalies(method.bands, compute, axis.years, axis.calendar_years, order, starts)


@dataclass(frozen=True, eq=False)
class BoundAnomalies(BoundKernel):
    """A bound method applied to series minus the level of each season, plus the overall median.

    Season and trend are estimated together: if seasons are observed in few and different years, plain means of each
    season would absorb part of the trend, and slopes would come out as 0.2 to 0.9 of the truth.

    Attributes
    ----------
    compute
        Writes bands and status, with the variance of the slope multiplied by factors.
    times, years
        (time,) decimal years, and calendar years.
    order, starts
        (time,) indices of dates season by season, and (season + 1,) where each season begins.
    """

    compute: Adjusted
    times: Floats
    years: NDArray[np.int64]
    order: NDArray[np.int64]
    starts: NDArray[np.int64]

    @property
    def in_pieces(self) -> bool:
        """The anomalies take more arrays."""
        return True

    def fill(self, inputs: tuple[NDArray[Any], ...], result: NDArray[Any], status: NDArray[np.uint8]) -> None:
        """Compute one block."""
        from pixelwise.kernels.seasons import Calendar, make_season_scratch, take_off_seasons

        values = series_of("deseasonalise", inputs, len(self.times))
        calendar = Calendar(readonly(self.times), readonly(self.years), readonly(self.order), readonly(self.starts))
        anomalies = values.astype(np.float64)
        factors = np.empty(values.shape[1])
        take_off_seasons(anomalies, calendar, make_season_scratch(calendar), factors)
        self.compute(readonly(anomalies), factors, result, status)
        # Seasons observed in only one year do not count, but their values do exist.
        lost = (status == Status.NO_OBSERVATION) & ~np.isnan(values).all(axis=0)
        status[lost] = Status.TOO_FEW
