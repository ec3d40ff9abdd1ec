"""How complete a pixel's series must be for its result to count: one rule for all methods."""

from __future__ import annotations

import math
import numbers
from dataclasses import asdict, dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixelwise.bands import Status
from pixelwise.dates.axis import TimeAxis
from pixelwise.errors import ParameterError
from pixelwise.words import shown

__all__ = ["BoundCompleteness", "Completeness"]


@dataclass(frozen=True)
class Completeness:
    """What a pixel needs in addition to what its method needs; 0 means no requirement.

    Attributes
    ----------
    min_valid
        Share of the layers that must be valid, 0 to 1.
    min_span
        Share of the time from the first to the last layer that must lie between the pixel's first and last valid one.

    Raises
    ------
    ParameterError
        When one is not a number from 0 to 1.
    """

    min_valid: float = 0.0
    min_span: float = 0.0

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if isinstance(value, bool) or not isinstance(value, numbers.Real) or value != value:
                raise ParameterError(f"{name} {shown(value)} is not a share: expected a number from 0 to 1, say 0.5")
            # NumPy's numbers too, and integers that are too large for a float.
            share = float(value) if -1 < value < 101 else math.inf  # type: ignore[operator]
            if not 0 <= share <= 1:
                hint = f" ({share:g} % is {share / 100:g})" if 1 < share <= 100 else ""
                raise ParameterError(f"{name} {share:g} is not a share: expected a number from 0 to 1{hint}")
            object.__setattr__(self, name, share)

    def __bool__(self) -> bool:
        return self.min_valid > 0 or self.min_span > 0

    def as_dict(self) -> dict[str, float]:
        """Return the requirements in a form that JSON and TOML can hold."""
        return {name: value for name, value in asdict(self).items() if value}

    def bind(self, axis: TimeAxis) -> BoundCompleteness:
        """Work out what is required of the layers at these dates.

        In fractions: 0.55 * 20 is 11.000000000000002 in floating point, which 11 layers of 20 would not reach. A share
        is taken as the decimal number that was written.
        """
        layers = len(axis)
        places = [Fraction(place) for place in _places(axis)]
        least = _exactly(self.min_span) * (places[-1] - places[0]) if places else Fraction(0)
        partners, last = np.empty(layers, dtype=np.int32), 0
        for first, place in enumerate(places):
            while last < layers and places[last] - place < least:
                last += 1
            partners[first] = last
        return BoundCompleteness(math.ceil(_exactly(self.min_valid) * layers), partners, self.min_span > 0)

    def describe(self, axis: TimeAxis) -> dict[str, Any]:
        """Return what `plan` shows."""
        return {**self.as_dict(), "layers": self.bind(axis).layers}


def _exactly(share: float) -> Fraction:
    return Fraction(repr(share))


def _places(axis: TimeAxis) -> list[Any]:
    """Return when the layers are, in numbers without rounding: years where only those are known, else seconds.

    Half of 21 years is 10 years, whichever year comes first; in days it would depend on where the leap years are.
    """
    places: NDArray[Any] = axis.years if axis.precision == "year" else axis.dates.astype(np.int64)
    return list(places.tolist())


@dataclass(frozen=True, eq=False)
class BoundCompleteness:
    """`Completeness` at the dates of a stack.

    Attributes
    ----------
    layers
        How many layers must be valid.
    partners
        (time,) for each layer as the first valid one, the earliest layer that may be the last; the layer count if none
        may.
    spans
        Whether a span is required.
    """

    layers: int
    partners: NDArray[np.int32]
    spans: bool

    def withhold(
        self, values: NDArray[Any], status: NDArray[np.uint8], series: NDArray[Any], integers: NDArray[np.bool_]
    ) -> tuple[NDArray[Any], NDArray[np.uint8]]:
        """Return results without those of pixels that do not meet the requirements, which get status 2.

        Parameters
        ----------
        values, status
            (band, pixel) and (pixel,) results of a method.
        series
            (time, ...) the series of these pixels.
        integers
            (band,) which bands are integers, and therefore stay.
        """
        lacking = self.lacking(series)
        values = np.where(lacking & ~integers[:, None], values.dtype.type(np.nan), values)
        return values, np.where(lacking & (status != Status.NO_OBSERVATION), np.uint8(Status.TOO_FEW), status)

    def lacking(self, series: NDArray[Any]) -> NDArray[np.bool_]:
        """Return which pixels of (time, ...) do not meet the requirements, flattened.

        Layer by layer, so that a block of a thousand layers does not need a second block of flags.
        """
        shape = series.shape[1:]
        count = np.zeros(shape, dtype=np.int32)
        first = np.full(shape, len(series), dtype=np.int32)
        last = np.full(shape, -1, dtype=np.int32)
        for index, layer in enumerate(series):
            valid = ~np.isnan(layer)
            count += valid
            if self.spans:
                np.copyto(last, index, where=valid)
                np.minimum(first, index, out=first, where=valid)
        lacking: NDArray[np.bool_] = count < self.layers
        if self.spans:
            # A pixel without valid layers has no first one.
            lacking |= last < np.append(self.partners, len(series))[first]
        return lacking.reshape(-1)
