"""Compiled steps shared by methods that take one series at a time."""

# Numba infers types from arguments; annotations would only repeat the docstrings.
# mypy: allow-untyped-defs

from __future__ import annotations

import numpy as np

from pixelwise.kernels.jit import kernel
from pixelwise.kernels.status import CONSTANT, DEGENERATE, NO_OBSERVATION, OK, TEST_UNDEFINED, TOO_FEW


@kernel(helper=True)
def gather(values, p, times, t, y):
    """Copy the valid values of pixel `p` of (time, pixel) and their times; return how many there are."""
    n = 0
    for i in range(values.shape[0]):
        value = np.float64(values[i, p])
        if value == value:
            y[n] = value
            t[n] = times[i]
            n += 1
    return n


@kernel(helper=True)
def series_status(t, y, n, min_obs):
    """Return the status of the first `n` values and times, in time order: 0 if they can be tested for a trend."""
    if n == 0:
        return NO_OBSERVATION
    if n < min_obs:
        return TOO_FEW
    constant = True
    for i in range(n):
        if abs(y[i]) == np.inf:
            return TEST_UNDEFINED
        constant = constant and y[i] == y[0]
    if constant:
        return CONSTANT
    return DEGENERATE if t[n - 1] == t[0] else OK
