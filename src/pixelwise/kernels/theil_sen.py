"""Compiled slopes of all pairs: their median and confidence limits, and repeated medians.

Short series are done many at a time: the slopes of a pair of dates fill a row, one pixel beside the other, and a
sorting network sorts all columns at once. That costs 0.5 us per pixel of 21 dates, and grows like
``n**2 * log(n)**2``. Long series are done one by one without making all slopes: how many of them lie below a
number ``x`` is how many pairs ``y - x * t`` puts into another order than time does, which a merge sort counts in
``n * log(n)`` steps (Cole, Salowe, Steiger & Szemeredi 1989, SIAM J. Comput. 18:792; Dillencourt, Mount &
Netanyahu 1992, Int. J. Comput. Geom. Appl. 2:1). Only the slopes between two such numbers close to the wanted one
are computed, and selected from: the result is one of the slopes themselves, to the last bit.
"""

# Numba infers types from arguments; annotations would only repeat the docstrings.
# mypy: allow-untyped-defs

from __future__ import annotations

import math

import numpy as np

from pixelwise.kernels.jit import kernel
from pixelwise.kernels.series import CONSTANT, OK, TEST_UNDEFINED, gather, series_status
from pixelwise.kernels.sorting import select, sort_columns

SLOPE, INTERCEPT, LOW_SLOPE, HIGH_SLOPE, COUNT = range(5)
BANDS = 5

# Pixels beside each other in a sorting network.
WIDTH = 64

# Merge sort begins with runs of so many, sorted by insertion.
RUN = 12

# Slopes that are drawn to find the first two numbers between which the wanted ones lie.
DRAWN = 512


@kernel(helper=True)
def hand_over(bands, rows, table, p, pixel):
    """Copy the wanted bands of column `p` into column `pixel` of the result."""
    for k in range(rows.size):
        table[k, pixel] = bands[rows[k], p]


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

    Sen (1968), eq. 2.6, rounded as scipy.stats.theilslopes rounds. Both are -1 where there are none: where values and
    dates are tied both, the ties may take off more than there is; and where there is no quantile.
    """
    variance = (1.0 / 18.0) * (n * (n - 1.0) * (2.0 * n + 5.0) - ties)
    if variance < 0.0 or z != z:
        return -1, -1
    sigma = math.sqrt(variance)
    low = int(np.rint((pairs - z * sigma) / 2.0)) - 1
    high = int(np.rint((pairs + z * sigma) / 2.0))
    return max(low, 0), min(high, pairs - 1)


@kernel(helper=True)
def stretched(z, stretch, pixel):
    """Return the quantile of a pixel's limits."""
    return z * math.sqrt(stretch[pixel]) if stretch.size > 0 else z


@kernel(helper=True)
def settle(status, n, first, bands, p):
    """Put the bands of a pixel in order whose status is not 0."""
    for band in range(BANDS):
        bands[band, p] = np.nan
    bands[COUNT, p] = n
    if status == CONSTANT:
        bands[SLOPE, p] = 0.0
        bands[INTERCEPT, p] = first


# ------------------------------------------------------------------------------------------ short series


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

    `ties` becomes Kendall's sum ``u (u - 1) (2 u + 5)`` over groups of `u` equal values: where a value has ``e``
    later equals, groups add up ``6 e**2 + 12 e`` to that, as e runs from 0 to u - 1.
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
def fit_short(values, times, min_obs, joint, z, stretch, rows, y, sorted_y, slopes, scratch, bands, table, status):
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
        Whether the intercept is the median of ``y - slope * t``, or goes through the medians of both.
    z
        Normal quantile of the confidence limits.
    stretch
        (pixel,) by which the variance of Kendall's score is multiplied for them; empty where values are independent.
    rows
        The band of each row of `table`.
    y, sorted_y, slopes
        (time, WIDTH), (time, WIDTH) and (pairs, WIDTH) float64 scratch.
    scratch, bands
        (4, max(time, WIDTH)) and (BANDS, WIDTH) float64 scratch.
    table, status
        (band, pixel) and (pixel,) uint8, to be filled.
    """
    pixels = values.shape[1]
    t, series, equal, ties = scratch[0], scratch[1], scratch[2], scratch[3]
    for start in range(0, pixels, WIDTH):
        width = pixels - start if pixels - start < WIDTH else WIDTH
        load_chunk(values, start, width, y)
        count = slopes_of_pairs(y, times, slopes, equal, ties)
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
            low, high = limit_ranks(n, pairs, ties[p] + time_ties, stretched(z, stretch, start + p))
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
            hand_over(bands, rows, table, p, start + p)


@kernel()
def fit_repeated_medians(values, times, min_obs, rows, y, sorted_y, slopes, medians, scratch, bands, table, status):
    """Fit Siegel's lines; see `fit_short`. `slopes` and `medians` are (time, WIDTH) float64 scratch."""
    layers, pixels = values.shape
    t, series, others = scratch[0], scratch[1], scratch[2]
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
        sort_intercepts(y, times, bands[SLOPE], sorted_y)
        for p in range(width):
            if status[start + p] == OK:
                bands[INTERCEPT, p] = median_of_sorted(sorted_y, int(bands[COUNT, p]), p)
            hand_over(bands, rows, table, p, start + p)


# ------------------------------------------------------------------------------------------- long series


@kernel(helper=True)
def order_by_value_within_times(t, y, n):
    """Sort values of one time, so that no number ``x`` makes ``y - x * t`` put them into another order."""
    for i in range(1, n):
        value = y[i]
        j = i - 1
        while j >= 0 and t[j] == t[i] and y[j] > value:
            y[j + 1] = y[j]
            j -= 1
        y[j + 1] = value


@kernel(helper=True)
def merge_sort(keys, order, other_keys, other_order, n, t, y, found):
    """Sort `order` by `keys`, stable, and count the pairs that change places.

    Parameters
    ----------
    keys, order
        The first `n` numbers, and which observation each is of; both sorted in place.
    other_keys, other_order
        Scratch.
    t, y
        Times and values of the observations.
    found
        Filled with the slopes of pairs that change places, if they are no more than fit.

    Returns
    -------
    int
        How many pairs changed places.
    """
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
    source, source_order, target, target_order = keys, order, other_keys, other_order
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
def count_below(x, series, n, integers, empty):
    """Count the slopes below `x`, and leave the observations in the order of ``y - x * t``."""
    t, y, centred_t, centred_y, keys, other_keys = series[0], series[1], series[2], series[3], series[4], series[5]
    order, other_order = integers[0], integers[1]
    for i in range(n):
        order[i] = i
        keys[i] = centred_y[i] - x * centred_t[i]
    return merge_sort(keys, order, other_keys, other_order, n, t, y, empty)


@kernel(helper=True)
def find_up_to(x, series, n, integers, found):
    """Count, and find, the slopes below `x` that are not below the number that `count_below` was called with."""
    t, y, centred_t, centred_y, keys, other_keys = series[0], series[1], series[2], series[3], series[4], series[5]
    order, other_order = integers[0], integers[1]
    for i in range(n):
        keys[i] = centred_y[order[i]] - x * centred_t[order[i]]
    return merge_sort(keys, order, other_keys, other_order, n, t, y, found)


@kernel(helper=True)
def pass_over(x, t, y, n):
    """Count the slopes up to `x`, and find the largest of them and the smallest beyond, by making all of them."""
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
    """Return slope number `k` by halving the range that it lies in: for series of which most slopes are equal."""
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
    """Return how far from `x` rounding may put a slope onto its wrong side; `least` is the shortest time between."""
    centred_t, centred_y = series[2], series[3]
    largest = 0.0
    for i in range(n):
        size = abs(centred_y[i]) + abs(x * centred_t[i])
        largest = size if size > largest else largest
    # Three roundings of each of two numbers, and of their difference, with a margin of 2.
    return 16.0 * 2.0**-53 * largest / least


@kernel(helper=True)
def select_found(k, last, held, below, count, least, series, n, found):
    """Return slope number `k`, or the mean of it and `last`, if `found` holds it for certain; else NaN.

    `found` holds the `count` slopes between the numbers `held`, `below` of them lying below the first.
    """
    if k < below or last >= below + count or count > found.size:
        return np.nan
    slope = select(found, count, k - below)
    following = slope
    if last > k:
        following = np.inf
        for i in range(k - below + 1, count):
            following = found[i] if found[i] < following else following
    # Only slopes nearer to an end than rounding can be on its wrong side.
    if slope - held[0] <= rounding_of(held[0], series, n, least):
        return np.nan
    if held[1] - following <= rounding_of(held[1], series, n, least):
        return np.nan
    return (slope + following) / 2.0 if last > k else slope


@kernel(helper=True)
def find_slope(k, last, zeros_from, zeros, held, below_held, ends, counts, least, series, n, integers, found):
    """Return slope number `k` of all slopes in ascending order, counted from 0, or the mean of it and the next.

    Parameters
    ----------
    k, last
        Number of the slope, and the same or the next.
    zeros_from, zeros
        How many slopes are below 0, and exactly 0: what ties make many of.
    held, below_held
        Two numbers between which `found` holds all slopes, how many are below the first, and between both.
    ends, counts
        Two numbers, the first of which has at most `k` slopes below it, the second more than `last`; and how many
        there are below each.
    least
        The shortest time between two observations.
    series, n
        Times, values, both less a number near to them, and scratch: (6, `n`).
    integers, found
        (2, `n`) and as many numbers as are selected from.
    """
    if zeros_from <= k and last < zeros_from + zeros:
        return 0.0
    a, b, below_a, below_b = ends[0], ends[1], counts[0], counts[1]
    room = found.size
    for _ in range(24):
        slope = select_found(k, last, held, below_held[0], below_held[1], least, series, n, found)
        if slope == slope:
            return slope
        between = below_b - below_a
        x1, x2 = a, b
        if between > room:
            reach = n // 4 + 64
            x1 = a + (b - a) * (max(k - reach - below_a, 0) / between)
            x2 = a + (b - a) * (min(last + reach - below_a, between) / between)
        below = count_below(x1, series, n, integers, found[:0])
        if below > k:
            b, below_b = x1, below
            continue
        a, below_a = x1, below
        count = find_up_to(x2, series, n, integers, found)
        held[0], held[1], below_held[0], below_held[1] = x1, x2, below, count
        if below + count > last:
            b, below_b = x2, below + count
        else:
            a, below_a = x2, below + count
    slope = find_by_passes(k, series[0], series[1], n)
    return (slope + find_by_passes(last, series[0], series[1], n)) / 2.0 if last > k else slope


@kernel(helper=True)
def find_ends(first, last, pairs, series, n, integers, found, ends, counts):
    """Find two numbers between which slopes number `first` to `last` lie, from a random sample of slopes."""
    t, y = series[0], series[1]
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
        counts[0] = count_below(low, series, n, integers, found[:0])
        if counts[0] <= first:
            break
        low -= step
        step *= 2.0
    step = max(high - low, abs(high) * 1e-6, 1e-300)
    # Beyond the last slope, where that is wanted: a slope is below a number, not equal to it.
    for _ in range(1100):
        counts[1] = count_below(high, series, n, integers, found[:0])
        if counts[1] > last:
            break
        high += step
        step *= 2.0
    ends[0], ends[1] = low, high


@kernel()
def fit_long(values, times, min_obs, joint, z, stretch, limits, rows, series, integers, found, bands, table, status):
    """Fit Theil-Sen lines to long series, one by one.

    Parameters
    ----------
    values, times, min_obs, joint, z, stretch, rows, table, status
        See `fit_short`.
    limits
        Whether the confidence limits are wanted: two thirds of the time.
    series, integers, found, bands
        (6, time) float64, (2, time) int64, (2 * time + 256) and (BANDS, 1) float64 scratch.
    """
    t, y, keys = series[0], series[1], series[4]
    ends, counts, held, below_held = np.empty(2), np.empty(2, np.int64), np.empty(2), np.empty(2, np.int64)
    for pixel in range(values.shape[1]):
        n = gather(values, pixel, times, t, y)
        state = series_status(t, y, n, min_obs)
        status[pixel] = state
        if state != OK:
            settle(state, n, y[0], bands, 0)
            hand_over(bands, rows, table, 0, pixel)
            continue
        order_by_value_within_times(t, y, n)
        least = np.inf
        for i in range(n):
            series[2, i] = t[i] - t[n // 2]
            series[3, i] = y[i] - y[0]
            if i > 0 and t[i] > t[i - 1]:
                least = min(least, t[i] - t[i - 1])
        same_time, time_ties = count_time_ties(t, n)
        pairs = n * (n - 1) // 2 - same_time
        # At 0 no number is rounded: how many slopes are below and exactly 0, and ties of values.
        zeros_from = count_below(0.0, series, n, integers, found[:0])
        zeros, ties = count_time_ties(keys, n)
        for i in range(n):
            j = i - 1
            while j >= 0 and t[j] == t[i]:
                zeros -= 1 if y[j] == y[i] else 0
                j -= 1
        low, high = limit_ranks(n, pairs, ties + time_ties, stretched(z, stretch, pixel))
        middle = (pairs - 1) // 2
        found_limits = limits and low >= 0
        first, last = (low, max(high, pairs // 2)) if found_limits else (middle, pairs // 2)
        find_ends(min(first, middle), last, pairs, series, n, integers, found, ends, counts)
        below_held[1] = 0
        bands[LOW_SLOPE, 0], bands[HIGH_SLOPE, 0] = np.nan, np.nan
        status[pixel] = OK if low >= 0 else TEST_UNDEFINED
        for band, k in ((SLOPE, middle), (LOW_SLOPE, low), (HIGH_SLOPE, high)):
            if band == SLOPE or found_limits:
                last = k + 1 if band == SLOPE and pairs % 2 == 0 else k
                bands[band, 0] = find_slope(
                    k, last, zeros_from, zeros, held, below_held, ends, counts, least, series, n, integers, found
                )
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
        hand_over(bands, rows, table, 0, pixel)
