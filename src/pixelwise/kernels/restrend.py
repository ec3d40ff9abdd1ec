"""Compiled trends of the residuals of one covariate, from columns (kernels/columns.py)."""

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
    dot,
    keep_valid,
    load,
    load_shared,
    subtract,
)
from pixelwise.kernels.jit import kernel
from pixelwise.kernels.output import store
from pixelwise.kernels.pvalues import table_p
from pixelwise.kernels.scratch import aligned
from pixelwise.kernels.status import CONSTANT, DEGENERATE, NO_OBSERVATION, OK, TEST_UNDEFINED, TOO_FEW

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
# Residuals of less than 1e-13 of the spread of the response are rounding errors.
NOISE = 1e-26


class Column(NamedTuple):
    """A series of each pixel of a chunk, float64.

    Attributes
    ----------
    values
        (time, CHUNK) deviations from the mean, 0 where not valid.
    mean, spread
        (CHUNK,) from `anchor`.
    squares
        (CHUNK,) sum of squared deviations.
    """

    values: Floats
    mean: Floats
    spread: Floats
    squares: Floats


class Scratch(NamedTuple):
    """Memory for a chunk, float64.

    Attributes
    ----------
    y, x, t
        Response, covariate and time.
    valid
        (time, CHUNK) 1 where response and covariate are valid, else 0.
    n, total
        (CHUNK,) valid dates, and for `centre`.
    sxy
        (CHUNK,) sum of products of covariate and response.
    left, rest
        (CHUNK,) sums of squares of the response left by the covariate, and of these left by the trend.
    share, r, place, entry
        (CHUNK,) for `table_p`: ``1 - r**2``, the correlation, and two to work with.
    result
        (BANDS, CHUNK).
    """

    y: Column
    x: Column
    t: Column
    valid: Floats
    n: Floats
    total: Floats
    sxy: Floats
    left: Floats
    rest: Floats
    share: Floats
    r: Floats
    place: Floats
    entry: Floats
    result: Floats


def make_scratch(layers: int) -> Scratch:
    """Return memory for a chunk of series of this many dates."""
    columns = aligned(4, layers, CHUNK)
    y, x, t = (Column._make((column, *aligned(3, CHUNK))) for column in columns[:3])
    return Scratch._make((y, x, t, columns[3], *aligned(9, CHUNK), aligned(BANDS, CHUNK)))


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


@kernel(inline="always")
def centre_column(column, scratch):
    """Turn values into deviations from their mean, and sum their squares."""
    anchor(column.values, column.mean, column.spread)
    centre(column.values, scratch.valid, scratch.n, column.mean, scratch.total)
    dot(column.values, column.values, column.squares)


@kernel(inline="always")
def prepare(values, other, years, start, width, scratch):
    """Load a chunk of response, covariate and time, and centre them."""
    valid = scratch.valid
    for i in range(values.shape[0]):
        for p in range(CHUNK):
            valid[i, p] = 1.0
    keep_valid(values, start, width, valid)
    keep_valid(other, start, width, valid)
    count(valid, scratch.n)
    load(values, start, width, valid, scratch.y.values)
    load(other, start, width, valid, scratch.x.values)
    load_shared(years, valid, scratch.t.values)
    centre_column(scratch.y, scratch)
    centre_column(scratch.x, scratch)
    centre_column(scratch.t, scratch)


@kernel(inline="always")
def regress_on_covariate(min_obs, tails, scratch):
    """Subtract from the response what the covariate explains."""
    y, x, sxy, left, share, r = scratch.y, scratch.x, scratch.sxy, scratch.left, scratch.share, scratch.r
    result, sxx, syy, mean_x, mean_y = scratch.result, x.squares, y.squares, x.mean, y.mean
    on_covariate = result[COVARIATE_SLOPE]
    dot(x.values, y.values, sxy)
    for p in range(CHUNK):
        on_covariate[p] = sxy[p] / sxx[p]
        result[COVARIATE_INTERCEPT, p] = mean_y[p] - on_covariate[p] * mean_x[p]
        # A covariate of rain in metres or millimetres: two roots, because the product may overflow float64.
        r[p] = sxy[p] / (math.sqrt(sxx[p]) * math.sqrt(syy[p]))
        result[COVARIATE_R2, p] = r[p] * r[p] if r[p] * r[p] < 1.0 else 1.0
    subtract(y.values, on_covariate, x.values)
    dot(y.values, y.values, left)
    if tails.size > 0:
        for p in range(CHUNK):
            share[p] = left[p] / syy[p]
        table_p(share, r, scratch.n, min_obs, tails, scratch.place, scratch.entry, result[COVARIATE_PVALUE])


@kernel(inline="always")
def regress_on_time(min_obs, tails, scratch):
    """Find the trend of the residuals of the response."""
    y, t, n, left, rest = scratch.y, scratch.t, scratch.n, scratch.left, scratch.rest
    share, r, result, stt, mean_t = scratch.share, scratch.r, scratch.result, t.squares, t.mean
    slope, intercept, stderr = result[SLOPE], result[INTERCEPT], result[STDERR]
    dot(t.values, y.values, slope)
    for p in range(CHUNK):
        r[p] = slope[p] / math.sqrt(stt[p] * left[p])
        slope[p] /= stt[p]
        intercept[p] = -slope[p] * mean_t[p]
    subtract(y.values, slope, t.values)
    dot(y.values, y.values, rest)
    for p in range(CHUNK):
        stderr[p] = math.sqrt(rest[p] / ((n[p] - 2.0) * stt[p]))
        share[p] = rest[p] / left[p]
    if tails.size > 0:
        table_p(share, r, n, min_obs, tails, scratch.place, scratch.entry, result[PVALUE])


@kernel()
def restrend(values, other, years, min_obs, tails, scratch, output):
    """Find the trend of the residuals of every pixel's series after regression on a covariate.

    Parameters
    ----------
    values, other
        (time, pixel), NaN where missing.
    years
        (time,) decimal years.
    min_obs
        Fewest dates on which both are valid.
    tails
        Coefficients of a `TailTable` from ``min_obs - 2`` degrees of freedom, flat; empty if p-values are not needed.
    scratch, output
        `Scratch`, to work with, and `Output`.
    """
    pixels = values.shape[1]
    n, left, result, status = scratch.n, scratch.left, scratch.result, output.status
    sxx, syy, mean_y = scratch.x.squares, scratch.y.squares, scratch.y.mean
    spreads = (scratch.y.spread, scratch.x.spread, scratch.t.spread)
    for start in range(0, pixels, CHUNK):
        width = pixels - start if pixels - start < CHUNK else CHUNK
        prepare(values, other, years, start, width, scratch)
        regress_on_covariate(min_obs, tails, scratch)
        regress_on_time(min_obs, tails, scratch)
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
                    for band in (SLOPE, INTERCEPT, COVARIATE_SLOPE):
                        result[band, p] = 0.0
                    result[COVARIATE_INTERCEPT, p] = mean_y[p]
            status[start + p] = found
            result[COUNT, p] = n[p]
        store(result, start, width, output)
