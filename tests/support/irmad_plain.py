"""IR-MAD by NumPy and scipy, as its papers write it: generalised eigenvectors, and the distribution of scipy."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh
from scipy.stats import chi2

Floats = NDArray[np.float64]


def plain_irmad(
    reference: Floats, scene: Floats, tolerance: float = 1e-3, rounds: int = 50
) -> tuple[Floats, Floats, int, bool]:
    """Return weights (pixel,), canonical correlations (band,) from the smallest, rounds, and whether they settled."""
    bands, pixels = reference.shape
    both = np.vstack([reference, scene])
    weights, old = np.ones(pixels), np.full(bands, np.inf)
    for iteration in range(1, rounds + 1):
        mean = (both * weights).sum(axis=1) / weights.sum()
        deviations = both - mean[:, None]
        covariance = (deviations * weights) @ deviations.T / weights.sum()
        first, cross, second = covariance[:bands, :bands], covariance[:bands, bands:], covariance[bands:, bands:]
        squares, a = eigh(cross @ np.linalg.solve(second, cross.T), first)
        rho = np.sqrt(squares)
        b = np.linalg.solve(second, cross.T @ a) / rho
        variates = a.T @ deviations[:bands] - b.T @ deviations[bands:]
        weights = chi2.sf((variates**2 / (2 * (1 - rho))[:, None]).sum(axis=0), bands)
        if iteration >= 2 and np.abs(rho - old).max() < tolerance:
            return weights, rho, iteration, True
        old = rho
    return weights, rho, rounds, False


def plain_lines(reference: Floats, scene: Floats, weights: Floats) -> tuple[Floats, Floats]:
    """Return gains and offsets of weighted reduced major axes."""
    means = [np.average(image, axis=1, weights=weights) for image in (reference, scene)]
    deviations = [
        np.sqrt(np.average((image - mean[:, None]) ** 2, axis=1, weights=weights))
        for image, mean in zip((reference, scene), means, strict=True)
    ]
    gain = deviations[0] / deviations[1]
    return gain, means[0] - gain * means[1]
