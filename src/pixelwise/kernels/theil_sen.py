"""Compiled slopes of all pairs: their median and confidence limits, and repeated medians.

Short series are done many at a time: the slopes of a pair of dates fill a row, one pixel beside the other, and a
sorting network sorts all columns at once. That costs 0.5 us per pixel of 21 dates, and grows like
``n**2 * log(n)**2``. Long series are done one by one without computing all slopes: the number of slopes below a
number ``x`` is the number of pairs that ``y - x * t`` orders differently from time, which a merge sort counts in
``n * log(n)`` steps (Cole, Salowe, Steiger & Szemeredi 1989, SIAM J. Comput. 18:792; Dillencourt, Mount &
Netanyahu 1992, Int. J. Comput. Geom. Appl. 2:1). Only the slopes between two such numbers close to the target are
computed, and selected from: the result is one of the slopes themselves, to the last bit.
"""

# Numba infers types from arguments; annotations would only repeat the docstrings.
# mypy: allow-untyped-defs

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from pixelwise.bands import Floats
from pixelwise.kernels.jit import kernel
from pixelwise.kernels.output import store
from pixelwise.kernels.scratch import aligned
from pixelwise.kernels.series import gather, series_status
from pixelwise.kernels.sorting import sort_columns
from pixelwise.kernels.status import CONSTANT, OK, TEST_UNDEFINED

SLOPE, INTERCEPT, LOW_SLOPE, HIGH_SLOPE, COUNT = range(5)
BANDS = 5

# Pixels beside each other in a sorting network.
WIDTH = 64

# Merge sort begins with runs of this length, sorted by insertion.
RUN = 12


class Limits(NamedTuple):
    """The confidence limits of slopes.

    Attributes
    ----------
    z
        Normal quantile.
    stretch
        (pixel,) float64 factors on the variance of Kendall's score; empty if values are independent.
    """

    z: float
    stretch: Floats


@kernel(helper=True)
def median_of_sorted(table, n, p):
    """Return the median of the first `n` rows of a sorted column, as numpy.median rounds it."""
    low, high = table[(n - 1) // 2, p], table[n // 2, p]
    return low if n & 1 else (low + high) / 2.0


@kernel(helper=True)
def count_time_ties(t, n):
    """Return how many pairs have the same time, and Kendall's sum ``u (u - 1) (2 u + 5)`` of the runs of `u`."""
    pairs, ties = 0, 0.0
    first = 0
    for i in range(1, n + 1):
        if i == n or t[i] != t[first]:
            u = i - first
            pairs += u * (u - 1) // 2
            ties += u * (u - 1.0) * (2.0 * u + 5.0)
            first = i
    return pairs, ties


@kernel(helper=True)
def limit_ranks(n, pairs, ties, z):
    """Return the places, from 0, of the lower and upper confidence limits among the sorted slopes.

    Sen (1968), eq. 2.6, rounded as scipy.stats.theilslopes rounds. Both are -1 if there are none: if both values and
    dates are tied, the ties may subtract more than the whole variance; or there may be no quantile.
    """
    variance = (1.0 / 18.0) * (n * (n - 1.0) * (2.0 * n + 5.0) - ties)
    if variance < 0.0 or z != z:
        return -1, -1
    sigma = math.sqrt(variance)
    low = int(np.rint((pairs - z * sigma) / 2.0)) - 1
    high = int(np.rint((pairs + z * sigma) / 2.0))
    return max(low, 0), min(high, pairs - 1)


@kernel(helper=True)
def stretched(limits, pixel):
    """Return the quantile of a pixel's limits."""
    return limits.z * math.sqrt(limits.stretch[pixel]) if limits.stretch.size > 0 else limits.z


@kernel(helper=True)
def settle(status, n, first, bands, p):
    """Set the bands of a pixel whose status is not 0."""
    for band in range(BANDS):
        bands[band, p] = np.nan
    bands[COUNT, p] = n
    if status == CONSTANT:
        bands[SLOPE, p] = 0.0
        bands[INTERCEPT, p] = first


# ------------------------------------------------------------------------------------------ short series


class Scratch(NamedTuple):
    """Memory for WIDTH short series, float64.

    Attributes
    ----------
    y, sorted_y
        (time, WIDTH) values, and the numbers that are sorted for the intercept.
    slopes
        (pairs, WIDTH) slopes of all pairs; for Siegel's lines, (time, WIDTH) of the pairs with one date.
    medians
        (time, WIDTH) medians of the slopes of each date, for Siegel's lines; else (0, WIDTH).
    t, series
        (time,) times and values of one pixel.
    equal, ties
        (WIDTH,) sums over later values, and over all; for Siegel's lines, `equal` counts the usable slopes of a date.
    bands
        (BANDS, WIDTH).
    """

    y: Floats
    sorted_y: Floats
    slopes: Floats
    medians: Floats
    t: Floats
    series: Floats
    equal: Floats
    ties: Floats
    bands: Floats


def make_scratch(layers: int, *, repeated: bool) -> Scratch:
    """Return memory for series of this many dates; `repeated` for Siegel's lines."""
    slopes = layers if repeated else max(layers * (layers - 1) // 2, 1)
    t, series = np.empty((2, max(layers, 1)))
    equal, ties = aligned(2, WIDTH)
    return Scratch(
        y=aligned(layers, WIDTH),
        sorted_y=aligned(layers, WIDTH),
        slopes=aligned(slopes, WIDTH),
        medians=aligned(layers if repeated else 0, WIDTH),
        t=t,
        series=series,
        equal=equal,
        ties=ties,
        bands=aligned(BANDS, WIDTH),
    )


@kernel(helper=True)
def load_chunk(values, start, width, y):
    """Copy (time, pixel) values into (time, WIDTH) float64, NaN where missing or beyond `width`."""
    for i in range(values.shape[0]):
        row, line = values[i, start : start + width], y[i]
        for p in range(width):
            line[p] = np.float64(row[p])
        for p in range(width, WIDTH):
            line[p] = np.nan


@kernel(helper=True)
def slopes_of_pairs(y, times, slopes, equal, ties):
    """Fill a row with the slopes of each pair of dates that differ, infinite where missing; return their number.

    `ties` becomes Kendall's sum ``u (u - 1) (2 u + 5)`` over groups of `u` equal values, as the sum of
    ``6 e**2 + 12 e`` over values with ``e`` later equals, since e runs from 0 to u - 1 in a group.
    """
    layers = y.shape[0]
    k = 0
    for p in range(WIDTH):
        ties[p] = 0.0
    for i in range(layers - 1):
        a = y[i]
        for p in range(WIDTH):
            equal[p] = 0.0
        for j in range(i + 1, layers):
            b = y[j]
            dt = times[j] - times[i]
            if dt > 0.0:
                row = slopes[k]
                for p in range(WIDTH):
                    slope = (b[p] - a[p]) / dt
                    row[p] = slope if slope == slope else np.inf
                k += 1
            for p in range(WIDTH):
                equal[p] += 1.0 if a[p] == b[p] else 0.0
        for p in range(WIDTH):
            ties[p] += (6.0 * equal[p] + 12.0) * equal[p]
    return k


@kernel(helper=True)
def sort_values(y, scratch):
    """Copy columns of values, missing ones last, and sort them."""
    for i in range(y.shape[0]):
        row, line = y[i], scratch[i]
        for p in range(WIDTH):
            line[p] = row[p] if row[p] == row[p] else np.inf
    sort_columns(scratch, y.shape[0])


@kernel(helper=True)
def sort_intercepts(y, times, slope, scratch):
    """Sort ``y - slope * t`` of each column, missing ones last."""
    for i in range(y.shape[0]):
        row, line, t = y[i], scratch[i], times[i]
        for p in range(WIDTH):
            a = row[p] - slope[p] * t
            line[p] = a if a == a else np.inf
    sort_columns(scratch, y.shape[0])


@kernel()
def fit_short(values, times, min_obs, joint, limits, scratch, output):
    """Fit Theil-Sen lines to many short series.

    Parameters
    ----------
    values
        (time, pixel), NaN where missing.
    times
        (time,) decimal years, ascending.
    min_obs
        Fewest valid values.
    joint
        Whether the intercept is the median of ``y - slope * t``; else the line goes through the medians of both.
    limits
        `Limits`.
    scratch, output
        `Scratch`, to work with, and `Output`.
    """
    pixels = values.shape[1]
    y, sorted_y, slopes, bands, status = scratch.y, scratch.sorted_y, scratch.slopes, scratch.bands, output.status
    t, series, ties = scratch.t, scratch.series, scratch.ties
    for start in range(0, pixels, WIDTH):
        width = pixels - start if pixels - start < WIDTH else WIDTH
        load_chunk(values, start, width, y)
        count = slopes_of_pairs(y, times, slopes, scratch.equal, ties)
        sort_columns(slopes, count)
        for p in range(width):
            n = gather(y, p, times, t, series)
            found = series_status(t, series, n, min_obs)
            status[start + p] = found
            if found != OK:
                settle(found, n, series[0], bands, p)
                continue
            same_time, time_ties = count_time_ties(t, n)
            pairs = n * (n - 1) // 2 - same_time
            low, high = limit_ranks(n, pairs, ties[p] + time_ties, stretched(limits, start + p))
            bands[SLOPE, p] = median_of_sorted(slopes, pairs, p)
            bands[LOW_SLOPE, p] = slopes[low, p] if low >= 0 else np.nan
            bands[HIGH_SLOPE, p] = slopes[high, p] if low >= 0 else np.nan
            # The median of the times, for now; times ascend.
            bands[INTERCEPT, p] = t[n // 2] if n & 1 else (t[n // 2 - 1] + t[n // 2]) / 2.0
            bands[COUNT, p] = n
        if joint:
            sort_intercepts(y, times, bands[SLOPE], sorted_y)
        else:
            sort_values(y, sorted_y)
        for p in range(width):
            if status[start + p] == OK:
                status[start + p] = OK if bands[LOW_SLOPE, p] == bands[LOW_SLOPE, p] else TEST_UNDEFINED
                middle = median_of_sorted(sorted_y, int(bands[COUNT, p]), p)
                bands[INTERCEPT, p] = middle if joint else middle - bands[SLOPE, p] * bands[INTERCEPT, p]
        store(bands, start, width, output)


@kernel()
def fit_repeated_medians(values, times, min_obs, scratch, output):
    """Fit Siegel's lines; see `fit_short`."""
    layers, pixels = values.shape
    y, slopes, medians, bands, status = scratch.y, scratch.slopes, scratch.medians, scratch.bands, output.status
    t, series, others = scratch.t, scratch.series, scratch.equal
    for start in range(0, pixels, WIDTH):
        width = pixels - start if pixels - start < WIDTH else WIDTH
        load_chunk(values, start, width, y)
        for i in range(layers):
            a = y[i]
            for p in range(WIDTH):
                others[p] = 0.0
            for j in range(layers):
                b, row = y[j], slopes[j]
                dt = times[j] - times[i]
                for p in range(WIDTH):
                    slope = (b[p] - a[p]) / dt
                    usable = slope == slope and dt != 0.0
                    row[p] = slope if usable else np.inf
                    others[p] += 1.0 if usable else 0.0
            sort_columns(slopes, layers)
            for p in range(width):
                medians[i, p] = median_of_sorted(slopes, int(others[p]), p) if others[p] > 0.0 else np.inf
            for p in range(width, WIDTH):
                medians[i, p] = np.inf
        sort_columns(medians, layers)
        for p in range(width):
            n = gather(y, p, times, t, series)
            found = series_status(t, series, n, min_obs)
            status[start + p] = found
            bands[SLOPE, p] = np.nan
            if found != OK:
                settle(found, n, series[0], bands, p)
            else:
                bands[SLOPE, p] = median_of_sorted(medians, n, p)
                bands[COUNT, p] = n
        sort_intercepts(y, times, bands[SLOPE], scratch.sorted_y)
        for p in range(width):
            if status[start + p] == OK:
                bands[INTERCEPT, p] = median_of_sorted(scratch.sorted_y, int(bands[COUNT, p]), p)
        store(bands, start, width, output)
