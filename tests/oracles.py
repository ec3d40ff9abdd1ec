"""Independent implementations of every registered method, one pixel at a time.

An oracle takes decimal years and one series, with NaN where missing, and returns the value of every band.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pymannkendall
import scipy.stats
from numpy.typing import NDArray

Oracle = Callable[[NDArray[np.float64], NDArray[np.float64]], dict[str, float]]


def ols_oracle(times: NDArray[np.float64], values: NDArray[np.float64]) -> dict[str, float]:
    valid = ~np.isnan(values)
    fit = scipy.stats.linregress(times[valid], values[valid].astype(np.float64))
    return {
        "slope": fit.slope,
        "intercept": fit.intercept,
        "rvalue": fit.rvalue,
        "pvalue": fit.pvalue,
        "stderr": fit.stderr,
        "intercept_stderr": fit.intercept_stderr,
        "n": int(valid.sum()),
    }


def theil_sen_oracle(times: NDArray[np.float64], values: NDArray[np.float64]) -> dict[str, float]:
    valid = ~np.isnan(values)
    fit = scipy.stats.theilslopes(values[valid].astype(np.float64), times[valid], 0.95)
    return {**fit._asdict(), "n": int(valid.sum())}


def siegel_oracle(times: NDArray[np.float64], values: NDArray[np.float64]) -> dict[str, float]:
    valid = ~np.isnan(values)
    fit = scipy.stats.siegelslopes(values[valid].astype(np.float64), times[valid])
    return {**fit._asdict(), "n": int(valid.sum())}


def mann_kendall_oracle(times: NDArray[np.float64], values: NDArray[np.float64]) -> dict[str, float]:
    """Dates must differ: pyMannKendall takes values in the order of time."""
    valid = ~np.isnan(values)
    y, t = values[valid].astype(np.float64), times[valid]
    test = pymannkendall.original_test(y)
    return {
        "slope": scipy.stats.theilslopes(y, t)[0],
        "tau": scipy.stats.kendalltau(t, y).statistic,
        "s": test.s,
        "var_s": test.var_s,
        "z": test.z,
        "pvalue": 2 * scipy.stats.norm.sf(abs(test.z)),
        "n": int(valid.sum()),
    }


ORACLES: dict[str, Oracle] = {
    "mann_kendall": mann_kendall_oracle,
    "ols": ols_oracle,
    "theil_sen": theil_sen_oracle,
    "siegel": siegel_oracle,
}
