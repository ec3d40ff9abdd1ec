"""Memory that fades with time, for dates without a regular step: what residuals show of each length of memory.

Noise whose correlation is ``exp(-d / memory)`` at a distance ``d`` in time is AR(1) noise seen at any dates. Kernels
sum up how alike residuals are that lie near each other; here it is simulated, once per job, which sum to expect.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from pixelwise.bands import Floats

__all__ = ["MemoryTable", "memory_table"]

#: Pairs count by ``exp(-d / (WIDTH * usual distance))``. Neighbours alone (13 % of trend-free series "significant")
#: overlook a slow half of the variance beneath an independent one, more than pairs of this reach do (8 %); beyond,
#: short memories are estimated worse.
WIDTH = 4.0
#: Simulated series per length of memory and number of values: their median is known to 0.11 of one series' spread.
SERIES = 128
#: Simulated numbers that are held at once: 32 MB.
AT_ONCE = 1 << 22
#: From one length of memory, and from one number of values, to the next.
LONGER, FEWER = math.sqrt(2.0), 2.0 / 3.0
#: Each job, and each process of it, must find the same; linear algebra may differ in the last digits.
DECIMALS = 7


@dataclass(frozen=True, eq=False)
class MemoryTable:
    """What is expected of residuals, for each length of memory.

    Attributes
    ----------
    memories
        (memory,) years, ascending from 0.
    usual
        Median distance of neighbouring dates, years.
    near
        (time,) by how much less a pair counts that begins one date earlier; 0 for the first date.
    fades
        (time, memory) correlation of noise with that of the date before; 0 for the first date.
    expected
        (number of values, memory) median of ``sum(k e e) / sum(k) * n / RSS`` over pairs of residuals.
    """

    memories: Floats
    usual: float
    near: Floats
    fades: Floats
    expected: Floats


def memory_table(years: Floats, design: Floats, min_obs: int) -> MemoryTable | None:
    """Simulate what residuals show of each length of memory.

    Parameters
    ----------
    years
        (time,) ascending decimal years.
    design
        (time, term) what is fitted, of full rank.
    min_obs
        Fewest values of a series.

    Returns
    -------
    MemoryTable or None
        None where all dates are one.

    Notes
    -----
    Series of fewer values have lost dates at random. Which dates a pixel has lost matters little here, as the sum is a
    mean over its pairs; what its dates make of a memory is computed for each pixel.
    """
    distances = np.diff(years)
    if not (distances > 0).any():
        return None
    usual = float(np.median(distances[distances > 0]))
    # A memory of the longest leaves about `term` independent values, with which nothing can be tested.
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
    """Return (series, time, memory) noise of variance 1, from the same random numbers for each memory."""
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
    """Return (memory,) medians of the sums that series of `count` values show, at random ones of the dates."""
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
