"""Limits between classes of values."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixelwise.errors import ParameterError

__all__ = ["equal_limits", "fisher_limits", "quantile_limits", "ranges_of"]

#: Fisher's breaks take time that grows with the square of the number of values: a second for these.
FISHER_VALUES = 2000


def quantile_limits(values: NDArray[Any], count: int) -> list[float]:
    """Return the `count` + 1 limits, interpolated like `numpy.quantile`; reorders `values`.

    Positions are counted in whole parts: 0.6 times ten falls just short of six in floating point, and a value that is
    itself a limit would end up in the class below.
    """
    places = [divmod(part * (values.size - 1), count) for part in range(count + 1)]
    values.partition(sorted({index for place, _ in places for index in (place, min(place + 1, values.size - 1))}))
    limits = []
    for place, rest in places:
        limit = float(values[place])
        if rest:
            limit += (float(values[place + 1]) - limit) * rest / count
        # As exact as the values that it is compared with.
        limits.append(float(values.dtype.type(limit)) if values.dtype.kind == "f" else limit)
    return limits


def equal_limits(values: NDArray[Any], count: int) -> list[float]:
    """Return limits at equal distances from the lowest to the highest value."""
    # The difference of the two may be larger than any number of their type.
    limits = 2 * np.linspace(float(values.min()) / 2, float(values.max()) / 2, count + 1)
    return [float(values.min()), *(float(limit) for limit in limits[1:-1]), float(values.max())]


def fisher_limits(values: NDArray[Any], count: int) -> list[float]:
    """Return the natural breaks of Fisher (1958) and Jenks (1977), of at most 2000 quantiles of the values.

    Raises
    ------
    ParameterError
        When mapclassify is missing.
    """
    try:
        from mapclassify import FisherJenks  # type: ignore[import-untyped]
    except ImportError as error:  # pragma: no cover - the tests' environment has it
        raise ParameterError('classes fisher need mapclassify: pip install "pixelwise[plot]"') from error
    if values.size > FISHER_VALUES:
        wide = values.astype(np.float64, copy=False)
        values = np.quantile(wide, np.linspace(0, 1, FISHER_VALUES)).astype(values.dtype)
    count = min(count, np.unique(values).size)
    if count < 2:
        return [float(values.min()), float(values.max())]
    # The upper limit of a class is a value of its own; ours belong to the class above.
    bins = FisherJenks(values.astype(np.float64), k=count).bins
    ordered = np.sort(values)
    # It repeats a class where sums of squares have no digits left.
    tops = sorted({float(top) for top in bins if top < ordered[-1]})
    following = [float(ordered[np.searchsorted(ordered, top, side="right")]) for top in tops]
    middles = [top + (after - top) / 2 for top, after in zip(tops, following, strict=True)]
    return [float(ordered[0]), *middles, float(ordered[-1])]


def ranges_of(limits: Sequence[float]) -> list[tuple[float, float]]:
    """Turn ascending limits into ranges; equal neighbours become the range of a single value."""
    ranges: list[tuple[float, float]] = []
    for low, high in pairwise(limits):
        if low < high or not ranges or ranges[-1] != (low, high):
            ranges.append((low, high))
    return ranges
