"""Compiled bands of a weighted straight line."""

# Numba infers types from arguments; annotations would only repeat the docstrings.
# mypy: allow-untyped-defs

from __future__ import annotations

import math

import numpy as np

from pixelwise.kernels.jit import kernel
from pixelwise.kernels.linear import (
    CHUNK,
    COUNT,
    FIRST,
    PIVOTS,
    RSS,
    SPREAD,
    combine,
    find_lever,
    find_status,
    load,
    solve_chunk,
    sum_squares,
)
from pixelwise.kernels.output import store
from pixelwise.kernels.pvalues import table_p
from pixelwise.kernels.status import CONSTANT, OK, TEST_UNDEFINED

SLOPE, INTERCEPT, RVALUE, PVALUE, STDERR, INTERCEPT_STDERR, N = range(7)
BANDS = 7


@kernel()
def fit(observations, columns, lines, min_obs, tails, work, result, output):
    """Fit a weighted straight line to every pixel.

    Parameters
    ----------
    observations, columns, work, output
        `Observations`, `Columns`, `Workspace` and `Output`.
    lines
        (2, 2): turns coefficients of the basis into slope and intercept at year 0.
    min_obs
        Fewest values of a series.
    tails
        Coefficients of a `TailTable` from ``min_obs - 2`` degrees of freedom, flat.
    result
        (BANDS, CHUNK) float64, to work with.
    """
    pixels = observations.values.shape[1]
    factor, solution, correction, sums, status = work.factor, work.solution, work.spare, work.sums, output.status
    n, first, rss = sums[COUNT], sums[FIRST], sums[RSS]
    explained, x, place, entry = np.empty(CHUNK), np.empty(CHUNK), np.empty(CHUNK), np.empty(CHUNK)
    for start in range(0, pixels, CHUNK):
        width = pixels - start if pixels - start < CHUNK else CHUNK
        load(observations, start, width, work)
        solve_chunk(columns, work)
        sum_squares(work.orthogonal, 1, 2, explained)
        combine(lines[0], solution, result[SLOPE])
        combine(lines[1], solution, result[INTERCEPT])
        find_lever(lines[0], factor, correction, place)
        find_lever(lines[1], factor, correction, entry)
        for p in range(CHUNK):
            result[INTERCEPT, p] += first[p]
            result[N, p] = n[p]
            syy = explained[p] + rss[p]
            x[p] = rss[p] / syy
            r = math.sqrt(explained[p] / syy)
            result[RVALUE, p] = -r if result[SLOPE, p] < 0.0 else r
            df = n[p] - 2.0
            variance = rss[p] / (df if df > 0.0 else np.nan)
            result[STDERR, p] = math.sqrt(variance * place[p])
            result[INTERCEPT_STDERR, p] = math.sqrt(variance * entry[p])
        if tails.size > 0:
            table_p(x, result[RVALUE], n, min_obs, tails, place, entry, result[PVALUE])
        for p in range(width):
            state = find_status(n[p], min_obs, sums[SPREAD, p], sums[PIVOTS, p], explained[p] + rss[p])
            if state != OK:
                for band in range(N):
                    if band > INTERCEPT or state != TEST_UNDEFINED:
                        result[band, p] = np.nan
                if state == CONSTANT:
                    result[SLOPE, p] = 0.0
                    result[INTERCEPT, p] = first[p]
            status[start + p] = state
        store(result, start, width, output)
