"""Weighted means, standard deviations and medians of many zones, whose values arrive block by block."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixelwise.bands import Floats
from pixelwise.zonal.cover import Runs

__all__ = ["DAYS", "Circular", "Medians", "Moments", "Reader", "Search", "search_medians"]

#: Length of a year in days: as decimal years count it (docs/architecture.md, "Time").
DAYS = 365.25

#: Weights this close to half of the total are half of it: exactextract gives fractions as float32.
TIE = 1e-7

#: Bits that one pass over the data decides, at most.
MOST_BITS = 16

#: Numbers in the histograms of a pass: 64 MB, however many zones there are. With more zones, a pass decides fewer bits.
MOST_BINS = 1 << 23

#: From numbers of searches to values, weights and runs of each, block by block.
Reader = Callable[[Sequence[int]], Iterable[tuple[int, NDArray[Any], Floats, Runs]]]


class Moments:
    """Weighted means and standard deviations, by the update of Chan, Golub & LeVeque (1983).

    Parameters
    ----------
    count
        Number of zones.

    Attributes
    ----------
    weight, deviation, squares
        (zone,) sums of weights, means of deviations from `origin`, and weighted sums of squared deviations from these.
    origin
        (zone,) the first value: a constant has exactly that mean, and no deviation.
    """

    def __init__(self, count: int) -> None:
        self.weight, self.deviation, self.squares, self.origin = (np.zeros(count) for _ in range(4))

    def add(self, values: Floats, weights: Floats, runs: Runs) -> None:
        """Add (value,) values with their weights."""
        zones, weight = runs.places, runs.sum(weights)
        new = self.weight[zones] == 0
        self.origin[zones[new]] = values[runs.starts[new]]
        # Squares of 1e200 are infinite, and so is the standard deviation then.
        with np.errstate(over="ignore", invalid="ignore"):
            deviations = values - runs.spread(self.origin[zones])
            mean = _ratio(runs.sum(weights * deviations), weight)
            share = _ratio(weight, self.weight[zones] + weight)
            step = mean - self.deviation[zones]
            deviations -= runs.spread(mean)
            self.squares[zones] += runs.sum(weights * deviations**2) + step * (self.weight[zones] * share) * step
            self.deviation[zones] += step * share
        self.weight[zones] += weight

    @property
    def mean(self) -> Floats:
        """(zone,) means; NaN where there is no value."""
        return np.where(self.weight > 0, self.origin + self.deviation, np.nan)

    @property
    def sd(self) -> Floats:
        """(zone,) standard deviations of the values in each zone, not of a population that they are a sample of."""
        return np.sqrt(_ratio(self.squares, self.weight, np.nan))


class Circular:
    """Weighted circular mean and standard deviation of days of the year (Mardia & Jupp 2000, *Directional Statistics*).

    Parameters
    ----------
    count
        Number of zones.

    Attributes
    ----------
    weight, cosines, sines
        (zone,) sums of weights, and weighted sums of the cosines and sines of the angles.
    """

    def __init__(self, count: int) -> None:
        self.weight, self.cosines, self.sines = (np.zeros(count) for _ in range(3))

    def add(self, values: Floats, weights: Floats, runs: Runs) -> None:
        """Add (value,) days, 1 being 1 January, with their weights."""
        angles = (values - 1) * (2 * math.pi / DAYS)
        self.weight[runs.places] += runs.sum(weights)
        self.cosines[runs.places] += runs.sum(weights * np.cos(angles))
        self.sines[runs.places] += runs.sum(weights * np.sin(angles))

    @property
    def mean(self) -> Floats:
        """(zone,) the day in whose direction the mean of all days points; NaN if they cancel out."""
        days = 1 + (np.arctan2(self.sines, self.cosines) / (2 * math.pi) % 1) * DAYS
        return np.asarray(np.where(self._length < 1e-9, np.nan, days))

    @property
    def sd(self) -> Floats:
        """(zone,) circular standard deviations ``sqrt(-2 log R)`` in days; R is the length of the mean direction."""
        with np.errstate(divide="ignore"):
            found = np.abs(np.log(np.minimum(self._length, 1.0)))  # no -0
        return np.asarray(np.sqrt(2 * found) * DAYS / (2 * math.pi))

    @property
    def _length(self) -> Floats:
        return _ratio(np.hypot(self.cosines, self.sines), self.weight, np.nan)


def _ratio(part: Floats, whole: Floats, otherwise: float = 0.0) -> Floats:
    """Return quotients, and another number where the whole is 0."""
    found = np.full(len(whole), otherwise)
    np.divide(part, whole, out=found, where=whole > 0)
    return found


class Medians:
    """Weighted medians of values that are kept, until there are too many.

    Parameters
    ----------
    count
        Number of zones.
    most
        How many values are kept.

    Attributes
    ----------
    weight
        (zone,) sums of weights.
    full
        Whether there were more values, so that medians have to be searched: `search_medians`.
    """

    def __init__(self, count: int, most: int) -> None:
        self.weight = np.zeros(count)
        self.full = False
        self._left = most
        self._parts: list[tuple[NDArray[Any], Floats, NDArray[np.int32]]] = []

    def add(self, values: NDArray[Any], weights: Floats, runs: Runs) -> None:
        """Add (value,) values with their weights."""
        self.weight[runs.places] += runs.sum(weights)
        self._left -= len(values)
        if self._left < 0:
            self.full = True
            self._parts.clear()
        elif len(values):
            self._parts.append((values, weights, runs.spread(runs.places.astype(np.int32))))

    @property
    def values(self) -> Floats:
        """(zone,) medians: half of the weight is on either side; where two values divide it exactly, their mean."""
        found = np.full(len(self.weight), np.nan)
        if not self._parts:
            return found
        values, weights, zones = (np.concatenate(parts) for parts in zip(*self._parts, strict=True))
        order = np.lexsort((values, zones))
        values, weights, runs = values[order], weights[order], Runs.of(zones[order].astype(np.int64))
        for zone, start, length in zip(runs.places.tolist(), runs.starts, runs.lengths, strict=True):
            below = np.cumsum(weights[start : start + length])
            low, high = (values[start + _place(below, self.weight[zone], upper=upper)] for upper in (False, True))
            found[zone] = (float(low) + float(high)) / 2
        return found


def _place(below: Floats, weight: float, *, upper: bool) -> int:
    """Return the index where cumulated weights reach half of the total; if `upper`, where they exceed it."""
    half = weight * (0.5 + TIE if upper else 0.5 - TIE)
    return min(int(np.searchsorted(below, half, side="right" if upper else "left")), len(below) - 1)


class Search:
    """Medians of one band that are searched bit by bit: the bits of both middle values that are known so far.

    Parameters
    ----------
    weight
        (zone,) sums of all weights.
    kind
        The type of the values: float32 or float64.

    Attributes
    ----------
    left
        How many bits are not known yet.
    """

    def __init__(self, weight: Floats, kind: np.dtype[Any]) -> None:
        self.weight, self.kind = weight, kind
        self.left = kind.itemsize * 8
        #: (side, zone) the known upper bits of the lower and the upper middle value, and the weight of smaller values.
        self._prefixes = np.zeros((2, len(weight)), np.uint64)
        self._below = np.zeros((2, len(weight)))
        self._counts: list[Floats] = []
        self._bits = 0

    def begin_pass(self, bits: int) -> None:
        """Prepare histograms of the next bits."""
        self._bits = min(bits, self.left)
        self.left -= self._bits
        # The upper middle value needs its own only where it is known to be another number.
        sides = 1 if (self._prefixes[0] == self._prefixes[1]).all() else 2
        self._counts = [np.zeros(len(self.weight) << self._bits) for _ in range(sides)]

    def add(self, values: NDArray[Any], weights: Floats, runs: Runs) -> None:
        """Count values."""
        keys = _keys(values) >> np.uint64(self.left)
        digits = (keys & np.uint64((1 << self._bits) - 1)).astype(np.int64)
        keys >>= np.uint64(self._bits)
        zones = runs.spread(runs.places)
        digits += zones << self._bits
        for counts, prefixes in zip(self._counts, self._prefixes, strict=False):
            same = keys == prefixes[zones]
            np.add.at(counts, digits[same], weights[same])

    def finish_pass(self) -> None:
        """Decide the next bits."""
        for side in (0, 1):
            # For both sides the same if there is one.
            counts = self._counts[-1 if side else 0].reshape(-1, 1 << self._bits)
            sums = np.cumsum(counts, axis=1)
            sums += self._below[side, :, None]
            half = (self.weight * (0.5 + TIE if side else 0.5 - TIE))[:, None]
            reached = (sums > half if side else sums >= half) & (counts > 0)
            # Where rounding leaves none, the last value is that in the middle.
            last = counts.shape[1] - 1 - np.argmax(counts[:, ::-1] > 0, axis=1)
            place = np.where(reached.any(axis=1), np.argmax(reached, axis=1), last)
            before = np.take_along_axis(sums, np.maximum(place - 1, 0)[:, None], axis=1)[:, 0]
            self._below[side] = np.where(place > 0, before, self._below[side])
            self._prefixes[side] = (self._prefixes[side] << np.uint64(self._bits)) | place.astype(np.uint64)
        self._counts = []

    @property
    def values(self) -> Floats:
        """(zone,) medians, when all bits are known; NaN where there is no value."""
        low, high = (_numbers(keys, self.kind) for keys in self._prefixes)
        with np.errstate(over="ignore", invalid="ignore"):
            return np.where(self.weight > 0, (low + high) / 2, np.nan)


def search_medians(searches: Sequence[Search], read: Reader) -> None:
    """Find medians by reading the data again: twice for float32, more often where there are very many zones.

    Memory is bounded however many values and zones there are.

    Parameters
    ----------
    searches
        What is searched, for as many zones each.
    read
        Reads the data again.
    """
    zones = sum(len(search.weight) for search in searches)
    bits = min(MOST_BITS, max(1, int(math.log2(MOST_BINS / (2 * zones))))) if zones else 1
    while wanted := [number for number, search in enumerate(searches) if search.left]:
        for number in wanted:
            searches[number].begin_pass(bits)
        for number, values, weights, runs in read(wanted):
            searches[number].add(values, weights, runs)
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


def _numbers(keys: NDArray[np.uint64], kind: np.dtype[Any]) -> Floats:
    """Return the values of keys."""
    unsigned = np.dtype(f"u{kind.itemsize}")
    sign = unsigned.type(1 << (kind.itemsize * 8 - 1))
    own = keys.astype(unsigned)
    return np.where(own & sign, own ^ sign, ~own).astype(unsigned).view(kind).astype(np.float64)
