"""Compiled tests of a trend within seasons, and series without their seasons."""

# Numba infers types from arguments; annotations would only repeat the docstrings.
# mypy: allow-untyped-defs

from __future__ import annotations

import math

import numpy as np

from pixelwise.kernels.jit import kernel
from pixelwise.kernels.mann_kendall import rank, tie_sums
from pixelwise.kernels.pvalues import chi_square_tail
from pixelwise.kernels.series import CONSTANT, DEGENERATE, OK, TEST_UNDEFINED, gather, series_status
from pixelwise.kernels.sorting import select

SLOPE, TAU, SCORE, VARIANCE, Z, PVALUE, INDEPENDENT, HOMOGENEITY, VARIANCE_INDEPENDENT, COUNT = range(10)
BANDS = 10


# Deviations from the median of a season beyond so many median deviations count as that far, when its level is found:
# five standard deviations of normal values, so that it is the mean of all but outliers.
FAR = 5.0 * 1.4826


@kernel(helper=True)
def median_of(values, size):
    """Return the median of the first `size` values, which are reordered."""
    upper = select(values, size, size // 2)
    if size % 2 == 1:
        return upper
    below = -np.inf
    for i in range(size // 2):
        below = values[i] if values[i] > below else below
    return (below + upper) / 2.0


@kernel()
def take_off_seasons(values, times, years, order, starts, slopes, series, integers, levels, factors):
    """Take the level of its season off each value, estimated beside a trend, and put the median of all back, in place.

    A constant series stays one, and so does one of an infinite value.

    Parameters
    ----------
    values, times
        (time, pixel) float64, NaN where missing; (time,) decimal years.
    years
        (time,) of the calendar.
    order, starts
        (time,) dates season by season, ascending within each, and (season + 1,) where each season begins among them.
        Values of seasons that are seen in one year only become NaN: they say nothing of a trend.
    slopes, series, integers, levels
        Scratch: (pairs within seasons,), (4, time), (2, time) int64, (2, season).
    factors
        (pixel,), to be filled: how many times the variance of as many values without seasons that of a slope is; NaN
        where there is no slope.
    """
    t, rest, sizes, some = series[0], series[1], series[2], series[3]
    year, place = integers[0], integers[1]
    level, ends = levels[0], levels[1]
    seasons = starts.size - 1
    for p in range(values.shape[1]):
        factors[p] = np.nan
        finite = True
        for i in range(values.shape[0]):
            finite = finite and abs(values[i, p]) != np.inf
        if not finite:
            continue
        n, pairs, groups = 0, 0, 0
        for g in range(seasons):
            begin = n
            for a in range(starts[g], starts[g + 1]):
                i = order[a]
                y = values[i, p]
                if y == y:
                    rest[n], t[n], year[n], place[n] = y, times[i], years[i], i
                    n += 1
            if n > begin and year[n - 1] == year[begin]:
                for k in range(begin, n):
                    values[place[k], p] = np.nan
                n = begin
            groups += 1 if n > begin else 0
            for k in range(begin, n):
                for m in range(k + 1, n):
                    if year[m] > year[k]:
                        slopes[pairs] = (rest[m] - rest[k]) / (t[m] - t[k])
                        pairs += 1
            ends[g] = n
        if n == 0:
            continue
        slope = median_of(slopes, pairs)
        if not abs(slope) < np.inf:
            continue
        middle = 0.0
        for k in range(n):
            rest[k] -= slope * (t[k] - times[0])
            some[k] = rest[k]
            middle += t[k] / n
        overall = median_of(some, n)
        deviations, begin = 0, 0
        for g in range(seasons):
            end = int(ends[g])
            for k in range(begin, end):
                some[k - begin] = rest[k]
            level[g] = median_of(some, end - begin) if end > begin else np.nan
            for k in range(begin, end):
                away = abs(rest[k] - level[g])
                if away > 0.0:
                    sizes[deviations] = away
                    deviations += 1
            begin = end
        far = FAR * median_of(sizes, deviations) if deviations > 0 else 0.0
        within, across, begin = 0.0, 0.0, 0
        for g in range(seasons):
            end = int(ends[g])
            away, centre = 0.0, 0.0
            for k in range(begin, end):
                away += max(min(rest[k] - level[g], far), -far)
                centre += t[k] / (end - begin)
            for k in range(begin, end):
                within += (t[k] - centre) * (t[k] - centre)
                across += (t[k] - middle) * (t[k] - middle)
                values[place[k], p] -= level[g] + away / (end - begin) - overall
            begin = end
        # Seasons of two values and more leave degrees of freedom to any three.
        factors[p] = across / within * (n - 1.0) / (n - groups - 1.0)


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
    bands[SLOPE, 0] = median_of(slopes, pairs)
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
