"""How the numbers of a band become classes: what the classes are, and which pixel is in which."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixelwise.bands import STATUS_BAND, Band, Status
from pixelwise.grid import Block
from pixelwise.pictures.agreement import opposed
from pixelwise.pictures.source import Source

__all__ = [
    "LARGEST_SCHEME",
    "MISSING",
    "OUTSIDE",
    "Class",
    "CodeScheme",
    "ContinuousScheme",
    "RangeScheme",
    "Scheme",
    "TestScheme",
]

#: The codes of pixels without a value, and of those that were not asked for.
MISSING, OUTSIDE = 255, 254

#: The first two codes of every test.
UNTESTED, CONSTANT = 0, 1

#: Classes have the codes from 0 on.
LARGEST_SCHEME = 250


@dataclass(frozen=True)
class Class:
    """One class.

    Attributes
    ----------
    label, color
        For legends; the colour is ``#rrggbb``.
    tested
        Whether its pixels have a test; true where there is no question of one.
    optional
        Whether legends leave it out where it has no pixel.
    limits
        Lowest and highest value, equal if a single value fills it; None if it is no range.
    """

    label: str
    color: str
    tested: bool = True
    optional: bool = False
    limits: tuple[float, float] | None = None


@dataclass(frozen=True, eq=False)
class Scheme(ABC):
    """The classes of a band.

    Attributes
    ----------
    band
        The band.
    classes
        From low to high, that is from the bottom to the top of a legend; what is not on that scale comes first.
    downwards
        Whether legends begin with the first class, as calendars do, instead of the last.
    """

    band: Band
    classes: tuple[Class, ...]
    downwards: bool = False

    @property
    def listed(self) -> Sequence[int]:
        """Numbers of the classes, from the top of a legend to its bottom."""
        places = range(len(self.classes))
        return places if self.downwards else places[::-1]

    def codes(self, source: Source, block: Block) -> NDArray[np.uint8]:
        """Return (y, x) numbers of classes; `MISSING` where there is no value, `OUTSIDE` where none was asked for.

        Parameters
        ----------
        source
            What holds the band; all the scheme's bands.
        block
            Rows and columns, within its grid.
        """
        codes = np.full((block.height, block.width), MISSING, np.uint8)
        status = source.read(STATUS_BAND.name, block) if STATUS_BAND.name in source else None
        self._fill(codes, source, block, status)
        if status is not None:
            codes[status == Status.OUTSIDE] = OUTSIDE
        return codes

    @abstractmethod
    def _fill(self, codes: NDArray[np.uint8], source: Source, block: Block, status: NDArray[Any] | None) -> None:
        """Put the numbers of classes into an array of `MISSING`."""


@dataclass(frozen=True, eq=False)
class TestScheme(Scheme):
    """Decreases and increases, or negative and positive numbers, by the significance of each pixel's test.

    A pixel without a p-value is neither significant nor not significant: such pixels form the class "not tested", and
    constant series, where there is nothing to test, one of their own. A number of exactly 0 has no direction, an
    infinite one has that of its sign. Where the p-value tests another number (the least-squares line of `trend`, whose
    slope is another), a pixel is significant only if that number has no opposite sign.

    Attributes
    ----------
    pvalue
        Name of the band of p-values or q-values.
    levels
        Levels of significance, ascending; a p-value below one is significant, a q-value not above it.
    adjusted
        Whether these are q-values.
    flags
        Name of a band in which 1 says that a pixel is significant at the only level; empty if there is none.
    tested
        Name of the band that the p-values test; empty if it is the band itself.
    split
        Whether numbers that are not significant are divided by their sign; else all of them are one class.

    Classes are in this order: not tested; constant series; negative at each level, the strictest first; then, if
    `split`, not significantly negative, zero, not significantly positive, or else one for all three; and positive at
    each level.
    """

    pvalue: str = ""
    levels: tuple[float, ...] = (0.05,)
    adjusted: bool = False
    flags: str = ""
    tested: str = ""
    split: bool = True

    def _fill(self, codes: NDArray[np.uint8], source: Source, block: Block, status: NDArray[Any] | None) -> None:
        values, pvalues = source.read(self.band.name, block), source.read(self.pvalue, block)
        known, has_test = ~np.isnan(values), np.isfinite(pvalues)
        tested, without = known & has_test, known & ~has_test
        codes[without] = UNTESTED
        if status is not None:
            # Some methods have only NaN there: not for lack of data, which "missing" would imply.
            codes[(status == Status.TEST_UNDEFINED) & ~has_test] = UNTESTED
            codes[(status == Status.CONSTANT) & ~has_test] = CONSTANT
        falls, rises = tested & (values < 0), tested & (values > 0)
        count, middle = len(self.levels), 3 if self.split else 1
        first = CONSTANT + 1
        if self.split:
            places = falls, tested & (values == 0), rises
            for place, pixels in enumerate(places, first + count):
                codes[pixels] = place
        else:
            codes[tested] = first + count
        agrees = True if not self.tested else ~opposed(values, source.read(self.tested, block))
        # From the loosest level to the strictest, each takes over.
        for number in range(count, 0, -1):
            passed = self._passed(pvalues, self.levels[number - 1], source, block) & agrees
            codes[falls & passed] = CONSTANT + number
            codes[rises & passed] = first + count + middle + count - number

    def _passed(self, pvalues: NDArray[Any], level: float, source: Source, block: Block) -> NDArray[np.bool_]:
        if self.flags:
            return source.read(self.flags, block) == 1  # type: ignore[no-any-return]
        with np.errstate(invalid="ignore"):
            own = pvalues.dtype.type(level)
            return pvalues <= own if self.adjusted else pvalues < own  # type: ignore[no-any-return]


@dataclass(frozen=True, eq=False)
class RangeScheme(Scheme):
    """Ranges of values, each from its lower limit to below that of the next one.

    Attributes
    ----------
    starts
        The lower limit of each range but the first, ascending.
    infinite
        Whether the last class is that of infinite numbers.
    """

    starts: tuple[float, ...] = ()
    infinite: bool = False

    def _fill(self, codes: NDArray[np.uint8], source: Source, block: Block, status: NDArray[Any] | None) -> None:
        values = source.read(self.band.name, block)
        known = np.isfinite(values)
        codes[known] = range_of(values[known], self.starts)
        if self.infinite:
            codes[np.isinf(values)] = len(self.classes) - 1


def range_of(values: NDArray[Any], starts: Sequence[float]) -> NDArray[np.uint8]:
    """Return the number of the range of each value: how many of the ascending lower limits it reaches."""
    # In the type of the values: 0.05 of float32 is not that of float64.
    kind = values.dtype if values.dtype.kind == "f" else np.dtype(np.float64)
    limits = np.asarray(starts, dtype=np.float64).astype(kind)
    return np.searchsorted(limits, values, side="right").astype(np.uint8)


@dataclass(frozen=True, eq=False)
class CodeScheme(Scheme):
    """One class for each code.

    Attributes
    ----------
    numbers
        The code of each class.
    """

    numbers: tuple[int, ...] = ()

    def _fill(self, codes: NDArray[np.uint8], source: Source, block: Block, status: NDArray[Any] | None) -> None:
        values = source.read(self.band.name, block)
        for place, number in enumerate(self.numbers):
            codes[values == number] = place


@dataclass(frozen=True, eq=False)
class ContinuousScheme(Scheme):
    """A colour bar in many steps; what lies beyond its ends has the colour of the end.

    Attributes
    ----------
    low, high
        The ends.
    beyond
        Whether there are values below and above.
    """

    low: float = 0.0
    high: float = 1.0
    beyond: tuple[bool, bool] = (False, False)

    def _fill(self, codes: NDArray[np.uint8], source: Source, block: Block, status: NDArray[Any] | None) -> None:
        values = source.read(self.band.name, block)
        known = ~np.isnan(values)
        place = (values[known].astype(np.float64) - self.low) / (self.high - self.low) * len(self.classes)
        codes[known] = np.clip(place, 0, len(self.classes) - 1).astype(np.uint8)


def codes_in(band: Band) -> Mapping[int, str]:
    """Return the words for the codes of a band, which its description lists: ``0 ok, 1 no observation``."""
    found: dict[int, str] = {}
    for part in band.description.split(","):
        number, _, words = part.strip().partition(" ")
        if number.isdecimal() and words:
            found[int(number)] = words
    return found
