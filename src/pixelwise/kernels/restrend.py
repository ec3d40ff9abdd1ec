"""Compiled trends of the residuals of one covariate, from columns (kernels/columns.py)."""

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
    dot,
    keep_valid,
    load,
    load_shared,
    subtract,
)
from pixelwise.kernels.jit import kernel
from pixelwise.kernels.pvalues import table_p
from pixelwise.kernels.series import CONSTANT, DEGENERATE, NO_OBSERVATION, OK, TEST_UNDEFINED, TOO_FEW

(
    SLOPE,
    INTERCEPT,
    PVALUE,
    STDERR,
    COVARIATE_SLOPE,
    COVARIATE_INTERCEPT,
    COVARIATE_R2,
    COVARIATE_PVALUE,
    COUNT,
) = range(9)
BANDS = 9
# Rows of scratch memory: of each column mean and spread, then sums, then bands.
OF_COLUMN = 2
SUMS = 12
SCRATCH = 3 * OF_COLUMN + SUMS + BANDS
# Valid dates, response, covariate, time.
COLUMNS = 4

# Residuals of less than 1e-13 of the spread of the response are what rounding leaves.
NOISE = 1e-26


@kernel(inline="always")
def find_status(n, min_obs, spreads, sxx, syy, p):
    """Return the status of a pixel; `spreads` are those of response, covariate and time."""
    if n[p] < min_obs:
        return NO_OBSERVATION if n[p] == 0.0 else TOO_FEW
    if spreads[0][p] == np.inf or spreads[1][p] == np.inf:
        return TEST_UNDEFINED
    if spreads[0][p] == 0.0:
        return CONSTANT
    if spreads[1][p] == 0.0 or spreads[2][p] == 0.0:
        return DEGENERATE
    return OK if SMALL < sxx[p] < LARGE and SMALL < syy[p] < LARGE else TEST_UNDEFINED


@kernel()
def restrend(values, other, years, min_obs, rows, coefficients, scratch, columns, table, status):
    """Find the trend of what a covariate leaves of every pixel's series.

    Parameters
    ----------
    values, other
        (time, pixel), NaN where missing.
    years
        (time,) decimal years.
    min_obs
        Fewest dates on which both are valid.
    rows
        The band of each row of `table`.
    coefficients
        Of a `TailTable` from ``min_obs - 2`` degrees of freedom, flat; empty where p-values are not wanted.
    scratch, columns
        (SCRATCH, CHUNK) and (COLUMNS, time, CHUNK) float64, to work with.
    table, status
        (band, pixel) and (pixel,) uint8, to be filled.
    """
    pixels = values.shape[1]
    mean_y, mean_x, mean_t = scratch[0], scratch[2], scratch[4]
    spreads = (scratch[1], scratch[3], scratch[5])
    sums, result = scratch[6:], scratch[6 + SUMS :]
    n, total, sxx, syy, stt, sxy = sums[0], sums[1], sums[2], sums[3], sums[4], sums[5]
    left, rest, x, r, place, entry = sums[6], sums[7], sums[8], sums[9], sums[10], sums[11]
    slope, intercept, stderr = result[SLOPE], result[INTERCEPT], result[STDERR]
    on_covariate = result[COVARIATE_SLOPE]
    valid, y_column, x_column, t_column = columns[0], columns[1], columns[2], columns[3]
    for start in range(0, pixels, CHUNK):
        width = pixels - start if pixels - start < CHUNK else CHUNK
        for i in range(values.shape[0]):
            for p in range(CHUNK):
                valid[i, p] = 1.0
        keep_valid(values, start, width, valid)
        keep_valid(other, start, width, valid)
        count(valid, n)
        load(values, start, width, valid, y_column)
        load(other, start, width, valid, x_column)
        load_shared(years, valid, t_column)
        anchor(y_column, mean_y, spreads[0])
        centre(y_column, valid, n, mean_y, total)
        anchor(x_column, mean_x, spreads[1])
        centre(x_column, valid, n, mean_x, total)
        anchor(t_column, mean_t, spreads[2])
        centre(t_column, valid, n, mean_t, total)
        dot(x_column, x_column, sxx)
        dot(y_column, y_column, syy)
        dot(t_column, t_column, stt)
        dot(x_column, y_column, sxy)
        for p in range(CHUNK):
            on_covariate[p] = sxy[p] / sxx[p]
            result[COVARIATE_INTERCEPT, p] = mean_y[p] - on_covariate[p] * mean_x[p]
            # A covariate of rain in metres or millimetres: two roots, as the product may leave float64.
            r[p] = sxy[p] / (math.sqrt(sxx[p]) * math.sqrt(syy[p]))
            result[COVARIATE_R2, p] = r[p] * r[p] if r[p] * r[p] < 1.0 else 1.0
        subtract(y_column, on_covariate, x_column)
        dot(y_column, y_column, left)
        if coefficients.size > 0:
            for p in range(CHUNK):
                x[p] = left[p] / syy[p]
            table_p(x, r, n, min_obs, coefficients, place, entry, result[COVARIATE_PVALUE])
        dot(t_column, y_column, slope)
        for p in range(CHUNK):
            r[p] = slope[p] / math.sqrt(stt[p] * left[p])
            slope[p] /= stt[p]
            intercept[p] = -slope[p] * mean_t[p]
        subtract(y_column, slope, t_column)
        dot(y_column, y_column, rest)
        for p in range(CHUNK):
            stderr[p] = math.sqrt(rest[p] / ((n[p] - 2.0) * stt[p]))
            x[p] = rest[p] / left[p]
        if coefficients.size > 0:
            table_p(x, r, n, min_obs, coefficients, place, entry, result[PVALUE])
        for p in range(width):
            found = find_status(n, min_obs, spreads, sxx, syy, p)
            if found == OK and left[p] <= NOISE * syy[p]:
                found = TEST_UNDEFINED
                for band in (SLOPE, INTERCEPT, PVALUE, STDERR):
                    result[band, p] = np.nan
            elif found != OK:
                for band in range(COUNT):
                    result[band, p] = np.nan
                if found == CONSTANT:
                    slope[p] = 0.0
                    intercept[p] = 0.0
                    on_covariate[p] = 0.0
                    result[COVARIATE_INTERCEPT, p] = mean_y[p]
            status[start + p] = found
            result[COUNT, p] = n[p]
        for k in range(rows.size):
            band = result[rows[k]]
            row = table[k, start : start + width]
            for p in range(width):
                row[p] = band[p]
