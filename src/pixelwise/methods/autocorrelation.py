"""What residuals say of the lag-1 correlation of the noise that they are of.

Residuals of a line are less correlated than their noise, those of a line and a step less still: of 21 independent
values the median lag-1 correlation is -0.10 and -0.21. The table beside this module holds such medians of simulated
series (benchmarks/autocorrelation.py) and is read backwards. It is kept, not simulated when a method is bound, so that
all machines and versions have the same numbers.
"""

from __future__ import annotations

import csv
from functools import cache
from pathlib import Path

import numpy as np

from pixelwise.bands import Floats
from pixelwise.kernels.jit import readonly

__all__ = ["curves_up_to"]

TABLE = Path(__file__).with_suffix(".csv")


@cache
def curves_up_to(layers: int) -> tuple[Floats, Floats]:
    """Return medians of the lag-1 correlation of residuals, and the phi of AR(1) noise that they belong to.

    Parameters
    ----------
    layers
        The longest series.

    Returns
    -------
    (layers + 1, 2, phi) float64
        By the number of values: for a line, and for a line and a step. Between the lengths of the table, and beyond the
        last, where medians approach phi, straight lines in ``1 / n``.
    (phi,) float64
        Ascending.
    """
    with TABLE.open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    phis = np.array(header[2:], dtype=np.float64)
    medians = np.array([row[2:] for row in rows], dtype=np.float64).reshape(-1, 2, len(phis))
    inverse = np.array([1.0 / int(row[0]) for row in rows[::2]])
    # From the longest to the shortest, after it the limit of endless series.
    known = np.concatenate(([0.0], inverse[::-1]))
    limit = np.broadcast_to(phis, (1, 2, len(phis)))
    table = np.concatenate((limit, medians[::-1]))
    wanted = 1.0 / np.maximum(np.arange(layers + 1), 1)
    curves = np.empty((layers + 1, 2, len(phis)))
    for removed in range(2):
        for place in range(len(phis)):
            curves[:, removed, place] = np.interp(wanted, known, table[:, removed, place])
    return readonly(curves), readonly(phis)
