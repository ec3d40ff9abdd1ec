"""Compiled correlations of two stacks, pixel by pixel, from columns (kernels/columns.py)."""

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
    divide_by_root,
    dot,
    keep_valid,
    load,
    rank,
    subtract,
)
from pixelwise.kernels.jit import kernel
from pixelwise.kernels.pvalues import table_p
from pixelwise.kernels.series import CONSTANT, DEGENERATE, NO_OBSERVATION, OK, TEST_UNDEFINED, TOO_FEW

RVALUE, PVALUE, COUNT = range(3)
BANDS = 3
# Rows of scratch memory: sums, then bands.
SUMS = 11
SCRATCH = SUMS + BANDS
# Valid dates, both series, and ranks of them.
COLUMNS = 5


@kernel()
def correlate(values, other, ranked, min_obs, rows, coefficients, scratch, columns, table, status):
    """Correlate every pixel's two series.

    Parameters
    ----------
    values, other
        (time, pixel), NaN where missing.
    ranked
        Whether ranks are correlated.
    min_obs
        Fewest dates on which both are valid.
    rows
        The band of each row of `table`.
    coefficients
        Of a `TailTable` from ``min_obs - 2`` degrees of freedom, flat; empty where p-values are not wanted.
    scratch, columns
        (SCRATCH, CHUNK) and (COLUMNS, time, CHUNK) float64, to work with; without ranks two columns less.
    table, status
        (band, pixel) and (pixel,) uint8, to be filled.
    """
    pixels = values.shape[1]
    n, mean, total, sxx, syy, sxy = scratch[0], scratch[1], scratch[2], scratch[3], scratch[4], scratch[5]
    spread_x, spread_y, x, place, entry = scratch[6], scratch[7], scratch[8], scratch[9], scratch[10]
    result = scratch[SUMS:]
    r, pvalue = result[RVALUE], result[PVALUE]
    valid, first, second = columns[0], columns[1], columns[2]
    for start in range(0, pixels, CHUNK):
        width = pixels - start if pixels - start < CHUNK else CHUNK
        for i in range(values.shape[0]):
            for p in range(CHUNK):
                valid[i, p] = 1.0
        keep_valid(values, start, width, valid)
        keep_valid(other, start, width, valid)
        count(valid, n)
        load(values, start, width, valid, first)
        load(other, start, width, valid, second)
        if ranked:
            # Ranks are whole numbers about 0, as are the sums of their products: exact for 200 000 dates.
            u, v = columns[3], columns[4]
            rank(first, u)
            rank(second, v)
            dot(u, u, syy)
            dot(v, v, sxx)
            dot(u, v, sxy)
            for p in range(CHUNK):
                spread_y[p] = syy[p]
                spread_x[p] = sxx[p]
        else:
            u, v = first, second
            anchor(u, mean, spread_y)
            centre(u, valid, n, mean, total)
            anchor(v, mean, spread_x)
            centre(v, valid, n, mean, total)
            dot(u, u, syy)
            dot(v, v, sxx)
            dot(u, v, sxy)
        for p in range(CHUNK):
            # One root gives exactly 1 where it should; the product of two sums may leave float64.
            product = sxx[p] * syy[p]
            one = SMALL < product < LARGE
            size = sxy[p] / (math.sqrt(product) if one else math.sqrt(sxx[p]) * math.sqrt(syy[p]))
            size = 1.0 if size > 1.0 else size
            r[p] = -1.0 if size < -1.0 else size
        if coefficients.size > 0:
            # 1 - r**2 loses its digits near 1; the squares of what is left do not.
            divide_by_root(u, syy, total)
            divide_by_root(v, sxx, total)
            subtract(u, r, v)
            dot(u, u, x)
            if ranked:
                for p in range(CHUNK):
                    x[p] = 0.0 if sxx[p] == syy[p] and abs(sxy[p]) == sxx[p] else x[p]
            table_p(x, r, n, min_obs, coefficients, place, entry, pvalue)
        for p in range(width):
            found = OK
            if n[p] < min_obs:
                found = NO_OBSERVATION if n[p] == 0.0 else TOO_FEW
            elif spread_x[p] == np.inf or spread_y[p] == np.inf:
                found = TEST_UNDEFINED
            elif spread_y[p] == 0.0:
                found = CONSTANT
            elif spread_x[p] == 0.0:
                found = DEGENERATE
            elif not (SMALL < sxx[p] < LARGE and SMALL < syy[p] < LARGE):
                found = TEST_UNDEFINED
            if found != OK:
                r[p] = np.nan
                pvalue[p] = np.nan
            status[start + p] = found
        for p in range(width):
            result[COUNT, p] = n[p]
        for k in range(rows.size):
            band = result[rows[k]]
            row = table[k, start : start + width]
            for p in range(width):
                row[p] = band[p]
