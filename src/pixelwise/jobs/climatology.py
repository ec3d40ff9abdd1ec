"""What is usual at each time of the year: means and standard deviations of its slots over a base period."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from operator import index
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from pixelwise.bands import Floats
from pixelwise.dates.axis import TimeAxis
from pixelwise.dates.slots import Slots, slots_of
from pixelwise.errors import ParameterError
from pixelwise.words import first_of, shown

__all__ = ["FROM_CLIMATOLOGY", "BasePeriod", "Climatology"]

#: Stacks to write that need a climatology.
FROM_CLIMATOLOGY: Final = ("anomalies", "standardized")

#: The shortest period that has averages (WMO-No. 49, Technical Regulations: "period averages").
SHORTEST = 10
#: Years of a period that must have a value, in per cent (WMO-No. 1203, Calculation of Climate Normals, 4.4).
MOST_YEARS = 80


@dataclass(frozen=True)
class BasePeriod:
    """The years over which a climatology is taken, first and last included.

    Raises
    ------
    ParameterError
        When these are not two years, or the last comes before the first.
    """

    first: int
    last: int

    def __post_init__(self) -> None:
        years = (self.first, self.last)
        if not all(isinstance(year, int) and not isinstance(year, bool) and 0 <= year <= 9999 for year in years):
            raise _no_base(years)
        if self.last < self.first:
            raise ParameterError(
                f"base {self}: {self.last} comes before {self.first}; expected the earlier year first, "
                f"{self.last}..{self.first}"
            )

    def __str__(self) -> str:
        return f"{self.first}..{self.last}"

    def __len__(self) -> int:
        return self.last - self.first + 1

    @classmethod
    def of(cls, given: BasePeriod | str | Sequence[int]) -> Self | BasePeriod:
        """Return the period that ``"1991..2020"`` or ``(1991, 2020)`` names."""
        if isinstance(given, BasePeriod):
            return given
        if isinstance(given, str):
            found = re.fullmatch(r"([0-9]{4})\.\.([0-9]{4})", given.strip())
            years = list(map(int, found.groups())) if found else []
        else:
            try:
                years = [index(year) for year in given]
            except TypeError:
                years = []
        if len(years) != 2:
            raise _no_base(given)
        return cls(*years)


def _no_base(given: object) -> ParameterError:
    return ParameterError(f"base {shown(given)} is not a period of years: expected FIRST..LAST, say 1991..2020")


@dataclass(frozen=True, eq=False)
class Climatology:
    """The slots of the layers of a stack, and the layers that say what is usual in each.

    Attributes
    ----------
    slots
        The slot of each layer.
    base
        The base period.
    used
        (time,) whether a layer lies in the base period.
    years
        (slot,) years of the base period that have a layer in each slot.
    """

    slots: Slots
    base: BasePeriod
    used: NDArray[np.bool_]
    years: NDArray[np.int64]

    @classmethod
    def of(cls, axis: TimeAxis, base: BasePeriod | None = None) -> Climatology:
        """Return the climatology of layers.

        Parameters
        ----------
        axis
            Their dates.
        base
            The base period; None for all years of the layers.

        Raises
        ------
        ParameterError
            When the base period is not within the years of the layers, or none is of its years. A mean that is said to
            be of 1961 to 1990 must not be one of 1982 to 1990.
        """
        of_layers = axis.calendar_years
        whole = BasePeriod(int(of_layers.min()), int(of_layers.max()))
        base = base or whole
        if base.first < whole.first or base.last > whole.last:
            raise ParameterError(
                f"base {base} is not within the years of the layers, {whole}: choose years of these, or leave base out "
                "for all of them"
            )
        used: NDArray[np.bool_] = (of_layers >= base.first) & (of_layers <= base.last)
        if not used.any():
            raise ParameterError(f"base {base}: none of the {len(axis)} layers, {whole}, is of these years")
        slots = slots_of(axis)
        pairs = np.unique(np.stack([slots.labels[used], of_layers[used]]), axis=1)
        return cls(slots, base, used, np.bincount(pairs[0], minlength=len(slots.names)))

    @property
    def words(self) -> str:
        """What an anomaly is counted from: ``the mean of each half-month, 1982 to 2013``."""
        each = "" if self.slots.what == "year" else f" of each {self.slots.what}"
        return f"the mean{each}, {self.base.first} to {self.base.last}"

    def __str__(self) -> str:
        least, most = int(self.years.min()), int(self.years.max())
        count = f"{most}" if least == most else f"{least} to {most}"
        why = "" if self.slots.regular else "; the dates have no step that recurs every year"
        return f"{self.slots}, base {self.base}, {count} year{'s' if most > 1 else ''}{why}"

    def describe(self) -> dict[str, Any]:
        """Return what `plan` shows, ready for JSON."""
        return {
            "slot": self.slots.what,
            "slots": len(self.slots.names),
            "base": str(self.base),
            "years": [int(self.years.min()), int(self.years.max())],
            "words": str(self),
        }

    def cautions(self) -> Iterator[str]:
        """Yield what to know of the base period before trusting anomalies, one line each.

        The World Meteorological Organization calls a mean an average of a period from ten years on, recommends 30, and
        wants values in 80 % of the years.
        """
        if len(self.base) < SHORTEST:
            years = f"{len(self.base)} years" if len(self.base) > 1 else "1 year"
            yield (
                f"anomalies: the base {self.base} has {years}: means of fewer than {SHORTEST} years depend on the "
                "weather of a few (WMO recommends 30)"
            )
        lacking = np.flatnonzero(100 * self.years < MOST_YEARS * len(self.base))
        if lacking.size:
            worst = lacking[np.argsort(self.years[lacking], kind="stable")]
            listed = first_of([f"{self.slots.names[slot]} in {self.years[slot]}" for slot in worst.tolist()])
            yield (
                f"anomalies: {lacking.size} of {len(self.slots.names)} {self.slots.what}s have layers in fewer than "
                f"{MOST_YEARS} % of the {len(self.base)} years of the base {self.base}: {listed}"
            )

    @np.errstate(divide="ignore", invalid="ignore")
    def anomalies(self, values: NDArray[Any]) -> Floats:
        """Return values minus the mean of their slot.

        Parameters
        ----------
        values
            (time, pixel) with NaN.

        Returns
        -------
        (time, pixel) float64
            NaN also where a pixel has no value of the base period in a slot.

        Notes
        -----
        Sums are taken layer by layer, as NumPy adds in another order when there is only one pixel, and of differences
        from the first value: those of equal values are exactly 0.
        """
        found = np.full(values.shape, np.nan)
        for own, base in self._of_slots():
            usual = values[base].astype(np.float64)
            valid = ~np.isnan(usual)
            first = usual[valid.argmax(axis=0), np.arange(values.shape[1])]
            total = _sum(np.where(valid, usual - first, 0.0))
            found[own] = values[own] - (first + total / valid.sum(axis=0))
        return found

    @np.errstate(divide="ignore", invalid="ignore")
    def standardized(self, anomalies: Floats) -> Floats:
        """Return anomalies divided by the standard deviation (ddof=1) of their slot in the base period.

        Parameters
        ----------
        anomalies
            (time, pixel), as `anomalies` returns them.

        Returns
        -------
        (time, pixel) float64
            NaN also where a pixel has fewer than two values of the base period in a slot, or only equal ones.
        """
        found = np.full(anomalies.shape, np.nan)
        for own, base in self._of_slots():
            usual = anomalies[base]
            valid = ~np.isnan(usual)
            squares, count = _sum(np.where(valid, usual * usual, 0.0)), valid.sum(axis=0)
            deviation = np.sqrt(squares / (count - 1))
            deviation[(count < 2) | (squares == 0)] = np.nan
            found[own] = anomalies[own] / deviation
        return found

    def _of_slots(self) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
        """Yield the layers of each slot, and those of the base period, in time order, if there are any."""
        for slot in np.flatnonzero(self.years):
            own = np.flatnonzero(self.slots.labels == slot)
            yield own, own[self.used[own]]


def _sum(layers: Floats) -> Floats:
    """Return the (pixel,) sum of (time, pixel) values, layer by layer."""
    total: Floats = np.zeros(layers.shape[1])
    for layer in layers:
        total += layer
    return total
