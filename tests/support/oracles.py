"""Independent implementations of every registered method, one pixel at a time.

An oracle takes decimal years, one series and those of further inputs, with NaN where missing, and returns the value of
every band.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pymannkendall
import scipy.optimize
import scipy.stats
from numpy.typing import NDArray

import pixelwise
from pixelwise.bands import Status
from pixelwise.method import Method
from pixelwise.methods import METHODS, correlation, regress, summary, theil_sen, wls
from support.dates import DAY

Oracle = Callable[..., dict[str, float]]


@dataclass(frozen=True)
class Case:
    """A method with parameters that the contract is tested with.

    Attributes
    ----------
    make
        The method for a number of dates.
    inputs
        Names of the further inputs that it needs.
    constant
        Status of a pixel whose valid values are all equal.
    """

    make: Callable[[int], Method]
    oracle: Oracle
    inputs: tuple[str, ...] = ()
    constant: Status = Status.CONSTANT
    label: str = ""

    @property
    def method(self) -> Method:
        """The method for the dates of the contract."""
        return self.make(22)

    def __str__(self) -> str:
        return self.method.name + (f"-{self.label}" if self.label else "")


def ols_oracle(times: NDArray[np.float64], values: NDArray[np.float64]) -> dict[str, float]:
    valid = ~np.isnan(values)
    t, y, n = times[valid], values[valid].astype(np.float64), int(valid.sum())
    fit = scipy.stats.linregress(t, y)
    e = y - y.mean() - fit.slope * (t - t.mean())
    reach = scipy.stats.t.ppf(0.975, n - 2) * fit.stderr
    start, end = y.mean() + fit.slope * (t[[0, -1]] - t.mean())
    return {
        "slope": fit.slope,
        "intercept": fit.intercept,
        "rvalue": fit.rvalue,
        "pvalue": fit.pvalue,
        "stderr": fit.stderr,
        "intercept_stderr": fit.intercept_stderr,
        "n": n,
        "low_slope": fit.slope - reach,
        "high_slope": fit.slope + reach,
        "rmse": math.sqrt(e @ e / (n - 2)),
        "durbin_watson": float((np.diff(e) ** 2).sum() / (e @ e)),
        "start": start,
        "end": end,
        "change": fit.slope * (t[-1] - t[0]),
        "percent_of_mean": 100 * fit.slope * (t[-1] - t[0]) / abs(y.mean())
        if abs(y.mean()) > 1e-12 * abs(y).max()
        else math.nan,
        "first_time": t[0],
        "last_time": t[-1],
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
    days = np.datetime64("1970-01-01") + np.round((times - 1970) * 365.25).astype(int) * DAY
    years_and_months = np.divmod(days.astype("datetime64[M]").astype(int), 12)
    series = pd.Series(values.astype(np.float64), index=pd.MultiIndex.from_arrays(years_and_months))
    table = series.unstack()
    table = table.loc[:, table.count() > 0]
    slopes, scores, variances, denominator = [], [], [], 0.0
    for _, own in pd.DataFrame({"t": times, "y": values, "month": years_and_months[1]}).dropna().groupby("month"):
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


def harmonic_oracle(
    times: NDArray[np.float64],
    values: NDArray[np.float64],
    harmonics: int = 1,
    index: NDArray[np.int64] | None = None,
) -> dict[str, float]:
    """Return all bands, but those in `BY_SIMULATION` at irregular dates."""
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
    index = steps_of(times) if index is None else index
    r1 = pvalue = math.nan
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
    found = {
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
    return {name: value for name, value in found.items() if index is not None or name not in BY_SIMULATION["harmonic"]}


def line_oracle(
    times: NDArray[np.float64], values: NDArray[np.float64], weights: NDArray[np.float64]
) -> dict[str, float]:
    valid = ~np.isnan(values) & (weights > 0)
    t, y, w, n = times[valid], values[valid].astype(np.float64), weights[valid], int(valid.sum())
    middle, level = np.round(t.mean()), y.mean()
    b, inverse, rss = least_squares([np.ones(n), t - middle], y - level, w)
    syy = least_squares([np.ones(n)], y - level, w)[2]
    variance = rss / (n - 2)
    stderr = np.sqrt(variance * inverse[1, 1])
    at_year_0 = np.array([1.0, -middle])
    return {
        "slope": b[1],
        "intercept": level + b[0] - b[1] * middle,
        "rvalue": np.sign(b[1]) * np.sqrt((syy - rss) / syy),
        "pvalue": 2 * scipy.stats.t.sf(abs(b[1]) / stderr, n - 2),
        "stderr": stderr,
        "intercept_stderr": np.sqrt(variance * (at_year_0 @ inverse @ at_year_0)),
        "n": n,
    }


def some_weights(dates: int) -> NDArray[np.float64]:
    """Return weights of dates for `wls`, which has no default."""
    return 0.5 + np.arange(dates) % 4


def wls_oracle(times: NDArray[np.float64], values: NDArray[np.float64]) -> dict[str, float]:
    return line_oracle(times, values, some_weights(len(times)))


#: Median absolute deviation of a standard normal distribution.
MAD_OF_NORMAL = scipy.stats.norm.ppf(0.75)


def robust_oracle(times: NDArray[np.float64], values: NDArray[np.float64], kind: str = "huber") -> dict[str, float]:
    """Follow RLM of statsmodels, but until nothing changes any more."""
    valid = ~np.isnan(values)
    t, y, n = times[valid], values[valid].astype(np.float64), int(valid.sum())
    middle, level = np.round(t.mean()), y.mean()
    columns = [np.ones(n), t - middle]
    design = np.stack(columns, axis=1)

    def weights_of(u: NDArray[np.float64], norm: str) -> NDArray[np.float64]:
        if norm == "huber":
            return np.minimum(1.0, 1.345 / np.maximum(np.abs(u), 1e-300))
        return np.where(np.abs(u) < 4.685, (1 - (u / 4.685) ** 2) ** 2, 0.0)

    def scale_of(e: NDArray[np.float64]) -> float:
        return float(np.median(np.abs(e)) / MAD_OF_NORMAL)

    b = least_squares(columns, y - level)[0]
    for norm in dict.fromkeys(["huber", kind]):
        for _ in range(3000):
            e = y - level - design @ b
            before, b = b, least_squares(columns, y - level, weights_of(e / scale_of(e), norm))[0]
            if np.max(np.abs(design @ (b - before))) <= 2e-15 * scale_of(e):
                break
    e = y - level - design @ b
    s = scale_of(e)
    u = e / s
    psi = u * weights_of(u, kind)
    inside = np.where(np.abs(u) < 4.685, 1 - (u / 4.685) ** 2, 0.0)
    change = np.abs(u) <= 1.345 if kind == "huber" else inside**2 - 4 * (u / 4.685) ** 2 * inside
    m = np.mean(change)
    k = 1 + 2 / n * np.var(change) / m**2
    stderr = k * s / m * np.sqrt(np.sum(psi**2) / (n - 2) * least_squares(columns, y - level)[1][1, 1])
    return {
        "slope": b[1],
        "intercept": level + b[0] - b[1] * middle,
        "pvalue": 2 * scipy.stats.t.sf(abs(b[1]) / stderr, n - 2),
        "stderr": stderr,
        "scale": s,
        "n": n,
    }


def polynomial_oracle(
    times: NDArray[np.float64], values: NDArray[np.float64], degree: int = 2, origin: float = 2000.0
) -> dict[str, float]:
    valid = ~np.isnan(values)
    t, y, n, p = times[valid], values[valid].astype(np.float64), int(valid.sum()), degree + 1
    middle, level = t.mean(), y.mean()
    columns = [(t - middle) ** k for k in range(p)]
    b, inverse, rss = least_squares(columns, y - level)
    straight, syy = (least_squares(columns[:terms], y - level)[2] for terms in (2, 1))
    variance = rss / (n - p)
    ends = times[[0, -1]] - middle
    mean_slope = np.array([(ends[1] ** k - ends[0] ** k) / (ends[1] - ends[0]) for k in range(p)])
    slope, stderr = mean_slope @ b, np.sqrt(variance * (mean_slope @ inverse @ mean_slope))
    about = np.polynomial.Polynomial(b)(np.polynomial.Polynomial([origin - middle, 1.0])).coef + level * np.eye(p)[0]
    result = {
        "slope": slope,
        "pvalue": 2 * scipy.stats.t.sf(abs(slope) / stderr, n - p),
        "stderr": stderr,
        **{f"c{k}": about[k] for k in range(p)},
        "pvalue_curvature": scipy.stats.f.sf((straight - rss) / (degree - 1) / variance, degree - 1, n - p),
        "pvalue_model": scipy.stats.f.sf((syy - rss) / degree / variance, degree, n - p),
        "r2": (syy - rss) / syy,
        "rmse": np.sqrt(variance),
        "n": n,
    }
    return {**result, "turning_point": middle - b[1] / (2 * b[2])} if degree == 2 else result


def contextual_mann_kendall_oracle(times: NDArray[np.float64], values: NDArray[np.float64]) -> dict[str, float]:
    """Of a pixel without neighbours: Mann-Kendall without correction for continuity."""
    alone = mann_kendall_oracle(times, values)
    z = alone["s"] / math.sqrt(alone["var_s"])
    pvalue = 2 * scipy.stats.norm.sf(abs(z))
    return {
        **{name: alone[name] for name in ("slope", "s", "var_s")},
        "z": z,
        "pvalue": pvalue,
        "members": 1,
        "n": alone["n"],
    }


#: Medians of the lag-1 correlation of residuals by length and phi; tests/methods/test_trend.py simulates them again.
AUTOCORRELATION = Path(pixelwise.__file__).parent / "methods" / "autocorrelation.csv"


def phi_of_residuals(r: float, n: int, removed: str) -> float:
    """Return the phi whose residuals have the median lag-1 correlation `r`, from the table as it is kept."""
    with AUTOCORRELATION.open(encoding="utf-8") as file:
        header, *lines = (line.strip().split(",") for line in file)
    phis = np.array(header[2:], dtype=float)
    known = {int(line[0]): np.array(line[2:], dtype=float) for line in lines if line[1] == removed}
    below = max(length for length in known if length <= n)
    above = min((length for length in known if length >= n), default=None)
    if below == above:
        medians = known[below]
    else:
        end, farther = (phis, 0.0) if above is None else (known[above], 1 / above)
        weight = (1 / n - farther) / (1 / below - farther)
        medians = weight * known[below] + (1 - weight) * end
    return float(np.interp(r, medians, phis))


def residuals_of(design: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    left: NDArray[np.float64] = y - design @ np.linalg.lstsq(design, y, rcond=None)[0]
    return left


def trend_oracle(times: NDArray[np.float64], values: NDArray[np.float64], per_year: float = 1.0) -> dict[str, float]:
    """By scipy, steps by trying all of them. There are `per_year` steps in a year."""
    valid = ~np.isnan(values)
    t, y, n = times[valid], values[valid].astype(np.float64), int(valid.sum())
    line = scipy.stats.linregress(t, y)
    straight = np.stack([np.ones(n), t - t.mean()], axis=1)
    e = residuals_of(straight, y - y.mean())
    steps = [np.column_stack([straight, np.arange(n) < place]) for place in range(3, n - 2)]
    left_by_steps = [residuals_of(design, y - y.mean()) for design in steps]
    # Of equal gains the first.
    gains = [e @ e - left @ left for left in left_by_steps]
    stepped = next((left for left, gain in zip(left_by_steps, gains, strict=True) if gain > max(gains) * (1 - 1e-9)), e)
    phis = [
        phi_of_residuals(left[1:] @ left[:-1] / (left @ left), n, removed)
        for left, removed in ((e, "line"), (stepped, "step"))
        if removed == "line" or steps
    ]
    sxx, sd = float(((t - t.mean()) ** 2).sum()), math.sqrt(e @ e / (n - 2))

    def effective_and_stderr(phi: float) -> tuple[float, float]:
        effective = max(n * (1 - max(phi, 0)) / (1 + max(phi, 0)), 3.0)
        return effective, math.sqrt(e @ e / (effective - 2) / sxx)

    effective, stderr = effective_and_stderr(min(phis))
    nu, stderr_of_next = effective_and_stderr(max(phis))
    nu -= 2
    quantile, z = scipy.stats.t.isf(0.025, nu), scipy.stats.norm.isf(0.1)
    delta = scipy.optimize.brentq(lambda d: d - quantile - z * math.sqrt(1 + (d**2 + quantile**2) / (2 * nu)), 0, 1e4)
    inflation = math.sqrt((1 + max(*phis, 0)) / (1 - max(*phis, 0)))
    # Sen (1968) eq. 2.6, as in scipy.stats.theilslopes, with a larger variance.
    test = pymannkendall.original_test(y)
    variance = test.var_s * n / effective
    slopes = np.sort([(y[j] - y[i]) / (t[j] - t[i]) for i in range(n) for j in range(i + 1, n)])
    margin = scipy.stats.norm.isf(0.025) * math.sqrt(variance)
    low, high = np.round((len(slopes) - margin) / 2) - 1, np.round((len(slopes) + margin) / 2)
    pairs = scipy.stats.theilslopes(y, t)
    statement = (pairs.slope, slopes[int(max(low, 0))], slopes[int(min(high, len(slopes) - 1))], pairs.intercept)
    pvalue = 2 * scipy.stats.t.sf(abs(line.slope) / stderr, effective - 2)
    if pairs.slope == 0 and pvalue < 0.05:
        reach = scipy.stats.t.isf(0.025, effective - 2) * stderr
        statement = (line.slope, line.slope - reach, line.slope + reach, line.intercept)
    slope, low_slope, high_slope, intercept = statement
    return {
        "slope": slope,
        "low_slope": low_slope,
        "high_slope": high_slope,
        "ols_slope": line.slope,
        "pvalue": pvalue,
        "pvalue_ols": line.pvalue,
        "pvalue_mk": 2 * scipy.stats.norm.sf(abs(test.s - np.sign(test.s)) / math.sqrt(variance)),
        "r1": min(phis),
        "detectable_slope": delta * stderr_of_next if nu >= 2 else math.inf,
        "years_to_detect": (3.3 * sd / abs(line.slope) * math.sqrt(12 / per_year) * inflation) ** (2 / 3),
        "intercept": intercept,
        "n": n,
    }


def trend_of_years_of_365_days(times: NDArray[np.float64], values: NDArray[np.float64]) -> dict[str, float]:
    return trend_oracle(times, values, 365.25 / 365)


def summary_oracle(times: NDArray[np.float64], values: NDArray[np.float64]) -> dict[str, float]:
    return summarise(times, values, {"median": 0.5})


def deciles_oracle(times: NDArray[np.float64], values: NDArray[np.float64]) -> dict[str, float]:
    return summarise(times, values, {"p10": 0.1, "p90": 0.9})


def summarise(times: NDArray[np.float64], values: NDArray[np.float64], quantiles: dict[str, float]) -> dict[str, float]:
    valid = np.flatnonzero(~np.isnan(values))
    y = values[valid].astype(np.float64)
    # In fractions, rounded once.
    mean, sd = statistics.mean(y.tolist()), statistics.stdev(y.tolist())
    return {
        "mean": mean,
        "sd": sd,
        "min": y.min(),
        **{
            name: float(np.median(y) if name == "median" else np.quantile(y, share))
            for name, share in quantiles.items()
        },
        "max": y.max(),
        "first": y[0],
        "last": y[-1],
        "cv": sd / abs(mean) if mean else math.nan,
        "first_time": times[valid[0]],
        "last_time": times[valid[-1]],
        "n": len(y),
    }


def pearson_oracle(
    times: NDArray[np.float64], values: NDArray[np.float64], other: NDArray[np.float64]
) -> dict[str, float]:
    both = ~np.isnan(values) & ~np.isnan(other)
    found = scipy.stats.pearsonr(values[both].astype(np.float64), other[both].astype(np.float64))
    return {"rvalue": found.statistic, "pvalue": found.pvalue, "n": int(both.sum())}


def spearman_oracle(
    times: NDArray[np.float64], values: NDArray[np.float64], other: NDArray[np.float64]
) -> dict[str, float]:
    both = ~np.isnan(values) & ~np.isnan(other)
    found = scipy.stats.spearmanr(values[both], other[both])
    return {"rvalue": found.statistic, "pvalue": found.pvalue, "n": int(both.sum())}


def time_only_oracle(times: NDArray[np.float64], values: NDArray[np.float64]) -> dict[str, float]:
    return regression(values, {"time": times})


def rain_and_step_oracle(
    times: NDArray[np.float64], values: NDArray[np.float64], rain: NDArray[np.float64], heat: NDArray[np.float64]
) -> dict[str, float]:
    step = (times >= 1970 + np.datetime64("2003-06-01").astype("datetime64[D]").astype(int) / 365.25).astype(float)
    return regression(values, {"heat": heat, "time": times, "step_2003-06-01": step, "rain": rain})


def regression(
    values: NDArray[np.float64], covariates: dict[str, NDArray[np.float64]], intercept: bool = True
) -> dict[str, float]:
    """Return all bands of `regress`: by singular values, about the means."""
    table = np.array([values, *covariates.values()], dtype=np.float64)
    y, *x = table[:, ~np.isnan(table).any(axis=0)]
    means = np.array([column.mean() if intercept else 0.0 for column in x])
    scales = np.array([np.std(column) for column in x])
    design, level = (np.transpose(x) - means) / scales, y.mean() if intercept else 0.0
    solution = np.linalg.lstsq(design, y - level, rcond=None)[0]
    residuals = y - level - design @ solution
    df = len(y) - len(x) - intercept
    rmse = math.sqrt(residuals @ residuals / df)
    covariance = np.linalg.inv(design.T @ design) / np.outer(scales, scales)
    found: dict[str, float] = {}
    for name, b, variance in zip(covariates, solution / scales, np.diag(covariance), strict=True):
        t = b / (rmse * math.sqrt(variance))
        found |= {
            name: b,
            f"{name}_stderr": rmse * math.sqrt(variance),
            f"{name}_pvalue": 2 * scipy.stats.t.sf(abs(t), df),
        }
        found[f"{name}_partial_r"] = t / math.sqrt(t * t + df)
    if intercept:
        found["intercept"] = level - means @ (solution / scales)
        found["intercept_stderr"] = rmse * math.sqrt(1 / len(y) + means @ covariance @ means)
    explained = (y - level - residuals) @ (y - level - residuals)
    found |= {"r2": explained / ((y - level) @ (y - level)), "rmse": rmse}
    found["pvalue"] = scipy.stats.f.sf(explained / len(x) / rmse**2, len(x), df)
    return {**found, "n": len(y)}


def restrend_oracle(
    times: NDArray[np.float64], values: NDArray[np.float64], rain: NDArray[np.float64]
) -> dict[str, float]:
    both = ~np.isnan(values) & ~np.isnan(rain)
    t, y, x = times[both], values[both].astype(np.float64), rain[both].astype(np.float64)
    first = scipy.stats.linregress(x, y)
    second = scipy.stats.linregress(t, y - first.intercept - first.slope * x)
    return {
        "slope": second.slope,
        "intercept": second.intercept,
        "pvalue": second.pvalue,
        "stderr": second.stderr,
        "covariate_slope": first.slope,
        "covariate_intercept": first.intercept,
        "covariate_r2": first.rvalue**2,
        "covariate_pvalue": first.pvalue,
        "n": int(both.sum()),
    }


ORACLES: dict[str, Oracle] = {
    "trend": trend_of_years_of_365_days,
    "ols": ols_oracle,
    "theil_sen": theil_sen_oracle,
    "siegel": siegel_oracle,
    "mann_kendall": mann_kendall_oracle,
    "seasonal_kendall": seasonal_kendall_oracle,
    "contextual_mann_kendall": contextual_mann_kendall_oracle,
    "wls": wls_oracle,
    "robust": robust_oracle,
    "polynomial": polynomial_oracle,
    "harmonic": harmonic_oracle,
    "regress": time_only_oracle,
    "restrend": restrend_oracle,
    "correlation": pearson_oracle,
    "summary": summary_oracle,
}

#: What a method takes from simulations at irregular dates, so that no oracle gives it
#: (tests/methods/test_harmonic.py).
BY_SIMULATION: dict[str, set[str]] = {"harmonic": {"pvalue", "r1"}}

#: Names of the further inputs that a method needs.
INPUTS: dict[str, tuple[str, ...]] = {"correlation": ("rain",), "restrend": ("rain",)}

#: Methods that take at most one layer per month.
ONE_PER_MONTH = {"seasonal_kendall"}

#: Methods to which a constant series is like any other.
AT_EASE_WITH_CONSTANTS = ("summary",)

#: Methods that compute nothing without a parameter, by the number of dates.
NEEDED: dict[str, Callable[[int], Method]] = {"wls": lambda dates: wls(weights=some_weights(dates).tolist())}


def case(make: Callable[[int], Method], oracle: Oracle, inputs: tuple[str, ...] = (), label: str = "") -> Case:
    constant = Status.OK if make(22).name in AT_EASE_WITH_CONSTANTS else Status.CONSTANT
    return Case(make, oracle, inputs, constant, label)


def usual(factory: Callable[..., Method]) -> Case:
    """Return the case of a method with its usual parameters."""
    name = factory.__name__
    return case(NEEDED.get(name, lambda dates: factory()), ORACLES[name], INPUTS.get(name, ()))


def joint_oracle(times: NDArray[np.float64], values: NDArray[np.float64]) -> dict[str, float]:
    valid = ~np.isnan(values)
    fit = scipy.stats.theilslopes(values[valid].astype(np.float64), times[valid], 0.9, method="joint")
    return {**fit._asdict(), "n": int(valid.sum())}


#: Every registered method with its usual parameters, and some with others.
CASES = [
    *(usual(factory) for factory in METHODS if factory.__name__ in ORACLES),
    case(lambda dates: theil_sen(confidence_level=0.9, intercept="joint"), joint_oracle, label="joint"),
    case(lambda dates: summary(quantiles="p10,p90"), deciles_oracle, label="deciles"),
    case(
        lambda dates: regress(covariates="heat,time,step(2003-06-01),rain"),
        rain_and_step_oracle,
        ("rain", "heat"),
        label="four",
    ),
    case(lambda dates: correlation(kind="spearman"), spearman_oracle, ("rain",), label="spearman"),
]
