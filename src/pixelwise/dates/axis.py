"""When layers were observed: what is known about a date, and the axis formed by the dates of a stack.

All dates are naive UTC. A decimal year is used only for calculations and never shown as a date.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np

from pixelwise.choices import Period
from pixelwise.dates.calendars import YEAR_DAYS, Calendar, days_since_1970, decimal_years
from pixelwise.errors import ParameterError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

__all__ = ["UNITS", "Moment", "Precision", "Step", "TimeAxis", "Unit", "decimal_year", "iso"]

Precision = Literal["year", "month", "period", "day", "second"]
Unit = Literal["year", "month", "half-month", "dekad", "16-day", "8-day", "week", "pentad", "day"]

#: Units of the calendar, the longest first.
UNITS: Final[tuple[Unit, ...]] = (
    "year", "month", "16-day", "half-month", "dekad", "8-day", "week", "pentad", "day",
)  # fmt: skip

EPOCH = datetime(1970, 1, 1)
DAYS_PER_YEAR = 365.25
#: Layers fewer than this many days of the year apart are more than half a year from those of other years.
HALF_YEAR = 183


@dataclass(frozen=True, slots=True)
class Moment:
    """What a name says about time.

    Attributes
    ----------
    start
        The first instant: 1 January for a year, the first day for a month.
    precision
        ``year``, ``month``, ``period`` (week, pentad, dekad, quarter, date range), ``day`` or ``second``.
    end
        Last day of a month or period; 1 January of the second year of a pair (2001/02); equal to `start` otherwise.
    calendar
        The calendar in which its years, months and days are meant.
    excess, end_excess
        Days after `start` and `end` that only that calendar has: 2 for 30 February, which is kept as the 28th.
    """

    start: datetime
    precision: Precision
    end: datetime
    calendar: Calendar = "standard"
    excess: int = 0
    end_excess: int = 0

    def __post_init__(self) -> None:
        if self.end < self.start:
            raise ValueError(f"{self.end} comes before {self.start}")

    def date(self, period: Period = "start") -> datetime:
        """Return the date that represents it: by `period` for months, periods and year pairs, otherwise the start."""
        if self.precision == "year":
            return self.end if period == "end" else self.start
        if self.precision not in ("month", "period") or period == "start":
            return self.start
        if period == "end":
            return self.end
        # Middle of the days from start to end, both included, in whole days.
        return self.start + timedelta(days=((self.end - self.start).days + self.end_excess + 1) // 2)

    def excess_of(self, period: Period = "start") -> int:
        """Return the days that the date which represents it is later in its own calendar."""
        if self.date(period) == self.start:
            return self.excess
        return self.end_excess if period == "end" else 0

    def __str__(self) -> str:
        return iso(self.start, self.precision)


def iso(date: datetime, precision: Precision) -> str:
    """Format a date in ISO 8601 as precisely as it is known; a year-only date is its first day."""
    return date.isoformat(timespec="seconds") if precision == "second" else date.date().isoformat()


def decimal_year(date: datetime, precision: Precision, calendar: Calendar = "standard", excess: int = 0) -> float:
    """Return the decimal year used in fits: the integer for a year, else 1970 + days since 1970 / 365.25.

    In another calendar, days and the length of a year are its own; see `decimal_years`.
    """
    if precision == "year":
        return float(date.year)
    if calendar == "standard":
        return 1970.0 + (date - EPOCH).total_seconds() / 86400.0 / DAYS_PER_YEAR
    return float(decimal_years(np.array([date], dtype="datetime64[s]"), calendar, np.array([excess]))[0])


@dataclass(frozen=True, slots=True)
class Step:
    """The regular calendar step of an axis: `count` times a `unit`."""

    count: int
    unit: Unit

    def __str__(self) -> str:
        return f"{self.count} {self.unit}s" if self.count > 1 else f"1 {self.unit}"


@dataclass(frozen=True, eq=False)
class TimeAxis:
    """The dates of a stack's layers, ascending.

    Attributes
    ----------
    dates
        (time,) datetime64[s].
    years
        (time,) float64 decimal years; whole numbers where names carry only a year.
    precision
        The coarsest precision among the layers.
    calendar
        The calendar in which the dates are meant; days that the standard calendar lacks are one or two days earlier in
        `dates`, but not in `years`.
    """

    dates: NDArray[np.datetime64]
    years: NDArray[np.float64]
    precision: Precision
    calendar: Calendar = "standard"

    def __post_init__(self) -> None:
        dates = np.array(self.dates, dtype="datetime64[s]")
        years = np.array(self.years, dtype=np.float64)
        if dates.ndim != 1 or dates.shape != years.shape:
            raise ParameterError(
                f"{dates.shape} dates do not match {years.shape} years: expected one of each per layer"
            )
        if np.isnat(dates).any() or not np.isfinite(years).all():
            raise ParameterError("times must be finite")
        if (np.diff(years) < 0).any():
            raise ParameterError("times must ascend")
        dates.flags.writeable = years.flags.writeable = False
        object.__setattr__(self, "dates", dates)
        object.__setattr__(self, "years", years)

    def __len__(self) -> int:
        return len(self.years)

    @classmethod
    def from_dates(
        cls,
        dates: Sequence[datetime],
        precisions: Sequence[Precision],
        calendar: Calendar = "standard",
        excess: Sequence[int] = (),
    ) -> TimeAxis:
        """Build the axis of layers from their ascending dates and the precision of each.

        Parameters
        ----------
        dates, precisions
            One of each per layer.
        calendar
            The calendar in which the dates are meant.
        excess
            Days that each date is later in that calendar, as in `Moment`; none by default.
        """
        order: tuple[Precision, ...] = ("year", "month", "period", "day", "second")
        coarsest = min(precisions, key=order.index)
        later = excess or [0] * len(dates)
        years = [decimal_year(date, p, calendar, days) for date, p, days in zip(dates, precisions, later, strict=True)]
        return cls(np.array(dates, dtype="datetime64[s]"), np.array(years), coarsest, calendar)

    @classmethod
    def from_times(cls, times: NDArray[Any] | Sequence[float]) -> TimeAxis:
        """Build an axis from decimal years or datetime64, for arrays that do not come from files."""
        values = np.asarray(times)
        if values.dtype.kind == "M":
            dates = values.astype("datetime64[s]").tolist()
            precision: Precision = "second" if (values != values.astype("datetime64[D]")).any() else "day"
            return cls.from_dates(dates, [precision] * len(dates))
        years = values.astype(np.float64)
        if (years == np.floor(years)).all():
            return cls((years.astype(np.int64) - 1970).astype("datetime64[Y]"), years, "year")
        seconds = np.round((years - 1970.0) * DAYS_PER_YEAR * 86400.0).astype(np.int64)
        return cls(seconds.astype("datetime64[s]"), years, "second")

    @property
    def days(self) -> NDArray[np.datetime64]:
        """(time,) datetime64[D]."""
        return self.dates.astype("datetime64[D]")

    @property
    def calendar_years(self) -> NDArray[np.int64]:
        """(time,) the year of each date."""
        years: NDArray[np.int64] = self.dates.astype("datetime64[Y]").astype(np.int64) + 1970
        return years

    @property
    def days_of_year(self) -> NDArray[np.int64]:
        """(time,) 1 for 1 January, in the axis' own calendar."""
        new_year = self.dates.astype("datetime64[Y]").astype("datetime64[D]")
        if self.calendar == "standard":
            days: NDArray[np.int64] = (self.days - new_year).astype(np.int64) + 1
            return days
        # Decimal years know the days that our calendar lacks; rounded to seconds.
        since = np.round((self.years - 1970.0) * YEAR_DAYS[self.calendar] * 86400) / 86400
        nothing = np.zeros(len(self), dtype=np.int64)
        days = np.floor(since - days_since_1970(new_year, self.calendar, nothing)).astype(np.int64) + 1
        # Years known as years alone are whole numbers, with those of the Julian calendar up to 18 hours early.
        return np.maximum(days, 1)

    @property
    def step(self) -> Step | None:
        """The regular calendar step; None for an irregular axis.

        Units are tried from years down to days. The step is the largest on which all layers lie, whatever is missing in
        between: composites of a period, for instance, lie on a step of that period. Days are a step only if at least
        half of the neighbours are exactly one day apart: otherwise any series of scenes would be regular with a step of
        one day. The last case is single layers of several years, all in the same half of their year: their step is the
        year.
        """
        return self._regular[0] if self._regular else None

    @property
    def index(self) -> NDArray[np.int64] | None:
        """(time,) int64 position of each layer on the regular step, from 0; None for an irregular axis."""
        return self._regular[1] if self._regular else None

    @cached_property
    def _regular(self) -> tuple[Step, NDArray[np.int64]] | None:
        if len(self) < 2:
            return None
        candidates = [*self._positions()]
        if np.ptp(self.days_of_year) < HALF_YEAR:
            candidates.append(("year", self.calendar_years))
        for unit, positions in candidates:
            increments = np.diff(positions)
            if (increments <= 0).any():
                continue  # a finer unit may distinguish them; equal dates are never distinguished
            count = int(np.gcd.reduce(increments))
            if unit != "day" or 2 * np.count_nonzero(increments == count) >= len(increments):
                index = (positions - positions[0]) // count
                index.flags.writeable = False
                return Step(count, unit), index
        return None

    def numbers(self, unit: Unit) -> NDArray[np.int64]:
        """(time,) the year, month, dekad, ... of the calendar that contains each date, numbered consecutively.

        The 16 and 8 days of MODIS composites restart every 1 January: 23 and 46 a year, the last one shorter. So do
        weeks, 52 a year, the last one longer; there are six pentads in a month.
        """
        if unit == "year":
            return self.calendar_years
        if unit == "day":
            days: NDArray[np.int64] = self.days.astype(np.int64)
            return days
        if unit in ("16-day", "8-day"):
            length, per_year = (16, 23) if unit == "16-day" else (8, 46)
            return per_year * self.calendar_years + (self.days_of_year - 1) // length
        if unit == "week":
            return 52 * self.calendar_years + np.minimum((self.days_of_year - 1) // 7, 51)
        months: NDArray[np.int64] = self.dates.astype("datetime64[M]").astype(np.int64)
        day: NDArray[np.int64] = (self.days - self.dates.astype("datetime64[M]")).astype(np.int64) + 1
        if unit == "half-month":
            return 2 * months + day // 16
        if unit == "pentad":
            return 6 * months + np.minimum((day - 1) // 5, 5)
        return 3 * months + np.minimum((day - 1) // 10, 2) if unit == "dekad" else months

    @property
    def finest(self) -> Unit:
        """The unit of the calendar that distinguishes the layers: that of their step, or the day if irregular."""
        if self.precision == "year":
            return "year"
        # Single scenes of several years are distinguished by their day too: data of the same day belong together.
        if self.step is not None and self.step.unit in self._units():
            return self.step.unit
        return "month" if self.precision == "month" else "day"

    def _positions(self) -> Iterator[tuple[Unit, NDArray[np.int64]]]:
        """Yield each unit on whose calendar all layers lie, and their positions on it, coarsest first."""
        yield from ((unit, self.numbers(unit)) for unit in self._units())

    def _units(self) -> Iterator[Unit]:
        doy = self.days_of_year
        months: NDArray[np.int64] = self.dates.astype("datetime64[M]").astype(np.int64)
        month_start = self.dates.astype("datetime64[M]").astype("datetime64[D]")
        next_month = (self.dates.astype("datetime64[M]") + np.timedelta64(1, "M")).astype("datetime64[D]")
        month_end = next_month - np.timedelta64(1, "D")
        day: NDArray[np.int64] = (self.days - month_start).astype(np.int64) + 1
        last = self.days == month_end
        same_day = _all_equal(day) or bool(last.all())
        if self.precision == "year" or (_all_equal(months % 12) and same_day) or _all_equal(doy):
            yield "year"
        # 15 and 16 are the middles of months and quarters (`Moment.date`).
        if same_day or self.precision == "month" or np.isin(day, (15, 16)).all():
            yield "month"
        if np.isin(day, (1, 16)).all():
            yield "half-month"
        # A dekad is represented by its first day, its middle (the 25th or 26th for the third) or its last day.
        if (
            np.isin(day, (1, 11, 21)).all()
            or np.isin(day, (6, 16, 25, 26)).all()
            or (last | np.isin(day, (10, 20))).all()
        ):
            yield "dekad"
        if (doy % 16 == 1).all():
            yield "16-day"
        if (doy % 8 == 1).all():
            yield "8-day"
        # A week counted from 1 January is represented by its first, middle or last day.
        if _all_equal(doy % 7) and doy[0] % 7 in (1, 4, 0):
            yield "week"
        # A pentad is represented by its first day, its middle (the 27th to 29th for the sixth) or its last day.
        if (
            np.isin(day, (1, 6, 11, 16, 21, 26)).all()
            or np.isin(day, (3, 8, 13, 18, 23, 27, 28, 29)).all()
            or (last | np.isin(day, (5, 10, 15, 20, 25))).all()
        ):
            yield "pentad"
        yield "day"


def _all_equal(values: NDArray[np.int64]) -> bool:
    return bool((values == values[0]).all())
