"""Independent implementations of every registered method, one pixel at a time.

An oracle takes decimal years, one series and those of further inputs, with NaN where missing, and returns the value of
every band.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import scipy.stats
from numpy.typing import NDArray

from pixelwise.method import Method, Status
from pixelwise.methods import METHODS, correlation, regress, summary

Oracle = Callable[..., dict[str, float]]


@dataclass(frozen=True)
class Case:
    """A method with parameters that the contract is tested with.

    Attributes
    ----------
    inputs
        Names of the further inputs that it needs.
    constant
        Status of a pixel whose valid values are all equal.
    """

    method: Method
    oracle: Oracle
    inputs: tuple[str, ...] = ()
    constant: Status = Status.CONSTANT
    label: str = ""

    def __str__(self) -> str:
        return self.method.name + (f"-{self.label}" if self.label else "")


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


def trend_oracle(times: NDArray[np.float64], values: NDArray[np.float64]) -> dict[str, float]:
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
    "ols": ols_oracle,
    "summary": summary_oracle,
    "correlation": pearson_oracle,
    "regress": trend_oracle,
    "restrend": restrend_oracle,
}

#: Names of the further inputs that a method needs.
INPUTS: dict[str, tuple[str, ...]] = {"correlation": ("rain",), "restrend": ("rain",)}

#: Methods to which a constant series is like any other.
AT_EASE_WITH_CONSTANTS = ("summary",)


def case(method: Method, oracle: Oracle, inputs: tuple[str, ...] = (), label: str = "") -> Case:
    constant = Status.OK if method.name in AT_EASE_WITH_CONSTANTS else Status.CONSTANT
    return Case(method, oracle, inputs, constant, label)


#: Every registered method with its usual parameters, and some with others.
CASES = [
    *(
        case(factory(), ORACLES[factory.__name__], INPUTS.get(factory.__name__, ()))
        for factory in METHODS
        if factory.__name__ in ORACLES
    ),
    case(summary(quantiles="p10,p90"), deciles_oracle, label="deciles"),
    case(regress(covariates="heat,time,step(2003-06-01),rain"), rain_and_step_oracle, ("rain", "heat"), label="four"),
    case(correlation(kind="spearman"), spearman_oracle, ("rain",), label="spearman"),
]
