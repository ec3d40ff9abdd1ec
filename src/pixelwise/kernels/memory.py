"""Compiled estimates of the autocorrelation of residuals, and of how it inflates the variance of a slope.

Kernels of `harmonic` call them for each chunk, with their `Workspace` and scratch.
"""

# Numba infers types from arguments; annotations would only repeat the docstrings.
# mypy: allow-untyped-defs

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pixelwise.bands import Floats
from pixelwise.kernels.jit import kernel
from pixelwise.kernels.linear import CHUNK, COUNT, RSS


class Memory(NamedTuple):
    """Inputs for estimating autocorrelation: neighbours on a regular axis, a `MemoryTable` on an irregular one.

    Attributes
    ----------
    steps
        (time - 1,) bool: whether a date and the next are exactly one step apart; empty on an irregular axis.
    memories, usual, near, fades, expected
        Fields of the `MemoryTable`; empty on a regular axis.
    """

    steps: NDArray[np.bool_]
    memories: Floats
    usual: float
    near: Floats
    fades: Floats
    expected: Floats


@kernel(helper=True)
def lag_one(steps, work, running, r1):
    """Write the lag-1 correlation of residuals from the pairs of dates exactly one step apart, minus its bias.

    The mean product per pair over the mean square, times ``n - 1`` so that it is the usual estimate for a series
    without gaps; the bias is Kendall's (1954), ``-(1 + 4 r1) / n``. NaN if there is no pair.
    """
    weights, residuals = work.series[1], work.series[2]
    n, rss = work.sums[COUNT], work.sums[RSS]
    products, pairs = running[0], running[1]
    for p in range(CHUNK):
        products[p] = 0.0
        pairs[p] = 0.0
    for i in range(steps.size):
        if steps[i]:
            e0, e1, w0, w1 = residuals[i], residuals[i + 1], weights[i], weights[i + 1]
            for p in range(CHUNK):
                both = w0[p] * w1[p]
                products[p] += both * (e0[p] * e1[p])
                pairs[p] += both
    for p in range(CHUNK):
        r = (products[p] / pairs[p]) * (n[p] - 1.0) / rss[p]
        r1[p] = r + (1.0 + 4.0 * r) / n[p]


@kernel(helper=True)
def alikeness(near, work, running, alike):
    """Write how similar nearby residuals are: their mean product over the mean square.

    Pairs are weighted by a kernel that decays with their distance, by ``near`` from date to date; so each date needs
    only the sums up to the one before.
    """
    weights, residuals = work.series[1], work.series[2]
    n, rss = work.sums[COUNT], work.sums[RSS]
    near_sum, near_count, products, pairs = running[0], running[1], running[2], running[3]
    for p in range(CHUNK):
        near_sum[p] = 0.0
        near_count[p] = 0.0
        products[p] = 0.0
        pairs[p] = 0.0
    for i in range(near.size):
        e, w, fade = residuals[i], weights[i], near[i]
        for p in range(CHUNK):
            own = w[p] * e[p]
            products[p] += own * (fade * near_sum[p])
            pairs[p] += w[p] * (fade * near_count[p])
            near_sum[p] = fade * near_sum[p] + own
            near_count[p] = fade * near_count[p] + w[p]
    for p in range(CHUNK):
        alike[p] = products[p] / pairs[p] * n[p] / rss[p]


@kernel(helper=True)
def find_memory(alike, n, expected, place, share):
    """Write between which two tabulated correlation times a pixel's lies, and at which fraction of the way.

    It is the one whose expected `alike` is the pixel's; 0 if that is less than expected without autocorrelation. Beyond
    the longest, the fraction is NaN.
    """
    last = expected.shape[1] - 1
    for p in range(CHUNK):
        curve = expected[int(n[p])]
        low, high = 0, last
        place[p] = 0
        share[p] = 0.0
        if alike[p] > curve[0]:
            while high - low > 1:
                middle = (low + high) // 2
                if alike[p] < curve[middle]:
                    high = middle
                else:
                    low = middle
            place[p] = low
            share[p] = (alike[p] - curve[low]) / (curve[high] - curve[low]) if alike[p] < curve[high] else np.nan


@kernel(helper=True)
def inflation(basis, fades, work, scratch, result):
    """Write the factor by which the pixel's autocorrelation inflates the variance of the slope.

    The slope is ``sum(q y)`` with ``sum(q**2)`` the lever; its variance is ``sum(q[i] q[j] correlation[i, j])``, for
    both correlation times that the pixel's lies between. The spare rows of `work` are the inverse of the Gram matrix
    times the slope's row of the transform.
    """
    weights, direction = work.series[1], work.spare
    lever, place, share, running = scratch.lever, scratch.place, scratch.share, scratch.running
    shorter, longer, near_short, near_long = running[0], running[1], running[2], running[3]
    for p in range(CHUNK):
        shorter[p] = 0.0
        longer[p] = 0.0
        near_short[p] = 0.0
        near_long[p] = 0.0
    for i in range(fades.shape[0]):
        w, fade = weights[i], fades[i]
        for p in range(CHUNK):
            result[p] = basis[i, 0] * direction[0, p]
        for j in range(1, direction.shape[0]):
            a, d = basis[i, j], direction[j]
            for p in range(CHUNK):
                result[p] += a * d[p]
        for p in range(CHUNK):
            q = w[p] * result[p]
            k = place[p]
            before, further = fade[k] * near_short[p], fade[k + 1] * near_long[p]
            shorter[p] += q * before
            longer[p] += q * further
            near_short[p] = before + q
            near_long[p] = further + q
    for p in range(CHUNK):
        factor = 1.0 + 2.0 * (shorter[p] + share[p] * (longer[p] - shorter[p])) / lever[p]
        # NaN stays NaN.
        result[p] = 1.0 if factor < 1.0 else factor
