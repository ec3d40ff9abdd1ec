"""Autocorrelation at dates without a regular step: what residuals look like for each correlation time.

Noise with a correlation of ``exp(-d / memory)`` at a distance ``d`` in time is AR(1) noise sampled at arbitrary dates;
``memory`` is its correlation time. Kernels sum up how similar neighbouring residuals are; this module simulates, once
per job, the sum to expect for each correlation time.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from pixelwise.bands import Floats

__all__ = ["MemoryTable", "memory_table"]

#: Pairs are weighted by ``exp(-d / (WIDTH * usual distance))``. If half of the variance is slow and half independent,
#: neighbours alone miss the slow part (13 % of trend-free series "significant"); pairs within this width miss less of
#: it (8 %). Wider weights make the estimates of short correlation times worse.
WIDTH = 4.0
#: Simulated series per correlation time and number of values: gives their median to 0.11 of the spread of one series.
SERIES = 128
#: Simulated numbers held in memory at a time: 32 MB.
AT_ONCE = 1 << 22
#: Ratio of one correlation time, and of one number of values, to the next.
LONGER, FEWER = math.sqrt(2.0), 2.0 / 3.0
#: All jobs and processes must get the same numbers; linear algebra may differ in the last digits.
DECIMALS = 7


@dataclass(frozen=True, eq=False)
class MemoryTable:
    """The similarity of residuals to expect for each correlation time.

    Attributes
    ----------
    memories
        (memory,) correlation times in years, ascending from 0.
    usual
        Median distance of neighbouring dates in years.
    near
        (time,) factor on the weight of a pair when it starts one date earlier; 0 for the first date.
    fades
        (time, memory) correlation of noise with that at the date before; 0 for the first date.
    expected
        (number of values, memory) median of ``sum(k e e) / sum(k) * n / RSS`` over pairs of residuals.
    """

    memories: Floats
    usual: float
    near: Floats
    fades: Floats
    expected: Floats


def memory_table(years: Floats, design: Floats, min_obs: int) -> MemoryTable | None:
    """Simulate the similarity of residuals for each correlation time.

    Parameters
    ----------
    years
        (time,) ascending decimal years.
    design
        (time, term) design matrix of the fit, of full rank.
    min_obs
        Minimum number of values in a series.

    Returns
    -------
    MemoryTable or None
        None if all dates are the same.

    Notes
    -----
    Shorter series are simulated by dropping dates at random. Which dates a pixel lacks matters little here, since the
    sum is a mean over its pairs; the effect of a correlation time at its own dates is computed for each pixel.
    """
    distances = np.diff(years)
    if not (distances > 0).any():
        return None
    usual = float(np.median(distances[distances > 0]))
    # With the longest one, a series has only about `term` independent values, too few to test anything.
    longest = max((years[-1] - years[0]) / (2 * design.shape[1]), usual)
    steps = math.ceil(math.log(4 * longest / usual) / math.log(LONGER))
    memories = np.concatenate([[0.0], usual / 4 * LONGER ** np.arange(steps + 1)])
    near = np.concatenate([[0.0], np.exp(-distances / (WIDTH * usual))])
    fades = np.zeros((len(years), len(memories)))
    fades[1:, 1:] = np.exp(-distances[:, None] / memories[1:])
    counts = [len(years)]
    while counts[-1] * FEWER >= max(min_obs, 1):
        counts.append(int(counts[-1] * FEWER))
    rng = np.random.default_rng(0)
    noise = simulate(rng, fades)
    simulated = [expect(rng, noise, years, design, WIDTH * usual, count) for count in counts]
    places = np.log(np.maximum(np.arange(len(years) + 1), 1))
    curves = [np.interp(places, np.log(counts[::-1]), curve[::-1]) for curve in np.transpose(simulated)]
    expected: Floats = np.maximum.accumulate(np.stack(curves, axis=1), axis=1)
    return MemoryTable(memories, usual, near, fades, expected.round(DECIMALS))


def simulate(rng: np.random.Generator, fades: Floats) -> Floats:
    """Return (series, time, memory) noise of variance 1, from the same random numbers for each correlation time."""
    dates, memories = fades.shape
    series = max(min(SERIES, AT_ONCE // (dates * memories)), 16)
    fresh = rng.normal(size=(dates, series, 1))
    noise = np.empty((series, dates, memories))
    noise[:, 0] = fresh[0]
    rest = np.sqrt(1.0 - fades**2)
    for i in range(1, dates):
        noise[:, i] = fades[i] * noise[:, i - 1] + rest[i] * fresh[i]
    return noise


def expect(rng: np.random.Generator, noise: Floats, years: Floats, design: Floats, reach: float, count: int) -> Floats:
    """Return (memory,) medians of the sums for series of `count` values at dates chosen at random."""
    series, dates, memories = noise.shape
    chosen = np.sort(np.argsort(rng.random((series, dates)), axis=1)[:, :count], axis=1)
    values = np.take_along_axis(noise, chosen[:, :, None], axis=1)
    columns = np.linalg.qr(design[chosen])[0]
    values -= columns @ (columns.transpose(0, 2, 1) @ values)
    near = np.exp(-np.diff(years[chosen], axis=1) / reach)[:, :, None]
    alike, near_sum = np.zeros((series, memories)), np.zeros((series, memories))
    pairs, near_count = np.zeros((series, 1)), np.zeros((series, 1))
    for i in range(1, count):
        near_sum = near[:, i - 1] * (near_sum + values[:, i - 1])
        near_count = near[:, i - 1] * (near_count + 1.0)
        alike += values[:, i] * near_sum
        pairs += near_count
    found: Floats = np.median(alike / pairs * count / (values**2).sum(axis=1), axis=0)
    return found
