"""Compiled straight-line fits of many pixels.

A chunk of 128 pixels at a time goes through a few passes, each a loop over dates around a loop over pixels,
which the compiler turns into vector instructions. Each pixel takes the same steps whatever its neighbours, and
no option lets the compiler reorder or fuse operations: a pixel's result has the same bits wherever it lies.
Nothing is assigned to slices, because numba's code for that takes a second to compile.
"""

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
from pixelwise.kernels.pvalues import table_p
from pixelwise.kernels.scratch import aligned
from pixelwise.kernels.series import gather
from pixelwise.kernels.status import CONSTANT, DEGENERATE, NO_OBSERVATION, OK, TEST_UNDEFINED, TOO_FEW

# Accumulators of 128 pixels stay in the L1 cache: 41 Mpx/s at 128, 38 at 256, 35 at 1024 (performance notes, 2a).
CHUNK = 128

# Dates that one step of a loop over dates takes.
STRIDE = 3

SLOPE, INTERCEPT, RVALUE, PVALUE, STDERR, INTERCEPT_STDERR, COUNT = range(7)
BANDS = 7

LOW, HIGH, RMSE, DURBIN_WATSON, START, END, CHANGE, PERCENT, FIRST_TIME, LAST_TIME = range(10)
DERIVED = 10

# Within these no square that matters is rounded to a subnormal number, and no product with Sxx overflows.
SMALL = 1e-290
LARGE = 1e290


class Dates(NamedTuple):
    """The dates of the values.

    Attributes
    ----------
    times
        (time,) decimal years minus `reference`.
    reference
        Decimal year.
    """

    times: Floats
    reference: float


class Sums(NamedTuple):
    """Sums over the dates of each pixel of a chunk, (CHUNK,) float64.

    Attributes
    ----------
    n
        Valid values.
    first
        The first of them, which is subtracted from all.
    mean_y, mean_t
        Means of these deviations and of the times.
    sxx, sxy, syy
        Squares and products about the means, of time and value.
    rss
        Squared residuals.
    """

    n: Floats
    first: Floats
    mean_y: Floats
    mean_t: Floats
    sxx: Floats
    sxy: Floats
    syy: Floats
    rss: Floats


class Scratch(NamedTuple):
    """Memory for a chunk, float64.

    Attributes
    ----------
    sums
        See `Sums`.
    x
        (CHUNK,) ``1 - r**2``.
    place, entry
        (CHUNK,) for `table_p`.
    result
        (BANDS, CHUNK).
    deviations
        (time, CHUNK): values minus the first one.
    times
        (time,) a copy of the times, whose padding may change.
    """

    sums: Sums
    x: Floats
    place: Floats
    entry: Floats
    result: Floats
    deviations: Floats
    times: Floats


def make_scratch(times: Floats) -> Scratch:
    """Return memory for a chunk of series at `times`, padded to a multiple of `STRIDE`."""
    memory = aligned(11 + BANDS + len(times), CHUNK)
    x, place, entry = memory[8:11]
    result, deviations = memory[11 : 11 + BANDS], memory[11 + BANDS :]
    return Scratch(Sums._make(memory[:8]), x, place, entry, result, deviations, times.copy())


@kernel(inline="always")
def find_first(values, start, width, first):
    """Find each pixel's first value; NaN if there is none."""
    for p in range(CHUNK):
        first[p] = np.nan
    for i in range(values.shape[0]):
        row = values[i, start : start + width]
        missing = 0
        for p in range(width):
            y = first[p]
            y = y if y == y else np.float64(row[p])
            first[p] = y
            missing += 0 if y == y else 1
        if missing == 0:
            return


@kernel(inline="always")
def load(values, start, width, times, deviations, n, first, mean_y, mean_t):
    """Copy a chunk as deviations from each pixel's first value; find counts, mean deviations and mean times.

    Subtracting the first value is exact for values of similar magnitude, and keeps all digits of the variation at
    offsets of 1e9.
    """
    find_first(values, start, width, first)
    if width < CHUNK:
        for i in range(values.shape[0]):
            for p in range(width, CHUNK):
                deviations[i, p] = np.nan
    for i in range(values.shape[0], times.size):
        for p in range(CHUNK):
            deviations[i, p] = np.nan
    for p in range(CHUNK):
        n[p] = 0.0
        mean_y[p] = 0.0
        mean_t[p] = 0.0
    for i in range(values.shape[0]):
        row = values[i, start : start + width]
        deviation = deviations[i]
        t = times[i]
        for p in range(width):
            y = np.float64(row[p])
            dy = y - first[p]
            valid = y == y
            deviation[p] = dy
            n[p] += 1.0 if valid else 0.0
            mean_y[p] += dy if valid else 0.0
            mean_t[p] += t if valid else 0.0
    for p in range(CHUNK):
        mean_y[p] /= n[p]
        mean_t[p] /= n[p]


@kernel(inline="always")
def pad_complete(times, layers, deviations, mean_y, mean_t):
    """Put the dates that pad the last stride at the means, where they add nothing to any sum."""
    for i in range(layers, times.size):
        times[i] = mean_t[0]
        for p in range(CHUNK):
            deviations[i, p] = mean_y[p]


def make_sums(gaps):
    """Compile the sums over dates for chunks with gaps, or without: the same steps, minus what gaps need.

    Three dates at a time need only one load and store of each sum: 4.4 ns per pixel, not 6.5 (21 layers).
    """

    @kernel(helper=True)
    def sum_products(deviations, times, mean_y, mean_t, sxx, sxy, syy):
        """Sum squares and products about the means."""
        for p in range(CHUNK):
            sxx[p] = 0.0
            sxy[p] = 0.0
            syy[p] = 0.0
        for i in range(0, times.size, STRIDE):
            y0, y1, y2 = deviations[i], deviations[i + 1], deviations[i + 2]
            t0, t1, t2 = times[i], times[i + 1], times[i + 2]
            for p in range(CHUNK):
                my = mean_y[p]
                mt = mean_t[p] if gaps else mean_t[0]
                dy0, dy1, dy2 = y0[p] - my, y1[p] - my, y2[p] - my
                dx0, dx1, dx2 = t0 - mt, t1 - mt, t2 - mt
                if gaps:
                    dx0, dy0 = (dx0, dy0) if dy0 == dy0 else (0.0, 0.0)
                    dx1, dy1 = (dx1, dy1) if dy1 == dy1 else (0.0, 0.0)
                    dx2, dy2 = (dx2, dy2) if dy2 == dy2 else (0.0, 0.0)
                sxx[p] = ((sxx[p] + dx0 * dx0) + dx1 * dx1) + dx2 * dx2
                sxy[p] = ((sxy[p] + dx0 * dy0) + dx1 * dy1) + dx2 * dy2
                syy[p] = ((syy[p] + dy0 * dy0) + dy1 * dy1) + dy2 * dy2

    @kernel(helper=True)
    def sum_residuals(deviations, times, mean_y, mean_t, slope, rss):
        """Sum squared residuals: ``Syy - slope * Sxy`` would lose all digits near ``|r| = 1``."""
        for p in range(CHUNK):
            rss[p] = 0.0
        for i in range(0, times.size, STRIDE):
            y0, y1, y2 = deviations[i], deviations[i + 1], deviations[i + 2]
            t0, t1, t2 = times[i], times[i + 1], times[i + 2]
            for p in range(CHUNK):
                b = slope[p]
                my = mean_y[p]
                mt = mean_t[p] if gaps else mean_t[0]
                dy0, dy1, dy2 = y0[p] - my, y1[p] - my, y2[p] - my
                e0, e1, e2 = dy0 - b * (t0 - mt), dy1 - b * (t1 - mt), dy2 - b * (t2 - mt)
                if gaps:
                    e0 = e0 if dy0 == dy0 else 0.0
                    e1 = e1 if dy1 == dy1 else 0.0
                    e2 = e2 if dy2 == dy2 else 0.0
                rss[p] = ((rss[p] + e0 * e0) + e1 * e1) + e2 * e2

    return sum_products, sum_residuals


sum_products, sum_residuals = make_sums(gaps=True)
sum_products_complete, sum_residuals_complete = make_sums(gaps=False)


@kernel(inline="always")
def derive_slopes(sxx, sxy, syy, slope, rvalue):
    """Turn sums into slopes and correlations."""
    for p in range(CHUNK):
        xx, xy = sxx[p], sxy[p]
        slope[p] = xy / xx
        r = xy / math.sqrt(xx * syy[p])
        r = 1.0 if r > 1.0 else r
        rvalue[p] = -1.0 if r < -1.0 else r


@kernel(inline="always")
def derive_intercepts(n, first, mean_y, mean_t, reference, slope, intercept, count):
    """Turn means and slopes into intercepts; copy the counts."""
    for p in range(CHUNK):
        intercept[p] = (first[p] + mean_y[p]) - slope[p] * (reference + mean_t[p])
        count[p] = n[p]


@kernel(inline="always")
def derive_errors(n, sxx, syy, rss, stderr, x):
    """Turn sums of squared residuals into standard errors, and ``x = 1 - r**2`` without cancellation."""
    for p in range(CHUNK):
        stderr[p] = math.sqrt(rss[p] / ((n[p] - 2.0) * sxx[p]))
        x[p] = rss[p] / syy[p]


@kernel(inline="always")
def derive_intercept_errors(n, mean_t, sxx, reference, stderr, intercept_stderr):
    """Turn standard errors of slopes into those of intercepts."""
    for p in range(CHUNK):
        t = reference + mean_t[p]
        intercept_stderr[p] = stderr[p] * math.sqrt(sxx[p] / n[p] + t * t)


@kernel(inline="always")
def find_status(deviations, times, layers, min_obs, n, first, syy, p):
    """Return the status of a pixel, from values and dates themselves, because sums of them are rounded.

    Only the first `layers` rows are dates: the rest is padding.
    """
    if n == 0.0:
        return NO_OBSERVATION
    if n < min_obs:
        return TOO_FEW
    if abs(first) == np.inf:
        return TEST_UNDEFINED
    constant = True
    one_date = True
    first_t = np.nan
    for i in range(layers):
        dy = deviations[i, p]
        if dy == dy:
            first_t = times[i] if first_t != first_t else first_t
            constant = constant and dy == 0.0
            one_date = one_date and times[i] == first_t
    if constant:
        return CONSTANT
    if one_date:
        return DEGENERATE
    return OK if SMALL < syy < LARGE else TEST_UNDEFINED


@kernel(inline="always")
def settle(status, n, first, result, p):
    """Set the bands of a pixel with this status."""
    result[COUNT, p] = n
    if status == OK:
        return
    for band in (RVALUE, PVALUE, STDERR, INTERCEPT_STDERR):
        result[band, p] = np.nan
    if status == CONSTANT:
        result[SLOPE, p] = 0.0
        result[INTERCEPT, p] = first
    elif status != TEST_UNDEFINED:
        result[SLOPE, p] = np.nan
        result[INTERCEPT, p] = np.nan


@kernel()
def fit(values, dates, min_obs, one_date_possible, residuals, tails, scratch, output):
    """Fit a straight line to every pixel.

    Parameters
    ----------
    values
        (time, pixel), NaN where missing.
    dates
        `Dates`, padded with times of 0 to a multiple of `STRIDE`.
    min_obs
        Fewest valid values.
    one_date_possible
        Whether `min_obs` valid values may all have the same date.
    residuals
        0 if no requested band needs the residuals, 2 if the intercept's standard error is requested, else 1.
    tails
        Coefficients of a `TailTable` from ``min_obs - 2`` degrees of freedom, flat; empty if p-values are not needed.
    scratch, output
        `Scratch`, to work with, and `Output`.
    """
    layers, pixels = values.shape
    times, reference, own_times, status = dates.times, dates.reference, scratch.times, output.status
    sums, x, result, deviations = scratch.sums, scratch.x, scratch.result, scratch.deviations
    n, first, mean_y, mean_t = sums.n, sums.first, sums.mean_y, sums.mean_t
    sxx, sxy, syy, rss = sums.sxx, sums.sxy, sums.syy, sums.rss
    place, entry, pvalue, count = scratch.place, scratch.entry, result[PVALUE], result[COUNT]
    slope, intercept, rvalue = result[SLOPE], result[INTERCEPT], result[RVALUE]
    stderr, intercept_stderr = result[STDERR], result[INTERCEPT_STDERR]
    for start in range(0, pixels, CHUNK):
        width = pixels - start if pixels - start < CHUNK else CHUNK
        load(values, start, width, times, deviations, n, first, mean_y, mean_t)
        enough = 0
        missing = 0.0
        for p in range(CHUNK):
            enough += 1 if n[p] >= min_obs else 0
            missing += layers - n[p]
        complete = missing == 0.0
        if enough > 0:
            if complete:
                pad_complete(own_times, layers, deviations, mean_y, mean_t)
                sum_products_complete(deviations, own_times, mean_y, mean_t, sxx, sxy, syy)
            else:
                sum_products(deviations, times, mean_y, mean_t, sxx, sxy, syy)
            derive_slopes(sxx, sxy, syy, slope, rvalue)
            derive_intercepts(n, first, mean_y, mean_t, reference, slope, intercept, count)
            if residuals > 0:
                if complete:
                    sum_residuals_complete(deviations, own_times, mean_y, mean_t, slope, rss)
                else:
                    sum_residuals(deviations, times, mean_y, mean_t, slope, rss)
                derive_errors(n, sxx, syy, rss, stderr, x)
                if residuals > 1:
                    derive_intercept_errors(n, mean_t, sxx, reference, stderr, intercept_stderr)
            if tails.size > 0:
                table_p(x, rvalue, n, min_obs, tails, place, entry, pvalue)
        plain = 0
        for p in range(width):
            plain += 1 if n[p] >= min_obs and syy[p] > SMALL and syy[p] < LARGE else 0
        for p in range(start, start + width):
            status[p] = OK
        if plain < width or one_date_possible:
            for p in range(width):
                if one_date_possible or not (n[p] >= min_obs and SMALL < syy[p] < LARGE):
                    status[start + p] = find_status(deviations, times, layers, min_obs, n[p], first[p], syy[p], p)
                    settle(status[start + p], n[p], first[p], result, p)
        store(result, start, width, output)


class Lines(NamedTuple):
    """The results of `fit`, (pixel,) each.

    Attributes
    ----------
    slopes, stderrs
        float64.
    status
        uint8.
    """

    slopes: Floats
    stderrs: Floats
    status: NDArray[np.uint8]


@kernel()
def describe(values, dates, lines, min_obs, quantiles, series, derived):
    """Derive the less common bands from lines.

    Parameters
    ----------
    values
        (time, pixel), NaN where missing.
    dates, lines
        `Dates` and `Lines`.
    min_obs
        Fewest valid values.
    quantiles
        Quantiles of Student's t for `min_obs` observations, one more, ...; empty for none.
    series
        (2, time) float64 scratch.
    derived
        (DERIVED, pixel) float64, to be filled.
    """
    times, reference = dates.times, dates.reference
    slopes, stderrs, status = lines.slopes, lines.stderrs, lines.status
    t, y = series[0], series[1]
    for p in range(values.shape[1]):
        for band in range(DERIVED):
            derived[band, p] = np.nan
        n = gather(values, p, times, t, y)
        if n == 0:
            continue
        derived[FIRST_TIME, p] = reference + t[0]
        derived[LAST_TIME, p] = reference + t[n - 1]
        slope = slopes[p]
        if slope != slope:
            continue
        first = y[0]
        mean_t, mean_y, largest = 0.0, 0.0, 0.0
        for i in range(n):
            mean_t += t[i]
            mean_y += y[i] - first
            largest = abs(y[i]) if abs(y[i]) > largest else largest
        mean_t /= n
        mean_y /= n
        mean = first + mean_y
        change = slope * (t[n - 1] - t[0])
        derived[START, p] = mean + slope * (t[0] - mean_t)
        derived[END, p] = mean + slope * (t[n - 1] - mean_t)
        derived[CHANGE, p] = change
        # Anything smaller is a rounding error, of which a percentage makes no sense.
        if abs(mean) > 1e-12 * largest:
            derived[PERCENT, p] = 100.0 * change / abs(mean)
        if status[p] != OK:
            continue
        rss, steps, before = 0.0, 0.0, 0.0
        for i in range(n):
            e = ((y[i] - first) - mean_y) - slope * (t[i] - mean_t)
            rss += e * e
            steps += (e - before) * (e - before) if i > 0 else 0.0
            before = e
        derived[RMSE, p] = math.sqrt(rss / (n - 2.0))
        derived[DURBIN_WATSON, p] = np.float64(steps) / rss
        if quantiles.size > 0:
            reach = quantiles[n - min_obs] * stderrs[p]
            derived[LOW, p] = slope - reach
            derived[HIGH, p] = slope + reach
