"""The lines that make the bands of one scene comparable with the reference."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pixelwise.bands import Floats

__all__ = ["Lines"]


@dataclass(frozen=True, eq=False)
class Lines:
    """What was found for one scene: in each band, ``gain * value + offset``.

    Attributes
    ----------
    gain, offset, gain_se, offset_se
        (band,) the lines, and their standard errors by the jackknife over blocks of pixels.
    rmse_before, rmse_after
        (band,) weighted root mean squared differences from the reference, without and with the line.
    level
        (band,) weighted mean of the reference.
    saturated
        (band,) whether values end at one number, which many pixels have.
    n
        Pixels that both have.
    mean_weight
        Mean weight of them, the probability that nothing changed; 0 to 1.
    iterations
        Rounds until the weights converged; 0 if none were needed.
    converged
        Whether they did.
    """

    gain: Floats
    offset: Floats
    gain_se: Floats
    offset_se: Floats
    rmse_before: Floats
    rmse_after: Floats
    level: Floats
    saturated: NDArray[np.bool_]
    n: int
    mean_weight: float
    iterations: int
    converged: bool

    @classmethod
    def identity(cls, reference: Floats) -> Lines:
        """Return the lines of the reference itself, (band, pixel)."""
        bands, n = reference.shape
        ones, zeros = np.ones(bands), np.zeros(bands)
        level = reference.mean(axis=1)
        return cls(ones, zeros, zeros, zeros, zeros, zeros, level, np.zeros(bands, np.bool_), n, 1.0, 0, True)
