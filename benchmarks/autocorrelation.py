"""What lag-1 correlation residuals show whose noise is AR(1): ``python benchmarks/autocorrelation.py``.

Residuals of a line, and of a line and its best step, are less correlated than the noise that they are of, the more so
the shorter the series. For each length and each phi: the median over simulated series, of seeded noise, by plain NumPy.
Writes src/pixelwise/methods/autocorrelation.csv, by which `trend` finds the phi that residuals point to. Takes four
minutes.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

TABLE = Path(__file__).parent.parent / "src" / "pixelwise" / "methods" / "autocorrelation.csv"

LENGTHS = (*range(5, 15), 15, 17, 19, 21, 24, 27, 30, 35, 41, 50, 60, 80, 100, 150, 200, 300, 500, 1000)
PHIS = (-0.9, -0.75, -0.6, -0.4, -0.2, 0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98)
#: Values at least on either side of a step.
SIDE = 3
#: So many values in all make medians right to 0.001.
VALUES = 4_000_000

Floats = NDArray[np.float64]


def noise_of(white: Floats, phi: float) -> Floats:
    """Return (time, series) stationary AR(1) noise of variance 1."""
    noise = white.copy()
    for i in range(1, len(noise)):
        noise[i] *= np.sqrt(1 - phi**2)
        noise[i] += phi * noise[i - 1]
    return noise


def without_line(noise: Floats) -> Floats:
    """Return residuals of the least-squares line through equidistant values."""
    t = np.arange(len(noise)) - (len(noise) - 1) / 2
    return noise - noise.mean(axis=0) - np.outer(t, t @ noise / (t @ t))


def without_step(left: Floats) -> Floats:
    """Return residuals of the line and the step, of one slope, that leave the least sum of squares."""
    n, series = left.shape
    if n < 2 * SIDE:
        return left
    t = np.arange(n) - (n - 1) / 2
    before = np.arange(n)[:, None] < np.arange(SIDE, n - SIDE + 1)  # (time, place)
    steps = without_line(before.astype(float))
    squares = (steps**2).sum(axis=0)
    gain = np.empty(series)
    best = np.zeros(series, dtype=int)
    gain[:] = -1.0
    heights = np.cumsum(left, axis=0)[SIDE - 1 : n - SIDE] / squares[:, None]
    for place, height in enumerate(heights):
        gained = height**2 * squares[place]
        best[gained > gain] = place
        np.maximum(gain, gained, out=gain)
    assert np.allclose(t @ steps, 0, atol=1e-9 * n)
    return left - heights[best, np.arange(series)] * steps[:, best]


def lag_1(residuals: Floats) -> Floats:
    return (residuals[1:] * residuals[:-1]).sum(axis=0) / (residuals**2).sum(axis=0)


def curves(n: int, seed: int = 1, values: int = VALUES) -> Floats:
    """Return (2, phi) medians: of lines, and of lines and steps."""
    white = np.random.default_rng((seed, n)).standard_normal((n, max(values // n, 400)))
    found = []
    for phi in PHIS:
        left = without_line(noise_of(white, phi))
        found.append([float(np.median(lag_1(left))), float(np.median(lag_1(without_step(left))))])
    return np.array(found).T


def main() -> None:
    lines = ["n,removed," + ",".join(f"{phi:g}" for phi in PHIS)]
    for n in LENGTHS:
        for removed, row in zip(("line", "step"), np.maximum.accumulate(curves(n), axis=1), strict=True):
            lines.append(f"{n},{removed}," + ",".join(f"{value:.4f}" for value in row))
        print(lines[-2], lines[-1], sep="\n", flush=True)
    TABLE.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
