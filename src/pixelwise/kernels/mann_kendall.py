"""Compiled scores of Mann and Kendall, their variance with ties, and what serial correlation makes of it."""

# Numba infers types from arguments; annotations would only repeat the docstrings.
# mypy: allow-untyped-defs

from __future__ import annotations

import math

import numpy as np

from pixelwise.kernels.jit import kernel
from pixelwise.kernels.series import CONSTANT, NO_OBSERVATION, OK, TEST_UNDEFINED, TOO_FEW, gather, series_status

SLOPE, TAU, SCORE, VARIANCE, Z, PVALUE, COUNT = range(7)
BANDS = 7

# Scores and ties of so many pixels stay in the L1 cache.
CHUNK = 256

ROOT_HALF = math.sqrt(0.5)


@kernel(helper=True)
def count_chunk(values, start, width, n, infinite):
    """Count valid and infinite values of a chunk."""
    for p in range(width):
        n[p] = 0
        infinite[p] = 0
    for i in range(values.shape[0]):
        row = values[i, start : start + width]
        for p in range(width):
            y = row[p]
            n[p] += 1 if y == y else 0
            infinite[p] += 1 if abs(y) == np.inf else 0


@kernel(helper=True)
def compare_pairs(values, start, width, times, score, equal, pairs, ties):
    """Compare all pairs of dates of a chunk of pixels.

    Parameters
    ----------
    values, times
        (time, pixel), NaN where missing, and (time,).
    start, width
        The chunk.
    score
        (CHUNK,) int32, filled with how many pairs rise less how many fall; those of one time do neither.
    equal
        (CHUNK,) int32 scratch.
    pairs, ties
        (CHUNK,) float64, filled with ``sum(u (u - 1))`` and ``sum(u (u - 1) (2 u + 5))`` over groups of `u` equal
        values. Where a value has ``e`` later equals, a group adds up ``2 e`` to the one, and ``6 e**2 + 12 e`` to the
        other, as e runs from 0 to u - 1.
    """
    layers = values.shape[0]
    for p in range(width):
        score[p] = 0
        pairs[p] = 0.0
        ties[p] = 0.0
    for i in range(layers - 1):
        a = values[i, start : start + width]
        for p in range(width):
            equal[p] = 0
        j = i + 1
        while j < layers and times[j] == times[i]:
            b = values[j, start : start + width]
            for p in range(width):
                equal[p] += 1 if a[p] == b[p] else 0
            j += 1
        # Two dates at a time load and store each score once.
        while j + 1 < layers:
            b, c = values[j, start : start + width], values[j + 1, start : start + width]
            for p in range(width):
                x, y, z = a[p], b[p], c[p]
                rise = (1 if y > x else 0) + (1 if z > x else 0)
                fall = (1 if y < x else 0) + (1 if z < x else 0)
                same = (1 if y == x else 0) + (1 if z == x else 0)
                score[p] += np.int32(rise - fall)
                equal[p] += np.int32(same)
            j += 2
        if j < layers:
            b = values[j, start : start + width]
            for p in range(width):
                x, y = a[p], b[p]
                score[p] += np.int32((1 if y > x else 0) - (1 if y < x else 0))
                equal[p] += np.int32(1 if y == x else 0)
        for p in range(width):
            e = np.float64(equal[p])
            pairs[p] += 2.0 * e
            ties[p] += (6.0 * e + 12.0) * e


@kernel(helper=True)
def tie_sums(values, n):
    """Return the sums of ``u (u-1)``, ``u (u-1) (u-2)``, ``u (u-1) (2u+5)`` over groups of `u` equal numbers.

    Where a number has ``e`` later equals, a group adds up ``2 e``, ``3 e (e - 1)`` and ``6 e**2 + 12 e``, as e runs
    from 0 to u - 1.
    """
    twos, threes, ties = 0.0, 0.0, 0.0
    for i in range(n):
        equal = 0
        for j in range(i + 1, n):
            equal += 1 if values[j] == values[i] else 0
        e = np.float64(equal)
        twos += 2.0 * e
        threes += 3.0 * e * (e - 1.0)
        ties += (6.0 * e + 12.0) * e
    return twos, threes, ties


@kernel(helper=True)
def variance_with_equal_times(t, y, n):
    """Return the variance of the score where both times and values tie (Kendall 1975, eq. 5.3), and tied time pairs."""
    t_twos, t_threes, t_ties = tie_sums(t, n)
    y_twos, y_threes, y_ties = tie_sums(y, n)
    m = n * (n - 1.0)
    variance = (m * (2.0 * n + 5.0) - t_ties - y_ties) / 18.0 + t_twos * y_twos / (2.0 * m)
    if n > 2:
        variance += t_threes * y_threes / (9.0 * m * (n - 2.0))
    return variance, t_twos


@kernel()
def test_trend(
    values,
    times,
    min_obs,
    equal_times,
    factors,
    exact,
    exact_from,
    exact_to,
    rows,
    integers,
    sums,
    series,
    bands,
    table,
    status,
):
    """Test every pixel's series for a monotonic trend.

    Parameters
    ----------
    values
        (time, pixel), NaN where missing.
    times
        (time,), ascending.
    min_obs
        Fewest valid values.
    equal_times
        Whether two of the times are equal.
    factors
        (pixel,) by which variances are multiplied; empty for none. NaN where there is no factor.
    exact, exact_from, exact_to
        Tables of two-sided p-values by ``|score|``, one after the other, for each number of observations from
        `exact_from` to `exact_to`; empty where the normal distribution is wanted.
    rows
        The band of each row of `table`; negative where it is filled elsewhere.
    integers, sums, series, bands
        (4, CHUNK) int32, (2, CHUNK) float64, (2, time) float64 and (BANDS, CHUNK) float64 scratch.
    table, status
        (band, pixel) and (pixel,) uint8, to be filled.
    """
    pixels = values.shape[1]
    n, infinite, score, equal = integers[0], integers[1], integers[2], integers[3]
    pairs, ties = sums[0], sums[1]
    for start in range(0, pixels, CHUNK):
        width = pixels - start if pixels - start < CHUNK else CHUNK
        count_chunk(values, start, width, n, infinite)
        compare_pairs(values, start, width, times, score, equal, pairs, ties)
        for p in range(width):
            m = np.float64(n[p])
            all_pairs = m * (m - 1.0)
            bands[SCORE, p] = score[p]
            bands[VARIANCE, p] = (all_pairs * (2.0 * m + 5.0) - ties[p]) / 18.0
            bands[TAU, p] = 2.0 * bands[SCORE, p] / math.sqrt((all_pairs - pairs[p]) * all_pairs)
            bands[COUNT, p] = m
        for p in range(width):
            pixel = start + p
            found = OK
            if n[p] < min_obs:
                found = TOO_FEW if n[p] > 0 else NO_OBSERVATION
            elif infinite[p] > 0:
                found = TEST_UNDEFINED
            elif pairs[p] == n[p] * (n[p] - 1.0):
                found = CONSTANT
            elif equal_times:
                m = gather(values, pixel, times, series[0], series[1])
                found = series_status(series[0], series[1], m, min_obs)
                bands[VARIANCE, p], same_time = variance_with_equal_times(series[0], series[1], m)
                all_pairs = m * (m - 1.0)
                bands[TAU, p] = 2.0 * bands[SCORE, p] / math.sqrt((all_pairs - pairs[p]) * (all_pairs - same_time))
            status[pixel] = found
        if factors.size > 0:
            for p in range(width):
                bands[VARIANCE, p] *= factors[start + p]
        for p in range(width):
            s = bands[SCORE, p]
            toward_0 = s - 1.0 if s > 0.0 else s + 1.0
            bands[Z, p] = (toward_0 if s != 0.0 else s) / math.sqrt(bands[VARIANCE, p])
        for p in range(width):
            bands[PVALUE, p] = math.erfc(abs(bands[Z, p]) * ROOT_HALF)
        if exact.size > 0:
            for p in range(width):
                if exact_from <= n[p] <= exact_to and pairs[p] == 0.0:
                    bands[PVALUE, p] = exact[exact_place(exact_from, n[p]) + abs(score[p])]
        for p in range(width):
            if status[start + p] == OK and not bands[VARIANCE, p] > 0.0:
                status[start + p] = TEST_UNDEFINED
            if status[start + p] != OK:
                settle(status[start + p], bands, p)
        for k in range(rows.size):
            if rows[k] >= 0:
                row, band = table[k, start : start + width], bands[rows[k]]
                for p in range(width):
                    row[p] = band[p]


@kernel(helper=True)
def settle(status, bands, p):
    """Put the bands of a pixel in order whose status is not 0."""
    bands[Z, p] = np.nan
    bands[PVALUE, p] = np.nan
    bands[TAU, p] = np.nan
    if status != CONSTANT:
        bands[SCORE, p] = np.nan
        bands[VARIANCE, p] = np.nan


@kernel(helper=True)
def exact_place(first, n):
    """Return where the table of `n` observations begins: that of `m` has ``m (m - 1) / 2 + 1`` entries."""
    place = 0
    for m in range(first, n):
        place += m * (m - 1) // 2 + 1
    return place


# ------------------------------------------------------------------------------------- serial correlation


@kernel(helper=True)
def rank(y, n, ranks):
    """Fill in the ranks of `n` numbers from 1, equal ones sharing the mean of theirs."""
    for i in range(n):
        smaller, equal = 0, 0
        for j in range(n):
            smaller += 1 if y[j] < y[i] else 0
            equal += 1 if y[j] == y[i] else 0
        ranks[i] = smaller + 0.5 * (equal + 1)


@kernel(helper=True)
def autocorrelation(y, place, n, lag):
    """Return the correlation of numbers exactly `lag` steps apart; 0 where there are none.

    ``sum((y[i] - m) (y[j] - m)) / sum((y[i] - m)**2)`` over the pairs with ``place[j] - place[i] == lag``, and over
    all: without gaps the usual one. With gaps, pairs that are missing count as the mean of those that are there.
    """
    mean = 0.0
    for i in range(n):
        mean += y[i]
    mean /= n
    squares, products, count = 0.0, 0.0, 0
    j = 0
    for i in range(n):
        squares += (y[i] - mean) * (y[i] - mean)
        while j < n and place[j] < place[i] + lag:
            j += 1
        if j < n and place[j] == place[i] + lag:
            products += (y[i] - mean) * (y[j] - mean)
            count += 1
    if count == 0 or squares == 0.0:
        return 0.0
    steps = place[n - 1] - place[0] + 1
    return products / count * (1.0 - lag / steps) * n / squares


@kernel()
def variance_factors(values, times, places, slopes, of_ranks, lags, limit, floor, series, factors):
    """Find by what the variance of each score is multiplied because of serial correlation.

    Parameters
    ----------
    values, times, places
        (time, pixel), (time,) years and (time,) steps of the axis.
    slopes
        (pixel,) Theil-Sen slopes, which are taken off.
    of_ranks
        Hamed & Rao (1998): correlations of ranks, weighted by (n-k)(n-k-1)(n-k-2). Else Yue & Wang (2004):
        correlations of values, weighted by 1 - k/n.
    lags
        The largest lag.
    limit
        Correlations up to ``limit / sqrt(n)`` count as none.
    floor
        The smallest factor.
    series
        (4, time) float64 scratch.
    factors
        (pixel,), to be filled; NaN where it is not positive.
    """
    t, y, steps, ranks = series[0], series[1], series[2], series[3]
    for pixel in range(values.shape[1]):
        n = gather(values, pixel, times, t, y)
        gather(values, pixel, places, steps, y)
        factors[pixel] = np.nan
        slope = slopes[pixel]
        if n < 3 or slope != slope:
            continue
        for i in range(n):
            y[i] -= slope * (t[i] - t[0])
        if of_ranks:
            rank(y, n, ranks)
        total = 0.0
        for k in range(1, min(lags, n - 1) + 1):
            if of_ranks:
                r = autocorrelation(ranks, steps, n, k)
                weight = (n - k) * (n - k - 1.0) * (n - k - 2.0) / (n * (n - 1.0) * (n - 2.0))
            else:
                r = autocorrelation(y, steps, n, k)
                weight = 1.0 - k / n
            if abs(r) > limit / math.sqrt(n):
                total += weight * r
        factor = 1.0 + 2.0 * total
        factor = factor if factor > floor else floor
        factors[pixel] = factor if factor > 0.0 else np.nan


@kernel()
def prewhiten(values, times, places, series, out):
    """Take off each value what the one before, exactly one step earlier, makes probable: ``y[i] - r1 y[i-1]``.

    `out` is (time, pixel) float64, NaN where a value or the one before is missing; `series` (3, time) scratch.
    """
    t, y, steps = series[0], series[1], series[2]
    for pixel in range(values.shape[1]):
        n = gather(values, pixel, times, t, y)
        gather(values, pixel, places, steps, y)
        r = autocorrelation(y, steps, n, 1) if n > 0 else 0.0
        out[0, pixel] = np.nan
        for i in range(1, values.shape[0]):
            before = np.float64(values[i - 1, pixel]) if places[i] == places[i - 1] + 1.0 else np.nan
            out[i, pixel] = np.float64(values[i, pixel]) - r * before
