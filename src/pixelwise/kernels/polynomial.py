"""Compiled bands of a polynomial."""

# Numba infers types from arguments; annotations would only repeat the docstrings.
# mypy: allow-untyped-defs

from __future__ import annotations

import math

import numpy as np

from pixelwise.kernels.jit import kernel
from pixelwise.kernels.linear import (
    CHUNK,
    CONSTANT,
    COUNT,
    FIRST,
    OK,
    PIVOTS,
    RSS,
    SPREAD,
    TEST_UNDEFINED,
    combine,
    find_lever,
    find_status,
    load,
    solve_chunk,
    store,
    sum_squares,
)
from pixelwise.kernels.pvalues import f_p, table_p

# Rows of the results; then the coefficients (methods/polynomial.py has the same order).
SLOPE, PVALUE, STDERR, PVALUE_CURVATURE, PVALUE_MODEL, R2, RMSE, TURNING_POINT, N = range(9)
FIXED = 9


@kernel(helper=True)
def table_single(explained, rss, shifted, first, tails, x, r, place, entry, p):
    """Write p-values of F with one degree of freedom, with which those of any odd number begin."""
    for i in range(CHUNK):
        total = explained[i] + rss[i]
        x[i] = rss[i] / total
        r[i] = math.sqrt(explained[i] / total)
    table_p(x, r, shifted, first, tails, place, entry, p)


@kernel()
def fit(
    values,
    basis,
    products,
    transform,
    rows_of_slopes,
    middle,
    date_weights,
    value_weights,
    min_obs,
    wanted,
    rows,
    tails,
    series,
    factor,
    orthogonal,
    solution,
    sums,
    result,
    table,
    status,
):
    """Fit a polynomial to every pixel.

    Parameters
    ----------
    values
        (time, pixel), NaN where missing.
    basis, products
        Of the `Design`.
    transform
        (term, term): what turns coefficients of `basis` into those of powers of the time since the origin.
    rows_of_slopes
        (3, term): the same for the mean change per year, and for the slope at `middle` and half of its change per
        year there.
    middle
        Decimal year.
    date_weights, value_weights
        (time,) ones, (0, 0).
    min_obs
        Fewest values of a series.
    wanted, rows
        (result,) bool and (band,) int64: which results are wanted, and which are the rows of the table.
    tails
        Of a `TailTable` from ``min_obs - terms`` degrees of freedom, flat.
    series, factor, orthogonal, solution, sums, result
        To work with; see `solve_chunk`.
    table, status
        (band, pixel) and (pixel,) uint8, to be filled.
    """
    pixels = values.shape[1]
    terms = basis.shape[1]
    n, first, rss = sums[COUNT], sums[FIRST], sums[RSS]
    explained, curved, lever = np.empty(CHUNK), np.empty(CHUNK), np.empty(CHUNK)
    x, r, shifted, place, entry = np.empty(CHUNK), np.empty(CHUNK), np.empty(CHUNK), np.empty(CHUNK), np.empty(CHUNK)
    curved_p, model_p = np.empty(CHUNK), np.empty(CHUNK)
    correction = np.empty((terms, CHUNK))
    for start in range(0, pixels, CHUNK):
        width = pixels - start if pixels - start < CHUNK else CHUNK
        load(values, date_weights, value_weights, start, width, series, sums)
        solve_chunk(basis, products, series, factor, orthogonal, solution, correction, sums)
        sum_squares(orthogonal, 1, terms, explained)
        sum_squares(orthogonal, 2, terms, curved)
        for k in range(terms):
            combine(transform[k], solution, result[FIXED + k])
        combine(rows_of_slopes[0], solution, result[SLOPE])
        find_lever(rows_of_slopes[0], factor, correction, lever)
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
        if tails.size > 0:
            table_p(x, r, shifted, min_obs - terms + 2, tails, place, entry, result[PVALUE])
            if wanted[PVALUE_CURVATURE] and terms % 2 == 1:
                table_single(curved, rss, shifted, min_obs - terms + 2, tails, x, r, place, entry, curved_p)
            if wanted[PVALUE_MODEL] and terms % 2 == 0:
                table_single(explained, rss, shifted, min_obs - terms + 2, tails, x, r, place, entry, model_p)
        if wanted[TURNING_POINT]:
            combine(rows_of_slopes[1], solution, place)
            combine(rows_of_slopes[2], solution, entry)
            for p in range(CHUNK):
                # A straight line turns nowhere.
                turn = entry[p] if entry[p] != 0.0 else np.nan
                result[TURNING_POINT, p] = middle - place[p] / (2.0 * turn)
        for p in range(width):
            state = find_status(n[p], min_obs, sums[SPREAD, p], sums[PIVOTS, p], explained[p] + rss[p])
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
            status[start + p] = state
        store(result, rows, start, width, table)
