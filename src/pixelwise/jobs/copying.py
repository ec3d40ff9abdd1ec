"""Layers as they are: writes a stack, or the bands of a map, to a file instead of computing something from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from pixelwise.bands import STATUS_BAND, Band, Status
from pixelwise.dates.axis import TimeAxis
from pixelwise.method import Method

__all__ = ["CopiedMap", "Copy", "axis_of_bands"]


def axis_of_bands(count: int) -> TimeAxis:
    """Return one date for each band, as a stack has layers."""
    return TimeAxis(np.arange(count).astype("datetime64[D]"), np.arange(count) / 365.25, "day")


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


@dataclass(frozen=True)
class CopiedMap(Method):
    """Bands of a map that are layers of a stack; the last may be the status.

    Attributes
    ----------
    given
        All bands.
    """

    given: tuple[Band, ...]
    name: ClassVar[str] = "bands"

    @property
    def bands(self) -> tuple[Band, ...]:
        """All bands but the status."""
        return self.given[:-1] if self._coded else self.given

    @property
    def _coded(self) -> bool:
        return self.given[-1].name == STATUS_BAND.name

    def bind(self, axis: TimeAxis, bands: Sequence[str] | None, inputs: Mapping[str, TimeAxis]) -> _BoundMap:
        """Return a bound method that passes blocks on."""
        return _BoundMap(self.bands, self._coded)


@dataclass(frozen=True)
class _BoundMap:
    bands: tuple[Band, ...]
    coded: bool
    halo: int = 0
    releases_gil: bool = True

    def __call__(
        self, inputs: tuple[NDArray[Any], ...], dtype: str = "float64"
    ) -> tuple[NDArray[Any], NDArray[np.uint8]]:
        """Return all bands, the last as status; a status that is not written is 0."""
        values = inputs[0]
        if not self.coded:
            return values, np.zeros(values.shape[1:], dtype=np.uint8)
        return values[:-1], np.nan_to_num(values[-1]).astype(np.uint8)
