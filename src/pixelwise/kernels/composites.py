"""Compiled reductions of (time, pixel) to one row.

Pixels go through in chunks, each a loop over layers around a loop over pixels, which the compiler turns into
vector instructions. Each pixel takes the same steps whatever its neighbours: its result has the same bits
wherever it lies. All arrays are C-contiguous, and NaN is missing.
"""

# Numba infers types from arguments; annotations would only repeat the docstrings.
# mypy: allow-untyped-defs

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from pixelwise.kernels.jit import kernel
from pixelwise.kernels.sorting import sort_columns

# Accumulators of 512 pixels stay in the L1 cache, and a layer is read 2 KiB at a time: maxima of 60 layers of
# float32 take 3.9 Gvalue/s, and 1.8 at 128 pixels, where each piece is too short to be prefetched.
CHUNK = 512
# Sorting holds all layers of its pixels: medians of 16 layers take 0.34 Gvalue/s at 32 pixels, 0.42 at 64 and at 128,
# which would fill 150 KB for 300 layers.
SORTED = 64

# Steele, Lea, Flood: Fast splittable pseudorandom number generators (OOPSLA 2014), SplitMix64.
GOLDEN = np.uint64(0x9E3779B97F4A7C15)
FIRST_FACTOR = np.uint64(0xBF58476D1CE4E5B9)
SECOND_FACTOR = np.uint64(0x94D049BB133111EB)
SHIFT_30, SHIFT_27, SHIFT_31, SHIFT_11 = np.uint64(30), np.uint64(27), np.uint64(31), np.uint64(11)
UNIT = 2.0**-53


@kernel()
def count_valid(values, counts, out):
    """Count valid values; `counts` is (CHUNK,) int32 scratch."""
    layers, pixels = values.shape
    for start in range(0, pixels, CHUNK):
        width = min(CHUNK, pixels - start)
        for p in range(width):
            counts[p] = 0
        for i in range(layers):
            row = values[i, start : start + width]
            for p in range(width):
                y = row[p]
                counts[p] += 1 if y == y else 0
        for p in range(width):
            out[start + p] = counts[p]


@kernel()
def find_extreme(values, sign, min_count, counts, out):
    """Find the largest value, or the smallest if `sign` is -1; the first of equals.

    Parameters
    ----------
    values
        (time, pixel).
    sign
        1 or -1, of the dtype of `values`.
    min_count
        Fewer valid values give NaN.
    counts
        (CHUNK,) int32 scratch.
    out
        (pixel,) to be filled.
    """
    layers, pixels = values.shape
    for start in range(0, pixels, CHUNK):
        width = min(CHUNK, pixels - start)
        best = out[start : start + width]
        for p in range(width):
            best[p] = -np.inf
            counts[p] = 0
        for i in range(layers):
            row = values[i, start : start + width]
            for p in range(width):
                y = sign * row[p]
                best[p] = y if y > best[p] else best[p]
                counts[p] += 1 if y == y else 0
        for p in range(width):
            best[p] = sign * best[p] if counts[p] >= min_count else np.nan


@kernel()
def find_layer(keys, values, sign, min_count, counts, best, out):
    """Find the layer in which the key is largest, or smallest if `sign` is -1, and the value is valid too.

    Parameters
    ----------
    keys, values
        (time, pixel); may be the same array.
    sign
        1 or -1, of the dtype of `keys`.
    min_count
        Fewer layers in which both are valid give -1.
    counts, best
        (CHUNK,) scratch: int32, and the dtype of `keys`.
    out
        (pixel,) int32 to be filled; the first layer of equals.
    """
    layers, pixels = keys.shape
    for start in range(0, pixels, CHUNK):
        width = min(CHUNK, pixels - start)
        found = out[start : start + width]
        for p in range(width):
            best[p] = -np.inf
            counts[p] = 0
            found[p] = -1
        for i in range(layers):
            key_row = keys[i, start : start + width]
            row = values[i, start : start + width]
            layer = np.int32(i)
            for p in range(width):
                key = sign * key_row[p]
                y = row[p]
                valid = (key == key) & (y == y)
                better = valid & (key > best[p])
                best[p] = key if better else best[p]
                found[p] = layer if better else found[p]
                counts[p] += 1 if valid else 0
        for p in range(width):
            found[p] = found[p] if counts[p] >= min_count else -1


@kernel()
def add_up(values, mean, min_count, counts, sums, out):
    """Add up in float64, layer by layer; `mean` divides by the count.

    `counts` and `sums` are (CHUNK,) int32 and float64 scratch; fewer than `min_count` valid values give NaN.
    """
    layers, pixels = values.shape
    for start in range(0, pixels, CHUNK):
        width = min(CHUNK, pixels - start)
        for p in range(width):
            sums[p] = 0.0
            counts[p] = 0
        for i in range(layers):
            row = values[i, start : start + width]
            for p in range(width):
                y = row[p]
                sums[p] += np.float64(y) if y == y else 0.0
                counts[p] += 1 if y == y else 0
        for p in range(width):
            total = sums[p] / max(counts[p], 1) if mean else sums[p]
            out[start + p] = total if counts[p] >= min_count else np.nan


@kernel()
def find_quantile(values, quantile, median, medoid, min_count, table, counts, out):
    """Find a quantile by linear interpolation, as numpy.quantile does, or the median or medoid.

    Parameters
    ----------
    values
        (time, pixel).
    quantile
        Between 0 and 1, exclusive.
    median
        Find the mean of the middle two instead, rounded as numpy.median and pandas round it, not as their quantiles.
    medoid
        Find the first value that is one of the middle two instead: both are equally near to their mean.
    min_count
        Fewer valid values give NaN.
    table, counts
        (time, SORTED) of the dtype of `values` and (SORTED,) int32 scratch.
    out
        (pixel,) to be filled.
    """
    layers, pixels = values.shape
    for start in range(0, pixels, SORTED):
        width = min(SORTED, pixels - start)
        for p in range(SORTED):
            counts[p] = 0
        for i in range(layers):
            row, line = values[i, start : start + width], table[i]
            for p in range(width):
                y = row[p]
                line[p] = y if y == y else np.inf  # after all others
                counts[p] += 1 if y == y else 0
            for p in range(width, SORTED):
                line[p] = 0.0
        sort_columns(table, layers)
        for p in range(width):
            n = counts[p]
            if n < min_count:
                out[start + p] = np.nan
                continue
            low, high = table[(n - 1) // 2, p], table[n // 2, p]
            if medoid:
                i = 0
                while values[i, start + p] != low and values[i, start + p] != high:
                    i += 1
                out[start + p] = values[i, start + p]
            elif median:
                out[start + p] = (np.float64(low) + np.float64(high)) / 2.0
            else:
                place = (n - 1) * quantile
                below = int(place)
                a, b = np.float64(table[below, p]), np.float64(table[min(below + 1, n - 1), p])
                weight = place - below
                step = b - a
                # The order of operations of numpy's _lerp, for the same bits.
                out[start + p] = b - step * (1.0 - weight) if weight >= 0.5 else a + step * weight


@kernel(helper=True)
def mix(state):
    """Turn a counter into 64 random bits."""
    state = (state ^ (state >> SHIFT_30)) * FIRST_FACTOR
    state = (state ^ (state >> SHIFT_27)) * SECOND_FACTOR
    return state ^ (state >> SHIFT_31)


class Place(NamedTuple):
    """Where a draw begins.

    Attributes
    ----------
    first
        The pixel of the values that is pixel 0 of the draw.
    row, column
        Row and column of pixel 0 of the values, uint64.
    width
        How many pixels make a row.
    """

    first: int
    row: np.uint64
    column: np.uint64
    width: int


@kernel()
def draw(values, others, wanted, key, place, counts, states, out):
    """Copy `wanted` random observations of each pixel, everything else as NaN; none of pixels that have fewer.

    Knuth, The Art of Computer Programming 2, 3.4.2, Algorithm S: each observation in turn is taken with the
    probability (how many are still needed) / (how many are left). The random numbers are those of a counter
    that begins at a hash of the seed, the period, and the pixel's row and column.

    Parameters
    ----------
    values, others
        (time, pixel); an observation is valid if both are; may be the same array.
    wanted
        How many observations.
    key
        Seed and period, uint64.
    place
        `Place`.
    counts, states
        (2, pixel of `out`) int64 and (pixel of `out`,) uint64 scratch.
    out
        (time, pixel), to be filled.
    """
    seed, period = key
    first, row, column, width = place
    layers, pixels = out.shape
    left, missing = counts[0], counts[1]
    base = mix(mix(seed + GOLDEN) + GOLDEN + period)
    for p in range(pixels):
        pixel = first + p
        line = mix(base + GOLDEN + row + np.uint64(pixel // width))
        states[p] = mix(line + GOLDEN + column + np.uint64(pixel % width))
        left[p] = 0
    for i in range(layers):
        for p in range(pixels):
            y, z = values[i, first + p], others[i, first + p]
            left[p] += 1 if (y == y) & (z == z) else 0
    for p in range(pixels):
        missing[p] = wanted if left[p] >= wanted else 0
    for i in range(layers):
        for p in range(pixels):
            y, z = values[i, first + p], others[i, first + p]
            chosen = False
            if (y == y) & (z == z):
                states[p] += GOLDEN
                # Less than 1 times `left`, rounded, is less than `left`: exactly `wanted` are taken.
                chosen = left[p] * (np.float64(mix(states[p]) >> SHIFT_11) * UNIT) < missing[p]
                left[p] -= 1
                missing[p] -= 1 if chosen else 0
            out[i, p] = y if chosen else np.nan
