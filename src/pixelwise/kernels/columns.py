"""Compiled steps shared by methods of several series: the dates that all have, deviations, sums, ranks.

A column is (time, CHUNK): one series of each pixel of a chunk. Every step is a loop over dates around a loop over
pixels, which the compiler turns into vector instructions; missing values are 0, which adds nothing to any sum, so that
each pixel takes the same steps whatever its neighbours and its gaps.
"""

# Numba infers types from arguments; annotations would only repeat the docstrings.
# mypy: allow-untyped-defs

from __future__ import annotations

import math

import numpy as np

from pixelwise.kernels.jit import kernel

# Three columns of 21 dates are 32 KB, which stay in the L1 cache.
CHUNK = 64

# Within these no square that matters is rounded to a subnormal number, and no product of two sums overflows.
SMALL = 1e-290
LARGE = 1e290


@kernel(helper=True)
def keep_valid(values, start, width, valid):
    """Set `valid`, 1 or 0, to 0 where a value is missing, and beyond the last pixel."""
    for i in range(values.shape[0]):
        row, line = values[i, start : start + width], valid[i]
        for p in range(width):
            line[p] = line[p] if row[p] == row[p] else 0.0
        for p in range(width, CHUNK):
            line[p] = 0.0


@kernel(helper=True)
def count(valid, n):
    """Count valid dates."""
    for p in range(CHUNK):
        n[p] = 0.0
    for i in range(valid.shape[0]):
        line = valid[i]
        for p in range(CHUNK):
            n[p] += line[p]


@kernel(helper=True)
def load(values, start, width, valid, column):
    """Copy a chunk as float64, NaN where it is not valid."""
    for i in range(values.shape[0]):
        row, line, out = values[i, start : start + width], valid[i], column[i]
        for p in range(width):
            out[p] = np.float64(row[p]) if line[p] != 0.0 else np.nan
        for p in range(width, CHUNK):
            out[p] = np.nan


@kernel(helper=True)
def load_shared(values, valid, column):
    """Copy (time,) numbers that are the same for each pixel, NaN where the pixel is not valid."""
    for i in range(values.size):
        line, out = valid[i], column[i]
        value = values[i]
        for p in range(CHUNK):
            out[p] = value if line[p] != 0.0 else np.nan


@kernel(helper=True)
def anchor(column, mean, spread):
    """Turn values, NaN where missing, into deviations from each pixel's first one, which is put into `mean`.

    This is exact for values of similar magnitude, and keeps all digits of the variation at offsets of 1e9. `spread`,
    the largest deviation, is 0 only if all values are equal, and infinite if one is infinite. Missing ones become 0.
    """
    for p in range(CHUNK):
        mean[p] = np.nan
    for i in range(column.shape[0]):
        line = column[i]
        for p in range(CHUNK):
            mean[p] = mean[p] if mean[p] == mean[p] else line[p]
    deviate(column, mean, spread)


@kernel(helper=True)
def deviate(column, mean, spread):
    """Turn values, NaN where missing, into deviations from `mean`, 0 where missing; find the largest."""
    for p in range(CHUNK):
        spread[p] = 0.0
    for i in range(column.shape[0]):
        line = column[i]
        for p in range(CHUNK):
            deviation = line[p] - mean[p] if line[p] == line[p] else 0.0
            line[p] = deviation
            # An infinite value minus itself is NaN.
            size = abs(deviation) if deviation == deviation else np.inf
            spread[p] = size if size > spread[p] else spread[p]


@kernel(helper=True)
def centre(column, valid, n, mean, total):
    """Subtract from deviations their mean, and add it to `mean`; `total` is scratch."""
    for p in range(CHUNK):
        total[p] = 0.0
    for i in range(column.shape[0]):
        line = column[i]
        for p in range(CHUNK):
            total[p] += line[p]
    for p in range(CHUNK):
        total[p] = total[p] / n[p]
        mean[p] += total[p]
    for i in range(column.shape[0]):
        line, used = column[i], valid[i]
        for p in range(CHUNK):
            line[p] = line[p] - total[p] if used[p] != 0.0 else 0.0


@kernel(helper=True)
def dot(a, b, total):
    """Sum products."""
    for p in range(CHUNK):
        total[p] = 0.0
    for i in range(a.shape[0]):
        x, y = a[i], b[i]
        for p in range(CHUNK):
            total[p] += x[p] * y[p]


@kernel(helper=True)
def subtract(column, factor, other):
    """Subtract `factor` times another column."""
    for i in range(column.shape[0]):
        line, x = column[i], other[i]
        for p in range(CHUNK):
            line[p] -= factor[p] * x[p]


@kernel(helper=True)
def divide_by_root(column, squares, length):
    """Divide by the root of a sum of squares, and return it in `length`."""
    for p in range(CHUNK):
        length[p] = math.sqrt(squares[p])
    for i in range(column.shape[0]):
        line = column[i]
        for p in range(CHUNK):
            line[p] /= length[p]


@kernel(helper=True)
def rank(column, ranks):
    """Turn values, NaN where missing, into twice their ranks minus the mean rank, ties averaged; 0 where missing.

    That is the number of values below minus the number above: a whole number. Comparing all pairs takes n**2 / 2
    steps, but as vector instructions.
    """
    for i in range(column.shape[0]):
        for p in range(CHUNK):
            ranks[i, p] = 0.0
    for i in range(1, column.shape[0]):
        a, of_a = column[i], ranks[i]
        for j in range(i):
            b, of_b = column[j], ranks[j]
            for p in range(CHUNK):
                above = (1.0 if a[p] > b[p] else 0.0) - (1.0 if a[p] < b[p] else 0.0)
                of_a[p] += above
                of_b[p] -= above
