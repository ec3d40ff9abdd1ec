"""Compiled bands of a polynomial."""

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
    sum_squares,
)
from pixelwise.kernels.output import store
from pixelwise.kernels.pvalues import f_p, table_p
from pixelwise.kernels.scratch import aligned
from pixelwise.kernels.status import CONSTANT, OK, TEST_UNDEFINED

# Rows of the results; then the coefficients (methods/polynomial.py has the same order).
SLOPE, PVALUE, STDERR, PVALUE_CURVATURE, PVALUE_MODEL, R2, RMSE, TURNING_POINT, N = range(9)
FIXED = 9


class Curve(NamedTuple):
    """What is fitted.

    Attributes
    ----------
    columns
        Columns of the `Design`.
    transform
        (term, term): turns coefficients of the basis into those of powers of the time since the origin.
    slopes
        (3, term): the same for the mean change per year, and for the slope at `middle` and half of its change per
        year there.
    middle
        Decimal year.
    """

    columns: Columns
    transform: Floats
    slopes: Floats
    middle: float


class Options(NamedTuple):
    """What is requested.

    Attributes
    ----------
    min_obs
        Fewest values of a series.
    wanted
        (result,) bool: which results are requested.
    tails
        Coefficients of a `TailTable` from ``min_obs - terms`` degrees of freedom, flat.
    """

    min_obs: int
    wanted: NDArray[np.bool_]
    tails: Floats


class Scratch(NamedTuple):
    """Memory for a chunk, float64.

    Attributes
    ----------
    result
        (result, CHUNK).
    explained, curved
        (CHUNK,) sums of squares that all columns explain, and those beyond the straight line.
    curved_p, model_p
        (CHUNK,) p-values to start those of both from, if their numbers of columns are odd.
    lever
        (CHUNK,) variance of the slope for a unit variance of residuals.
    x, r, shifted
        (CHUNK,) for `table_p`: ``1 - r**2``, the correlation, and a number of values with as many degrees of freedom
        in a straight line.
    place, entry
        (CHUNK,) scratch of a step.
    """

    result: Floats
    explained: Floats
    curved: Floats
    curved_p: Floats
    model_p: Floats
    lever: Floats
    x: Floats
    r: Floats
    shifted: Floats
    place: Floats
    entry: Floats


def make_scratch(results: int) -> Scratch:
    """Return memory for a chunk with this many results."""
    return Scratch._make((aligned(results, CHUNK), *aligned(10, CHUNK)))


@kernel(helper=True)
def table_single(explained, rss, first, tails, scratch, p):
    """Write p-values of F with one degree of freedom, from which those of any odd number start."""
    x, r = scratch.x, scratch.r
    for i in range(CHUNK):
        total = explained[i] + rss[i]
        x[i] = rss[i] / total
        r[i] = math.sqrt(explained[i] / total)
    table_p(x, r, scratch.shifted, first, tails, scratch.place, scratch.entry, p)


@kernel(helper=True)
def derive(curve, work, scratch):
    """Write the results that need no p-values, and the input of `table_p` for the slope."""
    n, first, rss, solution = work.sums[COUNT], work.sums[FIRST], work.sums[RSS], work.solution
    result, explained, lever = scratch.result, scratch.explained, scratch.lever
    x, r, shifted = scratch.x, scratch.r, scratch.shifted
    terms = solution.shape[0]
    sum_squares(work.orthogonal, 1, terms, explained)
    sum_squares(work.orthogonal, 2, terms, scratch.curved)
    for k in range(terms):
        combine(curve.transform[k], solution, result[FIXED + k])
    combine(curve.slopes[0], solution, result[SLOPE])
    find_lever(curve.slopes[0], work.factor, work.spare, lever)
    for p in range(CHUNK):
        result[FIXED, p] += first[p]
        result[N, p] = n[p]
        df = n[p] - terms
        variance = rss[p] / (df if df > 0.0 else np.nan)
        result[RMSE, p] = math.sqrt(variance)
        result[STDERR, p] = math.sqrt(variance * lever[p])
        result[R2, p] = explained[p] / (explained[p] + rss[p])
        b = result[SLOPE, p]
        # With explained = b**2 / lever: x = rss / (rss + explained) is free of cancellation.
        noise = rss[p] * lever[p]
        total = noise + b * b
        x[p] = noise / total
        r[p] = b / math.sqrt(total)
        shifted[p] = n[p] - terms + 2.0


@kernel(helper=True)
def find_turning_point(curve, solution, scratch):
    """Write when the slope of a parabola is 0."""
    turning_point, place, entry, middle = scratch.result[TURNING_POINT], scratch.place, scratch.entry, curve.middle
    combine(curve.slopes[1], solution, place)
    combine(curve.slopes[2], solution, entry)
    for p in range(CHUNK):
        # A straight line has no turning point.
        turn = entry[p] if entry[p] != 0.0 else np.nan
        turning_point[p] = middle - place[p] / (2.0 * turn)


@kernel(helper=True)
def find_statuses(width, options, work, scratch, status):
    """Write the status of each pixel of a chunk, and the p-values that come from F."""
    n, first, rss = work.sums[COUNT], work.sums[FIRST], work.sums[RSS]
    spread, pivot = work.sums[SPREAD], work.sums[PIVOTS]
    result, explained, curved, wanted = scratch.result, scratch.explained, scratch.curved, options.wanted
    curved_p, model_p, min_obs = scratch.curved_p, scratch.model_p, options.min_obs
    terms = work.solution.shape[0]
    for p in range(width):
        state = find_status(n[p], min_obs, spread[p], pivot[p], explained[p] + rss[p])
        if state == OK:
            df = n[p] - terms
            if wanted[PVALUE_CURVATURE]:
                result[PVALUE_CURVATURE, p] = f_p(curved[p], rss[p], terms - 2, df, curved_p[p])
            if wanted[PVALUE_MODEL]:
                result[PVALUE_MODEL, p] = f_p(explained[p], rss[p], terms - 1, df, model_p[p])
        else:
            for band in range(result.shape[0]):
                computed = band == SLOPE or band >= FIXED
                if band != N and not (computed and state == TEST_UNDEFINED):
                    result[band, p] = 0.0 if computed and state == CONSTANT else np.nan
            if state == CONSTANT:
                result[FIXED, p] = first[p]
        status[p] = state


@kernel()
def fit(observations, curve, options, work, scratch, output):
    """Fit a polynomial to every pixel.

    Parameters
    ----------
    observations
        `Observations`, all with the same weight.
    curve, options
        `Curve` and `Options`.
    work, scratch
        `Workspace` and `Scratch`, to work with.
    output
        `Output`.
    """
    pixels = observations.values.shape[1]
    terms, rss, tails, wanted = work.solution.shape[0], work.sums[RSS], options.tails, options.wanted
    first_count = options.min_obs - terms + 2
    for start in range(0, pixels, CHUNK):
        width = pixels - start if pixels - start < CHUNK else CHUNK
        load(observations, start, width, work)
        solve_chunk(curve.columns, work)
        derive(curve, work, scratch)
        if tails.size > 0:
            pvalue = scratch.result[PVALUE]
            table_p(scratch.x, scratch.r, scratch.shifted, first_count, tails, scratch.place, scratch.entry, pvalue)
            if wanted[PVALUE_CURVATURE] and terms % 2 == 1:
                table_single(scratch.curved, rss, first_count, tails, scratch, scratch.curved_p)
            if wanted[PVALUE_MODEL] and terms % 2 == 0:
                table_single(scratch.explained, rss, first_count, tails, scratch, scratch.model_p)
        if wanted[TURNING_POINT]:
            find_turning_point(curve, work.solution, scratch)
        find_statuses(width, options, work, scratch, output.status[start : start + width])
        store(scratch.result, start, width, output)
