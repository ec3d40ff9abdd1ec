"""How often tests find a trend where there is none: ``python benchmarks/error_rates.py``.

Series of AR(1) noise, seeded, through the methods themselves. A p-value that is right is below 0.05 for 5 % of them.
What is NaN (the test is undefined) counts as not below.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pixelwise.method import Method
from pixelwise.methods import harmonic, robust
from pixelwise.times import TimeAxis

SERIES, LEVEL = 20_000, 0.05


def ar1(rng: np.random.Generator, layers: int, phi: float) -> NDArray[np.float64]:
    """Return (time, series) stationary AR(1) noise of variance 1."""
    noise = rng.normal(size=(layers, SERIES))
    for i in range(1, layers):
        noise[i] = phi * noise[i - 1] + np.sqrt(1 - phi**2) * noise[i]
    return noise


def rejected(method: Method, axis: TimeAxis, values: NDArray[np.float64], *bands: str) -> list[str]:
    """Return the share of series below the level, in percent, for each band."""
    table, _ = method.bind(axis, bands, {})((values,))
    return [f"{100 * np.mean(row < LEVEL):.1f}" for row in table]


def harmonics() -> None:
    print("\n`harmonic`, 23 layers a year of 16 days, true season of amplitude 2, no trend; gaps at random\n")
    print("| years | gaps | phi | pvalue | pvalue_ols |")
    print("|---|---|---|---|---|")
    for years, gaps in ((5, 0.0), (10, 0.0), (10, 0.3), (20, 0.0)):
        days = [np.datetime64(f"{2000 + y}-01-01") + 16 * k for y in range(years) for k in range(23)]
        axis = TimeAxis.from_times(np.array(days))
        season = 2 * np.cos(2 * np.pi * (axis.years - 0.4))[:, None]
        for phi in (0.0, 0.3, 0.5, 0.7):
            rng = np.random.default_rng(1)
            values = season + ar1(rng, len(axis), phi)
            values[rng.random(values.shape) < gaps] = np.nan
            shares = rejected(harmonic(), axis, values, "pvalue", "pvalue_ols")
            print(f"| {years} | {100 * gaps:.0f} % | {phi} |", " | ".join(shares), "|")


def robust_lines() -> None:
    print(
        "\n`robust`, independent annual values, no trend; one value in ten is an outlier of ten standard deviations\n"
    )
    print("| values | outliers | huber | bisquare |")
    print("|---|---|---|---|")
    for layers in (10, 21, 41):
        axis = TimeAxis.from_times(2000 + np.arange(layers))
        for outliers in (0.0, 0.1):
            rng = np.random.default_rng(1)
            values = ar1(rng, layers, 0.0)
            values[rng.random(values.shape) < outliers] *= 10
            shares = [rejected(robust(kind=kind), axis, values, "pvalue")[0] for kind in ("huber", "bisquare")]
            print(f"| {layers} | {100 * outliers:.0f} % |", " | ".join(shares), "|")


if __name__ == "__main__":
    harmonics()
    robust_lines()
