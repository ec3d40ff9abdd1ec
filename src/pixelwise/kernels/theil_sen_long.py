"""Slopes of all pairs of long series, found without computing them all."""

# Numba infers types from arguments; annotations would only repeat the docstrings.
# mypy: allow-untyped-defs

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pixelwise.bands import Floats
from pixelwise.kernels.jit import kernel
from pixelwise.kernels.output import store
from pixelwise.kernels.series import gather, series_status
from pixelwise.kernels.sorting import select
from pixelwise.kernels.status import OK, TEST_UNDEFINED
from pixelwise.kernels.theil_sen import (
    BANDS,
    COUNT,
    HIGH_SLOPE,
    INTERCEPT,
    LOW_SLOPE,
    RUN,
    SLOPE,
    count_time_ties,
    limit_ranks,
    settle,
    stretched,
)

__all__ = ["fit_long"]

# Slopes drawn at random to find the first two numbers that enclose the slopes sought.
DRAWN = 512


class Series(NamedTuple):
    """One series, the first `n` places of each array, and memory to count and find its slopes.

    Attributes
    ----------
    t, y
        (time,) float64 times and values.
    centred_t, centred_y
        (time,) float64 the same, minus a number near them.
    keys, order
        (time,) float64 and int64: the keys to sort, and the observation of each.
    other_keys, other_order
        The same; scratch of the merge sort.
    found
        (2 * time + 256,) float64: slopes that are selected from.
    """

    t: Floats
    y: Floats
    centred_t: Floats
    centred_y: Floats
    keys: Floats
    order: NDArray[np.int64]
    other_keys: Floats
    other_order: NDArray[np.int64]
    found: Floats


class Bracket(NamedTuple):
    """Two numbers between which slopes are searched for.

    Attributes
    ----------
    ends
        (2,) float64: at most as many slopes lie below the first as below those sought; more lie below the second.
    below
        (2,) int64: how many slopes are below each.
    """

    ends: Floats
    below: NDArray[np.int64]


class Held(NamedTuple):
    """Two numbers between which `Series.found` holds all slopes.

    Attributes
    ----------
    ends
        (2,) float64.
    counts
        (2,) int64: number of slopes below the first, and between both.
    """

    ends: Floats
    counts: NDArray[np.int64]


class Scratch(NamedTuple):
    """Memory for one series after another.

    Attributes
    ----------
    series, bracket, held
        `Series`, `Bracket`, `Held`.
    bands
        (BANDS, 1) float64.
    """

    series: Series
    bracket: Bracket
    held: Held
    bands: Floats


def make_scratch(layers: int) -> Scratch:
    """Return memory for series of this many dates."""
    t, y, centred_t, centred_y, keys, other_keys = np.empty((6, layers))
    order, other_order = np.empty((2, layers), dtype=np.int64)
    found = np.empty(2 * layers + 256)
    return Scratch(
        Series(t, y, centred_t, centred_y, keys, order, other_keys, other_order, found),
        Bracket(np.empty(2), np.empty(2, dtype=np.int64)),
        Held(np.empty(2), np.empty(2, dtype=np.int64)),
        np.empty((BANDS, 1)),
    )


@kernel(helper=True)
def order_by_value_within_times(t, y, n):
    """Sort values of equal times, so that ``y - x * t`` never reorders them, whatever ``x``."""
    for i in range(1, n):
        value = y[i]
        j = i - 1
        while j >= 0 and t[j] == t[i] and y[j] > value:
            y[j + 1] = y[j]
            j -= 1
        y[j + 1] = value


@kernel(helper=True)
def merge_sort(series, n, found):
    """Sort the order of observations by their keys, stable, and count the pairs that change places.

    Parameters
    ----------
    series, n
        Its `keys` and `order` are sorted in place.
    found
        Filled with the slopes of pairs that change places, if they fit.

    Returns
    -------
    int
        How many pairs changed places.
    """
    t, y, keys, order = series.t, series.y, series.keys, series.order
    count, room = 0, found.size
    for first in range(0, n, RUN):
        for i in range(first + 1, min(first + RUN, n)):
            key, index = keys[i], order[i]
            j = i - 1
            while j >= first and keys[j] > key:
                other = order[j]
                if count < room:
                    found[count] = (y[index] - y[other]) / (t[index] - t[other])
                count += 1
                keys[j + 1] = keys[j]
                order[j + 1] = other
                j -= 1
            keys[j + 1] = key
            order[j + 1] = index
    size = RUN
    source, source_order, target, target_order = keys, order, series.other_keys, series.other_order
    while size < n:
        for first in range(0, n, 2 * size):
            middle = min(first + size, n)
            end = min(first + 2 * size, n)
            i, j, k = first, middle, first
            while i < middle and j < end:
                if source[j] < source[i]:
                    index = source_order[j]
                    last = middle if count < room else i
                    for m in range(i, last):
                        other = source_order[m]
                        if count + (m - i) < room:
                            found[count + (m - i)] = (y[index] - y[other]) / (t[index] - t[other])
                    count += middle - i
                    target[k] = source[j]
                    target_order[k] = index
                    j += 1
                else:
                    target[k] = source[i]
                    target_order[k] = source_order[i]
                    i += 1
                k += 1
            while i < middle:
                target[k] = source[i]
                target_order[k] = source_order[i]
                i += 1
                k += 1
            while j < end:
                target[k] = source[j]
                target_order[k] = source_order[j]
                j += 1
                k += 1
        source, target = target, source
        source_order, target_order = target_order, source_order
        size *= 2
    if source is not keys:
        for i in range(n):
            keys[i] = source[i]
            order[i] = source_order[i]
    return count


@kernel(helper=True)
def count_below(x, series, n):
    """Count the slopes below `x`, and leave the observations in the order of ``y - x * t``."""
    centred_t, centred_y, keys, order = series.centred_t, series.centred_y, series.keys, series.order
    for i in range(n):
        order[i] = i
        keys[i] = centred_y[i] - x * centred_t[i]
    return merge_sort(series, n, series.found[:0])


@kernel(helper=True)
def find_up_to(x, series, n):
    """Count and find the slopes below `x` that are not below the number that `count_below` was called with."""
    centred_t, centred_y, keys, order = series.centred_t, series.centred_y, series.keys, series.order
    for i in range(n):
        keys[i] = centred_y[order[i]] - x * centred_t[order[i]]
    return merge_sort(series, n, series.found)


@kernel(helper=True)
def pass_over(x, t, y, n):
    """Count the slopes up to `x`, and find the largest of them and the smallest beyond, by computing them all."""
    count, below, beyond = 0, -np.inf, np.inf
    for i in range(n):
        for j in range(i + 1, n):
            if t[j] > t[i]:
                slope = (y[j] - y[i]) / (t[j] - t[i])
                if slope <= x:
                    count += 1
                    below = slope if slope > below else below
                else:
                    beyond = slope if slope < beyond else beyond
    return count, below, beyond


@kernel(helper=True)
def find_by_passes(k, t, y, n):
    """Return slope number `k` by halving the range that it lies in: for series whose slopes are mostly equal."""
    _, _, low = pass_over(-np.inf, t, y, n)
    _, high, _ = pass_over(np.inf, t, y, n)
    while low < high:
        middle = low + (high - low) / 2.0
        middle = middle if middle < high else low
        count, below, beyond = pass_over(middle, t, y, n)
        if count > k:
            high = below
        else:
            low = beyond
    return low


@kernel(helper=True)
def rounding_of(x, series, n, least):
    """Return how far from `x` rounding may put a slope on the wrong side; `least` is the shortest time step."""
    centred_t, centred_y = series.centred_t, series.centred_y
    largest = 0.0
    for i in range(n):
        size = abs(centred_y[i]) + abs(x * centred_t[i])
        largest = size if size > largest else largest
    # Three roundings of each of two numbers, and of their difference, with a margin of 2.
    return 16.0 * 2.0**-53 * largest / least


@kernel(helper=True)
def select_found(k, last, held, least, series, n):
    """Return slope number `k`, or the mean of it and `last`, if it is certainly held; else NaN."""
    found, ends, below, count = series.found, held.ends, held.counts[0], held.counts[1]
    if k < below or last >= below + count or count > found.size:
        return np.nan
    slope = select(found, count, k - below)
    following = slope
    if last > k:
        following = np.inf
        for i in range(k - below + 1, count):
            following = found[i] if found[i] < following else following
    # Only slopes closer to an end than rounding errors can be on its wrong side.
    if slope - ends[0] <= rounding_of(ends[0], series, n, least):
        return np.nan
    if ends[1] - following <= rounding_of(ends[1], series, n, least):
        return np.nan
    return (slope + following) / 2.0 if last > k else slope


@kernel(helper=True)
def find_slope(k, last, zeros, bracket, held, least, series, n):
    """Return slope number `k` of all slopes in ascending order, counted from 0, or the mean of it and the next.

    Parameters
    ----------
    k, last
        Number of the slope, and the same or the next.
    zeros
        How many slopes are below 0, and how many are exactly 0, which ties make common.
    bracket
        `Bracket` of slopes `k` and `last`.
    held
        `Held`; becomes the range searched last.
    least
        The shortest time between two observations.
    series, n
        `Series`.
    """
    if zeros[0] <= k and last < zeros[0] + zeros[1]:
        return 0.0
    a, b, below_a, below_b = bracket.ends[0], bracket.ends[1], bracket.below[0], bracket.below[1]
    room = series.found.size
    for _ in range(24):
        slope = select_found(k, last, held, least, series, n)
        if slope == slope:
            return slope
        between = below_b - below_a
        x1, x2 = a, b
        if between > room:
            reach = n // 4 + 64
            x1 = a + (b - a) * (max(k - reach - below_a, 0) / between)
            x2 = a + (b - a) * (min(last + reach - below_a, between) / between)
        below = count_below(x1, series, n)
        if below > k:
            b, below_b = x1, below
            continue
        a, below_a = x1, below
        count = find_up_to(x2, series, n)
        held.ends[0], held.ends[1], held.counts[0], held.counts[1] = x1, x2, below, count
        if below + count > last:
            b, below_b = x2, below + count
        else:
            a, below_a = x2, below + count
    slope = find_by_passes(k, series.t, series.y, n)
    return (slope + find_by_passes(last, series.t, series.y, n)) / 2.0 if last > k else slope


@kernel(helper=True)
def find_ends(first, last, pairs, series, n, bracket):
    """Find two numbers between which slopes number `first` to `last` lie, from a random sample of slopes."""
    t, y, found, ends, counts = series.t, series.y, series.found, bracket.ends, bracket.below
    drawn = min(DRAWN, found.size)
    state = np.uint64(1)
    size = 0
    while size < drawn:
        # Knuth, The Art of Computer Programming 2, 3.3.4, table 1, line 26; the high bits are the random ones.
        state = state * np.uint64(6364136223846793005) + np.uint64(1442695040888963407)
        i = int(((state >> np.uint64(32)) * np.uint64(n)) >> np.uint64(32))
        state = state * np.uint64(6364136223846793005) + np.uint64(1442695040888963407)
        j = int(((state >> np.uint64(32)) * np.uint64(n)) >> np.uint64(32))
        if t[i] != t[j]:
            found[size] = (y[j] - y[i]) / (t[j] - t[i])
            size += 1
    # Three standard deviations of a quantile of the sample.
    margin = 1.5 * math.sqrt(drawn)
    low = select(found, drawn, max(int(first / pairs * drawn - margin), 0))
    high = select(found, drawn, min(int(last / pairs * drawn + margin), drawn - 1))
    step = max(high - low, abs(low) * 1e-6, abs(high) * 1e-6, 1e-300)
    for _ in range(1100):
        counts[0] = count_below(low, series, n)
        if counts[0] <= first:
            break
        low -= step
        step *= 2.0
    step = max(high - low, abs(high) * 1e-6, 1e-300)
    # Beyond the last slope, if that is sought: a slope must be below the number, not equal to it.
    for _ in range(1100):
        counts[1] = count_below(high, series, n)
        if counts[1] > last:
            break
        high += step
        step *= 2.0
    ends[0], ends[1] = low, high


@kernel()
def fit_long(values, times, min_obs, joint, limits, limits_wanted, scratch, output):
    """Fit Theil-Sen lines to long series, one by one.

    Parameters
    ----------
    values, times, min_obs, joint, limits, output
        See `fit_short`.
    limits_wanted
        Whether the confidence limits are needed, which takes two thirds of the time.
    scratch
        `Scratch`, to work with.
    """
    series, held, bands, status = scratch.series, scratch.held, scratch.bands, output.status
    t, y, keys = series.t, series.y, series.keys
    for pixel in range(values.shape[1]):
        n = gather(values, pixel, times, t, y)
        state = series_status(t, y, n, min_obs)
        status[pixel] = state
        if state != OK:
            settle(state, n, y[0], bands, 0)
            store(bands, pixel, 1, output)
            continue
        order_by_value_within_times(t, y, n)
        least = np.inf
        for i in range(n):
            series.centred_t[i] = t[i] - t[n // 2]
            series.centred_y[i] = y[i] - y[0]
            if i > 0 and t[i] > t[i - 1]:
                least = min(least, t[i] - t[i - 1])
        same_time, time_ties = count_time_ties(t, n)
        pairs = n * (n - 1) // 2 - same_time
        # At 0, no number is rounded: count the slopes below 0 and exactly 0, and ties of values.
        zeros_from = count_below(0.0, series, n)
        zeros, ties = count_time_ties(keys, n)
        for i in range(n):
            j = i - 1
            while j >= 0 and t[j] == t[i]:
                zeros -= 1 if y[j] == y[i] else 0
                j -= 1
        low, high = limit_ranks(n, pairs, ties + time_ties, stretched(limits, pixel))
        middle = (pairs - 1) // 2
        found_limits = limits_wanted and low >= 0
        first, last = (low, max(high, pairs // 2)) if found_limits else (middle, pairs // 2)
        find_ends(min(first, middle), last, pairs, series, n, scratch.bracket)
        held.counts[1] = 0
        bands[LOW_SLOPE, 0], bands[HIGH_SLOPE, 0] = np.nan, np.nan
        status[pixel] = OK if low >= 0 else TEST_UNDEFINED
        for band, k in ((SLOPE, middle), (LOW_SLOPE, low), (HIGH_SLOPE, high)):
            if band == SLOPE or found_limits:
                last = k + 1 if band == SLOPE and pairs % 2 == 0 else k
                bands[band, 0] = find_slope(k, last, (zeros_from, zeros), scratch.bracket, held, least, series, n)
        slope = bands[SLOPE, 0]
        for i in range(n):
            keys[i] = y[i] - slope * t[i] if joint else y[i]
        centre = select(keys, n, n // 2)
        if n % 2 == 0:
            below = -np.inf
            for i in range(n // 2):
                below = keys[i] if keys[i] > below else below
            centre = (below + centre) / 2.0
        middle_t = t[n // 2] if n & 1 else (t[n // 2 - 1] + t[n // 2]) / 2.0
        bands[INTERCEPT, 0] = centre if joint else centre - slope * middle_t
        bands[COUNT, 0] = n
        store(bands, pixel, 1, output)
