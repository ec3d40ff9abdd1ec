"""Compiled multiple regressions of many pixels, from columns (kernels/columns.py).

Modified Gram-Schmidt on the design with the response as its last column is as stable as Householder's reflections
(Bjorck 1967, BIT 7, 1-21), and consists of sums over dates alone, which many pixels take together.
"""

# Numba infers types from arguments; annotations would only repeat the docstrings.
# mypy: allow-untyped-defs

from __future__ import annotations

import math

import numpy as np

from pixelwise.kernels.columns import (
    CHUNK,
    LARGE,
    SMALL,
    anchor,
    centre,
    count,
    deviate,
    divide_by_root,
    dot,
    keep_valid,
    load,
    load_shared,
    subtract,
)
from pixelwise.kernels.jit import kernel
from pixelwise.kernels.pvalues import f_p, student_p, table_p
from pixelwise.kernels.series import CONSTANT, DEGENERATE, NO_OBSERVATION, OK, TEST_UNDEFINED, TOO_FEW

# Results of each covariate, then of the whole.
COEFFICIENT, STDERR, PVALUE, PARTIAL_R = range(4)
EACH = 4
INTERCEPT, INTERCEPT_STDERR, R2, RMSE, OVERALL, COUNT = range(6)
WHOLE = 6

# A column of which less than this share of its length is left after the others is one of their combinations, as for
# lm of R, which allows as much.
TOLERANCE = 1e-7

# Rows of scratch memory: of each column mean, length and spread, then sums.
OF_COLUMN = 3
SUMS = 8


@kernel(inline="always")
def prepare(values, covariates, sources, shared, intercept, start, width, columns, facts, n, total):
    """Load a chunk's response, as the last column, and covariates; take off means; find means, spreads, counts."""
    size = sources.size
    valid = columns[size + 1]
    for i in range(values.shape[0]):
        for p in range(CHUNK):
            valid[i, p] = 1.0
    keep_valid(values, start, width, valid)
    for k in range(size):
        if sources[k] >= 0:
            keep_valid(covariates[sources[k]], start, width, valid)
    count(valid, n)
    for k in range(size + 1):
        column, mean, spread = columns[k], facts[OF_COLUMN * k], facts[OF_COLUMN * k + 2]
        if k == size:
            load(values, start, width, valid, column)
        elif sources[k] >= 0:
            load(covariates[sources[k]], start, width, valid, column)
        else:
            load_shared(shared[k], valid, column)
        if intercept:
            anchor(column, mean, spread)
            centre(column, valid, n, mean, total)
        else:
            for p in range(CHUNK):
                mean[p] = 0.0
            deviate(column, mean, spread)


@kernel(inline="always")
def orthogonalise(columns, size, facts, triangle, least, total):
    """Make all columns orthogonal and of length 1; what is left of the response stays in its column.

    `triangle` gets R of the scaled columns, the response's share of each in its last column.
    """
    for k in range(size + 1):
        dot(columns[k], columns[k], total)
        divide_by_root(columns[k], total, facts[OF_COLUMN * k + 1])
    for p in range(CHUNK):
        least[p] = 1.0
    for k in range(size):
        dot(columns[k], columns[k], total)
        divide_by_root(columns[k], total, triangle[k, k])
        for p in range(CHUNK):
            left = triangle[k, k, p]
            least[p] = left if left < least[p] else least[p]
        for m in range(k + 1, size + 1):
            dot(columns[k], columns[m], triangle[k, m])
            subtract(columns[m], triangle[k, m], columns[k])


@kernel(inline="always")
def invert(triangle, size, inverse):
    """Invert the first `size` columns of an upper triangle."""
    for k in range(size):
        for p in range(CHUNK):
            inverse[k, k, p] = 1.0 / triangle[k, k, p]
        for m in range(k - 1, -1, -1):
            for p in range(CHUNK):
                inverse[m, k, p] = 0.0
            for j in range(m + 1, k + 1):
                for p in range(CHUNK):
                    inverse[m, k, p] -= triangle[m, j, p] * inverse[j, k, p]
            for p in range(CHUNK):
                inverse[m, k, p] /= triangle[m, m, p]


@kernel(inline="always")
def derive_coefficients(triangle, inverse, facts, size, n, rss, unknowns, result):
    """Turn what Gram-Schmidt left into coefficients and what is said of the whole."""
    whole = EACH * size
    length_y, mean_y = facts[OF_COLUMN * size + 1], facts[OF_COLUMN * size]
    intercept, r2, rmse = result[whole + INTERCEPT], result[whole + R2], result[whole + RMSE]
    for p in range(CHUNK):
        intercept[p] = mean_y[p]
        r2[p] = 0.0
    for k in range(size):
        # In units of lengths of columns, as standard errors will be.
        scaled, length, mean = result[EACH * k], facts[OF_COLUMN * k + 1], facts[OF_COLUMN * k]
        for p in range(CHUNK):
            scaled[p] = 0.0
            r2[p] += triangle[k, size, p] * triangle[k, size, p]
        for m in range(k, size):
            for p in range(CHUNK):
                scaled[p] += inverse[k, m, p] * triangle[m, size, p]
        for p in range(CHUNK):
            intercept[p] -= scaled[p] * (length_y[p] / length[p]) * mean[p]
    for p in range(CHUNK):
        r2[p] = r2[p] if r2[p] < 1.0 else 1.0
        # NaN where there are too few: math.sqrt of plain Python would raise.
        rmse[p] = length_y[p] * np.sqrt(rss[p] / (n[p] - unknowns))


@kernel(inline="always")
def derive_errors(inverse, facts, size, n, rss, unknowns, x, coefficients, place, entry, partial, result):
    """Turn the inverse into standard errors, partial correlations and p-values; coefficients are still scaled."""
    rmse = result[EACH * size + RMSE]
    for k in range(size):
        scaled, stderr, pvalue = result[EACH * k], result[EACH * k + STDERR], result[EACH * k + PVALUE]
        length, partial_r = facts[OF_COLUMN * k + 1], result[EACH * k + PARTIAL_R]
        for p in range(CHUNK):
            x[p] = 0.0
        for m in range(k, size):
            for p in range(CHUNK):
                x[p] += inverse[k, m, p] * inverse[k, m, p]
        for p in range(CHUNK):
            stderr[p] = rmse[p] * math.sqrt(x[p]) / length[p]
            # 1 - r**2 = df / (df + t**2), which keeps its digits near 0 and 1.
            noise = rss[p] * x[p]
            signal = scaled[p] * scaled[p]
            both = noise + signal
            x[p] = noise / both if both > 0.0 else 1.0
            partial_r[p] = scaled[p] / math.sqrt(both) if both > 0.0 else 0.0
        if coefficients.size > 0:
            # The table is one of straight lines, which have n - 2 degrees of freedom.
            for p in range(CHUNK):
                partial[p] = n[p] - unknowns + 2.0
            table_p(x, partial_r, partial, 3, coefficients, place, entry, pvalue)


@kernel(inline="always")
def derive_intercept_error(inverse, facts, size, n, total, lever, result):
    """Turn the inverse into the standard error of the intercept."""
    rmse, stderr = result[EACH * size + RMSE], result[EACH * size + INTERCEPT_STDERR]
    for p in range(CHUNK):
        lever[p] = 1.0 / n[p]
    for m in range(size):
        for p in range(CHUNK):
            total[p] = 0.0
        for k in range(m + 1):
            mean, length = facts[OF_COLUMN * k], facts[OF_COLUMN * k + 1]
            for p in range(CHUNK):
                total[p] += inverse[k, m, p] * (mean[p] / length[p])
        for p in range(CHUNK):
            lever[p] += total[p] * total[p]
    for p in range(CHUNK):
        stderr[p] = rmse[p] * math.sqrt(lever[p])


@kernel(inline="always")
def find_status(facts, size, n, min_obs, least, p):
    """Return the status of a pixel."""
    if n[p] < min_obs:
        return NO_OBSERVATION if n[p] == 0.0 else TOO_FEW
    for k in range(size + 1):
        if facts[OF_COLUMN * k + 2, p] == np.inf:
            return TEST_UNDEFINED
    if facts[OF_COLUMN * size + 2, p] == 0.0:
        return CONSTANT
    for k in range(size):
        if facts[OF_COLUMN * k + 2, p] == 0.0:
            return DEGENERATE
    for k in range(size + 1):
        squares = facts[OF_COLUMN * k + 1, p] * facts[OF_COLUMN * k + 1, p]
        if not SMALL < squares < LARGE:
            return TEST_UNDEFINED
    return OK if least[p] > TOLERANCE else DEGENERATE


@kernel()
def regress(
    values,
    covariates,
    sources,
    shared,
    intercept,
    min_obs,
    errors,
    overall,
    rows,
    coefficients,
    columns,
    triangles,
    scratch,
    table,
    status,
):
    """Regress every pixel's series on covariates.

    Parameters
    ----------
    values
        (time, pixel), NaN where missing.
    covariates
        Tuple of such arrays, of one type; not empty.
    sources
        (covariate,) which of these each covariate is, or -1 where it is the same for each pixel.
    shared
        (covariate, time) float64: those.
    intercept
        Whether there is one.
    min_obs
        Fewest dates on which all are valid, more than there are unknowns.
    errors, overall
        Whether standard errors, partial correlations or p-values of covariates are wanted, and the p-value of all.
    rows
        The result of each row of `table`: EACH of each covariate, then WHOLE.
    coefficients
        Of a `TailTable` from 1 degree of freedom, flat; empty where p-values of covariates are not wanted.
    columns
        (covariates + 2, time, CHUNK) float64, to work with.
    triangles
        (2, covariates, covariates + 1, CHUNK) float64, to work with.
    scratch
        (OF_COLUMN * (covariates + 1) + SUMS + EACH * covariates + WHOLE, CHUNK) float64, to work with.
    table, status
        (band, pixel) and (pixel,) uint8, to be filled.
    """
    pixels, size = values.shape[1], sources.size
    unknowns = size + (1 if intercept else 0)
    facts = scratch[: OF_COLUMN * (size + 1)]
    sums, result = scratch[OF_COLUMN * (size + 1) :], scratch[OF_COLUMN * (size + 1) + SUMS :]
    n, total, least, rss = sums[0], sums[1], sums[2], sums[3]
    x, place, entry, partial = sums[4], sums[5], sums[6], sums[7]
    triangle, inverse = triangles[0], triangles[1]
    whole = EACH * size
    for start in range(0, pixels, CHUNK):
        width = pixels - start if pixels - start < CHUNK else CHUNK
        prepare(values, covariates, sources, shared, intercept, start, width, columns, facts, n, total)
        orthogonalise(columns, size, facts, triangle, least, total)
        dot(columns[size], columns[size], rss)
        invert(triangle, size, inverse)
        derive_coefficients(triangle, inverse, facts, size, n, rss, unknowns, result)
        if errors:
            derive_errors(inverse, facts, size, n, rss, unknowns, x, coefficients, place, entry, partial, result)
            derive_intercept_error(inverse, facts, size, n, total, x, result)
        length_y = facts[OF_COLUMN * size + 1]
        for k in range(size):
            coefficient, length = result[EACH * k], facts[OF_COLUMN * k + 1]
            for p in range(CHUNK):
                coefficient[p] *= length_y[p] / length[p]
        for p in range(width):
            found = find_status(facts, size, n, min_obs, least, p)
            status[start + p] = found
            if found != OK:
                for k in range(whole + COUNT):
                    result[k, p] = np.nan
                if found == CONSTANT:
                    for k in range(size):
                        result[EACH * k, p] = 0.0
                    result[whole + INTERCEPT, p] = facts[OF_COLUMN * size, p]
            elif overall:
                df = n[p] - unknowns
                explained = result[whole + R2, p]
                one_term = student_p(rss[p] / (explained + rss[p]), math.sqrt(explained / (explained + rss[p])), df)
                result[whole + OVERALL, p] = f_p(explained, rss[p], size, df, one_term)
            result[whole + COUNT, p] = n[p]
        for k in range(rows.size):
            band = result[rows[k]]
            row = table[k, start : start + width]
            for p in range(width):
                row[p] = band[p]
