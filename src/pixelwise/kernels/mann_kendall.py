"""Compiled Mann-Kendall scores, their variance with ties, and its correction for autocorrelation."""

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
from pixelwise.kernels.status import CONSTANT, NO_OBSERVATION, OK, TEST_UNDEFINED, TOO_FEW

SLOPE, TAU, SCORE, VARIANCE, Z, PVALUE, COUNT = range(7)
BANDS = 7

# Scores and ties of this many pixels stay in the L1 cache.
CHUNK = 256

ROOT_HALF = math.sqrt(0.5)


class Dates(NamedTuple):
    """The dates of the values.

    Attributes
    ----------
    times
        (time,) decimal years, ascending.
    places
        (time,) float64 step numbers of a regular axis.
    """

    times: Floats
    places: Floats


class Exact(NamedTuple):
    """Exact p-values of short series without ties.

    Attributes
    ----------
    pvalues
        Tables of two-sided p-values by ``|score|``, one after another, for each number of observations from
        `first` to `last`; empty to use the normal distribution.
    first, last
        Numbers of observations.
    """

    pvalues: Floats
    first: int
    last: int


class Correction(NamedTuple):
    """How autocorrelation changes the variance of scores.

    Attributes
    ----------
    of_ranks
        Whether as in Hamed & Rao (1998): correlations of ranks, weighted by (n-k)(n-k-1)(n-k-2). Else as in Yue & Wang
        (2004): correlations of values, weighted by 1 - k/n.
    lags
        The largest lag.
    limit
        Correlations up to ``limit / sqrt(n)`` count as 0.
    floor
        The smallest factor.
    """

    of_ranks: bool
    lags: int
    limit: float
    floor: float


class Scratch(NamedTuple):
    """Memory for a chunk of `test_trend`.

    Attributes
    ----------
    n, infinite, score, equal
        (CHUNK,) int32: valid and infinite values, rising minus falling pairs, later equals of a value.
    pairs, ties
        (CHUNK,) float64: see `compare_pairs`.
    t, y
        (time,) float64 times and values of one pixel.
    bands
        (BANDS, CHUNK) float64.
    """

    n: NDArray[np.int32]
    infinite: NDArray[np.int32]
    score: NDArray[np.int32]
    equal: NDArray[np.int32]
    pairs: Floats
    ties: Floats
    t: Floats
    y: Floats
    bands: Floats


def make_scratch(layers: int) -> Scratch:
    """Return memory for a chunk of series of this many dates."""
    n, infinite, score, equal = np.empty((4, CHUNK), dtype=np.int32)
    pairs, ties = np.empty((2, CHUNK))
    t, y = np.empty((2, layers))
    return Scratch(n, infinite, score, equal, pairs, ties, t, y, np.empty((BANDS, CHUNK)))


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
def compare_pairs(values, start, width, times, scratch):
    """Compare all pairs of dates of a chunk of pixels.

    Parameters
    ----------
    values, times
        (time, pixel), NaN where missing, and (time,).
    start, width
        The chunk.
    scratch
        `score` is filled with the number of rising minus falling pairs; pairs of one time are neither. `pairs` and
        `ties` are filled with ``sum(u (u - 1))`` and ``sum(u (u - 1) (2 u + 5))`` over groups of `u` equal values, as
        the sums of ``2 e`` and ``6 e**2 + 12 e`` over values with ``e`` later equals, since e runs from 0 to u - 1 in a
        group.
    """
    score, equal, pairs, ties = scratch.score, scratch.equal, scratch.pairs, scratch.ties
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
        # Two dates at a time need only one load and store of each score.
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

    They are the sums of ``2 e``, ``3 e (e - 1)`` and ``6 e**2 + 12 e`` over numbers with ``e`` later equals, since e
    runs from 0 to u - 1 in a group.
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
    """Return the variance of the score if both times and values tie (Kendall 1975, eq. 5.3), and tied time pairs."""
    t_twos, t_threes, t_ties = tie_sums(t, n)
    y_twos, y_threes, y_ties = tie_sums(y, n)
    m = n * (n - 1.0)
    variance = (m * (2.0 * n + 5.0) - t_ties - y_ties) / 18.0 + t_twos * y_twos / (2.0 * m)
    if n > 2:
        variance += t_threes * y_threes / (9.0 * m * (n - 2.0))
    return variance, t_twos


@kernel(helper=True)
def find_statuses(values, start, width, times, min_obs, equal_times, scratch, status):
    """Write the status of each pixel of a chunk, and the variance and tau of those with ties of times and values."""
    n, infinite, pairs, t, y, bands = scratch.n, scratch.infinite, scratch.pairs, scratch.t, scratch.y, scratch.bands
    for p in range(width):
        found = OK
        if n[p] < min_obs:
            found = TOO_FEW if n[p] > 0 else NO_OBSERVATION
        elif infinite[p] > 0:
            found = TEST_UNDEFINED
        elif pairs[p] == n[p] * (n[p] - 1.0):
            found = CONSTANT
        elif equal_times:
            m = gather(values, start + p, times, t, y)
            found = series_status(t, y, m, min_obs)
            bands[VARIANCE, p], same_time = variance_with_equal_times(t, y, m)
            all_pairs = m * (m - 1.0)
            bands[TAU, p] = 2.0 * bands[SCORE, p] / math.sqrt((all_pairs - pairs[p]) * (all_pairs - same_time))
        status[p] = found


@kernel()
def test_trend(values, times, min_obs, equal_times, factors, exact, scratch, output):
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
        (pixel,) factors on variances; empty for none. NaN where there is no factor.
    exact
        `Exact`.
    scratch, output
        `Scratch`, to work with, and `Output`.
    """
    pixels = values.shape[1]
    n, score, pairs, ties, bands = scratch.n, scratch.score, scratch.pairs, scratch.ties, scratch.bands
    for start in range(0, pixels, CHUNK):
        width = pixels - start if pixels - start < CHUNK else CHUNK
        status = output.status[start : start + width]
        count_chunk(values, start, width, n, scratch.infinite)
        compare_pairs(values, start, width, times, scratch)
        for p in range(width):
            m = np.float64(n[p])
            all_pairs = m * (m - 1.0)
            bands[SCORE, p] = score[p]
            bands[VARIANCE, p] = (all_pairs * (2.0 * m + 5.0) - ties[p]) / 18.0
            bands[TAU, p] = 2.0 * bands[SCORE, p] / math.sqrt((all_pairs - pairs[p]) * all_pairs)
            bands[COUNT, p] = m
        find_statuses(values, start, width, times, min_obs, equal_times, scratch, status)
        if factors.size > 0:
            for p in range(width):
                bands[VARIANCE, p] *= factors[start + p]
        for p in range(width):
            s = bands[SCORE, p]
            toward_0 = s - 1.0 if s > 0.0 else s + 1.0
            bands[Z, p] = (toward_0 if s != 0.0 else s) / math.sqrt(bands[VARIANCE, p])
        for p in range(width):
            bands[PVALUE, p] = math.erfc(abs(bands[Z, p]) * ROOT_HALF)
        if exact.pvalues.size > 0:
            for p in range(width):
                if exact.first <= n[p] <= exact.last and pairs[p] == 0.0:
                    bands[PVALUE, p] = exact.pvalues[exact_place(exact.first, n[p]) + abs(score[p])]
        for p in range(width):
            if status[p] == OK and not bands[VARIANCE, p] > 0.0:
                status[p] = TEST_UNDEFINED
            if status[p] != OK:
                settle(status[p], bands, p)
        store(bands, start, width, output)


@kernel(helper=True)
def settle(status, bands, p):
    """Set the bands of a pixel whose status is not 0."""
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


# ------------------------------------------------------------------------------------- autocorrelation


@kernel(helper=True)
def rank(y, n, ranks):
    """Fill in the ranks of `n` numbers from 1, equal ones sharing their mean rank."""
    for i in range(n):
        smaller, equal = 0, 0
        for j in range(n):
            smaller += 1 if y[j] < y[i] else 0
            equal += 1 if y[j] == y[i] else 0
        ranks[i] = smaller + 0.5 * (equal + 1)


@kernel(helper=True)
def autocorrelation(y, place, n, lag):
    """Return the correlation of numbers exactly `lag` steps apart; 0 if there are none.

    ``sum((y[i] - m) (y[j] - m)) / sum((y[i] - m)**2)`` over the pairs with ``place[j] - place[i] == lag``, and over
    all: without gaps, the usual estimate. With gaps, missing pairs count as the mean of the pairs present.
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
def variance_factors(values, dates, slopes, correction, series, factors):
    """Find the factor by which autocorrelation multiplies the variance of each score.

    Parameters
    ----------
    values, dates
        (time, pixel), NaN where missing, and `Dates`.
    slopes
        (pixel,) Theil-Sen slopes, which are subtracted.
    correction
        `Correction`.
    series
        (4, time) float64 scratch.
    factors
        (pixel,), to be filled; NaN where it is not positive.
    """
    times, places = dates.times, dates.places
    of_ranks, lags, limit, floor = correction.of_ranks, correction.lags, correction.limit, correction.floor
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
def prewhiten(values, dates, series, out):
    """Subtract from each value what the one exactly one step earlier predicts: ``y[i] - r1 y[i-1]``.

    `out` is (time, pixel) float64, NaN where a value or the one before is missing; `series` (3, time) scratch.
    """
    times, places = dates.times, dates.places
    t, y, steps = series[0], series[1], series[2]
    for pixel in range(values.shape[1]):
        n = gather(values, pixel, times, t, y)
        gather(values, pixel, places, steps, y)
        r = autocorrelation(y, steps, n, 1) if n > 0 else 0.0
        out[0, pixel] = np.nan
        for i in range(1, values.shape[0]):
            before = np.float64(values[i - 1, pixel]) if places[i] == places[i - 1] + 1.0 else np.nan
            out[i, pixel] = np.float64(values[i, pixel]) - r * before
