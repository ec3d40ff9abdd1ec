"""Compiled loops of IR-MAD: weights of pixels that did not change, and moments of a pair of images by these weights.

Pixels come in chunks, in which a variable is a row (`pack`): all that a chunk needs stays in the first cache while it
is transformed, weighted and summed. Sums are made in one order whatever the number of threads, and no library of linear
algebra takes part.
"""

# Numba infers types from arguments; annotations would only repeat the docstrings.
# mypy: allow-untyped-defs

from __future__ import annotations

import math
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pixelwise.bands import Floats
from pixelwise.kernels.jit import kernel, readonly
from pixelwise.kernels.scratch import aligned

__all__ = ["CHUNK", "TILE", "Chunks", "moments", "pack", "tail_coefficients", "weights"]

#: Pixels of a chunk: the rows of six bands of two images take 24 KiB of a first cache of 32 or 48.
CHUNK = 256
#: Variables are summed in squares of so many; there are a multiple of them, the last ones 0.
TILE = 4
#: Pixels are taken in multiples of so many, which fill vectors of every processor; the last ones have no weight.
LANES = 16

LOG2_E = 1.4426950408889634
#: The logarithm of 2 in two parts, of which the first has 32 bits: whole numbers times it are exact (Cody & Waite
#: 1980).
LN2_HIGH, LN2_LOW = 0.6931471803691238, 1.9082149292705877e-10
#: exp(-700) is 1e-304: a tail beyond is as good as 0.
LARGEST = 700.0

#: ``(1 + 2 s) exp(s^2) erfc(s)`` as powers of ``(s - 4) / (s + 4)``, from 0 on: the form of Shepherd & Laframboise
#: 1981, Math. Comp. 36, 249; Chebyshev series computed with 60 digits, of which the terms left out are below 2e-18.
ERFCX = (
    1.23299511862555254, -0.139621116840562292, 0.015379652102610473, 0.0680970542546690878, -0.101039066035865309,
    0.0937328349990944081, -0.0663303658203115476, 0.0371675155265556702, -0.0161977339814551927,
    0.00503197006765748892, -0.000757773707063824974, -0.000199257146610911884, 0.000150623097200186287,
    -0.0000243977464224364164, -0.0000112251018756591769, 5.70660441489573347e-6, 2.98013538030313323e-7,
    -8.21093904256056799e-7, 7.1153378005853032e-8, 1.06338556185948837e-7, -1.63717797635669659e-8,
    -1.23468660438235286e-8, 1.57382837741920359e-9, 9.31174497823257279e-10,
)  # fmt: skip
ERFCX_DEGREE = len(ERFCX) - 1
#: Powers of exp(-r) for abs(r) <= log(2) / 2, up to the thirteenth: the next is 4e-18.
EXPONENTIAL = tuple((-1) ** power / math.factorial(power) for power in range(14))
EXPONENTIAL_DEGREE = len(EXPONENTIAL) - 1

# Sums of a chunk may be made in several parts, and products joined with sums. Helpers are inlined (`forceinline`): see
# `kernel`.
SUMS = {"reassoc", "contract", "nsz", "arcp"}


#: Sums of weights, of values and of products: see `moments`.
Sums = tuple[Floats, Floats, Floats]


class Chunks(NamedTuple):
    """Pixels of two images, packed.

    Attributes
    ----------
    values
        (chunk, row, CHUNK) a multiple of `TILE` rows: the bands of one image, those of the other, then rows of 0.
        Pixels that a chunk lacks are 0.
    counts
        (chunk,) int64: pixels of it.
    groups
        (chunk,) int64: the group of pixels that it belongs to.
    """

    values: Floats
    counts: NDArray[np.int64]
    groups: NDArray[np.int64]


def pack(reference: Floats, scene: Floats, shift: Floats, scale: Floats, groups: int) -> Chunks:
    """Pack pixels of two images in chunks, each within one of several groups of equal length.

    Parameters
    ----------
    reference, scene
        (band, pixel).
    shift, scale
        (2 bands,) what is taken away from the values of each row, and by what they are divided then.
    groups
        Runs of pixels.
    """
    bands, n = reference.shape
    rows = -(-2 * bands // TILE) * TILE
    edges = [n * group // groups for group in range(groups + 1)]
    spans = [
        (group, first, min(first + CHUNK, end))
        for group, (begin, end) in enumerate(pairwise(edges))
        for first in range(begin, end, CHUNK)
    ]
    chunks = Chunks(
        aligned(len(spans), rows, CHUNK),
        np.array([end - first for _, first, end in spans], dtype=np.int64),
        np.array([group for group, _, _ in spans], dtype=np.int64),
    )
    begins = np.array([first for _, first, _ in spans], dtype=np.int64)
    fill(chunks, begins, readonly(reference), readonly(scene), shift, scale)
    return chunks


@kernel()
def fill(chunks, begins, reference, scene, shift, scale):
    """Fill `Chunks` with values.

    Parameters
    ----------
    chunks
        `Chunks`.
    begins
        (chunk,) first pixel of each.
    reference, scene, shift, scale
        As in `pack`.
    """
    values, counts = chunks.values, chunks.counts
    bands = reference.shape[0]
    for c in range(len(counts)):
        for row in range(values.shape[1]):
            target = values[c, row]
            kept = 0
            if row < 2 * bands:
                source = reference[row] if row < bands else scene[row - bands]
                kept, first = counts[c], begins[c]
                middle, unit = shift[row], 1.0 / scale[row]
                for p in range(kept):
                    target[p] = (source[first + p] - middle) * unit
            for p in range(kept, CHUNK):
                target[p] = 0.0


def tail_coefficients(df: int) -> Floats:
    """Return the powers of the polynomial in `tail`: of x from 0 on."""
    if df % 2 == 0:
        return np.array([1.0 / math.factorial(j) for j in range(df // 2)])
    return np.array([1.0 / math.gamma(j + 1.5) for j in range(df // 2)])


# Not with `SUMS`: the order in which the exponent is reduced matters.
@kernel(helper=True, forceinline=True, fastmath={"contract"})
def tail(z, size, odd, coefficients, scratch):
    """Replace values by ``P(chi2_df > z)``.

    For even `df`, ``exp(-x) sum x^j / j!`` for j below df / 2, where ``x = z / 2`` (Abramowitz & Stegun 26.4.5); for
    odd ones, ``erfc(sqrt x) + exp(-x) sum x^(j + 1/2) / Gamma(j + 3/2)`` for j below (df - 1) / 2 (26.4.4).

    Parameters
    ----------
    z
        (CHUNK,) at least 0; infinite ones give 0.
    size
        How many of them.
    odd
        Whether `df` is odd.
    coefficients
        From `tail_coefficients`.
    scratch
        (2, CHUNK).
    """
    total, root = scratch[0], scratch[1]
    terms = len(coefficients)
    for p in range(size):
        z[p] = min(0.5 * z[p], LARGEST)
        total[p] = coefficients[terms - 1] if terms > 0 else 0.0
    for j in range(terms - 2, -1, -1):
        for p in range(size):
            total[p] = total[p] * z[p] + coefficients[j]
    if odd:
        for p in range(size):
            root[p] = math.sqrt(z[p])
        for p in range(size):
            s = root[p]
            t = (s - 4.0) / (s + 4.0)
            value = ERFCX[ERFCX_DEGREE]
            for power in range(ERFCX_DEGREE - 1, -1, -1):
                value = value * t + ERFCX[power]
            total[p] = total[p] * s + value / (1.0 + 2.0 * s)
    for p in range(size):
        x = z[p]
        k = math.floor(x * LOG2_E + 0.5)
        r = (x - k * LN2_HIGH) - k * LN2_LOW
        value = EXPONENTIAL[EXPONENTIAL_DEGREE]
        for power in range(EXPONENTIAL_DEGREE - 1, -1, -1):
            value = value * r + EXPONENTIAL[power]
        # 2^-k, by its bits.
        bits = np.int64((np.int64(1023) - np.int64(np.int32(k))) << np.int64(52))
        z[p] = total[p] * value * np.int64(bits).view(np.float64)


@kernel(helper=True, forceinline=True, fastmath=SUMS)
def distances(x, size, transform, shift, z, scratch):
    """Put sums of squares of linear combinations of rows into z.

    Parameters
    ----------
    x
        (row, CHUNK).
    size
        Pixels, a multiple of `LANES`.
    transform
        (combination, row) an even number of combinations.
    shift
        (combination,) what is taken away from each.
    z
        (CHUNK,) output.
    scratch
        (2, CHUNK).
    """
    m0, m1 = scratch[0], scratch[1]
    for p in range(size):
        z[p] = 0.0
    for k in range(0, len(transform), 2):
        s0, s1 = shift[k], shift[k + 1]
        for p in range(size):
            m0[p] = -s0
            m1[p] = -s1
        for j in range(0, len(x), TILE):
            x0, x1, x2, x3 = x[j], x[j + 1], x[j + 2], x[j + 3]
            t00, t01, t02, t03 = transform[k, j], transform[k, j + 1], transform[k, j + 2], transform[k, j + 3]
            t10, t11, t12, t13 = (
                transform[k + 1, j], transform[k + 1, j + 1], transform[k + 1, j + 2], transform[k + 1, j + 3]
            )  # fmt: skip
            for p in range(size):
                m0[p] += t00 * x0[p] + t01 * x1[p] + t02 * x2[p] + t03 * x3[p]
                m1[p] += t10 * x0[p] + t11 * x1[p] + t12 * x2[p] + t13 * x3[p]
        for p in range(size):
            z[p] += m0[p] * m0[p] + m1[p] * m1[p]


@kernel(helper=True, forceinline=True, fastmath=SUMS)
def add_square(a, b, size, total):
    """Add the products of four rows with four rows, summed over pixels, to ``total`` (4, 4)."""
    a0, a1, a2, a3 = a[0], a[1], a[2], a[3]
    b0, b1, b2, b3 = b[0], b[1], b[2], b[3]
    s00 = s01 = s02 = s03 = s10 = s11 = s12 = s13 = 0.0
    s20 = s21 = s22 = s23 = s30 = s31 = s32 = s33 = 0.0
    for p in range(size):
        p0, p1, p2, p3 = a0[p], a1[p], a2[p], a3[p]
        q0, q1, q2, q3 = b0[p], b1[p], b2[p], b3[p]
        s00 += p0 * q0
        s01 += p0 * q1
        s02 += p0 * q2
        s03 += p0 * q3
        s10 += p1 * q0
        s11 += p1 * q1
        s12 += p1 * q2
        s13 += p1 * q3
        s20 += p2 * q0
        s21 += p2 * q1
        s22 += p2 * q2
        s23 += p2 * q3
        s30 += p3 * q0
        s31 += p3 * q1
        s32 += p3 * q2
        s33 += p3 * q3
    total[0, 0] += s00
    total[0, 1] += s01
    total[0, 2] += s02
    total[0, 3] += s03
    total[1, 0] += s10
    total[1, 1] += s11
    total[1, 2] += s12
    total[1, 3] += s13
    total[2, 0] += s20
    total[2, 1] += s21
    total[2, 2] += s22
    total[2, 3] += s23
    total[3, 0] += s30
    total[3, 1] += s31
    total[3, 2] += s32
    total[3, 3] += s33


@kernel(helper=True, forceinline=True, fastmath=SUMS)
def add_moments(x, size, weights, sums, products, scratch):
    """Add the weighted moments of a chunk.

    Parameters
    ----------
    x
        (row, CHUNK).
    size
        Pixels, a multiple of `LANES`.
    weights
        (CHUNK,).
    sums
        (1 + row,) the sum of weights, and of each row times them: added to.
    products
        (row, row) sums of products of two rows times weights: squares of `TILE` on and above the diagonal are added to.
    scratch
        (TILE, CHUNK).
    """
    total = 0.0
    for p in range(size):
        total += weights[p]
    sums[0] += total
    for i in range(0, len(x), TILE):
        for row in range(TILE):
            source, target = x[i + row], scratch[row]
            total = 0.0
            for p in range(size):
                value = weights[p] * source[p]
                target[p] = value
                total += value
            sums[1 + i + row] += total
        for j in range(i, len(x), TILE):
            add_square(scratch, x[j : j + TILE], size, products[i : i + TILE, j : j + TILE])


class Scratch(NamedTuple):
    """Memory for a chunk.

    Attributes
    ----------
    weights
        (CHUNK,).
    rows
        (TILE, CHUNK).
    """

    weights: Floats
    rows: Floats


@kernel()
def add_all(chunks, transforms, shifts, coefficients, odd, out, sums, products, scratch):
    """Add up moments of each group of pixels, weighted by how likely it is that nothing changed.

    Parameters
    ----------
    chunks
        `Chunks`.
    transforms
        (solution, combination, row) an even number of combinations: each pixel's sum of their squares is its distance.
        With no solution, all weights are 1.
    shifts
        (solution, combination) what is taken away from each.
    coefficients, odd
        As in `tail`.
    out
        (solution,) int64: the group that each leaves out, or -1.
    sums, products
        (solution or 1, group, ...) as in `add_moments`: added to.
    scratch
        `Scratch`.
    """
    values, counts, groups = chunks.values, chunks.counts, chunks.groups
    weights, rows = scratch.weights, scratch.rows
    solutions = len(transforms)
    for c in range(len(counts)):
        x, count, group = values[c], counts[c], groups[c]
        size = (count + LANES - 1) // LANES * LANES
        for s in range(max(solutions, 1)):
            if solutions == 0:
                for p in range(size):
                    weights[p] = 1.0
            else:
                if out[s] == group:
                    continue
                distances(x, size, transforms[s], shifts[s], weights, rows)
                tail(weights, size, odd, coefficients, rows)
            for p in range(count, size):
                weights[p] = 0.0
            add_moments(x, size, weights, sums[s, group], products[s, group], rows)


@kernel()
def weigh_all(chunks, transform, shift, coefficients, odd, weights, scratch):
    """Put the weights by one solution into `weights` (pixel,), as `add_all` has them."""
    values, counts = chunks.values, chunks.counts
    chunk, rows = scratch.weights, scratch.rows
    first = 0
    for c in range(len(counts)):
        count = counts[c]
        size = (count + LANES - 1) // LANES * LANES
        distances(values[c], size, transform, shift, chunk, rows)
        tail(chunk, size, odd, coefficients, rows)
        for p in range(count):
            weights[first + p] = chunk[p]
        first += count


def moments(chunks: Chunks, bands: int, transforms: Floats, shifts: Floats, out: NDArray[np.int64]) -> Sums:
    """Return moments of each group of pixels, weighted by how likely it is that nothing changed.

    Parameters
    ----------
    chunks
        Pixels.
    bands
        Bands of each image: degrees of freedom of the sum of squares.
    transforms
        (solution, band, 2 bands) combinations of bands, of which each has variance 1 where nothing changed. Without any
        solution, all weights are 1.
    shifts
        (solution, band) what is taken away from each combination.
    out
        (solution or 1,) the group that each leaves out, or -1.

    Returns
    -------
    tuple of ndarray
        (solution or 1, group) sums of weights; (..., 2 bands) of values times weights; (..., 2 bands, 2 bands) of
        products.
    """
    rows, size, groups = chunks.values.shape[1], 2 * bands, int(chunks.groups[-1]) + 1
    count = max(len(transforms), 1)
    sums, products = np.zeros((count, groups, 1 + rows)), np.zeros((count, groups, rows, rows))
    add_all(chunks, *_padded(transforms, shifts, rows), *_tail_of(bands), out, sums, products, _scratch())
    upper = np.triu(products[..., :size, :size])
    return sums[..., 0], sums[..., 1 : 1 + size], upper + np.swapaxes(np.triu(upper, 1), -1, -2)


def weights(chunks: Chunks, bands: int, transform: Floats, shift: Floats) -> Floats:
    """Return the weight (pixel,) of each pixel by one solution, as in `moments`."""
    found = np.empty(chunks.counts.sum())
    (padded,), (centre,) = _padded(transform[None], shift[None], chunks.values.shape[1])
    weigh_all(chunks, padded, centre, *_tail_of(bands), found, _scratch())
    return found


def _tail_of(df: int) -> tuple[Floats, bool]:
    return tail_coefficients(df), df % 2 == 1


def _scratch() -> Scratch:
    return Scratch(aligned(CHUNK), aligned(TILE, CHUNK))


def _padded(transforms: Floats, shifts: Floats, rows: int) -> tuple[Floats, Floats]:
    """Return combinations of all rows, an even number of them."""
    _, bands, size = transforms.shape
    more = bands % 2
    return np.pad(transforms, ((0, 0), (0, more), (0, rows - size))), np.pad(shifts, ((0, 0), (0, more)))
