"""The lag-1 correlation of noise, estimated from residuals.

Residuals of a line are less correlated than the noise, and residuals of a line and a step even less: for 21 independent
values the median lag-1 correlation is -0.10 and -0.21. The table beside this module holds such medians of simulated
series (benchmarks/autocorrelation.py) and is looked up in reverse. It is stored rather than simulated when a method is
bound, so that all machines and versions use the same numbers.
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
    """Return medians of the lag-1 correlation of residuals, and the phi of AR(1) noise behind each.

    Parameters
    ----------
    layers
        Length of the longest series.

    Returns
    -------
    (layers + 1, 2, phi) float64
        By number of values: for a line, and for a line and a step. Interpolated linearly in ``1 / n`` between the
        lengths of the table, and beyond the last, where the medians approach phi.
    (phi,) float64
        Ascending.
    """
    with TABLE.open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    phis = np.array(header[2:], dtype=np.float64)
    medians = np.array([row[2:] for row in rows], dtype=np.float64).reshape(-1, 2, len(phis))
    inverse = np.array([1.0 / int(row[0]) for row in rows[::2]])
    # The limit of infinite series, then from the longest to the shortest.
    known = np.concatenate(([0.0], inverse[::-1]))
    limit = np.broadcast_to(phis, (1, 2, len(phis)))
    table = np.concatenate((limit, medians[::-1]))
    wanted = 1.0 / np.maximum(np.arange(layers + 1), 1)
    curves = np.empty((layers + 1, 2, len(phis)))
    for removed in range(2):
        for place in range(len(phis)):
            curves[:, removed, place] = np.interp(wanted, known, table[:, removed, place])
    return readonly(curves), readonly(phis)
