"""Compiled summaries of many pixels.

A chunk at a time goes through loops over dates around loops over pixels, which the compiler turns into vector
instructions. Each pixel takes the same steps whatever its neighbours.
"""

# Numba infers types from arguments; annotations would only repeat the docstrings.
# mypy: allow-untyped-defs

from __future__ import annotations

import math

import numpy as np

from pixelwise.kernels.jit import kernel
from pixelwise.kernels.output import store
from pixelwise.kernels.sorting import sort_columns
from pixelwise.kernels.status import NO_OBSERVATION, OK, TEST_UNDEFINED, TOO_FEW

# Sorting holds all layers of its pixels, as for medians of composites.
CHUNK = 64

COUNT, MEAN, SD, MIN, MAX, FIRST, LAST, CV, FIRST_TIME, LAST_TIME = range(10)
RESULTS = 10
# Rows of scratch memory before the results: the sum of squares.
SUMS = 1

# Within these no square that matters is rounded to a subnormal number, and no sum of them overflows.
SMALL = 1e-290
LARGE = 1e290


@kernel(inline="always")
def find_ends(values, start, width, times, found):
    """Find counts, extremes, first and last values, and their dates."""
    n, low, high, first, last = found[COUNT], found[MIN], found[MAX], found[FIRST], found[LAST]
    first_time, last_time = found[FIRST_TIME], found[LAST_TIME]
    for p in range(CHUNK):
        n[p] = 0.0
        low[p] = np.inf
        high[p] = -np.inf
        first[p] = np.nan
        last[p] = np.nan
        first_time[p] = np.nan
        last_time[p] = np.nan
    for i in range(values.shape[0]):
        row = values[i, start : start + width]
        t = times[i]
        for p in range(width):
            y = np.float64(row[p])
            valid = y == y
            n[p] += 1.0 if valid else 0.0
            low[p] = y if y < low[p] else low[p]
            high[p] = y if y > high[p] else high[p]
            new = valid & (first[p] != first[p])
            first[p] = y if new else first[p]
            first_time[p] = t if new else first_time[p]
            last[p] = y if valid else last[p]
            last_time[p] = t if valid else last_time[p]


@kernel(inline="always")
def find_moments(values, start, width, found, squares):
    """Find means and sums of squares about them, from deviations from each pixel's first value.

    Subtracting the first value is exact for values of similar magnitude: all digits of the variation are kept at
    offsets of 1e9, and the mean and spread of a constant series are exact.
    """
    n, first, mean = found[COUNT], found[FIRST], found[MEAN]
    for p in range(CHUNK):
        mean[p] = 0.0
        squares[p] = 0.0
    for i in range(values.shape[0]):
        row = values[i, start : start + width]
        for p in range(width):
            y = np.float64(row[p])
            mean[p] += y - first[p] if y == y else 0.0
    for p in range(CHUNK):
        mean[p] /= n[p]
    for i in range(values.shape[0]):
        row = values[i, start : start + width]
        for p in range(width):
            y = np.float64(row[p])
            deviation = (y - first[p]) - mean[p] if y == y else 0.0
            squares[p] += deviation * deviation
    for p in range(CHUNK):
        mean[p] += first[p]


@kernel(inline="always")
def find_quantiles(values, start, width, shares, table, found):
    """Sort each pixel's values and find quantiles, as `numpy.quantile` and `numpy.median` do."""
    for i in range(values.shape[0]):
        row, line = values[i, start : start + width], table[i]
        for p in range(width):
            y = row[p]
            line[p] = y if y == y else np.inf  # after all others
        for p in range(width, CHUNK):
            line[p] = 0.0
    sort_columns(table, values.shape[0])
    for k in range(shares.size):
        for p in range(width):
            n = int(found[COUNT, p])
            if n == 0:
                continue
            # The order of operations is numpy's, for the same bits.
            if shares[k] < 0.0:
                found[RESULTS + k, p] = (np.float64(table[(n - 1) // 2, p]) + np.float64(table[n // 2, p])) / 2.0
                continue
            place = (n - 1) * shares[k]
            below = int(place)
            weight = place - below
            a = np.float64(table[below, p])
            b = np.float64(table[below + 1 if below + 1 < n else n - 1, p])
            step = b - a
            found[RESULTS + k, p] = b - step * (1.0 - weight) if weight >= 0.5 else a + step * weight


@kernel()
def summarise(values, times, min_obs, shares, scratch, sorting, output):
    """Describe every pixel's values.

    Parameters
    ----------
    values
        (time, pixel), NaN where missing.
    times
        (time,) decimal years.
    min_obs
        Fewest valid values.
    shares
        Shares of the requested quantiles, between 0 and 1; -1 for the median.
    scratch, sorting
        (SUMS + RESULTS + quantiles, CHUNK) float64, and (time, CHUNK) of the type of `values` or, without quantiles,
        (0, CHUNK), to work with.
    output
        `Output`; its rows are the numbers above, followed by the quantiles.
    """
    pixels, status = values.shape[1], output.status
    squares, found = scratch[0], scratch[SUMS:]
    n, mean, sd, cv, low, high = found[COUNT], found[MEAN], found[SD], found[CV], found[MIN], found[MAX]
    for start in range(0, pixels, CHUNK):
        width = pixels - start if pixels - start < CHUNK else CHUNK
        find_ends(values, start, width, times, found)
        find_moments(values, start, width, found, squares)
        if shares.size > 0:
            find_quantiles(values, start, width, shares, sorting, found)
        for p in range(CHUNK):
            sd[p] = math.sqrt(squares[p] / (n[p] - 1.0))
            cv[p] = sd[p] / abs(mean[p]) if mean[p] != 0.0 else np.nan
        for p in range(width):
            constant = low[p] == high[p]
            if n[p] < min_obs:
                status[start + p] = NO_OBSERVATION if n[p] == 0.0 else TOO_FEW
                for k in range(1, found.shape[0]):
                    found[k, p] = np.nan
            elif abs(low[p]) == np.inf or abs(high[p]) == np.inf or not (SMALL < squares[p] < LARGE or constant):
                status[start + p] = TEST_UNDEFINED
                sd[p] = np.nan
                cv[p] = np.nan
            else:
                status[start + p] = OK
        store(found, start, width, output)
