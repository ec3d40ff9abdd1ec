"""What the values of a band are like: all of a small map, or the ends of a large one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixelwise.bands import STATUS_BAND, Band, Status
from pixelwise.errors import ParameterError
from pixelwise.pictures.scheme import LARGEST_SCHEME
from pixelwise.pictures.source import Source

__all__ = ["FEW_NUMBERS", "Ends", "Values", "codes_of", "ends_of", "values_of"]

#: Whole numbers are classes of their own up to this many different ones.
FEW_NUMBERS = 7


@dataclass(frozen=True, eq=False)
class Ends:
    """What some pixels of a band do not tell of all of them.

    Attributes
    ----------
    numbers
        The lowest and the highest finite value; every whole number, if there are few; empty if there is none.
    infinite
        Whether there are infinite ones.
    few
        Whether `numbers` are all there are: at most `FEW_NUMBERS` whole numbers.
    """

    numbers: NDArray[Any]
    infinite: bool
    few: bool


@dataclass(frozen=True, eq=False)
class Values:
    """The values by which a band is divided into classes.

    Attributes
    ----------
    numbers
        Finite values, in any order.
    infinite
        Whether there are infinite ones.
    few
        Whether these are at most `FEW_NUMBERS` different whole numbers.
    complete
        Whether `numbers` holds every number that there is: of a large map, it holds some, and the lowest and highest.
    """

    numbers: NDArray[Any]
    infinite: bool
    few: bool
    complete: bool = True


def values_of(source: Source, band: Band, ends: Ends | None = None) -> Values:
    """Return the values of a band within the area.

    Parameters
    ----------
    source
        What holds the band, or some of its pixels.
    band
        The band.
    ends
        Those of all pixels, if the source holds some of them.
    """
    parts, infinite = [], False
    for values, odd in _parts(source, band):
        parts.append(values)
        infinite = infinite or odd
    numbers = np.concatenate(parts)
    if ends is None:
        few = numbers.dtype.kind in "iu" and np.unique(numbers).size <= FEW_NUMBERS
        return Values(numbers, infinite, few)
    # Two among two million: they are the ends of the classes, and hardly move the limits between.
    return Values(np.concatenate([numbers, ends.numbers]), ends.infinite, ends.few, complete=ends.few)


def ends_of(source: Source, band: Band) -> Ends:
    """Read all of a band, and return what some of its pixels do not tell."""
    ends: NDArray[Any] | None = None
    infinite, found = False, set[int]()
    whole = True
    for values, odd in _parts(source, band):
        infinite = infinite or odd
        if not values.size:
            continue
        own = np.array([values.min(), values.max()])
        ends = own if ends is None else np.concatenate([ends, own])
        ends = np.array([ends.min(), ends.max()])
        whole = whole and values.dtype.kind in "iu"
        if whole and len(found) <= FEW_NUMBERS:
            found.update(np.unique(values).tolist())
    if ends is None:
        return Ends(np.empty(0), infinite, few=False)
    few = whole and len(found) <= FEW_NUMBERS
    return Ends(np.array(sorted(found), ends.dtype) if few else ends, infinite, few)


def _parts(source: Source, band: Band) -> Iterator[tuple[NDArray[Any], bool]]:
    """Yield the finite values of each block within the area, and whether it has infinite ones."""
    for block in source.blocks():
        values = source.read(band.name, block)
        inside = np.isfinite(values)
        infinite = values.dtype.kind == "f" and bool(np.isinf(values).any())
        if STATUS_BAND.name in source:
            status = source.read(STATUS_BAND.name, block)
            # Whole numbers are never missing, but no number of observations was asked for there.
            inside &= status != Status.OUTSIDE
        yield values[inside], infinite


def codes_of(source: Source, band: Band) -> set[int]:
    """Return the codes in a band.

    Raises
    ------
    ParameterError
        When a number is not whole, or there are more codes than classes.
    """
    found: set[int] = set()
    for block in source.blocks():
        values = source.read(band.name, block)
        # Sorting a block takes ten times as long as counting its bytes.
        own = np.flatnonzero(np.bincount(values.ravel())) if values.dtype == np.uint8 else np.unique(values)
        own = own[np.isfinite(own)]
        odd = own[own != np.rint(own)] if own.dtype.kind == "f" else own[:0]
        if odd.size:
            raise ParameterError(
                f"band {band.name}: its kind says that numbers are codes, but {odd[0]:g} is not a whole number"
            )
        if own.size <= LARGEST_SCHEME:
            found.update(map(int, own))
        if max(own.size, len(found)) > LARGEST_SCHEME:
            raise ParameterError(
                f"band {band.name} has more than {LARGEST_SCHEME} different codes: too many for classes of their own"
            )
    return found
