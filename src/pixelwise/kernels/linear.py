"""Compiled least squares of many pixels with gaps and weights, on a design shared by all.

As in ``ols.py``, a chunk of 128 pixels at a time goes through a few passes, each a loop over dates around a
loop over pixels, which the compiler turns into vector instructions; every pixel takes the same steps, whatever its
neighbours. Normal equations square the condition number, which is harmless here: the design is orthonormal over all
dates (``designs.py``), a pixel whose gaps reduce a pivot below 1e-7 is refused, and below 0.01 a step of refinement
with the residuals restores the digits that the factor has lost.
"""

# Numba infers types from arguments; annotations would only repeat the docstrings.
# mypy: allow-untyped-defs

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pixelwise.bands import Floats
from pixelwise.kernels import designs
from pixelwise.kernels.jit import kernel
from pixelwise.kernels.scratch import aligned
from pixelwise.kernels.status import CONSTANT, DEGENERATE, NO_OBSERVATION, OK, TEST_UNDEFINED, TOO_FEW

CHUNK = 128
STRIDE = designs.STRIDE

# The smallest share of a column's square that may be left after those before it. At 1e-7, its standard error is 3000
# times that of a column by itself, and standard errors have 9 digits (2.2e-16 * layers / 1e-7).
PIVOT = 1e-7
# Above this, one solution has all digits that matter (2.2e-16 * layers / 0.01), and is not refined: the others are one
# pixel in thousands, and whether one is among the neighbours changes nothing.
GOOD = 0.01

# Within these no square that matters is rounded to a subnormal number, and no product overflows.
SMALL = 1e-290
LARGE = 1e290

# Rows of `sums` (see `solve_chunk`).
COUNT, FIRST, SPREAD, RSS, PIVOTS = range(5)
SUMS = 5


class Observations(NamedTuple):
    """Values and their weights.

    Attributes
    ----------
    values
        (time, pixel) float32 or float64, NaN where missing.
    date_weights, value_weights
        (time,) float64, and (time, pixel), or (0, 0) if all values of a date weigh the same: the product of both is
        the weight.
    """

    values: NDArray[Any]
    date_weights: Floats
    value_weights: NDArray[Any]


class Columns(NamedTuple):
    """The columns of a `Design`, for dates padded to a multiple of `STRIDE`.

    Attributes
    ----------
    basis
        (time, term) float64: ones, then orthonormal columns.
    products
        (time, term * (term + 1) / 2) float64: products of two columns, row by row of the lower triangle.
    """

    basis: Floats
    products: Floats


class Workspace(NamedTuple):
    """What `load` and `solve_chunk` fill for a chunk of pixels; all float64.

    Attributes
    ----------
    series
        (3, time, CHUNK): deviations from the first value, weights, and residuals, for padded dates.
    factor
        (term * (term + 1) / 2, CHUNK): Cholesky factor of the weighted Gram matrix, by rows.
    orthogonal
        (term, CHUNK): the factor transposed times the solution. Their squares are the sums of squares that each column
        adds to those before it.
    solution
        (term, CHUNK): the coefficients of the basis, of deviations from the first value.
    spare
        (term, CHUNK) scratch, for whatever needs it next.
    sums
        (SUMS, CHUNK): `load` fills count, first value and sum of absolute deviations; `solve_chunk` the weighted sum
        of squared residuals and the least pivot.
    """

    series: Floats
    factor: Floats
    orthogonal: Floats
    solution: Floats
    spare: Floats
    sums: Floats


def workspace(columns: Columns) -> Workspace:
    """Return memory for `load` and `solve_chunk`; padded dates must begin with the weight 0."""
    dates, terms = columns.basis.shape
    series = aligned(3, dates, CHUNK)
    series.fill(0.0)
    return Workspace(
        series,
        aligned(terms * (terms + 1) // 2, CHUNK),
        aligned(terms, CHUNK),
        aligned(terms, CHUNK),
        aligned(terms, CHUNK),
        aligned(SUMS, CHUNK),
    )


@kernel(helper=True)
def load(observations, start, width, work):
    """Copy a chunk as deviations from each pixel's first value, and weights, both 0 where a value does not count.

    It counts if it is not missing and its weight is above 0 and finite.

    Subtracting the first value is exact for values of similar magnitude, and keeps all digits of the variation at
    offsets of 1e9. Dates beyond `values` keep the weight 0 that they came with.
    """
    values, date_weights, value_weights = observations.values, observations.date_weights, observations.value_weights
    deviations, weights = work.series[0], work.series[1]
    n, first, spread = work.sums[COUNT], work.sums[FIRST], work.sums[SPREAD]
    for p in range(CHUNK):
        n[p] = 0.0
        first[p] = np.nan
        spread[p] = 0.0
    for i in range(values.shape[0]):
        row = values[i, start : start + width]
        deviation, weight = deviations[i], weights[i]
        for p in range(width, CHUNK):
            deviation[p] = 0.0
            weight[p] = 0.0
        w = date_weights[i]
        if value_weights.shape[0] == 0 and w > 0.0:
            # On its own, so that it becomes vector instructions: a quarter less time in all.
            for p in range(width):
                y = np.float64(row[p])
                valid = y == y
                first[p] = first[p] if first[p] == first[p] else y
                dy = y - first[p] if valid else 0.0
                deviation[p] = dy
                weight[p] = w if valid else 0.0
                spread[p] += abs(dy)
                n[p] += 1.0 if valid else 0.0
            continue
        for p in range(width):
            y, own = np.float64(row[p]), w
            if value_weights.shape[0] > 0:
                own *= np.float64(value_weights[i, start + p])
            deviation[p] = 0.0
            weight[p] = 0.0
            # Comparisons with NaN are false.
            if y == y and own > 0.0 and own < np.inf:
                first[p] = first[p] if first[p] == first[p] else y
                deviation[p] = y - first[p]
                weight[p] = own
                spread[p] += abs(deviation[p])
                n[p] += 1.0


@kernel(helper=True)
def sum_products(columns, deviations, weights, gram, moments):
    """Sum weighted products of the columns with each other and with the values."""
    basis, products = columns.basis, columns.products
    for k in range(gram.shape[0]):
        row = gram[k]
        for p in range(CHUNK):
            row[p] = 0.0
    for j in range(moments.shape[0]):
        row = moments[j]
        for p in range(CHUNK):
            row[p] = 0.0
    for i in range(0, basis.shape[0], STRIDE):
        w0, w1, w2 = weights[i], weights[i + 1], weights[i + 2]
        y0, y1, y2 = deviations[i], deviations[i + 1], deviations[i + 2]
        for k in range(gram.shape[0]):
            a0, a1, a2 = products[i, k], products[i + 1, k], products[i + 2, k]
            row = gram[k]
            for p in range(CHUNK):
                row[p] = ((row[p] + a0 * w0[p]) + a1 * w1[p]) + a2 * w2[p]
        for j in range(moments.shape[0]):
            a0, a1, a2 = basis[i, j], basis[i + 1, j], basis[i + 2, j]
            row = moments[j]
            for p in range(CHUNK):
                row[p] = ((row[p] + a0 * (w0[p] * y0[p])) + a1 * (w1[p] * y1[p])) + a2 * (w2[p] * y2[p])


@kernel(helper=True)
def factorise(gram, terms, pivot, square):
    """Replace the lower triangle with its Cholesky factor; find the smallest share left of a column's square.

    The share is NaN for a column of zeros, and for a pixel without values. `square` is scratch.
    """
    for p in range(CHUNK):
        pivot[p] = 1.0
    for j in range(terms):
        start = j * (j + 1) // 2
        for k in range(j):
            row = gram[start + k]
            above = k * (k + 1) // 2
            for h in range(k):
                one, other = gram[start + h], gram[above + h]
                for p in range(CHUNK):
                    row[p] -= one[p] * other[p]
            diagonal = gram[above + k]
            for p in range(CHUNK):
                row[p] /= diagonal[p]
        row = gram[start + j]
        for p in range(CHUNK):
            square[p] = row[p]
        for h in range(j):
            one = gram[start + h]
            for p in range(CHUNK):
                row[p] -= one[p] * one[p]
        for p in range(CHUNK):
            left = row[p]
            ratio = left / square[p]
            pivot[p] = pivot[p] if ratio >= pivot[p] else ratio
            row[p] = math.sqrt(left if left > 0.0 else 0.0)


@kernel(helper=True)
def solve_lower(factor, right):
    """Replace `right`, (term, pixel), with the inverse of the factor times it."""
    for j in range(right.shape[0]):
        start = j * (j + 1) // 2
        row = right[j]
        for h in range(j):
            one, other = factor[start + h], right[h]
            for p in range(CHUNK):
                row[p] -= one[p] * other[p]
        diagonal = factor[start + j]
        for p in range(CHUNK):
            row[p] /= diagonal[p]


@kernel(helper=True)
def solve_upper(factor, right):
    """Replace `right`, (term, pixel), with the inverse of the transposed factor times it."""
    for j in range(right.shape[0] - 1, -1, -1):
        row = right[j]
        for h in range(j + 1, right.shape[0]):
            one, other = factor[h * (h + 1) // 2 + j], right[h]
            for p in range(CHUNK):
                row[p] -= one[p] * other[p]
        diagonal = factor[j * (j + 1) // 2 + j]
        for p in range(CHUNK):
            row[p] /= diagonal[p]


@kernel(helper=True)
def find_residuals(basis, deviations, solution, residuals):
    """Subtract the fit from the values; the result is meaningless where a value is missing."""
    for i in range(basis.shape[0]):
        y, row, c = deviations[i], residuals[i], solution[0]
        for p in range(CHUNK):
            row[p] = y[p] - c[p]
        for j in range(1, solution.shape[0]):
            a, c = basis[i, j], solution[j]
            for p in range(CHUNK):
                row[p] -= a * c[p]


@kernel(helper=True)
def refine(basis, work):
    """Solve again for the residuals, and add the result where the pivot is poor; see `solve_chunk`."""
    weights, residuals = work.series[1], work.series[2]
    factor, orthogonal, solution, correction = work.factor, work.orthogonal, work.solution, work.spare
    pivot = work.sums[PIVOTS]
    terms = solution.shape[0]
    find_residuals(basis, work.series[0], solution, residuals)
    for j in range(terms):
        row = correction[j]
        for p in range(CHUNK):
            row[p] = 0.0
    for i in range(0, basis.shape[0], STRIDE):
        w0, w1, w2 = weights[i], weights[i + 1], weights[i + 2]
        e0, e1, e2 = residuals[i], residuals[i + 1], residuals[i + 2]
        for j in range(terms):
            a0, a1, a2 = basis[i, j], basis[i + 1, j], basis[i + 2, j]
            row = correction[j]
            for p in range(CHUNK):
                row[p] = ((row[p] + a0 * (w0[p] * e0[p])) + a1 * (w1[p] * e1[p])) + a2 * (w2[p] * e2[p])
    solve_lower(factor, correction)
    for j in range(terms):
        for p in range(CHUNK):
            orthogonal[j, p] += correction[j, p] if pivot[p] < GOOD else 0.0
    solve_upper(factor, correction)
    for j in range(terms):
        for p in range(CHUNK):
            solution[j, p] += correction[j, p] if pivot[p] < GOOD else 0.0


@kernel(helper=True)
def solve_chunk(columns, work):
    """Fit the pixels of a chunk that `load` has prepared; see `Workspace` for the results."""
    deviations, weights, residuals = work.series[0], work.series[1], work.series[2]
    factor, orthogonal, solution = work.factor, work.orthogonal, work.solution
    pivot, rss = work.sums[PIVOTS], work.sums[RSS]
    basis = columns.basis
    terms = solution.shape[0]
    sum_products(columns, deviations, weights, factor, orthogonal)
    factorise(factor, terms, pivot, rss)
    solve_lower(factor, orthogonal)
    for j in range(terms):
        for p in range(CHUNK):
            solution[j, p] = orthogonal[j, p]
    solve_upper(factor, solution)
    poor = 0
    for p in range(CHUNK):
        poor += 1 if pivot[p] < GOOD else 0
    if poor > 0:
        refine(basis, work)
    find_residuals(basis, deviations, solution, residuals)
    for p in range(CHUNK):
        rss[p] = 0.0
    for i in range(basis.shape[0]):
        w, e = weights[i], residuals[i]
        for p in range(CHUNK):
            rss[p] += w[p] * (e[p] * e[p])


@kernel(helper=True)
def combine(row, solution, result):
    """Write a coefficient of the design's own columns: a row of its transform times the solution."""
    for p in range(CHUNK):
        result[p] = 0.0
    for j in range(solution.shape[0]):
        a, c = row[j], solution[j]
        for p in range(CHUNK):
            result[p] += a * c[p]


@kernel(helper=True)
def find_lever(row, factor, direction, lever):
    """Write the variance of a coefficient for a unit variance of residuals.

    `direction` (term, pixel) becomes the inverse of the factor times the row: the product of two such directions is
    a covariance.
    """
    for j in range(direction.shape[0]):
        a, one = row[j], direction[j]
        for p in range(CHUNK):
            one[p] = a
    solve_lower(factor, direction)
    for p in range(CHUNK):
        lever[p] = 0.0
    for j in range(direction.shape[0]):
        one = direction[j]
        for p in range(CHUNK):
            lever[p] += one[p] * one[p]


@kernel(helper=True)
def sum_squares(orthogonal, begin, end, result):
    """Write the sum of squares that the columns from `begin` to `end` explain beyond those before them."""
    for p in range(CHUNK):
        result[p] = 0.0
    for j in range(begin, end):
        row = orthogonal[j]
        for p in range(CHUNK):
            result[p] += row[p] * row[p]


@kernel(helper=True)
def find_status(n, min_obs, spread, pivot, syy):
    """Return the status of a pixel; `syy` is the weighted sum of squares about the mean."""
    if n == 0.0:
        return NO_OBSERVATION
    if n < min_obs:
        return TOO_FEW
    if spread == 0.0:
        return CONSTANT
    if not spread < np.inf:
        return TEST_UNDEFINED
    if not pivot >= PIVOT:
        return DEGENERATE
    return OK if SMALL < syy < LARGE else TEST_UNDEFINED
