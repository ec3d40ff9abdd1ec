"""Compiled tests of a trend within seasons, and means of seasons."""

# Numba infers types from arguments; annotations would only repeat the docstrings.
# mypy: allow-untyped-defs

from __future__ import annotations

import math

import numpy as np

from pixelwise._sort_kernels import select
from pixelwise.jit import kernel
from pixelwise.methods._mann_kendall_kernels import rank, tie_sums
from pixelwise.methods._pvalue_kernels import chi_square_tail
from pixelwise.methods._series_kernels import CONSTANT, DEGENERATE, OK, TEST_UNDEFINED, gather, series_status

SLOPE, TAU, SCORE, VARIANCE, Z, PVALUE, INDEPENDENT, HOMOGENEITY, VARIANCE_INDEPENDENT, COUNT = range(10)
BANDS = 10


@kernel()
def take_off_means(values, seasons, scratch):
    """Take the mean of each season off each series, and put the mean of all back, in place.

    Means are of deviations from the first value, so that a constant series stays one. `scratch` is (3, seasons).
    """
    first, sums, counts = scratch[0], scratch[1], scratch[2]
    for p in range(values.shape[1]):
        for g in range(counts.size):
            counts[g] = 0.0
            sums[g] = 0.0
        start, total, n = np.nan, 0.0, 0
        for i in range(values.shape[0]):
            y = values[i, p]
            if y == y:
                g = seasons[i]
                start = y if n == 0 else start
                first[g] = y if counts[g] == 0.0 else first[g]
                sums[g] += y - first[g]
                counts[g] += 1.0
                total += y - start
                n += 1
        for i in range(values.shape[0]):
            g = seasons[i]
            if values[i, p] == values[i, p]:
                values[i, p] = values[i, p] - (first[g] + sums[g] / counts[g]) + (start + total / n)


@kernel(helper=True)
def toward_0(s):
    """Correct a score for continuity."""
    if s > 0.0:
        return s - 1.0
    return s + 1.0 if s < 0.0 else s


@kernel()
def test_seasons(
    values, times, years, seasons, min_obs, rows, series, matrix, ranks, signs, slopes, bands, table, status
):
    """Test every pixel's series for a trend within seasons.

    Parameters
    ----------
    values, times
        (time, pixel), NaN where missing, and (time,) decimal years.
    years, seasons
        (time,) row and column of each date in a table of years by seasons.
    min_obs
        Fewest valid values.
    rows
        The band of each row of `table`.
    series
        (4, max(time, years)) float64 scratch.
    matrix, ranks
        (seasons, years) float64 scratch.
    signs
        (seasons, pairs of years) int32 scratch.
    slopes
        (pairs within seasons,) float64 scratch.
    bands, table, status
        (BANDS, 1) scratch; (band, pixel) and (pixel,) uint8, to be filled.
    """
    t, y, some_times, some = series[0], series[1], series[2], series[3]
    for pixel in range(values.shape[1]):
        n = gather(values, pixel, times, t, y)
        found = series_status(t, y, n, min_obs)
        for band in range(BANDS):
            bands[band, 0] = np.nan
        bands[COUNT, 0] = n
        if found == OK:
            found = test_pixel(
                values, pixel, times, years, seasons, some_times, some, matrix, ranks, signs, slopes, bands
            )
        if found == CONSTANT:
            for band in (SLOPE, SCORE, VARIANCE, VARIANCE_INDEPENDENT):
                bands[band, 0] = 0.0
        status[pixel] = found
        for k in range(rows.size):
            table[k, pixel] = bands[rows[k], 0]


@kernel(helper=True)
def test_pixel(values, pixel, times, years, seasons, t, y, matrix, ranks, signs, slopes, bands):
    """Test one series that is long enough and varies; return its status."""
    count, length = matrix.shape
    for g in range(count):
        for j in range(length):
            matrix[g, j] = np.nan
    for i in range(values.shape[0]):
        matrix[seasons[i], years[i]] = np.float64(values[i, pixel])
    score, independent, denominators = 0.0, 0.0, 0.0
    squares, normals, tested = 0.0, 0.0, 0
    pairs = 0
    # Layers ascend in time, and so do those of a season.
    for g in range(count):
        n = 0
        for i in range(values.shape[0]):
            value = np.float64(values[i, pixel])
            if seasons[i] == g and value == value:
                y[n] = value
                t[n] = times[i]
                n += 1
        s = 0
        for i in range(n):
            for j in range(i + 1, n):
                s += (1 if y[j] > y[i] else 0) - (1 if y[j] < y[i] else 0)
                slopes[pairs] = (y[j] - y[i]) / (t[j] - t[i])
                pairs += 1
        if n < 2:
            continue
        rank(y, n, t)
        twos, _, ties = tie_sums(y, n)
        all_pairs = n * (n - 1.0)
        variance = (all_pairs * (2.0 * n + 5.0) - ties) / 18.0
        score += s
        independent += variance
        denominators += 0.5 * math.sqrt((all_pairs - twos) * all_pairs)
        if variance > 0.0:
            z = s / math.sqrt(variance)
            squares += z * z
            normals += z
            tested += 1
        k = 0
        for j in range(length):
            if matrix[g, j] == matrix[g, j]:
                ranks[g, j] = t[k]
                k += 1
            else:
                ranks[g, j] = 0.5 * (n + 1.0)
    if pairs == 0:
        return DEGENERATE
    if independent == 0.0:
        return CONSTANT
    bands[SLOPE, 0] = select(slopes, pairs, pairs // 2)
    if pairs % 2 == 0:
        below = -np.inf
        for i in range(pairs // 2):
            below = slopes[i] if slopes[i] > below else below
        bands[SLOPE, 0] = (below + bands[SLOPE, 0]) / 2.0
    bands[SCORE, 0] = score
    bands[TAU, 0] = score / denominators
    bands[VARIANCE_INDEPENDENT, 0] = independent
    bands[INDEPENDENT, 0] = math.erfc(abs(toward_0(score)) / math.sqrt(2.0 * independent))
    if tested > 1:
        bands[HOMOGENEITY, 0] = chi_square_tail(max(squares - normals * normals / tested, 0.0), tested - 1)
    variance = independent + 2.0 * sum_covariances(matrix, ranks, signs)
    bands[VARIANCE, 0] = variance
    if not variance > 0.0:
        return TEST_UNDEFINED
    bands[Z, 0] = toward_0(score) / math.sqrt(variance)
    bands[PVALUE, 0] = math.erfc(abs(bands[Z, 0]) * math.sqrt(0.5))
    return OK


@kernel(helper=True)
def sum_covariances(matrix, ranks, signs):
    """Return the sum of the covariances of scores over pairs of seasons (Hirsch & Slack 1984, eq. 9; Dietz & Killeen).

    ``(K + 4 sum(R_g R_h) - n (n_g + 1) (n_h + 1)) / 3``, K the sum over pairs of years of the product of both signs.
    """
    count, length = matrix.shape
    total = 0.0
    for g in range(count):
        k = 0
        for i in range(length):
            for j in range(i + 1, length):
                rises, falls = matrix[g, j] > matrix[g, i], matrix[g, j] < matrix[g, i]
                signs[g, k] = (1 if rises else 0) - (1 if falls else 0)
                k += 1
    for g in range(count):
        valid_g = 0
        for j in range(length):
            valid_g += 1 if matrix[g, j] == matrix[g, j] else 0
        for h in range(g + 1, count):
            valid_h = 0
            for j in range(length):
                valid_h += 1 if matrix[h, j] == matrix[h, j] else 0
            if valid_g < 2 or valid_h < 2:
                continue
            together = 0
            a, b = signs[g], signs[h]
            for k in range(a.size):
                together += a[k] * b[k]
            products = 0.0
            for j in range(length):
                products += ranks[g, j] * ranks[h, j]
            total += (together + 4.0 * products - length * (valid_g + 1.0) * (valid_h + 1.0)) / 3.0
    return total
