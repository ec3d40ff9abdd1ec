"""P-values replaced by q-values in bounded memory, however many there are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixelwise.bands import Floats
from pixelwise.maps.scratch import Numbers

__all__ = ["Ranks", "Row"]

#: P-values are told apart by 16 bits of their bit pattern at a time. Patterns of numbers from 0 to 1 are in the order
#: of the numbers.
DIGIT = 16
DIGITS = 1 << DIGIT
#: Bytes of numbers that are read at once: with all that is made of them, 30 MB.
PIECE = 4 << 20
#: As many are sorted in memory, which takes 60 bytes each.
SORTED = 1 << 19
#: With more than this that differ only in their last 16 bits, counting takes less time than sorting.
COUNTED = 1 << 13
#: The sum of reciprocals is computed in pieces of at most this many terms: as many as NumPy before 2.3 adds in pairs.
TERMS = 1 << 13


class Ranks:
    """Adjusts p-values from the largest to the smallest; what it keeps is what smaller ones must know of larger ones.

    Parameters
    ----------
    tests
        How many there are.
    q
        The false discovery rate.
    dependent
        Whether tests may depend on each other in any way.

    Attributes
    ----------
    threshold, rejected
        The largest p-value that is significant, and how many are; known when all p-values were given.
    """

    def __init__(self, tests: int, q: float, *, dependent: bool = False) -> None:
        self.threshold: float | None = None
        self.rejected = 0
        self._q = q
        self._tests = float(tests)
        self._harmonic = _harmonic(1, tests) if dependent and tests else None
        #: How many p-values are not given yet.
        self._left = tests
        #: The smallest of all adjusted so far, which no smaller p-value exceeds.
        self._least = 1.0

    def adjust(self, values: Floats, counts: NDArray[np.int64] | None = None) -> Floats:
        """Return q-values of the largest p-values that are left.

        The operations are those of scipy, in the same order: p * (m / i), times the sum of reciprocals, and the
        smallest from the right.

        Parameters
        ----------
        values
            Ascending; equal ones may be given together or one by one.
        counts
            How often each occurs; None for once.
        """
        total = len(values) if counts is None else int(counts.sum())
        ranks = np.arange(1, total + 1) if counts is None else np.cumsum(counts)
        ranks += self._left - total
        found = values * (self._tests / ranks)
        if self._harmonic is not None:
            found *= self._harmonic
        found[-1] = min(found[-1], self._least)
        np.minimum.accumulate(found[::-1], out=found[::-1])
        self._left -= total
        self._least = float(found[0])
        if self.threshold is None:
            place = int(np.searchsorted(found, self._q, side="right")) - 1
            if place >= 0:
                self.threshold, self.rejected = float(values[place]), int(ranks[place])
        return found


@dataclass(frozen=True)
class Row:
    """A row of p-values that is replaced by their q-values, part by part.

    Attributes
    ----------
    numbers
        The row: p-values, and NaN where there is none.
    folder
        For files.
    ranks
        What adjusts them; larger ones come first.
    """

    numbers: Numbers
    folder: Path | None
    ranks: Ranks

    def replace(self) -> None:
        """Replace all p-values by their q-values, rounded to the type of the row."""
        self._adjust(0, self.numbers.count, 8 * self.numbers.dtype.itemsize)

    @property
    def _unsigned(self) -> np.dtype[Any]:
        """The type of bit patterns."""
        return np.dtype(f"u{self.numbers.dtype.itemsize}")

    def _pieces(self, start: int, count: int) -> Iterator[tuple[int, NDArray[Any]]]:
        """Yield where a piece of the row begins, and the bit patterns in it."""
        most = PIECE // self.numbers.dtype.itemsize
        for begin in range(start, start + count, most):
            yield begin, self.numbers.read(begin, min(most, start + count - begin)).view(self._unsigned)

    def _tested(self, patterns: NDArray[Any]) -> NDArray[np.bool_]:
        """Return which bit patterns are p-values: NaN has larger ones than 1."""
        one: NDArray[Any] = np.ones(1, dtype=self.numbers.dtype).view(self._unsigned)
        return patterns <= one[0]  # type: ignore[no-any-return]

    def _adjust(self, start: int, count: int, left: int) -> None:
        """Replace `count` p-values from `start` on, which differ only in their last `left` bits."""
        if count <= COUNTED or (left > DIGIT and count <= SORTED):
            self._sort(start, count)
        elif left <= DIGIT:
            self._count(start, count)
        else:
            self._divide(start, count, left)

    def _sort(self, start: int, count: int) -> None:
        """Replace `count` p-values from `start` on, few enough to be sorted in memory."""
        values = self.numbers.read(start, count)
        places = np.flatnonzero(~np.isnan(values))
        if len(places):
            places = places[np.argsort(values[places])]
            values[places] = self.ranks.adjust(values[places].astype(np.float64))
            self.numbers.write(start, values)

    def _count(self, start: int, count: int) -> None:
        """Count each of the 65 536 p-values that there may be, and look q-values up."""
        counts, above = np.zeros(DIGITS, dtype=np.int64), 0
        for _, patterns in self._pieces(start, count):
            counts += np.bincount(self._digits(patterns, 0), minlength=DIGITS)
            above = int(patterns[0]) & ~(DIGITS - 1)
        used = np.flatnonzero(counts)
        values = (used + above).astype(self._unsigned).view(self.numbers.dtype).astype(np.float64)
        table = np.zeros(DIGITS, dtype=self.numbers.dtype)
        table[used] = self.ranks.adjust(values, counts[used])
        for begin, patterns in self._pieces(start, count):
            self.numbers.write(begin, table[patterns & (DIGITS - 1)])

    def _divide(self, start: int, count: int, left: int) -> None:
        """Put p-values with the same next bits together, adjust the largest first, and put all back where they were."""
        # Exponent and first digits of all; then few groups, each of which gets much of a piece at once.
        left -= DIGIT if left == 8 * self.numbers.dtype.itemsize else min(8, left - DIGIT)
        counts = np.zeros(DIGITS, dtype=np.int64)
        for _, patterns in self._pieces(start, count):
            counts += np.bincount(self._digits(patterns[self._tested(patterns)], left), minlength=DIGITS)
        if counts.max() == count:
            self._adjust(start, count, left)
            return
        begins = np.cumsum(counts) - counts
        with Numbers(int(counts.sum()), self.numbers.dtype, self.folder) as together:
            self._gather(together, begins.copy(), start, count, left)
            inner = Row(together, self.folder, self.ranks)
            for last, size in _runs(counts, SORTED if left > DIGIT else COUNTED):
                begin = int(begins[last] + counts[last]) - size
                if size == counts[last]:
                    inner._adjust(begin, size, left)
                else:
                    inner._sort(begin, size)
            self._put_back(together, begins, start, count, left)

    def _gather(self, together: Numbers, cursors: NDArray[np.int64], start: int, count: int, shift: int) -> None:
        """Write p-values into another row, those of each digit from its cursor on."""
        for _, patterns in self._pieces(start, count):
            chosen = patterns[self._tested(patterns)]
            order, groups = self._grouped(chosen, shift)
            chosen = chosen[order].view(self.numbers.dtype)
            for digit, first, after in groups:
                together.write(int(cursors[digit]), chosen[first:after])
                cursors[digit] += after - first

    def _put_back(self, together: Numbers, cursors: NDArray[np.int64], start: int, count: int, shift: int) -> None:
        """Replace p-values by what became of them in the other row."""
        for begin, patterns in self._pieces(start, count):
            places = np.flatnonzero(self._tested(patterns))
            order, groups = self._grouped(patterns[places], shift)
            values = patterns.view(self.numbers.dtype)
            found = np.empty(len(places), dtype=values.dtype)
            for digit, first, after in groups:
                together.read_into(int(cursors[digit]), found[first:after])
                cursors[digit] += after - first
            values[places[order]] = found
            self.numbers.write(begin, values)

    def _digits(self, patterns: NDArray[Any], shift: int) -> NDArray[np.uint16]:
        return (patterns >> shift & (DIGITS - 1)).astype(np.uint16)

    def _grouped(self, patterns: NDArray[Any], shift: int) -> tuple[NDArray[np.int64], Iterator[tuple[int, int, int]]]:
        """Return an order in which equal digits are together, and for each digit its first place and that after it."""
        digits = self._digits(patterns, shift)
        order = np.argsort(digits, kind="stable")  # a radix sort for 16 bits
        counts = np.bincount(digits, minlength=DIGITS)
        used = np.flatnonzero(counts)
        after = np.cumsum(counts[used])
        return order, zip(used.tolist(), (after - counts[used]).tolist(), after.tolist(), strict=True)


def _runs(counts: NDArray[np.int64], small: int) -> Iterator[tuple[int, int]]:
    """Yield, from the last to the first, groups that are not small, and runs of small ones to be sorted together.

    Parameters
    ----------
    counts
        Sizes of all groups.
    small
        The largest size of a small one.

    Yields
    ------
    tuple
        The last group of a run, and the total size of the run: at most `SORTED` if there are several.
    """
    last, size = -1, 0
    for one in np.flatnonzero(counts)[::-1].tolist():
        own = int(counts[one])
        if last >= 0 and (own > small or size + own > SORTED):
            yield last, size
            last, size = -1, 0
        if own > small:
            yield one, own
        else:
            last, size = (one if last < 0 else last), size + own
    if last >= 0:
        yield last, size


def _harmonic(first: int, count: int) -> float:
    """Return the sum of the reciprocals of `count` whole numbers, to the bit that NumPy's sum of an array of them has.

    NumPy (from 2.3 on) adds in pairs: of more than 128 numbers, both halves, of which the first is a multiple of 8.
    """
    if count <= TERMS:
        return float(np.sum(1 / np.arange(first, first + count, dtype=np.float64)))
    half = count // 2
    half -= half % 8
    return _harmonic(first, half) + _harmonic(first + half, count - half)
