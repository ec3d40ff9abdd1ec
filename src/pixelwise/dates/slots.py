"""Slots of the year: the calendar season of each date, as asked for or as the step of the dates has it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

import numpy as np

from pixelwise.dates.axis import TimeAxis, Unit

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["NAMED_SEASONS", "Season", "Slots", "seasons_of", "slots_of"]

Season = Literal["month", "quarter"] | int

NAMED_SEASONS: Final = {"month": 12, "quarter": 4}
#: Days of a season, counted from 1 January, for seasons that leave a day or two of the year over.
DAYS = {52: 7, 73: 5}
#: Slots in a year of layers at such a step.
PER_YEAR: Final[dict[Unit, int]] = {
    "month": 12, "16-day": 23, "half-month": 24, "dekad": 36, "8-day": 46, "week": 52, "pentad": 72,
}  # fmt: skip

MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
    "December",
)  # fmt: skip


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
    count = NAMED_SEASONS[season] if isinstance(season, str) else season
    month, day = _month_and_day(axis)
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


def _month_and_day(axis: TimeAxis) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return month and day of month of each date, both from 0."""
    months = axis.dates.astype("datetime64[M]")
    day: NDArray[np.int64] = (axis.days - months.astype("datetime64[D]")).astype(np.int64)
    return months.astype(np.int64) % 12, day


@dataclass(frozen=True, eq=False)
class Slots:
    """The slot of the year in which each layer lies: those of one slot are compared with each other.

    Attributes
    ----------
    what
        What one slot is: ``month``, ``half-month``, ``3-month season``, ``calendar day``, ... or ``year``.
    labels
        (time,) int64 slot of each layer, from 0, in the order of the year.
    names
        The slots that occur: months by name, others by month and day of their first layer.
    regular
        Whether they follow from the step of the dates.
    """

    what: str
    labels: NDArray[np.int64]
    names: tuple[str, ...]
    regular: bool = True

    def __str__(self) -> str:
        if self.what == "year":
            return "one layer per year"
        return f"{len(self.names)} {self.what}{'s' if len(self.names) > 1 else ''}"


def slots_of(axis: TimeAxis) -> Slots:
    """Return the slots of layers.

    They are the units of the calendar on which the step of the dates lies (`TimeAxis.step`): months, half-months,
    dekads, MODIS' 16 and 8 days, weeks, pentads. Steps of several months are seasons by the month of their date; one
    layer a year, or in several years, makes one slot. Daily layers have the calendar days as slots, 29 February among
    them, so that 1 March is the same slot in every year. Steps of seven days, such as ISO weeks, are weeks from
    1 January. Layers of the same date count as one for the step. All others, such as single scenes, have the calendar
    month of their date: no finer slot would hold one from each year.

    Parameters
    ----------
    axis
        The dates.
    """
    _, once = np.unique(axis.dates, return_index=True)
    step = TimeAxis(axis.dates[once], axis.years[once], axis.precision, axis.calendar).step
    if axis.precision == "year" or (step is not None and step.unit == "year"):
        return Slots("year", np.zeros(len(axis), dtype=np.int64), ("year",))
    month, day = _month_and_day(axis)
    if step is not None and step.unit in PER_YEAR:
        several = step.unit == "month" and step.count > 1 and 12 % step.count == 0
        what = f"{step.count}-month season" if several else step.unit
        return _numbered(axis, what, seasons_of(axis, PER_YEAR[step.unit]))
    if step is not None and step.count == 1:
        return _numbered(axis, "calendar day", 31 * month + day)
    if step is not None and step.count == 7:
        return _numbered(axis, "week", seasons_of(axis, 52))
    return _numbered(axis, "calendar month", month, regular=False)


def _numbered(axis: TimeAxis, what: str, places: NDArray[np.int64], *, regular: bool = True) -> Slots:
    """Return slots numbered without gaps."""
    _, first, labels = np.unique(places, return_index=True, return_inverse=True)
    days = [str(axis.days[index])[5:] for index in first]
    if what in ("month", "calendar month"):
        days = [MONTHS[int(day[:2]) - 1] for day in days]
    return Slots(f"{what} period" if what.endswith("-day") else what, labels.astype(np.int64), tuple(days), regular)
