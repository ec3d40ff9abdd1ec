"""Independent implementations of every registered method, one pixel at a time.

An oracle takes decimal years and one series, with NaN where missing, and returns the value of every band.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
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


def seasonal_kendall_oracle(times: NDArray[np.float64], values: NDArray[np.float64]) -> dict[str, float]:
    """Seasons are months, with one layer each."""
    dates = pd.DatetimeIndex([pd.Timestamp(1970, 1, 1) + pd.Timedelta(days=(t - 1970) * 365.25) for t in times])
    dates = dates.round("D")
    series = pd.Series(values.astype(np.float64), index=pd.MultiIndex.from_arrays([dates.year, dates.month]))
    table = series.unstack()
    table = table.loc[:, table.count() > 0]
    slopes, scores, variances, denominator = [], [], [], 0.0
    for _, own in pd.DataFrame({"t": times, "y": values, "month": dates.month}).dropna().groupby("month"):
        if len(own) > 1:
            rise = np.subtract.outer(own.y.to_numpy(), own.y.to_numpy())
            later = np.subtract.outer(own.t.to_numpy(), own.t.to_numpy())
            slopes.append(rise[later > 0] / later[later > 0])
            mann_kendall = pymannkendall.original_test(own.y.to_numpy())
            scores.append(mann_kendall.s)
            variances.append(mann_kendall.var_s)
            denominator += np.sqrt((np.triu(rise != 0, 1)).sum() * len(own) * (len(own) - 1) / 2)
    s, variance = sum(scores), sum(variances)
    tested = np.array(variances) > 0
    z = np.array(scores)[tested] / np.sqrt(np.array(variances)[tested])
    x = table.to_numpy()
    signs = np.nan_to_num(np.sign(x[:, None] - x[None]))
    together = np.einsum("ijg,ijh->gh", signs, signs) / 2
    counts = (~np.isnan(x)).sum(axis=0)
    ranks = np.where(np.isnan(x), (counts + 1) / 2, scipy.stats.rankdata(x, axis=0, nan_policy="omit"))
    covariances = (together + 4 * ranks.T @ ranks - len(x) * np.outer(counts + 1, counts + 1)) / 3
    dependent = variance + covariances.sum() - np.trace(covariances)
    toward_0 = s - np.sign(s)
    return {
        "slope": float(np.median(np.concatenate(slopes))),
        "tau": s / denominator,
        "s": s,
        "var_s": dependent,
        "z": toward_0 / np.sqrt(dependent),
        "pvalue": 2 * scipy.stats.norm.sf(abs(toward_0) / np.sqrt(dependent)),
        "pvalue_independent": 2 * scipy.stats.norm.sf(abs(toward_0) / np.sqrt(variance)),
        "pvalue_homogeneity": scipy.stats.chi2.sf((z**2).sum() - len(z) * z.mean() ** 2, len(z) - 1)
        if len(z) > 1
        else np.nan,
        "var_s_independent": variance,
        "n": int((~np.isnan(values)).sum()),
    }


#: Methods that take at most one layer per month.
ONE_PER_MONTH = {"seasonal_kendall"}

ORACLES: dict[str, Oracle] = {
    "seasonal_kendall": seasonal_kendall_oracle,
    "mann_kendall": mann_kendall_oracle,
    "ols": ols_oracle,
    "theil_sen": theil_sen_oracle,
    "siegel": siegel_oracle,
}
