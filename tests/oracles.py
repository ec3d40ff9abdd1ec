"""Independent implementations of every registered method, one pixel at a time.

An oracle takes decimal years and one series, with NaN where missing, and returns the value of every band.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
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


def least_squares(
    columns: list[NDArray[np.float64]], values: NDArray[np.float64], weights: NDArray[np.float64] | None = None
) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
    """Return coefficients, the inverse of X' W X and the sum of squared residuals, by orthogonal reflections."""
    design = np.stack(columns, axis=1)
    root = np.sqrt(np.ones(len(values)) if weights is None else weights)
    rows, scale = design * root[:, None], np.linalg.norm(design * root[:, None], axis=0)
    coefficients = np.linalg.lstsq(rows / scale, values * root, rcond=None)[0] / scale
    _, triangle = np.linalg.qr(rows / scale)
    inverse = np.linalg.inv(triangle) / scale[:, None]
    residuals = (values - design @ coefficients) * root
    return coefficients, inverse @ inverse.T, float(residuals @ residuals)


def steps_of(times: NDArray[np.float64]) -> NDArray[np.int64] | None:
    """Return positions of days on their largest common step; None unless half of them are one step apart."""
    days = np.rint((times - 1970) * 365.25).astype(np.int64)
    step = np.gcd.reduce(np.diff(days))
    regular = step > 0 and 2 * np.count_nonzero(np.diff(days) == step) >= len(days) - 1
    return (days - days[0]) // step if regular else None


def harmonic_oracle(times: NDArray[np.float64], values: NDArray[np.float64], harmonics: int = 1) -> dict[str, float]:
    valid = ~np.isnan(values)
    t, y, n, p = times[valid], values[valid].astype(np.float64), int(valid.sum()), 2 + 2 * harmonics
    middle, level = np.round(t.mean()), y.mean()
    columns = [np.ones(n), t - middle]
    for k in range(1, harmonics + 1):
        angle = 2 * np.pi * np.modf(k * (t - np.floor(t)))[0]
        columns += [np.cos(angle), np.sin(angle)]
    b, inverse, rss = least_squares(columns, y - level)
    variance = rss / (n - p)
    stderr = np.sqrt(variance * inverse[1, 1])
    pvalue_ols = 2 * scipy.stats.t.sf(abs(b[1]) / stderr, n - p)
    residuals = y - level - np.stack(columns, axis=1) @ b
    index, r1, pvalue = steps_of(times), np.nan, pvalue_ols
    if index is not None:
        position = index[valid]
        pairs = [i for i in range(n - 1) if position[i + 1] - position[i] == 1]
        r = np.mean([residuals[i] * residuals[i + 1] for i in pairs]) * (n - 1) / rss
        r1 = r + (1 + 4 * r) / n
        n_e = n * (1 - r1) / (1 + r1) if r1 > 0 else n
        t_e = abs(b[1]) / np.sqrt(rss / (n_e - p) * inverse[1, 1])
        pvalue = 2 * scipy.stats.t.sf(t_e, n_e - p)
    reduced = least_squares(columns[:2], y - level)[2]
    f = (reduced - rss) / (2 * harmonics) / variance
    season, errors = {}, {}
    for k in range(1, harmonics + 1):
        at = slice(2 * k, 2 * k + 2)
        c, s = b[at]
        amplitude, covariance = np.hypot(c, s), variance * inverse[at, at]
        to_day = 365.25 / (2 * np.pi * k)
        along, across = np.array([c, s]) / amplitude, np.array([-s, c]) / amplitude**2
        season[f"amplitude_{k}"] = amplitude
        season[f"peak_{k}"] = 1 + np.arctan2(s, c) % (2 * np.pi) * to_day
        errors[f"amplitude_{k}_stderr"] = np.sqrt(along @ covariance @ along)
        errors[f"peak_{k}_stderr"] = np.sqrt(across @ covariance @ across) * to_day
    return {
        "slope": b[1],
        "intercept": level + b[0] - b[1] * middle,
        "pvalue": pvalue,
        "pvalue_ols": pvalue_ols,
        "stderr": stderr,
        **season,
        "pvalue_season": scipy.stats.f.sf(f, 2 * harmonics, n - p),
        "rmse": np.sqrt(variance),
        "r1": r1,
        "n": n,
        **errors,
    }


ORACLES: dict[str, Oracle] = {"ols": ols_oracle, "harmonic": harmonic_oracle}
