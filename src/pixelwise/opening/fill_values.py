"""Find undeclared fill values by where they are among the data, not only by how often they occur."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixelwise.rasters.nodata import is_among, nodata_bounds

__all__ = ["KNOWN", "find_fill_values"]

#: Fill values of products and programs, if they are beyond the data: MODIS, Landsat, GDAL, NetCDF, ArcGIS, R.
KNOWN = (
    -99.0, -128.0, -999.0, -3000.0, -9999.0, -28672.0, -32767.0, -32768.0, -99999.0, -999999.0, -2147483648.0, -1e30,
    -3.4028234663852886e38, -1.7976931348623157e308, 255.0, 32767.0, 65535.0, 999999.0, 2147483647.0, 4294967295.0,
    1e20, 1e30, 9.969209968386869e36, 3.4028234663852886e38, 1.7976931348623157e308,
)  # fmt: skip
#: Smaller ones may also be ordinary values in a thinning tail; larger ones need less of a gap: MODIS's -3000 is closer
#: to the smallest NDVI than that is to the usual ones.
SMALL = 1000.0

#: The bulk of values lies between this quantile and its counterpart.
TAIL = 0.01
#: A fill value has no neighbour within this many steps of the bulk; percentages and classes do.
APART = 10.0
#: If only so few other values occur, they are classes or flags: only the rule for known fill values applies.
FEW, MANY = 8, 32
#: The share of a repeated value, and how many times more often than its neighbours it occurs.
SHARE, EXCESS = 0.01, 20.0
#: How many neighbours are considered, and how much thinner values are there than in the bulk.
BESIDE, THIN = 10, 0.25
#: Fewer repetitions prove nothing; far away from all others, a few are enough.
REPEATS, FAR_REPEATS = 10, 3


@dataclass(frozen=True)
class _Rest:
    """The other values with which one is compared: distinct, ascending, with how often each occurs."""

    distinct: NDArray[np.float64]
    counts: NDArray[np.int64]

    @property
    def ends(self) -> tuple[float, float]:
        """Where the bulk begins and ends."""
        cumulated = np.cumsum(self.counts)
        places = np.searchsorted(cumulated, np.array([TAIL, 1 - TAIL]) * cumulated[-1])
        low, high = self.distinct[np.minimum(places, self.distinct.size - 1)].tolist()
        # Most of a zero-inflated sample is one value.
        return (low, high) if low < high else (float(self.distinct[0]), float(self.distinct[-1]))


def find_fill_values(values: NDArray[Any], candidates: dict[float, int] | None = None) -> list[float]:
    """Return values that look like fill values: known ones, the outermost ones, and zero.

    A known fill value is found if it is beyond all data with nothing next to it, even if it occurs once. Zero and the
    smallest and largest values are found if they are far from all others, or frequent where few others are. Classes,
    flags and percentages are neither: they have neighbours.

    Parameters
    ----------
    values
        (value,) valid stored numbers, a sample.
    candidates
        Values of a larger sample, and how often they occur there.
    """
    distinct, counts = np.unique(np.asarray(values, dtype=np.float64), return_counts=True)
    more = {value: count for value, count in (candidates or {}).items() if count}
    if more:
        # Values that are rare in the sample may be frequent elsewhere; its own counts are kept.
        own = dict(zip(distinct.tolist(), counts.tolist(), strict=True))
        distinct = np.array(sorted(own.keys() | more))
        counts = np.array([own.get(value, 1) for value in distinct.tolist()])
    if distinct.size < 3:
        return []
    known = is_among(distinct, nodata_bounds(KNOWN, "float64"))
    found = [float(value) for value in distinct[known] if _is_known(float(value), _without(distinct, counts, known))]
    left = ~np.isin(distinct, found)
    total = int(counts.sum())
    while left.sum() >= 3:
        ends = distinct[left][[0, -1]].tolist()
        new = [
            value
            for value in dict.fromkeys((*ends, 0.0))
            if value in distinct[left]
            and _is_fill_value(
                value, int(counts[distinct == value][0]), total, _without(distinct, counts, ~left, value)
            )
        ]
        if not new:
            break
        found += new
        left &= ~np.isin(distinct, new)
    return sorted(found)


def _without(
    distinct: NDArray[np.float64], counts: NDArray[np.int64], left_out: NDArray[np.bool_], value: float | None = None
) -> _Rest:
    kept = ~left_out if value is None else ~left_out & (distinct != value)
    return _Rest(distinct[kept], counts[kept])


def _place(value: float, rest: _Rest) -> tuple[float, float, float, float, int]:
    """Return gap, step, width of the bulk, length of its tail towards a value, and how many values are in the bulk.

    The gap is 0 if the value is not beyond the bulk.
    """
    low, high = rest.ends
    inner = int(((rest.distinct >= low) & (rest.distinct <= high)).sum())
    width = high - low
    step = width / max(inner - 1, 1)
    if value < low:
        nearest = float(rest.distinct[rest.distinct > value][0])
        return nearest - value, step, width, max(low - nearest, 0.0), inner
    if value > high:
        nearest = float(rest.distinct[rest.distinct < value][-1])
        return value - nearest, step, width, max(nearest - high, 0.0), inner
    return 0.0, step, width, 0.0, inner


def _is_known(value: float, rest: _Rest) -> bool:
    """Whether a known fill value is beyond all other values."""
    if rest.distinct.size < 2:
        return False
    gap, step, _, tail, _ = _place(value, rest)
    return gap > 0 and gap >= max(APART * step, tail if abs(value) < SMALL else tail / 4)


def _is_fill_value(value: float, count: int, total: int, rest: _Rest) -> bool:
    gap, step, width, tail, inner = _place(value, rest)
    apart = gap >= max(APART * step, tail) and gap > 0
    often = count >= REPEATS and count >= SHARE * total and inner >= MANY
    if value == 0:
        far = inner >= FEW and (gap >= width / 2 or (apart and count >= FAR_REPEATS))
        return far or (often and _stands_out(value, count, rest))
    return (inner >= FEW and count >= FAR_REPEATS and gap >= width) or (often and apart)


def _stands_out(value: float, count: int, rest: _Rest) -> bool:
    """Whether a value is much more frequent than its neighbours: amid the data, or at an end where they thin out."""
    below = rest.distinct < value
    sides = [np.flatnonzero(below)[-BESIDE:], np.flatnonzero(~below)[:BESIDE]]
    beside = rest.counts[np.concatenate(sides)]
    if count < EXCESS * beside.max():
        return False
    if min(len(side) for side in sides) >= BESIDE // 2:
        return True
    # Rain, percentages and counts are densest next to zero; vegetation indices are not.
    [side] = [side for side in sides if len(side) >= BESIDE // 2][:1] or [np.array([], dtype=int)]
    if not len(side):
        return False
    low, high = rest.ends
    inside = (rest.distinct >= low) & (rest.distinct <= high)
    usual = float(np.median(rest.counts[inside])) * int(inside.sum()) / (high - low)
    reach = float(np.abs(rest.distinct[side] - value).max())
    return float(rest.counts[side].sum()) / reach < THIN * usual
