"""Processor time of rectifying one scene by IR-MAD: ``python benchmarks/rectification.py``.

50 000 pixels of 6 bands, of which 30 % changed, beside plain NumPy and scipy: the same rounds, without a jackknife.
Tasks take turns. NumPy's linear algebra gets one thread: its threads wait busily, in the time of what comes next.
"""

from __future__ import annotations

import os
import time
from functools import partial

os.environ["OPENBLAS_NUM_THREADS"] = "1"

import measure
import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh
from scipy.stats import chi2

from pixelwise.rectification.irmad import unchanged
from pixelwise.rectification.lines import invariant_lines, irmad_lines

PIXELS, ROUNDS = 50_000, 15
#: Reflectance of forest, crops, dry grass, bare soil and water in six bands.
CLASSES = np.array(
    [
        (0.022, 0.042, 0.026, 0.270, 0.125, 0.055),
        (0.040, 0.080, 0.052, 0.390, 0.210, 0.105),
        (0.070, 0.102, 0.130, 0.250, 0.300, 0.200),
        (0.100, 0.142, 0.190, 0.270, 0.350, 0.290),
        (0.045, 0.045, 0.030, 0.020, 0.012, 0.009),
    ]
)

Floats = NDArray[np.float64]


def scenes() -> tuple[Floats, Floats]:
    """Return a reference and a scene (band, pixel)."""
    rng = np.random.default_rng(0)
    kind = rng.choice(5, PIXELS, p=[0.4, 0.3, 0.15, 0.1, 0.05])
    before = CLASSES[kind].T * np.exp(rng.normal(0, 0.12, PIXELS)) * np.exp(rng.normal(0, 0.06, (6, PIXELS)))
    after = before.copy()
    after[:, : PIXELS * 3 // 10] = before[:, rng.integers(0, PIXELS, PIXELS * 3 // 10)]
    order = rng.permutation(PIXELS)
    reference, scene = (values[:, order] + rng.normal(0, 0.004, values.shape) for values in (before, after))
    return reference, scene * rng.uniform(0.85, 1.2, (6, 1)) + rng.uniform(-0.02, 0.02, (6, 1))


def plain(reference: Floats, scene: Floats) -> Floats:
    """Return weights by NumPy and scipy."""
    bands, pixels = reference.shape
    both, weights, old = np.vstack([reference, scene]), np.ones(pixels), np.full(bands, np.inf)
    while True:
        deviations = both - np.average(both, axis=1, weights=weights)[:, None]
        covariance = (deviations * weights) @ deviations.T / weights.sum()
        first, cross, second = covariance[:bands, :bands], covariance[:bands, bands:], covariance[bands:, bands:]
        squares, a = eigh(cross @ np.linalg.solve(second, cross.T), first)
        rho = np.sqrt(squares)
        b = np.linalg.solve(second, cross.T @ a) / rho
        variates = a.T @ deviations[:bands] - b.T @ deviations[bands:]
        weights = chi2.sf((variates**2 / (2 * (1 - rho))[:, None]).sum(axis=0), bands)
        if np.abs(rho - old).max() < 1e-3:
            return weights
        old = rho


def main() -> None:
    reference, scene = scenes()
    found = unchanged(reference, scene)
    assert np.allclose(found.weights, plain(reference, scene), atol=1e-8)
    tasks = {
        "lines and standard errors": partial(irmad_lines, reference, scene),
        "weights alone": partial(unchanged, reference, scene),
        "lines of invariant pixels": partial(invariant_lines, reference, scene),
        "weights by NumPy and scipy": partial(plain, reference, scene),
    }
    times = measure.alternate(tasks, ROUNDS, clock=time.process_time)
    results = {
        name: {**row, "best": min(times[name]), "slowest": max(times[name])}
        for name, row in measure.compare(times, "weights alone").items()
    }
    measure.save("rectification", results)
    print(f"{PIXELS} pixels, 6 bands, {found.iterations} rounds; processor time, {ROUNDS} times")
    rows = [
        (name, *(f"{1000 * row[key]:.1f} ms" for key in ("seconds", "best", "slowest")), f"{row['ratio']:.2f}")
        for name, row in results.items()
    ]
    print(measure.table(rows, ("", "median", "best", "slowest", "/ weights alone")))


if __name__ == "__main__":
    main()
