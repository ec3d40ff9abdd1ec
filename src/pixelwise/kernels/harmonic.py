"""Compiled bands of a season and a trend."""

# Numba infers types from arguments; annotations would only repeat the docstrings.
# mypy: allow-untyped-defs

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pixelwise.bands import Floats
from pixelwise.kernels.jit import kernel
from pixelwise.kernels.linear import (
    CHUNK,
    COUNT,
    FIRST,
    PIVOTS,
    RSS,
    SPREAD,
    Columns,
    combine,
    find_lever,
    find_status,
    load,
    solve_chunk,
    solve_upper,
    sum_squares,
)
from pixelwise.kernels.memory import alikeness, find_memory, inflation, lag_one
from pixelwise.kernels.output import store
from pixelwise.kernels.pvalues import f_p, student_p_of_many, table_p
from pixelwise.kernels.scratch import aligned
from pixelwise.kernels.status import CONSTANT, OK, TEST_UNDEFINED

# Rows of the results; then four for each harmonic (methods/harmonic.py has the same order).
SLOPE, INTERCEPT, PVALUE, PVALUE_OLS, STDERR, PVALUE_SEASON, RMSE, R1, N = range(9)
FIXED = 9
AMPLITUDE, PEAK, AMPLITUDE_STDERR, PEAK_STDERR = range(4)
EACH = 4


class Curve(NamedTuple):
    """What is fitted: a level, a slope if there is a `trend`, then cosine and sine of each harmonic.

    Attributes
    ----------
    columns, transform
        Columns and transform of the `Design`.
    trend, reference
        Whether there is a slope; what was subtracted from the decimal years.
    period
        Period in years.
    days
        Days of a year of the calendar.
    """

    columns: Columns
    transform: Floats
    trend: bool
    reference: float
    period: float
    days: float


class Options(NamedTuple):
    """What is requested.

    Attributes
    ----------
    min_obs
        Fewest values of a series.
    wanted
        (result,) bool: which results are requested.
    tails
        Coefficients of a `TailTable` from ``min_obs - terms`` degrees of freedom, flat; empty without trend.
    """

    min_obs: int
    wanted: NDArray[np.bool_]
    tails: Floats


class Tests(NamedTuple):
    """Slopes of a chunk that are tested together by `student_p_of_many`.

    Attributes
    ----------
    which
        (CHUNK,) int64: the pixel of each.
    x, r, df, p
        (CHUNK,) float64.
    fraction
        (5, CHUNK) float64 scratch.
    """

    which: NDArray[np.int64]
    x: Floats
    r: Floats
    df: Floats
    p: Floats
    fraction: Floats


class Scratch(NamedTuple):
    """Memory for a chunk; float64 but for `place`.

    Attributes
    ----------
    result
        (result, CHUNK), NaN at first: bands that are not computed stay so.
    syy
        (CHUNK,) sum of squares about the mean.
    lever
        (CHUNK,) variance of the coefficient at hand for a unit variance of residuals.
    one, other
        (CHUNK,) the two coefficients at hand, or scratch of a step.
    x, r, shifted, p
        (CHUNK,) for `table_p`: ``1 - r**2``, the correlation with time, a number of values with as many degrees of
        freedom in a straight line, and the p-value of independent residuals.
    effective
        (CHUNK,) effective number of values.
    place, share
        (CHUNK,) int64 and float64: see `find_memory`.
    running
        (4, CHUNK) running sums over dates.
    cosine, sine
        (term, CHUNK) directions of two coefficients; see `find_lever`.
    tests
        Tests of pixels with correlated residuals.
    """

    result: Floats
    syy: Floats
    lever: Floats
    one: Floats
    other: Floats
    x: Floats
    r: Floats
    shifted: Floats
    p: Floats
    effective: Floats
    place: NDArray[np.int64]
    share: Floats
    running: Floats
    cosine: Floats
    sine: Floats
    tests: Tests


def make_scratch(results: int, terms: int) -> Scratch:
    """Return memory for a chunk with this many results and terms."""
    syy, lever, one, other, x, r, shifted, p, effective, share = aligned(10, CHUNK)
    tests = Tests._make((np.empty(CHUNK, np.int64), *aligned(4, CHUNK), aligned(5, CHUNK)))
    return Scratch(
        result=np.full((results, CHUNK), np.nan),
        syy=syy,
        lever=lever,
        one=one,
        other=other,
        x=x,
        r=r,
        shifted=shifted,
        p=p,
        effective=effective,
        place=np.empty(CHUNK, np.int64),
        share=share,
        running=aligned(4, CHUNK),
        cosine=aligned(terms, CHUNK),
        sine=aligned(terms, CHUNK),
        tests=tests,
    )


# ------------------------------------------------------------------------------ effective numbers of values


@kernel(helper=True)
def discount_neighbours(steps, work, scratch):
    """Find r1 and the effective number of values on a regular axis."""
    n, r1s, effective = work.sums[COUNT], scratch.result[R1], scratch.effective
    lag_one(steps, work, scratch.running, r1s)
    for p in range(CHUNK):
        r1 = r1s[p]
        # If there is no pair, the number is unknown.
        effective[p] = n[p] * (1.0 - r1) / (1.0 + r1) if not r1 <= 0.0 else n[p]


@kernel(helper=True)
def discount_distances(basis, memory, work, scratch):
    """Find r1 and the effective number of values on an irregular axis."""
    n, r1, memories = work.sums[COUNT], scratch.result[R1], memory.memories
    place, share, alike, effective = scratch.place, scratch.share, scratch.one, scratch.effective
    alikeness(memory.near, work, scratch.running, alike)
    find_memory(alike, n, memory.expected, place, share)
    solve_upper(work.factor, work.spare)
    inflation(basis, memory.fades, work, scratch, effective)
    for p in range(CHUNK):
        effective[p] = n[p] / effective[p]
        part = share[p] if share[p] == share[p] else 1.0
        k = place[p]
        r1[p] = math.exp(-memory.usual / (memories[k] + part * (memories[k + 1] - memories[k])))


# ------------------------------------------------------------------------------------------------- the line


@kernel(helper=True)
def find_level(curve, work, scratch):
    """Write the level and the spread of residuals."""
    n, first, rss = work.sums[COUNT], work.sums[FIRST], work.sums[RSS]
    result, syy, one = scratch.result, scratch.syy, scratch.one
    terms = curve.columns.basis.shape[1]
    sum_squares(work.orthogonal, 1, terms, syy)
    combine(curve.transform[0], work.solution, one)
    for p in range(CHUNK):
        syy[p] += rss[p]
        result[INTERCEPT, p] = first[p] + one[p]
        result[SLOPE, p] = np.nan
        result[N, p] = n[p]
        df = n[p] - terms
        result[RMSE, p] = math.sqrt(rss[p] / (df if df > 0.0 else np.nan))


@kernel(helper=True)
def test_slope(curve, options, work, scratch):
    """Write the standard error of the slope, and its p-value if residuals were independent."""
    n, rss = work.sums[COUNT], work.sums[RSS]
    result, lever, x, r, shifted = scratch.result, scratch.lever, scratch.x, scratch.r, scratch.shifted
    terms, reference = curve.columns.basis.shape[1], curve.reference
    for p in range(CHUNK):
        b = result[SLOPE, p]
        result[INTERCEPT, p] -= b * reference
        result[STDERR, p] = result[RMSE, p] * math.sqrt(lever[p])
        # With explained = b**2 / lever: x = rss / (rss + explained) is free of cancellation.
        noise = rss[p] * lever[p]
        total = noise + b * b
        x[p] = noise / total
        r[p] = b / math.sqrt(total)
        shifted[p] = n[p] - terms + 2.0
    table_p(x, r, shifted, options.min_obs - terms + 2, options.tails, scratch.one, scratch.other, scratch.p)


@kernel(helper=True)
def settle(state, first, result, p):
    """Set the bands of a pixel whose status is not 0."""
    for band in range(FIXED):
        if band != N and (band > INTERCEPT or (state != TEST_UNDEFINED and state != CONSTANT)):
            result[band, p] = np.nan
    if state == CONSTANT:
        result[SLOPE, p] = 0.0
        result[INTERCEPT, p] = first


@kernel(helper=True)
def find_statuses(width, curve, correlated, options, work, scratch, status):
    """Write the status and the p-values of each pixel of a chunk.

    `correlated` says whether autocorrelation of residuals counts; tests of pixels that have it are only noted, and
    their number is returned.
    """
    n, first, rss = work.sums[COUNT], work.sums[FIRST], work.sums[RSS]
    spread, pivot = work.sums[SPREAD], work.sums[PIVOTS]
    result, wanted, tests, effective = scratch.result, options.wanted, scratch.tests, scratch.effective
    terms = curve.columns.basis.shape[1]
    season = 2 if curve.trend else 1
    if wanted[PVALUE_SEASON]:
        sum_squares(work.orthogonal, season, terms, scratch.one)
    noted = 0
    for p in range(width):
        state = find_status(n[p], options.min_obs, spread[p], pivot[p], scratch.syy[p])
        if state == OK:
            if curve.trend:
                result[PVALUE_OLS, p] = scratch.p[p]
                result[PVALUE, p] = scratch.p[p]
                if correlated:
                    if not effective[p] >= terms + 1.0:
                        state = TEST_UNDEFINED
                        result[PVALUE, p] = np.nan
                    elif wanted[PVALUE] and effective[p] < n[p]:
                        tests.which[noted] = p
                        tests.df[noted] = effective[p] - terms
                        tests.x[noted] = scratch.x[p]
                        tests.r[noted] = scratch.r[p]
                        noted += 1
            if wanted[PVALUE_SEASON]:
                result[PVALUE_SEASON, p] = f_p(scratch.one[p], rss[p], terms - season, n[p] - terms, np.nan)
        else:
            settle(state, first[p], result, p)
        status[p] = state
    return noted


# ---------------------------------------------------------------------------------------------- harmonics


@kernel(helper=True)
def find_wave(k, width, curve, wanted, work, scratch):
    """Write amplitude and peak of harmonic `k`, from 0, and their standard errors."""
    result, one, other, rmse = scratch.result, scratch.one, scratch.other, scratch.result[RMSE]
    cosine, sine, transform, period = scratch.cosine, scratch.sine, curve.transform, curve.period
    base = FIXED + EACH * k
    size, peak = result[base + AMPLITUDE], result[base + PEAK]
    size_error, peak_error = result[base + AMPLITUDE_STDERR], result[base + PEAK_STDERR]
    row = (2 if curve.trend else 1) + 2 * k
    combine(transform[row], work.solution, one)
    combine(transform[row + 1], work.solution, other)
    # An angle as time; as day of the year if the period is one year.
    cycle = period / (k + 1)
    unit = curve.days if period == 1.0 else 1.0
    origin = 1.0 if period == 1.0 else 0.0
    for p in range(CHUNK):
        size[p] = math.sqrt(one[p] * one[p] + other[p] * other[p])
    if wanted[base + PEAK]:
        for p in range(width):
            angle = math.atan2(other[p], one[p]) / (2.0 * math.pi)
            angle += 1.0 if angle < 0.0 else 0.0
            peak[p] = origin + unit * cycle * angle
    if wanted[base + AMPLITUDE_STDERR] or wanted[base + PEAK_STDERR]:
        find_lever(transform[row], work.factor, cosine, scratch.lever)
        find_lever(transform[row + 1], work.factor, sine, scratch.lever)
        for p in range(width):
            along, across = 0.0, 0.0
            for j in range(cosine.shape[0]):
                a = one[p] * cosine[j, p] + other[p] * sine[j, p]
                b = one[p] * sine[j, p] - other[p] * cosine[j, p]
                along += a * a
                across += b * b
            size_error[p] = rmse[p] * math.sqrt(along) / size[p]
            turn = rmse[p] * math.sqrt(across) / (size[p] * size[p])
            peak_error[p] = unit * cycle / (2.0 * math.pi) * turn


@kernel(helper=True)
def settle_wave(k, width, result, status):
    """Set the bands of harmonic `k` where the status is not 0."""
    base = FIXED + EACH * k
    for p in range(width):
        state = status[p]
        # Without a residual variance of its own, a pixel has no amplitude that could be judged; pixels for which only
        # the test is undefined have one.
        if state != OK and not result[RMSE, p] >= 0.0:
            for band in range(base, base + EACH):
                if band != base + AMPLITUDE or state != TEST_UNDEFINED:
                    result[band, p] = np.nan
            if state == CONSTANT:
                result[base + AMPLITUDE, p] = 0.0


@kernel()
def fit(observations, curve, memory, options, work, scratch, output):
    """Fit a trend and harmonics to every pixel.

    Parameters
    ----------
    observations
        `Observations`, all with the same weight.
    curve, memory, options
        `Curve`, `Memory` and `Options`.
    work, scratch
        `Workspace` and `Scratch`, to work with.
    output
        `Output`.
    """
    pixels = observations.values.shape[1]
    basis, transform, result, tests = curve.columns.basis, curve.transform, scratch.result, scratch.tests
    harmonics = (basis.shape[1] - (2 if curve.trend else 1)) // 2
    irregular = memory.memories.size > 0
    correlated = irregular or memory.steps.size > 0
    for start in range(0, pixels, CHUNK):
        width = pixels - start if pixels - start < CHUNK else CHUNK
        status = output.status[start : start + width]
        load(observations, start, width, work)
        solve_chunk(curve.columns, work)
        find_level(curve, work, scratch)
        if curve.trend:
            combine(transform[1], work.solution, result[SLOPE])
            find_lever(transform[1], work.factor, work.spare, scratch.lever)
            if irregular:
                discount_distances(basis, memory, work, scratch)
            else:
                discount_neighbours(memory.steps, work, scratch)
            test_slope(curve, options, work, scratch)
        noted = find_statuses(width, curve, correlated, options, work, scratch, status)
        if noted > 0:
            student_p_of_many(tests.x, tests.r, tests.df, noted, tests.fraction, tests.p)
            for k in range(noted):
                result[PVALUE, tests.which[k]] = tests.p[k]
        for k in range(harmonics):
            find_wave(k, width, curve, options.wanted, work, scratch)
            settle_wave(k, width, result, status)
        store(result, start, width, output)
