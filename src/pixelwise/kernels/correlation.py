"""Compiled correlations of two stacks, pixel by pixel, from columns (kernels/columns.py)."""

# Numba infers types from arguments; annotations would only repeat the docstrings.
# mypy: allow-untyped-defs

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from pixelwise.bands import Floats
from pixelwise.kernels.columns import (
    CHUNK,
    LARGE,
    SMALL,
    anchor,
    centre,
    count,
    divide_by_root,
    dot,
    keep_valid,
    load,
    rank,
    subtract,
)
from pixelwise.kernels.jit import kernel
from pixelwise.kernels.output import store
from pixelwise.kernels.pvalues import table_p
from pixelwise.kernels.scratch import aligned
from pixelwise.kernels.status import CONSTANT, DEGENERATE, NO_OBSERVATION, OK, TEST_UNDEFINED, TOO_FEW

RVALUE, PVALUE, COUNT = range(3)
BANDS = 3


class Scratch(NamedTuple):
    """Memory for a chunk, float64.

    Attributes
    ----------
    n
        (CHUNK,) dates on which both are valid.
    mean, total
        (CHUNK,) for `anchor` and `centre`.
    sxx, syy, sxy
        (CHUNK,) sums of squares and products of `other`, of the values, and of both; of ranks where these are
        correlated.
    spread_x, spread_y
        (CHUNK,) 0 if all values are equal, infinite if one is infinite.
    x, place, entry
        (CHUNK,) ``1 - r**2``, and for `table_p`.
    result
        (BANDS, CHUNK).
    valid
        (time, CHUNK) 1 where both are valid, else 0.
    first, second
        (time, CHUNK) the two series.
    ranks, other_ranks
        (time, CHUNK) their ranks, or (0, CHUNK) if these are not needed.
    """

    n: Floats
    mean: Floats
    total: Floats
    sxx: Floats
    syy: Floats
    sxy: Floats
    spread_x: Floats
    spread_y: Floats
    x: Floats
    place: Floats
    entry: Floats
    result: Floats
    valid: Floats
    first: Floats
    second: Floats
    ranks: Floats
    other_ranks: Floats


def make_scratch(layers: int, *, ranked: bool) -> Scratch:
    """Return memory for a chunk of series of this many dates."""
    rows, series = aligned(11, CHUNK), aligned(3, layers, CHUNK)
    ranks = aligned(2, layers if ranked else 0, CHUNK)
    return Scratch._make((*rows, aligned(BANDS, CHUNK), *series, *ranks))


@kernel(inline="always")
def gather_both(values, other, start, width, scratch):
    """Load a chunk of both series, missing where one of them is, and count what is valid."""
    valid = scratch.valid
    for i in range(values.shape[0]):
        for p in range(CHUNK):
            valid[i, p] = 1.0
    keep_valid(values, start, width, valid)
    keep_valid(other, start, width, valid)
    count(valid, scratch.n)
    load(values, start, width, valid, scratch.first)
    load(other, start, width, valid, scratch.second)


@kernel(inline="always")
def sum_products(u, v, scratch):
    """Sum squares and products of the two series, or of their ranks."""
    dot(u, u, scratch.syy)
    dot(v, v, scratch.sxx)
    dot(u, v, scratch.sxy)


@kernel(inline="always")
def correlate_sums(scratch):
    """Turn sums into correlations."""
    r, sxx, syy, sxy = scratch.result[RVALUE], scratch.sxx, scratch.syy, scratch.sxy
    for p in range(CHUNK):
        # One root gives exactly 1 where it should; the product of two sums may overflow float64.
        product = sxx[p] * syy[p]
        one = SMALL < product < LARGE
        size = sxy[p] / (math.sqrt(product) if one else math.sqrt(sxx[p]) * math.sqrt(syy[p]))
        size = 1.0 if size > 1.0 else size
        r[p] = -1.0 if size < -1.0 else size


@kernel(inline="always")
def find_pvalues(u, v, ranked, min_obs, tails, scratch):
    """Find p-values; both series are overwritten."""
    n, sxx, syy, sxy, x, result = scratch.n, scratch.sxx, scratch.syy, scratch.sxy, scratch.x, scratch.result
    # 1 - r**2 loses its digits near |r| = 1; the squares of the residuals do not.
    divide_by_root(u, syy, scratch.total)
    divide_by_root(v, sxx, scratch.total)
    subtract(u, result[RVALUE], v)
    dot(u, u, x)
    if ranked:
        for p in range(CHUNK):
            x[p] = 0.0 if sxx[p] == syy[p] and abs(sxy[p]) == sxx[p] else x[p]
    table_p(x, result[RVALUE], n, min_obs, tails, scratch.place, scratch.entry, result[PVALUE])


@kernel(helper=True)
def find_status(n, min_obs, spread_x, spread_y, sxx, syy):
    """Return the status of a pixel."""
    if n < min_obs:
        return NO_OBSERVATION if n == 0.0 else TOO_FEW
    if spread_x == np.inf or spread_y == np.inf:
        return TEST_UNDEFINED
    if spread_y == 0.0:
        return CONSTANT
    if spread_x == 0.0:
        return DEGENERATE
    return OK if SMALL < sxx < LARGE and SMALL < syy < LARGE else TEST_UNDEFINED


@kernel()
def correlate(values, other, ranked, min_obs, tails, scratch, output):
    """Correlate every pixel's two series.

    Parameters
    ----------
    values, other
        (time, pixel), NaN where missing.
    ranked
        Whether ranks are correlated.
    min_obs
        Fewest dates on which both are valid.
    tails
        Coefficients of a `TailTable` from ``min_obs - 2`` degrees of freedom, flat; empty if p-values are not needed.
    scratch, output
        `Scratch`, to work with, and `Output`.
    """
    pixels = values.shape[1]
    n, mean, total, valid, result = scratch.n, scratch.mean, scratch.total, scratch.valid, scratch.result
    sxx, syy, spread_x, spread_y = scratch.sxx, scratch.syy, scratch.spread_x, scratch.spread_y
    status = output.status
    for start in range(0, pixels, CHUNK):
        width = pixels - start if pixels - start < CHUNK else CHUNK
        gather_both(values, other, start, width, scratch)
        if ranked:
            # Ranks are whole numbers about 0, and so are the sums of their products: exact for 200 000 dates.
            u, v = scratch.ranks, scratch.other_ranks
            rank(scratch.first, u)
            rank(scratch.second, v)
            sum_products(u, v, scratch)
            for p in range(CHUNK):
                spread_y[p] = syy[p]
                spread_x[p] = sxx[p]
        else:
            u, v = scratch.first, scratch.second
            anchor(u, mean, spread_y)
            centre(u, valid, n, mean, total)
            anchor(v, mean, spread_x)
            centre(v, valid, n, mean, total)
            sum_products(u, v, scratch)
        correlate_sums(scratch)
        if tails.size > 0:
            find_pvalues(u, v, ranked, min_obs, tails, scratch)
        for p in range(width):
            found = find_status(n[p], min_obs, spread_x[p], spread_y[p], sxx[p], syy[p])
            if found != OK:
                result[RVALUE, p] = np.nan
                result[PVALUE, p] = np.nan
            status[start + p] = found
            result[COUNT, p] = n[p]
        store(result, start, width, output)
