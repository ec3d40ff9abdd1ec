"""Calendar periods: which layers of a stack make up each year, season, month or dekad."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

import numpy as np

from pixelwise.choices import Every
from pixelwise.dates.axis import TimeAxis
from pixelwise.dates.calendars import Calendar
from pixelwise.errors import InputError, ParameterError
from pixelwise.words import not_a_choice

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["Incomplete", "Periods", "Season", "make_periods"]

SEASONS: Final = ("DJF", "MAM", "JJA", "SON")

#: Months have up to 31 days and the median month 30 or 28, half-years have 181 to 184: a layer may come a tenth later
#: than the usual gap with nothing missing.
CALENDAR_SLACK: Final = 1.1

#: Where a layer is missing, the next one comes about a gap later than usual; less than half a gap is the leap day, or
#: another orbit.
LATER: Final = 0.5

#: A period is incomplete if it covers less than half of what a typical one covers, wherever it lies, and a third of it
#: is bare in one piece: a few scenes spread over a year find its maximum, as many in its winter do not.
LEAST_COVER: Final = 0.5
LONGEST_BARE: Final = 1 / 3
#: A period that covers less than this share, and lacks the rest in one piece, is reported: a monthly series without one
#: month of a year, even February (28 of 365 days), but not one of 16 days without a single layer (4 %).
FULL_COVER: Final = 0.925
#: With fewer layers in a typical period, one more or less makes such a difference by chance.
LEAST_LAYERS: Final = 3
#: A value this many standard deviations from the median is unusual; and the standard deviation of a normal distribution
#: in median absolute deviations.
DEVIATIONS: Final = 3.0
NORMAL: Final = 1.4826


@dataclass(frozen=True, slots=True)
class Season:
    """The days of each year that count, ``MM-DD..MM-DD``, both ends included.

    Attributes
    ----------
    first, last
        (month, day); `last` is before `first` if the season crosses the new year. (2, 29) as the last day is the end of
        February in every year.
    """

    first: tuple[int, int]
    last: tuple[int, int]

    def __post_init__(self) -> None:
        for month, day in (self.first, self.last):
            try:
                date(2000, month, day)
            except ValueError as error:
                raise ParameterError(f"season {self}: {month:02d}-{day:02d} is not a valid day ({error})") from None
        if self.first == (2, 29):
            raise ParameterError(
                f"season {self} begins on a day that most years do not have: begin it on 02-28 or 03-01"
            )

    def __str__(self) -> str:
        return "..".join(f"{month:02d}-{day:02d}" for month, day in (self.first, self.last))

    @classmethod
    def parse(cls, text: str) -> Season:
        """Read ``05-01..09-30``.

        Raises
        ------
        ParameterError
            For anything else, or days that no year has.
        """
        match = re.fullmatch(r"(\d\d)-(\d\d)\.\.(\d\d)-(\d\d)", text.strip(), re.ASCII)
        if not match:
            raise ParameterError(f"season {text!r} is not MM-DD..MM-DD, such as 05-01..09-30 or 11-01..04-30")
        month, day, last_month, last_day = map(int, match.groups())
        return cls((month, day), (last_month, last_day))

    @property
    def crosses(self) -> bool:
        """Whether it begins in one year and ends in the next."""
        return self.last < self.first

    @property
    def middle(self) -> tuple[int, int, int]:
        """Its middle in years without a 29 February: years after the one in which it ends (0 or -1), month, day."""
        last_day = 28 if self.last == (2, 29) else self.last[1]
        end = date(2002, self.last[0], last_day)
        start = date(2001 if self.crosses else 2002, *self.first)
        # Defined as the middle of a month or period is for `Moment.date`.
        middle = start + timedelta(days=((end - start).days + 1) // 2)
        return middle.year - end.year, middle.month, middle.day

    def contains(self, month: NDArray[np.int64], day: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return which days, given as arrays of months from 1 and days of the month, count."""
        of_year = 100 * month + day
        after = of_year >= 100 * self.first[0] + self.first[1]
        before = of_year <= 100 * self.last[0] + self.last[1]
        return after | before if self.crosses else after & before


@dataclass(frozen=True, slots=True)
class Incomplete:
    """A period with missing layers, and the reason it counts as incomplete."""

    label: str
    reason: str

    def __str__(self) -> str:
        return f"{self.label}: {self.reason}"


@dataclass(frozen=True, eq=False)
class Periods:
    """The periods that become layers, in order.

    Attributes
    ----------
    axis
        Their dates: whole years for calendar years, otherwise the middle of each period, on dates that make the axis
        regular.
    labels
        ``2004``; ``2004/05`` for a season that crosses the new year; ``2005-DJF``, ``2004-07``, ``2004-07-d2``.
    ordinals
        (period,) int64: the year in which it ends; for seasons, months and dekads, their number since the year 0. They
        depend only on the calendar, not on which layers exist.
    members
        For each period the indices of its layers, ascending.
    days
        For each period, the day of each of its layers, where 1 is 1 January of the year in which the period begins: the
        day of the year, which continues beyond 365 in a period that crosses the new year.
    starts, ends
        (period,) datetime64[D], the first and last day that counts.
    dropped
        Incomplete periods that were left out, in order.
    short
        Periods among those kept whose layers cover less of the days than those of a typical period.
    empty
        Labels of the periods in between that have no layer.
    unused
        Number of layers that belong to none of these periods.
    """

    axis: TimeAxis
    labels: tuple[str, ...]
    ordinals: NDArray[np.int64]
    members: tuple[NDArray[np.int64], ...]
    days: tuple[NDArray[np.int64], ...]
    starts: NDArray[np.datetime64]
    ends: NDArray[np.datetime64]
    dropped: tuple[Incomplete, ...]
    short: tuple[Incomplete, ...]
    empty: tuple[str, ...]
    unused: int

    def __post_init__(self) -> None:
        lengths = {
            len(part)
            for part in (self.axis, self.labels, self.ordinals, self.members, self.days, self.starts, self.ends)
        }
        if len(lengths) != 1:
            raise ParameterError(f"parts of periods have different lengths, {sorted(lengths)}: expected one per period")
        indices = np.concatenate(self.members) if self.members else np.empty(0, np.int64)
        if not all(len(one) for one in self.members) or (np.diff(indices) <= 0).any():
            raise ParameterError("the layers of periods must ascend, and every period must have one")
        for array in (self.ordinals, *self.members, *self.days, self.starts, self.ends):
            array.flags.writeable = False

    def __len__(self) -> int:
        return len(self.labels)

    def subset(self, kept: NDArray[np.bool_]) -> Periods:
        """Return the periods where `kept` is true."""
        rows = np.flatnonzero(kept).tolist()
        axis = TimeAxis(self.axis.dates[kept], self.axis.years[kept], self.axis.precision, self.axis.calendar)
        used = sum(len(self.members[row]) for row in rows)
        labels = tuple(self.labels[row] for row in rows)
        return replace(
            self,
            axis=axis,
            labels=labels,
            short=tuple(one for one in self.short if one.label in labels),
            ordinals=self.ordinals[kept],
            members=tuple(self.members[row] for row in rows),
            days=tuple(self.days[row] for row in rows),
            starts=self.starts[kept],
            ends=self.ends[kept],
            unused=self.unused + sum(map(len, self.members)) - used,
        )

    @property
    def band_names(self) -> tuple[str, ...]:
        """The dates in ISO 8601, in the form that `read_names` reads: ``2004`` or ``2004-07-16``."""
        if self.axis.precision == "year":
            return tuple(str(year) for year in self.axis.calendar_years)
        return tuple(str(day) for day in self.axis.days)


def make_periods(axis: TimeAxis, every: Every = "year", season: str | None = None) -> Periods:
    """Group layers into calendar periods.

    A layer covers the days around it, up to half of the usual longest gap within a period. Typical means the median of
    all periods; for seasons, months and dekads, of the same one in other years. Unusual means more than 3 standard
    deviations from it, estimated by the median absolute deviation. Incomplete periods are dropped:

    - any whose layers cover less than half of what those of a typical period cover, if that is unusual, a third of
      the period is bare in one piece, and a typical period has 3 layers. If more than a third of the periods are
      like this, none is typical, and all are kept.
    - the first, if its first layer comes later after its start than in all periods between first and last, or than is
      usual, by more than half the median gap between layers, and later than that gap; the last likewise.

    Others that cover less than 92.5 % of what a typical one covers, if that is unusual and 7.5 % of the period is bare
    in one piece, or less than half in any case, are kept and listed in `Periods.short`.

    Parameters
    ----------
    axis
        Dates of the layers.
    every
        ``year``; ``season`` (DJF, MAM, JJA, SON; December belongs to the next year's DJF); ``month``;
        ``dekad`` (days 1-10, 11-20, 21 to the end of the month).
    season
        ``MM-DD..MM-DD``, the days of each year that count; a season that crosses the new year belongs to the year in
        which it ends.

    Returns
    -------
    Periods
        The periods that have a layer.

    Raises
    ------
    ParameterError
        For an unknown `every`, an invalid `season`, or one given together with ``every="season"``.
    InputError
        When dates are not known precisely enough, or fewer than 2 periods remain.
    """
    if every not in get_args(Every):
        raise not_a_choice("every", every, get_args(Every))
    if every == "season" and season is not None:
        raise ParameterError(
            f"season={season!r} cannot be combined with every='season', which has its own: leave one out"
        )
    window = Season.parse(season) if season is not None else None
    if window is not None and (window.first, window.last) == ((1, 1), (12, 31)):
        window = None  # the same years have the same dates, however they were requested
    if window is not None and window.last == (2, 28) and axis.precision == "month":
        window = Season(window.first, (2, 29))  # February is not cut where only months are known
    _check_precision(axis, every, window)
    calendar = _Calendar(every, window)
    numbers, inside = calendar.number(axis.days)
    used = np.flatnonzero(inside)
    if used.size == 0:
        what = f"layer within the season {window}" if window and len(axis) else "layer"
        raise InputError(f"no {what}: {_covered(axis)}; choose other dates")
    ordinals, begins = np.unique(numbers[used], return_index=True)
    members = np.split(used, begins[1:])
    starts, ends, between = calendar.bounds(axis, ordinals)
    kept, dropped, short = _find_incomplete(axis.days, calendar, ordinals, members, starts, ends)
    count = np.count_nonzero(kept)
    if count < 2:
        left = f"{count} {every}{'' if count == 1 else 's'}"
        why = f" ({'; '.join(map(str, dropped))})" if dropped else ""
        raise InputError(
            f"{left} left, but at least 2 are needed: {_covered(axis)}{why}; choose shorter periods or a longer series"
        )
    gaps = between[~np.isin(between, ordinals)]
    ordinals, starts, ends = ordinals[kept], starts[kept], ends[kept]
    members = [members[row] for row in np.flatnonzero(kept)]
    gaps = gaps[(gaps > ordinals[0]) & (gaps < ordinals[-1])]
    new_years = starts.astype("datetime64[Y]").astype("datetime64[D]")
    return Periods(
        axis=calendar.axis(ordinals, axis.calendar),
        labels=tuple(calendar.label(int(ordinal)) for ordinal in ordinals),
        ordinals=ordinals,
        members=tuple(np.array(one) for one in members),
        days=tuple(
            (axis.days[one] - new_year).astype(np.int64) + 1 for one, new_year in zip(members, new_years, strict=True)
        ),
        starts=starts,
        ends=ends,
        dropped=dropped,
        short=short,
        empty=tuple(calendar.label(int(ordinal)) for ordinal in gaps),
        unused=len(axis) - sum(map(len, members)),
    )


@dataclass(frozen=True, slots=True)
class _Calendar:
    """The numbered periods of one kind; `season` restricts which days count."""

    every: Every
    season: Season | None

    def number(self, days: NDArray[np.datetime64]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Return for each datetime64[D] the number of its period, and whether it counts."""
        first_of_month = days.astype("datetime64[M]")
        months: NDArray[np.int64] = first_of_month.astype(np.int64) + 12 * 1970  # since the year 0
        year, month = months // 12, months % 12 + 1
        day: NDArray[np.int64] = (days - first_of_month.astype("datetime64[D]")).astype(np.int64) + 1
        inside = self.season.contains(month, day) if self.season else np.ones(days.shape, dtype=np.bool_)
        if self.every == "season":
            return (months + 1) // 3, inside  # December begins the next year's first
        if self.every == "month":
            return months, inside
        if self.every == "dekad":
            return 3 * months + np.minimum((day - 1) // 10, 2), inside
        if self.season and self.season.crosses:
            return year + (100 * month + day >= 100 * self.season.first[0] + self.season.first[1]), inside
        return year, inside

    def bounds(
        self, axis: TimeAxis, ordinals: NDArray[np.int64]
    ) -> tuple[NDArray[np.datetime64], NDArray[np.datetime64], NDArray[np.int64]]:
        """Return the first and last day that counts in each period, and the numbers of all periods in the range."""
        # A period begins at most a year before its first layer, and ends at most a year after its last.
        first, last = axis.days[[0, -1]].astype("datetime64[Y]")
        begin, end = first - np.timedelta64(1, "Y"), last + np.timedelta64(2, "Y")
        every_day = np.arange(begin.astype("datetime64[D]"), end.astype("datetime64[D]"))
        numbers, inside = self.number(every_day)
        numbers, every_day = numbers[inside], every_day[inside]
        starts = every_day[np.searchsorted(numbers, ordinals, side="left")]
        ends = every_day[np.searchsorted(numbers, ordinals, side="right") - 1]
        return starts, ends, np.unique(numbers)

    def label(self, ordinal: int) -> str:
        """Return the usual name of a period."""
        if self.every == "season":
            return f"{ordinal // 4}-{SEASONS[ordinal % 4]}"
        if self.every == "month":
            return f"{ordinal // 12}-{ordinal % 12 + 1:02d}"
        if self.every == "dekad":
            return f"{ordinal // 36}-{ordinal // 3 % 12 + 1:02d}-d{ordinal % 3 + 1}"
        if self.season and self.season.crosses:
            return f"{ordinal - 1}/{ordinal % 100:02d}"
        return str(ordinal)

    def phases(self, ordinals: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the place of each period in its year: seasons are compared with the same season of other years."""
        return ordinals % {"year": 1, "season": 4, "month": 12, "dekad": 36}[self.every]

    def middle(self, ordinal: int) -> datetime:
        """Return the date that represents a period: the same in every year, and such that `TimeAxis` finds steps."""
        if self.every == "season":
            return datetime(ordinal // 4, ordinal % 4 * 3 + 1, 16)
        if self.every == "month":
            return datetime(ordinal // 12, ordinal % 12 + 1, 16)
        if self.every == "dekad":
            return datetime(ordinal // 36, ordinal // 3 % 12 + 1, (6, 16, 26)[ordinal % 3])
        if self.season:
            years, month, day = self.season.middle
            return datetime(ordinal + years, month, day)
        return datetime(ordinal, 1, 1)

    def axis(self, ordinals: NDArray[np.int64], calendar: Calendar) -> TimeAxis:
        """Return the dates of periods, in the calendar of the layers."""
        precision: Literal["year", "day"] = "year" if self.every == "year" and self.season is None else "day"
        middles = [self.middle(int(ordinal)) for ordinal in ordinals]
        return TimeAxis.from_dates(middles, [precision] * len(ordinals), calendar)


def _check_precision(axis: TimeAxis, every: Every, season: Season | None) -> None:
    """Refuse periods and seasons shorter than the precision of the layers' dates."""
    if axis.precision == "year":
        for what, given in (("every", every if every != "year" else None), ("season", season)):
            if given is not None:
                raise InputError(
                    f"{what}={str(given)!r} needs dates, but only the year of the layers is known: "
                    "use every='year' without a season, or give dates with --times"
                )
    step = axis.step
    monthly = axis.precision == "month" or (step is not None and step.unit in ("year", "month"))
    if every == "dekad" and monthly:
        known = "are known to the month only" if axis.precision == "month" else f"come every {step}"
        raise InputError(f"every='dekad' is shorter than a month, but the layers {known}: use every='month' or longer")
    whole = season is None or (season.first[1] == 1 and (date(2000, *season.last) + timedelta(days=1)).day == 1)
    if axis.precision == "month" and not whole:
        raise InputError(
            f"season={str(season)!r} cuts a month in two, but the layers are known to the month only: "
            "begin it on the first day of a month and end it on the last"
        )


def _find_incomplete(
    days: NDArray[np.datetime64],
    calendar: _Calendar,
    ordinals: NDArray[np.int64],
    members: Sequence[NDArray[np.int64]],
    starts: NDArray[np.datetime64],
    ends: NDArray[np.datetime64],
) -> tuple[NDArray[np.bool_], tuple[Incomplete, ...], tuple[Incomplete, ...]]:
    """Return which periods are kept, the incomplete ones, and those that are kept although they are short."""
    first = days[[one[0] for one in members]]
    last = days[[one[-1] for one in members]]
    gaps = np.diff(np.unique(days)).astype(np.int64)  # layers of the same day are no gap
    gap = float(np.median(gaps)) if gaps.size else np.inf
    labels = [calendar.label(int(ordinal)) for ordinal in ordinals]
    before, after = (first - starts).astype(np.int64), (ends - last).astype(np.int64)
    lacking, short, reasons = _compare_covers(days, calendar.phases(ordinals), members, before, after, gap)
    found = {row: Incomplete(labels[row], reasons[row]) for row in np.flatnonzero(lacking | short).tolist()}
    kept = ~lacking
    for end, missing, verb, limit, layer in (
        (0, before, "begins", "after its start", first),
        (-1, after, "ends", "before its end", last),
    ):
        # A single short year between must not make every end look usual.
        others = missing[1:-1][~lacking[1:-1]]
        most = min(float(others.max()), _ordinary(others)[1]) if others.size else -np.inf
        if missing[end] > max(CALENDAR_SLACK * gap, most + LATER * gap):
            compared = ""
            if others.size:
                beyond = missing[end] > others.max()
                compared = f"others {others.max()} at most, " if beyond else f"others {np.median(others):g} usually, "
            reason = f"{verb} {layer[end]}, {missing[end]} days {limit} ({compared}layers are {gap:g} apart)"
            kept[end] = False
            found[range(len(members))[end]] = Incomplete(labels[end], reason)
    return (
        kept,
        tuple(one for row, one in sorted(found.items()) if not kept[row]),
        tuple(one for row, one in sorted(found.items()) if kept[row]),
    )


def _compare_covers(
    days: NDArray[np.datetime64],
    phases: NDArray[np.int64],
    members: Sequence[NDArray[np.int64]],
    before: NDArray[np.int64],
    after: NDArray[np.int64],
    gap: float,
) -> tuple[NDArray[np.bool_], NDArray[np.bool_], list[str]]:
    """Return which periods cover too little to be kept, which of the others are short, and what each covers.

    `before` and `after` are the days between a period's ends and its layers.
    """
    steps = [np.diff(days[one]).astype(np.int64) for one in members]
    holes = np.array([step.max(initial=0) for step in steps])
    lengths = before + after + np.array([step.sum() for step in steps]) + 1
    counts = np.array([len(one) for one in members])
    lacking, short = np.zeros((2, len(members)), dtype=np.bool_)
    reasons = [""] * len(members)
    for phase in np.unique(phases).tolist():
        rows = np.flatnonzero(phases == phase)
        if len(rows) < 3:
            continue  # of two, neither is typical
        # Two layers cover everything between them if their gap is no longer than the longest one usually is.
        reach = int(max(float(np.median(holes[rows])), gap) // 2)
        bare = np.column_stack([before[rows] - reach, holes[rows] - 2 * reach - 1, after[rows] - reach]).clip(min=0)
        inner = np.array([np.minimum(steps[row], 2 * reach + 1).sum() for row in rows.tolist()])
        covered = np.minimum(before[rows], reach) + 1 + inner + np.minimum(after[rows], reach)
        covers = covered / lengths[rows]
        typical = float(np.median(covers))
        odd = covers < _ordinary(covers)[0]
        half = (covers < LEAST_COVER * typical) & (np.median(counts[rows]) >= LEAST_LAYERS)
        piece = (bare - np.median(bare, axis=0)).max(axis=1) / lengths[rows]
        incomplete = odd & half & (piece >= LONGEST_BARE)
        if 3 * np.count_nonzero(incomplete) > len(rows):
            incomplete[:] = False  # a record of two kinds has no typical period
        lacking[rows] = incomplete
        less = odd & (covers < FULL_COVER * typical) & (piece >= 1 - FULL_COVER)
        short[rows] = ~incomplete & (half | less)
        for row, cover in zip(rows.tolist(), covers.tolist(), strict=True):
            layers = f"{counts[row]} layers cover" if counts[row] > 1 else "only layer covers"
            reasons[row] = f"its {layers} {cover:.0%} of its days, those of a typical one {typical:.0%}"
    return lacking, short, reasons


def _ordinary(values: NDArray[Any]) -> tuple[float, float]:
    """Return the limits beyond which a value is unusual, robust against a few outliers."""
    middle = float(np.median(values))
    spread = DEVIATIONS * NORMAL * float(np.median(np.abs(values - middle)))
    return middle - spread, middle + spread


def _covered(axis: TimeAxis) -> str:
    """Describe the available dates."""
    if len(axis) == 0:
        return "the stack is empty"
    if len(axis) == 1:
        return f"the only layer is of {axis.days[0]}"
    return f"the {len(axis)} layers are from {axis.days[0]} to {axis.days[-1]}"
