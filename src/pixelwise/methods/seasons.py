"""Series without their seasonal cycle."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from pixelwise.bands import Floats, Status
from pixelwise.dates.axis import TimeAxis
from pixelwise.dates.slots import NAMED_SEASONS, Season, seasons_of
from pixelwise.errors import ParameterError
from pixelwise.kernels.jit import readonly
from pixelwise.method import BoundMethod
from pixelwise.methods.binding import BoundKernel, series_of
from pixelwise.words import not_a_choice, shown

__all__ = ["BoundAnomalies", "check_season", "without_seasons"]


class Adjusted(Protocol):
    """Computation of a bound method on values whose slope has a larger variance than that of independent ones."""

    def __call__(
        self, values: NDArray[Any], factors: Floats, result: NDArray[Any], status: NDArray[np.uint8], /
    ) -> None:
        """Write (band, pixel) and (pixel,) status; `factors` (pixel,) multiply the variance."""


def check_season(method: str, season: Season) -> None:
    """Refuse a season that does not divide the year."""
    if isinstance(season, str):
        if season not in NAMED_SEASONS:
            raise not_a_choice("season", season, (*NAMED_SEASONS, "a number of seasons per year"))
    elif isinstance(season, bool) or not 2 <= season <= 366:
        raise ParameterError(f"season={shown(season)}: {method} needs month, quarter, or 2 to 366 seasons per year")


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
