"""Compiled tests of a trend within seasons, and series without their seasons."""

# Numba infers types from arguments; annotations would only repeat the docstrings.
# mypy: allow-untyped-defs

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pixelwise.bands import Floats
from pixelwise.kernels.jit import kernel
from pixelwise.kernels.mann_kendall import rank, tie_sums
from pixelwise.kernels.output import store
from pixelwise.kernels.pvalues import chi_square_tail
from pixelwise.kernels.series import gather, series_status
from pixelwise.kernels.sorting import select
from pixelwise.kernels.status import CONSTANT, DEGENERATE, OK, TEST_UNDEFINED

SLOPE, TAU, SCORE, VARIANCE, Z, PVALUE, INDEPENDENT, HOMOGENEITY, VARIANCE_INDEPENDENT, COUNT = range(10)
BANDS = 10

# Deviations from the median of a season are limited to this many median deviations when its level is found: five
# standard deviations of normal values, so that the level is the mean except for outliers.
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


# ------------------------------------------------------------------------------- series without their seasons


class Calendar(NamedTuple):
    """Dates, and the seasons that they belong to.

    Attributes
    ----------
    times, years
        (time,) decimal years, and int64 years of the calendar.
    order, starts
        (time,) int64 dates season by season, ascending within each, and (season + 1,) where each season begins among
        them.
    """

    times: Floats
    years: NDArray[np.int64]
    order: NDArray[np.int64]
    starts: NDArray[np.int64]


class SeasonScratch(NamedTuple):
    """Memory for one series, with values arranged by season; float64 except `year`, `place` and `ends`.

    Attributes
    ----------
    t, rest
        (time,) times, and values minus the trend.
    year, place
        (time,) int64 years, and the date of each value.
    some, sizes
        (time,) numbers that a median reorders.
    slopes
        (pairs within seasons,) slopes between values of one season and different years.
    level
        (season,) level of each season.
    ends
        (season,) int64: where the values of each season end.
    """

    t: Floats
    rest: Floats
    year: NDArray[np.int64]
    place: NDArray[np.int64]
    some: Floats
    sizes: Floats
    slopes: Floats
    level: Floats
    ends: NDArray[np.int64]


def make_season_scratch(calendar: Calendar) -> SeasonScratch:
    """Return memory for series at these dates."""
    layers, counts = len(calendar.times), np.diff(calendar.starts)
    t, rest, some, sizes = np.empty((4, layers))
    year, place = np.empty((2, layers), dtype=np.int64)
    slopes = np.empty(max(int((counts * (counts - 1) // 2).sum()), 1))
    level, ends = np.empty(len(counts)), np.empty(len(counts), dtype=np.int64)
    return SeasonScratch(t, rest, year, place, some, sizes, slopes, level, ends)


@kernel(helper=True)
def gather_seasons(values, p, calendar, scratch):
    """Copy a series season by season, except seasons seen in only one year, which become NaN: they show no trend.

    Return the number of values, of slopes between values of one season, and of seasons.
    """
    times, years, order, starts = calendar.times, calendar.years, calendar.order, calendar.starts
    t, rest, year, place, slopes = scratch.t, scratch.rest, scratch.year, scratch.place, scratch.slopes
    n, pairs, groups = 0, 0, 0
    for g in range(starts.size - 1):
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
        scratch.ends[g] = n
    return n, pairs, groups


@kernel(helper=True)
def find_levels(scratch):
    """Find the median of each season, and return the deviation up to which values count in full."""
    rest, some, sizes, level, ends = scratch.rest, scratch.some, scratch.sizes, scratch.level, scratch.ends
    deviations, begin = 0, 0
    for g in range(ends.size):
        end = ends[g]
        for k in range(begin, end):
            some[k - begin] = rest[k]
        level[g] = median_of(some, end - begin) if end > begin else np.nan
        for k in range(begin, end):
            away = abs(rest[k] - level[g])
            if away > 0.0:
                sizes[deviations] = away
                deviations += 1
        begin = end
    return FAR * median_of(sizes, deviations) if deviations > 0 else 0.0


@kernel(helper=True)
def subtract_levels(values, p, middle, overall, far, scratch):
    """Replace each season's level with the median `overall`; return squares of time across over within seasons.

    `middle` is the mean time.
    """
    t, rest, place, level, ends = scratch.t, scratch.rest, scratch.place, scratch.level, scratch.ends
    within, across, begin = 0.0, 0.0, 0
    for g in range(ends.size):
        end = ends[g]
        away, centre = 0.0, 0.0
        for k in range(begin, end):
            away += max(min(rest[k] - level[g], far), -far)
            centre += t[k] / (end - begin)
        for k in range(begin, end):
            within += (t[k] - centre) * (t[k] - centre)
            across += (t[k] - middle) * (t[k] - middle)
            values[place[k], p] -= level[g] + away / (end - begin) - overall
        begin = end
    return across / within


@kernel()
def take_off_seasons(values, calendar, scratch, factors):
    """Subtract from each value the level of its season, estimated along with a trend, and add the overall median.

    Works in place. A constant series stays constant, and one with an infinite value is left alone.

    Parameters
    ----------
    values
        (time, pixel) float64, NaN where missing. Values of seasons that are seen in only one year become NaN.
    calendar, scratch
        `Calendar`, and `SeasonScratch` to work with.
    factors
        (pixel,), to be filled: variance of a slope relative to that of as many values without seasons; NaN where there
        is no slope.
    """
    t, rest, some, times = scratch.t, scratch.rest, scratch.some, calendar.times
    for p in range(values.shape[1]):
        factors[p] = np.nan
        finite = True
        for i in range(values.shape[0]):
            finite = finite and abs(values[i, p]) != np.inf
        if not finite:
            continue
        n, pairs, groups = gather_seasons(values, p, calendar, scratch)
        if n == 0:
            continue
        slope = median_of(scratch.slopes, pairs)
        if not abs(slope) < np.inf:
            continue
        middle = 0.0
        for k in range(n):
            rest[k] -= slope * (t[k] - times[0])
            some[k] = rest[k]
            middle += t[k] / n
        overall = median_of(some, n)
        far = find_levels(scratch)
        # Seasons of two values or more leave degrees of freedom for any three.
        factors[p] = subtract_levels(values, p, middle, overall, far, scratch) * (n - 1.0) / (n - groups - 1.0)


# ------------------------------------------------------------------------------------- tests within seasons


class Dates(NamedTuple):
    """Dates, and their positions in a table of years by seasons.

    Attributes
    ----------
    times
        (time,) decimal years.
    years, seasons
        (time,) int64 row and column, from 0.
    """

    times: Floats
    years: NDArray[np.int64]
    seasons: NDArray[np.int64]


class Scratch(NamedTuple):
    """Memory for one series; float64 except `signs`.

    Attributes
    ----------
    t, y
        (time,) times and values.
    some_t, some_y
        (time or year,) times and values of one season.
    matrix, ranks
        (season, year) values, and their ranks within the season.
    signs
        (season, pairs of years) int32: whether values rise or fall.
    slopes
        (pairs within seasons,) slopes.
    bands
        (BANDS, 1).
    """

    t: Floats
    y: Floats
    some_t: Floats
    some_y: Floats
    matrix: Floats
    ranks: Floats
    signs: NDArray[np.int32]
    slopes: Floats
    bands: Floats


def make_scratch(dates: Dates) -> Scratch:
    """Return memory for series at these dates."""
    t, y, some_t, some_y = np.empty((4, max(len(dates.times), 1)))
    count, length = (int(places.max(initial=0)) + 1 for places in (dates.seasons, dates.years))
    sizes = np.bincount(dates.seasons, minlength=1)
    return Scratch(
        t=t,
        y=y,
        some_t=some_t,
        some_y=some_y,
        matrix=np.empty((count, length)),
        ranks=np.empty((count, length)),
        signs=np.empty((count, length * (length - 1) // 2), dtype=np.int32),
        slopes=np.empty(max(int((sizes * (sizes - 1) // 2).sum()), 1)),
        bands=np.empty((BANDS, 1)),
    )


@kernel(helper=True)
def toward_0(s):
    """Correct a score for continuity."""
    if s > 0.0:
        return s - 1.0
    return s + 1.0 if s < 0.0 else s


@kernel(helper=True)
def gather_season(values, pixel, dates, season, t, y):
    """Copy the valid values of one season, in time order, and return how many there are."""
    times, seasons = dates.times, dates.seasons
    n = 0
    for i in range(values.shape[0]):
        value = np.float64(values[i, pixel])
        if seasons[i] == season and value == value:
            y[n] = value
            t[n] = times[i]
            n += 1
    return n


@kernel(helper=True)
def spread_ranks(ranks, n, values, found):
    """Put the `n` ranks of a season at its years, and the mean rank at years without a value."""
    k = 0
    for j in range(values.size):
        if values[j] == values[j]:
            found[j] = ranks[k]
            k += 1
        else:
            found[j] = 0.5 * (n + 1.0)


@kernel(helper=True)
def test_pixel(values, pixel, dates, scratch):
    """Test one series that is long enough and varies; return its status."""
    t, y, matrix, ranks, slopes = scratch.some_t, scratch.some_y, scratch.matrix, scratch.ranks, scratch.slopes
    bands = scratch.bands
    count, length = matrix.shape
    for g in range(count):
        for j in range(length):
            matrix[g, j] = np.nan
    for i in range(values.shape[0]):
        matrix[dates.seasons[i], dates.years[i]] = np.float64(values[i, pixel])
    score, independent, denominators = 0.0, 0.0, 0.0
    squares, normals, tested = 0.0, 0.0, 0
    pairs = 0
    for g in range(count):
        n = gather_season(values, pixel, dates, g, t, y)
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
        spread_ranks(t, n, matrix[g], ranks[g])
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
    variance = independent + 2.0 * sum_covariances(matrix, ranks, scratch.signs)
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


@kernel()
def test_seasons(values, dates, min_obs, scratch, output):
    """Test every pixel's series for a trend within seasons.

    Parameters
    ----------
    values
        (time, pixel), NaN where missing.
    dates
        `Dates`.
    min_obs
        Fewest valid values.
    scratch, output
        `Scratch`, to work with, and `Output`.
    """
    t, y, bands, status = scratch.t, scratch.y, scratch.bands, output.status
    for pixel in range(values.shape[1]):
        n = gather(values, pixel, dates.times, t, y)
        found = series_status(t, y, n, min_obs)
        for band in range(BANDS):
            bands[band, 0] = np.nan
        bands[COUNT, 0] = n
        if found == OK:
            found = test_pixel(values, pixel, dates, scratch)
        if found == CONSTANT:
            for band in (SLOPE, SCORE, VARIANCE, VARIANCE_INDEPENDENT):
                bands[band, 0] = 0.0
        status[pixel] = found
        store(bands, pixel, 1, output)
