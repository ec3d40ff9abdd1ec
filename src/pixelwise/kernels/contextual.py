"""Compiled sums of Mann-Kendall scores over windows of pixels, with their covariances."""

# Numba infers types from arguments; annotations would only repeat the docstrings.
# mypy: allow-untyped-defs

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pixelwise.bands import Floats
from pixelwise.kernels.jit import kernel
from pixelwise.kernels.status import CONSTANT, OK, TEST_UNDEFINED

SCORE, VARIANCE, Z, PVALUE, MEMBERS = range(5)
BANDS = 5


class Tests(NamedTuple):
    """Results of the tests of single series, (y + 2 radius, x + 2 radius) each.

    Attributes
    ----------
    score, status
        float64 and uint8.
    mean, scale
        Results of `standardise`.
    """

    score: Floats
    status: NDArray[np.uint8]
    mean: Floats
    scale: Floats


class Scratch(NamedTuple):
    """Memory for windows, float64.

    Attributes
    ----------
    plane
        (y + 2 radius, x + 2 radius) the numbers to sum.
    rows
        (y + 2 radius, x) its sums along rows.
    sums, squares
        (y, x) sums of windows, and sums of their squares.
    """

    plane: Floats
    rows: Floats
    sums: Floats
    squares: Floats


def make_scratch(height: int, width: int, radius: int) -> Scratch:
    """Return memory for this many windows of a radius."""
    high = height + 2 * radius
    return Scratch(
        np.empty((high, width + 2 * radius)),
        np.empty((high, width)),
        np.empty((height, width)),
        np.empty((height, width)),
    )


@kernel()
def standardise(values, status, variance, mean, scale):
    """Find what turns each series into one of mean 0 and length ``sqrt(variance)``; 0 for pixels without a test.

    Parameters
    ----------
    values
        (time, pixel), NaN where missing.
    status, variance
        (pixel,) of the tests of single series.
    mean, scale
        (pixel,) to be filled.
    """
    pixels = values.shape[1]
    for p in range(pixels):
        mean[p] = 0.0
        scale[p] = 0.0
    counts = np.zeros(pixels)
    for i in range(values.shape[0]):
        for p in range(pixels):
            y = np.float64(values[i, p])
            mean[p] += y if y == y else 0.0
            counts[p] += 1.0 if y == y else 0.0
    for p in range(pixels):
        mean[p] /= counts[p]
    for i in range(values.shape[0]):
        for p in range(pixels):
            d = np.float64(values[i, p]) - mean[p]
            scale[p] += d * d if d == d else 0.0
    for p in range(pixels):
        usable = status[p] == OK and scale[p] > 0.0
        scale[p] = math.sqrt(variance[p] / scale[p]) if usable else 0.0
        mean[p] = mean[p] if usable else 0.0


@kernel(helper=True)
def sum_windows(plane, radius, rows, sums):
    """Sum the windows of a plane into a smaller one: first along rows, then along columns.

    Each sum adds the same numbers in the same order wherever a block begins, because no sum is carried over from one
    window to the next. `rows` is scratch, as high as `plane`.
    """
    height, width = sums.shape
    for i in range(height + 2 * radius):
        line, source = rows[i], plane[i]
        for j in range(width):
            line[j] = source[j]
        for k in range(1, 2 * radius + 1):
            for j in range(width):
                line[j] += source[j + k]
    for i in range(height):
        line, source = sums[i], rows[i]
        for j in range(width):
            line[j] = source[j]
        for k in range(1, 2 * radius + 1):
            source = rows[i + k]
            for j in range(width):
                line[j] += source[j]


@kernel(helper=True)
def sum_squares(values, radius, tests, scratch):
    """Sum the squares that windows of standardised values have at each date."""
    plane, sums, squares = scratch.plane, scratch.sums, scratch.squares
    height, width = squares.shape
    for i in range(height):
        for j in range(width):
            squares[i, j] = 0.0
    for t in range(values.shape[0]):
        for i in range(height + 2 * radius):
            line, source, means, scales = plane[i], values[t, i], tests.mean[i], tests.scale[i]
            for j in range(width + 2 * radius):
                d = (np.float64(source[j]) - means[j]) * scales[j]
                line[j] = d if d == d else 0.0
        sum_windows(plane, radius, scratch.rows, sums)
        for i in range(height):
            for j in range(width):
                squares[i, j] += sums[i, j] * sums[i, j]


@kernel()
def test_windows(values, radius, tests, scratch, bands, result_status):
    """Test the mean score of the window around each pixel.

    Parameters
    ----------
    values
        (time, y + 2 radius, x + 2 radius), NaN where missing.
    radius
        Radius of the window.
    tests, scratch
        `Tests`, and `Scratch` to work with.
    bands, result_status
        (BANDS, y, x) float64 and (y, x) uint8, to be filled.
    """
    score, status, plane, rows, squares = tests.score, tests.status, scratch.plane, scratch.rows, scratch.squares
    _, height, width = bands.shape
    for i in range(height + 2 * radius):
        for j in range(width + 2 * radius):
            plane[i, j] = 1.0 if status[i, j] in (OK, CONSTANT) else 0.0
    sum_windows(plane, radius, rows, bands[MEMBERS])
    for i in range(height + 2 * radius):
        for j in range(width + 2 * radius):
            plane[i, j] = score[i, j] if status[i, j] == OK else 0.0
    sum_windows(plane, radius, rows, bands[SCORE])
    sum_squares(values, radius, tests, scratch)
    for i in range(height):
        for j in range(width):
            members = bands[MEMBERS, i, j]
            bands[SCORE, i, j] /= members
            bands[VARIANCE, i, j] = squares[i, j] / (members * members)
            z = bands[SCORE, i, j] / math.sqrt(bands[VARIANCE, i, j])
            bands[Z, i, j] = z
            bands[PVALUE, i, j] = math.erfc(abs(z) * math.sqrt(0.5))
            found = status[i + radius, j + radius]
            if found == OK and not bands[VARIANCE, i, j] > 0.0:
                found = TEST_UNDEFINED
            result_status[i, j] = found
            if found != OK:
                for band in (SCORE, VARIANCE, Z, PVALUE):
                    bands[band, i, j] = np.nan
                if found == CONSTANT:
                    bands[SCORE, i, j] = 0.0
