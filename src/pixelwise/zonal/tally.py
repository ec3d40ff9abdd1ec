"""Statistics of weighted values that arrive block by block."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixelwise.bands import Floats

__all__ = ["DAYS", "Circular", "Median", "Moments", "Reader", "Search", "search_medians"]

#: Length of a year in days: as decimal years count it (docs/architecture.md, "Time").
DAYS = 365.25

#: Weights this close to half of the total are half of it: exactextract gives fractions as float32.
TIE = 1e-7

#: Bits that one pass over the data decides.
DIGIT = 16

#: Zones and bands whose medians are searched in one pass: each needs up to two histograms of 0.5 MB.
TOGETHER = 64

#: From numbers of searches to each of them with values and weights, block by block.
Reader = Callable[[Sequence[int]], Iterable[tuple[int, NDArray[Any], Floats]]]


@dataclass(slots=True)
class Moments:
    """Weighted mean and standard deviation, by the update of Chan, Golub & LeVeque (1983).

    Attributes
    ----------
    weight, deviation, squares
        Sums of weights, the mean of deviations from `origin`, and the weighted sum of squared deviations from it.
    origin
        The first value: a constant has exactly that mean, and no deviation.
    """

    weight: float = 0.0
    deviation: float = 0.0
    squares: float = 0.0
    origin: float = 0.0

    def add(self, values: Floats, weights: Floats) -> None:
        """Add (value,) values with their weights, which are positive."""
        weight = float(weights.sum())
        if weight == 0:
            return
        if self.weight == 0:
            self.origin = float(values[0])
        deviations = values - self.origin
        mean = float(weights @ deviations) / weight
        total = self.weight + weight
        step = mean - self.deviation
        self.squares += float(weights @ (deviations - mean) ** 2) + step * step * self.weight * weight / total
        self.deviation += step * weight / total
        self.weight = total

    @property
    def mean(self) -> float:
        """The mean."""
        return self.origin + self.deviation

    @property
    def sd(self) -> float:
        """The standard deviation of the values in the zone, not of a population that they are a sample of."""
        return math.sqrt(self.squares / self.weight)


@dataclass(slots=True)
class Circular:
    """Weighted circular mean and standard deviation of days of the year (Mardia & Jupp 2000, *Directional Statistics*).

    Attributes
    ----------
    weight, cosines, sines
        Sums of weights, and weighted sums of the cosines and sines of the angles.
    """

    weight: float = 0.0
    cosines: float = 0.0
    sines: float = 0.0

    def add(self, values: Floats, weights: Floats) -> None:
        """Add (value,) days, 1 being 1 January, with their weights."""
        angles = (values - 1) * (2 * math.pi / DAYS)
        self.weight += float(weights.sum())
        self.cosines += float(weights @ np.cos(angles))
        self.sines += float(weights @ np.sin(angles))

    @property
    def mean(self) -> float:
        """The day in whose direction the mean of all days points; NaN if they cancel out."""
        if self._length < 1e-9:
            return math.nan
        return 1 + (math.atan2(self.sines, self.cosines) / (2 * math.pi) % 1) * DAYS

    @property
    def sd(self) -> float:
        """The circular standard deviation ``sqrt(-2 log R)`` in days, where R is the length of the mean direction."""
        return math.sqrt(-2 * math.log(min(self._length, 1.0))) * DAYS / (2 * math.pi) if self._length else math.inf

    @property
    def _length(self) -> float:
        return math.hypot(self.cosines, self.sines) / self.weight


@dataclass(slots=True)
class Median:
    """The weighted median of values that are kept, until there are too many.

    Attributes
    ----------
    most
        How many values are kept.
    weight
        Sum of the weights.
    full
        Whether there were more, so that the median has to be searched: `search_medians`.
    """

    most: int
    weight: float = 0.0
    full: bool = False
    _count: int = 0
    _parts: list[tuple[NDArray[Any], Floats]] = field(default_factory=list)

    def add(self, values: NDArray[Any], weights: Floats) -> None:
        """Add (value,) values with their weights."""
        self.weight += float(weights.sum())
        self._count += len(values)
        if self._count > self.most:
            self.full = True
            self._parts.clear()
        else:
            self._parts.append((values, weights))

    @property
    def value(self) -> float:
        """The median: half of the weight is on either side; where two values divide it exactly, their mean."""
        values = np.concatenate([values for values, _ in self._parts])
        order = np.argsort(values, kind="stable")
        below = np.cumsum(np.concatenate([weights for _, weights in self._parts])[order])
        low, high = (values[order[_place(below, self.weight, upper=upper)]] for upper in (False, True))
        return (float(low) + float(high)) / 2


def _place(below: Floats, weight: float, *, upper: bool) -> int:
    """Return the index where cumulated weights reach half of the total; if `upper`, where they exceed it."""
    half = weight * (0.5 + TIE if upper else 0.5 - TIE)
    return min(int(np.searchsorted(below, half, side="right" if upper else "left")), len(below) - 1)


@dataclass(slots=True)
class Search:
    """A median that is searched bit by bit: the bits of both middle values that are known so far.

    Attributes
    ----------
    weight
        Sum of all weights.
    kind
        The type of the values: float32 or float64.
    prefixes, below
        The known upper bits of the lower and the upper middle value, and the weight of smaller values.
    """

    weight: float
    kind: np.dtype[Any]
    prefixes: list[int] = field(default_factory=lambda: [0, 0])
    below: list[float] = field(default_factory=lambda: [0.0, 0.0])
    _histograms: dict[int, Floats] = field(default_factory=dict)

    @property
    def passes(self) -> int:
        """How often the data are read."""
        return self.kind.itemsize * 8 // DIGIT

    def add(self, values: NDArray[Any], weights: Floats, step: int) -> None:
        """Count values in pass number `step`, from 0."""
        keys = _keys(values)
        shift = np.uint64(DIGIT * (self.passes - 1 - step))
        keys >>= shift
        for prefix in set(self.prefixes):
            chosen = keys >> np.uint64(DIGIT) == prefix
            digits = (keys[chosen] & np.uint64(2**DIGIT - 1)).astype(np.int64)
            histogram = self._histograms.setdefault(prefix, np.zeros(2**DIGIT))
            histogram += np.bincount(digits, weights=weights[chosen], minlength=2**DIGIT)

    def finish_pass(self) -> None:
        """Decide the next bits."""
        for side in (0, 1):
            counts = self._histograms[self.prefixes[side]]
            present = np.flatnonzero(counts)
            sums = self.below[side] + np.cumsum(counts[present])
            place = _place(sums, self.weight, upper=bool(side))
            self.below[side] = float(sums[place - 1]) if place else self.below[side]
            self.prefixes[side] = (self.prefixes[side] << DIGIT) | int(present[place])
        self._histograms.clear()

    @property
    def value(self) -> float:
        """The median, when all bits are known."""
        low, high = (_number(key, self.kind) for key in self.prefixes)
        return (low + high) / 2


def search_medians(searches: Sequence[Search], read: Reader) -> None:
    """Find medians by reading the data again, once for every 16 bits of a value.

    Memory is bounded however many values there are.

    Parameters
    ----------
    searches
        What is searched.
    read
        Reads the data again.
    """
    for first in range(0, len(searches), TOGETHER):
        together = range(first, min(first + TOGETHER, len(searches)))
        for step in range(max(searches[number].passes for number in together)):
            wanted = [number for number in together if step < searches[number].passes]
            for number, values, weights in read(wanted):
                searches[number].add(values, weights, step)
            for number in wanted:
                searches[number].finish_pass()


def _keys(values: NDArray[Any]) -> NDArray[np.uint64]:
    """Return unsigned integers in the order of floating-point values, which is that of their bits but for the sign."""
    bits = values.dtype.itemsize * 8
    unsigned = np.dtype(f"u{values.dtype.itemsize}")
    sign = unsigned.type(1 << (bits - 1))
    # Adding zero makes -0 the same as 0.
    raw = (values + values.dtype.type(0)).view(unsigned)
    return np.asarray(np.where(raw & sign, ~raw, raw | sign), np.uint64)


def _number(key: int, kind: np.dtype[Any]) -> float:
    """Return the value of a key."""
    bits = kind.itemsize * 8
    sign = 1 << (bits - 1)
    raw = key ^ sign if key & sign else key ^ (2**bits - 1)
    return float(np.array(raw, f"u{kind.itemsize}").view(kind)[()])
