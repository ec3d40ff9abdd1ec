"""Layers as they are: writes a stack to a file instead of computing something from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from pixelwise.bands import Band, Status
from pixelwise.dates.axis import TimeAxis
from pixelwise.method import Method

__all__ = ["Copy"]


@dataclass(frozen=True)
class Copy(Method):
    """The series of each pixel itself, one band for each layer.

    Attributes
    ----------
    names
        Names of the layers: dates, as `open_stack` reads them back.
    """

    names: tuple[str, ...]
    name: ClassVar[str] = "layers"

    @property
    def bands(self) -> tuple[Band, ...]:
        """One band for each layer."""
        return tuple(Band(name, unit="{value}") for name in self.names)

    @property
    def season_term(self) -> bool:
        """Nothing is computed that seasons of unequal length could distort."""
        return True

    def bind(self, axis: TimeAxis, bands: Sequence[str] | None, inputs: Mapping[str, TimeAxis]) -> _Bound:
        """Return a bound method that copies blocks."""
        return _Bound(self.bands)


@dataclass(frozen=True)
class _Bound:
    bands: tuple[Band, ...]
    halo: int = 0
    releases_gil: bool = True

    def __call__(
        self, inputs: tuple[NDArray[Any], ...], dtype: str = "float64"
    ) -> tuple[NDArray[Any], NDArray[np.uint8]]:
        """Return the values, with status 0 where a pixel has any."""
        values = inputs[0]
        status = np.where(np.isnan(values).all(axis=0), Status.NO_OBSERVATION, Status.OK)
        return values, status.astype(np.uint8)
