"""Compiled multiple regressions of many pixels, from columns (kernels/columns.py).

Modified Gram-Schmidt on the design with the response as its last column is as stable as Householder reflections
(Bjorck 1967, BIT 7, 1-21), and consists of sums over dates alone, which many pixels take together.
"""

# Numba infers types from arguments; annotations would only repeat the docstrings.
# mypy: allow-untyped-defs

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pixelwise.bands import Floats
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
from pixelwise.kernels.output import store
from pixelwise.kernels.pvalues import f_p, student_p, table_p
from pixelwise.kernels.scratch import aligned
from pixelwise.kernels.status import CONSTANT, DEGENERATE, NO_OBSERVATION, OK, TEST_UNDEFINED, TOO_FEW

# Results of each covariate, then of the whole.
COEFFICIENT, STDERR, PVALUE, PARTIAL_R = range(4)
EACH = 4
INTERCEPT, INTERCEPT_STDERR, R2, RMSE, OVERALL, COUNT = range(6)
WHOLE = 6

# A column with less than this share of its length left after the others counts as a combination of them; R's lm uses
# the same limit.
TOLERANCE = 1e-7


# Tuples of other lengths are other types, and each is compiled: 5 s.
STACKS = 4


class Covariates(NamedTuple):
    """What the response is regressed on.

    Attributes
    ----------
    stacks
        (time, pixel) arrays of one type, a multiple of `STACKS` of them.
    sources
        (covariate,) int64: which of these each covariate is, or -1 if it is the same for each pixel.
    shared
        (covariate, time) float64: covariates that are the same for each pixel.
    """

    stacks: tuple[NDArray[Any], ...]
    sources: NDArray[np.int64]
    shared: Floats


class Options(NamedTuple):
    """What is requested.

    Attributes
    ----------
    intercept
        Whether there is one.
    min_obs
        Fewest dates on which all are valid, more than there are unknowns.
    errors, overall
        Whether standard errors, partial correlations or p-values of covariates are needed, and the p-value of all.
    tails
        Coefficients of a `TailTable` from 1 degree of freedom, flat; empty if p-values of covariates are not needed.
    """

    intercept: bool
    min_obs: int
    errors: bool
    overall: bool
    tails: Floats


class Scratch(NamedTuple):
    """Memory for a chunk, float64. The last column is the response.

    Attributes
    ----------
    columns
        (column, time, CHUNK) deviations, 0 where not valid.
    valid
        (time, CHUNK) 1 where all are valid, else 0.
    means, lengths, spreads
        (column, CHUNK) from `anchor`, and roots of sums of squares.
    triangle, inverse
        (covariate, column, CHUNK): R of the scaled columns, with the response's share of each in the last column; and
        the inverse of its first columns.
    n
        (CHUNK,) valid dates.
    total
        (CHUNK,) a sum.
    least
        (CHUNK,) the smallest share of a column's length that is left after those before it.
    rss
        (CHUNK,) residual sum of squares of the response scaled to length 1.
    x, place, entry, shifted
        (CHUNK,) for `table_p`: ``1 - r**2``, two to work with, and a number of values with as many degrees of freedom
        in a straight line.
    result
        (EACH * covariates + WHOLE, CHUNK).
    """

    columns: Floats
    valid: Floats
    means: Floats
    lengths: Floats
    spreads: Floats
    triangle: Floats
    inverse: Floats
    n: Floats
    total: Floats
    least: Floats
    rss: Floats
    x: Floats
    place: Floats
    entry: Floats
    shifted: Floats
    result: Floats


def make_scratch(covariates: Covariates) -> Scratch:
    """Return memory for a chunk of the response and these covariates."""
    size, layers = covariates.shared.shape
    means, lengths, spreads = aligned(3, size + 1, CHUNK)
    triangle, inverse = aligned(2, size, size + 1, CHUNK)
    n, total, least, rss, x, place, entry, shifted = aligned(8, CHUNK)
    return Scratch(
        columns=aligned(size + 1, layers, CHUNK),
        valid=aligned(layers, CHUNK),
        means=means,
        lengths=lengths,
        spreads=spreads,
        triangle=triangle,
        inverse=inverse,
        n=n,
        total=total,
        least=least,
        rss=rss,
        x=x,
        place=place,
        entry=entry,
        shifted=shifted,
        result=aligned(EACH * size + WHOLE, CHUNK),
    )


@kernel(inline="always")
def prepare(values, covariates, intercept, start, width, scratch):
    """Load a chunk's response, as the last column, and covariates; subtract means; find means, spreads, counts."""
    stacks, sources, shared = covariates.stacks, covariates.sources, covariates.shared
    columns, valid, n = scratch.columns, scratch.valid, scratch.n
    size = sources.size
    for i in range(values.shape[0]):
        for p in range(CHUNK):
            valid[i, p] = 1.0
    keep_valid(values, start, width, valid)
    for k in range(size):
        if sources[k] >= 0:
            keep_valid(stacks[sources[k]], start, width, valid)
    count(valid, n)
    for k in range(size + 1):
        column, mean, spread = columns[k], scratch.means[k], scratch.spreads[k]
        if k == size:
            load(values, start, width, valid, column)
        elif sources[k] >= 0:
            load(stacks[sources[k]], start, width, valid, column)
        else:
            load_shared(shared[k], valid, column)
        if intercept:
            anchor(column, mean, spread)
            centre(column, valid, n, mean, scratch.total)
        else:
            for p in range(CHUNK):
                mean[p] = 0.0
            deviate(column, mean, spread)


@kernel(inline="always")
def orthogonalise(size, scratch):
    """Make all columns orthogonal and of length 1; the residuals of the response stay in its column."""
    columns, triangle, least, total = scratch.columns, scratch.triangle, scratch.least, scratch.total
    for k in range(size + 1):
        dot(columns[k], columns[k], total)
        divide_by_root(columns[k], total, scratch.lengths[k])
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
def derive_coefficients(size, unknowns, scratch):
    """Turn the result of Gram-Schmidt into coefficients and the bands of the whole model."""
    triangle, inverse, n, rss, result = scratch.triangle, scratch.inverse, scratch.n, scratch.rss, scratch.result
    whole = EACH * size
    length_y, mean_y = scratch.lengths[size], scratch.means[size]
    intercept, r2, rmse = result[whole + INTERCEPT], result[whole + R2], result[whole + RMSE]
    for p in range(CHUNK):
        intercept[p] = mean_y[p]
        r2[p] = 0.0
    for k in range(size):
        # In units of column lengths, as standard errors will be.
        scaled, length, mean = result[EACH * k], scratch.lengths[k], scratch.means[k]
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
        # NaN if there are too few: plain Python's math.sqrt would raise.
        rmse[p] = length_y[p] * np.sqrt(rss[p] / (n[p] - unknowns))


@kernel(inline="always")
def derive_errors(size, unknowns, tails, scratch):
    """Turn the inverse into standard errors, partial correlations and p-values; coefficients are still scaled."""
    inverse, n, rss, x, result = scratch.inverse, scratch.n, scratch.rss, scratch.x, scratch.result
    shifted = scratch.shifted
    rmse = result[EACH * size + RMSE]
    for k in range(size):
        scaled, stderr, pvalue = result[EACH * k], result[EACH * k + STDERR], result[EACH * k + PVALUE]
        length, partial_r = scratch.lengths[k], result[EACH * k + PARTIAL_R]
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
        if tails.size > 0:
            # The table is for straight lines, which have n - 2 degrees of freedom.
            for p in range(CHUNK):
                shifted[p] = n[p] - unknowns + 2.0
            table_p(x, partial_r, shifted, 3, tails, scratch.place, scratch.entry, pvalue)


@kernel(inline="always")
def derive_intercept_error(size, scratch):
    """Turn the inverse into the standard error of the intercept."""
    inverse, n, total, lever, result = scratch.inverse, scratch.n, scratch.total, scratch.x, scratch.result
    rmse, stderr = result[EACH * size + RMSE], result[EACH * size + INTERCEPT_STDERR]
    for p in range(CHUNK):
        lever[p] = 1.0 / n[p]
    for m in range(size):
        for p in range(CHUNK):
            total[p] = 0.0
        for k in range(m + 1):
            mean, length = scratch.means[k], scratch.lengths[k]
            for p in range(CHUNK):
                total[p] += inverse[k, m, p] * (mean[p] / length[p])
        for p in range(CHUNK):
            lever[p] += total[p] * total[p]
    for p in range(CHUNK):
        stderr[p] = rmse[p] * math.sqrt(lever[p])


@kernel(inline="always")
def find_status(size, min_obs, n, lengths, spreads, least, p):
    """Return the status of a pixel."""
    if n[p] < min_obs:
        return NO_OBSERVATION if n[p] == 0.0 else TOO_FEW
    for k in range(size + 1):
        if spreads[k, p] == np.inf:
            return TEST_UNDEFINED
    if spreads[size, p] == 0.0:
        return CONSTANT
    for k in range(size):
        if spreads[k, p] == 0.0:
            return DEGENERATE
    for k in range(size + 1):
        squares = lengths[k, p] * lengths[k, p]
        if not SMALL < squares < LARGE:
            return TEST_UNDEFINED
    return OK if least[p] > TOLERANCE else DEGENERATE


@kernel()
def regress(values, covariates, options, scratch, output):
    """Regress every pixel's series on covariates.

    Parameters
    ----------
    values
        (time, pixel), NaN where missing.
    covariates, options
        `Covariates` and `Options`.
    scratch, output
        `Scratch`, to work with, and `Output`, whose rows are EACH for each covariate, then WHOLE.
    """
    pixels, size = values.shape[1], covariates.sources.size
    unknowns = size + (1 if options.intercept else 0)
    n, rss, result, status = scratch.n, scratch.rss, scratch.result, output.status
    means, lengths, spreads, least = scratch.means, scratch.lengths, scratch.spreads, scratch.least
    min_obs, overall = options.min_obs, options.overall
    whole = EACH * size
    for start in range(0, pixels, CHUNK):
        width = pixels - start if pixels - start < CHUNK else CHUNK
        prepare(values, covariates, options.intercept, start, width, scratch)
        orthogonalise(size, scratch)
        dot(scratch.columns[size], scratch.columns[size], rss)
        invert(scratch.triangle, size, scratch.inverse)
        derive_coefficients(size, unknowns, scratch)
        if options.errors:
            derive_errors(size, unknowns, options.tails, scratch)
            derive_intercept_error(size, scratch)
        length_y = lengths[size]
        for k in range(size):
            coefficient, length = result[EACH * k], lengths[k]
            for p in range(CHUNK):
                coefficient[p] *= length_y[p] / length[p]
        for p in range(width):
            found = find_status(size, min_obs, n, lengths, spreads, least, p)
            status[start + p] = found
            if found != OK:
                for k in range(whole + COUNT):
                    result[k, p] = np.nan
                if found == CONSTANT:
                    for k in range(size):
                        result[EACH * k, p] = 0.0
                    result[whole + INTERCEPT, p] = means[size, p]
            elif overall:
                df = n[p] - unknowns
                explained = result[whole + R2, p]
                one_term = student_p(rss[p] / (explained + rss[p]), math.sqrt(explained / (explained + rss[p])), df)
                result[whole + OVERALL, p] = f_p(explained, rss[p], size, df, one_term)
            result[whole + COUNT, p] = n[p]
        store(result, start, width, output)
