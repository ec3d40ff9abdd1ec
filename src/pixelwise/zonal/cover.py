"""Which pixels zones cover, and sums over them for all zones at once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixelwise.bands import Floats

__all__ = ["Cover", "Runs"]


@dataclass(frozen=True, eq=False)
class Runs:
    """Numbers of several zones in one row, zone after zone.

    Attributes
    ----------
    places
        (run,) the place of each zone in its group, ascending.
    starts
        (run,) where its numbers begin: at the first number, and none is empty.
    count
        How many numbers there are.
    """

    places: NDArray[np.int64]
    starts: NDArray[np.int64]
    count: int

    @classmethod
    def of(cls, places: NDArray[Any]) -> Runs:
        """Return the runs of (number,) places of zones, which ascend."""
        starts = np.append(0, np.flatnonzero(places[1:] != places[:-1]) + 1)[: len(places)]
        return cls(places[starts].astype(np.int64), starts, len(places))

    @cached_property
    def lengths(self) -> NDArray[np.int64]:
        """(run,) how many numbers each has."""
        return np.append(self.starts[1:], self.count) - self.starts

    def sum(self, numbers: NDArray[Any]) -> NDArray[Any]:
        """Return (run,) sums of (number,) numbers."""
        return np.add.reduceat(numbers, self.starts) if self.count else np.zeros(0, numbers.dtype)

    def spread(self, values: NDArray[Any]) -> NDArray[Any]:
        """Return (number,) the value of each one's run."""
        return np.repeat(values, self.lengths)

    def keep(self, kept: NDArray[np.bool_]) -> Runs:
        """Return the runs of those (number,) numbers that are kept."""
        lengths = self.sum(kept.astype(np.int64))
        some = lengths > 0
        ends = np.cumsum(lengths[some])
        return Runs(self.places[some], ends - lengths[some], int(lengths.sum()))


@dataclass(frozen=True, eq=False)
class Cover:
    """The pixels of a block that zones cover.

    Attributes
    ----------
    cells
        (number,) pixels, counted row by row from 0; a pixel may be in several zones.
    fractions
        (number,) the covered fraction of each.
    runs
        Which of them belong to which zone.
    """

    cells: NDArray[np.int64]
    fractions: Floats
    runs: Runs

    def each(self) -> Iterator[tuple[int, NDArray[np.int64], Floats]]:
        """Return the place of each zone in its group, its pixels and fractions."""
        ends = self.runs.starts + self.runs.lengths
        for place, start, end in zip(self.runs.places.tolist(), self.runs.starts, ends, strict=True):
            yield place, self.cells[start:end], self.fractions[start:end]
